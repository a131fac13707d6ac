//! What a process says over HTTP, read into plain values.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// No answer may take longer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// No answer may be longer.
const BODY_BYTES_MAX: u64 = 1 << 30;

/// A series with its raw samples.
#[derive(Clone, Debug, PartialEq)]
pub struct RawSeries {
    /// All labels, `__name__` included.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds and values, in order of time.
    pub samples: Vec<(i64, f64)>,
}

impl RawSeries {
    /// Returns the value of a label, or nothing.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// What identifies a row, but for its window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// Value of `datacenter`.
    pub datacenter: String,
    /// Value of `job`.
    pub job: String,
    /// Name of the metric.
    pub name: String,
    /// Kept labels.
    pub labels: BTreeMap<String, String>,
}

/// One row in one window: its [`Point`], found by key and start.
pub type Row = (RowKey, i64);

/// A Cross as the API writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// How many series.
    pub series: u64,
    /// How many of them are NaN or infinite.
    pub special: u64,
    /// Sum of the finite values.
    pub sum: f64,
    /// Least of them, or `+Inf`.
    pub min: f64,
    /// Greatest of them, or `-Inf`.
    pub max: f64,
    /// Sum of the increases of the counters.
    pub increase: f64,
    /// Counters without an earlier sample.
    pub unanchored: u64,
}

/// Coverage of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Slots in the assignment.
    pub expected: u64,
    /// Slots scraped.
    pub reported: u64,
    /// Those of them that came late.
    pub late: u64,
    /// Slots not scraped.
    pub lost: u64,
}

/// A label that rows do not keep, by `/api/v1/kept`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dropped {
    /// Name of the metric.
    pub name: String,
    /// Value of `job`.
    pub job: String,
    /// Name of the label.
    pub label: String,
    /// Start of the first window without it, once that is decided.
    pub from_ms: Option<i64>,
}

/// What `/api/v1/rows` answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Rows by key and start of their window in milliseconds.
    pub points: BTreeMap<Row, Point>,
    /// Coverage by datacenter and start of the window in milliseconds.
    pub coverage: BTreeMap<(String, i64), Coverage>,
}

/// One account of a status, wherever in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Where in the JSON it was found.
    pub place: String,
    /// Raw samples taken in.
    pub collected: u64,
    /// Those acknowledged by the parent.
    pub delivered: u64,
    /// Those on their way.
    pub queued: u64,
    /// Those given up.
    pub dropped: u64,
}

impl Account {
    /// Returns `collected - delivered - queued - dropped`.
    pub fn residual(&self) -> i64 {
        self.collected as i64 - self.delivered as i64 - self.queued as i64 - self.dropped as i64
    }
}

/// By parent and child: the raw samples that the parent has applied, and those that the child counts as delivered.
pub type Received = BTreeMap<(String, String), (u64, Option<u64>)>;

/// Asks one process.
#[derive(Clone, Debug)]
pub struct Answers {
    base: String,
    agent: ureq::Agent,
    token: Option<String>,
}

impl Answers {
    /// Asks the process that listens on `port` of this host.
    pub fn of_port(port: u16) -> Answers {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        Answers { base: format!("http://127.0.0.1:{port}"), agent: config.into(), token: None }
    }

    /// Asks it by HTTPS, with a certificate of the authority in the file `ca`; shows no token yet.
    ///
    /// # Errors
    /// If there is no authority in the file.
    pub fn of_tls_port(port: u16, ca: &Path) -> Result<Answers> {
        Answers::of_tls(&format!("127.0.0.1:{port}"), ca)
    }

