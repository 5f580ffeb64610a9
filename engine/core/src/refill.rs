//! A lane that ran dry: is its topic at its end, or is the rest still on its way?

use std::time::Duration;

use crate::lane::LaneIndex;
use crate::partition::{PartitionIndex, PartitionMap};
use crate::time::{Timestamp, WakeReason, Wakeup};

/// So much waiting is earned by any other time: it may take three quarters of the whole. An application that
/// does nothing spends most of its time so, and drains about as fast (docs/adr/0006).
const EARNED: u32 = 3;

/// A wait that was in vain counts this many times, and one that costs the other topics throughput is lent by so much
/// other time: either takes a twentieth of the time at most.
const DEAR: u32 = 20;

/// The allowance is never more than this many bounds: so much waiting may come at once.
const SAVED_BOUNDS: u32 = 2;

/// The loan is never more than this, however long the bound.
const LOAN: Duration = Duration::from_millis(100);

/// A lane may be waited for so many times as long as it held records back for others. Lanes of equal brokers run dry in
/// turns, and not by the clock.
const PATIENCE: u64 = 2;

/// After so long what was waited counts half: brokers become slow, and fast again.
const HALF_LIFE: Duration = Duration::from_secs(4);

/// So often within a bound it is looked again at what is held back: a queue that grows wakes nobody, and one that became
/// full is not fetched for any more.
const LOOKS: u32 = 10;

/// What a lane holds while another that ran dry is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ready {
    /// No record that a poll could return.
    Nothing,
    /// Some. Fetching goes on meanwhile, so holding them back costs no throughput.
    Records,
    /// So many that fetching stops for it soon: holding back may cost it throughput.
    Plenty,
}

/// What a poll should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Return what there is.
    Return,
    /// Look again when a lane has records, and at the time given at the latest.
    Hold(Option<Wakeup>),
}

/// One partition.
#[derive(Debug, Clone, Copy, Default)]
struct Promise {
    /// Records below this offset were promised when its lane ran dry.
    end: Option<i64>,
    /// The last one was not kept: until one is, it is not waited for.
    doubted: bool,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    /// Partitions that delivered and were not looked at since.
    delivered: Vec<PartitionIndex>,
    /// Partitions that are waited for. The lane is empty.
    due: Vec<PartitionIndex>,
    /// Nanoseconds that others were held back for it since it is due.
    kept: u64,
    /// The same, lately.
    waited: u64,
    /// Nanoseconds that its own records were held back for others, lately.
    gave: u64,
}

/// Decides whether a poll waits a moment for lanes that ran dry although their topics hold more
/// records.
///
/// An application that is faster than its brokers empties every lane, and a fetch's answer fills
/// them one by one. A poll that took the first of them would leave the rest for the next poll, and
/// those that come last in every answer would be starved for as many polls as the application
/// makes in a round trip. Such a lane is *due*, not idle. A lane at its topic's end is never waited for.
///
/// # What holds
/// - A wait is over with the first record of every lane that is due, or at the bound.
/// - Waiting takes three quarters of the time at most, beside an allowance of two bounds that may be saved up.
/// - Beside lanes with [`Ready::Plenty`] a lane is waited for as it waits for others: up to twice as long as its own
///   records were held back, lately. Whoever is always last, behind a broker that is slow or far away, costs the others
///   no more than a twentieth of the time, beside a tenth of a second once. Waiting in vain, too, takes a twentieth at
///   most.
/// - A partition of which nothing came below the end that was known of it (the marks of transactions
///   occupy offsets), or that was waited for in vain (its leader may be gone while its lane lives of others), is
///   not waited for again until records came that it had promised. In vain is a bound in all, over however many polls.
///
/// # Who calls what
/// The consumer: [`delivered`](Self::delivered) with what a poll took of each partition. Before the next
/// poll returns: [`has_records`](Self::has_records) for every lane that has, [`ran_dry`](Self::ran_dry) for
/// every other of [`to_look_at`](Self::to_look_at), and [`looked_at`](Self::looked_at) for the partitions which
/// that names; then [`verdict`](Self::verdict). When a poll returns: [`over`](Self::over); one that is given up says
/// nothing.
#[derive(Debug, Clone)]
pub struct Refill {
    bound: Duration,
    partitions: PartitionMap<Promise>,
    lanes: Vec<Lane>,
    since: Option<Timestamp>,
    /// Whom what was held back last was held back for, and whose it was: the time since then is theirs.
    awaited: Vec<LaneIndex>,
    giving: Vec<LaneIndex>,
    /// Whether that time is lent.
    lent: bool,
    /// When the allowance was counted last.
    counted: Timestamp,
    /// When what was waited was halved last.
    halved: Timestamp,
    /// Nanoseconds of waiting; below zero nobody is waited for.
    allowance: i64,
    /// Of those so many may cost others throughput.
    loan: i64,
}

