//! What a target says: which lines its page has, and which values.

use crate::names::{self, Family};

/// How a line's value goes from scrape to scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Never changes.
    Constant,
    /// Grows with every scrape: a counter.
    Growing,
    /// Jumps about.
    Moving,
}

/// One sample line of a page.
#[derive(Clone, Debug)]
pub struct Line {
    /// Metric name.
    pub name: String,
    /// Its labels in braces, as on the page; empty if it has none. `{node}` stands for the target's name.
    pub labels: String,
    /// How its value goes.
    pub behaviour: Behaviour,
    decimals: bool,
}

impl Line {
    /// Tells whether the page calls it a counter.
    pub fn is_cumulative(&self) -> bool {
        self.behaviour == Behaviour::Growing
    }
}

/// Name of the line that says how often its target was scraped before.
const SCRAPES: &str = "fleet_scrapes_total";
/// Share of the lines that never change, in percent; measured on a real node_exporter at 10 s.
const CONSTANT_PERCENT: usize = 48;
/// Share of the lines that grow; the rest move.
const GROWING_PERCENT: usize = 33;
/// The two lines of [`SCRAPES`] and the target's name.
const OWN_LINES: usize = 2;

/// The page that all targets of a fleet have, but for one label and the values.
///
/// Values are integers below 2^53, so that their sums are exact, unless [`Page::with_decimals`] was asked for.
#[derive(Clone, Debug)]
pub struct Page {
    seed: u64,
    reset_every: u64,
    lines: Vec<Line>,
    /// Text before the value of each line: comments of its metric if it is the first of it, name and labels.
    heads: Vec<Head>,
}

#[derive(Clone, Debug)]
struct Head {
    text: String,
    /// Where in `text` the target's name goes, for the one line that has it.
    node_at: Option<usize>,
}

impl Page {
    /// Makes a page of `series` lines, comments apart.
    ///
    /// # Panics
    /// If `series` is under 2.
    pub fn new(seed: u64, series: usize) -> Page {
        assert!(series >= OWN_LINES, "a page has at least {OWN_LINES} lines");
        let constant = (series * CONSTANT_PERCENT / 100).saturating_sub(1);
        let growing = (series * GROWING_PERCENT / 100).saturating_sub(1);
        let moving = series - OWN_LINES - constant - growing;
        let mut families = vec![
            Family {
                name: SCRAPES.into(),
                help: "How often this target was scraped before.".into(),
                behaviour: Behaviour::Growing,
                labels: vec![String::new()],
            },
            Family {
                name: "node_uname_info".into(),
                help: "Labeled system information as provided by the uname system call.".into(),
                behaviour: Behaviour::Constant,
                labels: vec!["{machine=\"x86_64\",nodename=\"{node}\",sysname=\"Linux\"}".into()],
            },
        ];
        families.extend(names::families(Behaviour::Constant, constant));
        families.extend(names::families(Behaviour::Growing, growing));
        families.extend(names::families(Behaviour::Moving, moving));
        families.sort_by(|a, b| a.name.cmp(&b.name));
        let (lines, heads) = families.iter().flat_map(lines_of).unzip();
        Page { seed, reset_every: 0, lines, heads }
    }

    /// Lets every counter start again from zero each `scrapes` scrapes; 0 for never.
    #[must_use]
    pub fn with_resets(mut self, scrapes: u64) -> Page {
        self.reset_every = scrapes;
        self
    }

    /// Gives every eighth line that is not constant two decimals, as seconds and loads have.
    #[must_use]
    pub fn with_decimals(mut self) -> Page {
        for (at, line) in self.lines.iter_mut().enumerate() {
            line.decimals = at % 8 == 3 && line.behaviour != Behaviour::Constant && line.name != SCRAPES;
        }
        self
    }

    /// Returns its lines, in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Returns the name of `target`: what stands for `{node}` in the labels.
    pub fn node_name(target: usize) -> String {
        format!("host-{target:05}")
    }

