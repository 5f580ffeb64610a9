//! Several processes of one group, and faults that happen to them.

use super::*;
use crate::event::Body;
use crate::testing::Log;
use crate::timeline::{Ending, ServiceState};

fn analysis(log: &Log) -> RunAnalysis {
    analyse(&log.header, log.header.modes.first(), &log.events.iter().collect::<Vec<_>>())
}

fn metric(log: &Log, name: &str) -> Option<f64> {
    analysis(log).metrics.get(name).copied()
}

fn topic(log: &Log, topic: &str, name: &str) -> Option<f64> {
    analysis(log).topics[topic].get(name).copied()
}

/// `orders` belongs to life 1 and `sensor` to life 2, both with a backlog of 100.
fn two() -> Log {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    log.header.instances = 2;
    log.backlog("orders", 0, 100);
    log.backlog("sensor", 0, 100);
    log.launch(0, 1, true);
    log.given(10, &[("orders", 0)]);
    log.launch(0, 2, true);
    log.given(12, &[("sensor", 0)]);
    log
}

/// Polls of 10 ms and 10 records each.
fn polls(log: &mut Log, topic: &str, from: u64, first: i64, count: u64) {
    for i in 0..count {
        let t = from + 10 * i;
        log.poll(t, t + 10, &[(topic, 0, first + 10 * i.cast_signed(), 10)]);
    }
}

#[test]
fn a_poll_passes_over_only_what_its_own_process_could_deliver() {
    let mut log = two();
    log.turn(1);
    polls(&mut log, "orders", 20, 0, 5);
    log.turn(2);
    polls(&mut log, "sensor", 60, 0, 2);
    log.stop(80);
    assert_eq!(metric(&log, "starved_polls_max"), Some(0.0));
    // Life 2 had records from its assignment on, and the first batch of the group came at 20.
    assert_eq!(topic(&log, "sensor", "service_gap_ms"), Some(50.0));
}

#[test]
fn a_process_that_neglects_its_topic_is_not_excused_by_another_that_delivers_it() {
    let mut log = Log::new(&[("orders", 1), ("sensor", 2)]);
    log.backlog("orders", 0, 100);
    log.backlog("sensor", 0, 100);
    log.backlog("sensor", 1, 100);
    log.launch(0, 1, true);
    log.given(10, &[("orders", 0), ("sensor", 0)]);
    log.launch(0, 2, true);
    log.given(12, &[("sensor", 1)]);
    for i in 0_u64..4 {
        let t = 20 + 10 * i;
        let first = 10 * i.cast_signed();
        log.turn(1);
        log.poll(t, t + 10, &[("orders", 0, first, 10)]);
        log.turn(2);
        log.poll(t, t + 10, &[("sensor", 1, first, 10)]);
    }
    log.stop(60);
    let found = analysis(&log);
    assert_eq!(found.topics["sensor"]["starved_polls"], 4.0);
    assert_eq!(found.topics["sensor"]["service_gap_ms"], 40.0);
    let worst = found.starvation.iter().find(|found| found.topic == "sensor").unwrap();
    assert_eq!((worst.life, worst.seq_first, worst.seq_last, worst.polls), (1, 1, 4, 4));
    assert_eq!(worst.took, [("orders".to_owned(), 40)]);
}

#[test]
fn what_was_given_away_does_not_starve_its_former_owner() {
    let mut log = two();
    log.turn(1);
    log.given(15, &[("sensor", 0)]);
    polls(&mut log, "orders", 20, 0, 3);
    log.taken(50, &[("sensor", 0)]);
    polls(&mut log, "orders", 50, 30, 4);
    log.turn(2);
    log.given(55, &[("sensor", 0)]);
    log.poll(60, 70, &[("sensor", 0, 0, 100)]);
    log.stop(90);
    let found = analysis(&log);
    assert_eq!(found.metrics["starved_polls_max"], 3.0);
    assert_eq!(found.topics["sensor"]["service_gap_ms"], 30.0);
    assert_eq!(found.metrics["revoked_ms"], 5.0);
}

#[test]
fn an_assignment_makes_the_owner_though_the_one_before_said_nothing() {
    let mut log = two();
    log.turn(1);
    log.given(20, &[("sensor", 0)]);
    polls(&mut log, "orders", 20, 0, 3);
    log.turn(2);
    // It was told too late.
    log.taken(60, &[("sensor", 0)]);
    log.stop(80);
    assert_eq!(topic(&log, "sensor", "starved_polls"), Some(3.0));
    assert_eq!(metric(&log, "revoked_ms"), Some(0.0));
}

