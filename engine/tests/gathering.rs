//! Whom a poll waits for: topics whose records are on their way, and nobody else.

mod common;

use std::time::{Duration, Instant};

use common::{Mock, config, stopped};
use fairpoll::{Batch, Consumer, ModeRequest};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

const WITH_LANES: [ModeRequest; 2] = [ModeRequest::Multi, ModeRequest::Fair];

fn topics(batch: &Batch) -> Vec<&str> {
    let mut topics: Vec<&str> = batch.partitions().map(|partition| partition.topic()).collect();
    topics.dedup();
    topics
}

/// A deep topic on a fast broker; another, of which a fetch brings half a quota, on a slow one.
fn one_broker_is_slow() -> Mock {
    let mock = Mock::with_brokers(2);
    for (topic, broker) in [("fast", 1), ("slow", 2)] {
        mock.create(topic, 1);
        mock.lead(topic, 0, broker);
    }
    mock.produce("fast", 0, 20_000);
    for _ in 0..20 {
        // The mock answers a fetch with one batch, as it was produced.
        mock.produce("slow", 0, 50);
    }
    mock.slow(2, Duration::from_millis(30));
    mock
}

/// Polls as fast as it goes until everything of the slow topic came; how many polls came before
/// that, and how many without it.
async fn polls_and_starved(
    mock: &Mock,
    mode: ModeRequest,
    queued_min_messages: u32,
    refill_wait: Duration,
) -> (usize, usize) {
    let group = format!("refill-{mode}-{queued_min_messages}-{}", refill_wait.as_millis());
    let config = config(mock, &group, &["fast", "slow"], mode)
        .property("queued.min.messages", queued_min_messages.to_string())
        .first_fetch_wait(LONG)
        .refill_wait(refill_wait);
    let mut consumer = Consumer::start(config).expect("start");
    let (mut records, mut polls, mut starved) = (0, 0, 0);
    while records < 1000 {
        let batch = consumer.get_many(LONG, None).await.expect("poll");
        assert!(!batch.is_empty(), "{mode}: {records} records of 1000");
        let slow = batch.partitions().filter(|partition| partition.topic() == "slow");
        records += slow.map(|partition| partition.len()).sum::<usize>();
        polls += 1;
        starved += usize::from(!topics(&batch).contains(&"slow"));
    }
    stopped(consumer).await;
    (polls, starved)
}

#[tokio::test]
async fn a_topic_that_ran_dry_though_its_broker_holds_more_is_in_every_batch_of_a_fast_application() {
    let mock = one_broker_is_slow();
    for mode in WITH_LANES {
        // Fetching does not stop for the fast topic, so that waiting costs nothing.
        let (polls, starved) = polls_and_starved(&mock, mode, 100_000, LONG).await;
        assert_eq!(starved, 0, "{mode}: of {polls} polls");
        // Without the wait the same application starves it, or this test shows nothing.
        let (polls, starved) = polls_and_starved(&mock, mode, 100_000, Duration::ZERO).await;
        assert!(starved > 10, "{mode}: {starved} of {polls} polls");
    }
}

/// What is prefetched of the fast topic is all that may be: the application is slower than that broker, and
/// what it holds back for the slow one it loses.
#[tokio::test]
async fn a_topic_that_waits_in_full_is_hardly_held_up_for_another() {
    let mock = one_broker_is_slow();
    for mode in WITH_LANES {
        let (polls, starved) = polls_and_starved(&mock, mode, 1_000, Duration::from_secs(2)).await;
        assert!(starved > 10, "{mode}: {starved} of {polls} polls");
    }
}

#[tokio::test]
async fn a_topic_at_its_end_is_not_waited_for() {
    let mock = Mock::filled(&[("ended", 1, 10), ("alive", 1, 10)]);
    for mode in WITH_LANES {
        let config = config(&mock, &format!("ended-{mode}"), &["ended", "alive"], mode)
            .first_fetch_wait(LONG)
            .refill_wait(LONG);
        let mut consumer = Consumer::start(config).expect("start");
        let first = consumer.get_many(LONG, None).await.expect("poll");
        assert_eq!(topics(&first).len(), 2, "{mode}");
        mock.produce("alive", 0, 1);
        let began = Instant::now();
        let second = consumer.get_many(LONG, None).await.expect("poll");
        assert_eq!(topics(&second), ["alive"], "{mode}");
        assert!(began.elapsed() < LONG / 2, "{mode}: {:?}", began.elapsed());
        drop((first, second));
        stopped(consumer).await;
    }
}

