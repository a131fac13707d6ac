//! One value written as its difference from the one before it, exact for every bit pattern.
//!
//! Whole numbers, which most of them are, cost a varint of their difference; values that stand for one a byte more.

use firetower_model::sample::STALE_BITS;

use crate::raw::bytes::{Reader, put_varint, unzigzag, zigzag};
use crate::raw::form::{FORMS, KNOWN_LIMIT, WHOLE, number_of, value_of};

const ENDED: u8 = 0;
const ABSENT: u8 = 1;
/// The first form but [`WHOLE`].
const FORM: u8 = 4;
const BITS: u8 = 64;

/// What a code says about a column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Code {
    /// It has this value now; never the staleness marker.
    Value(f64),
    /// It ends here, with a staleness marker.
    Ended,
    /// It has no value here, and none is marked.
    Absent,
}

impl PartialEq for Code {
    fn eq(&self, other: &Code) -> bool {
        match (self, other) {
            (Code::Value(a), Code::Value(b)) => a.to_bits() == b.to_bits(),
            (Code::Ended, Code::Ended) | (Code::Absent, Code::Absent) => true,
            _ => false,
        }
    }
}

/// Appends `value`, which is not the staleness marker, as its difference from `previous`.
#[inline]
pub(crate) fn put_value(out: &mut Vec<u8>, previous: f64, value: f64) {
    if let (Some(previous), Some(value)) = (number_of(WHOLE, previous), number_of(WHOLE, value)) {
        put_varint(out, zigzag(value - previous) << 1);
        return;
    }
    put_fraction(out, previous, value);
}

fn put_fraction(out: &mut Vec<u8>, previous: f64, value: f64) {
    for form in WHOLE + 1..FORMS {
        if let (Some(value), Some(previous)) = (number_of(form, value), number_of(form, previous)) {
            out.push((FORM + form - 1) << 1 | 1);
            put_varint(out, zigzag(value - previous));
            return;
        }
    }
    let bits = previous.to_bits() ^ value.to_bits();
    let skipped = (bits.trailing_zeros() / 8).min(7);
    let shifted = bits >> (8 * skipped);
    let bytes = (8 - shifted.leading_zeros() / 8).max(1);
    out.push((BITS + (skipped * 8 + bytes - 1) as u8) << 1 | 1);
    out.extend_from_slice(&shifted.to_le_bytes()[..bytes as usize]);
}

/// Appends the end of a column.
pub(crate) fn put_ended(out: &mut Vec<u8>) {
    out.push(ENDED << 1 | 1);
}

/// Appends the absence of a column.
pub(crate) fn put_absent(out: &mut Vec<u8>) {
    out.push(ABSENT << 1 | 1);
}

/// What the value before stands for, if that is known: finding it out takes longer than reading the code.
#[derive(Clone, Copy, Default)]
pub(crate) struct Known {
    /// [`WHOLE`] if it is not known.
    form: u8,
    number: i64,
}

/// Reads one code; `previous` is the value that it was written against. `None` if the bytes are not one.
#[inline]
pub(crate) fn read_code(from: &mut Reader<'_>, previous: f64) -> Option<Code> {
    read_code_after(from, previous, &mut Known::default())
}

/// As [`read_code`] for codes that follow each other: `known` is what this said after the one before.
#[inline]
pub(crate) fn read_code_after(from: &mut Reader<'_>, previous: f64, known: &mut Known) -> Option<Code> {
    let first = *from.0.first()?;
    if first & 1 == 0 {
        *known = Known::default();
        let difference = unzigzag(from.varint()? >> 1);
        return Some(Code::Value((previous as i64).wrapping_add(difference) as f64));
    }
    from.byte()?;
    read_fraction(first >> 1, from, previous, known)
}

/// Passes over so many codes without saying what they stand for. `None` if there are not so many.
#[inline]
pub(crate) fn skip_codes(from: &mut Reader<'_>, count: usize) -> Option<()> {
    let bytes = from.0;
    let mut at = 0;
    for _ in 0..count {
        match LENGTHS[usize::from(*bytes.get(at)?)] {
            UNKNOWN => at = varint_end(bytes, at)?,
            AFTER_FIRST => at = varint_end(bytes, at + 1)?,
            length => at += usize::from(length),
        }
    }
    from.0 = bytes.get(at..)?;
    Some(())
}

/// Returns where the varint that begins at `at` ends.
#[inline]
fn varint_end(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..)?.iter().take(VARINT_BYTES_MAX).position(|byte| byte & 0x80 == 0)?;
    Some(at + length + 1)
}

