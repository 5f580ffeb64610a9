use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::event::{Body, Phase};
use crate::protocol::{PartitionOffset, ProcessingCost, TopicPartition, WorkerLine};
use crate::testing::{Log, ms};
use crate::timeline::ServiceState;

fn analysis(log: &Log) -> RunAnalysis {
    analyse(&log.header, log.header.modes.first(), &log.events.iter().collect::<Vec<_>>())
}

#[track_caller]
fn assert_metric(analysis: &RunAnalysis, name: &str, expected: Option<f64>) {
    assert_close(name, analysis.metrics.get(name).copied(), expected);
}

#[track_caller]
fn assert_topic(analysis: &RunAnalysis, topic: &str, name: &str, expected: Option<f64>) {
    assert_close(&format!("{name}{{{topic}}}"), analysis.topics[topic].get(name).copied(), expected);
}

/// Within the three digits of a histogram.
#[track_caller]
fn assert_close(name: &str, found: Option<f64>, expected: Option<f64>) {
    let close = match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= 1e-9 + expected.abs() * 1e-3,
        (found, expected) => found == expected,
    };
    assert!(close, "{name}: found {found:?}, expected {expected:?}");
}

/// `sensor` waits for three polls behind `orders`.
fn starving() -> Log {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    log.backlog("orders", 0, 40);
    log.backlog("sensor", 0, 4);
    log.start(0, true);
    log.poll(20, 30, &[("orders", 0, 0, 10)]);
    log.poll(35, 40, &[("orders", 0, 10, 10)]);
    log.poll(45, 50, &[("orders", 0, 20, 10)]);
    log.poll(55, 60, &[("orders", 0, 30, 10), ("sensor", 0, 0, 4)]);
    log.finish(100);
    log
}

/// `quiet` gets live records while `deep` is drained: due at 100 + i × interval.
fn living(count: u64, interval: u64, delivered_at: u64) -> Log {
    let mut log = Log::new(&[("deep", 1), ("quiet", 1)]);
    log.backlog("deep", 0, 10);
    log.start(0, true);
    log.poll(20, 30, &[("deep", 0, 0, 10)]);
    log.live("quiet", 0, count, (100, interval));
    log.poll(delivered_at - 1, delivered_at, &[("quiet", 0, 0, count)]);
    log.finish(delivered_at + 10);
    log
}

#[test]
fn times_from_the_start_are_read_off_hello_assignment_and_polls() {
    let found = analysis(&starving());
    assert_metric(&found, "join_ms", Some(10.0));
    assert_metric(&found, "ready_ms", Some(20.0));
    assert_topic(&found, "orders", "first_record_ms", Some(30.0));
    assert_topic(&found, "sensor", "first_record_ms", Some(60.0));
    assert_metric(&found, "complete_input_ms", Some(60.0));
}

#[test]
fn the_first_batch_is_the_first_poll_that_brought_something() {
    let mut log = Log::new(&[("orders", 2), ("sensor", 1), ("late", 1)]);
    log.backlog("orders", 0, 10);
    log.start(0, true);
    log.poll(20, 30, &[]);
    log.poll(35, 40, &[("orders", 0, 0, 4), ("orders", 1, 0, 3), ("sensor", 0, 0, 1)]);
    log.poll(45, 50, &[("orders", 0, 4, 6), ("sensor", 0, 1, 1), ("late", 0, 0, 1)]);
    log.finish(100);
    assert_metric(&analysis(&log), "first_batch_topics", Some(2.0));
}

#[test]
fn polls_that_pass_over_a_topic_with_records_are_counted_and_described() {
    let found = analysis(&starving());
    assert_topic(&found, "sensor", "starved_polls", Some(3.0));
    assert_topic(&found, "orders", "starved_polls", Some(0.0));
    assert_metric(&found, "starved_polls_max", Some(3.0));
    let expected = Starvation {
        topic: "sensor".to_owned(),
        life: 1,
        seq_first: 1,
        seq_last: 3,
        polls: 3,
        from_ms: 20.0,
        to_ms: 50.0,
        took: vec![("orders".to_owned(), 30)],
    };
    assert_eq!(found.starvation, [expected]);
}

