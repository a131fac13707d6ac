//! Which keys of Prometheus 3 are known and what becomes of each: the reader goes by these tables, and so does the
//! reference `topology/scrape_configs.md`.

use crate::scrape_config::SECTIONS as SCRAPE_SECTIONS;
use crate::standalone::SECTIONS as FILE_SECTIONS;

/// A key and what becomes of it.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) fate: Fate,
}

/// What becomes of a key that Prometheus knows.
pub(crate) enum Fate {
    /// Does what it says; what to know about it.
    Supported(&'static str),
    /// Taken with a warning and the reason, unless its value is one of `harmless`.
    Warned { reason: &'static str, harmless: &'static [&'static str] },
    /// Refused, with what to do instead.
    Refused(&'static str),
}

impl Key {
    pub(crate) const fn supported(name: &'static str, note: &'static str) -> Key {
        Key { name, fate: Fate::Supported(note) }
    }

    pub(crate) const fn warned(name: &'static str, reason: &'static str) -> Key {
        Key { name, fate: Fate::Warned { reason, harmless: &[] } }
    }

    pub(crate) const fn warned_unless(
        name: &'static str,
        harmless: &'static [&'static str],
        reason: &'static str,
    ) -> Key {
        Key { name, fate: Fate::Warned { reason, harmless } }
    }

    pub(crate) const fn refused(name: &'static str, advice: &'static str) -> Key {
        Key { name, fate: Fate::Refused(advice) }
    }

    /// Returns the two cells of its row after the name.
    fn cells(&self) -> (&'static str, String) {
        match self.fate {
            Fate::Supported(note) => ("supported", note.to_owned()),
            Fate::Warned { reason, harmless: [] } => ("warning", reason.to_owned()),
            Fate::Warned { reason, harmless } => ("warning", format!("unless `{}`: {reason}", harmless.join("`, `"))),
            Fate::Refused(advice) => ("refused", advice.to_owned()),
        }
    }
}

/// Keys that stand together in the reference.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) keys: &'static [Key],
}

/// What the reference says before its tables.
const INTRODUCTION: &str = "\
# Keys of a Prometheus configuration

What becomes of each key that Prometheus 3 knows, in the `scrape_configs` of a topology file and in the plain
configuration file of a secondary that runs alone. *Supported* keys do what Prometheus's do. Those with a *warning* are
taken and do nothing; `firetower check topology` says so, with the place. *Refused* ones stop the file from being used,
since leaving them out would scrape something else than was asked for. A key that is in no table is a mistake.

A test holds this page equal to the tables that the reader goes by.
";

/// Writes the reference of all keys as Markdown: `topology/scrape_configs.md`.
pub fn key_reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in SCRAPE_SECTIONS.iter().chain(FILE_SECTIONS) {
        text += &format!("\n## {}\n\n| key | | |\n|---|---|---|\n", section.title);
        for key in section.keys {
            let (fate, note) = key.cells();
            text += &format!("| `{}` | {fate} | {note} |\n", key.name);
        }
    }
    text
}
