//! Reading rows by name, job, datacenter and time.

use std::collections::BTreeMap;

use firetower_model::{Coverage, Cross, Labels, RowId, TimeRange, Timestamp, Window};

use crate::database::Store;
use crate::engine::{RawIterator, Snapshot};
use crate::error::Error;
use crate::tree::rows::key::{Place, Table, row_of_key};
use crate::tree::rows::value::{decode_cross, decode_header, decode_tier_row};
use crate::tree::rows::{FAMILY, RowHeader, RowTier, TierRow};

/// Which rows are asked for; `None` is any.
#[derive(Clone, Copy, Debug)]
pub struct RowQuery<'a> {
    /// From which tier.
    pub tier: RowTier,
    /// Of this `__name__`.
    pub name: Option<&'a str>,
    /// Of this `job`.
    pub job: Option<&'a str>,
    /// Of this datacenter.
    pub datacenter: Option<&'a str>,
    /// Of windows that start in it.
    pub range: TimeRange,
    /// How many points are read at most, oldest buckets first.
    pub points_max: usize,
}

/// The rows asked for, and what qualifies them.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RowAnswer {
    /// In order of datacenter and key; none without a point.
    pub series: Vec<RowSeries>,
    /// Of the worst window of one datacenter.
    pub worst: Coverage,
    /// Of all windows of all datacenters asked for.
    pub total: Coverage,
    /// How many windows of datacenters are behind it.
    pub windows: u64,
    /// What qualifies each of these windows, with its datacenter: in order of buckets, then datacenters, then time.
    pub headers: Vec<(String, RowHeader)>,
    /// Whether there are more than `points_max` points.
    pub is_truncated: bool,
}

/// One row over time.
#[derive(Clone, Debug, PartialEq)]
pub struct RowSeries {
    /// Whose.
    pub datacenter: String,
    /// `__name__`, `job` and kept labels.
    pub key: Labels,
    /// In order of time.
    pub points: Vec<(Window, RowValue)>,
}

/// One row in one window or step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowValue {
    /// Of a window.
    Window(Cross),
    /// Of a longer step.
    Tier(TierRow),
}

impl RowValue {
    /// Returns it as a row of a step, a window being the shortest.
    pub fn over_time(&self) -> TierRow {
        match self {
            RowValue::Window(cross) => TierRow::of(cross),
            RowValue::Tier(row) => *row,
        }
    }
}

/// Headers by bucket and datacenter, then by offset.
pub(super) type Headers = BTreeMap<(u32, u16), BTreeMap<u32, RowHeader>>;

type Points = BTreeMap<(u16, RowId), Vec<(Window, RowValue)>>;

