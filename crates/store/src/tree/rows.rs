//! Rows by tier, as primaries and globals keep them.

mod check;
mod key;
mod query;
mod retain;
mod roll;
mod value;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use firetower_model::{Coverage, Epoch, JobDurations, Revision, Watermark, Window, WindowRows};

use crate::database::{Batch, Store};
use crate::engine::Engine;
use crate::error::Error;
use crate::tree::codec::{Reader, put_durations};
use crate::tree::recent::Recent;
use crate::tree::rows::key::{Place, Table};
use crate::tree::{UNPOISONED, scan};
use crate::unreadable::Value;

pub(super) use crate::tree::rows::check::check_entry;
pub use crate::tree::rows::query::{RowAnswer, RowQuery, RowSeries, RowValue};
pub use crate::tree::rows::roll::{ROLL_DELAY, Roll};
pub use crate::tree::rows::value::TierRow;

const FAMILY: &str = "rows";
const NAMES_FAMILY: &str = "row_keys";
const DATACENTER: u8 = b'd';

/// Above every number that is counted to by writing a window again and again.
const PUT_AFTER_UNREADABLE: u64 = 1 << 40;
const READ_HEADER: &str = "read a window's header";

/// How many datacenters a store gives ids to.
pub const DATACENTERS_MAX: u32 = 1 << 16;

/// How long one step of kept rows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowTier {
    /// As they came: one window each, 15 s unless configured.
    Window,
    /// 5 minutes, made of windows.
    FiveMinutes,
    /// An hour, made of five minutes.
    Hour,
}

impl RowTier {
    /// All tiers, finest first.
    pub const ALL: [RowTier; 3] = [RowTier::Window, RowTier::FiveMinutes, RowTier::Hour];

    /// Returns the word for it in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            RowTier::Window => "window",
            RowTier::FiveMinutes => "5m",
            RowTier::Hour => "1h",
        }
    }

    /// Returns how long its steps are; `None` where the rows themselves say.
    pub fn step(self) -> Option<Duration> {
        match self {
            RowTier::Window => None,
            RowTier::FiveMinutes => Some(Duration::from_secs(300)),
            RowTier::Hour => Some(Duration::from_secs(3_600)),
        }
    }

    /// Returns how much time keys share, which is also what retention drops at once.
    pub fn bucket(self) -> Duration {
        Duration::from_secs(match self {
            RowTier::Window => 3_600,
            RowTier::FiveMinutes => 86_400,
            RowTier::Hour => 30 * 86_400,
        })
    }
}

/// What qualifies the rows of one datacenter in one window or step.
#[derive(Clone, Debug, PartialEq)]
pub struct RowHeader {
    /// Which one.
    pub window: Window,
    /// Of all slots in it.
    pub coverage: Coverage,
    /// Of its worst window; the same as `coverage` where it is one window.
    pub worst: Coverage,
    /// Of the lease under which it was sent; of a step the highest.
    pub epoch: Epoch,
    /// As it was sent; of a step the sum.
    pub revision: Revision,
    /// How far the sender had come; of a step the furthest.
    pub watermark: Watermark,
    /// How often it has been written here. Rows of an earlier time are not read.
    pub(crate) put: u64,
}

impl RowHeader {
    /// Returns what decides between two: more corrections, more slots reported, then the epoch, then the revision.
    fn precedence(&self) -> (u64, u64, Epoch, Revision) {
        (self.revision.corrections(), self.coverage.reported, self.epoch, self.revision)
    }
}

/// What became of rows that were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// They took the place of what was there.
    Accepted,
    /// What was there is as good or better; nothing changed.
    Stale,
}

/// The headers last put, committed or not.
pub(crate) type Headers = Mutex<Recent<Place, RowHeader>>;

/// The ids of datacenters, counted from 0.
pub(crate) struct Datacenters {
    names: Vec<String>,
    ids: HashMap<String, u16>,
}

impl Datacenters {
    pub(crate) fn load(db: &Engine) -> Result<Datacenters, Error> {
        let mut datacenters = Datacenters { names: Vec::new(), ids: HashMap::new() };
        for pair in scan(db, NAMES_FAMILY, &[DATACENTER]) {
            let (key, value) = pair?;
            let is_next = key[1..] == (datacenters.names.len() as u16).to_be_bytes();
            let name = std::str::from_utf8(&value).ok().filter(|_| is_next);
            datacenters.add(name.ok_or_else(|| Error::corrupt("datacenter", &key))?);
        }
        Ok(datacenters)
    }

    fn add(&mut self, name: &str) -> u16 {
        let id = self.names.len() as u16;
        self.ids.insert(name.to_owned(), id);
        self.names.push(name.to_owned());
        id
    }
}

