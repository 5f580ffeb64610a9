//! The gate language: `fair.drain_s <= 1.10 * single.drain_s`. Its grammar stands in
//! `docs/gates.md`.
//!
//! [`Expression::parse`] reads one, [`Expression::check`] compares its names with a scenario's,
//! [`evaluate`] puts the figures in.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

mod check;
mod eval;
mod glob;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

pub use eval::{Evaluation, evaluate};

/// A gate, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    text: String,
    left: Node,
    comparison: Comparison,
    right: Node,
}

/// Why a text is no gate, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", .help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default())]
pub struct ParseError {
    /// Bytes of the expression that are to blame; empty at its end.
    pub at: Range<usize>,
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// How two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

/// A metric named in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The mode's name.
    pub mode: String,
    /// The metric's name.
    pub metric: String,
    /// The topic or topics, as a glob.
    pub topics: Option<String>,
    mode_at: Range<usize>,
    metric_at: Range<usize>,
    topics_at: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Metric(Reference),
    Sum(Box<Node>, Box<Node>),
    Product(Box<Node>, Box<Node>),
    Quotient(Box<Node>, Box<Node>),
    Extreme(Extreme, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extreme {
    Min,
    Max,
}

impl Expression {
    /// Reads a gate. Whether its names exist is left to [`Self::check`].
    ///
    /// # Errors
    /// Where the text is no gate, with the bytes to blame.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parser::parse(text)
    }

    /// Whether its modes, metrics and topics exist, and each glob outside of `min`/`max` means
    /// one topic.
    ///
    /// # Errors
    /// The first name that does not, with a suggestion.
    pub fn check(&self, modes: &[&str], topics: &[&str]) -> Result<(), ParseError> {
        check::check(self, modes, topics)
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The metrics it names, from left to right.
    #[must_use]
    pub fn references(&self) -> Vec<&Reference> {
        let mut found = Vec::new();
        self.left.collect(&mut found);
        self.right.collect(&mut found);
        found
    }

    /// The modes it names.
    #[must_use]
    pub fn modes(&self) -> BTreeSet<&str> {
        self.references().into_iter().map(|reference| reference.mode.as_str()).collect()
    }

    /// The metrics' names.
    #[must_use]
    pub fn metrics(&self) -> BTreeSet<&str> {
        self.references().into_iter().map(|reference| reference.metric.as_str()).collect()
    }
}

impl Reference {
    /// Whether it speaks of `topic`; without a glob it speaks of all.
    #[must_use]
    pub fn covers(&self, topic: &str) -> bool {
        self.topics.as_ref().is_none_or(|pattern| glob::matches(pattern, topic))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.mode, self.metric)?;
        match &self.topics {
            Some(topics) => write!(f, "{{{topics}}}"),
            None => Ok(()),
        }
    }
}

impl Comparison {
    /// Whether it holds between two numbers.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "`==` compares counts, which are exact in an f64")]
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
            Self::Equal => left == right,
            Self::Unequal => left != right,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
            Self::Unequal => "!=",
        })
    }
}

impl Node {
    fn collect<'a>(&'a self, found: &mut Vec<&'a Reference>) {
        match self {
            Self::Number(_) => {}
            Self::Metric(reference) => found.push(reference),
            Self::Sum(a, b) | Self::Product(a, b) | Self::Quotient(a, b) => {
                a.collect(found);
                b.collect(found);
            }
            Self::Extreme(_, arguments) => arguments.iter().for_each(|node| node.collect(found)),
        }
    }
}