impl Refill {
    /// Waits for at most `bound`; zero never waits.
    #[must_use]
    pub fn new(lanes: usize, bound: Duration) -> Self {
        Self {
            bound,
            partitions: PartitionMap::default(),
            lanes: vec![Lane::default(); lanes],
            since: None,
            awaited: Vec::with_capacity(lanes),
            giving: Vec::with_capacity(lanes),
            lent: false,
            counted: Timestamp::ZERO,
            halved: Timestamp::ZERO,
            allowance: nanos(bound.saturating_mul(SAVED_BOUNDS)),
            loan: nanos(LOAN),
        }
    }

    /// A poll took records of the partition, from this offset on.
    pub fn delivered(&mut self, lane: LaneIndex, partition: PartitionIndex, first: i64) {
        if self.bound.is_zero() {
            return;
        }
        if let Some(promise) = self.partitions.get_mut(partition)
            && let Some(end) = promise.end.take()
        {
            promise.doubted = end <= first;
        }
        let lane = &mut self.lanes[lane.position()];
        // Whatever the lane was waited for, here it is, looked at or not.
        lane.due.clear();
        if !lane.delivered.contains(&partition) {
            lane.delivered.push(partition);
        }
    }

    /// The partition was given back, or is read from elsewhere: what it promised is void.
    pub fn forget(&mut self, partition: PartitionIndex) {
        self.partitions.remove(partition);
        for lane in &mut self.lanes {
            lane.delivered.retain(|other| *other != partition);
            lane.due.retain(|other| *other != partition);
        }
    }

    /// Lanes that may have run dry, or did and are due.
    pub fn to_look_at(&self) -> impl Iterator<Item = LaneIndex> {
        let open = |(_, lane): &(usize, &Lane)| !lane.delivered.is_empty() || lane.is_due();
        self.lanes.iter().enumerate().filter(open).map(|(position, _)| LaneIndex::from_position(position))
    }

    /// The lane holds records: it is not waited for.
    pub fn has_records(&mut self, lane: LaneIndex) {
        self.lanes[lane.position()].due.clear();
    }

    /// The lane is empty. `works`: whether a partition is owned and nothing is known to keep its records
    /// back; those that are waited for and do not are let go. Returns the partitions to look at.
    pub fn ran_dry(
        &mut self,
        lane: LaneIndex,
        works: impl Fn(PartitionIndex) -> bool,
    ) -> Vec<PartitionIndex> {
        let lane = &mut self.lanes[lane.position()];
        lane.due.retain(|partition| works(*partition));
        let mut delivered = std::mem::take(&mut lane.delivered);
        delivered.retain(|partition| works(*partition));
        delivered
    }

    /// A partition of an empty lane: reading goes on at `position`, and the log ends at `end` as far as
    /// is known.
    pub fn looked_at(&mut self, lane: LaneIndex, partition: PartitionIndex, position: i64, end: i64) {
        if position >= end {
            return;
        }
        if self.partitions.get(partition).is_none() {
            self.partitions.insert(partition, Promise::default());
        }
        let Some(promise) = self.partitions.get_mut(partition) else { return };
        promise.end = Some(end);
        if !promise.doubted {
            let lane = &mut self.lanes[lane.position()];
            if !lane.is_due() {
                lane.kept = 0;
            }
            lane.due.push(partition);
        }
    }

