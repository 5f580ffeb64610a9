//! What a configuration comes to, before anything is started.

use std::sync::Arc;
use std::time::Duration;

use fairpoll_core::Resolution;

use crate::config::properties::{Properties, told};
use crate::config::{Config, Origin};
use crate::consumer::build::{plan, properties, warnings};
use crate::cost::{Cost, Size};
use crate::error::StartError;
use crate::ffi::{Client, Wake};
use crate::memory::FetchBuffer;
use crate::secrets::masked;
use crate::topology::{GroupProtocol, Topology};

/// What [`Config::explain`] says. Secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// What was asked for, what runs, and why.
    pub resolution: Resolution,
    /// Fairpoll's own settings, in a fixed order.
    pub settings: Vec<Setting>,
    /// The topics, in the configuration's order.
    pub topics: Vec<TopicShare>,
    /// librdkafka clients.
    pub handles: Vec<HandleExplanation>,
    /// Queues of fetched records, each with a quota.
    pub lanes: usize,
    /// What all that costs.
    pub cost: Cost,
    /// What the budget of memory comes to; `None`: there is none.
    pub fetch_buffer: Option<FetchBuffer>,
    /// What was said and does not hold, and why.
    pub warnings: Vec<String>,
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// The key, or the property.
    pub name: String,
    /// The value, masked if it is secret.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// A topic and what it may have of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicShare {
    /// The topic.
    pub name: String,
    /// Its weight.
    pub weight: u32,
    /// Its priority.
    pub priority: u8,
    /// The lane it comes through: an index from 0.
    pub lane: usize,
    /// What that lane may bring per poll, records; what it begins with, where quotas follow lag.
    pub records_per_poll: u64,
}

/// One librdkafka client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandleExplanation {
    /// Its client id.
    pub client_id: String,
    /// The group that it joins.
    pub group_id: String,
    /// What it speaks with the group's coordinator, in words.
    pub protocol: &'static str,
    /// Its topics.
    pub topics: Vec<String>,
    /// How many lanes it serves.
    pub lanes: usize,
    /// What librdkafka is told, by name.
    pub properties: Vec<Setting>,
}

impl Config {
    /// What this configuration comes to on this machine: the mode with its reason, handles and lanes,
    /// every value with where it came from, the predicted cost. `brokers` is the size of the cluster;
    /// without it the number of bootstrap servers stands for it. librdkafka is asked whether it would
    /// take the properties; no broker is contacted.
    ///
    /// # Errors
    /// Those of [`Consumer::start`](crate::Consumer::start).
    pub fn explain(&self, brokers: Option<u32>) -> Result<Explanation, StartError> {
        let topology = plan(self)?;
        let handles: Vec<HandleExplanation> =
            (0..topology.handles.len()).map(|index| self.explain_handle(&topology, index)).collect();
        // The handles differ in names only.
        let first = properties(self, &topology, 0);
        let refused = |what| StartError::Client { topics: handles[0].topics.join(", "), what };
        try_out(&first).map_err(refused)?;
        let limits = Limits::of(&first).map_err(refused)?;
        let servers = self.bootstrap_servers.split(',').filter(|server| !server.trim().is_empty()).count();
        let fetch_buffer = FetchBuffer::of(self, &topology, &first);
        let handle_count = topology.handles.len() as u64;
        let pieces_bytes =
            fetch_buffer.map_or(u64::MAX, |buffer| buffer.pieces_bytes_max.div_ceil(handle_count));
        let cost = Cost::of(Size {
            handles: handle_count,
            lanes: topology.lanes.len() as u64,
            brokers: brokers.map_or(servers as u64, u64::from),
            queue_kib: limits.queue_kib,
            answer_bytes: limits.answer_bytes.min(pieces_bytes),
        });
        Ok(Explanation {
            resolution: topology.resolution,
            settings: self.settings(&topology),
            topics: self.shares(&topology),
            lanes: topology.lanes.len(),
            fetch_buffer,
            warnings: warnings(self, &topology),
            handles,
            cost,
        })
    }

