//! What is asked of a real Kafka besides producing and consuming: topics, groups, leaders.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::acls::{self, ANYONE, Acl, Resource, Verb};
use super::{BrokerError, Endpoint, TopicSpec};

/// A reachable cluster answers metadata in milliseconds; TLS, DNS and a far away one in seconds.
pub(super) const REACH_WITHIN: Duration = Duration::from_secs(10);
const ADMIN_WITHIN: Duration = Duration::from_secs(30);
/// How often a cluster is asked whether it is as far as it should be.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Makes topics and removes them again. Every method blocks until the cluster has done what was
/// asked, at most half a minute.
#[derive(Debug)]
pub(super) struct Admin {
    endpoint: Endpoint,
    replication: i32,
    /// How many nodes topics are spread over, 1, 2, …; `None`: the cluster decides where they are.
    nodes: Option<u32>,
    created: BTreeSet<String>,
    groups: Vec<String>,
}

impl Admin {
    /// Topics will have so many replicas.
    pub(super) fn new(endpoint: Endpoint, replication: i32) -> Self {
        Self { endpoint, replication, nodes: None, created: BTreeSet::new(), groups: Vec::new() }
    }

    /// Of these nodes the first leads partition 0 of the first topic that is created, and so on in turn, as on
    /// the embedded broker: a fault of a node is felt by the same topics there and in every run.
    #[cfg_attr(not(feature = "containers"), expect(dead_code, reason = "other people's nodes are theirs"))]
    pub(super) fn spread_over(mut self, nodes: u32) -> Self {
        self.nodes = Some(nodes);
        self
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// These groups are the run's, and go with its topics.
    pub(super) fn own_groups(&mut self, groups: Vec<String>) {
        self.groups.extend(groups);
    }

    /// Leaves on the cluster what was made.
    #[cfg_attr(not(feature = "containers"), expect(dead_code, reason = "only containers go as a whole"))]
    pub(super) fn disown(&mut self) {
        self.created.clear();
        self.groups.clear();
    }

    /// None of the topics may exist.
    pub(super) fn create_topics(&mut self, topics: &[TopicSpec]) -> Result<(), BrokerError> {
        let admin = self.client()?;
        // By topic and partition; of none where the cluster decides.
        let places: Vec<Vec<Vec<i32>>> = (0..)
            .zip(topics)
            .map(|(number, topic)| match self.nodes {
                Some(nodes) => (number..number + topic.partitions)
                    .map(|turn| replicas(turn, self.replication, nodes))
                    .collect(),
                None => Vec::new(),
            })
            .collect();
        let lent: Vec<Vec<&[i32]>> =
            places.iter().map(|of_topic| of_topic.iter().map(Vec::as_slice).collect()).collect();
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .zip(&lent)
            .map(|(topic, places)| {
                let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
                let replication = match self.nodes {
                    Some(_) => TopicReplication::Variable(places),
                    None => TopicReplication::Fixed(self.replication),
                };
                NewTopic::new(&topic.name, partitions, replication)
            })
            .collect();
        let results = block_on(admin.create_topics(&new, &options()));
        let results = results.map_err(|error| failed("(all)", error.to_string()))?;
        let mut first_failure = None;
        for result in results {
            match result {
                Ok(topic) => {
                    self.created.insert(topic);
                }
                Err((topic, RDKafkaErrorCode::TopicAlreadyExists)) => {
                    let reason = "it exists, and nothing is written to topics that this run did not create";
                    first_failure.get_or_insert(failed(&topic, reason.to_owned()));
                }
                Err((topic, code)) => {
                    first_failure.get_or_insert(failed(&topic, code.to_string()));
                }
            }
        }
        match first_failure {
            Some(failure) => Err(failure),
            None => topics.iter().try_for_each(|topic| self.wait_until_led(&topic.name, topic.partitions)),
        }
    }

    /// Deletes a topic that was created here, and waits until nobody knows it any more.
    pub(super) fn delete_topic(&mut self, topic: &str) -> Result<(), BrokerError> {
        self.only_own(topic)?;
        let results = block_on(self.client()?.delete_topics(&[topic], &options()));
        first(topic, results)?;
        self.created.remove(topic);
        self.wait_for(topic, "it is still known", |metadata| {
            metadata.topics().iter().all(|known| known.error().is_some())
        })
    }

    /// Gives a topic that was created here more partitions: `partitions` in all.
    pub(super) fn widen_topic(&mut self, topic: &str, partitions: u32) -> Result<(), BrokerError> {
        self.only_own(topic)?;
        let wider = NewPartitions::new(topic, partitions as usize);
        let results = block_on(self.client()?.create_partitions([&wider], &options()));
        first(topic, results)?;
        self.wait_until_led(topic, partitions)
    }

    /// Forbids to read a topic that was created here, or gives that back.
    ///
    /// Forbids it to everybody. Clients without a password have one name in common, and on one machine one
    /// address, so no ACL tells the consumer from the harness; but of the harness nobody reads while a
    /// consumer does: the producer writes, and whoever asks for offsets describes. A topic that an ACL
    /// names is closed to whatever none allows, hence the second one.
    pub(super) fn forbid_reading(&mut self, topic: &str, forbid: bool) -> Result<(), BrokerError> {
        self.only_own(topic)?;
        let acl = |verb| Acl { resource: Resource::Topic(topic), principal: ANYONE, verb };
        let client = self.endpoint.client();
        let done = match forbid {
            true => acls::create(&client, &[acl(Verb::MayDoAll), acl(Verb::MayNotRead)]),
            false => acls::remove_of_topic(&client, topic),
        };
        done.map_err(|reason| failed(topic, format!("its ACLs could not be changed: {reason}")))
    }

    /// Removes a partition's records before an offset, as retention would.
    pub(super) fn delete_records(
        &mut self,
        topic: &str,
        partition: u32,
        before: i64,
    ) -> Result<(), BrokerError> {
        self.only_own(topic)?;
        let reason = |error: KafkaError| failed(topic, error.to_string());
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition.cast_signed(), Offset::Offset(before)).map_err(reason)?;
        let results = block_on(self.client()?.delete_records(&list, &options())).map_err(reason)?;
        results.elements().iter().try_for_each(|element| element.error()).map_err(reason)
    }

