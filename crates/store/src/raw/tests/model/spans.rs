//! Spans are those of the samples, also of those that are gone.

use std::collections::BTreeMap;

use firetower_model::{Sample, SelectSpans, Span, SpanSeries, SpanTier, TimeRange};

use super::{BUCKET_MS, Run, ms};

/// Values whose sizes add up to more may overflow on one way of adding them, and not on another.
const SIZE_MAX: f64 = 1e300;

/// Spans by (target, metric) and start of their step, each with the sizes of its values added up.
type Spans = BTreeMap<(usize, usize, i64), (Span, f64)>;

impl Run {
    pub(super) fn check_spans(&self, range: TimeRange) {
        for (at, tier) in SpanTier::ALL.into_iter().enumerate() {
            let expected = self.expected_spans(range, tier, self.model.spans_kept[at]);
            let mut found = Vec::new();
            for batch in self.store().select_spans(&[], range, tier).unwrap() {
                found.extend(batch.unwrap());
            }
            let found = by_step(&found);
            assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{tier:?}");
            for (key, span) in found {
                assert_alike(&span, &expected[&key], &format!("{tier:?} {key:?}"));
            }
        }
    }

    fn expected_spans(&self, range: TimeRange, tier: SpanTier, kept: i64) -> Spans {
        let step_ms = tier.step().as_millis() as i64;
        let floor = |at: i64| at.div_euclid(step_ms);
        let mut spans = Spans::new();
        for ((target, metric), samples) in &self.model.history {
            for (at, value) in samples {
                let bucket = at.div_euclid(BUCKET_MS);
                let is_gone = bucket <= self.model.dropped && bucket < kept;
                let is_outside =
                    floor(*at) < floor(range.start.as_millis()) || floor(*at) > floor(range.end.as_millis() - 1);
                if is_gone || is_outside || range.start >= range.end {
                    continue;
                }
                let (span, size) = spans.entry((*target, *metric, floor(*at) * step_ms)).or_insert((Span::EMPTY, 0.0));
                span.push(Sample { at: ms(*at), value: *value });
                *size += if value.is_finite() { value.abs() } else { 0.0 };
            }
        }
        spans.retain(|_, (span, _)| span.samples > 0);
        spans
    }
}

fn by_step(series: &[SpanSeries]) -> BTreeMap<(usize, usize, i64), Span> {
    let mut spans = BTreeMap::new();
    for series in series {
        let instance = series.labels.get("instance").unwrap().parse().unwrap();
        let metric = series.labels.name()[1..].parse().unwrap();
        for (start, span) in &series.spans {
            assert!(spans.insert((instance, metric, start.as_millis()), *span).is_none());
        }
    }
    spans
}

fn assert_alike(found: &Span, (expected, size): &(Span, f64), which: &str) {
    let plain = |span: &Span| Span { sum: 0.0, increase: 0.0, ..*span };
    assert_eq!(plain(found), plain(expected), "{which}");
    let is_close = |found: f64, expected: f64, size: f64| found == expected || (found - expected).abs() <= 1e-12 * size;
    let is_alike = is_close(found.sum, expected.sum, *size) && is_close(found.increase, expected.increase, 2.0 * size);
    assert!(is_alike || *size > SIZE_MAX, "{which}: {found:?} for {expected:?}");
}
