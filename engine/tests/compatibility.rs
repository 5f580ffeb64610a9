//! `single` is a drop-in for a plain rust-rdkafka consumer: a script of 200 operations
//! (`compatibility/script.txt`) is replayed with both, each in a group of its own on the same topics of
//! a real broker, and both must deliver, commit, seek and pause the same.
//!
//! ```text
//! FAIRPOLL_TEST_BROKER=HOST:PORT cargo test -p fairpoll --test compatibility -- --ignored
//! ```

mod common;
#[path = "compatibility/script.rs"]
mod script;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::Delivered;
use common::real::{Offsets, Real};
use fairpoll::{Batch, Config, Consumer, ConsumerEvent, ModeRequest, SeekTo};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use script::{Operation, TOPICS, World};

const SCRIPT: &str = include_str!("compatibility/script.txt");
const WAIT: Duration = Duration::from_secs(20);
/// Of what must not come: many times a fetch on this broker.
const SILENCE: Duration = Duration::from_millis(60);
/// Below some of the script's polls.
const MAX_POLL_RECORDS: u32 = 60;

/// Of all topics.
const PARTITIONS: usize = 6;

/// As Fairpoll sets them by itself, and one that its users set.
const PROPERTIES: [(&str, &str); 4] = [
    ("queued.min.messages", "10000"),
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.wait.max.ms", "50"),
    ("auto.offset.reset", "earliest"),
];
/// As Fairpoll sets them, and lets nobody set.
const FIXED: [(&str, &str); 3] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "false"),
];

/// One of the two.
trait Arm {
    /// One poll of at most `most` records.
    async fn poll(&mut self, most: u32);
    /// Commits what came since the last commit, of partitions that were not sought since, and waits
    /// for the answer. Returns what was sent.
    async fn commit(&mut self) -> Offsets;
    async fn seek(&mut self, topic: &str, partition: i32, offset: i64);
    fn set_paused(&mut self, topic: &str, partitions: i32, paused: bool);
    async fn restart(&mut self);
    /// Polls until it has all partitions. Records may come already.
    async fn join(&mut self);
    fn delivered(&self) -> &Delivered;
}

/// Fairpoll's `single`.
struct Ours {
    config: Config,
    consumer: Consumer,
    delivered: Delivered,
    batches: Vec<Batch>,
}

impl Ours {
    async fn stop(&mut self) {
        self.batches.clear();
        let report = self.consumer.stop(WAIT).await;
        assert!(report.closed, "{report:?}");
    }

    fn take_in(&mut self, batch: Batch, most: u32) {
        assert_eq!(batch.errors(), [], "no topic fails here");
        assert!(batch.len() <= most as usize, "{} records, {most} were asked for", batch.len());
        common::note(&batch, &mut self.delivered);
        self.batches.push(batch);
    }
}

impl Arm for Ours {
    async fn poll(&mut self, most: u32) {
        let batch = self.consumer.get_many(SILENCE, Some(most)).await.expect("poll");
        self.take_in(batch, most.min(MAX_POLL_RECORDS));
    }

    async fn commit(&mut self) -> Offsets {
        drop(self.consumer.take_events());
        for batch in self.batches.drain(..) {
            self.consumer.mark_processed(&batch);
        }
        self.consumer.commit_processed();
        let (mut sent, mut open) = (Offsets::new(), 0);
        let until = Instant::now() + WAIT;
        loop {
            for event in self.consumer.take_events() {
                match event {
                    ConsumerEvent::CommitSent { offsets, .. } => {
                        open += 1;
                        sent.extend(
                            offsets.into_iter().map(|(topic, number, offset)| ((topic, number), offset)),
                        );
                    }
                    ConsumerEvent::CommitResult { error, .. } => {
                        open -= 1;
                        assert_eq!(error, None);
                    }
                    other => panic!("nothing else happens here: {other:?}"),
                }
            }
            if open == 0 {
                return sent;
            }
            assert!(Instant::now() < until, "no answer to a commit");
            let none = self.consumer.get_many(Duration::from_millis(5), Some(0)).await.expect("poll");
            assert_eq!(none.len(), 0, "none were asked for");
        }
    }

    async fn seek(&mut self, topic: &str, partition: i32, offset: i64) {
        self.consumer.seek(topic, partition, SeekTo::Offset(offset), WAIT).await.expect("seek");
    }

    fn set_paused(&mut self, topic: &str, _: i32, paused: bool) {
        let done = if paused { self.consumer.pause_topic(topic) } else { self.consumer.resume_topic(topic) };
        done.expect("known");
    }

    async fn restart(&mut self) {
        self.stop().await;
        self.consumer = Consumer::start(self.config.clone()).expect("start");
    }

