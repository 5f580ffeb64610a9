//! Commits against a real broker, which refuses them for single partitions.
//!
//! ```text
//! FAIRPOLL_TEST_BROKER=HOST:PORT cargo test -p fairpoll --test commits -- --ignored
//! ```

mod common;

use std::time::{Duration, Instant};

use common::real::Real;
use fairpoll::{Config, Consumer, ConsumerEvent, GroupStrategy, ModeRequest};

const RECORDS: usize = 300;

/// Whose commit was refused, by topic, partition and code.
fn refused(events: &[ConsumerEvent]) -> Vec<(&str, i32, &str)> {
    let refused = events.iter().filter_map(|event| match event {
        ConsumerEvent::CommitRefused { topic, partition, code, .. } => {
            Some((topic.as_str(), *partition, code.as_str()))
        }
        _ => None,
    });
    refused.collect()
}

// shows: E5
#[tokio::test]
#[ignore = "needs a Kafka broker; run by ci/real-broker"]
async fn a_topic_that_is_deleted_before_its_offsets_are_committed_keeps_back_no_other() {
    for strategy in [GroupStrategy::Classic, GroupStrategy::Kip848] {
        let mut real = Real::from_environment();
        real.create(&[("gone", 1), ("kept", 2)]).await;
        let (gone, kept, group) = (real.name("gone"), real.name("kept"), real.name("group"));
        real.produce("gone", 0, RECORDS);
        (0..2).for_each(|partition| real.produce("kept", partition, RECORDS));
        let config = Config::new(&real.address, &group, [&gone, &kept])
            .mode(ModeRequest::Fair)
            .group_strategy(strategy)
            .property("auto.offset.reset", "earliest");
        let mut consumer = Consumer::start(config).expect("start");
        let mut batches = Vec::new();
        let until = Instant::now() + Duration::from_secs(60);
        let mut delivered = 0;
        while delivered < 3 * RECORDS {
            assert!(Instant::now() < until, "{delivered} of {} came", 3 * RECORDS);
            let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
            delivered += batch.records().count();
            batches.push(batch);
        }
        real.delete("gone").await;
        // Record by record, so that there is always something to commit of each until the deletion is known.
        let mut events = Vec::new();
        let by_offset = |offset: i64| {
            batches.iter().flat_map(|batch| batch.records()).filter(move |record| record.offset() == offset)
        };
        for offset in 0..RECORDS as i64 {
            by_offset(offset).for_each(|record| consumer.ack(record));
            consumer.commit_processed();
            let until = Instant::now() + Duration::from_millis(20);
            while Instant::now() < until {
                consumer.get_many(Duration::from_millis(5), None).await.expect("poll");
            }
            events.extend(consumer.take_events());
        }
        // Deleted topics have no partition that somebody else owns.
        drop(batches);
        let report = consumer.stop(Duration::from_secs(30)).await;
        assert!(report.closed, "{report:?}");
        events.extend(consumer.take_events());
        assert_eq!(refused(&events), [(gone.as_str(), 0, "UNKNOWN_TOPIC_OR_PART")], "{strategy:?}");
        // A commit that a rebalance overtook names everybody, and is another matter.
        let names_another = |event: &ConsumerEvent| {
            let ConsumerEvent::CommitResult { error: Some(error), .. } = event else { return false };
            error.contains("Unknown topic") && error.contains(&kept)
        };
        assert!(!events.iter().any(names_another), "{strategy:?}: {events:?}");
        let partitions = [(kept.clone(), 0), (kept.clone(), 1)];
        let committed = real.committed(&group, &partitions);
        let expected = partitions.into_iter().map(|partition| (partition, RECORDS as i64)).collect();
        assert_eq!(committed, expected, "{strategy:?}");
        real.remove().await;
    }
}
