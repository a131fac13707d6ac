//! Pages that go as a server's do: most lines stand still, counters come in bursts, gauges wander.

use std::io::Write;

/// Of each hundred lines, so many never change, and so many grow; the rest wander.
const CONSTANT: usize = 48;
const GROWING: usize = 33;

/// What a line is a reading of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Set once.
    Constant,
    /// Counts something that comes in bursts; half of them hundredths of seconds, as processors' times are.
    Growing,
    /// Wanders; half of them memory in pages, a quarter counts of things, a quarter averages with two decimals.
    Wandering,
}

/// One simulated server.
pub(crate) struct Node {
    lines: Vec<Line>,
    /// How busy the server is, of 1: all its counters follow.
    load: f64,
    random: Random,
}

struct Line {
    nature: Nature,
    flavour: usize,
    /// What it counts a scrape on average, or how far it wanders.
    pace: f64,
    value: f64,
}

impl Node {
    /// Makes the server of this number with so many lines.
    pub(crate) fn new(number: u64, lines: usize) -> Node {
        let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let lines = (0..lines).map(|at| Line::new(at, &mut random)).collect();
        Node { lines, load: 0.3, random }
    }

    /// Lets one scrape's time pass.
    pub(crate) fn pass(&mut self) {
        let random = &mut self.random;
        self.load = (self.load * 0.9 + 0.03 + 0.04 * random.normal()).clamp(0.02, 1.0);
        if random.fraction() < 0.02 {
            self.load = random.fraction();
        }
        for line in &mut self.lines {
            line.pass(self.load, random);
        }
    }

    /// Appends its page.
    pub(crate) fn render(&self, page: &mut Vec<u8>) {
        for (at, line) in self.lines.iter().enumerate() {
            let (kind, suffix) = if line.nature == Nature::Growing { ("counter", "_total") } else { ("gauge", "") };
            let name = format!("node_reading_{at}{suffix}");
            let value = if line.has_hundredths() { line.value / 100.0 } else { line.value };
            // Writing to memory does not fail.
            let _ = writeln!(page, "# TYPE {name} {kind}\n{name} {value}");
        }
    }
}

impl Line {
    fn new(at: usize, random: &mut Random) -> Line {
        let nature = match at * 37 % 100 {
            share if share < CONSTANT => Nature::Constant,
            share if share < CONSTANT + GROWING => Nature::Growing,
            _ => Nature::Wandering,
        };
        let flavour = at % 4;
        // What one line reads is of the same magnitude on all servers.
        let magnitude = Random(at as u64).fraction();
        let (pace, value) = match (nature, flavour) {
            (Nature::Constant, 0 | 1) => (0.0, 0.0),
            (Nature::Constant, _) => (0.0, (10f64.powf(9.0 * magnitude) * (1.0 + random.fraction())).floor()),
            (Nature::Growing, 0 | 1) => (1500.0 * magnitude * magnitude, (1e7 * random.fraction()).floor()),
            (Nature::Growing, _) => (10f64.powf(8.0 * magnitude - 2.0), (1e9 * magnitude * random.fraction()).floor()),
            (Nature::Wandering, 0 | 1) => {
                (10f64.powf(1.0 + 4.0 * magnitude), 4096.0 * (1e6 * random.fraction()).floor())
            }
            (Nature::Wandering, 2) => (10f64.powf(4.0 * magnitude), (1e5 * random.fraction()).floor()),
            (Nature::Wandering, _) => (100.0 * magnitude, (2e3 * random.fraction()).floor()),
        };
        Line { nature, flavour, pace, value }
    }

    fn has_hundredths(&self) -> bool {
        matches!((self.nature, self.flavour), (Nature::Growing, 0 | 1) | (Nature::Wandering, 3))
    }

    fn pass(&mut self, load: f64, random: &mut Random) {
        match (self.nature, self.flavour) {
            (Nature::Constant, _) => {}
            (Nature::Growing, _) => {
                let mean = self.pace * load;
                let step = mean * (0.3 * random.normal()).exp() + mean.sqrt() * random.normal();
                self.value += if mean < 1.0 { f64::from(random.fraction() < mean) } else { step.round().max(0.0) };
            }
            (Nature::Wandering, 0 | 1) if random.fraction() < 0.9 => {
                self.value = (self.value + 4096.0 * (self.pace * load * random.normal()).round()).max(0.0);
            }
            (Nature::Wandering, 0 | 1) => {}
            (Nature::Wandering, _) => {
                self.value = (self.value + (self.pace * load * random.normal()).round()).max(0.0);
            }
        }
    }
}

/// Numbers as if by chance, the same each time.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014): SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number in `[0, 1)`.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns a number of mean 0 and deviation 1, near enough to normal: of twelve fractions the sum less 6.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.fraction()).sum::<f64>() - 6.0
    }
}
