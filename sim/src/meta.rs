//! Whether virtual time is what it claims to be: the same course for the same seed.

use std::thread;

use sha2::{Digest, Sha256};

use crate::run::{ModelChoice, trace};
use crate::scenario::Loaded;
use crate::virtual_time::Unmodelled;

/// What two simulations of one seed came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The seed.
    pub seed: u64,
    /// Lines of the trace.
    pub lines: usize,
    /// The first trace's SHA-256: to be compared between machines.
    pub sha256: String,
    /// The first line that differs, from 1, as either has it; `None`: they are equal byte for byte.
    pub differs: Option<Difference>,
}

/// Where two traces part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// From 1.
    pub line: usize,
    /// The first trace's; empty where it has ended.
    pub first: String,
    /// The second's.
    pub second: String,
}

/// Simulates every mode of a scenario twice, the second time on another thread, and compares the traces.
///
/// # Errors
/// If there is no model of what the scenario asks for.
pub fn compare(loaded: &Loaded, seed: u64, model: ModelChoice) -> Result<Comparison, Unmodelled> {
    let first = trace(loaded, seed, model)?;
    let second = thread::scope(|scope| {
        let second = scope.spawn(|| trace(loaded, seed, model));
        second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let digest = Sha256::digest(&first);
    Ok(Comparison {
        seed,
        lines: first.iter().filter(|byte| **byte == b'\n').count(),
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        differs: difference(&first, &second),
    })
}

fn difference(first: &[u8], second: &[u8]) -> Option<Difference> {
    if first == second {
        return None;
    }
    let mut lines = (first.split(|byte| *byte == b'\n'), second.split(|byte| *byte == b'\n'));
    for line in 1.. {
        let (first, second) = (lines.0.next(), lines.1.next());
        if first != second {
            let text = |line: Option<&[u8]>| String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
            return Some(Difference { line, first: text(first), second: text(second) });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_part_where_a_line_differs_or_one_ends() {
        assert_eq!(difference(b"a\nb\n", b"a\nb\n"), None);
        let parts = |first: &str, second: &str| {
            let found = difference(first.as_bytes(), second.as_bytes()).expect("they differ");
            (found.line, found.first, found.second)
        };
        assert_eq!(parts("a\nb\n", "a\nc\n"), (2, "b".to_owned(), "c".to_owned()));
        assert_eq!(parts("a\n", "a\nb\n"), (2, String::new(), "b".to_owned()));
    }
}
