//! What a record costs that is fetched already: through [`Consumer::get_many`], and as a program in C would take it.
//!
//! Throughput is in records. In every round all of them are fetched first, untimed, so that neither the broker nor
//! the client's threads have anything to do while they are taken, looked at, marked as processed and given back.
//! Groups are `shell/raw`, `shell/fair` and `shell/single` by number of topics, polls as large as each mode makes
//! them by default. Then, round by round in turns, by how much the shell is slower: 20 ns per record at most. *Raw by
//! topic* takes a batch from a queue for each topic in turns, which costs something in C as well: batches are smaller,
//! and records are not taken in the order in which they came to lie in memory.
//!
//! `batch/iterate` and `batch/copy` are a batch that is walked through, and one of which every record is copied.

#![expect(clippy::print_stdout, reason = "what it prints is its result")]

use std::env;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use fairpoll::{Batch, Config, Consumer, ModeRequest, OwnedRecord, SeekTo};
use rdkafka::ClientConfig;
use tokio::runtime::Runtime;

use self::common::broker::{self, Filled};
use self::common::raw::{Raw, Seen};

mod common {
    pub(crate) mod broker;
    pub(crate) mod raw;
}

/// As the binaries have it, and with `override` librdkafka too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOPICS: [usize; 2] = [1, 12];
/// As many as a partition of the embedded broker holds, with room to spare.
const RECORDS: usize = 36_000;
/// Records: the default of `single`, and what a program in C would take at once.
const POLL: usize = 500;
/// Records of a topic in a poll: the default of `fair` for as many topics as are the most here.
const POLL_OF_A_TOPIC: usize = 200;
/// Of the comparison at the end.
const ROUNDS: usize = 101;
/// Whoever has not come by then will not.
const PATIENCE: Duration = Duration::from_secs(20);
/// Nanoseconds per record that the shell may add.
const MOST_NS: f64 = 20.0;

/// So that everything is fetched, whoever fetches.
const PROPERTIES: [(&str, &str); 6] = [
    ("auto.offset.reset", "earliest"),
    ("queued.min.messages", "1000000"),
    ("queued.max.messages.kbytes", "1048576"),
    ("max.partition.fetch.bytes", "1048576"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
];

/// Somebody who reads the same records over and over.
trait Reader {
    fn rewind(&mut self);
    /// Records that are fetched, and perhaps a few control operations.
    fn queued(&self) -> usize;
    /// Takes what there is at once, and looks at it.
    fn poll(&mut self) -> Seen;

    /// Everything is read from the beginning, and waits in the client.
    fn fetch(&mut self) {
        self.rewind();
        let began = Instant::now();
        while self.queued() < RECORDS {
            assert!(began.elapsed() < PATIENCE, "{} of {RECORDS} records were fetched", self.queued());
            thread::sleep(Duration::from_millis(1));
        }
        // Control operations were among them, and the client's threads go to sleep.
        thread::sleep(Duration::from_millis(2));
    }

    /// How long it takes to read everything once it is fetched.
    fn round(&mut self) -> Duration {
        self.fetch();
        self.read()
    }

    fn read(&mut self) -> Duration {
        let began = Instant::now();
        let mut left = RECORDS;
        while left > 0 {
            let Seen { records, sum } = self.poll();
            assert!(records > 0 || began.elapsed() < PATIENCE, "{left} of {RECORDS} records did not come");
            left -= records;
            black_box(sum);
        }
        began.elapsed()
    }
}

impl Reader for Raw {
    fn rewind(&mut self) {
        Self::rewind(self);
    }

    fn queued(&self) -> usize {
        Self::queued(self)
    }

    fn poll(&mut self) -> Seen {
        self.batch()
    }
}

/// A consumer of ours.
struct Shell {
    runtime: Runtime,
    consumer: Consumer,
    topics: Vec<String>,
}

impl Shell {
    fn start(config: Config, topics: &[String]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let consumer = runtime.block_on(async { Consumer::start(config) }).expect("a consumer");
        Self { runtime, consumer, topics: topics.to_vec() }
    }

    fn batch(&mut self) -> Batch {
        let polled = self.runtime.block_on(self.consumer.get_many(Duration::from_secs(1), None));
        let batch = polled.expect("a poll");
        assert_eq!(batch.errors(), []);
        batch
    }

    /// A batch as large as polls make them.
    fn whole_batch(&mut self) -> Batch {
        self.fetch();
        self.batch()
    }
}

impl Reader for Shell {
    fn rewind(&mut self) {
        let Self { runtime, consumer, topics } = self;
        runtime.block_on(async {
            for topic in topics {
                let sought = consumer.seek(topic, 0, SeekTo::Offset(0), Duration::from_secs(10)).await;
                sought.expect("the partition is ours");
            }
        });
    }

    fn queued(&self) -> usize {
        let of_topics = self.consumer.consumers();
        let queued = of_topics.values().map(|info| info.queued);
        if self.consumer.status().lanes == 1 { queued.max().unwrap_or(0) } else { queued.sum() }
    }

    fn poll(&mut self) -> Seen {
        let batch = self.batch();
        let mut seen = Seen::default();
        for record in batch.records() {
            seen.records += 1;
            let place = record.topic().as_ptr() as u64 ^ u64::from(record.partition().unsigned_abs());
            seen.sum = seen.sum.wrapping_add(place);
            let bytes = record.value().map_or(0, <[u8]>::len);
            seen.sum = seen.sum.wrapping_add(record.offset().unsigned_abs() + bytes as u64);
        }
        self.consumer.mark_processed(&batch);
        seen
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.runtime.block_on(self.consumer.stop(Duration::from_secs(5)));
    }
}

fn shell(broker: &Filled, mode: ModeRequest, topics: &[String]) -> Shell {
    let config = broker::config(broker.servers(), &format!("{mode}-{}", topics.len()), topics).mode(mode);
    let config = PROPERTIES.iter().fold(config, |config, (name, value)| config.property(*name, *value));
    let mut shell = Shell::start(config, topics);
    // Joined, and sought for the first time once everything came.
    shell.read();
    shell
}

fn raw(broker: &Filled, topics: &[String]) -> Raw {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.servers()).set("group.id", "raw").set("fetch.wait.max.ms", "10");
    PROPERTIES.iter().for_each(|(name, value)| {
        config.set(*name, *value);
    });
    let mut raw = Raw::start(&config, topics, POLL);
    raw.read();
    raw
}

