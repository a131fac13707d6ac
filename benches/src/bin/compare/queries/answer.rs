//! What was answered, and whether two peers answered the same.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How much values may differ, relatively: sums are made in another order.
const TOLERANCE: f64 = 1e-6;

/// All series of all answers to a question.
#[derive(Default)]
pub(crate) struct Answer {
    /// By which answer it was, and its labels: times and values.
    series: BTreeMap<(usize, String), Vec<(f64, f64)>>,
    answers: usize,
}

impl Answer {
    /// Adds the answer to one query.
    pub(crate) fn add(&mut self, body: &str) -> Result<()> {
        let answer: Value = serde_json::from_str(body).context("read an answer")?;
        ensure!(answer["status"] == "success", "not answered: {body:.300}");
        for one in answer["data"]["result"].as_array().context("an answer has series")? {
            let labels = one["metric"].as_object().into_iter().flatten().collect::<BTreeMap<_, _>>();
            let points = one["values"].as_array().map_or_else(|| vec![&one["value"]], |all| all.iter().collect());
            let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_str()?.parse().ok()?));
            let points = points.into_iter().map(point).collect::<Option<_>>().context("a value has a time")?;
            self.series.insert((self.answers, serde_json::to_string(&labels)?), points);
        }
        self.answers += 1;
        Ok(())
    }

    pub(crate) fn series(&self) -> usize {
        self.series.len()
    }

    /// Says what is different in `other`, if anything is.
    pub(crate) fn difference(&self, other: &Answer) -> Option<String> {
        if let Some((_, labels)) = self.series.keys().find(|key| !other.series.contains_key(key)) {
            return Some(format!("{labels} is missing"));
        }
        if let Some((_, labels)) = other.series.keys().find(|key| !self.series.contains_key(key)) {
            return Some(format!("{labels} is too many"));
        }
        self.series.iter().zip(other.series.values()).find_map(|(((_, labels), these), those)| {
            if these.len() != those.len() {
                return Some(format!("{labels} has {} values and not {}", those.len(), these.len()));
            }
            let (this, that) = these.iter().zip(those).find(|(this, that)| !is_alike(**this, **that))?;
            Some(format!("{labels} is {} at {} and not {} at {}", that.1, that.0, this.1, this.0))
        })
    }
}

fn is_alike(this: (f64, f64), that: (f64, f64)) -> bool {
    let is_close = (this.1 - that.1).abs() <= TOLERANCE * this.1.abs().max(that.1.abs());
    (this.0 - that.0).abs() < 1e-3 && (is_close || this.1 == that.1 || this.1.is_nan() && that.1.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_differ_in_labels_times_and_values() {
        let answer = |result: &str| {
            let mut answer = Answer::default();
            answer.add(&format!(r#"{{"status":"success","data":{{"result":[{result}]}}}}"#)).unwrap();
            answer
        };
        let one = r#"{"metric":{"b":"2","a":"1"},"value":[5,"1"]}"#;
        let check = |other: &str, expected: Option<&str>| {
            assert_eq!(answer(one).difference(&answer(other)).as_deref(), expected, "{other}");
        };
        check(r#"{"metric":{"a":"1","b":"2"},"values":[[5,"1.00000001"]]}"#, None);
        check("", Some(r#"{"a":"1","b":"2"} is missing"#));
        check(&format!(r#"{one},{{"metric":{{}},"value":[5,"1"]}}"#), Some("{} is too many"));
        check(r#"{"metric":{"a":"1","b":"2"},"value":[6,"1"]}"#, Some(r#"{"a":"1","b":"2"} is 1 at 6 and not 1 at 5"#));
        check(
            r#"{"metric":{"a":"1","b":"2"},"value":[5,"NaN"]}"#,
            Some(r#"{"a":"1","b":"2"} is NaN at 5 and not 1 at 5"#),
        );
        check(r#"{"metric":{"a":"1","b":"2"},"values":[]}"#, Some(r#"{"a":"1","b":"2"} has 0 values and not 1"#));
    }
}
