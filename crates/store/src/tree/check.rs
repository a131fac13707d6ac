//! Whether entries of the tree's tables decode, and name what is there.

use firetower_model::RowId;

use crate::database::Store;
use crate::tree::applied::read_applied;
use crate::tree::codec::{Reader, decode_window_rows, window_of_key};
use crate::tree::{outbox, rows, windows};

/// Bytes of a window in a key.
const WINDOW_KEY_BYTES: usize = 12;

/// Reads an entry of one of the tables that are not read whole when the store is opened; `None` if it does not decode.
pub(crate) fn check_entry(store: &Store, family: &str, key: &[u8], value: &[u8]) -> Option<()> {
    let is_known = |id: RowId| id.0 < store.row_key_count();
    match family {
        "windows" => {
            window_of_key(key)?;
            windows::read_record(key, value).ok().map(drop)
        }
        "outbox" => outbox::check_entry(key, value),
        "applied" => {
            std::str::from_utf8(key).ok()?;
            read_applied(value).map(drop)
        }
        "partials" => {
            window_of_key(key.get(..WINDOW_KEY_BYTES)?)?;
            std::str::from_utf8(&key[WINDOW_KEY_BYTES..]).ok()?;
            let rows = decode_window_rows(value)?;
            rows.rows.iter().all(|(id, _)| is_known(*id)).then_some(())
        }
        "rows" => rows::check_entry(key, value, is_known),
        _ => Some(()),
    }
}

/// Reads the durations of a window; `None` if they do not decode.
pub(super) fn read_durations(value: &[u8]) -> Option<()> {
    let mut reader = Reader::new(value);
    reader.durations()?;
    reader.finish()
}
