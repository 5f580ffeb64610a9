//! The quarantine against its definition.

use std::collections::BTreeMap;
use std::time::Duration;

use fairpoll_core::quarantine::{Episode, News, Pace, Retry};
use fairpoll_core::{PartitionIndex, Quarantine, Timestamp, Wakeup};
use proptest::prelude::*;

use super::{Verdict, catches, holds};

const MS: Duration = Duration::from_millis(1);
const PACE: Pace = Pace {
    initial: Duration::from_millis(100),
    cap: Duration::from_millis(1_000),
    quiet: Duration::from_millis(300),
};

const CODES: [&str; 2] = ["UNKNOWN", "TOPIC_AUTHORIZATION_FAILED"];

#[derive(Debug, Clone)]
enum Operation {
    Fail { partition: u32, code: usize, retry: Retry, random: u64 },
    Deliver(u32),
    GiveBack(u32),
    Pass { millis: u64 },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let partition = || 0_u32..4;
    let probe = prop_oneof![3 => Just(0_u64), 1 => 150_u64..1_500]
        .prop_map(|millis| Retry::Probe { not_before: Duration::from_millis(millis) });
    let retry = prop_oneof![8 => probe, 1 => Just(Retry::ByClient), 1 => Just(Retry::Nobody)];
    let operation = prop_oneof![
        5 => (partition(), prop_oneof![4 => Just(0_usize), 1 => Just(1)], retry, any::<u64>())
            .prop_map(|(partition, code, retry, random)| Operation::Fail { partition, code, retry, random }),
        1 => partition().prop_map(Operation::Deliver),
        1 => partition().prop_map(Operation::GiveBack),
        6 => prop_oneof![3 => 1_u64..120, 2 => 200_u64..1_200].prop_map(|millis| Operation::Pass { millis }),
    ];
    prop::collection::vec(operation, 1..80)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    ProbesAtOnce,
    IgnoresTheClientsBackOff,
    DoesNotGrow,
    GrowsForEver,
    RemembersWhatWasGivenBack,
    IgnoresSuccess,
    TellsRepeats,
    TakesNoTimeForSilence,
}

/// The machine, or one with a defect.
struct Subject {
    machine: Quarantine,
    defect: Option<Defect>,
}

impl Subject {
    fn new(defect: Option<Defect>) -> Self {
        let pace = match defect {
            Some(Defect::DoesNotGrow) => Pace { cap: PACE.initial, ..PACE },
            Some(Defect::GrowsForEver) => Pace { cap: Duration::from_secs(3_600), ..PACE },
            Some(Defect::TakesNoTimeForSilence) => Pace { quiet: Duration::ZERO, ..PACE },
            _ => PACE,
        };
        Self { machine: Quarantine::new(pace), defect }
    }

    fn failed(&mut self, now: Timestamp, partition: u32, code: usize, retry: Retry, random: u64) -> News {
        let retry = match (self.defect, retry) {
            (Some(Defect::IgnoresTheClientsBackOff), Retry::Probe { .. }) => {
                Retry::Probe { not_before: Duration::ZERO }
            }
            _ => retry,
        };
        let news = self.machine.failed(now, PartitionIndex(partition), CODES[code], retry, random);
        match (self.defect, news) {
            (Some(Defect::TellsRepeats), News::Repeated) => News::Changed,
            _ => news,
        }
    }

    fn next_probe(&mut self, now: Timestamp) -> Option<u32> {
        let now = if self.defect == Some(Defect::ProbesAtOnce) { Timestamp::NEVER } else { now };
        self.machine.next_probe(now).map(|partition| partition.0)
    }

    fn delivered(&mut self, partition: u32) -> Option<Episode> {
        (self.defect != Some(Defect::IgnoresSuccess))
            .then(|| self.machine.delivered(PartitionIndex(partition)))
            .flatten()
    }

    fn given_back(&mut self, partition: u32) -> Option<Episode> {
        (self.defect != Some(Defect::RemembersWhatWasGivenBack))
            .then(|| self.machine.forget(PartitionIndex(partition)))
            .flatten()
    }
}

/// Where a failing partition stands by the definition.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Its probe comes in this span of time.
    Held {
        earliest: Timestamp,
        latest: Timestamp,
    },
    Tried {
        quiet_at: Timestamp,
    },
    Stuck,
}

#[derive(Debug, Clone)]
struct Patient {
    episode: Episode,
    /// Failures of this episode that called for a probe.
    failures: u32,
    stage: Stage,
}

impl Patient {
    fn fail(&mut self, now: Timestamp, retry: Retry) {
        self.stage = match retry {
            Retry::Probe { not_before } => {
                let full = (PACE.initial * 2_u32.saturating_pow(self.failures)).min(PACE.cap);
                self.failures += 1;
                Stage::Held { earliest: now + (full / 2).max(not_before), latest: now + full.max(not_before) }
            }
            Retry::ByClient => Stage::Tried { quiet_at: now + PACE.quiet },
            Retry::Nobody => Stage::Stuck,
        };
    }

