//! A consumer with a budget of memory keeps within it, whatever its mode: resident memory beyond what it
//! has without any record is at most 1.10 × the budget, while nobody polls and the queues are full, and
//! while they are drained.
//!
//! Memory is a process's, so every consumer has one of its own: this binary, started again. The mock
//! cluster lives here.

#![expect(clippy::print_stdout, reason = "the consumers' processes tell the test what they have")]
#![expect(clippy::print_stderr, reason = "the figures in the documentation are those that this prints")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::{MODES, Mock, stopped};
use fairpoll::{Config, Consumer, GroupStrategy, ModeRequest, SeekTo};
use fairpoll_core::memory::RECORD_OVERHEAD_BYTES;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const HOT: usize = 4;
const QUIET: usize = 20;

/// Twelve consumers of two tests share two cores with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// In each quiet topic.
const QUIET_RECORDS: usize = 3;

/// What the budget assumes without being told.
const HOT_PARTITIONS: i32 = 4;

/// `(MiB, topics)`: four hot ones alone, and with twenty quiet ones beside them.
const CONSUMERS: [(u32, usize); 2] = [(16, HOT), (32, HOT + QUIET)];

/// A record without key and headers has so many bytes on the wire besides its value, at most.
const FRAMING_BYTES: u64 = 12;

/// What a process takes in a second or two that has nothing to do with records.
const UNRELATED_BYTES: u64 = 512 << 10;

const ADDRESS: &str = "FAIRPOLL_MEMORY_ADDRESS";
const MODE: &str = "FAIRPOLL_MEMORY_MODE";
const MIB: &str = "FAIRPOLL_MEMORY_MIB";
const TOPICS: &str = "FAIRPOLL_MEMORY_TOPICS";

/// The topics of a consumer of so many, with the number of their partitions.
fn topics(count: usize) -> impl Iterator<Item = (String, i32)> {
    (0..count).map(move |number| match number {
        0..HOT => (format!("hot-{number}-of-{count}"), HOT_PARTITIONS),
        _ => (format!("quiet-{number}-of-{count}"), 1),
    })
}

fn config(address: &str, mode: ModeRequest, mib: u32, count: usize) -> Config {
    let names = topics(count).map(|(name, _)| name);
    let config = Config::new(address, format!("memory-{mode}-{count}"), names)
        .mode(mode)
        .fetch_buffer_mib(mib)
        // Idle until it is told to go back to the beginning.
        .property("auto.offset.reset", "latest")
        // The mock does not wake a long poll early.
        .property("fetch.wait.max.ms", "10");
    if mode == ModeRequest::Multi { config.group_strategy(GroupStrategy::Own) } else { config }
}

/// A number that librdkafka is told.
fn told(config: &Config, name: &str) -> u64 {
    let explained = config.explain(None).expect("usable");
    let mut properties = explained.handles[0].properties.iter();
    let setting = properties.find(|setting| setting.name == name).expect("follows from the budget");
    setting.value.parse().expect("a number")
}

/// A line of `/proc/self/status`, bytes.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    let kib = found.and_then(|text| text.trim().strip_suffix(" kB")).expect("a line in kB");
    kib.trim().parse::<u64>().expect("a number") * 1024
}

/// What a consumer's process tells, a line each time.
#[derive(Debug, Clone, Copy)]
struct Told {
    /// Resident beyond the idle consumer at most so far, bytes.
    grown: u64,
    /// Records in all queues.
    queued: u64,
    /// Records in the shortest queue of a hot topic.
    queued_min: u64,
}

impl Told {
    fn now(consumer: &Consumer, idle: u64, lanes: usize) -> Self {
        let consumers = consumer.consumers();
        let hot = consumers.iter().filter(|(name, _)| name.starts_with("hot"));
        let queued_min = hot.map(|(_, topic)| topic.queued as u64).min().expect("hot topics");
        let all = consumers.values().map(|topic| topic.queued as u64);
        // All topics of one lane show that lane's queue.
        let queued = if lanes == 1 { queued_min } else { all.sum() };
        Self { grown: memory("VmHWM").saturating_sub(idle), queued, queued_min }
    }

    fn tell(self) {
        println!("\ntold {} {} {}", self.grown, self.queued, self.queued_min);
    }

