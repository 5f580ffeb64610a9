//! What is wrong with a file, and where.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, a lower-case fragment.
    pub message: String,
    /// The bytes it is about.
    pub at: Range<usize>,
    /// What is said right there.
    pub label: String,
    /// A second place that belongs to it.
    pub also: Option<(Range<usize>, String)>,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    /// What is wrong, where, and what is said right there.
    #[must_use]
    pub fn new(at: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { message: message.into(), at, label: label.into(), also: None, help: None }
    }

    /// With a remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With a second place.
    #[must_use]
    pub fn also(mut self, at: Range<usize>, label: impl Into<String>) -> Self {
        self.also = Some((at, label.into()));
        self
    }
}

/// Everything that is wrong with a text, in its order; at least one thing.
///
/// Displayed, one per line with line and column and its remedy. Neither there nor in
/// [`Self::source_text`] stands a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    source: String,
    problems: Vec<Problem>,
}

impl Problems {
    /// `source` is the text with every secret masked, byte for byte as long as the text itself.
    pub(super) fn new(source: String, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.at.start);
        Self { source, problems }
    }

    /// The text, its secrets masked; the problems' places are places in it.
    #[must_use]
    pub fn source_text(&self) -> &str {
        &self.source
    }

    /// The problems, in the text's order.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let (line, column) = position(&self.source, problem.at.start);
            let break_before = if index == 0 { "" } else { "\n" };
            write!(f, "{break_before}line {line}, column {column}: {}", problem.message)?;
            if let Some((also, label)) = &problem.also {
                let (line, column) = position(&self.source, also.start);
                write!(f, " ({label}: line {line}, column {column})")?;
            }
            if let Some(help) = &problem.help {
                write!(f, "; {help}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Line and column (in bytes) of a byte, both from 1.
pub(super) fn position(source: &str, at: usize) -> (u32, u32) {
    let before = &source.as_bytes()[..at.min(source.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count();
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
    let number = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
    (number(line), number(column))
}
