//! The scenario's YAML, version 1. The JSON Schema is generated from these structs.

use std::collections::BTreeMap;

use fairpoll_judge::protocol::ProcessingCost;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Backlog, Mode};

/// A scenario file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Version of this format: 1.
    #[schemars(extend("const" = 1))]
    pub schema_version: u32,
    /// Names the output folder: `[a-z][a-z0-9-]*`.
    #[schemars(extend("pattern" = "^[a-z][a-z0-9-]*$"))]
    pub name: String,
    /// What the scenario is for, in a sentence or two.
    pub purpose: String,
    /// Everything random follows from it.
    #[serde(default)]
    pub seed: u64,
    /// The topics.
    #[schemars(length(min = 1))]
    pub topics: Vec<Topic>,
    /// What the broker must be like.
    #[serde(default, skip_serializing_if = "BrokerNeeds::is_default")]
    pub broker: BrokerNeeds,
    /// How the records are produced.
    #[serde(default, skip_serializing_if = "Producing::is_default")]
    pub producer: Producing,
    /// How the consumers are set up, in every mode alike.
    pub consumer: Consumer,
    /// The application's work between two polls.
    #[serde(default)]
    pub processing: ProcessingCost,
    /// What is compared.
    #[schemars(length(min = 1))]
    pub modes: Vec<Mode>,
    /// When a run is over.
    pub stop: Stop,
    /// A life of the consumer before the measured one: it consumes, commits and stops; then the
    /// backlog is produced and the measured consumer starts from the commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "EarlierLife")]
    pub earlier_life: Option<EarlierLife>,
    /// What goes wrong, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// A record counts as available to a poll if the broker acknowledged it at least so long
    /// before the poll began, ms. Keeps fetch latency apart from starvation.
    #[serde(default = "default_availability_ms")]
    pub availability_ms: u64,
    /// Must hold, or the verdict is inconclusive: the scenario cannot tell the modes apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demonstrates: Vec<String>,
    /// Must hold.
    #[serde(default)]
    pub gates: Vec<String>,
}

fn default_availability_ms() -> u64 {
    50
}

/// What the broker must be like; a cluster of the user's (`--broker external`) is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerNeeds {
    /// Its nodes. In containers three or more keep three replicas of every topic, with two in
    /// sync.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 9))]
    pub nodes: u32,
}

impl BrokerNeeds {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for BrokerNeeds {
    fn default() -> Self {
        Self { nodes: one() }
    }
}

/// How the records are produced, to every topic alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Producing {
    /// How batches are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// The share of a value that does not compress, 0 to 1; the rest is zeros. Where nothing is
    /// compressed it makes no difference.
    #[serde(default = "default_random_bytes_ratio")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub random_bytes_ratio: f64,
}

/// A half, as in the workloads of the OpenMessaging Benchmark.
fn default_random_bytes_ratio() -> f64 {
    0.5
}

impl Producing {
    /// So many bytes of a value do not compress; 0 where nothing is compressed.
    #[must_use]
    pub fn random_bytes(&self, value_bytes: u32) -> u32 {
        if self.compression == Compression::None {
            return 0;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ratio is 0 to 1")]
        let random = (f64::from(value_bytes) * self.random_bytes_ratio).round() as u32;
        random
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Producing {
    fn default() -> Self {
        Self { compression: Compression::None, random_bytes_ratio: default_random_bytes_ratio() }
    }
}

/// Kafka's codecs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are called so everywhere")]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// Its name in a scenario and to librdkafka.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// One topic, or `count` alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// The topic's name, `[A-Za-z0-9][A-Za-z0-9._-]*`; with `count` the prefix of `name-1`,
    /// `name-2`, ….
    #[schemars(extend("pattern" = "^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub name: String,
    /// How many topics alike; absent: one, named exactly `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1))]
    pub count: Option<u32>,
    /// How many partitions.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub partitions: u32,
    /// Records on the broker before the measured consumer starts.
    #[serde(default)]
    pub backlog: Backlog,
    /// Size of a record's value, bytes; at least 8, the record's id.
    #[serde(default = "default_value_bytes")]
    #[schemars(range(min = 8))]
    pub value_bytes: u32,
    /// Records per second, over all partitions, while the run lasts.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub rate_per_s: f64,
    /// Share relative to the other topics.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub weight: u32,
    /// Topics of a higher one come first in modes with `max_records`.
    #[serde(default)]
    pub priority: u8,
}

fn one() -> u32 {
    1
}

fn default_value_bytes() -> u32 {
    100
}

/// How the consumers are set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// `single`: records of a poll; `multi` and `fair`: of a topic in a poll.
    #[schemars(range(min = 1))]
    pub max_poll_records: u32,
    /// The most memory that fetched records may take in a consumer, MiB; absent: no budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1))]
    pub fetch_buffer_mib: Option<u32>,
    /// Longest wait of a poll, ms.
    #[serde(default = "default_poll_timeout_ms")]
    pub poll_timeout_ms: u64,
    /// When to commit.
    #[serde(default)]
    pub commit: Commit,
    /// Processes of the consumer, all in one group.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub instances: u32,
    /// librdkafka properties, for every mode.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "property_map_schema")]
    pub properties: BTreeMap<String, String>,
}

/// Properties are text to librdkafka; in YAML `fetch.wait.max.ms: 10` may stand without quotes.
pub(super) fn property_map_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": { "type": ["string", "number", "boolean"] },
    })
}

