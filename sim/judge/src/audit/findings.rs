//! Sentences about what the auditor found.

// A broken run breaks everywhere; twenty sentences say enough.
const FINDINGS_MAX: usize = 20;

/// Kinds of findings, the weightiest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Finding {
    Lost,
    Corrupted,
    OutOfOrder,
    CommittedPastGap,
    Duplicated,
    Undelivered,
    CommittedBehind,
    SkippedByRetention,
}

/// Collects findings of all partitions.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<(Finding, String)>,
    more: u64,
}

impl Findings {
    /// Adds one; the sentence is only made where it may be shown.
    pub(super) fn add(&mut self, kind: Finding, sentence: impl FnOnce() -> String) {
        if self.found.iter().filter(|(other, _)| *other == kind).count() < FINDINGS_MAX {
            self.found.push((kind, sentence()));
        } else {
            self.more += 1;
        }
    }

    /// The weightiest, and how many there are besides.
    pub(super) fn sentences(mut self) -> Vec<String> {
        self.found.sort_by_key(|(kind, _)| *kind);
        let more = self.more + self.found.len().saturating_sub(FINDINGS_MAX) as u64;
        self.found.truncate(FINDINGS_MAX);
        let mut sentences: Vec<String> = self.found.into_iter().map(|(_, sentence)| sentence).collect();
        if more > 0 {
            sentences.push(format!("and {more} further findings"));
        }
        sentences
    }
}

/// `offset 7` or `offsets 7–9 (3 records)` for a half-open range.
pub(super) fn offsets(start: i64, end: i64) -> String {
    let last = end - 1;
    if start == last {
        format!("offset {start}")
    } else {
        format!("offsets {start}–{last} ({} records)", end.abs_diff(start))
    }
}