    async fn join(&mut self) {
        let until = Instant::now() + WAIT;
        while self.consumer.status().assigned_partitions < PARTITIONS {
            assert!(Instant::now() < until, "no assignment");
            self.poll(1).await;
        }
    }

    fn delivered(&self) -> &Delivered {
        &self.delivered
    }
}

/// rust-rdkafka's consumer, one message a poll, as it comes.
struct Plain {
    config: ClientConfig,
    topics: Vec<String>,
    consumer: BaseConsumer,
    delivered: Delivered,
    uncommitted: Offsets,
}

impl Plain {
    fn start(config: &ClientConfig, topics: &[String]) -> BaseConsumer {
        let consumer: BaseConsumer = config.create().expect("consumer");
        consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>()).expect("subscribe");
        consumer
    }
}

impl Arm for Plain {
    async fn poll(&mut self, most: u32) {
        for number in 0..most {
            let wait = if number == 0 { SILENCE } else { Duration::ZERO };
            let Some(message) = self.consumer.poll(wait) else { break };
            let message = message.expect("message");
            let partition = (message.topic().to_owned(), message.partition());
            self.uncommitted.insert(partition.clone(), message.offset() + 1);
            self.delivered.entry(partition).or_default().push(message.offset());
        }
    }

    async fn commit(&mut self) -> Offsets {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in &self.uncommitted {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).expect("an offset");
        }
        if list.count() > 0 {
            self.consumer.commit(&list, CommitMode::Sync).expect("commit");
        }
        std::mem::take(&mut self.uncommitted)
    }

    async fn seek(&mut self, topic: &str, partition: i32, offset: i64) {
        self.consumer.seek(topic, partition, Offset::Offset(offset), WAIT).expect("seek");
        self.uncommitted.remove(&(topic.to_owned(), partition));
    }

    fn set_paused(&mut self, topic: &str, partitions: i32, paused: bool) {
        let mut list = TopicPartitionList::new();
        for number in 0..partitions {
            list.add_partition(topic, number);
        }
        let done = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        done.expect("assigned");
    }

    async fn restart(&mut self) {
        self.uncommitted.clear();
        // The old one leaves its group before the new one comes.
        self.consumer.unsubscribe();
        self.consumer = Self::start(&self.config, &self.topics);
    }

    async fn join(&mut self) {
        let until = Instant::now() + WAIT;
        while self.consumer.assignment().expect("assignment").count() < PARTITIONS {
            assert!(Instant::now() < until, "no assignment");
            self.poll(1).await;
        }
    }

    fn delivered(&self) -> &Delivered {
        &self.delivered
    }
}

fn count(delivered: &Delivered) -> usize {
    delivered.values().map(Vec::len).sum()
}

/// How many records an operation delivers.
fn due(operation: &Operation, world: &World) -> usize {
    match operation {
        Operation::Poll(_) => world.open().iter().map(|(_, count)| count).sum(),
        Operation::Take(records) => *records as usize,
        _ => 0,
    }
}

/// Does one operation; returns what was committed by it. `before`: records that it delivered before.
async fn replay(
    arm: &mut impl Arm,
    operation: &Operation,
    world: &World,
    before: usize,
    real: &Real,
) -> Offsets {
    let partitions = |name: &String| TOPICS.iter().find(|(topic, _)| topic == name).expect("known").1;
    match operation {
        Operation::Produce(..) => {}
        Operation::Poll(most) | Operation::Take(most) => {
            let exactly = matches!(operation, Operation::Take(_));
            let wanted = before + due(operation, world);
            let until = Instant::now() + WAIT;
            while count(arm.delivered()) < wanted {
                assert!(Instant::now() < until, "{} of {wanted} records came", count(arm.delivered()));
                let left = u32::try_from(wanted - count(arm.delivered())).expect("few");
                arm.poll(if exactly { left } else { *most }).await;
            }
            if !exactly && !world.paused.is_empty() {
                arm.poll(*most).await;
            }
            assert_eq!(count(arm.delivered()), wanted, "no more than there was, and nothing that is paused");
        }
        Operation::Commit => return arm.commit().await,
        Operation::Seek(topic, partition, offset) => arm.seek(&real.name(topic), *partition, *offset).await,
        Operation::Pause(topic) => arm.set_paused(&real.name(topic), partitions(topic), true),
        Operation::Resume(topic) => arm.set_paused(&real.name(topic), partitions(topic), false),
        Operation::Restart => {
            arm.restart().await;
            arm.join().await;
        }
    }
    Offsets::new()
}

