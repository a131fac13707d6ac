//! The times of a block: few patterns, shared by its targets, each of which starts at its own moment.

use crate::raw::bytes::{Reader, put_varint, zigzag};

/// Appends the steps between `times` as (how often, milliseconds) pairs, their number of times first.
pub(crate) fn put_pattern(out: &mut Vec<u8>, times: &[i64]) {
    put_varint(out, times.len() as u64);
    let mut steps = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).peekable();
    while let Some(step) = steps.next() {
        let mut run = 1;
        while steps.next_if_eq(&step).is_some() {
            run += 1;
        }
        put_varint(out, run);
        put_varint(out, zigzag(step));
    }
}

/// Reads a pattern into `times`, the first of which is `first`. `None` if it is none, or longer than `most`.
pub(crate) fn read_pattern(pattern: &[u8], first: i64, most: usize, times: &mut Vec<i64>) -> Option<()> {
    let mut from = Reader(pattern);
    let count = from.count(most)?;
    times.clear();
    if count == 0 {
        return None;
    }
    times.push(first);
    let mut at = first;
    while times.len() < count {
        let run = from.count(count - times.len()).filter(|run| *run > 0)?;
        let step = from.signed()?;
        times.extend(
            std::iter::repeat_with(|| {
                at = at.wrapping_add(step);
                at
            })
            .take(run),
        );
    }
    from.0.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn a_regular_series_takes_a_few_bytes() {
        let mut out = Vec::new();
        put_pattern(&mut out, &(0..480).map(|n| n * 15_000).collect::<Vec<_>>());
        assert_eq!(out.len(), 7);
    }

    proptest! {
        #[test]
        fn any_times_read_back(times in proptest::collection::vec(any::<i64>(), 1..50)) {
            let (mut out, mut back) = (Vec::new(), Vec::new());
            put_pattern(&mut out, &times);
            read_pattern(&out, times[0], 1000, &mut back).unwrap();
            assert_eq!(back, times);
        }
    }
}
