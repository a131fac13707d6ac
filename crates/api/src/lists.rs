//! Prometheus's lists: series, names of labels, their values, and what is known of metrics.

mod escaped;
mod metadata;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use firetower_model::{Kind, Labels, Matcher, TimeRange, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::blocking::blocking;
use crate::error::Error;
use crate::json;
use crate::params::Params;
use crate::query::matchers;

/// How many lists are made at a time; the others wait.
const CONCURRENT_MAX: usize = 4;
/// How many entries a list may have; with a `limit` below, the first so many are answered.
const ENTRIES_MAX: usize = 1_000_000;
/// What Prometheus says then.
const TRUNCATED: &str = "results truncated due to limit";

/// Calls its last argument with the final labels of each series that matchers let through in a range.
pub type VisitSeries = Arc<dyn Fn(&[Matcher], TimeRange, &mut dyn FnMut(&Labels)) + Send + Sync>;
/// Calls its last argument with sets of labels that together have all names and values of a range.
pub type VisitLabelSets = Arc<dyn Fn(TimeRange, &mut dyn FnMut(&Labels)) + Send + Sync>;
/// Returns the kinds of metrics by name.
pub type ReadKinds = Arc<dyn Fn() -> HashMap<String, Kind> + Send + Sync>;

/// What lists are made from; all may block.
#[derive(Clone)]
pub struct Listed {
    /// Series by matchers.
    pub series: VisitSeries,
    /// All labels.
    pub label_sets: VisitLabelSets,
    /// Kinds of metrics.
    pub kinds: ReadKinds,
}

#[derive(Clone)]
struct Lists {
    listed: Listed,
    running: Arc<Semaphore>,
}

/// Returns `GET` and `POST /api/v1/series` and `/api/v1/labels`, `GET /api/v1/label/NAME/values` and `/api/v1/metadata`.
///
/// `match[]` may come several times, `start` and `end` are exact to the length of a block, `limit` cuts with a warning.
///
/// Source: Prometheus `web/api/v1/api.go`, `series`, `labelNames`, `labelValues`, `metricMetadata`.
pub fn lists(listed: Listed) -> Router {
    let lists = Lists { listed, running: Arc::new(Semaphore::new(CONCURRENT_MAX)) };
    Router::new()
        .route("/api/v1/series", get(series).post(series))
        .route("/api/v1/labels", get(label_names).post(label_names))
        .route("/api/v1/label/{name}/values", get(label_values))
        .route("/api/v1/metadata", get(metadata::metadata))
        .with_state(lists)
}

/// What is asked of a list.
struct Asked {
    selected: Vec<Vec<Matcher>>,
    range: TimeRange,
    limit: Option<usize>,
}

impl Asked {
    fn read(params: &Params) -> Result<Asked, Error> {
        let selected = params.all("match[]").map(matchers).collect::<Result<_, Error>>()?;
        let (start, end) = (params.time("start")?, params.time("end")?);
        // Both ends are inside.
        let end = end.map_or(Timestamp::MAX, |end| Timestamp::from_millis(end.as_millis().saturating_add(1)));
        Ok(Asked { selected, range: TimeRange { start: start.unwrap_or(Timestamp::MIN), end }, limit: limit(params)? })
    }
}

/// Reads `limit`; 0 is none.
fn limit(params: &Params) -> Result<Option<usize>, Error> {
    Ok(Some(params.count("limit", 0, usize::MAX)?).filter(|limit| *limit > 0))
}

/// The first entries of a list, in order, each once.
struct Entries<T> {
    found: BTreeSet<T>,
    limit: usize,
    is_cut: bool,
}

impl<T: Ord> Entries<T> {
    fn new(limit: Option<usize>) -> Entries<T> {
        Entries { found: BTreeSet::new(), limit: limit.unwrap_or(usize::MAX).min(ENTRIES_MAX), is_cut: false }
    }

    fn add(&mut self, entry: T) {
        self.found.insert(entry);
        if self.found.len() > self.limit {
            self.is_cut = true;
            self.found.pop_last();
        }
    }

    /// Returns the answer.
    fn answer(self, limit: Option<usize>, entry: impl Fn(&T) -> Value) -> Result<Value, Error> {
        if self.is_cut && limit.is_none_or(|limit| limit > ENTRIES_MAX) {
            return Err(Error::TooLarge { what: "entries", most: ENTRIES_MAX as u64 });
        }
        let data: Vec<Value> = self.found.iter().map(entry).collect();
        Ok(match self.is_cut {
            true => json!({ "status": "success", "data": data, "warnings": [TRUNCATED] }),
            false => json!({ "status": "success", "data": data }),
        })
    }
}

impl Lists {
    /// Makes a list, as one of a few at a time.
    async fn make(
        self,
        make: impl FnOnce(&Listed) -> Result<Value, Error> + Send + 'static,
    ) -> Result<Response, Error> {
        let _permit = self.running.acquire_owned().await;
        let listed = self.listed;
        Ok(json::plain(&blocking("list series", move || make(&listed)).await?))
    }
}

async fn series(State(lists): State<Lists>, params: Params) -> Result<Response, Error> {
    let asked = Asked::read(&params)?;
    if asked.selected.is_empty() {
        return Err(Error::Missing { name: "match[]" });
    }
    let make = move |listed: &Listed| {
        let mut entries = Entries::new(asked.limit);
        for matchers in &asked.selected {
            (listed.series)(matchers, asked.range, &mut |labels| entries.add(labels.clone()));
        }
        entries.answer(asked.limit, |labels| labels.iter().collect())
    };
    lists.make(make).await
}

/// Calls `visit` with labels that together have what was asked about.
fn visit_labels(listed: &Listed, asked: &Asked, visit: &mut dyn FnMut(&Labels)) {
    if asked.selected.is_empty() {
        return (listed.label_sets)(asked.range, visit);
    }
    for matchers in &asked.selected {
        (listed.series)(matchers, asked.range, visit);
    }
}

async fn label_names(State(lists): State<Lists>, params: Params) -> Result<Response, Error> {
    let asked = Asked::read(&params)?;
    let make = move |listed: &Listed| {
        let mut entries = Entries::new(asked.limit);
        visit_labels(listed, &asked, &mut |labels| {
            for (name, _) in labels.iter().filter(|(_, value)| !value.is_empty()) {
                entries.add(name.to_owned());
            }
        });
        entries.answer(asked.limit, |name| Value::from(name.as_str()))
    };
    lists.make(make).await
}

async fn label_values(State(lists): State<Lists>, Path(name): Path<String>, params: Params) -> Result<Response, Error> {
    let asked = Asked::read(&params)?;
    let name = escaped::unescape(&name);
    let make = move |listed: &Listed| {
        let mut entries = Entries::new(asked.limit);
        visit_labels(listed, &asked, &mut |labels| {
            if let Some(value) = labels.get(&name).filter(|value| !value.is_empty()) {
                entries.add(value.to_owned());
            }
        });
        entries.answer(asked.limit, |value| Value::from(value.as_str()))
    };
    lists.make(make).await
}

#[cfg(test)]
mod tests;