    /// Whether some lane is due: only then does it matter what the others hold.
    #[must_use]
    pub fn is_anybody_due(&self) -> bool {
        self.lanes.iter().any(Lane::is_due)
    }

    /// What to do with what there is: what each lane holds. Of no interest where nobody is due.
    pub fn verdict(&mut self, now: Timestamp, ready: &[Ready]) -> Verdict {
        let given_up = self.since.is_some_and(|since| now > since + self.bound.saturating_mul(2));
        self.count(now);
        if given_up || !self.is_anybody_due() || self.allowance <= 0 {
            self.since = None;
            return Verdict::Return;
        }
        if ready.iter().all(|ready| *ready == Ready::Nothing) {
            // The wait begins with the first record that is held back.
            self.since = None;
            return Verdict::Hold(None);
        }
        self.lent = !self.is_returned(ready);
        let left = if self.lent { self.allowance.min(self.loan) } else { self.allowance };
        let until = *self.since.get_or_insert(now) + self.bound;
        if self.was_in_vain() || left <= 0 || now >= until {
            self.since = None;
            return Verdict::Return;
        }
        let lanes = || (0..).map(LaneIndex::from_position).zip(&self.lanes);
        self.awaited.clear();
        self.awaited.extend(lanes().filter(|(_, lane)| lane.is_due()).map(|(index, _)| index));
        self.giving.clear();
        let giving = lanes().zip(ready).filter(|(_, ready)| **ready != Ready::Nothing);
        self.giving.extend(giving.map(|((index, _), _)| index));
        let most = self.lanes.iter().filter(|lane| lane.is_due()).map(|lane| lane.kept).max().unwrap_or(0);
        let left = left.unsigned_abs().min(nanos(self.bound).unsigned_abs() - most);
        let at = until
            .min(now + Duration::from_nanos(left).min((self.bound / LOOKS).max(Duration::from_nanos(1))));
        Verdict::Hold(Some(Wakeup { at, reason: WakeReason::RefillBound }))
    }

    /// Lets go of who was waited for in vain, if somebody was.
    fn was_in_vain(&mut self) -> bool {
        let bound = nanos(self.bound).unsigned_abs();
        let mut any = false;
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_due() && lane.kept >= bound) {
            any = true;
            for partition in lane.due.drain(..) {
                if let Some(promise) = self.partitions.get_mut(partition) {
                    promise.doubted = true;
                }
            }
        }
        if any {
            self.allowance = self.allowance.saturating_sub(nanos(self.bound.saturating_mul(DEAR * EARNED)));
        }
        any
    }

    /// Whether those that are due were held back for others as long as they are waited for, by and large. True where
    /// nobody holds plenty.
    fn is_returned(&self, ready: &[Ready]) -> bool {
        let mut due = self.lanes.iter().filter(|lane| lane.is_due());
        !ready.contains(&Ready::Plenty) || due.all(|lane| lane.waited < lane.gave.saturating_mul(PATIENCE))
    }

    /// The poll returns: nothing is held back any more.
    pub fn over(&mut self, now: Timestamp) {
        self.count(now);
        self.since = None;
    }

    /// Time passes: it is spent while something is held back, and earned otherwise.
    fn count(&mut self, now: Timestamp) {
        let passed = now.since(self.counted);
        self.counted = self.counted.max(now);
        let most = nanos(self.bound.saturating_mul(SAVED_BOUNDS));
        if self.since.is_some() {
            // Longer than the bound nobody waits: the poll was given up meanwhile, and that is nobody's fault.
            let accuses = passed <= self.bound.saturating_mul(2);
            let waited = nanos(passed.min(self.bound));
            self.allowance = self.allowance.saturating_sub(waited);
            if self.lent {
                self.loan = self.loan.saturating_sub(waited);
            }
            let waited = waited.unsigned_abs();
            for lane in &self.awaited {
                let lane = &mut self.lanes[lane.position()];
                lane.waited = lane.waited.saturating_add(waited);
                if accuses && lane.is_due() {
                    lane.kept = lane.kept.saturating_add(waited);
                }
            }
            for lane in &self.giving {
                let lane = &mut self.lanes[lane.position()];
                lane.gave = lane.gave.saturating_add(waited);
            }
        } else {
            self.allowance = self.allowance.saturating_add(nanos(passed.saturating_mul(EARNED))).min(most);
            self.loan = self.loan.saturating_add(nanos(passed / DEAR)).min(nanos(LOAN));
        }
        let halvings = now.since(self.halved).as_nanos() / HALF_LIFE.as_nanos();
        if let Ok(halvings @ 1..) = u32::try_from(halvings) {
            self.halved = self.halved + HALF_LIFE.saturating_mul(halvings);
            for lane in &mut self.lanes {
                lane.waited = lane.waited.checked_shr(halvings).unwrap_or(0);
                lane.gave = lane.gave.checked_shr(halvings).unwrap_or(0);
            }
        }
    }
}

