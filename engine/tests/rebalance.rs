//! Assignments that come and go.

mod common;

use std::time::{Duration, Instant};

use common::{Mock, config, drain, note, stopped};
use fairpoll::{Consumer, ConsumerEvent, GroupStrategy, ModeRequest};

const TOPICS: [&str; 2] = ["a", "b"];

/// Traps 1 and 3: revoking un-forwards a partition's queue, so every assignment forwards again; and
/// rebalances come on a queue of their own, which must be served for ever.
#[tokio::test]
async fn every_partition_is_delivered_through_its_lane_after_a_rebalance() {
    for mode in [ModeRequest::Single, ModeRequest::Fair] {
        let mock = Mock::filled(&[("a", 2, 200), ("b", 2, 200)]);
        let config = config(&mock, &format!("re-{mode}"), &TOPICS, mode);
        let mut first = Consumer::start(config.clone()).expect("start");
        assert_eq!(drain(&mut first, 800).await.values().map(Vec::len).sum::<usize>(), 800);
        // The mock refuses commits in a rebalance, and what is not committed by then comes again.
        all_is_committed(&mut first).await;

        let mut second = Consumer::start(config).expect("start");
        let both = both_until(&mut first, &mut second, |events| {
            events.iter().any(|event| matches!(event, ConsumerEvent::Revoked { .. }))
        });
        both.await;
        let until = Instant::now() + Duration::from_secs(5);
        while second.status().assigned_partitions == 0 && Instant::now() < until {
            step(&mut first).await;
            step(&mut second).await;
        }
        assert!(second.status().assigned_partitions > 0, "{mode}: the second member owns something");
        stopped(second).await;
        // Nothing is produced before everything is back: the mock refuses commits in a rebalance.
        let until = Instant::now() + Duration::from_secs(10);
        while first.status().assigned_partitions < 4 && Instant::now() < until {
            step(&mut first).await;
        }

        for topic in TOPICS {
            mock.produce(topic, 0, 50);
            mock.produce(topic, 1, 50);
        }
        let until = Instant::now() + Duration::from_secs(15);
        let mut all = common::Delivered::new();
        while all.values().map(Vec::len).sum::<usize>() < 200 && Instant::now() < until {
            let batch = first.get_many(Duration::from_millis(50), None).await.expect("poll");
            note(&batch, &mut all);
            first.commit(&batch);
        }
        assert_eq!(all.len(), 4, "{mode}: all partitions are back: {:?}", all.keys());
        assert!(all.values().all(|offsets| offsets.len() == 50), "{mode}: {all:?}");
        assert_eq!(first.status().strays, 0, "{mode}: nothing went past its lane");
        stopped(first).await;
    }
}

async fn all_is_committed(consumer: &mut Consumer) {
    let until = Instant::now() + Duration::from_secs(10);
    let is_behind = |consumer: &Consumer| {
        let (now, lags) = (consumer.now(), consumer.lag_info());
        lags.values()
            .flat_map(|topic| topic.values())
            .any(|lag| lag.durability(now).map_or(true, |lag| lag.records > 0))
    };
    while is_behind(consumer) {
        assert!(Instant::now() < until, "{:?}", consumer.lag_info());
        step(consumer).await;
    }
}

async fn step(consumer: &mut Consumer) {
    let batch = consumer.get_many(Duration::from_millis(10), None).await.expect("poll");
    consumer.commit(&batch);
}

async fn both_until(first: &mut Consumer, second: &mut Consumer, done: impl Fn(&[ConsumerEvent]) -> bool) {
    let until = Instant::now() + Duration::from_secs(15);
    let mut events = Vec::new();
    while !done(&events) {
        assert!(Instant::now() < until, "no rebalance came: {events:?}");
        step(first).await;
        step(second).await;
        events.extend(first.take_events());
    }
}

/// Trap 7: a consumer that leaves its group does not make it wait for a session timeout.
// shows: E8
#[tokio::test]
async fn a_stopped_consumer_leaves_its_partitions_to_the_next_at_once() {
    for mode in common::MODES {
        let mock = Mock::filled(&[("a", 1, 10), ("b", 1, 10)]);
        let config = config(&mock, &format!("leave-{mode}"), &TOPICS, mode);
        let mut first = Consumer::start(config.clone()).expect("start");
        drain(&mut first, 20).await;
        stopped(first).await;
        mock.produce("a", 0, 5);
        let mut second = Consumer::start(config).expect("start");
        let until = Instant::now() + Duration::from_secs(8);
        let mut records = 0;
        // Well below the session timeout of 45 s.
        while records < 5 && Instant::now() < until {
            let batch = second.get_many(Duration::from_millis(50), None).await.expect("poll");
            records += batch.len();
            second.commit(&batch);
        }
        assert_eq!(records, 5, "{mode}");
        stopped(second).await;
    }
}

