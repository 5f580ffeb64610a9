//! What can go wrong, one type per operation.

/// Why a consumer did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is not usable.
    #[error("{what}")]
    Config {
        /// What is wrong, and the remedy.
        what: String,
    },
    /// librdkafka refused a property or the handle.
    #[error("consumer for {topics}: {what}")]
    Client {
        /// The topics that the handle was for.
        topics: String,
        /// librdkafka's words.
        what: String,
    },
}

/// Why a poll could not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PollError {
    /// The consumer was stopped.
    #[error("the consumer is stopped")]
    Stopped,
    /// Resources ran short, and the consumer could open neither smaller handles nor the ones it had. What was
    /// processed is committed, but for what was refused, as batches' errors told. The next poll tries again.
    #[error("resources ran short, and no Kafka handle can be opened: {what}")]
    NoHandle {
        /// Why, for both.
        what: String,
    },
    /// librdkafka gave a handle up; the consumer must be started anew.
    #[error("the Kafka handle for {topics} failed for good: {what}")]
    Fatal {
        /// The topics of the handle.
        topics: String,
        /// librdkafka's words.
        what: String,
    },
}

/// A topic was named that the consumer does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the consumer was not configured with topic {topic:?}; it has {known} others, see status().topics")]
#[non_exhaustive]
pub struct UnknownTopic {
    /// The name.
    pub topic: String,
    /// How many topics it has.
    pub known: usize,
}

/// Why a partition is not read from another place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeekError {
    /// The consumer does not have the topic.
    #[error(transparent)]
    UnknownTopic(#[from] UnknownTopic),
    /// The partition is not assigned to this consumer now.
    #[error("{topic} [{partition}] is not assigned to this consumer: seek after its assignment")]
    NotOwned {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// Offsets begin at 0.
    #[error("{offset} is no offset: they begin at 0; for the ends of the log there are names")]
    Negative {
        /// What was asked for.
        offset: i64,
    },
    /// librdkafka did not begin in time.
    #[error("{topic} [{partition}] goes on where it was: {what}")]
    Refused {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// librdkafka's words.
        what: String,
    },
}

/// Why lag could not be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LagError {
    /// The consumer was stopped.
    #[error("the consumer is stopped")]
    Stopped,
    /// The brokers did not answer.
    #[error("the lag of {topics} is not known: {what}")]
    NotAnswered {
        /// The topics of the handle that asked.
        topics: String,
        /// librdkafka's words.
        what: String,
    },
}
