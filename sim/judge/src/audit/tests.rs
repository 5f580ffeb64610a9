use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::protocol::{DeliveredRange, PartitionOffset, RecordPlace};
use crate::testing::{Log, ms};

/// 30 records of `orders`, 10 of `sensor`, delivered in three polls.
fn clean() -> Log {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    log.backlog("orders", 0, 30);
    log.backlog("sensor", 0, 10);
    log.start(0, true);
    log.poll(20, 21, &[("orders", 0, 0, 10), ("sensor", 0, 0, 10)]);
    log.poll(21, 22, &[("orders", 0, 10, 10)]);
    log.poll(22, 23, &[("orders", 0, 20, 10)]);
    log.finish(30);
    log
}

fn report(log: &Log) -> AuditReport {
    audit(&log.header, &log.events.iter().collect::<Vec<_>>())
}

fn split(range: &DeliveredRange, log: &Log, pieces: &[(i64, u64)]) -> Vec<DeliveredRange> {
    pieces.iter().map(|(first, count)| log.range(&range.topic, range.partition, *first, *count)).collect()
}

/// Replaces the single range of poll 2 by pieces `(first, count)`.
fn spoil(pieces: &[(i64, u64)]) -> AuditReport {
    let mut log = clean();
    let source = log.clone();
    let ranges = log.ranges_mut().nth(1).unwrap();
    *ranges = split(&ranges[0], &source, pieces);
    report(&log)
}

#[test]
fn a_clean_run_has_no_findings() {
    let report = report(&clean());
    assert_eq!(report, AuditReport::default());
}

#[test]
fn a_removed_record_is_named_as_lost_below_the_committed_offset() {
    let report = spoil(&[(10, 5), (16, 4)]);
    assert_eq!((report.audit.lost, report.audit.undelivered, report.audit.duplicated), (1, 0, 0));
    let finding = &report.audit.findings[0];
    for word in ["lost", "orders partition 0", "offset 15", "poll 2"] {
        assert!(finding.contains(word), "{finding}");
    }
}

#[test]
fn a_removed_record_above_the_committed_offset_is_undelivered() {
    let mut log = clean();
    let source = log.clone();
    let ranges = log.ranges_mut().nth(2).unwrap();
    *ranges = split(&ranges[0], &source, &[(20, 9)]);
    for event in &mut log.events {
        if let Body::BrokerOffsets { topic, committed, .. } = &mut event.body
            && topic == "orders"
        {
            *committed = Some(29);
        }
    }
    let report = report(&log);
    assert_eq!((report.audit.lost, report.audit.undelivered), (0, 1));
    assert!(report.audit.findings[0].contains("offset 29"), "{:?}", report.audit.findings);
}

#[test]
fn a_doubled_record_is_named_as_duplicated() {
    let report = spoil(&[(10, 6), (15, 5)]);
    assert_eq!((report.audit.duplicated, report.audit.lost), (1, 0));
    let findings = report.audit.findings.join("\n");
    assert!(findings.contains("duplicated: orders partition 0 offset 15, in polls 2 and 2"), "{findings}");
}

#[test]
fn swapped_records_are_named_as_out_of_order() {
    let report = spoil(&[(10, 5), (16, 1), (15, 1), (17, 3)]);
    assert_eq!((report.audit.out_of_order, report.audit.duplicated, report.audit.lost), (1, 0, 0));
    let finding = &report.audit.findings[0];
    assert!(finding.contains("offset 15 in poll 2, after offset 16"), "{finding}");
}

#[test]
fn a_foreign_payload_is_named_as_corrupted() {
    let mut log = clean();
    log.ranges_mut().nth(1).unwrap()[0].id_sum += 1;
    let report = report(&log);
    assert_eq!(report.audit.corrupted, 10, "no record of the range can be trusted");
    assert!(
        report.audit.findings[0].contains("offsets 10–19 (10 records) in poll 2"),
        "{:?}",
        report.audit.findings
    );
}

#[test]
fn records_that_nobody_produced_are_corrupted() {
    let mut log = clean();
    let source = log.clone();
    log.ranges_mut().nth(2).unwrap()[0] = source.range("orders", 0, 20, 12);
    let report = report(&log);
    assert_eq!(report.audit.corrupted, 2);
    assert!(
        report.audit.findings[0].contains("2 of them were never produced"),
        "{:?}",
        report.audit.findings
    );
}

