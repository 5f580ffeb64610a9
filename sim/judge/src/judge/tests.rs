use super::*;
use crate::event::{Body, Origin, Outcome};
use crate::summary::{GateVerdict, Verdict};
use crate::testing::{Log, ms};

/// A run of `mode` in which `sensor` is passed over by `starved` polls; the drain takes
/// `10 × (starved + 1)` ms.
fn run(log: &mut Log, mode: &str, number: u32, starved: u64) {
    log.mode(mode, number);
    log.backlog("orders", 0, 100);
    log.backlog("sensor", 0, 5);
    log.start(0, true);
    log.poll(20, 30, &[("orders", 0, 0, 5), ("sensor", 0, 0, 1)]);
    let mut offset = 5;
    for i in 0..starved {
        log.poll(30 + 10 * i, 40 + 10 * i, &[("orders", 0, offset, 5)]);
        offset += 5;
    }
    let t = 30 + 10 * starved;
    log.poll(t, t + 10, &[("orders", 0, offset, (100 - offset).unsigned_abs()), ("sensor", 0, 1, 4)]);
    log.finish(t + 100);
}

fn two_modes() -> Log {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    log.header.modes.clear();
    run(&mut log, "single", 1, 10);
    run(&mut log, "fair", 1, 0);
    for topic in &mut log.header.topics {
        topic.backlog /= 2;
    }
    log
}

fn summary(log: &Log) -> Summary {
    judge(&log.whole()).unwrap().summary
}

#[test]
fn a_scenario_passes_when_audit_demonstrates_and_gates_hold() {
    let mut log = two_modes();
    log.demonstrates("single.starved_polls_max >= 10");
    log.gate("fair.starved_polls_max <= 1");
    log.gate("fair.drain_s <= 1.10 * single.drain_s");
    log.gate("fair.lost + fair.undelivered + fair.committed_behind == 0");
    let judgement = judge(&log.whole()).unwrap();
    let summary = judgement.summary;
    assert_eq!((summary.verdict, summary.reasons.as_slice()), (Verdict::Pass, &[][..]));
    assert_eq!(summary.mode_order, ["single", "fair"]);
    let verdicts: Vec<GateVerdict> = summary.gates.iter().map(|gate| gate.verdict).collect();
    assert_eq!(verdicts, [GateVerdict::Pass, GateVerdict::Indicative, GateVerdict::Pass]);
    assert_eq!((summary.gates[1].left, summary.gates[1].holds), (Some(0.01), Some(true)));
    let timelines: Vec<(&str, u32)> = judgement.timelines.iter().map(|t| (t.mode.as_str(), t.run)).collect();
    assert_eq!(timelines, [("single", 1), ("fair", 1)]);
}

#[test]
fn a_failed_fairness_gate_says_which_topic_which_polls_when_and_who_took_the_share() {
    let mut log = two_modes();
    log.gate("single.starved_polls_max <= 1");
    log.gate("max(single.service_gap_ms{sens*}) <= 50");
    let summary = summary(&log);
    assert_eq!(summary.verdict, Verdict::Fail);
    assert_eq!(
        summary.gates[0].detail.as_deref(),
        Some(
            "in single, sensor had records and got none from 30 to 130 ms (100 ms; polls 2–11, 10 of them); \
             orders took 50 records"
        )
    );
    assert_eq!(
        summary.gates[1].detail.as_deref(),
        Some(
            "in single, sensor had records and got none from 30 to 140 ms (110 ms; polls 2–11, 10 of them); \
             orders took 50 records"
        )
    );
    assert!(summary.reasons[0].starts_with("gate failed: single.starved_polls_max <= 1 (10 against 1)"));
}

#[test]
fn a_gate_without_figures_fails_and_names_what_is_missing() {
    let mut log = two_modes();
    log.gate("fair.wait_p99_ms <= 50");
    log.gate("fair drain_s");
    let summary = summary(&log);
    assert_eq!(summary.verdict, Verdict::Fail);
    assert_eq!(summary.gates[0].verdict, GateVerdict::Absent);
    assert_eq!(summary.gates[0].detail.as_deref(), Some("not measured: fair.wait_p99_ms"));
    assert!(summary.gates[1].detail.as_deref().unwrap().starts_with("not a gate"));
}

