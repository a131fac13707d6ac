//! What a process says from a moment on.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What a monitor logs from the moment on at which this was made; restarts do not end it.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
    from: u64,
}

impl Journal {
    /// Begins to listen to the monitor `name` of the tree in `directory`.
    ///
    /// # Errors
    /// If it was never started.
    pub fn begin(directory: &Path, name: &str) -> Result<Journal> {
        let path = directory.join(format!("{name}.stderr"));
        let from = path.metadata().with_context(|| format!("look at {}", path.display()))?.len();
        Ok(Journal { path, from })
    }

    /// Returns all whole lines in which each of `words` occurs.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn lines(&self, words: &[&str]) -> Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(whole.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_is_said_from_then_on_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dub-s0.stderr");
        fs::write(&path, "link failed parent=\"a\"\n").unwrap();
        let journal = Journal::begin(directory.path(), "dub-s0").unwrap();
        assert_eq!(journal.lines(&["link failed"]).unwrap(), [""; 0]);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, before + "link failed parent=\"b\"\nlink failed parent=\"a\" 1\nlink failed parent=\"a\"")
            .unwrap();
        assert_eq!(journal.lines(&["link failed", "parent=\"a\""]).unwrap(), ["link failed parent=\"a\" 1"]);
    }
}
