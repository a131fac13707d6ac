//! What a monitor's `/metrics` says of its status.

mod disk;
mod kept;

use std::fmt;

use firetower_model::{Account, NodeStatus, Received};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;

pub use disk::ExposedDisk;
pub use kept::ExposedKept;

/// Exposes a monitor's status: account, queue, coverage, targets, and how far it has come.
///
/// The values are those of the status, so that API and metrics never differ.
#[derive(Debug)]
pub struct ExposedStatus(watch::Receiver<NodeStatus>);

impl ExposedStatus {
    /// Exposes what `status` holds at each scrape.
    pub fn new(status: watch::Receiver<NodeStatus>) -> ExposedStatus {
        ExposedStatus(status)
    }
}

/// Label pairs and the value of each line.
pub(crate) type Labelled<'a> = Vec<(Vec<(&'static str, &'a str)>, f64)>;

impl Collector for ExposedStatus {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.0.borrow();
        let account = |term: &'static str, of: fn(&Account) -> u64| -> Labelled<'_> {
            let value = |account| of(account) as f64;
            status.accounts.iter().map(|a| (vec![("parent", a.parent.as_str()), ("term", term)], value(a))).collect()
        };
        let mut samples = account("collected", |a| a.collected);
        samples.extend(account("delivered", |a| a.delivered));
        samples.extend(account("queued", |a| a.queued));
        for of in &status.accounts {
            for (reason, dropped) in &of.dropped {
                let labels = vec![("parent", of.parent.as_str()), ("term", "dropped"), ("reason", reason.as_str())];
                samples.push((labels, *dropped as f64));
            }
        }
        let mut received: Labelled<'_> = Vec::new();
        for from in &status.received {
            let Received { child, applied, applied_before, delivered, incarnation_lost } = from;
            let terms = [
                ("applied", Some(*applied)),
                ("applied_before", Some(*applied_before)),
                ("delivered", *delivered),
                ("incarnation_lost", Some(*incarnation_lost)),
            ];
            let lines = terms.into_iter().filter_map(|(term, samples)| Some((term, samples?)));
            received.extend(lines.map(|(term, n)| (vec![("child", child.as_str()), ("term", term)], n as f64)));
        }
        let excesses: Labelled<'_> =
            status.received.iter().map(|of| (vec![("child", of.child.as_str())], of.excess() as f64)).collect();
        let residuals: Labelled<'_> =
            status.accounts.iter().map(|a| (vec![("parent", a.parent.as_str())], a.residual() as f64)).collect();
        let targets = &status.targets;
        let states: Labelled<'_> = [
            ("unknown", targets.unknown),
            ("online", targets.online),
            ("degraded", targets.degraded),
            ("offline", targets.offline),
        ]
        .map(|(state, count)| (vec![("state", state)], count as f64))
        .into();
        let coverage = &status.coverage;
        let slots: Labelled<'_> = [
            ("expected", coverage.expected),
            ("reported", coverage.reported),
            ("late", coverage.late),
            ("lost", coverage.lost),
        ]
        .map(|(term, count)| (vec![("term", term)], count as f64))
        .into();
        let mut put = |name, help, values: &Labelled<'_>| put_gauges(&mut encoder, name, help, values);
        put("firetower_relay_account_samples", "Raw samples by term of the account with a parent", &samples)?;
        put("firetower_relay_account_residual_samples", "Raw samples that the account cannot explain", &residuals)?;
        put("firetower_relay_received_samples", "Raw samples received from a child, beside its own count", &received)?;
        put("firetower_relay_received_excess_samples", "Raw samples delivered by a child's count alone", &excesses)?;
        put("firetower_targets", "Targets by state", &states)?;
        put("firetower_window_slots", "Slots of the last complete window", &slots)?;
        let plain = |value: f64| -> Labelled<'_> { vec![(Vec::new(), value)] };
        put("firetower_relay_outbox_frames", "Frames in the outbox", &plain(status.outbox_frames as f64))?;
        put("firetower_relay_outbox_bytes", "Bytes in the outbox", &plain(status.outbox_bytes as f64))?;
        let through = plain(status.watermark.complete_through.as_seconds());
        put("firetower_complete_through_seconds", "End of the last complete window, unix time", &through)?;
        put(
            "firetower_active_series",
            "Series with a value in their target's last scrape",
            &plain(status.active_series as f64),
        )
    }
}

pub(crate) fn put_gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &Labelled<'_>,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(0.0);
    let mut family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    for (labels, value) in values {
        if labels.is_empty() {
            return ConstGauge::new(*value).encode(family);
        }
        let labels = Labels(labels);
        ConstGauge::new(*value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[derive(Debug)]
struct Labels<'a>(&'a [(&'static str, &'a str)]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}