    fn read(from: &mut impl BufRead) -> Self {
        for line in from.lines() {
            let line = line.expect("the process lives");
            let Some(numbers) = line.strip_prefix("told ") else { continue };
            let mut numbers = numbers.split(' ').map(|number| number.parse().expect("a number"));
            let mut next = || numbers.next().expect("three numbers");
            return Self { grown: next(), queued: next(), queued_min: next() };
        }
        panic!("a consumer's process ended before it told anything");
    }
}

#[tokio::test]
#[ignore = "a process of its own, started by the test beside it"]
async fn a_consumer_in_a_process_of_its_own() {
    let said = |name: &str| std::env::var(name).expect("started by the test beside it");
    let count: usize = said(TOPICS).parse().expect("a number");
    let mode: ModeRequest = said(MODE).parse().expect("a mode");
    let config = config(&said(ADDRESS), mode, said(MIB).parse().expect("MiB"), count);
    let mut consumer = Consumer::start(config).expect("start");
    let partitions = topics(count).map(|(_, partitions)| partitions as usize).sum();
    let until = Instant::now() + PATIENCE;
    while consumer.status().assigned_partitions < partitions {
        assert!(Instant::now() < until, "{}", consumer.status());
        common::poll_for(&mut consumer, Duration::from_millis(50)).await;
    }
    // Until the first, empty fetches have been answered too.
    common::poll_for(&mut consumer, Duration::from_millis(500)).await;
    let (idle, lanes) = (memory("VmRSS"), consumer.status().lanes);
    Told::now(&consumer, idle, lanes).tell();
    let mut lines = std::io::stdin().lines();
    let mut line = || lines.next().expect("the test lives").expect("a line");

    // The whole backlog is there at once, and nobody polls.
    let limit: u64 = line().parse().expect("a number");
    for (topic, partitions) in topics(count) {
        for partition in 0..partitions {
            let began = consumer.seek(&topic, partition, SeekTo::Beginning, PATIENCE).await;
            began.expect("a partition of this consumer");
        }
    }
    queues_are_full(&consumer, limit).await;
    Told::now(&consumer, idle, lanes).tell();

    // The program takes a batch, and holds it while the queues fill up again.
    line();
    let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
    queues_are_full(&consumer, limit).await;
    Told::now(&consumer, idle, lanes).tell();

    // Then it takes turns: a batch is held while the next is taken.
    let records: usize = line().parse().expect("a number");
    let mut taken = batch.len();
    consumer.commit(&batch);
    let mut held = Some(batch);
    let until = Instant::now() + PATIENCE;
    while taken < records {
        assert!(Instant::now() < until, "{taken} of {records} came");
        let batch = consumer.get_many(Duration::from_secs(1), None).await.expect("poll");
        taken += batch.len();
        consumer.commit(&batch);
        held = Some(batch);
    }
    drop(held);
    Told::now(&consumer, idle, lanes).tell();
    line();
    stopped(consumer).await;
}

/// Waits, without a poll, until every queue of a hot topic is at its limit and none has grown for a second.
async fn queues_are_full(consumer: &Consumer, limit: u64) {
    let until = Instant::now() + PATIENCE;
    let (mut last, mut same) = (Vec::new(), 0);
    while same < 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let consumers = consumer.consumers();
        let now: Vec<usize> = consumers.values().map(|topic| topic.queued).collect();
        assert!(Instant::now() < until, "queues of {limit} records and more were expected: {now:?}");
        let mut hot = consumers.iter().filter(|(name, _)| name.starts_with("hot"));
        let full = hot.all(|(_, topic)| topic.queued as u64 >= limit);
        same = if full && now == last { same + 1 } else { 0 };
        last = now;
    }
}

struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
    name: String,
    config: Config,
    mib: u32,
    topics: usize,
}

impl Process {
    fn start(mock: &Mock, mode: ModeRequest, (mib, topics): (u32, usize)) -> Self {
        let address = mock.address();
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "a_consumer_in_a_process_of_its_own", "--ignored", "--nocapture"])
            .env(ADDRESS, &address)
            .env(MODE, mode.to_string())
            .env(MIB, mib.to_string())
            .env(TOPICS, topics.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let config = config(&address, mode, mib, topics);
        Self { child, out, name: format!("{mode}, {topics} topics, {mib} MiB"), config, mib, topics }
    }

    fn order(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().expect("piped"), "{line}").expect("the process lives");
    }

    fn told(&mut self) -> Told {
        Told::read(&mut self.out)
    }

    fn keeps_within_its_budget(&self, when: &str, told: Told) {
        let most = (u64::from(self.mib) << 20) * 11 / 10;
        eprintln!("{}, {when}: {} KiB, {told:?}", self.name, told.grown >> 10);
        assert!(told.grown <= most, "{}, {when}: {told:?}, at most {most}", self.name);
    }
}

