//! The embedded broker's own process: `fairpoll broker`, a mock cluster that takes orders.
//!
//! One line of JSON per `Order` on standard input, one `Reply` per order on standard output.
//! It ends with its standard input.

mod backlog;
mod cluster;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exit_code::ExitCode;

use self::cluster::{Cluster, Request};

/// What the harness asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Order {
    /// First order, once.
    Start { nodes: u32 },
    /// A new topic with as many partitions as leaders, each led by a node (1, 2, …).
    CreateTopic { name: String, leaders: Vec<u32> },
    /// From now on every fetch at the topic's leader is answered with an error, or none is.
    FailFetches { topic: String, fail: bool },
    /// From now on every commit is answered with an error, or none is.
    FailCommits { fail: bool },
    /// A node refuses and drops connections, or takes them again.
    NodeDown { node: u32, down: bool },
    /// Every answer of a node (none: of all) takes so much longer, ms.
    Latency { node: Option<u32>, ms: u32 },
    /// Another node leads all partitions of a topic.
    MoveLeader { topic: String, node: u32 },
    /// Another node coordinates a group.
    MoveCoordinator { group: String, node: u32 },
}

/// What the broker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Reply {
    Started { bootstrap_servers: String, librdkafka: String },
    Done,
    Failed { reason: String },
}

/// Runs the broker until its standard input is closed.
#[must_use]
pub fn serve() -> ExitCode {
    let mut state = State::default();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let reply = match serde_json::from_str(&line) {
            Ok(order) => state.carry_out(order).unwrap_or_else(|reason| Reply::Failed { reason }),
            Err(error) => Reply::Failed { reason: format!("not an order: {error}") },
        };
        let mut out = io::stdout().lock();
        let written = serde_json::to_writer(&mut out, &reply).map_err(io::Error::from);
        if written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).is_err() {
            return ExitCode::Infrastructure;
        }
    }
    ExitCode::Pass
}

#[derive(Default)]
struct State {
    cluster: Option<Arc<Cluster>>,
    leaders: BTreeMap<String, Vec<u32>>,
    failing: BTreeMap<String, Failing>,
    failing_commits: Option<Failing>,
}

impl State {
    fn carry_out(&mut self, order: Order) -> Result<Reply, String> {
        match order {
            Order::Start { nodes } => {
                let cluster = Cluster::start(nodes)?;
                let reply = Reply::Started {
                    bootstrap_servers: cluster.bootstrap_servers(),
                    librdkafka: fairpoll::librdkafka_version(),
                };
                self.cluster = Some(Arc::new(cluster));
                Ok(reply)
            }
            Order::CreateTopic { name, leaders } => {
                let cluster = self.cluster.as_ref().ok_or("not started")?;
                if self.leaders.contains_key(&name) {
                    return Err("it exists".to_owned());
                }
                cluster.create_topic(&name, &leaders)?;
                self.leaders.insert(name, leaders);
                Ok(Reply::Done)
            }
            Order::FailFetches { topic, fail } => {
                let cluster = self.cluster.as_ref().ok_or("not started")?;
                let leaders = self.leaders.get(&topic).ok_or_else(|| format!("there is no topic {topic}"))?;
                let nodes: BTreeSet<u32> = leaders.iter().copied().collect();
                if fail {
                    let begin = || Failing::begin(Arc::clone(cluster), nodes, Request::Fetch);
                    self.failing.entry(topic).or_insert_with(begin);
                } else {
                    self.failing.remove(&topic);
                }
                Ok(Reply::Done)
            }
            Order::FailCommits { fail } => {
                let cluster = self.cluster.as_ref().ok_or("not started")?;
                self.failing_commits =
                    fail.then(|| Failing::begin(Arc::clone(cluster), cluster.nodes(), Request::Commit));
                Ok(Reply::Done)
            }
            Order::NodeDown { node, down } => {
                self.cluster.as_ref().ok_or("not started")?.set_down(node, down)?;
                Ok(Reply::Done)
            }
            Order::Latency { node, ms } => {
                let cluster = self.cluster.as_ref().ok_or("not started")?;
                for node in node.map_or_else(|| cluster.nodes(), |node| BTreeSet::from([node])) {
                    cluster.set_latency(node, ms)?;
                }
                Ok(Reply::Done)
            }
            Order::MoveLeader { topic, node } => {
                let cluster = self.cluster.as_ref().ok_or("not started")?;
                let leaders =
                    self.leaders.get_mut(&topic).ok_or_else(|| format!("there is no topic {topic}"))?;
                for (partition, leader) in (0..).zip(leaders.iter_mut()) {
                    cluster.set_leader(&topic, partition, node)?;
                    *leader = node;
                }
                Ok(Reply::Done)
            }
            Order::MoveCoordinator { group, node } => {
                self.cluster.as_ref().ok_or("not started")?.set_coordinator(&group, node)?;
                Ok(Reply::Done)
            }
        }
    }
}

/// Keeps requests of a kind failing at some nodes until it is dropped. The mock has no switch for that, only a
/// stack of errors for the next requests, so the stack is kept filled.
struct Failing {
    end: Arc<AtomicBool>,
    wake: mpsc::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

/// So many errors wait at a time. A client comes back `fetch.error.backoff.ms` (500 ms) after each,
/// so one would do; what is left when the fault ends prolongs it, and cannot be taken back.
const STACK: usize = 2;
const REFILL: Duration = Duration::from_millis(10);

impl Failing {
    fn begin(cluster: Arc<Cluster>, nodes: BTreeSet<u32>, request: Request) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let (wake, woken) = mpsc::channel::<()>();
        let ended = Arc::clone(&end);
        // Before the order is answered: from now on the fault is there.
        let refill = move || {
            for node in &nodes {
                let waiting = cluster.pending_errors(*node, request);
                cluster.fail(*node, request, STACK.saturating_sub(waiting));
            }
        };
        refill();
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                refill();
                let _ = woken.recv_timeout(REFILL);
            }
        });
        Self { end, wake, thread: Some(thread) }
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        let _ = self.wake.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
