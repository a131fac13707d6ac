//! How the tree's values are packed: LEB128 varints, columns, and nothing that depends on the machine.

use std::time::Duration;

use firetower_model::{
    Coverage, Cross, Epoch, Generation, JobDurations, KeptVersion, Revision, RowId, SlotBits, Timestamp, Watermark,
    Window, WindowRows,
};

/// Floats of whole numbers up to this size are packed as varints.
const WHOLE_MAX: f64 = (1u64 << 53) as f64;

pub(crate) fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

pub(crate) fn put_signed(bytes: &mut Vec<u8>, value: i64) {
    put_varint(bytes, zigzag(value));
}

pub(crate) fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    put_varint(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}

/// Packs whole numbers as a varint of twice their zigzag, others as a 1 and their 8 bytes: every bit comes back.
pub(crate) fn put_float(bytes: &mut Vec<u8>, value: f64) {
    let is_whole = value.abs() <= WHOLE_MAX && (value as i64 as f64).to_bits() == value.to_bits();
    if is_whole {
        put_varint(bytes, zigzag(value as i64) << 1);
    } else {
        bytes.push(1);
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}

pub(crate) fn put_window(bytes: &mut Vec<u8>, window: Window) {
    put_signed(bytes, window.start().as_millis());
    put_varint(bytes, window.length().as_millis() as u64);
}

pub(crate) fn put_coverage(bytes: &mut Vec<u8>, coverage: &Coverage) {
    for slots in [coverage.expected, coverage.reported, coverage.late, coverage.lost] {
        put_varint(bytes, slots);
    }
}

pub(crate) fn put_watermark(bytes: &mut Vec<u8>, watermark: &Watermark) {
    put_signed(bytes, watermark.newest.as_millis());
    put_signed(bytes, watermark.complete_through.as_millis());
}

pub(crate) fn put_durations(bytes: &mut Vec<u8>, durations: &[JobDurations]) {
    put_varint(bytes, durations.len() as u64);
    for durations in durations {
        put_text(bytes, durations.job.as_bytes());
        put_text(bytes, &durations.histogram);
    }
}

/// Returns 12 bytes that sort by start (the sign turned), then by length in milliseconds.
pub(crate) fn window_key(window: Window) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&time_key(window.start()));
    key[8..].copy_from_slice(&(window.length().as_millis() as u32).to_be_bytes());
    key
}

/// Returns 8 bytes that sort as time does.
pub(crate) fn time_key(at: Timestamp) -> [u8; 8] {
    (at.as_millis() as u64 ^ 1 << 63).to_be_bytes()
}

/// Reads back the first 12 bytes of a key that starts with [`window_key`].
pub(crate) fn window_of_key(key: &[u8]) -> Option<Window> {
    let (start, rest) = key.split_first_chunk::<8>()?;
    let start = Timestamp::from_millis((u64::from_be_bytes(*start) ^ 1 << 63) as i64);
    aligned_window(start, u32::from_be_bytes(*rest.first_chunk::<4>()?))
}

/// Returns the window that starts at `start`, if one does.
pub(crate) fn aligned_window(start: Timestamp, length_ms: u32) -> Option<Window> {
    let length = Some(length_ms).filter(|length_ms| *length_ms > 0)?;
    let window = Window::containing(start, Duration::from_millis(u64::from(length)));
    (window.start() == start).then_some(window)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Takes packed values from the front of bytes; everything is `None` once they do not read back.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Returns nothing if anything is left over.
    pub(crate) fn finish(self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    /// Returns what is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn varint_u32(&mut self) -> Option<u32> {
        self.varint()?.try_into().ok()
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let packed = self.varint()?;
        Some((packed >> 1) as i64 ^ -((packed & 1) as i64))
    }

    pub(crate) fn time(&mut self) -> Option<Timestamp> {
        Some(Timestamp::from_millis(self.signed()?))
    }

    pub(crate) fn float(&mut self) -> Option<f64> {
        let packed = self.varint()?;
        match packed {
            1 => Some(f64::from_le_bytes(self.array()?)),
            _ if packed & 1 == 1 => None,
            _ => {
                let packed = packed >> 1;
                Some(((packed >> 1) as i64 ^ -((packed & 1) as i64)) as f64)
            }
        }
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.varint()?;
        self.take(count.try_into().ok()?)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Returns a count of things of at least one byte each, so that no more is reserved than there can be.
    pub(crate) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count <= self.rest.len()).then_some(count)
    }

    pub(crate) fn window(&mut self) -> Option<Window> {
        let start = self.time()?;
        aligned_window(start, self.varint_u32()?)
    }

    pub(crate) fn coverage(&mut self) -> Option<Coverage> {
        let [expected, reported, late, lost] = [self.varint()?, self.varint()?, self.varint()?, self.varint()?];
        Some(Coverage { expected, reported, late, lost })
    }

    pub(crate) fn watermark(&mut self) -> Option<Watermark> {
        Some(Watermark { newest: self.time()?, complete_through: self.time()? })
    }

    pub(crate) fn durations(&mut self) -> Option<Vec<JobDurations>> {
        let count = self.count()?;
        (0..count).map(|_| Some(JobDurations { job: self.text()?.into(), histogram: self.bytes()?.into() })).collect()
    }

    fn column<T>(&mut self, count: usize, mut value: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..count).map(|_| value(self)).collect()
    }
}

