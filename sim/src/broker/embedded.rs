//! The embedded broker, seen from the harness: a child process that is told what to do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use fairpoll_judge::manifest::BrokerFacts;

use super::mock::{Order, Reply};
use super::{BrokerError, BrokerFault, Endpoint, TopicSpec};
use crate::run::posix;

/// A mock cluster answers in a millisecond; a loaded machine takes longer to start a process.
const PATIENCE: Duration = Duration::from_secs(10);

/// The mock does not wake a long poll when records come, so the fetch wait shows up as latency.
/// Set for every mode alike; engine defaults are judged on real brokers.
const IMPOSED: [(&str, &str); 1] = [("fetch.wait.max.ms", "10")];

/// What is set there for every client that is measured.
pub(crate) fn imposes() -> BTreeMap<String, String> {
    IMPOSED.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Coordinates every group until a fault moves it.
const FIRST_COORDINATOR: u32 = 1;

/// librdkafka's mock cluster in a child process of its own.
#[derive(Debug)]
pub struct Embedded {
    child: Child,
    orders: Option<ChildStdin>,
    replies: Receiver<Reply>,
    endpoint: Endpoint,
    nodes: u32,
    version: String,
}

impl Embedded {
    pub(super) fn start(nodes: u32) -> Result<Self, BrokerError> {
        let failed =
            |what: &str, error: &dyn std::fmt::Display| BrokerError::Embedded(format!("{what}: {error}"));
        let program = std::env::current_exe().map_err(|error| failed("cannot find this program", &error))?;
        let mut command = Command::new(program);
        command.arg("broker").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        posix::tie_to_this_thread(&mut command);
        let mut child = command.spawn().map_err(|error| failed("cannot start its process", &error))?;
        let orders = child.stdin.take();
        let output = child.stdout.take().expect("piped above");
        let (sender, replies) = channel();
        // Ends with the child's standard output.
        std::thread::Builder::new()
            .name("broker-replies".to_owned())
            .spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let Ok(reply) = serde_json::from_str(&line) else { break };
                    if sender.send(reply).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| failed("no thread to listen to it", &error))?;
        let mut broker = Self {
            child,
            orders,
            replies,
            endpoint: Endpoint {
                bootstrap_servers: String::new(),
                properties: BTreeMap::new(),
                imposed: imposes(),
            },
            nodes,
            version: String::new(),
        };
        match broker.order(&Order::Start { nodes })? {
            Reply::Started { bootstrap_servers, librdkafka } => {
                broker.endpoint.bootstrap_servers = bootstrap_servers;
                broker.version = format!("librdkafka {librdkafka} mock cluster");
                Ok(broker)
            }
            other => Err(BrokerError::Embedded(format!("it answered {other:?} to its start"))),
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn facts(&self) -> BrokerFacts {
        BrokerFacts {
            kind: "embedded".to_owned(),
            version: Some(self.version.clone()),
            image: None,
            nodes: self.nodes,
            imposed_properties: self.endpoint.imposed.clone(),
            properties: BTreeMap::new(),
        }
    }

    /// Left alone the mock chooses by a hash of the group's name, which is another in every run: a
    /// node that is down would be the coordinator's in one run and not in the next.
    pub(super) fn own_groups(&mut self, groups: &[String]) -> Result<(), BrokerError> {
        if self.nodes == 1 {
            return Ok(());
        }
        groups.iter().try_for_each(|group| {
            self.done(&Order::MoveCoordinator { group: group.clone(), node: FIRST_COORDINATOR })
        })
    }

    pub(super) fn create_topics(&mut self, topics: &[TopicSpec]) -> Result<(), BrokerError> {
        let alone = topics.iter().filter(|topic| topic.own_leader).count();
        let shared = self.nodes.saturating_sub(u32::try_from(alone).unwrap_or(u32::MAX)).max(1);
        let mut next_own = shared + 1;
        for (number, topic) in (0..).zip(topics) {
            let leaders = if topic.own_leader {
                next_own += 1;
                vec![next_own - 1; topic.partitions as usize]
            } else {
                (0..topic.partitions).map(|partition| 1 + (number + partition) % shared).collect()
            };
            let order = Order::CreateTopic { name: topic.name.clone(), leaders };
            self.done(&order).map_err(|error| BrokerError::Topic {
                topic: topic.name.clone(),
                reason: error.to_string(),
            })?;
        }
        Ok(())
    }

    pub(super) fn fault(&mut self, fault: &BrokerFault, begins: bool) -> Result<(), BrokerError> {
        match fault {
            BrokerFault::FetchErrors { topic } => {
                self.done(&Order::FailFetches { topic: topic.clone(), fail: begins })
            }
            BrokerFault::CommitErrors => self.done(&Order::FailCommits { fail: begins }),
            BrokerFault::Down { node } => self.done(&Order::NodeDown { node: *node, down: begins }),
            BrokerFault::Slow { node, latency_ms } => {
                self.done(&Order::Latency { node: *node, ms: if begins { *latency_ms } else { 0 } })
            }
            BrokerFault::LeaderMoved { .. } | BrokerFault::CoordinatorMoved { .. } if !begins => Ok(()),
            BrokerFault::LeaderMoved { topic, node } => {
                self.done(&Order::MoveLeader { topic: topic.clone(), node: *node })
            }
            BrokerFault::CoordinatorMoved { groups, node } => groups.iter().try_for_each(|group| {
                self.done(&Order::MoveCoordinator { group: group.clone(), node: *node })
            }),
            BrokerFault::TopicDeleted { .. }
            | BrokerFault::TopicCreated { .. }
            | BrokerFault::TopicWidened { .. }
            | BrokerFault::TopicForbidden { .. }
            | BrokerFault::Retention { .. } => Err(BrokerError::Unsupported(format!(
                "the fault {} needs a real Kafka: run with --broker container",
                fault.name()
            ))),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        !posix::has_ended(self.child.id().cast_signed())
    }

    fn done(&mut self, order: &Order) -> Result<(), BrokerError> {
        match self.order(order)? {
            Reply::Done => Ok(()),
            Reply::Failed { reason } => Err(BrokerError::Embedded(reason)),
            other @ Reply::Started { .. } => Err(BrokerError::Embedded(format!("it answered {other:?}"))),
        }
    }

    fn order(&mut self, order: &Order) -> Result<Reply, BrokerError> {
        let mut line =
            serde_json::to_string(order).map_err(|error| BrokerError::Embedded(error.to_string()))?;
        line.push('\n');
        let orders = self.orders.as_mut().expect("only drop takes it");
        orders
            .write_all(line.as_bytes())
            .map_err(|error| BrokerError::Embedded(format!("it is gone: {error}")))?;
        self.replies.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                BrokerError::Embedded(format!("no answer to {order:?} within {} s", PATIENCE.as_secs()))
            }
            RecvTimeoutError::Disconnected => BrokerError::Embedded("its process ended".to_owned()),
        })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // Its standard input closed, it ends by itself; it has nothing that could be lost.
        drop(self.orders.take());
        posix::signal_group(self.child.id().cast_signed(), libc::SIGKILL);
        let _ = self.child.wait();
    }
}
