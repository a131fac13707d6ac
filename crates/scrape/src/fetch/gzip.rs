//! Inflates gzip, within a limit.
//!
//! Source: RFC 1952.

use std::fmt;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::error::Error;

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
    /// Inflates all members of `input` into `output`, which is emptied first; fails before it holds much over `limit`.
    pub(crate) fn inflate(&mut self, input: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), Error> {
        output.clear();
        let mut rest = input;
        loop {
            rest = header_end(rest).and_then(|start| rest.get(start..)).ok_or(Error::Gzip { reason: "bad header" })?;
            let start = output.len();
            rest = member(self.0.get_or_insert_with(|| Decompress::new(false)), rest, output, limit)?;
            let (trailer, after) = rest.split_at_checked(8).ok_or(Error::Gzip { reason: "it ends too early" })?;
            let mut crc = Crc::new();
            crc.update(&output[start..]);
            let found = [crc.sum().to_le_bytes(), ((output.len() - start) as u32).to_le_bytes()].concat();
            if found != trailer {
                return Err(Error::Gzip { reason: "its checksum is wrong" });
            }
            if after.is_empty() {
                return Ok(());
            }
            rest = after;
        }
    }
}

/// Inflates one member; returns what comes after it.
fn member<'a>(
    decompress: &mut Decompress,
    input: &'a [u8],
    output: &mut Vec<u8>,
    limit: usize,
) -> Result<&'a [u8], Error> {
    decompress.reset(false);
    loop {
        if output.len() == output.capacity() {
            let room = limit.saturating_sub(output.len()).saturating_add(1);
            output.reserve(room.min(output.len().max(GROWTH_LEAST)));
        }
        let (consumed, before) = (decompress.total_in() as usize, output.len());
        let status = decompress
            .decompress_vec(&input[consumed..], output, FlushDecompress::None)
            .map_err(|_| Error::Gzip { reason: "it is malformed" })?;
        if output.len() > limit {
            return Err(Error::BodySize { limit });
        }
        let taken = decompress.total_in() as usize;
        match status {
            Status::StreamEnd => return Ok(&input[taken..]),
            _ if taken == consumed && output.len() == before && output.len() < output.capacity() => {
                return Err(Error::Gzip { reason: "it ends too early" });
            }
            _ => {}
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
        let (mut inflater, mut output) = (Inflater::default(), Vec::new());
        let mut check = |input: &[u8], expected: Result<&[u8], &str>| {
            let result = inflater.inflate(input, &mut output, page.len() * 2);
            assert_eq!(result.map(|()| &output[..]).map_err(|error| error.to_string()), expected.map_err(String::from));
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
        let mut output = Vec::new();
        let result = Inflater::default().inflate(&packed, &mut output, 1 << 20);
        assert!(matches!(result, Err(Error::BodySize { .. })), "{result:?}");
        assert!(output.capacity() <= 3 << 20, "{}", output.capacity());
        assert!(Inflater::default().inflate(&gzip(&[7; 1000]), &mut output, 1000).is_ok(), "the limit is inclusive");
    }
}
