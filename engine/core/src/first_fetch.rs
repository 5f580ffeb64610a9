//! A lane whose first fetch has not come back is *unknown*, not empty.
//!
//! On a fast broker the deep topics' first fetch arrives 10–30 ms before the quiet ones', which is
//! 10–90 polls long at full speed: polls that would look fair and serve the deep topics alone.

use std::time::Duration;

use crate::index::PartitionIndex;
use crate::time::{Timestamp, WakeReason, Wakeup};

/// Which newly assigned partitions are still unknown.
///
/// Who calls what: [`assigned`](Self::assigned) for each partition of an assignment; then, while
/// [`waiting`](Self::waiting) says so, [`fetch_answered`](Self::fetch_answered) and
/// [`delivered`](Self::delivered) as the shell sees them; [`revoked`](Self::revoked) when a
/// partition is taken away. All are idempotent. The wait always ends: at the bound at the latest.
#[derive(Debug, Clone, Default)]
pub struct FirstFetch {
    partitions: Vec<Option<Unknown>>,
    unknown: usize,
}

#[derive(Debug, Clone, Copy)]
struct Unknown {
    /// The wait ends here whatever happens.
    bound: Timestamp,
    /// The watermark was valid before this assignment, so it says nothing about this fetch.
    answered_before: bool,
    settled: Option<Timestamp>,
}

impl FirstFetch {
    /// Nothing is assigned.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A partition was assigned. `answered_before`: its cached watermark is valid already, from an
    /// earlier assignment. The wait for it ends after `bound`.
    pub fn assigned(&mut self, now: Timestamp, index: PartitionIndex, answered_before: bool, bound: Duration) {
        let position = index.as_usize();
        if self.partitions.len() <= position {
            self.partitions.resize(position + 1, None);
        }
        if self.partitions[position].is_none() {
            self.unknown += 1;
        }
        self.partitions[position] = Some(Unknown { bound: now + bound, answered_before, settled: None });
    }

    /// A record of the partition, or an error, is there.
    pub fn delivered(&mut self, index: PartitionIndex) {
        self.known(index);
    }

    /// The partition was taken away.
    pub fn revoked(&mut self, index: PartitionIndex) {
        self.known(index);
    }

    /// The partition's fetch was answered: its cached watermark is valid. Its records may still be
    /// on their way to the queue; after `settle` with none there, it is known to be empty.
    pub fn fetch_answered(&mut self, now: Timestamp, index: PartitionIndex, settle: Duration) {
        if let Some(Some(unknown)) = self.partitions.get_mut(index.as_usize())
            && !unknown.answered_before
        {
            unknown.settled.get_or_insert(now + settle);
        }
    }

    /// When to look again at the latest; `None`: nothing is unknown any more, poll on.
    pub fn waiting(&mut self, now: Timestamp) -> Option<Wakeup> {
        if self.unknown == 0 {
            return None;
        }
        let mut next: Option<Timestamp> = None;
        for slot in &mut self.partitions {
            let Some(unknown) = slot else { continue };
            let until = unknown.settled.map_or(unknown.bound, |settled| settled.min(unknown.bound));
            if until <= now {
                *slot = None;
                self.unknown -= 1;
            } else {
                next = Some(next.map_or(until, |next| next.min(until)));
            }
        }
        next.map(|at| Wakeup { at, reason: WakeReason::FirstFetch })
    }

    /// The partitions that are unknown.
    pub fn unknown(&self) -> impl Iterator<Item = PartitionIndex> + '_ {
        let slots = self.partitions.iter().enumerate();
        slots.filter(|(_, slot)| slot.is_some()).map(|(position, _)| PartitionIndex::from_usize(position))
    }

    fn known(&mut self, index: PartitionIndex) {
        if self.unknown > 0
            && let Some(slot) = self.partitions.get_mut(index.as_usize())
            && slot.take().is_some()
        {
            self.unknown -= 1;
        }
    }
}
