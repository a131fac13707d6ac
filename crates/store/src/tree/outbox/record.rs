//! How the outbox lies on disk.

use std::collections::BTreeMap;

use firetower_model::{DropReason, Timestamp};

use crate::database::{Batch, Store};
use crate::engine::WriteBatch;
use crate::error::Error;
use crate::tree::codec::{Reader, put_signed, put_text, put_varint};
use crate::tree::outbox::Parent;
use crate::tree::ranges::RangeSet;
use crate::tree::scan;

const FAMILY: &str = "outbox";
const ENTRY: u8 = b'f';
const PARENT: u8 = b'p';
const TOTALS: &[u8] = b"t";
const FRAME: u8 = 0;
const TOMBSTONE: u8 = 1;

/// What is counted over all parents.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Totals {
    /// The sequence of the next frame.
    pub(super) next: u64,
    /// Weight of all frames ever pushed.
    pub(super) framed: u64,
    pub(super) collected: u64,
    pub(super) dropped: BTreeMap<DropReason, u64>,
}

/// A queued frame, without its payload, or a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// The last sequence it stands for.
    pub(super) to: u64,
    pub(super) weight: u64,
    pub(super) bytes: u64,
    pub(super) created: Timestamp,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Frame,
    Tombstone(DropReason),
}

pub(super) fn load_totals(store: &Store) -> Result<Totals, Error> {
    let found = store.db.get_cf(store.family(FAMILY), TOTALS).map_err(Error::at("read the outbox's totals"))?;
    let Some(bytes) = found else {
        return Ok(Totals { next: 1, framed: 0, collected: 0, dropped: BTreeMap::new() });
    };
    read_totals(&bytes).ok_or_else(|| Error::corrupt("totals of the outbox", TOTALS))
}

fn read_totals(bytes: &[u8]) -> Option<Totals> {
    let mut reader = Reader::new(bytes);
    let [next, framed, collected] = [reader.varint()?, reader.varint()?, reader.varint()?];
    Some(Totals { next, framed, collected, dropped: read_dropped(&mut reader)? })
}

/// Forgets all frames, cursors and counts; the next sequence stays the next.
pub(crate) fn forget_outbox(store: &Store, batch: &mut WriteBatch) -> Result<(), Error> {
    let totals = Totals { framed: 0, collected: 0, dropped: BTreeMap::new(), ..load_totals(store)? };
    let family = store.family(FAMILY);
    for pair in scan(&store.db, FAMILY, &[]) {
        batch.delete_cf(family, pair?.0);
    }
    batch.put_cf(family, TOTALS, totals_value(&totals));
    Ok(())
}

/// Reads an entry of the family; `None` if it does not decode.
pub(in crate::tree) fn check_entry(key: &[u8], value: &[u8]) -> Option<()> {
    match key.split_first()? {
        (&ENTRY, from) => read_entry(&mut Reader::new(value), u64::from_be_bytes(from.try_into().ok()?)).map(drop),
        (&PARENT, name) => std::str::from_utf8(name).ok().and_then(|_| read_parent(value)).map(drop),
        _ => (key == TOTALS).then(|| read_totals(value)).flatten().map(drop),
    }
}

pub(super) fn put_totals(batch: &mut Batch, store: &Store, totals: &Totals) {
    batch.0.put_cf(store.family(FAMILY), TOTALS, totals_value(totals));
}

fn totals_value(totals: &Totals) -> Vec<u8> {
    let mut value = Vec::with_capacity(32);
    for count in [totals.next, totals.framed, totals.collected] {
        put_varint(&mut value, count);
    }
    put_dropped(&mut value, &totals.dropped);
    value
}

pub(super) fn load_entries(store: &Store) -> Result<BTreeMap<u64, Entry>, Error> {
    let mut entries = BTreeMap::new();
    for pair in scan(&store.db, FAMILY, &[ENTRY]) {
        let (key, value) = pair?;
        let read = || {
            let from = u64::from_be_bytes(*key[1..].first_chunk()?);
            let mut reader = Reader::new(&value);
            let mut entry = read_entry(&mut reader, from)?;
            entry.bytes = reader.rest().len() as u64;
            Some((from, entry))
        };
        entries.extend([read().ok_or_else(|| Error::corrupt("frame of the outbox", &key))?]);
    }
    Ok(entries)
}

