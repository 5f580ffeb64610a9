//! After an assignment: is a lane empty, or has its first fetch not come back yet?

use std::time::Duration;

use crate::lane::LaneIndex;
use crate::partition::{PartitionIndex, PartitionMap};
use crate::time::{Timestamp, WakeReason, Wakeup};

/// How long after the answer of a partition without records it still counts as unknown. The high
/// watermark becomes valid before the records of the same answer are queued; 5 ms covers that
/// distance.
pub const SETTLE: Duration = Duration::from_millis(5);

/// The same for a partition that holds records: they are parsed before they are queued, and a full
/// fetch (1 MiB of small records) took 10 ms on a busy machine, and fifty clients on a machine where
/// others work too took 40 ms. It may hold none for us all the same: all consumed, or aborted.
pub const SETTLE_RECORDS: Duration = Duration::from_millis(100);

/// The longest that a partition is waited for of which nothing tells whether its fetch was answered.
pub const UNTOLD: Duration = Duration::from_millis(250);

/// What the watermarks of an answered partition say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The log is empty.
    Empty,
    /// The log holds records.
    Records,
}

impl Answer {
    const fn settle(self) -> Duration {
        match self {
            Self::Empty => SETTLE,
            Self::Records => SETTLE_RECORDS,
        }
    }
}

/// How often to look at the watermarks of partitions that have not answered: nothing signals that
/// one became valid. The difference to cover is 10–30 ms on a fast broker.
pub const PROBE: Duration = Duration::from_millis(1);

/// Whether the cached high watermark was valid when the partition was assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatermarkBefore {
    /// Its becoming valid says that the first fetch was answered.
    Invalid,
    /// From an earlier assignment; it says nothing, and the bound, at most [`UNTOLD`], decides.
    Valid,
}

impl WatermarkBefore {
    fn limits(self, bound: Duration) -> Duration {
        match self {
            Self::Invalid => bound,
            Self::Valid => bound.min(UNTOLD),
        }
    }
}

/// Where a fetch of a newly assigned partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unknown {
    lane: LaneIndex,
    watermark: WatermarkBefore,
    /// When its answer counts as all that came, once it was answered.
    settles: Option<Timestamp>,
    bound: Timestamp,
}

impl Unknown {
    /// When it stops to be unknown if nothing else happens, and by what.
    fn deadline(&self) -> Wakeup {
        let bound = Wakeup { at: self.bound, reason: WakeReason::FirstFetchBound };
        let settles = self.settles.map(|at| Wakeup { at, reason: WakeReason::FirstFetchSettles });
        settles.map_or(bound, |settles| settles.min(bound))
    }

    fn wants_probe(&self) -> bool {
        self.watermark == WatermarkBefore::Invalid && self.settles.is_none()
    }
}

/// Decides whether the first poll after an assignment should wait a little longer, so that topics
/// whose first fetch is slower do not miss the first tens of polls.
///
/// A newly assigned partition is *unknown* until, since this assignment, it delivered a record,
/// reported an error, or had its fetch answered and [`SETTLE`] (if its log holds records,
/// [`SETTLE_RECORDS`]) passed with nothing queued; or until the bound given with the assignment has
/// passed, whatever happened.
///
/// # Who calls what
/// The consumer, on its poll loop: [`assigned`](Self::assigned) when partitions come (the bound is
/// `first_fetch_wait_ms`; zero, as in `single`, never waits), then
/// [`delivered`](Self::delivered) for every partition it took records of,
/// [`errored`](Self::errored), [`fetch_answered`](Self::fetch_answered) when it finds the watermark
/// valid, [`revoked`](Self::revoked) when partitions go. All of these are idempotent and ignore
/// partitions that are not unknown. Before a poll returns, [`waiting`](Self::waiting) says whether
/// to go on collecting: `None` means nobody is unknown.
#[derive(Debug, Clone, Default)]
pub struct FirstFetch {
    unknown: PartitionMap<Unknown>,
    unknown_count: usize,
}

