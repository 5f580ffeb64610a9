//! `fairpoll report --bench`: from criterion's folder to a page.
//!
//! Criterion keeps the newest measurement of a benchmark in a folder `new`; `base`, `change` and `report` beside it
//! are about others and have no such folder. Everything is read and rendered before anything is written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fairpoll_judge::benchmark::{BENCHMARK, Benchmark, Benchmarks, ESTIMATES, SAMPLE, Texts};
use fairpoll_judge::report::benchmarks::{BenchmarksInput, PICTURES, files};
use thiserror::Error;

use crate::exit_code::ExitCode;
use crate::run::{OutputError, OutputFolder};

const NEW: &str = "new";

/// Benchmarks could not be reported.
#[derive(Debug, Error)]
pub enum BenchmarksError {
    /// There is no such folder.
    #[error("there is no folder `{}`; run `cargo bench -p fairpoll-benches` first, or name criterion's folder", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing in the folder is criterion's.
    #[error(
        "no benchmark has estimates in `{}`; run `cargo bench -p fairpoll-benches` first, or name criterion's folder",
        path.display()
    )]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder could not be read.
    #[error("cannot read `{}`: {source}; if a bench broke off, run it again", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file is not what criterion 0.8 writes.
    #[error(
        "`{}` is not what criterion 0.8 writes: {what}; delete the folder `{}` and run its bench again",
        path.display(),
        path.parent().unwrap_or(path).display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The page could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl BenchmarksError {
    /// What it means for the exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Output(OutputError::Write { .. }) => ExitCode::Infrastructure,
            _ => ExitCode::Usage,
        }
    }
}

/// Writes the page of all benchmarks that criterion has in `criterion` into `out`; answers the page's path.
///
/// # Errors
/// What could not be read, understood or written.
pub fn report(criterion: &Path, out: &Path) -> Result<PathBuf, BenchmarksError> {
    let benchmarks = Benchmarks::new(read(criterion)?);
    let files = files(&BenchmarksInput { benchmarks: &benchmarks });
    let folder = OutputFolder::shared(out.to_owned())?;
    for (name, contents) in &files {
        folder.write(name, contents.as_bytes())?;
    }
    // A group may have gone since the last time, and nothing refers to its picture any more.
    folder.remove_pictures(PICTURES, |picture| !files.iter().any(|(name, _)| Path::new(name) == picture))?;
    Ok(folder.path().join("benchmarks.html"))
}

fn read(criterion: &Path) -> Result<Vec<Benchmark>, BenchmarksError> {
    if !criterion.is_dir() {
        return Err(BenchmarksError::Missing { path: criterion.to_owned() });
    }
    let mut folders = Vec::new();
    find(criterion, &mut folders)?;
    if folders.is_empty() {
        return Err(BenchmarksError::Empty { path: criterion.to_owned() });
    }
    // The order of a folder's entries is the file system's; the first broken file is to be the same one each time.
    folders.sort();
    folders.iter().map(|folder| benchmark(folder)).collect()
}

/// All folders `new` that belong to a benchmark. A benchmark may itself be called `new`.
fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), BenchmarksError> {
    let error = |source| BenchmarksError::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        // Not through links: they may lead in circles.
        if !entry.file_type().map_err(error)?.is_dir() {
            continue;
        }
        let path = entry.path();
        if entry.file_name() == NEW && [BENCHMARK, ESTIMATES].iter().any(|file| path.join(file).exists()) {
            found.push(path);
        } else {
            find(&path, found)?;
        }
    }
    Ok(())
}

fn benchmark(folder: &Path) -> Result<Benchmark, BenchmarksError> {
    let text = |file: &str| {
        let path = folder.join(file);
        fs::read_to_string(&path).map_err(|source| BenchmarksError::Read { path, source })
    };
    let (benchmark, estimates, sample) = (text(BENCHMARK)?, text(ESTIMATES)?, text(SAMPLE)?);
    let texts = Texts { benchmark: &benchmark, estimates: &estimates, sample: &sample };
    Benchmark::read(texts)
        .map_err(|error| BenchmarksError::Broken { path: folder.join(error.file), what: error.what })
}
