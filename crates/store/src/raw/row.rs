//! One scrape as bytes: what changed since the same target's previous row.

use firetower_model::sample::STALE_BITS;
use firetower_model::{STALE, ShapeId};

use crate::raw::bytes::{Reader, put_varint};
use crate::raw::code::{self, Code};

/// A row in this many is whole, so that a reader never decodes more than that for one.
pub(crate) const KEYFRAME_EVERY: u8 = 32;

const LINK_MASK: u8 = 0x1f;
const GAPS: u8 = 0x20;
const KIND_SHIFT: u8 = 6;
/// Most columns that a row is believed to have.
const COLUMNS_MAX: usize = 1 << 24;

/// What is in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Columns with a value.
    pub(crate) live: u32,
    /// Columns that end here with a marker.
    pub(crate) ended: u32,
}

/// A row about to be written.
pub(crate) struct NewRow<'a> {
    /// Distance from the last keyframe; 0 makes this one.
    pub(crate) link: u8,
    pub(crate) shape: ShapeId,
    /// Where the columns stood after the row before: [`STALE`] for those without a value.
    pub(crate) previous: &'a [f64],
    pub(crate) values: &'a [f64],
    /// Columns whose staleness marker is not one, sorted.
    pub(crate) unmarked: &'a [u32],
}

impl NewRow<'_> {
    /// Appends the row to `out`; `changed` is scratch.
    pub(crate) fn put(&self, out: &mut Vec<u8>, changed: &mut Vec<u64>) -> Counts {
        if self.link == 0 { self.put_keyframe(out) } else { self.put_changes(out, changed) }
    }

    fn put_keyframe(&self, out: &mut Vec<u8>) -> Counts {
        out.push(0);
        put_varint(out, u64::from(self.shape.0));
        put_varint(out, self.values.len() as u64);
        let mut counts = Counts { live: 0, ended: 0 };
        for (column, value) in self.values.iter().enumerate() {
            if value.to_bits() != STALE_BITS {
                code::put_value(out, 0.0, *value);
                counts.live += 1;
            } else if self.is_end(column) {
                code::put_ended(out);
                counts.ended += 1;
            } else {
                code::put_absent(out);
            }
        }
        counts
    }

    fn put_changes(&self, out: &mut Vec<u8>, changed: &mut Vec<u64>) -> Counts {
        let (count, live) = find_changes(self.previous, self.values, changed);
        let is_sparse = count * 8 < self.values.len();
        out.push(self.link | if is_sparse { GAPS } else { 0 });
        if is_sparse {
            put_varint(out, count as u64);
            let mut next = 0;
            for column in ones(changed) {
                put_varint(out, (column - next) as u64);
                next = column + 1;
            }
        } else {
            let bytes = self.values.len().div_ceil(8);
            out.extend(changed.iter().flat_map(|word| word.to_le_bytes()).take(bytes));
        }
        let mut counts = Counts { live: live as u32, ended: 0 };
        for column in ones(changed) {
            let (previous, value) = (self.previous[column], self.values[column]);
            if value.to_bits() != STALE_BITS {
                code::put_value(out, code::base(previous), value);
            } else if self.is_end(column) {
                code::put_ended(out);
                counts.ended += 1;
            } else {
                code::put_absent(out);
            }
        }
        counts
    }

    fn is_end(&self, column: usize) -> bool {
        let was_live = self.previous.get(column).is_some_and(|value| value.to_bits() != STALE_BITS);
        was_live && self.unmarked.binary_search(&(column as u32)).is_err()
    }
}

/// Fills `changed` with a bit per column that differs; returns how many do, and how many columns have a value.
fn find_changes(previous: &[f64], values: &[f64], changed: &mut Vec<u64>) -> (usize, usize) {
    changed.clear();
    let (mut count, mut live) = (0, 0);
    for (before, after) in previous.chunks(64).zip(values.chunks(64)) {
        let mut word = 0u64;
        for (at, (before, after)) in before.iter().zip(after).enumerate() {
            word |= u64::from(before.to_bits() != after.to_bits()) << at;
            live += usize::from(after.to_bits() != STALE_BITS);
        }
        count += word.count_ones() as usize;
        changed.push(word);
    }
    (count, live)
}

fn ones(words: &[u64]) -> impl Iterator<Item = usize> {
    words.iter().enumerate().flat_map(|(at, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(at * 64 + bit)
        })
    })
}

/// Where a target's columns stand, as rows are read in order.
#[derive(Default)]
pub(crate) struct RowState {
    link: u8,
    /// A keyframe was read, and every row since: another may follow.
    is_started: bool,
    pub(crate) shape: ShapeId,
    /// [`STALE`] for columns without a value.
    pub(crate) values: Vec<f64>,
    /// Columns that the row read last ended with a marker, sorted.
    pub(crate) ended: Vec<u32>,
}

/// Tells whether `row` can be read without those before it.
pub(crate) fn is_keyframe(row: &[u8]) -> bool {
    row.first().is_some_and(|head| head & LINK_MASK == 0)
}

/// Returns the shape that the keyframe `row` names.
pub(crate) fn keyframe_shape(row: &[u8]) -> Option<ShapeId> {
    let mut from = Reader(row);
    from.byte()?;
    Some(ShapeId(u32::try_from(from.varint()?).ok()?))
}