impl FirstFetch {
    /// Nobody is unknown.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Partitions of one lane were assigned; a partition that was unknown already starts over.
    pub fn assigned(
        &mut self,
        now: Timestamp,
        lane: LaneIndex,
        bound: Duration,
        partitions: impl IntoIterator<Item = (PartitionIndex, WatermarkBefore)>,
    ) {
        if bound.is_zero() {
            return;
        }
        for (partition, watermark) in partitions {
            let entry = Unknown { lane, watermark, settles: None, bound: now + watermark.limits(bound) };
            if self.unknown.insert(partition, entry).is_none() {
                self.unknown_count += 1;
            }
        }
    }

    /// The partition delivered a record.
    pub fn delivered(&mut self, partition: PartitionIndex) {
        self.forget(partition);
    }

    /// The partition reported an error.
    pub fn errored(&mut self, partition: PartitionIndex) {
        self.forget(partition);
    }

    /// The partition's cached watermarks are valid. The first call counts; ignored if they were
    /// valid before the assignment.
    pub fn fetch_answered(&mut self, now: Timestamp, partition: PartitionIndex, answer: Answer) {
        if let Some(entry) = self.unknown.get_mut(partition)
            && entry.wants_probe()
        {
            entry.settles = Some(now + answer.settle());
        }
    }

    /// The partition is no longer owned.
    pub fn revoked(&mut self, partition: PartitionIndex) {
        self.forget(partition);
    }

    /// Partitions whose watermark is worth a look: unknown, not answered.
    pub fn to_probe(&self) -> impl Iterator<Item = PartitionIndex> {
        self.unknown.iter().filter(|(_, entry)| entry.wants_probe()).map(|(partition, _)| partition)
    }

    /// All that are unknown.
    pub fn unknown(&self) -> impl Iterator<Item = PartitionIndex> {
        self.unknown.iter().map(|(partition, _)| partition)
    }

    /// Whether the partition is unknown.
    #[must_use]
    pub fn is_unknown(&self, partition: PartitionIndex) -> bool {
        self.unknown.get(partition).is_some()
    }

    /// All that are unknown, each with its lane.
    pub fn unknown_lanes(&self) -> impl Iterator<Item = (LaneIndex, PartitionIndex)> {
        self.unknown.iter().map(|(partition, entry)| (entry.lane, partition))
    }

    /// `None`: nobody is unknown, return what there is. Otherwise look again at the time given,
    /// after calling [`fetch_answered`](Self::fetch_answered) for what answered since.
    ///
    /// The time given is never later than the last bound, and not earlier than useful: it is when
    /// the *last* partition stops to be unknown by the passing of time, or the next probe.
    pub fn waiting(&mut self, now: Timestamp) -> Option<Wakeup> {
        if self.unknown_count == 0 {
            return None;
        }
        let expired: Vec<_> = self
            .unknown
            .iter()
            .filter(|(_, entry)| entry.deadline().at <= now)
            .map(|(partition, _)| partition)
            .collect();
        for partition in expired {
            self.forget(partition);
        }
        let last = self.unknown.iter().map(|(_, entry)| entry.deadline()).max()?;
        let probe =
            self.to_probe().next().map(|_| Wakeup { at: now + PROBE, reason: WakeReason::FirstFetchProbe });
        Wakeup::earliest([Some(last), probe])
    }