#[test]
fn a_service_gap_begins_with_the_first_batch_and_leaves_the_join_out() {
    let found = analysis(&starving());
    assert_topic(&found, "sensor", "service_gap_ms", Some(40.0));
    assert_topic(&found, "orders", "service_gap_ms", Some(10.0));
    assert_metric(&found, "service_gap_ms_max", Some(40.0));
    let mut log = Log::new(&[("orders", 1)]);
    log.backlog("orders", 0, 10);
    log.start(0, true);
    // The poll was called before the group was joined, at 10.
    log.poll(1, 30, &[("orders", 0, 0, 10)]);
    log.finish(40);
    assert_metric(&analysis(&log), "service_gap_ms_max", Some(20.0));
}

#[test]
fn a_live_record_counts_as_available_once_its_acknowledgement_is_old_enough() {
    // Acknowledged at 100, available from 150 on.
    let starved_by_poll_at = |begin: u64| {
        let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
        log.backlog("orders", 0, 20);
        log.live("sensor", 0, 1, (100, 0));
        log.start(0, true);
        log.poll(20, 30, &[("orders", 0, 0, 10)]);
        log.poll(begin, begin + 1, &[("orders", 0, 10, 10)]);
        log.poll(199, 200, &[("sensor", 0, 0, 1)]);
        log.finish(300);
        analysis(&log)
    };
    assert_topic(&starved_by_poll_at(149), "sensor", "starved_polls", Some(0.0));
    assert_topic(&starved_by_poll_at(150), "sensor", "starved_polls", Some(1.0));
    assert_topic(&starved_by_poll_at(150), "sensor", "service_gap_ms", Some(50.0));
}

#[test]
fn a_total_stall_is_no_starved_poll_but_a_service_gap_up_to_the_end() {
    let mut log = Log::new(&[("orders", 1)]);
    log.backlog("orders", 0, 20);
    log.start(0, true);
    log.poll(20, 30, &[("orders", 0, 0, 10)]);
    log.emit(Body::Phase { phase: Phase::Stop });
    log.events.last_mut().unwrap().t_ns = ms(5_030);
    let found = analysis(&log);
    assert_metric(&found, "starved_polls_max", Some(0.0));
    assert_metric(&found, "service_gap_ms_max", Some(5_000.0));
    assert_metric(&found, "drain_s", None);
    assert_eq!(found.gaps[0].polls, 0);
}

#[test]
fn one_waiting_partition_makes_its_topic_starve_though_another_is_ahead() {
    let mut log = Log::new(&[("orders", 1), ("sensor", 2)]);
    log.backlog("orders", 0, 20);
    log.backlog("sensor", 0, 1);
    log.backlog("sensor", 1, 1);
    log.start(0, true);
    log.poll(20, 30, &[("sensor", 0, 0, 1)]);
    log.poll(30, 40, &[("orders", 0, 0, 10)]);
    log.poll(40, 50, &[("orders", 0, 10, 10)]);
    log.poll(50, 60, &[("sensor", 1, 0, 1)]);
    log.finish(70);
    assert_topic(&analysis(&log), "sensor", "starved_polls", Some(2.0));
    assert_topic(&analysis(&log), "sensor", "service_gap_ms", Some(30.0));
}

#[test]
fn a_topic_without_records_neither_starves_nor_delays_a_complete_input() {
    let mut log = starving();
    let idle = crate::event::TopicFacts { name: "idle".to_owned(), ..log.header.topics[1].clone() };
    log.header.topics.push(idle);
    let found = analysis(&log);
    assert_topic(&found, "idle", "starved_polls", Some(0.0));
    assert_topic(&found, "idle", "service_gap_ms", Some(0.0));
    assert_topic(&found, "idle", "first_record_ms", None);
    assert_metric(&found, "complete_input_ms", Some(60.0));
    assert_metric(&found, "join_ms", None);
}

