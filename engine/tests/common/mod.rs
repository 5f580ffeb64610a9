//! librdkafka's mock cluster in this process, and what every test of the consumer needs.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of it")]

pub mod captured;
pub mod mock;
pub mod real;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fairpoll::{Batch, Config, Consumer, ConsumerEvent, ModeRequest};

pub use mock::Mock;

pub const MODES: [ModeRequest; 3] = [ModeRequest::Single, ModeRequest::Multi, ModeRequest::Fair];

/// Offsets by topic and partition, in the order of delivery.
pub type Delivered = BTreeMap<(String, i32), Vec<i64>>;

pub fn config(mock: &Mock, group: &str, topics: &[&str], mode: ModeRequest) -> Config {
    Config::new(mock.address(), group, topics.iter().copied())
        .mode(mode)
        .max_poll_records(100)
        .property("auto.offset.reset", "earliest")
        // The mock does not wake a long poll early.
        .property("fetch.wait.max.ms", "10")
        // The mock lets every rebalance after a group's first one take a session timeout less 1 s.
        .property("session.timeout.ms", "1500")
        .property("heartbeat.interval.ms", "200")
}

pub fn note(batch: &Batch, into: &mut Delivered) {
    for record in batch.records() {
        into.entry((record.topic().to_owned(), record.partition())).or_default().push(record.offset());
    }
}

/// Polls and commits until so many records came, or 20 s passed.
pub async fn drain(consumer: &mut Consumer, records: usize) -> Delivered {
    drain_within(consumer, records, Duration::from_secs(20)).await
}

/// Polls and commits until so many records came, or the time is up.
pub async fn drain_within(consumer: &mut Consumer, records: usize, time: Duration) -> Delivered {
    let deadline = Instant::now() + time;
    let mut all = Delivered::new();
    while all.values().map(Vec::len).sum::<usize>() < records && Instant::now() < deadline {
        let batch = consumer.get_many(Duration::from_millis(100), None).await.expect("poll");
        assert_eq!(batch.errors(), [], "no topic fails here");
        note(&batch, &mut all);
        consumer.commit(&batch);
    }
    all
}

/// Polls for a while and forgets what comes.
pub async fn poll_for(consumer: &mut Consumer, time: Duration) -> Vec<ConsumerEvent> {
    let until = Instant::now() + time;
    let mut events = Vec::new();
    while Instant::now() < until {
        let batch = consumer.get_many(Duration::from_millis(20), None).await.expect("poll");
        consumer.commit(&batch);
        events.extend(consumer.take_events());
    }
    events
}

/// Every partition's offsets are 0, 1, 2, …, as many as were produced.
pub fn assert_complete(all: &Delivered, expected: &[(&str, i32, usize)]) {
    for &(topic, partition, count) in expected {
        let offsets = all.get(&(topic.to_owned(), partition)).map_or(&[][..], Vec::as_slice);
        let wanted: Vec<i64> = (0..i64::try_from(count).expect("few")).collect();
        assert_eq!(offsets, wanted, "{topic} [{partition}]");
    }
}

/// Threads of this process.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("proc").count()
}

/// What this process has of what the kernel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub threads: usize,
    pub descriptors: usize,
    pub sockets: usize,
}

impl Held {
    pub fn now() -> Self {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("proc");
        // The listing's own descriptor is among them, whenever it is looked at; its link is gone then.
        let targets: Vec<_> =
            descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
        let socket = |target: &&std::path::PathBuf| target.to_string_lossy().starts_with("socket:");
        let sockets = targets.iter().filter(socket).count();
        Self { threads: threads(), descriptors: targets.len(), sockets }
    }

    /// Waits until nothing is left that was not there before, at most 5 s: threads end, and a broker's
    /// side of a connection is closed, a moment after what they served.
    pub async fn comes_back(self, after: &str) {
        let until = Instant::now() + Duration::from_secs(5);
        let is_back = |now: Self| {
            now.threads <= self.threads && now.descriptors <= self.descriptors && now.sockets <= self.sockets
        };
        while !is_back(Self::now()) {
            assert!(Instant::now() < until, "after {after}: {:?}, before: {self:?}", Self::now());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub async fn stopped(mut consumer: Consumer) {
    let report = consumer.stop(Duration::from_secs(5)).await;
    assert!(report.committed && report.closed, "{report:?}");
}
