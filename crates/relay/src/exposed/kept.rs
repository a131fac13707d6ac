//! What a monitor's `/metrics` says of its rows.

use std::fmt;

use firetower_model::{DroppedLabel, KeptReport};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tokio::sync::watch;

use crate::exposed::{Labelled, put_gauges};

/// Exposes how many rows go up, and how many labels they lack; which ones is said by `/api/v1/kept`.
#[derive(Debug)]
pub struct ExposedKept(watch::Receiver<KeptReport>);

impl ExposedKept {
    /// Exposes what `report` holds at each scrape.
    pub fn new(report: watch::Receiver<KeptReport>) -> ExposedKept {
        ExposedKept(report)
    }
}

impl Collector for ExposedKept {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let report = self.0.borrow();
        let proposed = report.labels.iter().filter(|dropped| dropped.from == DroppedLabel::UNDECIDED).count();
        let decided = report.labels.len() - proposed;
        let labels: Labelled<'_> =
            [("decided", decided), ("proposed", proposed)].map(|(s, n)| (vec![("state", s)], n as f64)).into();
        let rows: Labelled<'_> =
            report.rows_by_job.iter().map(|(job, rows)| (vec![("job", job.as_str())], *rows as f64)).collect();
        let plain = |value: u64| -> Labelled<'_> { vec![(Vec::new(), value as f64)] };
        let mut put = |name, help, values: &Labelled<'_>| put_gauges(&mut encoder, name, help, values);
        put("firetower_rows_dropped_labels", "Labels of a name and job that rows do not keep", &labels)?;
        put("firetower_rows_keys", "Keys of rows by job, those with dropped labels left out", &rows)?;
        put("firetower_rows_overflow_keys", "Rows that take what is over the budget", &plain(report.overflow_rows))?;
        put(
            "firetower_rows_projected",
            "Keys of rows that were put under another one, since the child did not know the decision",
            &plain(report.projected_rows),
        )
    }
}
