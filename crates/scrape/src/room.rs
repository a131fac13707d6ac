//! Room for the bytes of one answer.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// From how many bytes on room is taken from the system itself, and goes back to it at once.
///
/// An allocator keeps what was freed, for each thread that had it: one target with a page of megabytes would cost them
/// several times over, for good.
pub(crate) const MAPPED_LEAST: usize = 1 << 20;

/// Bytes that can be written, all of them 0 at first.
#[derive(Debug)]
pub(crate) enum Room {
    Heap(Vec<u8>),
    Mapped(MmapMut),
}

impl Default for Room {
    fn default() -> Room {
        Room::Heap(Vec::new())
    }
}

impl Room {
    /// Makes it at least `length` bytes long; what was written stays.
    pub(crate) fn make(&mut self, length: usize) {
        if self.len() >= length {
            return;
        }
        if length >= MAPPED_LEAST
            && let Ok(mut mapped) = MmapMut::map_anon(length)
        {
            mapped[..self.len()].copy_from_slice(self);
            *self = Room::Mapped(mapped);
            return;
        }
        match self {
            Room::Heap(bytes) => bytes.resize(length, 0),
            Room::Mapped(mapped) => {
                let mut bytes = vec![0; length];
                bytes[..mapped.len()].copy_from_slice(mapped);
                *self = Room::Heap(bytes);
            }
        }
    }

    /// Gives what the system has lent back to it.
    pub(crate) fn give_back(&mut self) {
        if matches!(self, Room::Mapped(_)) {
            *self = Room::default();
        }
    }
}

impl Deref for Room {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Room::Heap(bytes) => bytes,
            Room::Mapped(mapped) => mapped,
        }
    }
}

impl DerefMut for Room {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Room::Heap(bytes) => bytes,
            Room::Mapped(mapped) => mapped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_was_written_however_it_grows() {
        let mut room = Room::default();
        room.make(5);
        room.copy_from_slice(b"abcde");
        for length in [3, 100, MAPPED_LEAST, 3 * MAPPED_LEAST] {
            room.make(length);
            assert!(room.len() >= length && room.starts_with(b"abcde") && room[5..].iter().all(|byte| *byte == 0));
            assert_eq!(matches!(room, Room::Mapped(_)), length >= MAPPED_LEAST, "{length}");
        }
        room.give_back();
        assert!(room.is_empty());
    }
}
