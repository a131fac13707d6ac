//! Series as spans of a tier.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use firetower_daemon::Clock;
use firetower_model::{Matcher, SelectSpans, Span, SpanSeries, SpanTier, TimeRange, Timestamp};
use tokio::sync::Semaphore;

use crate::blocking::blocking;
use crate::error::Error;
use crate::json::{self, write_labels, write_notes, write_number, write_time};
use crate::params::Params;
use crate::query::matchers;

/// How many requests are answered at a time; the others wait.
const CONCURRENT_MAX: usize = 4;
/// How many spans an answer may have: some 200 MB of text.
const SPANS_MAX: u64 = 1_000_000;
/// How much is answered without `start`: that much before `end`.
const LENGTH: Duration = Duration::from_secs(24 * 3_600);

struct Answers<S> {
    store: Arc<S>,
    clock: Clock,
    running: Arc<Semaphore>,
    spans_max: u64,
}

impl<S> Clone for Answers<S> {
    fn clone(&self) -> Answers<S> {
        let (store, running) = (Arc::clone(&self.store), Arc::clone(&self.running));
        Answers { store, clock: self.clock.clone(), running, spans_max: self.spans_max }
    }
}

/// Returns `GET` and `POST /api/v1/spans`.
///
/// `match[]` is a plain selector, and may come several times: a series is answered once for each that selects it. `step`
/// is `5m` or `1h`, `start` and `end` as in Prometheus, the last day without them; each step that the range touches
/// is answered whole. Up to a million spans, in order of the labels; more are refused.
pub fn spans<S>(store: Arc<S>, clock: Clock) -> Router
where
    S: SelectSpans + Send + Sync + 'static,
{
    with_limit(store, clock, SPANS_MAX)
}

fn with_limit<S>(store: Arc<S>, clock: Clock, spans_max: u64) -> Router
where
    S: SelectSpans + Send + Sync + 'static,
{
    let answers = Answers { store, clock, running: Arc::new(Semaphore::new(CONCURRENT_MAX)), spans_max };
    Router::new().route("/api/v1/spans", get(answer::<S>).post(answer::<S>).with_state(answers))
}

async fn answer<S>(State(answers): State<Answers<S>>, params: Params) -> Result<Response, Error>
where
    S: SelectSpans + Send + Sync + 'static,
{
    params.only(&["match[]", "start", "end", "step"])?;
    let selected: Vec<Vec<Matcher>> = params.all("match[]").map(matchers).collect::<Result<_, Error>>()?;
    if selected.is_empty() {
        return Err(Error::Missing { name: "match[]" });
    }
    let step = params.get("step").ok_or(Error::Missing { name: "step" })?;
    let tier = SpanTier::ALL.into_iter().find(|tier| tier.name() == step);
    let tier = tier.ok_or_else(|| Error::Parameter { name: "step", value: step.into(), expected: "5m or 1h" })?;
    let range = params.range(answers.clock.now(), LENGTH)?;
    let _permit = answers.running.clone().acquire_owned().await;
    let text = blocking("read spans", move || read(&*answers.store, &selected, range, tier, answers.spans_max)).await?;
    Ok(json::text(text))
}

fn read<S: SelectSpans>(
    store: &S,
    selected: &[Vec<Matcher>],
    range: TimeRange,
    tier: SpanTier,
    spans_max: u64,
) -> Result<String, Error> {
    let unavailable = |source: S::Error| Error::Unavailable { step: "read spans", source: Box::new(source) };
    let left_out = store.left_out();
    let (mut found, mut count): (Vec<SpanSeries>, u64) = (Vec::new(), 0);
    for matchers in selected {
        for batch in store.select_spans(matchers, range, tier).map_err(unavailable)? {
            for series in batch.map_err(unavailable)? {
                count += series.spans.len() as u64;
                if count > spans_max {
                    return Err(Error::TooLarge { what: "spans", most: spans_max });
                }
                found.push(series);
            }
        }
    }
    found.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut out = format!(r#"{{"status":"success","data":{{"step":"{}","result":["#, tier.name());
    for (at, series) in found.iter().enumerate() {
        out.push_str(if at == 0 { "{\"metric\":" } else { ",{\"metric\":" });
        write_labels(&mut out, &series.labels);
        out.push_str(",\"spans\":[");
        for (at, (start, span)) in series.spans.iter().enumerate() {
            out.push_str(if at == 0 { "" } else { "," });
            write_span(&mut out, *start, span);
        }
        out.push_str("]}");
    }
    out.push_str("]}");
    if store.left_out() != left_out {
        write_notes(&mut out, &[firetower_query::DAMAGE.into()], &[]);
    }
    out.push('}');
    Ok(out)
}

/// Writes a span; what is about finite samples is left out where there are none.
fn write_span(out: &mut String, start: Timestamp, span: &Span) {
    out.push_str("{\"start\":");
    write_time(out, start);
    write!(out, ",\"samples\":{},\"special\":{}", span.samples, span.special)
        .expect("writing to a string does not fail");
    if span.samples > span.special {
        for (name, at) in [("first_t", span.first_t), ("last_t", span.last_t)] {
            write!(out, ",\"{name}\":").expect("writing to a string does not fail");
            write_time(out, at);
        }
        let values = [
            ("first", span.first),
            ("last", span.last),
            ("sum", span.sum),
            ("min", span.min),
            ("max", span.max),
            ("increase", span.increase),
        ];
        for (name, value) in values {
            write!(out, ",\"{name}\":").expect("writing to a string does not fail");
            write_number(out, value);
        }
        write!(out, ",\"resets\":{}", span.resets).expect("writing to a string does not fail");
    }
    out.push('}');
}

#[cfg(test)]
mod tests;
