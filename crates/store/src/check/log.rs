//! RocksDB's log files (the write-ahead log and the MANIFEST) read record by record, without RocksDB.
//!
//! RocksDB reads its write-ahead log up to the first record that is not sound and goes on as if that were the end. So it
//! cannot tell the end that a power loss tore, which was never acknowledged, from a damage behind which there is
//! more that was.
//!
//! Source: RocksDB `db/log_format.h`, `db/log_reader.cc`, `util/crc32c.h`.

/// Records are cut at multiples of this.
const BLOCK_BYTES: usize = 32 << 10;
/// Checksum u32, length u16, type u8.
const HEADER_BYTES: usize = 7;
/// Whole, first, middle and last pieces of a record; higher ones say something of the file.
const TYPES: std::ops::RangeInclusive<u8> = 1..=4;
/// The bit of a type that readers who do not know it may pass over.
const MAY_BE_SKIPPED: u8 = 0x80;
/// Says how records are compressed; the only other type that is written here.
const COMPRESSION: u8 = 9;

/// Stands in a batch for "all entries are synced up to the number that follows", a u64.
const SYNCED_MARK: &[u8] = b"firetower: synced up to ";
/// What a batch in the write-ahead log begins with: the number of its first entry, u64, and how many it has, u32.
const BATCH_HEADER_BYTES: usize = 12;
/// Types: a whole record, the first piece of one, and the last.
const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// Returns what is put into a batch to say that all entries up to `last` are synced.
pub(crate) fn synced_mark(last: u64) -> Vec<u8> {
    [SYNCED_MARK, &last.to_le_bytes()].concat()
}

/// What is in a log file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogScan {
    /// Sound pieces of records before the first that is not.
    pub(crate) records: u64,
    /// Where the sound part ends, in bytes from the start.
    pub(crate) sound_bytes: u64,
    /// What is there instead of the next record, if the file does not end.
    pub(crate) fault: Option<Fault>,
}

/// What is where a record should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing sound comes after it: the end of the file was not written whole.
    Torn,
    /// Sound records come after it, though none that says that it was synced.
    Hole,
    /// It had been written and synced: what comes after it says so, or its own checksum with its length put right.
    Damaged,
}

/// Reads a whole log file.
pub(crate) fn scan(file: &[u8]) -> LogScan {
    let mut scan = LogScan::default();
    let (mut at, mut next, mut after) = (0, 0, None);
    while at < file.len() {
        let left = BLOCK_BYTES - at % BLOCK_BYTES;
        if left < HEADER_BYTES {
            at += left;
            continue;
        }
        match piece(file, at) {
            Some(payload) => {
                let kind = file[at + 6];
                if kind == WHOLE || kind == FIRST {
                    after = number_after(payload);
                }
                if kind == WHOLE || kind == LAST {
                    next = after.unwrap_or(next);
                }
                at += HEADER_BYTES + payload.len();
                scan.records += 1;
                scan.sound_bytes = at as u64;
            }
            // Room that was set aside and never written to.
            None if file[at..].iter().all(|byte| *byte == 0) => break,
            None => {
                scan.fault = Some(fault(file, at, next));
                break;
            }
        }
    }
    scan
}

/// Returns the payload of the piece of a record at `at`, if there is a sound one.
fn piece(file: &[u8], at: usize) -> Option<&[u8]> {
    let header = file.get(at..at + HEADER_BYTES)?;
    let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
    if BLOCK_BYTES - at % BLOCK_BYTES < HEADER_BYTES + length {
        return None;
    }
    let payload = file.get(at + HEADER_BYTES..at + HEADER_BYTES + length)?;
    let is_known = TYPES.contains(&header[6]) || header[6] == COMPRESSION || header[6] & MAY_BE_SKIPPED != 0;
    (is_known && is_sound(header, payload)).then_some(payload)
}

fn is_sound(header: &[u8], payload: &[u8]) -> bool {
    let stored = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    masked(crc32c(crc32c(0, &header[6..]), payload)) == stored
}

/// Returns the number of the entry that comes after the batch that begins with `payload`.
fn number_after(payload: &[u8]) -> Option<u64> {
    let (first, count) = payload.get(..BATCH_HEADER_BYTES)?.split_at(8);
    let count = u32::from_le_bytes(count.try_into().ok()?);
    Some(u64::from_le_bytes(first.try_into().ok()?).saturating_add(count.into()))
}

/// Returns the highest number up to which all entries are synced, as batches in this piece say.
fn synced_in(payload: &[u8]) -> Option<u64> {
    let marks = payload.windows(SYNCED_MARK.len() + 8).filter(|window| window.starts_with(SYNCED_MARK));
    marks.filter_map(|window| window.last_chunk().map(|last| u64::from_le_bytes(*last))).max()
}

