//! What only the inside can bring about.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::{Config, Consumer, GroupStrategy, ModeRequest};

type Mock = MockCluster<'static, DefaultProducerContext>;

/// With a topic `a` of one partition.
fn cluster() -> Mock {
    let mock = MockCluster::new(1).expect("a mock cluster");
    mock.create_topic("a", 1, 1).expect("topic");
    mock
}

/// A consumer that owns the partition.
async fn assigned(mock: &Mock, group: &str) -> Consumer {
    // KIP-848: the mock's classic groups wait 3 s for more members.
    let config = Config::new(mock.bootstrap_servers(), group, ["a"])
        .mode(ModeRequest::Multi)
        .property("auto.offset.reset", "earliest")
        .property("fetch.wait.max.ms", "10");
    let mut consumer = Consumer::start(config).expect("start");
    let until = Instant::now() + Duration::from_secs(10);
    while consumer.status().assigned_partitions == 0 && Instant::now() < until {
        consumer.get_many(Duration::from_millis(20), None).await.expect("poll");
    }
    consumer
}

fn produce(mock: &Mock, records: usize) {
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().expect("producer");
    for _ in 0..records {
        producer
            .send(BaseRecord::<(), str>::to("a").partition(0).payload("x"))
            .map_err(|(error, _)| error)
            .expect("room");
    }
    producer.flush(Duration::from_secs(10)).expect("flush");
}

/// librdkafka refuses every commit of such a handle; who tried again would never be done.
#[tokio::test]
async fn a_handle_that_failed_for_good_commits_nothing() {
    let mock = cluster();
    let mut consumer = assigned(&mock, "dead").await;
    produce(&mock, 5);
    let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
    assert!(!batch.is_empty());
    consumer.handles[0].fatal = Some("fenced".to_owned());
    consumer.take_events().for_each(drop);
    consumer.commit(&batch);
    assert_eq!(consumer.take_events().collect::<Vec<_>>(), []);
    assert!(!consumer.commits.any_pending());
    drop(batch);
    assert!(consumer.stop(Duration::from_secs(5)).await.closed);
}

/// Trap 2: a record that reaches the control queue is delivered through its lane, in order.
#[tokio::test]
async fn strays_are_delivered_once_and_in_order() {
    let mock = cluster();
    let mut consumer = assigned(&mock, "strays").await;
    let (_, partition) = consumer.partitions.assigned().next().expect("assigned");
    let client = consumer.handles[partition.handle].client.clone().expect("open");
    client.divert(&partition.entry);
    drop(client);

    produce(&mock, 50);
    let mut offsets = Vec::new();
    let until = Instant::now() + Duration::from_secs(10);
    while offsets.len() < 50 && Instant::now() < until {
        let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
        offsets.extend(batch.records().map(|record| record.offset()));
    }
    assert_eq!(offsets, (0..50).collect::<Vec<i64>>());
    assert_eq!(consumer.status().strays, 50);
    assert!(consumer.stop(Duration::from_secs(5)).await.closed);
}

/// What was looked at has left the client, which would not deliver it again.
#[tokio::test]
async fn a_topic_that_is_paused_after_a_look_at_its_records_loses_none() {
    let mock = MockCluster::new(1).expect("a mock cluster");
    let servers = mock.bootstrap_servers();
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", &servers).create().expect("producer");
    for topic in ["a", "b"] {
        mock.create_topic(topic, 1, 1).expect("topic");
        for _ in 0..30 {
            let record = BaseRecord::<(), str>::to(topic).partition(0).payload("x");
            producer.send(record).map_err(|(error, _)| error).expect("room");
        }
    }
    producer.flush(Duration::from_secs(10)).expect("flush");
    let config = Config::new(&servers, "held", ["a", "b"])
        .mode(ModeRequest::Single)
        .group_strategy(GroupStrategy::Kip848)
        .property("auto.offset.reset", "earliest")
        .property("fetch.wait.max.ms", "10");
    let mut consumer = Consumer::start(config).expect("start");
    let until = Instant::now() + Duration::from_secs(10);
    while consumer.lanes[0].queued() < 60 && Instant::now() < until {
        consumer.get_many(Duration::from_millis(10), Some(0)).await.expect("poll");
    }
    consumer.look_at_topics(Instant::now());
    consumer.pause_topic("a").expect("known");
    let mut delivered = Vec::new();
    for expected in [30, 60] {
        let until = Instant::now() + Duration::from_secs(10);
        while delivered.len() < expected && Instant::now() < until {
            let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
            delivered.extend(batch.records().map(|record| (record.topic().to_owned(), record.offset())));
        }
        consumer.resume_topic("a").expect("known");
    }
    let expected = |topic: &str| (0..30).map(|offset| (topic.to_owned(), offset)).collect::<Vec<_>>();
    assert_eq!(delivered, [expected("b"), expected("a")].concat());
    assert!(consumer.stop(Duration::from_secs(5)).await.closed);
}
