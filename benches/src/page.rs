//! What a simulated node_exporter says: which lines its page has, and which values.

use std::ops::Range;

use clap::ValueEnum;

use crate::digits::{write_hundredths, write_integer};
use crate::motion::{Moment, Motion, mix};
use crate::names::{self, Family};

/// How a line's value goes from scrape to scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Never changes.
    Constant,
    /// Grows, often or rarely: a counter.
    Growing,
    /// Goes up and down.
    Moving,
}

/// What the values of a page are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Values {
    /// As those of a real node_exporter.
    Lifelike,
    /// As random as their digits allow, as no real host's are.
    Uniform,
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
    motion: Motion,
    /// Whether a unit of its motion is a hundredth of the metric's.
    is_fine: bool,
    has_decimals: bool,
    /// Whether it is on some pages only.
    is_fickle: bool,
    head: Head,
}

/// The text of a line before its value.
#[derive(Clone, Debug)]
struct Head {
    text: String,
    /// Where in `text` the target's name goes.
    node_at: Option<usize>,
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
/// Of an unlike fleet: share of the lines with a label whose value has the target's name, in percent.
const NAMING_PERCENT: u64 = 30;
/// Of an unlike fleet: share of the lines that come and go, in percent.
const FICKLE_PERCENT: u64 = 1;
/// For so many scrapes a line that comes and goes stays, or stays away.
const FICKLE_SCRAPES: u64 = 4;

/// The page that all targets of a fleet have, but for one label and the values.
///
/// Values are integers below 2^53, so that their sums are exact, unless [`Page::with_decimals`] was asked for.
#[derive(Clone, Debug)]
pub struct Page {
    seed: u64,
    reset_every: u64,
    is_unlike: bool,
    lines: Vec<Line>,
    metrics: Vec<Metric>,
}

/// Lines of one name, which stand together.
#[derive(Clone, Debug)]
struct Metric {
    comments: String,
    lines: Range<usize>,
}

impl Page {
    /// Makes a page of `series` lines, comments apart.
    ///
    /// # Panics
    /// If `series` is under 2.
    pub fn new(seed: u64, series: usize) -> Page {
        assert!(series >= OWN_LINES, "a page has at least {OWN_LINES} lines");
        Page::with_families(seed, series, vec![names::scrapes(SCRAPES), names::node()])
    }

    /// Makes a page of `series` lines, among them those that dashboards of hosts ask for; of those no fewer if `series` is less.
    pub fn of_dashboards(seed: u64, series: usize) -> Page {
        let mut families = vec![names::scrapes(SCRAPES), names::node()];
        families.extend(names::of_dashboards());
        Page::with_families(seed, series, families)
    }

    /// Makes a page of `families` and more, of each behaviour its share of `series`.
    fn with_families(seed: u64, series: usize, mut families: Vec<Family>) -> Page {
        let count = |behaviour: Option<Behaviour>| -> usize {
            let these = families.iter().filter(|family| behaviour.is_none_or(|one| family.behaviour == one));
            these.map(|family| family.labels.len()).sum()
        };
        let constant = (series * CONSTANT_PERCENT / 100).saturating_sub(count(Some(Behaviour::Constant)));
        let growing = (series * GROWING_PERCENT / 100).saturating_sub(count(Some(Behaviour::Growing)));
        let moving = series.saturating_sub(count(None) + constant + growing);
        for (behaviour, lines) in
            [(Behaviour::Constant, constant), (Behaviour::Growing, growing), (Behaviour::Moving, moving)]
        {
            let more = names::families(behaviour, lines, &families);
            families.extend(more);
        }
        families.sort_by(|a, b| a.name.cmp(&b.name));
        let mut page = Page { seed, reset_every: 0, is_unlike: false, lines: Vec::new(), metrics: Vec::new() };
        for family in &families {
            let first = page.lines.len();
            page.lines
                .extend(family.labels.iter().enumerate().map(|(at, labels)| line_of(family, labels, at, first + at)));
            page.metrics.push(Metric { comments: family.comments(), lines: first..page.lines.len() });
        }
        page
    }

    /// Lets every counter start again from zero each `scrapes` scrapes; 0 for never.
    #[must_use]
    pub fn with_resets(mut self, scrapes: u64) -> Page {
        self.reset_every = scrapes;
        self
    }

    /// Gives seconds and loads the two decimals that they really have.
    #[must_use]
    pub fn with_decimals(mut self) -> Page {
        self.lines.iter_mut().for_each(|line| line.has_decimals = line.is_fine);
        self
    }

    /// Makes the values like `values`. Of uniform ones with decimals, every eighth line that changes has some.
    #[must_use]
    pub fn with_values(mut self, values: Values) -> Page {
        if values == Values::Lifelike {
            return self;
        }
        for (at, line) in self.lines.iter_mut().enumerate() {
            if matches!(line.motion, Motion::Scrapes | Motion::One) {
                continue;
            }
            line.motion = Motion::uniform(line.behaviour, mix(at as u64));
            line.is_fine = at % 8 == 3 && line.behaviour != Behaviour::Constant;
            line.has_decimals &= line.is_fine;
        }
        self
    }

