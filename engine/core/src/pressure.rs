//! When a running consumer gives way to a shortage, and how far.

use std::time::Duration;

use crate::mode::Resource;
use crate::time::Timestamp;

/// Bounds between which nothing is decided, and how patient the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// A reading of so many percent of its limit, or more, is pressure.
    pub enter_percent: u8,
    /// Pressure is over with a reading below so many percent.
    pub leave_percent: u8,
    /// How long pressure must last before anything is done about it.
    pub sustain: Duration,
    /// So many readings must have said so by then, however far apart they are.
    pub readings: u32,
    /// How long nothing is done after something was: what a step gave back shows by then, and a rebalance
    /// is not followed by the next.
    pub cool_down: Duration,
}

impl Pace {
    /// What the engine uses.
    pub const DEFAULT: Self = Self {
        enter_percent: 90,
        leave_percent: 80,
        sustain: Duration::from_secs(5),
        readings: 3,
        cool_down: Duration::from_secs(60),
    };
}

/// How much of a resource is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Which.
    pub resource: Resource,
    /// What is in use, in the resource's unit.
    pub used: u64,
    /// What there is in all.
    pub limit: u64,
}

impl Reading {
    fn reaches(&self, percent: u8) -> bool {
        u128::from(self.used) * 100 >= u128::from(self.limit) * u128::from(percent)
    }
}

/// What is left to be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ladder {
    /// How often fetch limits can still be made smaller.
    pub smaller_limits: u32,
    /// Whether there is a mode with fewer handles in the same groups.
    pub cheaper_mode: bool,
}

/// What to do about a shortage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Start anew with half of what is fetched ahead.
    SmallerLimits,
    /// Start anew with one handle.
    CheaperMode,
    /// Tell that nothing is left to be given up. Once for each resource.
    Nothing,
}

/// A step and the reading that called for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// What to do.
    pub step: Step,
    /// Why.
    pub reading: Reading,
}

/// Decides when fetch limits shrink and when the mode gives way, from readings of what is short.
///
/// It only ever goes down: nothing tells that a resource will suffice again *with* what was given up,
/// and each attempt would cost a rebalance; see docs/adr/0008. Memory is short of what is fetched ahead
/// first; descriptors and connections are the handles', and smaller limits do not give back any.
///
/// # Who calls what
/// [`observe`](Self::observe) with every round of readings, about once a second, times never falling; each
/// answer is to be followed, and takes its rung off the [`Ladder`]. [`put_off`](Self::put_off) where it could
/// not be: the rung is back, and the cool-down goes on from then.
#[derive(Debug, Clone)]
pub struct Pressure {
    pace: Pace,
    ladder: Ladder,
    spells: [Spell; RESOURCES.len()],
    /// When the last step was taken.
    stepped: Option<Timestamp>,
}

/// Pressure on one resource.
#[derive(Debug, Clone, Copy, Default)]
struct Spell {
    since: Option<Timestamp>,
    /// The last reading at or above the bound.
    last: Timestamp,
    /// Readings at or above the bound since then.
    readings: u32,
    told_that_nothing_is_left: bool,
}

/// In the order in which they are asked: what the system refuses outright comes first.
const RESOURCES: [Resource; 3] = [Resource::Descriptors, Resource::MemoryBytes, Resource::Connections];

impl Pressure {
    /// Nothing is short yet.
    #[must_use]
    pub fn new(pace: Pace, ladder: Ladder) -> Self {
        Self { pace, ladder, spells: Default::default(), stepped: None }
    }

    /// What is left to be given up.
    #[must_use]
    pub const fn ladder(&self) -> Ladder {
        self.ladder
    }

    /// A round of readings; a resource that is not limited, or not known, is left out. At most one of each.
    ///
    /// A step is due with a reading at [`Pace::enter_percent`] or above, if for [`Pace::sustain`] at least none
    /// was below [`Pace::leave_percent`] and none that high came later than `sustain` after the one before, and
    /// outside of a cool-down.
    pub fn observe(&mut self, now: Timestamp, readings: &[Reading]) -> Option<Advice> {
        let mut advice = None;
        for (resource, spell) in RESOURCES.iter().zip(&mut self.spells) {
            let Some(reading) = readings.iter().find(|reading| reading.resource == *resource) else {
                spell.end();
                continue;
            };
            let lasts = spell.note(now, reading, &self.pace);
            let cools = self.stepped.is_some_and(|at| now.since(at) < self.pace.cool_down);
            if !lasts || cools || advice.is_some() {
                continue;
            }
            let step = self.ladder.next(*resource);
            if step == Step::Nothing && std::mem::replace(&mut spell.told_that_nothing_is_left, true) {
                continue;
            }
            advice = Some(Advice { step, reading: *reading });
        }
        match advice?.step {
            Step::SmallerLimits => self.ladder.smaller_limits -= 1,
            Step::CheaperMode => self.ladder.cheaper_mode = false,
            Step::Nothing => return advice,
        }
        self.rest(now);
        advice
    }

