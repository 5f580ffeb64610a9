//! What may be committed: completion in any order, commits only up to the first gap.

use std::collections::BTreeMap;

use crate::index::PartitionIndex;

/// Tracks what was delivered, what is processed and what is committed.
///
/// Who calls what: [`assign`](Self::assign) when a partition is assigned, with a generation that
/// rises; [`deliver`](Self::deliver) before records are handed to the caller;
/// [`complete`](Self::complete) when they are processed, in any order; [`due`](Self::due) for what
/// should be committed; [`committed`](Self::committed) when the broker has confirmed it;
/// [`revoke`](Self::revoke) when the partition is taken away, after which completions of that
/// generation are fenced.
///
/// A gap is a delivered record that is not completed; offsets that were never delivered (compacted
/// away, or markers of transactions) are none.
#[derive(Debug, Clone, Default)]
pub struct OffsetTracker {
    partitions: Vec<Partition>,
}

#[derive(Debug, Clone, Default)]
struct Partition {
    generation: Option<u64>,
    /// Delivered and not completed: first offset → last offset. Neighbours are merged, so a
    /// caller that completes in order keeps this at one entry.
    outstanding: BTreeMap<i64, i64>,
    /// Records in `outstanding` are counted by offsets.
    start: Option<i64>,
    /// One past the last delivered offset.
    position: Option<i64>,
    committed: Option<i64>,
}

/// What became of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// It counts.
    Accepted,
    /// The partition was taken away since the records were delivered: its next owner gets them.
    Fenced,
}

impl Partition {
    /// The next offset to read after a restart, as far as processing allows.
    fn committable(&self) -> Option<i64> {
        match self.outstanding.first_key_value() {
            Some((&first, _)) => Some(first),
            None => self.position,
        }
    }
}

impl OffsetTracker {
    /// Nothing is assigned.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A partition was assigned under a generation.
    pub fn assign(&mut self, index: PartitionIndex, generation: u64) {
        let position = index.as_usize();
        if self.partitions.len() <= position {
            self.partitions.resize_with(position + 1, Partition::default);
        }
        let committed = self.partitions[position].committed;
        // Another member may have gone on since; what it committed is not known here, and what we
        // last committed is no more than a lower bound.
        self.partitions[position] = Partition { generation: Some(generation), committed, ..Partition::default() };
    }

    /// A partition was taken away.
    pub fn revoke(&mut self, index: PartitionIndex) {
        if let Some(partition) = self.partitions.get_mut(index.as_usize()) {
            *partition = Partition { committed: partition.committed, ..Partition::default() };
        }
    }

    /// Records from `first` to `last`, both included, are handed to the caller.
    ///
    /// # Panics
    /// If the partition is not assigned under this generation, or the offsets step back: the
    /// caller's books are broken.
    pub fn deliver(&mut self, index: PartitionIndex, generation: u64, first: i64, last: i64) {
        let partition = &mut self.partitions[index.as_usize()];
        assert_eq!(partition.generation, Some(generation), "delivering from a partition that is not owned");
        assert!(first <= last && partition.position.is_none_or(|position| position <= first), "offsets step back");
        match partition.outstanding.last_entry() {
            // The gap between the two, if there is one, was never delivered: nothing can wait in it.
            Some(mut newest) if Some(*newest.get() + 1) == partition.position => {
                *newest.get_mut() = last;
            }
            _ => {
                partition.outstanding.insert(first, last);
            }
        }
        partition.start.get_or_insert(first);
        partition.position = Some(last + 1);
    }

    /// Delivered records from `first` to `last`, both included, are processed. Idempotent.
    pub fn complete(&mut self, index: PartitionIndex, generation: u64, first: i64, last: i64) -> Completion {
        let Some(partition) = self.partitions.get_mut(index.as_usize()) else { return Completion::Fenced };
        if partition.generation != Some(generation) {
            return Completion::Fenced;
        }
        // The usual case: exactly what was delivered last, or from the front on.
        while let Some((&begin, &end)) = partition.outstanding.range(..=last).next_back() {
            if end < first {
                break;
            }
            partition.outstanding.remove(&begin);
            if end > last {
                partition.outstanding.insert(last + 1, end);
            }
            if begin < first {
                partition.outstanding.insert(begin, first - 1);
                break;
            }
        }
        Completion::Accepted
    }

    /// What should be committed: partition and next offset to read.
    pub fn due(&self) -> impl Iterator<Item = (PartitionIndex, i64)> + '_ {
        self.partitions.iter().enumerate().filter_map(|(position, partition)| {
            let committable = partition.committable()?;
            let news = partition.start.is_some_and(|start| committable > start)
                && partition.committed.is_none_or(|committed| committable > committed);
            (partition.generation.is_some() && news).then(|| (PartitionIndex::from_usize(position), committable))
        })
    }

    /// The broker has confirmed a commit.
    pub fn committed(&mut self, index: PartitionIndex, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(index.as_usize()) {
            partition.committed = Some(partition.committed.map_or(offset, |known| known.max(offset)));
        }
    }

    /// One past the last offset handed to the caller under the current assignment.
    #[must_use]
    pub fn position(&self, index: PartitionIndex) -> Option<i64> {
        self.partitions.get(index.as_usize())?.position
    }

    /// The last commit that the broker confirmed to this consumer.
    #[must_use]
    pub fn committed_offset(&self, index: PartitionIndex) -> Option<i64> {
        self.partitions.get(index.as_usize())?.committed
    }

    /// Offsets that were delivered and not completed, over all partitions.
    #[must_use]
    pub fn unprocessed(&self) -> u64 {
        let spans = self.partitions.iter().flat_map(|partition| &partition.outstanding);
        spans.map(|(first, last)| (last - first + 1).unsigned_abs()).sum()
    }
}