/// Packs one window's rows: revision first, then what qualifies them, then a column per field.
///
/// Ids are packed as steps from the one before, so they must be in order.
pub(crate) fn encode_window_rows(rows: &WindowRows) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + 16 * rows.rows.len());
    put_varint(&mut bytes, rows.revision.0);
    put_varint(&mut bytes, rows.epoch.0);
    put_text(&mut bytes, rows.datacenter.as_bytes());
    put_window(&mut bytes, rows.window);
    put_coverage(&mut bytes, &rows.coverage);
    put_watermark(&mut bytes, &rows.watermark);
    match &rows.slots {
        None => bytes.push(0),
        Some(slots) => {
            bytes.push(1);
            put_varint(&mut bytes, slots.generation.0);
            put_varint(&mut bytes, u64::from(slots.count()));
            put_text(&mut bytes, &slots.to_bytes());
        }
    }
    put_varint(&mut bytes, rows.rows.len() as u64);
    let mut last = 0;
    for (id, _) in &rows.rows {
        put_varint(&mut bytes, u64::from(id.0.wrapping_sub(last)));
        last = id.0;
    }
    for count in [|c: &Cross| c.series, |c: &Cross| c.special, |c: &Cross| c.unanchored] {
        rows.rows.iter().for_each(|(_, cross)| put_varint(&mut bytes, count(cross)));
    }
    for float in [|c: &Cross| c.sum, |c: &Cross| c.min, |c: &Cross| c.max, |c: &Cross| c.increase] {
        rows.rows.iter().for_each(|(_, cross)| put_float(&mut bytes, float(cross)));
    }
    put_durations(&mut bytes, &rows.durations);
    bytes
}

/// Reads back what [`encode_window_rows`] returned.
pub(crate) fn decode_window_rows(bytes: &[u8]) -> Option<WindowRows> {
    let mut reader = Reader::new(bytes);
    let (revision, epoch) = (Revision(reader.varint()?), Epoch(reader.varint()?));
    let datacenter = reader.text()?.to_owned();
    let window = reader.window()?;
    let (coverage, watermark) = (reader.coverage()?, reader.watermark()?);
    let slots = match reader.byte()? {
        0 => None,
        1 => {
            let (generation, count) = (Generation(reader.varint()?), reader.varint_u32()?);
            Some(SlotBits::from_bytes(generation, count, reader.bytes()?)?)
        }
        _ => return None,
    };
    let rows = decode_crosses(&mut reader)?;
    let durations = reader.durations()?;
    reader.finish()?;
    // Whoever merges puts rows under the newest decision, so the one they were made by is not kept.
    let kept = KeptVersion::default();
    Some(WindowRows { datacenter, window, revision, epoch, coverage, slots, watermark, rows, durations, kept })
}

