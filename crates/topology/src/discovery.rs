//! From groups of addresses to targets.

mod jobs;

use std::time::Duration;

use firetower_model::{Labels, OVER_LIMIT, Target, TargetGroup};

use crate::complaint::Complaint;
use crate::quantity::{format_duration, parse_duration};
use crate::relabel::{LabelSet, apply};
use crate::scrape_config::{ScrapeConfig, read_groups};
use crate::walk::Walk;
use crate::yaml;

pub use jobs::{ResolvedJobs, resolve_jobs};

/// Names of the labels that carry a target's URL and times through relabelling.
const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const SCRAPE_INTERVAL: &str = "__scrape_interval__";
const SCRAPE_TIMEOUT: &str = "__scrape_timeout__";
const PARAM_PREFIX: &str = "__param_";
/// Names of the labels that say which list a group comes from.
const FILE_PATH: &str = "__meta_filepath";
const LIST_URL: &str = "__meta_url";

/// What became of the addresses of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// The targets, sorted, each once.
    pub targets: Vec<Target>,
    /// Whether they are more than the job's `target_limit`: then their URLs begin with [`OVER_LIMIT`].
    pub is_over_limit: bool,
    /// How many addresses the rules dropped.
    pub dropped: usize,
    /// One sentence for each address that is no target and why.
    pub complaints: Vec<String>,
}

/// Reads a file of `file_sd_configs`, JSON or YAML: a list of `{targets: […], labels: {…}}`.
///
/// Each group gets the label `__meta_filepath`, as in Prometheus.
///
/// # Errors
/// Every fault found, in file order.
pub fn read_target_groups(file_name: &str, text: &str) -> Result<Vec<TargetGroup>, Vec<Complaint>> {
    read_labelled_groups(file_name, text, FILE_PATH)
}

/// Reads what a server of `http_sd_configs` answers, written like a file of targets.
///
/// Each group gets the label `__meta_url`, as in Prometheus.
///
/// # Errors
/// Every fault found, in the order of the text.
pub fn read_listed_groups(url: &str, text: &str) -> Result<Vec<TargetGroup>, Vec<Complaint>> {
    read_labelled_groups(url, text, LIST_URL)
}

fn read_labelled_groups(source: &str, text: &str, label: &str) -> Result<Vec<TargetGroup>, Vec<Complaint>> {
    let mut walk = Walk::new(source);
    let mut groups = Vec::new();
    match yaml::parse(text) {
        Ok(tree) => {
            let items = walk.items(&tree);
            groups = read_groups(&mut walk, items, source);
        }
        Err(fault) => walk.complain(fault.place, fault.message),
    }
    for group in &mut groups {
        group.labels.push((label.into(), source.into()));
        group.labels.sort();
    }
    walk.finish().map(|_| groups)
}

/// Makes targets of the addresses in `groups`, which are those of the file and those found by discovery.
///
/// `implied` are the labels that every target gets after its rules have run, whatever they made of them: region and
/// datacenter. A label whose name begins with `__` is for the rules only.
///
/// Source: Prometheus 3 `scrape/target.go`, `PopulateLabels` (which adds no default port).
pub fn resolve_targets(config: &ScrapeConfig, groups: &[TargetGroup], implied: &[(&str, &str)]) -> Resolved {
    let mut resolved = Resolved::default();
    for group in groups {
        for address in &group.targets {
            match resolve(config, group, address, implied) {
                Ok(Some(target)) => resolved.targets.push(target),
                Ok(None) => resolved.dropped += 1,
                Err(reason) => {
                    let job = &config.job_name;
                    resolved.complaints.push(format!("job {job}: target {address} of {}: {reason}", group.source));
                }
            }
        }
    }
    resolved.targets.sort();
    resolved.targets.dedup_by(|a, b| a.labels == b.labels && a.url == b.url);
    resolved.is_over_limit = config.target_limit > 0 && resolved.targets.len() as u64 > config.target_limit;
    if resolved.is_over_limit {
        resolved.targets.iter_mut().for_each(|target| target.url.insert_str(0, OVER_LIMIT));
    }
    resolved
}

