//! Lag: four numbers and their age.

use crate::time::Timestamp;

/// Where a partition stands, as it was known at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lag {
    /// First offset that the broker still has.
    pub log_start: Option<i64>,
    /// One past the last offset.
    pub log_end: Option<i64>,
    /// The next offset that the caller gets.
    pub position: Option<i64>,
    /// The next offset that a restart would get.
    pub committed: Option<i64>,
    /// When this was known.
    pub at: Timestamp,
}

/// Why a lag is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LagUnknown {
    /// No fetch of the partition was answered yet.
    #[error("the end of the partition is not known yet")]
    NoEnd,
    /// Nothing of the partition was delivered yet.
    #[error("the position in the partition is not known yet")]
    NoPosition,
    /// The group has not committed: the lag is unknown, not 0.
    #[error("the group has no committed offset")]
    NoCommittedOffset,
}

impl Lag {
    /// Records that the caller has not got: end − position.
    ///
    /// # Errors
    /// If either is not known.
    pub fn processing(&self) -> Result<u64, LagUnknown> {
        self.behind(self.position.ok_or(LagUnknown::NoPosition)?)
    }

    /// Records that a restart would deliver: end − committed.
    ///
    /// # Errors
    /// If either is not known.
    pub fn durability(&self) -> Result<u64, LagUnknown> {
        self.behind(self.committed.ok_or(LagUnknown::NoCommittedOffset)?)
    }

    /// Distance to the end. What retention has removed cannot be behind any more; and the end may
    /// be older than the offset it is compared with, which is then not behind.
    fn behind(&self, offset: i64) -> Result<u64, LagUnknown> {
        let end = self.log_end.ok_or(LagUnknown::NoEnd)?;
        let offset = offset.max(self.log_start.unwrap_or(offset));
        Ok(u64::try_from(end.saturating_sub(offset)).unwrap_or(0))
    }
}
