//! The scenario's YAML, version 1. The JSON Schema is generated from these structs.

use std::collections::BTreeMap;

use fairpoll_judge::protocol::ProcessingCost;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A scenario file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// 1.
    pub schema_version: u32,
    /// Names the output folder: `[a-z][a-z0-9-]*`.
    pub name: String,
    /// What the scenario is for, in a sentence or two.
    pub purpose: String,
    /// Everything random follows from it.
    #[serde(default)]
    pub seed: u64,
    /// The topics.
    pub topics: Vec<Topic>,
    /// How the consumers are set up, in every mode alike.
    pub consumer: Consumer,
    /// The application's work between two polls.
    #[serde(default)]
    pub processing: ProcessingCost,
    /// What is compared.
    pub modes: Vec<Mode>,
    /// When a run is over.
    pub stop: Stop,
    /// A life of the consumer before the measured one: it consumes, commits and stops; then the
    /// backlog is produced and the measured consumer starts from the commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// One topic, or `count` alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// The topic's name; with `count` the prefix of `name-1`, `name-2`, ….
    pub name: String,
    /// How many topics alike; absent: one, named exactly `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Partitions.
    #[serde(default = "one")]
    pub partitions: u32,
    /// Records on the broker before the measured consumer starts.
    #[serde(default)]
    pub backlog: Backlog,
    /// Size of a record's value, bytes; at least 8, the record's id.
    #[serde(default = "default_value_bytes")]
    pub value_bytes: u32,
    /// Records per second, over all partitions, while the run lasts.
    #[serde(default)]
    pub rate_per_s: f64,
    /// Share relative to the other topics.
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

fn default_value_bytes() -> u32 {
    100
}

/// Records, over all partitions: a number, or the length of a downtime.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Backlog(pub BacklogSize);

/// How a backlog is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BacklogSize {
    /// So many records.
    Records(u64),
    /// What `rate_per_s` produces in so many seconds.
    DowntimeS(f64),
}

impl Default for BacklogSize {
    fn default() -> Self {
        Self::Records(0)
    }
}

/// How the consumers are set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// `single`: records of a poll; `multi` and `fair`: of a topic in a poll.
    pub max_poll_records: u32,
    /// Longest wait of a poll, ms.
    #[serde(default = "default_poll_timeout_ms")]
    pub poll_timeout_ms: u64,
    /// When to commit.
    #[serde(default)]
    pub commit: Commit,
    /// librdkafka properties, for every mode.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

fn default_poll_timeout_ms() -> u64 {
    1000
}

/// When to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// After every so many non-empty polls.
    pub every_polls: u32,
}

impl Default for Commit {
    fn default() -> Self {
        Self { every_polls: 10 }
    }
}

/// What is measured under a name of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Mode {
    /// Its name in tables and gates.
    pub name: String,
    /// What runs.
    pub kind: ModeKind,
    /// Overrides `consumer.max_poll_records`.
    pub max_poll_records: Option<u32>,
    /// Cap of a whole poll, records.
    pub max_records: Option<u32>,
    /// How the handles of `multi` share the group: `kip848`, `cooperative` or `own`.
    pub group_strategy: Option<String>,
    /// librdkafka properties, over those of the consumer.
    pub properties: BTreeMap<String, String>,
}

/// What runs under a mode's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeKind {
    /// Fairpoll itself in the mode `single`, `multi`, `fair` or `auto`.
    Fairpoll(String),
    /// A command that speaks the worker protocol.
    Command(Vec<String>),
}

/// When a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// What ends it.
    pub when: StopWhen,
    /// A run that takes longer fails, s.
    pub deadline_s: f64,
    /// Live production goes on at least so long, s, even if the backlog is delivered sooner.
    #[serde(default)]
    pub live_for_s: f64,
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
    /// Records per topic that it consumes and commits.
    pub records: u64,
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When, after live production began, ms; 0: before the consumer starts.
    pub at_ms: u64,
    /// What.
    pub kind: FaultKind,
    /// The topic it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// For how long, ms; absent: to the end of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Every fetch of the topic's partitions is answered with an error.
    TopicFetchErrors,
}
