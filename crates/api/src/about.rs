//! What Prometheus's pages ask of a server beside its series: rules, alerts, configuration, flags, and how it runs.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use firetower_model::Timestamp;
use firetower_topology::format_duration;
use serde_json::{Value, json};

use crate::json::{rfc3339, success};

/// A job: its name, the time between two scrapes of a target, and how long one may take.
pub type JobFound = (String, Duration, Duration);

/// What a process says of itself.
#[derive(Clone)]
pub struct About {
    /// When it started.
    pub started: Timestamp,
    /// Returns how long raw samples are kept.
    pub retention: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// Returns its jobs.
    pub jobs: Arc<dyn Fn() -> Vec<JobFound> + Send + Sync>,
}

/// Returns `GET /api/v1/rules`, `/api/v1/alerts`, and `/api/v1/status/config`, `flags` and `runtimeinfo`.
///
/// There are no rules and no alerts yet. The configuration is the jobs as they are in force, never the file itself, which may hold
/// secrets; of flags there is the retention.
///
/// Source: Prometheus `web/api/v1/api.go`.
pub fn about(about: About) -> Router {
    let (of_config, of_flags) = (about.clone(), about.clone());
    Router::new()
        .route("/api/v1/rules", get(async || success(json!({ "groups": [] }))))
        .route("/api/v1/alerts", get(async || success(json!({ "alerts": [] }))))
        .route("/api/v1/status/config", get(async move || success(json!({ "yaml": yaml(&(of_config.jobs)()) }))))
        .route("/api/v1/status/flags", get(async move || flags(&of_flags)))
        .route("/api/v1/status/runtimeinfo", get(async move || runtime(&about)))
}

/// Writes the jobs as Prometheus's own file would have them.
fn yaml(jobs: &[JobFound]) -> String {
    let mut text = String::from(if jobs.is_empty() { "scrape_configs: []\n" } else { "scrape_configs:\n" });
    for (name, interval, timeout) in jobs {
        let (interval, timeout) = (format_duration(*interval), format_duration(*timeout));
        text.push_str(&format!("- job_name: {}\n", Value::from(name.as_str())));
        text.push_str(&format!("  scrape_interval: {interval}\n  scrape_timeout: {timeout}\n"));
    }
    text
}

fn flags(about: &About) -> Response {
    success(json!({ "storage.tsdb.retention.time": format_duration((about.retention)()) }))
}

fn runtime(about: &About) -> Response {
    success(json!({
        "startTime": rfc3339(about.started),
        "CWD": std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
        "GOMAXPROCS": std::thread::available_parallelism().map_or(1, usize::from),
        "storageRetention": format_duration((about.retention)()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_written_as_yaml() {
        let job = ("a \"b\"".to_owned(), Duration::from_secs(90), Duration::from_millis(500));
        let expected =
            "scrape_configs:\n- job_name: \"a \\\"b\\\"\"\n  scrape_interval: 1m30s\n  scrape_timeout: 500ms\n";
        assert_eq!(yaml(&[job]), expected);
        assert_eq!(yaml(&[]), "scrape_configs: []\n");
    }
}
