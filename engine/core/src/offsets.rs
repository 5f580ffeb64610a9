//! What may be committed: everything up to the first record that is delivered and not completed.

use std::collections::{BTreeMap, VecDeque};

use crate::partition::{PartitionIndex, PartitionMap};

/// One ownership of one partition, from assignment to revocation. Rises with every assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Generation(pub u64);

/// Records of one partition by their offsets, both ends included. Offsets inside may be missing on
/// the broker (compaction, transaction markers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetRange {
    /// First offset.
    pub first: i64,
    /// Last offset; not below `first`.
    pub last: i64,
}

/// A delivery that cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// Nobody assigned the partition.
    #[error("{partition} delivered records without being assigned: call `assigned` first")]
    NotAssigned {
        /// Which.
        partition: PartitionIndex,
    },
    /// The range ends before it begins.
    #[error("a delivery of {partition} ends at {last}, before it begins at {first}")]
    Inverted {
        /// Which.
        partition: PartitionIndex,
        /// First offset.
        first: i64,
        /// Last offset.
        last: i64,
    },
    /// Within one generation offsets only rise.
    #[error(
        "{partition} stepped back to offset {first} after {position}: after a seek or a truncation \
         begin a new generation with `sought`"
    )]
    SteppedBack {
        /// Which.
        partition: PartitionIndex,
        /// First offset of the delivery.
        first: i64,
        /// The next offset that was expected, or a later one.
        position: i64,
    },
}

/// A completion that cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompletionError {
    /// The range ends before it begins.
    #[error("a completion of {partition} ends at {last}, before it begins at {first}")]
    Inverted {
        /// Which.
        partition: PartitionIndex,
        /// First offset.
        first: i64,
        /// Last offset.
        last: i64,
    },
    /// It reaches past what was delivered.
    #[error(
        "offset {last} of {partition} is not delivered yet, the next is {position}: complete what a batch held"
    )]
    NotDelivered {
        /// Which.
        partition: PartitionIndex,
        /// Last offset of the completion.
        last: i64,
        /// The next offset to be delivered.
        position: i64,
    },
}

/// What a completion changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// More may be committed: up to this offset, the next to read.
    Advanced {
        /// The next offset to read.
        committable: i64,
    },
    /// Remembered, behind a gap; or known already.
    Recorded,
    /// It belongs to an ownership that is over, and changed nothing: whoever owns the partition
    /// now has these records delivered again.
    Fenced,
}

/// Something to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committable {
    /// Which.
    pub partition: PartitionIndex,
    /// Pass it back to [`OffsetTracker::committed`].
    pub generation: Generation,
    /// The next offset to read.
    pub offset: i64,
}

/// Tracks which delivered records are completed, in any order, and what may be committed.
///
/// A *gap* is a record that was delivered and is not completed; offsets that the broker never
/// delivers (compacted, aborted, markers) are none.
///
/// # Who calls what
/// - The consumer: [`assigned`](Self::assigned) when it gets a partition (a second call without a
///   revocation in between starts over), [`delivered`](Self::delivered) for every range it hands to
///   the application, in order of offsets; [`sought`](Self::sought) before it reads on from another
///   place;
///   [`revoked`](Self::revoked) when it loses the partition, after the last commit (idempotent);
///   before that [`keeps_its_place`](Self::keeps_its_place) where it will take it up again itself.
/// - The application, through the consumer: [`completed`](Self::completed) with the generation that
///   `delivered` returned; in any order, overlapping, repeated (idempotent).
/// - The committer: sends what [`dirty`](Self::dirty) lists, and reports each success with
///   [`committed`](Self::committed) (idempotent; late answers of an earlier generation are ignored).
///   A failed commit needs no report: the partition stays dirty.
///
/// # Cost
/// Completing in order is O(1) amortised and allocates nothing; memory grows with the number of
/// runs of completed and of missing offsets, not with records.
#[derive(Debug, Clone, Default)]
pub struct OffsetTracker {
    partitions: PartitionMap<Partition>,
    generations: u64,
    fenced: u64,
}