/// One round is an iteration; Criterion is told what was timed of it.
fn rounds(criterion: &mut Criterion, name: &str, topics: usize, reader: &mut dyn Reader) {
    let mut group = criterion.benchmark_group(format!("shell/{name}"));
    group.throughput(Throughput::Elements(RECORDS as u64)).sampling_mode(SamplingMode::Flat);
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group.bench_function(BenchmarkId::from_parameter(topics), |b| {
        b.iter_custom(|iterations| (0..iterations).map(|_| reader.round()).sum());
    });
    group.finish();
}

/// Walking through a batch as it is lent, and copying every record of it.
fn batches(criterion: &mut Criterion, topics: usize, batch: &Batch) {
    for (name, copies) in [("iterate", false), ("copy", true)] {
        let mut group = criterion.benchmark_group(format!("batch/{name}"));
        group.throughput(Throughput::Elements(batch.len() as u64));
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
        group.bench_function(BenchmarkId::from_parameter(topics), |b| {
            if copies {
                b.iter(|| batch.records().map(|record| record.to_owned()).collect::<Vec<OwnedRecord>>());
            } else {
                b.iter(|| {
                    for record in batch.records() {
                        black_box((record.topic(), record.partition(), record.offset(), record.value()));
                    }
                });
            }
        });
        group.finish();
    }
}

/// Nanoseconds per record of many rounds: median, and between which values nine tenths of them lie.
struct Spread {
    median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |tenths: usize| values[(values.len() - 1) * tenths / 20];
        Self { median: at(10), low: at(1), high: at(19) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:7.1} ({:.1} to {:.1})", self.median, self.low, self.high)
    }
}

/// In turns, so that whatever else the machine does befalls all of them.
fn over_raw(topics: usize, readers: &mut [(&str, &mut dyn Reader)], rounds: usize) {
    let mut taken: Vec<Vec<f64>> = vec![Vec::new(); readers.len()];
    for round in 0..rounds {
        for turn in 0..readers.len() {
            let reader = (round + turn) % readers.len();
            let took = readers[reader].1.round();
            taken[reader].push(took.as_nanos() as f64 / RECORDS as f64);
        }
    }
    println!("ns per record, {topics} topics, {rounds} rounds: median (5 % to 95 %)");
    for ((name, _), of_reader) in readers.iter().zip(&taken) {
        print!("  {name:12} {}", Spread::of(of_reader.clone()));
        let more = Spread::of(of_reader.iter().zip(&taken[0]).map(|(own, raw)| own - raw).collect());
        match name.starts_with("raw") {
            true if readers[0].0 == *name => println!(),
            true => println!("  over raw {more}"),
            // Decides nothing, and the first one of all is the slowest.
            false if rounds == 1 => println!("  over raw {more}"),
            false if more.median <= MOST_NS => println!("  over raw {more}, within {MOST_NS}"),
            false => println!("  over raw {more}, MORE THAN {MOST_NS}"),
        }
    }
}

fn main() {
    broker::serve_if_asked();
    let mut criterion = Criterion::default().configure_from_args();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let once = arguments.iter().any(|argument| argument == "--test");
    let of_all = arguments.iter().all(|argument| argument.starts_with("--"));
    let mut broker = Filled::start();
    for topics in TOPICS {
        let names = broker.fill(&format!("of-{topics}"), topics, RECORDS);
        let mut raw = raw(&broker, &names);
        let mut fair = shell(&broker, ModeRequest::Fair, &names);
        let mut single = shell(&broker, ModeRequest::Single, &names);
        rounds(&mut criterion, "raw", topics, &mut raw);
        rounds(&mut criterion, "fair", topics, &mut fair);
        rounds(&mut criterion, "single", topics, &mut single);
        if of_all {
            let mut apart = self::raw(&broker, &names);
            apart.split(&names, POLL_OF_A_TOPIC);
            let mut readers: [(&str, &mut dyn Reader); 4] = [
                ("raw", &mut raw),
                ("raw by topic", &mut apart),
                ("fair", &mut fair),
                ("single", &mut single),
            ];
            over_raw(topics, &mut readers, if once { 1 } else { ROUNDS });
        }
        batches(&mut criterion, topics, &fair.whole_batch());
    }
    criterion.final_summary();
}
