//! How much may be on its way at once, so that a link is filled and nothing waits behind it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How much longer than over an idle link a message may take: that much of what is on its way stands in queues.
const QUEUE_TARGET: Duration = Duration::from_millis(60);
/// Bytes that may be on their way once it is known how long a message takes over the idle link.
const WINDOW_FIRST: u64 = 8 << 10;
/// Bytes that may be on their way at least and at most.
const WINDOW_LEAST: u64 = 4 << 10;
const WINDOW_MOST: u64 = 4 << 20;
/// Bytes of one part of a frame, at least and at most.
const PART_LEAST: u64 = 1 << 10;
const PART_MOST: u64 = firetower_wire::limits::PART_BYTES_MAX as u64;
/// How often the link is left to run empty, to see how long a message takes then.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How many bytes may be on their way at once over one stream.
///
/// As many as the link takes while a message crosses it when it is idle, and in [`QUEUE_TARGET`] more. What a link takes is
/// seen from when the far side says that it has taken what was sent, wherever in between it may have waited: so it
/// holds for buffers that no socket option reaches.
///
/// Source: the aim, a bound on the delay that one adds, is that of LEDBAT (RFC 6817); the window follows the measured rate
/// at once, as that of TCP Vegas would with all its steps, and letting the link run empty now and then is BBR's.
#[derive(Debug)]
pub(crate) struct Pace {
    window: u64,
    /// How long a message takes over the idle link, and when that was last seen.
    idle: Option<Duration>,
    seen_at: Instant,
    is_emptying: bool,
    /// Where each message ends that is on its way, what was on its way with it, and since when.
    sent: VecDeque<(u64, u64, Instant)>,
    total_sent: u64,
    total_taken: u64,
    /// The window is looked at again when what was sent after it had been is taken.
    look_at: u64,
}

impl Pace {
    /// Starts with a link of which nothing is known.
    pub(crate) fn new(now: Instant) -> Pace {
        Pace {
            window: WINDOW_FIRST,
            idle: None,
            seen_at: now,
            is_emptying: false,
            sent: VecDeque::new(),
            total_sent: 0,
            total_taken: 0,
            look_at: 0,
        }
    }

    /// Returns how many bytes are on their way.
    pub(crate) fn in_flight(&self) -> u64 {
        self.total_sent - self.total_taken
    }

    /// Tells whether something more may be sent.
    pub(crate) fn is_open(&self) -> bool {
        let fits = !self.is_looking() && self.in_flight() + self.part_bytes() as u64 <= self.window;
        self.sent.is_empty() || fits
    }

    /// Returns how large a part of a frame may be now.
    pub(crate) fn part_bytes(&self) -> usize {
        if self.is_looking() { PART_LEAST as usize } else { (self.window / 4).clamp(PART_LEAST, PART_MOST) as usize }
    }

    /// Tells whether one small message at a time is sent, to see how long it takes over the idle link.
    fn is_looking(&self) -> bool {
        self.is_emptying || self.idle.is_none()
    }

    /// Notes that `bytes` were sent.
    pub(crate) fn send(&mut self, bytes: u64, now: Instant) {
        self.total_sent += bytes;
        self.sent.push_back((self.total_sent, self.in_flight(), now));
    }

    /// Notes that of all that was sent `total` bytes have been taken; a number that cannot be is cut.
    pub(crate) fn take(&mut self, total: u64, now: Instant) {
        self.total_taken = total.clamp(self.total_taken, self.total_sent);
        let mut newest = None;
        while let Some(first) = self.sent.pop_front_if(|(end, _, _)| *end <= self.total_taken) {
            newest = Some(first);
        }
        let Some((end, flight, since)) = newest else { return };
        let took = now - since;
        if self.is_emptying {
            if self.sent.is_empty() {
                (self.is_emptying, self.idle, self.look_at) = (false, None, self.total_sent);
            }
            return;
        }
        if self.idle.is_none() {
            self.seen_at = now;
        }
        let idle = self.idle.map_or(took, |idle| idle.min(took));
        self.idle = Some(idle);
        self.is_emptying = now - self.seen_at > LOOK_EVERY;
        if self.look_at < end {
            self.fit(flight, took, idle);
        }
    }

    /// Fits the window to a message that took `took` with `flight` bytes on their way.
    fn fit(&mut self, flight: u64, took: Duration, idle: Duration) {
        let ratio = (idle + QUEUE_TARGET).as_secs_f64() / took.as_secs_f64().max(1e-6);
        let window = if ratio < 1.0 {
            ((flight as f64 * ratio) as u64).max(self.window / 2)
        } else if flight * 4 >= self.window * 3 {
            (self.window as f64 * ratio.min(2.0)) as u64
        } else {
            // What was not used says nothing about whether more would fit.
            return;
        };
        self.window = window.clamp(WINDOW_LEAST, WINDOW_MOST);
        self.look_at = self.total_sent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills a link for 30 s, of which the first takes `first` and the rest `rest` bytes a second, and `idle_ms` both ways;
    /// returns how many bytes it took, and the longest that a message waited in the second half.
    fn fill((first, rest): (u64, u64), idle_ms: u64) -> (u64, Duration) {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let (mut now_us, mut link_free_us, mut taken, mut total) = (0u64, 0u64, VecDeque::new(), 0u64);
        let mut worst = 0;
        while now_us < 30_000_000 {
            let bytes_per_second = if now_us < 1_000_000 { first } else { rest };
            let now = start + Duration::from_micros(now_us);
            while let Some((_, end)) = taken.pop_front_if(|(at, _)| *at <= now_us) {
                pace.take(end, now);
            }
            while pace.is_open() {
                let bytes = pace.part_bytes() as u64;
                pace.send(bytes, now);
                total += bytes;
                link_free_us = link_free_us.max(now_us) + bytes * 1_000_000 / bytes_per_second;
                taken.push_back((link_free_us + idle_ms * 1_000, total));
                if now_us > 15_000_000 {
                    worst = worst.max(link_free_us - now_us);
                }
            }
            now_us += 500;
        }
        (total, Duration::from_micros(worst))
    }

    #[test]
    fn a_link_is_filled_and_what_waits_in_it_stays_short() {
        let check = |bytes_per_second: u64, idle_ms: u64, worst_ms: u64| {
            let (taken, worst) = fill((bytes_per_second, bytes_per_second), idle_ms);
            let share = taken as f64 / (bytes_per_second * 30) as f64;
            assert!(share > 0.85, "{bytes_per_second} B/s, {idle_ms} ms: {share}");
            assert!(worst <= Duration::from_millis(worst_ms), "{bytes_per_second} B/s, {idle_ms} ms: {worst:?}");
        };
        check(125_000, 0, 160);
        check(125_000, 40, 160);
        check(250_000, 0, 160);
        check(1_250_000, 5, 160);
        check(40_000, 20, 160);
        check(12_500_000, 150, 300);
        // Four kibibytes are on their way at least.
        check(10_000, 20, 410);
    }

    #[test]
    fn a_link_that_becomes_slow_is_soon_not_overfilled() {
        let (_, worst) = fill((1_250_000, 125_000), 5);
        assert!(worst <= Duration::from_millis(160), "{worst:?}");
    }
}