#[derive(Debug, Clone)]
struct Partition {
    generation: Generation,
    /// Runs of delivered offsets from the first that is not completed; a run is added where
    /// offsets are missing, otherwise the last one grows.
    delivered: VecDeque<OffsetRange>,
    /// The next offset to be delivered, or a lower one; nothing was delivered: `None`.
    position: Option<i64>,
    /// Runs of completed offsets behind the first gap, first → last, disjoint and not adjacent.
    behind_gap: BTreeMap<i64, i64>,
    committable: Option<i64>,
    committed: Option<i64>,
    /// The first offset that was delivered in this generation.
    first: Option<i64>,
    /// Where reading was told to go on, until a record from there is completed.
    sought: Option<i64>,
}

/// What a partition that is about to be given up and taken up again goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Offsets tell: what is committed, or what is committable now.
    Kept,
    /// Nothing was delivered or committed in this ownership: it goes on from what the group has committed
    /// or, where it has nothing, from where `auto.offset.reset` says.
    Untold,
    /// The log's beginning or its end was sought, and nothing was delivered since: which offset that is, the
    /// next record tells.
    Sought,
}

impl OffsetTracker {
    /// No partition is assigned.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An ownership begins. `committed`: the group's committed offset, if it is known and there is
    /// one; it keeps a first commit of the same offset from being sent.
    pub fn assigned(&mut self, partition: PartitionIndex, committed: Option<i64>) -> Generation {
        self.generations += 1;
        let generation = Generation(self.generations);
        let fresh = Partition {
            generation,
            delivered: VecDeque::new(),
            position: None,
            behind_gap: BTreeMap::new(),
            committable: None,
            committed,
            first: None,
            sought: None,
        };
        self.partitions.insert(partition, fresh);
        generation
    }

    /// The partition is read on from another place, its ownership goes on: a generation of its own
    /// begins, and completions of what was delivered before are fenced. What was completed stays
    /// committable, but not beyond `offset`: whoever starts at the committed offset must not skip what
    /// was sought. A commit beyond it that was answered in this generation stands; of any other nothing is known
    /// here, and the place that was sought takes its place. `i64::MIN` is the log's beginning, `i64::MAX` its
    /// end. `None`: not assigned.
    pub fn sought(&mut self, partition: PartitionIndex, offset: i64) -> Option<Generation> {
        let entry = self.partitions.get_mut(partition)?;
        self.generations += 1;
        *entry = Partition {
            generation: Generation(self.generations),
            delivered: VecDeque::new(),
            position: None,
            behind_gap: BTreeMap::new(),
            committable: entry.committable_up_to(offset),
            // Further on than what will be committed next: offsets of a generation must only rise.
            committed: entry.committed.filter(|&committed| committed <= offset),
            first: None,
            sought: Some(offset),
        };
        Some(entry.generation)
    }

    /// The ownership is about to be given up, and taken up again elsewhere. Where nothing of it was committed,
    /// or nothing was completed since a seek, the first record that was delivered, or else the offset that was
    /// sought, becomes committable as the place to go on from: the next owner would begin at an older commit
    /// otherwise, or where `auto.offset.reset` says, which may lie behind it.
    ///
    /// Tells whether that was enough; where it was not, [`goes_on_from`](Self::goes_on_from) takes what is
    /// found out. `None`: not assigned.
    pub fn keeps_its_place(&mut self, partition: PartitionIndex) -> Option<Place> {
        let entry = self.partitions.get_mut(partition)?;
        if entry.has_a_place() {
            return Some(Place::Kept);
        }
        // Beginning and end are no offsets.
        let concrete = entry.sought.filter(|&offset| (0..i64::MAX).contains(&offset));
        let first = entry.delivered.front().map(|first| first.first);
        let Some(place) = first.or(concrete) else {
            return Some(if entry.sought.is_some() { Place::Sought } else { Place::Untold });
        };
        entry.committable = Some(place);
        Some(Place::Kept)
    }

