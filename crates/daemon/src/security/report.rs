//! What is counted about who gets in, and how long certificates last.

use std::fmt;
use std::sync::atomic::Ordering;

use firetower_model::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Security;
use super::refusal::{At, Reason};
use super::routes::Denial;

/// One metric with all its lines.
#[derive(Clone, Debug, PartialEq)]
pub struct SecurityFamily {
    /// Its name; that of a counter without its `_total`.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Whether it only ever rises.
    pub is_counter: bool,
    /// Its lines.
    pub lines: Vec<SecurityLine>,
}

impl SecurityFamily {
    /// Returns the value of a gauge, which has one line and no labels.
    fn gauge(&self) -> Option<f64> {
        self.lines.first().filter(|_| !self.is_counter).map(|line| line.value)
    }
}

/// One line of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct SecurityLine {
    /// Names of labels and their values.
    pub labels: Vec<(&'static str, &'static str)>,
    /// The value.
    pub value: f64,
}

fn line(labels: &[(&'static str, &'static str)], value: f64) -> SecurityLine {
    SecurityLine { labels: labels.to_vec(), value }
}

impl Security {
    /// Returns all metrics of what is in use.
    pub fn families(&self) -> Vec<SecurityFamily> {
        let mut families = Vec::new();
        let (mut renewed, mut broken) = (Vec::new(), Vec::new());
        let mut followed = |what: &'static str, counts: (u64, u64)| {
            renewed.push(line(&[("what", what)], counts.0 as f64));
            broken.push(line(&[("what", what)], counts.1 as f64));
        };
        if let Some(certificates) = &self.0.certificates {
            followed(
                "certificates",
                (certificates.renewed.load(Ordering::Relaxed), certificates.broken.load(Ordering::Relaxed)),
            );
            let remaining = seconds_until(certificates.current().ends, self.0.clock.now());
            families.push(gauge(
                "firetower_tls_certificate_remaining_seconds",
                "Time until the certificate expires",
                remaining,
            ));
            let refused = At::ALL.into_iter().flat_map(|at| Reason::ALL.map(|reason| (at, reason)));
            let refused = refused.map(|(at, reason)| {
                let labels = [("port", at.as_str()), ("reason", reason.as_str())];
                line(&labels, self.0.refusals.get(at, reason) as f64)
            });
            let help = "TLS connections that did not come about, by port (parent: dialled from here) and reason";
            families.push(counter("firetower_tls_refused", help, refused.collect()));
        }
        if let Some(tokens) = &self.0.tokens {
            followed("tokens", (tokens.renewed.load(Ordering::Relaxed), tokens.broken.load(Ordering::Relaxed)));
            let denied = |denial: Denial| line(&[("reason", denial.as_str())], self.0.denials.get(denial) as f64);
            let lines = Denial::ALL.map(denied).to_vec();
            families.push(counter(
                "firetower_http_refused",
                "HTTP requests refused for lack of a token or its right",
                lines,
            ));
        }
        if !renewed.is_empty() {
            families.push(counter(
                "firetower_security_files_renewed",
                "How often new files of this kind were taken",
                renewed,
            ));
            let help = "How often new files of this kind made no sense, and those before stayed";
            families.push(counter("firetower_security_files_broken", help, broken));
        }
        families
    }
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> SecurityFamily {
    SecurityFamily { name, help, is_counter: false, lines: vec![line(&[], value)] }
}

fn counter(name: &'static str, help: &'static str, lines: Vec<SecurityLine>) -> SecurityFamily {
    SecurityFamily { name, help, is_counter: true, lines }
}

/// Returns the time from `now` to `at`, negative for what is past.
fn seconds_until(at: Timestamp, now: Timestamp) -> f64 {
    (at.as_millis() - now.as_millis()) as f64 / 1e3
}

/// Exposes the metrics of whoever gets in.
#[derive(Debug)]
pub(super) struct Exposed(pub(super) Security);

impl Collector for Exposed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in self.0.families() {
            if let Some(value) = family.gauge() {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(family.name, family.help, None, gauge.metric_type())?)?;
                continue;
            }
            let mut lines = encoder.encode_descriptor(family.name, family.help, None, MetricType::Counter)?;
            for line in &family.lines {
                ConstCounter::new(line.value as u64).encode(lines.encode_family(&Labels(&line.labels))?)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Labels<'a>(&'a [(&'static str, &'static str)]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}
