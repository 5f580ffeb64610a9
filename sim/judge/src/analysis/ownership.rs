//! Who owned which partition when, and for how long nobody did.

use std::collections::BTreeSet;

use super::course::{Change, Course};

/// A partition changes hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) t_ns: u64,
    /// Number of the partition.
    pub(super) lane: usize,
    /// The process that can deliver it from then on.
    pub(super) owner: Option<u32>,
    /// A worker said so; otherwise it follows from who was there.
    pub(super) said: bool,
}

/// Ownership over a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Ownership {
    /// By time; of a partition never the same owner twice in a row.
    pub(super) shifts: Vec<Shift>,
    /// False where processes that report no assignments ran beside others: whose a partition was
    /// cannot be told.
    pub(super) known: bool,
}

enum Step {
    Assigned(usize, bool),
    Revoked(usize),
    Gone,
    Frozen,
    Thawed,
}

/// Follows the lines of the workers, and what was done to them.
///
/// * An assignment makes a process the owner, also where the one before never said that it lost the
///   partition: the group has given it up.
/// * A process that is gone owns nothing. One that stands still owns nothing either: it cannot
///   deliver. When it goes on, it has again what nobody was given meanwhile.
/// * What no worker ever reported as assigned belongs to a process that was alone, from its first
///   poll on (or its start, where it never returned anything).
pub(super) fn ownership(course: &Course<'_>) -> Ownership {
    let mut steps: Vec<(u64, u32, Step)> = Vec::new();
    let mut named = BTreeSet::new();
    let mut reporting = BTreeSet::new();
    for (t_ns, life, change) in &course.changes {
        match change {
            Change::Assigned(lanes) => {
                reporting.insert(*life);
                named.extend(lanes.iter().copied());
                steps.extend(lanes.iter().map(|lane| (*t_ns, *life, Step::Assigned(*lane, true))));
            }
            Change::Revoked(lanes) => {
                steps.extend(lanes.iter().map(|lane| (*t_ns, *life, Step::Revoked(*lane))));
            }
        }
    }
    let unnamed: Vec<usize> = (0..course.lanes.len()).filter(|lane| !named.contains(lane)).collect();
    let mut known = true;
    for (number, life) in &course.crew.lives {
        let first_poll = course.polls.iter().find(|poll| poll.life == *number).map(|poll| poll.begin_ns);
        if course.crew.was_alone(*number) {
            let from_ns = first_poll.unwrap_or(life.from_ns);
            steps.extend(unnamed.iter().map(|lane| (from_ns, *number, Step::Assigned(*lane, false))));
        } else {
            known &= first_poll.is_none() || reporting.contains(number);
        }
        // Whoever ends after the stop has done the work.
        let gone = life.ended.filter(|(t_ns, _)| *t_ns < course.end_ns);
        steps.extend(gone.map(|(t_ns, _)| (t_ns, *number, Step::Gone)));
    }
    for fault in &course.crew.faults {
        if let Some(life) = fault.freezes() {
            steps.push((fault.from_ns, life, Step::Frozen));
            steps.extend(fault.to_ns.map(|t_ns| (t_ns, life, Step::Thawed)));
        }
    }
    steps.sort_by_key(|(t_ns, ..)| *t_ns);
    Ownership { shifts: follow(steps, course.lanes.len()), known }
}

/// What a process has of a partition.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Hold {
    life: u32,
    said: bool,
    frozen: bool,
}

fn follow(steps: Vec<(u64, u32, Step)>, lanes: usize) -> Vec<Shift> {
    let mut holds: Vec<Option<Hold>> = vec![None; lanes];
    let mut frozen = BTreeSet::new();
    let mut shifts = Vec::new();
    for (t_ns, life, step) in steps {
        let before = holds.clone();
        let mine = |hold: &Option<Hold>| hold.is_some_and(|hold| hold.life == life);
        match step {
            Step::Assigned(lane, said) => {
                holds[lane] = Some(Hold { life, said, frozen: frozen.contains(&life) });
            }
            Step::Revoked(lane) => holds[lane] = holds[lane].filter(|hold| hold.life != life),
            Step::Gone => holds.iter_mut().filter(|hold| mine(hold)).for_each(|hold| *hold = None),
            Step::Frozen | Step::Thawed => {
                let stands = matches!(step, Step::Frozen);
                if stands {
                    frozen.insert(life);
                } else {
                    frozen.remove(&life);
                }
                holds.iter_mut().flatten().filter(|hold| hold.life == life).for_each(|h| h.frozen = stands);
            }
        }
        let owner = |hold: Option<Hold>| hold.filter(|hold| !hold.frozen).map(|hold| hold.life);
        for (lane, (before, now)) in before.into_iter().zip(&holds).enumerate() {
            if owner(before) != owner(*now) {
                let said = now.or(before).is_some_and(|hold| hold.said);
                shifts.push(Shift { t_ns, lane, owner: owner(*now), said });
            }
        }
    }
    shifts
}

impl Ownership {
    /// When workers had said for the first time that each of the first `all` partitions is
    /// somebody's, ns.
    pub(super) fn complete_ns(&self, all: usize) -> Option<u64> {
        let mut owned = BTreeSet::new();
        for shift in self.shifts.iter().filter(|shift| shift.said && shift.lane < all) {
            if shift.owner.is_some() {
                owned.insert(shift.lane);
            } else {
                owned.remove(&shift.lane);
            }
            if owned.len() == all {
                return Some(shift.t_ns);
            }
        }
        None
    }

    /// The partitions that were a process's just before `t_ns`.
    pub(super) fn held_before(&self, life: u32, t_ns: u64) -> BTreeSet<usize> {
        let mut held = BTreeSet::new();
        for shift in self.shifts.iter().take_while(|shift| shift.t_ns < t_ns) {
            if shift.owner == Some(life) {
                held.insert(shift.lane);
            } else {
                held.remove(&shift.lane);
            }
        }
        held
    }

    /// Per partition the stretches without an owner after its first one, up to `end_ns`.
    pub(super) fn ownerless(&self, lanes: usize, end_ns: u64) -> Vec<Vec<(u64, u64)>> {
        let mut stretches = vec![Vec::new(); lanes];
        let mut since: Vec<Option<u64>> = vec![None; lanes];
        for shift in &self.shifts {
            match shift.owner {
                None => since[shift.lane] = Some(shift.t_ns),
                Some(_) => {
                    stretches[shift.lane].extend(since[shift.lane].take().map(|from| (from, shift.t_ns)));
                }
            }
        }
        for (lane, since) in since.into_iter().enumerate() {
            stretches[lane].extend(since.map(|from| (from, end_ns.max(from))));
        }
        stretches
    }
}

/// Partition-time without an owner, ns: from the moment when a partition's owner gave it back, died
/// or stood still, to its next owner or to the run's end.
pub(super) fn revoked_ns(course: &Course<'_>) -> u64 {
    let stretches = course.owners.ownerless(course.lanes.len(), course.end_ns);
    stretches.iter().flatten().map(|(from, to)| to - from).sum()
}