/// A lane is known by its first record only if that is all it has; its other partitions may be deep.
#[tokio::test]
async fn the_first_batch_waits_for_every_partition_of_a_topic_that_cannot_fill_its_quota() {
    let mock = Mock::with_brokers(2);
    mock.create("other", 1);
    mock.create("split", 2);
    mock.lead("other", 0, 1);
    for (partition, broker) in [(0, 1), (1, 2)] {
        mock.lead("split", partition, broker);
        mock.produce("split", partition, 10);
    }
    mock.produce("other", 0, 10);
    mock.slow(2, Duration::from_millis(100));
    for mode in WITH_LANES {
        let config =
            config(&mock, &format!("split-{mode}"), &["split", "other"], mode).first_fetch_wait(LONG);
        let mut consumer = Consumer::start(config).expect("start");
        let batch = consumer.get_many(LONG, None).await.expect("poll");
        let split = batch.partitions().filter(|partition| partition.topic() == "split").count();
        assert_eq!((batch.len(), split), (30, 2), "{mode}");
        drop(batch);
        stopped(consumer).await;
    }
}

/// Nobody waits for the slow partition of a topic that has all it may contribute anyway.
#[tokio::test]
async fn a_topic_that_fills_its_quota_is_known_whatever_its_other_partitions_do() {
    let mock = Mock::with_brokers(2);
    mock.create("other", 1);
    mock.create("deep", 2);
    mock.lead("other", 0, 1);
    for (partition, broker) in [(0, 1), (1, 2)] {
        mock.lead("deep", partition, broker);
        mock.produce("deep", partition, 500);
    }
    mock.produce("other", 0, 10);
    mock.slow(2, Duration::from_millis(300));
    for mode in WITH_LANES {
        let config = config(&mock, &format!("full-{mode}"), &["deep", "other"], mode).first_fetch_wait(LONG);
        let mut consumer = Consumer::start(config).expect("start");
        let batch = consumer.get_many(LONG, None).await.expect("poll");
        assert_eq!(batch.len(), 110, "{mode}");
        let queued = consumer.consumers()["deep"].queued;
        assert!(queued <= 400, "{mode}: {queued} are left, and the fast partition holds 400 of them");
        drop(batch);
        stopped(consumer).await;
    }
}

/// A topic without records and a lively one, and how long the first poll takes in each mode: that a topic has no
/// records is known before it is fetched, and such a fetch is answered only after `fetch.wait.max.ms`, which is all of
/// `LONG` here.
async fn the_first_poll_brings_the_lively_topic_at_once(mock: &Mock, assignors: &str) {
    for mode in WITH_LANES {
        let config = config(mock, &format!("silent-{mode}"), &["silent", "lively"], mode)
            .property("fetch.wait.max.ms", LONG.as_millis().to_string())
            .property("partition.assignment.strategy", assignors)
            .first_fetch_wait(LONG);
        let began = Instant::now();
        let mut consumer = Consumer::start(config).expect("start");
        let first = consumer.get_many(LONG, None).await.expect("poll");
        assert_eq!((topics(&first), first.len()), (vec!["lively"], 10), "{mode}");
        assert!(began.elapsed() < LONG / 2, "{mode}: {:?}", began.elapsed());
        drop(first);
        stopped(consumer).await;
    }
}

/// The topics have brokers of their own: under an eager protocol librdkafka starts partitions in an order of its own,
/// and a first fetch may leave with the silent ones alone.
#[tokio::test]
async fn a_first_poll_does_not_wait_for_the_fetches_of_a_topic_without_records() {
    let mock = Mock::with_brokers(2);
    mock.create("silent", 2);
    mock.create("lively", 1);
    for (topic, partition, broker) in [("lively", 0, 1), ("silent", 0, 2), ("silent", 1, 2)] {
        mock.lead(topic, partition, broker);
    }
    mock.produce("lively", 0, 10);
    the_first_poll_brings_the_lively_topic_at_once(&mock, "range,roundrobin").await;
}

/// No request passes the one before it on a connection.
#[tokio::test]
async fn no_first_fetch_stands_behind_one_of_silent_partitions_alone_where_rebalances_are_incremental() {
    let mock = Mock::filled(&[("silent", 2, 0), ("lively", 1, 10)]);
    the_first_poll_brings_the_lively_topic_at_once(&mock, "cooperative-sticky").await;
}
