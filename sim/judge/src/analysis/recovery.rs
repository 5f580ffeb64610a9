//! What followed a fault: when deliveries came again, and what the healthy topics lost meanwhile.

use std::collections::BTreeSet;

use crate::timeline::FaultStretch;

use super::course::{Course, Poll, Take, millis, number};
use super::crew::Fault;
use super::service::Served;

/// What became of partitions in which records waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// From each of them a record was delivered that had not been before; how long that took, ns.
    After(u64),
    /// Not from each of them.
    Never,
}

/// How long it took from `from_ns` until every one of these partitions with records waiting at that
/// moment was delivered from; what comes again counts for nothing. 0 where none waited.
fn again(course: &Course<'_>, lanes: &BTreeSet<usize>, from_ns: u64) -> Again {
    let supply = |lane: &usize| &course.lanes[*lane].supply;
    let mut positions: Vec<i64> = course.lanes.iter().map(|lane| lane.supply.position()).collect();
    let until = course.polls.partition_point(|poll| poll.return_ns <= from_ns);
    for take in course.polls[..until].iter().flat_map(|poll| &poll.takes) {
        positions[take.partition] = positions[take.partition].max(take.end);
    }
    let mut waiting: BTreeSet<usize> = lanes
        .iter()
        .copied()
        .filter(|lane| course.is_deliverable(course.lanes[*lane].topic))
        .filter(|lane| supply(lane).available_above(positions[*lane], from_ns) > 0)
        .collect();
    if waiting.is_empty() {
        return Again::After(0);
    }
    for poll in &course.polls[until..] {
        for take in poll.takes.iter().filter(|take| take.fresh() > 0) {
            waiting.remove(&take.partition);
        }
        if waiting.is_empty() {
            return Again::After(poll.return_ns - from_ns);
        }
    }
    Again::Never
}

/// From the moment when the last fault was over until every partition with records waiting then was
/// delivered from, ms. `None` without faults, where one lasted to the end of the run, and where a
/// partition was never delivered from again.
pub(super) fn recovery_ms(course: &Course<'_>) -> Option<f64> {
    let over: Option<Vec<u64>> = course.crew.faults.iter().map(Fault::over_ns).collect();
    let last_ns = over?.into_iter().max()?;
    match again(course, &(0..course.lanes.len()).collect(), last_ns) {
        Again::After(ns) => Some(millis(ns)),
        Again::Never => None,
    }
}

/// The faults with what followed each.
pub(super) fn faults(course: &Course<'_>) -> Vec<FaultStretch> {
    let faults = &course.crew.faults;
    let stretch = |(index, fault): (usize, &Fault<'_>)| {
        let to_ns = faults[index + 1..].iter().map(|next| next.from_ns).next().unwrap_or(u64::MAX);
        let within = |poll: &&Poll| fault.from_ns <= poll.return_ns && poll.return_ns < to_ns;
        let takes = course.polls.iter().filter(within).flat_map(|poll| &poll.takes);
        let repeated = takes.map(|take| take.count.saturating_sub(take.fresh())).sum();
        let followed = fault.over_ns().map(|over_ns| again(course, &concerned(course, fault), over_ns));
        FaultStretch {
            kind: fault.kind.to_owned(),
            what: course.crew.concerned(fault),
            from_ms: course.at_ms(fault.from_ns),
            to_ms: fault.shown_to_ns().map(|t_ns| course.at_ms(t_ns)),
            delivered_again_ms: followed.and_then(|followed| match followed {
                Again::After(ns) => Some(millis(ns)),
                Again::Never => None,
            }),
            repeated,
        }
    };
    faults.iter().enumerate().map(stretch).collect()
}

