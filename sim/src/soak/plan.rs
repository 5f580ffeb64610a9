//! From a seed to a scenario: the same seed, the same scenario.

use std::collections::BTreeMap;

use fairpoll_judge::protocol::ProcessingCost;
use fastrand::Rng;

use crate::scenario::{
    Backlog, BacklogSize, BrokerNeeds, Commit, Consumer, Fault, FaultKind, Mode, ModeKind, Producing,
    Scenario, Sharing, Stop, StopWhen, Topic,
};

/// Brokers of the cluster that a schedule counts on.
const NODES: u32 = 3;
/// Faults begin in this span after live production began, ms.
const BEGINS_MS: std::ops::Range<u64> = 100..1_800;
/// Longer than a session on the embedded broker (2 s): the group gives the member up.
const BEYOND_SESSION_MS: u64 = 2_500;
/// Production goes on so long after the last fault is over, ms: what was disturbed must go on
/// working, not only get rid of what is left.
const QUIET_MS: u64 = 1_000;

/// Whether the group's members change in a schedule.
///
/// The embedded broker is not a Kafka in a rebalance: it refuses commits under the classic protocol and
/// does not fence them under KIP-848. Where members come and go, a schedule keeps the coordinator out
/// of trouble; where they stay, everything may happen to the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Members {
    Steady,
    ComeAndGo,
}

impl Members {
    fn may_meet(self, kind: FaultKind) -> bool {
        match self {
            Self::Steady => !kind.concerns_consumer() || kind == FaultKind::ConsumerFrozen,
            Self::ComeAndGo => {
                !matches!(kind, FaultKind::CommitErrors | FaultKind::CoordinatorMoved | FaultKind::BrokerDown)
            }
        }
    }
}

/// What a seed means.
///
/// Every schedule converges: what begins also ends, an instance suffers one fault at most, and
/// somebody of the group stays.
#[must_use]
pub fn scenario(seed: u64, kinds: &[FaultKind]) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let topics = topics(&mut rng);
    let names: Vec<String> = names(&topics);
    let members = if rng.bool() { Members::Steady } else { Members::ComeAndGo };
    let kinds: Vec<FaultKind> = kinds.iter().copied().filter(|kind| members.may_meet(*kind)).collect();
    let instances = if members == Members::Steady { 1 } else { rng.u32(1..=3) };
    let faults = if kinds.is_empty() { Vec::new() } else { faults(&mut rng, &kinds, &names, instances) };
    let quiet_from = faults.iter().map(|fault| fault.at_ms + fault.for_ms.unwrap_or(0)).max().unwrap_or(0);
    let live_ms = quiet_from + QUIET_MS;
    let modes = modes(&mut rng, members);
    let gates = modes.iter().flat_map(gates).collect();
    let told: Vec<&str> = faults.iter().map(|fault| fault.kind.name()).collect();
    Scenario {
        schema_version: 1,
        name: format!("soak-{seed}"),
        purpose: format!("Seed {seed}: {} instances under {}.", instances, told.join(", ")),
        seed,
        topics,
        broker: BrokerNeeds { nodes: NODES },
        producer: Producing::default(),
        consumer: Consumer {
            fetch_buffer_mib: None,
            max_poll_records: rng.u32(20..=300),
            poll_timeout_ms: 1_000,
            commit: Commit { every_polls: rng.u32(1..=8) },
            instances,
            properties: BTreeMap::new(),
        },
        processing: ProcessingCost { per_poll_ms: f64::from(rng.u32(1..=4)), per_record_us: 0.0 },
        modes,
        stop: Stop {
            when: StopWhen::Drained,
            deadline_s: 90.0,
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            live_for_s: live_ms as f64 / 1e3,
            stall_s: 20.0,
        },
        earlier_life: None,
        faults,
        availability_ms: 50,
        demonstrates: Vec::new(),
        gates,
    }
}

fn topics(rng: &mut Rng) -> Vec<Topic> {
    let topic = |name: &str, count, partitions, backlog, rate_per_s| Topic {
        name: name.to_owned(),
        count,
        partitions,
        backlog: Backlog(BacklogSize::Records(backlog)),
        value_bytes: 32,
        rate_per_s,
        weight: 1,
        priority: 0,
    };
    let deep = rng.u64(4_000..=20_000);
    vec![
        topic("deep", None, rng.u32(2..=6), deep, 0.0),
        topic("quiet", Some(rng.u32(2..=5)), rng.u32(1..=3), rng.u64(0..=200), f64::from(rng.u32(20..=80))),
    ]
}

fn names(topics: &[Topic]) -> Vec<String> {
    let of = |topic: &Topic| match topic.count {
        None => vec![topic.name.clone()],
        Some(count) => (1..=count).map(|number| format!("{}-{number}", topic.name)).collect(),
    };
    topics.iter().flat_map(of).collect()
}

