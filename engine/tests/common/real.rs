//! A real broker, which somebody else started: `FAIRPOLL_TEST_BROKER=HOST:PORT`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const WAIT: Duration = Duration::from_secs(20);

/// Where the groups' commits are kept.
const COMMITS: &str = "__consumer_offsets";

/// By topic and partition.
pub type Offsets = BTreeMap<(String, i32), i64>;

/// Topics of a test's own, on a broker that may have others.
pub struct Real {
    pub address: String,
    prefix: String,
    admin: AdminClient<DefaultClientContext>,
    producer: ThreadedProducer<DefaultProducerContext>,
    topics: Vec<String>,
}

impl Real {
    pub fn from_environment() -> Self {
        let address = std::env::var("FAIRPOLL_TEST_BROKER").expect(
            "this test needs a Kafka broker: FAIRPOLL_TEST_BROKER=HOST:PORT (containers/kafka/local-broker start)",
        );
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
        let client = || {
            let mut client = ClientConfig::new();
            client.set("bootstrap.servers", &address).set("linger.ms", "1");
            client
        };
        Self {
            admin: client().create().expect("admin"),
            producer: client().create().expect("producer"),
            prefix: format!("fairpoll-test-{since}-"),
            topics: Vec::new(),
            address,
        }
    }

    /// The test's own name of a topic or group.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Creates topics and waits until their partitions have leaders.
    pub async fn create(&mut self, topics: &[(&str, i32)]) {
        let names: Vec<(String, i32)> =
            topics.iter().map(|(name, partitions)| (self.name(name), *partitions)).collect();
        let new: Vec<NewTopic<'_>> = names
            .iter()
            .map(|(name, partitions)| NewTopic::new(name, *partitions, TopicReplication::Fixed(1)))
            .collect();
        let created = self.admin.create_topics(&new, &AdminOptions::new()).await.expect("create topics");
        for topic in created {
            topic.expect("create topic");
        }
        self.topics.extend(names.into_iter().map(|(name, _)| name));
        for topic in &self.topics {
            let until = std::time::Instant::now() + WAIT;
            let is_led = || {
                let metadata = self.producer.client().fetch_metadata(Some(topic), WAIT).expect("metadata");
                let partitions = metadata.topics()[0].partitions();
                !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0)
            };
            while !is_led() {
                assert!(std::time::Instant::now() < until, "{topic} has no leader");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Produces records to one partition of a topic of the test, and waits until they are acknowledged.
    pub fn produce(&self, topic: &str, partition: i32, records: usize) {
        self.send(topic, partition, records);
        self.flush();
    }

    pub fn send(&self, topic: &str, partition: i32, records: usize) {
        let topic = self.name(topic);
        for number in 0..records {
            let value = number.to_string();
            let record = BaseRecord::<(), str>::to(&topic).partition(partition).payload(&value);
            self.producer.send(record).map_err(|(error, _)| error).expect("room");
        }
    }

    pub fn flush(&self) {
        self.producer.flush(WAIT).expect("flush");
    }

    /// What a group has committed of these partitions, as the coordinator says.
    pub fn committed(&self, group: &str, partitions: &[(String, i32)]) -> Offsets {
        let client: BaseConsumer = self.reader(group);
        let mut list = TopicPartitionList::new();
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        let committed = client.committed_offsets(list, WAIT).expect("committed offsets");
        let offsets = committed.elements();
        let known = offsets.iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
            _ => None,
        });
        known.collect()
    }

    /// Every commit that the broker took of these groups, in its order by group and partition: what
    /// came over the wire, whatever the clients say.
    pub fn commits(&self, groups: &[&str]) -> BTreeMap<(String, String, i32), Vec<i64>> {
        let client: BaseConsumer = self.reader(&self.name("reader"));
        let metadata = client.fetch_metadata(Some(COMMITS), WAIT).expect("metadata");
        let mut list = TopicPartitionList::new();
        let mut left = BTreeMap::new();
        for partition in metadata.topics()[0].partitions() {
            let (start, end) = client.fetch_watermarks(COMMITS, partition.id(), WAIT).expect("watermarks");
            if end > start {
                list.add_partition_offset(COMMITS, partition.id(), Offset::Beginning).expect("an offset");
                left.insert(partition.id(), end);
            }
        }
        client.assign(&list).expect("assign");
        let mut all: BTreeMap<(String, String, i32), Vec<i64>> = BTreeMap::new();
        let until = std::time::Instant::now() + WAIT;
        while !left.is_empty() {
            assert!(std::time::Instant::now() < until, "the commits were not read: {left:?}");
            for (partition, end) in left.clone() {
                // The end may be a transaction's marker, which is not delivered.
                let position = client.position().expect("position");
                let at = position.find_partition(COMMITS, partition).map(|found| found.offset());
                if at.is_some_and(|at| matches!(at, Offset::Offset(at) if at >= end)) {
                    left.remove(&partition);
                }
            }
            let Some(message) = client.poll(Duration::from_millis(50)) else { continue };
            let message = message.expect("message");
            let commit = message.key().zip(message.payload()).and_then(|(key, value)| commit(key, value));
            if let Some((group, topic, partition, offset)) = commit
                && groups.contains(&group.as_str())
            {
                all.entry((group, topic, partition)).or_default().push(offset);
            }
        }
        all
    }

    fn reader(&self, group: &str) -> BaseConsumer {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.address).set("group.id", group).set("fetch.wait.max.ms", "10");
        client.create().expect("client")
    }

    /// Removes a partition's records before an offset, as retention would.
    pub async fn forget_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name(topic), partition, Offset::Offset(offset)).expect("an offset");
        let answer = self.admin.delete_records(&list, &AdminOptions::new()).await.expect("delete records");
        answer.elements().iter().for_each(|element| element.error().expect("deleted"));
    }

    /// Removes one of the test's topics.
    pub async fn delete(&self, topic: &str) {
        let deleted = self.admin.delete_topics(&[&self.name(topic)], &AdminOptions::new()).await;
        deleted.expect("delete topics").into_iter().for_each(|topic| drop(topic.expect("deleted")));
    }

    /// Removes the test's topics.
    pub async fn remove(self) {
        let names: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        self.admin.delete_topics(&names, &AdminOptions::new()).await.expect("delete topics");
    }
}

/// Group, topic, partition and offset of a record of [`COMMITS`]; `None`: it is no commit. The layout is
/// Kafka's: a version, big-endian numbers, strings with their length before them.
fn commit(key: &[u8], value: &[u8]) -> Option<(String, String, i32, i64)> {
    let (version, mut key) = key.split_first_chunk()?;
    // From 2 on it is a group's own state.
    if u16::from_be_bytes(*version) > 1 {
        return None;
    }
    let mut text = || {
        let (length, rest) = key.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        key = rest;
        String::from_utf8(text.to_vec()).ok()
    };
    let (group, topic) = (text()?, text()?);
    let partition = i32::from_be_bytes(*key.first_chunk()?);
    let offset = i64::from_be_bytes(*value.get(2..)?.first_chunk()?);
    Some((group, topic, partition, offset))
}
