//! What a decision costs: nanoseconds per grant by number of lanes.
//!
//! Throughput is in elements, one element is one grant (asked for and settled). The time per grant
//! must not grow with the number of lanes: the scheduler claims O(1). It is to be 100 ns at most at 12
//! lanes, and at 1,000 at most 1.3 times what it is there.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fairpoll_benches::{backlogged_machine, full_poll};
use fairpoll_core::{Cost, LaneConfig, LaneIndex, Policy, PollMachine, Timestamp};

const LANES: [u32; 5] = [1, 10, 12, 100, 1_000];
const QUOTA: u32 = 500;

/// Every lane has more than its quota: one grant per lane and poll.
fn backlogged(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduler/backlogged");
    for lanes in LANES {
        group.throughput(Throughput::Elements(u64::from(lanes)));
        group.bench_with_input(BenchmarkId::from_parameter(lanes), &lanes, |b, lanes| {
            let mut machine = backlogged_machine(*lanes, QUOTA, Policy::DeficitRoundRobin);
            b.iter(|| black_box(full_poll(&mut machine, None)));
        });
    }
    group.finish();
}

/// Polls with a cap of one quantum that does not divide the ring evenly: visits are interrupted and
/// resumed, two grants in nearly every poll, whatever the number of lanes.
fn capped(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduler/capped");
    for lanes in LANES {
        let mut machine = backlogged_machine(lanes, QUOTA, Policy::DeficitRoundRobin);
        // Counted beforehand: 100 polls make the same number of grants in every iteration only
        // nearly, but to better than one in a hundred.
        let grants: u32 = (0..100).map(|_| full_poll(&mut machine, Some(QUOTA - 1))).sum();
        group.throughput(Throughput::Elements(u64::from(grants)));
        group.bench_function(BenchmarkId::from_parameter(lanes), |b| {
            b.iter(|| (0..100).map(|_| full_poll(&mut machine, Some(QUOTA - 1))).sum::<u32>());
        });
    }
    group.finish();
}

/// Quiet lanes: each signals one record before every poll, is served and runs empty.
fn quiet(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduler/quiet");
    for lanes in LANES {
        group.throughput(Throughput::Elements(u64::from(lanes)));
        group.bench_with_input(BenchmarkId::from_parameter(lanes), &lanes, |b, lanes| {
            let quota = NonZeroU32::new(QUOTA).expect("not 0");
            let configs = (0..*lanes).map(|_| LaneConfig::with_quota(quota));
            let mut machine = PollMachine::new(configs, Policy::DeficitRoundRobin);
            b.iter(|| {
                for lane in 0..*lanes {
                    machine.lane_ready(LaneIndex(lane));
                }
                machine.begin(Timestamp::ZERO, None);
                while let Some(grant) = machine.next_grant() {
                    machine.settle(grant, 1, Cost { bytes: 100 });
                }
                black_box(machine.end(Timestamp::ZERO))
            });
        });
    }
    group.finish();
}

/// The figures are of few nanoseconds and steady: more time would not make them better.
fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = benches;
    config = short();
    targets = backlogged, capped, quiet
}
criterion_main!(benches);
