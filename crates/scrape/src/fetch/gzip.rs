//! Inflates gzip, within a limit.
//!
//! Source: RFC 1952.

use std::fmt;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::count::{PageLimits, SampleCount};
use crate::error::Error;
use crate::room::Room;

/// By how much the room for inflated bytes grows at least.
const GROWTH_LEAST: usize = 64 << 10;

/// Inflates; makes its tables for the first page and keeps them for the next.
#[derive(Default)]
pub(crate) struct Inflater(Option<Decompress>);

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflater")
    }
}

impl Inflater {
    /// Inflates all members of `input` into the front of `output`, and returns how many bytes they are; fails before it
    /// holds much over the limit, or many samples more than allowed.
    pub(crate) fn inflate(&mut self, input: &[u8], output: &mut Room, limits: PageLimits) -> Result<usize, Error> {
        let mut inflated = Inflated { output, filled: 0, limit: limits.bytes, count: SampleCount::new(limits) };
        let mut rest = input;
        loop {
            rest = header_end(rest).and_then(|start| rest.get(start..)).ok_or(Error::Gzip { reason: "bad header" })?;
            let start = inflated.filled;
            rest = inflated.add_member(self.0.get_or_insert_with(|| Decompress::new(false)), rest)?;
            let (trailer, after) = rest.split_at_checked(8).ok_or(Error::Gzip { reason: "it ends too early" })?;
            let member = &inflated.output[start..inflated.filled];
            let mut crc = Crc::new();
            crc.update(member);
            let found = [crc.sum().to_le_bytes(), (member.len() as u32).to_le_bytes()].concat();
            if found != trailer {
                return Err(Error::Gzip { reason: "its checksum is wrong" });
            }
            if after.is_empty() {
                return Ok(inflated.filled);
            }
            rest = after;
        }
    }
}

/// What has been inflated so far.
struct Inflated<'a> {
    output: &'a mut Room,
    filled: usize,
    limit: usize,
    count: SampleCount,
}

impl Inflated<'_> {
    /// Inflates one member; returns what comes after it.
    fn add_member<'a>(&mut self, decompress: &mut Decompress, input: &'a [u8]) -> Result<&'a [u8], Error> {
        decompress.reset(false);
        loop {
            if self.filled == self.output.len() {
                let room = self.limit.saturating_sub(self.filled).saturating_add(1);
                self.output.make(self.filled + room.min(self.filled.max(GROWTH_LEAST)));
            }
            let (consumed, before) = (decompress.total_in() as usize, decompress.total_out());
            let status = decompress
                .decompress(&input[consumed..], &mut self.output[self.filled..], FlushDecompress::None)
                .map_err(|_| Error::Gzip { reason: "it is malformed" })?;
            let written = (decompress.total_out() - before) as usize;
            self.filled += written;
            if self.filled > self.limit {
                return Err(Error::BodySize { limit: self.limit });
            }
            self.count.advance(&self.output[..self.filled])?;
            let taken = decompress.total_in() as usize;
            match status {
                Status::StreamEnd => return Ok(&input[taken..]),
                _ if taken == consumed && written == 0 && self.filled < self.output.len() => {
                    return Err(Error::Gzip { reason: "it ends too early" });
                }
                _ => {}
            }
        }
    }
}

/// Returns where a member's header ends; `None` if there is none.
fn header_end(input: &[u8]) -> Option<usize> {
    const CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    if !input.starts_with(&[0x1f, 0x8b, 8]) {
        return None;
    }
    let flags = *input.get(3)?;
    let mut at = 10;
    if flags & EXTRA != 0 {
        at += 2 + usize::from(u16::from_le_bytes([*input.get(at)?, *input.get(at + 1)?]));
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            at += memchr::memchr(0, input.get(at..)?)? + 1;
        }
    }
    Some(if flags & CRC != 0 { at + 2 } else { at })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};

    use super::*;

    fn gzip(page: &[u8]) -> Vec<u8> {
        let mut encoder =
            GzBuilder::new().filename("f").comment("c").extra([1, 2]).write(Vec::new(), Compression::fast());
        encoder.write_all(page).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn inflates_whole_members_only() {
        let page: Vec<u8> = (0..300_000u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let packed = gzip(&page);
        let (mut inflater, mut output) = (Inflater::default(), Room::default());
        let limits = PageLimits::of_bytes(page.len() * 2);
        let mut check = |input: &[u8], expected: Result<&[u8], &str>| {
            let result = inflater.inflate(input, &mut output, limits).map(|length| &output[..length]);
            assert_eq!(result.map_err(|error| error.to_string()), expected.map_err(String::from));
        };
        check(&packed, Ok(&page));
        check(&[&packed[..], &packed[..]].concat(), Ok(&[&page[..], &page[..]].concat()));
        check(&packed[..packed.len() - 9], Err("the gzip body cannot be inflated: it ends too early"));
        check(&packed[..packed.len() - 1], Err("the gzip body cannot be inflated: it ends too early"));
        check(b"a 1\n", Err("the gzip body cannot be inflated: bad header"));
        let mut broken = packed.clone();
        *broken.last_mut().unwrap() ^= 1;
        check(&broken, Err("the gzip body cannot be inflated: its checksum is wrong"));
        check(&gzip(b""), Ok(b""));
    }

    #[test]
    fn a_bomb_stays_within_its_limit() {
        let packed = gzip(&vec![0; 50 << 20]);
        let mut output = Room::default();
        let result = Inflater::default().inflate(&packed, &mut output, PageLimits::of_bytes(1 << 20));
        assert!(matches!(result, Err(Error::BodySize { .. })), "{result:?}");
        assert!(output.len() <= 3 << 20, "{}", output.len());
        let result = Inflater::default().inflate(&gzip(&[7; 1000]), &mut output, PageLimits::of_bytes(1000));
        assert!(result.is_ok(), "the limit is inclusive");
        let limits = PageLimits { bytes: 50 << 20, samples: Some(100) };
        let result = Inflater::default().inflate(&gzip(&b"a 1\n".repeat(5 << 20)), &mut output, limits);
        assert!(matches!(result, Err(Error::SampleLimit { limit: 100 })), "{result:?}");
        assert!(output.len() <= 3 << 20, "{}", output.len());
    }
}
