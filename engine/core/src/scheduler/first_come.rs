//! First come, first served: the sabotage.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use super::{Readiness, Schedule};
use crate::lane::{LaneConfig, LaneIndex, LaneState};

/// Lanes in the order in which they became ready; the first is served until it is empty, however
/// long that takes. One cap for the whole poll, the largest quantum, as in `single`.
#[derive(Debug, Clone, Default)]
pub(crate) struct FirstComeFirstServed {
    lanes: Vec<Lane>,
    order: VecDeque<LaneIndex>,
    ready_count: u32,
    poll: u64,
    cap: u32,
}

#[derive(Debug, Clone)]
struct Lane {
    readiness: Readiness,
    ran_empty_in_poll: u64,
    is_queued: bool,
}

impl FirstComeFirstServed {
    fn update(&mut self, lane: LaneIndex, change: impl FnOnce(&mut Readiness)) {
        let entry = &mut self.lanes[lane.position()];
        let before = entry.readiness.is_eligible();
        change(&mut entry.readiness);
        let after = entry.readiness.is_eligible();
        if after && !entry.is_queued {
            entry.is_queued = true;
            self.order.push_back(lane);
        }
        self.ready_count = self.ready_count + u32::from(after) - u32::from(before);
    }

    fn pop_front(&mut self) {
        if let Some(lane) = self.order.pop_front() {
            self.lanes[lane.position()].is_queued = false;
        }
    }
}

impl Schedule for FirstComeFirstServed {
    fn add_lane(&mut self, config: LaneConfig) {
        self.lanes.push(Lane { readiness: Readiness::default(), ran_empty_in_poll: 0, is_queued: false });
        self.cap = self.cap.max(config.quantum());
        self.order.reserve(self.lanes.len() - self.order.len());
    }

    fn ready(&mut self, lane: LaneIndex) {
        self.update(lane, Readiness::note_ready);
    }

    fn pause(&mut self, lane: LaneIndex) {
        self.update(lane, |readiness| readiness.paused = true);
    }

    fn resume(&mut self, lane: LaneIndex) {
        self.update(lane, |readiness| readiness.paused = false);
    }

    /// Its only limit is that of the whole poll.
    fn set_quantum(&mut self, _lane: LaneIndex, quantum: NonZeroU32) {
        self.cap = self.cap.max(quantum.get());
    }

    fn state(&self, lane: LaneIndex) -> LaneState {
        self.lanes[lane.position()].readiness.state()
    }

    fn ready_count(&self) -> u32 {
        self.ready_count
    }

    fn poll_cap(&self) -> Option<u32> {
        Some(self.cap)
    }

    fn begin_poll(&mut self) {
        self.poll += 1;
    }

    fn offer(&mut self, available: u32) -> Option<(LaneIndex, u32)> {
        loop {
            let lane = *self.order.front()?;
            let entry = &mut self.lanes[lane.position()];
            if !entry.readiness.is_eligible() {
                self.pop_front();
                continue;
            }
            // Refilled while this poll runs; whoever stands behind it did so too.
            if entry.ran_empty_in_poll == self.poll {
                return None;
            }
            entry.readiness.note_offer();
            return Some((lane, available));
        }
    }

    fn settle(&mut self, lane: LaneIndex, offered: u32, taken: u32) {
        if taken < offered {
            self.pop_front();
            self.lanes[lane.position()].ran_empty_in_poll = self.poll;
            self.update(lane, Readiness::note_ran_empty);
        }
    }

    fn end_poll(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn lanes(count: u32) -> FirstComeFirstServed {
        let mut policy = FirstComeFirstServed::default();
        for _ in 0..count {
            policy.add_lane(LaneConfig::with_quota(NonZeroU32::new(10).unwrap()));
        }
        policy
    }

    #[test]
    fn the_first_lane_is_emptied_before_the_second_gets_anything() {
        let mut policy = lanes(2);
        policy.ready(LaneIndex(1));
        policy.ready(LaneIndex(0));
        for _ in 0..3 {
            policy.begin_poll();
            assert_eq!(policy.offer(10), Some((LaneIndex(1), 10)));
            policy.settle(LaneIndex(1), 10, 10);
            policy.end_poll();
        }
        policy.begin_poll();
        assert_eq!(policy.offer(10), Some((LaneIndex(1), 10)));
        policy.settle(LaneIndex(1), 10, 4);
        assert_eq!(policy.offer(6), Some((LaneIndex(0), 6)));
    }

    #[test]
    fn a_lane_that_refills_in_a_poll_waits_for_the_next() {
        let mut policy = lanes(1);
        policy.ready(LaneIndex(0));
        policy.begin_poll();
        assert_eq!(policy.offer(10), Some((LaneIndex(0), 10)));
        policy.ready(LaneIndex(0));
        policy.settle(LaneIndex(0), 10, 4);
        assert_eq!(policy.offer(6), None);
        policy.begin_poll();
        assert_eq!(policy.offer(10), Some((LaneIndex(0), 10)));
        assert_eq!(policy.ready_count(), 1);
    }

    #[test]
    fn the_cap_of_a_poll_is_the_largest_quantum() {
        assert_eq!(lanes(3).poll_cap(), Some(10));
    }
}
