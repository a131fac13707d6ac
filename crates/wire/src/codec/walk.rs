//! A look at a message's fields before it is unpacked: an empty field is two bytes on the wire and hundreds in memory,
//! so repeated ones are counted first.

use crate::error::Error;
use crate::fields::{Fields, Value};
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
    let mut fields = Fields::new(message, what);
    while let Some((number, value)) = fields.next_field()? {
        if let Value::Bytes(inside) = value
            && number == field
        {
            visit(inside)?;
        }
    }
    Ok(())
}
