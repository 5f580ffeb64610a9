//! The consumer in all modes against librdkafka's in-process mock cluster.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fairpoll::{Batch, Config, Consumer, ConsumerEvent, GroupStrategy, ModeRequest};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

struct Broker {
    cluster: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
}

impl Broker {
    fn new() -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster needs nothing but memory");
        Self { cluster }
    }

    fn address(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    fn fill(&self, topics: &[(&str, i32, usize)]) {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", self.address())
            .set("linger.ms", "20")
            .create()
            .expect("valid properties");
        for &(topic, partitions, records) in topics {
            self.cluster.create_topic(topic, partitions, 1).expect("topic");
            for number in 0..records {
                let value = number.to_string();
                let partition = (number % partitions.unsigned_abs() as usize) as i32;
                let mut record = BaseRecord::<(), str>::to(topic).partition(partition).payload(&value);
                while let Err((_, back)) = producer.send(record) {
                    record = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        producer.flush(Duration::from_secs(10)).expect("flush");
    }

    fn config(&self, topics: &[&str], mode: ModeRequest) -> Config {
        Config::new(self.address(), "group", topics.iter().copied())
            .mode(mode)
            .max_poll_records(100)
            .property("auto.offset.reset", "earliest")
            .property("fetch.wait.max.ms", "10")
    }
}

const MODES: [ModeRequest; 3] = [ModeRequest::Single, ModeRequest::Multi, ModeRequest::Fair];

fn offsets_of(batch: &Batch, into: &mut BTreeMap<(String, i32), Vec<i64>>) {
    for record in batch.records() {
        into.entry((record.topic().to_owned(), record.partition())).or_default().push(record.offset());
    }
}

async fn drain(consumer: &mut Consumer, records: usize) -> BTreeMap<(String, i32), Vec<i64>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut all = BTreeMap::new();
    let mut count = 0;
    while count < records && Instant::now() < deadline {
        let batch = consumer.get_many(Duration::from_millis(200), None).await.expect("poll");
        assert_eq!(batch.errors(), [], "no topic fails here");
        count += batch.len();
        offsets_of(&batch, &mut all);
        consumer.commit(&batch);
    }
    all
}

#[tokio::test]
async fn every_mode_delivers_every_record_once_and_in_order_and_commits_it() {
    let broker = Broker::new();
    broker.fill(&[("deep", 3, 5000), ("quiet-1", 1, 40), ("quiet-2", 2, 60)]);
    for mode in MODES {
        let config = broker.config(&["deep", "quiet-1", "quiet-2"], mode);
        let config = Config::clone(&config);
        let group = format!("group-{mode}");
        let config = regroup(&broker, &config, &group, mode);
        let mut consumer = Consumer::start(config.clone()).expect("start");
        let all = drain(&mut consumer, 5100).await;
        assert_eq!(all.values().map(Vec::len).sum::<usize>(), 5100, "{mode}");
        for ((topic, partition), offsets) in &all {
            let expected: Vec<i64> = (0..offsets.len() as i64).collect();
            assert_eq!(*offsets, expected, "{mode}: {topic} [{partition}]");
        }
        let report = consumer.stop(Duration::from_secs(5)).await;
        assert!(report.committed && report.closed, "{mode}: {report:?}");
        assert_eq!(report.unprocessed, [], "{mode}");

        // A second life of the group finds nothing: everything was committed.
        let mut again = Consumer::start(config).expect("start");
        let mut rest = 0;
        for _ in 0..5 {
            rest += again.get_many(Duration::from_millis(200), None).await.expect("poll").len();
        }
        assert_eq!(rest, 0, "{mode}");
        assert!(again.stop(Duration::from_secs(5)).await.closed, "{mode}");
    }
}

fn regroup(broker: &Broker, _config: &Config, group: &str, mode: ModeRequest) -> Config {
    Config::new(broker.address(), group, ["deep", "quiet-1", "quiet-2"])
        .mode(mode)
        .max_poll_records(100)
        .property("auto.offset.reset", "earliest")
        .property("fetch.wait.max.ms", "10")
}

#[tokio::test]
async fn fair_and_multi_serve_every_topic_in_the_first_batch_and_single_does_not() {
    let broker = Broker::new();
    broker.fill(&[("deep", 1, 20_000), ("quiet-1", 1, 40), ("quiet-2", 1, 40)]);
    for mode in MODES {
        let config = regroup(&broker, &broker.config(&["deep"], mode), &format!("first-{mode}"), mode);
        let began = Instant::now();
        let mut consumer = Consumer::start(config).expect("start");
        let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
        let topics: Vec<&str> = batch.partitions().map(|partition| partition.topic()).collect();
        println!("{mode} {topics:?} {:?} {:?}", consumer.take_events().collect::<Vec<_>>(), began.elapsed());
        if mode == ModeRequest::Single {
            assert!(batch.len() <= 100, "the cap is on the total");
        } else {
            assert_eq!(topics.len(), 3, "{mode}: {topics:?}");
        }
        consumer.stop(Duration::from_secs(5)).await;
    }
}