/// The partitions of its topic, or those that its process had before; else all.
fn concerned(course: &Course<'_>, fault: &Fault<'_>) -> BTreeSet<usize> {
    let all = 0..course.lanes.len();
    if let Some(name) = fault.topic {
        return all.filter(|lane| course.topics[course.lanes[*lane].topic].name == name).collect();
    }
    // The process that a killed one's instance lost is gone by the time the fault is written down.
    let before_ns = fault.life.map(|life| {
        let gone = course.crew.lives.get(&life).and_then(|life| life.ended).map(|(t_ns, _)| t_ns);
        gone.unwrap_or(u64::MAX).min(fault.from_ns)
    });
    match fault.life.zip(before_ns) {
        Some((life, before_ns)) if fault.kind != "instance_joins" => {
            course.owners.held_before(life, before_ns)
        }
        _ => all.collect(),
    }
}

/// Shorter stretches hold too few polls for a rate.
const STRETCH_NS_MIN: u64 = 200_000_000;

/// By how much the healthy topics' delivery rate was lower while fetches of another topic failed
/// than before and after, %; negative where it was higher.
///
/// Rates are only comparable where the same limits them: while the healthy topics' backlog is being
/// drained it is the consumer, afterwards the producer. The fault is compared with the rest of
/// that part of the run in which most of it lies. `None` without such a fault, and where either
/// side is shorter than 200 ms or nothing was delivered beside the fault.
pub(super) fn isolation_loss_pct(course: &Course<'_>, served: &[Served]) -> Option<f64> {
    let faults: Vec<&Fault<'_>> = course.crew.faults.iter().filter(|fault| fault.fails_fetches()).collect();
    let sick =
        |topic: usize| faults.iter().any(|fault| fault.topic == Some(course.topics[topic].name.as_str()));
    let healthy: Vec<bool> =
        (0..course.topics.len()).map(|topic| course.is_deliverable(topic) && !sick(topic)).collect();
    let first_ns = course.first_batch_ns()?;
    let drained_ns = served
        .iter()
        .zip(&healthy)
        .filter(|(served, healthy)| **healthy && served.had_backlog)
        .map(|(served, _)| served.drained_ns.unwrap_or(course.end_ns))
        .max()
        .unwrap_or(first_ns);
    let disturbed = |fault: &&Fault<'_>| (fault.from_ns, fault.to_ns.unwrap_or(course.end_ns));
    let during = union(faults.iter().map(disturbed).collect());
    let parts = [(first_ns, drained_ns), (drained_ns, course.end_ns)];
    let inside = |part: (u64, u64)| length(&clipped(&during, part));
    let part = if inside(parts[0]) >= inside(parts[1]) { parts[0] } else { parts[1] };
    let during = clipped(&during, part);
    // Another fault is no better time to compare with.
    let any = union(course.crew.faults.iter().map(|fault| disturbed(&fault)).collect());
    let beside = without(part, &any);
    let rate = |stretches: &[(u64, u64)]| {
        let in_it =
            |poll: &&Poll| stretches.iter().any(|(from, to)| *from < poll.return_ns && poll.return_ns <= *to);
        let takes = course.polls.iter().filter(in_it).flat_map(|poll| &poll.takes);
        let fresh: u64 = takes.filter(|take| healthy[take.topic]).map(Take::fresh).sum();
        (length(stretches) >= STRETCH_NS_MIN).then(|| number(fresh) / millis(length(stretches)))
    };
    let (with, without) = (rate(&during)?, rate(&beside).filter(|rate| *rate > 0.0)?);
    Some(100.0 * (1.0 - with / without))
}

fn length(stretches: &[(u64, u64)]) -> u64 {
    stretches.iter().map(|(from, to)| to - from).sum()
}

fn union(mut stretches: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    stretches.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in stretches {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

fn clipped(stretches: &[(u64, u64)], (start, end): (u64, u64)) -> Vec<(u64, u64)> {
    let parts = stretches.iter().map(|(from, to)| (*from.max(&start), *to.min(&end)));
    parts.filter(|(from, to)| from < to).collect()
}

/// `whole` less the stretches, which are in order and apart.
fn without(whole: (u64, u64), stretches: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut rest = Vec::new();
    let mut from = whole.0;
    for (start, end) in clipped(stretches, whole) {
        rest.push((from, start));
        from = end;
    }
    rest.push((from, whole.1));
    rest.retain(|(from, to)| from < to);
    rest
}
