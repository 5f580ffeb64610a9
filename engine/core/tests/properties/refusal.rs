//! Refused commits against their definition.

use std::collections::BTreeMap;
use std::time::Duration;

use fairpoll_core::quarantine::News;
use fairpoll_core::refusal::{Prospect, Refusals};
use fairpoll_core::{PartitionIndex, Timestamp};
use proptest::prelude::*;

use super::{Verdict, catches, holds};

const INITIAL: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_millis(1_000);
const PARTITIONS: u32 = 4;
const CODES: [&str; 2] = ["UNKNOWN_TOPIC_OR_PART", "TOPIC_AUTHORIZATION_FAILED"];

#[derive(Debug, Clone)]
enum Operation {
    Refuse { partition: u32, offset: i64, code: usize, prospect: Prospect, random: u64 },
    Accept(u32),
    GiveBack(u32),
    Pass { millis: u64 },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let partition = || 0..PARTITIONS;
    let prospect = prop_oneof![4 => Just(Prospect::MayPass), 1 => Just(Prospect::Final)];
    let operation = prop_oneof![
        5 => (partition(), 0_i64..3, 0_usize..2, prospect, any::<u64>()).prop_map(
            |(partition, offset, code, prospect, random)| {
                Operation::Refuse { partition, offset, code, prospect, random }
            }
        ),
        1 => partition().prop_map(Operation::Accept),
        1 => partition().prop_map(Operation::GiveBack),
        6 => (1_u64..1_200).prop_map(|millis| Operation::Pass { millis }),
    ];
    prop::collection::vec(operation, 1..80)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    SendsAtOnce,
    HoldsBackOthers,
    DoesNotGrow,
    GrowsForEver,
    SendsWhatIsHopeless,
    IgnoresSuccess,
    IsNeverDue,
}

struct Subject {
    machine: Refusals,
    defect: Option<Defect>,
}

impl Subject {
    fn new(defect: Option<Defect>) -> Self {
        let cap = match defect {
            Some(Defect::DoesNotGrow) => INITIAL,
            Some(Defect::GrowsForEver) => Duration::from_secs(3_600),
            _ => CAP,
        };
        Self { machine: Refusals::new(INITIAL, cap), defect }
    }

    fn may_send(&self, now: Timestamp, partition: u32, offset: i64) -> bool {
        let asked = match self.defect {
            Some(Defect::HoldsBackOthers) => 0,
            _ => partition,
        };
        let now = if self.defect == Some(Defect::SendsAtOnce) { Timestamp::NEVER } else { now };
        let offset = if self.defect == Some(Defect::SendsWhatIsHopeless) { offset + 100 } else { offset };
        self.machine.may_send(now, PartitionIndex(asked), offset)
    }
}

/// By the definition.
#[derive(Debug, Clone)]
struct Refused {
    code: usize,
    offset: i64,
    hopeless: bool,
    times: u32,
    /// Due in this span.
    earliest: Timestamp,
    latest: Timestamp,
    told_due: bool,
}

/// For all sequences of answers: who was not refused may always be sent; who was is left out for a time that
/// doubles up to the cap, half of it fixed; then it is due, once; a final refusal keeps only its own offset
/// back; the first refusal of an episode and another code are news.
fn keeps_to_its_definition(operations: &[Operation], defect: Option<Defect>) -> Verdict {
    let mut subject = Subject::new(defect);
    let mut model: BTreeMap<u32, Refused> = BTreeMap::new();
    let mut now = Timestamp::ZERO;
    for operation in operations {
        match *operation {
            Operation::Refuse { partition, offset, code, prospect, random } => {
                let times = model.get(&partition).map_or(0, |known| known.times);
                let expected = match model.get(&partition) {
                    None => News::Began,
                    Some(known) if known.code != code => News::Changed,
                    Some(_) => News::Repeated,
                };
                let index = PartitionIndex(partition);
                let news = subject.machine.refused(now, index, offset, (CODES[code], prospect), random);
                if news != expected {
                    return Err(format!("{partition}: {news:?}, not {expected:?}"));
                }
                let full = CAP.min(INITIAL.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)));
                let (earliest, latest) = (now + full / 2, now + full);
                let hopeless = prospect == Prospect::Final;
                let known =
                    Refused { code, offset, hopeless, times: times + 1, earliest, latest, told_due: false };
                model.insert(partition, known);
            }
            Operation::Accept(partition) => {
                let known = model.remove(&partition);
                if defect != Some(Defect::IgnoresSuccess) {
                    let episode = subject.machine.accepted(PartitionIndex(partition));
                    let (times, expected) =
                        (episode.map(|episode| episode.errors), known.map(|known| u64::from(known.times)));
                    if times != expected {
                        return Err(format!("{partition} was refused {expected:?} times, not {times:?}"));
                    }
                }
            }
            Operation::GiveBack(partition) => {
                model.remove(&partition);
                subject.machine.forget(PartitionIndex(partition));
            }
            Operation::Pass { millis } => now = now + Duration::from_millis(millis),
        }
        let due = |subject: &mut Subject| {
            (defect != Some(Defect::IsNeverDue)).then(|| subject.machine.next_due(now)).flatten()
        };
        while let Some(PartitionIndex(partition)) = due(&mut subject) {
            match model.get_mut(&partition) {
                Some(known) if !known.told_due && now >= known.earliest => known.told_due = true,
                known => return Err(format!("{partition} is due at {now}: {known:?}")),
            }
        }
        if let Some(late) = model.values().find(|known| !known.told_due && now >= known.latest) {
            return Err(format!("not due at {now}: {late:?}"));
        }
        let waits = model.values().any(|known| !known.told_due);
        if subject.machine.next_wakeup().is_some() != waits {
            return Err(format!("wakes up: {:?}, somebody waits: {waits}", subject.machine.next_wakeup()));
        }
        for (partition, offset) in (0..PARTITIONS).flat_map(|partition| (0..3).map(move |o| (partition, o))) {
            let may = subject.may_send(now, partition, offset);
            let expected = model
                .get(&partition)
                .is_none_or(|known| known.told_due && !(known.hopeless && known.offset == offset));
            if may != expected {
                return Err(format!("{partition} at {offset}: {may}, not {expected} at {now}"));
            }
        }
    }
    Ok(())
}

// shows: E5
#[test]
fn who_is_refused_waits_longer_each_time_and_nobody_waits_with_it() {
    holds(&operations(), |operations| keeps_to_its_definition(operations, None));
}

#[test]
fn defects_are_noticed() {
    for defect in [
        Defect::SendsAtOnce,
        Defect::HoldsBackOthers,
        Defect::DoesNotGrow,
        Defect::GrowsForEver,
        Defect::SendsWhatIsHopeless,
        Defect::IgnoresSuccess,
        Defect::IsNeverDue,
    ] {
        catches(&format!("{defect:?}"), &operations(), |operations| {
            keeps_to_its_definition(operations, Some(defect))
        });
    }
}