/// librdkafka takes the error of a failed fetch for the record at that offset, and a rebalance makes it
/// go on behind it.
#[tokio::test]
async fn a_failed_fetch_in_a_rebalance_loses_no_record() {
    const FETCH: i16 = 1;
    for (mode, strategy) in
        [(ModeRequest::Single, GroupStrategy::Cooperative), (ModeRequest::Fair, GroupStrategy::Kip848)]
    {
        let mock = Mock::filled(&[("a", 2, 20), ("b", 2, 20)]);
        let config = config(&mock, &format!("failed-{mode}"), &TOPICS, mode)
            .group_strategy(strategy)
            .property("fetch.error.backoff.ms", "20");
        let mut first = Consumer::start(config.clone()).expect("start");
        let mut all = drain(&mut first, 80).await;
        let mut produced = 20;
        for round in 0..2 {
            let mut second = Consumer::start(config.clone()).expect("start");
            let until = Instant::now() + Duration::from_secs(8);
            while second.status().assigned_partitions == 0 && Instant::now() < until {
                mock.fail_requests(FETCH, rdkafka_sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN, 2);
                for consumer in [&mut first, &mut second] {
                    let batch = consumer.get_many(Duration::from_millis(10), None).await.expect("poll");
                    note(&batch, &mut all);
                    consumer.commit(&batch);
                }
                produced += 1;
                for topic in TOPICS {
                    mock.produce(topic, 0, 1);
                    mock.produce(topic, 1, 1);
                }
            }
            // What is left of them would be met only by probes, which are seconds apart by then.
            mock.pass_requests(FETCH);
            let owned = second.status().assigned_partitions;
            stopped(second).await;
            assert!(owned > 0, "{mode} round {round}: the second member owned something");
        }
        let until = Instant::now() + Duration::from_secs(15);
        let distinct = |all: &common::Delivered| {
            all.values()
                .map(|offsets| offsets.iter().collect::<std::collections::BTreeSet<_>>().len())
                .sum::<usize>()
        };
        while distinct(&all) < 4 * produced && Instant::now() < until {
            let batch = first.get_many(Duration::from_millis(50), None).await.expect("poll");
            note(&batch, &mut all);
            first.commit(&batch);
        }
        for (partition, offsets) in &all {
            let there: std::collections::BTreeSet<i64> = offsets.iter().copied().collect();
            let lost: Vec<i64> =
                (0..i64::try_from(produced).expect("few")).filter(|offset| !there.contains(offset)).collect();
            assert!(lost.is_empty(), "{mode} {strategy:?}: lost of {partition:?}: {lost:?}");
        }
        stopped(first).await;
    }
}

/// Where reading begins is settled before a partition counts as assigned: what is written from then on comes.
#[tokio::test]
async fn who_reads_from_the_end_gets_all_that_is_written_after_the_assignment() {
    for mode in [ModeRequest::Single, ModeRequest::Multi, ModeRequest::Fair] {
        let mock = Mock::filled(&[("a", 2, 20), ("b", 2, 20)]);
        let config = config(&mock, &format!("end-{mode}"), &TOPICS, mode);
        let mut consumer = Consumer::start(config.property("auto.offset.reset", "latest")).expect("start");
        let until = Instant::now() + Duration::from_secs(20);
        while consumer.status().assigned_partitions < 4 {
            assert!(Instant::now() < until, "{mode}: nothing was assigned");
            consumer.get_many(Duration::from_millis(1), None).await.expect("poll");
        }
        TOPICS.iter().for_each(|topic| mock.produce(topic, 1, 10));
        let came = drain(&mut consumer, 20).await;
        let expected = TOPICS.map(|topic| ((topic.to_owned(), 1), (20..30).collect()));
        assert_eq!(came, expected.into(), "{mode}");
        stopped(consumer).await;
    }
}
