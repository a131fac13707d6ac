//! Series as a table.

use serde_json::Value;

use crate::table::{Column, table};

/// Returns one line for each sample.
pub(super) fn query_text(data: &Value) -> String {
    let mut rows = Vec::new();
    for series in data["result"].as_array().into_iter().flatten() {
        let name = selector(&series["metric"]);
        let samples =
            series["values"].as_array().map_or_else(|| vec![&series["value"]], |values| values.iter().collect());
        for sample in samples {
            rows.push(vec![name.clone(), sample[0].to_string(), sample[1].as_str().unwrap_or_default().to_owned()]);
        }
    }
    table(&[Column::Text("SERIES"), Column::Number("TIME"), Column::Number("VALUE")], rows)
}

/// Returns `name{label="value",…}`.
fn selector(metric: &Value) -> String {
    let labels = metric.as_object().into_iter().flatten();
    let pairs: Vec<String> =
        labels.filter(|(name, _)| *name != "__name__").map(|(name, value)| format!("{name}={value}")).collect();
    let name = metric["__name__"].as_str().unwrap_or_default();
    if pairs.is_empty() && !name.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", pairs.join(",")) }
}
