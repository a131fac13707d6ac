//! The log of a fleet: what was served, one line a response.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// One page served, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Which target.
    pub target: usize,
    /// How often that target was scraped before.
    pub scrape: u64,
    /// When the request had been read, in milliseconds since the unix epoch.
    pub requested_ms: i64,
    /// How many valid sample lines the page had; 0 for a malformed page.
    pub samples: u64,
}

/// Counts what is served and, if it has a file, writes it down.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<Mutex<BufWriter<File>>>,
    responses: AtomicU64,
    samples: AtomicU64,
}

impl Log {
    /// Makes a log; without `path` it only counts.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub(crate) fn create(path: Option<&Path>) -> io::Result<Log> {
        let file = path.map(File::create).transpose()?.map(|file| Mutex::new(BufWriter::new(file)));
        Ok(Log { file, responses: AtomicU64::new(0), samples: AtomicU64::new(0) })
    }

    /// Adds a response; it is in the file after the next [`Log::flush`].
    ///
    /// # Errors
    /// If the file cannot be written to.
    pub(crate) fn add(&self, response: Response) -> io::Result<()> {
        self.responses.fetch_add(1, Ordering::Relaxed);
        self.samples.fetch_add(response.samples, Ordering::Relaxed);
        let Some(file) = &self.file else { return Ok(()) };
        let Response { target, scrape, requested_ms, samples } = response;
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{target} {scrape} {requested_ms} {samples}")
    }

    /// Hands everything to the operating system, so that it survives this process.
    ///
    /// # Errors
    /// If the file cannot be written to.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }

    /// Returns how many responses and how many samples were served.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.responses.load(Ordering::Relaxed), self.samples.load(Ordering::Relaxed))
    }
}

/// Reads what a fleet has flushed to its log; a last line that is cut off is left out.
///
/// # Errors
/// If the file cannot be read, or a whole line of it is not a response.
pub fn read_log(path: &Path) -> Result<Vec<Response>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| parse(line).with_context(|| format!("line {line:?} of {}", path.display()))).collect()
}

fn parse(line: &str) -> Option<Response> {
    let mut words = line.split(' ');
    let response = Response {
        target: words.next()?.parse().ok()?,
        scrape: words.next()?.parse().ok()?,
        requested_ms: words.next()?.parse().ok()?,
        samples: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_reads_back_but_for_a_line_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = Log::create(Some(&path)).unwrap();
        let response = |target| Response { target, scrape: 3, requested_ms: 1_700_000_000_123, samples: 50 };
        log.add(response(1)).unwrap();
        log.add(response(2)).unwrap();
        log.flush().unwrap();
        assert_eq!(log.totals(), (2, 100));
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"3 3 17").unwrap();
        assert_eq!(read_log(&path).unwrap(), [response(1), response(2)]);
        file.write_all(b"x 1 2\n").unwrap();
        assert!(read_log(&path).is_err());
    }
}
