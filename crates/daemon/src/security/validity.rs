//! From when to when a certificate is good, read out of its DER.

use firetower_model::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::{Date, Month, PrimitiveDateTime, Time};

/// Tags of ASN.1, as DER has them.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Returns when the first certificate of a PEM text ends; `None` if there is none that can be read.
pub fn certificate_end(pem: &[u8]) -> Option<Timestamp> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    validity(&certificate).map(|(_, end)| end)
}

/// Returns the first and the last moment of a certificate; `None` if it cannot be read.
///
/// Source: RFC 5280, 4.1 and 4.1.2.5.
pub(super) fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (outer, _) = expect(SEQUENCE, certificate)?;
    let (signed, _) = expect(SEQUENCE, outer)?;
    let after_version = expect(VERSION, signed).map_or(signed, |(_, rest)| rest);
    let (_, _, after_serial) = next(after_version)?;
    let (_, after_algorithm) = expect(SEQUENCE, after_serial)?;
    let (_, after_issuer) = expect(SEQUENCE, after_algorithm)?;
    let (times, _) = expect(SEQUENCE, after_issuer)?;
    let (tag, begin, rest) = next(times)?;
    let begin = moment(tag, begin)?;
    let (tag, end, _) = next(rest)?;
    Some((begin, moment(tag, end)?))
}

/// Splits the next value, of any tag, off: tag, content, what follows.
fn next(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, first, rest @ ..] = bytes else { return None };
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // Longer lengths are of no certificate.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    next(bytes).filter(|(found, _, _)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// Reads `YYMMDDHHMMSSZ`, of the years from 1950 on, or `YYYYMMDDHHMMSSZ`.
fn moment(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0_u16, |number, digit| number * 10 + u16::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2]);
            (if year < 50 { 2_000 + year } else { 1_900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |at: usize| number(&rest[at..at + 2]) as u8;
    let date = Date::from_calendar_date(i32::from(year), Month::try_from(part(0)).ok()?, part(2)).ok()?;
    let time = Time::from_hms(part(4), part(6), part(8)).ok()?;
    let seconds = PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp();
    Some(Timestamp::from_millis(seconds * 1_000))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_says_how_long_it_is_good() {
        let check = |begin: (i32, u8, u8), end: (i32, u8, u8)| {
            let mut params = CertificateParams::new(vec!["a".to_owned()]).unwrap();
            (params.not_before, params.not_after) =
                (date_time_ymd(begin.0, begin.1, begin.2), date_time_ymd(end.0, end.1, end.2));
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let expected =
                [params.not_before, params.not_after].map(|at| Timestamp::from_millis(at.unix_timestamp() * 1_000));
            assert_eq!(validity(certificate.der()).map(|(begin, end)| [begin, end]), Some(expected));
            assert_eq!(certificate_end(certificate.pem().as_bytes()), Some(expected[1]));
            for length in 0..certificate.der().len().min(150) {
                let _ = validity(&certificate.der()[..length]);
            }
        };
        check((1975, 1, 1), (2049, 12, 31));
        check((2024, 2, 29), (2050, 1, 1));
        check((2020, 1, 1), (4096, 1, 1));
        assert_eq!(validity(b"nothing"), None);
        assert_eq!(validity(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn moments_are_read_as_they_are_written() {
        let check = |tag: u8, text: &str, expected: Option<i64>| {
            assert_eq!(moment(tag, text.as_bytes()).map(|at| at.as_millis() / 1_000), expected, "{text}");
        };
        check(UTC_TIME, "700101000000Z", Some(0));
        check(UTC_TIME, "231114221320Z", Some(1_700_000_000));
        check(GENERALIZED_TIME, "20231114221320Z", Some(1_700_000_000));
        check(UTC_TIME, "231314221320Z", None);
        check(UTC_TIME, "2311142213Z", None);
        check(UTC_TIME, "23111422132xZ", None);
        check(GENERALIZED_TIME, "20231114221320+0100", None);
        check(GENERALIZED_TIME, "231114221320Z", None);
    }
}
