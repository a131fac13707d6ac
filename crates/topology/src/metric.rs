//! From a page's line to the metric that lies over its target's labels.

use firetower_model::{Labels, labels::NAME};

use crate::relabel::{LabelSet, Rule, apply};
use crate::scrape_config::ScrapeConfig;

/// What a page's label is renamed with where its target has one of the same name.
const EXPORTED: &str = "exported_";

/// Returns the metric of a page's line: what must be laid over `target`'s labels ([`Labels::overlaid`]) to get the
/// series' final ones. A label of the target that rules take away is there with an empty value.
///
/// `page` is the line's labels with `__name__`. `None` if the rules drop the line or take its name away (Prometheus
/// fails the whole scrape in the latter case).
///
/// The answer never depends on the values of the target's labels unless rules read them, so that targets can share
/// it: see [`is_metric_shareable`].
///
/// Source: Prometheus `scrape/scrape.go`, `mutateSampleLabels`.
pub fn metric_labels(config: &ScrapeConfig, target: &Labels, page: &[(&str, &str)]) -> Option<Labels> {
    if config.metric_relabel.is_empty() && is_apart(target, page) {
        let labels = Labels::new(page.iter().filter(|(_, value)| !value.is_empty()).copied());
        return Some(labels).filter(|labels| !labels.name().is_empty());
    }
    let mut labels = LabelSet::new(target);
    let is_targets = |name: &str| target.get(name).is_some();
    let (mut clashing, free): (Vec<_>, Vec<_>) = page.iter().copied().partition(|(name, _)| is_targets(name));
    for (name, value) in free {
        labels.set(name, value);
    }
    if config.honor_labels {
        // An empty value counts here: the Pushgateway's `instance=""` says that the series has no instance.
        clashing.iter().for_each(|(name, value)| labels.set(name, *value));
    } else {
        clashing.retain(|(_, value)| !value.is_empty());
        clashing.sort_by_key(|(name, _)| name.len());
        for (name, value) in clashing {
            labels.set(&exported_name(&labels, name), value);
        }
    }
    let is_kept = apply(&config.metric_relabel, &mut labels) && !labels.get(NAME).is_empty();
    let gone = target.iter().filter(|(name, _)| labels.get(name).is_empty()).map(|(name, _)| (name, ""));
    is_kept.then(|| Labels::new(labels.written().chain(gone)))
}

/// Tells whether a line's labels can be laid over its target's as they are, as nearly all can.
fn is_apart(target: &Labels, page: &[(&str, &str)]) -> bool {
    target.iter().all(|(name, value)| !value.is_empty() && page.iter().all(|(other, _)| *other != name))
}

/// Returns `name` with the prefix as often as it takes to be free.
fn exported_name(labels: &LabelSet, name: &str) -> String {
    let mut exported = format!("{EXPORTED}{name}");
    while !labels.get(&exported).is_empty() {
        exported.insert_str(0, EXPORTED);
    }
    exported
}

