//! Pages recorded elsewhere, shown again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Two targets that show the same host are at least so many pages apart, where it has enough.
const APART_PAGES: usize = 37;

/// Recorded pages of some hosts, in memory.
///
/// Target `i` shows host `i % hosts`, one page a scrape, and begins again after the last.
#[derive(Clone, Debug)]
pub struct Recorded {
    hosts: Vec<Vec<RecordedPage>>,
}

#[derive(Clone, Debug)]
struct RecordedPage {
    text: Vec<u8>,
    samples: u64,
}

impl Recorded {
    /// Reads the pages in `directory`: one folder a host, in it a file a page, in time order by their names.
    ///
    /// # Errors
    /// If a folder or file cannot be read, or there is none.
    pub fn read(directory: &Path) -> Result<Recorded> {
        let hosts: Vec<Vec<RecordedPage>> = sorted(directory)?
            .iter()
            .filter(|path| path.is_dir())
            .map(|host| read_host(host))
            .collect::<Result<_>>()?;
        ensure!(!hosts.is_empty(), "no folder of a host in {}", directory.display());
        Ok(Recorded { hosts })
    }

    /// Returns how many hosts there are.
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Returns how many pages the host with the fewest has.
    pub fn pages(&self) -> usize {
        self.hosts.iter().map(Vec::len).min().unwrap_or(0)
    }

    /// Appends the page that `target` shows when it is scraped for the `scrape`th time, counted from 0, and returns how
    /// many samples it has.
    pub fn render(&self, target: usize, scrape: u64, page: &mut Vec<u8>) -> u64 {
        let pages = &self.hosts[target % self.hosts.len()];
        let first = target / self.hosts.len() * APART_PAGES;
        let recorded = &pages[(first + scrape as usize) % pages.len()];
        page.extend_from_slice(&recorded.text);
        recorded.samples
    }

    /// Returns how many bytes the longest page has.
    pub(crate) fn page_bytes(&self) -> usize {
        self.hosts.iter().flatten().map(|page| page.text.len()).max().unwrap_or(0)
    }
}

fn read_host(directory: &Path) -> Result<Vec<RecordedPage>> {
    let read = |path: &PathBuf| {
        let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let is_sample = |line: &&[u8]| !line.is_empty() && line[0] != b'#';
        let samples = text.split(|byte| *byte == b'\n').filter(is_sample).count() as u64;
        Ok(RecordedPage { text, samples })
    };
    let pages: Vec<RecordedPage> = sorted(directory)?.iter().map(read).collect::<Result<_>>()?;
    ensure!(!pages.is_empty(), "no page in {}", directory.display());
    Ok(pages)
}

fn sorted(directory: &Path) -> Result<Vec<PathBuf>> {
    let list = || format!("list {}", directory.display());
    let entries = fs::read_dir(directory).with_context(list)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>().with_context(list)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_shown_in_their_order_and_again() {
        let directory = tempfile::tempdir().unwrap();
        for (host, page) in [("a", "1"), ("a", "2"), ("b", "1")] {
            fs::create_dir_all(directory.path().join(host)).unwrap();
            let text = format!("# TYPE x gauge\nx{{host=\"{host}\"}} {page}\ny 1\n");
            fs::write(directory.path().join(host).join(page), text).unwrap();
        }
        let recorded = Recorded::read(directory.path()).unwrap();
        let check = |target: usize, scrape: u64, expected: &str| {
            let mut page = Vec::new();
            assert_eq!(recorded.render(target, scrape, &mut page), 2);
            let text = String::from_utf8(page).unwrap();
            assert!(text.contains(expected), "{text}, not {expected}");
        };
        assert_eq!((recorded.hosts(), recorded.pages()), (2, 1));
        check(0, 0, "x{host=\"a\"} 1");
        check(0, 1, "x{host=\"a\"} 2");
        check(0, 2, "x{host=\"a\"} 1");
        check(2, 0, "x{host=\"a\"} 2");
        check(1, 9, "x{host=\"b\"} 1");
        assert!(Recorded::read(&directory.path().join("a")).is_err());
    }
}