/// Puts a frame or tombstone; its payload ends the value.
pub(super) fn put_entry(batch: &mut Batch, store: &Store, from: u64, entry: &Entry, payload: &[u8]) {
    let mut value = Vec::with_capacity(24 + payload.len());
    match entry.kind {
        Kind::Frame => value.push(FRAME),
        Kind::Tombstone(reason) => {
            value.push(TOMBSTONE);
            put_text(&mut value, reason.as_str().as_bytes());
            put_varint(&mut value, entry.to);
        }
    }
    put_signed(&mut value, entry.created.as_millis());
    put_varint(&mut value, entry.weight);
    value.extend_from_slice(payload);
    batch.0.put_cf(store.family(FAMILY), entry_key(from), value);
}

pub(super) fn delete_entry(batch: &mut Batch, store: &Store, from: u64) {
    batch.0.delete_cf(store.family(FAMILY), entry_key(from));
}

pub(super) fn read_payload(store: &Store, from: u64) -> Result<Option<Vec<u8>>, Error> {
    let key = entry_key(from);
    let found = store.db.get_cf(store.family(FAMILY), key).map_err(Error::at("read a queued frame"))?;
    let Some(value) = found else { return Ok(None) };
    let mut reader = Reader::new(&value);
    read_entry(&mut reader, from).ok_or_else(|| Error::corrupt("frame of the outbox", &key))?;
    Ok(Some(reader.rest().to_vec()))
}

fn read_entry(reader: &mut Reader<'_>, from: u64) -> Option<Entry> {
    let (kind, to) = match reader.byte()? {
        FRAME => (Kind::Frame, from),
        TOMBSTONE => (Kind::Tombstone(DropReason::parse(reader.text()?)?), reader.varint()?),
        _ => return None,
    };
    let (created, weight) = (reader.time()?, reader.varint()?);
    Some(Entry { to, weight, bytes: 0, created, kind })
}

fn entry_key(from: u64) -> [u8; 9] {
    let mut key = [ENTRY; 9];
    key[1..].copy_from_slice(&from.to_be_bytes());
    key
}

pub(super) fn load_parents(store: &Store) -> Result<BTreeMap<String, Parent>, Error> {
    let mut parents = BTreeMap::new();
    for pair in scan(&store.db, FAMILY, &[PARENT]) {
        let (key, value) = pair?;
        let read = || Some((std::str::from_utf8(&key[1..]).ok()?.to_owned(), read_parent(&value)?));
        parents.extend([read().ok_or_else(|| Error::corrupt("cursor of a parent", &key))?]);
    }
    Ok(parents)
}

fn read_parent(value: &[u8]) -> Option<Parent> {
    let mut reader = Reader::new(value);
    let acknowledged = RangeSet::read(&mut reader)?;
    let [delivered, outbox_full, parent_lost] = [reader.varint()?, reader.varint()?, reader.varint()?];
    let collected_before = reader.varint()?;
    let dropped_before = read_dropped(&mut reader)?;
    let applied_before = reader.varint()?.checked_sub(1);
    let count = reader.count()?;
    let doubtful = (0..count).map(|_| Some((reader.varint()?, reader.varint()?))).collect::<Option<_>>()?;
    reader.finish()?;
    let offered = RangeSet::new();
    Some(Parent {
        acknowledged,
        delivered,
        outbox_full,
        parent_lost,
        collected_before,
        dropped_before,
        applied_before,
        doubtful,
        offered,
    })
}

pub(super) fn put_parent(batch: &mut Batch, store: &Store, name: &str, parent: &Parent) {
    let mut value = parent.acknowledged.to_bytes();
    for count in [parent.delivered, parent.outbox_full, parent.parent_lost, parent.collected_before] {
        put_varint(&mut value, count);
    }
    put_dropped(&mut value, &parent.dropped_before);
    put_varint(&mut value, parent.applied_before.map_or(0, |before| before + 1));
    put_varint(&mut value, parent.doubtful.len() as u64);
    for (sequence, weight) in &parent.doubtful {
        put_varint(&mut value, *sequence);
        put_varint(&mut value, *weight);
    }
    batch.0.put_cf(store.family(FAMILY), parent_key(name), value);
}

pub(super) fn delete_parent(batch: &mut Batch, store: &Store, name: &str) {
    batch.0.delete_cf(store.family(FAMILY), parent_key(name));
}

fn parent_key(name: &str) -> Vec<u8> {
    [&[PARENT], name.as_bytes()].concat()
}

fn put_dropped(value: &mut Vec<u8>, dropped: &BTreeMap<DropReason, u64>) {
    put_varint(value, dropped.len() as u64);
    for (reason, samples) in dropped {
        put_text(value, reason.as_str().as_bytes());
        put_varint(value, *samples);
    }
}

fn read_dropped(reader: &mut Reader<'_>) -> Option<BTreeMap<DropReason, u64>> {
    let count = reader.count()?;
    (0..count).map(|_| Some((DropReason::parse(reader.text()?)?, reader.varint()?))).collect()
}
