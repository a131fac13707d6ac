//! What all connections of a fleet share: who is there, how often each was scraped, and what each answers.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::log::Log;
use crate::pages::Pages;
use crate::roster::Roster;
use crate::server::{EXPLOSION, Explosion, FleetOptions};

const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Buffers kept for the next answers.
const BUFFERS_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: FleetOptions,
    pub(super) log: Log,
    pages: Pages,
    started: Instant,
    roster: Mutex<Roster>,
    /// How often each target was scraped, by its number.
    scrapes: Mutex<Vec<u64>>,
    /// Whole answers by target and scrape, where compressed pages come again.
    zipped: Mutex<HashMap<(usize, u64), Arc<Answer>>>,
    buffers: Mutex<Vec<Vec<u8>>>,
}

/// A whole answer, head and page.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// Valid sample lines on the page.
    pub(super) samples: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    Malformed,
    Slow,
    Hung,
}

impl Shared {
    pub(super) fn new(options: FleetOptions, pages: Pages) -> io::Result<Shared> {
        let FleetOptions { targets, first_scrape, .. } = options;
        Ok(Shared {
            log: Log::create(options.log.as_deref())?,
            pages,
            started: Instant::now(),
            roster: Mutex::new(Roster::new(targets)),
            scrapes: Mutex::new(vec![first_scrape; targets]),
            zipped: Mutex::default(),
            buffers: Mutex::default(),
            options,
        })
    }

    /// Returns the numbers of the targets that there are now.
    pub(super) fn targets(&self) -> Vec<usize> {
        lock(&self.roster).targets().to_vec()
    }

    pub(super) fn has(&self, target: usize) -> bool {
        lock(&self.roster).has(target)
    }

    /// Replaces a share of the targets.
    pub(super) fn replace(&self, percent: usize) {
        let mut roster = lock(&self.roster);
        roster.replace(percent);
        lock(&self.scrapes).resize(roster.ever(), 0);
    }

    /// Counts a scrape of `target` and returns its number.
    pub(super) fn next_scrape(&self, target: usize) -> u64 {
        let mut scrapes = lock(&self.scrapes);
        scrapes[target] += 1;
        scrapes[target] - 1
    }

    pub(super) fn mood(&self, target: usize) -> Mood {
        let from_end = self.options.targets.saturating_sub(target);
        let FleetOptions { hung, slow, malformed, .. } = self.options;
        match from_end {
            0 => Mood::Well,
            n if n <= hung => Mood::Hung,
            n if n <= hung + slow => Mood::Slow,
            n if n <= hung + slow + malformed => Mood::Malformed,
            _ => Mood::Well,
        }
    }

    /// Returns which page is shown at a target's `scrape`th scrape: a compressed one may come again.
    pub(super) fn shown(&self, scrape: u64, is_gzip: bool) -> u64 {
        if is_gzip && self.options.gzip_cycle > 0 { scrape % self.options.gzip_cycle } else { scrape }
    }

    pub(super) fn answer(&self, target: usize, scrape: u64, is_gzip: bool) -> io::Result<Arc<Answer>> {
        let copies = self.copies(target);
        let is_kept = is_gzip && self.options.gzip_cycle > 0 && copies == 1;
        if is_kept && let Some(answer) = lock(&self.zipped).get(&(target, scrape)) {
            return Ok(Arc::clone(answer));
        }
        let mut page = lock(&self.buffers).pop().unwrap_or_default();
        page.clear();
        page.reserve(self.pages.page_bytes());
        let samples = self.pages.render(target, scrape, copies, &mut page);
        let is_malformed = self.mood(target) == Mood::Malformed;
        if is_malformed {
            spoil(&mut page);
        }
        let bytes = if is_gzip { zipped(&page)? } else { message("200 OK", EXPOSITION, "", &page) };
        self.give_back(page);
        let answer = Arc::new(Answer { bytes, samples: if is_malformed { 0 } else { samples } });
        if is_kept {
            lock(&self.zipped).insert((target, scrape), Arc::clone(&answer));
        }
        Ok(answer)
    }

    fn copies(&self, target: usize) -> usize {
        match self.options.explosion {
            Some(Explosion { target: exploded, after }) if exploded == target && self.started.elapsed() >= after => {
                EXPLOSION
            }
            _ => 1,
        }
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut buffers = lock(&self.buffers);
        if buffers.len() < BUFFERS_MAX {
            buffers.push(buffer);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts a line that is no sample into the middle of a page.
fn spoil(page: &mut Vec<u8>) {
    let middle = page.len() / 2;
    let line_at = page[middle..].iter().position(|byte| *byte == b'\n').map_or(page.len(), |end| middle + end + 1);
    page.splice(line_at..line_at, *b"this is { no sample\n");
}

fn zipped(page: &[u8]) -> io::Result<Vec<u8>> {
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(page)?;
    Ok(message("200 OK", EXPOSITION, "Content-Encoding: gzip\r\n", &zipped.finish()?))
}

/// Returns a whole HTTP answer.
pub(super) fn message(status: &str, content_type: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{more}Content-Length: {length}\r\n\r\n");
    let mut message = Vec::with_capacity(head.len() + length);
    message.extend_from_slice(head.as_bytes());
    message.extend_from_slice(body);
    message
}
