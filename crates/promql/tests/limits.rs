//! What is over a limit is refused, and whoever no longer waits is not served.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use firetower_model::{Labels, Matcher, Sample, Select, Series, TimeRange, Timestamp};
use firetower_promql::{Answer, Error, Limits, Query, Question, Steps, Value};

/// A thousand series of ten samples, ten series to a batch, which it counts.
#[derive(Default)]
struct Thousand {
    batches: Cell<u32>,
}

impl Select for Thousand {
    type Error = Infallible;

    fn select(
        &self,
        _: &[Matcher],
        _: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Infallible>>, Infallible> {
        Ok((0..100).map(|batch| {
            self.batches.set(self.batches.get() + 1);
            let one = |number: i32| Series {
                labels: Labels::new([("__name__", "m"), ("number", &number.to_string())]),
                samples: (1..=10).map(|at| Sample { at: Timestamp::from_millis(at * 1_000), value: 1.0 }).collect(),
            };
            Ok((batch * 10..batch * 10 + 10).map(one).collect())
        }))
    }
}

fn ask(query: &str, limits: Limits, source: &Thousand, is_stopped: &dyn Fn() -> bool) -> Result<Answer, Error> {
    let question =
        Question { steps: Steps::instant(Timestamp::from_millis(10_000)), look_back: Duration::from_secs(300) };
    Query::parse(query)?.evaluate(source, &question, &limits, is_stopped)
}

#[test]
fn what_is_over_a_limit_is_refused() {
    let most = Limits::PROMETHEUS;
    let check = |query: &str, limits: Limits, expected: Option<&str>| {
        let found = ask(query, limits, &Thousand::default(), &|| false).err().map(|error| error.to_string());
        assert_eq!(found.as_deref(), expected, "{query}");
    };
    let few_samples = Limits { samples: 999, ..most };
    check("m", few_samples, Some("the query needs more than 999 samples: ask for less"));
    check("sum(m)", few_samples, None);
    check("sum(rate(m[1m]))", Limits { samples: 1, ..most }, None);
    check("sum(m)", Limits { series: 999, ..most }, Some("the query needs more than 999 series: ask for less"));
    let steps = "the query needs more than 9 steps of a subquery: ask for less";
    check("sum(sum_over_time(m[10s:1s]))", Limits { steps: 9, ..most }, Some(steps));
    let levels = "the query needs more than 200 nested levels: ask for less";
    check(&format!("{}m", "-".repeat(400)), most, Some(levels));
}

#[test]
fn a_fold_holds_its_groups_only() {
    let answer = ask("sum by (x) (rate(m[1m]))", Limits::PROMETHEUS, &Thousand::default(), &|| false).unwrap();
    assert_eq!((answer.usage.samples, answer.usage.series), (10_000, 1_000));
    assert!(answer.usage.samples_peak <= 2, "{:?}", answer.usage);
    assert!(matches!(answer.value, Value::Vector(curves) if curves.len() == 1));
}

#[test]
fn nothing_more_is_read_for_whoever_left() {
    let source = Thousand::default();
    let stopped = ask("sum(m)", Limits::PROMETHEUS, &source, &|| source.batches.get() > 3);
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert_eq!(source.batches.get(), 4);
}