#[test]
fn a_scenario_that_cannot_tell_the_modes_apart_is_inconclusive_unless_something_failed() {
    let mut log = two_modes();
    log.demonstrates("single.starved_polls_max >= 20");
    let doubtful = summary(&log);
    assert_eq!(doubtful.verdict, Verdict::Inconclusive);
    assert!(doubtful.reasons[0].contains("cannot tell the modes apart"), "{:?}", doubtful.reasons);
    log.gate("fair.starved_polls_max >= 1");
    let failed = summary(&log);
    assert_eq!(failed.verdict, Verdict::Fail);
    assert!(failed.reasons[0].starts_with("gate failed"), "the weightiest reason comes first");
}

#[test]
fn the_auditor_fails_a_scenario_without_any_gate() {
    let mut log = two_modes();
    log.ranges_mut().last().unwrap().pop();
    let found = summary(&log);
    assert_eq!(found.verdict, Verdict::Fail);
    assert_eq!(found.audit["fair"].lost, 4);
    assert!(
        found.reasons[0].contains("fair: 4 records lost, for example: lost: sensor"),
        "{:?}",
        found.reasons
    );
    assert_eq!(found.modes["fair"].metrics["lost"], 4.0);
    assert_eq!(found.modes["single"].metrics["lost"], 0.0);
}

#[test]
fn what_a_fault_has_delivered_again_fails_nothing() {
    let repeated = |fault: Option<&str>| {
        let mut log = two_modes();
        log.events.retain(|event| {
            !matches!(event.body, Body::RunEnded { .. }) || event.mode.as_deref() != Some("fair")
        });
        if let Some(kind) = fault {
            let kind = kind.to_owned();
            log.emit(Body::Fault { kind, topic: None, node: None, life: None, begins: true });
        }
        log.assign(200, 2);
        log.poll(200, 210, &[("sensor", 0, 3, 2)]);
        log.bye(220);
        log.emit(Body::RunEnded { outcome: Outcome::Finished });
        let summary = summary(&log);
        let audit = &summary.audit["fair"];
        (summary.verdict, audit.duplicated, audit.redelivered)
    };
    assert_eq!(repeated(None), (Verdict::Fail, 2, 0));
    for harmless in ["topic_fetch_errors", "topic_forbidden"] {
        assert_eq!(repeated(Some(harmless)), (Verdict::Fail, 2, 0), "{harmless}");
    }
    assert_eq!(repeated(Some("coordinator_moved")), (Verdict::Pass, 0, 2));
}

#[test]
fn a_hole_in_the_measurement_is_inconclusive() {
    let mut log = two_modes();
    log.emit(Body::Flaw { what: "no samples for 6 s".to_owned() });
    let found = summary(&log);
    assert_eq!(found.verdict, Verdict::Inconclusive);
    assert_eq!(found.reasons, ["fair: no samples for 6 s"]);
}

fn ended(outcome: Outcome) -> Log {
    let mut log = two_modes();
    let last = log.events.iter_mut().rev().find(|event| matches!(event.body, Body::RunEnded { .. })).unwrap();
    last.body = Body::RunEnded { outcome };
    let ranges = log.ranges_mut().last().unwrap();
    ranges.pop();
    for event in &mut log.events {
        if let Body::BrokerOffsets { topic, committed, .. } = &mut event.body
            && topic == "sensor"
            && event.mode.as_deref() == Some("fair")
        {
            *committed = Some(1);
        }
    }
    log.gate("fair.drain_s <= 5");
    log
}

#[test]
fn a_deadline_fails_and_says_how_much_is_undelivered() {
    let found = summary(&ended(Outcome::Deadline));
    assert_eq!(found.verdict, Verdict::Fail);
    assert!(
        found.reasons[0].contains("fair: the deadline of 60 s passed, 4 records undelivered"),
        "{:?}",
        found.reasons
    );
}

#[test]
fn a_run_that_broke_off_is_inconclusive_with_partial_figures_and_accuses_nobody() {
    for outcome in [Outcome::Interrupted, Outcome::Failed { what: "worker killed by signal 9".to_owned() }] {
        let found = summary(&ended(outcome));
        assert_eq!(found.verdict, Verdict::Inconclusive, "{:?}", found.reasons);
        assert_eq!(found.gates[0].verdict, GateVerdict::Absent);
        assert_eq!(found.modes["fair"].metrics["records_per_poll_max"], 95.0);
    }
    let failed = summary(&ended(Outcome::Failed { what: "worker killed by signal 9".to_owned() }));
    assert_eq!(failed.reasons, ["fair failed: worker killed by signal 9"]);
}

