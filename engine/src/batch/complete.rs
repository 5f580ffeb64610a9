//! What a poll returns that wants a record of each topic.

use std::fmt;

use super::Batch;

/// What [`get_complete`](crate::Consumer::get_complete) returns: the batch, and whose records it lacks.
#[derive(Debug)]
#[non_exhaustive]
pub struct CompleteBatch {
    /// The records, grouped by partition.
    pub batch: Batch,
    /// The topics that have no record in it although they may have some, in the configuration's order.
    /// A topic that is known to have none is not among them.
    pub missing: Vec<MissingTopic>,
}

impl CompleteBatch {
    /// Whether every topic that has records contributed: there are some, and nobody is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.batch.is_empty() && self.missing.is_empty()
    }
}

/// A topic without a record in a [`CompleteBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingTopic {
    /// Its name.
    pub topic: String,
    /// Why it has none.
    pub reason: MissingReason,
}

impl fmt::Display for MissingTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.topic, self.reason)
    }
}

/// Why a topic has no record in a [`CompleteBatch`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MissingReason {
    /// The broker has records of it, or has not said whether, and none arrived in time.
    #[error("nothing was fetched of it in time; wait longer, or look at the broker")]
    NotFetched,
    /// This consumer owns none of its partitions now: it has not joined yet, a rebalance runs, other
    /// members of the group have them, or there are none.
    #[error("none of its partitions is assigned to this consumer")]
    NotAssigned,
    /// The application paused it.
    #[error("it is paused; resume_topic() delivers it again")]
    Paused,
    /// It fails, or one of its partitions; [`Status::failing`](crate::Status::failing) says more.
    #[error("it fails with {code}; status().failing tells since when")]
    Failed {
        /// The newest error's symbolic name in Kafka's protocol.
        code: String,
    },
    /// It shares a queue with others, as all topics do in `single`, and whatever it has lies behind more
    /// records of theirs than a poll may take.
    #[error(
        "it waits behind other topics' records in the queue that they share; the modes multi and fair give it one of its own"
    )]
    BehindOthers,
}
