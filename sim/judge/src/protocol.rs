//! The worker protocol, version 1: how the harness and a measured consumer talk.
//!
//! The harness starts one process per mode and run, writes one [`WorkerSpec`] as a single line
//! of JSON to its standard input and keeps that pipe open. The worker answers on standard output
//! with newline-delimited JSON, one [`WorkerLine`] each; lines may be buffered for at most
//! 100 ms, and [`WorkerLine::Hello`], [`WorkerLine::Assigned`] and [`WorkerLine::Revoked`] are
//! flushed at once. When standard input is closed the worker stops: it commits what it
//! processed, writes [`WorkerLine::Bye`] and exits with 0. Standard error is for people.
//!
//! All times are nanoseconds of the kernel's monotonic clock (`CLOCK_MONOTONIC`).
//!
//! The value of every record begins with its id: eight bytes, big endian. Processing of some values
//! may fail ([`Poison`]). Optional fields may be left out; what they would feed is then absent from the
//! judgement.

mod poison;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::poison::Poison;

/// The version a worker must name in its [`WorkerLine::Hello`].
pub const PROTOCOL_VERSION: u32 = 1;

/// What a worker is told: the one document on its standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkerSpec {
    /// Version of this protocol.
    pub protocol_version: u32,
    /// The mode's name in the scenario; a label only.
    pub name: String,
    /// Fairpoll's own mode (`single`, `multi`, `fair`, `auto`); absent for a foreign command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `host:port`, comma separated.
    pub bootstrap_servers: String,
    /// The topics to consume, all of them, with their names on the broker.
    pub topics: Vec<WorkerTopic>,
    /// The consumer group; it has no members, and no commits unless an earlier life made some.
    pub group_id: String,
    /// How several handles share the group: `kip848`, `cooperative`, `own` or `classic`; absent: the
    /// consumer's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_strategy: Option<String>,
    /// Records: of a poll where one consumer reads all topics, of a topic in a poll otherwise.
    pub max_poll_records: u32,
    /// Records: cap of a whole poll, whatever the mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_records: Option<u32>,
    /// The most memory that fetched records may take, MiB; absent: no budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_buffer_mib: Option<u32>,
    /// A topic with records that got nothing in so many consecutive polls comes ahead of all
    /// priorities; absent: the consumer's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starvation_guard_polls: Option<u32>,
    /// How the quotas of topics change; absent: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaRule>,
    /// A poll waits until every topic with records can contribute one, at most so long, ms; absent: it
    /// returns as soon as any has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_wait_ms: Option<u64>,
    /// How long one poll may wait for records, ms.
    pub poll_timeout_ms: u64,
    /// Commit after every so many non-empty polls; 0: only at the end.
    pub commit_every_polls: u32,
    /// The application's work, done on the polling task between two polls.
    pub processing: ProcessingCost,
    /// librdkafka properties, to be applied last. A foreign worker maps what it knows.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// How long the worker may take to stop once its standard input is closed, ms.
    pub stop_grace_ms: u64,
    /// Which of the consumer's instances this is: 1, 2, ….
    #[serde(default = "one")]
    pub instance: u32,
    /// The worker may be killed at any time: every line is to be written out before the offsets
    /// it accounts for are committed. Without it lines may wait 100 ms, and what a killed worker
    /// had delivered and committed would look lost.
    #[serde(default)]
    pub unbuffered: bool,
}

fn one() -> u32 {
    1
}

/// A topic to consume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkerTopic {
    /// Its name on the broker.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// Its share relative to the others, where the consumer knows weights.
    pub weight: u32,
    /// Topics of a higher one come first under `max_records`, where the consumer knows priorities.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references over")]
fn is_zero(priority: &u8) -> bool {
    *priority == 0
}

/// What a topic may have of a poll, where that is not always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaRule {
    /// In proportion to the topics' lag, so that uneven backlogs are drained together.
    pub lag_proportional: QuotaRange,
}

/// Records that a topic may have of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaRange {
    /// The least.
    #[schemars(range(min = 1))]
    pub min: u32,
    /// The most.
    #[schemars(range(min = 1))]
    pub max: u32,
}

