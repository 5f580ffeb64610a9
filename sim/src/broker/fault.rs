//! What a broker can be made to suffer, with the names that it knows.

/// A fault of a broker. Which kinds of brokers can do which stands in `docs/faults.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerFault {
    /// Fetches of a topic fail.
    FetchErrors {
        /// The topic.
        topic: String,
    },
    /// Commits fail, of every group.
    CommitErrors,
    /// A node is gone.
    Down {
        /// Which: 1, 2, ….
        node: u32,
    },
    /// Answers take longer.
    Slow {
        /// Of which node; none: of all.
        node: Option<u32>,
        /// By so much, ms.
        latency_ms: u32,
    },
    /// Another node leads a topic. It stays so.
    LeaderMoved {
        /// The topic.
        topic: String,
        /// The node.
        node: u32,
    },
    /// Another node coordinates groups. It stays so.
    CoordinatorMoved {
        /// The groups.
        groups: Vec<String>,
        /// The node.
        node: u32,
    },
    /// A topic is deleted. It stays so.
    TopicDeleted {
        /// The topic.
        topic: String,
    },
    /// A topic comes into being. It stays.
    TopicCreated {
        /// The topic.
        topic: String,
        /// With so many partitions.
        partitions: u32,
    },
    /// A topic gets more partitions. It keeps them.
    TopicWidened {
        /// The topic.
        topic: String,
        /// So many in all.
        partitions: u32,
    },
    /// Nobody may read a topic; writing and describing it go on.
    TopicForbidden {
        /// The topic.
        topic: String,
    },
    /// Records are removed. They stay so.
    Retention {
        /// Topic, partition, and the first offset that stays.
        before: Vec<(String, u32, i64)>,
    },
}

impl BrokerFault {
    /// Its name in a scenario.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::FetchErrors { .. } => "topic_fetch_errors",
            Self::CommitErrors => "commit_errors",
            Self::Down { .. } => "broker_down",
            Self::Slow { .. } => "slow_broker",
            Self::LeaderMoved { .. } => "leader_moved",
            Self::CoordinatorMoved { .. } => "coordinator_moved",
            Self::TopicDeleted { .. } => "topic_deleted",
            Self::TopicCreated { .. } => "topic_created",
            Self::TopicWidened { .. } => "topic_widened",
            Self::TopicForbidden { .. } => "topic_forbidden",
            Self::Retention { .. } => "retention_overtakes",
        }
    }
}