impl Store {
    /// Puts all rows of one window of one datacenter, with row ids of this store, if they come before what is there.
    ///
    /// More slots reported come first, then the higher epoch, then the higher revision; an equal one changes nothing.
    /// Sees what was put before, committed or not.
    ///
    /// # Errors
    /// If what is there cannot be read, or the time has no place.
    pub fn put_rows(&self, batch: &mut Batch, rows: &WindowRows) -> Result<Put, Error> {
        let place = self.place_for(RowTier::Window, &rows.datacenter, rows.window)?;
        let mut headers = self.tree.row_headers.lock().expect(UNPOISONED);
        let before = self.newest_header(&headers, place)?;
        let header = RowHeader {
            window: rows.window,
            coverage: rows.coverage,
            worst: rows.coverage,
            epoch: rows.epoch,
            revision: rows.revision,
            watermark: rows.watermark,
            put: self.next_put(place, before.as_ref())?,
        };
        if before.is_some_and(|before| header.precedence() <= before.precedence()) {
            return Ok(Put::Stale);
        }
        let cf = self.family(FAMILY);
        for (id, cross) in &rows.rows {
            batch.0.put_cf(cf, place.row_key(*id), value::encode_cross(header.put, cross));
        }
        let mut durations = Vec::new();
        put_durations(&mut durations, &rows.durations);
        batch.0.put_cf(cf, place.key(Table::Durations), durations);
        batch.0.put_cf(cf, place.key(Table::Headers), value::encode_header(&header));
        batch.0.put_cf(cf, place.mark_key(RowTier::FiveMinutes, header.put), []);
        headers.put(place, header);
        Ok(Put::Accepted)
    }

    /// Returns the header at `place`, if it has one, committed or not.
    fn newest_header(&self, headers: &Recent<Place, RowHeader>, place: Place) -> Result<Option<RowHeader>, Error> {
        match headers.get(&place) {
            Some(header) => Ok(Some(header.clone())),
            None => self.read_header(place),
        }
    }

    /// Returns the number for the next writing of a window after `before`.
    ///
    /// If that cannot be read, a number that no writing had: rows of earlier ones must not pass for this one's.
    fn next_put(&self, place: Place, before: Option<&RowHeader>) -> Result<u64, Error> {
        let key = place.key(Table::Headers);
        Ok(match before {
            Some(before) => before.put + 1,
            None => match self.read_value(self.family(FAMILY), key, READ_HEADER)? {
                Value::Unreadable => PUT_AFTER_UNREADABLE,
                Value::Found(_) | Value::Missing => 1,
            },
        })
    }

    fn read_header(&self, place: Place) -> Result<Option<RowHeader>, Error> {
        let key = place.key(Table::Headers);
        let found = self.read_value(self.family(FAMILY), key, READ_HEADER)?.found();
        let read = |value: Vec<u8>| value::decode_header(&value).ok_or_else(|| Error::corrupt("window's header", &key));
        found.map(read).transpose()
    }

    /// Returns the committed header of `window` (of `tier`) of `datacenter`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn row_header(&self, tier: RowTier, datacenter: &str, window: Window) -> Result<Option<RowHeader>, Error> {
        let Some(place) = self.place_of(tier, datacenter, window)? else { return Ok(None) };
        Ok(self.read_header(place)?.filter(|header| header.window == window))
    }

    /// Returns how long scrapes took in `window` of `datacenter`, as it was committed.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn row_durations(&self, datacenter: &str, window: Window) -> Result<Vec<JobDurations>, Error> {
        let Some(place) = self.place_of(RowTier::Window, datacenter, window)? else { return Ok(Vec::new()) };
        let key = place.key(Table::Durations);
        let found = self.read_value(self.family(FAMILY), key, "read a window's durations")?;
        let Some(value) = found.found() else { return Ok(Vec::new()) };
        let mut reader = Reader::new(&value);
        reader.durations().ok_or_else(|| Error::corrupt("window's durations", &key))
    }

    /// Returns the names of all datacenters that rows were ever put for, in order.
    pub fn row_datacenters(&self) -> Vec<String> {
        let mut names = self.tree.datacenters.read().expect(UNPOISONED).names.clone();
        names.sort_unstable();
        names
    }

    fn datacenter_id(&self, name: &str) -> Option<u16> {
        self.tree.datacenters.read().expect(UNPOISONED).ids.get(name).copied()
    }

    fn datacenter_name(&self, id: u16) -> Option<String> {
        self.tree.datacenters.read().expect(UNPOISONED).names.get(usize::from(id)).cloned()
    }

    /// Returns where to write; a datacenter's first id is written at once.
    fn place_for(&self, tier: RowTier, datacenter: &str, window: Window) -> Result<Place, Error> {
        let id = match self.datacenter_id(datacenter) {
            Some(id) => id,
            None => self.intern_datacenter(datacenter)?,
        };
        Place::new(tier, id, window.start()).ok_or(Error::NoPlace { at: window.start() })
    }

    /// Returns where to read, if anything was ever written for the datacenter.
    fn place_of(&self, tier: RowTier, datacenter: &str, window: Window) -> Result<Option<Place>, Error> {
        if self.datacenter_id(datacenter).is_none() {
            return Ok(None);
        }
        self.place_for(tier, datacenter, window).map(Some)
    }

    fn intern_datacenter(&self, name: &str) -> Result<u16, Error> {
        let mut datacenters = self.tree.datacenters.write().expect(UNPOISONED);
        if let Some(id) = datacenters.ids.get(name) {
            return Ok(*id);
        }
        let id = u16::try_from(datacenters.names.len());
        let id = id.map_err(|_| Error::Full { what: "datacenters", max: DATACENTERS_MAX })?;
        let [high, low] = id.to_be_bytes();
        let cf = self.family(NAMES_FAMILY);
        self.db.put_cf(cf, [DATACENTER, high, low], name).map_err(Error::at("write a datacenter's id"))?;
        Ok(datacenters.add(name))
    }
}

#[cfg(test)]
mod tests;
