use super::*;
use crate::judge::judge;
use crate::testing::Log;

/// `sensor` is passed over by `starved` polls; `slower` stretches every poll.
fn log(starved: u64, slower: u64) -> Log {
    let mut log = Log::new(&[("orders", 1), ("sensor", 1)]);
    log.backlog("orders", 0, 100);
    log.backlog("sensor", 0, 5);
    log.start(0, true);
    let step = 10 * slower;
    log.poll(20, 20 + step, &[("orders", 0, 0, 5), ("sensor", 0, 0, 1)]);
    let mut offset = 5;
    for i in 1..=starved {
        log.poll(20 + step * i, 20 + step * (i + 1), &[("orders", 0, offset, 5)]);
        offset += 5;
    }
    let t = 20 + step * (starved + 1);
    log.poll(t, t + step, &[("orders", 0, offset, (100 - offset).unsigned_abs()), ("sensor", 0, 1, 4)]);
    log.finish(t + step + 100);
    let mode = log.header.modes[0].name.clone();
    log.gate(&format!("{mode}.starved_polls_max <= 1"));
    log.gate(&format!("{mode}.drain_s <= 0.05"));
    log
}

fn arm(name: &str, log: &Log) -> Arm {
    let events = log.whole();
    let summary = judge(&events).unwrap().summary;
    Arm { name: name.to_owned(), summary, delivered: Delivered::read(&events) }
}

#[test]
fn the_same_log_agrees_with_itself() {
    let found = compare(&[arm("a", &log(0, 1)), arm("b", &log(0, 1))]);
    assert_eq!((found.agreement, found.differences), (Agreement::Agrees, vec![]));
    assert_eq!(found.gates.iter().map(|row| row.exact).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn timing_may_differ_and_is_told() {
    let found = compare(&[arm("a", &log(0, 1)), arm("b", &log(0, 3))]);
    assert_eq!(found.agreement, Agreement::Agrees, "{:?}", found.differences);
    let drain = found.timing.iter().find(|row| row.metric == "drain_s").unwrap();
    assert_eq!((drain.values.len(), drain.ratios[1]), (2, Some(3.0)));
    assert!(terminal(&found, 120).contains("drain_s"));
    assert!(markdown(&[found]).contains("drain_s | 0.010 | 0.030 | 3 |"));
}

#[test]
fn a_gate_on_counts_must_say_the_same_everywhere() {
    let found = compare(&[arm("a", &log(0, 1)), arm("b", &log(5, 1))]);
    assert_eq!(found.agreement, Agreement::Differs);
    assert!(found.differences[0].contains("holds on a and does not hold on b"), "{:?}", found.differences);
}

#[test]
fn other_verdicts_are_a_difference_even_where_only_the_clock_made_them() {
    let found = compare(&[arm("a", &log(0, 1)), arm("b", &log(0, 9))]);
    assert_eq!(found.agreement, Agreement::Differs);
    assert!(
        found.differences[0].starts_with("pass on a and fail on b: gate failed"),
        "{:?}",
        found.differences
    );
}

#[test]
fn other_records_are_a_difference() {
    let mut short = log(0, 1);
    short.ranges_mut().last().unwrap().retain(|range| range.topic != "sensor");
    let found = compare(&[arm("a", &log(0, 1)), arm("b", &short)]);
    let said = found.differences.join("; ");
    assert!(said.contains("sensor [0]: offsets 1 to 4 undelivered against everything delivered"), "{said}");
}

#[test]
fn another_backlog_is_a_difference() {
    let mut more = log(0, 1);
    more.backlog("orders", 0, 7);
    let found = compare(&[arm("a", &log(0, 1)), arm("b", &more)]);
    let said = found.differences.join("; ");
    assert!(said.contains("orders [0]: 107 records in the backlog against 100"), "{said}");
}

#[test]
fn nothing_can_be_said_of_an_inconclusive_arm() {
    let mut vague = log(0, 1);
    vague.demonstrates("single.starved_polls_max >= 20");
    let mode = vague.header.modes[0].name.clone();
    let expression = format!("{mode}.starved_polls_max >= 20");
    vague.header.demonstrates[0].expression = expression;
    let found = compare(&[arm("a", &log(0, 1)), arm("b", &vague)]);
    assert_eq!(found.agreement, Agreement::Undecided);
    assert_eq!(compare(&[arm("a", &log(0, 1))]).agreement, Agreement::Alone);
}

#[test]
fn ranges_are_taken_off_wherever_they_lie() {
    let rest = |whole: &[(i64, i64)], taken: &[(i64, i64)]| without(whole.to_vec(), taken.to_vec());
    assert_eq!(rest(&[(0, 9)], &[]), [(0, 9)]);
    assert_eq!(rest(&[(5, 9), (0, 4)], &[(0, 2), (3, 9)]), []);
    assert_eq!(rest(&[(0, 9)], &[(2, 3), (3, 5), (8, 20)]), [(0, 1), (6, 7)]);
    assert_eq!(rest(&[(0, 3), (10, 13)], &[(2, 11)]), [(0, 1), (12, 13)]);
}
