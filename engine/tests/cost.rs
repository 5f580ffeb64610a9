//! What a consumer costs is what was predicted. One test in this binary, because it counts what the
//! process has.

mod common;

use std::time::{Duration, Instant};

use common::{MODES, Mock, config, drain, stopped, threads};
use fairpoll::{Consumer, Cost};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Has {
    threads: u64,
    /// Both ends of every connection: the mock lives here too.
    sockets: u64,
    others: u64,
}

fn has() -> Has {
    let entries = std::fs::read_dir("/proc/self/fd").expect("proc");
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let (sockets, others): (Vec<_>, Vec<_>) =
        links.partition(|link| link.to_string_lossy().starts_with("socket:"));
    Has { threads: threads() as u64, sockets: sockets.len() as u64, others: others.len() as u64 }
}

/// Threads, connections and descriptors that came since.
fn came_since(before: Has) -> [u64; 3] {
    let now = has();
    let connections = now.sockets.saturating_sub(before.sockets) / 2;
    let others = now.others.saturating_sub(before.others);
    [now.threads.saturating_sub(before.threads), connections, connections + others]
}

fn fits(came: [u64; 3], cost: &Cost) -> bool {
    came[..2] == [cost.threads, cost.connections] && came[2] <= cost.descriptors
}

const PATIENCE: Duration = Duration::from_secs(20);

/// What the process has when nothing of it comes or goes any more.
async fn has_settled() -> Has {
    let until = Instant::now() + PATIENCE;
    let (mut last, mut same) = (has(), 0);
    while same < 5 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = has();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// Threads and connections exactly, descriptors as a bound, with one broker and with three, each of
/// which leads partitions of every topic.
#[tokio::test]
async fn a_consumer_takes_what_was_predicted() {
    let topics = ["a", "b"];
    for brokers in [1, 3] {
        let mock = Mock::with_brokers(brokers);
        for topic in topics {
            mock.create(topic, 6);
            (0..6).for_each(|partition| mock.produce(topic, partition, 1));
        }
        for mode in MODES {
            let config = config(&mock, &format!("cost-{brokers}-{mode}"), &topics, mode);
            let cost = config.explain(None).expect("a configuration").cost;
            assert_eq!(cost.brokers, brokers as u64, "the mock names all its brokers");
            // What was tried out, and the consumer before, are destroyed on threads of their own.
            let before = has_settled().await;
            let mut consumer = Consumer::start(config).expect("start");
            drain(&mut consumer, 12).await;
            // The first contact's connection becomes that of the broker found behind it.
            let until = Instant::now() + PATIENCE;
            while !fits(came_since(before), &cost) && Instant::now() < until {
                common::poll_for(&mut consumer, Duration::from_millis(50)).await;
            }
            let came = came_since(before);
            assert!(
                fits(came, &cost),
                "{brokers} {mode}: {came:?} threads, connections, descriptors; {cost:?}"
            );
            stopped(consumer).await;
        }
    }
}