#[test]
fn id_sums_are_checked_across_batches_and_modulo_two_to_the_64() {
    let mut log = Log::new(&[("orders", 1)]);
    for _ in 0..3 {
        log.backlog("orders", 0, 50_000);
    }
    log.start(0, true);
    log.poll(20, 21, &[("orders", 0, 0, 120_000)]);
    log.poll(21, 22, &[("orders", 0, 120_000, 30_000)]);
    log.finish(30);
    assert_eq!(report(&log), AuditReport::default());
}

#[test]
fn a_commit_beyond_an_unprocessed_poll_is_past_a_gap() {
    let mut log = Log::new(&[("orders", 1)]);
    log.backlog("orders", 0, 20);
    log.start(0, true);
    log.poll(20, 21, &[("orders", 0, 0, 10)]);
    log.unprocessed_poll(21, 22, &[("orders", 0, 10, 10)]);
    log.finish(30);
    let spoilt = |to: i64| {
        let mut log = log.clone();
        for event in &mut log.events {
            if let Body::BrokerOffsets { committed, .. } = &mut event.body {
                *committed = Some(to);
            }
        }
        report(&log).audit
    };
    assert_eq!((spoilt(10).committed_past_gap, spoilt(10).committed_behind), (0, 0));
    assert_eq!((spoilt(14).committed_past_gap, spoilt(14).committed_behind), (4, 0));
    assert_eq!((spoilt(7).committed_past_gap, spoilt(7).committed_behind), (0, 3));
    assert!(spoilt(14).findings[0].contains("offset 10 was not processed"), "{:?}", spoilt(14).findings);
}

#[test]
fn whom_the_group_gave_up_after_a_fault_could_not_commit_and_is_not_behind() {
    let behind = |fault: bool, lost: bool| {
        let mut log = Log::new(&[("orders", 1)]);
        log.backlog("orders", 0, 20);
        log.start(0, true);
        if fault {
            log.fault(15, "broker_down", None, true);
        }
        log.poll(20, 21, &[("orders", 0, 0, 20)]);
        let partitions = vec![TopicPartition { topic: "orders".to_owned(), partition: 0 }];
        log.line(WorkerLine::Revoked { t_ns: ms(25), generation: 1, partitions, lost });
        log.finish(30);
        for event in &mut log.events {
            if let Body::BrokerOffsets { committed, .. } = &mut event.body {
                *committed = Some(7);
            }
        }
        report(&log).audit.committed_behind
    };
    assert_eq!(behind(true, true), 0);
    assert_eq!(behind(true, false), 13, "it had the chance");
    assert_eq!(behind(false, true), 13, "nothing excuses it");
}

/// A rebalance takes `orders` away, its commit in it is answered so, and whoever gets it ends before it says so.
fn given_back_in_a_rebalance(error: Option<&str>, goes_on: bool) -> u64 {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    log.backlog("orders", 0, 20);
    log.backlog("sensor", 0, 5);
    log.start(0, true);
    log.fault(15, "instance_leaves", None, true);
    log.poll(20, 21, &[("orders", 0, 0, 20)]);
    let offsets = vec![PartitionOffset { topic: "orders".to_owned(), partition: 0, offset: 20 }];
    log.line(WorkerLine::CommitSent { t_ns: ms(22), id: 1, offsets });
    log.line(WorkerLine::CommitResult { t_ns: ms(23), id: 1, error: error.map(str::to_owned) });
    let partitions = vec![TopicPartition { topic: "orders".to_owned(), partition: 0 }];
    log.line(WorkerLine::Revoked { t_ns: ms(25), generation: 1, partitions, lost: false });
    if goes_on {
        log.poll(26, 27, &[("sensor", 0, 0, 5)]);
    }
    log.finish(30);
    for event in &mut log.events {
        if let Body::BrokerOffsets { topic, committed, .. } = &mut event.body
            && topic == "orders"
        {
            *committed = Some(7);
        }
    }
    report(&log).audit.committed_behind
}

#[test]
fn whose_commit_a_rebalance_refused_and_who_went_on_without_the_partition_is_not_behind() {
    let refused = Some("orders [0]: Broker: Group rebalance in progress");
    assert_eq!(given_back_in_a_rebalance(refused, true), 0);
    assert_eq!(given_back_in_a_rebalance(None, true), 13, "it was taken, and is gone");
    assert_eq!(given_back_in_a_rebalance(refused, false), 13, "a stop tries again");
}

#[test]
fn what_cannot_be_asked_for_is_unknown_and_not_clean() {
    let mut log = clean();
    for event in &mut log.events {
        if let Body::BrokerOffsets { committed_known, committed, .. } = &mut event.body {
            (*committed_known, *committed) = (false, None);
        }
    }
    assert_eq!(report(&log).unknown, ["committed_past_gap", "committed_behind"]);
    let mut log = clean();
    log.events
        .retain(|event| !matches!(&event.body, Body::Worker { line: WorkerLine::Processed { .. }, .. }));
    assert_eq!(report(&log).unknown, ["committed_past_gap", "committed_behind"]);
    assert_eq!(report(&log).audit, Audit::default());
}

