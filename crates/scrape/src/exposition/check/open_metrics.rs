//! OpenMetrics: families one after the other.

use std::collections::HashMap;

use super::line::{self, Keyword, Metadata, SampleLine, Statement};
use super::points::Points;
use super::values::{self, suffixes};
use super::{Remarks, lines, style};
use crate::exposition::Format;
use crate::exposition::family::FamilyType;

/// Remarks on a page in OpenMetrics.
pub(super) fn check(page: &[u8], remarks: &mut Remarks) {
    let mut families = Families::default();
    let mut end = None;
    let mut last = 0;
    for (number, bytes) in lines(page) {
        last = number;
        if end.is_some() {
            remarks.fault(number, "nothing may come after # EOF");
            break;
        }
        match line::read(bytes, Format::OpenMetrics) {
            Ok(Statement::Nothing) => {}
            Ok(Statement::End) => end = Some(number),
            Ok(Statement::Metadata(metadata)) => families.take_metadata(number, bytes, metadata, remarks),
            Ok(Statement::Sample(sample)) => families.take_sample(number, bytes, &sample, remarks),
            Err(fault) => {
                families.doubt();
                remarks.fault_at(number, bytes, fault.at, fault.text);
            }
        }
    }
    families.end(remarks);
    if end.is_none() {
        remarks.fault(last + 1, "the page must end with # EOF");
    }
}

/// The families that were, and the one at hand.
#[derive(Debug, Default)]
struct Families {
    /// The line of the family that has each name, those of its samples included.
    names: HashMap<String, usize>,
    current: Option<Family>,
}

/// A family, as far as it has come.
#[derive(Debug)]
struct Family {
    name: String,
    line: usize,
    kind: Option<FamilyType>,
    unit: Option<String>,
    help: Option<String>,
    has_samples: bool,
    /// A line of it could not be read, so that what it lacks is no fault.
    is_doubtful: bool,
    points: Points,
}

impl Family {
    fn new(name: String, line: usize) -> Family {
        Family {
            name,
            line,
            kind: None,
            unit: None,
            help: None,
            has_samples: false,
            is_doubtful: false,
            points: Points::default(),
        }
    }

    fn kind(&self) -> FamilyType {
        self.kind.unwrap_or(FamilyType::Unknown)
    }

    /// Returns what the name of a sample has after the family's; `None` if it is none of the family's samples.
    fn suffix_of(&self, sample: &str) -> Option<&'static str> {
        let rest = sample.strip_prefix(&*self.name)?;
        suffixes(self.kind()).iter().find(|suffix| **suffix == rest).copied()
    }

    /// Takes a piece of metadata for this family.
    fn describe(&mut self, keyword: Keyword, text: &str) -> Result<(), &'static str> {
        if self.has_samples {
            return Err("metadata must stand before the samples of its family");
        }
        match keyword {
            Keyword::Help if self.help.is_some() => return Err("a family has one HELP at most"),
            Keyword::Type if self.kind.is_some() => return Err("a family has one TYPE at most"),
            Keyword::Unit if self.unit.is_some() => return Err("a family has one UNIT at most"),
            Keyword::Help => self.help = Some(text.to_owned()),
            Keyword::Unit => self.unit = Some(text.to_owned()),
            Keyword::Type => {
                let kind = FamilyType::of_open_metrics(text.as_bytes());
                self.kind = Some(kind.ok_or(
                    "the type must be counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown",
                )?);
            }
        }
        Ok(())
    }

    fn check_unit(&self) -> Result<(), String> {
        let Some(unit) = self.unit.as_ref().filter(|unit| !unit.is_empty()) else { return Ok(()) };
        if matches!(self.kind(), FamilyType::Info | FamilyType::StateSet) {
            return Err("infos and statesets have no unit".into());
        }
        let is_suffix = self.name.strip_suffix(&**unit).is_some_and(|rest| rest.ends_with('_'));
        if is_suffix { Ok(()) } else { Err(format!("the name {:?} must end with its unit, _{unit}", self.name)) }
    }
}