impl RowState {
    /// Returns how many rows lie between the one read last and its keyframe.
    pub(crate) fn link(&self) -> u8 {
        self.link
    }

    /// Forgets what was read: the next row that can be is a keyframe.
    pub(crate) fn restart(&mut self) {
        self.is_started = false;
    }

    /// Tells whether only a keyframe can be read next.
    pub(crate) fn needs_keyframe(&self) -> bool {
        !self.is_started
    }

    /// Reads the next row of the same target.
    ///
    /// Returns `None` if the bytes are no row, or not the one that follows.
    pub(crate) fn read(&mut self, row: &[u8]) -> Option<()> {
        let mut from = Reader(row);
        let head = from.byte()?;
        let link = head & LINK_MASK;
        self.ended.clear();
        if head >> KIND_SHIFT != 0 {
            return None;
        }
        if link == 0 {
            self.read_keyframe(&mut from)?;
        } else {
            if link != self.link + 1 || !self.is_started {
                return None;
            }
            self.read_changes(&mut from, head & GAPS != 0)?;
        }
        (self.link, self.is_started) = (link, true);
        from.0.is_empty().then_some(())
    }

    fn read_keyframe(&mut self, from: &mut Reader<'_>) -> Option<()> {
        self.shape = ShapeId(u32::try_from(from.varint()?).ok()?);
        let columns = from.count(COLUMNS_MAX.min(from.0.len()))?;
        self.values.clear();
        self.values.resize(columns, STALE);
        for column in 0..columns {
            self.read_column(from, column, 0.0)?;
        }
        Some(())
    }

    fn read_changes(&mut self, from: &mut Reader<'_>, is_sparse: bool) -> Option<()> {
        if is_sparse {
            let count = from.count(self.values.len())?;
            let mut columns = *from;
            for _ in 0..count {
                from.varint()?;
            }
            let mut next = 0usize;
            for _ in 0..count {
                let column = next.checked_add(usize::try_from(columns.varint()?).ok()?)?;
                let previous = code::base(*self.values.get(column)?);
                self.read_column(from, column, previous)?;
                next = column + 1;
            }
            return Some(());
        }
        let bitmap = from.take(self.values.len().div_ceil(8))?;
        for (at, byte) in bitmap.iter().enumerate() {
            let mut rest = *byte;
            while rest != 0 {
                let column = at * 8 + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let previous = code::base(*self.values.get(column)?);
                self.read_column(from, column, previous)?;
            }
        }
        Some(())
    }

    #[inline]
    fn read_column(&mut self, from: &mut Reader<'_>, column: usize, previous: f64) -> Option<()> {
        self.values[column] = match code::read_code(from, previous)? {
            Code::Value(value) => value,
            Code::Absent => STALE,
            Code::Ended => {
                self.ended.push(column as u32);
                STALE
            }
        };
        Some(())
    }
}

/// Reads `bytes` as rows of one target, each after a byte that says how long it is. Returns whether all are rows.
pub(crate) fn read_rows(mut bytes: &[u8]) -> Option<()> {
    let mut state = RowState::default();
    while let Some((length, rest)) = bytes.split_first() {
        let (row, after) = rest.split_at_checked(usize::from(*length))?;
        state.read(row)?;
        bytes = after;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    fn a_value() -> impl Strategy<Value = f64> {
        prop_oneof![Just(STALE), Just(1.0), any::<u64>().prop_map(f64::from_bits), (0..9i32).prop_map(f64::from)]
    }

    proptest! {
        #[test]
        fn rows_read_back_in_order(
            columns in 1..200usize,
            cells in proptest::collection::vec(a_value(), 2000),
            unmarked in proptest::collection::btree_set(0..200u32, 0..5),
        ) {
            let unmarked: Vec<u32> = unmarked.into_iter().collect();
            let mut state = RowState::default();
            let mut previous = vec![STALE; columns];
            for (at, values) in cells.chunks_exact(columns).take(40).enumerate() {
                let link = (at % 32) as u8;
                let (mut out, mut scratch) = (Vec::new(), Vec::new());
                let row = NewRow { link, shape: ShapeId(9), previous: &previous, values, unmarked: &unmarked };
                let counts = row.put(&mut out, &mut scratch);
                let ended: Vec<u32> = (0..columns as u32)
                    .filter(|c| previous[*c as usize].to_bits() != STALE_BITS && values[*c as usize].to_bits() == STALE_BITS)
                    .filter(|c| !unmarked.contains(c)).collect();
                let live = values.iter().filter(|v| v.to_bits() != STALE_BITS).count();
                assert_eq!((counts.live as usize, counts.ended as usize), (live, ended.len()));
                state.read(&out).unwrap();
                assert_eq!((state.shape, &state.ended), (ShapeId(9), &ended));
                assert!(state.values.iter().map(|v| v.to_bits()).eq(values.iter().map(|v| v.to_bits())));
                previous.copy_from_slice(values);
            }
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(bytes in any::<Vec<u8>>()) {
            let mut state = RowState { values: vec![0.0; 20], ..RowState::default() };
            state.read(&bytes);
        }
    }
}
