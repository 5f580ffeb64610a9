//! Apache Kafka in containers, by testcontainers.
//!
//! ```text
//! Containers ─ one for a whole `fairpoll run`; owns at most one cluster at a time
//!   └ Cluster ─ nodes, ports, readiness; a reaper process removes it, however we end
//!       └ Container ─ the cluster lent to one run of one mode: its topics, its groups
//! ```

mod cluster;
mod docker;
mod image;
mod reaper;
mod relay;
mod settings;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use fairpoll_judge::manifest::BrokerFacts;

use super::admin::Admin;
use super::{BrokerError, ClusterNeeds, TopicSpec};
use crate::run::interrupt;

use self::cluster::Cluster;
pub use self::reaper::reap;

/// The containers of a whole run: started when first needed, lent to every mode, removed when
/// this is dropped.
#[derive(Debug)]
pub struct Containers {
    setup: Setup,
    /// One at a time: the virtual machines of an idle cluster would be measured with the other.
    running: Option<Rc<Cluster>>,
}

/// How clusters are started and removed.
#[derive(Debug)]
struct Setup {
    image: Option<String>,
    keep: bool,
    /// The `fairpoll` that removes them; absent: this program is it.
    program: Option<PathBuf>,
}

impl Containers {
    /// Of this image, or of whichever is there. With `keep` the last cluster is left running.
    #[must_use]
    pub fn new(image: Option<String>, keep: bool) -> Self {
        Self { setup: Setup { image, keep, program: None }, running: None }
    }

    /// Names the `fairpoll` that removes the containers, where this program is another one.
    #[must_use]
    pub fn removed_by(mut self, program: PathBuf) -> Self {
        self.setup.program = Some(program);
        self
    }

    /// A whole cluster as it is needed: the one that runs, if it is one, else a fresh one.
    ///
    /// # Errors
    /// If there is no Docker, no image, or no cluster after two attempts.
    pub fn lend(
        &mut self,
        needs: ClusterNeeds,
        properties: &BTreeMap<String, String>,
    ) -> Result<Container, BrokerError> {
        let fitting = self.running.take().filter(|cluster| cluster.needs() == needs && cluster.is_alive());
        let cluster = match fitting {
            Some(cluster) => {
                cluster.heal()?;
                cluster
            }
            None => Rc::new(Cluster::start(needs, &self.setup)?),
        };
        self.running = Some(Rc::clone(&cluster));
        let admin =
            Admin::new(cluster.endpoint(properties), cluster.replication()).spread_over(cluster.nodes());
        Ok(Container { admin, cluster })
    }

    /// How to reach what is kept, and how to remove it; nothing if nothing is kept.
    #[must_use]
    pub fn farewell(&self) -> Option<String> {
        self.running.as_ref().filter(|cluster| cluster.keeps()).map(|cluster| cluster.farewell())
    }
}

/// A cluster in containers, for one run of one mode. Dropped, it removes the run's topics and
/// groups and leaves the cluster to the next.
#[derive(Debug)]
pub struct Container {
    admin: Admin,
    cluster: Rc<Cluster>,
}

impl Container {
    pub(super) fn admin(&self) -> &Admin {
        &self.admin
    }

    pub(super) fn admin_mut(&mut self) -> &mut Admin {
        &mut self.admin
    }

    pub(super) fn facts(&self) -> BrokerFacts {
        BrokerFacts {
            kind: "container".to_owned(),
            version: self.cluster.version().map(|version| format!("Apache Kafka {version}")),
            image: Some(self.cluster.image()),
            nodes: self.cluster.nodes(),
            imposed_properties: BTreeMap::new(),
            properties: self.admin.endpoint().properties.clone(),
        }
    }

    pub(super) fn create_topics(&mut self, topics: &[TopicSpec]) -> Result<(), BrokerError> {
        self.admin.create_topics(topics)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.cluster.is_alive()
    }

    pub(super) fn stop_node(&self, node: u32) -> Result<(), BrokerError> {
        self.cluster.stop_node(node)
    }

    pub(super) fn start_node(&self, node: u32) -> Result<(), BrokerError> {
        self.cluster.start_node(node)
    }

    pub(super) fn slow_down(&self, node: Option<u32>, latency_ms: u32) -> Result<(), BrokerError> {
        self.cluster.slow_down(node, latency_ms)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // What is kept is kept with its topics. Otherwise a cluster that will be removed anyway
        // need not be tidied, and one that is dead cannot be.
        if self.cluster.keeps() || interrupt::requested() || !self.cluster.is_alive() {
            self.admin.disown();
        } else if let Err(error) = self.cluster.heal() {
            tracing::warn!("{error}");
            self.admin.disown();
        }
    }
}
