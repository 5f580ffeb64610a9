//! A shell in miniature: queues that fill, signal and are taken from.

use std::num::NonZeroU32;

use fairpoll_core::{Cost, LaneConfig, LaneIndex, Policy, PollMachine, Timestamp};
use proptest::prelude::*;

/// What decides; the real machine and the reference both do.
pub(crate) trait Poller {
    fn ready(&mut self, lane: usize);
    fn pause(&mut self, lane: usize);
    fn resume(&mut self, lane: usize);
    fn begin(&mut self, budget: Option<u32>);
    fn next(&mut self) -> Option<(usize, u32)>;
    fn settle(&mut self, taken: u32);
    fn end(&mut self);
}

/// The real machine.
pub(crate) struct Real {
    machine: PollMachine,
    grant: Option<fairpoll_core::Grant>,
}

impl Real {
    pub(crate) fn new(lanes: &[LaneConfig], policy: Policy) -> Self {
        Self { machine: PollMachine::new(lanes.iter().copied(), policy), grant: None }
    }

    pub(crate) fn round_robin(lanes: &[LaneConfig]) -> Self {
        Self::new(lanes, Policy::DeficitRoundRobin)
    }
}

impl Poller for Real {
    fn ready(&mut self, lane: usize) {
        self.machine.lane_ready(LaneIndex::from_position(lane));
    }

    fn pause(&mut self, lane: usize) {
        self.machine.pause(LaneIndex::from_position(lane));
    }

    fn resume(&mut self, lane: usize) {
        self.machine.resume(LaneIndex::from_position(lane));
    }

    fn begin(&mut self, budget: Option<u32>) {
        self.machine.begin(Timestamp::ZERO, budget);
    }

    fn next(&mut self) -> Option<(usize, u32)> {
        self.grant = self.machine.next_grant();
        self.grant.as_ref().map(|grant| (grant.lane.position(), grant.records))
    }

    fn settle(&mut self, taken: u32) {
        self.machine.settle(self.grant.take().expect("a grant"), taken, Cost::default());
    }

    fn end(&mut self) {
        self.machine.end(Timestamp::ZERO);
    }
}

/// What happens to the lanes; lane numbers are taken modulo the number of lanes.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) lanes: Vec<LaneConfig>,
    pub(crate) polls: Vec<PollStep>,
}

#[derive(Debug, Clone)]
pub(crate) struct PollStep {
    /// Before the poll: lane, records.
    pub(crate) arrivals: Vec<(usize, u32)>,
    /// Before the poll: lane, and whether it is paused or resumed.
    pub(crate) pauses: Vec<(usize, bool)>,
    pub(crate) budget: Option<u32>,
    /// Between the take and the settlement of the n-th grant, or before the end of a poll that has
    /// fewer grants: n, lane, records.
    pub(crate) during: Vec<(usize, usize, u32)>,
}

/// What happened, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happening {
    Arrive { lane: usize, records: u32 },
    Pause { lane: usize },
    Resume { lane: usize },
    Begin { budget: Option<u32> },
    Take { lane: usize, granted: u32, taken: u32 },
    End,
}

pub(crate) fn lane(weight: u32, quota: u32) -> LaneConfig {
    LaneConfig {
        weight: NonZeroU32::new(weight).expect("not 0"),
        quota: NonZeroU32::new(quota).expect("not 0"),
        priority: 0,
    }
}

pub(crate) fn lanes() -> impl Strategy<Value = Vec<LaneConfig>> {
    prop::collection::vec((1_u32..4, 1_u32..12).prop_map(|(weight, quota)| lane(weight, quota)), 1..7)
}

/// Everything at once: bursts, lone records, pauses, caps of all sizes, arrivals during polls.
pub(crate) fn workloads() -> impl Strategy<Value = Workload> {
    let records = prop_oneof![3 => 1_u32..4, 2 => 1_u32..40, 1 => 100_u32..300];
    let step = (
        prop::collection::vec((any::<usize>(), records), 0..5),
        prop_oneof![4 => Just(vec![]), 1 => prop::collection::vec((any::<usize>(), any::<bool>()), 1..3)],
        prop_oneof![1 => Just(None), 3 => (0_u32..40).prop_map(Some)],
        prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec((0_usize..4, any::<usize>(), 1_u32..20), 1..3)],
    )
        .prop_map(|(arrivals, pauses, budget, during)| PollStep { arrivals, pauses, budget, during });
    (lanes(), prop::collection::vec(step, 1..40)).prop_map(|(lanes, polls)| Workload { lanes, polls })
}

struct Shell<'a, P> {
    poller: &'a mut P,
    queued: Vec<u64>,
    happened: Vec<Happening>,
}

impl<P: Poller> Shell<'_, P> {
    /// Queues signal only the step from empty to non-empty, as librdkafka's do.
    fn arrive(&mut self, lane: usize, records: u32) {
        let lane = lane % self.queued.len();
        if self.queued[lane] == 0 {
            self.poller.ready(lane);
        }
        self.queued[lane] += u64::from(records);
        self.happened.push(Happening::Arrive { lane, records });
    }

    fn pause(&mut self, lane: usize, paused: bool) {
        let lane = lane % self.queued.len();
        if paused {
            self.poller.pause(lane);
            self.happened.push(Happening::Pause { lane });
        } else {
            self.poller.resume(lane);
            self.happened.push(Happening::Resume { lane });
        }
    }

    /// Returns the records taken.
    fn poll(&mut self, budget: Option<u32>, during: &[(usize, usize, u32)]) -> u64 {
        let mut total = 0;
        let mut grants = 0;
        self.poller.begin(budget);
        self.happened.push(Happening::Begin { budget });
        // No more grants than a healthy poll can have; a broken one must not hang the test.
        for number in 0..1_000 {
            let Some((lane, granted)) = self.poller.next() else { break };
            let taken = u32::try_from(self.queued[lane].min(u64::from(granted))).expect("at most a grant");
            self.queued[lane] -= u64::from(taken);
            total += u64::from(taken);
            self.happened.push(Happening::Take { lane, granted, taken });
            for (_, lane, records) in during.iter().filter(|(at, ..)| *at == number) {
                self.arrive(*lane, *records);
            }
            self.poller.settle(taken);
            grants += 1;
        }
        for (_, lane, records) in during.iter().filter(|(at, ..)| *at >= grants) {
            self.arrive(*lane, *records);
        }
        self.poller.end();
        self.happened.push(Happening::End);
        total
    }
}

/// Plays the workload, then resumes every lane and polls until a poll takes nothing.
pub(crate) fn play(poller: &mut impl Poller, workload: &Workload) -> Vec<Happening> {
    let mut shell = Shell { poller, queued: vec![0; workload.lanes.len()], happened: Vec::new() };
    for step in &workload.polls {
        for (lane, records) in &step.arrivals {
            shell.arrive(*lane, *records);
        }
        for (lane, paused) in &step.pauses {
            shell.pause(*lane, *paused);
        }
        shell.poll(step.budget, &step.during);
    }
    for lane in 0..workload.lanes.len() {
        shell.pause(lane, false);
    }
    for _ in 0..5_000 {
        if shell.poll(None, &[]) == 0 {
            break;
        }
    }
    shell.happened
}
