//! Virtual time: grants per second through the simulated loop of `fair`, a backlog of a thousand million records,
//! and a thousand small runs as a capacity plan makes them.
//!
//! It is to simulate a million grants a second and core, a backlog of 10⁹ records within 5 s, and a thousand runs
//! of a million records within 10 s on two cores. The last is measured on one: 20 s.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fairpoll_core::{Mode, Policy};
use fairpoll_sim::virtual_time::{FetchSettings, Group, Model, Poll, Setup, TopicSetup, Trace, simulate};

const DEEP: u64 = 4;
const QUIET: usize = 8;

/// Modes, and what the engine has each of them fetch of a partition at once.
const SINGLE: (Mode, u64) = (Mode::Single, 1 << 20);
const FAIR: (Mode, u64) = (Mode::Fair, 256 << 10);

/// The workload of the project's race: four deep topics, eight quiet ones.
fn setup((mode, piece_bytes): (Mode, u64), records: u64, max_poll_records: u32) -> Setup {
    let topic = |partitions, backlog| TopicSetup {
        partitions,
        earlier: 0,
        backlog,
        rate_per_s: 0.0,
        record_bytes: 120,
        unpacked_bytes: 200,
        weight: 1,
        priority: 0,
    };
    let deep = std::iter::repeat_n(topic(4, records / DEEP), 4);
    let quiet = std::iter::repeat_n(topic(1, 1_000), QUIET);
    Setup {
        mode,
        topics: deep.chain(quiet).collect(),
        quota: NonZeroU32::new(max_poll_records).expect("not 0"),
        policy: Policy::default(),
        max_records: None,
        poll_timeout: Duration::from_secs(1),
        complete_wait: None,
        first_fetch_wait: Duration::from_millis(100),
        refill_wait: Duration::from_millis(10),
        join_wait: Duration::from_secs(5),
        commit_every_polls: 10,
        work_poll: Duration::from_millis(1),
        work_record: Duration::ZERO,
        fetch: FetchSettings {
            queued_records: 10_000,
            queued_bytes: 65_536 * 1024,
            piece_bytes,
            answer_bytes: 50 << 20,
            wait_ns: 50_000_000,
            backoff_ns: 10_000_000,
        },
        threads: 6,
        connections: 2,
        group: Group::Classic,
        nodes: 1,
        live_for: Duration::ZERO,
        deadline: Duration::from_secs(1_000_000),
        seed: 1,
    }
}

/// A lane that had records in a poll had a grant at least.
#[derive(Default)]
struct Grants(u64);

impl Trace for Grants {
    fn polled(&mut self, poll: Poll<'_>) {
        let topic = |partition: usize| if partition < 16 { partition / 4 } else { partition };
        let topics = poll.runs.iter().map(|run| topic(run.partition));
        let others = topics.clone().skip(1);
        self.0 += 1 + topics.zip(others).filter(|(one, other)| one != other).count() as u64;
    }
}

fn drained(setup: &Setup, trace: &mut impl Trace) {
    let end = simulate(setup, &Model::kafka(), trace);
    assert!(end.finished, "{end:?}");
    black_box(end);
}

fn grants(c: &mut Criterion) {
    let mut group = c.benchmark_group("virtual_time/grants");
    group.sample_size(10);
    for max_poll_records in [50, 500] {
        let setup = setup(FAIR, 10_000_000, max_poll_records);
        let mut counted = Grants::default();
        drained(&setup, &mut counted);
        group.throughput(Throughput::Elements(counted.0));
        group.bench_function(format!("fair/{max_poll_records}"), |b| {
            b.iter(|| drained(&setup, &mut ()));
        });
    }
    group.finish();
}

fn deep(c: &mut Criterion) {
    const RECORDS: u64 = 1_000_000_000;
    let mut group = c.benchmark_group("virtual_time/backlog");
    group.sample_size(10).throughput(Throughput::Elements(RECORDS));
    for mode in [SINGLE, FAIR] {
        let setup = setup(mode, RECORDS, 500);
        group.bench_function(format!("{}/1000000000", setup.mode), |b| b.iter(|| drained(&setup, &mut ())));
    }
    group.finish();
}

fn plan(c: &mut Criterion) {
    const POINTS: u64 = 1_000;
    let mut group = c.benchmark_group("virtual_time/plan");
    group.sample_size(10).throughput(Throughput::Elements(POINTS));
    let point = |number: u64| {
        let mode = if number.is_multiple_of(2) { FAIR } else { SINGLE };
        setup(mode, 1_000_000, 100 + u32::try_from(number % 10).unwrap_or(0) * 100)
    };
    let points: Vec<Setup> = (0..POINTS).map(point).collect();
    group.bench_function("points/1000", |b| {
        b.iter(|| points.iter().for_each(|setup| drained(setup, &mut ())));
    });
    group.finish();
}

/// Each of them simulates millions of events: more samples would not make the figures better.
fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = benches;
    config = short();
    targets = grants, deep, plan
}
criterion_main!(benches);