/// How many bytes a code has, by its first.
const LENGTHS: [u8; 256] = lengths();
/// It is a varint that goes on.
const UNKNOWN: u8 = 0;
/// A varint follows its first byte.
const AFTER_FIRST: u8 = u8::MAX;
const VARINT_BYTES_MAX: usize = 10;

const fn lengths() -> [u8; 256] {
    let mut lengths = [UNKNOWN; 256];
    let mut first = 0;
    while first < 256 {
        let code = (first >> 1) as u8;
        lengths[first] = match code {
            _ if first % 2 == 0 => (first < 0x80) as u8,
            FORM..BITS => AFTER_FIRST,
            BITS.. => (code - BITS) % 8 + 2,
            _ => 1,
        };
        first += 1;
    }
    lengths
}

#[inline]
fn read_fraction(code: u8, from: &mut Reader<'_>, previous: f64, known: &mut Known) -> Option<Code> {
    let before = std::mem::take(known);
    match code {
        ENDED => Some(Code::Ended),
        ABSENT => Some(Code::Absent),
        FORM..BITS => {
            let form = Some(code - FORM + 1).filter(|form| *form < FORMS)?;
            let before = if before.form == form { before.number } else { number_of(form, previous)? };
            let number = before.wrapping_add(from.signed()?);
            if (-KNOWN_LIMIT..KNOWN_LIMIT).contains(&number) {
                *known = Known { form, number };
            }
            Some(Code::Value(value_of(form, number)))
        }
        BITS.. => {
            let (skipped, bytes) = ((code - BITS) / 8, (code - BITS) % 8 + 1);
            let mut shifted = [0; 8];
            shifted[..usize::from(bytes)].copy_from_slice(from.take(usize::from(bytes))?);
            let bits = u64::from_le_bytes(shifted).checked_shl(u32::from(skipped) * 8)?;
            Some(Code::Value(f64::from_bits(previous.to_bits() ^ bits)))
        }
        _ => None,
    }
}

/// Returns what the next code is written against, after a column stood at `value`: a column without a value starts from zero.
#[inline]
pub(crate) fn base(value: f64) -> f64 {
    if value.to_bits() == STALE_BITS { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    pub(crate) fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-1_000_000i64..1_000_000).prop_map(|n| n as f64),
            (any::<i64>(), 0..12i32).prop_map(|(n, e)| (n >> 11) as f64 / 10f64.powi(e)),
            Just(-0.0),
            Just(f64::INFINITY),
            Just(f64::from_bits(0x7ff0_0000_0000_0001)),
        ]
    }

    #[test]
    fn a_code_that_nobody_writes_is_none() {
        for code in 0..=u8::MAX >> 1 {
            let is_written =
                code == ENDED || code == ABSENT || code >= BITS || (FORM..FORM + FORMS - 1).contains(&code);
            let bytes = [&[code << 1 | 1][..], &[0; 9]].concat();
            assert_eq!(read_code(&mut Reader(&bytes), 0.0).is_some(), is_written, "code {code}");
        }
    }

    #[test]
    fn common_steps_are_short() {
        let check = |previous: f64, value: f64, bytes: usize| {
            let mut out = Vec::new();
            put_value(&mut out, previous, value);
            assert_eq!(out.len(), bytes, "{previous} to {value}");
            assert_eq!(read_code(&mut Reader(&out), previous), Some(Code::Value(value)));
        };
        check(1e9, 1e9 + 20.0, 1);
        check(0.0, 0.0, 1);
        check(12345.67, 12345.82, 2);
        check(0.5, 3.0, 3);
        check(1.0 / 3.0, 2.0 / 3.0, 2);
        check(1.0 / 3.0, 2.0 / 7.0, 8);
        check(0.0, -0.0, 2);
    }

    proptest! {
        #[test]
        fn every_pair_reads_back(previous in any_value(), value in any_value()) {
            let mut out = Vec::new();
            put_value(&mut out, previous, value);
            put_ended(&mut out);
            put_absent(&mut out);
            let mut reader = Reader(&out);
            assert_eq!(read_code(&mut reader, previous), Some(Code::Value(value)));
            assert_eq!(read_code(&mut reader, value), Some(Code::Ended));
            assert_eq!(read_code(&mut reader, value), Some(Code::Absent));
            assert!(reader.0.is_empty());
            let mut reader = Reader(&out);
            assert_eq!((skip_codes(&mut reader, 3), reader.0.len()), (Some(()), 0));
            assert_eq!(skip_codes(&mut Reader(&out), 4), None);
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(bytes in any::<Vec<u8>>(), previous in any_value()) {
            let mut reader = Reader(&bytes);
            while read_code(&mut reader, previous).is_some() {}
            skip_codes(&mut Reader(&bytes), bytes.len());
        }
    }
}
