//! How long fifty topics take to be assigned, and what that costs in threads and sockets: one consumer
//! of one topic, `multi` with a group for each topic, `single` and `fair`.
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

const TOPICS: usize = 50;
const GIVE_UP: Duration = Duration::from_secs(60);

/// Name, mode, topics, strategy.
type Contestant = (&'static str, ModeRequest, usize, Option<GroupStrategy>);

const CONTESTANTS: [Contestant; 4] = [
    ("one topic", ModeRequest::Single, 1, None),
    ("multi, own groups", ModeRequest::Multi, TOPICS, Some(GroupStrategy::Own)),
    ("single", ModeRequest::Single, TOPICS, None),
    ("fair", ModeRequest::Fair, TOPICS, None),
];

/// What one start took.
#[derive(Debug, Clone, Copy)]
struct Seen {
    joined: Duration,
    threads: usize,
    sockets: usize,
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

    let mut seen: [Vec<Seen>; CONTESTANTS.len()] = Default::default();
    // The first round is the broker's: its virtual machine compiles.
    for round in 0..=rounds {
        for turn in 0..CONTESTANTS.len() {
            // Nobody always follows the same other.
            let which = (turn + round) % CONTESTANTS.len();
            let (_, mode, count, strategy) = CONTESTANTS[which];
            let group = format!("join-times-{id}-{round}-{which}");
            let config = Config::new(&servers, group, topics[..count].to_vec()).mode(mode);
            let config = strategy.into_iter().fold(config, Config::group_strategy);
            let start = join(config, count).await?;
            if round > 0 {
                seen[which].push(start);
            }
        }
    }
    println!(
        "{:<18} {:>9} {:>15} {:>22} {:>8} {:>8}",
        "", "joined ms", "range", "to \"one topic\"", "threads", "sockets"
    );
    for ((name, ..), own) in CONTESTANTS.iter().zip(&seen) {
        let ms: Vec<f64> = own.iter().map(|seen| seen.joined.as_secs_f64() * 1e3).collect();
        let most = |of: fn(&Seen) -> usize| own.iter().map(of).max().unwrap_or_default();
        println!(
            "{name:<18} {:>9.0} {:>15} {:>22} {:>8} {:>8}",
            median(&ms),
            range(&ms, 0),
            ratio(own, &seen[0]),
            most(|seen| seen.threads),
            most(|seen| seen.sockets),
        );
    }
    println!("fair to single: {}, {rounds} rounds", ratio(&seen[3], &seen[2]));

    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    admin.delete_topics(&names, &AdminOptions::new()).await?;
    Ok(())
}

/// From the start to the last partition; nothing is consumed.
async fn join(config: Config, partitions: usize) -> Result<Seen, Box<dyn Error>> {
    let (threads, sockets) = held()?;
    let began = Instant::now();
    let mut consumer = Consumer::start(config)?;
    while consumer.status().assigned_partitions < partitions {
        if began.elapsed() > GIVE_UP {
            return Err(format!("{partitions} partitions were not assigned within {GIVE_UP:?}").into());
        }
        consumer.get_many(Duration::from_millis(1), Some(0)).await?;
    }
    let joined = began.elapsed();
    // Connections to the partitions' leaders are opened a little later.
    let settled = Instant::now() + Duration::from_secs(1);
    while Instant::now() < settled {
        consumer.get_many(Duration::from_millis(20), Some(0)).await?;
    }
    let now = held()?;
    // What the consumer before had may end only now.
    let (threads, sockets) = (now.0.saturating_sub(threads), now.1.saturating_sub(sockets));
    let seen = Seen { joined, threads, sockets };
    let report = consumer.stop(Duration::from_secs(10)).await;
    if report.closed { Ok(seen) } else { Err(format!("not stopped: {report:?}").into()) }
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