#[test]
fn an_undeliverable_topic_is_left_out_of_maxima_and_of_the_drain() {
    let mut log = starving();
    log.header
        .topics
        .push(crate::event::TopicFacts { name: "dead".to_owned(), ..log.header.topics[1].clone() });
    log.backlog("dead", 0, 5);
    log.header.topics[2].deliverable = false;
    let found = analysis(&log);
    assert_topic(&found, "dead", "starved_polls", Some(4.0));
    assert_metric(&found, "starved_polls_max", Some(3.0));
    assert_metric(&found, "service_gap_ms_max", Some(40.0));
    assert_metric(&found, "drain_s", Some(0.03));
    assert_metric(&found, "complete_input_ms", Some(60.0));
    log.header.topics[2].deliverable = true;
    let found = analysis(&log);
    assert_metric(&found, "starved_polls_max", Some(4.0));
    assert_metric(&found, "drain_s", None);
    assert_metric(&found, "complete_input_ms", None);
}

#[test]
fn the_drain_runs_from_the_first_batch_to_the_last_backlog_record() {
    let mut log = starving();
    log.header.modes[0].processing = ProcessingCost { per_poll_ms: 2.0, per_record_us: 100.0 };
    let found = analysis(&log);
    assert_metric(&found, "drain_s", Some(0.03));
    assert_topic(&found, "sensor", "drain_s", Some(0.03));
    // Injected after three polls of 10 records: 3 × 2 ms + 30 × 0.1 ms.
    assert_metric(&found, "overhead_s", Some(0.021));
    assert_metric(&found, "records_per_s", Some(44.0 / 0.03));
    assert_metric(&found, "mib_per_s", Some(44.0 / 1024.0 / 0.03));
    assert_metric(&found, "records_per_poll_p50", Some(10.0));
    assert_metric(&found, "records_per_poll_max", Some(14.0));
}

#[test]
fn live_records_after_the_drain_do_not_belong_to_it() {
    let found = analysis(&living(20, 1, 500));
    assert_metric(&found, "drain_s", Some(0.0));
    assert_metric(&found, "records_per_s", None);
    assert_metric(&found, "records_per_poll_max", Some(10.0));
    assert_topic(&found, "quiet", "drain_s", None);
}

#[test]
fn an_output_gap_lasts_while_every_topic_has_the_next_record_and_it_is_not_delivered() {
    assert_metric(&analysis(&starving()), "output_gap_ms_max", Some(40.0));
    // The first input is complete at 40; the second is possible from 100 on, complete at 180.
    let mut log = Log::new(&[("a", 1), ("b", 1)]);
    log.backlog("a", 0, 5);
    log.backlog("b", 0, 1);
    log.start(0, true);
    log.poll(20, 30, &[("a", 0, 0, 5)]);
    log.poll(30, 40, &[("b", 0, 0, 1)]);
    log.live("b", 0, 1, (100, 0));
    log.poll(170, 180, &[("b", 0, 1, 1)]);
    log.finish(300);
    let found = analysis(&log);
    assert_metric(&found, "output_gap_ms_max", Some(80.0));
    assert_eq!(found.timeline.complete_inputs, [(40.0, 1), (180.0, 2)]);
}

#[test]
fn an_input_that_is_never_completed_leaves_a_gap_up_to_the_end() {
    let mut log = Log::new(&[("a", 1), ("b", 1)]);
    log.backlog("a", 0, 5);
    log.backlog("b", 0, 1);
    log.start(0, true);
    log.poll(20, 30, &[("a", 0, 0, 5)]);
    log.emit(Body::Phase { phase: Phase::Stop });
    log.events.last_mut().unwrap().t_ns = ms(1_020);
    assert_metric(&analysis(&log), "output_gap_ms_max", Some(1_000.0));
}

#[test]
fn a_wait_lasts_from_the_scheduled_send_to_the_return_of_the_delivering_poll() {
    // Due at 100, 110, … 290, delivered at 310: waits of 210 … 20, of which 110 is the tenth.
    let found = analysis(&living(20, 10, 310));
    assert_topic(&found, "quiet", "wait_p50_ms", Some(110.0));
    assert_topic(&found, "quiet", "wait_max_ms", Some(210.0));
    assert_metric(&found, "wait_p50_ms", Some(110.0));
    assert_metric(&found, "wait_max_ms", Some(210.0));
    assert_eq!((found.samples["wait_p50_ms"], found.samples["wait_p50_ms{quiet}"]), (20, 20));
}