    /// Fairpoll's own settings, in the order of the documentation.
    fn settings(&self, topology: &Topology) -> Vec<Setting> {
        let lanes = topology.lane_count();
        let quota = self.base_quota(lanes).get();
        let ms = |duration: Duration| duration.as_millis().to_string();
        let strategy = self.group_strategy.map(|strategy| strategy.name().to_owned());
        let absent = || "not set".to_owned();
        let value = |name: &'static str, value: String| {
            let origin = match (name, self.max_poll_records) {
                ("max_poll_records", None) if fairpoll_core::Preset::for_lanes(lanes).is_some() => {
                    Origin::Preset { topics: lanes }
                }
                _ => self.origin(name),
            };
            Setting { name: name.to_owned(), value: masked(name, &value), origin }
        };
        vec![
            value("bootstrap_servers", self.bootstrap_servers.clone()),
            value("group_id", self.group_id.clone()),
            value("topics", self.topics.len().to_string()),
            value("mode", self.mode.map_or_else(absent, |mode| mode.to_string())),
            value(
                "multi_consumer_mode",
                self.multi_consumer_mode.map_or_else(absent, |switch| switch.to_string()),
            ),
            value("group_strategy", strategy.unwrap_or_else(absent)),
            value("group_instance_id", self.group_instance_id.clone().unwrap_or_else(absent)),
            value("max_poll_records", quota.to_string()),
            value("quota", self.quota.to_string()),
            value("starvation_guard", self.starvation_guard.to_string()),
            value("join_wait_ms", ms(self.join_wait)),
            value("first_fetch_wait_ms", ms(self.first_fetch_wait)),
            value("refill_wait_ms", ms(self.refill_wait)),
            value("status_log_interval_ms", ms(self.status_log_interval)),
            value("fetch_buffer_mib", self.fetch_buffer_mib.map_or_else(absent, |mib| mib.to_string())),
            value("fetch_buffer_partitions", self.fetch_buffer_partitions.to_string()),
            value("degrade", self.degrade.to_string()),
            value(
                "connection_limit",
                self.connection_limit.map_or_else(absent, |sockets| sockets.to_string()),
            ),
        ]
    }

    fn shares(&self, topology: &Topology) -> Vec<TopicShare> {
        let mut shares = Vec::with_capacity(self.topics.len());
        for (lane, (plan, entitled)) in topology.lanes.iter().zip(&topology.shares).enumerate() {
            for topic in plan.topics.iter().map(|&topic| &self.topics[topic]) {
                shares.push(TopicShare {
                    name: topic.name.clone(),
                    weight: topic.weight,
                    priority: topic.priority,
                    lane,
                    records_per_poll: entitled.quantum().into(),
                });
            }
        }
        shares
    }

    fn explain_handle(&self, topology: &Topology, index: usize) -> HandleExplanation {
        let plan = &topology.handles[index];
        let told = properties(self, topology, index);
        let setting = |(name, value, origin): (&str, &str, &Origin)| Setting {
            name: name.to_owned(),
            value: masked(name, value),
            origin: origin.clone(),
        };
        HandleExplanation {
            client_id: told.get("client.id").unwrap_or(&plan.client_id).to_owned(),
            group_id: plan.group_id.clone(),
            protocol: match plan.protocol {
                GroupProtocol::Classic => "classic protocol",
                GroupProtocol::CooperativeSticky => "classic protocol, cooperative-sticky",
                GroupProtocol::Consumer => "KIP-848; cooperative-sticky where the broker refuses it",
            },
            topics: plan.topics.iter().map(|&topic| self.topics[topic].name.clone()).collect(),
            lanes: topology.lanes.iter().filter(|lane| lane.handle == index).count(),
            properties: told.iter().map(setting).collect(),
        }
    }
}

/// Lets librdkafka check the properties against each other. A handle that knows no broker contacts
/// none.
fn try_out(properties: &Properties) -> Result<(), String> {
    let mut alone = properties.clone();
    alone.remove("bootstrap.servers");
    // The mock cluster and OAuth's token endpoint would be contacted all the same.
    let contacts = |name: &str| name.starts_with("sasl.oauthbearer.") || name.starts_with("test.mock.");
    if alone.iter().any(|(name, ..)| contacts(name)) {
        return Ok(());
    }
    let (wake, gone) = (Arc::new(Wake::default()), Arc::new(Wake::default()));
    match Client::new("explain", &alone.client_config(), &wake, &gone) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// librdkafka's limits of a handle's queues.
struct Limits {
    queue_kib: u64,
    answer_bytes: u64,
}

impl Limits {
    fn of(properties: &Properties) -> Result<Self, String> {
        let native = properties.client_config().create_native_config().map_err(|error| told(&error))?;
        let number = |name: &str| -> Result<u64, String> {
            let text = native.get(name).map_err(|error| told(&error))?;
            text.parse().map_err(|_| format!("{name} is no number: {text}"))
        };
        let queue_kib = number("queued.max.messages.kbytes")?;
        let mut answer_bytes = number("fetch.max.bytes")?;
        if !properties.contains("fetch.max.bytes") {
            // librdkafka keeps its default between these two when it creates a handle.
            answer_bytes = answer_bytes.min(queue_kib * 1024).max(number("message.max.bytes")?);
        }
        Ok(Self { queue_kib, answer_bytes })
    }
}
