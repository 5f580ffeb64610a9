//! What a worker is told.

use fairpoll_judge::event::{Header, TopicFacts};
use fairpoll_judge::protocol::{PROTOCOL_VERSION, WorkerSpec, WorkerTopic};

use super::stage::Access;
use crate::scenario::{Mode, ModeKind, Scenario};

/// How long a worker may take to commit and close, ms. An engine with 50 handles closes them in
/// parallel; a broker under faults may take a session to answer.
pub(crate) const STOP_GRACE_MS: u64 = 10_000;

/// One run of one mode: which, and under which names on the broker.
#[derive(Debug, Clone)]
pub(crate) struct Part<'a> {
    /// The scenario.
    pub(crate) scenario: &'a Scenario,
    /// Its expanded topics and modes.
    pub(crate) header: &'a Header,
    /// The mode.
    pub(crate) mode: &'a Mode,
    /// 1 for the first.
    pub(crate) run: u32,
    /// Stands before every name of this run on the broker, ends in `-`.
    pub(crate) prefix: String,
}

impl Part<'_> {
    /// `mode fair`, or `mode fair (run 2)` where there are several.
    pub(crate) fn describe(&self) -> String {
        match self.header.runs {
            1 => format!("mode {}", self.mode.name),
            _ => format!("mode {} (run {})", self.mode.name, self.run),
        }
    }

    /// The consumer group of this run.
    pub(crate) fn group_id(&self) -> String {
        format!("{}group", self.prefix)
    }

    /// The group that commits the offsets of a topic: with the strategy `own` every topic has one
    /// of its own, named with the topic's name on the broker.
    pub(crate) fn group_of(&self, kafka_topic: &str) -> String {
        match self.mode.group_strategy.as_deref() {
            Some("own") => format!("{}.{kafka_topic}", self.group_id()),
            _ => self.group_id(),
        }
    }

    /// The specification for this run's worker.
    pub(crate) fn spec(&self, access: Access) -> WorkerSpec {
        let Access { bootstrap_servers, imposed, properties: given } = access;
        let consumer = &self.scenario.consumer;
        // Whoever is nearer to the user wins: broker kind, scenario, mode, command line.
        let mut properties = imposed;
        properties.extend(consumer.properties.clone());
        properties.extend(self.mode.properties.clone());
        properties.extend(given);
        let topic = |facts: &TopicFacts| WorkerTopic {
            name: format!("{}{}", self.prefix, facts.name),
            partitions: facts.partitions,
            weight: facts.weight,
        };
        WorkerSpec {
            protocol_version: PROTOCOL_VERSION,
            name: self.mode.name.clone(),
            mode: match &self.mode.kind {
                ModeKind::Fairpoll(mode) => Some(mode.clone()),
                ModeKind::Command(_) => None,
            },
            bootstrap_servers,
            topics: self.header.topics.iter().map(topic).collect(),
            group_id: self.group_id(),
            group_strategy: self.mode.group_strategy.clone(),
            max_poll_records: self.mode.max_poll_records.unwrap_or(consumer.max_poll_records),
            max_records: self.mode.max_records,
            poll_timeout_ms: consumer.poll_timeout_ms,
            commit_every_polls: consumer.commit.every_polls,
            processing: self.scenario.processing,
            properties,
            stop_grace_ms: STOP_GRACE_MS,
        }
    }
}
