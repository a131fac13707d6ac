//! Whether entries of rows decode.

use firetower_model::RowId;

use crate::tree::check::read_durations;
use crate::tree::rows::RowTier;
use crate::tree::rows::key::{Table, step_of_mark};
use crate::tree::rows::value::{decode_cross, decode_header, decode_tier_row};

/// Bytes of the key of a header, of a row and of a mark.
const KEY_BYTES: [usize; 3] = [12, 16, 24];

/// Reads an entry; `None` if it does not decode, or is a row without a key.
pub(in crate::tree) fn check_entry(key: &[u8], value: &[u8], is_known: impl Fn(RowId) -> bool) -> Option<()> {
    const HEADER: u8 = Table::Headers as u8;
    const ROW: u8 = Table::Rows as u8;
    const DURATIONS: u8 = Table::Durations as u8;
    const MARK: u8 = Table::Marks as u8;
    let [header, row, mark] = KEY_BYTES;
    let (table, tier) = (*key.first()?, *key.get(1)?);
    match table {
        HEADER if key.len() == header => decode_header(value).map(drop),
        DURATIONS if key.len() == header => read_durations(value),
        ROW if key.len() == row => {
            let id = RowId(u32::from_be_bytes(key[8..12].try_into().ok()?));
            let is_window = tier == RowTier::Window as u8;
            let decoded = if is_window { decode_cross(value).map(drop) } else { decode_tier_row(value).map(drop) };
            decoded.filter(|()| is_known(id))
        }
        MARK if key.len() == mark => step_of_mark(key).map(drop),
        _ => None,
    }
}