    /// Returns which line says how often its target was scraped before, as its value does.
    ///
    /// # Panics
    /// Never: every page has one.
    pub fn scrapes_line(&self) -> usize {
        self.lines.iter().position(|line| line.name == SCRAPES).expect("every page has one")
    }

    /// Returns what `target` says in line `at` when it is scraped for the `scrape`th time, counted from 0.
    pub fn value(&self, target: usize, at: usize, scrape: u64) -> f64 {
        let number = self.number(target, at, scrape);
        if self.lines[at].decimals { number as f64 / 100.0 } else { number as f64 }
    }

    /// Appends the page that `target` shows when it is scraped for the `scrape`th time, counted from 0.
    pub fn render(&self, target: usize, scrape: u64, page: &mut Vec<u8>) {
        for (at, head) in self.heads.iter().enumerate() {
            match head.node_at {
                None => page.extend_from_slice(head.text.as_bytes()),
                Some(node_at) => {
                    page.extend_from_slice(&head.text.as_bytes()[..node_at]);
                    page.extend_from_slice(Page::node_name(target).as_bytes());
                    page.extend_from_slice(&head.text.as_bytes()[node_at..]);
                }
            }
            let number = self.number(target, at, scrape);
            if self.lines[at].decimals {
                write_hundredths(number, page)
            } else {
                write_integer(number, page)
            }
            page.push(b'\n');
        }
    }

    /// Returns the value, in hundredths if the line has decimals; below 2^48.
    fn number(&self, target: usize, at: usize, scrape: u64) -> u64 {
        let line = &self.lines[at];
        if line.name == SCRAPES {
            return scrape;
        }
        if line.name == "node_uname_info" {
            return 1;
        }
        let own = mix(self.seed ^ mix((target as u64) << 32 | at as u64));
        let magnitude = 10u64.pow(3 + (mix(at as u64) % 9) as u32);
        match line.behaviour {
            Behaviour::Constant if own.is_multiple_of(2) => 0,
            Behaviour::Constant => own % magnitude,
            Behaviour::Moving => magnitude / 2 + mix(own ^ scrape) % (magnitude / 10),
            Behaviour::Growing => {
                let step = 1 + own % (magnitude / 1000 + 9);
                let lives = scrape.checked_div(self.reset_every).unwrap_or(0);
                let since_reset = scrape - lives * self.reset_every;
                let base = if lives == 0 { own % magnitude } else { 0 };
                base + step * since_reset + mix(own ^ scrape) % step
            }
        }
    }
}

fn lines_of(family: &Family) -> Vec<(Line, Head)> {
    let kind = if family.behaviour == Behaviour::Growing { "counter" } else { "gauge" };
    let comments = format!("# HELP {0} {1}\n# TYPE {0} {kind}\n", family.name, family.help);
    let line = |(at, labels): (usize, &String)| {
        let comments = if at == 0 { comments.as_str() } else { "" };
        let text = format!("{comments}{}{labels} ", family.name);
        let node_at = text.find("{node}");
        let head = Head { text: text.replace("{node}", ""), node_at };
        let (name, labels) = (family.name.clone(), labels.clone());
        (Line { name, labels, behaviour: family.behaviour, decimals: false }, head)
    };
    family.labels.iter().enumerate().map(line).collect()
}

/// Scrambles `x`.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014): the finaliser of SplitMix64.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// From here on node_exporter writes numbers with an exponent, as Go's `%g` does.
const EXPONENT_FROM: u64 = 1_000_000;

fn write_integer(number: u64, page: &mut Vec<u8>) {
    let mut buffer = [0u8; 20];
    let digits = digits(number, &mut buffer);
    if number < EXPONENT_FROM {
        page.extend_from_slice(digits);
        return;
    }
    let exponent = digits.len() - 1;
    let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    page.push(digits[0]);
    if kept > 1 {
        page.push(b'.');
        page.extend_from_slice(&digits[1..kept]);
    }
    page.extend_from_slice(&[b'e', b'+', b'0' + (exponent / 10) as u8, b'0' + (exponent % 10) as u8]);
}

