//! One poll: grants in scheduler order until the cap is reached or nobody may take more.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::lane::{LaneConfig, LaneIndex, LaneState};
use crate::quota::QuotaLedger;
use crate::scheduler::{Policy, Scheduler};
use crate::time::{Timestamp, WakeReason, Wakeup};

/// How long a lost queue wake-up may go unnoticed. Queues signal only the step from empty to
/// non-empty, and lost signals have stalled other clients for ever (rust-rdkafka #665); one look
/// per second costs nothing.
pub const SAFETY_TICK: Duration = Duration::from_secs(1);

/// Leave to take records from a lane. Must be settled before the next one is asked for.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a grant that is not settled blocks the poll"]
#[non_exhaustive]
pub struct Grant {
    /// Whose queue to take from.
    pub lane: LaneIndex,
    /// The most records to take, at least 1.
    pub records: u32,
}

/// What the taken records cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// What a poll came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollSummary {
    /// 1, 2, 3, … over all polls, empty ones included.
    pub number: u64,
    /// When it began.
    pub began: Timestamp,
    /// From beginning to end.
    pub took: Duration,
    /// Grants that were settled.
    pub grants: u32,
    /// Records taken.
    pub records: u64,
    /// Bytes taken.
    pub bytes: u64,
    /// Lanes that may have more: polling again at once is worth it.
    pub lanes_ready: u32,
}

/// Decides for one consumer whose turn it is and how much it may take.
///
/// # Who calls what
/// The consumer's poll loop, and nobody else:
///
/// ```
/// # use std::num::NonZeroU32;
/// # use fairpoll_core::{Cost, LaneConfig, LaneIndex, Policy, PollMachine, Timestamp};
/// # let quota = NonZeroU32::new(500).unwrap();
/// # let mut queues = vec![vec![0_u8; 700], vec![0_u8; 3]];
/// # let now = Timestamp::ZERO;
/// let mut poll = PollMachine::new([LaneConfig::with_quota(quota); 2], Policy::DeficitRoundRobin);
/// poll.lane_ready(LaneIndex(0)); // its queue signalled records
/// poll.lane_ready(LaneIndex(1));
///
/// poll.begin(now, None);
/// while let Some(grant) = poll.next_grant() {
///     let queue = &mut queues[grant.lane.position()];
///     let taken = queue.len().min(grant.records as usize);
///     queue.truncate(queue.len() - taken);
///     poll.settle(grant, taken as u32, Cost { bytes: taken as u64 });
/// }
/// let summary = poll.end(now);
/// assert_eq!(summary.records, 503);
/// ```
///
/// - [`lane_ready`](Self::lane_ready), [`pause`](Self::pause), [`resume`](Self::resume): at any
///   time, also between a grant and its settlement; idempotent. Saying "ready" of an empty lane
///   costs one grant that takes nothing. *Not* saying it of a lane with records leaves them lying:
///   say it when a queue signals, and of every lane after the safety tick.
/// - [`begin`](Self::begin), pairs of [`next_grant`](Self::next_grant) and
///   [`settle`](Self::settle), [`end`](Self::end): in this order, once each per poll. A poll may
///   end early, with grants not asked for; the next one resumes where it stopped.
/// - [`set_quantum`](Self::set_quantum): between polls.
/// - [`next_wakeup`](Self::next_wakeup): between polls; changes nothing.
///
/// # What holds
/// A poll grants a lane at most its quantum ([`LaneConfig::quantum`], or what was set since), all lanes together at most
/// the budget, and nothing to a lane that ran empty in it. It stops short of the budget only when
/// every lane that was ready had its quantum or ran empty. What a lane did not take is granted to
/// others. Calls out of order are defects of the caller and panic.
#[derive(Debug, Clone)]
pub struct PollMachine {
    scheduler: Scheduler,
    lane_count: u32,
    polls: u64,
    running: Option<Running>,
}

#[derive(Debug, Clone)]
struct Running {
    began: Timestamp,
    budget: QuotaLedger,
    outstanding: Option<(LaneIndex, u32)>,
    grants: u32,
    bytes: u64,
}

impl PollMachine {
    /// All lanes are empty until they are said to be ready.
    #[must_use]
    pub fn new(lanes: impl IntoIterator<Item = LaneConfig>, policy: Policy) -> Self {
        let mut machine = Self { scheduler: Scheduler::new(policy), lane_count: 0, polls: 0, running: None };
        for config in lanes {
            machine.add_lane(config);
        }
        machine
    }

    /// One more lane, empty; also while a poll runs.
    ///
    /// # Panics
    /// If there are 2³² lanes already.
    pub fn add_lane(&mut self, config: LaneConfig) -> LaneIndex {
        let lane = LaneIndex(self.lane_count);
        self.lane_count = self.lane_count.checked_add(1).expect("fewer than 2^32 lanes");
        self.scheduler.add_lane(config);
        lane
    }

    /// How many lanes there are.
    #[must_use]
    pub const fn lane_count(&self) -> u32 {
        self.lane_count
    }

