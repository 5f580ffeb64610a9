//! Criterion benches of Fairpoll; see `benches/`. The library holds what several of them share.

use std::num::NonZeroU32;

use fairpoll_core::{Cost, LaneConfig, LaneIndex, Policy, PollMachine, Timestamp};

/// A poll machine whose lanes never run empty, so that a bench measures decisions and nothing else.
///
/// # Panics
/// If `quota` is 0.
#[must_use]
pub fn backlogged_machine(lanes: u32, quota: u32, policy: Policy) -> PollMachine {
    let quota = NonZeroU32::new(quota).expect("a quota of at least one record");
    let configs = (0..lanes).map(|_| LaneConfig::with_quota(quota));
    let mut machine = PollMachine::new(configs, policy);
    for lane in 0..lanes {
        machine.lane_ready(LaneIndex(lane));
    }
    machine
}

/// One poll in which every grant is taken in full; returns the number of grants.
pub fn full_poll(machine: &mut PollMachine, budget: Option<u32>) -> u32 {
    machine.begin(Timestamp::ZERO, budget);
    while let Some(grant) = machine.next_grant() {
        let records = grant.records;
        machine.settle(grant, records, Cost { bytes: u64::from(records) * 100 });
    }
    machine.end(Timestamp::ZERO).grants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_poll_makes_one_grant_per_lane() {
        let mut machine = backlogged_machine(10, 500, Policy::DeficitRoundRobin);
        assert_eq!(full_poll(&mut machine, None), 10);
        assert_eq!(full_poll(&mut machine, Some(1_500)), 3);
    }
}