#[test]
fn a_percentile_with_too_few_samples_is_absent() {
    let few = analysis(&living(19, 10, 310));
    assert_metric(&few, "wait_p50_ms", None);
    assert_metric(&few, "wait_max_ms", Some(210.0));
    let some = analysis(&living(999, 1, 1_200));
    assert_metric(&some, "wait_p99_ms", None);
    // Waits of 1 … 1,000 ms.
    let many = analysis(&living(1_000, 1, 1_100));
    assert_metric(&many, "wait_p99_ms", Some(990.0));
}

#[test]
fn pooled_waits_leave_the_deepest_topic_out_unless_all_are_alike() {
    let log = |backlogs: [u64; 2]| {
        let mut log = Log::new(&[("a", 1), ("b", 1)]);
        log.header.topics[0].backlog = backlogs[0];
        log.header.topics[1].backlog = backlogs[1];
        log.start(0, true);
        log.live("a", 0, 1, (100, 0));
        log.live("b", 0, 1, (100, 0));
        log.poll(120, 130, &[("b", 0, 0, 1)]);
        log.poll(590, 600, &[("a", 0, 0, 1)]);
        log.finish(700);
        analysis(&log)
    };
    assert_metric(&log([10, 5]), "wait_max_ms", Some(30.0));
    assert_metric(&log([5, 10]), "wait_max_ms", Some(500.0));
    assert_metric(&log([7, 7]), "wait_max_ms", Some(500.0));
    assert_eq!(log([7, 7]).samples["wait_max_ms"], 2);
}

#[test]
fn a_record_delivered_twice_waits_until_its_first_delivery() {
    let mut log = living(20, 10, 310);
    log.poll(900, 1_000, &[("quiet", 0, 0, 20)]);
    assert_metric(&analysis(&log), "wait_max_ms", Some(210.0));
}

#[test]
fn lateness_is_the_hand_over_of_a_batch_less_the_schedule_of_its_last_record() {
    let mut log = living(1_000, 1, 1_200);
    for event in &mut log.events {
        if let Body::Produced { origin: crate::event::Origin::Live, sent_ns, .. } = &mut event.body {
            *sent_ns += ms(7);
        }
    }
    assert_metric(&analysis(&log), "producer_late_p99_ms", Some(7.0));
    assert_close("late", analysis(&log).producer_late_ms, Some(7.0));
    assert_metric(&analysis(&living(20, 1, 500)), "producer_late_p99_ms", None);
    assert_close("late", analysis(&living(20, 1, 500)).producer_late_ms, Some(0.0));
}

fn shared(polls: i64, a: u64, b: u64, weights: [u32; 2]) -> RunAnalysis {
    let mut log = Log::new(&[("a", 1), ("b", 1)]);
    log.header.topics[0].weight = weights[0];
    log.header.topics[1].weight = weights[1];
    log.backlog("a", 0, 100_000);
    log.backlog("b", 0, 100_000);
    log.start(0, true);
    for i in 0..polls {
        let t = 20 + i.unsigned_abs();
        log.poll(t, t + 1, &[("a", 0, i * a as i64, a), ("b", 0, i * b as i64, b)]);
    }
    log.finish(1_000);
    analysis(&log)
}

#[test]
fn the_smallest_share_is_served_over_entitled() {
    assert_metric(&shared(200, 8, 2, [1, 1]), "share_min", Some(0.4));
    assert_metric(&shared(200, 8, 2, [4, 1]), "share_min", Some(1.0));
    assert_metric(&shared(199, 8, 2, [1, 1]), "share_min", None);
    assert_eq!(shared(200, 8, 2, [1, 1]).timeline.share.len(), 20);
}