fn faults(rng: &mut Rng, kinds: &[FaultKind], topics: &[String], instances: u32) -> Vec<Fault> {
    let mut unharmed: Vec<u32> = (1..=instances).collect();
    let mut failing: Vec<String> = Vec::new();
    let mut faults = Vec::new();
    for _ in 0..rng.u32(2..=5) {
        let kind = kinds[rng.usize(0..kinds.len())];
        let at_ms = rng.u64(BEGINS_MS);
        let lasts = rng.u64(200..=1_500);
        let mut fault = Fault { for_ms: Some(lasts), ..Fault::new(kind, at_ms) };
        match kind {
            FaultKind::ConsumerKilled | FaultKind::ConsumerFrozen | FaultKind::InstanceLeaves => {
                if unharmed.is_empty() {
                    continue;
                }
                fault.instance = Some(unharmed.swap_remove(rng.usize(0..unharmed.len())));
                if kind == FaultKind::ConsumerFrozen && rng.bool() {
                    fault.for_ms = Some(BEYOND_SESSION_MS + lasts);
                }
                // It may stay away for good where somebody else is left unharmed.
                if kind != FaultKind::ConsumerFrozen && !unharmed.is_empty() && rng.bool() {
                    unharmed.swap_remove(rng.usize(0..unharmed.len()));
                    fault.for_ms = None;
                }
            }
            FaultKind::InstanceJoins => fault.for_ms = rng.bool().then_some(lasts + 1_000),
            // Of a topic that gets records while the run lasts.
            FaultKind::PoisonRecord => fault.topic = Some(topics[rng.usize(1..topics.len())].clone()),
            FaultKind::TopicFetchErrors | FaultKind::LeaderMoved => {
                // The first topic gets no records while the run lasts, and on the embedded broker a
                // partition without any since its leader moved has forgotten where it ends.
                let from = usize::from(kind == FaultKind::LeaderMoved);
                let topic = topics[rng.usize(from..topics.len())].clone();
                if failing.contains(&topic) {
                    continue;
                }
                failing.push(topic.clone());
                fault.topic = Some(topic);
            }
            _ => {}
        }
        match kind {
            FaultKind::BrokerDown | FaultKind::SlowBroker => fault.node = Some(rng.u32(1..=NODES)),
            FaultKind::LeaderMoved | FaultKind::CoordinatorMoved => {
                fault.node = Some(rng.u32(1..=NODES));
                fault.for_ms = None;
            }
            _ => {}
        }
        if kind == FaultKind::SlowBroker {
            fault.latency_ms = Some(rng.u32(5..=80));
        }
        faults.push(fault);
    }
    // A member that joins checks its positions against the leader's epoch, and right after a move the
    // embedded broker has forgotten where that ended (docs/embedded-broker.md).
    if faults.iter().any(|fault| fault.kind.concerns_consumer()) {
        faults.retain(|fault| fault.kind != FaultKind::LeaderMoved);
    }
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

fn modes(rng: &mut Rng, members: Members) -> Vec<Mode> {
    let mut mode = |name: &str, strategies: &[&str]| {
        let strategy = strategies[rng.usize(0..strategies.len())];
        Mode {
            name: name.to_owned(),
            kind: ModeKind::Fairpoll(name.to_owned()),
            max_poll_records: None,
            fetch_buffer_mib: None,
            max_records: None,
            sharing: Sharing::default(),
            group_strategy: Some(strategy.to_owned()),
            joins_as: None,
            properties: BTreeMap::new(),
        }
    };
    // Under KIP-848 the embedded broker leaves partitions to nobody where several instances of `multi`
    // share a group, and takes commits of an earlier epoch (docs/embedded-broker.md).
    let (shared, handles): (&[&str], &[&str]) = match members {
        Members::Steady => (&["classic", "cooperative", "kip848"], &["own", "kip848"]),
        Members::ComeAndGo => (&["kip848"], &["own"]),
    };
    vec![mode("single", shared), mode("multi", handles), mode("fair", shared)]
}

/// What must hold under any schedule.
fn gates(mode: &Mode) -> Vec<String> {
    let name = &mode.name;
    vec![format!("{name}.lost + {name}.undelivered + {name}.out_of_order + {name}.committed_past_gap == 0")]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &[FaultKind] = super::super::EMBEDDED_KINDS;

    #[test]
    fn a_seed_is_a_scenario() {
        assert_eq!(scenario(7, KINDS), scenario(7, KINDS));
        assert_ne!(scenario(7, KINDS), scenario(8, KINDS));
    }

    #[test]
    fn many_seeds_use_every_kind_and_leave_somebody_unharmed_or_bring_everybody_back() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..500 {
            let scenario = scenario(seed, KINDS);
            let gone = |fault: &&Fault| {
                matches!(fault.kind, FaultKind::ConsumerKilled | FaultKind::InstanceLeaves)
                    && fault.for_ms.is_none()
            };
            let gone = scenario.faults.iter().filter(gone).count();
            assert!(gone < scenario.consumer.instances as usize, "seed {seed}: nobody is left");
            seen.extend(scenario.faults.iter().map(|fault| fault.kind));
        }
        assert_eq!(seen.len(), KINDS.len(), "{seen:?}");
    }

    /// What is written down is what runs: `fairpoll run` on a kept file replays the seed.
    #[test]
    fn every_scenario_survives_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        for seed in 0..50 {
            let scenario = scenario(seed, KINDS);
            let path = folder.path().join("soak.yaml");
            std::fs::write(&path, serde_saphyr::to_string(&scenario).expect("serializable"))
                .expect("written");
            let loaded =
                crate::scenario::load(&path).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
            assert_eq!(loaded.scenario, scenario);
        }
    }
}
