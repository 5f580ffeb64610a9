//! What one group id for twelve consumers costs, under the four group strategies: one consumer per
//! topic, each with a backlog, started together and one after the other.
//!
//! ```text
//! cargo run --release -p fairpoll --example group_strategies -- localhost:9092
//! ```
//!
//! It creates topics of its own on that cluster and removes them. docs/group-strategies.md shows and
//! explains what came out.
#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use fairpoll::{Config, Consumer, ConsumerEvent, GroupStrategy, ModeRequest};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

const CONSUMERS: usize = 12;
const RECORDS: u64 = 60_000;
const WORK: Duration = Duration::from_millis(5);
const STAGGER: Duration = Duration::from_millis(500);
const GIVE_UP: Duration = Duration::from_secs(60);
const STRATEGIES: [(&str, GroupStrategy); 4] = [
    ("classic (range)", GroupStrategy::Classic),
    ("cooperative-sticky", GroupStrategy::Cooperative),
    ("KIP-848", GroupStrategy::Kip848),
    ("own groups", GroupStrategy::Own),
];

/// What one consumer saw.
#[derive(Debug, Default)]
struct Seen {
    /// From its start to its first partition.
    owned: Option<Duration>,
    /// Times that its partitions were taken from it before it was through.
    revoked: u64,
    delivered: u64,
    twice: u64,
    /// The longest it waited between two batches while it had records left.
    gap: Duration,
    took: Duration,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers = std::env::args().nth(1).ok_or("usage: group_strategies HOST:PORT")?;
    println!(
        "{:<20} {:<9} {:>13} {:>13} {:>8} {:>9} {:>12} {:>9}",
        "strategy", "start", "first owns s", "all own s", "revoked", "twice", "longest gap s", "done s"
    );
    for (name, strategy) in STRATEGIES {
        for (start, stagger) in [("together", Duration::ZERO), ("in turn", STAGGER)] {
            let seen = run(&servers, strategy, stagger).await?;
            let owned = || seen.iter().filter_map(|seen| seen.owned);
            println!(
                "{name:<20} {start:<9} {:>13.2} {:>13.2} {:>8} {:>9} {:>12.2} {:>9.2}",
                owned().min().unwrap_or_default().as_secs_f64(),
                owned().max().unwrap_or_default().as_secs_f64(),
                seen.iter().map(|seen| seen.revoked).sum::<u64>(),
                seen.iter().map(|seen| seen.twice).sum::<u64>(),
                seen.iter().map(|seen| seen.gap).max().unwrap_or_default().as_secs_f64(),
                seen.iter().map(|seen| seen.took).max().unwrap_or_default().as_secs_f64(),
            );
            let missing: u64 = seen.iter().map(|seen| RECORDS.saturating_sub(seen.delivered)).sum();
            if missing > 0 {
                println!("  {missing} records did not come within {GIVE_UP:?}");
            }
        }
    }
    Ok(())
}

async fn run(servers: &str, strategy: GroupStrategy, stagger: Duration) -> Result<Vec<Seen>, Box<dyn Error>> {
    let id = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let topics: Vec<String> =
        (0..CONSUMERS).map(|number| format!("group-strategies-{id}-{number}")).collect();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", servers).create()?;
    let new: Vec<NewTopic<'_>> =
        topics.iter().map(|topic| NewTopic::new(topic, 1, TopicReplication::Fixed(1))).collect();
    admin.create_topics(&new, &AdminOptions::new()).await?;
    fill(servers, &topics)?;
    let began = Instant::now();
    let mut tasks = Vec::new();
    for (number, topic) in (0_u32..).zip(&topics) {
        let config = Config::new(servers, format!("group-{id}"), [topic.clone()])
            .mode(ModeRequest::Single)
            .max_poll_records(100)
            .group_strategy(strategy)
            .property("auto.offset.reset", "earliest");
        let topic = topic.clone();
        tasks.push(tokio::spawn(async move {
            tokio::time::sleep_until((began + stagger * number).into()).await;
            consume(config, &topic).await
        }));
    }
    let mut seen = Vec::new();
    for task in tasks {
        seen.push(task.await??);
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    admin.delete_topics(&names, &AdminOptions::new()).await?;
    Ok(seen)
}

fn fill(servers: &str, topics: &[String]) -> Result<(), Box<dyn Error>> {
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    for topic in topics {
        for number in 0..RECORDS {
            let value = number.to_be_bytes();
            let record: BaseRecord<'_, (), [u8]> = BaseRecord::to(topic).partition(0).payload(&value);
            producer.send(record).map_err(|(error, _)| error)?;
        }
    }
    Ok(producer.flush(Duration::from_secs(60))?)
}

/// A service with 5 ms of work per poll that commits after every tenth. It goes on until its topic is
/// drained, and stays in the group until then.
async fn consume(config: Config, topic: &str) -> Result<Seen, String> {
    let began = Instant::now();
    let mut seen = Seen::default();
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    let mut last = None;
    let mut polls = 0_u64;
    let mut consumer = Consumer::start(config).map_err(|error| error.to_string())?;
    while seen.delivered < RECORDS && began.elapsed() < GIVE_UP {
        let batch =
            consumer.get_many(Duration::from_millis(100), None).await.map_err(|error| error.to_string())?;
        for event in consumer.take_events() {
            match event {
                ConsumerEvent::Assigned { partitions, .. } if !partitions.is_empty() => {
                    seen.owned.get_or_insert_with(|| began.elapsed());
                }
                ConsumerEvent::Revoked { partitions, .. } if !partitions.is_empty() => seen.revoked += 1,
                _ => {}
            }
        }
        if batch.is_empty() {
            continue;
        }
        let now = Instant::now();
        seen.gap = seen.gap.max(last.map_or(Duration::ZERO, |last| now.duration_since(last)));
        for record in batch.records().filter(|record| record.topic() == topic) {
            let next = next.entry(record.partition()).or_default();
            if record.offset() < *next {
                seen.twice += 1;
            } else {
                seen.delivered += 1;
                *next = record.offset() + 1;
            }
        }
        tokio::time::sleep(WORK).await;
        last = Some(Instant::now());
        polls += 1;
        consumer.mark_processed(&batch);
        if polls.is_multiple_of(10) {
            consumer.commit_processed();
        }
    }
    seen.took = began.elapsed();
    consumer.stop(Duration::from_secs(10)).await;
    Ok(seen)
}