    fn forget(&mut self, partition: PartitionIndex) {
        if self.unknown_count > 0 && self.unknown.remove(partition).is_some() {
            self.unknown_count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: LaneIndex = LaneIndex(0);
    const BOUND: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn assigned(watermarks: &[WatermarkBefore]) -> FirstFetch {
        let mut first = FirstFetch::new();
        let partitions = (0..).map(PartitionIndex).zip(watermarks.iter().copied());
        first.assigned(at(0), LANE, BOUND, partitions);
        first
    }

    #[test]
    fn nobody_is_waited_for_before_an_assignment_or_with_a_bound_of_zero() {
        let mut first = FirstFetch::new();
        assert_eq!(first.waiting(at(0)), None);
        first.assigned(at(0), LANE, Duration::ZERO, [(PartitionIndex(0), WatermarkBefore::Invalid)]);
        assert_eq!(first.waiting(at(0)), None);
    }

    #[test]
    fn every_partition_of_the_lane_must_be_known() {
        let mut first = assigned(&[WatermarkBefore::Invalid; 3]);
        first.delivered(PartitionIndex(0));
        first.errored(PartitionIndex(1));
        assert!(first.waiting(at(10)).is_some());
        assert_eq!(first.unknown_lanes().count(), 1);
        first.delivered(PartitionIndex(2));
        assert_eq!(first.waiting(at(10)), None);
    }

    #[test]
    fn an_empty_topic_settles_five_milliseconds_after_its_first_answer() {
        let mut first = assigned(&[WatermarkBefore::Invalid]);
        let probe = Wakeup { at: at(1), reason: WakeReason::FirstFetchProbe };
        assert_eq!(first.waiting(at(0)), Some(probe));
        first.fetch_answered(at(20), PartitionIndex(0), Answer::Empty);
        first.fetch_answered(at(24), PartitionIndex(0), Answer::Empty);
        let settles = Wakeup { at: at(25), reason: WakeReason::FirstFetchSettles };
        assert_eq!(first.waiting(at(24)), Some(settles));
        assert_eq!(first.waiting(at(25)), None);
    }

    #[test]
    fn a_partition_that_holds_records_gets_the_time_to_parse_them() {
        let mut first = assigned(&[WatermarkBefore::Invalid]);
        first.assigned(at(10), LANE, BOUND * 10, [(PartitionIndex(0), WatermarkBefore::Invalid)]);
        first.fetch_answered(at(20), PartitionIndex(0), Answer::Records);
        assert!(first.waiting(at(119)).is_some());
        assert_eq!(first.waiting(at(120)), None);
    }

    #[test]
    fn a_watermark_from_an_earlier_assignment_says_nothing() {
        let mut first = assigned(&[WatermarkBefore::Valid]);
        first.fetch_answered(at(1), PartitionIndex(0), Answer::Empty);
        assert_eq!(first.to_probe().count(), 0);
        let bound = Wakeup { at: at(100), reason: WakeReason::FirstFetchBound };
        assert_eq!(first.waiting(at(50)), Some(bound));
        assert_eq!(first.waiting(at(100)), None);
    }

    #[test]
    fn where_nothing_can_tell_the_wait_is_short_whatever_the_bound() {
        let mut first = FirstFetch::new();
        let bound = Duration::from_secs(1);
        first.assigned(at(0), LANE, bound, [(PartitionIndex(0), WatermarkBefore::Invalid)]);
        first.assigned(at(0), LANE, bound, [(PartitionIndex(1), WatermarkBefore::Valid)]);
        assert!(first.waiting(at(249)).is_some());
        first.delivered(PartitionIndex(0));
        assert_eq!(first.waiting(at(250)), None);
    }

    #[test]
    fn a_late_answer_does_not_extend_the_bound() {
        let mut first = assigned(&[WatermarkBefore::Invalid]);
        first.fetch_answered(at(98), PartitionIndex(0), Answer::Empty);
        assert_eq!(first.waiting(at(99)).map(|wakeup| wakeup.at), Some(at(100)));
        assert_eq!(first.waiting(at(100)), None);
    }

    #[test]
    fn a_new_assignment_starts_over_and_a_revocation_ends_the_wait() {
        let mut first = assigned(&[WatermarkBefore::Invalid]);
        first.delivered(PartitionIndex(0));
        first.assigned(at(500), LANE, BOUND, [(PartitionIndex(0), WatermarkBefore::Valid)]);
        assert!(first.waiting(at(501)).is_some());
        first.revoked(PartitionIndex(0));
        first.revoked(PartitionIndex(0));
        assert_eq!(first.waiting(at(501)), None);
    }
}
