//! Strict priority between classes of lanes, with a guard against starvation.

use std::num::NonZeroU32;

use super::deficit_round_robin::DeficitRoundRobin;
use super::{LaneConfig, LaneIndex, LaneState, Schedule};

/// A ring for each class of equal priority. A poll serves a class only after every lane of the classes
/// above had its quantum or ran empty, so with a budget the upper ones leave the lower what they do not
/// need; without one everybody is served in every poll, as in a single ring.
///
/// The guard: a lane with records that got nothing in `guard_polls` consecutive polls is served one
/// quantum ahead of everything, the one that waits longest first. One lane in a poll, and none in the
/// poll after that: however many lanes starve, the upper classes keep every other poll to themselves.
/// So no lane with records goes unserved for more than `guard_polls` + 2 · lanes polls. Whom the guard
/// serves has had its turn of that poll, and keeps its place in its ring.
///
/// With one class there is nobody to be guarded from: it is the plain ring, grant by grant.
///
/// Who waits longest is the first in a line that a lane joins with its first record and that it goes to
/// the end of when it is served. The line is linked through the lanes, so that all of this costs O(1);
/// an offer looks at each class at most once.
#[derive(Debug, Clone)]
pub(crate) struct PriorityWithGuard {
    /// The highest first.
    classes: Vec<Class>,
    /// By lane.
    places: Vec<Place>,
    line: WaitingLine,
    guard_polls: u64,
    /// The first poll in which the guard may act again.
    guard_rests_until: u64,
    poll: u64,
    /// The classes before this one have nothing to offer in this poll.
    at_class: usize,
}

#[derive(Debug, Clone)]
struct Class {
    priority: u8,
    ring: DeficitRoundRobin,
    /// Of each lane of the ring, which lane it is.
    lanes: Vec<LaneIndex>,
}

/// Where a lane stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    class: usize,
    in_ring: LaneIndex,
}

impl PriorityWithGuard {
    pub(crate) fn new(guard_polls: NonZeroU32) -> Self {
        Self {
            classes: Vec::new(),
            places: Vec::new(),
            line: WaitingLine::default(),
            guard_polls: u64::from(guard_polls.get()),
            guard_rests_until: 0,
            poll: 0,
            at_class: 0,
        }
    }

    /// Applies a change to a lane's ring, and keeps the line and the look at classes in step.
    fn change(&mut self, lane: LaneIndex, change: impl FnOnce(&mut DeficitRoundRobin, LaneIndex)) {
        let Place { class, in_ring } = self.places[lane.position()];
        change(&mut self.classes[class].ring, in_ring);
        self.at_class = self.at_class.min(class);
        match (self.state(lane), self.line.has(lane)) {
            (LaneState::Ready, false) => self.line.join(lane, self.poll),
            (LaneState::Empty | LaneState::Paused, true) => self.line.leave(lane),
            _ => {}
        }
    }

    /// The lane that starves, if it is the guard's turn.
    fn starving(&self) -> Option<LaneIndex> {
        if self.classes.len() < 2 || self.poll < self.guard_rests_until {
            return None;
        }
        let (lane, since) = self.line.first()?;
        (self.poll - since > self.guard_polls).then_some(lane)
    }

    /// The class of a priority, made where it is missing.
    fn class_of(&mut self, priority: u8) -> usize {
        let position = self.classes.iter().position(|class| class.priority <= priority);
        let position = position.unwrap_or(self.classes.len());
        if self.classes.get(position).is_none_or(|class| class.priority != priority) {
            let class = Class { priority, ring: DeficitRoundRobin::default(), lanes: Vec::new() };
            self.classes.insert(position, class);
            for place in self.places.iter_mut().filter(|place| place.class >= position) {
                place.class += 1;
            }
        }
        position
    }
}

impl Schedule for PriorityWithGuard {
    fn add_lane(&mut self, config: LaneConfig) {
        let class = self.class_of(config.priority);
        let Class { ring, lanes, .. } = &mut self.classes[class];
        let in_ring = LaneIndex::from_position(lanes.len());
        lanes.push(LaneIndex::from_position(self.places.len()));
        ring.add_lane(config);
        self.places.push(Place { class, in_ring });
        self.line.add_lane();
        // A class may have come in before the one that a poll looks at.
        self.at_class = 0;
    }

