//! A running cluster: one container per node, and what removes them.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::mem::ManuallyDrop;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fairpoll_judge::manifest::ImageFacts;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use testcontainers::bollard::models::NetworkCreateRequest;
use testcontainers::core::{CmdWaitFor, ExecCommand, IntoContainerPort, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use super::super::admin::Admin;
use super::super::{BrokerError, ClusterNeeds, Endpoint};
use super::docker::{CLUSTER_LABEL, Docker, LocalImage, words};
use super::reaper::Reaper;
use super::relay::Relays;
use super::settings::{
    self, CLIENT_PORT, COME_UP, DATA, GO_DOWN, NodePlan, STARTED, SUPERVISOR, environment,
};
use super::{Setup, image};
use crate::run::interrupt;

/// A node is up within 5 s on an idle machine, and three of them on two busy cores within 30.
const UP_WITHIN: Duration = Duration::from_secs(90);
/// What the daemon takes for anything but a start.
const ORDER_WITHIN: Duration = Duration::from_secs(15);
const ASK_EVERY: Duration = Duration::from_millis(100);
/// What of a failed node's log goes into the error.
const LAST_LINES: usize = 15;
/// Looking whether containers run costs the daemon some milliseconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Nodes of one cluster, all up when it is there. Dropped, it removes them.
#[derive(Debug)]
pub(super) struct Cluster {
    name: String,
    needs: ClusterNeeds,
    nodes: Vec<Node>,
    image: LocalImage,
    version: Option<String>,
    keep: bool,
    looked: Cell<(Instant, bool)>,
    relays: Option<Relays>,
    reaper: Option<Reaper>,
    docker: Docker,
}

#[derive(Debug)]
struct Node {
    plan: NodePlan,
    /// Never dropped: the reaper removes it, and its own drop wants a runtime around it.
    container: ManuallyDrop<ContainerAsync<GenericImage>>,
    is_down: Cell<bool>,
}

impl Cluster {
    /// Starts a cluster; a start that fails is tried once more.
    pub(super) fn start(needs: ClusterNeeds, setup: &Setup) -> Result<Self, BrokerError> {
        let image = image::resolve(&Docker::connect()?, setup.image.as_deref())?;
        match Self::attempt(needs, &image, setup) {
            Err(first) if !interrupt::requested() => {
                tracing::warn!("{first}; trying once more");
                Self::attempt(needs, &image, setup)
            }
            result => result,
        }
    }

    fn attempt(needs: ClusterNeeds, image: &LocalImage, setup: &Setup) -> Result<Self, BrokerError> {
        let docker = Docker::connect()?;
        let name = fresh_name();
        let mut cluster = Self {
            reaper: Some(Reaper::start(&name, setup.program.as_deref())?),
            needs,
            nodes: Vec::new(),
            image: image.clone(),
            version: None,
            // Nobody wants to keep what did not come up.
            keep: false,
            looked: Cell::new((Instant::now(), true)),
            relays: None,
            docker,
            name,
        };
        cluster.launch()?;
        cluster.wait_until_up()?;
        cluster.warm_up()?;
        cluster.version = cluster.nodes.first().and_then(|node| cluster.version_of(node));
        cluster.keep = setup.keep;
        Ok(cluster)
    }

    fn launch(&mut self) -> Result<(), BrokerError> {
        let ClusterNeeds { nodes, acls, relays } = self.needs;
        let plans = if relays { self.plan_with_relays()? } else { plan(&self.name, nodes)? };
        let labels = HashMap::from([(CLUSTER_LABEL.to_owned(), self.name.clone())]);
        if nodes > 1 {
            let network = NetworkCreateRequest {
                name: self.name.clone(),
                labels: Some(labels.clone()),
                ..NetworkCreateRequest::default()
            };
            let created = self.docker.block_on(async { self.docker.client().create_network(network).await });
            created.map_err(|error| failed(format!("no network of its own: {}", words(&error))))?;
        }
        for node in &plans {
            let (name, tag) = image::split(&self.image.name);
            let mut request = GenericImage::new(name, tag)
                .with_container_name(&node.host)
                .with_hostname(&node.host)
                .with_labels(&labels)
                .with_mapped_port(node.published, CLIENT_PORT.tcp())
                .with_host_config_modifier(settings::adjust)
                .with_mount(Mount::tmpfs_mount(DATA))
                .with_startup_timeout(ORDER_WITHIN)
                .with_cmd(["bash", "-c", SUPERVISOR]);
            if nodes > 1 {
                request = request.with_network(&self.name);
            }
            let guards = if acls { settings::guards() } else { Vec::new() };
            for (name, value) in environment(node, &plans).into_iter().chain(guards) {
                request = request.with_env_var(name, value);
            }
            let container = self.docker.block_on(request.start());
            let container =
                container.map_err(|error| failed(format!("node {}: {}", node.id, words(&error))))?;
            self.nodes.push(Node {
                plan: node.clone(),
                container: ManuallyDrop::new(container),
                is_down: Cell::new(false),
            });
        }
        Ok(())
    }

    /// A relay for each node, which stands where its clients look for it.
    fn plan_with_relays(&mut self) -> Result<Vec<NodePlan>, BrokerError> {
        let none = |error: std::io::Error| failed(format!("no relays for slow nodes: {error}"));
        // Held before the others are chosen, so that all differ.
        let ports: Result<Vec<TcpListener>, _> =
            (0..self.needs.nodes).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
        let mut plans = plan(&self.name, self.needs.nodes)?;
        let mut routes = Vec::new();
        for (node, port) in plans.iter_mut().zip(ports.map_err(none)?) {
            node.port = port.local_addr().map_err(none)?.port();
            routes.push((port, node.published));
        }
        self.relays = Some(Relays::start(routes).map_err(none)?);
        Ok(plans)
    }

    /// Waits until every node says so itself, and the cluster knows all of them.
    pub(super) fn wait_until_up(&self) -> Result<(), BrokerError> {
        let until = Instant::now() + UP_WITHIN;
        for node in &self.nodes {
            while !self.log(node).contains(STARTED) {
                self.still_worth_waiting(node, until, "it does not say that it has started")?;
            }
        }
        let admin = Admin::new(self.endpoint(&BTreeMap::new()), 1);
        let count = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        while !admin.nodes(Duration::from_secs(2)).is_ok_and(|known| known == count) {
            self.still_worth_waiting(&self.nodes[0], until, "its metadata does not name every node")?;
        }
        self.nodes.iter().for_each(|node| node.is_down.set(false));
        Ok(())
    }

    fn still_worth_waiting(&self, node: &Node, until: Instant, otherwise: &str) -> Result<(), BrokerError> {
        if interrupt::requested() {
            return Err(failed("interrupted".to_owned()));
        }
        if !self.runs(node) {
            return Err(self.failed_with_log(node, "it ended"));
        }
        if Instant::now() >= until {
            let what = format!("{otherwise} after {} s", UP_WITHIN.as_secs());
            return Err(self.failed_with_log(node, &what));
        }
        std::thread::sleep(ASK_EVERY);
        Ok(())
    }

    /// The first group ever makes the topic of the groups' offsets, for a second or two. The first
    /// mode would pay for all.
    fn warm_up(&self) -> Result<(), BrokerError> {
        let mut config = self.endpoint(&BTreeMap::new()).client();
        let reason = |error: rdkafka::error::KafkaError| failed(format!("no coordinator of groups: {error}"));
        let client: BaseConsumer = config.set("group.id", "fairpoll-warm-up").create().map_err(reason)?;
        let mut list = TopicPartitionList::new();
        list.add_partition("fairpoll-warm-up", 0);
        let until = Instant::now() + UP_WITHIN;
        // Nobody coordinates until the topic is there and led, and it may move once more.
        while let Err(error) = client.committed_offsets(list.clone(), Duration::from_secs(5)) {
            self.still_worth_waiting(&self.nodes[0], until, &format!("no coordinator of groups ({error})"))?;
        }
        Ok(())
    }

    /// How clients of this machine reach it.
    pub(super) fn endpoint(&self, properties: &BTreeMap<String, String>) -> Endpoint {
        let servers: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.plan.port)).collect();
        Endpoint {
            bootstrap_servers: servers.join(","),
            properties: properties.clone(),
            imposed: BTreeMap::new(),
        }
    }

    pub(super) fn needs(&self) -> ClusterNeeds {
        self.needs
    }

    pub(super) fn nodes(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn version(&self) -> Option<String> {
        self.version.clone()
    }

    pub(super) fn image(&self) -> ImageFacts {
        ImageFacts { name: self.image.name.clone(), id: self.image.id.clone() }
    }

    /// How many replicas its topics have.
    pub(super) fn replication(&self) -> i32 {
        i32::try_from(settings::replication(self.nodes.len())).unwrap_or(1)
    }

    pub(super) fn keeps(&self) -> bool {
        self.keep
    }

    /// Kills a node's broker, as a crash would; its port stays and refuses to talk.
    pub(super) fn stop_node(&self, id: u32) -> Result<(), BrokerError> {
        let node = self.node(id)?;
        self.order(node, GO_DOWN, "down")?;
        node.is_down.set(true);
        Ok(())
    }

    /// Lets a node's broker come back with the log that it had. It is there some seconds later.
    pub(super) fn start_node(&self, id: u32) -> Result<(), BrokerError> {
        let node = self.node(id)?;
        self.order(node, COME_UP, "up")?;
        node.is_down.set(false);
        Ok(())
    }

    /// From now on a node's answers (all nodes') take so much longer.
    pub(super) fn slow_down(&self, node: Option<u32>, latency_ms: u32) -> Result<(), BrokerError> {
        if let Some(id) = node {
            self.node(id)?;
        }
        let Some(relays) = &self.relays else {
            let what = "slowing a node: the cluster was started without relays";
            return Err(BrokerError::Unsupported(what.to_owned()));
        };
        relays.delay(node, latency_ms);
        Ok(())
    }

    /// Brings back whoever is down or slow, and waits until the cluster is whole.
    pub(super) fn heal(&self) -> Result<(), BrokerError> {
        if let Some(relays) = &self.relays {
            relays.delay(None, 0);
        }
        for node in self.nodes.iter().filter(|node| node.is_down.get()) {
            self.start_node(node.plan.id)?;
        }
        self.wait_until_up()
    }

    /// Whether its containers run; the answer is at most a second old.
    pub(super) fn is_alive(&self) -> bool {
        let (at, answer) = self.looked.get();
        if at.elapsed() < LOOK_EVERY {
            return answer;
        }
        let answer = self.nodes.iter().all(|node| self.runs(node));
        self.looked.set((Instant::now(), answer));
        answer
    }

    /// How to reach what is kept, and how to remove it.
    pub(super) fn farewell(&self) -> String {
        let names: Vec<&str> = self.nodes.iter().map(|node| node.plan.host.as_str()).collect();
        let mut text = format!(
            "kept: Kafka answers at {}; remove it with: docker rm -f -v {}",
            self.endpoint(&BTreeMap::new()).bootstrap_servers,
            names.join(" ")
        );
        if names.len() > 1 {
            text.push_str(&format!(" && docker network rm {}", self.name));
        }
        if self.relays.is_some() {
            text.push_str(
                "; its clients went through this process: from now on only `docker exec` reaches it",
            );
        }
        text
    }

    fn node(&self, id: u32) -> Result<&Node, BrokerError> {
        self.nodes.iter().find(|node| node.plan.id == id).ok_or_else(|| {
            BrokerError::Unsupported(format!("there is no node {id}: the cluster has {}", self.nodes.len()))
        })
    }

    fn order(&self, node: &Node, script: &str, answer: &str) -> Result<(), BrokerError> {
        let command = ExecCommand::new(["bash", "-c", script])
            .with_cmd_ready_condition(CmdWaitFor::message_on_stdout(answer));
        let done = self.docker.block_on(async {
            match tokio::time::timeout(ORDER_WITHIN, node.container.exec(command)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(words(&error)),
                Err(_) => Err(format!("no answer within {} s", ORDER_WITHIN.as_secs())),
            }
        });
        done.map_err(|reason| failed(format!("node {} does not go {answer}: {reason}", node.plan.id)))
    }

    fn runs(&self, node: &Node) -> bool {
        let asked = async { tokio::time::timeout(ORDER_WITHIN, node.container.is_running()).await };
        matches!(self.docker.block_on(asked), Ok(Ok(true)))
    }

    fn log(&self, node: &Node) -> String {
        let read = async { tokio::time::timeout(ORDER_WITHIN, node.container.stdout_to_vec()).await };
        match self.docker.block_on(read) {
            Ok(Ok(bytes)) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                // A node that came back says it anew; what it said before does not count.
                text.rsplit_once(settings::STARTING).map_or(text.clone(), |(_, since)| since.to_owned())
            }
            _ => String::new(),
        }
    }

    fn version_of(&self, node: &Node) -> Option<String> {
        let log = self.log(node);
        let (_, after) = log.split_once("Kafka version: ")?;
        Some(after.split_whitespace().next()?.to_owned())
    }

    fn failed_with_log(&self, node: &Node, what: &str) -> BrokerError {
        let lines = self.docker.last_lines(node.container.id(), LAST_LINES);
        let log = if lines.is_empty() { "(nothing)".to_owned() } else { lines.join("\n  ") };
        failed(format!("node {}: {what}; the last it said:\n  {log}", node.plan.id))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(reaper) = self.reaper.take() {
            if self.keep { reaper.keep() } else { reaper.remove() }
        }
    }
}

fn failed(what: String) -> BrokerError {
    BrokerError::Container(what)
}

fn fresh_name() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("fairpoll-{:x}-{:x}", since_epoch.as_millis(), std::process::id())
}

fn plan(cluster: &str, nodes: u32) -> Result<Vec<NodePlan>, BrokerError> {
    let free = |error: std::io::Error| failed(format!("no free port on this machine: {error}"));
    // All are held until all are chosen, so that they differ.
    let listeners: Result<Vec<TcpListener>, _> =
        (0..nodes).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
    let mut plans = Vec::new();
    for (id, listener) in (1..).zip(listeners.map_err(free)?) {
        let port = listener.local_addr().map_err(free)?.port();
        plans.push(NodePlan { id, host: format!("{cluster}-{id}"), port, published: port });
    }
    Ok(plans)
}
