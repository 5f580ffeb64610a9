//! A lane: one first-in-first-out queue of fetched records with a quota.

use std::fmt;
use std::num::NonZeroU32;

/// Names a lane: 0, 1, 2, … in the order in which lanes were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct LaneIndex(pub u32);

impl LaneIndex {
    /// Position in a `Vec` with one element per lane.
    #[must_use]
    pub const fn position(self) -> usize {
        // Widening: no supported target has pointers of less than 32 bits.
        self.0 as usize
    }

    /// The lane at a position of such a `Vec`.
    ///
    /// # Panics
    /// If there are more than 2³² lanes.
    #[must_use]
    pub fn from_position(position: usize) -> Self {
        Self(u32::try_from(position).expect("fewer than 2^32 lanes"))
    }
}

impl fmt::Display for LaneIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lane {}", self.0)
    }
}

/// What a lane is entitled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LaneConfig {
    /// Share relative to the other lanes.
    pub weight: NonZeroU32,
    /// Records per poll at weight 1: `max_poll_records`.
    pub quota: NonZeroU32,
    /// Lanes of a higher one come first, under a policy that knows priorities.
    pub priority: u8,
}

impl LaneConfig {
    /// Weight 1, priority 0.
    #[must_use]
    pub const fn with_quota(quota: NonZeroU32) -> Self {
        Self { weight: NonZeroU32::MIN, quota, priority: 0 }
    }

    /// The most records that the lane may have of one poll, and what it gets when its turn comes:
    /// `q = w · Q`.
    #[must_use]
    pub const fn quantum(&self) -> u32 {
        self.weight.get().saturating_mul(self.quota.get())
    }
}

/// What is known of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneState {
    /// Its queue may have records.
    Ready,
    /// Its queue ran empty and nobody said since that records came.
    Empty,
    /// It gets no grants until it is resumed, whatever its queue holds.
    Paused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantum_is_weight_times_quota_and_saturates() {
        let of = |weight, quota| LaneConfig {
            weight: NonZeroU32::new(weight).unwrap(),
            quota: NonZeroU32::new(quota).unwrap(),
            priority: 0,
        };
        assert_eq!(of(3, 500).quantum(), 1_500);
        assert_eq!(of(u32::MAX, 2).quantum(), u32::MAX);
        assert_eq!(LaneConfig::with_quota(NonZeroU32::new(7).unwrap()).quantum(), 7);
    }

    #[test]
    fn an_index_is_its_position() {
        assert_eq!(LaneIndex::from_position(12), LaneIndex(12));
        assert_eq!(LaneIndex(12).position(), 12);
        assert_eq!(LaneIndex(12).to_string(), "lane 12");
    }
}