impl Process {
    /// Records of so many bytes at which a queue is full.
    fn limit(&self, value_bytes: u64) -> u64 {
        let by_size = (told(&self.config, "queued.max.messages.kbytes") * 1000).div_ceil(value_bytes);
        told(&self.config, "queued.min.messages").min(by_size)
    }

    /// The budget's parts, each by itself: what a record takes, and what comes on top of a limit. A load
    /// uses but a part of a budget that has room for others.
    fn queues_hold_what_was_calculated(&self, full: Told, value_bytes: u64) {
        let Self { name, config, .. } = self;
        let limit = self.limit(value_bytes);
        let lanes = config.explain(None).expect("usable").lanes;
        let partitions = HOT_PARTITIONS as u64 * if lanes == 1 { HOT as u64 } else { 1 };
        let on_top = partitions * told(config, "max.partition.fetch.bytes") / value_bytes;
        let quiet = if lanes == 1 { (QUIET * QUIET_RECORDS) as u64 } else { 0 };
        assert!(full.queued_min <= limit + on_top + quiet, "{name}: {full:?}, at most {limit} + {on_top}");
        let records = full.queued * (value_bytes + FRAMING_BYTES + RECORD_OVERHEAD_BYTES);
        assert!(full.grown <= records + UNRELATED_BYTES, "{name}: {full:?}, calculated {records}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already where the test has come to its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Records in batches of a piece: the mock gives one batch of each partition per fetch.
fn fill(mock: &Mock, count: usize, value_bytes: usize, records: usize, batch_bytes: u64) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", mock.address())
        .set("linger.ms", "100")
        .set("batch.size", batch_bytes.to_string())
        .set("queue.buffering.max.kbytes", "65536")
        .create()
        .expect("producer");
    let value = vec![b'x'; value_bytes];
    let send = |topic: &str, partition: i32| {
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(&value);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(5));
        }
    };
    for (topic, partitions) in topics(count) {
        mock.create(&topic, partitions);
        let records = if topic.starts_with("hot") { records } else { QUIET_RECORDS };
        (0..partitions).for_each(|partition| (0..records).for_each(|_| send(&topic, partition)));
    }
    producer.flush(Duration::from_secs(30)).expect("flush");
}

/// Values of so many bytes, so many of them in each hot partition: several times what any queue may hold,
/// and less than the mock keeps.
fn memory_stays_within_the_budget(value_bytes: usize, records: usize) {
    let mock = Mock::new();
    for (mib, count) in CONSUMERS {
        let pieces =
            MODES.map(|mode| told(&config(&mock.address(), mode, mib, count), "max.partition.fetch.bytes"));
        fill(&mock, count, value_bytes, records, pieces.into_iter().min().expect("modes"));
    }
    let mut processes: Vec<Process> = CONSUMERS
        .into_iter()
        .flat_map(|consumer| MODES.map(|mode| (mode, consumer)))
        .map(|(mode, consumer)| Process::start(&mock, mode, consumer))
        .collect();
    for process in &mut processes {
        process.told();
    }
    for process in &mut processes {
        process.order(&process.limit(value_bytes as u64).to_string());
    }
    for process in &mut processes {
        let full = process.told();
        process.keeps_within_its_budget("queues are full", full);
        process.queues_hold_what_was_calculated(full, value_bytes as u64);
        process.order("take a batch");
    }
    for process in &mut processes {
        let told = process.told();
        process.keeps_within_its_budget("queues are full, and a batch is out", told);
    }
    // One after the other: they share two cores with the mock.
    for process in &mut processes {
        let all = HOT * HOT_PARTITIONS as usize * records + (process.topics - HOT) * QUIET_RECORDS;
        process.order(&all.to_string());
        let told = process.told();
        process.keeps_within_its_budget("queues were drained", told);
        process.order("stop");
        assert!(process.child.wait().expect("it ends").success(), "{}", process.name);
    }
}

#[test]
fn small_records_stay_within_the_budget_in_every_mode() {
    memory_stays_within_the_budget(100, 15_000);
}

#[test]
fn large_records_stay_within_the_budget_in_every_mode() {
    memory_stays_within_the_budget(10 << 10, 450);
}
