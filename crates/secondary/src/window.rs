//! A window while it fills.

use std::collections::BTreeMap;
use std::sync::Arc;

use firetower_model::assignment::SlotIndex;
use firetower_model::{Cross, CrossSum, JobDurations, RowId, SlotBits, Timestamp, Window};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};

/// Bounds of a duration, in microseconds.
const DURATION_MICROS: (u64, u64) = (1, 60_000_000);

/// Significant digits of a duration.
const DURATION_DIGITS: u8 = 2;

/// A window while it fills.
pub(crate) struct OpenWindow {
    pub(crate) window: Window,
    /// By row id.
    pub(crate) sums: Vec<CrossSum>,
    pub(crate) slots: Slots,
    pub(crate) durations: Durations,
    /// Whether its rows must be made from raw samples: not all of them passed through `sums`.
    pub(crate) needs_recompute: bool,
}

impl OpenWindow {
    pub(crate) fn new(window: Window, index: Arc<SlotIndex>) -> OpenWindow {
        OpenWindow {
            window,
            sums: Vec::new(),
            slots: Slots::new(index),
            durations: Durations::default(),
            needs_recompute: false,
        }
    }

    /// Tells whether nothing has come to it yet.
    pub(crate) fn is_untouched(&self) -> bool {
        !self.needs_recompute && self.sums.is_empty() && self.slots.bits.ones() == 0 && self.durations.0.is_empty()
    }
}

/// Which slots of a window were scraped.
pub(crate) struct Slots {
    index: Arc<SlotIndex>,
    bits: SlotBits,
}

impl Slots {
    pub(crate) fn new(index: Arc<SlotIndex>) -> Slots {
        let bits = index.slot_bits();
        Slots { index, bits }
    }

    /// Notes the slot of the target at `place` of the assignment; one that the window does not have is passed over.
    pub(crate) fn note(&mut self, place: usize, slot: Timestamp) {
        if let Some(bit) = self.index.bit_of(place, slot) {
            self.bits.set(bit);
        }
    }

    pub(crate) fn bits(&self) -> &SlotBits {
        &self.bits
    }
}

/// How long scrapes took, by job.
#[derive(Default)]
pub(crate) struct Durations(BTreeMap<String, Histogram<u64>>);

impl Durations {
    /// Notes one scrape.
    pub(crate) fn note(&mut self, job: &str, seconds: f64) {
        if !self.0.contains_key(job) {
            self.0.insert(job.to_owned(), empty_histogram());
        }
        let micros = (seconds * 1e6).round().max(0.0) as u64;
        if let Some(histogram) = self.0.get_mut(job) {
            histogram.saturating_record(micros.max(DURATION_MICROS.0));
        }
    }

    /// Returns the histograms as they travel.
    pub(crate) fn serialize(&self) -> Vec<JobDurations> {
        let serialize = |(job, histogram): (&String, &Histogram<u64>)| {
            let mut bytes = Vec::new();
            let written = V2Serializer::new().serialize(histogram, &mut bytes);
            written.expect("a vector takes everything");
            JobDurations { job: job.clone(), histogram: bytes }
        };
        self.0.iter().map(serialize).collect()
    }
}

fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(DURATION_MICROS.0, DURATION_MICROS.1, DURATION_DIGITS).expect("the bounds are in order")
}

/// Returns the rows that have something to say, in order of their ids.
pub(crate) fn rows(sums: &[CrossSum]) -> Vec<(RowId, Cross)> {
    let finished = sums.iter().enumerate().map(|(id, sum)| (RowId(id as u32), sum.finish()));
    finished.filter(|(_, cross)| *cross != Cross::EMPTY).collect()
}
