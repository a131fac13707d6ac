//! One question to the whole tree: it is answered as if all series were in one place, and says who is missing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_model::{Labels, Matcher, Sample, Select, Series, TimeRange, Timestamp};
use firetower_promql::{Limits, Query, Question, Steps, Value};
use firetower_tests::{Layout, RawSeries, Tree, encode, now_ms, wait_for};
use serde_json::{Value as Json, json};

/// How long what is waited for may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// How long ago a moment is of which all samples have come: a scrape may take less than a second.
const SETTLED_MS: i64 = 3_000;
/// What is asked. The fleet's metrics differ, so all are taken by their job.
const QUERIES: &[&str] = &[
    "count by (datacenter) (up)",
    "up{datacenter=\"dub\"}",
    "sum by (datacenter) (count_over_time(scrape_samples_scraped[1h]))",
    "sum by (__name__) ({job=\"fleet\"})",
    "avg({job=\"fleet\"}) + stddev({job=\"fleet\"})",
    "sort(topk by (datacenter) (2, scrape_duration_seconds))",
    "quantile by (__name__) (0.9, {job=\"fleet\"})",
    "count_values(\"up\", up == bool 1)",
    "sum by (instance) (rate(scrape_samples_scraped[30s]) + on (datacenter, instance) up)",
    "max_over_time(sum(up)[20s:5s])",
    "absent(up) or absent(nothing{here=\"or there\"})",
    "scalar(count(up)) - 1",
    "scrape_samples_scraped[1h]",
    "label_replace(up, \"where\", \"$1\", \"datacenter\", \"(.).*\")",
];

struct Memory(Vec<RawSeries>);

impl Select for Memory {
    type Error = Infallible;

    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Infallible>>, Infallible> {
        let matchers = matchers.to_vec();
        Ok(self.0.iter().filter_map(move |series| {
            let labels = Labels::new(&series.labels);
            let samples = series.samples.iter();
            let samples = samples.map(|(at, value)| Sample { at: Timestamp::from_millis(*at), value: *value });
            let samples: Vec<Sample> = samples.filter(|sample| range.contains(sample.at)).collect();
            let is_match = matchers.iter().all(|matcher| matcher.is_match_labels(&labels)) && !samples.is_empty();
            is_match.then(|| Ok(vec![Series { labels, samples }]))
        }))
    }
}

/// Labels, and what stands at each time.
type Answer = BTreeMap<String, Vec<(i64, f64)>>;

fn expected(memory: &Memory, query: &str, at_ms: i64) -> Result<Answer> {
    let question =
        Question { steps: Steps::instant(Timestamp::from_millis(at_ms)), look_back: Duration::from_secs(300) };
    let answer = Query::parse(query)?.evaluate(memory, &question, &Limits::PROMETHEUS, &|| false)?;
    Ok(match answer.value {
        Value::Scalar(values) => BTreeMap::from([(String::new(), vec![(at_ms, values[0])])]),
        Value::Vector(curves) => {
            curves.into_iter().map(|curve| (written(&curve.labels), vec![(at_ms, curve.values[0])])).collect()
        }
        Value::Samples(found) => {
            let samples = |series: &Series| series.samples.iter().map(|s| (s.at.as_millis(), s.value)).collect();
            found.iter().map(|series| (written(&series.labels), samples(series))).collect()
        }
        Value::Text(text) => anyhow::bail!("{text} is no number"),
    })
}

fn written(labels: &Labels) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value},")).collect()
}

fn ask(tree: &Tree, name: &str, query: &str, at_ms: i64) -> Result<Json> {
    let path = format!("/api/v1/query?query={}&time={}", encode(query), at_ms as f64 / 1e3);
    let answer = tree.ask(name).json(&path)?;
    ensure!(answer["status"] == "success", "{query}: {answer}");
    Ok(answer)
}

