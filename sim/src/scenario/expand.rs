//! What a scenario means once `count`, downtimes and overrides are worked out.

use fairpoll_judge::event::{GateFacts, Header, LOG_VERSION, ModeFacts, TopicFacts};

use super::{Fault, FaultKind, Scenario};

/// One topic of a scenario, after expansion.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicPlan {
    /// Its name in the scenario.
    pub name: String,
    /// Partitions.
    pub partitions: u32,
    /// Records on the broker before the measured consumer starts, over all partitions.
    pub backlog: u64,
    /// Size of a record's value, bytes.
    pub value_bytes: u32,
    /// Records per second, over all partitions, while the run lasts.
    pub rate_per_s: f64,
    /// Share relative to the other topics.
    pub weight: u32,
    /// Topics of a higher one come first under a cap of the whole poll.
    pub priority: u8,
}

impl Scenario {
    /// The topics one by one, in the file's order: `count: 3` of `name: a` becomes `a-1`, `a-2`,
    /// `a-3`.
    #[must_use]
    pub fn topics_expanded(&self) -> Vec<TopicPlan> {
        let mut plans = Vec::new();
        for topic in &self.topics {
            let names = match topic.count {
                None => vec![topic.name.clone()],
                Some(count) => (1..=count).map(|i| format!("{}-{i}", topic.name)).collect(),
            };
            plans.extend(names.into_iter().map(|name| TopicPlan {
                name,
                partitions: topic.partitions,
                backlog: topic.backlog.records(topic.rate_per_s),
                value_bytes: topic.value_bytes,
                rate_per_s: topic.rate_per_s,
                weight: topic.weight,
                priority: topic.priority,
            }));
        }
        plans
    }

    /// The first line of the log of `runs` runs on a broker of the kind `broker`. The gates'
    /// lines are 0 here; `Loaded::header` knows them.
    #[must_use]
    pub fn header(&self, broker: &str, runs: u32) -> Header {
        let gate = |expression: &String| GateFacts { expression: expression.clone(), line: 0 };
        Header {
            version: LOG_VERSION,
            scenario: self.name.clone(),
            purpose: self.purpose.clone(),
            broker: broker.to_owned(),
            runs,
            availability_ms: self.availability_ms,
            deadline_s: Some(self.stop.deadline_s),
            topics: self.topics_expanded().iter().map(|plan| self.topic_facts(plan)).collect(),
            modes: self
                .modes
                .iter()
                .map(|mode| ModeFacts {
                    name: mode.name.clone(),
                    label: mode.label(),
                    max_poll_records: mode.max_poll_records.unwrap_or(self.consumer.max_poll_records),
                    max_records: mode.max_records,
                    processing: self.processing,
                })
                .collect(),
            demonstrates: self.demonstrates.iter().map(gate).collect(),
            gates: self.gates.iter().map(gate).collect(),
            instances: self.consumer.instances,
        }
    }

    /// Whether members of the consumer's group come and go in mid-run.
    #[must_use]
    pub fn has_membership_faults(&self) -> bool {
        self.consumer.instances > 1 || self.faults.iter().any(|fault| fault.kind.concerns_consumer())
    }

    /// How many partitions a topic has before anything happens to it: 0 where a fault creates it.
    pub(crate) fn partitions_at_start(&self, plan: &TopicPlan) -> u32 {
        let created = |fault: &Fault| fault.kind == FaultKind::TopicCreated && fault.concerns(&plan.name);
        if self.faults.iter().any(created) { 0 } else { plan.partitions }
    }

    /// How many it has in the end.
    pub(crate) fn partitions_at_end(&self, plan: &TopicPlan) -> u32 {
        let widened = self.faults.iter().filter(|fault| fault.concerns(&plan.name));
        widened.filter_map(|fault| fault.partitions).fold(plan.partitions, u32::max)
    }

    fn topic_facts(&self, plan: &TopicPlan) -> TopicFacts {
        let fails_for_good = self.faults.iter().any(|fault| {
            fault.kind == FaultKind::TopicFetchErrors
                && fault.topic.as_deref() == Some(plan.name.as_str())
                && fault.for_ms.is_none()
        });
        TopicFacts {
            name: plan.name.clone(),
            partitions: self.partitions_at_start(plan),
            weight: plan.weight,
            backlog: plan.backlog,
            rate_per_s: plan.rate_per_s,
            value_bytes: Some(plan.value_bytes),
            deliverable: !fails_for_good,
        }
    }
}
