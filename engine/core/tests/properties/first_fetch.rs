//! The wait for first fetches against its definition.

use std::collections::BTreeMap;
use std::time::Duration;

use fairpoll_core::first_fetch::{PROBE, SETTLE, SETTLE_RECORDS, UNTOLD};
use fairpoll_core::{Answer, FirstFetch, LaneIndex, PartitionIndex, Timestamp, Wakeup, WatermarkBefore};
use proptest::prelude::*;

use super::{Verdict, catches, holds};

#[derive(Debug, Clone)]
enum Operation {
    Assign { partition: u32, valid_before: bool, bound_ms: u64 },
    Deliver(u32),
    Fail(u32),
    Answer { partition: u32, answer: Answer },
    Revoke(u32),
    Pass { millis: u64 },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let partition = || 0_u32..5;
    let operation = prop_oneof![
        3 => (partition(), any::<bool>(), prop_oneof![1 => Just(0_u64), 4 => 1_u64..60, 2 => 200_u64..400])
            .prop_map(|(partition, valid_before, bound_ms)| Operation::Assign { partition, valid_before, bound_ms }),
        2 => partition().prop_map(Operation::Deliver),
        1 => partition().prop_map(Operation::Fail),
        3 => (partition(), prop::sample::select(vec![Answer::Empty, Answer::Records]))
            .prop_map(|(partition, answer)| Operation::Answer { partition, answer }),
        1 => partition().prop_map(Operation::Revoke),
        4 => prop_oneof![3 => 1_u64..12, 1 => 40_u64..200].prop_map(|millis| Operation::Pass { millis }),
    ];
    prop::collection::vec(operation, 1..60)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    /// A watermark of an earlier assignment counts as an answer.
    TrustsOldWatermarks,
    /// An answer is not given the time to be queued.
    DoesNotSettle,
    /// Records on the broker are not given the time to be parsed.
    TakesRecordsForEmpty,
    /// The bound is not passed on.
    Unbounded,
}

/// The definition, per partition: until when it is unknown if nothing else happens.
#[derive(Debug, Clone, Copy)]
struct Unknown {
    bound: Timestamp,
    valid_before: bool,
    answered: Option<(Timestamp, Answer)>,
}

impl Unknown {
    fn is_unknown(&self, now: Timestamp) -> bool {
        let settled = self.answered.is_some_and(|(at, answer)| match answer {
            Answer::Empty => now >= at + SETTLE,
            Answer::Records => now >= at + SETTLE_RECORDS,
        });
        now < self.bound && !settled
    }
}

fn waits_as_defined(operations: &[Operation], defect: Option<Defect>) -> Verdict {
    let mut machine = FirstFetch::new();
    let mut model: BTreeMap<u32, Unknown> = BTreeMap::new();
    let mut now = Timestamp::ZERO;
    for operation in operations {
        match *operation {
            Operation::Assign { partition, valid_before, bound_ms } => {
                let trusted = defect == Some(Defect::TrustsOldWatermarks);
                let watermark = match valid_before && !trusted {
                    true => WatermarkBefore::Valid,
                    false => WatermarkBefore::Invalid,
                };
                let bound = match defect {
                    Some(Defect::Unbounded) => Duration::from_secs(3_600),
                    _ => Duration::from_millis(bound_ms),
                };
                machine.revoked(PartitionIndex(partition));
                machine.assigned(now, LaneIndex(0), bound, [(PartitionIndex(partition), watermark)]);
                let bound = Duration::from_millis(bound_ms);
                let bound = now + if valid_before { bound.min(UNTOLD) } else { bound };
                model.insert(partition, Unknown { bound, valid_before, answered: None });
            }
            Operation::Deliver(partition) => {
                machine.delivered(PartitionIndex(partition));
                model.remove(&partition);
            }
            Operation::Fail(partition) => {
                machine.errored(PartitionIndex(partition));
                model.remove(&partition);
            }
            Operation::Answer { partition, answer } => {
                if defect == Some(Defect::DoesNotSettle) {
                    machine.delivered(PartitionIndex(partition));
                }
                let taken_for = match defect {
                    Some(Defect::TakesRecordsForEmpty) => Answer::Empty,
                    _ => answer,
                };
                machine.fetch_answered(now, PartitionIndex(partition), taken_for);
                if let Some(unknown) = model.get_mut(&partition).filter(|unknown| !unknown.valid_before) {
                    unknown.answered = unknown.answered.or(Some((now, answer)));
                }
            }
            Operation::Revoke(partition) => {
                machine.revoked(PartitionIndex(partition));
                model.remove(&partition);
            }
            Operation::Pass { millis } => now = now + Duration::from_millis(millis),
        }
        let unknown: Vec<_> = model.values().filter(|unknown| unknown.is_unknown(now)).collect();
        let last_bound = unknown.iter().map(|unknown| unknown.bound).max();
        match (machine.waiting(now), last_bound) {
            (None, None) => {}
            (None, Some(_)) => return Err(format!("{unknown:?} is not waited for at {now}")),
            (Some(wakeup), None) => return Err(format!("{wakeup:?} at {now} though nobody is unknown")),
            (Some(Wakeup { at, .. }), Some(last_bound)) => {
                let probe = unknown.iter().any(|unknown| !unknown.valid_before && unknown.answered.is_none());
                if at <= now || at > last_bound || probe && at > now + PROBE {
                    return Err(format!("woken at {at}, now {now}, bound {last_bound}"));
                }
            }
        }
    }
    Ok(())
}

/// forall sequences of assignments and answers: it waits exactly while a partition is unknown by the
/// definition, never past the last bound, and asks for a wake-up in the future.
#[test]
fn a_first_poll_waits_for_the_unknown_and_never_past_the_bound() {
    holds(&operations(), |operations| waits_as_defined(operations, None));
}

#[test]
fn a_first_poll_waits_for_the_unknown_and_never_past_the_bound_catches_each_defect() {
    for defect in
        [Defect::TrustsOldWatermarks, Defect::DoesNotSettle, Defect::TakesRecordsForEmpty, Defect::Unbounded]
    {
        catches(&format!("{defect:?}"), &operations(), |operations| {
            waits_as_defined(operations, Some(defect))
        });
    }
}