    /// The node that leads a partition; `None` while none does.
    pub(super) fn leader_of(&self, topic: &str, partition: u32) -> Result<Option<u32>, BrokerError> {
        let client = self.consumer()?;
        let metadata = client.fetch_metadata(Some(topic), REACH_WITHIN);
        let metadata = metadata.map_err(|error| self.unreachable(&error))?;
        let known = metadata.topics().iter().flat_map(|known| known.partitions());
        let found = known.filter(|known| known.id().unsigned_abs() == partition).map(|known| known.leader());
        Ok(found.filter(|leader| *leader >= 0).map(i32::unsigned_abs).next())
    }

    /// How many nodes answer or are known to those that do.
    pub(super) fn nodes(&self, within: Duration) -> Result<u32, BrokerError> {
        let metadata = self.consumer()?.fetch_metadata(None, within);
        let metadata = metadata.map_err(|error| self.unreachable(&error))?;
        Ok(u32::try_from(metadata.brokers().len()).unwrap_or(u32::MAX))
    }

    fn only_own(&self, topic: &str) -> Result<(), BrokerError> {
        match self.created.contains(topic) {
            true => Ok(()),
            false => Err(failed(topic, "this run did not create it, so it does not touch it".to_owned())),
        }
    }

    /// Creation is acknowledged before every partition has a leader.
    fn wait_until_led(&self, topic: &str, partitions: u32) -> Result<(), BrokerError> {
        self.wait_for(topic, "its partitions have no leader", |metadata| {
            metadata.topics().iter().any(|known| {
                known.error().is_none()
                    && known.partitions().len() == partitions as usize
                    && known.partitions().iter().all(|partition| partition.leader() >= 0)
            })
        })
    }

