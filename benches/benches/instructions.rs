//! How many instructions the deciding half takes, as callgrind counts them, with limits: `ci/instructions` runs it.
//!
//! An instruction count does not depend on who else uses the machine, so a limit can stand two in a hundred above
//! what was measured. The compiler decides it as well: a new toolchain means new limits, which is what
//! `ci/instructions` says when one is passed.
//!
//! Everything is counted over [`POLLS`] polls, after as many that are not: the first ones allocate.

#![expect(missing_docs, unused_qualifications, reason = "the macros write it so")]

use std::hint::black_box;
use std::num::NonZeroU32;

use fairpoll_benches::{backlogged_machine, full_poll};
use fairpoll_core::{
    Cost, Lag, LagProportional, LaneConfig, LaneIndex, OffsetRange, OffsetTracker, PartitionIndex, Policy,
    PollMachine, QuotaLimits, Timestamp,
};
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};

const POLLS: i64 = 100;
const QUOTA: u32 = 500;

/// So many instructions were measured; two in a hundred more are the limit.
fn measured(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions * 102 / 100)]));
    config
}

fn backlogged(lanes: u32) -> PollMachine {
    let mut machine = backlogged_machine(lanes, QUOTA, Policy::DeficitRoundRobin);
    for _ in 0..POLLS {
        full_poll(&mut machine, None);
    }
    machine
}

// One grant for each lane and poll.
#[library_benchmark]
#[bench::lanes_12(args = (12), setup = backlogged, config = measured(451_753))]
#[bench::lanes_1000(args = (1_000), setup = backlogged, config = measured(35_624_553))]
fn grants(mut machine: PollMachine) -> PollMachine {
    for _ in 0..POLLS {
        black_box(full_poll(&mut machine, None));
    }
    machine
}

fn quiet_polls(machine: &mut PollMachine, lanes: u32) {
    for _ in 0..POLLS {
        for lane in 0..lanes {
            machine.lane_ready(LaneIndex(lane));
        }
        machine.begin(Timestamp::ZERO, None);
        while let Some(grant) = machine.next_grant() {
            machine.settle(grant, 1, Cost { bytes: 100 });
        }
        black_box(machine.end(Timestamp::ZERO));
    }
}

fn quiet(lanes: u32) -> (PollMachine, u32) {
    let quota = NonZeroU32::new(QUOTA).expect("not 0");
    let configs = (0..lanes).map(|_| LaneConfig::with_quota(quota));
    let mut machine = PollMachine::new(configs, Policy::DeficitRoundRobin);
    quiet_polls(&mut machine, lanes);
    (machine, lanes)
}

// Each lane says that it has a record, is served and runs empty.
#[library_benchmark]
#[bench::lanes_12(args = (12), setup = quiet, config = measured(630_704))]
#[bench::lanes_1000(args = (1_000), setup = quiet, config = measured(50_919_904))]
fn arrivals((mut machine, lanes): (PollMachine, u32)) -> PollMachine {
    quiet_polls(&mut machine, lanes);
    machine
}

/// A tracker, and the first offset that was not delivered.
type Tracked = (OffsetTracker, u32, i64);

fn batches((mut tracker, partitions, begin): Tracked) -> Tracked {
    let mut first = begin;
    for _ in 0..POLLS {
        let range = OffsetRange { first, last: first + i64::from(QUOTA) - 1 };
        for partition in (0..partitions).map(PartitionIndex) {
            let generation = tracker.delivered(partition, range).expect("assigned");
            let done = tracker.completed(partition, generation, range);
            black_box(done.expect("delivered"));
        }
        first += i64::from(QUOTA);
    }
    (tracker, partitions, first)
}

fn tracked(partitions: u32) -> Tracked {
    let mut tracker = OffsetTracker::new();
    for partition in (0..partitions).map(PartitionIndex) {
        tracker.assigned(partition, None);
    }
    batches((tracker, partitions, 0))
}

// A batch of every partition is delivered and completed as a whole.
#[library_benchmark]
#[bench::partitions_12(args = (12), setup = tracked, config = measured(213_341))]
#[bench::partitions_1000(args = (1_000), setup = tracked, config = measured(17_676_241))]
fn completed_batches(tracked: Tracked) -> Tracked {
    batches(tracked)
}

// Every record of a batch acknowledged by itself, the first one last: all the others wait behind a gap.
#[library_benchmark]
#[bench::first_last(args = (1), setup = tracked, config = measured(294_109))]
fn acknowledged_records((mut tracker, _, first): Tracked) -> OffsetTracker {
    let partition = PartitionIndex(0);
    let records = i64::from(QUOTA);
    let range = OffsetRange { first, last: first + records - 1 };
    let generation = tracker.delivered(partition, range).expect("assigned");
    for offset in (1..records).chain([0]).map(|record| first + record) {
        let one = OffsetRange { first: offset, last: offset };
        black_box(tracker.completed(partition, generation, one).expect("delivered"));
    }
    tracker
}

type Observed = (LagProportional, Vec<Option<Lag>>);

fn uneven(lanes: u32) -> Observed {
    let quota = |records| NonZeroU32::new(records).expect("not 0");
    let limits = QuotaLimits { min: quota(10), max: quota(QUOTA) };
    let configs = (0..lanes).map(|_| LaneConfig::with_quota(quota(QUOTA)));
    let lags = (0..lanes)
        .map(|lane| Some(Lag { records: u64::from(lane) * 1_000, age: std::time::Duration::ZERO }))
        .collect();
    (LagProportional::new(limits, configs), lags)
}

// Quotas follow the lags, looked at once for each poll.
#[library_benchmark]
#[bench::lanes_12(args = (12), setup = uneven, config = measured(1_609_020))]
fn observed_lags((mut quotas, mut lags): Observed) -> LagProportional {
    for poll in 1..=POLLS.unsigned_abs() {
        lags.rotate_left(1);
        let now = Timestamp::ZERO + std::time::Duration::from_secs(poll);
        black_box(quotas.observe(now, &lags));
    }
    quotas
}

library_benchmark_group!(
    name = core,
    benchmarks = [grants, arrivals, completed_batches, acknowledged_records, observed_lags]
);

gungraun::main!(library_benchmark_groups = core);