#[test]
fn the_group_has_joined_when_every_partition_is_somebodys() {
    let mut log = two();
    log.turn(1);
    log.poll(20, 30, &[("orders", 0, 0, 10)]);
    log.stop(100);
    assert_eq!(metric(&log, "join_ms"), Some(12.0));
    assert_eq!(metric(&log, "ready_ms"), Some(18.0));
}

#[test]
fn a_killed_process_owns_nothing_until_somebody_else_does() {
    let mut log = two();
    log.turn(2);
    log.poll(20, 30, &[("sensor", 0, 0, 10)]);
    log.killed(40);
    log.turn(1);
    polls(&mut log, "orders", 20, 0, 10);
    log.given(540, &[("sensor", 0)]);
    log.poll(540, 550, &[("sensor", 0, 10, 90)]);
    log.stop(600);
    let found = analysis(&log);
    assert_eq!(found.topics["sensor"]["starved_polls"], 0.0);
    assert_eq!(found.topics["sensor"]["service_gap_ms"], 10.0);
    assert_eq!(found.metrics["revoked_ms"], 500.0);
    assert_eq!(found.metrics["recovery_ms"], 510.0);
    let sensor = &found.timeline.topics[1].service;
    let ownerless: Vec<(f64, f64)> =
        sensor.iter().filter(|s| s.state == ServiceState::Ownerless).map(|s| (s.from_ms, s.to_ms)).collect();
    assert_eq!(ownerless, [(40.0, 540.0)]);
}

#[test]
fn a_frozen_process_owns_nothing_and_has_again_what_nobody_was_given_meanwhile() {
    let frozen = |given_to_another: bool| {
        let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
        log.backlog("orders", 0, 100);
        log.backlog("sensor", 0, 100);
        log.launch(0, 1, true);
        log.given(10, &[("orders", 0), ("sensor", 0)]);
        log.launch(0, 2, true);
        log.turn(1);
        log.poll(20, 30, &[("orders", 0, 0, 10), ("sensor", 0, 0, 10)]);
        log.fault(30, "consumer_frozen", None, true);
        if given_to_another {
            log.turn(2);
            log.given(50, &[("sensor", 0)]);
            log.poll(50, 60, &[("sensor", 0, 10, 90)]);
            log.turn(1);
        }
        log.fault(130, "consumer_frozen", None, false);
        polls(&mut log, "orders", 130, 10, 3);
        log.stop(200);
        log
    };
    // 30–130 of both partitions.
    assert_eq!(metric(&frozen(false), "revoked_ms"), Some(200.0));
    assert_eq!(topic(&frozen(false), "sensor", "starved_polls"), Some(3.0));
    assert_eq!(topic(&frozen(false), "sensor", "service_gap_ms"), Some(70.0));
    assert_eq!(metric(&frozen(true), "revoked_ms"), Some(120.0));
    assert_eq!(topic(&frozen(true), "sensor", "starved_polls"), Some(0.0));
}

#[test]
fn a_process_that_reports_no_assignments_owns_everything_while_it_is_alone() {
    let run = |others: bool| {
        let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
        log.backlog("orders", 0, 100);
        log.backlog("sensor", 0, 100);
        log.launch(0, 1, true);
        if others {
            log.launch(0, 2, true);
            log.turn(1);
        }
        polls(&mut log, "orders", 20, 0, 3);
        log.killed(60);
        log.launch(500, 1, true);
        polls(&mut log, "orders", 520, 30, 2);
        log.stop(600);
        log
    };
    assert_eq!(topic(&run(false), "sensor", "starved_polls"), Some(3.0));
    // From the second life's first poll on.
    assert_eq!(topic(&run(false), "sensor", "service_gap_ms"), Some(80.0));
    // Zero would be a claim that nobody can make.
    assert_eq!(metric(&run(true), "starved_polls_max"), None);
    assert_eq!(metric(&run(true), "service_gap_ms_max"), None);
}

#[test]
fn polls_before_the_last_rebalance_are_not_settled() {
    let run = |rebalance: u64| {
        let mut log = two();
        log.turn(1);
        log.given(15, &[("sensor", 0)]);
        polls(&mut log, "orders", 20, 0, 5);
        log.turn(2);
        log.taken(rebalance, &[]);
        log.stop(100);
        log
    };
    assert_eq!(metric(&run(16), "starved_polls_settled_max"), Some(5.0));
    assert_eq!(metric(&run(41), "starved_polls_settled_max"), Some(2.0));
    assert_eq!(metric(&run(41), "starved_polls_max"), Some(5.0));
    assert_eq!(metric(&run(61), "starved_polls_settled_max"), None);
}