/// Tells whether every two targets with labels of these names get the same metric from the same line.
///
/// They do unless a rule of `metric_relabel_configs` reads the value of one of those labels.
pub fn is_metric_shareable(config: &ScrapeConfig, target_label_names: &[&str]) -> bool {
    let reads = |rule: &Rule| target_label_names.iter().any(|name| rule.reads(name));
    !config.metric_relabel.iter().any(reads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_scrape_config;

    fn config(rest: &str) -> ScrapeConfig {
        let text = format!("scrape_configs: [{{job_name: j, {rest}}}]");
        read_scrape_config("job.yml", &text).unwrap_or_else(|c| panic!("{text}: {c:?}")).scrape_configs.remove(0)
    }

    fn pairs(words: &str) -> Vec<(&str, &str)> {
        words.split(' ').filter(|word| !word.is_empty()).map(|word| word.split_once('=').unwrap()).collect()
    }

    /// Checks the metric and the final labels of a line named `m` of a target.
    fn check(job: &str, target: &str, page: &str, metric: &str, last: &str) {
        let target = Labels::new(pairs(target));
        let page: Vec<_> = pairs(page).into_iter().chain([(NAME, "m")]).collect();
        let found = metric_labels(&config(job), &target, &page);
        let Some(found) = found else { return assert_eq!("dropped", metric, "{job} {page:?}") };
        assert_eq!(found, Labels::new(pairs(metric)), "{job} {page:?}");
        assert_eq!(target.overlaid(&found), Labels::new(pairs(last)), "{job} {page:?}");
    }

    #[test]
    fn a_line_becomes_a_metric() {
        let honor = "honor_labels: true";
        #[rustfmt::skip]
        let cases = [
            ("", "job=j", "", "__name__=m", "__name__=m job=j"),
            ("", "job=j", "a=1 b=", "__name__=m a=1", "__name__=m a=1 job=j"),
            ("", "n=2", "n=1", "__name__=m exported_n=1", "__name__=m exported_n=1 n=2"),
            ("", "n=2", "n=", "__name__=m", "__name__=m n=2"),
            ("", "n=2", "n=2", "__name__=m exported_n=2", "__name__=m exported_n=2 n=2"),
            ("", "n=2 exported_n=3", "", "__name__=m", "__name__=m exported_n=3 n=2"),
            ("", "n=2 exported_n=3", "n=1", "__name__=m exported_exported_n=1", "__name__=m exported_exported_n=1 exported_n=3 n=2"),
            ("", "n=2", "n=1 exported_n=4", "__name__=m exported_n=4 exported_exported_n=1", "__name__=m exported_exported_n=1 exported_n=4 n=2"),
            ("", "foo=3 exported_foo=2", "foo=1 exported_foo=0", "__name__=m exported_exported_foo=1 exported_exported_exported_foo=0",
                "__name__=m exported_exported_exported_foo=0 exported_exported_foo=1 exported_foo=2 foo=3"),
            (honor, "n1=0", "n1=1 n2=2", "__name__=m n1=1 n2=2", "__name__=m n1=1 n2=2"),
            (honor, "n1=0", "n1=0", "__name__=m n1=0", "__name__=m n1=0"),
            (honor, "instance=a job=j", "instance= b=", "__name__=m instance=", "__name__=m job=j"),
            ("metric_relabel_configs: [{source_labels: [__name__], regex: m, action: drop}]", "job=j", "", "dropped", ""),
            ("metric_relabel_configs: [{regex: __name__, action: labeldrop}]", "job=j", "", "dropped", ""),
            ("metric_relabel_configs: [{regex: job|a, action: labeldrop}]", "job=j zone=z", "a=1", "__name__=m job=", "__name__=m zone=z"),
            ("metric_relabel_configs: [{target_label: job, replacement: j}]", "job=j", "", "__name__=m job=j", "__name__=m job=j"),
            ("metric_relabel_configs: [{source_labels: [job], target_label: team}]", "job=j", "", "__name__=m team=j", "__name__=m job=j team=j"),
            ("metric_relabel_configs: [{regex: exported_(.*), action: labelmap}]", "job=j", "job=own", "__name__=m exported_job=own job=own", "__name__=m exported_job=own job=own"),
        ];
        for (job, target, page, metric, last) in cases {
            check(job, target, page, metric, last);
        }
    }

    #[test]
    fn a_metric_is_shared_unless_a_rule_reads_the_target() {
        #[rustfmt::skip]
        let cases = [
            ("", true),
            ("honor_labels: true", true),
            ("metric_relabel_configs: [{source_labels: [__name__, le], regex: 'a;1', action: drop}]", true),
            ("metric_relabel_configs: [{source_labels: [__name__, job], regex: 'a;1', action: drop}]", false),
            ("metric_relabel_configs: [{source_labels: [le], target_label: job}]", true),
            ("metric_relabel_configs: [{source_labels: [le], target_label: job, action: keepequal}]", false),
            ("metric_relabel_configs: [{regex: exported_(.*), action: labelmap}]", true),
            ("metric_relabel_configs: [{regex: (j.*), replacement: 'x_$1', action: labelmap}]", false),
            ("metric_relabel_configs: [{regex: job, action: labeldrop}]", true),
        ];
        for (job, expected) in cases {
            let config = config(job);
            assert_eq!(is_metric_shareable(&config, &["instance", "job"]), expected, "{job}");
            let metric = |value: &str| {
                let target = Labels::new([("instance", value), ("job", value)]);
                metric_labels(&config, &target, &[(NAME, "a"), ("job", "1"), ("le", "1")])
            };
            assert!(!expected || metric("1") == metric("2"), "{job}");
        }
    }
}
