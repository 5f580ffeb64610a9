//! Faults of a scenario, begun and ended on schedule.

use std::time::Duration;

use fairpoll_judge::event::Body;

use super::crew::Crew;
use super::life::Trouble;
use super::stage::{Stage, StageError};
use super::tally::Tally;
use crate::event_log::EventSink;
use crate::scenario::{Fault, FaultKind};

/// The schedule of one run. [`FaultSchedule::before_start`] once, then
/// [`FaultSchedule::advance`] as time goes on, [`FaultSchedule::end_all`] at the end; all are
/// idempotent.
#[derive(Debug)]
pub(crate) struct FaultSchedule<'a> {
    entries: Vec<Entry<'a>>,
}

#[derive(Debug)]
struct Entry<'a> {
    fault: &'a Fault,
    state: State,
    /// The instance of the consumer that it concerns, once it has begun.
    instance: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ahead,
    Active,
    Over,
}

impl<'a> FaultSchedule<'a> {
    /// Nothing has begun.
    pub(crate) fn new(faults: &'a [Fault]) -> Self {
        Self {
            entries: faults
                .iter()
                .map(|fault| Entry { fault, state: State::Ahead, instance: None })
                .collect(),
        }
    }

    /// Begins what is there before the consumer starts; what happens to the consumer itself can
    /// only come later.
    pub(crate) fn before_start(&mut self, stage: &mut dyn Stage, sink: &EventSink) -> Result<(), StageError> {
        let first = self.entries.iter_mut().filter(|entry| entry.fault.at_ms == 0);
        first
            .filter(|entry| !entry.fault.kind.concerns_consumer())
            .try_for_each(|entry| entry.enter_on_stage(State::Active, stage, sink))
    }

    /// Begins and ends what is due so long after live production began.
    pub(crate) fn advance(
        &mut self,
        elapsed: Duration,
        (stage, crew): (&mut dyn Stage, &mut Crew<'_>),
        tally: &mut Tally,
        sink: &EventSink,
    ) -> Result<(), Trouble> {
        for entry in &mut self.entries {
            let begins = Duration::from_millis(entry.fault.at_ms);
            if elapsed >= begins {
                entry.enter(State::Active, (stage, crew), tally, sink)?;
            }
            let lasts = entry.fault.for_ms.map(Duration::from_millis);
            if lasts.is_some_and(|lasts| elapsed >= begins + lasts) {
                entry.enter(State::Over, (stage, crew), tally, sink)?;
            }
        }
        Ok(())
    }

    /// Everything has begun, and what has an end has ended.
    pub(crate) fn is_through(&self) -> bool {
        self.entries.iter().all(|entry| match entry.state {
            State::Ahead => false,
            State::Active => entry.fault.for_ms.is_none(),
            State::Over => true,
        })
    }

    /// Ends what goes on to the end of the run. The consumer is gone by then.
    pub(crate) fn end_all(&mut self, stage: &mut dyn Stage, sink: &EventSink) -> Result<(), StageError> {
        let active = self.entries.iter_mut().filter(|entry| entry.state == State::Active);
        active
            .filter(|entry| !entry.fault.kind.concerns_consumer())
            .try_for_each(|entry| entry.enter_on_stage(State::Over, stage, sink))
    }
}

impl Entry<'_> {
    /// Whether it begins on the way to `next`; `None` where there is nothing to do.
    fn begins(&self, next: State) -> Option<bool> {
        match (self.state, next) {
            (State::Ahead, State::Active) => Some(true),
            (State::Active, State::Over) => Some(false),
            _ => None,
        }
    }

    fn enter(
        &mut self,
        next: State,
        (stage, crew): (&mut dyn Stage, &mut Crew<'_>),
        tally: &mut Tally,
        sink: &EventSink,
    ) -> Result<(), Trouble> {
        if !self.fault.kind.concerns_consumer() {
            self.enter_on_stage(next, stage, sink)?;
            if self.fault.kind == FaultKind::TopicDeleted {
                self.fault.topic.iter().for_each(|topic| tally.give_up(topic));
            }
            return Ok(());
        }
        let Some(begins) = self.begins(next) else { return Ok(()) };
        let who = crew.fault(self.fault, self.instance, begins, tally)?;
        self.instance = Some(who.instance);
        self.entered(next, Some(who.life), begins, sink);
        Ok(())
    }

    fn enter_on_stage(
        &mut self,
        next: State,
        stage: &mut dyn Stage,
        sink: &EventSink,
    ) -> Result<(), StageError> {
        let Some(begins) = self.begins(next) else { return Ok(()) };
        stage.fault(self.fault, begins)?;
        self.entered(next, None, begins, sink);
        Ok(())
    }

    fn entered(&mut self, next: State, life: Option<u32>, begins: bool, sink: &EventSink) {
        self.state = next;
        let Fault { kind, topic, node, .. } = self.fault;
        let kind = kind.name().to_owned();
        sink.emit(Body::Fault { kind, topic: topic.clone(), node: *node, life, begins });
    }
}
