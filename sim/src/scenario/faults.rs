//! Which keys a fault takes, who can do it, and what is wrong with those of a scenario.

use super::Problem;
use super::tree::Node;
use super::{Fault, FaultKind, ModeKind, Scenario, TopicPlan, suggest};

/// Whether a kind takes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// It must be there.
    Required,
    /// It may be there.
    Optional,
    /// It means nothing.
    None,
}

/// What holds for a kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The kind.
    pub kind: FaultKind,
    /// The key `topic`.
    pub topic: Key,
    /// The key `node`.
    pub node: Key,
    /// The key `instance`.
    pub instance: Key,
    /// The key `latency_ms`.
    pub latency_ms: Key,
    /// The key `partitions`.
    pub partitions: Key,
    /// The key `for_ms`. Where it is required, no run could end well without it.
    pub for_ms: Key,
    /// The kinds of brokers that can do it, as `--broker` names them.
    pub brokers: &'static [&'static str],
}

const EVERYWHERE: &[&str] = &["embedded", "container", "external"];
const EMBEDDED: &[&str] = &["embedded"];
const NODES: &[&str] = &["embedded", "container"];
const KAFKA: &[&str] = &["container", "external"];
/// ACLs are refused by a cluster that has no authorizer, and of one that has it is somebody else's to say
/// who may read.
const CONTAINER: &[&str] = &["container"];

const fn rule(kind: FaultKind, brokers: &'static [&'static str]) -> Rule {
    Rule {
        kind,
        topic: Key::None,
        node: Key::None,
        instance: Key::None,
        latency_ms: Key::None,
        partitions: Key::None,
        for_ms: Key::Optional,
        brokers,
    }
}

/// Every kind of fault. A kind that no broker can do yet is in [`FaultKind`] and not here.
pub const RULES: &[Rule] = &[
    Rule { topic: Key::Required, ..rule(FaultKind::TopicFetchErrors, NODES) },
    Rule { for_ms: Key::Required, ..rule(FaultKind::CommitErrors, EMBEDDED) },
    Rule { node: Key::Required, for_ms: Key::Required, ..rule(FaultKind::BrokerDown, NODES) },
    Rule { node: Key::Optional, latency_ms: Key::Required, ..rule(FaultKind::SlowBroker, NODES) },
    Rule {
        topic: Key::Required,
        node: Key::Required,
        for_ms: Key::None,
        ..rule(FaultKind::LeaderMoved, EMBEDDED)
    },
    Rule { node: Key::Required, for_ms: Key::None, ..rule(FaultKind::CoordinatorMoved, EMBEDDED) },
    Rule { topic: Key::Required, for_ms: Key::None, ..rule(FaultKind::TopicDeleted, KAFKA) },
    Rule { topic: Key::Required, for_ms: Key::None, ..rule(FaultKind::TopicCreated, KAFKA) },
    Rule {
        topic: Key::Required,
        partitions: Key::Required,
        for_ms: Key::None,
        ..rule(FaultKind::TopicWidened, KAFKA)
    },
    Rule { topic: Key::Required, for_ms: Key::Required, ..rule(FaultKind::TopicForbidden, CONTAINER) },
    Rule { topic: Key::Required, for_ms: Key::None, ..rule(FaultKind::RetentionOvertakes, KAFKA) },
    Rule { topic: Key::Required, ..rule(FaultKind::PoisonRecord, EVERYWHERE) },
    Rule { instance: Key::Optional, ..rule(FaultKind::ConsumerKilled, EVERYWHERE) },
    Rule { instance: Key::Optional, for_ms: Key::Required, ..rule(FaultKind::ConsumerFrozen, EVERYWHERE) },
    rule(FaultKind::InstanceJoins, EVERYWHERE),
    Rule { instance: Key::Optional, ..rule(FaultKind::InstanceLeaves, EVERYWHERE) },
    Rule { instance: Key::Optional, ..rule(FaultKind::DescriptorsLimited, EVERYWHERE) },
];

/// What holds for a kind; `None` where no broker can do it yet.
#[must_use]
pub fn rule_of(kind: FaultKind) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.kind == kind)
}

