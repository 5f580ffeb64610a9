//! A lane that ran dry: is its topic at its end, or is the rest still on its way?

use std::time::Duration;

use crate::lane::LaneIndex;
use crate::time::{Timestamp, WakeReason, Wakeup};

/// After a wait in vain nobody is waited for this many times as long: whatever a broker does, waiting
/// costs the other topics less than a twentieth of the time.
const REST: u32 = 20;

/// A lane that was waited for in vain this often in a row is let off 2ⁿ − 1 runs; more than this many
/// doublings would be for ever.
const MOST_DOUBLINGS: u32 = 10;

/// One lane, between two looks.
#[derive(Debug, Clone, Copy, Default)]
struct Dry {
    /// It delivered since it was last looked at: whether it ran dry is to be found out.
    delivered: bool,
    /// It ran dry, and its partitions hold more.
    due: bool,
    /// How often in a row waiting for it was in vain.
    vain: u32,
    /// How often it may still run dry without being waited for.
    let_off: u32,
}

/// Decides whether a poll waits a moment for lanes that ran dry although their topics hold more
/// records.
///
/// An application that is faster than its brokers empties every lane, and a fetch's answer fills
/// them one by one. A poll that took the first of them would leave the rest for the next poll, and
/// those that come last in every answer would be starved for as many polls as the application
/// makes in a round trip. Such a lane is *due*, not idle; waiting for it costs no throughput, since
/// everything that is here was waited for anyway, and fetching goes on meanwhile. A lane at its
/// topic's end is never waited for.
///
/// The wait has a bound. What was waited for in vain (its broker is slow or down, or what looks like
/// records are the marks of transactions) is not waited for again until it delivered, then 1, 3,
/// 7, … deliveries later; and after a wait in vain nobody is waited for during twenty times the
/// bound.
///
/// # Who calls what
/// The consumer: [`delivered`](Self::delivered) for each lane that contributed to a poll. Before the
/// next, for every lane of [`to_look_at`](Self::to_look_at): [`holds_records`](Self::holds_records),
/// [`is_due`](Self::is_due) or [`is_idle`](Self::is_idle), whichever it finds; then
/// [`waiting`](Self::waiting). All of them are idempotent.
#[derive(Debug, Clone)]
pub struct Refill {
    bound: Duration,
    lanes: Vec<Dry>,
    since: Option<Timestamp>,
    rests_until: Timestamp,
}

impl Refill {
    /// Waits for at most `bound`; zero never waits.
    #[must_use]
    pub fn new(lanes: usize, bound: Duration) -> Self {
        Self { bound, lanes: vec![Dry::default(); lanes], since: None, rests_until: Timestamp::ZERO }
    }

    /// The lane contributed to a poll.
    pub fn delivered(&mut self, lane: LaneIndex) {
        if !self.bound.is_zero() {
            self.lanes[lane.position()].delivered = true;
        }
    }

    /// Lanes that may have run dry, or did and are due.
    pub fn to_look_at(&self) -> impl Iterator<Item = LaneIndex> {
        let open = |(_, lane): &(usize, &Dry)| lane.delivered || lane.due;
        self.lanes.iter().enumerate().filter(open).map(|(position, _)| LaneIndex::from_position(position))
    }

    /// Whether some lane is due: only then does it matter whether another has records.
    #[must_use]
    pub fn is_anybody_due(&self) -> bool {
        self.lanes.iter().any(|lane| lane.due)
    }

    /// The lane holds records.
    pub fn holds_records(&mut self, lane: LaneIndex) {
        let lane = &mut self.lanes[lane.position()];
        if lane.due {
            (lane.vain, lane.let_off) = (0, 0);
        }
        (lane.delivered, lane.due) = (false, false);
    }

    /// The lane is empty, and a partition of it that is owned and works holds more.
    pub fn is_due(&mut self, lane: LaneIndex) {
        let lane = &mut self.lanes[lane.position()];
        if std::mem::take(&mut lane.delivered) {
            match lane.let_off.checked_sub(1) {
                Some(left) => lane.let_off = left,
                None => lane.due = true,
            }
        }
    }

    /// The lane is empty and nothing is to come: its topic is at its end, paused, fails, or was given
    /// back.
    pub fn is_idle(&mut self, lane: LaneIndex) {
        let lane = &mut self.lanes[lane.position()];
        (lane.delivered, lane.due) = (false, false);
    }

    /// When the wait that is on ends at the latest; `None`: nobody is waited for.
    #[must_use]
    pub fn wakeup(&self) -> Option<Wakeup> {
        let bound = |since| Wakeup { at: since + self.bound, reason: WakeReason::RefillBound };
        self.since.map(bound)
    }

