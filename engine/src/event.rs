//! What happened to a consumer besides records: for logs, metrics and tests.

use std::time::Duration;

use fairpoll_core::Mode;
use fairpoll_core::mode::Resource;

/// Something that happened since the last look at [`Consumer::take_events`](crate::Consumer::take_events).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumerEvent {
    /// Partitions were assigned.
    Assigned {
        /// Rises with every assignment of this consumer.
        generation: u64,
        /// Topic and partition.
        partitions: Vec<(String, i32)>,
    },
    /// Partitions were taken.
    Revoked {
        /// The newest generation at that time.
        generation: u64,
        /// Topic and partition.
        partitions: Vec<(String, i32)>,
        /// They had another owner already: their last commits may have been refused.
        lost: bool,
    },
    /// Offsets were sent to the broker.
    CommitSent {
        /// Names the commit in its result.
        id: u64,
        /// Topic, partition and the next offset to read.
        offsets: Vec<(String, i32, i64)>,
    },
    /// A partition, or a whole topic, began to fail. All others go on.
    Quarantined {
        /// The topic.
        topic: String,
        /// The partition; `None`: the topic as a whole.
        partition: Option<i32>,
        /// The error's symbolic name in Kafka's protocol.
        code: String,
    },
    /// It works again.
    Released {
        /// The topic.
        topic: String,
        /// The partition; `None`: the topic as a whole.
        partition: Option<i32>,
        /// How many errors there were.
        errors: u64,
        /// How long it failed.
        after: Duration,
    },
    /// The coordinator began to refuse a partition's commits, or gives another reason now. No other is kept
    /// back by it.
    CommitRefused {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The next offset to read, which was refused.
        offset: i64,
        /// The error's symbolic name in Kafka's protocol.
        code: String,
        /// librdkafka's words.
        message: String,
    },
    /// It takes them again.
    CommitAccepted {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// How many refusals there were.
        refusals: u64,
        /// How long it was refused.
        after: Duration,
    },
    /// Resources ran short, and the consumer started anew inside with less; see
    /// [`Config::degrade`](crate::Config::degrade).
    Degraded {
        /// The mode before.
        from: Mode,
        /// The mode now: the same where only less is fetched ahead.
        to: Mode,
        /// What was short.
        resource: Resource,
        /// How much of it was in use.
        used: u64,
        /// How much there was in all.
        limit: u64,
        /// The budget of memory for what is fetched ahead from now on, MiB; `None`: there is none.
        fetch_buffer_mib: Option<u32>,
        /// Topic, partition and the offset from which records come again: the first that was delivered and not
        /// marked as processed in time; or, where what was marked could not be committed, what was committed
        /// before (else the first that was delivered).
        unprocessed: Vec<(String, i32, i64)>,
    },
    /// The broker's answer to a commit.
    CommitResult {
        /// The commit's name.
        id: u64,
        /// What went wrong, the failed partitions named; `None`: all are committed.
        error: Option<String>,
    },
}
