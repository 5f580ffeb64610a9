//! Whose turn it is: an order over the lanes that have records.
//!
//! Policies stand in files of their own and share one shape, `Schedule`. They see neither time nor
//! the poll's total cap; [`crate::poll::PollMachine`] drives them.

mod deficit_round_robin;
mod first_come;
mod priority_with_guard;

use std::num::NonZeroU32;

use deficit_round_robin::DeficitRoundRobin;
use first_come::FirstComeFirstServed;
use priority_with_guard::PriorityWithGuard;

use crate::lane::{LaneConfig, LaneIndex, LaneState};

/// How lanes take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Every lane with records gets its quantum in turn; a lane that just became non-empty goes
    /// first, once. After Shreedhar and Varghese, "Efficient fair queuing using deficit round
    /// robin" (1996); the visit of new lanes after RFC 8290 (FQ-CoDel), section 4.2.
    #[default]
    DeficitRoundRobin,
    /// Under a budget, lanes of a higher priority first ([`LaneConfig::priority`]), by deficit round
    /// robin among those of the same; a lane with records that got nothing in so many consecutive polls
    /// is served one quantum ahead of everything. Where all priorities are equal it is
    /// [`Self::DeficitRoundRobin`], grant by grant.
    PriorityWithGuard {
        /// Polls.
        guard_polls: NonZeroU32,
    },
    /// `single`'s order: the lane that became ready first is emptied first, and the whole poll has
    /// one cap, the largest quantum. Exists to prove that the gates notice.
    FirstComeFirstServed,
}

/// The calls of a policy. Order: within a poll `begin_poll`, then pairs of `offer` and `settle`,
/// then `end_poll`; `ready`, `pause`, `resume` and `add_lane` at any time, the first three
/// idempotent; `set_quantum` between polls.
trait Schedule {
    /// A new lane at the end of the list, empty.
    fn add_lane(&mut self, config: LaneConfig);
    /// The lane's queue may have records.
    fn ready(&mut self, lane: LaneIndex);
    /// The lane gets no turn until it is resumed.
    fn pause(&mut self, lane: LaneIndex);
    /// The lane takes part again.
    fn resume(&mut self, lane: LaneIndex);
    /// Another quantum; between polls only. An interrupted visit goes on with no more than it.
    fn set_quantum(&mut self, lane: LaneIndex, quantum: NonZeroU32);
    /// What is known of the lane.
    fn state(&self, lane: LaneIndex) -> LaneState;
    /// Lanes that are ready and not paused.
    fn ready_count(&self) -> u32;
    /// The most records of one poll, over all lanes; `None`: no such cap.
    fn poll_cap(&self) -> Option<u32>;
    /// Quotas are whole again.
    fn begin_poll(&mut self);
    /// Whose turn it is and how many of at most `available` (≥ 1) records it may take; `None`:
    /// nobody may take more in this poll.
    fn offer(&mut self, available: u32) -> Option<(LaneIndex, u32)>;
    /// The lane took `taken ≤ offered` records; fewer means that its queue ran empty.
    fn settle(&mut self, lane: LaneIndex, offered: u32, taken: u32);
    /// No more offers until the next poll begins.
    fn end_poll(&mut self);
}

/// The policy in use; an enum, so that a poll machine can be cloned and compared.
#[derive(Debug, Clone)]
pub(crate) enum Scheduler {
    DeficitRoundRobin(DeficitRoundRobin),
    PriorityWithGuard(PriorityWithGuard),
    FirstComeFirstServed(FirstComeFirstServed),
}

macro_rules! delegate {
    ($self:ident, $policy:ident => $call:expr) => {
        match $self {
            Scheduler::DeficitRoundRobin($policy) => $call,
            Scheduler::PriorityWithGuard($policy) => $call,
            Scheduler::FirstComeFirstServed($policy) => $call,
        }
    };
}

impl Scheduler {
    pub(crate) fn new(policy: Policy) -> Self {
        match policy {
            Policy::DeficitRoundRobin => Self::DeficitRoundRobin(DeficitRoundRobin::default()),
            Policy::PriorityWithGuard { guard_polls } => {
                Self::PriorityWithGuard(PriorityWithGuard::new(guard_polls))
            }
            Policy::FirstComeFirstServed => Self::FirstComeFirstServed(FirstComeFirstServed::default()),
        }
    }

    pub(crate) fn add_lane(&mut self, config: LaneConfig) {
        delegate!(self, policy => policy.add_lane(config));
    }

    pub(crate) fn ready(&mut self, lane: LaneIndex) {
        delegate!(self, policy => policy.ready(lane));
    }

    pub(crate) fn pause(&mut self, lane: LaneIndex) {
        delegate!(self, policy => policy.pause(lane));
    }

    pub(crate) fn resume(&mut self, lane: LaneIndex) {
        delegate!(self, policy => policy.resume(lane));
    }

    pub(crate) fn set_quantum(&mut self, lane: LaneIndex, quantum: NonZeroU32) {
        delegate!(self, policy => policy.set_quantum(lane, quantum));
    }

    pub(crate) fn state(&self, lane: LaneIndex) -> LaneState {
        delegate!(self, policy => policy.state(lane))
    }

    pub(crate) fn ready_count(&self) -> u32 {
        delegate!(self, policy => policy.ready_count())
    }

    pub(crate) fn poll_cap(&self) -> Option<u32> {
        delegate!(self, policy => policy.poll_cap())
    }

    pub(crate) fn begin_poll(&mut self) {
        delegate!(self, policy => policy.begin_poll());
    }

    pub(crate) fn offer(&mut self, available: u32) -> Option<(LaneIndex, u32)> {
        delegate!(self, policy => policy.offer(available))
    }

    pub(crate) fn settle(&mut self, lane: LaneIndex, offered: u32, taken: u32) {
        delegate!(self, policy => policy.settle(lane, offered, taken));
    }

    pub(crate) fn end_poll(&mut self) {
        delegate!(self, policy => policy.end_poll());
    }
}

/// What every policy must know of a lane's queue.
#[derive(Debug, Clone, Default)]
struct Readiness {
    ready: bool,
    paused: bool,
    /// `ready` was called since the last offer. A record may arrive between the shell's short take
    /// and its `settle`; queues signal only the step from empty to non-empty, so forgetting that
    /// call would leave the record lying until the next safety tick.
    readied_since_offer: bool,
}

impl Readiness {
    fn is_eligible(&self) -> bool {
        self.ready && !self.paused
    }

    fn note_ready(&mut self) {
        self.ready = true;
        self.readied_since_offer = true;
    }

    fn note_offer(&mut self) {
        self.readied_since_offer = false;
    }

    fn note_ran_empty(&mut self) {
        self.ready = self.readied_since_offer;
    }

    fn state(&self) -> LaneState {
        match (self.paused, self.ready) {
            (true, _) => LaneState::Paused,
            (false, true) => LaneState::Ready,
            (false, false) => LaneState::Empty,
        }
    }
}
