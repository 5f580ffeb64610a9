//! How far behind: four numbers per partition, and what follows from them.

use std::time::Duration;

use crate::time::Timestamp;

/// An offset and when it was learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The offset.
    pub offset: i64,
    /// When it was true.
    pub at: Timestamp,
}

/// The group's committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Committed {
    /// Nobody asked the broker yet, or it did not answer.
    #[default]
    NotAsked,
    /// The broker has none for this group.
    Absent {
        /// When it said so.
        at: Timestamp,
    },
    /// The next offset the group would read.
    At(Sample),
}

/// Why a lag is not a number. Unknown is not zero: a group that never committed may be the one
/// that is furthest behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum LagUnknown {
    /// The end of the log is not known.
    #[error("the end offset is not known yet: query it from the partition's leader")]
    NoEndOffset,
    /// Nothing was delivered since the assignment.
    #[error("the partition has no position yet: nothing was delivered since its assignment")]
    NoPosition,
    /// The group has committed nothing.
    #[error("the group has no committed offset for the partition")]
    NoCommittedOffset,
    /// The committed offset was not read.
    #[error("the committed offset is not known yet: query it from the group's coordinator")]
    CommittedNotAsked,
}

/// A lag and how old it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lag {
    /// Records, counted by offsets: missing offsets count too.
    pub records: u64,
    /// Age of the oldest number that went in. A cached end offset goes stale exactly when its
    /// partition is not fetched, that is, when it starves.
    pub age: Duration,
}

/// The four numbers of one partition.
///
/// A plain value: the consumer writes what it learns, whoever asks reads. For an exact answer read
/// `committed` *before* `end`: the other way round a commit in between makes the lag too small.
/// With an isolation level of read_committed, `end` must be the last stable offset, or aborted
/// transactions show as lag that never goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionLag {
    /// The first offset that still exists.
    pub log_start: Option<Sample>,
    /// The offset after the last one.
    pub end: Option<Sample>,
    /// The next offset to be delivered to the application.
    pub position: Option<Sample>,
    /// The next offset that the group would read after a restart.
    pub committed: Committed,
}

impl PartitionLag {
    /// What is not delivered yet: end − position.
    ///
    /// # Errors
    /// If one of the two is not known.
    pub fn processing(&self, now: Timestamp) -> Result<Lag, LagUnknown> {
        let end = self.end.ok_or(LagUnknown::NoEndOffset)?;
        let position = self.position.ok_or(LagUnknown::NoPosition)?;
        Ok(self.behind(end, position, now))
    }

    /// What would be delivered again, or for the first time, after a restart: end − committed.
    ///
    /// # Errors
    /// If one of the two is not known.
    pub fn durability(&self, now: Timestamp) -> Result<Lag, LagUnknown> {
        let end = self.end.ok_or(LagUnknown::NoEndOffset)?;
        match self.committed {
            Committed::NotAsked => Err(LagUnknown::CommittedNotAsked),
            Committed::Absent { .. } => Err(LagUnknown::NoCommittedOffset),
            Committed::At(committed) => Ok(self.behind(end, committed, now)),
        }
    }

    /// Records before the log's start are gone and nobody is behind by them.
    fn behind(&self, end: Sample, from: Sample, now: Timestamp) -> Lag {
        let mut oldest = end.at.min(from.at);
        let mut start = from.offset;
        if let Some(log_start) = self.log_start
            && log_start.offset > start
        {
            start = log_start.offset;
            oldest = oldest.min(log_start.at);
        }
        // Offsets are not negative, but the numbers come from outside: no overflow either way.
        let records = if end.offset > start { end.offset.abs_diff(start) } else { 0 };
        Lag { records, age: now.since(oldest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(offset: i64, millis: u64) -> Sample {
        Sample { offset, at: Timestamp::from_millis(millis) }
    }

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn processing_and_durability_count_from_different_offsets() {
        let lag = PartitionLag {
            log_start: Some(sample(0, 0)),
            end: Some(sample(100, 900)),
            position: Some(sample(90, 950)),
            committed: Committed::At(sample(60, 400)),
        };
        assert_eq!(lag.processing(NOW), Ok(Lag { records: 10, age: Duration::from_millis(100) }));
        assert_eq!(lag.durability(NOW), Ok(Lag { records: 40, age: Duration::from_millis(600) }));
    }

    #[test]
    fn no_committed_offset_is_unknown_and_not_zero() {
        let mut lag = PartitionLag { end: Some(sample(100, 900)), ..PartitionLag::default() };
        assert_eq!(lag.processing(NOW), Err(LagUnknown::NoPosition));
        assert_eq!(lag.durability(NOW), Err(LagUnknown::CommittedNotAsked));
        lag.committed = Committed::Absent { at: NOW };
        assert_eq!(lag.durability(NOW), Err(LagUnknown::NoCommittedOffset));
        lag.end = None;
        assert_eq!(lag.durability(NOW), Err(LagUnknown::NoEndOffset));
    }

    #[test]
    fn nobody_is_behind_by_records_that_retention_deleted() {
        let lag = PartitionLag {
            log_start: Some(sample(80, 100)),
            end: Some(sample(100, 900)),
            position: None,
            committed: Committed::At(sample(10, 900)),
        };
        assert_eq!(lag.durability(NOW), Ok(Lag { records: 20, age: Duration::from_millis(900) }));
    }

    #[test]
    fn an_end_that_is_older_than_the_position_gives_zero_not_a_huge_number() {
        let lag = PartitionLag {
            end: Some(sample(100, 100)),
            position: Some(sample(150, 950)),
            ..PartitionLag::default()
        };
        assert_eq!(lag.processing(NOW), Ok(Lag { records: 0, age: Duration::from_millis(900) }));
    }
}