    fn ready(&mut self, lane: LaneIndex) {
        self.change(lane, DeficitRoundRobin::ready);
    }

    fn pause(&mut self, lane: LaneIndex) {
        self.change(lane, DeficitRoundRobin::pause);
    }

    fn resume(&mut self, lane: LaneIndex) {
        self.change(lane, DeficitRoundRobin::resume);
    }

    fn set_quantum(&mut self, lane: LaneIndex, quantum: NonZeroU32) {
        self.change(lane, |ring, lane| ring.set_quantum(lane, quantum));
    }

    fn state(&self, lane: LaneIndex) -> LaneState {
        let Place { class, in_ring } = self.places[lane.position()];
        self.classes[class].ring.state(in_ring)
    }

    fn ready_count(&self) -> u32 {
        self.classes.iter().map(|class| class.ring.ready_count()).sum()
    }

    fn poll_cap(&self) -> Option<u32> {
        None
    }

    fn begin_poll(&mut self) {
        self.poll += 1;
        self.at_class = 0;
        self.classes.iter_mut().for_each(|class| class.ring.begin_poll());
    }

    fn offer(&mut self, available: u32) -> Option<(LaneIndex, u32)> {
        if let Some(lane) = self.starving() {
            let Place { class, in_ring } = self.places[lane.position()];
            if let Some(offered) = self.classes[class].ring.offer_ahead_of_turn(in_ring, available) {
                self.guard_rests_until = self.poll + 2;
                return Some((lane, offered));
            }
        }
        while let Some(class) = self.classes.get_mut(self.at_class) {
            if let Some((in_ring, offered)) = class.ring.offer(available) {
                return Some((class.lanes[in_ring.position()], offered));
            }
            self.at_class += 1;
        }
        None
    }

    fn settle(&mut self, lane: LaneIndex, offered: u32, taken: u32) {
        let at_class = self.at_class;
        if taken > 0 {
            self.line.leave(lane);
        }
        self.change(lane, |ring, lane| ring.settle(lane, offered, taken));
        // A settlement makes nobody ready.
        self.at_class = at_class;
    }

    fn end_poll(&mut self) {
        self.classes.iter_mut().for_each(|class| class.ring.end_poll());
    }
}

/// Lanes in the order of their last service, linked through their entries.
#[derive(Debug, Clone, Default)]
struct WaitingLine {
    lanes: Vec<Waiting>,
    first: Option<LaneIndex>,
    last: Option<LaneIndex>,
}

#[derive(Debug, Clone, Default)]
struct Waiting {
    /// The poll in or after which it joined; `None`: it is not in the line.
    since: Option<u64>,
    before: Option<LaneIndex>,
    behind: Option<LaneIndex>,
}

impl WaitingLine {
    fn add_lane(&mut self) {
        self.lanes.push(Waiting::default());
    }

    fn has(&self, lane: LaneIndex) -> bool {
        self.lanes[lane.position()].since.is_some()
    }

    fn first(&self) -> Option<(LaneIndex, u64)> {
        let lane = self.first?;
        Some((lane, self.lanes[lane.position()].since?))
    }

    /// To the end of the line; the lane must not be in it.
    fn join(&mut self, lane: LaneIndex, poll: u64) {
        self.lanes[lane.position()] = Waiting { since: Some(poll), before: self.last, behind: None };
        match self.last {
            Some(last) => self.lanes[last.position()].behind = Some(lane),
            None => self.first = Some(lane),
        }
        self.last = Some(lane);
    }