fn script() -> Vec<Operation> {
    let lines = SCRIPT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.parse().expect("an operation")).collect()
}

/// `FAIRPOLL_WRITE_SCRIPT=1` writes it anew.
#[test]
fn the_script_is_what_its_seed_makes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compatibility/script.txt");
    let made = script::generate(script::SEED);
    if std::env::var_os("FAIRPOLL_WRITE_SCRIPT").is_some() {
        let lines: String = made.iter().map(|operation| format!("{operation}\n")).collect();
        let head =
            "# What both consumers of compatibility.rs do. Made from a seed by compatibility/script.rs.\n";
        std::fs::write(path, format!("{head}{lines}")).expect("written");
    } else {
        assert_eq!(script(), made);
    }
    let of = |wanted: fn(&Operation) -> bool| made.iter().filter(|operation| wanted(operation)).count();
    assert!(of(|operation| matches!(operation, Operation::Seek(..))) >= 10);
    assert!(of(|operation| matches!(operation, Operation::Restart)) >= 5);
    assert!(of(|operation| matches!(operation, Operation::Resume(_))) >= 5);
    assert!(of(|operation| matches!(operation, Operation::Take(_))) >= 10);
    let mut world = World::new();
    made.iter().for_each(|operation| world.apply(operation));
    assert!(world.partitions.values().all(|stand| stand.committed > 0), "{world:?}");
}

// shows: E2
#[tokio::test]
#[ignore = "needs a broker: FAIRPOLL_TEST_BROKER=HOST:PORT"]
async fn single_does_what_a_plain_consumer_does() {
    let mut real = Real::from_environment();
    real.create(&TOPICS).await;
    let topics: Vec<String> = TOPICS.iter().map(|(topic, _)| real.name(topic)).collect();
    let groups = [real.name("ours"), real.name("plain")];

    let config = Config::new(&real.address, &groups[0], topics.clone())
        .mode(ModeRequest::Single)
        .max_poll_records(MAX_POLL_RECORDS);
    let config = PROPERTIES.iter().fold(config, |config, (name, value)| config.property(*name, *value));
    let consumer = Consumer::start(config.clone()).expect("start");
    let mut ours = Ours { config, consumer, delivered: Delivered::new(), batches: Vec::new() };

    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &real.address).set("group.id", &groups[1]);
    for (name, value) in PROPERTIES.iter().chain(&FIXED) {
        config.set(*name, *value);
    }
    let consumer = Plain::start(&config, &topics);
    let mut plain =
        Plain { config, topics, consumer, delivered: Delivered::new(), uncommitted: Offsets::new() };

    ours.join().await;
    plain.join().await;
    let (mut world, mut before) = (World::new(), 0);
    for (number, operation) in (1..).zip(script()) {
        if let Operation::Produce(topic, partition, records) = &operation {
            real.produce(topic, *partition, *records);
        }
        let sent = [
            replay(&mut ours, &operation, &world, before, &real).await,
            replay(&mut plain, &operation, &world, before, &real).await,
        ];
        assert_eq!(sent[0], sent[1], "operation {number}, {operation}: ours and plain commit");
        before += due(&operation, &world);
        world.apply(&operation);
        for (partition, stand) in &world.partitions {
            let partition = (real.name(&partition.0), partition.1);
            // A restart may already have brought some of what the next poll waits for.
            if operation == Operation::Restart {
                continue;
            }
            let [ours, plain] = [&ours.delivered, &plain.delivered].map(|all| all.get(&partition));
            assert_eq!(
                ours, plain,
                "operation {number}, {operation}: ours and plain delivered of {partition:?}"
            );
            assert!(stand.end > 0 || ours.is_none());
        }
    }
    ours.stop().await;
    drop(plain.consumer);

    let partitions: Vec<(String, i32)> =
        world.partitions.keys().map(|(topic, number)| (real.name(topic), *number)).collect();
    let committed = [&groups[0], &groups[1]].map(|group| real.committed(group, &partitions));
    assert_eq!(committed[0], committed[1], "ours and plain have committed");
    assert_eq!(committed[0].len(), partitions.len(), "each partition was committed: {committed:?}");
    let all = real.commits(&[&groups[0], &groups[1]]);
    let of = |group: &String| -> BTreeMap<(String, i32), Vec<i64>> {
        let own = all.iter().filter(|((of, ..), _)| of == group);
        own.map(|((_, topic, number), offsets)| ((topic.clone(), *number), offsets.clone())).collect()
    };
    assert_eq!(of(&groups[0]), of(&groups[1]), "the broker took the same commits, in the same order");
    assert_eq!(of(&groups[0]).len(), partitions.len());
    real.remove().await;
}
