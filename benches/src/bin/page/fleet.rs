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
        Pages { kind, page: Page::new(1, series) }
    }

    /// Appends the page that `target` shows for the `scrape`th time.
    pub(crate) fn render(&self, target: usize, scrape: u64, text: &mut Vec<u8>) {
        match self.kind {
            Kind::Same => {
                self.page.render(0, scrape, text);
            }
            Kind::Alike => {
                self.page.render(target, scrape, text);
            }
            Kind::Unlike => self.render_unlike(target, scrape, text),
        }
    }

    fn render_unlike(&self, target: usize, scrape: u64, text: &mut Vec<u8>) {
        let lines = self.page.lines();
        let mut order: Vec<usize> = (0..lines.len()).collect();
        let mut random = mix(target as u64 ^ scrape << 32);
        for at in (1..order.len()).rev() {
            random = mix(random);
            order.swap(at, (random % (at as u64 + 1)) as usize);
        }
        let is_there =
            |at: &usize| at % 100 != 7 || mix((target as u64) << 32 ^ scrape << 16 ^ *at as u64).is_multiple_of(2);
        for at in order.into_iter().filter(is_there) {
            let line = &lines[at];
            let labels = line.labels.replace("{node}", &Page::node_name(target));
            let head = match labels.strip_prefix('{') {
                _ if at % 10 >= 3 => format!("{}{labels}", line.name),
                Some(rest) => format!("{}{{node=\"{}\",{rest}", line.name, Page::node_name(target)),
                None => format!("{}{{node=\"{}\"}}", line.name, Page::node_name(target)),
            };
            text.extend_from_slice(format!("{head} {}\n", self.page.value(target, at, scrape)).as_bytes());
        }
    }
}

/// Spreads the bits of `seed`.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
fn mix(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
