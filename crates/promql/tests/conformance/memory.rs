//! Series in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;

use firetower_model::{Labels, Matcher, Sample, Select, Series, TimeRange, Timestamp};

use crate::script::{Load, Point};

/// Series by their labels, samples by their time.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) BTreeMap<Labels, BTreeMap<i64, f64>>);

impl Memory {
    /// Takes the series that are no native histograms.
    pub(crate) fn load(&mut self, load: Load) {
        for (labels, points) in load.series {
            if points.contains(&Point::Histogram) {
                continue;
            }
            let samples = self.0.entry(labels).or_default();
            for (at, point) in points.into_iter().enumerate() {
                if let Point::Value(value) = point {
                    samples.insert(at as i64 * load.gap_ms, value);
                }
            }
        }
    }
}

impl Select for Memory {
    type Error = Infallible;

    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Infallible>>, Infallible> {
        let matchers = matchers.to_vec();
        let is_match = move |labels: &Labels| matchers.iter().all(|matcher| matcher.is_match_labels(labels));
        Ok(self.0.iter().filter(move |(labels, _)| is_match(labels)).filter_map(move |(labels, samples)| {
            let times = range.start.as_millis()..range.end.as_millis();
            let samples: Vec<Sample> = samples
                .range(times)
                .map(|(at, value)| Sample { at: Timestamp::from_millis(*at), value: *value })
                .collect();
            (!samples.is_empty()).then(|| Ok(vec![Series { labels: labels.clone(), samples }]))
        }))
    }
}
