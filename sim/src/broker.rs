//! Brokers: where a scenario is replayed.
//!
//! A [`Broker`] gives clients an [`Endpoint`], makes topics, does what faults ask for, and ends
//! what it started. It knows nothing of modes, workers or verdicts.

pub mod acls;
mod admin;
#[cfg(feature = "containers")]
mod container;
#[cfg(not(feature = "containers"))]
#[path = "broker/container_absent.rs"]
mod container;
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

use self::admin::Admin;
use self::container::Container;
pub use self::container::{Containers, reap};
use self::embedded::Embedded;
pub(crate) use self::embedded::imposes as embedded_imposes;
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

/// What a cluster in containers must be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterNeeds {
    /// Nodes.
    pub nodes: u32,
    /// It keeps to ACLs. Where none names a resource everybody may do everything with it.
    pub acls: bool,
    /// Its nodes' answers can be held up.
    pub relays: bool,
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
    /// There is no Docker daemon.
    #[error(
        "no Docker daemon answers ({reason}); start one, point DOCKER_HOST at it, or run with --broker embedded"
    )]
    NoDocker {
        /// The client's words.
        reason: String,
    },
    /// The image of a container is not there.
    #[error(
        "no image {image}: {reason}; `docker pull {image}` where a registry can be reached, or \
         containers/kafka/build-image, which makes fairpoll/kafka:4.1.0 here (--image names another)"
    )]
    Image {
        /// Its name.
        image: String,
        /// The daemon's words.
        reason: String,
    },
    /// Kafka's containers did not come up, or do not do what they should.
    #[error("the Kafka container failed: {0}")]
    Container(String),
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
            Self::Embedded(_)
            | Self::NoDocker { .. }
            | Self::Image { .. }
            | Self::Container(_)
            | Self::Unreachable { .. }
            | Self::Topic { .. } => ExitCode::Infrastructure,
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
    /// Apache Kafka in containers.
    Container(Container),
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
            Self::Container(broker) => broker.admin().endpoint(),
            Self::External(broker) => broker.admin().endpoint(),
        }
    }

    /// For the manifest.
    #[must_use]
    pub fn facts(&self) -> BrokerFacts {
        match self {
            Self::Embedded(broker) => broker.facts(),
            Self::Container(broker) => broker.facts(),
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
            // Containers have the machine's memory, and of a cluster its operator knows.
            Self::Container(_) | Self::External(_) => Ok(()),
        }
    }

    /// Creates topics. None of them may exist.
    ///
    /// # Errors
    /// If one cannot be created, or exists: nothing is ever written to a topic of somebody else's.
    pub fn create_topics(&mut self, topics: &[TopicSpec]) -> Result<(), BrokerError> {
        match self {
            Self::Embedded(broker) => broker.create_topics(topics),
            Self::Container(broker) => broker.create_topics(topics),
            Self::External(broker) => broker.admin_mut().create_topics(topics),
        }
    }

    /// Begins, or ends, a fault. What stays as it is has no end.
    ///
    /// # Errors
    /// If this kind of broker cannot, or does not answer.
    pub fn fault(&mut self, fault: &BrokerFault, begins: bool) -> Result<(), BrokerError> {
        match self {
            Self::Embedded(broker) => broker.fault(fault, begins),
            Self::Container(_) | Self::External(_) => self.fault_of_kafka(fault, begins),
        }
    }

    fn fault_of_kafka(&mut self, fault: &BrokerFault, begins: bool) -> Result<(), BrokerError> {
        match fault {
            BrokerFault::Down { node } if begins => self.stop_node(*node),
            BrokerFault::Down { node } => self.start_node(*node),
            BrokerFault::TopicDeleted { .. }
            | BrokerFault::TopicCreated { .. }
            | BrokerFault::TopicWidened { .. }
            | BrokerFault::Retention { .. }
                if !begins =>
            {
                Ok(())
            }
            BrokerFault::TopicCreated { topic, partitions } => self.create_topics(&[TopicSpec {
                name: topic.clone(),
                partitions: *partitions,
                own_leader: false,
            }]),
            BrokerFault::TopicWidened { topic, partitions } => self.widen_topic(topic, *partitions),
            BrokerFault::TopicDeleted { topic } => self.delete_topic(topic),
            // Of a Kafka's own accord a fetch fails by an ACL alone.
            BrokerFault::TopicForbidden { topic } | BrokerFault::FetchErrors { topic } => match self {
                Self::Container(broker) => broker.admin_mut().forbid_reading(topic, begins),
                Self::Embedded(_) | Self::External(_) => Err(containers_only("an ACL")),
            },
            BrokerFault::Slow { node, latency_ms } => match self {
                Self::Container(broker) => broker.slow_down(*node, if begins { *latency_ms } else { 0 }),
                Self::Embedded(_) | Self::External(_) => Err(containers_only("slowing a node")),
            },
            BrokerFault::Retention { before } => before
                .iter()
                .try_for_each(|(topic, partition, before)| self.delete_records(topic, *partition, *before)),
            BrokerFault::CommitErrors
            | BrokerFault::LeaderMoved { .. }
            | BrokerFault::CoordinatorMoved { .. } => Err(BrokerError::Unsupported(format!(
                "the fault {} needs the embedded broker: run without --broker",
                fault.name()
            ))),
        }
    }

    /// Whether it is still there, as far as can be seen without asking it.
    #[must_use]
    pub fn is_alive(&mut self) -> bool {
        match self {
            Self::Embedded(broker) => broker.is_alive(),
            Self::Container(broker) => broker.is_alive(),
            Self::External(_) => true,
        }
    }

    /// Kills a node (1, 2, …) as a crash would; its address stays its own.
    ///
    /// # Errors
    /// If this kind of broker cannot, or there is no such node.
    pub fn stop_node(&mut self, node: u32) -> Result<(), BrokerError> {
        match self {
            Self::Container(broker) => broker.stop_node(node),
            Self::Embedded(_) | Self::External(_) => Err(containers_only("stopping a node")),
        }
    }

    /// Lets a stopped node come back with the log that it had; it is there some seconds later.
    ///
    /// # Errors
    /// If this kind of broker cannot, or there is no such node.
    pub fn start_node(&mut self, node: u32) -> Result<(), BrokerError> {
        match self {
            Self::Container(broker) => broker.start_node(node),
            Self::Embedded(_) | Self::External(_) => Err(containers_only("starting a node")),
        }
    }

    /// The node that leads a partition; `None` while none does.
    ///
    /// # Errors
    /// If this kind of broker cannot say, or does not answer.
    pub fn leader_of(&self, topic: &str, partition: u32) -> Result<Option<u32>, BrokerError> {
        match self {
            Self::Container(broker) => broker.admin().leader_of(topic, partition),
            Self::External(broker) => broker.admin().leader_of(topic, partition),
            Self::Embedded(_) => Err(containers_only("asking for a leader")),
        }
    }

    /// Deletes a topic that was created through this broker; afterwards nobody knows it.
    ///
    /// # Errors
    /// If this kind of broker cannot, or does not do it.
    pub fn delete_topic(&mut self, topic: &str) -> Result<(), BrokerError> {
        self.admin_mut("deleting a topic")?.delete_topic(topic)
    }

    /// Gives a topic that was created through this broker more partitions: so many in all.
    ///
    /// # Errors
    /// If this kind of broker cannot, or does not do it.
    pub fn widen_topic(&mut self, topic: &str, partitions: u32) -> Result<(), BrokerError> {
        self.admin_mut("widening a topic")?.widen_topic(topic, partitions)
    }

    /// Removes the records of a partition before an offset, as retention would; of a topic that
    /// was created through this broker.
    ///
    /// # Errors
    /// If this kind of broker cannot, or does not do it.
    pub fn delete_records(&mut self, topic: &str, partition: u32, before: i64) -> Result<(), BrokerError> {
        self.admin_mut("deleting records")?.delete_records(topic, partition, before)
    }

    /// These consumer groups are the run's and go with its topics. On the embedded broker node 1
    /// coordinates them until a fault says otherwise.
    ///
    /// # Errors
    /// If the broker does not answer.
    pub fn own_groups(&mut self, groups: Vec<String>) -> Result<(), BrokerError> {
        match self {
            Self::Embedded(broker) => broker.own_groups(&groups),
            Self::Container(broker) => {
                broker.admin_mut().own_groups(groups);
                Ok(())
            }
            Self::External(broker) => {
                broker.admin_mut().own_groups(groups);
                Ok(())
            }
        }
    }

    fn admin_mut(&mut self, what: &str) -> Result<&mut Admin, BrokerError> {
        match self {
            Self::Container(broker) => Ok(broker.admin_mut()),
            Self::External(broker) => Ok(broker.admin_mut()),
            Self::Embedded(_) => Err(containers_only(what)),
        }
    }
}

fn containers_only(what: &str) -> BrokerError {
    BrokerError::Unsupported(format!("{what} needs a real Kafka: run with --broker container"))
}