    /// The step that was advised last could not be taken: it may be tried again after another cool-down.
    pub fn put_off(&mut self, now: Timestamp, step: Step) {
        match step {
            Step::SmallerLimits => self.ladder.smaller_limits += 1,
            Step::CheaperMode => self.ladder.cheaper_mode = true,
            Step::Nothing => return,
        }
        self.rest(now);
    }

    /// What was measured before a step says nothing of what is needed after it.
    fn rest(&mut self, now: Timestamp) {
        self.stepped = Some(now);
        self.spells.iter_mut().for_each(Spell::end);
    }
}

impl Ladder {
    fn next(&self, resource: Resource) -> Step {
        match resource {
            Resource::MemoryBytes if self.smaller_limits > 0 => Step::SmallerLimits,
            _ if self.cheaper_mode => Step::CheaperMode,
            _ => Step::Nothing,
        }
    }
}

impl Spell {
    fn end(&mut self) {
        (self.since, self.readings) = (None, 0);
    }

    /// Whether pressure has lasted long enough.
    fn note(&mut self, now: Timestamp, reading: &Reading, pace: &Pace) -> bool {
        if !reading.reaches(pace.leave_percent) {
            self.end();
        }
        if !reading.reaches(pace.enter_percent) {
            return false;
        }
        // A spike now and then is no pressure, however little there is left between them.
        if now.since(self.last) > pace.sustain {
            self.end();
        }
        self.last = now;
        let since = *self.since.get_or_insert(now);
        self.readings = self.readings.saturating_add(1);
        self.readings >= pace.readings && now.since(since) >= pace.sustain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000 * seconds)
    }

    fn full(resource: Resource) -> [Reading; 1] {
        [Reading { resource, used: 95, limit: 100 }]
    }

    /// What is advised in so many seconds of the same shortage, and when.
    fn course(ladder: Ladder, resource: Resource, seconds: u64) -> Vec<(u64, Step)> {
        let mut pressure = Pressure::new(Pace::DEFAULT, ladder);
        (0..seconds)
            .filter_map(|second| Some((second, pressure.observe(at(second), &full(resource))?.step)))
            .collect()
    }

    // shows: E15
    #[test]
    fn memory_gives_up_what_is_fetched_ahead_before_the_mode() {
        let ladder = Ladder { smaller_limits: 2, cheaper_mode: true };
        let expected = [
            (5, Step::SmallerLimits),
            (65, Step::SmallerLimits),
            (125, Step::CheaperMode),
            (185, Step::Nothing),
        ];
        assert_eq!(course(ladder, Resource::MemoryBytes, 1_000), expected);
    }

    // shows: E15
    #[test]
    fn descriptors_and_connections_are_the_handles_and_give_up_the_mode_at_once() {
        for resource in [Resource::Descriptors, Resource::Connections] {
            let ladder = Ladder { smaller_limits: 2, cheaper_mode: true };
            assert_eq!(course(ladder, resource, 1_000), [(5, Step::CheaperMode), (65, Step::Nothing)]);
            let ladder = Ladder { smaller_limits: 2, cheaper_mode: false };
            assert_eq!(course(ladder, resource, 1_000), [(5, Step::Nothing)]);
        }
    }

    #[test]
    fn readings_far_apart_are_no_lasting_pressure() {
        let mut pressure = Pressure::new(Pace::DEFAULT, Ladder { smaller_limits: 1, cheaper_mode: true });
        let readings = full(Resource::Descriptors);
        assert!((0..20).all(|round| pressure.observe(at(600 * round), &readings).is_none()));
    }

    // shows: E15
    #[test]
    fn a_spike_now_and_then_is_no_pressure_however_full_it_is_between_them() {
        let mut pressure = Pressure::new(Pace::DEFAULT, Ladder { smaller_limits: 1, cheaper_mode: true });
        let used = |second: u64| if second.is_multiple_of(20) { 95 } else { 85 };
        let reading = |second| Reading { resource: Resource::MemoryBytes, used: used(second), limit: 100 };
        assert!((0..2_000).all(|second| pressure.observe(at(second), &[reading(second)]).is_none()));
    }

    #[test]
    fn what_could_not_be_done_is_tried_again_after_the_cool_down() {
        let mut pressure = Pressure::new(Pace::DEFAULT, Ladder { smaller_limits: 0, cheaper_mode: true });
        let readings = full(Resource::Descriptors);
        let mut advised = Vec::new();
        for second in 0..200 {
            if let Some(advice) = pressure.observe(at(second), &readings) {
                advised.push(second);
                pressure.put_off(at(second), advice.step);
            }
        }
        assert_eq!(advised, [5, 65, 125, 185]);
    }

    #[test]
    fn a_resource_without_a_limit_is_never_short() {
        let mut pressure = Pressure::new(Pace::DEFAULT, Ladder { smaller_limits: 1, cheaper_mode: true });
        assert!((0..1_000).all(|second| pressure.observe(at(second), &[]).is_none()));
    }
}
