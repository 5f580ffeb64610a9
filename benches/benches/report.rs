//! From the log of a run to its report: read, judged, rendered. Throughput is in records that the run consumed; the
//! log holds ranges of them, one event per poll.

use std::hint::black_box;
use std::io::Cursor;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use fairpoll_judge::event::{
    Body, Event, GateFacts, Header, LOG_VERSION, ModeFacts, Origin, Outcome, Phase, TopicFacts,
};
use fairpoll_judge::judge::{judge, read_log};
use fairpoll_judge::protocol::{
    DeliveredRange, PROTOCOL_VERSION, PartitionOffset, ProcessingCost, TopicPartition, WorkerLine,
};
use fairpoll_judge::report::{ReportInput, files};
use fairpoll_judge::summary::Verdict;

/// As the binaries have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RECORDS: [u64; 3] = [100_000, 1_000_000, 10_000_000];
const TOPICS: u64 = 10;
const OF_A_POLL: u64 = 500;
/// Records that the broker acknowledged together.
const OF_AN_ACK: u64 = 5_000;
const POLLS_OF_A_COMMIT: u64 = 10;
const POLL_NS: u64 = 5_000_000;
const MODE: &str = "fair";

fn name(topic: u64) -> String {
    format!("topic-{topic}")
}

fn id(topic: u64, offset: u64) -> u64 {
    (topic + 1) << 48 | offset
}

fn header(records: u64) -> Header {
    let facts = |topic| TopicFacts {
        name: name(topic),
        partitions: 1,
        weight: 1,
        backlog: records / TOPICS,
        rate_per_s: 0.0,
        value_bytes: Some(1_024),
        deliverable: true,
    };
    let gate = |expression: &str| GateFacts { expression: expression.to_owned(), line: 0 };
    Header {
        version: LOG_VERSION,
        scenario: "bench".to_owned(),
        purpose: "a long run".to_owned(),
        broker: "external".to_owned(),
        runs: 1,
        availability_ms: 50,
        deadline_s: Some(3_600.0),
        topics: (0..TOPICS).map(facts).collect(),
        modes: vec![ModeFacts {
            name: MODE.to_owned(),
            label: MODE.to_owned(),
            max_poll_records: 50,
            max_records: None,
            processing: ProcessingCost::default(),
        }],
        demonstrates: Vec::new(),
        gates: vec![gate("fair.starved_polls_max <= 1"), gate("fair.drain_s <= 3600")],
        instances: 1,
    }
}