    /// Makes pages that share little: 30 % of the lines name the target, 1 % come and go, and metrics stand in an order
    /// of each target's own, their lines in one of each page's own.
    #[must_use]
    pub fn unlike(mut self) -> Page {
        self.is_unlike = true;
        for (at, line) in self.lines.iter_mut().enumerate() {
            if matches!(line.motion, Motion::Scrapes | Motion::One) {
                continue;
            }
            let dice = mix(mix(at as u64)) % 100;
            line.is_fickle = dice < FICKLE_PERCENT;
            if (FICKLE_PERCENT..FICKLE_PERCENT + NAMING_PERCENT).contains(&dice) {
                line.labels = with_label(&line.labels, "origin=\"{node}/exporter\"");
                line.head = head_of(&line.name, &line.labels);
            }
        }
        self
    }

    /// Returns its lines, in the order in which [`Page::value`] counts them.
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
        let line = &self.lines[at];
        let number = line.motion.at(self.dice(target, at), Moment::new(scrape, self.reset_every));
        if line.has_decimals { number as f64 / 100.0 } else { number as f64 }
    }

    /// Tells whether line `at` is on the page that `target` shows when it is scraped for the `scrape`th time.
    fn is_shown(&self, target: usize, at: usize, scrape: u64) -> bool {
        !self.lines[at].is_fickle || mix(self.dice(target, at) ^ (scrape / FICKLE_SCRAPES)).is_multiple_of(2)
    }

    /// Returns how many bits of a sample no coder can know from the samples before it, over all lines of `target`.
    pub fn entropy_bits(&self, target: usize) -> f64 {
        let bits = |(at, line): (usize, &Line)| line.motion.entropy_bits(self.dice(target, at));
        self.lines.iter().enumerate().map(bits).sum::<f64>() / self.lines.len() as f64
    }

    /// Appends the page that `target` shows when it is scraped for the `scrape`th time, counted from 0, and returns how
    /// many samples it has.
    pub fn render(&self, target: usize, scrape: u64, page: &mut Vec<u8>) -> u64 {
        self.render_exploded(target, scrape, 1, page)
    }

    /// As [`Page::render`], with each line `copies` times: all but the first have a label that tells them apart.
    pub fn render_exploded(&self, target: usize, scrape: u64, copies: usize, page: &mut Vec<u8>) -> u64 {
        let node = Page::node_name(target);
        let moment = Moment::new(scrape, self.reset_every);
        let mut samples = 0;
        for turn in 0..self.metrics.len() {
            let metric = &self.metrics[self.metric_at(target, turn)];
            page.extend_from_slice(metric.comments.as_bytes());
            for turn in 0..metric.lines.len() {
                let at = metric.lines.start + self.line_at(target, scrape, turn, metric.lines.len());
                let line = &self.lines[at];
                if !self.is_shown(target, at, scrape) {
                    continue;
                }
                for copy in 0..copies {
                    line.head.write(&node, copy, page);
                    let number = line.motion.at(self.dice(target, at + copy * self.lines.len()), moment);
                    let write = if line.has_decimals { write_hundredths } else { write_integer };
                    write(number, page);
                    page.push(b'\n');
                }
                samples += copies as u64;
            }
        }
        samples
    }

    /// Returns what decides of one series: the same at each scrape.
    fn dice(&self, target: usize, at: usize) -> u64 {
        mix(self.seed ^ mix((target as u64) << 32 | at as u64))
    }

    /// Returns which metric stands at place `turn` on the pages of `target`.
    fn metric_at(&self, target: usize, turn: usize) -> usize {
        let count = self.metrics.len();
        if self.is_unlike { (turn + mix(target as u64) as usize % count) % count } else { turn }
    }

    /// Returns which of the `count` lines of a metric stands at place `turn` of them.
    fn line_at(&self, target: usize, scrape: u64, turn: usize, count: usize) -> usize {
        if self.is_unlike { (turn + mix(target as u64 ^ scrape << 32) as usize % count) % count } else { turn }
    }
}

impl Head {
    fn write(&self, node: &str, copy: usize, page: &mut Vec<u8>) {
        let text = self.text.as_bytes();
        if copy > 0 {
            let text = self.text.trim_end().replace("{node}", node);
            let (name, labels) = text.split_at(text.find('{').unwrap_or(text.len()));
            let labels = with_label(labels, &format!("copy=\"{copy}\""));
            return page.extend_from_slice(format!("{name}{labels} ").as_bytes());
        }
        match self.node_at {
            None => page.extend_from_slice(text),
            Some(node_at) => {
                page.extend_from_slice(&text[..node_at]);
                page.extend_from_slice(node.as_bytes());
                page.extend_from_slice(&text[node_at + "{node}".len()..]);
            }
        }
    }
}

/// Makes the line at `place` of its family and at `at` of the page.
fn line_of(family: &Family, labels: &str, place: usize, at: usize) -> Line {
    let (motion, is_fine) = match family.field {
        names::BUCKET => (Motion::bucket(place), false),
        "scrapes" => (Motion::Scrapes, false),
        "info" => (Motion::One, false),
        field => Motion::lifelike(family.behaviour, field, mix(at as u64)),
    };
    Line {
        name: family.name.clone(),
        labels: labels.to_owned(),
        behaviour: family.behaviour,
        motion,
        is_fine,
        has_decimals: false,
        is_fickle: false,
        head: head_of(&family.name, labels),
    }
}

fn head_of(name: &str, labels: &str) -> Head {
    let text = format!("{name}{labels} ");
    Head { node_at: text.find("{node}"), text }
}

/// Adds `label` to a label set in braces, or makes one of it alone.
fn with_label(labels: &str, label: &str) -> String {
    match labels.strip_suffix('}') {
        None => format!("{{{label}}}"),
        Some(before) => format!("{before},{label}}}"),
    }
}

#[cfg(test)]
mod tests;