fn read(answer: &Json) -> Result<Answer> {
    let point = |point: &Json| {
        let at = point[0].as_f64().context("time")?;
        let value = point[1].as_str().context("value")?;
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse()? };
        Ok(((at * 1e3).round() as i64, value))
    };
    let data = &answer["data"];
    if data["resultType"] == "scalar" {
        return Ok(BTreeMap::from([(String::new(), vec![point(&data["result"])?])]));
    }
    let mut found = Answer::new();
    for series in data["result"].as_array().context("result")? {
        let labels: BTreeMap<String, String> = serde_json::from_value(series["metric"].clone())?;
        let points = match series["values"].as_array() {
            Some(values) => values.iter().map(point).collect::<Result<_>>()?,
            None => vec![point(&series["value"])?],
        };
        let labels = labels.iter().map(|(name, value)| format!("{name}={value},")).collect();
        ensure!(found.insert(labels, points).is_none(), "a series comes twice: {answer}");
    }
    Ok(found)
}

/// Asks everything of `name`, and compares with what follows from all raw samples.
fn check_all(tree: &Tree, name: &str, at_ms: i64) -> Result<()> {
    let memory = Memory(tree.raw()?);
    let within = |datacenter: &str| {
        let here = |series: &&RawSeries| series.labels.get("datacenter").is_some_and(|label| label == datacenter);
        Memory(
            memory
                .0
                .iter()
                .filter(here)
                .map(|s| RawSeries { labels: s.labels.clone(), samples: s.samples.clone() })
                .collect(),
        )
    };
    let datacenter = tree.datacenter(name);
    let memory = if datacenter.is_empty() { memory } else { within(datacenter) };
    for query in QUERIES {
        let (expected, found) = (expected(&memory, query, at_ms)?, read(&ask(tree, name, query, at_ms)?)?);
        let is_near = |a: &(i64, f64), b: &(i64, f64)| {
            a.0 == b.0
                && (a.1 == b.1 || (a.1 - b.1).abs() <= 1e-12 * (a.1.abs() + b.1.abs()) || a.1.is_nan() && b.1.is_nan())
        };
        let is_same = expected.len() == found.len()
            && expected
                .iter()
                .zip(&found)
                .all(|(a, b)| a.0 == b.0 && a.1.len() == b.1.len() && a.1.iter().zip(b.1).all(|(a, b)| is_near(a, b)));
        ensure!(is_same, "{name}: {query}\nfound {found:?}\nnot   {expected:?}");
        let is_empty_fine = !datacenter.is_empty() || query.starts_with("absent");
        ensure!(is_empty_fine || !found.is_empty(), "{query} has no answer");
    }
    Ok(())
}

#[test]
fn all_monitors_answer_as_if_all_series_were_theirs() -> Result<()> {
    let layout = Layout { datacenters: 2, primaries: 2, targets: 10, series: 30, ..Layout::default() };
    Tree::check(layout, |tree| {
        tree.wait_complete("global-0")?;
        tree.wait_sampled("dub-s0", 3)?;
        let at_ms = now_ms() - SETTLED_MS;
        for name in ["global-0", "dub-p0", "dub-p1", "ams-p0"] {
            check_all(tree, name, at_ms)?;
        }
        let coverage = &ask(tree, "global-0", "up", at_ms)?["coverage"];
        ensure!(*coverage == json!({ "expected": 20, "answered": 20, "missing": [] }), "{coverage}");
        let coverage = &ask(tree, "global-0", "up{datacenter=\"ams\"}", at_ms)?["coverage"];
        ensure!(*coverage == json!({ "expected": 10, "answered": 10, "missing": [] }), "{coverage}");
        let names = tree.ask("global-0").json("/api/v1/label/instance/values")?;
        ensure!(names["data"].as_array().map(Vec::len) == Some(10), "{names}");
        let series = tree.ask("dub-p1").json(&format!("/api/v1/series?match[]={}", encode("up")))?;
        ensure!(series["data"].as_array().map(Vec::len) == Some(10), "{series}");
        let (status, body) = tree.ask("global-0").get(&format!("/api/v1/query?query={}", encode("up + on () up")))?;
        ensure!(status == 422 && body.contains("many-to-many"), "{status}: {body}");
        Ok(())
    })
}

