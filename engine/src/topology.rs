//! A mode is a topology: which handles there are, which lanes, and which topics go where.
//!
//! The only place that decides by mode. Everything after it is the same code in every mode.

use std::num::NonZeroU32;

use fairpoll_core::mode::{Mode, Resolution};

use crate::config::{Config, GroupStrategy};

/// Handles and lanes of a consumer.
#[derive(Debug, Clone)]
pub(crate) struct Topology {
    pub(crate) resolution: Resolution,
    pub(crate) handles: Vec<HandlePlan>,
    pub(crate) lanes: Vec<LanePlan>,
    /// Whether a poll waits for the first fetch of newly assigned lanes.
    pub(crate) waits_for_first_fetch: bool,
}

/// One librdkafka client.
#[derive(Debug, Clone)]
pub(crate) struct HandlePlan {
    pub(crate) client_id: String,
    pub(crate) group_id: String,
    pub(crate) protocol: GroupProtocol,
    /// Indexes into the configuration's topics.
    pub(crate) topics: Vec<usize>,
}

/// One FIFO of fetched records with a quota.
#[derive(Debug, Clone)]
pub(crate) struct LanePlan {
    /// Index into [`Topology::handles`].
    pub(crate) handle: usize,
    /// Indexes into the configuration's topics.
    pub(crate) topics: Vec<usize>,
    pub(crate) weight: NonZeroU32,
}

/// What a handle speaks with its group's coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupProtocol {
    /// The classic protocol with the configured assignor.
    Classic,
    /// The classic protocol with the cooperative-sticky assignor.
    CooperativeSticky,
    /// KIP-848.
    Consumer,
}

impl Topology {
    pub(crate) fn new(config: &Config, resolution: Resolution) -> Self {
        let all: Vec<usize> = (0..config.topics.len()).collect();
        let weight = |topic: usize| NonZeroU32::new(config.topics[topic].weight).expect("validate refuses 0");
        let one_handle = || {
            vec![HandlePlan {
                client_id: "fairpoll".to_owned(),
                group_id: config.group_id.clone(),
                protocol: GroupProtocol::Classic,
                topics: all.clone(),
            }]
        };
        match resolution.actual {
            Mode::Single => Self {
                handles: one_handle(),
                lanes: vec![LanePlan { handle: 0, topics: all.clone(), weight: NonZeroU32::MIN }],
                // To the letter what one consumer does.
                waits_for_first_fetch: false,
                resolution,
            },
            Mode::Fair => Self {
                handles: one_handle(),
                lanes: all
                    .iter()
                    .map(|&topic| LanePlan { handle: 0, topics: vec![topic], weight: weight(topic) })
                    .collect(),
                waits_for_first_fetch: true,
                resolution,
            },
            Mode::Multi => Self {
                handles: all.iter().map(|&topic| multi_handle(config, topic)).collect(),
                lanes: all
                    .iter()
                    .map(|&topic| LanePlan { handle: topic, topics: vec![topic], weight: weight(topic) })
                    .collect(),
                waits_for_first_fetch: true,
                resolution,
            },
        }
    }

    /// The same with every handle on the classic protocol, for brokers without KIP-848.
    pub(crate) fn without_kip848(mut self) -> Self {
        for handle in &mut self.handles {
            if handle.protocol == GroupProtocol::Consumer {
                handle.protocol = GroupProtocol::CooperativeSticky;
            }
        }
        self
    }
}

fn multi_handle(config: &Config, topic: usize) -> HandlePlan {
    let name = &config.topics[topic].name;
    let (group_id, protocol) = match config.group_strategy {
        GroupStrategy::Kip848 => (config.group_id.clone(), GroupProtocol::Consumer),
        GroupStrategy::Cooperative => (config.group_id.clone(), GroupProtocol::CooperativeSticky),
        GroupStrategy::Own => (own_group_id(&config.group_id, name), GroupProtocol::Classic),
    };
    HandlePlan { client_id: format!("fairpoll-{name}"), group_id, protocol, topics: vec![topic] }
}

/// The group of one topic under [`GroupStrategy::Own`]: `{group_id}.{topic}`.
#[must_use]
pub fn own_group_id(group_id: &str, topic: &str) -> String {
    format!("{group_id}.{topic}")
}