impl Lane {
    const fn is_due(&self) -> bool {
        !self.due.is_empty()
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: LaneIndex = LaneIndex(0);
    const SECOND: LaneIndex = LaneIndex(1);
    const DEEP: PartitionIndex = PartitionIndex(7);
    const BOUND: Duration = Duration::from_millis(50);
    /// What the first lane holds; the second is dry.
    const NOTHING: [Ready; 2] = [Ready::Nothing, Ready::Nothing];
    const RECORDS: [Ready; 2] = [Ready::Records, Ready::Nothing];

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn until(millis: u64) -> Verdict {
        Verdict::Hold(Some(Wakeup { at: at(millis), reason: WakeReason::RefillBound }))
    }

    /// The second lane's partition delivered `first` and those behind it, and ran dry at `position`.
    fn runs_dry(refill: &mut Refill, first: i64, position: i64, end: i64) {
        refill.delivered(SECOND, DEEP, first);
        for partition in refill.ran_dry(SECOND, |_| true) {
            refill.looked_at(SECOND, partition, position, end);
        }
    }

    fn second_is_due() -> Refill {
        let mut refill = Refill::new(2, BOUND);
        runs_dry(&mut refill, 0, 500, 9000);
        refill
    }

    #[test]
    fn a_lane_at_its_end_is_not_waited_for() {
        let mut refill = Refill::new(2, BOUND);
        runs_dry(&mut refill, 0, 500, 500);
        assert_eq!(refill.to_look_at().count(), 0);
        assert_eq!(refill.verdict(at(0), &RECORDS), Verdict::Return);
    }

    #[test]
    fn a_lane_whose_topic_holds_more_is_waited_for_until_it_has_records() {
        let mut refill = second_is_due();
        assert_eq!(refill.verdict(at(1), &RECORDS), until(6), "looked at again");
        assert_eq!(refill.to_look_at().collect::<Vec<_>>(), [SECOND]);
        assert_eq!(refill.ran_dry(SECOND, |_| true), [], "its end is known");
        assert_eq!(refill.verdict(at(48), &RECORDS), until(51), "the bound does not move");
        refill.has_records(SECOND);
        assert_eq!(refill.verdict(at(49), &RECORDS), Verdict::Return);
    }

    #[test]
    fn the_wait_begins_with_the_first_record_that_is_held_back() {
        let mut refill = second_is_due();
        assert_eq!(refill.verdict(at(1), &NOTHING), Verdict::Hold(None));
        assert_eq!(refill.verdict(at(400), &RECORDS), until(405));
        assert_eq!(refill.verdict(at(449), &RECORDS), until(450));
    }

    #[test]
    fn a_poll_that_returned_for_another_reason_leaves_no_wait_behind() {
        let mut refill = second_is_due();
        assert_eq!(refill.verdict(at(0), &RECORDS), until(5));
        refill.over(at(1));
        assert_eq!(refill.verdict(at(40), &RECORDS), until(45));
        assert_eq!(refill.verdict(at(88), &RECORDS), until(89), "1 ms of the bound was waited before");
    }

    #[test]
    fn polls_that_are_shorter_than_the_bound_wait_no_longer_in_all_for_who_does_not_come() {
        let mut refill = second_is_due();
        let (mut held, mut now) = (0, 0);
        while now < 10_000 {
            while let Verdict::Hold(Some(wakeup)) = refill.verdict(at(now), &RECORDS) {
                let end = wakeup.at.min(at(now + 10)).as_nanos().div_ceil(1_000_000);
                held += end - now;
                now = end;
                if now % 10 == 0 {
                    break;
                }
            }
            refill.over(at(now));
            now += 1;
        }
        assert!((40..=60).contains(&held), "{held} ms");
    }

    #[test]
    fn a_poll_that_was_given_up_accuses_nobody() {
        let mut refill = second_is_due();
        assert_eq!(refill.verdict(at(0), &RECORDS), until(5));
        // The program did something else for a second.
        assert_eq!(refill.verdict(at(1000), &RECORDS), Verdict::Return);
        assert_eq!(refill.verdict(at(1001), &RECORDS), until(1006));
        assert_eq!(refill.verdict(at(1050), &RECORDS), until(1051));
    }

    #[test]
    fn records_that_were_taken_without_a_look_end_the_wait() {
        let mut refill = second_is_due();
        refill.delivered(SECOND, DEEP, 600);
        assert_eq!(refill.ran_dry(SECOND, |_| true), [DEEP]);
        refill.looked_at(SECOND, DEEP, 9000, 9000);
        assert_eq!(refill.verdict(at(0), &RECORDS), Verdict::Return);
    }

    #[test]
    fn who_is_paused_fails_or_is_given_back_is_let_go() {
        let mut refill = second_is_due();
        refill.ran_dry(SECOND, |partition| partition != DEEP);
        assert_eq!(refill.verdict(at(0), &RECORDS), Verdict::Return);
        let mut refill = second_is_due();
        refill.forget(DEEP);
        assert_eq!(refill.verdict(at(0), &RECORDS), Verdict::Return);
    }

    #[test]
    fn a_partition_is_looked_at_when_its_lane_runs_dry_though_others_delivered_last() {
        let mut refill = Refill::new(2, BOUND);
        refill.delivered(SECOND, DEEP, 0);
        refill.has_records(SECOND);
        refill.delivered(SECOND, PartitionIndex(8), 0);
        assert_eq!(refill.ran_dry(SECOND, |_| true), [DEEP, PartitionIndex(8)]);
    }

    #[test]
    fn after_a_wait_in_vain_nobody_is_waited_for_twenty_times_as_long() {
        let mut refill = second_is_due();
        assert_eq!(refill.verdict(at(0), &RECORDS), until(5));
        assert_eq!(refill.verdict(at(50), &RECORDS), Verdict::Return);
        refill.delivered(FIRST, PartitionIndex(0), 0);
        let looked_at = refill.ran_dry(FIRST, |_| true);
        refill.looked_at(FIRST, looked_at[0], 100, 9000);
        // 100 ms were saved and 50 spent, so that 2,950 are to be earned.
        assert_eq!(refill.verdict(at(1033), &RECORDS), Verdict::Return);
        assert!(matches!(refill.verdict(at(1034), &RECORDS), Verdict::Hold(Some(_))));
    }

    /// At every poll a lane is dry, its records always 10 ms away, and the first lane, or for that the second, holds what
    /// `ready` says. How long, of ten seconds, is that held back for each lane?
    fn held_back(lanes: usize, dry: impl Fn(i64) -> usize, ready: Ready) -> Vec<u64> {
        let mut refill = Refill::new(lanes, BOUND);
        let (mut now, mut held) = (0, vec![0; lanes]);
        for poll in 0.. {
            let lane = dry(poll);
            let partition = PartitionIndex(u32::try_from(lane).unwrap());
            let mut holds = vec![Ready::Nothing; lanes];
            holds[usize::from(lane == 0)] = ready;
            let lane = LaneIndex::from_position(lane);
            refill.delivered(lane, partition, poll);
            for partition in refill.ran_dry(lane, |_| true) {
                refill.looked_at(lane, partition, poll + 1, poll + 1000);
            }
            // As the consumer asks: when it begins to wait, and when something happened.
            let come = now + 10;
            while now < come
                && let Verdict::Hold(Some(wakeup)) = refill.verdict(at(now), &holds)
            {
                let end = at(come).min(wakeup.at).as_nanos().div_ceil(1_000_000);
                held[lane.position()] += end - now;
                now = end;
            }
            refill.has_records(lane);
            assert_eq!(refill.verdict(at(now), &[]), Verdict::Return);
            refill.over(at(now));
            now += 1;
            if now >= 10_000 {
                break;
            }
        }
        held
    }

    #[test]
    fn waiting_takes_three_quarters_of_the_time_at_most_and_a_twentieth_for_who_is_always_last() {
        let (free, dear) = (held_back(2, |_| 1, Ready::Records)[1], held_back(2, |_| 1, Ready::Plenty)[1]);
        assert!((7_000..=7_700).contains(&free), "{free} ms of 10,000");
        assert!((200..=600).contains(&dear), "{dear} ms of 10,000");
    }

    #[test]
    fn lanes_that_run_dry_in_turns_are_waited_for_though_the_other_holds_plenty() {
        let alternately = |poll: i64| usize::from(poll % 2 == 0);
        let in_runs = |poll: i64| usize::from((poll / 5) % 2 == 0);
        for held in [held_back(2, alternately, Ready::Plenty), held_back(2, in_runs, Ready::Plenty)] {
            assert!((7_000..=7_700).contains(&held.iter().sum::<u64>()), "{held:?} ms of 10,000");
        }
    }

    #[test]
    fn that_others_wait_for_each_other_is_nothing_to_who_is_always_last() {
        let held = held_back(3, |poll| [0, 1, 2, 2][usize::try_from(poll % 4).unwrap()], Ready::Plenty);
        assert!(held[2] <= 100 + 10_000 / 20 && held[0] + held[1] > 3_000, "{held:?} ms of 10,000");
    }

    #[test]
    fn who_is_last_far_more_often_than_another_is_waited_for_twice_as_long_and_no_longer() {
        let held = held_back(2, |poll| usize::from(poll % 11 > 0), Ready::Plenty);
        // A tenth of a second and a twentieth of the time that nobody waits are lent.
        let most = 2 * held[0] + 100 + 10_000 / 20;
        assert!((held[0]..=most).contains(&held[1]), "{held:?} ms of 10,000");
    }

    #[test]
    fn who_does_not_keep_a_promise_is_not_believed_until_it_keeps_one() {
        let mut refill = Refill::new(2, BOUND);
        let waits = |refill: &mut Refill, at| {
            let waits = refill.verdict(at, &RECORDS) != Verdict::Return;
            refill.has_records(SECOND);
            refill.over(at);
            waits
        };
        for delivery in 0..40_i64 {
            // The mark of a transaction: an offset without a record, again and again.
            let (first, now) = (2 * delivery, at(u64::try_from(delivery).unwrap() * 2000));
            runs_dry(&mut refill, first, first + 1, first + 2);
            assert_eq!(waits(&mut refill, now), delivery == 0, "also if other records end the wait");
        }
        runs_dry(&mut refill, 80, 81, 9000);
        assert!(!waits(&mut refill, at(80_000)));
        runs_dry(&mut refill, 81, 82, 9000);
        assert!(waits(&mut refill, at(81_000)));
    }

    #[test]
    fn a_partition_that_was_waited_for_in_vain_holds_up_its_lane_once() {
        let (alive, mut refill) = (PartitionIndex(8), second_is_due());
        assert!(refill.verdict(at(0), &RECORDS) != Verdict::Return);
        assert_eq!(refill.verdict(at(50), &RECORDS), Verdict::Return);
        refill.delivered(SECOND, alive, 0);
        assert_eq!(refill.ran_dry(SECOND, |_| true), [alive]);
        refill.looked_at(SECOND, alive, 1, 1);
        assert_eq!(refill.verdict(at(5000), &RECORDS), Verdict::Return);
    }

    #[test]
    fn a_bound_of_zero_never_waits() {
        let mut refill = Refill::new(2, Duration::ZERO);
        runs_dry(&mut refill, 0, 500, 9000);
        assert_eq!(refill.to_look_at().count(), 0);
        assert_eq!(refill.verdict(at(0), &RECORDS), Verdict::Return);
    }
}
