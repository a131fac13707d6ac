//! `firetower store`: looking into a data directory, and copying it.

mod copy;
mod verify;

use std::process::ExitCode;

use firetower_model::Timestamp;
use firetower_store::{Analysis, PairCount, Store, TierExtent};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::arguments::{AnalyzeArguments, Output, StoreCommand};
use crate::output::print;
use crate::table::{Column, bytes, count, table, text};

/// Does what was asked of a store.
pub(crate) fn store(command: &StoreCommand) -> anyhow::Result<ExitCode> {
    match command {
        StoreCommand::Analyze(arguments) => analyze(arguments)?,
        StoreCommand::Check(arguments) => return verify::check(arguments),
        StoreCommand::Backup(arguments) => copy::backup(arguments)?,
        StoreCommand::Restore(arguments) => copy::restore(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what is in a data directory, also while its monitor runs.
fn analyze(arguments: &AnalyzeArguments) -> anyhow::Result<()> {
    let store = Store::open_read_only(&arguments.data)?;
    let found = body(&store.analyze(arguments.limit)?);
    let text = match arguments.output {
        Output::Table => analysis_text(&found),
        Output::Json => format!("{found:#}\n"),
    };
    Ok(print(&text)?)
}

fn body(found: &Analysis) -> Value {
    let cardinality = &found.cardinality;
    let pair = |pair: &PairCount| json!({ "name": pair.name, "value": pair.value, "series": pair.series });
    let tier = |tier: &TierExtent| {
        json!({
            "tier": tier.tier, "buckets": tier.buckets, "bytes": tier.bytes, "samples": tier.samples,
            "bytes_per_sample": tier.bytes_per_sample,
            "from": tier.range.map(|(from, _)| rfc3339(from)), "to": tier.range.map(|(_, to)| rfc3339(to)),
        })
    };
    json!({
        "metrics": cardinality.metrics,
        "targets": cardinality.targets,
        "shapes": cardinality.shapes,
        "series": cardinality.series,
        "label_pairs": cardinality.pairs,
        "tiers": found.tiers.iter().map(tier).collect::<Value>(),
        "families": found.families.iter().map(|(name, bytes)| json!({ "family": name, "bytes": bytes })).collect::<Value>(),
        "by_metric": cardinality.names.iter().map(pair).collect::<Value>(),
        "by_label": cardinality.labels.iter().map(|label| {
            json!({ "name": label.name, "values": label.values, "series": label.series, "bytes": label.bytes })
        }).collect::<Value>(),
        "by_label_pair": cardinality.label_pairs.iter().map(pair).collect::<Value>(),
        "by_target": cardinality.by_target.iter().map(|target| {
            json!({ "target": target.labels.to_string(), "series": target.series })
        }).collect::<Value>(),
    })
}

fn rfc3339(at: Timestamp) -> Value {
    let moment = OffsetDateTime::from_unix_timestamp(at.as_millis().div_euclid(1_000)).ok();
    moment.and_then(|at| at.format(&Rfc3339).ok()).map_or(Value::Null, Value::from)
}

/// Returns the totals in a line, and a table of each kind.
fn analysis_text(found: &Value) -> String {
    let totals = ["metrics", "targets", "shapes", "series", "label_pairs"].map(|key| count(&found[key]));
    let [metrics, targets, shapes, series, pairs] = totals;
    let mut out =
        format!("{series} series: {metrics} metrics of {targets} targets, {shapes} shapes, {pairs} label pairs\n");
    let mut add = |columns: &[Column], rows: Vec<Vec<String>>| {
        out.push('\n');
        out.push_str(&table(columns, rows));
    };
    let rows =
        |key: &str, row: &dyn Fn(&Value) -> Vec<String>| found[key].as_array().into_iter().flatten().map(row).collect();
    let per_sample = |value: &Value| value.as_f64().map_or("-".into(), |bytes| format!("{bytes:.3}"));
    let tier = |tier: &Value| {
        let (from, to) = (text(&tier["from"]), text(&tier["to"]));
        let samples = (count(&tier["samples"]), per_sample(&tier["bytes_per_sample"]));
        vec![text(&tier["tier"]), count(&tier["buckets"]), from, to, bytes(&tier["bytes"]), samples.0, samples.1]
    };
    let columns = [
        Column::Text("TIER"),
        Column::Number("BUCKETS"),
        Column::Text("FROM"),
        Column::Text("TO"),
        Column::Number("BYTES"),
        Column::Number("SETTLED SAMPLES"),
        Column::Number("BYTES/SAMPLE"),
    ];
    add(&columns, rows("tiers", &tier));
    let family = |family: &Value| vec![text(&family["family"]), bytes(&family["bytes"])];
    add(&[Column::Text("FAMILY"), Column::Number("BYTES")], rows("families", &family));
    let metric = |metric: &Value| vec![text(&metric["value"]), count(&metric["series"])];
    add(&[Column::Text("METRIC"), Column::Number("SERIES")], rows("by_metric", &metric));
    let label = |label: &Value| {
        vec![text(&label["name"]), count(&label["values"]), count(&label["series"]), bytes(&label["bytes"])]
    };
    let columns =
        [Column::Text("LABEL"), Column::Number("VALUES"), Column::Number("SERIES"), Column::Number("BYTES OF VALUES")];
    add(&columns, rows("by_label", &label));
    let pair = |pair: &Value| vec![format!("{}={}", text(&pair["name"]), text(&pair["value"])), count(&pair["series"])];
    add(&[Column::Text("LABEL PAIR"), Column::Number("SERIES")], rows("by_label_pair", &pair));
    let target = |target: &Value| vec![text(&target["target"]), count(&target["series"])];
    add(&[Column::Text("TARGET"), Column::Number("SERIES")], rows("by_target", &target));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_analysis_is_tables() {
        let found = json!({
            "metrics": 2, "targets": 1, "shapes": 1, "series": 2, "label_pairs": 3,
            "tiers": [{
                "tier": "raw", "buckets": 1, "bytes": 2_048, "samples": 960, "bytes_per_sample": 0.5,
                "from": "2023-11-14T22:00:00Z", "to": "2023-11-15T00:00:00Z"
            }],
            "families": [{ "family": "raw_blocks", "bytes": 2_048 }],
            "by_metric": [{ "name": "__name__", "value": "up", "series": 1 }],
            "by_label": [{ "name": "job", "values": 1, "series": 2, "bytes": 4 }],
            "by_label_pair": [{ "name": "job", "value": "node", "series": 2 }],
            "by_target": [{ "target": "{job=\"node\"}", "series": 2 }],
        });
        let expected = "\
2 series: 2 metrics of 1 targets, 1 shapes, 3 label pairs

TIER  BUCKETS  FROM                  TO                      BYTES  SETTLED SAMPLES  BYTES/SAMPLE
raw         1  2023-11-14T22:00:00Z  2023-11-15T00:00:00Z  2.0 KiB              960         0.500

FAMILY        BYTES
raw_blocks  2.0 KiB

METRIC  SERIES
up           1

LABEL  VALUES  SERIES  BYTES OF VALUES
job         1       2              4 B

LABEL PAIR  SERIES
job=node         2

TARGET        SERIES
{job=\"node\"}       2
";
        let text = analysis_text(&found);
        assert_eq!(text, expected, "\n{text}");
    }
}
