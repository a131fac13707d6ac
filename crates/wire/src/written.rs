//! Prometheus's remote_write 1.0 as it comes in: a snappy block with a `prometheus.WriteRequest`, read where it lies.
//!
//! An empty series takes two bytes on the wire and a hundred unpacked, so nothing is unpacked but the series at hand.
//!
//! Source: Prometheus `prompb/remote.proto`, `prompb/types.proto`.

use firetower_model::{Sample, Timestamp};

use crate::error::Error;
use crate::fields::{Fields, Value};
use crate::limits::within;

const REQUEST: &str = "write request";
const SERIES: &str = "series of a write request";

/// How much one request may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteLimits {
    /// Bytes once decompressed.
    pub bytes: usize,
    /// Series.
    pub series: usize,
    /// Samples of all series.
    pub samples: usize,
}

/// A whole `prometheus.WriteRequest`, well-formed and within limits. What its labels say is not looked at.
pub struct WriteRequest {
    bytes: Vec<u8>,
    /// What it carries.
    pub counts: WriteCounts,
}

/// What a write request carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Series.
    pub series: usize,
    /// Samples of all series.
    pub samples: usize,
    /// Exemplars of all series.
    pub exemplars: usize,
    /// Native histograms of all series.
    pub histograms: usize,
    /// Descriptions of metrics.
    pub metadata: usize,
}

/// One series of a write request.
#[derive(Debug, Default)]
pub struct WrittenSeries<'a> {
    /// Names and values as they came: in any order, perhaps no UTF-8.
    pub labels: Vec<(&'a [u8], &'a [u8])>,
    /// In any order.
    pub samples: Vec<Sample>,
    exemplars: usize,
    histograms: usize,
}

impl WriteRequest {
    /// Decompresses `body` and looks through all of it.
    ///
    /// # Errors
    /// If it is not such a request, or over one of `limits`; what is too large is not decompressed.
    pub fn unpack(body: &[u8], limits: WriteLimits) -> Result<WriteRequest, Error> {
        let broken = |source| Error::Snappy { source };
        within(REQUEST, snap::raw::decompress_len(body).map_err(broken)?, limits.bytes)?;
        let bytes = snap::raw::Decoder::new().decompress_vec(body).map_err(broken)?;
        let mut request = WriteRequest { bytes, counts: WriteCounts::default() };
        request.counts = request.count(limits)?;
        Ok(request)
    }

    fn count(&self, limits: WriteLimits) -> Result<WriteCounts, Error> {
        let mut counts = WriteCounts::default();
        let mut series = self.series();
        while let Some(found) = series.next_series()? {
            counts.series += 1;
            counts.samples += found.samples.len();
            counts.exemplars += found.exemplars;
            counts.histograms += found.histograms;
            within("series in a write request", counts.series, limits.series)?;
            within("samples in a write request", counts.samples, limits.samples)?;
        }
        counts.metadata = series.metadata;
        Ok(counts)
    }

    /// Returns what reads its series, in their order.
    pub fn series(&self) -> SeriesReader<'_> {
        SeriesReader { fields: Fields::new(&self.bytes, REQUEST), series: WrittenSeries::default(), metadata: 0 }
    }
}

/// Reads the series of a write request, one at a time.
pub struct SeriesReader<'a> {
    fields: Fields<'a>,
    series: WrittenSeries<'a>,
    metadata: usize,
}

impl<'a> SeriesReader<'a> {
    /// Returns the next series; `None` at the end.
    ///
    /// # Errors
    /// If the request is malformed, which one that was unpacked is not.
    pub fn next_series(&mut self) -> Result<Option<&WrittenSeries<'a>>, Error> {
        while let Some((number, value)) = self.fields.next_field()? {
            match (number, value) {
                (1, Value::Bytes(bytes)) => {
                    self.series.read(bytes)?;
                    return Ok(Some(&self.series));
                }
                (3, Value::Bytes(_)) => self.metadata += 1,
                _ => {}
            }
        }
        Ok(None)
    }
}

impl<'a> WrittenSeries<'a> {
    fn read(&mut self, bytes: &'a [u8]) -> Result<(), Error> {
        self.labels.clear();
        self.samples.clear();
        (self.exemplars, self.histograms) = (0, 0);
        let mut fields = Fields::new(bytes, SERIES);
        while let Some((number, value)) = fields.next_field()? {
            match (number, value) {
                (1, Value::Bytes(label)) => self.labels.push(read_label(label)?),
                (2, Value::Bytes(sample)) => self.samples.push(read_sample(sample)?),
                (3, Value::Bytes(_)) => self.exemplars += 1,
                (4, Value::Bytes(_)) => self.histograms += 1,
                _ => {}
            }
        }
        Ok(())
    }
}

fn read_label(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let (mut name, mut text): (&[u8], &[u8]) = (&[], &[]);
    let mut fields = Fields::new(bytes, SERIES);
    while let Some((number, value)) = fields.next_field()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Bytes(bytes)) => text = bytes,
            _ => {}
        }
    }
    Ok((name, text))
}

fn read_sample(bytes: &[u8]) -> Result<Sample, Error> {
    let (mut bits, mut millis) = (0, 0);
    let mut fields = Fields::new(bytes, SERIES);
    while let Some((number, value)) = fields.next_field()? {
        match (number, value) {
            (1, Value::Fixed(value)) => bits = value,
            (2, Value::Varint(value)) => millis = value as i64,
            _ => {}
        }
    }
    Ok(Sample { at: Timestamp::from_millis(millis), value: f64::from_bits(bits) })
}

#[cfg(test)]
mod tests;
