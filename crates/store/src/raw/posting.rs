//! Which metrics, or which targets, carry a label.

use std::collections::HashMap;

use firetower_model::Labels;
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A set of ids, small while it has few.
#[derive(Clone, Debug)]
pub(crate) enum Posting {
    One(u32),
    Few(Vec<u32>),
    Many(Box<RoaringBitmap>),
}

const FEW: usize = 24;

impl Posting {
    /// Adds `id`, which is above all that are in.
    pub(crate) fn push(&mut self, id: u32) {
        match self {
            Posting::One(first) if *first == id => {}
            Posting::One(first) => *self = Posting::Few(vec![*first, id]),
            Posting::Few(ids) if ids.last() == Some(&id) => {}
            Posting::Few(ids) if ids.len() < FEW => ids.push(id),
            Posting::Few(ids) => {
                let mut many: RoaringBitmap = ids.iter().copied().collect();
                many.insert(id);
                *self = Posting::Many(Box::new(many));
            }
            Posting::Many(ids) => {
                ids.insert(id);
            }
        }
    }

    pub(crate) fn to_bitmap(&self) -> RoaringBitmap {
        match self {
            Posting::One(id) => RoaringBitmap::from_iter([*id]),
            Posting::Few(ids) => ids.iter().copied().collect(),
            Posting::Many(ids) => (**ids).clone(),
        }
    }
}

/// Ids by label, and by the name of a label.
///
/// Keyed by hashes alone: two labels whose hashes clash share a posting, so what is found must still be compared.
#[derive(Default)]
pub(crate) struct Postings {
    by_label: HashMap<u64, Posting>,
    by_name: HashMap<u64, RoaringBitmap>,
}

impl Postings {
    /// Adds a set of labels under `id`, which is above all that are in.
    pub(crate) fn add(&mut self, id: u32, labels: &Labels) {
        for (name, value) in labels {
            let posting = self.by_label.entry(hash(name, value));
            posting.and_modify(|posting| posting.push(id)).or_insert(Posting::One(id));
            self.by_name.entry(xxh3_64(name.as_bytes())).or_default().insert(id);
        }
    }

    /// Returns a set that holds all ids with the label, and by bad luck others.
    pub(crate) fn with_label(&self, name: &str, value: &str) -> RoaringBitmap {
        self.by_label.get(&hash(name, value)).map(Posting::to_bitmap).unwrap_or_default()
    }

    /// Returns a set that holds all ids with a label called `name`, and by bad luck others.
    pub(crate) fn with_name(&self, name: &str) -> RoaringBitmap {
        self.by_name.get(&xxh3_64(name.as_bytes())).cloned().unwrap_or_default()
    }
}

fn hash(name: &str, value: &str) -> u64 {
    xxh3_64_with_seed(value.as_bytes(), xxh3_64(name.as_bytes()))
}