#[test]
fn polls_of_several_processes_are_put_in_order_before_records_count_as_new() {
    let mut log = two();
    log.turn(1);
    log.poll(50, 60, &[("orders", 0, 0, 30)]);
    log.turn(2);
    // Said later, done earlier: of life 1's thirty records ten were delivered before.
    log.poll(20, 30, &[("orders", 0, 0, 10)]);
    log.stop(100);
    let found = analysis(&log);
    assert_eq!(found.timeline.topics[0].cumulative, [(30.0, 10), (60.0, 30)]);
    assert_eq!(found.timeline.first_batch_ms, Some(30.0));
}

#[test]
fn resources_are_summed_over_instances_and_not_over_restarts() {
    let mut log = two();
    let mut sample = |life, kib, cpu_ms| {
        log.emit(Body::Sample {
            life,
            rss_kib: kib,
            rss_peak_kib: kib,
            threads: 5,
            connections: Some(2),
            cpu_ms,
        });
    };
    sample(1, 1_024, 10);
    sample(1, 4_096, 20);
    sample(2, 2_048, 30);
    log.turn(2);
    log.killed(40);
    let life = log.launch(50, 2, true);
    log.emit(Body::Sample {
        life,
        rss_kib: 1_024,
        rss_peak_kib: 1_024,
        threads: 5,
        connections: Some(3),
        cpu_ms: 4,
    });
    log.poll(60, 70, &[("orders", 0, 0, 10)]);
    log.stop(100);
    let found = analysis(&log);
    assert_eq!(found.metrics["rss_peak_mib"], 6.0);
    assert_eq!(found.metrics["threads_max"], 10.0);
    assert_eq!(found.metrics["connections_max"], 5.0);
    assert!((found.metrics["cpu_s_per_million"] - 0.054 / 10e-6).abs() < 1e-6);
    // What is drawn is what is there: the dead process's memory is not.
    assert_eq!(found.timeline.rss_mib.last().map(|point| point.1), Some(5.0));
}

#[test]
fn work_that_instances_do_at_the_same_time_is_not_taken_off_the_drain() {
    let mut log = two();
    log.header.modes[0].processing.per_poll_ms = 9.0;
    log.turn(1);
    log.poll(20, 30, &[("orders", 0, 0, 100)]);
    log.turn(2);
    log.poll(20, 31, &[("sensor", 0, 0, 100)]);
    log.stop(100);
    assert!(metric(&log, "drain_s").is_some());
    assert_eq!(metric(&log, "overhead_s"), None);
}

#[test]
fn the_brokers_part_of_a_wait_is_told_apart() {
    let mut log = Log::new(&[("quiet", 1)]);
    log.start(0, true);
    // Due at 100, 101, … 1,099, and acknowledged at 1,099.
    log.live("quiet", 0, 1_000, (100, 1));
    log.poll(1_990, 2_000, &[("quiet", 0, 0, 1_000)]);
    log.stop(2_100);
    let found = analysis(&log);
    assert!((found.metrics["ack_p99_ms"] - 989.0).abs() < 1.0, "{:?}", found.metrics["ack_p99_ms"]);
    assert!((found.metrics["wait_p99_ms"] - 1_889.0).abs() < 2.0);
    assert_eq!(found.samples["ack_p99_ms"], 1_000);
}

/// One process; `orders` is delivered all the time, `sensor` fails from 1,000 to 2,000 ms.
fn failing(per_poll_while_failing: u64) -> Log {
    failing_by("topic_fetch_errors", per_poll_while_failing)
}

fn failing_by(kind: &str, per_poll_while_failing: u64) -> Log {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    log.backlog("orders", 0, 100_000);
    log.backlog("sensor", 0, 20);
    log.start(0, true);
    log.poll(90, 100, &[("orders", 0, 0, 10), ("sensor", 0, 0, 10)]);
    let mut offset = 10;
    for t in (100..3_000).step_by(10) {
        if t == 1_000 {
            log.fault(t, kind, Some("sensor"), true);
        }
        if t == 2_000 {
            log.fault(t, kind, Some("sensor"), false);
        }
        let count = if (1_000..2_000).contains(&t) { per_poll_while_failing } else { 10 };
        log.poll(t, t + 10, &[("orders", 0, offset, count)]);
        offset += count.cast_signed();
    }
    log.poll(3_000, 3_010, &[("sensor", 0, 10, 10)]);
    log.stop(3_020);
    log
}

