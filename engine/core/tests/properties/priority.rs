//! Claims about priorities and the guard against starvation.

use std::num::NonZeroU32;

use fairpoll_core::{LaneConfig, Policy};
use proptest::prelude::*;

use super::fairness::{Queues, conserves_records, is_work_conserving, quantum, respects_quota_and_budget};
use super::workload::{Happening, Real, Workload, play, workloads};
use super::{Verdict, catches, holds};

/// A workload whose lanes have priorities, and after how many polls the guard acts.
#[derive(Debug, Clone)]
struct Prioritized {
    workload: Workload,
    guard_polls: u32,
}

fn prioritized() -> impl Strategy<Value = Prioritized> {
    let priorities = prop::collection::vec(0_u8..3, 7);
    (workloads(), priorities, 1_u32..8).prop_map(|(mut workload, priorities, guard_polls)| {
        for (lane, priority) in workload.lanes.iter_mut().zip(priorities) {
            lane.priority = priority;
        }
        Prioritized { workload, guard_polls }
    })
}

fn guarded(guard_polls: u32) -> Policy {
    Policy::PriorityWithGuard { guard_polls: NonZeroU32::new(guard_polls).expect("not 0") }
}

type Claim = fn(&Prioritized, &[Happening]) -> Verdict;

fn real_satisfies(claim: Claim) {
    holds(&prioritized(), |case| {
        let mut real = Real::new(&case.workload.lanes, guarded(case.guard_polls));
        claim(case, &play(&mut real, &case.workload))
    });
}

/// The same lanes under another policy, or another guard.
fn catches_policy(defect: &str, claim: Claim, policy: impl Fn(&Prioritized) -> Policy) {
    catches(defect, &prioritized(), |case| {
        let mut broken = Real::new(&case.workload.lanes, policy(case));
        claim(case, &play(&mut broken, &case.workload))
    });
}

/// forall workloads of equal priorities: every grant is that of the plain ring.
#[test]
fn equal_priorities_are_deficit_round_robin_grant_by_grant() {
    holds(&(workloads(), any::<u8>(), 1_u32..8), |(workload, priority, guard_polls)| {
        let mut lanes = workload.lanes.clone();
        lanes.iter_mut().for_each(|lane| lane.priority = *priority);
        same_trace(workload, &lanes, *guard_polls)
    });
}

fn same_trace(workload: &Workload, lanes: &[LaneConfig], guard_polls: u32) -> Verdict {
    let plain = play(&mut Real::round_robin(&workload.lanes), workload);
    let prioritized = play(&mut Real::new(lanes, guarded(guard_polls)), workload);
    match plain.iter().zip(&prioritized).find(|(plain, prioritized)| plain != prioritized) {
        Some((plain, prioritized)) => Err(format!("{prioritized:?} instead of {plain:?}")),
        None if plain.len() != prioritized.len() => Err("one goes on where the other ends".to_owned()),
        None => Ok(()),
    }
}

#[test]
fn equal_priorities_are_deficit_round_robin_catches_unequal_ones() {
    catches("unequal priorities", &prioritized(), |case| {
        same_trace(&case.workload, &case.workload.lanes, case.guard_polls)
    });
}

/// forall workloads: records, quotas, budgets and work are what they are without priorities: every
/// record is taken once, a lane has its quantum at most, and no budget is left while somebody who had
/// records has not had its due.
#[test]
fn priorities_change_the_order_and_no_amount() {
    real_satisfies(|case, happened| {
        let lanes = &case.workload.lanes;
        conserves_records(lanes, happened)?;
        respects_quota_and_budget(lanes, happened)?;
        is_work_conserving(lanes, happened)
    });
}

/// A lane that had records when the poll began, and neither had its quantum nor ran empty.
fn upper_classes_go_first(case: &Prioritized, happened: &[Happening]) -> Verdict {
    let lanes = &case.workload.lanes;
    let mut queues = Queues::new(lanes.len());
    let mut had = vec![0; lanes.len()];
    let mut due = vec![false; lanes.len()];
    let (mut grants, mut guard_acted, mut guard_acted_before) = (0, false, false);
    for happening in happened {
        match *happening {
            Happening::Begin { .. } => {
                had.fill(0);
                due = (0..lanes.len()).map(|lane| queues.is_backlogged(lane)).collect();
                (grants, guard_acted_before, guard_acted) = (0, guard_acted, false);
            }
            Happening::Take { lane, granted, taken } => {
                let waits = |upper: &usize| {
                    lanes[*upper].priority > lanes[lane].priority
                        && due[*upper]
                        && had[*upper] < quantum(&lanes[*upper])
                };
                if let Some(upper) = (0..lanes.len()).find(waits) {
                    // The guard's one grant of the poll, and none in the poll before.
                    if grants > 0 || guard_acted_before {
                        return Err(format!("lane {lane} was served before lane {upper} had its due"));
                    }
                    guard_acted = true;
                }
                had[lane] += taken;
                due[lane] &= taken == granted && queues.queued[lane] > u64::from(taken);
                grants += 1;
            }
            _ => {}
        }
        queues.follow(happening);
    }
    Ok(())
}

/// forall polls: but for one grant, the first, in every other poll at most, nobody is served before every
/// lane of a higher priority that had records when the poll began had its quantum or ran empty.
#[test]
fn a_budget_goes_to_the_higher_priority_first() {
    real_satisfies(upper_classes_go_first);
}

#[test]
fn a_budget_goes_to_the_higher_priority_first_catches_the_plain_ring() {
    catches_policy("DeficitRoundRobin", upper_classes_go_first, |_| Policy::DeficitRoundRobin);
    catches_policy("FirstComeFirstServed", upper_classes_go_first, |_| Policy::FirstComeFirstServed);
}

fn nobody_starves(case: &Prioritized, happened: &[Happening]) -> Verdict {
    let lanes = &case.workload.lanes;
    let one_class = lanes.iter().all(|lane| lane.priority == lanes[0].priority);
    let bound = u64::from(case.guard_polls) + 2 * u64::try_from(lanes.len()).expect("few");
    let mut queues = Queues::new(lanes.len());
    let mut missed = vec![0_u64; lanes.len()];
    let mut waits = vec![false; lanes.len()];
    let mut granted = false;
    for happening in happened {
        match *happening {
            Happening::Begin { .. } => {
                granted = false;
                waits = (0..lanes.len()).map(|lane| queues.is_backlogged(lane)).collect();
            }
            Happening::Take { lane, taken, .. } => {
                granted = true;
                waits[lane] &= taken == 0;
            }
            Happening::End if granted && !one_class => {
                for lane in 0..lanes.len() {
                    missed[lane] = if waits[lane] { missed[lane] + 1 } else { 0 };
                    if missed[lane] > bound {
                        return Err(format!("lane {lane} got nothing in {} polls", missed[lane]));
                    }
                }
            }
            _ => {}
        }
        queues.follow(happening);
    }
    Ok(())
}

/// forall lanes with records: nobody goes unserved for more than guard + 2 · lanes polls.
#[test]
fn no_lane_with_records_goes_unserved_for_longer_than_the_guard_allows() {
    real_satisfies(nobody_starves);
}

#[test]
fn no_lane_with_records_goes_unserved_for_longer_than_the_guard_allows_catches_a_missing_guard() {
    catches_policy("no guard", nobody_starves, |_| guarded(u32::MAX));
    catches_policy("a lazy guard", nobody_starves, |case| guarded(case.guard_polls + 30));
}
