//! How long fifty topics take to be assigned and to bring their first record, and what that costs in threads and
//! sockets: to one consumer as rust-rdkafka makes it, to `multi` with a group for each topic, to `single` and to
//! `fair`.
//!
//! ```text
//! cargo run --release -p fairpoll --example join_times -- localhost:9092 10
//! ```
//!
//! The four take turns, ten times here, each time in groups of their own. The example creates topics of
//! its own on that cluster and removes them. docs/group-strategies.md shows what came out.
#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::collections::BTreeSet;
use std::error::Error;
use std::time::{Duration, Instant};

use fairpoll::{Config, Consumer, GroupStrategy, ModeRequest};
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord};

const TOPICS: usize = 50;
const GIVE_UP: Duration = Duration::from_secs(60);
const SETTLES: Duration = Duration::from_secs(1);

/// Starts of `multi` before anything counts. A broker's virtual machine goes on compiling for ten thousand joins:
/// what it took for fifty of them fell from 340 to 80 ms of processor time.
const WARM_UP: usize = 200;

/// Where a group's rebalance is delayed for seconds there are fewer, and it is the delay that counts.
const WARM_UP_ENDS: Duration = Duration::from_secs(90);

/// Its name, and how it is configured.
type Contestant = (&'static str, fn(Config) -> Config);

const CONTESTANTS: [Contestant; 3] = [
    ("multi, own groups", |config| config.mode(ModeRequest::Multi).group_strategy(GroupStrategy::Own)),
    ("single", |config| config.mode(ModeRequest::Single)),
    ("fair", |config| config.mode(ModeRequest::Fair)),
];

/// What one start took.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The groups had given every partition.
    joined: Duration,
    /// A record of every topic was there.
    complete: Duration,
    threads: usize,
    sockets: usize,
}

