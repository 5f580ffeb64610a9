//! Where words go: results to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};

use super::posix;

/// What somebody wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Tables and gates on standard output, progress on standard error.
    Full,
    /// Nothing but errors.
    Quiet,
}

/// Writes for people, or for programs.
///
/// A closed pipe (`fairpoll … | head`) is no reason to stop measuring: failed writes are ignored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    verbosity: Verbosity,
    results_are_json: bool,
}

impl Console {
    /// With `results_are_json`, standard output is kept for [`Self::document`].
    pub(crate) fn new(verbosity: Verbosity, results_are_json: bool) -> Self {
        Self { verbosity, results_are_json }
    }

    /// A table, a path: what the command was called for.
    pub(crate) fn result(&self, text: &str) {
        match (self.verbosity, self.results_are_json) {
            (Verbosity::Quiet, _) => {}
            (Verbosity::Full, true) => write(io::stderr().lock(), text),
            (Verbosity::Full, false) => write(io::stdout().lock(), text),
        }
    }

    /// A machine-readable result; nothing unless it was asked for.
    pub(crate) fn document(&self, text: &str) {
        if self.results_are_json {
            write(io::stdout().lock(), text);
        }
    }

    /// Progress and warnings.
    pub(crate) fn note(&self, text: &str) {
        if self.verbosity == Verbosity::Full {
            write(io::stderr().lock(), text);
        }
    }

    /// What went wrong.
    pub(crate) fn error(&self, text: &str) {
        write(io::stderr().lock(), &format!("error: {text}"));
    }

    /// Whether bars can move.
    pub(crate) fn shows_progress(&self) -> bool {
        self.verbosity == Verbosity::Full && io::stderr().is_terminal()
    }

    /// Columns of the results' terminal; a file or a pipe gets a fixed width, so that the same
    /// run writes the same text.
    pub(crate) fn columns(&self) -> u16 {
        if self.results_are_json { 100 } else { posix::terminal_columns().unwrap_or(100) }
    }

    /// Whether results may be coloured (<https://no-color.org>).
    pub(crate) fn colors(&self) -> bool {
        let is_terminal =
            if self.results_are_json { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

fn write(mut to: impl Write, text: &str) {
    let _ = writeln!(to, "{}", text.trim_end_matches('\n')).and_then(|()| to.flush());
}
