//! Texts numbered from zero, each kept once: the packed labels of metrics and of targets.

use xxhash_rust::xxh3::xxh3_64;

const CHUNK_BYTES: usize = 256 << 10;

/// Texts by number, and numbers by text.
#[derive(Default)]
pub(crate) struct Arena {
    chunks: Vec<Vec<u8>>,
    /// Chunk, and start and length inside it, of each text.
    places: Vec<Place>,
    table: Table,
}

#[derive(Clone, Copy)]
struct Place {
    chunk: u32,
    start: u32,
    bytes: u32,
}

impl Arena {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns the text numbered `id`.
    pub(crate) fn get(&self, id: u32) -> Option<&[u8]> {
        let place = self.places.get(id as usize)?;
        Some(&self.chunks[place.chunk as usize][place.start as usize..][..place.bytes as usize])
    }

    /// Returns the number of `text`.
    pub(crate) fn find(&self, text: &[u8]) -> Option<u32> {
        self.table.find(xxh3_64(text), |id| self.get(id) == Some(text))
    }

    /// Adds `text`, which must not be there yet, and returns its number.
    pub(crate) fn add(&mut self, text: &[u8]) -> u32 {
        let has_room = self.chunks.last().is_some_and(|chunk| chunk.len() + text.len() <= chunk.capacity());
        if !has_room {
            self.chunks.push(Vec::with_capacity(CHUNK_BYTES.max(text.len())));
        }
        let chunk = self.chunks.len() - 1;
        let start = self.chunks[chunk].len() as u32;
        self.chunks[chunk].extend_from_slice(text);
        let id = u32::try_from(self.places.len()).expect("ids run out after 2^32");
        self.places.push(Place { chunk: chunk as u32, start, bytes: text.len() as u32 });
        let (chunks, places) = (&self.chunks, &self.places);
        self.table.add(xxh3_64(text), id, |id| {
            let place = places[id as usize];
            xxh3_64(&chunks[place.chunk as usize][place.start as usize..][..place.bytes as usize])
        });
        id
    }
}

/// Numbers by the hash of what they stand for; what that is, its owner knows.
#[derive(Default)]
pub(crate) struct Table {
    /// Open addressing with a power of two of slots: number + 1, or 0.
    slots: Vec<u32>,
    used: usize,
}

impl Table {
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 {
            let id = self.slots[at] - 1;
            if is_it(id) {
                return Some(id);
            }
            at = (at + 1) & mask;
        }
        None
    }

    pub(crate) fn add(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        if (self.used + 1) * 8 > self.slots.len() * 7 {
            let bigger = vec![0; (self.slots.len() * 2).max(16)];
            for slot in std::mem::replace(&mut self.slots, bigger) {
                if slot != 0 {
                    self.put(hash_of(slot - 1), slot - 1);
                }
            }
        }
        self.put(hash, id);
        self.used += 1;
    }

    fn put(&mut self, hash: u64, id: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = id + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_again() {
        let mut arena = Arena::default();
        let text =
            |n: u32| vec![(n % 251) as u8; (n % 3000) as usize].into_iter().chain(n.to_be_bytes()).collect::<Vec<u8>>();
        for n in 0..3000 {
            assert_eq!(arena.find(&text(n)), None);
            assert_eq!(arena.add(&text(n)), n);
        }
        for n in 0..3000 {
            assert_eq!((arena.find(&text(n)), arena.get(n)), (Some(n), Some(text(n).as_slice())));
        }
        assert_eq!((arena.get(3000), arena.len()), (None, 3000));
    }
}
