//! How long to wait before trying again.

use std::time::Duration;

use crate::random::Random;

/// Waits whose bound doubles from `least` to `most`, each drawn at random from all up to its bound, so that children of a
/// parent that comes back do not come all at once.
///
/// Source: "Exponential Backoff And Jitter", AWS Architecture Blog (2015), "full jitter".
#[derive(Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
    random: Random,
}

impl Backoff {
    /// Starts at `least`.
    pub fn new(least: Duration, most: Duration, random: Random) -> Backoff {
        Backoff { least, most, next: least, random }
    }

    /// Returns the next wait: at most the current bound.
    pub fn wait(&mut self) -> Duration {
        let bound = self.next;
        self.next = (self.next * 2).min(self.most);
        Duration::from_millis(self.random.below(bound.as_millis() as u64 + 1))
    }

    /// Starts again at `least`, after a success.
    pub fn reset(&mut self) {
        self.next = self.least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_the_most() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(8), Random::seeded(1));
        for bound in [1, 2, 4, 8, 8] {
            let wait = backoff.wait();
            assert!(wait <= seconds(bound), "{wait:?} of {bound} s");
        }
        backoff.reset();
        assert!(backoff.wait() <= seconds(1));
    }
}
