//! Deficit round robin with a visit of new lanes first.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use super::{Readiness, Schedule};
use crate::lane::{LaneConfig, LaneIndex, LaneState};
use crate::quota::QuotaLedger;

/// The ring.
///
/// A *visit* gives a lane one quantum. It ends when the quantum is used or the lane ran empty (the
/// deficit is then reset), and a visit that the poll's cap interrupts goes on in the next poll
/// before anything else. At the end of every visit the lane stands at the end of the ring, even if
/// it is empty; it leaves the ring only when its turn comes and it still is. While it stands there
/// it is not *new*, so between two visits of one lane every other lane has at most one, new or not:
/// lanes that empty and fill in quick succession cannot shut out a backlogged one.
///
/// Finishing an interrupted visit before new lanes is what keeps |Sᵢ/qᵢ − Sⱼ/qⱼ| ≤ 1 over every
/// interval: were a new lane let in between, it could have two visits against a part of one.
///
/// Within a poll a lane gets at most its quantum, and none after it ran empty: a poll ends even if
/// records come as fast as they are taken. Lanes at the front of the ring that had their share
/// mean that everybody behind them had it too, because the visits of this poll put them there in
/// this order; so one look at the front decides, and an offer costs O(1) amortised. Nothing is
/// allocated but in `add_lane`: every lane stands in at most one of the two queues.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeficitRoundRobin {
    lanes: Vec<Lane>,
    current: Option<LaneIndex>,
    fresh: VecDeque<LaneIndex>,
    ring: VecDeque<LaneIndex>,
    ready_count: u32,
    poll: u64,
    in_poll: bool,
    /// The lane that is being served ahead of its turn.
    ahead: Option<LaneIndex>,
}

#[derive(Debug, Clone)]
struct Lane {
    readiness: Readiness,
    quantum: u32,
    /// What is left of the visit in progress; 0 otherwise.
    deficit: u32,
    /// What the lane may have of poll `seen_in_poll`.
    quota: QuotaLedger,
    /// The last poll in which the lane had a turn. Quotas are refilled by comparing it, not by
    /// walking all lanes when a poll begins.
    seen_in_poll: u64,
    ran_empty: bool,
    is_queued: bool,
    /// The last poll in which it was served ahead of its turn, until its turn came.
    ahead_in_poll: u64,
}

impl DeficitRoundRobin {
    fn lane(&mut self, lane: LaneIndex) -> &mut Lane {
        &mut self.lanes[lane.position()]
    }

    /// Applies a change to what is known of a lane, and keeps the count and the queues in step.
    fn update(&mut self, lane: LaneIndex, change: impl FnOnce(&mut Readiness)) {
        let (poll, in_poll) = (self.poll, self.in_poll);
        let entry = self.lane(lane);
        let before = entry.readiness.is_eligible();
        change(&mut entry.readiness);
        let after = entry.readiness.is_eligible();
        let enqueue = after && !entry.is_queued;
        // Had its turn in this very poll: it may not go first in it again.
        let had_turn = in_poll && entry.seen_in_poll == poll;
        entry.is_queued |= enqueue;
        self.ready_count = self.ready_count + u32::from(after) - u32::from(before);
        if enqueue {
            if had_turn { self.ring.push_back(lane) } else { self.fresh.push_back(lane) }
        }
    }

    fn finish_visit(&mut self, lane: LaneIndex) {
        self.lane(lane).deficit = 0;
        self.current = None;
        self.ring.push_back(lane);
    }

    /// The lane's turn begins, or its next one in a poll: its quota is whole in a new poll.
    fn enter_poll(&mut self, lane: LaneIndex) -> &mut Lane {
        let poll = self.poll;
        let entry = self.lane(lane);
        if entry.seen_in_poll != poll {
            entry.seen_in_poll = poll;
            entry.ran_empty = false;
            entry.quota.refill();
        }
        entry
    }

    /// Up to one quantum for a lane that is ready, whosever turn it is; settled like any offer. The
    /// lane keeps its place in the ring, and when that comes to the front in the same poll it is the
    /// next one's turn. A visit of the lane that was interrupted goes on instead.
    pub(super) fn offer_ahead_of_turn(&mut self, lane: LaneIndex, available: u32) -> Option<u32> {
        if self.current == Some(lane) {
            return self.offer(available).map(|(_, offered)| offered);
        }
        let poll = self.poll;
        let entry = self.enter_poll(lane);
        if entry.ran_empty || entry.quota.available() == 0 {
            return None;
        }
        let offered = entry.quantum.min(available);
        // Fits: a ledger grants no more than it was asked for.
        let offered = u32::try_from(entry.quota.grant(u64::from(offered))).unwrap_or(offered);
        entry.readiness.note_offer();
        entry.ahead_in_poll = poll;
        self.ahead = Some(lane);
        Some(offered)
    }

