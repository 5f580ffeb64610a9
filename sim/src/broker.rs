//! Brokers: where a scenario is replayed.
//!
//! A [`Broker`] gives clients an [`Endpoint`], makes topics, does what faults ask for, and ends
//! what it started. It knows nothing of modes, workers or verdicts.

mod embedded;
mod external;
mod fault;
mod fit;
pub mod mock;

use std::collections::BTreeMap;
use std::time::Duration;

use fairpoll_judge::manifest::BrokerFacts;

use crate::exit_code::ExitCode;
use crate::load::TopicLoad;

use self::embedded::Embedded;
use self::external::External;
pub use self::fault::BrokerFault;
pub use self::fit::FitError;

/// How clients reach the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`, comma separated.
    pub bootstrap_servers: String,
    /// Given by the user, for every client.
    pub properties: BTreeMap<String, String>,
    /// Set for every measured client alike because of this kind of broker.
    pub imposed: BTreeMap<String, String>,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name on the broker.
    pub name: String,
    /// Partitions.
    pub partitions: u32,
    /// Where the broker lets us choose: it is led by a node that leads nothing else, so that it can
    /// fail alone.
    pub own_leader: bool,
}

/// Why a broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The embedded broker did not come up, or went away.
    #[error("the embedded broker failed: {0}")]
    Embedded(String),
    /// Nobody answers.
    #[error("no broker answers at {servers} within {within_s} s: {reason}; is it running and reachable?")]
    Unreachable {
        /// The bootstrap servers.
        servers: String,
        /// How long was waited.
        within_s: u64,
        /// The client's words.
        reason: String,
    },
    /// A property is unknown or has a wrong value.
    #[error("{0}")]
    Property(String),
    /// A topic could not be made.
    #[error("cannot create topic {topic}: {reason}")]
    Topic {
        /// The topic.
        topic: String,
        /// The broker's words.
        reason: String,
    },
    /// This kind of broker cannot do that.
    #[error("{0}")]
    Unsupported(String),
}

impl BrokerError {
    /// Whose fault it is.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Property(_) | Self::Unsupported(_) => ExitCode::Usage,
            Self::Embedded(_) | Self::Unreachable { .. } | Self::Topic { .. } => ExitCode::Infrastructure,
        }
    }
}

/// Whether an embedded broker can hold a load for so long.
///
/// # Errors
/// If not, with the numbers and the way out.
pub fn fits_embedded(loads: &[TopicLoad], deadline: Duration) -> Result<(), FitError> {
    fit::check(loads, deadline)
}

/// A broker in use. Dropped, it ends what it started and removes the topics it created.
#[derive(Debug)]
pub enum Broker {
    /// librdkafka's mock cluster in a child process.
    Embedded(Embedded),
    /// A cluster of the user's.
    External(External),
}

impl Broker {
    /// Starts an embedded broker of so many nodes. From the main thread only: the child dies with
    /// the thread that started it.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start_embedded(nodes: u32) -> Result<Self, BrokerError> {
        Embedded::start(nodes).map(Self::Embedded)
    }

    /// Joins a running cluster, and makes sure that it answers.
    ///
    /// # Errors
    /// If it does not answer, or a property is wrong.
    pub fn connect_external(
        servers: &str,
        properties: &BTreeMap<String, String>,
    ) -> Result<Self, BrokerError> {
        External::connect(servers, properties).map(Self::External)
    }

    /// How clients reach it.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Embedded(broker) => broker.endpoint(),
            Self::External(broker) => broker.endpoint(),
        }
    }

    /// For the manifest.
    #[must_use]
    pub fn facts(&self) -> BrokerFacts {
        match self {
            Self::Embedded(broker) => broker.facts(),
            Self::External(broker) => broker.facts(),
        }
    }

    /// Whether it can hold this load for so long.
    ///
    /// # Errors
    /// If not, with the numbers and the way out.
    pub fn fits(&self, loads: &[TopicLoad], deadline: Duration) -> Result<(), FitError> {
        match self {
            Self::Embedded(_) => fit::check(loads, deadline),
            // Its operator knows.
            Self::External(_) => Ok(()),
        }
    }

    /// Creates topics. None of them may exist.
    ///
    /// # Errors
    /// If one cannot be created, or exists: nothing is ever written to a topic of somebody else's.
    pub fn create_topics(&mut self, topics: &[TopicSpec]) -> Result<(), BrokerError> {
        match self {
            Self::Embedded(broker) => broker.create_topics(topics),
            Self::External(broker) => broker.create_topics(topics),
        }
    }

    /// Begins, or ends, a fault. What stays as it is has no end.
    ///
    /// # Errors
    /// If this kind of broker cannot, or does not answer.
    pub fn fault(&mut self, fault: &BrokerFault, begins: bool) -> Result<(), BrokerError> {
        match self {
            Self::Embedded(broker) => broker.fault(fault, begins),
            Self::External(_) => Err(BrokerError::Unsupported(format!(
                "the fault {} needs the embedded broker: run without --broker external",
                fault.name()
            ))),
        }
    }

    /// Whether it is still there, as far as can be seen without asking it.
    #[must_use]
    pub fn is_alive(&mut self) -> bool {
        match self {
            Self::Embedded(broker) => broker.is_alive(),
            Self::External(_) => true,
        }
    }
}
