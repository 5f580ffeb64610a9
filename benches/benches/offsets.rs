//! What it costs to know what may be committed.
//!
//! Throughput is in records. Completing in order must cost the same per range however long the range is; out of
//! order it may grow with the number of gaps, not with records.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fairpoll_core::{OffsetRange, OffsetTracker, PartitionIndex};

const PARTITION: PartitionIndex = PartitionIndex(0);
const RECORDS: i64 = 500;

fn range(first: i64) -> OffsetRange {
    OffsetRange { first, last: first + RECORDS - 1 }
}

/// A batch of one partition is delivered and completed as a whole, for ever: the offsets never start anew.
fn in_order(c: &mut Criterion) {
    let mut group = c.benchmark_group("offsets/in_order");
    for partitions in [1_u32, 100, 1_000] {
        group.throughput(Throughput::Elements(u64::from(partitions) * RECORDS.unsigned_abs()));
        group.bench_with_input(BenchmarkId::from_parameter(partitions), &partitions, |b, &partitions| {
            let mut tracker = OffsetTracker::new();
            (0..partitions).for_each(|partition| {
                let _ = tracker.assigned(PartitionIndex(partition), None);
            });
            let mut first = 0;
            b.iter(|| {
                for partition in (0..partitions).map(PartitionIndex) {
                    let generation = tracker.delivered(partition, range(first)).expect("assigned");
                    let done = tracker.completed(partition, generation, range(first));
                    black_box(done.expect("delivered"));
                }
                first += RECORDS;
            });
        });
    }
    group.finish();
}

/// Every record by itself, as a worker pool acknowledges: in order, or the first of each batch last.
fn by_record(c: &mut Criterion) {
    let mut group = c.benchmark_group("offsets/by_record");
    group.throughput(Throughput::Elements(RECORDS.unsigned_abs()));
    for (name, begin) in [("in_order", 0), ("first_last", 1)] {
        group.bench_function(name, |b| {
            let mut tracker = OffsetTracker::new();
            tracker.assigned(PARTITION, None);
            let mut first = 0;
            b.iter(|| {
                let generation = tracker.delivered(PARTITION, range(first)).expect("assigned");
                for record in (begin..RECORDS).chain(0..begin) {
                    let offset = first + record;
                    let one = OffsetRange { first: offset, last: offset };
                    black_box(tracker.completed(PARTITION, generation, one).expect("delivered"));
                }
                first += RECORDS;
            });
        });
    }
    group.finish();
}

/// One record in ten stays out: completing goes on behind so many gaps.
fn behind_gaps(c: &mut Criterion) {
    let mut group = c.benchmark_group("offsets/behind_gaps");
    for gaps in [1_i64, 100, 10_000] {
        group.throughput(Throughput::Elements(1));
        group.bench_with_input(BenchmarkId::from_parameter(gaps), &gaps, |b, &gaps| {
            let mut tracker = OffsetTracker::new();
            tracker.assigned(PARTITION, None);
            let last = 10 * gaps;
            let all = OffsetRange { first: 0, last };
            let generation = tracker.delivered(PARTITION, all).expect("assigned");
            for gap in 0..gaps {
                let done = OffsetRange { first: 10 * gap + 1, last: 10 * gap + 9 };
                tracker.completed(PARTITION, generation, done).expect("delivered");
            }
            let one = OffsetRange { first: last, last };
            b.iter(|| black_box(tracker.completed(PARTITION, generation, one).expect("delivered")));
        });
    }
    group.finish();
}

criterion_group!(benches, in_order, by_record, behind_gaps);
criterion_main!(benches);