/// Injected work of the application: `per_poll_ms + records × per_record_us`, slept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessingCost {
    /// Milliseconds per non-empty poll.
    #[serde(default)]
    pub per_poll_ms: f64,
    /// Microseconds per record.
    #[serde(default)]
    pub per_record_us: f64,
}

/// One line of a worker's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum WorkerLine {
    /// First line: who is there. The clients exist and begin to join.
    Hello {
        /// Version of this protocol the worker speaks.
        protocol_version: u32,
        /// When the consumer was asked to start (before any client was created).
        start_ns: u64,
        /// The client library and its version, for people.
        client: String,
        /// The mode that really runs, where it may differ from the requested one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actual_mode: Option<String>,
        /// Why it runs in that mode.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// How many client instances it uses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        handles: Option<u32>,
    },
    /// Partitions were assigned to this process.
    Assigned {
        /// When.
        t_ns: u64,
        /// Rises with every assignment of this process.
        generation: u64,
        /// What came in addition to what was owned.
        partitions: Vec<TopicPartition>,
    },
    /// Partitions were taken from this process.
    Revoked {
        /// When.
        t_ns: u64,
        /// The generation that ends for these partitions.
        generation: u64,
        /// What is no longer owned.
        partitions: Vec<TopicPartition>,
        /// The group had given them up before, so nothing of them could be committed any more.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lost: bool,
    },
    /// A poll that returned records.
    Poll {
        /// 1, 2, 3, … over the polls that returned records; a missing number makes the run
        /// inconclusive.
        seq: u64,
        /// When the poll was called.
        t_begin_ns: u64,
        /// When it returned.
        t_return_ns: u64,
        /// What it returned.
        ranges: Vec<DeliveredRange>,
    },
    /// The application has finished with every poll up to this one.
    Processed {
        /// The last finished poll.
        seq: u64,
        /// When.
        t_ns: u64,
        /// But not with these records of them: their processing failed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failed: Vec<RecordPlace>,
    },
    /// Processing these records had failed, and now succeeded.
    Recovered {
        /// When.
        t_ns: u64,
        /// Which.
        records: Vec<RecordPlace>,
    },
    /// Offsets were handed to the client for commit.
    CommitSent {
        /// Names the commit in its result.
        id: u64,
        /// When.
        t_ns: u64,
        /// The next offset to read, per partition.
        offsets: Vec<PartitionOffset>,
    },
    /// The broker's answer to a commit.
    CommitResult {
        /// The commit's name.
        id: u64,
        /// When.
        t_ns: u64,
        /// What went wrong, if anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Resources ran short, and the consumer started anew inside with less. Its partitions came back by
    /// [`WorkerLine::Revoked`] and [`WorkerLine::Assigned`] as in any rebalance.
    Degraded {
        /// When.
        t_ns: u64,
        /// What was short, in a word.
        resource: String,
        /// How much of it was in use.
        used: u64,
        /// How much there was in all.
        limit: u64,
        /// The mode that runs from now on.
        actual_mode: String,
        /// The first record of each partition that was delivered and not processed, or not committed, by then: from
        /// there on records come again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unprocessed: Vec<PartitionOffset>,
    },
    /// Something went wrong; consuming goes on unless `fatal`.
    Error {
        /// When.
        t_ns: u64,
        /// The topic it happened to, where it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
        /// The client's words.
        message: String,
        /// The worker cannot go on.
        #[serde(default)]
        fatal: bool,
    },
    /// Last line: everything was committed and closed.
    Bye {
        /// When.
        t_ns: u64,
        /// Polls that returned records: the last `seq`.
        polls: u64,
        /// Polls that returned nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        empty_polls: Option<u64>,
    },
}

/// A partition by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: u32,
}

/// Where a record lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordPlace {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: u32,
    /// The record's own offset.
    pub offset: i64,
}

/// A partition's offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartitionOffset {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: u32,
    /// The next offset to read.
    pub offset: i64,
}

/// Records of one partition that one poll returned: a run of offsets without a gap, in the order
/// of delivery. Where a partition's offsets have a gap or step back, a new range begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveredRange {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: u32,
    /// First offset.
    pub first: i64,
    /// Last offset; `count == last - first + 1`.
    pub last: i64,
    /// Records.
    pub count: u64,
    /// Sum, wrapping at 2⁶⁴, of the ids read from the delivered values.
    pub id_sum: u64,
}