/// Poll 2 brought offsets 10 to 19 of `orders`; processing offset 15 failed in it.
fn with_a_failed_record(committed: i64, recovered: bool) -> Audit {
    let place = || RecordPlace { topic: "orders".to_owned(), partition: 0, offset: 15 };
    let mut log = clean();
    for event in &mut log.events {
        match &mut event.body {
            Body::Worker { line: WorkerLine::Processed { seq: 2, failed, .. }, .. } => failed.push(place()),
            Body::BrokerOffsets { topic, committed: told, .. } if topic == "orders" => {
                *told = Some(committed)
            }
            _ => {}
        }
    }
    if recovered {
        let end = log.events.iter().position(|event| matches!(event.body, Body::BrokerOffsets { .. }));
        let line = WorkerLine::Recovered { t_ns: ms(24), records: vec![place()] };
        let event = Event { body: Body::Worker { life: 1, line }, ..log.events[0].clone() };
        log.events.insert(end.expect("offsets"), event);
    }
    report(&log).audit
}

#[test]
fn a_record_on_which_processing_failed_is_a_gap_until_it_recovers() {
    let counts = |audit: Audit| (audit.committed_past_gap, audit.committed_behind);
    assert_eq!(counts(with_a_failed_record(15, false)), (0, 0), "everything before it is committed");
    assert_eq!(counts(with_a_failed_record(30, false)), (1, 0), "it was not processed");
    assert_eq!(counts(with_a_failed_record(12, false)), (0, 3), "those before it were");
    assert_eq!(counts(with_a_failed_record(30, true)), (0, 0));
    assert_eq!(counts(with_a_failed_record(15, true)), (0, 15), "nothing holds the commits back any more");
}

#[test]
fn a_reassignment_may_step_back_and_is_then_a_duplicate_only() {
    let mut log = Log::new(&[("orders", 1)]);
    log.backlog("orders", 0, 20);
    log.start(0, true);
    log.poll(20, 21, &[("orders", 0, 0, 10)]);
    log.assign(22, 2);
    log.poll(23, 24, &[("orders", 0, 5, 15)]);
    log.finish(30);
    let audit = report(&log).audit;
    assert_eq!((audit.duplicated, audit.out_of_order), (5, 0));
}

#[test]
fn a_second_life_that_repeats_the_first_delivers_duplicates() {
    let mut log = Log::new(&[("orders", 1)]);
    log.backlog("orders", 0, 20);
    log.start(0, false);
    log.poll(20, 21, &[("orders", 0, 0, 10)]);
    log.bye(22);
    log.start(30, true);
    log.poll(50, 51, &[("orders", 0, 8, 12)]);
    log.finish(60);
    let audit = report(&log).audit;
    assert_eq!((audit.duplicated, audit.out_of_order, audit.undelivered), (2, 0, 0));
    assert!(audit.findings[0].contains("in polls 1 and 1 of life 2"), "{:?}", audit.findings);
}

#[test]
fn a_topic_that_cannot_be_delivered_is_not_undelivered() {
    let mut log = Log::new(&[("orders", 1), ("broken", 1)]);
    log.backlog("orders", 0, 10);
    log.backlog("broken", 0, 10);
    log.start(0, true);
    log.poll(20, 21, &[("orders", 0, 0, 10)]);
    log.finish(30);
    assert_eq!(report(&log).audit.undelivered, 10);
    log.header.topics[1].deliverable = false;
    assert_eq!(report(&log).audit.undelivered, 0);
}

#[test]
fn holes_in_the_log_are_flaws() {
    let flaws = |spoil: &dyn Fn(&mut Log)| {
        let mut log = clean();
        spoil(&mut log);
        report(&log).flaws.join("; ")
    };
    let polls = |log: &Log| -> Vec<usize> {
        let is_poll =
            |event: &Event| matches!(&event.body, Body::Worker { line: WorkerLine::Poll { .. }, .. });
        (0..log.events.len()).filter(|index| is_poll(&log.events[*index])).collect()
    };
    let missing = flaws(&|log| drop(log.events.remove(polls(log)[1])));
    assert!(missing.contains("poll 2 of life 1 is missing"), "{missing}");
    let tail = flaws(&|log| drop(log.events.remove(polls(log)[2])));
    assert!(tail.contains("says it made 3 polls, the log has 2"), "{tail}");
    let count = flaws(&|log| log.ranges_mut().next().unwrap()[0].count = 9);
    assert!(count.contains("says 9 records for offsets 0–9"), "{count}");
    let told = flaws(&|log| log.emit(Body::Flaw { what: "no samples for 3 s".to_owned() }));
    assert_eq!(told, "no samples for 3 s");
    let silent = flaws(&|log| {
        log.events.retain(|event| !matches!(&event.body, Body::Worker { line: WorkerLine::Bye { .. }, .. }));
    });
    assert!(silent.contains("without its closing line"), "{silent}");
    let twice = flaws(&|log| {
        let again = log.events.iter().find(|e| matches!(e.body, Body::Produced { .. })).cloned().unwrap();
        log.events.push(again);
    });
    assert!(twice.contains("the producer reports offset 0 twice"), "{twice}");
}