    /// When it is somebody's turn at the latest.
    fn latest(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Held { latest, .. } => Some(latest),
            Stage::Tried { quiet_at } => Some(quiet_at),
            Stage::Stuck => None,
        }
    }
}

type Model = BTreeMap<u32, Patient>;

fn same<T: PartialEq + std::fmt::Debug>(what: &str, actual: T, defined: T) -> Verdict {
    if actual == defined { Ok(()) } else { Err(format!("{what}: {actual:?}, and not {defined:?}")) }
}

/// Does what is due, and checks that it was, and nothing else.
fn serve(now: Timestamp, subject: &mut Subject, model: &mut Model) -> Verdict {
    while let Some((partition, episode)) = subject.machine.next_works(now) {
        let patient = model.remove(&partition.0).ok_or("released twice")?;
        if !matches!(patient.stage, Stage::Tried { quiet_at } if quiet_at <= now) {
            return Err(format!("{partition} works at {now}, and it was {:?}", patient.stage));
        }
        same("the episode that silence ended", episode, patient.episode)?;
    }
    while let Some(partition) = subject.next_probe(now) {
        let patient = model.get_mut(&partition).ok_or_else(|| format!("#{partition} does not fail"))?;
        if !matches!(patient.stage, Stage::Held { earliest, .. } if earliest <= now) {
            return Err(format!("#{partition} is probed at {now}, and it was {:?}", patient.stage));
        }
        patient.stage = Stage::Tried { quiet_at: now + PACE.quiet };
    }
    if let Some((partition, patient)) =
        model.iter().find(|(_, patient)| patient.latest() <= Some(now) && patient.latest().is_some())
    {
        return Err(format!("#{partition} was due by {now}: {:?}", patient.stage));
    }
    let latest = model.values().filter_map(Patient::latest).min();
    match (subject.machine.next_wakeup(), latest) {
        (None, None) => Ok(()),
        (Some(Wakeup { at, .. }), Some(latest)) if now < at && at <= latest => Ok(()),
        (wakeup, latest) => Err(format!("woken at {wakeup:?}, now {now}, at the latest {latest:?}")),
    }
}

fn as_defined(operations: &[Operation], defect: Option<Defect>) -> Verdict {
    let (mut subject, mut model) = (Subject::new(defect), Model::new());
    let mut now = Timestamp::ZERO;
    for operation in operations {
        match *operation {
            Operation::Fail { partition, code, retry, random } => {
                let news = subject.failed(now, partition, code, retry, random);
                let known = model.contains_key(&partition);
                let patient = model.entry(partition).or_insert_with(|| Patient {
                    episode: Episode { since: now, code: CODES[code].to_owned(), errors: 0 },
                    failures: 0,
                    stage: Stage::Stuck,
                });
                let changed = patient.episode.code != CODES[code];
                patient.episode.code = CODES[code].to_owned();
                patient.episode.errors += 1;
                patient.fail(now, retry);
                let defined = match (known, changed) {
                    (false, _) => News::Began,
                    (true, true) => News::Changed,
                    (true, false) => News::Repeated,
                };
                same("an error", news, defined)?;
            }
            Operation::Deliver(partition) => {
                let episode = model.remove(&partition).map(|patient| patient.episode);
                same("the episode that a record ended", subject.delivered(partition), episode)?;
            }
            Operation::GiveBack(partition) => {
                let episode = model.remove(&partition).map(|patient| patient.episode);
                same("what was given back", subject.given_back(partition), episode)?;
            }
            Operation::Pass { millis } => now = now + millis as u32 * MS,
        }
        serve(now, &mut subject, &mut model)?;
        same("who fails", subject.machine.failing().count(), model.len())?;
    }
    Ok(())
}

/// forall sequences of errors, records and revocations: no probe comes before its time, which grows
/// with every failure up to the cap, and none later; one success ends an episode, and what is given back
/// is forgotten; only the first error and another code are news.
#[test]
fn a_failing_partition_is_held_back_tried_and_released_as_defined() {
    holds(&operations(), |operations| as_defined(operations, None));
}

#[test]
fn a_failing_partition_is_held_back_tried_and_released_as_defined_catches_each_defect() {
    for defect in [
        Defect::ProbesAtOnce,
        Defect::IgnoresTheClientsBackOff,
        Defect::DoesNotGrow,
        Defect::GrowsForEver,
        Defect::RemembersWhatWasGivenBack,
        Defect::IgnoresSuccess,
        Defect::TellsRepeats,
        Defect::TakesNoTimeForSilence,
    ] {
        catches(&format!("{defect:?}"), &operations(), |operations| as_defined(operations, Some(defect)));
    }
}
