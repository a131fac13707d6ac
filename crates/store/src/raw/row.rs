//! One scrape as bytes: what changed since the same target's previous row.

use firetower_model::sample::STALE_BITS;
use firetower_model::{STALE, ShapeId};

use crate::raw::bytes::{Reader, put_varint};
use crate::raw::code::{self, Code, Known};

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

/// Some columns of a row.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    /// A bit for each, 64 a word.
    words: Vec<u64>,
    /// One after the last.
    end: usize,
}

impl Columns {
    /// Makes a set of `columns`, in any order.
    pub(crate) fn new(columns: impl Iterator<Item = usize>) -> Columns {
        let mut set = Columns::default();
        for column in columns {
            let at = column / 64;
            if set.words.len() <= at {
                set.words.resize(at + 1, 0);
            }
            set.words[at] |= 1 << (column % 64);
            set.end = set.end.max(column + 1);
        }
        set
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or(0)
    }

    #[inline]
    fn has(&self, column: usize) -> bool {
        self.word(column / 64) >> (column % 64) & 1 == 1
    }
}

/// Where a target's columns stand, as rows are read in order.
#[derive(Default)]
pub(crate) struct RowState {
    /// The only columns that are read, if not all are: reading the others takes longer than passing over them.
    pub(crate) wanted: Option<Columns>,
    link: u8,
    /// A keyframe was read, and every row since: another may follow.
    is_started: bool,
    pub(crate) shape: ShapeId,
    /// [`STALE`] for columns without a value.
    pub(crate) values: Vec<f64>,
    /// What they stand for, where that is known.
    known: Vec<Known>,
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

    /// Reads the next row of the same target, or its wanted columns.
    ///
    /// Returns `None` if the bytes are no row, or not the one that follows, as far as they are looked at.
    pub(crate) fn read(&mut self, row: &[u8]) -> Option<()> {
        let mut from = Reader(row);
        let head = from.byte()?;
        let link = head & LINK_MASK;
        self.ended.clear();
        if head >> KIND_SHIFT != 0 {
            return None;
        }
        if link == 0 {
            self.begin_keyframe(&mut from)?;
        } else if link != self.link + 1 || !self.is_started {
            return None;
        }
        match self.wanted.take() {
            None => {
                if link == 0 {
                    self.read_all(&mut from)?
                } else {
                    self.read_changes(&mut from, head & GAPS != 0)?
                }
                from.0.is_empty().then_some(())?;
            }
            Some(wanted) => {
                let read = self.read_wanted(&mut from, head, &wanted);
                self.wanted = Some(wanted);
                read?;
            }
        }
        (self.link, self.is_started) = (link, true);
        Some(())
    }

    fn begin_keyframe(&mut self, from: &mut Reader<'_>) -> Option<()> {
        self.shape = ShapeId(u32::try_from(from.varint()?).ok()?);
        let columns = from.count(COLUMNS_MAX.min(from.0.len()))?;
        self.values.clear();
        self.values.resize(columns, STALE);
        self.known.clear();
        self.known.resize(columns, Known::default());
        Some(())
    }

    fn read_all(&mut self, from: &mut Reader<'_>) -> Option<()> {
        (0..self.values.len()).try_for_each(|column| self.read_column(from, column, 0.0))
    }

    /// Reads the columns of a row that are in `wanted`; what comes after the last of them is not looked at.
    fn read_wanted(&mut self, from: &mut Reader<'_>, head: u8, wanted: &Columns) -> Option<()> {
        if head & LINK_MASK == 0 {
            let (end, mut next) = (wanted.end.min(self.values.len()), 0);
            for column in (0..end).filter(|column| wanted.has(*column)) {
                code::skip_codes(from, column - next)?;
                self.read_column(from, column, 0.0)?;
                next = column + 1;
            }
            return Some(());
        }
        if head & GAPS != 0 {
            return self.read_sparse(from, |column| (wanted.has(column), column + 1 < wanted.end));
        }
        let mut bitmap = from.take(self.values.len().div_ceil(8))?;
        for at in 0..wanted.end.div_ceil(64) {
            let (these, rest) = bitmap.split_at(bitmap.len().min(8));
            let mut word = [0; 8];
            word[..these.len()].copy_from_slice(these);
            let rest_count = self.read_word(from, at, u64::from_le_bytes(word), wanted.word(at))?;
            if (at + 1) * 64 < wanted.end {
                code::skip_codes(from, rest_count)?;
            }
            bitmap = rest;
        }
        Some(())
    }

    /// Reads those of the 64 columns at `at` that are `changed` and `wanted`; returns how many changed ones come after them.
    #[inline]
    fn read_word(&mut self, from: &mut Reader<'_>, at: usize, changed: u64, wanted: u64) -> Option<usize> {
        let mut rest = changed;
        let mut found = changed & wanted;
        while found != 0 {
            let bit = found.trailing_zeros();
            let before = rest & ((1 << bit) - 1);
            code::skip_codes(from, before.count_ones() as usize)?;
            let column = at * 64 + bit as usize;
            let previous = code::base(*self.values.get(column)?);
            self.read_column(from, column, previous)?;
            rest = rest & !before & !(1 << bit);
            found &= found - 1;
        }
        Some(rest.count_ones() as usize)
    }

    fn read_changes(&mut self, from: &mut Reader<'_>, is_sparse: bool) -> Option<()> {
        if is_sparse {
            return self.read_sparse(from, |_| (true, true));
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

    /// Reads columns that stand one by one; `look` tells of each whether it is read, and whether to go on after it.
    fn read_sparse(&mut self, from: &mut Reader<'_>, look: impl Fn(usize) -> (bool, bool)) -> Option<()> {
        let count = from.count(self.values.len())?;
        let mut columns = *from;
        for _ in 0..count {
            from.varint()?;
        }
        let mut next = 0usize;
        for _ in 0..count {
            let column = next.checked_add(usize::try_from(columns.varint()?).ok()?)?;
            let previous = code::base(*self.values.get(column)?);
            let (is_read, goes_on) = look(column);
            if is_read {
                self.read_column(from, column, previous)?
            } else {
                code::skip_codes(from, 1)?
            }
            if !goes_on {
                break;
            }
            next = column + 1;
        }
        Some(())
    }

    #[inline]
    fn read_column(&mut self, from: &mut Reader<'_>, column: usize, previous: f64) -> Option<()> {
        self.values[column] = match code::read_code_after(from, previous, self.known.get_mut(column)?)? {
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
            wanted in proptest::collection::btree_set(0..200usize, 0..20),
        ) {
            let unmarked: Vec<u32> = unmarked.into_iter().collect();
            let mut state = RowState::default();
            let mut picked = RowState { wanted: Some(Columns::new(wanted.iter().copied())), ..RowState::default() };
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
                picked.read(&out).unwrap();
                let is_wanted = |column: &usize| wanted.contains(column);
                for column in (0..columns).filter(is_wanted) {
                    assert_eq!(picked.values[column].to_bits(), values[column].to_bits());
                }
                assert!(picked.ended.iter().eq(ended.iter().filter(|column| is_wanted(&(**column as usize)))));
                previous.copy_from_slice(values);
            }
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(bytes in any::<Vec<u8>>()) {
            for wanted in [None, Some(Columns::new([3, 17].into_iter()))] {
                let (values, known) = (vec![0.0; 20], vec![Known::default(); 20]);
                let mut state = RowState { wanted, values, known, is_started: true, ..RowState::default() };
                state.read(&bytes);
            }
        }
    }
}
