//! Configurations from files (feature `files`): YAML, JSON and TOML.
//!
//! All three are read into one tree with places ([`document`]), which is held against two tables: the
//! keys of Fairpoll and the arguments of aiokafka's consumer. Whatever is wrong is told at its place,
//! everything at once. `docs/configuration.md` is the reference.

mod aiokafka;
pub mod document;
mod keys;
mod problem;
mod reader;
mod reference;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use self::problem::{Problem, Problems};
pub use self::reference::{Section, reference};
use crate::config::Config;

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML, hence JSON.
    Yaml,
    /// TOML.
    Toml,
}

impl Format {
    /// By the file's extension: `.yaml`, `.yml`, `.json`, `.toml`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "yaml" | "yml" | "json" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }
}

/// Why a file is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The name does not say how it is written.
    #[error("{path}: name it .yaml, .yml, .json or .toml, so that it says how it is written", path = .path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It says something that cannot be.
    #[error("{path}: {problems}", path = .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What, and where.
        problems: Problems,
    },
}

impl Config {
    /// Reads a configuration from a file; the extension says how it is written.
    ///
    /// # Errors
    /// If it cannot be read, or with everything that is wrong with it. What the program may still
    /// say, such as the group, may be missing: [`Self::validate`] looks at the whole.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let format = Format::of(path).ok_or_else(|| FileError::Format { path: path.to_owned() })?;
        let text =
            fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        Self::from_text(&text, format)
            .map_err(|problems| FileError::Invalid { path: path.to_owned(), problems })
    }

    /// Reads a configuration from a text.
    ///
    /// # Errors
    /// With everything that is wrong with it, as far as it can be told at once.
    pub fn from_text(text: &str, format: Format) -> Result<Self, Problems> {
        reader::read(text, format)
    }
}