/// A run of one process that takes the same number of records from every topic at each poll, 5 ms apart.
fn log(records: u64) -> Vec<Event> {
    let header = Event { t_ns: 0, mode: None, run: None, body: Body::Header(Box::new(header(records))) };
    let mut events = vec![header];
    let mut now = 0;
    let mut emit = |t_ns, body| events.push(Event { t_ns, mode: Some(MODE.to_owned()), run: Some(1), body });
    let worker = |line| Body::Worker { life: 1, line };
    emit(now, Body::Phase { phase: Phase::Fill });
    let of_topic = records / TOPICS;
    for topic in 0..TOPICS {
        for first in (0..of_topic).step_by(usize::try_from(OF_AN_ACK).expect("small")) {
            emit(
                now,
                Body::Produced {
                    topic: name(topic),
                    partition: 0,
                    first_offset: first.cast_signed(),
                    count: OF_AN_ACK,
                    first_id: id(topic, first),
                    scheduled_t0_ns: now,
                    interval_ns: 0,
                    ack_ns: now,
                    sent_ns: now,
                    origin: Origin::Backlog,
                },
            );
        }
    }
    now += 1_000_000_000;
    emit(now, Body::Phase { phase: Phase::Join });
    emit(now, Body::WorkerStarted { life: 1, instance: 1, pid: 1, measured: true });
    let hello = WorkerLine::Hello {
        protocol_version: PROTOCOL_VERSION,
        start_ns: now,
        client: "bench".to_owned(),
        actual_mode: Some(MODE.to_owned()),
        reason: None,
        handles: Some(1),
    };
    emit(now, worker(hello));
    now += 100_000_000;
    let partitions = (0..TOPICS).map(|topic| TopicPartition { topic: name(topic), partition: 0 }).collect();
    emit(now, worker(WorkerLine::Assigned { t_ns: now, generation: 1, partitions }));
    emit(now, Body::Phase { phase: Phase::Drain });
    let each = OF_A_POLL / TOPICS;
    let polls = records / OF_A_POLL;
    for seq in 1..=polls {
        let (first, end) = ((seq - 1) * each, seq * each);
        let range = |topic| DeliveredRange {
            topic: name(topic),
            partition: 0,
            first: first.cast_signed(),
            last: end.cast_signed() - 1,
            count: each,
            id_sum: (first..end).map(|offset| id(topic, offset)).fold(0, u64::wrapping_add),
        };
        let ranges = (0..TOPICS).map(range).collect();
        let t_begin_ns = now;
        now += POLL_NS;
        emit(now, worker(WorkerLine::Poll { seq, t_begin_ns, t_return_ns: now, ranges }));
        emit(now, worker(WorkerLine::Processed { seq, t_ns: now, failed: Vec::new() }));
        if seq % POLLS_OF_A_COMMIT == 0 || seq == polls {
            let offset =
                |topic| PartitionOffset { topic: name(topic), partition: 0, offset: end.cast_signed() };
            let offsets = (0..TOPICS).map(offset).collect();
            emit(now, worker(WorkerLine::CommitSent { id: seq, t_ns: now, offsets }));
            emit(now, worker(WorkerLine::CommitResult { id: seq, t_ns: now, error: None }));
            let (rss_kib, connections) = (32_000 + seq % 100, Some(2));
            let cpu_ms = now / 10_000_000;
            emit(
                now,
                Body::Sample { life: 1, rss_kib, rss_peak_kib: 33_000, threads: 6, connections, cpu_ms },
            );
        }
    }
    emit(now, Body::Phase { phase: Phase::Stop });
    emit(now, worker(WorkerLine::Bye { t_ns: now, polls, empty_polls: Some(0) }));
    let cpu_ms = now / 10_000_000;
    let code = Some(0);
    emit(now, Body::WorkerExited { life: 1, code, signal: None, cpu_ms, expected: true, by_fault: false });
    for topic in 0..TOPICS {
        let log_end = of_topic.cast_signed();
        emit(
            now,
            Body::BrokerOffsets {
                topic: name(topic),
                partition: 0,
                log_start: 0,
                log_end,
                committed: Some(log_end),
                committed_known: true,
            },
        );
    }
    emit(now, Body::RunEnded { outcome: Outcome::Finished });
    events
}

fn report(c: &mut Criterion) {
    for records in RECORDS {
        let events = log(records);
        let judgement = judge(&events).expect("a log");
        // What is measured must be a run that went well: all else is told in words.
        assert_eq!(judgement.summary.verdict, Verdict::Pass, "{:?}", judgement.summary.reasons);
        let input =
            ReportInput { summary: &judgement.summary, timelines: &judgement.timelines, manifest: None };
        let lines = events.iter().map(|event| serde_json::to_string(event).expect("JSON") + "\n");
        let text: String = lines.collect();
        let mut bench = |name: &str, work: &dyn Fn()| {
            let mut group = c.benchmark_group(format!("report/{name}"));
            group.throughput(Throughput::Elements(records)).sampling_mode(SamplingMode::Flat);
            group.sample_size(10).warm_up_time(Duration::from_millis(300));
            group.measurement_time(Duration::from_secs(3));
            group.bench_function(BenchmarkId::from_parameter(records), |b| b.iter(work));
            group.finish();
        };
        bench("read", &|| drop(black_box(read_log(Cursor::new(&text)))));
        bench("analyse", &|| drop(black_box(judge(&events))));
        bench("render", &|| drop(black_box(files(&input))));
    }
}

criterion_group!(benches, report);
criterion_main!(benches);