    fn wait_for(
        &self,
        topic: &str,
        otherwise: &str,
        holds: impl Fn(&rdkafka::metadata::Metadata) -> bool,
    ) -> Result<(), BrokerError> {
        let client = self.consumer()?;
        let until = Instant::now() + ADMIN_WITHIN;
        while !client.fetch_metadata(Some(topic), REACH_WITHIN).is_ok_and(|metadata| holds(&metadata)) {
            if Instant::now() >= until {
                return Err(failed(topic, format!("{otherwise} after {} s", ADMIN_WITHIN.as_secs())));
            }
            std::thread::sleep(ASK_EVERY);
        }
        Ok(())
    }

    fn client(&self) -> Result<AdminClient<DefaultClientContext>, BrokerError> {
        self.endpoint.client().create().map_err(|error: KafkaError| BrokerError::Property(error.to_string()))
    }

    fn consumer(&self) -> Result<BaseConsumer, BrokerError> {
        self.endpoint.client().create().map_err(|error: KafkaError| BrokerError::Property(error.to_string()))
    }

    fn unreachable(&self, error: &KafkaError) -> BrokerError {
        BrokerError::Unreachable {
            servers: self.endpoint.bootstrap_servers.clone(),
            within_s: REACH_WITHIN.as_secs(),
            reason: error.to_string(),
        }
    }

    fn remove_everything(&mut self) {
        let created = std::mem::take(&mut self.created);
        let groups = std::mem::take(&mut self.groups);
        if created.is_empty() {
            return;
        }
        let failures = match self.client() {
            Ok(admin) => {
                let mut failures = failures(block_on(admin.delete_topics(&names(&created), &options())), &[]);
                // A group that nobody ever joined does not exist; one whose member was killed is
                // not empty until the session ends, and nobody waits for that.
                let legal = [
                    RDKafkaErrorCode::GroupIdNotFound,
                    RDKafkaErrorCode::NonEmptyGroup,
                    RDKafkaErrorCode::InvalidGroupId,
                ];
                if !groups.is_empty() {
                    let deleted = block_on(admin.delete_groups(&names(&groups), &options()));
                    failures.extend(self::failures(deleted, &legal));
                }
                failures
            }
            Err(error) => vec![error.to_string()],
        };
        if !failures.is_empty() {
            tracing::warn!("topics or groups of this run are left on the broker: {}", failures.join("; "));
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.remove_everything();
    }
}

impl Endpoint {
    /// What every client of the harness starts from.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("log_level", "2");
        config.extend(self.properties.clone());
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config
    }
}

fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    names.into_iter().map(String::as_str).collect()
}

/// The nodes that have a partition, its leader first; it is the `turn`th of all.
fn replicas(turn: u32, copies: i32, nodes: u32) -> Vec<i32> {
    (0..copies.cast_unsigned()).map(|copy| (1 + (turn + copy) % nodes).cast_signed()).collect()
}

fn options() -> AdminOptions {
    // Without an operation timeout a deletion is answered before it is known everywhere.
    AdminOptions::new().request_timeout(Some(ADMIN_WITHIN)).operation_timeout(Some(ADMIN_WITHIN))
}

fn failed(topic: &str, reason: String) -> BrokerError {
    BrokerError::Topic { topic: topic.to_owned(), reason }
}

type Results = Result<Vec<Result<String, (String, RDKafkaErrorCode)>>, KafkaError>;

fn first(topic: &str, results: Results) -> Result<(), BrokerError> {
    match failures(results, &[]).into_iter().next() {
        Some(reason) => Err(failed(topic, reason)),
        None => Ok(()),
    }
}

fn failures(results: Results, legal: &[RDKafkaErrorCode]) -> Vec<String> {
    match results {
        Ok(results) => results
            .into_iter()
            .filter_map(Result::err)
            .filter(|(_, code)| !legal.contains(code))
            .map(|(name, code)| format!("{name}: {code}"))
            .collect(),
        Err(error) => vec![error.to_string()],
    }
}

/// The admin client is asynchronous and the harness is not; nothing else runs meanwhile.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime of one thread needs two descriptors").block_on(future)
}
