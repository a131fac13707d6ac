//! Prometheus's lists: series, names of labels, their values, and what is known of metrics.

mod escaped;
mod metadata;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use firetower_model::{Answered, Listing, Matcher, TimeRange, Timestamp};
use firetower_query::{Entry, Lister};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::blocking::blocking;
use crate::compressed::compressed;
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

#[derive(Clone)]
struct Lists {
    lister: Arc<dyn Lister>,
    running: Arc<Semaphore>,
}

/// Returns `GET` and `POST /api/v1/series` and `/api/v1/labels`, `GET /api/v1/label/NAME/values` and `/api/v1/metadata`.
///
/// `match[]` may come several times, `start` and `end` are exact to the length of a block, `limit` cuts with a warning.
///
/// Source: Prometheus `web/api/v1/api.go`, `series`, `labelNames`, `labelValues`, `metricMetadata`.
pub(crate) fn lists(lister: Arc<dyn Lister>) -> Router {
    let lists = Lists { lister, running: Arc::new(Semaphore::new(CONCURRENT_MAX)) };
    let router = Router::new()
        .route("/api/v1/series", get(series).post(series))
        .route("/api/v1/labels", get(label_names).post(label_names))
        .route("/api/v1/label/{name}/values", get(label_values))
        .route("/api/v1/metadata", get(metadata::metadata))
        .with_state(lists);
    compressed(router)
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
    fn answer(
        self,
        limit: Option<usize>,
        answered: Option<Answered>,
        entry: impl Fn(&T) -> Value,
    ) -> Result<Value, Error> {
        if self.is_cut && limit.is_none_or(|limit| limit > ENTRIES_MAX) {
            return Err(Error::TooLarge { what: "entries", most: ENTRIES_MAX as u64 });
        }
        let data: Vec<Value> = self.found.iter().map(entry).collect();
        let warnings = if self.is_cut { vec![TRUNCATED.to_owned()] } else { Vec::new() };
        Ok(success(json!(data), warnings, answered.as_ref()))
    }
}

impl Lists {
    /// Makes a list, as one of a few at a time.
    async fn make(
        self,
        make: impl FnOnce(&dyn Lister) -> Result<Value, Error> + Send + 'static,
    ) -> Result<Response, Error> {
        let _permit = self.running.acquire_owned().await;
        let lister = self.lister;
        Ok(json::plain(&blocking("list series", move || make(&*lister)).await?))
    }
}

async fn series(State(lists): State<Lists>, params: Params) -> Result<Response, Error> {
    let asked = Asked::read(&params)?;
    if asked.selected.is_empty() {
        return Err(Error::Missing { name: "match[]" });
    }
    let make = move |lister: &dyn Lister| {
        let mut entries = Entries::new(asked.limit);
        let answered = lister.list(&Listing::Series, &asked.selected, asked.range, &mut |entry| {
            if let Entry::Labels(labels) = entry {
                entries.add(labels.clone());
            }
        });
        entries.answer(asked.limit, answered?, |labels| labels.iter().collect())
    };
    lists.make(make).await
}

/// Lists what `listing` says.
async fn texts(lists: Lists, listing: Listing, asked: Asked) -> Result<Response, Error> {
    let make = move |lister: &dyn Lister| {
        let mut entries = Entries::new(asked.limit);
        let answered = lister.list(&listing, &asked.selected, asked.range, &mut |entry| {
            if let Entry::Text(text) = entry {
                entries.add(text.to_owned());
            }
        });
        entries.answer(asked.limit, answered?, |text| Value::from(text.as_str()))
    };
    lists.make(make).await
}

async fn label_names(State(lists): State<Lists>, params: Params) -> Result<Response, Error> {
    texts(lists, Listing::Names, Asked::read(&params)?).await
}

async fn label_values(State(lists): State<Lists>, Path(name): Path<String>, params: Params) -> Result<Response, Error> {
    texts(lists, Listing::Values(escaped::unescape(&name)), Asked::read(&params)?).await
}

/// Returns an answer, and says who is missing from it.
fn success(data: Value, mut warnings: Vec<String>, answered: Option<&Answered>) -> Value {
    let mut answer = json!({ "status": "success", "data": data });
    if let Some(answered) = answered {
        warnings.extend(json::missing(answered));
        answer["coverage"] = json::coverage(answered);
    }
    if !warnings.is_empty() {
        answer["warnings"] = json!(warnings);
    }
    answer
}

#[cfg(test)]
mod tests;