/// Says what it means that there is no sound record at `at`, where the entry `lost` should be.
fn fault(file: &[u8], at: usize, lost: u64) -> Fault {
    let end = (at - at % BLOCK_BYTES + BLOCK_BYTES).min(file.len());
    // The last record, with a length that reaches past the end or not so far.
    let is_cut = file.len() <= end && at + HEADER_BYTES <= file.len();
    if is_cut && TYPES.contains(&file[at + 6]) && is_sound(&file[at..at + HEADER_BYTES], &file[at + HEADER_BYTES..]) {
        return Fault::Damaged;
    }
    let mut next = at + 1;
    let mut is_followed = false;
    while next + HEADER_BYTES <= file.len() {
        let found = piece(file, next).filter(|payload| !payload.is_empty());
        if let Some(payload) = found {
            is_followed = true;
            if synced_in(payload).is_some_and(|last| lost <= last) {
                return Fault::Damaged;
            }
        }
        next = match found {
            Some(payload) => next + HEADER_BYTES + payload.len(),
            None if is_followed => next - next % BLOCK_BYTES + BLOCK_BYTES,
            None => next + 1,
        };
    }
    if is_followed { Fault::Hole } else { Fault::Torn }
}

/// As it is stored, so that the checksum of bytes with a checksum in them is not weak.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Continues a CRC-32C (Castagnoli) with `bytes`.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!crc, |crc, byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn put(file: &mut Vec<u8>, payload: &[u8]) {
        put_piece(file, WHOLE, payload);
    }

    fn put_piece(file: &mut Vec<u8>, kind: u8, payload: &[u8]) {
        let crc = masked(crc32c(crc32c(0, &[kind]), payload));
        file.extend(crc.to_le_bytes());
        file.extend((payload.len() as u16).to_le_bytes());
        file.push(kind);
        file.extend(payload);
    }

    /// Returns a log of batches of one entry each, numbered from 1 on.
    fn log(contents: &[&[u8]]) -> Vec<u8> {
        let mut file = Vec::new();
        for (number, content) in (1u64..).zip(contents) {
            put(&mut file, &[number.to_le_bytes().as_slice(), &1u32.to_le_bytes(), content].concat());
        }
        file
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_torn_end_is_told_from_a_damage() {
        let marked = [b"one: ".as_slice(), &synced_mark(2)].concat();
        let whole = log(&[b"first", b"second", &marked, b"last"]);
        let check = |change: &dyn Fn(&mut Vec<u8>), records: u64, fault: Option<Fault>| {
            let mut file = whole.clone();
            change(&mut file);
            let found = scan(&file);
            assert_eq!((found.records, found.fault), (records, fault));
        };
        let second = HEADER_BYTES + BATCH_HEADER_BYTES + 5;
        let last = whole.len() - HEADER_BYTES - BATCH_HEADER_BYTES - 4;
        check(&|_| {}, 4, None);
        check(&|file| file.extend([0; 90_000]), 4, None);
        check(&|file| file.truncate(last), 3, None);
        check(&|file| file.truncate(whole.len() - 1), 3, Some(Fault::Torn));
        check(&|file| file.truncate(last + 3), 3, Some(Fault::Torn));
        check(&|file| file[last + 9] ^= 1, 3, Some(Fault::Torn));
        check(&|file| file[last + 4] ^= 0x40, 3, Some(Fault::Damaged));
        let third = second + HEADER_BYTES + BATCH_HEADER_BYTES + 6;
        for at in second..third {
            check(&|file| file[at] ^= 0x10, 1, Some(Fault::Damaged));
        }
        // Not followed by anything that says that it was synced.
        check(&|file| file[third + 9] ^= 1, 2, Some(Fault::Hole));
        // Written while others were synced.
        let whole = log(&[b"first", b"second", b"third", &marked]);
        let check = |at: usize, fault: Fault| {
            let mut file = whole.clone();
            file[at + 9] ^= 1;
            assert_eq!(scan(&file).fault, Some(fault));
        };
        check(second, Fault::Damaged);
        check(third, Fault::Hole);
        // The last that is synced, in two pieces.
        let mut file = log(&[b"first"]);
        put_piece(&mut file, FIRST, &[2u64.to_le_bytes().as_slice(), &1u32.to_le_bytes(), b"sec"].concat());
        let at = file.len() + HEADER_BYTES;
        put_piece(&mut file, LAST, b"ond");
        put(&mut file, &[3u64.to_le_bytes().as_slice(), &1u32.to_le_bytes(), &synced_mark(2)].concat());
        assert_eq!(scan(&file).fault, None);
        file[at] ^= 1;
        assert_eq!(scan(&file).fault, Some(Fault::Damaged));
        assert_eq!(scan(&[]), LogScan::default());
    }
}
