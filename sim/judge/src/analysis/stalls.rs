//! Moments in which the broker or the machine, and no consumer, kept records waiting.
//!
//! A broker that takes longer than `availability_ms` to acknowledge a live record also takes longer
//! than the judge allows to hand one out: a pause of its own, a slow disk, a machine with other
//! work. Where the harness itself could not look at a worker for long, the machine stood still. Such a
//! stall is known by its time, so a second reading of the run can leave it out and tell
//! what the consumer did the rest of the time. What a scenario's own fault did is no stall.

use std::collections::BTreeMap;

use crate::event::{Origin, UNSAMPLED_NS};

use super::course::Course;

/// The broker stood still, as far as its acknowledgements tell, or the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stall {
    /// When the first record was handed over that it made wait, or the last sample taken, ns.
    pub(super) from_ns: u64,
    /// When it acknowledged the last of them, or the next sample was taken, ns.
    pub(super) to_ns: u64,
    /// How long the record, or sample, took that took longest, ns.
    pub(super) longest_ns: u64,
}

/// The stalls of a run, in order and apart from each other.
pub(super) fn stalls(course: &Course<'_>) -> Vec<Stall> {
    let mut sampled: BTreeMap<u32, u64> = BTreeMap::new();
    let unsampled = course.samples.iter().filter_map(|sample| {
        let before_ns = sampled.insert(sample.life, sample.t_ns)?;
        let longest_ns = sample.t_ns.saturating_sub(before_ns);
        (longest_ns > UNSAMPLED_NS).then_some(Stall { from_ns: before_ns, to_ns: sample.t_ns, longest_ns })
    });
    let batches = course.lanes.iter().flat_map(|lane| lane.supply.batches());
    let slow = batches
        .filter(|batch| batch.origin == Origin::Live)
        .map(|batch| Stall {
            from_ns: batch.sent_ns,
            to_ns: batch.ack_ns,
            longest_ns: batch.ack_ns.saturating_sub(batch.sent_ns),
        })
        .filter(|stall| stall.longest_ns > course.availability_ns && !is_asked_for(course, *stall));
    let mut all: Vec<Stall> = unsampled.chain(slow).collect();
    all.sort_unstable_by_key(|stall| stall.from_ns);
    let mut apart: Vec<Stall> = Vec::new();
    for stall in all {
        match apart.last_mut().filter(|last| stall.from_ns <= last.to_ns) {
            Some(last) => {
                last.to_ns = last.to_ns.max(stall.to_ns);
                last.longest_ns = last.longest_ns.max(stall.longest_ns);
            }
            None => apart.push(stall),
        }
    }
    apart
}

/// A fault troubled the broker meanwhile; what happens to a consumer or its application does not.
fn is_asked_for(course: &Course<'_>, stall: Stall) -> bool {
    let mut faults = course.crew.faults.iter().filter(|fault| fault.troubles_broker());
    faults.any(|fault| {
        let over_ns = fault.shown_to_ns().unwrap_or(u64::MAX);
        fault.from_ns <= stall.to_ns && stall.from_ns <= over_ns
    })
}

/// Time that is not counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Excused {
    /// In order, without overlaps.
    stretches: Vec<(u64, u64)>,
}

impl Excused {
    /// The stalls, each until what was acknowledged at its end could be had.
    pub(super) fn of(stalls: &[Stall], availability_ns: u64) -> Self {
        let mut stretches: Vec<(u64, u64)> = Vec::new();
        for stall in stalls {
            let to_ns = stall.to_ns.saturating_add(availability_ns);
            match stretches.last_mut().filter(|(_, end)| stall.from_ns <= *end) {
                Some((_, end)) => *end = to_ns,
                None => stretches.push((stall.from_ns, to_ns)),
            }
        }
        Self { stretches }
    }

    pub(super) fn stretches(&self) -> &[(u64, u64)] {
        &self.stretches
    }

    /// The time from one moment to a later one, without what is excused of it; 0 if it is no later.
    pub(super) fn counted_ns(&self, from_ns: u64, to_ns: u64) -> u64 {
        if from_ns >= to_ns {
            return 0;
        }
        let first = self.stretches.partition_point(|(_, end)| *end <= from_ns);
        let within = self.stretches[first..].iter().take_while(|(from, _)| *from < to_ns);
        let excused: u64 = within.map(|(from, end)| (*end).min(to_ns) - (*from).max(from_ns)).sum();
        to_ns - from_ns - excused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_time_leaves_out_what_lies_within() {
        let stall = |from_ns, to_ns| Stall { from_ns, to_ns, longest_ns: 1 };
        let excused = Excused::of(&[stall(100, 190), stall(195, 240), stall(400, 490)], 10);
        assert_eq!(excused.stretches(), [(100, 250), (400, 500)]);
        assert_eq!(excused.counted_ns(0, 100), 100);
        assert_eq!(excused.counted_ns(0, 150), 100);
        assert_eq!(excused.counted_ns(120, 450), 150);
        assert_eq!(excused.counted_ns(260, 390), 130);
        assert_eq!(excused.counted_ns(410, 420), 0);
        assert_eq!(excused.counted_ns(0, 600), 350);
        assert_eq!(excused.counted_ns(7, 7), 0);
        assert_eq!(excused.counted_ns(230, 120), 0);
    }
}
