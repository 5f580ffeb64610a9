//! What a run needs of the world besides its worker: a broker with topics, and load on them.
//!
//! The run's course is the same whatever stands behind it; the tests rehearse it without a
//! broker.

use std::collections::{BTreeMap, BTreeSet};

use fairpoll_judge::event::{Body, Origin};
use thiserror::Error;

use crate::exit_code::ExitCode;
use crate::scenario::Fault;

/// Broker or producer failed.
#[derive(Debug, Error)]
#[error("{what}")]
pub(crate) struct StageError {
    /// What happened, for people.
    pub(crate) what: String,
    /// Whose fault it is.
    pub(crate) exit: ExitCode,
}

/// How clients reach the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// `host:port`, comma separated.
    pub(crate) bootstrap_servers: String,
    /// Set for every mode alike because of this kind of broker; anything else overrides them.
    pub(crate) imposed: BTreeMap<String, String>,
    /// Given by the user for every client; these override everything.
    pub(crate) properties: BTreeMap<String, String>,
}

/// One past the last offset that was produced to a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Topic, by its name in the scenario.
    pub(crate) topic: String,
    /// Partition number.
    pub(crate) partition: u32,
    /// The next offset.
    pub(crate) offset: i64,
}

/// Fresh topics on a broker, for one run of one mode.
///
/// The run calls [`Stage::fill`] for an earlier life and for the backlog, then
/// [`Stage::start_live`] and [`Stage::stop_live`] once each, [`Stage::offsets`] when the worker
/// is gone. Produced records are logged by the stage itself. Dropping it ends what it started.
pub(crate) trait Stage {
    /// How the worker reaches the broker.
    fn access(&self) -> Access;

    /// Ports that brokers listen on: connections there are connections to brokers.
    fn broker_ports(&self) -> BTreeSet<u16>;

    /// Produces what belongs to `origin`, waits for its acknowledgement and reads it back.
    fn fill(&mut self, origin: Origin) -> Result<Vec<Target>, StageError>;

    /// Starts to produce at the topics' rates.
    fn start_live(&mut self) -> Result<(), StageError>;

    /// Stops that, waits for what is under way, and tells how far every partition reaches.
    fn stop_live(&mut self) -> Result<Vec<Target>, StageError>;

    /// Begins or ends a fault.
    fn fault(&mut self, fault: &Fault, begins: bool) -> Result<(), StageError>;

    /// Fails if the broker or the producer has failed meanwhile. Cheap; called a few times a
    /// second.
    fn check(&mut self) -> Result<(), StageError>;

    /// [`Body::BrokerOffsets`] of every partition, asked by a client of the stage's own.
    /// `group_of` names the group that commits for a topic, by its names in the scenario and on
    /// the broker.
    fn offsets(&mut self, group_of: &dyn Fn(&str) -> String) -> Result<Vec<Body>, StageError>;
}
