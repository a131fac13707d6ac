//! What was lately written, for readers that must see it before its batch is committed.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// How many entries are kept: more than one batch ever holds.
const ENTRIES_MAX: usize = 1 << 14;

/// The entries that were last put, up to a limit.
pub(crate) struct Recent<K, V> {
    entries: HashMap<K, (u64, V)>,
    order: VecDeque<(u64, K)>,
    puts: u64,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(crate) fn new() -> Recent<K, V> {
        Recent { entries: HashMap::new(), order: VecDeque::new(), puts: 0 }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    pub(crate) fn put(&mut self, key: K, value: V) {
        self.puts += 1;
        self.order.push_back((self.puts, key.clone()));
        self.entries.insert(key, (self.puts, value));
        while self.order.len() > ENTRIES_MAX {
            let Some((put, key)) = self.order.pop_front() else { return };
            if self.entries.get(&key).is_some_and(|(newest, _)| *newest == put) {
                self.entries.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_again_outlives_what_was_not() {
        let mut recent = Recent::new();
        (0..2).for_each(|key| recent.put(key, 'a'));
        recent.put(0, 'b');
        (2..ENTRIES_MAX).for_each(|key| recent.put(key, 'c'));
        assert_eq!((recent.get(&0), recent.get(&1), recent.entries.len()), (Some(&'b'), Some(&'a'), ENTRIES_MAX));
        recent.put(ENTRIES_MAX, 'd');
        assert_eq!((recent.get(&0), recent.get(&1), recent.entries.len()), (Some(&'b'), None, ENTRIES_MAX));
    }
}