/// Makes the target behind one address; `None` if the rules drop it.
fn resolve(
    config: &ScrapeConfig,
    group: &TargetGroup,
    address: &str,
    implied: &[(&str, &str)],
) -> Result<Option<Target>, String> {
    let mut labels = LabelSet::new(group.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    labels.set(ADDRESS, address);
    labels.set_default("job", &config.job_name);
    labels.set_default(SCRAPE_INTERVAL, &format_duration(config.interval));
    labels.set_default(SCRAPE_TIMEOUT, &format_duration(config.timeout));
    labels.set_default(METRICS_PATH, &config.metrics_path);
    labels.set_default(SCHEME, &config.scheme);
    for (name, values) in &config.params {
        if let Some(first) = values.first() {
            labels.set(&format!("{PARAM_PREFIX}{name}"), first.as_str());
        }
    }
    if !apply(&config.relabel, &mut labels) {
        return Ok(None);
    }

    let address = labels.get(ADDRESS).to_owned();
    match address.as_str() {
        "" => return Err("the rules left it no address".into()),
        _ if address.contains(['/', '?', '#', ' ']) => return Err(format!("{address:?} is not host:port")),
        _ => {}
    }
    let interval = read_time(&labels, SCRAPE_INTERVAL)?;
    let timeout = read_time(&labels, SCRAPE_TIMEOUT)?;
    if timeout > interval {
        return Err("its scrape_timeout is longer than its scrape_interval".into());
    }
    let url = url(config, &labels)?;
    labels.set_default("instance", &address);
    labels.retain(|name| !name.starts_with("__"));
    for (name, value) in implied {
        labels.set(name, *value);
    }
    let job_name = config.job_name.clone();
    Ok(Some(Target { job_name, labels: Labels::new(labels.iter()), url, interval, timeout }))
}

fn read_time(labels: &LabelSet, name: &str) -> Result<Duration, String> {
    match parse_duration(labels.get(name)).map_err(|message| format!("{name}: {message}"))? {
        Duration::ZERO => Err(format!("{name} must be longer than zero")),
        duration => Ok(duration),
    }
}

/// Returns `scheme://host:port/path?params`, the parameters in order of their names.
fn url(config: &ScrapeConfig, labels: &LabelSet) -> Result<String, String> {
    let scheme = labels.get(SCHEME);
    if !matches!(scheme, "http" | "https") {
        return Err(format!("its scheme is {scheme:?}, neither http nor https"));
    }
    let path = labels.get(METRICS_PATH);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let path = escape(path, |byte| byte.is_ascii_alphanumeric() || b"-_.~/:@!$&'()*+,;=%".contains(&byte));

    let mut params = config.params.clone();
    for (label, value) in labels.iter() {
        let Some(name) = label.strip_prefix(PARAM_PREFIX) else { continue };
        match params.iter_mut().find(|(own, values)| own == name && !values.is_empty()) {
            Some((_, values)) => values[0] = value.to_owned(),
            None => params.push((name.to_owned(), vec![value.to_owned()])),
        }
    }
    params.sort_by(|a, b| a.0.cmp(&b.0));
    let query: Vec<String> = params
        .iter()
        .flat_map(|(name, values)| {
            values.iter().map(move |value| format!("{}={}", escape_query(name), escape_query(value)))
        })
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(format!("{scheme}://{}{slash}{path}{mark}{}", labels.get(ADDRESS), query.join("&")))
}

fn escape_query(text: &str) -> String {
    escape(text, |byte| byte.is_ascii_alphanumeric() || b"-_.~ ".contains(&byte)).replace(' ', "+")
}

fn escape(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let escaped = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_scrape_config;

    fn config(job: &str) -> ScrapeConfig {
        let text = format!("scrape_configs:\n- {job}\n");
        read_scrape_config("job.yml", &text).unwrap_or_else(|c| panic!("{text}: {c:?}")).scrape_configs.remove(0)
    }

    /// Resolves the static targets of a job; writes each as `labels url interval timeout`.
    fn check(job: &str, expected: &[&str]) {
        let config = config(job);
        let resolved = resolve_targets(&config, &config.static_groups, &[("datacenter", "dub")]);
        let mut found: Vec<String> = resolved
            .targets
            .iter()
            .map(|t| format!("{} {} {} {}", t.labels, t.url, format_duration(t.interval), format_duration(t.timeout)))
            .collect();
        found.extend((0..resolved.dropped).map(|_| "dropped".to_owned()));
        found.extend(resolved.complaints);
        assert_eq!(found, expected, "{job}");
    }

    #[test]
    fn an_address_becomes_a_target() {
        #[rustfmt::skip]
        let cases: [(&str, &[&str]); 13] = [
            ("{job_name: j, static_configs: [{targets: ['b:1', 'a:1', 'a:1']}]}", &[
                r#"{datacenter="dub",instance="a:1",job="j"} http://a:1/metrics 1m 10s"#,
                r#"{datacenter="dub",instance="b:1",job="j"} http://b:1/metrics 1m 10s"#]),
            ("{job_name: j, scheme: https, metrics_path: '/probe page', scrape_interval: 5s, static_configs: [{targets: [a], labels: {zone: z, __meta_x: y, none: ''}}]}", &[
                r#"{datacenter="dub",instance="a",job="j",zone="z"} https://a/probe%20page 5s 5s"#]),
            ("{job_name: j, params: {module: [http_2xx, b], a: ['x y&']}, static_configs: [{targets: ['a:1'], labels: {__param_target: 't/é'}}]}", &[
                r#"{datacenter="dub",instance="a:1",job="j"} http://a:1/metrics?a=x+y%26&module=http_2xx&module=b&target=t%2F%C3%A9 1m 10s"#]),
            ("{job_name: j, params: {target: [a, b]}, relabel_configs: [{source_labels: [__address__], target_label: __param_target}, {target_label: __address__, replacement: 'probe:9115'}, {source_labels: [__param_target], target_label: instance}], static_configs: [{targets: ['a:1']}]}", &[
                r#"{datacenter="dub",instance="a:1",job="j"} http://probe:9115/metrics?target=a%3A1&target=b 1m 10s"#]),
            ("{job_name: j, relabel_configs: [{source_labels: [__address__], regex: 'a:.*', action: drop}], static_configs: [{targets: ['a:1', 'b:1']}]}", &[
                r#"{datacenter="dub",instance="b:1",job="j"} http://b:1/metrics 1m 10s"#, "dropped"]),
            ("{job_name: j, static_configs: [{targets: ['a:1'], labels: {job: own, instance: me, datacenter: ams, __scrape_interval__: 2s, __scrape_timeout__: 1s, __metrics_path__: m}}]}", &[
                r#"{datacenter="dub",instance="me",job="own"} http://a:1/m 2s 1s"#]),
            ("{job_name: j, relabel_configs: [{regex: job|instance, action: labeldrop}], static_configs: [{targets: ['a:1']}]}", &[
                r#"{datacenter="dub",instance="a:1"} http://a:1/metrics 1m 10s"#]),
            ("{job_name: j, relabel_configs: [{source_labels: [__scrape_interval__, __scrape_timeout__, __scheme__, __metrics_path__], target_label: seen}], static_configs: [{targets: ['a:1']}]}", &[
                r#"{datacenter="dub",instance="a:1",job="j",seen="1m;10s;http;/metrics"} http://a:1/metrics 1m 10s"#]),
            ("{job_name: j, relabel_configs: [{target_label: __address__, replacement: ''}], static_configs: [{targets: ['a:1']}]}", &[
                "job j: target a:1 of static:0: the rules left it no address"]),
            ("{job_name: j, relabel_configs: [{target_label: __address__, replacement: 'a/b'}], static_configs: [{targets: ['a:1']}]}", &[
                r#"job j: target a:1 of static:0: "a/b" is not host:port"#]),
            ("{job_name: j, static_configs: [{targets: ['a:1'], labels: {__scrape_interval__: 5s}}]}", &[
                "job j: target a:1 of static:0: its scrape_timeout is longer than its scrape_interval"]),
            ("{job_name: j, static_configs: [{targets: ['a:1'], labels: {__scrape_interval__: 5}}]}", &[
                r#"job j: target a:1 of static:0: __scrape_interval__: "5" needs a unit, such as 5s"#]),
            ("{job_name: j, static_configs: [{targets: ['a:1'], labels: {__scheme__: ftp}}]}", &[
                r#"job j: target a:1 of static:0: its scheme is "ftp", neither http nor https"#]),
        ];
        for (job, expected) in cases {
            check(job, expected);
        }
    }

    #[test]
    fn above_its_target_limit_a_job_keeps_its_targets_and_marks_them() {
        let mut config = config("{job_name: j, static_configs: [{targets: ['a:1', 'b:2', 'a:1']}]}");
        for (limit, is_over) in [(0, false), (1, true), (2, false)] {
            config.target_limit = limit;
            let resolved = resolve_targets(&config, &config.static_groups, &[]);
            assert_eq!((resolved.targets.len(), resolved.is_over_limit), (2, is_over), "{limit}");
            let url = if is_over { "over-target-limit+http://a:1/metrics" } else { "http://a:1/metrics" };
            assert_eq!((resolved.targets[0].url.as_str(), resolved.targets[0].node_key()), (url, "a:1"));
        }
    }

    #[test]
    fn a_list_names_its_url() {
        let groups = read_listed_groups("http://h/l", "[{\"targets\": [\"a:1\"]}]").unwrap();
        assert_eq!(groups[0].labels, [("__meta_url".to_owned(), "http://h/l".to_owned())]);
        assert_eq!(groups[0].source, "http://h/l:0");
    }

    #[test]
    fn a_file_of_targets_is_json_or_yaml() {
        let expected = [TargetGroup {
            source: "t.json:0".into(),
            targets: vec!["a:1".into(), "b:2".into()],
            labels: vec![(FILE_PATH.into(), "t.json".into()), ("zone".into(), "z".into())],
        }];
        for text in [
            "[\n\t{\"targets\": [\"a:1\", \"b:2\"], \"labels\": {\"zone\": \"z\"}}\n]",
            "- targets: [ 'a:1', 'b:2' ]\n  labels: { zone: z }",
        ] {
            assert_eq!(read_target_groups("t.json", text).as_deref(), Ok(&expected[..]), "{text}");
        }
        let complaints = read_target_groups("t.json", "[{\"target\": [\"a:1\"]}]").unwrap_err();
        let expected = "t.json:1:3: unknown key \"target\" in a group of targets: did you mean \"targets\"?";
        assert_eq!(complaints[0].to_string(), expected);
    }
}
