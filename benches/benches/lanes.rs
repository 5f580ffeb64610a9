//! What lanes cost: `fair` drains the same records from 1 topic, or from 200.
//!
//! `lanes/throughput` is from the assignment to the last record, in records, broker and client on the same machine.
//! `lanes/memory` is the highest resident memory of a process that does nothing else, in bytes.

use std::env;
use std::process::{self, Command};
use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use fairpoll::{Consumer, ModeRequest};

use self::common::broker::{self, Filled};

mod common {
    pub(crate) mod broker;
}

/// As the binaries have it, and with `override` librdkafka too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LANES: [usize; 4] = [1, 10, 50, 200];
/// In all: as many as a partition of the embedded broker holds, with room to spare.
const RECORDS: usize = 60_000;
/// Whoever has not come by then will not.
const PATIENCE: Duration = Duration::from_secs(20);
/// This program's first argument where it is the process that is measured; broker, group and topics follow.
const DRAIN: &str = "drain";

/// Everything once, in a group that nobody was in before; how long from the assignment on.
fn drain(servers: &str, group: &str, topics: &[String]) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let config = broker::config(servers, group, topics).mode(ModeRequest::Fair);
        let mut consumer = Consumer::start(config).expect("a consumer");
        let (began, mut assigned, mut records) = (Instant::now(), None, 0);
        while records < RECORDS {
            // Short until then, for an assignment is seen only between polls.
            let wait = Duration::from_millis(if assigned.is_some() { 1_000 } else { 1 });
            let batch = consumer.get_many(wait, None).await.expect("a poll");
            assert_eq!(batch.errors(), []);
            assert!(!batch.is_empty() || began.elapsed() < PATIENCE, "{records} of {RECORDS} records came");
            records += batch.records().filter(|record| record.value().is_some()).count();
            consumer.mark_processed(&batch);
            if assigned.is_none() && consumer.status().assigned_partitions == topics.len() {
                assigned = Some(Instant::now());
            }
        }
        let took = assigned.map_or(Duration::ZERO, |assigned| assigned.elapsed());
        consumer.stop(Duration::from_secs(5)).await;
        took
    })
}

/// A group's name for every time.
fn group(counter: &mut u32) -> String {
    *counter += 1;
    format!("lanes-{counter}")
}

fn throughput(criterion: &mut Criterion, broker: &Filled, topics: &[Vec<String>], counter: &mut u32) {
    let mut group_of = criterion.benchmark_group("lanes/throughput");
    group_of.throughput(Throughput::Elements(RECORDS as u64)).sampling_mode(SamplingMode::Flat);
    group_of
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(5));
    for topics in topics {
        group_of.bench_with_input(BenchmarkId::from_parameter(topics.len()), topics, |b, topics| {
            b.iter_custom(|iterations| {
                (0..iterations).map(|_| drain(broker.servers(), &group(counter), topics)).sum()
            });
        });
    }
    group_of.finish();
}

/// Bytes, which only [`Bencher::iter_custom`](criterion::Bencher::iter_custom) can tell.
struct Bytes;

impl Measurement for Bytes {
    type Intermediate = ();
    type Value = u64;

    fn start(&self) {}

    fn end(&self, (): ()) -> u64 {
        0
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    #[expect(clippy::cast_precision_loss, reason = "no process has 2⁵³ bytes")]
    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

const MIB: f64 = 1_048_576.0;

impl ValueFormatter for Bytes {
    fn scale_values(&self, _: f64, values: &mut [f64]) -> &'static str {
        values.iter_mut().for_each(|value| *value /= MIB);
        "MiB"
    }

    fn scale_throughputs(&self, _: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        if let Throughput::Elements(elements) = *throughput {
            values.iter_mut().for_each(|value| *value /= elements as f64);
        }
        "B/lane"
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "B"
    }
}

/// The highest resident memory of this process so far, bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
    let kib: u64 = line.trim_end_matches("kB").trim().parse().expect("a number");
    kib * 1024
}

/// What a fresh process says that it took.
fn peak_of_a_process(servers: &str, group: &str, topics: &[String]) -> u64 {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args([DRAIN, servers, group]).args(topics);
    let output = command.output().expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

fn memory(criterion: &mut Criterion<Bytes>, broker: &Filled, topics: &[Vec<String>], counter: &mut u32) {
    let mut group_of = criterion.benchmark_group("lanes/memory");
    group_of.sampling_mode(SamplingMode::Flat).sample_size(10);
    // Nothing of a process is left for the next one to be warm.
    group_of.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(1));
    for topics in topics {
        group_of.bench_with_input(BenchmarkId::from_parameter(topics.len()), topics, |b, topics| {
            b.iter_custom(|iterations| {
                (0..iterations).map(|_| peak_of_a_process(broker.servers(), &group(counter), topics)).sum()
            });
        });
    }
    group_of.finish();
}

#[expect(clippy::print_stdout, reason = "the measured process tells its parent")]
fn drain_if_asked() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [first, servers, group, topics @ ..] = &arguments[..]
        && first == DRAIN
    {
        drain(servers, group, topics);
        println!("{}", peak());
        process::exit(0);
    }
}

fn main() {
    broker::serve_if_asked();
    drain_if_asked();
    let mut broker = Filled::start();
    let topics = LANES.map(|lanes| broker.fill(&format!("of-{lanes}"), lanes, RECORDS));
    let mut counter = 0;
    let mut criterion = Criterion::default().configure_from_args();
    throughput(&mut criterion, &broker, &topics, &mut counter);
    let mut criterion = criterion.with_measurement(Bytes);
    memory(&mut criterion, &broker, &topics, &mut counter);
    criterion.final_summary();
}