fn default_poll_timeout_ms() -> u64 {
    1000
}

/// When to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// After every so many non-empty polls; 0: only at the end.
    pub every_polls: u32,
}

impl Default for Commit {
    fn default() -> Self {
        Self { every_polls: 10 }
    }
}

/// When a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// What ends it.
    pub when: StopWhen,
    /// A run that takes longer fails, s.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub deadline_s: f64,
    /// Live production goes on at least so long, s, even if the backlog is delivered sooner.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub live_for_s: f64,
    /// Once all faults are over, a run that delivers nothing for so long fails, s: it does not
    /// converge. Time without progress tells more than time in all.
    #[serde(default = "default_stall_s")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub stall_s: f64,
}

fn default_stall_s() -> f64 {
    20.0
}

/// What ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopWhen {
    /// The backlog is delivered; then live production stops and what it produced is delivered.
    Drained,
}

/// A life of the consumer before the measured one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlierLife {
    /// Records per topic, over its partitions, that it consumes and commits.
    #[schemars(range(min = 1))]
    pub records: u64,
}

/// Something that goes wrong. Which keys a kind takes, and which brokers can do it:
/// `docs/faults.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When, after live production began, ms; 0: before the consumer starts.
    pub at_ms: u64,
    /// What.
    pub kind: FaultKind,
    /// The topic it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub topic: Option<String>,
    /// The broker it concerns, or that something moves to: 1, 2, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1))]
    pub node: Option<u32>,
    /// The instance of the consumer it concerns: 1, 2, …; absent: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1))]
    pub instance: Option<u32>,
    /// How much longer every answer takes, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1))]
    pub latency_ms: Option<u32>,
    /// How many partitions the topic has from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1))]
    pub partitions: Option<u32>,
    /// For how long, ms; absent: to the end of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 1))]
    pub for_ms: Option<u64>,
}

impl Fault {
    /// A fault that begins `at_ms` and says nothing else.
    #[must_use]
    pub fn new(kind: FaultKind, at_ms: u64) -> Self {
        Self {
            at_ms,
            kind,
            topic: None,
            node: None,
            instance: None,
            latency_ms: None,
            partitions: None,
            for_ms: None,
        }
    }
}

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Every fetch of the topic's partitions is answered with an error.
    TopicFetchErrors,
    /// Every commit is answered with an error that may be tried again.
    CommitErrors,
    /// A broker (`node`) is gone, and comes back.
    BrokerDown,
    /// Every answer of a broker (`node`; absent: of all) takes `latency_ms` longer.
    SlowBroker,
    /// Another broker (`node`) leads all partitions of the topic.
    LeaderMoved,
    /// Another broker (`node`) coordinates the group.
    CoordinatorMoved,
    /// The topic is deleted while it is consumed.
    TopicDeleted,
    /// The topic comes into being only now; the consumer is subscribed to it from the start.
    TopicCreated,
    /// The topic gets more `partitions`.
    TopicWidened,
    /// An ACL forbids everybody to read the topic, for `for_ms`.
    TopicForbidden,
    /// The broker removes the older half of the topic's records, whether read or not.
    RetentionOvertakes,
    /// Processing the topic's next record fails, for `for_ms` (absent: always).
    PoisonRecord,
    /// An `instance` is killed, and started anew after `for_ms` (absent: never).
    ConsumerKilled,
    /// An `instance` stands still for `for_ms`.
    ConsumerFrozen,
    /// One more instance is started.
    InstanceJoins,
    /// An `instance` stops in good order.
    InstanceLeaves,
    /// An `instance` may open hardly more file descriptors than it has open then.
    DescriptorsLimited,
}

impl Fault {
    /// It is about this topic.
    #[must_use]
    pub fn concerns(&self, topic: &str) -> bool {
        self.topic.as_deref() == Some(topic)
    }
}

impl FaultKind {
    /// Its name in a scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TopicFetchErrors => "topic_fetch_errors",
            Self::CommitErrors => "commit_errors",
            Self::BrokerDown => "broker_down",
            Self::SlowBroker => "slow_broker",
            Self::LeaderMoved => "leader_moved",
            Self::CoordinatorMoved => "coordinator_moved",
            Self::TopicDeleted => "topic_deleted",
            Self::TopicCreated => "topic_created",
            Self::TopicWidened => "topic_widened",
            Self::TopicForbidden => "topic_forbidden",
            Self::RetentionOvertakes => "retention_overtakes",
            Self::PoisonRecord => "poison_record",
            Self::ConsumerKilled => "consumer_killed",
            Self::ConsumerFrozen => "consumer_frozen",
            Self::InstanceJoins => "instance_joins",
            Self::InstanceLeaves => "instance_leaves",
            Self::DescriptorsLimited => "descriptors_limited",
        }
    }

    /// It happens to the consumer's processes; the broker knows nothing of it.
    #[must_use]
    pub fn concerns_consumer(self) -> bool {
        matches!(
            self,
            Self::ConsumerKilled
                | Self::ConsumerFrozen
                | Self::InstanceJoins
                | Self::InstanceLeaves
                | Self::DescriptorsLimited
        )
    }
}
