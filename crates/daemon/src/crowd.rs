//! The connections of one listener, and which of them wait for their peer: those are cut first when there are too many.

mod serve;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use serve::{CrowdMetrics, CrowdRules, serve_crowd};

/// The connections of one listener that have nothing to do: their peer has asked for nothing yet, or any more.
///
/// Clones share it. Whoever floods a listener only ever takes the place of others who wait, never of one at work.
#[derive(Clone, Debug, Default)]
struct Crowd(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// By the order in which they began to wait: since when, and what cuts them.
    connections: BTreeMap<u64, (Instant, CancellationToken)>,
}

impl Crowd {
    /// Takes in a connection, which waits from now on.
    fn enter(&self) -> Arc<Place> {
        let place = Place { crowd: self.clone(), cut: CancellationToken::new(), state: Mutex::default() };
        lock(&place.state).ticket = Some(self.wait(&place.cut));
        Arc::new(place)
    }

    /// Returns how many connections wait.
    fn waiting(&self) -> usize {
        lock(&self.0).connections.len()
    }

    /// Cuts the connection that has waited longest; returns whether there is one.
    fn cut_longest(&self) -> bool {
        let longest = lock(&self.0).connections.pop_first();
        longest.inspect(|(_, (_, cut))| cut.cancel()).is_some()
    }

    /// Cuts all connections that have waited for longer than `limit`; returns how many.
    fn cut_after(&self, limit: Duration) -> usize {
        let mut waiting = lock(&self.0);
        let mut count = 0;
        while let Some(longest) = waiting.connections.first_entry().filter(|entry| entry.get().0.elapsed() > limit) {
            longest.remove().1.cancel();
            count += 1;
        }
        count
    }

    fn wait(&self, cut: &CancellationToken) -> u64 {
        let mut waiting = lock(&self.0);
        let ticket = waiting.next;
        waiting.next += 1;
        waiting.connections.insert(ticket, (Instant::now(), cut.clone()));
        ticket
    }

    fn leave(&self, ticket: Option<u64>) {
        if let Some(ticket) = ticket {
            lock(&self.0).connections.remove(&ticket);
        }
    }
}

/// One connection's place among those of its listener; it leaves when this is dropped.
pub struct Place {
    crowd: Crowd,
    cut: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many requests are at work.
    works: usize,
    /// Its place among those that wait, while none is.
    ticket: Option<u64>,
}

impl Place {
    /// Notes that a request is at work, until what this returns is dropped.
    pub fn work(self: &Arc<Place>) -> Work {
        let mut state = lock(&self.state);
        state.works += 1;
        self.crowd.leave(state.ticket.take());
        Work(Arc::clone(self))
    }

    /// Waits until the connection is to be cut.
    ///
    /// # Cancel safety
    /// Nothing is lost if it is dropped.
    pub async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({:?})", lock(&self.state))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.leave(lock(&self.state).ticket.take());
    }
}

/// A request at work.
#[derive(Debug)]
pub struct Work(Arc<Place>);

impl Drop for Work {
    fn drop(&mut self) {
        let Work(place) = self;
        let mut state = lock(&place.state);
        state.works -= 1;
        if state.works == 0 {
            state.ticket = Some(place.crowd.wait(&place.cut));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_longest_is_cut_and_nobody_at_work() {
        let second = Duration::from_secs(1);
        let crowd = Crowd::default();
        let places: Vec<Arc<Place>> = (0..4).map(|_| crowd.enter()).collect();
        let is_cut = || -> Vec<bool> { places.iter().map(|place| place.cut.is_cancelled()).collect() };
        let (work, more) = (places[0].work(), places[0].work());
        assert_eq!(crowd.waiting(), 3);
        assert!(crowd.cut_longest());
        assert_eq!(is_cut(), [false, true, false, false]);
        tokio::time::advance(2 * second).await;
        drop(work);
        assert_eq!(crowd.waiting(), 2, "one request is still at work");
        drop(more);
        assert_eq!((crowd.waiting(), crowd.cut_after(second)), (3, 2));
        assert_eq!(is_cut(), [false, true, true, true]);
        tokio::time::advance(2 * second).await;
        drop(places);
        assert_eq!((crowd.waiting(), crowd.cut_after(second), crowd.cut_longest()), (0, 0, false));
    }
}
