//! Families of a page's metrics, and what their types make of their members.

use std::collections::HashMap;

use firetower_model::Kind;

use super::{Entry, Format, entry};

/// What a `# TYPE` line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FamilyType {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
    Unknown,
}

impl FamilyType {
    pub(super) fn of_text(word: &[u8]) -> Option<FamilyType> {
        Some(match word {
            b"counter" => FamilyType::Counter,
            b"gauge" => FamilyType::Gauge,
            b"histogram" => FamilyType::Histogram,
            b"summary" => FamilyType::Summary,
            b"untyped" => FamilyType::Unknown,
            _ => return None,
        })
    }

    pub(super) fn of_open_metrics(word: &[u8]) -> Option<FamilyType> {
        match word {
            b"untyped" => None,
            b"unknown" => Some(FamilyType::Unknown),
            b"gaugehistogram" => Some(FamilyType::GaugeHistogram),
            b"info" => Some(FamilyType::Info),
            b"stateset" => Some(FamilyType::StateSet),
            _ => FamilyType::of_text(word),
        }
    }

    /// Returns the kind of the member whose name is the family's and `suffix`; `None` if there is no such member.
    fn kind_with(self, suffix: &[u8]) -> Option<Kind> {
        Some(match (self, suffix) {
            (FamilyType::Unknown, b"") => Kind::Unknown,
            (FamilyType::Counter, b"" | b"_total") => Kind::Counter,
            (FamilyType::Gauge | FamilyType::Info | FamilyType::StateSet, b"") => Kind::Gauge,
            (FamilyType::Info, b"_info") => Kind::Gauge,
            (FamilyType::Histogram, b"_bucket" | b"_count" | b"_sum") => Kind::Histogram,
            (FamilyType::Summary, b"" | b"_count" | b"_sum") => Kind::Summary,
            (FamilyType::GaugeHistogram, b"_bucket" | b"_gcount" | b"_gsum") => Kind::Gauge,
            (FamilyType::Counter | FamilyType::Histogram | FamilyType::Summary, b"_created") => Kind::Gauge,
            _ => return None,
        })
    }
}

/// The families that a page's `# TYPE` lines name; of two lines for one family the last counts.
#[derive(Debug, Default)]
pub(crate) struct Families<'a>(HashMap<&'a [u8], FamilyType>);

impl<'a> Families<'a> {
    /// Collects the families of `page`, which need not be well-formed.
    pub(crate) fn of(page: &'a [u8], format: Format) -> Families<'a> {
        let mut families = HashMap::new();
        let mut at = 0;
        while at < page.len() {
            if page[at] == b'#'
                && let Ok(Entry::Type { name, kind, .. }) = entry(page, at, format)
            {
                families.insert(name, kind);
            }
            at = memchr::memchr(b'\n', &page[at..]).map_or(page.len(), |offset| at + offset + 1);
        }
        Families(families)
    }

    /// Returns the kind of the series called `name`.
    pub(crate) fn kind_of(&self, name: &[u8]) -> Kind {
        self.member(name).map_or(Kind::Unknown, |(_, kind)| kind)
    }

    /// Tells whether the series called `name` may have exemplars.
    ///
    /// Prometheus 2 took them on `_total` and `_bucket` alone, Prometheus 3 takes them anywhere. This takes them anywhere
    /// but where OpenMetrics gives them no meaning: on gauges and states, and on the sums of histograms.
    pub(super) fn takes_exemplars(&self, name: &[u8]) -> bool {
        match self.member(name) {
            Some((FamilyType::Gauge | FamilyType::Info | FamilyType::StateSet, _)) => false,
            Some((FamilyType::Histogram | FamilyType::GaugeHistogram, _)) => !name.ends_with(b"sum"),
            _ => true,
        }
    }

    /// Returns the type of the family that the series called `name` is in, and its kind.
    fn member(&self, name: &[u8]) -> Option<(FamilyType, Kind)> {
        let member = |suffix_at: usize| {
            let family = *self.0.get(&name[..suffix_at])?;
            Some((family, family.kind_with(&name[suffix_at..])?))
        };
        member(name.len()).or_else(|| memchr::memrchr(b'_', name).and_then(member))
    }
}
