//! Claims about turns, shares and waits.

use std::cell::Cell;

use fairpoll_core::{LaneConfig, Policy};
use proptest::prelude::*;

use super::reference::{Defect, Naive};
use super::workload::{Happening, PollStep, Poller, Real, Workload, lanes, play, workloads};
use super::{Verdict, catches, holds};

type Claim = fn(&[LaneConfig], &[Happening]) -> Verdict;

fn real_satisfies(claim: Claim) {
    holds(&workloads(), |workload| {
        claim(&workload.lanes, &play(&mut Real::round_robin(&workload.lanes), workload))
    });
}

fn catches_defect(claim: Claim, defect: Defect) {
    catches(&format!("{defect:?}"), &workloads(), |workload| {
        claim(&workload.lanes, &play(&mut Naive::new(&workload.lanes, Some(defect)), workload))
    });
}

/// q = w · Q, as the design has it and not as the machine calculates it.
pub(super) fn quantum(config: &LaneConfig) -> u32 {
    config.weight.get() * config.quota.get()
}

/// What the queues hold while the happenings pass by, and who takes part.
pub(super) struct Queues {
    pub(super) queued: Vec<u64>,
    paused: Vec<bool>,
}

impl Queues {
    pub(super) fn new(lanes: usize) -> Self {
        Self { queued: vec![0; lanes], paused: vec![false; lanes] }
    }

    pub(super) fn follow(&mut self, happening: &Happening) {
        match *happening {
            Happening::Arrive { lane, records } => self.queued[lane] += u64::from(records),
            Happening::Pause { lane } => self.paused[lane] = true,
            Happening::Resume { lane } => self.paused[lane] = false,
            Happening::Take { lane, taken, .. } => self.queued[lane] -= u64::from(taken),
            Happening::Begin { .. } | Happening::End => {}
        }
    }

    pub(super) fn is_backlogged(&self, lane: usize) -> bool {
        self.queued[lane] > 0 && !self.paused[lane]
    }
}

pub(super) fn conserves_records(lanes: &[LaneConfig], happened: &[Happening]) -> Verdict {
    let mut queues = Queues::new(lanes.len());
    for happening in happened {
        if let Happening::Take { lane, granted, taken } = *happening
            && (taken > granted || u64::from(taken) > queues.queued[lane])
        {
            return Err(format!("lane {lane}: {taken} of {granted} taken, {} queued", queues.queued[lane]));
        }
        queues.follow(happening);
    }
    match queues.queued.iter().position(|left| *left > 0) {
        Some(lane) => Err(format!("lane {lane} keeps {} records for ever", queues.queued[lane])),
        None => Ok(()),
    }
}

/// forall workload W: every record of W is taken exactly once.
///
/// Also if it arrives between a short take and its settlement, where a signal is easily lost.
#[test]
fn every_record_is_taken_once() {
    real_satisfies(conserves_records);
}

#[test]
fn every_record_is_taken_once_catches_a_forgotten_signal() {
    catches_defect(conserves_records, Defect::ForgetsLateSignal);
}

