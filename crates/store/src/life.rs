//! The lives of a data directory.
//!
//! What parents and children hear of a directory is numbered: frames, ids of rows. If it goes back to an earlier state, by
//! a restored copy or a damaged log, it would give the same numbers to something else. So it begins a new life, under a
//! new incarnation: its peers count what the old one still owed, and know nothing of the new one yet.

use firetower_model::Incarnation;

use crate::database::{INCARNATION_KEY, Options, Store};
use crate::engine::WriteBatch;
use crate::error::Error;
use crate::tree::{end_windows, forget_outbox};

/// Stands in `meta` when the directory turned out to have gone back: the next who opens it begins a new life.
const RENEW_KEY: &[u8] = b"renew";

/// Why a directory begins a new life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// A copy was brought back.
    Restored,
    /// Its log is damaged, with synced records after the damage.
    DamagedLog,
    /// A parent has applied frames that it knows nothing of.
    WentBack,
}

impl Renewal {
    fn as_str(self) -> &'static str {
        match self {
            Renewal::Restored => "a copy was restored",
            Renewal::DamagedLog => "its log is damaged, and what was written after the damage is lost",
            Renewal::WentBack => {
                "a parent has applied frames that it knows nothing of: it has gone back to an earlier state"
            }
        }
    }
}

impl Store {
    /// Notes that a parent has applied frames that this directory knows nothing of: it has gone back to an earlier state,
    /// and begins a new life when it is opened next.
    ///
    /// Returns the error to stop with, which is another one if that cannot be written.
    pub fn note_went_back(&self) -> Error {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family("meta"), RENEW_KEY, []);
        let noted = self.db.write_synced(batch).map_err(Error::at("note that the directory went back"));
        noted.err().unwrap_or_else(|| Error::WentBack { path: self.path().to_owned() })
    }

    /// Begins a new life if `reason` or a note of an earlier process says so.
    ///
    /// What waited for parents is forgotten with the old life, and what it had collected: its parents count that as lost.
    pub(crate) fn renew_if_due(&mut self, reason: Option<Renewal>, options: &Options) -> Result<(), Error> {
        let meta = self.family("meta");
        let noted = self.db.get_cf(meta, RENEW_KEY).map_err(Error::at("read whether the directory went back"))?;
        let Some(reason) = reason.or(noted.map(|_| Renewal::WentBack)) else { return Ok(()) };
        // Newer than the one before, whatever the clock says by now.
        let created = options.now.max(self.incarnation().created + std::time::Duration::from_millis(1));
        let incarnation = Incarnation { created, random: options.random };
        let mut batch = WriteBatch::default();
        batch.put_cf(meta, INCARNATION_KEY, incarnation.to_bytes());
        batch.delete_cf(meta, RENEW_KEY);
        forget_outbox(self, &mut batch)?;
        end_windows(self, &mut batch)?;
        self.db.write_synced(batch).map_err(Error::at("begin a new life"))?;
        let (before, reason) = (self.incarnation(), reason.as_str());
        tracing::warn!(%before, %incarnation, reason, "the data directory begins a new life, under a new incarnation");
        self.set_incarnation(incarnation);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