    /// The next record of a partition without a place is this one or a later one. Changes nothing where
    /// something was delivered or has a place.
    pub fn goes_on_from(&mut self, partition: PartitionIndex, offset: i64) {
        if let Some(entry) = self.partitions.get_mut(partition)
            && entry.first.is_none()
            && !entry.has_a_place()
        {
            entry.committable = Some(offset);
        }
    }

    /// From where records come again that were delivered, should the ownership end now: from the first that
    /// is not completed, and where the last commit was not taken, from what was committed before. `None`: from
    /// nowhere.
    #[must_use]
    pub fn comes_again(&self, partition: PartitionIndex) -> Option<i64> {
        let entry = self.partitions.get(partition)?;
        let begins = entry.first?;
        let open = entry.delivered.front().map(|front| front.first);
        let is_dirty = entry.committable.is_some() && entry.committable != entry.committed;
        if is_dirty { Some(entry.committed.unwrap_or(begins)) } else { open }
    }

    /// The ownership ends: completions and commit answers of its generation change nothing from
    /// now on.
    pub fn revoked(&mut self, partition: PartitionIndex) {
        self.partitions.remove(partition);
    }

    /// The current ownership; `None`: not assigned.
    #[must_use]
    pub fn generation(&self, partition: PartitionIndex) -> Option<Generation> {
        Some(self.partitions.get(partition)?.generation)
    }

    /// The application got these records.
    ///
    /// # Errors
    /// If the partition is not assigned, or the range does not lie behind everything delivered
    /// before; nothing has changed then.
    pub fn delivered(
        &mut self,
        partition: PartitionIndex,
        range: OffsetRange,
    ) -> Result<Generation, DeliveryError> {
        let OffsetRange { first, last } = range;
        let entry = self.partitions.get_mut(partition).ok_or(DeliveryError::NotAssigned { partition })?;
        if last < first {
            return Err(DeliveryError::Inverted { partition, first, last });
        }
        if let Some(position) = entry.position
            && first < position
        {
            return Err(DeliveryError::SteppedBack { partition, first, position });
        }
        let adjacent = entry.position == Some(first);
        entry.first.get_or_insert(first);
        entry.position = Some(last.saturating_add(1));
        match entry.delivered.back_mut() {
            Some(run) if adjacent => run.last = last,
            _ => entry.delivered.push_back(range),
        }
        Ok(entry.generation)
    }

    /// The application has finished with these records, in the generation in which it got them.
    ///
    /// # Errors
    /// If the range reaches past what was delivered in that generation; nothing has changed then.
    pub fn completed(
        &mut self,
        partition: PartitionIndex,
        generation: Generation,
        range: OffsetRange,
    ) -> Result<Completion, CompletionError> {
        let OffsetRange { first, last } = range;
        let current = self.partitions.get_mut(partition).filter(|entry| entry.generation == generation);
        let Some(entry) = current else {
            self.fenced += 1;
            return Ok(Completion::Fenced);
        };
        if last < first {
            return Err(CompletionError::Inverted { partition, first, last });
        }
        let position = entry.position.unwrap_or(i64::MIN);
        if last >= position {
            return Err(CompletionError::NotDelivered { partition, last, position });
        }
        Ok(entry.complete(range))
    }

    /// The broker has stored this offset for the group.
    pub fn committed(&mut self, partition: PartitionIndex, generation: Generation, offset: i64) {
        if let Some(entry) = self.partitions.get_mut(partition)
            && entry.generation == generation
        {
            // Answers may overtake each other; the offsets of one generation only rise.
            entry.committed = entry.committed.max(Some(offset));
        }
    }