pub(super) fn respects_quota_and_budget(lanes: &[LaneConfig], happened: &[Happening]) -> Verdict {
    let mut had = vec![0; lanes.len()];
    let mut ran_empty = vec![false; lanes.len()];
    let mut budget_left = None;
    for happening in happened {
        match *happening {
            Happening::Begin { budget } => {
                had.fill(0);
                ran_empty.fill(false);
                budget_left = budget;
            }
            Happening::Take { lane, granted, taken } => {
                if granted == 0 || had[lane] + granted > quantum(&lanes[lane]) {
                    return Err(format!(
                        "lane {lane} was granted {granted} after {} of {}",
                        had[lane],
                        quantum(&lanes[lane])
                    ));
                }
                if ran_empty[lane] {
                    return Err(format!("lane {lane} ran empty in this poll and was asked again"));
                }
                ran_empty[lane] = taken < granted;
                had[lane] += taken;
                if let Some(left) = &mut budget_left {
                    *left = left
                        .checked_sub(taken)
                        .ok_or_else(|| format!("lane {lane} took {taken}, the budget had {left}"))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// forall polls, lanes i: granted(i) ≤ qᵢ, Σ taken ≤ budget, and nothing is granted to i after it
/// ran empty: the poll ends even if records come as fast as they are taken.
#[test]
fn a_poll_stays_within_quotas_and_budget() {
    real_satisfies(respects_quota_and_budget);
}

#[test]
fn a_poll_stays_within_quotas_and_budget_catches_missing_limits() {
    catches_defect(respects_quota_and_budget, Defect::NoQuota);
    catches_defect(respects_quota_and_budget, Defect::NoBudget);
    catches_defect(respects_quota_and_budget, Defect::AsksEmptiedLaneAgain);
}

pub(super) fn is_work_conserving(lanes: &[LaneConfig], happened: &[Happening]) -> Verdict {
    let mut queues = Queues::new(lanes.len());
    let mut had = vec![0; lanes.len()];
    let mut ran_empty = vec![false; lanes.len()];
    let mut entitled = vec![false; lanes.len()];
    let mut budget_left = None;
    for happening in happened {
        queues.follow(happening);
        match *happening {
            Happening::Begin { budget } => {
                had.fill(0);
                ran_empty.fill(false);
                budget_left = budget;
                entitled = (0..lanes.len()).map(|lane| queues.is_backlogged(lane)).collect();
            }
            Happening::Take { lane, granted, taken } => {
                had[lane] += taken;
                ran_empty[lane] |= taken < granted || queues.queued[lane] == 0;
                budget_left = budget_left.map(|left: u32| left.saturating_sub(taken));
            }
            Happening::End if budget_left != Some(0) => {
                let idle = (0..lanes.len())
                    .find(|lane| entitled[*lane] && !ran_empty[*lane] && had[*lane] < quantum(&lanes[*lane]));
                if let Some(lane) = idle {
                    return Err(format!(
                        "lane {lane} had records and {budget_left:?} of the budget was left"
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// forall polls: if budget is left, every lane that had records when the poll began had its quantum
/// or ran empty in it.
#[test]
fn a_poll_is_work_conserving() {
    real_satisfies(is_work_conserving);
}

#[test]
fn a_poll_is_work_conserving_catches_wasted_budget() {
    catches_defect(is_work_conserving, Defect::WastesUntaken);
}

fn shares_by_quantum(lanes: &[LaneConfig], happened: &[Happening]) -> Verdict {
    let mut queues = Queues::new(lanes.len());
    let count = lanes.len();
    let quantum = |lane: usize| i64::from(quantum(&lanes[lane]));
    // Per pair: the least and the greatest Sᵢ·qⱼ − Sⱼ·qᵢ since both are backlogged, and the last.
    let mut spread = vec![[0_i64; 3]; count * count];
    for happening in happened {
        let took = match *happening {
            Happening::Take { lane, taken, .. } => Some((lane, i64::from(taken))),
            _ => None,
        };
        for one in 0..count {
            for other in 0..one {
                let [least, greatest, now] = &mut spread[one * count + other];
                match took {
                    Some((lane, taken)) if lane == one => *now += taken * quantum(other),
                    Some((lane, taken)) if lane == other => *now -= taken * quantum(one),
                    _ => {}
                }
                *least = (*least).min(*now);
                *greatest = (*greatest).max(*now);
                if *greatest - *least > quantum(one) * quantum(other) {
                    return Err(format!("lanes {one} and {other} are more than one quantum apart"));
                }
            }
        }
        queues.follow(happening);
        for one in 0..count {
            for other in 0..one {
                if !queues.is_backlogged(one) || !queues.is_backlogged(other) {
                    spread[one * count + other] = [0; 3];
                }
            }
        }
    }
    Ok(())
}

/// forall intervals over which lanes i and j are backlogged: |Sᵢ/qᵢ − Sⱼ/qⱼ| ≤ 1, with q = w·Q.
///
/// Every interval, not only those that begin with the ring.
// shows: E13
#[test]
fn backlogged_lanes_share_by_their_quanta() {
    real_satisfies(shares_by_quantum);
}

#[test]
fn backlogged_lanes_share_by_their_quanta_catches_unfair_orders() {
    catches_defect(shares_by_quantum, Defect::IgnoresWeights);
    catches_defect(shares_by_quantum, Defect::NewLaneInterruptsVisit);
    catches_defect(shares_by_quantum, Defect::ForgetsInterruptedVisit);
}

#[test]
fn backlogged_lanes_share_by_their_quanta_catches_first_come_first_served() {
    catches("FirstComeFirstServed", &workloads(), |workload| {
        let mut sabotaged = Real::new(&workload.lanes, Policy::FirstComeFirstServed);
        shares_by_quantum(&workload.lanes, &play(&mut sabotaged, workload))
    });
}

fn waits_at_most_one_ring(lanes: &[LaneConfig], happened: &[Happening]) -> Verdict {
    let mut queues = Queues::new(lanes.len());
    let ring: u64 = lanes.iter().map(|config| u64::from(quantum(config))).sum();
    let mut others = vec![0_u64; lanes.len()];
    for happening in happened {
        queues.follow(happening);
        for waiting in 0..lanes.len() {
            match *happening {
                Happening::Take { lane, taken, .. } if lane != waiting => others[waiting] += u64::from(taken),
                Happening::Take { .. } => others[waiting] = 0,
                _ => {}
            }
            if !queues.is_backlogged(waiting) {
                others[waiting] = 0;
            }
            let bound = ring - u64::from(quantum(&lanes[waiting]));
            if others[waiting] > bound {
                return Err(format!(
                    "lane {waiting} has records and waited for {} of others, a ring has {bound}",
                    others[waiting]
                ));
            }
        }
    }
    Ok(())
}

/// forall lanes i, instants at which i has records: others were served at most ΣQ − qᵢ records
/// since i was served or became non-empty: one full ring, however the polls cut it up.
#[test]
fn no_lane_with_records_waits_longer_than_one_ring() {
    real_satisfies(waits_at_most_one_ring);
}

#[test]
fn no_lane_with_records_waits_longer_than_one_ring_catches_starvation() {
    catches_defect(waits_at_most_one_ring, Defect::EmptiedLaneIsNewAgain);
    catches_defect(waits_at_most_one_ring, Defect::RestartsRing);
    catches_defect(waits_at_most_one_ring, Defect::NoQuota);
}

/// Every lane but the first has more than enough; lone records come to the first, now and then.
fn lone_records() -> impl Strategy<Value = Workload> {
    let step = (any::<bool>(), 1_u32..40).prop_map(|(arrives, budget)| PollStep {
        arrivals: if arrives { vec![(0, 1)] } else { vec![] },
        pauses: vec![],
        budget: Some(budget),
        during: vec![],
    });
    (lanes(), prop::collection::vec(step, 1..60)).prop_map(|(lanes, mut polls)| {
        polls[0].arrivals.extend((1..lanes.len()).map(|lane| (lane, 5_000)));
        Workload { lanes, polls }
    })
}

fn serves_lone_records_in_time(lanes: &[LaneConfig], happened: &[Happening]) -> Verdict {
    let bound: u32 = lanes.iter().skip(1).map(quantum).sum();
    let mut waited: Option<u32> = None;
    for happening in happened {
        match *happening {
            Happening::Arrive { lane: 0, .. } => waited = waited.or(Some(0)),
            Happening::Take { lane: 0, taken: 1.., .. } => waited = None,
            Happening::Take { taken, .. } => waited = waited.map(|waited| waited + taken),
            _ => {}
        }
        if waited.is_some_and(|waited| waited > bound) {
            return Err(format!("the lone record waited for {waited:?} records, the bound is {bound}"));
        }
    }
    Ok(())
}

/// forall arrivals of a lone record at a quiet lane i: at most ΣQ − qᵢ records are served before it;
/// at a service rate μ that takes (ΣQ − qᵢ)/μ. Records come between polls here; the batch in
/// progress, for those that come during one, is in the more general claim about one ring.
#[test]
fn a_lone_record_of_a_quiet_lane_waits_at_most_one_ring() {
    holds(&lone_records(), |workload| {
        serves_lone_records_in_time(&workload.lanes, &play(&mut Real::round_robin(&workload.lanes), workload))
    });
}

#[test]
fn a_lone_record_of_a_quiet_lane_waits_at_most_one_ring_catches_starvation() {
    catches("NoQuota", &lone_records(), |workload| {
        let mut broken = Naive::new(&workload.lanes, Some(Defect::NoQuota));
        serves_lone_records_in_time(&workload.lanes, &play(&mut broken, workload))
    });
    catches("FirstComeFirstServed", &lone_records(), |workload| {
        let mut sabotaged = Real::new(&workload.lanes, Policy::FirstComeFirstServed);
        serves_lone_records_in_time(&workload.lanes, &play(&mut sabotaged, workload))
    });
}

/// Serves K rounds to lanes that never run empty, in polls of the given caps, and compares.
fn serves_rounds(lanes: &[LaneConfig], budgets: &[u32], rounds: u32, poller: &mut impl Poller) -> Verdict {
    let mut left: u32 = lanes.iter().map(quantum).sum::<u32>() * rounds;
    let mut served = vec![0_u32; lanes.len()];
    for lane in 0..lanes.len() {
        poller.ready(lane);
    }
    for budget in budgets.iter().cycle() {
        if left == 0 {
            break;
        }
        poller.begin(Some(left.min(*budget)));
        while let Some((lane, granted)) = poller.next() {
            served[lane] += granted;
            left = left.saturating_sub(granted);
            poller.settle(granted);
        }
        poller.end();
    }
    for (lane, config) in lanes.iter().enumerate() {
        let expected = rounds * quantum(config);
        if served[lane].abs_diff(expected) > 1 {
            return Err(format!(
                "lane {lane} got {} in {rounds} rounds, {expected} are its due",
                served[lane]
            ));
        }
    }
    Ok(())
}

fn rounds() -> impl Strategy<Value = (Vec<LaneConfig>, Vec<u32>, u32)> {
    (lanes(), prop::collection::vec(1_u32..60, 1..8), 1_u32..6)
}

/// forall K, caps: after K rounds every backlogged lane i was served K·qᵢ ± Max, and with records of
/// unit cost Max is 1.
#[test]
fn k_rounds_serve_k_quanta() {
    holds(&rounds(), |(lanes, budgets, rounds)| {
        serves_rounds(lanes, budgets, *rounds, &mut Real::round_robin(lanes))
    });
}

#[test]
fn k_rounds_serve_k_quanta_catches_forfeited_and_unweighted_visits() {
    for defect in [Defect::ForgetsInterruptedVisit, Defect::IgnoresWeights, Defect::RestartsRing] {
        catches(&format!("{defect:?}"), &rounds(), |(lanes, budgets, rounds)| {
            serves_rounds(lanes, budgets, *rounds, &mut Naive::new(lanes, Some(defect)))
        });
    }
}

fn agrees_with_the_reference(workload: &Workload, poller: &mut impl Poller) -> Verdict {
    let expected = play(&mut Naive::new(&workload.lanes, None), workload);
    let actual = play(poller, workload);
    let differs = expected.iter().zip(&actual).position(|(expected, actual)| expected != actual);
    match differs {
        Some(at) => Err(format!("step {at}: {:?} instead of {:?}", actual[at], expected[at])),
        None if expected.len() != actual.len() => Err("one goes on where the other ends".to_owned()),
        None => Ok(()),
    }
}

/// forall workloads: the machine makes the decisions of the naive reference, grant by grant.
#[test]
fn the_machine_agrees_with_a_naive_reference() {
    holds(&workloads(), |workload| {
        agrees_with_the_reference(workload, &mut Real::round_robin(&workload.lanes))
    });
}

#[test]
fn the_machine_agrees_with_a_naive_reference_catches_every_defect() {
    for defect in [
        Defect::IgnoresWeights,
        Defect::NewLaneInterruptsVisit,
        Defect::EmptiedLaneIsNewAgain,
        Defect::RestartsRing,
        Defect::ForgetsInterruptedVisit,
        Defect::ForgetsLateSignal,
        Defect::WastesUntaken,
        Defect::NoQuota,
        Defect::NoBudget,
        Defect::AsksEmptiedLaneAgain,
    ] {
        catches(&format!("{defect:?}"), &workloads(), |workload| {
            agrees_with_the_reference(workload, &mut Naive::new(&workload.lanes, Some(defect)))
        });
    }
}

fn is_deterministic<P: Poller>(workload: &Workload, make: impl Fn() -> P) -> Verdict {
    if play(&mut make(), workload) == play(&mut make(), workload) {
        Ok(())
    } else {
        Err("the same inputs gave two traces".to_owned())
    }
}

/// forall workloads: two machines that are given the same calls give the same answers.
#[test]
fn the_same_inputs_give_the_same_trace() {
    holds(&workloads(), |workload| is_deterministic(workload, || Real::round_robin(&workload.lanes)));
}

#[test]
fn the_same_inputs_give_the_same_trace_catches_state_outside_the_machine() {
    catches("every other machine ignores weights", &workloads(), |workload| {
        let made = Cell::new(0_u32);
        is_deterministic(workload, || {
            made.set(made.get() + 1);
            let defect = made.get().is_multiple_of(2).then_some(Defect::IgnoresWeights);
            Naive::new(&workload.lanes, defect)
        })
    });
}
