//! What a running consumer says of itself.

use std::fmt;
use std::time::Duration;

use fairpoll_core::{Resolution, Timestamp};

/// Requested and actual mode, and what was built for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// What was asked for, what runs, and why.
    pub resolution: Resolution,
    /// The topics, in the configuration's order.
    pub topics: Vec<String>,
    /// librdkafka clients.
    pub handles: usize,
    /// Queues of fetched records, each with a quota.
    pub lanes: usize,
    /// Partitions that are assigned now; not yet those of which it is being asked where they are to be read
    /// from.
    pub assigned_partitions: usize,
    /// Handles whose group has not given them a first assignment yet.
    pub joining_handles: usize,
    /// Batches that are alive.
    pub outstanding_batches: usize,
    /// How often the consumer gave way to a shortage while it ran.
    pub degradations: u32,
    /// Records that came past their topic's queue. They were delivered all the same; more than
    /// none means that the forwarding of queues is broken.
    pub strays: u64,
    /// Who fails now, topics in the configuration's order, each before its partitions. All others go on.
    pub failing: Vec<Failing>,
    /// Partitions whose commits are refused now, by topic and partition. No other is kept back by
    /// them.
    pub refused_commits: Vec<RefusedCommit>,
}

/// A partition, or a whole topic, that fails now.
///
/// A partition whose fetches fail is in *quarantine*: it is not fetched for a while, then tried again
/// where it failed, after `fetch.error.backoff.ms` (500 ms) at first and every 2 s at last, until it
/// works. What concerns a whole topic (it does not exist, it may not be read) is tried again by
/// librdkafka itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failing {
    /// The topic.
    pub topic: String,
    /// The partition; `None`: the topic as a whole.
    pub partition: Option<i32>,
    /// When it began, on the clock of [`Consumer::now`](crate::Consumer::now).
    pub since: Timestamp,
    /// The newest error's symbolic name in Kafka's protocol, like `TOPIC_AUTHORIZATION_FAILED`.
    pub code: String,
    /// Errors since then. Only the first, and those of another code than the one before, are in batches.
    pub errors: u64,
    /// When it is tried again, on the same clock. `None`: it is being tried, or librdkafka tries by
    /// itself, or (`_AUTO_OFFSET_RESET`) nobody does until it is sought.
    pub next_probe: Option<Timestamp>,
    /// The topic's handle failed for good: start the consumer anew to have the topic back.
    pub fatal: bool,
}

/// A partition whose commits the coordinator refuses. It is read and delivered all the same; what is not
/// committed comes again at its next owner.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedCommit {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// When it was refused first, on the clock of [`Consumer::now`](crate::Consumer::now).
    pub since: Timestamp,
    /// The newest error's symbolic name in Kafka's protocol, like `TOPIC_AUTHORIZATION_FAILED`.
    pub code: String,
    /// Refusals since then. Only the first, and those of another code than the one before, are in batches.
    pub refusals: u64,
    /// Until when it is left out of commits, on the same clock; `None`: it goes with the next one.
    pub next_try: Option<Timestamp>,
}

impl fmt::Display for RefusedCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, code, refusals, .. } = self;
        write!(f, "{topic} [{partition}]: commits were refused {refusals} times ({code})")
    }
}

impl fmt::Display for Status {
    /// The start-up line's body: stable, greppable `key=value` pairs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "requested_mode={} actual_mode={} reason=\"{}\" topics={} handles={} lanes={}",
            self.resolution.requested,
            self.resolution.actual,
            self.resolution.reason,
            self.topics.len(),
            self.handles,
            self.lanes,
        )
    }
}

/// The consumer of one topic, for diagnosis.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Which handle reads the topic; topics of one handle share it.
    pub handle: usize,
    /// Its client id.
    pub client_id: String,
    /// The group it commits under.
    pub group_id: String,
    /// The topic's partitions that are assigned now, in ascending order.
    pub partitions: Vec<i32>,
    /// Records that are fetched and wait in the topic's lane (in `single`: in the one lane).
    pub queued: usize,
    /// Records that the topic may have of a poll now (in `single`: all topics together).
    pub quota: u32,
}

/// What a stop did, and what it could not do in time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopReport {
    /// Every processed offset was committed.
    pub committed: bool,
    /// Every handle left its group and was destroyed.
    pub closed: bool,
    /// Topic, partition and the first offset that was delivered and not marked as processed: from
    /// there on records will come again.
    pub unprocessed: Vec<(String, i32, i64)>,
    /// Batches still alive; each keeps its handle, hence threads and sockets, until it is dropped.
    pub outstanding_batches: usize,
    /// What went wrong on the way.
    pub errors: Vec<String>,
    /// How long it took.
    pub took: Duration,
}