impl Store {
    /// Reads committed rows, as of one moment.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn read_rows(&self, query: &RowQuery<'_>) -> Result<RowAnswer, Error> {
        let datacenter = match query.datacenter.map(|name| self.datacenter_id(name)) {
            Some(None) => return Ok(RowAnswer::default()),
            Some(Some(id)) => Some(id),
            None => None,
        };
        let snapshot = self.db.snapshot();
        let headers = self.headers_in(&snapshot, query.tier, datacenter, query.range)?;
        let ids = self.dictionary().find(query.name, query.job);
        let (points, is_truncated) = self.points(&snapshot, query, &headers, &ids)?;
        let (mut worst, mut total, mut windows) = (Coverage::default(), Coverage::default(), 0);
        for header in headers.values().flat_map(BTreeMap::values) {
            worst = worse(worst, header.worst);
            total.merge(&header.coverage);
            windows += 1;
        }
        let named = |((_, id), headers): (_, BTreeMap<_, RowHeader>)| {
            let name = self.datacenter_name(id)?;
            Some(headers.into_values().map(move |header| (name.clone(), header)))
        };
        let headers = headers.into_iter().filter_map(named).flatten().collect();
        Ok(RowAnswer { series: self.series_of(points), worst, total, windows, headers, is_truncated })
    }

    fn series_of(&self, points: Points) -> Vec<RowSeries> {
        let dictionary = self.dictionary();
        let series = |((datacenter, id), points)| {
            let (datacenter, key) = (self.datacenter_name(datacenter)?, dictionary.key(id)?.clone());
            Some(RowSeries { datacenter, key, points })
        };
        let mut all: Vec<RowSeries> = points.into_iter().filter_map(series).collect();
        all.sort_by(|a, b| (&a.datacenter, &a.key).cmp(&(&b.datacenter, &b.key)));
        all
    }

    /// Returns the headers of windows that start in `range`, passing over other datacenters where one is named.
    pub(super) fn headers_in(
        &self,
        snapshot: &Snapshot<'_>,
        tier: RowTier,
        datacenter: Option<u16>,
        range: TimeRange,
    ) -> Result<Headers, Error> {
        let mut headers = Headers::new();
        let start = range.start.max(Timestamp::from_millis(0));
        let Some(first) = Place::new(tier, datacenter.unwrap_or(0), start) else { return Ok(headers) };
        let mut iterator = snapshot.raw_iterator_cf_opt(self.family(FAMILY), self.reading());
        iterator.seek(first.key(Table::Headers));
        while let Some((key, value)) = iterator.item() {
            if !key.starts_with(&[Table::Headers as u8, tier as u8]) {
                break;
            }
            let place = Place::of_header_key(tier, key).ok_or_else(|| Error::corrupt("header's key", key))?;
            if range.end <= place.bucket_start() {
                break;
            }
            if let Some(wanted) = datacenter.filter(|wanted| *wanted != place.datacenter) {
                let bucket = place.bucket.saturating_add(u32::from(wanted < place.datacenter));
                iterator.seek(Place { bucket, datacenter: wanted, offset_ms: 0, ..place }.key(Table::Headers));
                continue;
            }
            if range.contains(place.start()) {
                let header = decode_header(value).ok_or_else(|| Error::corrupt("window's header", key))?;
                headers.entry((place.bucket, place.datacenter)).or_default().insert(place.offset_ms, header);
            }
            iterator.next();
        }
        iterator.status().map_err(Error::at("read headers of rows"))?;
        Ok(headers)
    }

    fn points(
        &self,
        snapshot: &Snapshot<'_>,
        query: &RowQuery<'_>,
        headers: &Headers,
        ids: &[RowId],
    ) -> Result<(Points, bool), Error> {
        let mut points = Points::new();
        let mut left = query.points_max;
        let mut iterator = snapshot.raw_iterator_cf_opt(self.family(FAMILY), self.reading());
        for ((bucket, datacenter), windows) in headers {
            let Some((offset_ms, _)) = windows.first_key_value() else { continue };
            let place = Place { tier: query.tier, bucket: *bucket, datacenter: *datacenter, offset_ms: *offset_ms };
            for id in ids {
                let mut row = row_points(&mut iterator, place, *id, windows)?;
                let is_truncated = row.len() > left;
                row.truncate(left);
                left -= row.len();
                if !row.is_empty() {
                    points.entry((*datacenter, *id)).or_default().append(&mut row);
                }
                if is_truncated {
                    return Ok((points, true));
                }
            }
        }
        Ok((points, false))
    }
}

/// Returns the points of one row in one bucket, from `place` to the last of `windows`, that are of the windows' writing.
fn row_points(
    iterator: &mut RawIterator<'_>,
    place: Place,
    id: RowId,
    windows: &BTreeMap<u32, RowHeader>,
) -> Result<Vec<(Window, RowValue)>, Error> {
    let mut points = Vec::new();
    iterator.seek(place.row_key(id));
    while let Some((key, value)) = iterator.item() {
        let Some((_, offset_ms)) = row_of_key(place, key).filter(|(row, _)| *row == id) else { break };
        if let Some(header) = windows.get(&offset_ms) {
            let (put, value) = decode_row(place.tier, value).ok_or_else(|| Error::corrupt("row", key))?;
            if put == header.put {
                points.push((header.window, value));
            }
        } else if windows.last_key_value().is_none_or(|(last, _)| *last < offset_ms) {
            break;
        }
        iterator.next();
    }
    iterator.status().map_err(Error::at("read rows"))?;
    Ok(points)
}

pub(super) fn decode_row(tier: RowTier, value: &[u8]) -> Option<(u64, RowValue)> {
    match tier {
        RowTier::Window => decode_cross(value).map(|(put, cross)| (put, RowValue::Window(cross))),
        RowTier::FiveMinutes | RowTier::Hour => decode_tier_row(value).map(|(put, row)| (put, RowValue::Tier(row))),
    }
}

/// Returns the one with the lower share of reported slots; the first of equals.
pub(super) fn worse(a: Coverage, b: Coverage) -> Coverage {
    if a.expected == 0 || b.expected > 0 && b.ratio() < a.ratio() { b } else { a }
}