#[test]
fn isolation_is_lost_by_how_much_slower_the_healthy_topics_were_while_another_failed() {
    // Of the time beside the fault 20 ms in 1,920 went to the other topic.
    assert!(metric(&failing(10), "isolation_loss_pct").unwrap().abs() < 1.1);
    assert!((metric(&failing(5), "isolation_loss_pct").unwrap() - 50.0).abs() < 1.1);
    let forbidden = metric(&failing_by("topic_forbidden", 5), "isolation_loss_pct");
    assert!((forbidden.unwrap() - 50.0).abs() < 1.1);
    // A fault from the beginning to the end leaves nothing to compare with.
    let mut log = failing(10);
    log.events.retain(|event| !matches!(event.body, Body::Fault { begins: false, .. }));
    let begin = log.events.iter().position(|event| matches!(event.body, Body::Fault { .. })).unwrap();
    log.events[begin].t_ns = 0;
    assert_eq!(metric(&log, "isolation_loss_pct"), None);
    assert_eq!(metric(&two(), "isolation_loss_pct"), None);
}

#[test]
fn a_topic_whose_fetches_fail_has_no_available_records_meanwhile() {
    // Before the fault 90 polls pass it over, after it 100; the 100 between do not count.
    for kind in ["topic_fetch_errors", "topic_forbidden"] {
        assert_eq!(topic(&failing_by(kind, 10), "sensor", "starved_polls"), Some(100.0), "{kind}");
        assert_eq!(topic(&failing_by(kind, 10), "sensor", "service_gap_ms"), Some(1_010.0), "{kind}");
    }
}

#[test]
fn recovery_ends_with_the_last_partition_in_which_records_waited() {
    assert_eq!(metric(&failing(10), "recovery_ms"), Some(1_010.0));
    // What was delivered before and comes again is no recovery.
    let mut log = failing(10);
    for ranges in log.ranges_mut().filter(|ranges| ranges[0].topic == "sensor") {
        ranges[0].first = 0;
        ranges[0].last = 9;
    }
    assert_eq!(metric(&log, "recovery_ms"), None);
    assert_eq!(metric(&two(), "recovery_ms"), None);
}

#[test]
fn nothing_has_recovered_from_a_fault_that_lasts_to_the_end() {
    let mut log = failing(10);
    log.fault(3_015, "slow_broker", None, true);
    // The harness ends it after the stop.
    log.fault(3_100, "slow_broker", None, false);
    assert_eq!(metric(&log, "recovery_ms"), None);
    let fault = analysis(&log).timeline.faults.pop().unwrap();
    assert_eq!((fault.to_ms, fault.delivered_again_ms), (None, None));
}

#[test]
fn a_deleted_topic_neither_starves_nor_delays_the_drain() {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    log.backlog("orders", 0, 50);
    log.backlog("sensor", 0, 100);
    log.start(0, true);
    log.poll(20, 30, &[("orders", 0, 0, 10), ("sensor", 0, 0, 10)]);
    log.fault(30, "topic_deleted", Some("sensor"), true);
    polls(&mut log, "orders", 40, 10, 4);
    log.stop(100);
    let found = analysis(&log);
    assert_eq!(found.topics["sensor"]["starved_polls"], 0.0);
    assert_eq!(found.metrics["service_gap_ms_max"], 20.0);
    assert_eq!(found.metrics["drain_s"], 0.05);
    assert_eq!(found.metrics["recovery_ms"], 20.0);
}

#[test]
fn the_timeline_tells_faults_rebalances_and_processes() {
    let mut log = two();
    log.turn(2);
    log.poll(20, 30, &[("sensor", 0, 0, 20)]);
    log.killed(40);
    log.launch(140, 2, true);
    log.fault(140, "consumer_killed", None, false);
    log.given(150, &[("sensor", 0)]);
    log.poll(150, 160, &[("sensor", 0, 10, 90)]);
    log.stop(200);
    let timeline = analysis(&log).timeline;
    let fault = &timeline.faults[0];
    assert_eq!((fault.kind.as_str(), fault.what.as_str()), ("consumer_killed", "instance 2"));
    assert_eq!((fault.from_ms, fault.to_ms, fault.repeated), (40.0, Some(140.0), 10));
    // Life 1 owns what it never delivers; the fault concerns what life 2 had.
    assert_eq!(fault.delivered_again_ms, Some(120.0));
    assert_eq!(timeline.rebalances, [150.0]);
    let processes: Vec<_> =
        timeline.processes.iter().map(|p| (p.life, p.instance, p.ended, p.polls, p.records)).collect();
    assert_eq!(
        processes,
        [(1, 1, None, 0, 0), (2, 2, Some((40.0, Ending::Killed)), 1, 20), (3, 2, None, 1, 90)]
    );
}