    /// The lane's queue may have records.
    ///
    /// # Panics
    /// As all methods that name a lane: if there is no such lane.
    pub fn lane_ready(&mut self, lane: LaneIndex) {
        self.scheduler.ready(lane);
    }

    /// The lane gets no grants until it is resumed. Records stay in its queue.
    pub fn pause(&mut self, lane: LaneIndex) {
        self.scheduler.pause(lane);
    }

    /// The lane takes part again; if it was ready it still is.
    pub fn resume(&mut self, lane: LaneIndex) {
        self.scheduler.resume(lane);
    }

    /// From the next poll on the lane gets so many records of a poll, and at its turn:
    /// [`LaneConfig::quantum`] as it would be now.
    ///
    /// # Panics
    /// Within a poll: what is granted already would not add up.
    pub fn set_quantum(&mut self, lane: LaneIndex, records: NonZeroU32) {
        assert!(self.running.is_none(), "a quantum was changed while a poll runs");
        self.scheduler.set_quantum(lane, records);
    }

    /// What is known of the lane.
    #[must_use]
    pub fn lane_state(&self, lane: LaneIndex) -> LaneState {
        self.scheduler.state(lane)
    }

    /// Lanes that may have records and are not paused.
    #[must_use]
    pub fn ready_count(&self) -> u32 {
        self.scheduler.ready_count()
    }

    /// A poll begins. `budget`: the most records over all lanes; `None`: only the lanes' own
    /// quotas limit it.
    ///
    /// # Panics
    /// If the previous poll has not ended.
    pub fn begin(&mut self, now: Timestamp, budget: Option<u32>) {
        assert!(self.running.is_none(), "a poll began before the previous one ended");
        let capacity = match (budget, self.scheduler.poll_cap()) {
            (Some(budget), Some(cap)) => u64::from(budget.min(cap)),
            (Some(limit), None) | (None, Some(limit)) => u64::from(limit),
            (None, None) => QuotaLedger::UNLIMITED,
        };
        self.polls += 1;
        self.scheduler.begin_poll();
        self.running = Some(Running {
            began: now,
            budget: QuotaLedger::new(capacity),
            outstanding: None,
            grants: 0,
            bytes: 0,
        });
    }

    /// Who may take next, and how much; `None`: the poll is over, call [`end`](Self::end).
    ///
    /// # Panics
    /// Outside a poll, or if the previous grant is not settled.
    pub fn next_grant(&mut self) -> Option<Grant> {
        let running = self.running.as_mut().expect("a grant was asked for outside a poll");
        assert!(running.outstanding.is_none(), "a grant was asked for before the last was settled");
        let available = u32::try_from(running.budget.available()).unwrap_or(u32::MAX);
        if available == 0 {
            return None;
        }
        let (lane, records) = self.scheduler.offer(available)?;
        let granted = running.budget.grant(u64::from(records));
        assert_eq!(granted, u64::from(records), "the scheduler offered more than was available");
        running.outstanding = Some((lane, records));
        Some(Grant { lane, records })
    }

    /// The shell took `taken ≤ grant.records` records. Fewer means that the lane is empty until
    /// [`lane_ready`](Self::lane_ready) is called again (or was, since the grant).
    ///
    /// # Panics
    /// If more was taken than granted, or the grant is not the one in progress.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a grant is consumed, so that it cannot be settled twice"
    )]
    pub fn settle(&mut self, grant: Grant, taken: u32, cost: Cost) {
        let running = self.running.as_mut().expect("a grant was settled outside a poll");
        let outstanding = running.outstanding.take();
        assert_eq!(outstanding, Some((grant.lane, grant.records)), "a foreign grant was settled");
        assert!(taken <= grant.records, "{taken} records taken on a grant of {}", grant.records);
        running.budget.give_back(u64::from(grant.records - taken));
        running.grants += 1;
        running.bytes += cost.bytes;
        self.scheduler.settle(grant.lane, grant.records, taken);
    }

    /// The poll ends.
    ///
    /// # Panics
    /// Outside a poll, or if a grant is not settled.
    pub fn end(&mut self, now: Timestamp) -> PollSummary {
        let running = self.running.take().expect("a poll ended that had not begun");
        assert!(running.outstanding.is_none(), "a poll ended before its last grant was settled");
        self.scheduler.end_poll();
        PollSummary {
            number: self.polls,
            began: running.began,
            took: now.since(running.began),
            grants: running.grants,
            records: running.budget.granted(),
            bytes: running.bytes,
            lanes_ready: self.scheduler.ready_count(),
        }
    }

    /// When to poll again at the latest: at once if a lane may have records, else after the safety
    /// tick. `None`: there are no lanes.
    #[must_use]
    pub fn next_wakeup(&self, now: Timestamp) -> Option<Wakeup> {
        if self.lane_count == 0 {
            return None;
        }
        Some(if self.scheduler.ready_count() > 0 {
            Wakeup { at: now, reason: WakeReason::RecordsReady }
        } else {
            Wakeup { at: now + SAFETY_TICK, reason: WakeReason::SafetyTick }
        })
    }
}

#[cfg(test)]
mod tests;