    /// What should be committed: in the partitions' order, those whose committable offset differs
    /// from the committed one.
    pub fn dirty(&self) -> impl Iterator<Item = Committable> {
        self.partitions.iter().filter_map(|(partition, entry)| {
            let offset = entry.committable?;
            (entry.committed != Some(offset)).then_some(Committable {
                partition,
                generation: entry.generation,
                offset,
            })
        })
    }

    /// The next offset to read after everything that is completed without a gap; `None`: nothing
    /// to commit in this generation.
    #[must_use]
    pub fn committable(&self, partition: PartitionIndex) -> Option<i64> {
        self.partitions.get(partition)?.committable
    }

    /// The last offset known to be committed.
    #[must_use]
    pub fn last_committed(&self, partition: PartitionIndex) -> Option<i64> {
        self.partitions.get(partition)?.committed
    }

    /// The next offset to be delivered, as far as deliveries tell.
    #[must_use]
    pub fn position(&self, partition: PartitionIndex) -> Option<i64> {
        self.partitions.get(partition)?.position
    }

    /// The first record that is delivered and not completed; `None`: there is none.
    #[must_use]
    pub fn first_incomplete(&self, partition: PartitionIndex) -> Option<i64> {
        Some(self.partitions.get(partition)?.delivered.front()?.first)
    }

    /// Completions that came after the end of their ownership, so far.
    #[must_use]
    pub const fn fenced_count(&self) -> u64 {
        self.fenced
    }
}

impl Partition {
    /// Whether the next owner goes on in the right place by what is committed or will be.
    fn has_a_place(&self) -> bool {
        self.sought.is_none() && (self.committable.is_some() || self.committed.is_some())
    }

    /// What may be committed once reading goes on at `offset`, in the ownership that goes on: what was
    /// completed, up to there. Dropped, whoever stops now would leave the group without what it has processed,
    /// or without any offset at all.
    fn committable_up_to(&self, offset: i64) -> Option<i64> {
        let committable = self.committable?;
        if committable <= offset {
            return Some(committable);
        }
        // The log's beginning is no offset; and what is known to be committed further on is left.
        let moves_back = offset < 0 || self.committed.is_some_and(|committed| committed > offset);
        (!moves_back).then_some(offset)
    }

    fn complete(&mut self, range: OffsetRange) -> Completion {
        let Some(front) = self.delivered.front() else { return Completion::Recorded };
        if range.last < front.first {
            return Completion::Recorded;
        }
        if range.first > front.first {
            self.remember(range);
            return Completion::Recorded;
        }
        let mut done = range.last;
        self.advance(done);
        // What was completed behind the gap may now follow without one.
        while let Some((&first, &last)) = self.behind_gap.first_key_value() {
            if self.delivered.front().is_some_and(|front| first > front.first) {
                break;
            }
            self.behind_gap.pop_first();
            if last > done {
                done = last;
                self.advance(done);
            }
        }
        let committable = done.saturating_add(1);
        (self.committable, self.sought) = (Some(committable), None);
        Completion::Advanced { committable }
    }

    /// Everything delivered up to `done` is completed.
    fn advance(&mut self, done: i64) {
        while let Some(front) = self.delivered.front_mut() {
            if front.last > done {
                front.first = front.first.max(done.saturating_add(1));
                return;
            }
            self.delivered.pop_front();
        }
    }

    /// Adds a run behind the gap, joined with those it touches.
    fn remember(&mut self, range: OffsetRange) {
        let OffsetRange { mut first, mut last } = range;
        if let Some((&start, &end)) = self.behind_gap.range(..=first).next_back()
            && end >= first.saturating_sub(1)
        {
            first = start;
            last = last.max(end);
        }
        while let Some((&start, &end)) = self.behind_gap.range(first..).next() {
            if start > last.saturating_add(1) {
                break;
            }
            self.behind_gap.remove(&start);
            last = last.max(end);
        }
        self.behind_gap.insert(first, last);
    }
}

#[cfg(test)]
mod tests;
