//! What is asked.

use std::collections::BTreeSet;

use firetower_benches::Page;
use firetower_scrape::SYNTHETIC;

/// How far apart the steps of a range are.
const STEP_SECONDS: u64 = 60;

/// What of its answers has to be equal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    Values,
    /// VictoriaMetrics means another thing by it: of its answer, how many series there are.
    ValuesOfPrometheus,
    /// Which of several equals are taken is open: how many series there are.
    Series,
}

/// A question, of one query or several.
pub(crate) struct Question {
    pub(crate) name: &'static str,
    pub(crate) compared: Compared,
    /// Whether it is asked once only: it says that all have the same data.
    pub(crate) is_once: bool,
    /// Path and query of each request.
    pub(crate) paths: Vec<String>,
}

/// What one target's page of a dashboard asks; `$` stands for the matcher of the target.
const PANEL: [&str; 20] = [
    "1 - avg(rate(node_cpu_seconds_total{mode=\"idle\",$}[5m]))",
    "sum by (mode) (rate(node_cpu_seconds_total{$}[5m]))",
    "node_load1{$}",
    "node_load5{$}",
    "node_load15{$}",
    "node_memory_MemTotal_bytes{$}",
    "node_memory_MemAvailable_bytes{$}",
    "1 - node_memory_MemAvailable_bytes{$} / node_memory_MemTotal_bytes{$}",
    "node_memory_Cached_bytes{$}",
    "node_filesystem_avail_bytes{$} / node_filesystem_size_bytes{$}",
    "rate(node_network_receive_bytes_total{$}[5m])",
    "rate(node_network_transmit_bytes_total{$}[5m])",
    "rate(node_network_receive_packets_total{$}[5m])",
    "rate(node_network_transmit_packets_total{$}[5m])",
    "rate(node_disk_read_bytes_total{$}[5m])",
    "rate(node_disk_written_bytes_total{$}[5m])",
    "rate(node_disk_io_time_seconds_total{$}[5m])",
    "rate(node_context_switches_total{$}[5m])",
    "max_over_time(node_procs_running{$}[5m])",
    "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{$}[5m])))",
];

/// Returns the questions about the `seconds` before `end_ms` of targets with this `page`, some of them about the target `instance` alone.
pub(crate) fn questions(end_ms: i64, seconds: u64, instance: &str, page: &Page) -> Vec<Question> {
    // Just before the end, where no sample lies: what is on the edge of a range belongs to it for some.
    let end = (end_ms - 1) as f64 / 1e3;
    let start = end - seconds as f64;
    let instant = |query: &str| format!("/api/v1/query?query={}&time={end}&timeout=10m", escaped(query));
    let range = |query: &str| {
        let query = escaped(query);
        format!("/api/v1/query_range?query={query}&start={start}&end={end}&step={STEP_SECONDS}&timeout=10m")
    };
    let of_target = |query: &str| range(&query.replace('$', &format!("instance=\"{instance}\"")));
    let of = |name, paths| Question { name, compared: Compared::ValuesOfPrometheus, is_once: false, paths };
    let same = |name, paths| Question { compared: Compared::Values, ..of(name, paths) };
    let once = |name, paths| Question { is_once: true, ..same(name, paths) };
    let names: BTreeSet<&str> = page.lines().iter().map(|line| line.name.as_str()).chain(SYNTHETIC).collect();
    let count = |name: &str| format!("sum(count_over_time({name}[{seconds}s]))");
    let by_mode = "sum by (mode) (rate(node_cpu_seconds_total[5m]))";
    vec![
        same("count(up == 0)", vec![instant("count(up == 0)")]),
        of("cpu rate by job", vec![instant("sum by (job) (rate(node_cpu_seconds_total[5m]))")]),
        of("cpu rate by mode", vec![instant(by_mode)]),
        of("cpu rate by mode, range", vec![range(by_mode)]),
        Question { compared: Compared::Series, ..of("topk of load", vec![instant("topk(10, node_load1)")]) },
        same("quantile of load", vec![instant("quantile(0.95, node_load1)")]),
        of(
            "histogram_quantile over all",
            vec![instant("histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))")],
        ),
        of(
            "busy cpu of each, range",
            vec![range("1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m]))")],
        ),
        of("one target's network, range", vec![of_target("rate(node_network_receive_bytes_total{$}[5m])")]),
        of("one target's panel of 20, range", PANEL.iter().map(|query| of_target(query)).collect()),
        once("how many series", vec![instant("count({__name__=~\".+\"})")]),
        once("how many samples", names.iter().map(|name| instant(&count(name))).collect()),
    ]
}

fn escaped(query: &str) -> String {
    query.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_what_a_panel_asks_for() {
        let page = Page::of_dashboards(1, 200);
        assert_eq!(page.lines().len(), 200);
        let names: Vec<&str> = page.lines().iter().map(|line| line.name.as_str()).collect();
        let words = PANEL.iter().flat_map(|query| query.split(|c: char| !c.is_alphanumeric() && c != '_'));
        for word in words.filter(|word| word.starts_with("node_") || word.starts_with("http_")) {
            assert!(names.contains(&word), "{word}");
        }
    }
}
