//! The health of targets as a line and a table.

use serde_json::Value;

use crate::table::{Column, count, decimal, table, text};

/// Returns the counts, and a table of the targets listed.
pub(crate) fn health_text(body: &Value) -> String {
    let mut out = format!(
        "{} targets: {} online, {} degraded, {} offline; {} of {} workloads failed\n",
        count(&body["total_nodes"]),
        count(&body["online_nodes"]),
        count(&body["degraded_nodes"]),
        count(&body["offline_nodes"]),
        count(&body["failed_workloads"]),
        count(&body["desired_workloads"]),
    );
    let nodes = body["node_details"].as_array().map(Vec::as_slice).unwrap_or_default();
    if nodes.is_empty() {
        return out;
    }
    let columns = [
        Column::Text("TARGET"),
        Column::Text("STATE"),
        Column::Number("FAILURES"),
        Column::Text("LAST CHECK"),
        Column::Number("RESPONSE"),
        Column::Number("CPU %"),
        Column::Number("MEMORY %"),
    ];
    let rows = nodes.iter().map(|node| {
        vec![
            text(&node["node_key"]),
            text(&node["status"]),
            count(&node["consecutive_failures"]),
            text(&node["last_check"]),
            node["response_time"].as_f64().map_or("-".into(), |seconds| format!("{:.1} ms", seconds * 1e3)),
            decimal(&node["cpu_usage"]),
            decimal(&node["memory_usage"]),
        ]
    });
    out.push('\n');
    out.push_str(&table(&columns, rows.collect()));
    out
}
