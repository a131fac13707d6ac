//! Finding out, after a restart, where each target's last row left it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use firetower_model::sample::STALE_BITS;
use firetower_model::{TargetId, Timestamp};

use crate::database::Store;
use crate::engine::RawIterator;
use crate::error::Error;
use crate::raw::appender::{Appender, Last};
use crate::raw::key::{Bucket, read_row_key, row_key};
use crate::raw::row::{KEYFRAME_EVERY, RowState, is_keyframe};

impl Store {
    /// Returns the writer of scrapes, which goes on from each target's last row.
    ///
    /// # Errors
    /// If the rows not yet settled cannot be read.
    pub fn appender(&self) -> Result<Appender, Error> {
        let mut targets = HashMap::new();
        let mut options = self.reading_once();
        options.set_iterate_lower_bound(self.first_unsettled().to_bytes());
        let mut rows = self.db.raw_iterator_cf_opt(self.family("raw_rows"), options);
        rows.seek_to_last();
        // Newest first, jumping from the last row of one target to that of the one before it in the bucket.
        while let Some((bucket, target, at)) = key_here(&rows)? {
            if let Entry::Vacant(vacant) = targets.entry(target) {
                vacant.insert(read_last(&mut rows, bucket, target, at)?);
            }
            rows.seek_for_prev(row_key(bucket, target, Timestamp::MIN));
            // A row at that very moment would be found again.
            if key_here(&rows)? == Some((bucket, target, Timestamp::MIN)) {
                rows.prev();
            }
        }
        Ok(Appender::new(self.clone(), targets))
    }
}

fn key_here(rows: &RawIterator<'_>) -> Result<Option<(Bucket, TargetId, Timestamp)>, Error> {
    let Some(key) = rows.key() else {
        return rows.status().map(|()| None).map_err(Error::at("read rows"));
    };
    read_row_key(key).map(Some).ok_or_else(|| Error::corrupt("row", key))
}

/// Reads the target's row that `rows` stands at, from its keyframe on.
fn read_last(rows: &mut RawIterator<'_>, bucket: Bucket, target: TargetId, at: Timestamp) -> Result<Last, Error> {
    while rows.value().is_some_and(|row| !is_keyframe(row)) {
        rows.prev();
    }
    let last_key = row_key(bucket, target, at);
    if rows.holes() > 0 {
        rows.seek(row_key(bucket, target, Timestamp::MIN));
    }
    let (mut state, mut holes) = (RowState::default(), rows.holes());
    loop {
        let Some((key, row)) = rows.item().filter(|(key, _)| *key <= last_key.as_slice()) else {
            // It could not be read: the next row is a keyframe, as after one without values.
            return Ok(Last { at, bucket, shape: state.shape, link: KEYFRAME_EVERY, live: 0, values: Arc::from([]) });
        };
        if std::mem::replace(&mut holes, rows.holes()) != holes {
            state.restart();
        }
        let waits = holes > 0 && state.needs_keyframe() && !is_keyframe(row);
        if !waits {
            state.read(row).ok_or_else(|| Error::corrupt("row", key))?;
            if key == last_key {
                break;
            }
        }
        rows.next();
    }
    let live = state.values.iter().filter(|value| value.to_bits() != STALE_BITS).count() as u32;
    let link = state.link();
    let values = if live == 0 { Arc::from([]) } else { state.values.into() };
    Ok(Last { at, bucket, shape: state.shape, link, live, values })
}