fn write_hundredths(number: u64, page: &mut Vec<u8>) {
    let mut buffer = [0u8; 20];
    page.extend_from_slice(digits(number / 100, &mut buffer));
    let (tenths, hundredths) = ((number / 10 % 10) as u8, (number % 10) as u8);
    match (tenths, hundredths) {
        (0, 0) => {}
        (_, 0) => page.extend_from_slice(&[b'.', b'0' + tenths]),
        _ => page.extend_from_slice(&[b'.', b'0' + tenths, b'0' + hundredths]),
    }
}

fn digits(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the sample lines of `text`, in order.
    fn values(text: &str) -> Vec<f64> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn a_page_reads_back_as_its_values() {
        for page in [Page::new(1, 200), Page::new(2, 50).with_resets(3), Page::new(3, 1000).with_decimals()] {
            for (target, scrape) in [(0, 0), (17, 1), (4999, 12_345)] {
                let mut text = Vec::new();
                page.render(target, scrape, &mut text);
                let expected: Vec<f64> = (0..page.lines().len()).map(|at| page.value(target, at, scrape)).collect();
                assert_eq!(values(std::str::from_utf8(&text).unwrap()), expected);
            }
        }
    }

    #[test]
    fn every_series_is_there_once() {
        for series in [2, 50, 200, 1000, 3000] {
            let page = Page::new(1, series);
            assert_eq!(page.lines().len(), series);
            let names: std::collections::BTreeSet<_> =
                page.lines().iter().map(|line| (&line.name, &line.labels)).collect();
            assert_eq!(names.len(), series, "of {series}");
        }
    }

    #[test]
    fn behaviours_have_their_shares_and_bytes() {
        let page = Page::new(1, 1000);
        let share = |behaviour| page.lines().iter().filter(|line| line.behaviour == behaviour).count();
        assert_eq!([Behaviour::Constant, Behaviour::Growing, Behaviour::Moving].map(share), [480, 330, 190]);
        for series in [200, 1000] {
            let mut text = Vec::new();
            Page::new(1, series).with_decimals().render(0, 5, &mut text);
            let bytes = text.len() / series;
            assert!((108..=118).contains(&bytes), "{bytes} bytes of page a sample of {series}");
        }
    }

    #[test]
    fn lines_do_as_they_say() {
        let page = Page::new(9, 200);
        for (at, line) in page.lines().iter().enumerate() {
            let values: Vec<f64> = (0..50).map(|scrape| page.value(3, at, scrape)).collect();
            let changes = values.windows(2).filter(|pair| pair[0] != pair[1]).count();
            match line.behaviour {
                Behaviour::Constant => assert_eq!(changes, 0),
                Behaviour::Growing => assert!(values.is_sorted() && changes > 0, "{line:?}: {values:?}"),
                Behaviour::Moving => assert!(changes > 40, "{line:?}: {values:?}"),
            }
        }
    }

    #[test]
    fn counters_start_again_from_zero() {
        let page = Page::new(9, 50).with_resets(10);
        let at = page.lines().iter().position(|line| line.name.starts_with("node_") && line.is_cumulative()).unwrap();
        assert!(page.value(0, at, 10) < page.value(0, at, 9));
        assert!(page.value(0, at, 20) < page.value(0, at, 19));
    }

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let check = |number: u64, expected: &str| {
            let mut text = Vec::new();
            write_integer(number, &mut text);
            assert_eq!(std::str::from_utf8(&text), Ok(expected));
        };
        check(0, "0");
        check(999_999, "999999");
        check(1_000_000, "1e+06");
        check(8_338_436_096, "8.338436096e+09");
        check(1_200_000_000_000, "1.2e+12");
    }
}