    /// Asks whoever listens at `address`, `host:port`, in the same way.
    ///
    /// # Errors
    /// If there is no authority in the file.
    pub fn of_tls(address: &str, ca: &Path) -> Result<Answers> {
        let authority = Certificate::from_pem(&fs::read(ca)?)?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[authority]))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        let agent = config.tls_config(tls).build().into();
        Ok(Answers { base: format!("https://{address}"), agent, token: None })
    }

    /// Shows the token in the file `path` from now on.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn with_token(self, path: &Path) -> Result<Answers> {
        Ok(Answers { token: Some(fs::read_to_string(path)?.trim().to_owned()), ..self })
    }

    /// Returns status and text of what is posted to `path`, without a body.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn post(&self, path: &str) -> Result<(u16, String)> {
        let url = format!("{}{path}", self.base);
        let mut request = self.agent.post(&url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.send_empty().with_context(|| format!("post {url}"))?;
        Ok((response.status().as_u16(), response.body_mut().read_to_string()?))
    }

    /// Returns status and text of `body` posted to `path` as a write request.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn write(&self, path: &str, body: &[u8]) -> Result<(u16, String)> {
        let url = format!("{}{path}", self.base);
        let mut request = self.agent.post(&url).content_type("application/x-protobuf");
        request = request.header("content-encoding", "snappy");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.send(body).with_context(|| format!("write to {url}"))?;
        Ok((response.status().as_u16(), response.body_mut().read_to_string()?))
    }

    /// Returns where it asks, `http://host:port`.
    pub fn url(&self) -> String {
        self.base.clone()
    }

    /// Returns status and text of `path`, whatever the status.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let url = format!("{}{path}", self.base);
        let mut request = self.agent.get(&url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.call().with_context(|| format!("get {url}"))?;
        let text = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_string();
        Ok((response.status().as_u16(), text.with_context(|| format!("read {url}"))?))
    }

    /// Returns the JSON under `path`.
    ///
    /// # Errors
    /// If the status is not 200 or the text is not JSON.
    pub fn json(&self, path: &str) -> Result<Value> {
        let (status, text) = self.get(path)?;
        ensure!(status == 200, "{path}: status {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{path}: read {text:.200}"))
    }

    /// Tells whether the process says that it is ready.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn is_ready(&self) -> Result<bool> {
        Ok(self.get("/-/ready")?.0 == 200)
    }

    /// Returns the value of the own metric whose line begins with `series`, if there is one.
    ///
    /// # Errors
    /// If nobody answers, or not with a number.
    pub fn metric(&self, series: &str) -> Result<Option<f64>> {
        let (status, text) = self.get("/metrics")?;
        ensure!(status == 200, "status {status}");
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.split(' ').next().unwrap_or(value).parse().context("read a metric")).transpose()
    }

    /// Returns what a plain or a range selector finds, in order of the labels.
    ///
    /// # Errors
    /// If the answer is not a Prometheus vector or matrix.
    pub fn series(&self, query: &str) -> Result<Vec<RawSeries>> {
        let answer = self.json(&format!("/api/v1/query?query={}", encode(query)))?;
        ensure!(answer["status"] == "success", "{query}: {answer}");
        let result = answer["data"]["result"].as_array().with_context(|| format!("{query}: {answer}"))?;
        let mut series = result.iter().map(read_series).collect::<Result<Vec<_>>>()?;
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(series)
    }

    /// Returns the rows and coverage of all windows that start in `[start_ms, end_ms)`, of job `job`.
    ///
    /// # Errors
    /// If the answer has another shape than agreed.
    pub fn rows(&self, job: &str, start_ms: i64, end_ms: i64) -> Result<Rows> {
        let (start, end) = (start_ms as f64 / 1e3, end_ms as f64 / 1e3);
        let answer = self.json(&format!("/api/v1/rows?job={}&start={start}&end={end}", encode(job)))?;
        ensure!(answer["status"] == "success", "{answer}");
        let data = &answer["data"];
        let mut rows = Rows::default();
        for row in data["rows"].as_array().context("rows")? {
            let key = read_key(row).with_context(|| format!("row {row}"))?;
            for point in row["points"].as_array().context("points")? {
                let at = millis(&point["start"]).context("start")?;
                let read = read_point(point).with_context(|| format!("point {point}"))?;
                if (start_ms..end_ms).contains(&at) {
                    let earlier = rows.points.insert((key.clone(), at), read);
                    ensure!(earlier.is_none(), "{key:?} at {at} is there twice");
                }
            }
        }
        for coverage in data["coverage"].as_array().context("coverage")? {
            let at = millis(&coverage["start"]).context("start")?;
            let datacenter = coverage["datacenter"].as_str().context("datacenter")?;
            if (start_ms..end_ms).contains(&at) {
                rows.coverage.insert((datacenter.into(), at), read_coverage(coverage)?);
            }
        }
        Ok(rows)
    }

    /// Returns the labels that rows do not keep, in order.
    ///
    /// # Errors
    /// If the answer has another shape than agreed.
    pub fn kept(&self) -> Result<Vec<Dropped>> {
        let answer = self.json("/api/v1/kept")?;
        let read = |dropped: &Value| {
            let text = |key: &str| dropped[key].as_str().map(str::to_owned);
            let (name, job, label) = (text("name")?, text("job")?, text("label")?);
            Some(Dropped { name, job, label, from_ms: millis(&dropped["from"]) })
        };
        let dropped = answer["data"]["dropped"].as_array().with_context(|| format!("{answer}"))?;
        dropped.iter().map(|one| read(one).with_context(|| format!("dropped label {one}"))).collect()
    }

    /// Returns what each parent says that it has applied from its children.
    ///
    /// # Errors
    /// If there is no status.
    pub fn received(&self) -> Result<Received> {
        let status = self.json("/api/v1/status")?;
        let mut received = BTreeMap::new();
        find_received(&status, &mut received);
        Ok(received)
    }

    /// Returns every account in `/api/v1/status`.
    ///
    /// # Errors
    /// If there is no status, or no account in it.
    pub fn accounts(&self) -> Result<Vec<Account>> {
        let status = self.json("/api/v1/status")?;
        let mut accounts = Vec::new();
        find_accounts(&status, "", &mut accounts);
        ensure!(!accounts.is_empty(), "no account in {status}");
        Ok(accounts)
    }
}

