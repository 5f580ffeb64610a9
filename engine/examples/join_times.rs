//! How long fifty topics take to be assigned, and what that costs in threads and sockets: to one consumer as
//! rust-rdkafka makes it, to `multi` with a group for each topic, to `single` and to `fair`.
//!
//! ```text
//! cargo run --release -p fairpoll --example join_times -- localhost:9092 10
//! ```
//!
//! The four take turns, ten times here, each time in groups of their own. The example creates topics of
//! its own on that cluster and removes them. docs/group-strategies.md shows what came out.
#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::error::Error;
use std::time::{Duration, Instant};

use fairpoll::{Config, Consumer, GroupStrategy, ModeRequest};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

const TOPICS: usize = 50;
const GIVE_UP: Duration = Duration::from_secs(60);
const SETTLES: Duration = Duration::from_secs(1);

/// Rounds that are the broker's: its virtual machine compiles.
const WARM_UP: usize = 5;

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
    joined: Duration,
    threads: usize,
    sockets: usize,
}

impl Seen {
    /// What there is now, less what there was; what the consumer before had may end only now.
    fn since(before: (usize, usize), joined: Duration) -> std::io::Result<Self> {
        let (threads, sockets) = held()?;
        Ok(Self {
            joined,
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

    let mut seen: [Vec<Seen>; CONTESTANTS.len() + 1] = Default::default();
    for round in 0..WARM_UP + rounds {
        for turn in 0..seen.len() {
            // Nobody always follows the same other.
            let which = (turn + round) % seen.len();
            let group = format!("join-times-{id}-{round}-{which}");
            let start = match which.checked_sub(1) {
                None => join_plain(&servers, &group, &topics)?,
                Some(ours) => join(CONTESTANTS[ours].1(Config::new(&servers, group, topics.clone()))).await?,
            };
            if round >= WARM_UP {
                seen[which].push(start);
            }
        }
    }
    println!(
        "{:<18} {:>9} {:>15} {:>22} {:>22} {:>8} {:>8}",
        "", "joined ms", "range", "to rust-rdkafka", "to \"single\"", "threads", "sockets"
    );
    let names = std::iter::once("rust-rdkafka").chain(CONTESTANTS.map(|(name, _)| name));
    for (name, own) in names.zip(&seen) {
        let ms: Vec<f64> = own.iter().map(|seen| seen.joined.as_secs_f64() * 1e3).collect();
        let most = |of: fn(&Seen) -> usize| own.iter().map(of).max().unwrap_or_default();
        println!(
            "{name:<18} {:>9.0} {:>15} {:>22} {:>22} {:>8} {:>8}",
            median(&ms),
            range(&ms, 0),
            ratio(own, &seen[0]),
            ratio(own, &seen[2]),
            most(|seen| seen.threads),
            most(|seen| seen.sockets),
        );
    }

    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    admin.delete_topics(&names, &AdminOptions::new()).await?;
    Ok(())
}

/// From the start to the last partition; nothing is consumed.
async fn join(config: Config) -> Result<Seen, Box<dyn Error>> {
    let before = held()?;
    let began = Instant::now();
    let mut consumer = Consumer::start(config)?;
    while consumer.status().assigned_partitions < TOPICS {
        if began.elapsed() > GIVE_UP {
            return Err(format!("{TOPICS} partitions were not assigned within {GIVE_UP:?}").into());
        }
        consumer.get_many(Duration::from_millis(1), Some(0)).await?;
    }
    let joined = began.elapsed();
    // Connections to the partitions' leaders are opened a little later.
    let settled = Instant::now() + SETTLES;
    while Instant::now() < settled {
        consumer.get_many(Duration::from_millis(20), Some(0)).await?;
    }
    let seen = Seen::since(before, joined)?;
    let report = consumer.stop(Duration::from_secs(10)).await;
    if report.closed { Ok(seen) } else { Err(format!("not stopped: {report:?}").into()) }
}

/// The same for one consumer of all topics that is told no more than it must be.
fn join_plain(servers: &str, group: &str, topics: &[String]) -> Result<Seen, Box<dyn Error>> {
    let before = held()?;
    let began = Instant::now();
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", servers).set("group.id", group).create()?;
    consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
    while consumer.assignment()?.count() < TOPICS {
        if began.elapsed() > GIVE_UP {
            return Err(format!("{TOPICS} partitions were not assigned within {GIVE_UP:?}").into());
        }
        let _ = consumer.poll(Duration::from_millis(1));
    }
    let joined = began.elapsed();
    let settled = Instant::now() + SETTLES;
    while Instant::now() < settled {
        let _ = consumer.poll(Duration::from_millis(20));
    }
    Ok(Seen::since(before, joined)?)
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
fn ratio(own: &[Seen], other: &[Seen]) -> String {
    let pairs = own.iter().zip(other);
    let ratios: Vec<f64> =
        pairs.map(|(own, other)| own.joined.as_secs_f64() / other.joined.as_secs_f64()).collect();
    format!("{:.2} ({})", median(&ratios), range(&ratios, 2))
}