    /// Whether the lane at the front was served ahead of this turn in this poll: it goes to the end of
    /// the ring, and whoever stands behind it need not have had a turn.
    fn passes_on_its_turn(&mut self, lane: LaneIndex) -> bool {
        let poll = self.poll;
        let entry = self.lane(lane);
        if entry.ahead_in_poll != poll {
            return false;
        }
        entry.ahead_in_poll = 0;
        if self.fresh.pop_front().is_none() {
            self.ring.pop_front();
        }
        self.ring.push_back(lane);
        true
    }

    /// Drops lanes without records from the fronts and returns whose turn it is.
    fn front(&mut self) -> Option<LaneIndex> {
        loop {
            let lane = self.current.or(self.fresh.front().copied()).or(self.ring.front().copied())?;
            if self.lane(lane).readiness.is_eligible() {
                return Some(lane);
            }
            if self.current.is_some() {
                // Paused in the middle of a visit: it keeps a place in the ring like everybody
                // whose visit ended, or pausing and resuming would buy a visit as a new lane.
                self.finish_visit(lane);
                continue;
            }
            if self.fresh.pop_front().is_none() {
                self.ring.pop_front();
            }
            self.lane(lane).is_queued = false;
        }
    }
}

impl Schedule for DeficitRoundRobin {
    fn add_lane(&mut self, config: LaneConfig) {
        let quantum = config.quantum();
        self.lanes.push(Lane {
            readiness: Readiness::default(),
            quantum,
            deficit: 0,
            quota: QuotaLedger::new(u64::from(quantum)),
            seen_in_poll: 0,
            ran_empty: false,
            is_queued: false,
            ahead_in_poll: 0,
        });
        let lanes = self.lanes.len();
        self.fresh.reserve(lanes - self.fresh.len());
        self.ring.reserve(lanes - self.ring.len());
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

    fn set_quantum(&mut self, lane: LaneIndex, quantum: NonZeroU32) {
        let entry = self.lane(lane);
        entry.quantum = quantum.get();
        entry.deficit = entry.deficit.min(entry.quantum);
        entry.quota = QuotaLedger::new(u64::from(entry.quantum));
    }

    fn state(&self, lane: LaneIndex) -> LaneState {
        self.lanes[lane.position()].readiness.state()
    }

    fn ready_count(&self) -> u32 {
        self.ready_count
    }

    fn poll_cap(&self) -> Option<u32> {
        None
    }

    fn begin_poll(&mut self) {
        self.poll += 1;
        self.in_poll = true;
    }

    fn offer(&mut self, available: u32) -> Option<(LaneIndex, u32)> {
        let lane = loop {
            let lane = self.front()?;
            let entry = self.enter_poll(lane);
            if !entry.ran_empty && entry.quota.available() > 0 {
                break lane;
            }
            if !self.passes_on_its_turn(lane) {
                return None;
            }
        };
        let starts_visit = self.current.is_none();
        let entry = self.lane(lane);
        if starts_visit {
            entry.deficit = entry.quantum;
        }
        let offered = entry.deficit.min(available);
        // Fits: a ledger grants no more than it was asked for.
        let offered = u32::try_from(entry.quota.grant(u64::from(offered))).unwrap_or(offered);
        entry.readiness.note_offer();
        if starts_visit {
            if self.fresh.pop_front().is_none() {
                self.ring.pop_front();
            }
            self.current = Some(lane);
        }
        Some((lane, offered))
    }

    fn settle(&mut self, lane: LaneIndex, offered: u32, taken: u32) {
        let ahead_of_turn = self.ahead.take().is_some();
        let entry = self.lane(lane);
        entry.quota.give_back(u64::from(offered - taken));
        if ahead_of_turn {
            if taken < offered {
                entry.ran_empty = true;
                self.update(lane, Readiness::note_ran_empty);
            }
            return;
        }
        entry.deficit -= taken;
        if taken < offered {
            entry.ran_empty = true;
            self.finish_visit(lane);
            self.update(lane, Readiness::note_ran_empty);
        } else if entry.deficit == 0 {
            self.finish_visit(lane);
        }
    }

    fn end_poll(&mut self) {
        self.in_poll = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(quotas: &[u32]) -> DeficitRoundRobin {
        let mut ring = DeficitRoundRobin::default();
        for quota in quotas {
            ring.add_lane(LaneConfig::with_quota(NonZeroU32::new(*quota).unwrap()));
        }
        ring
    }

    /// Polls with a cap; every lane takes what it is offered, at most `queued` records.
    fn poll(ring: &mut DeficitRoundRobin, mut cap: u32, queued: &mut [u32]) -> Vec<(u32, u32)> {
        let mut served = Vec::new();
        ring.begin_poll();
        while cap > 0
            && let Some((lane, offered)) = ring.offer(cap)
        {
            let taken = offered.min(queued[lane.position()]);
            queued[lane.position()] -= taken;
            cap -= taken;
            ring.settle(lane, offered, taken);
            served.push((lane.0, taken));
        }
        ring.end_poll();
        served
    }

    #[test]
    fn a_new_lane_goes_ahead_of_the_ring() {
        let mut ring = ring(&[10, 10, 10]);
        let mut queued = [100, 100, 0];
        ring.ready(LaneIndex(0));
        ring.ready(LaneIndex(1));
        assert_eq!(poll(&mut ring, 10, &mut queued), [(0, 10)]);
        ring.ready(LaneIndex(2));
        queued[2] = 1;
        // Lane 1 is new too, and came before.
        assert_eq!(poll(&mut ring, 12, &mut queued), [(1, 10), (2, 1), (0, 1)]);
        assert_eq!(poll(&mut ring, 15, &mut queued), [(0, 9), (1, 6)]);
    }

    #[test]
    fn an_interrupted_visit_goes_on_before_a_new_lane() {
        let mut ring = ring(&[10, 10]);
        let mut queued = [100, 100];
        ring.ready(LaneIndex(0));
        assert_eq!(poll(&mut ring, 4, &mut queued), [(0, 4)]);
        ring.ready(LaneIndex(1));
        assert_eq!(poll(&mut ring, 20, &mut queued), [(0, 6), (1, 10), (0, 4)]);
    }

    #[test]
    fn a_poll_without_a_cap_gives_every_lane_its_quantum_once() {
        let mut ring = ring(&[10, 20, 30]);
        let mut queued = [100, 100, 5];
        for lane in 0..3 {
            ring.ready(LaneIndex(lane));
        }
        assert_eq!(poll(&mut ring, u32::MAX, &mut queued), [(0, 10), (1, 20), (2, 5)]);
        assert_eq!(poll(&mut ring, u32::MAX, &mut queued), [(0, 10), (1, 20)]);
    }

    #[test]
    fn a_record_that_arrives_between_take_and_settle_is_not_forgotten() {
        let mut ring = ring(&[10]);
        ring.ready(LaneIndex(0));
        ring.begin_poll();
        let (lane, offered) = ring.offer(u32::MAX).unwrap();
        ring.ready(lane);
        ring.settle(lane, offered, 3);
        assert_eq!(ring.offer(u32::MAX), None, "it ran empty in this poll");
        ring.end_poll();
        assert_eq!(ring.state(lane), LaneState::Ready);
        assert_eq!(poll(&mut ring, u32::MAX, &mut [1]), [(0, 1)]);
    }

    #[test]
    fn a_lane_paused_in_the_middle_of_a_visit_gains_nothing_by_it() {
        let mut ring = ring(&[10, 10]);
        let mut queued = [100, 100];
        ring.ready(LaneIndex(0));
        ring.ready(LaneIndex(1));
        assert_eq!(poll(&mut ring, 4, &mut queued), [(0, 4)]);
        ring.pause(LaneIndex(0));
        assert_eq!(ring.state(LaneIndex(0)), LaneState::Paused);
        assert_eq!(poll(&mut ring, 5, &mut queued), [(1, 5)]);
        ring.resume(LaneIndex(0));
        assert_eq!(poll(&mut ring, 15, &mut queued), [(1, 5), (0, 10)]);
    }

    #[test]
    fn lanes_that_keep_filling_do_not_shut_out_a_backlogged_one() {
        let mut ring = ring(&[10; 11]);
        let mut queued = [1_000, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5];
        for lane in 0..11 {
            ring.ready(LaneIndex(lane));
        }
        let mut served = 0;
        for _ in 0..60 {
            served += poll(&mut ring, 10, &mut queued).iter().filter(|(lane, _)| *lane == 0).count();
            for lane in 1..11 {
                queued[lane as usize] = 5;
                ring.ready(LaneIndex(lane));
            }
        }
        assert!(served >= 10, "60 polls of 10 records serve 600, a ring has 60: {served} turns");
    }

    #[test]
    fn steady_state_does_not_allocate_queue_space() {
        let mut ring = ring(&[1; 64]);
        for lane in 0..64 {
            ring.ready(LaneIndex(lane));
        }
        let space = (ring.fresh.capacity(), ring.ring.capacity());
        for _ in 0..200 {
            poll(&mut ring, 7, &mut [u32::MAX; 64]);
        }
        assert_eq!((ring.fresh.capacity(), ring.ring.capacity()), space);
    }
}
