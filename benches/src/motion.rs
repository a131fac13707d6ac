//! How values go from scrape to scrape, as pure functions of whose they are and of the scrape's number.
//!
//! Nothing is kept between two scrapes, so whoever knows the number can recompute the value. That forbids sums of random
//! steps: a counter is its mean rate plus noise that never undoes a step, a gauge is a slow line through random
//! points plus noise.

use crate::page::Behaviour;

/// For so many scrapes a gauge wanders from one random point to the next.
const LEG_SCRAPES: u64 = 32;
/// A counter shows at most what so many scrapes give, when its target is scraped first.
const LIFE_SCRAPES: u64 = 100_000;
/// Share of the counters that step rarely: interfaces without a link, disks without work, errors.
const IDLE_PERCENT: u64 = 15;

/// How one line's value goes, in the line's own unit; every value is below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Motion {
    /// The number of the scrape.
    Scrapes,
    /// Always 1.
    One,
    /// A value of its own below the bound; 0 for half of the targets.
    Still { below: u64 },
    /// A counter with one step in each `period` scrapes, at a random one of them.
    Rare { period: u64 },
    /// A counter of about `rate` units a scrape, give or take `noise` of them; never more noise than rate.
    Busy { rate: u64, noise: u64, unit: u64 },
    /// A gauge that wanders within `wander` units above `least`, with up to `noise` units more that last `hold` scrapes.
    Wandering { least: u64, wander: u64, noise: u64, hold: u64, unit: u64 },
    /// A counter whose steps are any number of its magnitude's, as no real one's are.
    AnyCounter { magnitude: u64 },
    /// A gauge that is anywhere within a tenth of its magnitude, each time, as no real one is.
    AnyGauge { magnitude: u64 },
}

/// Which scrape of which life of a counter is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Number of the scrape, counted from 0.
    pub(crate) scrape: u64,
    /// Scrapes since the counters last started again from zero.
    pub(crate) since_reset: u64,
    /// Whether they ever did.
    pub(crate) was_reset: bool,
}

impl Moment {
    /// Returns the moment of `scrape` where counters start again each `reset_every` scrapes; 0 for never.
    pub(crate) fn new(scrape: u64, reset_every: u64) -> Moment {
        let lives = scrape.checked_div(reset_every).unwrap_or(0);
        Moment { scrape, since_reset: scrape - lives * reset_every, was_reset: lives > 0 }
    }
}

impl Motion {
    /// Returns how a line of `behaviour` goes whose name ends in `field`, and whether its unit is a hundredth.
    pub(crate) fn lifelike(behaviour: Behaviour, field: &str, dice: u64) -> (Motion, bool) {
        match behaviour {
            Behaviour::Constant => (Motion::Still { below: 10u64.pow(3 + (dice % 9) as u32) }, false),
            Behaviour::Growing if dice % 100 < IDLE_PERCENT => {
                (Motion::Rare { period: 4 << (dice / 100 % 6) }, is_seconds(field))
            }
            Behaviour::Growing => (busy(field, dice / 100), is_seconds(field)),
            Behaviour::Moving => wandering(field),
        }
    }

    /// Returns how the bucket at `place` of a histogram goes: each counts what the one before does and as much again as the first,
    /// on average over many targets.
    pub(crate) fn bucket(place: usize) -> Motion {
        let rate = 40 * (place as u64 + 1);
        Motion::Busy { rate, noise: rate / 8, unit: 1 }
    }

    /// Returns how a line of `behaviour` goes that is as random as its digits allow.
    pub(crate) fn uniform(behaviour: Behaviour, dice: u64) -> Motion {
        let magnitude = 10u64.pow(3 + (dice % 9) as u32);
        match behaviour {
            Behaviour::Constant => Motion::Still { below: magnitude },
            Behaviour::Growing => Motion::AnyCounter { magnitude },
            Behaviour::Moving => Motion::AnyGauge { magnitude },
        }
    }

    /// Returns the value of the series whose dice are `own`.
    pub(crate) fn at(self, own: u64, moment: Moment) -> u64 {
        let Moment { scrape, since_reset, was_reset } = moment;
        let base = |rate: u64| if was_reset { 0 } else { own % LIFE_SCRAPES * rate };
        match self {
            Motion::Scrapes => scrape,
            Motion::One => 1,
            Motion::Still { .. } if own.is_multiple_of(2) => 0,
            Motion::Still { below } => own % below,
            Motion::Rare { period } => {
                let lived = since_reset + if was_reset { 0 } else { own % LIFE_SCRAPES };
                lived / period + u64::from(lived % period >= mix(own ^ (lived / period)) % period)
            }
            Motion::Busy { rate, noise, unit } => {
                let (rate, noise) = (scaled(rate, own), scaled(noise, own));
                (base(rate) + rate * since_reset + mix(own ^ scrape) % noise) * unit
            }
            Motion::Wandering { least, wander, noise, hold, unit } => {
                let (leg, within) = (scrape / LEG_SCRAPES, scrape % LEG_SCRAPES);
                let point = |leg: u64| mix(own ^ (leg << 32)) % wander;
                let slow = (point(leg) * (LEG_SCRAPES - within) + point(leg + 1) * within) / LEG_SCRAPES;
                let held = if hold == 1 { scrape } else { (scrape + own % hold) / hold };
                (least + slow + mix(own ^ held) % noise) * unit
            }
            Motion::AnyGauge { magnitude } => magnitude / 2 + mix(own ^ scrape) % (magnitude / 10),
            Motion::AnyCounter { magnitude } => {
                let step = 1 + own % (magnitude / 1000 + 9);
                let base = if was_reset { 0 } else { own % magnitude };
                base + step * since_reset + mix(own ^ scrape) % step
            }
        }
    }