/// Encodes `text` for a query string.
pub fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn read_series(series: &Value) -> Result<RawSeries> {
    let metric = series["metric"].as_object().context("metric")?;
    let labels = metric.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or("").to_owned())).collect();
    let pairs = match (&series["values"], &series["value"]) {
        (Value::Array(values), _) => values.iter().collect(),
        (_, value @ Value::Array(_)) => vec![value],
        _ => bail!("neither value nor values in {series}"),
    };
    let sample = |pair: &&Value| Some((millis(&pair[0])?, number(&pair[1])?));
    let samples =
        pairs.iter().map(sample).collect::<Option<Vec<_>>>().with_context(|| format!("samples of {metric:?}"))?;
    Ok(RawSeries { labels, samples })
}

fn read_key(row: &Value) -> Option<RowKey> {
    let text = |key: &str| row[key].as_str().map(str::to_owned);
    let labels = row["labels"].as_object()?.iter();
    let kept = labels.filter(|(name, _)| !["__name__", "job", "datacenter", "region"].contains(&name.as_str()));
    let labels = kept.map(|(name, value)| (name.clone(), value.as_str().unwrap_or("").to_owned())).collect();
    Some(RowKey { datacenter: text("datacenter")?, job: text("job")?, name: text("name")?, labels })
}

fn read_point(point: &Value) -> Option<Point> {
    let count = |key: &str| number(&point[key]).map(|count| count as u64);
    Some(Point {
        series: count("series")?,
        special: count("special")?,
        sum: number(&point["sum"])?,
        min: number(&point["min"]).unwrap_or(f64::INFINITY),
        max: number(&point["max"]).unwrap_or(f64::NEG_INFINITY),
        increase: number(&point["increase"])?,
        unanchored: count("unanchored")?,
    })
}

fn read_coverage(coverage: &Value) -> Result<Coverage> {
    let count = |key: &str| coverage[key].as_u64().with_context(|| format!("{key} of {coverage}"));
    Ok(Coverage {
        expected: count("expected")?,
        reported: count("reported")?,
        late: count("late")?,
        lost: count("lost")?,
    })
}

/// Reads a number, or text that says one.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn millis(value: &Value) -> Option<i64> {
    number(value).map(|seconds| (seconds * 1e3).round() as i64)
}

fn find_accounts(value: &Value, place: &str, found: &mut Vec<Account>) {
    match value {
        Value::Object(fields) => {
            let count = |key: &str| fields.get(key).and_then(Value::as_u64);
            if let (Some(collected), Some(delivered), Some(queued)) =
                (count("collected"), count("delivered"), count("queued"))
            {
                let dropped = fields.get("dropped").map_or(0, sum_of_numbers);
                found.push(Account { place: place.into(), collected, delivered, queued, dropped });
                return;
            }
            let name = fields.get("node").and_then(Value::as_str).unwrap_or("");
            for (key, field) in fields {
                find_accounts(field, &format!("{place}/{name}{}{key}", if name.is_empty() { "" } else { "." }), found);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                find_accounts(item, &format!("{place}[{at}]"), found);
            }
        }
        _ => {}
    }
}

fn find_received(value: &Value, found: &mut Received) {
    if let (Some(node), Some(children)) = (value["node"].as_str(), value["received"].as_array()) {
        for child in children {
            if let (Some(name), Some(applied)) = (child["child"].as_str(), child["applied"].as_u64()) {
                found.insert((node.to_owned(), name.to_owned()), (applied, child["delivered"].as_u64()));
            }
        }
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|field| find_received(field, found)),
        Value::Array(items) => items.iter().for_each(|item| find_received(item, found)),
        _ => {}
    }
}

fn sum_of_numbers(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::Array(items) => items.iter().map(sum_of_numbers).sum(),
        Value::Object(fields) => fields.values().map(sum_of_numbers).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn accounts_are_found_wherever_they_are() {
        let status = json!({"data": {"regions": [{"node": "dub-s0", "accounts": [
            {"parent": "dub-p0", "collected": 10, "delivered": 6, "queued": 1, "dropped": {"outbox_full": 2, "late": 1}},
        ]}]}});
        let mut found = Vec::new();
        find_accounts(&status, "", &mut found);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].dropped, found[0].residual()), (3, 0));
    }

    #[test]
    fn numbers_come_as_numbers_or_text() {
        assert_eq!(number(&json!("+Inf")), Some(f64::INFINITY));
        assert_eq!(number(&json!(1.5)), Some(1.5));
        assert_eq!(number(&json!(null)), None);
        assert_eq!(millis(&json!(1_700_000_000.050)), Some(1_700_000_000_050));
    }
}