#[test]
fn resources_are_the_largest_samples_and_the_cpu_time_at_the_end() {
    let mut log = starving();
    let sample = |rss_kib, rss_peak_kib, threads, connections| Body::Sample {
        life: 1,
        rss_kib,
        rss_peak_kib,
        threads,
        connections,
        cpu_ms: 10,
    };
    log.emit(sample(1_024, 4_096, 7, None));
    log.emit(sample(2_048, 3_072, 5, Some(3)));
    let found = analysis(&log);
    assert_metric(&found, "rss_peak_mib", Some(4.0));
    assert_metric(&found, "threads_max", Some(7.0));
    assert_metric(&found, "connections_max", Some(3.0));
    assert_metric(&found, "cpu_s_per_million", Some(0.01 / 44e-6));
    log.emit(Body::WorkerExited {
        life: 1,
        code: Some(0),
        signal: None,
        cpu_ms: 44,
        expected: true,
        by_fault: false,
    });
    assert_metric(&analysis(&log), "cpu_s_per_million", Some(1_000.0));
    assert_metric(&analysis(&starving()), "threads_max", None);
}

#[test]
fn partitions_are_ownerless_from_their_revocation_to_the_next_assignment() {
    let mut log = Log::new(&[("orders", 2)]);
    log.backlog("orders", 0, 20);
    log.start(0, true);
    log.poll(20, 30, &[("orders", 0, 0, 10)]);
    let partitions = log.everything();
    log.line(WorkerLine::Revoked { t_ns: ms(40), generation: 1, partitions, lost: false });
    let one = vec![TopicPartition { topic: "orders".to_owned(), partition: 0 }];
    log.line(WorkerLine::Assigned { t_ns: ms(45), generation: 2, partitions: one });
    log.poll(50, 60, &[("orders", 0, 10, 10)]);
    let late = log.everything();
    log.finish(100);
    // What a worker gives up while it closes is no rebalance.
    log.line(WorkerLine::Revoked { t_ns: ms(101), generation: 2, partitions: late, lost: false });
    let found = analysis(&log);
    assert_metric(&found, "rebalances", Some(3.0));
    // 5 ms of one partition, and of the other all from 40 to the stop.
    let stop = log.events.iter().find(|e| matches!(e.body, Body::Phase { phase: Phase::Stop })).unwrap().t_ns;
    assert_metric(&found, "revoked_ms", Some(5.0 + (stop - ms(40)) as f64 / 1e6));
    assert_metric(&found, "join_ms", Some(10.0));
}

#[test]
fn who_gave_way_is_counted_and_its_mode_is_the_one_that_runs_since() {
    let gave_way = |times: u64| {
        let mut log = starving();
        for number in 0..times {
            log.line(WorkerLine::Degraded {
                t_ns: ms(60 + number),
                resource: "descriptors".to_owned(),
                used: 95,
                limit: 100,
                actual_mode: "fair".to_owned(),
                unprocessed: Vec::new(),
            });
        }
        analysis(&log)
    };
    assert_metric(&gave_way(2), "degradations", Some(2.0));
    assert_metric(&gave_way(0), "degradations", None);
}

#[test]
fn commits_are_timed_and_failures_counted() {
    let commits = |count: u64| {
        let mut log = starving();
        for id in 1..=count {
            let offsets = vec![PartitionOffset { topic: "orders".to_owned(), partition: 0, offset: 1 }];
            log.line(WorkerLine::CommitSent { id, t_ns: ms(60), offsets });
            let error = (id == 1).then(|| "not coordinator".to_owned());
            log.line(WorkerLine::CommitResult { id, t_ns: ms(60 + id), error });
        }
        analysis(&log)
    };
    assert_metric(&commits(20), "commit_p50_ms", Some(10.0));
    assert_metric(&commits(20), "commit_p99_ms", None);
    assert_metric(&commits(20), "commit_failures", Some(1.0));
    assert_metric(&commits(0), "commit_failures", None);
}