impl Families {
    /// Notes that a line could not be read, which may have been one of the family at hand.
    fn doubt(&mut self) {
        if let Some(family) = &mut self.current {
            family.is_doubtful = true;
        }
    }

    fn take_metadata(&mut self, line: usize, bytes: &[u8], metadata: Metadata<'_>, remarks: &mut Remarks) {
        let Metadata { keyword, name, text, text_at } = metadata;
        let mut family = match self.current.take_if(|family| family.name == name) {
            Some(family) => family,
            None => {
                self.end(remarks);
                Family::new(name.into_owned(), line)
            }
        };
        if let Err(text) = family.describe(keyword, text) {
            family.is_doubtful = true;
            remarks.fault_at(line, bytes, text_at, text);
        }
        style::check_order(&family.help, &family.unit, keyword, line, remarks);
        self.current = Some(family);
    }

    fn take_sample(&mut self, line: usize, bytes: &[u8], sample: &SampleLine<'_>, remarks: &mut Remarks) {
        let member = self.current.take_if(|family| family.suffix_of(&sample.name).is_some());
        let mut family = match member {
            Some(family) => family,
            None => self.begin(line, sample, remarks),
        };
        family.has_samples = true;
        let suffix = family.suffix_of(&sample.name).unwrap_or("");
        let (name, kind) = (&*family.name, family.kind());
        if let Err((at, text)) = values::check(name, kind, suffix, sample) {
            remarks.fault_at(line, bytes, at, text);
            family.is_doubtful = true;
        }
        if !family.is_doubtful
            && let Err((line, text)) = family.points.take((name, kind), suffix, line, sample)
        {
            remarks.fault(line, text);
            family.is_doubtful = true;
        }
        self.current = Some(family);
    }

    /// Ends the family at hand and begins one for a sample that is none of its.
    fn begin(&mut self, line: usize, sample: &SampleLine<'_>, remarks: &mut Remarks) -> Family {
        let mut family = Family::new(sample.name.to_string(), line);
        if let Some(before) = self.current.take_if(|before| before.name == family.name) {
            let names: Vec<String> =
                suffixes(before.kind()).iter().map(|suffix| format!("{}{suffix}", before.name)).collect();
            remarks.fault(line, format!("the samples of this family must be called {}", names.join(", ")));
            // What it is called is said; that its name is taken follows from it.
            family = Family { kind: None, is_doubtful: true, points: Points::default(), ..before };
        } else {
            self.end(remarks);
        }
        family
    }

    /// Ends the family at hand.
    fn end(&mut self, remarks: &mut Remarks) {
        let Some(mut family) = self.current.take() else { return };
        let kind = family.kind();
        if let Err((line, text)) = family.points.end(kind)
            && !family.is_doubtful
        {
            remarks.fault(line, text);
        }
        if let Err(text) = family.check_unit() {
            remarks.fault(family.line, text);
        }
        if family.name.starts_with('_') {
            remarks.fault(family.line, format!("the name {:?} is reserved, as all that begin with _", family.name));
        }
        self.claim(&family, remarks);
        style::check_family(&family.name, kind, family.help.as_deref(), Format::OpenMetrics, family.line, remarks);
    }

    /// Takes the names of a family's samples, and its own.
    fn claim(&mut self, family: &Family, remarks: &mut Remarks) {
        let own = suffixes(family.kind()).iter().filter(|suffix| !suffix.is_empty());
        let mut clash = None;
        for suffix in [""].iter().chain(own) {
            let name = format!("{}{suffix}", family.name);
            if let Some(other) = self.names.insert(name.clone(), family.line) {
                clash = clash.or(Some((name, other)));
            }
        }
        if let Some((name, other)) = clash {
            let text = format!("the name {name:?} is taken by the family that begins in line {other}");
            remarks.fault(family.line, text);
        }
    }
}
