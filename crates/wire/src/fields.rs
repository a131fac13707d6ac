//! The fields of a message, where they lie.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::error::Error;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    /// Eight bytes.
    Fixed(u64),
    Bytes(&'a [u8]),
    /// Nothing that is asked for here.
    Other,
}

/// Reads the fields of one message in their order.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    /// What the message is, for errors.
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8], what: &'static str) -> Fields<'a> {
        Fields { rest: message, what }
    }

    /// Returns the number and the value of the next field; `None` at the end.
    pub(crate) fn next_field(&mut self) -> Result<Option<(u32, Value<'a>)>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let what = self.what;
        let malformed = |source| Error::Malformed { what, source };
        let (number, wire_type) = decode_key(&mut self.rest).map_err(malformed)?;
        let value = match wire_type {
            WireType::Varint => Value::Varint(decode_varint(&mut self.rest).map_err(malformed)?),
            WireType::SixtyFourBit => {
                let (bytes, rest) = self.rest.split_first_chunk::<8>().ok_or_else(|| cut_short(what))?;
                self.rest = rest;
                Value::Fixed(u64::from_le_bytes(*bytes))
            }
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.rest).map_err(malformed)?;
                let split = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
                let (bytes, rest) = split.ok_or_else(|| cut_short(what))?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            other => {
                skip_field(other, number, &mut self.rest, DecodeContext::default()).map_err(malformed)?;
                Value::Other
            }
        };
        Ok(Some((number, value)))
    }
}

fn cut_short(what: &'static str) -> Error {
    Error::Invalid { what, rule: "must not be cut short" }
}
