//! Pages of three fleets: the same, alike but for one line, and unlike.

use firetower_benches::Page;

/// How targets differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In nothing but values.
    Same,
    /// One line names the target.
    Alike,
    /// Three lines of ten name the target, one of a hundred comes and goes, and the order changes with each page.
    Unlike,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Same => "same",
            Kind::Alike => "alike",
            Kind::Unlike => "unlike",
        }
    }
}

/// The pages of a fleet.
pub(crate) struct Pages {
    kind: Kind,
    page: Page,
}

impl Pages {
    pub(crate) fn new(kind: Kind, series: usize) -> Pages {
        let page = Page::new(1, series);
        Pages { kind, page: if kind == Kind::Unlike { page.unlike() } else { page } }
    }

    /// Appends the page that `target` shows for the `scrape`th time.
    pub(crate) fn render(&self, target: usize, scrape: u64, text: &mut Vec<u8>) {
        let target = if self.kind == Kind::Same { 0 } else { target };
        self.page.render(target, scrape, text);
    }
}
