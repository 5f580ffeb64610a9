//! Faults of a scenario, begun and ended on schedule.

use std::time::Duration;

use fairpoll_judge::event::Body;

use super::stage::{Stage, StageError};
use crate::event_log::EventSink;
use crate::scenario::Fault;

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
        Self { entries: faults.iter().map(|fault| Entry { fault, state: State::Ahead }).collect() }
    }

    /// Begins what is there before the consumer starts.
    pub(crate) fn before_start(&mut self, stage: &mut dyn Stage, sink: &EventSink) -> Result<(), StageError> {
        let first = self.entries.iter_mut().filter(|entry| entry.fault.at_ms == 0);
        first.into_iter().try_for_each(|entry| entry.enter(State::Active, stage, sink))
    }

    /// Begins and ends what is due so long after live production began.
    pub(crate) fn advance(
        &mut self,
        elapsed: Duration,
        stage: &mut dyn Stage,
        sink: &EventSink,
    ) -> Result<(), StageError> {
        for entry in &mut self.entries {
            let begins = Duration::from_millis(entry.fault.at_ms);
            if elapsed >= begins {
                entry.enter(State::Active, stage, sink)?;
            }
            let lasts = entry.fault.for_ms.map(Duration::from_millis);
            if lasts.is_some_and(|lasts| elapsed >= begins + lasts) {
                entry.enter(State::Over, stage, sink)?;
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

    /// Ends what goes on to the end of the run.
    pub(crate) fn end_all(&mut self, stage: &mut dyn Stage, sink: &EventSink) -> Result<(), StageError> {
        let active = self.entries.iter_mut().filter(|entry| entry.state == State::Active);
        active.into_iter().try_for_each(|entry| entry.enter(State::Over, stage, sink))
    }
}

impl Entry<'_> {
    fn enter(&mut self, next: State, stage: &mut dyn Stage, sink: &EventSink) -> Result<(), StageError> {
        let begins = match (self.state, next) {
            (State::Ahead, State::Active) => true,
            (State::Active, State::Over) => false,
            _ => return Ok(()),
        };
        stage.fault(self.fault, begins)?;
        self.state = next;
        let Fault { kind, topic, node, .. } = self.fault;
        let kind = kind.name().to_owned();
        sink.emit(Body::Fault { kind, topic: topic.clone(), node: *node, life: None, begins });
        Ok(())
    }
}
