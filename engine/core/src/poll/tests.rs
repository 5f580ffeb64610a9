//! The machine's contract, call by call.

use std::num::NonZeroU32;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(7);

fn machine(lanes: usize, quota: u32, policy: Policy) -> PollMachine {
    let config = LaneConfig::with_quota(NonZeroU32::new(quota).unwrap());
    let mut machine = PollMachine::new(vec![config; lanes], policy);
    for lane in 0..lanes {
        machine.lane_ready(LaneIndex::from_position(lane));
    }
    machine
}

fn poll(
    machine: &mut PollMachine,
    budget: Option<u32>,
    queued: &mut [u32],
) -> (PollSummary, Vec<(u32, u32)>) {
    let mut served = Vec::new();
    machine.begin(NOW, budget);
    while let Some(grant) = machine.next_grant() {
        let lane = grant.lane;
        let taken = grant.records.min(queued[lane.position()]);
        queued[lane.position()] -= taken;
        machine.settle(grant, taken, Cost { bytes: u64::from(taken) * 100 });
        served.push((lane.0, taken));
    }
    (machine.end(NOW + Duration::from_millis(1)), served)
}

#[test]
fn a_summary_adds_up_what_was_taken() {
    let mut machine = machine(2, 10, Policy::DeficitRoundRobin);
    let (summary, served) = poll(&mut machine, None, &mut [25, 3]);
    assert_eq!(served, [(0, 10), (1, 3)]);
    assert_eq!(
        summary,
        PollSummary {
            number: 1,
            began: NOW,
            took: Duration::from_millis(1),
            grants: 2,
            records: 13,
            bytes: 1_300,
            lanes_ready: 1,
        }
    );
}

#[test]
fn one_lane_for_all_topics_is_capped_like_a_plain_consumer() {
    let mut machine = machine(1, 500, Policy::DeficitRoundRobin);
    let mut queued = [1_200];
    for expected in [500, 500, 200, 0] {
        assert_eq!(poll(&mut machine, None, &mut queued).0.records, expected);
    }
}

#[test]
fn what_one_lane_leaves_of_the_budget_goes_to_the_others() {
    let mut machine = machine(3, 10, Policy::DeficitRoundRobin);
    let (summary, served) = poll(&mut machine, Some(15), &mut [2, 3, 100]);
    assert_eq!(served, [(0, 2), (1, 3), (2, 10)]);
    assert_eq!(summary.records, 15);
}

#[test]
fn a_budget_of_nothing_grants_nothing() {
    let mut machine = machine(3, 10, Policy::DeficitRoundRobin);
    assert_eq!(poll(&mut machine, Some(0), &mut [9; 3]).1, []);
    assert_eq!(machine.ready_count(), 3);
}

#[test]
fn first_come_first_served_starves_the_second_lane() {
    let mut machine = machine(2, 10, Policy::FirstComeFirstServed);
    let mut queued = [25, 5];
    assert_eq!(poll(&mut machine, None, &mut queued).1, [(0, 10)]);
    assert_eq!(poll(&mut machine, None, &mut queued).1, [(0, 10)]);
    assert_eq!(poll(&mut machine, None, &mut queued).1, [(0, 5), (1, 5)]);
}

#[test]
fn a_lane_added_while_a_poll_runs_takes_part_in_it() {
    let mut machine = machine(1, 10, Policy::DeficitRoundRobin);
    machine.begin(NOW, None);
    let lane = machine.add_lane(LaneConfig::with_quota(NonZeroU32::new(4).unwrap()));
    machine.lane_ready(lane);
    let mut order = Vec::new();
    while let Some(grant) = machine.next_grant() {
        order.push((grant.lane.0, grant.records));
        let records = grant.records;
        machine.settle(grant, records, Cost::default());
    }
    assert_eq!(order, [(0, 10), (1, 4)]);
    machine.end(NOW);
}

#[test]
fn a_paused_lane_keeps_its_records_and_gets_no_grant() {
    let mut machine = machine(2, 10, Policy::DeficitRoundRobin);
    machine.pause(LaneIndex(0));
    machine.pause(LaneIndex(0));
    assert_eq!(poll(&mut machine, None, &mut [9, 9]).1, [(1, 9)]);
    machine.resume(LaneIndex(0));
    assert_eq!(machine.lane_state(LaneIndex(0)), LaneState::Ready);
    assert_eq!(poll(&mut machine, None, &mut [9, 0]).1, [(0, 9)]);
}

#[test]
fn the_next_wakeup_is_now_with_records_and_a_tick_without() {
    let mut machine = machine(1, 10, Policy::DeficitRoundRobin);
    assert_eq!(machine.next_wakeup(NOW), Some(Wakeup { at: NOW, reason: WakeReason::RecordsReady }));
    poll(&mut machine, None, &mut [0]);
    let tick = Wakeup { at: NOW + SAFETY_TICK, reason: WakeReason::SafetyTick };
    assert_eq!(machine.next_wakeup(NOW), Some(tick));
    assert_eq!(PollMachine::new([], Policy::default()).next_wakeup(NOW), None);
}

#[test]
#[should_panic(expected = "before the last was settled")]
fn a_second_grant_before_the_first_is_settled_is_a_defect() {
    let mut machine = machine(2, 10, Policy::DeficitRoundRobin);
    machine.begin(NOW, None);
    let _first = machine.next_grant();
    let _second = machine.next_grant();
}

#[test]
#[should_panic(expected = "11 records taken on a grant of 10")]
fn taking_more_than_granted_is_a_defect() {
    let mut machine = machine(1, 10, Policy::DeficitRoundRobin);
    machine.begin(NOW, None);
    let grant = machine.next_grant().unwrap();
    machine.settle(grant, 11, Cost::default());
}

#[test]
fn another_quantum_holds_from_the_next_poll_on_and_for_an_interrupted_visit() {
    for policy in
        [Policy::DeficitRoundRobin, Policy::PriorityWithGuard { guard_polls: NonZeroU32::new(10).unwrap() }]
    {
        let mut machine = machine(2, 10, policy);
        let mut queued = [100, 100];
        assert_eq!(poll(&mut machine, Some(4), &mut queued).1, [(0, 4)]);
        machine.set_quantum(LaneIndex(0), NonZeroU32::new(3).unwrap());
        machine.set_quantum(LaneIndex(1), NonZeroU32::new(15).unwrap());
        assert_eq!(poll(&mut machine, None, &mut queued).1, [(0, 3), (1, 15)], "3 are left of the visit");
        assert_eq!(poll(&mut machine, None, &mut queued).1, [(0, 3), (1, 15)]);
    }
}

#[test]
#[should_panic(expected = "while a poll runs")]
fn another_quantum_within_a_poll_is_a_defect() {
    let mut machine = machine(1, 10, Policy::DeficitRoundRobin);
    machine.begin(NOW, None);
    machine.set_quantum(LaneIndex(0), NonZeroU32::MIN);
}
