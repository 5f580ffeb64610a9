//! What lag costs: to know it, and to let quotas follow it.
//!
//! Throughput is in lanes, of one partition each.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fairpoll_core::{
    Committed, Lag, LagProportional, LaneConfig, LaneIndex, PartitionLag, QuotaLimits, Sample, Timestamp,
};

const LANES: [u32; 3] = [12, 100, 1_000];

fn records(records: u32) -> NonZeroU32 {
    NonZeroU32::new(records).expect("not 0")
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}

/// Both lags of a partition, from its four numbers.
fn of_partitions(c: &mut Criterion) {
    let mut group = c.benchmark_group("lag/partitions");
    for lanes in LANES {
        let known = |lane: u32| {
            let sample = |offset: u32, millis| Some(Sample { offset: i64::from(offset), at: at(millis) });
            PartitionLag {
                log_start: sample(lane, 5),
                end: sample(lane * 1_000 + 500, 10),
                position: sample(lane * 900, 20),
                committed: sample(lane * 800, 15).map_or(Committed::NotAsked, Committed::At),
            }
        };
        let partitions: Vec<PartitionLag> = (0..lanes).map(known).collect();
        group.throughput(Throughput::Elements(u64::from(lanes)));
        group.bench_with_input(BenchmarkId::from_parameter(lanes), &partitions, |b, partitions| {
            b.iter(|| {
                for partition in black_box(partitions) {
                    let _ = black_box(partition.processing(at(30)));
                    let _ = black_box(partition.durability(at(30)));
                }
            });
        });
    }
    group.finish();
}

/// Quotas follow lags that change: one look of the machine, and what it came to for each lane.
fn quotas(c: &mut Criterion) {
    let mut group = c.benchmark_group("lag/quotas");
    for lanes in LANES {
        group.throughput(Throughput::Elements(u64::from(lanes)));
        group.bench_with_input(BenchmarkId::from_parameter(lanes), &lanes, |b, &lanes| {
            let limits = QuotaLimits { min: records(10), max: records(500) };
            let configs = (0..lanes).map(|_| LaneConfig::with_quota(records(100)));
            let mut quotas = LagProportional::new(limits, configs);
            let lag = |lane| Some(Lag { records: u64::from(lane) * 1_000, age: Duration::ZERO });
            let mut lags: Vec<Option<Lag>> = (0..lanes).map(lag).collect();
            let mut now = Timestamp::ZERO;
            b.iter(|| {
                lags.rotate_left(1);
                now = now + Duration::from_millis(100);
                quotas.observe(now, &lags);
                (0..lanes).map(|lane| quotas.quota(LaneIndex(lane)).get()).sum::<u32>()
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
    targets = of_partitions, quotas
}
criterion_main!(benches);
