//! `GET /federate`: the newest sample of each selected series, as a page that can be scraped.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use firetower_daemon::Clock;
use firetower_model::labels::NAME;
use firetower_model::{Labels, Matcher, Sample, Select, TimeRange, Timestamp, is_stale};
use firetower_query::{Reader, Source};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::compressed::compressed;
use crate::error::Error;
use crate::json::{missing, write_value};
use crate::params::Params;
use crate::query::matchers;

/// How many pages are written at a time; the others wait.
const CONCURRENT_MAX: usize = 4;
/// How many series a page may have.
const SERIES_MAX: usize = 1_000_000;
/// How long those below may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How old the newest sample of a series may be. Prometheus's `--query.lookback-delta`.
const LOOK_BACK: Duration = Duration::from_secs(5 * 60);
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

struct Pages<S> {
    source: Arc<S>,
    clock: Clock,
    running: Arc<Semaphore>,
}

impl<S> Clone for Pages<S> {
    fn clone(&self) -> Pages<S> {
        Pages { source: Arc::clone(&self.source), clock: self.clock.clone(), running: Arc::clone(&self.running) }
    }
}

/// Returns `GET /federate`, with one `match[]` or several; without any the page is empty. A series that has ended is left out.
///
/// Source: Prometheus `web/federate.go`.
pub(crate) fn federate<S: Source>(source: S, clock: Clock) -> Router {
    let pages = Pages { source: Arc::new(source), clock, running: Arc::new(Semaphore::new(CONCURRENT_MAX)) };
    compressed(Router::new().route("/federate", get(answer::<S>)).with_state(pages))
}

async fn answer<S: Source>(State(pages): State<Pages<S>>, params: Params) -> Result<Response, Error> {
    let selected: Vec<Vec<Matcher>> = params.all("match[]").map(matchers).collect::<Result<_, Error>>()?;
    let _permit = pages.running.acquire_owned().await;
    let (source, now) = (pages.source, pages.clock.now());
    let read = move || {
        let reader = source.open(Instant::now() + LIMIT, Arc::new(|| false));
        let text = page(&reader, &selected, now)?;
        // A page cannot say that it lacks something: whoever scrapes it would take those series for ended.
        match reader.answered().filter(|answered| !answered.missing.is_empty()) {
            None => Ok(text),
            Some(answered) => Err(Error::Incomplete { missing: missing(&answered).collect() }),
        }
    };
    let text = blocking("read series", read).await?;
    Ok(([(header::CONTENT_TYPE, TEXT)], text).into_response())
}

fn page<S: Select>(select: &S, selected: &[Vec<Matcher>], now: Timestamp) -> Result<String, Error> {
    let unavailable = |source: S::Error| Error::Unavailable { step: "read series", source: Box::new(source) };
    // The left edge is not inside, the right one is.
    let edge = |at: Timestamp| Timestamp::from_millis(at.as_millis().saturating_add(1));
    let range = TimeRange { start: edge(now - LOOK_BACK), end: edge(now) };
    let mut newest: BTreeMap<Labels, Sample> = BTreeMap::new();
    for matchers in selected {
        for batch in select.select(matchers, range).map_err(unavailable)? {
            for series in batch.map_err(unavailable)? {
                if let Some(sample) = series.samples.last().filter(|sample| !is_stale(sample.value)) {
                    newest.insert(series.labels, *sample);
                }
            }
            if newest.len() > SERIES_MAX {
                return Err(Error::TooLarge { what: "series", most: SERIES_MAX as u64 });
            }
        }
    }
    let mut sorted: Vec<(&Labels, &Sample)> = newest.iter().collect();
    // A name's series lie together, whatever labels sort before it.
    sorted.sort_by_key(|(labels, _)| labels.name());
    let (mut text, mut name) = (String::new(), None);
    for (labels, sample) in sorted {
        if name.replace(labels.name()) != Some(labels.name()) {
            text.push_str("# TYPE ");
            write_name(&mut text, labels.name());
            text.push_str(" untyped\n");
        }
        write_line(&mut text, labels, *sample);
    }
    Ok(text)
}

fn write_line(text: &mut String, labels: &Labels, sample: Sample) {
    let (name, mut separator) = (labels.name(), '{');
    if is_plain(name) {
        text.push_str(name);
    } else {
        text.push('{');
        write_name(text, name);
        separator = ',';
    }
    for (name, value) in labels.iter().filter(|(name, _)| *name != NAME) {
        text.push(separator);
        separator = ',';
        write_name(text, name);
        text.push('=');
        write_quoted(text, value);
    }
    if separator == ',' {
        text.push('}');
    }
    text.push(' ');
    write_value(text, sample.value);
    writeln!(text, " {}", sample.at.as_millis()).expect("writing to a string does not fail");
}

/// Tells whether a name needs no quotes in the text format.
fn is_plain(name: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    !name.is_empty() && name.chars().all(is_inside) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn write_name(text: &mut String, name: &str) {
    if is_plain(name) { text.push_str(name) } else { write_quoted(text, name) }
}

fn write_quoted(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_text_format() {
        let check = |labels: &[(&str, &str)], value: f64, expected: &str| {
            let mut text = String::new();
            let sample = Sample { at: Timestamp::from_millis(1_500), value };
            write_line(&mut text, &Labels::new(labels.iter().copied()), sample);
            assert_eq!(text, expected);
        };
        check(&[(NAME, "m")], 1.5, "m 1.5 1500\n");
        check(&[(NAME, "m:x"), ("b", "2"), ("a", "\"\\\n")], f64::NAN, "m:x{a=\"\\\"\\\\\\n\",b=\"2\"} NaN 1500\n");
        check(&[(NAME, "dotted.name")], 1.0, "{\"dotted.name\"} 1 1500\n");
        check(&[(NAME, "1m"), ("a b", "é")], f64::INFINITY, "{\"1m\",\"a b\"=\"é\"} +Inf 1500\n");
    }
}
