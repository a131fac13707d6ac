//! How many bytes a parent holds of what its children send, however many come at once.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use firetower_wire::Lane;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that a child may send on a stream before its frame has been given room.
pub(crate) const FIRST_BYTES: u64 = 16 << 10;
/// Streams of frames of one child.
const STREAMS: u64 = 2;
/// Bytes that a frame takes once it is read, per byte when inflated: its columns, and its rows made of them.
const READ_FACTOR: u64 = 4;
/// Room is counted in units of this many bytes.
const UNIT: u64 = 1 << 10;

/// The room for frames: half of it for what each child may send unasked, a quarter each for fresh and for old frames.
///
/// A frame is given all of its room at once, and whoever has it needs nothing more to be done with it: so however little
/// room there is, it goes on. Fresh frames never wait for room that old ones have.
#[derive(Clone)]
pub(crate) struct Inbox {
    fresh: Arc<Semaphore>,
    old: Arc<Semaphore>,
    units_each: u32,
    children_max: usize,
    held: Gauge<u64, AtomicU64>,
}

/// Room given to a frame, until it is dropped.
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
    bytes: u64,
    held: Gauge<u64, AtomicU64>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.dec_by(self.bytes);
    }
}

impl Inbox {
    /// Makes room for `bytes`; `held` tells how many are in use for frames.
    pub(crate) fn new(bytes: u64, held: Gauge<u64, AtomicU64>) -> Inbox {
        let units_each =
            u32::try_from(bytes / 4 / UNIT).unwrap_or(u32::MAX).clamp(1, (Semaphore::MAX_PERMITS >> 1) as u32);
        let room = || Arc::new(Semaphore::new(units_each as usize));
        let children_max = usize::try_from(bytes / 2 / (STREAMS * FIRST_BYTES)).unwrap_or(usize::MAX).max(1);
        Inbox { fresh: room(), old: room(), units_each, children_max, held }
    }

    /// Returns how many children there may be.
    pub(crate) fn children_max(&self) -> usize {
        self.children_max
    }

    /// Waits for room for something of `size` bytes that takes `inflated` when it is read; what is larger than all the
    /// room there is waits until it has all.
    ///
    /// # Cancel safety
    /// Nothing is lost if it is dropped but the place in the queue.
    pub(crate) async fn room(&self, lane: Lane, size: u64, inflated: u64) -> Room {
        let needed = (size + READ_FACTOR * inflated).div_ceil(UNIT);
        let units = u32::try_from(needed).unwrap_or(u32::MAX).clamp(1, self.units_each);
        let bytes = u64::from(units) * UNIT;
        let semaphore = match lane {
            Lane::Live => &self.fresh,
            Lane::Backlog => &self.old,
        };
        let permit = Arc::clone(semaphore).acquire_many_owned(units).await.expect("it is never closed");
        self.held.inc_by(bytes);
        Room { _permit: permit, bytes, held: self.held.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_is_held_than_there_is_room_and_fresh_frames_do_not_wait_for_old_ones() {
        let held = Gauge::<u64, AtomicU64>::default();
        let inbox = Inbox::new(64 << 10, held.clone());
        assert_eq!(inbox.children_max(), 1);
        let first = inbox.room(Lane::Backlog, 2 << 10, 2 << 10).await;
        let over = inbox.room(Lane::Backlog, 1 << 30, 1 << 30);
        let mut over = std::pin::pin!(over);
        let wait = Duration::from_secs(1);
        assert!(timeout(wait, over.as_mut()).await.is_err(), "it needs all the room");
        assert!(timeout(wait, inbox.room(Lane::Backlog, 1, 0)).await.is_err(), "and others wait behind it");
        assert!(timeout(wait, inbox.room(Lane::Live, 16 << 10, 0)).await.is_ok());
        drop(first);
        assert!(timeout(wait, over).await.is_ok());
        assert_eq!(held.get(), 0);
    }
}