#[test]
fn a_mode_that_was_never_run_is_inconclusive() {
    let mut log = two_modes();
    log.gate("fair.drain_s <= 5");
    log.events.retain(|event| event.mode.as_deref() != Some("fair"));
    let found = summary(&log);
    assert_eq!(found.verdict, Verdict::Inconclusive);
    assert_eq!(found.reasons, ["fair: the log has 0 of 1 runs"]);
}

#[test]
fn a_late_producer_counts_only_where_a_gate_rests_on_waits() {
    let mut log = two_modes();
    log.events.retain(|event| event.mode.as_deref() == Some("fair"));
    log.header.modes.remove(0);
    log.live("sensor", 0, 30, (200, 1));
    let Some(Body::Produced { sent_ns, origin: Origin::Live, .. }) =
        log.events.last_mut().map(|event| &mut event.body)
    else {
        panic!("a live batch was written last");
    };
    *sent_ns += ms(21);
    let end = log.events.iter().position(|event| matches!(event.body, Body::RunEnded { .. })).unwrap();
    let produced = log.events.pop().unwrap();
    log.events.insert(end, produced);
    log.header.topics[1].deliverable = false;
    assert_eq!(summary(&log).verdict, Verdict::Pass, "{:?}", summary(&log).reasons);
    log.demonstrates("0 <= fair.wait_max_ms + 1");
    let late = summary(&log).reasons.join("; ");
    assert!(late.contains("handed over 21 ms late"), "{late}");
}

/// `fair` follows a producer of two topics, a poll every 10 ms; `sensor` is passed over by the polls
/// that begin in `starved` (ms). The broker takes long to acknowledge the orders that are handed over
/// within `stall` (ms): until its end.
fn with_a_stall(stall: (u64, u64), starved: (u64, u64)) -> Log {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    for n in 0..2_000 {
        log.live("orders", 0, 1, (n, 0));
        let sent = ms(n);
        if let Some(Body::Produced { ack_ns, .. }) = log.events.last_mut().map(|event| &mut event.body)
            && (ms(stall.0)..ms(stall.1)).contains(&sent)
        {
            *ack_ns = ms(stall.1);
        }
    }
    for n in 0..20 {
        log.live("sensor", 0, 1, (100 * n, 0));
    }
    log.start(0, true);
    log.poll(10, 11, &[("orders", 0, 0, 10), ("sensor", 0, 0, 1)]);
    let mut sensor = 1;
    for n in 1_u64..200 {
        let t: u64 = 10 * (n + 1);
        let due = i64::try_from(t.div_ceil(100).min(20)).unwrap();
        let mut takes = vec![("orders", 0, 10 * i64::try_from(n).unwrap(), 10)];
        if !(starved.0..starved.1).contains(&t) && due > sensor {
            takes.push(("sensor", 0, sensor, (due - sensor).unsigned_abs()));
            sensor = due;
        }
        log.poll(t, t + 1, &takes);
    }
    log.finish(2_020);
    log.gate("fair.starved_polls_max <= 1");
    log
}

#[test]
fn what_happens_while_the_broker_stands_still_accuses_nobody() {
    let quiet = summary(&with_a_stall((1_000, 1_000), (0, 0)));
    assert_eq!(quiet.verdict, Verdict::Pass, "{:?}", quiet.reasons);
    let stalled = summary(&with_a_stall((1_000, 1_200), (1_010, 1_240)));
    assert_eq!(stalled.verdict, Verdict::Inconclusive, "{:?}", stalled.reasons);
    let reason = stalled.reasons.join("; ");
    assert!(reason.contains("in fair the broker or the machine stood still for up to 200 ms"), "{reason}");
    assert!(reason.contains("without these moments the gate holds (0 against 1)"), "{reason}");
    assert_eq!(stalled.gates[0].verdict, GateVerdict::Fail, "the figure itself is told as it is");
    let quick = summary(&with_a_stall((1_000, 1_049), (1_010, 1_240)));
    assert_eq!(quick.verdict, Verdict::Fail, "as fast as the judge assumes");
    let elsewhere = summary(&with_a_stall((200, 400), (1_010, 1_240)));
    assert_eq!(elsewhere.verdict, Verdict::Fail, "at another time");
    let longer = summary(&with_a_stall((1_000, 1_200), (1_010, 1_900)));
    assert_eq!(longer.verdict, Verdict::Fail, "for longer than the broker stood still");
}