    /// Returns how many bits of each value no coder can know from those before it, even one that knows rate and place.
    ///
    /// That is the Shannon entropy of what is drawn anew a scrape: log2(noise) for uniform noise, log2(period) each
    /// period for the moment of a step, log2(wander) each leg for the next point.
    pub(crate) fn entropy_bits(self, own: u64) -> f64 {
        let log2 = |number: u64| (number.max(1) as f64).log2();
        match self {
            Motion::Scrapes | Motion::One | Motion::Still { .. } => 0.0,
            Motion::Rare { period } => log2(period) / period as f64,
            Motion::Busy { noise, .. } => log2(scaled(noise, own)),
            Motion::Wandering { wander, noise, hold, .. } => {
                log2(noise) / hold as f64 + log2(wander) / LEG_SCRAPES as f64
            }
            Motion::AnyCounter { magnitude } => log2(1 + own % (magnitude / 1000 + 9)),
            Motion::AnyGauge { magnitude } => log2(magnitude / 10),
        }
    }
}

/// Returns what one target of many has where `number` is usual: from half to nearly one and a half of it, at least 1.
fn scaled(number: u64, own: u64) -> u64 {
    (number * (8 + (own >> 40) % 16) / 16).max(1)
}

fn is_seconds(field: &str) -> bool {
    field.ends_with("seconds")
}

fn busy(field: &str, dice: u64) -> Motion {
    let tenfold = 10u64.pow((dice % 3) as u32);
    let of = |rate: u64, noise_percent: u64, unit: u64| Motion::Busy {
        rate,
        noise: (rate * noise_percent / 100).max(2),
        unit,
    };
    match field {
        "bytes" if dice.is_multiple_of(2) => of(400 * tenfold, 50, 512),
        "bytes" => of(30_000 * tenfold, 40, 1),
        field if is_seconds(field) => of(60 * tenfold, 50, 1),
        "merged" => of(40 * tenfold, 50, 1),
        "packets" => of(2_000 * tenfold, 40, 1),
        _ => of(250 * tenfold, 40, 1),
    }
}

fn wandering(field: &str) -> (Motion, bool) {
    let of = |least, wander, noise, hold, unit| Motion::Wandering { least, wander, noise, hold, unit };
    match field {
        "available_bytes" => (of(2_000_000, 60_000, 2_000, 1, 4_096), false),
        "cached_bytes" => (of(700_000, 20_000, 500, 1, 4_096), false),
        "dirty_pages" => (of(50, 400, 300, 1, 1), false),
        "free_inodes" => (of(3_000_000, 2_000, 256, 1, 1), false),
        "average" => (of(20, 150, 24, 1, 1), true),
        "temp_celsius" => (of(3_800, 800, 60, 1, 1), true),
        "inuse" => (of(120, 40, 12, 1, 1), false),
        _ => (of(2, 40, 12, 1, 1), true),
    }
}

/// Scrambles `x`.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014): the finaliser of SplitMix64.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTERS: [Motion; 5] = [
        Motion::Rare { period: 4 },
        Motion::Rare { period: 128 },
        Motion::Busy { rate: 1_000, noise: 1_000, unit: 512 },
        Motion::Busy { rate: 2, noise: 2, unit: 1 },
        Motion::AnyCounter { magnitude: 1_000 },
    ];

    fn values(motion: Motion, own: u64, reset_every: u64) -> Vec<u64> {
        (0..500).map(|scrape| motion.at(mix(own), Moment::new(scrape, reset_every))).collect()
    }

    #[test]
    fn counters_never_fall_but_where_they_start_again() {
        for motion in COUNTERS {
            for own in 0..20 {
                let (whole, lives) = (values(motion, own, 0), values(motion, own, 250));
                assert!(whole.is_sorted() && whole[499] > whole[0], "{motion:?} of {own}: {whole:?}");
                assert!(lives[250..].is_sorted() && lives[250] < lives[249], "{motion:?} of {own}: {lives:?}");
            }
        }
    }

    #[test]
    fn gauges_stay_within_their_bounds() {
        let motion = Motion::Wandering { least: 100, wander: 50, noise: 10, hold: 3, unit: 4_096 };
        for own in 0..20 {
            let values = values(motion, own, 0);
            let bounds = 100 * 4_096..160 * 4_096;
            assert!(values.iter().all(|value| bounds.contains(value) && value % 4_096 == 0), "{own}: {values:?}");
        }
    }

    #[test]
    fn entropy_is_what_is_drawn_anew() {
        let check = |motion: Motion, expected: f64| assert_eq!(motion.entropy_bits(8 << 40), expected, "{motion:?}");
        check(Motion::Scrapes, 0.0);
        check(Motion::Rare { period: 16 }, 0.25);
        check(Motion::Busy { rate: 64, noise: 64, unit: 512 }, 6.0);
        check(Motion::Wandering { least: 9, wander: 256, noise: 16, hold: 2, unit: 1 }, 2.25);
    }
}