fn decode_crosses(reader: &mut Reader<'_>) -> Option<Vec<(RowId, Cross)>> {
    let count = reader.count()?;
    let mut last = 0u32;
    let ids = reader.column(count, |reader| {
        last = last.wrapping_add(reader.varint_u32()?);
        Some(RowId(last))
    })?;
    let mut counts = || reader.column(count, Reader::varint);
    let [series, special, unanchored] = [counts()?, counts()?, counts()?];
    let mut floats = || reader.column(count, Reader::float);
    let [sum, min, max, increase] = [floats()?, floats()?, floats()?, floats()?];
    let cross = |at: usize| Cross {
        series: series[at],
        special: special[at],
        sum: sum[at],
        min: min[at],
        max: max[at],
        increase: increase[at],
        unanchored: unanchored[at],
    };
    Some(ids.into_iter().enumerate().map(|(at, id)| (id, cross(at))).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn float() -> impl Strategy<Value = f64> {
        prop_oneof![any::<i32>().prop_map(f64::from), any::<f64>(), Just(-0.0), Just(WHOLE_MAX), Just(f64::INFINITY)]
    }

    pub(crate) fn cross() -> impl Strategy<Value = Cross> {
        (any::<u64>(), 0u64..3, 0u64..9, [float(), float(), float(), float()]).prop_map(
            |(series, special, unanchored, [sum, min, max, increase])| Cross {
                series,
                special,
                sum,
                min,
                max,
                increase,
                unanchored,
            },
        )
    }

    fn slots() -> impl Strategy<Value = Option<SlotBits>> {
        prop::option::of((any::<u64>(), prop::collection::vec(any::<bool>(), 0..200)).prop_map(|(generation, set)| {
            let mut slots = SlotBits::new(Generation(generation), set.len() as u32);
            (0..set.len()).filter(|at| set[*at]).for_each(|at| assert!(slots.set(at as u32)));
            slots
        }))
    }

    prop_compose! {
        fn window_rows()(
            start in -1_000_000i64..1_000_000_000, numbers in any::<[u64; 6]>(), times in any::<[i64; 2]>(),
            slots in slots(), rows in prop::collection::btree_map(any::<u32>(), cross(), 0..40),
            durations in prop::collection::vec(("[a-zé]{0,4}", prop::collection::vec(any::<u8>(), 0..20)), 0..3),
        ) -> WindowRows {
            let [revision, epoch, expected, reported, late, lost] = numbers;
            WindowRows {
                datacenter: "dub".into(),
                window: Window::containing(Timestamp::from_millis(start), Duration::from_secs(15)),
                revision: Revision(revision),
                epoch: Epoch(epoch),
                coverage: Coverage { expected, reported, late, lost },
                slots,
                watermark: Watermark {
                    newest: Timestamp::from_millis(times[0]),
                    complete_through: Timestamp::from_millis(times[1]),
                },
                rows: rows.into_iter().map(|(id, cross)| (RowId(id), cross)).collect(),
                durations: durations.into_iter().map(|(job, histogram)| JobDurations { job, histogram }).collect(),
                kept: KeptVersion::default(),
            }
        }
    }

    proptest! {
        #[test]
        fn floats_keep_every_bit(value in float()) {
            let mut bytes = Vec::new();
            put_float(&mut bytes, value);
            prop_assert_eq!(Reader::new(&bytes).float().map(f64::to_bits), Some(value.to_bits()));
        }

        #[test]
        fn rows_read_back_and_a_part_of_them_does_not(rows in window_rows(), cut in any::<prop::sample::Index>()) {
            let bytes = encode_window_rows(&rows);
            prop_assert_eq!(encode_window_rows(&decode_window_rows(&bytes).unwrap()), bytes.clone());
            let read = decode_window_rows(&bytes).unwrap();
            prop_assert_eq!(format!("{read:?}"), format!("{rows:?}"));
            prop_assert_eq!(decode_window_rows(&bytes[..cut.index(bytes.len())]), None);
        }

        #[test]
        fn keys_of_windows_sort_as_windows_do(a in any::<i32>(), b in any::<i32>()) {
            let window = |at: i32| Window::containing(Timestamp::from_millis(i64::from(at)), Duration::from_secs(15));
            prop_assert_eq!(window_key(window(a)).cmp(&window_key(window(b))), window(a).cmp(&window(b)));
            prop_assert_eq!(window_of_key(&window_key(window(a))), Some(window(a)));
        }
    }
}
