//! The embedded broker, with topics that are full before anything is measured.

use std::env;
use std::process;
use std::time::Duration;

use fairpoll::Config;
use fairpoll_sim::broker::{Broker, TopicSpec, mock};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

/// Bytes of a record's value.
pub(crate) const VALUE: usize = 64;

/// The mock serves one batch per partition and fetch; as many records as the harness puts into one.
const BATCH: &str = "4000";
const PATIENCE: Duration = Duration::from_secs(20);

/// The harness starts this very program with `broker` as its first argument: then it is the broker, until its
/// standard input is closed. To be called first, on the main thread.
pub(crate) fn serve_if_asked() {
    if env::args().nth(1).as_deref() == Some("broker") {
        process::exit(mock::serve() as i32);
    }
}

/// A broker in a process of its own, so that it neither counts as ours nor takes our locks.
pub(crate) struct Filled {
    broker: Broker,
}

impl Filled {
    pub(crate) fn start() -> Self {
        Self { broker: Broker::start_embedded(1).expect("an embedded broker") }
    }

    pub(crate) fn servers(&self) -> &str {
        &self.broker.endpoint().bootstrap_servers
    }

    /// So many topics of one partition, with as many records together as `records` says; their names.
    /// A partition holds 5 MiB.
    pub(crate) fn fill(&mut self, prefix: &str, topics: usize, records: usize) -> Vec<String> {
        let names: Vec<String> = (0..topics).map(|topic| format!("{prefix}-{topic}")).collect();
        let spec = |name: &String| TopicSpec { name: name.clone(), partitions: 1, own_leader: false };
        self.broker.create_topics(&names.iter().map(spec).collect::<Vec<_>>()).expect("topics");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.servers()).set("linger.ms", "100");
        config.set("batch.num.messages", BATCH).set("queue.buffering.max.messages", "1000000");
        let producer: ThreadedProducer<_> = config.create().expect("a producer");
        let value = [b'x'; VALUE];
        for name in &names {
            for _ in 0..records / topics {
                let record = BaseRecord::<(), [u8]>::to(name).partition(0).payload(&value);
                producer.send(record).map_err(|(error, _)| error).expect("there is room for all");
            }
        }
        producer.flush(PATIENCE).expect("all acknowledged");
        names
    }
}

/// What every consumer here is told. Of the embedded broker's kind: it does not end a long poll when a record comes,
/// so a client that was sought elsewhere would wait as long as it may.
pub(crate) fn config(servers: &str, group: &str, topics: &[String]) -> Config {
    Config::new(servers, group, topics.iter().map(String::as_str))
        .property("auto.offset.reset", "earliest")
        .property("fetch.wait.max.ms", "10")
}
