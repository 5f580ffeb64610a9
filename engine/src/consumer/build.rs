//! From a configuration to handles and lanes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use fairpoll_core::mode::{self, HandleDemand, MachineLimits};
use fairpoll_core::{FirstFetch, ModeRequest, OffsetTracker, Policy, PollMachine, Resolution};
use rdkafka::config::ClientConfig;

use crate::batch::BatchCount;
use crate::config::{Config, GroupStrategy};
use crate::error::StartError;
use crate::ffi::{Client, Wake, descriptor_limit, librdkafka_version};
use crate::metrics::Meters;
use crate::topology::{GroupProtocol, HandlePlan, Topology};

use super::commit::Commits;
use super::join::JoinWait;
use super::lane::Lane;
use super::stop::Stopping;
use super::{Consumer, Handle, Partitions};

/// Properties that librdkafka refuses under KIP-848: the broker decides them there.
const NOT_UNDER_KIP848: [&str; 4] =
    ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy", "group.protocol.type"];

pub(super) fn start(config: Config) -> Result<Consumer, StartError> {
    config.validate()?;
    let resolution = resolve(&config);
    let topology = Topology::new(&config, resolution);
    if config.group_strategy == Some(GroupStrategy::Own) && topology.handles[0].topics.len() > 1 {
        return Err(StartError::Config {
            what: format!(
                "the group strategy `own` gives every topic a group, and `{}` has one consumer for all of them; \
                 take the mode multi or another strategy",
                topology.resolution.actual
            ),
        });
    }
    let (wake, gone) = (Arc::new(Wake::default()), Arc::new(Wake::default()));
    let (handles, lanes) = open(&config, &topology, &wake, &gone)?;
    let now = Instant::now();
    let topics: Arc<[Arc<str>]> = config.topics.iter().map(|topic| Arc::from(topic.name.as_str())).collect();
    let consumer = Consumer {
        meters: Meters::new(&config.group_id, &topics),
        topics,
        paused: vec![false; config.topics.len()],
        partitions: Partitions { all: Vec::new(), by_topic: vec![Vec::new(); config.topics.len()] },
        poll: PollMachine::new(topology.shares.iter().copied(), Policy::DeficitRoundRobin),
        first_fetch: FirstFetch::new(),
        offsets: OffsetTracker::new(),
        commits: Commits::default(),
        events: VecDeque::new(),
        errors: Vec::new(),
        generation: 0,
        strays: 0,
        batches: BatchCount::default(),
        wake,
        gone,
        epoch: now,
        join_wait: JoinWait::default(),
        last_tick: now,
        stopping: Stopping::default(),
        handles,
        lanes,
        topology,
        config,
    };
    // The one stable, greppable line that says what runs.
    tracing::info!(librdkafka = librdkafka_version(), "fairpoll started: {}", consumer.status());
    Ok(consumer)
}

/// What a librdkafka client needs, as measured against one broker: two connections (bootstrap and
/// broker become one after a while; the coordinator has its own), a wake-up pipe per thread.
const HANDLE_DEMAND: HandleDemand = HandleDemand { descriptors: 16, memory_bytes: 0, connections: 2 };

fn resolve(config: &Config) -> Resolution {
    let request = ModeRequest { mode: config.mode, multi_consumer_mode: config.multi_consumer_mode };
    let topics = u32::try_from(config.topics.len()).unwrap_or(u32::MAX);
    let limits = MachineLimits { descriptors: free_descriptors(), ..MachineLimits::default() };
    mode::resolve(request, topics, &HANDLE_DEMAND, &limits)
}

/// Descriptors that this process may still open; `None`: not limited.
fn free_descriptors() -> Option<u64> {
    let limit = descriptor_limit()?;
    let used = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    Some(limit.saturating_sub(used))
}

/// Creates handles and lanes, and subscribes. What was created is dropped again on failure.
fn open(
    config: &Config,
    topology: &Topology,
    wake: &Arc<Wake>,
    gone: &Arc<Wake>,
) -> Result<(Vec<Handle>, Vec<Lane>), StartError> {
    let mut handles: Vec<Handle> = Vec::with_capacity(topology.handles.len());
    for (index, plan) in topology.handles.iter().enumerate() {
        let lanes = topology.lanes.iter().filter(|lane| lane.handle == index).count();
        let names = || plan.topics.iter().map(|&topic| config.topics[topic].name.as_str());
        let failed =
            |what: String| StartError::Client { topics: names().collect::<Vec<_>>().join(", "), what };
        let client = Client::new(&plan.client_id, &client_config(config, plan, lanes), wake, gone)
            .map_err(|error| failed(error.to_string()))?;
        handles.push(Handle {
            client: Some(client),
            plan: plan.clone(),
            joined: false,
            revocation: None,
            fatal: None,
        });
    }
    let lanes = topology
        .lanes
        .iter()
        .map(|plan| {
            let client = handles[plan.handle].client.as_ref().expect("created above");
            Lane::new(client, wake, plan.topics.clone())
        })
        .collect();
    // Only now, with every handle there: joins that follow each other closely are one rebalance.
    for handle in &handles {
        let names: Vec<&str> =
            handle.plan.topics.iter().map(|&topic| config.topics[topic].name.as_str()).collect();
        let client = handle.client.as_ref().expect("created above");
        client
            .subscribe(names.iter().copied())
            .map_err(|what| StartError::Client { topics: names.join(", "), what })?;
    }
    Ok((handles, lanes))
}