#[test]
fn an_advanced_log_start_is_eviction_on_the_embedded_broker_and_retention_elsewhere() {
    let mut log = clean();
    log.ranges_mut().next().unwrap().remove(0);
    for event in &mut log.events {
        if let Body::BrokerOffsets { topic, log_start, .. } = &mut event.body
            && topic == "orders"
        {
            *log_start = 10;
        }
    }
    let elsewhere = report(&log);
    assert_eq!((elsewhere.audit.skipped_by_retention, elsewhere.audit.lost), (10, 0));
    assert_eq!(elsewhere.flaws, Vec::<String>::new());
    log.header.broker = "embedded".to_owned();
    assert!(report(&log).flaws[0].contains("evicted the records below offset 10"));
}

#[test]
fn findings_are_capped_and_say_so() {
    let mut log = Log::new(&[("orders", 1)]);
    log.backlog("orders", 0, 200);
    log.start(0, true);
    let odd: Vec<(&str, u32, i64, u64)> = (0..100).map(|i| ("orders", 0, 2 * i, 1)).collect();
    log.poll(20, 21, &odd);
    log.finish(30);
    let audit = report(&log).audit;
    assert_eq!(audit.lost + audit.undelivered, 100);
    assert_eq!(audit.findings.len(), 21);
    // A hundred holes and one commit beyond them.
    assert_eq!(audit.findings[20], "and 81 further findings");
}

#[test]
fn offsets_at_the_edge_of_the_number_range_do_not_panic() {
    let mut log = clean();
    let range = &mut log.ranges_mut().next().unwrap()[0];
    (range.first, range.last, range.count) = (i64::MAX - 1, i64::MAX, u64::MAX);
    assert!(!report(&log).flaws.is_empty());
}

type RandomPoll = (bool, Vec<(i64, u64)>);

/// One partition's random life: batches produced, ranges delivered per poll, polls processed.
#[derive(Debug, Clone)]
struct Schedule {
    batches: Vec<u64>,
    /// Per life and poll: ranges (first, count), and whether an assignment came before the poll.
    lives: Vec<Vec<RandomPoll>>,
    processed: Vec<u64>,
    committed: Option<i64>,
    log_start: i64,
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let poll = (prop::bool::weighted(0.2), prop::collection::vec((0_i64..40, 1_u64..12), 1..4));
    let life = prop::collection::vec(poll, 0..6);
    (
        prop::collection::vec(1_u64..15, 0..4),
        prop::collection::vec(life, 1..3),
        prop::collection::vec(0_u64..7, 2),
        prop::option::of(0_i64..45),
        prop_oneof![3 => Just(0_i64), 1 => 0_i64..20],
    )
        .prop_map(|(batches, lives, processed, committed, log_start)| Schedule {
            batches,
            lives,
            processed,
            committed,
            log_start,
        })
}

/// Record by record, as the definitions are written.
fn naive(schedule: &Schedule) -> Audit {
    let end = schedule.batches.iter().sum::<u64>() as i64;
    let produced: BTreeSet<i64> = (0..end).collect();
    let committed = schedule.committed.unwrap_or(0);
    let mut times: BTreeMap<i64, u64> = BTreeMap::new();
    let mut processed = BTreeSet::new();
    let mut audit = Audit::default();
    for (life, polls) in schedule.lives.iter().enumerate() {
        let mut highest = None;
        for (seq, (assigned, ranges)) in polls.iter().enumerate() {
            if *assigned {
                highest = None;
            }
            for (first, count) in ranges {
                for offset in *first..*first + *count as i64 {
                    *times.entry(offset).or_default() += 1;
                    audit.out_of_order += u64::from(highest.is_some_and(|highest| offset <= highest));
                    audit.corrupted += u64::from(!produced.contains(&offset));
                    highest = highest.max(Some(offset));
                    if (seq as u64) < schedule.processed[life] {
                        processed.insert(offset);
                    }
                }
            }
        }
    }
    let unprocessed: BTreeSet<i64> =
        produced.difference(&processed).copied().filter(|offset| *offset >= schedule.log_start).collect();
    for offset in &produced {
        match times.get(offset) {
            Some(1) => {}
            Some(_) => audit.duplicated += 1,
            None if *offset < schedule.log_start => audit.skipped_by_retention += 1,
            None if *offset < committed => audit.lost += 1,
            None => audit.undelivered += 1,
        }
        if *offset < committed && unprocessed.contains(offset) {
            audit.committed_past_gap += 1;
        }
        let before_the_gap = unprocessed.first().is_none_or(|gap| offset < gap);
        if *offset >= committed && processed.contains(offset) && before_the_gap {
            audit.committed_behind += 1;
        }
    }
    audit
}

