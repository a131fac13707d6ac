//! `GET /api/v1/metadata`: the types of metrics. What a page says beside, in `# HELP` and `# UNIT`, is not kept.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use firetower_model::Kind;
use firetower_query::Lister;
use serde_json::{Value, json};

use super::{Lists, limit, success};
use crate::error::Error;
use crate::params::Params;

pub(super) async fn metadata(State(lists): State<Lists>, params: Params) -> Result<Response, Error> {
    let limit = limit(&params)?.unwrap_or(usize::MAX);
    let only = params.get("metric").map(str::to_owned);
    let make = move |lister: &dyn Lister| {
        let mut families: BTreeMap<String, &str> = BTreeMap::new();
        let (kinds, answered) = lister.kinds()?;
        for (name, kind) in kinds {
            if let Some(word) = word(kind) {
                families.insert(family(&name, kind).to_owned(), word);
            }
        }
        let asked = families.into_iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name));
        let entry = |(name, word)| (name, json!([{ "type": word, "help": "", "unit": "" }]));
        let data: serde_json::Map<String, Value> = asked.take(limit).map(entry).collect();
        Ok(success(data.into(), Vec::new(), answered.as_ref()))
    };
    lists.make(make).await
}

/// Returns Prometheus's word for a kind that somebody has said.
fn word(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Unknown => None,
        Kind::Counter => Some("counter"),
        Kind::Gauge => Some("gauge"),
        Kind::Histogram => Some("histogram"),
        Kind::Summary => Some("summary"),
    }
}

/// Returns the name that the `# TYPE` line of a metric has.
fn family(name: &str, kind: Kind) -> &str {
    let suffixes: &[&str] = match kind {
        Kind::Histogram => &["_bucket", "_count", "_sum"],
        Kind::Summary => &["_count", "_sum"],
        Kind::Unknown | Kind::Counter | Kind::Gauge => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}