    /// Idempotent.
    fn leave(&mut self, lane: LaneIndex) {
        let Waiting { since: Some(_), before, behind } = std::mem::take(&mut self.lanes[lane.position()])
        else {
            return;
        };
        match before {
            Some(before) => self.lanes[before.position()].behind = behind,
            None => self.first = behind,
        }
        match behind {
            Some(behind) => self.lanes[behind.position()].before = before,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: u32) -> NonZeroU32 {
        NonZeroU32::new(value).unwrap()
    }

    /// Lanes of the given priorities with a quota of 10, all ready.
    fn schedule(guard_polls: u32, priorities: &[u8]) -> PriorityWithGuard {
        let mut schedule = PriorityWithGuard::new(of(guard_polls));
        for (lane, priority) in priorities.iter().enumerate() {
            schedule.add_lane(LaneConfig { priority: *priority, ..LaneConfig::with_quota(of(10)) });
            schedule.ready(LaneIndex::from_position(lane));
        }
        schedule
    }

    /// Polls with a budget over lanes that have more than enough: which lane took how much.
    fn poll(schedule: &mut PriorityWithGuard, mut budget: u32) -> Vec<(u32, u32)> {
        let mut served = Vec::new();
        schedule.begin_poll();
        while budget > 0
            && let Some((lane, offered)) = schedule.offer(budget)
        {
            budget -= offered;
            schedule.settle(lane, offered, offered);
            served.push((lane.0, offered));
        }
        schedule.end_poll();
        served
    }

    #[test]
    fn a_budget_goes_to_the_upper_class_first_and_the_rest_to_the_next() {
        let mut schedule = schedule(100, &[0, 2, 1, 2]);
        assert_eq!(poll(&mut schedule, 25), [(1, 10), (3, 10), (2, 5)]);
        assert_eq!(poll(&mut schedule, 10), [(1, 10)]);
        assert_eq!(poll(&mut schedule, 35), [(3, 10), (1, 10), (2, 5), (2, 5), (0, 5)]);
        let everybody_once = [(3, 10), (1, 10), (2, 5), (2, 5), (0, 5), (0, 5)];
        assert_eq!(poll(&mut schedule, 100), everybody_once, "interrupted visits are finished first");
    }

    #[test]
    fn a_lane_that_starved_for_long_enough_is_served_ahead_of_everything() {
        let mut schedule = schedule(3, &[1, 0]);
        for _ in 0..2 {
            for _ in 0..3 {
                assert_eq!(poll(&mut schedule, 15), [(0, 10), (1, 5)]);
            }
            for _ in 0..3 {
                assert_eq!(poll(&mut schedule, 10), [(0, 10)]);
            }
            assert_eq!(poll(&mut schedule, 15), [(1, 5), (0, 10)], "its visit goes on");
        }
        for _ in 0..3 {
            assert_eq!(poll(&mut schedule, 10), [(0, 10)]);
        }
        assert_eq!(poll(&mut schedule, 15), [(1, 10), (0, 5)]);
    }

    #[test]
    fn however_many_starve_the_upper_class_keeps_every_other_poll() {
        let mut schedule = schedule(1, &[1, 0, 0, 0, 0]);
        let turns: Vec<u32> = (0..10).map(|_| poll(&mut schedule, 10)[0].0).collect();
        assert_eq!(turns, [0, 1, 0, 2, 0, 3, 0, 4, 0, 1]);
    }

    #[test]
    fn whom_the_guard_served_has_had_its_turn_in_that_poll() {
        let mut schedule = schedule(1, &[1, 0, 0]);
        assert_eq!(poll(&mut schedule, 10), [(0, 10)]);
        assert_eq!(poll(&mut schedule, 30), [(1, 10), (0, 10), (2, 10)]);
    }

    #[test]
    fn a_lane_that_ran_empty_or_is_paused_does_not_starve() {
        let mut schedule = schedule(2, &[1, 0, 0]);
        schedule.pause(LaneIndex(1));
        schedule.pause(LaneIndex(2));
        for _ in 0..5 {
            assert_eq!(poll(&mut schedule, 10), [(0, 10)]);
        }
        schedule.resume(LaneIndex(2));
        for _ in 0..2 {
            assert_eq!(poll(&mut schedule, 10), [(0, 10)], "it waits since it was resumed");
        }
        assert_eq!(poll(&mut schedule, 10), [(2, 10)]);
    }
}
