//! A look at a message's fields before it is unpacked: an empty field is two bytes on the wire and hundreds in memory,
//! so repeated ones are counted first.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::error::Error;
use crate::limits::within;

/// Counts the fields `field` of `message`, without what is inside them.
///
/// # Errors
/// If the message is malformed, or has more than `max` of them.
pub(crate) fn check_count(what: &'static str, message: &[u8], field: u32, max: usize) -> Result<(), Error> {
    let mut count = 0;
    for_each(what, message, field, |_| {
        count += 1;
        within(what, count, max)
    })
}

/// Calls `visit` with the bytes of each length-delimited field `field` of `message`.
pub(crate) fn for_each(
    what: &'static str,
    message: &[u8],
    field: u32,
    mut visit: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let malformed = |source| Error::Malformed { what, source };
    let mut rest = message;
    while !rest.is_empty() {
        let (number, wire_type) = decode_key(&mut rest).map_err(malformed)?;
        if number != field || wire_type != WireType::LengthDelimited {
            skip_field(wire_type, number, &mut rest, DecodeContext::default()).map_err(malformed)?;
            continue;
        }
        let length = decode_varint(&mut rest).map_err(malformed)?;
        let split = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
        let (inside, after) = split.ok_or(Error::Invalid { what, rule: "must not be cut short" })?;
        visit(inside)?;
        rest = after;
    }
    Ok(())
}