impl Seen {
    /// What there is now, less what there was; what the consumer before had may end only now.
    fn since(before: (usize, usize), joined: Duration, complete: Duration) -> std::io::Result<Self> {
        let (threads, sockets) = held()?;
        Ok(Self {
            joined,
            complete,
            threads: threads.saturating_sub(before.0),
            sockets: sockets.saturating_sub(before.1),
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: join_times HOST:PORT ROUNDS";
    let mut arguments = std::env::args().skip(1);
    let (servers, rounds) = arguments.next().zip(arguments.next()).ok_or(usage)?;
    let rounds: usize = rounds.parse().map_err(|_| usage)?;
    let id = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let topics: Vec<String> = (0..TOPICS).map(|number| format!("join-times-{id}-{number}")).collect();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &servers).create()?;
    let new: Vec<NewTopic<'_>> =
        topics.iter().map(|topic| NewTopic::new(topic, 1, TopicReplication::Fixed(1))).collect();
    admin.create_topics(&new, &AdminOptions::new()).await?;
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &servers).create()?;
    for topic in &topics {
        let record: FutureRecord<'_, (), str> = FutureRecord::to(topic).payload("one");
        producer.send(record, GIVE_UP).await.map_err(|(error, _)| error)?;
    }

    let began = Instant::now();
    for start in (0..WARM_UP).take_while(|_| began.elapsed() < WARM_UP_ENDS) {
        let config = Config::new(&servers, format!("join-times-{id}-warm-up-{start}"), topics.clone());
        join(CONTESTANTS[0].1(config), Duration::ZERO).await?;
    }
    let mut seen: [Vec<Seen>; CONTESTANTS.len() + 1] = Default::default();
    for round in 0..rounds {
        for turn in 0..seen.len() {
            // Nobody always follows the same other.
            let which = (turn + round) % seen.len();
            let group = format!("join-times-{id}-{round}-{which}");
            let start = match which.checked_sub(1) {
                None => join_plain(&servers, &group, &topics)?,
                Some(ours) => {
                    let config = Config::new(&servers, group, topics.clone());
                    join(CONTESTANTS[ours].1(config), SETTLES).await?
                }
            };
            seen[which].push(start);
        }
    }
    println!(
        "{:<18} {:>9} {:>15} {:>18} {:>18} {:>12} {:>15} {:>18} {:>8} {:>8}",
        "",
        "joined ms",
        "range",
        "to rust-rdkafka",
        "to \"single\"",
        "complete ms",
        "range",
        "to rust-rdkafka",
        "threads",
        "sockets"
    );
    let names = std::iter::once("rust-rdkafka").chain(CONTESTANTS.map(|(name, _)| name));
    for (name, own) in names.zip(&seen) {
        let ms = |of: fn(&Seen) -> Duration| -> Vec<f64> {
            own.iter().map(|seen| of(seen).as_secs_f64() * 1e3).collect()
        };
        let (joined, complete) = (ms(|seen| seen.joined), ms(|seen| seen.complete));
        let most = |of: fn(&Seen) -> usize| own.iter().map(of).max().unwrap_or_default();
        println!(
            "{name:<18} {:>9.0} {:>15} {:>18} {:>18} {:>12.0} {:>15} {:>18} {:>8} {:>8}",
            median(&joined),
            range(&joined, 0),
            ratio(own, &seen[0], |seen| seen.joined),
            ratio(own, &seen[2], |seen| seen.joined),
            median(&complete),
            range(&complete, 0),
            ratio(own, &seen[0], |seen| seen.complete),
            most(|seen| seen.threads),
            most(|seen| seen.sockets),
        );
    }

    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    admin.delete_topics(&names, &AdminOptions::new()).await?;
    Ok(())
}

/// Starts a consumer until it has a record of every topic, and counts what it holds after so long.
async fn join(config: Config, settles: Duration) -> Result<Seen, Box<dyn Error>> {
    let before = held()?;
    let began = Instant::now();
    let mut consumer = Consumer::start(config.property("auto.offset.reset", "earliest"))?;
    let mut joined = None;
    let mut seen = BTreeSet::new();
    while seen.len() < TOPICS {
        in_time(began)?;
        let batch = consumer.get_many(Duration::from_millis(1), None).await?;
        seen.extend(batch.records().map(|record| record.topic().to_owned()));
        if consumer.status().joining_handles == 0 {
            joined.get_or_insert_with(|| began.elapsed());
        }
    }
    let complete = began.elapsed();
    let settled = Instant::now() + settles;
    while Instant::now() < settled {
        consumer.get_many(Duration::from_millis(20), None).await?;
    }
    let seen = Seen::since(before, joined.ok_or("records of a handle that has not joined")?, complete)?;
    let report = consumer.stop(Duration::from_secs(10)).await;
    if report.closed { Ok(seen) } else { Err(format!("not stopped: {report:?}").into()) }
}

/// The same for one consumer of all topics that is told no more than it must be.
fn join_plain(servers: &str, group: &str, topics: &[String]) -> Result<Seen, Box<dyn Error>> {
    let before = held()?;
    let began = Instant::now();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).set("group.id", group).set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut joined = None;
    let mut seen = BTreeSet::new();
    while seen.len() < TOPICS {
        in_time(began)?;
        if let Some(record) = consumer.poll(Duration::from_millis(1)) {
            seen.insert(record?.topic().to_owned());
        }
        if joined.is_none() && consumer.assignment()?.count() == TOPICS {
            joined = Some(began.elapsed());
        }
    }
    let complete = began.elapsed();
    let settled = Instant::now() + SETTLES;
    while Instant::now() < settled {
        let _ = consumer.poll(Duration::from_millis(20));
    }
    Ok(Seen::since(before, joined.ok_or("records of partitions that are not assigned")?, complete)?)
}

fn in_time(began: Instant) -> Result<(), String> {
    if began.elapsed() < GIVE_UP {
        return Ok(());
    }
    Err(format!("{TOPICS} topics did not bring a record within {GIVE_UP:?}"))
}

/// Threads and sockets of this process.
fn held() -> std::io::Result<(usize, usize)> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    let targets =
        std::fs::read_dir("/proc/self/fd")?.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    Ok((threads, targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()))
}

fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn range(of: &[f64], digits: usize) -> String {
    let (low, high) =
        of.iter().fold((f64::MAX, 0.0_f64), |(low, high), &value| (low.min(value), high.max(value)));
    format!("{low:.digits$}–{high:.digits$}")
}

/// Median and range of the ratios of the same rounds.
fn ratio(own: &[Seen], other: &[Seen], of: fn(&Seen) -> Duration) -> String {
    let pairs = own.iter().zip(other);
    let ratios: Vec<f64> =
        pairs.map(|(own, other)| of(own).as_secs_f64() / of(other).as_secs_f64()).collect();
    format!("{:.2} ({})", median(&ratios), range(&ratios, 2))
}