#[test]
fn series_of_targets_that_moved_are_joined() -> Result<()> {
    // Each role has a topology file of its own there.
    let layout = Layout { targets: 12, series: 30, proxied: true, ..Layout::default() };
    Tree::check(layout, |tree| {
        tree.wait_complete("global-0")?;
        tree.wait_sampled("dub-s0", 2)?;
        let file = tree.directory().join("primary.yaml");
        let whole = std::fs::read_to_string(&file)?;
        let at = whole.find(", { node: dub-s1").context("the second secondary")?;
        let end = at + whole[at..].find('}').context("its end")? + 1;
        let owned = |tree: &Tree, name: &str| -> Result<Option<u64>> {
            let coverage = &ask(tree, "dub-p0", "up", now_ms())?["coverage"];
            let targets = tree.ask(name).json("/api/v1/targets")?["data"]["activeTargets"].as_array().map(Vec::len);
            Ok((coverage["missing"] == json!([])).then_some(targets.unwrap_or(0) as u64))
        };
        // All go to the first, and some of them back.
        for (text, expected) in [(format!("{}{}", &whole[..at], &whole[end..]), 12), (whole.clone(), 6)] {
            std::fs::write(&file, text)?;
            let (status, body) = tree.ask("dub-p0").post("/-/reload")?;
            ensure!(status == 200, "{status}: {body}");
            wait_for("the targets to move", LIMIT, || {
                Ok(owned(tree, "dub-s0")?.filter(|count| (*count == 12) == (expected == 12)))
            })?;
            tree.wait_sampled("dub-s0", 3)?;
        }
        tree.wait_sampled("dub-s1", 2)?;
        let at_ms = now_ms() - SETTLED_MS;
        for name in ["dub-p0", "global-0"] {
            check_all(tree, name, at_ms)?;
        }
        let coverage = &ask(tree, "global-0", "up", at_ms)?["coverage"];
        ensure!(*coverage == json!({ "expected": 12, "answered": 12, "missing": [] }), "{coverage}");
        Ok(())
    })
}

#[test]
fn who_does_not_answer_is_named_and_not_waited_for() -> Result<()> {
    let layout = Layout { datacenters: 2, targets: 10, series: 10, ..Layout::default() };
    Tree::check(layout, |tree| {
        tree.wait_complete("global-0")?;
        let count = |tree: &Tree| -> Result<(f64, Json)> {
            let answer = ask(tree, "global-0", "count(up)", now_ms())?;
            let value = read(&answer)?.into_values().next().context("a count")?[0].1;
            Ok((value, answer))
        };
        wait_for("all to answer", LIMIT, || Ok((count(tree)?.0 == 20.0).then_some(())))?;
        let targets = |tree: &Tree, name: &str| -> Result<u64> {
            let targets = tree.ask(name).json("/api/v1/targets")?;
            Ok(targets["data"]["activeTargets"].as_array().context("targets")?.len() as u64)
        };
        let (hung, dead) = (targets(tree, "dub-s0")?, targets(tree, "ams-s1")?);
        tree.signal("dub-s0", "STOP")?;
        tree.kill("ams-s1")?;
        let answered = 20 - hung - dead;
        let check = |(value, answer): (f64, Json)| {
            let coverage = &answer["coverage"];
            ensure!(value == answered as f64 && coverage["answered"] == answered, "{answer}");
            ensure!(coverage["expected"] == 20, "{answer}");
            let missing = coverage["missing"].as_array().context("missing")?;
            let named: Vec<_> = missing.iter().map(|one| (one["node"].as_str(), one["targets"].as_u64())).collect();
            ensure!(named == [(Some("ams-s1"), Some(dead)), (Some("dub-s0"), Some(hung))], "{answer}");
            let warnings = answer["warnings"].as_array().context("warnings")?;
            ensure!(
                warnings.len() == 2 && answer["warnings"].to_string().contains("dub-s0 did not answer"),
                "{answer}"
            );
            Ok(())
        };
        // At first it is asked in vain, and once its heartbeats are missed no more.
        check(count(tree)?)?;
        wait_for("missed heartbeats", LIMIT, || {
            let answer = count(tree)?;
            let is_noted = answer.1.to_string().contains("no heartbeat")
                || answer.1.to_string().contains("dub-s0 did not answer (not connected)");
            check(answer)?;
            Ok(is_noted.then_some(()))
        })?;
        tree.signal("dub-s0", "CONT")?;
        tree.restart("ams-s1")?;
        wait_for("all to answer again", LIMIT, || Ok((count(tree)?.1["coverage"]["answered"] == 20).then_some(())))
    })
}