/// What a handle that serves several lanes fetches of one partition at most, bytes; see
/// docs/adr/0004. librdkafka's own default is 1 MiB.
const SHARED_PARTITION_FETCH_BYTES: &str = "131072";

/// What an answer to such a handle holds at most, bytes: nothing else comes while it is sent and
/// parsed. librdkafka's own default is 50 MiB.
const SHARED_FETCH_BYTES: &str = "2097152";

fn client_config(config: &Config, plan: &HandlePlan, lanes: usize) -> ClientConfig {
    let mut properties = config.client_properties();
    // The property's two names.
    let fetch_bytes = ["max.partition.fetch.bytes", "fetch.message.max.bytes"];
    if lanes > 1 && fetch_bytes.iter().all(|name| !properties.contains_key(*name)) {
        properties.insert(fetch_bytes[0].to_owned(), SHARED_PARTITION_FETCH_BYTES.to_owned());
        properties.entry("fetch.max.bytes".to_owned()).or_insert_with(|| SHARED_FETCH_BYTES.to_owned());
    }
    properties.insert("group.id".to_owned(), plan.group_id.clone());
    properties.entry("client.id".to_owned()).or_insert_with(|| plan.client_id.clone());
    match plan.protocol {
        GroupProtocol::Classic => {}
        GroupProtocol::CooperativeSticky => {
            properties
                .entry("partition.assignment.strategy".to_owned())
                .or_insert_with(|| "cooperative-sticky".to_owned());
        }
        GroupProtocol::Consumer => {
            properties.insert("group.protocol".to_owned(), "consumer".to_owned());
            drop_broker_side(&mut properties);
        }
    }
    properties.into_iter().collect()
}

fn drop_broker_side(properties: &mut BTreeMap<String, String>) {
    for name in NOT_UNDER_KIP848 {
        if properties.remove(name).is_some() {
            tracing::warn!(property = name, "ignored: under KIP-848 the broker decides it");
        }
    }
}

impl Consumer {
    /// Builds every handle anew with the cooperative-sticky assignor where the broker refuses
    /// KIP-848. Only before anything was assigned: nothing has been delivered yet.
    pub(super) fn falls_back_from_kip848(&mut self, handle: usize, code: &str) -> bool {
        let refused = code == "UNSUPPORTED_VERSION" || code == "_UNSUPPORTED_FEATURE";
        let nothing_yet = self.handles.iter().all(|handle| !handle.joined);
        if !refused || !nothing_yet || self.handles[handle].plan.protocol != GroupProtocol::Consumer {
            return false;
        }
        let topology = self.topology.clone().without_kip848();
        match open(&self.config, &topology, &self.wake, &self.gone) {
            Ok((handles, lanes)) => {
                tracing::warn!("the broker refuses KIP-848 groups; using the cooperative-sticky assignor");
                self.lanes = lanes;
                self.handles = handles;
                self.topology = topology;
                true
            }
            Err(error) => {
                tracing::error!(%error, "no fallback from KIP-848");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fairpoll_core::RequestedMode;

    use super::*;
    use crate::topology::Topology;

    /// What the first handle of a mode fetches at most, of a partition and in all.
    fn fetches(mode: RequestedMode, own: &[(&str, &str)]) -> [Option<String>; 2] {
        let config = Config::new("localhost:9092", "group", ["orders", "sensor"]).mode(mode);
        let config = own.iter().fold(config, |config, (name, value)| config.property(*name, *value));
        let topology = Topology::new(&config, resolve(&config));
        let lanes = topology.lanes.iter().filter(|lane| lane.handle == 0).count();
        let client = client_config(&config, &topology.handles[0], lanes);
        ["max.partition.fetch.bytes", "fetch.max.bytes"].map(|name| client.get(name).map(str::to_owned))
    }

    fn bytes(of_partition: &str, in_all: &str) -> [Option<String>; 2] {
        [of_partition, in_all].map(|text| (!text.is_empty()).then(|| text.to_owned()))
    }

    #[test]
    fn only_lanes_that_share_a_connection_fetch_in_small_pieces() {
        let shared = bytes(SHARED_PARTITION_FETCH_BYTES, SHARED_FETCH_BYTES);
        assert_eq!(fetches(RequestedMode::Fair, &[]), shared);
        assert_eq!(fetches(RequestedMode::Multi, &[]), bytes("", ""));
        assert_eq!(fetches(RequestedMode::Single, &[]), bytes("", ""));
    }

    #[test]
    fn what_the_user_says_of_fetch_sizes_holds_under_either_name() {
        let own = ("max.partition.fetch.bytes", "1048576");
        assert_eq!(fetches(RequestedMode::Fair, &[own]), bytes("1048576", ""));
        assert_eq!(fetches(RequestedMode::Fair, &[("fetch.message.max.bytes", "1048576")]), bytes("", ""));
        let own = ("fetch.max.bytes", "4194304");
        assert_eq!(fetches(RequestedMode::Fair, &[own]), bytes(SHARED_PARTITION_FETCH_BYTES, "4194304"));
    }
}
