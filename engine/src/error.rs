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
    /// librdkafka gave a handle up; the consumer must be started anew.
    #[error("the Kafka handle for {topics} failed for good: {what}")]
    Fatal {
        /// The topics of the handle.
        topics: String,
        /// librdkafka's words.
        what: String,
    },
}