#[test]
fn a_life_that_only_prepares_is_not_timed_and_what_it_delivered_is_not_waited_for() {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    log.backlog("orders", 0, 10);
    log.backlog("sensor", 0, 10);
    log.start(0, false);
    log.poll(20, 30, &[("orders", 0, 0, 10)]);
    log.poll(40, 50, &[("sensor", 0, 0, 10)]);
    log.emit(Body::Phase { phase: Phase::Stop });
    log.bye(60);
    log.backlog("orders", 0, 20);
    log.start(1_000, true);
    log.poll(1_020, 1_030, &[("orders", 0, 10, 10)]);
    log.poll(1_040, 1_050, &[("orders", 0, 20, 10)]);
    log.finish(1_100);
    let found = analysis(&log);
    assert_metric(&found, "join_ms", Some(10.0));
    assert_metric(&found, "starved_polls_max", Some(0.0));
    assert_metric(&found, "drain_s", Some(0.02));
    assert_metric(&found, "complete_input_ms", Some(30.0));
    assert_topic(&found, "sensor", "service_gap_ms", Some(0.0));
}

#[test]
fn without_polls_there_are_no_figures_and_no_panic() {
    let mut log = Log::new(&[("orders", 1)]);
    log.backlog("orders", 0, 10);
    let empty = analysis(&log);
    assert_eq!(empty.metrics, Metrics::new());
    log.start(0, true);
    log.finish(10);
    let found = analysis(&log);
    assert_metric(&found, "join_ms", Some(10.0));
    assert_metric(&found, "starved_polls_max", None);
    assert_eq!(analyse(&log.header, None, &[]).metrics, Metrics::new());
}

#[test]
fn errors_are_counted_by_their_text_with_the_topic() {
    let mut log = starving();
    for _ in 0..2 {
        let (topic, message) = (Some("sensor".to_owned()), "unknown topic".to_owned());
        log.line(WorkerLine::Error { t_ns: 0, topic, message, fatal: false });
    }
    let found = analysis(&log);
    assert_eq!(found.errors, BTreeMap::from([("sensor: unknown topic".to_owned(), 2)]));
    assert_eq!(found.client.as_deref(), Some("test 1.0, fair"));
}

#[test]
fn the_timeline_shows_who_was_served_starving_and_idle() {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    log.backlog("orders", 0, 60);
    log.backlog("sensor", 0, 4);
    log.start(0, true);
    for i in 0_i64..6 {
        let t = 20 + 40 * i.unsigned_abs();
        log.poll(t, t + 40, &[("orders", 0, i * 10, 10)]);
    }
    log.poll(260, 300, &[("sensor", 0, 0, 4)]);
    log.finish(500);
    log.events.iter_mut().for_each(|event| {
        if matches!(event.body, Body::Phase { phase: Phase::Stop }) {
            event.t_ns = ms(500);
        }
    });
    let timeline = analysis(&log).timeline;
    let states = |topic: usize| -> Vec<(f64, f64, ServiceState)> {
        timeline.topics[topic].service.iter().map(|s| (s.from_ms, s.to_ms, s.state)).collect()
    };
    assert_eq!(states(0), [(20.0, 260.0, ServiceState::Served), (260.0, 500.0, ServiceState::Idle)]);
    assert_eq!(states(1), [(20.0, 300.0, ServiceState::Starving), (300.0, 500.0, ServiceState::Idle)]);
    assert_eq!(timeline.topics[0].cumulative.last(), Some(&(260.0, 60)));
    assert_eq!(timeline.backlog_delivered_ms, Some(300.0));
    assert_eq!(timeline.lag.first(), Some(&(0.0, 64)));
    assert_eq!(timeline.lag.last(), Some(&(300.0, 0)));
    let delivered: f64 = timeline.throughput.iter().map(|(_, rate)| rate * 0.02).sum();
    assert_close("throughput × window", Some(delivered), Some(64.0));
}

#[test]
fn whom_the_first_batch_serves_did_not_starve_in_the_picture() {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    log.backlog("orders", 0, 20);
    log.backlog("sensor", 0, 4);
    log.start(0, true);
    log.poll(20, 200, &[("orders", 0, 0, 10)]);
    log.poll(200, 210, &[("orders", 0, 10, 10), ("sensor", 0, 0, 4)]);
    log.finish(210);
    let timeline = analysis(&log).timeline;
    let first = |topic: usize| timeline.topics[topic].service[0].state;
    assert_eq!((first(0), first(1)), (ServiceState::Served, ServiceState::Starving));
}