proptest! {
    /// forall schedules: the auditor's range arithmetic equals a model that looks at every
    /// single record. (Fails, for instance, if `Intervals::repeated` forgets to keep the largest
    /// end, or if the order of deliveries is not reset by an assignment.)
    #[test]
    fn the_auditor_equals_a_model_that_looks_at_every_record(schedule in schedule()) {
        let mut log = Log::new(&[("orders", 1)]);
        for count in &schedule.batches {
            log.backlog("orders", 0, *count);
        }
        for (life, polls) in schedule.lives.iter().enumerate() {
            log.start(0, true);
            let mut generation = 1;
            for (assigned, ranges) in polls {
                if *assigned {
                    generation += 1;
                    log.assign(0, generation);
                }
                let ranges: Vec<_> = ranges.iter().map(|(first, count)| ("orders", 0, *first, *count)).collect();
                log.unprocessed_poll(1, 1, &ranges);
            }
            log.line(WorkerLine::Processed { seq: schedule.processed[life], t_ns: 0, failed: Vec::new() });
            log.bye(1);
        }
        log.emit(Body::BrokerOffsets {
            topic: "orders".to_owned(), partition: 0, log_start: schedule.log_start, log_end: 0,
            committed: schedule.committed, committed_known: true,
        });
        let found = Audit { findings: Vec::new(), ..report(&log).audit };
        prop_assert_eq!(found, naive(&schedule));
    }
}

/// `clean`, but the first ten records of `orders` are below the log's start and were not delivered.
fn overtaken() -> Log {
    let mut log = clean();
    log.ranges_mut().next().unwrap().remove(0);
    for event in &mut log.events {
        if let Body::BrokerOffsets { topic, log_start, .. } = &mut event.body
            && topic == "orders"
        {
            *log_start = 10;
        }
    }
    log
}

#[test]
fn what_the_scenario_had_removed_is_skipped_and_no_hole_in_the_measurement() {
    let removed_from = |topic: &str| {
        let mut log = overtaken();
        log.fault(30, "retention_overtakes", Some(topic), true);
        let report = report(&log);
        assert_eq!((report.audit.skipped_by_retention, report.audit.lost), (10, 0));
        let verdict = crate::judge::judge(&log.whole()).unwrap().summary.verdict;
        (report.skipped_unasked, verdict)
    };
    assert_eq!(removed_from("orders"), (0, crate::summary::Verdict::Pass));
    assert_eq!(removed_from("sensor"), (10, crate::summary::Verdict::Inconclusive));
}

#[test]
fn what_went_with_its_topic_is_neither_lost_nor_undelivered_but_what_was_committed_past_is() {
    let deleted = |committed: i64, fault: &str| {
        let mut log = Log::new(&[("orders", 1)]);
        log.backlog("orders", 0, 30);
        log.start(0, true);
        log.poll(20, 30, &[("orders", 0, 0, 10)]);
        let offsets = vec![PartitionOffset { topic: "orders".to_owned(), partition: 0, offset: committed }];
        log.line(WorkerLine::CommitSent { id: 1, t_ns: ms(30), offsets });
        log.line(WorkerLine::CommitResult { id: 1, t_ns: ms(31), error: None });
        log.fault(40, fault, Some("orders"), true);
        log.stop(50);
        log.bye(60);
        log.emit(Body::RunEnded { outcome: Outcome::Finished });
        let audit = report(&log).audit;
        (audit.lost, audit.undelivered, audit.skipped_by_retention)
    };
    assert_eq!(deleted(10, "topic_deleted"), (0, 0, 20));
    assert_eq!(deleted(13, "topic_deleted"), (3, 0, 17));
    assert_eq!(deleted(10, "slow_broker"), (0, 20, 0));
}