/// Why a scenario cannot be replayed on a kind of broker, with the remedy.
#[must_use]
pub fn unsupported(scenario: &Scenario, broker: &str) -> Option<String> {
    for (number, fault) in (1..).zip(&scenario.faults) {
        let brokers = rule_of(fault.kind).map_or(&[][..], |rule| rule.brokers);
        if !brokers.contains(&broker) {
            let remedy = match brokers.first() {
                Some(first) => format!("run with --broker {first}"),
                None => "no broker can do it yet".to_owned(),
            };
            return Some(format!(
                "fault {number} ({}) cannot be done on the {broker} broker: {remedy}",
                fault.kind.name()
            ));
        }
    }
    let several = scenario.consumer.instances > 1
        || scenario.faults.iter().any(|fault| fault.kind == FaultKind::InstanceJoins);
    let shares = |mode: &super::Mode| {
        mode.kind == ModeKind::Fairpoll("multi".to_owned())
            && matches!(mode.group_strategy.as_deref(), None | Some("kip848"))
    };
    let mode = scenario.modes.iter().find(|mode| shares(mode))?;
    (broker == "embedded" && several).then(|| {
        format!(
            "mode {}: the embedded broker's KIP-848 leaves partitions to nobody where several instances of \
             `multi` share one group; add `group_strategy: own` (or `cooperative`) to the mode, or run with \
             --broker container",
            mode.name
        )
    })
}

/// What is wrong with the faults themselves.
pub(super) fn problems(scenario: &Scenario, nodes: &[Node]) -> Vec<Problem> {
    let plans = scenario.topics_expanded();
    let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
    let mut problems = Vec::new();
    for (fault, node) in scenario.faults.iter().zip(nodes) {
        let Fault { kind, topic, .. } = fault;
        let Some(rule) = rule_of(*kind) else {
            let message = format!("no broker can do `{}` yet", kind.name());
            problems.push(Problem::new(place(node, "kind"), message, "this kind"));
            continue;
        };
        let keys = [
            ("topic", rule.topic, topic.is_some(), "of which topic?"),
            ("node", rule.node, fault.node.is_some(), "which broker? 1, 2, …"),
            ("instance", rule.instance, fault.instance.is_some(), "which instance?"),
            ("latency_ms", rule.latency_ms, fault.latency_ms.is_some(), "how much slower?"),
            ("partitions", rule.partitions, fault.partitions.is_some(), "how many in all?"),
            ("for_ms", rule.for_ms, fault.for_ms.is_some(), "until when?"),
        ];
        for (key, wanted, given, question) in keys {
            match (wanted, given) {
                (Key::Required, false) => {
                    let message = format!("`{}` needs the key `{key}`", kind.name());
                    problems.push(Problem::new(place(node, "kind"), message, question));
                }
                (Key::None, true) => {
                    let message = format!("`{key}` means nothing to `{}`", kind.name());
                    problems.push(Problem::new(place(node, key), message, "remove this"));
                }
                _ => {}
            }
        }
        if let Some(topic) = topic.as_deref().filter(|topic| !names.contains(topic)) {
            let message = format!("the fault concerns `{topic}`, and there is no such topic");
            let problem = Problem::new(place(node, "topic"), message, "no such topic");
            problems.push(problem.help(suggest::remedy(topic, &names)));
        }
        let fails_too = |other: &Fault| other.kind == FaultKind::TopicFetchErrors && other.topic == *topic;
        if *kind == FaultKind::LeaderMoved && scenario.faults.iter().any(fails_too) {
            // Errors concern a node's fetches: on a node that leads others too, these would fail as well.
            let message = "a topic with `topic_fetch_errors` stays with the broker that leads it alone";
            let problem = Problem::new(place(node, "topic"), message, "cannot move");
            problems.push(problem.help("move another topic, or do both in two scenarios"));
        }
        if let Some(plan) = plans.iter().find(|plan| Some(&plan.name) == topic.as_ref()) {
            problems.extend(of_new_partitions(scenario, fault, plan, node));
            problems.extend(of_poison(fault, plan, node));
        }
        let nodes = scenario.broker.nodes;
        if let Some(number) = fault.node.filter(|number| *number > nodes) {
            let message = format!("the fault concerns node {number}, and there are {nodes}");
            let problem = Problem::new(place(node, "node"), message, "no such broker");
            problems.push(problem.help("`broker: {nodes: 3}` makes a cluster"));
        }
        let joined = scenario.faults.iter().filter(|fault| fault.kind == FaultKind::InstanceJoins).count();
        let instances = scenario.consumer.instances + u32::try_from(joined).unwrap_or(u32::MAX);
        if let Some(instance) = fault.instance.filter(|instance| *instance > instances) {
            let message = format!("the fault concerns instance {instance}, and there are {instances}");
            let problem = Problem::new(place(node, "instance"), message, "no such instance");
            problems.push(problem.help("`consumer.instances` says how many there are at the start"));
        }
    }
    problems.extend(no_common_broker(scenario, nodes));
    problems
}

