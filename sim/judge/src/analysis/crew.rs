//! Who was there, and what was done to them: the processes of a run and its faults.

use std::collections::BTreeMap;

use crate::event::Body;
use crate::timeline::Ending;

/// Kinds of faults that begin and are over: their end, where the log has one, is another event (an
/// instance comes back) and no relief.
const MOMENTARY: [&str; 9] = [
    "consumer_killed",
    "instance_joins",
    "instance_leaves",
    "leader_moved",
    "coordinator_moved",
    "topic_deleted",
    "topic_created",
    "topic_widened",
    "retention_overtakes",
];

/// Kinds during which the broker hands out no record of the fault's topic.
const WITHHOLDING: [&str; 3] = ["topic_fetch_errors", "topic_forbidden", "topic_deleted"];

/// Kinds during which every fetch of the fault's topic fails.
const FAILING: [&str; 2] = ["topic_fetch_errors", "topic_forbidden"];

/// Kinds that trouble the application alone.
const OF_APPLICATION: [&str; 1] = ["poison_record"];

/// A measured process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) instance: u32,
    /// When it was started, ns.
    pub(super) from_ns: u64,
    /// When it was gone, ns, and how.
    pub(super) ended: Option<(u64, Ending)>,
}

/// A fault of the scenario.
#[derive(Debug, Clone)]
pub(super) struct Fault<'a> {
    pub(super) kind: &'a str,
    pub(super) topic: Option<&'a str>,
    pub(super) node: Option<u32>,
    pub(super) life: Option<u32>,
    pub(super) from_ns: u64,
    /// `None` where it lasted to the run's end, or had none.
    pub(super) to_ns: Option<u64>,
}

impl Fault<'_> {
    /// When its picture ends, ns: at once for what happens once and has no return.
    pub(super) fn shown_to_ns(&self) -> Option<u64> {
        self.to_ns.or_else(|| MOMENTARY.contains(&self.kind).then_some(self.from_ns))
    }

    /// From when on everything is to be as before, ns: a fault that lasts is over when it ends, the
    /// others at once. `None` where it lasted to the run's end.
    pub(super) fn over_ns(&self) -> Option<u64> {
        if MOMENTARY.contains(&self.kind) { Some(self.from_ns) } else { self.to_ns }
    }

    /// Nothing of its topic could be had while it was on.
    pub(super) fn withholds(&self, topic: &str) -> bool {
        WITHHOLDING.contains(&self.kind) && self.topic == Some(topic)
    }

    /// Fetches of its topic failed while it was on.
    pub(super) fn fails_fetches(&self) -> bool {
        FAILING.contains(&self.kind)
    }

    /// It makes its topic's records vanish.
    pub(super) fn removes(&self, topic: &str) -> bool {
        self.kind == "topic_deleted" && self.topic == Some(topic)
    }

    /// It troubles the broker: what the broker does meanwhile was asked for.
    pub(super) fn troubles_broker(&self) -> bool {
        self.life.is_none() && !OF_APPLICATION.contains(&self.kind)
    }

    /// The process stands still while it is on.
    pub(super) fn freezes(&self) -> Option<u32> {
        self.life.filter(|_| self.kind == "consumer_frozen")
    }
}

/// Processes and faults, gathered from the log's events.
#[derive(Debug, Default)]
pub(super) struct Crew<'a> {
    /// The measured processes, by their number.
    pub(super) lives: BTreeMap<u32, Life>,
    /// In the order of their beginnings.
    pub(super) faults: Vec<Fault<'a>>,
    instances: BTreeMap<u32, u32>,
}

impl<'a> Crew<'a> {
    pub(super) fn take(&mut self, t_ns: u64, body: &'a Body) {
        match body {
            Body::WorkerStarted { life, instance, measured, .. } => {
                self.instances.insert(*life, *instance);
                if *measured {
                    self.lives.insert(*life, Life { instance: *instance, from_ns: t_ns, ended: None });
                }
            }
            Body::WorkerExited { life, expected, by_fault, .. } => {
                let ending = match (by_fault, expected) {
                    (true, _) => Ending::Killed,
                    (false, true) => Ending::Stopped,
                    (false, false) => Ending::Failed,
                };
                if let Some(life) = self.lives.get_mut(life) {
                    life.ended = Some((t_ns, ending));
                }
            }
            Body::Fault { kind, topic, node, life, begins: true } => self.faults.push(Fault {
                kind,
                topic: topic.as_deref(),
                node: *node,
                life: *life,
                from_ns: t_ns,
                to_ns: None,
            }),
            Body::Fault { kind, topic, node, life, begins: false } => {
                let instances = &self.instances;
                let instance = |life: Option<u32>| life.and_then(|life| instances.get(&life).copied());
                let same = |fault: &&mut Fault<'_>| {
                    fault.to_ns.is_none()
                        && (fault.kind, fault.topic, fault.node) == (kind, topic.as_deref(), *node)
                        // A killed instance comes back as another life.
                        && instance(fault.life) == instance(*life)
                };
                if let Some(fault) = self.faults.iter_mut().find(same) {
                    fault.to_ns = Some(t_ns);
                }
            }
            _ => {}
        }
    }

    /// What went on to the end of the run was ended by the harness afterwards.
    pub(super) fn close(&mut self, end_ns: u64) {
        for fault in &mut self.faults {
            fault.to_ns = fault.to_ns.filter(|to_ns| *to_ns < end_ns);
        }
    }

    /// How many instances of the consumer there were, restarts not counted.
    pub(super) fn instances(&self) -> usize {
        let numbers: std::collections::BTreeSet<u32> =
            self.lives.values().map(|life| life.instance).collect();
        numbers.len()
    }

    /// Whether no other measured process was there while this one was.
    pub(super) fn was_alone(&self, number: u32) -> bool {
        let Some(life) = self.lives.get(&number) else { return false };
        let end = |life: &Life| life.ended.map_or(u64::MAX, |(t_ns, _)| t_ns);
        let apart = |other: &Life| end(other) <= life.from_ns || end(life) <= other.from_ns;
        self.lives.iter().filter(|(other, _)| **other != number).all(|(_, other)| apart(other))
    }

    /// `topic orders`, `broker 2`, `instance 1`; empty where it concerns everything.
    pub(super) fn concerned(&self, fault: &Fault<'_>) -> String {
        let topic = fault.topic.map(|topic| format!("topic {topic}"));
        let node = fault.node.map(|node| format!("broker {node}"));
        let instance = fault.life.and_then(|life| self.instances.get(&life));
        let instance = instance.map(|instance| format!("instance {instance}"));
        topic.into_iter().chain(node).chain(instance).collect::<Vec<_>>().join(", ")
    }
}
