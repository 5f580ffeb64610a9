//! Time as a value: the caller reads the clock, the core calculates.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// Nanoseconds since an origin that the caller chose once, usually the start of the run.
///
/// Arithmetic saturates: 2⁶⁴ ns are 584 years, so a saturated value means "never".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Timestamp(u64);

impl Timestamp {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// Later than everything.
    pub const NEVER: Self = Self(u64::MAX);

    /// So many nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// So many milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero if that lies in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// Why somebody wants to be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WakeReason {
    /// A lane has records: poll at once.
    RecordsReady,
    /// A newly assigned partition has not answered yet: look at its watermark again.
    FirstFetchProbe,
    /// A newly assigned partition has answered: it counts as empty if nothing arrives by then.
    FirstFetchSettles,
    /// A newly assigned partition has not answered: it is not waited for beyond this.
    FirstFetchBound,
    /// A lane ran dry though its topic holds more: it is not waited for beyond this.
    RefillBound,
    /// A partition whose fetches failed is to be tried again.
    ProbeDue,
    /// A partition was tried again: it works if nothing is heard by then.
    ProbeSettles,
    /// A failed operation is due again.
    RetryDue,
    /// The caller of the poll wants an answer.
    CallerDeadline,
    /// Wake-ups of queues are edge-triggered; one that got lost costs no more than this.
    SafetyTick,
}

/// When somebody wants to be called again, and why.
///
/// Ordered by time, so that the minimum over all machines is the next thing to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wakeup {
    /// When; not later than now means at once.
    pub at: Timestamp,
    /// Why.
    pub reason: WakeReason,
}

impl Wakeup {
    /// The earliest of several wake-ups; at the same instant the more telling reason wins
    /// (the order of [`WakeReason`]).
    pub fn earliest(wakeups: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        wakeups.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_never() {
        assert_eq!(Timestamp::from_nanos(u64::MAX - 1) + Duration::from_secs(1), Timestamp::NEVER);
        assert_eq!(Timestamp::ZERO + Duration::MAX, Timestamp::NEVER);
    }

    #[test]
    fn a_future_instant_is_no_time_ago() {
        assert_eq!(Timestamp::ZERO.since(Timestamp::from_millis(5)), Duration::ZERO);
        assert_eq!(Timestamp::from_millis(7).since(Timestamp::from_millis(5)), Duration::from_millis(2));
    }

    #[test]
    fn the_earliest_wakeup_wins_and_absent_ones_do_not_count() {
        let tick = Wakeup { at: Timestamp::from_millis(9), reason: WakeReason::SafetyTick };
        let retry = Wakeup { at: Timestamp::from_millis(3), reason: WakeReason::RetryDue };
        assert_eq!(Wakeup::earliest([Some(tick), None, Some(retry)]), Some(retry));
        assert_eq!(Wakeup::earliest([None, None]), None);
    }

    #[test]
    fn a_timestamp_reads_as_seconds() {
        assert_eq!(Timestamp::from_millis(1_500).to_string(), "1.500000000s");
    }
}
