//! Prometheus's own text format: what its tools refuse, and what its documentation asks for beyond that.

use std::collections::{HashMap, HashSet};

use super::histogram::Histogram;
use super::line::{self, Keyword, Metadata, SampleLine, Statement};
use super::points::{Labels, labels_of};
use super::{Remarks, lines, style};
use crate::exposition::Format;
use crate::exposition::family::FamilyType;
use crate::exposition::value::parse_float;

/// Remarks on a page in Prometheus's format.
pub(super) fn check(page: &[u8], remarks: &mut Remarks) {
    let mut families = Families::default();
    let mut last = 0;
    for (number, bytes) in lines(page) {
        last = number;
        match line::read(bytes, Format::Text) {
            Ok(Statement::Nothing | Statement::End) => {}
            Ok(Statement::Metadata(metadata)) => families.take_metadata(number, bytes, &metadata, remarks),
            Ok(Statement::Sample(sample)) => families.take_sample(number, &sample, remarks),
            Err(fault) => remarks.fault_at(number, bytes, fault.at, fault.text),
        }
    }
    if !page.is_empty() && !page.ends_with(b"\n") {
        remarks.fault(last, "the last line must end with a line feed");
    }
    families.end(remarks);
}

/// The families of a page, by their names.
#[derive(Debug, Default)]
struct Families {
    by_name: HashMap<String, Family>,
    /// The family of the last sample.
    last: Option<String>,
    /// Every series, by the name of its line and its labels.
    series: HashSet<(String, Labels)>,
}

#[derive(Debug, Default)]
struct Family {
    line: usize,
    kind: Option<FamilyType>,
    help: Option<String>,
    has_samples: bool,
    histograms: HashMap<Labels, Histogram>,
}

impl Families {
    fn take_metadata(&mut self, line: usize, bytes: &[u8], metadata: &Metadata<'_>, remarks: &mut Remarks) {
        let family = self.by_name.entry(metadata.name.to_string()).or_default();
        if family.line == 0 {
            family.line = line;
        }
        let mut fault = |text: &str| remarks.fault_at(line, bytes, metadata.text_at, text);
        match metadata.keyword {
            Keyword::Help if family.help.is_some() => fault("a metric has one HELP at most"),
            Keyword::Help | Keyword::Unit => family.help = Some(metadata.text.to_owned()),
            Keyword::Type if family.kind.is_some() => fault("a metric has one TYPE at most"),
            Keyword::Type if family.has_samples => fault("a TYPE must stand before the samples of its metric"),
            Keyword::Type => match FamilyType::of_text(metadata.text.trim_end().as_bytes()) {
                Some(kind) if metadata.text.trim_end() == metadata.text => family.kind = Some(kind),
                Some(_) => fault("the line must end after the type"),
                None => fault("the type must be counter, gauge, histogram, summary or untyped"),
            },
        }
    }

    fn take_sample(&mut self, line: usize, sample: &SampleLine<'_>, remarks: &mut Remarks) {
        let (name, kind) = self.family_of(&sample.name);
        if let Err(text) = check_number_label(&name, kind, sample) {
            remarks.fault(line, text);
        }
        let labels = labels_of(sample);
        if !self.series.insert((sample.name.to_string(), labels.clone())) {
            remarks.fault(line, "this series is there already");
        }
        let is_new = self.last.as_ref() != Some(&name);
        let family = self.by_name.entry(name.clone()).or_default();
        if family.line == 0 {
            family.line = line;
        }
        if is_new && family.has_samples && family.kind.is_some() {
            remarks.style(line, "all samples of a metric should stand together");
        }
        family.has_samples = true;
        if kind == FamilyType::Histogram {
            let metric = labels.into_iter().filter(|(name, _)| name != "le").collect();
            let histogram = family.histograms.entry(metric).or_insert_with(|| Histogram::new(line));
            if let Err(text) = histogram.take(&sample.name[name.len()..], sample) {
                remarks.style(line, text);
            }
        }
        self.last = Some(name);
    }

    /// Returns the family that a sample belongs to: that of its name, or a histogram or summary that it is part of.
    fn family_of(&self, sample: &str) -> (String, FamilyType) {
        let kind_of = |name: &str| self.by_name.get(name).map(|family| family.kind.unwrap_or(FamilyType::Unknown));
        if let Some(kind) = kind_of(sample) {
            return (sample.to_owned(), kind);
        }
        let part_of = |suffix: &str| sample.strip_suffix(suffix).and_then(|name| Some((name, kind_of(name)?)));
        let parts = [("_count", true), ("_sum", true), ("_bucket", false)];
        let found = parts.iter().find_map(|(suffix, has_summary)| {
            part_of(suffix)
                .filter(|(_, kind)| *kind == FamilyType::Histogram || *has_summary && *kind == FamilyType::Summary)
        });
        found.map_or((sample.to_owned(), FamilyType::Unknown), |(name, kind)| (name.to_owned(), kind))
    }

    fn end(self, remarks: &mut Remarks) {
        for (name, family) in &self.by_name {
            let kind = family.kind.unwrap_or(FamilyType::Unknown);
            style::check_family(name, kind, family.help.as_deref(), Format::Text, family.line, remarks);
            for histogram in family.histograms.values() {
                if let Err(text) = histogram.check_buckets() {
                    remarks.style(histogram.line, text);
                }
            }
        }
    }
}

/// Finds what is wrong with the label that tells the buckets or the quantiles of `family` apart.
fn check_number_label(family: &str, kind: FamilyType, sample: &SampleLine<'_>) -> Result<(), String> {
    let label = match (kind, sample.name.strip_prefix(family)) {
        (FamilyType::Histogram, Some("_bucket")) => "le",
        (FamilyType::Summary, Some("")) => "quantile",
        _ => return Ok(()),
    };
    let Some(value) = sample.label(label) else { return Err(format!("the label {label} is missing")) };
    parse_float(value.as_bytes()).map(|_| ()).map_err(|_| format!("{label} must be a number, not {value:?}"))
}
