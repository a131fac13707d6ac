//! Files that list targets, as `file_sd_configs` names them.
//!
//! Their times and sizes are looked at every second, and a file is read only if they changed: that also sees files
//! replaced by links or on network disks, where the kernel gives no notice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use firetower_daemon::{blocking, chain};
use firetower_model::{FileSd, TargetGroup};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{DiscoverySetup, Voice};
use crate::error::Error;
use crate::fetch::Stamp;
use crate::metrics::Source;

/// How large a file of targets may be.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// How often it is looked whether a file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file as it was found last.
#[derive(Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    /// What was in it when it could last be read.
    groups: Vec<TargetGroup>,
    fault: Option<String>,
}

/// Follows the files that one source names, for ever.
pub(super) async fn follow(setup: Arc<DiscoverySetup>, wanted: FileSd, mut voice: Voice) {
    let mut known = BTreeMap::new();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refreshed = Instant::now();
    loop {
        ticks.tick().await;
        if refreshed.elapsed() >= wanted.refresh_interval {
            refreshed = Instant::now();
            known.values_mut().for_each(|known: &mut Known| known.stamp = None);
        }
        let faults = blocking(|| look(&setup, &wanted.files, &mut known));
        voice.complain((!faults.is_empty()).then(|| faults.join("; ")));
        let groups: Vec<TargetGroup> = known.values().flat_map(|known| known.groups.iter().cloned()).collect();
        if groups.is_empty() && !faults.is_empty() {
            voice.tell_nothing_new().await;
        } else {
            voice.tell(groups).await;
        }
    }
}

/// Reads what has changed of the files that `patterns` name; returns what is wrong now.
///
/// A file that cannot be read keeps what was in it before; one that is gone is forgotten.
fn look(setup: &DiscoverySetup, patterns: &[String], known: &mut BTreeMap<PathBuf, Known>) -> Vec<String> {
    let (paths, errors) = find(&setup.folder, patterns);
    let mut faults: Vec<String> = errors.iter().map(|error| chain(error).to_string()).collect();
    if paths.is_empty() && faults.is_empty() {
        faults.push(format!("{} names no file", patterns.join(", ")));
    }
    known.retain(|path, _| paths.contains(path));
    for path in paths {
        let known = known.entry(path.clone()).or_default();
        known.look(setup, path);
        faults.extend(known.fault.clone());
    }
    faults
}

impl Known {
    fn look(&mut self, setup: &DiscoverySetup, path: PathBuf) {
        let found = fs::metadata(&path);
        if let (Some(stamp), Ok(found)) = (self.stamp, &found)
            && stamp.holds(found)
        {
            return;
        }
        self.stamp = found.ok().map(|found| Stamp::new(&found));
        setup.metrics.refreshes.get_or_create(&Source::FILE).inc();
        let groups = match read(&path) {
            Ok(text) => (setup.read_file)(&path.display().to_string(), &text),
            Err(source) => Err(chain(&Error::File { path, source }).to_string()),
        };
        match groups {
            Ok(groups) => (self.groups, self.fault) = (groups, None),
            Err(fault) => {
                setup.metrics.failures.get_or_create(&Source::FILE).inc();
                self.fault = Some(fault);
            }
        }
    }
}

/// Finds the files that `patterns` name, each once.
///
/// A pattern (`targets/*.json`) that is not absolute starts from `folder`.
fn find(folder: &Path, patterns: &[String]) -> (BTreeSet<PathBuf>, Vec<Error>) {
    let (mut paths, mut errors) = (BTreeSet::new(), Vec::new());
    for pattern in patterns {
        let is_whole = Path::new(pattern).is_absolute() || folder.as_os_str().is_empty();
        let escaped = glob::Pattern::escape(&folder.to_string_lossy());
        let whole = if is_whole { pattern.to_owned() } else { format!("{escaped}/{pattern}") };
        match glob::glob(&whole) {
            Err(source) => errors.push(Error::Pattern { pattern: pattern.to_owned(), source }),
            Ok(found) => {
                for path in found {
                    match path {
                        Ok(path) => _ = paths.insert(path),
                        Err(error) => {
                            errors.push(Error::File { path: error.path().into(), source: error.into() });
                        }
                    }
                }
            }
        }
    }
    (paths, errors)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_file_once_and_names_those_it_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("odd[1]");
        fs::create_dir_all(base.join("targets/folder.json")).unwrap();
        for name in ["b.json", "a.json", "c.yml"] {
            fs::write(base.join("targets").join(name), name).unwrap();
        }
        fs::write(base.join("targets/d.json"), b"\xff").unwrap();
        let absolute = format!("{}/odd[[]1]/targets/c.yml", folder.path().display());
        let patterns = ["targets/*.json", "targets/a.*", "none/*.json", "[", &absolute].map(str::to_owned);
        let (paths, errors) = find(&base, &patterns);
        let names: Vec<String> = paths.iter().map(|path| path.file_name().unwrap().display().to_string()).collect();
        assert_eq!(names, ["a.json", "b.json", "c.yml", "d.json", "folder.json"]);
        assert!(errors.len() == 1 && errors[0].to_string().contains("pattern"), "{errors:?}");
        let read: Vec<bool> = paths.iter().map(|path| read(path).is_ok()).collect();
        assert_eq!(read, [true, true, true, false, false]);
    }
}
