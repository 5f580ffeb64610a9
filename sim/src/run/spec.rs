//! What a worker is told.

use fairpoll_judge::event::{Header, TopicFacts};
use fairpoll_judge::protocol::{PROTOCOL_VERSION, WorkerSpec, WorkerTopic};

use super::stage::Access;
use crate::scenario::{FaultKind, Mode, ModeKind, Scenario, TopicPlan};

/// How long a worker may take to commit and close, ms. An engine with 50 handles closes them in
/// parallel; a broker under faults may take a session to answer.
pub(crate) const STOP_GRACE_MS: u64 = 10_000;

/// Which of the consumer's instances, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instance(pub(crate) u32);

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
    /// Whether its processes are watched.
    pub(crate) sampled: bool,
    /// Stands before every name of this run on the broker, ends in `-`.
    pub(crate) prefix: String,
}

impl Part<'_> {
    /// Whether the scenario has a fault of one of these kinds.
    pub(crate) fn has_fault(&self, kinds: &[FaultKind]) -> bool {
        self.scenario.faults.iter().any(|fault| kinds.contains(&fault.kind))
    }

    /// `mode fair`, or `mode fair (run 2)` where there are several.
    pub(crate) fn describe(&self) -> String {
        match self.header.runs {
            1 => format!("mode {}", self.mode.name),
            _ => format!("mode {} (run {})", self.mode.name, self.run),
        }
    }

    /// The mode of Fairpoll in which an instance runs that joined later, where the scenario says so.
    pub(crate) fn joiner(&self, instance: u32) -> Option<&str> {
        self.mode.joins_as.as_deref().filter(|_| instance > self.scenario.consumer.instances)
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

    /// The specification for one of this run's workers.
    pub(crate) fn spec(&self, access: Access, Instance(instance): Instance) -> WorkerSpec {
        let Access { bootstrap_servers, imposed, properties: given } = access;
        let consumer = &self.scenario.consumer;
        // Whoever is nearer to the user wins: broker kind, scenario, mode, command line.
        let mut properties = imposed;
        properties.extend(consumer.properties.clone());
        properties.extend(self.mode.properties.clone());
        properties.extend(given);
        let sharing = self.mode.sharing;
        let topic = |(facts, plan): (&TopicFacts, TopicPlan)| WorkerTopic {
            name: format!("{}{}", self.prefix, facts.name),
            partitions: facts.partitions,
            weight: facts.weight,
            priority: if sharing.ignores_priorities { 0 } else { plan.priority },
        };
        WorkerSpec {
            protocol_version: PROTOCOL_VERSION,
            name: self.mode.name.clone(),
            mode: match (&self.mode.kind, self.joiner(instance)) {
                (_, Some(mode)) => Some(mode.to_owned()),
                (ModeKind::Fairpoll(mode), None) => Some(mode.clone()),
                (ModeKind::Command(_), None) => None,
            },
            bootstrap_servers,
            topics: self.header.topics.iter().zip(self.scenario.topics_expanded()).map(topic).collect(),
            group_id: self.group_id(),
            group_strategy: self.mode.group_strategy.clone(),
            max_poll_records: self.mode.max_poll_records.unwrap_or(consumer.max_poll_records),
            max_records: self.mode.max_records,
            fetch_buffer_mib: self.mode.fetch_buffer_mib.or(consumer.fetch_buffer_mib),
            starvation_guard_polls: sharing.starvation_guard_polls,
            quota: sharing.quota,
            complete_wait_ms: sharing.complete_wait_ms,
            poll_timeout_ms: consumer.poll_timeout_ms,
            commit_every_polls: consumer.commit.every_polls,
            processing: self.scenario.processing,
            properties,
            stop_grace_ms: STOP_GRACE_MS,
            instance,
            unbuffered: !self.scenario.faults.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const SCENARIO: &str = "
schema_version: 1
name: s
purpose: p
topics: [{name: t, count: 2, partitions: 3}]
consumer: {max_poll_records: 500, properties: {a: consumer, b: consumer, c: consumer, d: consumer}}
modes:
  - {name: tuned, mode: multi, max_poll_records: 7, group_strategy: own, properties: {b: mode, c: mode}}
  - {name: ours, command: [consume]}
stop: {when: drained, deadline_s: 1}
gates: []
";

    fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn with_part(mode: usize, check: impl FnOnce(&Part<'_>)) {
        with_part_of(SCENARIO, mode, check);
    }

    fn with_part_of(scenario: &str, mode: usize, check: impl FnOnce(&Part<'_>)) {
        let scenario: Scenario = serde_saphyr::from_str(scenario).expect("a scenario");
        let header = scenario.header("embedded", 2);
        let mode = &scenario.modes[mode];
        check(&Part {
            scenario: &scenario,
            header: &header,
            mode,
            run: 2,
            sampled: true,
            prefix: "p-".to_owned(),
        });
    }

    #[test]
    fn the_nearer_to_the_user_a_property_is_set_the_stronger_it_is() {
        with_part(0, |part| {
            let access = Access {
                bootstrap_servers: "b:1".to_owned(),
                imposed: properties(&[("a", "imposed"), ("e", "imposed")]),
                properties: properties(&[("c", "given")]),
            };
            let expected = properties(&[
                ("a", "consumer"),
                ("b", "mode"),
                ("c", "given"),
                ("d", "consumer"),
                ("e", "imposed"),
            ]);
            assert_eq!(part.spec(access, Instance(1)).properties, expected);
        });
    }

    #[test]
    fn a_worker_is_told_the_brokers_names_and_its_modes_own_limits() {
        with_part(0, |part| {
            let spec = part.spec(Access::default(), Instance(1));
            let names: Vec<&str> = spec.topics.iter().map(|topic| topic.name.as_str()).collect();
            assert_eq!(names, ["p-t-1", "p-t-2"]);
            assert_eq!((spec.max_poll_records, spec.mode.as_deref()), (7, Some("multi")));
            assert_eq!(part.describe(), "mode tuned (run 2)");
        });
        with_part(1, |part| {
            let spec = part.spec(Access::default(), Instance(1));
            assert_eq!((spec.max_poll_records, spec.mode), (500, None));
        });
    }

    #[test]
    fn a_worker_is_told_how_its_topics_share_a_poll() {
        let scenario = SCENARIO
            .replace("partitions: 3}", "partitions: 3, priority: 2}")
            .replace("multi, max_poll_records: 7,", "multi, max_poll_records: 7, starvation_guard_polls: 4,")
            .replace("name: ours,", "name: ours, priorities: false, complete_wait_ms: 9,")
            .replace("[consume]", "[consume], quota: {lag_proportional: {min: 1, max: 900}}");
        with_part_of(&scenario, 0, |part| {
            let spec = part.spec(Access::default(), Instance(1));
            assert!(spec.topics.iter().all(|topic| topic.priority == 2));
            assert_eq!(
                (spec.starvation_guard_polls, spec.quota, spec.complete_wait_ms),
                (Some(4), None, None)
            );
        });
        with_part_of(&scenario, 1, |part| {
            let spec = part.spec(Access::default(), Instance(1));
            assert!(spec.topics.iter().all(|topic| topic.priority == 0));
            assert_eq!((spec.starvation_guard_polls, spec.complete_wait_ms), (None, Some(9)));
            assert_eq!(spec.quota.map(|quota| quota.lag_proportional.max), Some(900));
        });
    }

    #[test]
    fn a_mode_s_budget_of_memory_wins_over_the_consumer_s() {
        let budget = |scenario: &str, mode| {
            let mut found = None;
            with_part_of(scenario, mode, |part| {
                found = part.spec(Access::default(), Instance(1)).fetch_buffer_mib;
            });
            found
        };
        let of_all =
            SCENARIO.replace("{max_poll_records: 500,", "{max_poll_records: 500, fetch_buffer_mib: 64,");
        let of_one = of_all.replace("{name: tuned,", "{name: tuned, fetch_buffer_mib: 16,");
        assert_eq!((budget(SCENARIO, 0), budget(&of_all, 0)), (None, Some(64)));
        assert_eq!((budget(&of_one, 0), budget(&of_one, 1)), (Some(16), Some(64)));
    }

    #[test]
    fn own_groups_are_named_after_the_topics_on_the_broker() {
        with_part(0, |part| assert_eq!(part.group_of("p-t-1"), "p-group.p-t-1"));
        with_part(1, |part| assert_eq!(part.group_of("p-t-1"), "p-group"));
    }
}