    /// `None`: return what there is. Otherwise look again at the time given, or as soon as a lane
    /// has records. `ready`: whether any lane has; the wait begins with the first record that is
    /// held back for it, so without one there is nothing to decide.
    pub fn waiting(&mut self, now: Timestamp, ready: bool) -> Option<Wakeup> {
        if !ready || !self.is_anybody_due() || now < self.rests_until {
            self.since = None;
            return None;
        }
        self.since.get_or_insert(now);
        if let Some(wakeup) = self.wakeup().filter(|wakeup| now < wakeup.at) {
            return Some(wakeup);
        }
        self.since = None;
        self.rests_until = now + self.bound.saturating_mul(REST);
        for lane in self.lanes.iter_mut().filter(|lane| lane.due) {
            lane.due = false;
            lane.vain = (lane.vain + 1).min(MOST_DOUBLINGS);
            lane.let_off = (1 << lane.vain) - 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: LaneIndex = LaneIndex(0);
    const SECOND: LaneIndex = LaneIndex(1);
    const BOUND: Duration = Duration::from_millis(50);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Both lanes delivered; the second ran dry and its topic holds more.
    fn second_is_due() -> Refill {
        let mut refill = Refill::new(2, BOUND);
        runs_dry(&mut refill);
        refill
    }

    fn runs_dry(refill: &mut Refill) {
        refill.delivered(FIRST);
        refill.delivered(SECOND);
        refill.holds_records(FIRST);
        refill.is_due(SECOND);
    }

    #[test]
    fn a_lane_at_its_end_is_not_waited_for() {
        let mut refill = Refill::new(2, BOUND);
        refill.delivered(SECOND);
        refill.is_idle(SECOND);
        assert_eq!(refill.to_look_at().count(), 0);
        assert_eq!(refill.waiting(at(0), true), None);
    }

    #[test]
    fn a_lane_whose_topic_holds_more_is_waited_for_until_it_has_records() {
        let mut refill = second_is_due();
        let bound = Wakeup { at: at(51), reason: WakeReason::RefillBound };
        assert_eq!(refill.waiting(at(1), true), Some(bound));
        assert_eq!(refill.to_look_at().collect::<Vec<_>>(), [SECOND]);
        refill.is_due(SECOND);
        assert_eq!(refill.waiting(at(20), true), Some(bound), "the bound does not move");
        refill.holds_records(SECOND);
        assert_eq!(refill.waiting(at(21), true), None);
    }

    #[test]
    fn the_wait_begins_with_the_first_record_that_is_held_back() {
        let mut refill = second_is_due();
        assert_eq!(refill.waiting(at(1), false), None);
        assert_eq!(refill.waiting(at(400), true).map(|wakeup| wakeup.at), Some(at(450)));
    }

    #[test]
    fn after_a_wait_in_vain_nobody_is_waited_for_twenty_times_as_long() {
        let mut refill = second_is_due();
        assert!(refill.waiting(at(0), true).is_some());
        assert_eq!(refill.waiting(at(50), true), None);
        refill.delivered(FIRST);
        refill.is_due(FIRST);
        assert_eq!(refill.waiting(at(1049), true), None);
        assert!(refill.waiting(at(1050), true).is_some());
    }

    #[test]
    fn who_is_waited_for_in_vain_again_and_again_is_waited_for_ever_more_rarely() {
        let mut refill = Refill::new(2, BOUND);
        let mut waits = Vec::new();
        for delivery in 0..40_u64 {
            let now = at(delivery * 2000);
            runs_dry(&mut refill);
            if refill.waiting(now, true).is_some() {
                waits.push(delivery);
                assert_eq!(refill.waiting(now + BOUND, true), None);
            }
        }
        assert_eq!(waits, [0, 2, 6, 14, 30]);
    }

    #[test]
    fn who_comes_when_waited_for_is_forgiven() {
        let mut refill = second_is_due();
        assert!(refill.waiting(at(0), true).is_some());
        assert_eq!(refill.waiting(at(50), true), None);
        runs_dry(&mut refill);
        runs_dry(&mut refill);
        assert!(refill.waiting(at(2000), true).is_some(), "let off once");
        refill.holds_records(SECOND);
        runs_dry(&mut refill);
        assert!(refill.waiting(at(2010), true).is_some());
    }

    #[test]
    fn a_bound_of_zero_never_waits() {
        let mut refill = Refill::new(2, Duration::ZERO);
        runs_dry(&mut refill);
        assert_eq!(refill.to_look_at().count(), 0);
        assert_eq!(refill.waiting(at(0), true), None);
    }
}