/// The first fault that no broker can do together with those before it.
fn no_common_broker(scenario: &Scenario, nodes: &[Node]) -> Option<Problem> {
    let mut common = EVERYWHERE.to_vec();
    for (fault, node) in scenario.faults.iter().zip(nodes) {
        // What no broker can do has been told.
        let Some(rule) = rule_of(fault.kind) else { continue };
        let before = common.clone();
        common.retain(|broker| rule.brokers.contains(broker));
        if common.is_empty() {
            let kind = fault.kind.name();
            let message = format!("no broker can do `{kind}` and the faults before it");
            let help = format!(
                "`{kind}` needs the broker {}, those before it {}: make two scenarios of it",
                rule.brokers.join(" or "),
                before.join(" or ")
            );
            return Some(Problem::new(place(node, "kind"), message, "not with the others").help(help));
        }
    }
    None
}

/// What is wrong with a fault by which partitions come into being.
fn of_new_partitions(scenario: &Scenario, fault: &Fault, plan: &TopicPlan, node: &Node) -> Option<Problem> {
    if !matches!(fault.kind, FaultKind::TopicCreated | FaultKind::TopicWidened) {
        return None;
    }
    let problem =
        |key, message, label, help: &str| Some(Problem::new(place(node, key), message, label).help(help));
    let name = &plan.name;
    if fault.at_ms == 0 {
        let message =
            format!("`{}` happens while the topic is consumed, and this is before", fault.kind.name());
        return problem("at_ms", message, "0", "`at_ms` counts from the begin of live production");
    }
    if plan.rate_per_s <= 0.0 {
        let message = format!("nothing would ever be produced to the new partitions of `{name}`");
        return problem("topic", message, "it has no rate", "give the topic a `rate_per_s`");
    }
    if fault.kind == FaultKind::TopicCreated && (plan.backlog > 0 || scenario.earlier_life.is_some()) {
        let message = format!("`{name}` does not exist before the fault, so it can hold no records by then");
        return problem("topic", message, "it has a backlog", "leave its `backlog` out, and `earlier_life`");
    }
    if fault.partitions.is_some_and(|partitions| partitions <= plan.partitions) {
        let message = format!("`{name}` has {} partitions, and topics never get narrower", plan.partitions);
        return problem(
            "partitions",
            message,
            "no more than it has",
            "say how many it has afterwards, in all",
        );
    }
    None
}

/// What is wrong with a record on which processing is to fail: it is one of the live ones.
fn of_poison(fault: &Fault, plan: &TopicPlan, node: &Node) -> Option<Problem> {
    if fault.kind != FaultKind::PoisonRecord {
        return None;
    }
    let (name, kind) = (&plan.name, fault.kind.name());
    let (key, message, label, help) = if fault.at_ms == 0 {
        let message = format!("`{kind}` is one of the live records, and this is before there are any");
        ("at_ms", message, "0", "`at_ms` counts from the begin of live production")
    } else if plan.rate_per_s <= 0.0 {
        let message = format!("no record of `{name}` is produced while the run lasts");
        ("topic", message, "it has no rate", "give the topic a `rate_per_s`")
    } else {
        return None;
    };
    Some(Problem::new(place(node, key), message, label).help(help))
}

fn place(node: &Node, key: &str) -> std::ops::Range<usize> {
    node.get(key).map_or_else(|| node.place(), |value| value.span.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in the documentation is this table.
    #[test]
    fn the_documentation_lists_every_kind_with_its_brokers() {
        let text = include_str!("../../../docs/faults.md");
        for rule in RULES {
            let row = text.lines().find(|line| line.starts_with(&format!("| `{}`", rule.kind.name())));
            let row = row.unwrap_or_else(|| panic!("docs/faults.md does not list {}", rule.kind.name()));
            let brokers = row.split('|').nth(3).unwrap_or_default();
            for broker in EVERYWHERE {
                assert_eq!(brokers.contains(broker), rule.brokers.contains(broker), "{broker} in: {row}");
            }
            for (key, wanted) in [
                ("topic", rule.topic),
                ("node", rule.node),
                ("instance", rule.instance),
                ("latency_ms", rule.latency_ms),
                ("partitions", rule.partitions),
                ("for_ms", rule.for_ms),
            ] {
                // What happens may mention keys too.
                let keys = row.split('|').nth(2).unwrap_or_default();
                assert_eq!(keys.contains(&format!("`{key}`")), wanted == Key::Required, "{key} in: {row}");
                assert_eq!(keys.contains(&format!("`[{key}]`")), wanted == Key::Optional, "{key} in: {row}");
            }
        }
    }
}