#[test]
fn a_machine_that_could_not_look_at_the_worker_could_not_run_it_either() {
    let sampled_every = |every| {
        let mut log = with_a_stall((0, 0), (1_010, 1_240));
        for t in (400..2_000).step_by(every) {
            log.emit(Body::Sample {
                life: 1,
                rss_kib: 1_000,
                rss_peak_kib: 1_000,
                threads: 5,
                connections: Some(2),
                cpu_ms: 10,
            });
            let mut sample = log.events.pop().unwrap();
            sample.t_ns = ms(t);
            let at = log.events.iter().position(|event| event.t_ns > ms(t)).unwrap();
            log.events.insert(at, sample);
        }
        summary(&log).verdict
    };
    assert_eq!(sampled_every(100), Verdict::Fail);
    assert_eq!(sampled_every(600), Verdict::Inconclusive);
}

#[test]
fn a_stall_that_a_fault_caused_excuses_nothing() {
    let with_fault = |kind, of_process: bool| {
        let mut log = with_a_stall((1_000, 1_200), (1_010, 1_240));
        let position = log.events.iter().position(|event| event.t_ns > ms(1_100)).unwrap();
        log.fault(1_100, kind, None, true);
        let event = log.events.pop().unwrap();
        assert_eq!(matches!(event.body, Body::Fault { life: Some(_), .. }), of_process);
        log.events.insert(position, event);
        summary(&log).verdict
    };
    assert_eq!(with_fault("leader_moved", false), Verdict::Fail);
    assert_eq!(with_fault("instance_joins", true), Verdict::Inconclusive);
    assert_eq!(with_fault("poison_record", false), Verdict::Inconclusive, "it troubles no broker");
}

#[test]
fn a_broker_that_is_always_slow_hides_no_long_starvation() {
    let mut log = with_a_stall((0, 0), (1_010, 1_900));
    for event in &mut log.events {
        if let Body::Produced { ack_ns, .. } = &mut event.body {
            *ack_ns += ms(100);
        }
    }
    assert_eq!(summary(&log).verdict, Verdict::Fail);
    log.header.gates.clear();
    log.gate("fair.wait_max_ms <= 800");
    assert_eq!(summary(&log).verdict, Verdict::Fail, "nine answers' time");
    log.header.gates.clear();
    log.gate("fair.wait_p50_ms <= 5");
    assert_eq!(summary(&log).verdict, Verdict::Inconclusive);
}

#[test]
fn several_runs_give_medians_sums_and_the_worst_run_by_name() {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    log.header.modes.clear();
    log.header.runs = 3;
    for (number, starved) in [(1, 2), (2, 9), (3, 3)] {
        run(&mut log, "fair", number, starved);
    }
    log.gate("fair.starved_polls_max <= 1");
    log.ranges_mut().last().unwrap()[0].id_sum += 1;
    let found = summary(&log);
    let fair = &found.modes["fair"];
    assert_eq!(fair.metrics["starved_polls_max"], 3.0);
    assert_eq!(fair.topics["sensor"]["starved_polls"], 3.0);
    let single: Vec<f64> = fair.runs.iter().map(|run| run.metrics["starved_polls_max"]).collect();
    assert_eq!(single, [2.0, 9.0, 3.0]);
    assert_eq!(found.audit["fair"].corrupted, fair.metrics["corrupted"] as u64, "sums, no medians");
    assert!(fair.metrics["corrupted"] > 0.0);
    assert!(
        found.audit["fair"].findings[0].starts_with("run 3: corrupted"),
        "{:?}",
        found.audit["fair"].findings
    );
    assert!(found.gates[0].detail.as_deref().unwrap().starts_with("in fair of run 2, sensor"));
}

#[test]
fn a_figure_that_one_run_lacks_is_missing() {
    let metrics =
        |pairs: &[(&str, f64)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect::<Metrics>();
    let runs = [metrics(&[("a", 1.0), ("b", 2.0)]), metrics(&[("a", 4.0)])];
    assert_eq!(medians(runs.iter()), metrics(&[("a", 2.5)]));
}

#[test]
fn the_same_log_gives_the_same_judgement() {
    let log = two_modes().whole();
    assert_eq!(judge(&log).unwrap(), judge(&log).unwrap());
}

#[test]
fn a_log_without_a_header_is_refused() {
    assert!(matches!(judge(&[]), Err(LogError::NoHeader)));
    let mut log = two_modes();
    log.header.version = 7;
    assert!(matches!(judge(&log.whole()), Err(LogError::Version { found: 7 })));
}
