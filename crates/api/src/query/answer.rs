//! The answer to a query that is no more than a selector: what is selected, as it comes from the store.

use std::time::Duration;

use firetower_model::{Sample, Select, Series, is_stale};
use firetower_promql::Selection;
use firetower_query::evaluation_limits;
use firetower_topology::QueryLimits;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;

use super::asked::Asked;
use crate::error::Error;
use crate::json::{write_labels, write_notes, write_time, write_value};

/// How large an answer may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many samples it may have.
    pub samples: u64,
    /// How many series it may have.
    pub series: u64,
    /// Up to how many samples it is put in order, and held in memory for that.
    pub sorted_samples: u64,
    /// How much of a larger one is sent at a time.
    pub chunk_bytes: usize,
    /// How many queries are answered at a time.
    pub at_once: usize,
    /// How long one may take, the wait for its turn included.
    pub timeout: Duration,
}

/// Up to how many samples an answer is put in order: 16 MB held at most.
const SORTED_SAMPLES: u64 = 1_000_000;

impl Limits {
    pub(super) fn of(limits: QueryLimits) -> Limits {
        let evaluation = evaluation_limits(&limits);
        Limits {
            samples: evaluation.samples,
            series: evaluation.series,
            sorted_samples: SORTED_SAMPLES,
            chunk_bytes: 256 << 10,
            at_once: usize::try_from(limits.at_once).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS),
            timeout: limits.timeout,
        }
    }

    /// Returns what an evaluation may need that has the same limits.
    pub(super) fn evaluation(self) -> firetower_promql::Limits {
        firetower_promql::Limits { samples: self.samples, series: self.series, ..firetower_promql::Limits::PROMETHEUS }
    }
}

/// A piece of an answer.
#[derive(Debug)]
pub(super) enum Chunk {
    /// All of it.
    Whole(String),
    /// The next part of it.
    Part(String),
    /// There is no (further) answer.
    Failed(Error),
}

/// Reads what `asked` selects and sends it in pieces; gives up quietly if nobody takes them. Blocks.
pub(super) fn write<S: Select>(select: &S, asked: &Asked, limits: Limits, sender: &Sender<Chunk>) {
    let Some(selection) = asked.query.as_selection() else { return };
    let mut writer = Writer { asked, selection, limits, sender, text: String::new(), series: 0, is_streaming: false };
    let last = match writer.write(select) {
        Ok(text) if writer.is_streaming => Chunk::Part(text),
        Ok(text) => Chunk::Whole(text),
        Err(Stop::Failed(error)) => Chunk::Failed(error),
        Err(Stop::NobodyListens) => return,
    };
    // A client that went away needs no answer.
    let _ = sender.blocking_send(last);
}

enum Stop {
    Failed(Error),
    NobodyListens,
}

struct Writer<'a> {
    asked: &'a Asked,
    selection: Selection<'a>,
    limits: Limits,
    sender: &'a Sender<Chunk>,
    text: String,
    series: u64,
    is_streaming: bool,
}

impl Writer<'_> {
    /// Returns what is left to send.
    fn write<S: Select>(&mut self, select: &S) -> Result<String, Stop> {
        let unavailable =
            |source: S::Error| Stop::Failed(Error::Unavailable { step: "read series", source: Box::new(source) });
        let (limits, at) = (self.limits, self.asked.question.steps.at(0));
        let is_range = self.selection.range.is_some();
        let kind = if is_range { "matrix" } else { "vector" };
        let range = self.selection.samples_range(at, self.asked.question.look_back);
        self.text = format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":["#);
        let left_out = select.left_out();
        let mut held: Vec<Series> = Vec::new();
        let (mut series_count, mut samples_count) = (0, 0);
        let matchers = self.selection.matchers;
        let batches: Box<dyn Iterator<Item = Result<Vec<Series>, S::Error>>> = if is_range {
            Box::new(select.select(matchers, range).map_err(unavailable)?)
        } else {
            Box::new(select.select_newest(matchers, range).map_err(unavailable)?)
        };
        for batch in batches {
            if self.sender.is_closed() {
                return Err(Stop::NobodyListens);
            }
            self.asked.in_time().map_err(Stop::Failed)?;
            for mut series in batch.map_err(unavailable)? {
                keep_answer(&mut series.samples, is_range);
                if series.samples.is_empty() {
                    continue;
                }
                series_count += 1;
                samples_count += series.samples.len() as u64;
                at_most("samples", samples_count, limits.samples)?;
                at_most("series", series_count, limits.series)?;
                held.push(series);
            }
            self.is_streaming |= samples_count > limits.sorted_samples;
            if self.is_streaming {
                self.write_all(std::mem::take(&mut held))?;
            }
        }
        held.sort_by(|a, b| a.labels.cmp(&b.labels));
        self.write_all(held)?;
        self.text.push_str("]}");
        if select.left_out() != left_out {
            write_notes(&mut self.text, &[firetower_query::DAMAGE.into()], &[]);
        }
        self.text.push('}');
        Ok(std::mem::take(&mut self.text))
    }

    fn write_all(&mut self, held: Vec<Series>) -> Result<(), Stop> {
        for series in held {
            if self.series > 0 {
                self.text.push(',');
            }
            self.series += 1;
            self.write_series(&series);
            if self.is_streaming && self.text.len() > self.limits.chunk_bytes {
                let part = Chunk::Part(std::mem::take(&mut self.text));
                self.sender.blocking_send(part).map_err(|_| Stop::NobodyListens)?;
            }
        }
        Ok(())
    }

    fn write_series(&mut self, series: &Series) {
        let out = &mut self.text;
        out.push_str("{\"metric\":");
        write_labels(out, &series.labels);
        if self.selection.range.is_none() {
            out.push_str(",\"value\":");
            // An instant's samples are all of the moment that was asked about.
            let value = series.samples.last().map_or(f64::NAN, |sample| sample.value);
            write_sample(out, Sample { at: self.asked.question.steps.at(0), value });
        } else {
            out.push_str(",\"values\":[");
            for (at, sample) in series.samples.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_sample(out, *sample);
            }
            out.push(']');
        }
        out.push('}');
    }
}

fn at_most(what: &'static str, count: u64, most: u64) -> Result<(), Stop> {
    if count <= most { Ok(()) } else { Err(Stop::Failed(Error::TooLarge { what, most })) }
}

/// Leaves what is answered: of an instant the newest sample unless the series ended with it, of a range all but the markers.
fn keep_answer(samples: &mut Vec<Sample>, is_range: bool) {
    if !is_range {
        samples.drain(..samples.len().saturating_sub(1));
    }
    samples.retain(|sample| !is_stale(sample.value));
}

/// Writes a pair of time and value.
pub(super) fn write_sample(out: &mut String, sample: Sample) {
    out.push('[');
    write_time(out, sample.at);
    out.push_str(",\"");
    write_value(out, sample.value);
    out.push_str("\"]");
}
