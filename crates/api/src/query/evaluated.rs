//! The answer to a query that has to be evaluated.

use std::fmt::Write;
use std::time::Duration;

use firetower_model::{Answered, Labels, Sample};
use firetower_promql::{Answer, Curve, Error as PromqlError, Limits, Usage, Value, is_absent};
use firetower_query::Reader;
use serde_json::json;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use super::answer::{Chunk, write_sample};
use super::asked::Asked;
use crate::error::Error;
use crate::json::{missing, write_answered, write_labels, write_notes, write_time, write_value};

/// How much of a large answer is sent at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// What is said where `limit` left something out. Prometheus's own words.
const TRUNCATED: &str = "results truncated due to limit";

/// Evaluates what is asked and sends the answer in pieces; gives up quietly if nobody takes them. Blocks.
pub(super) fn write<R: Reader>(reader: &R, asked: &Asked, limits: &Limits, sender: &Sender<Chunk>) {
    let started = Instant::now();
    let left_out = reader.left_out();
    let is_stopped = || sender.is_closed() || asked.in_time().is_err();
    let (query, question) = (&asked.query, &asked.question);
    let evaluated = match reader.below() {
        None => query.evaluate(reader, question, limits, &is_stopped),
        Some(below) => query.evaluate_below(reader, below, question, limits, &is_stopped),
    };
    let mut answer = match evaluated {
        Ok(answer) => answer,
        Err(error) => {
            let error = match error {
                PromqlError::Stopped => asked.in_time().err().unwrap_or(Error::Canceled),
                error => Error::from(error),
            };
            // A client that went away needs no answer.
            let _ = sender.blocking_send(Chunk::Failed(error));
            return;
        }
    };
    let answered = reader.answered();
    if let Some(answered) = &answered {
        answer.warnings.extend(missing(answered));
    }
    if reader.left_out() != left_out {
        answer.warnings.push(firetower_query::DAMAGE.into());
    }
    truncate(&mut answer, asked.series_max);
    let mut writer = Writer { sender, text: String::new(), is_first: true, is_streaming: false };
    if writer.write(asked, answer, answered.as_ref(), started).is_some() {
        let rest = std::mem::take(&mut writer.text);
        let _ = sender.blocking_send(if writer.is_streaming { Chunk::Part(rest) } else { Chunk::Whole(rest) });
    }
}

fn truncate(answer: &mut Answer, series_max: Option<usize>) {
    let most = series_max.unwrap_or(usize::MAX);
    let count = match &mut answer.value {
        Value::Vector(curves) => {
            let count = curves.len();
            curves.truncate(most);
            count
        }
        Value::Samples(series) => {
            let count = series.len();
            series.truncate(most);
            count
        }
        Value::Scalar(_) | Value::Text(_) => 0,
    };
    if count > most {
        answer.warnings.push(TRUNCATED.into());
    }
}

struct Writer<'a> {
    sender: &'a Sender<Chunk>,
    text: String,
    is_first: bool,
    is_streaming: bool,
}

impl Writer<'_> {
    /// Leaves what is not sent yet in `text`; returns nothing if nobody listens.
    fn write(&mut self, asked: &Asked, answer: Answer, answered: Option<&Answered>, started: Instant) -> Option<()> {
        let (warnings, infos, usage) = (answer.warnings.clone(), answer.infos.clone(), answer.usage);
        let steps = asked.question.steps;
        let kind = match &answer.value {
            _ if asked.is_range => "matrix",
            Value::Scalar(_) => "scalar",
            Value::Vector(_) => "vector",
            Value::Samples(_) => "matrix",
            Value::Text(_) => "string",
        };
        write!(self.text, r#"{{"status":"success","data":{{"resultType":"{kind}","result":["#).ok()?;
        let now = steps.at(0);
        match &answer.value {
            _ if asked.is_range => {
                for curve in answer.into_curves() {
                    self.series(&curve, asked)?;
                }
            }
            Value::Scalar(values) => {
                write_time(&mut self.text, now);
                self.text.push_str(",\"");
                write_value(&mut self.text, values[0]);
                self.text.push('"');
            }
            Value::Text(text) => {
                write_time(&mut self.text, now);
                write!(self.text, ",{}", serde_json::Value::from(text.as_str())).ok()?;
            }
            Value::Vector(curves) => {
                for curve in curves {
                    self.instant(curve, asked)?;
                }
            }
            Value::Samples(found) => {
                for series in found {
                    self.head(&series.labels);
                    let samples = series.samples.iter().copied();
                    self.values(samples)?;
                }
            }
        }
        self.text.push(']');
        if asked.wants_stats {
            self.stats(asked, started, usage)?;
        }
        self.text.push('}');
        write_notes(&mut self.text, &warnings, &infos);
        if let Some(answered) = answered {
            write_answered(&mut self.text, answered);
        }
        self.text.push('}');
        Some(())
    }

    fn head(&mut self, labels: &Labels) {
        self.text.push_str(if self.is_first { "{\"metric\":" } else { ",{\"metric\":" });
        self.is_first = false;
        write_labels(&mut self.text, labels);
    }

    fn instant(&mut self, curve: &Curve, asked: &Asked) -> Option<()> {
        self.head(&curve.labels);
        self.text.push_str(",\"value\":");
        write_sample(&mut self.text, Sample { at: asked.question.steps.at(0), value: curve.values[0] });
        self.text.push('}');
        self.flush()
    }

    fn series(&mut self, curve: &Curve, asked: &Asked) -> Option<()> {
        let steps = asked.question.steps;
        self.head(&curve.labels);
        let values = curve.values.iter().enumerate().filter(|(_, value)| !is_absent(**value));
        self.values(values.map(|(step, value)| Sample { at: steps.at(step), value: *value }))
    }

    fn values(&mut self, samples: impl Iterator<Item = Sample>) -> Option<()> {
        self.text.push_str(",\"values\":[");
        for (at, sample) in samples.enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            write_sample(&mut self.text, sample);
        }
        self.text.push_str("]}");
        self.flush()
    }

    fn flush(&mut self) -> Option<()> {
        if self.text.len() < CHUNK_BYTES {
            return Some(());
        }
        self.is_streaming = true;
        self.sender.blocking_send(Chunk::Part(std::mem::take(&mut self.text))).ok()
    }

    fn stats(&mut self, asked: &Asked, started: Instant, usage: Usage) -> Option<()> {
        let seconds = |duration: Duration| duration.as_secs_f64();
        let stats = json!({
            "timings": {
                "evalTotalTime": seconds(started.elapsed()),
                "resultSortTime": 0.0,
                "queryPreparationTime": 0.0,
                "innerEvalTime": seconds(started.elapsed()),
                "execQueueTime": seconds(started.duration_since(asked.asked_at)),
                "execTotalTime": seconds(asked.asked_at.elapsed()),
            },
            "samples": {
                "totalQueryableSamples": usage.samples,
                "peakSamples": usage.samples_peak,
            },
        });
        write!(self.text, ",\"stats\":{stats}").ok()
    }
}
