//! When counters began, as their pages say: `_created` series, which OpenMetrics puts beside counters.
//!
//! They are needed only where a counter has no earlier sample, and only their place is remembered, once a shape.

use std::collections::HashMap;
use std::sync::Arc;

use firetower_model::labels::NAME;
use firetower_model::{Kind, Labels, MetricId, ShapeId, Timestamp, Window, is_stale};
use firetower_store::Store;

/// Ends the name of a series that says when others began, in seconds since the unix epoch.
const CREATED: &str = "_created";

/// Marks a column whose start nobody tells.
const NONE: u32 = u32::MAX;

/// For each column of a shape the column that says when it began; nothing at all where no column says so.
pub(crate) type StartColumns = Arc<[u32]>;

/// The start columns of shapes.
#[derive(Debug, Default)]
pub(crate) struct Starts(HashMap<ShapeId, StartColumns>);

impl Starts {
    /// Returns the start columns of `shape`, which `find` finds.
    pub(crate) fn of(&mut self, shape: ShapeId, find: impl FnOnce() -> StartColumns) -> StartColumns {
        Arc::clone(self.0.entry(shape).or_insert_with(find))
    }

    /// Forgets the columns of shapes that are not `live`; they are found again when they are asked for.
    pub(crate) fn forget(&mut self, live: impl Fn(ShapeId) -> bool) {
        self.0.retain(|shape, _| live(*shape));
        self.0.shrink_to(2 * self.0.len());
    }
}

/// Tells whether series of this name and kind say when others began.
pub(crate) fn is_start(name: &str, kind: Kind) -> bool {
    kind == Kind::Gauge && name.ends_with(CREATED)
}

/// Returns for each of `metrics` the place of the one that says when it began; nothing if none does.
pub(crate) fn start_columns(store: &Store, metrics: &[MetricId]) -> StartColumns {
    let labels_of =
        |metric: &MetricId| store.metric_labels(*metric).expect("the store knows the metrics it gave ids to");
    find_starts(&metrics.iter().map(labels_of).collect::<Vec<_>>())
}

fn find_starts(metrics: &[(Labels, Kind)]) -> StartColumns {
    let is_created = |(labels, kind): &(Labels, Kind)| is_start(labels.get(NAME).unwrap_or(""), *kind);
    let created = metrics.iter().zip(0u32..).filter(|(metric, _)| is_created(metric));
    let created: HashMap<&Labels, u32> = created.map(|((labels, _), place)| (labels, place)).collect();
    if created.is_empty() {
        return Arc::default();
    }
    let start_of = |(labels, kind): &(Labels, Kind)| {
        created_labels(labels, *kind).and_then(|labels| created.get(&labels).copied()).unwrap_or(NONE)
    };
    metrics.iter().map(start_of).collect()
}

/// Returns what the series is called that says when this counter began.
fn created_labels(labels: &Labels, kind: Kind) -> Option<Labels> {
    let name = labels.get(NAME)?;
    if !kind.is_cumulative(name) {
        return None;
    }
    let suffixes: &[&str] = match kind {
        Kind::Counter => &["_total"],
        _ => &["_bucket", "_count", "_sum"],
    };
    let family = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let created = format!("{family}{CREATED}");
    let is_bound = |label: &str| kind == Kind::Histogram && label == "le";
    let renamed = labels.iter().filter(|(label, _)| !is_bound(label));
    Some(Labels::new(renamed.map(|(label, value)| (label, if label == NAME { &*created } else { value }))))
}

/// The window into which the steps of a row go, and what the row says of starts.
#[derive(Clone, Copy)]
pub(crate) struct RowStarts<'a> {
    pub(crate) columns: &'a [u32],
    pub(crate) window: Window,
}

impl RowStarts<'_> {
    /// Tells whether the series in `column` of a row of `values` began in the row's window.
    pub(crate) fn has_begun(self, column: usize, values: &[f64]) -> bool {
        let created = self.columns.get(column).and_then(|created| values.get(*created as usize));
        created.is_some_and(|created| is_inside(*created, self.window))
    }
}

/// Tells whether `created`, in seconds, lies in `window`.
pub(crate) fn is_inside(created: f64, window: Window) -> bool {
    !is_stale(created) && window.range().contains(Timestamp::from_millis((created * 1e3) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metrics are written `name{label=value}`, all of one kind but the created ones, which are gauges.
    #[test]
    fn a_counter_begins_with_the_created_series_of_its_labels() {
        let check = |kind: Kind, metrics: &[&str], expected: &[u32]| {
            let labels = |written: &str| {
                let (name, label) =
                    written.strip_suffix('}').and_then(|text| text.split_once('{')).unwrap_or((written, ""));
                Labels::new([(NAME, name)].into_iter().chain(label.split_once('=')))
            };
            let kind_of = |name: &str| if name.contains(CREATED) { Kind::Gauge } else { kind };
            let metrics: Vec<(Labels, Kind)> = metrics.iter().map(|name| (labels(name), kind_of(name))).collect();
            assert_eq!(*find_starts(&metrics), *expected);
        };
        check(Kind::Counter, &["a_total", "a_created", "b_total"], &[1, NONE, NONE]);
        check(Kind::Counter, &["a_created{x=1}", "a_total{x=2}", "a_total{x=1}", "a{x=1}"], &[NONE, NONE, 0, 0]);
        check(Kind::Histogram, &["a_bucket{le=1.0}", "a_count", "a_sum", "a_created"], &[3, 3, 3, NONE]);
        check(Kind::Summary, &["a{quantile=0.5}", "a_count", "a_sum", "a_created"], &[NONE, 3, 3, NONE]);
        check(Kind::Gauge, &["a_total", "a_created"], &[NONE, NONE]);
        check(Kind::Counter, &["a_total", "b_total"], &[]);
    }
}
