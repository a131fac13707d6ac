//! Finds files of targets, as `file_sd_configs` names them. What is in them is read elsewhere.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// How large a file of targets may be.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A file of targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Where it is, the folder of its pattern included.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// Reads the files that `patterns` name, each once, in the order of their names.
///
/// A pattern (`targets/*.json`) that is not absolute starts from `base`. A file that is not there is no fault, one that
/// cannot be read is: it comes as an error of its own, so that its caller can go on with what was in it before.
pub fn read_files(base: &Path, patterns: &[impl AsRef<str>]) -> (Vec<FoundFile>, Vec<Error>) {
    let (mut paths, mut errors) = (BTreeSet::new(), Vec::new());
    for pattern in patterns {
        let pattern = pattern.as_ref();
        let is_whole = Path::new(pattern).is_absolute() || base.as_os_str().is_empty();
        let folder = glob::Pattern::escape(&base.to_string_lossy());
        let whole = if is_whole { pattern.to_owned() } else { format!("{folder}/{pattern}") };
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
    let mut files = Vec::new();
    for path in paths {
        match read(&path) {
            Ok(text) => files.push(FoundFile { path, text }),
            Err(source) => errors.push(Error::File { path, source }),
        }
    }
    (files, errors)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let patterns = ["targets/*.json", "targets/a.*", "none/*.json", "[", &absolute];
        let (files, errors) = read_files(&base, &patterns);
        let texts: Vec<&str> = files.iter().map(|file| file.text.as_str()).collect();
        assert_eq!(texts, ["a.json", "b.json", "c.yml"]);
        assert_eq!(files[0].path, base.join("targets/a.json"));
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors[0].contains("pattern") && errors[1].contains("d.json") && errors[2].contains("folder.json"));
    }
}
