//! Where results go: the folder, opened before anything runs, and the files in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use super::utc::Utc;

/// Results could not be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// The folder for the results cannot be used.
    #[error("cannot write results to {}: {source}; choose another folder with --out", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file could not be written once the run had begun.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

// What an earlier run into the same folder may have left: beside new events an old verdict would
// be a lie. Nothing else in the folder is touched.
const STALE_FILES: [&str; 7] =
    ["manifest.json", "events.jsonl", "summary.json", "report.html", "report.md", "junit.xml", "metrics.csv"];

/// A folder that can be written to.
#[derive(Debug, Clone)]
pub(crate) struct OutputFolder {
    path: PathBuf,
}

impl OutputFolder {
    /// Creates the folder if need be, proves that it can be written to, and clears what an
    /// earlier run left there.
    pub(crate) fn open(path: PathBuf) -> Result<Self, OutputError> {
        let prepare = || {
            prove(&path)?;
            for file in STALE_FILES {
                remove(&path.join(file), |path| fs::remove_file(path))?;
            }
            for folder in ["plots", "logs"] {
                clear(&path.join(folder), |_| true)?;
            }
            Ok(())
        };
        match prepare() {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(OutputError::Open { path, source }),
        }
    }

    /// Creates the folder if need be and proves that it can be written to; others may have files there, and
    /// nothing is touched.
    pub(crate) fn shared(path: PathBuf) -> Result<Self, OutputError> {
        match prove(&path) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(OutputError::Open { path, source }),
        }
    }

    /// A folder that holds results already; nothing is touched.
    pub(crate) fn existing(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// A new folder `reports/<name>-<time>`, numbered if somebody was faster.
    pub(crate) fn fresh(name: &str) -> Result<Self, OutputError> {
        let stem = format!("{name}-{}", Utc::now().compact());
        for number in 1.. {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            let path = Path::new("reports").join(format!("{stem}{suffix}"));
            let created = fs::create_dir_all("reports").and_then(|()| fs::create_dir(&path));
            match created {
                Ok(()) => return Self::open(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(OutputError::Open { path, source }),
            }
        }
        unreachable!("the numbers do not end")
    }

    /// A folder within.
    pub(crate) fn subfolder(&self, name: &str) -> Result<Self, OutputError> {
        Self::open(self.path.join(name))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file whole or not at all; `name` may lie in a folder within.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<PathBuf, OutputError> {
        let path = self.path.join(name);
        let folder = path.parent().unwrap_or(&self.path);
        let unfinished = path.with_extension("unfinished");
        let written = fs::create_dir_all(folder)
            .and_then(|()| fs::write(&unfinished, contents))
            .and_then(|()| fs::rename(&unfinished, &path));
        match written {
            Ok(()) => Ok(path),
            Err(source) => Err(OutputError::Write { path, source }),
        }
    }

    /// Removes SVG files of a folder within; `is_stale` is asked with paths that begin with the folder's name.
    pub(crate) fn remove_pictures(
        &self,
        folder: &str,
        is_stale: impl Fn(&Path) -> bool,
    ) -> Result<(), OutputError> {
        let is_stale = |path: &Path| {
            let within = path.strip_prefix(&self.path).unwrap_or(path);
            path.extension().is_some_and(|extension| extension == "svg") && is_stale(within)
        };
        let path = self.path.join(folder);
        clear(&path, is_stale).map_err(|source| OutputError::Write { path, source })
    }

    /// Writes a document as indented JSON with a newline at its end; answers the text.
    pub(crate) fn write_json(&self, name: &str, document: &impl Serialize) -> Result<String, OutputError> {
        let error = |error| OutputError::Write { path: self.path.join(name), source: io::Error::from(error) };
        let mut text = serde_json::to_string_pretty(document).map_err(error)?;
        text.push('\n');
        self.write(name, text.as_bytes())?;
        Ok(text)
    }
}

fn prove(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    // Permissions lie (a read-only mount, root): a file tells.
    tempfile::tempfile_in(path).map(drop)
}

fn remove(path: &Path, how: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    match how(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

// Only what we write: plots and logs. A folder of somebody else's by that name keeps its files.
fn clear(folder: &Path, is_stale: impl Fn(&Path) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let is_ours = path.extension().is_some_and(|extension| extension == "svg" || extension == "log");
        if is_ours && path.is_file() && is_stale(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_verdict_does_not_survive_and_other_files_do() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = OutputFolder::open(dir.path().to_owned()).expect("writable");
        folder.write("summary.json", b"{}").expect("writable");
        folder.write("plots/a.svg", b"<svg/>").expect("writable");
        folder.write("notes.txt", b"mine").expect("writable");
        OutputFolder::open(dir.path().to_owned()).expect("writable");
        assert!(!dir.path().join("summary.json").exists());
        assert!(!dir.path().join("plots/a.svg").exists());
        assert!(dir.path().join("notes.txt").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("file");
        fs::write(&file, "").expect("writable");
        let error = OutputFolder::open(file.join("out")).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("--out")));
    }
}