/// Per topic: backlog, live records with their acknowledgement, and what polls deliver.
type Live = Vec<(u8, u64)>;
type Schedule = (Vec<(u64, Live)>, Vec<(u64, Vec<u64>)>);

fn schedule() -> impl Strategy<Value = Schedule> {
    let topic = (0_u64..6, prop::collection::vec((1_u8..4, 0_u64..300), 0..4));
    let poll = (1_u64..40, prop::collection::vec(0_u64..4, 3));
    (prop::collection::vec(topic, 3), prop::collection::vec(poll, 1..15))
}

proptest! {
    /// forall schedules of three topics: starved polls and service gaps equal those of a model that
    /// keeps every record with its own availability. (Fails, for instance, if a gap is counted from
    /// the delivery where the next record came later, or if a run survives a delivery.)
    #[test]
    fn starvation_equals_a_model_that_keeps_every_record((topics, polls) in schedule()) {
        let names = ["a", "b", "c"];
        let mut log = Log::new(&names.map(|name| (name, 1)));
        let mut records: Vec<Vec<u64>> = Vec::new();
        for (name, (backlog, live)) in names.iter().zip(&topics) {
            log.backlog(name, 0, *backlog);
            let mut available = vec![0; *backlog as usize];
            let mut acks: Vec<_> = live.clone();
            acks.sort_by_key(|(_, ack)| *ack);
            for (count, ack) in acks {
                log.live(name, 0, u64::from(count), (ack, 0));
                available.extend(vec![ack + 50; count.into()]);
            }
            records.push(available);
        }
        log.start(0, true);
        let mut taken = [0_usize; 3];
        let mut expected = [(0_u64, 0_u64); 3];
        let mut runs = [0_u64; 3];
        let mut last = [None::<u64>; 3];
        let mut now = 20;
        let mut any = false;
        for (length, wants) in &polls {
            let (begin, end) = (now, now + length);
            now = end;
            let counts: Vec<usize> = (0..3).map(|t| (wants[t] as usize).min(records[t].len() - taken[t])).collect();
            let ranges: Vec<(&str, u32, i64, u64)> = (0..3)
                .filter(|t| counts[*t] > 0)
                .map(|t| (names[t], 0, taken[t] as i64, counts[t] as u64))
                .collect();
            if ranges.is_empty() {
                continue;
            }
            log.poll(begin, end, &ranges);
            for t in 0..3 {
                let origin = *last[t].get_or_insert(begin);
                let waiting = records[t][taken[t]..].iter().copied().min();
                if counts[t] == 0 {
                    runs[t] = if waiting.is_some_and(|w| w <= begin) { runs[t] + 1 } else { 0 };
                    expected[t].0 = expected[t].0.max(runs[t]);
                } else {
                    runs[t] = 0;
                    let gap = end.saturating_sub(origin.max(waiting.unwrap()));
                    expected[t].1 = expected[t].1.max(gap);
                    taken[t] += counts[t];
                    last[t] = Some(end);
                }
            }
            any = true;
        }
        prop_assume!(any);
        log.emit(Body::Phase { phase: Phase::Stop });
        log.events.last_mut().unwrap().t_ns = ms(now + 500);
        for t in 0..3 {
            if let Some(waiting) = records[t][taken[t]..].iter().copied().min() {
                let gap = (now + 500).saturating_sub(last[t].unwrap().max(waiting));
                expected[t].1 = expected[t].1.max(gap);
            }
        }
        let found = analysis(&log);
        for (name, (polls, gap)) in names.iter().zip(expected) {
            prop_assert_eq!(found.topics[*name]["starved_polls"], polls as f64, "{}", name);
            prop_assert_eq!(found.topics[*name]["service_gap_ms"], gap as f64, "{}", name);
        }
    }
}
