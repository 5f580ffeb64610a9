use std::collections::BTreeMap;

use super::*;
use crate::summary::{GateVerdict, ModeSummary};

const MODES: &[&str] = &["single", "single-tuned", "fair"];
const TOPICS: &[&str] = &["orders", "sensor-1", "sensor-2"];

fn mistake(text: &str) -> (String, String, String) {
    let error = Expression::parse(text)
        .and_then(|expression| expression.check(MODES, TOPICS))
        .expect_err("the text should be refused");
    (text[error.at].to_owned(), error.message, error.help.unwrap_or_default())
}

fn figures() -> BTreeMap<String, ModeSummary> {
    let mode = |scale: f64| {
        let metrics = [("drain_s", 2.0), ("starved_polls_max", 1.0), ("connections_max", 3.0), ("lost", 0.0)];
        let metrics = metrics.map(|(name, value)| (name.to_owned(), value * scale)).into();
        let mut summary = ModeSummary { metrics, ..ModeSummary::default() };
        for (index, topic) in TOPICS.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "three topics")]
            let polls = index as f64 * scale;
            let mut metrics = BTreeMap::from([("starved_polls".to_owned(), polls)]);
            if *topic != "sensor-2" {
                metrics.insert("first_record_ms".to_owned(), 10.0);
            }
            summary.topics.insert((*topic).to_owned(), metrics);
        }
        summary
    };
    BTreeMap::from([("single".to_owned(), mode(10.0)), ("fair".to_owned(), mode(1.0))])
}

fn value(text: &str) -> Evaluation {
    evaluate(&Expression::parse(text).unwrap(), &figures())
}

#[test]
fn products_bind_before_sums_and_brackets_before_both() {
    assert_eq!(value("1 + 2 * 3 == 7").verdict, GateVerdict::Pass);
    assert_eq!(value("(1 + 2) * 3 == 9").verdict, GateVerdict::Pass);
    assert_eq!(value("12 / 2 / 3 == 2").verdict, GateVerdict::Pass);
    assert_eq!(value("fair.starved_polls_max <= 1.10 * 0.5").verdict, GateVerdict::Fail);
}

#[test]
fn every_comparison_means_what_it_says() {
    for (op, below, same, above) in [
        ("<", true, false, false),
        ("<=", true, true, false),
        (">", false, false, true),
        (">=", false, true, true),
        ("==", false, true, false),
        ("!=", true, false, true),
    ] {
        for (left, expected) in [(1, below), (2, same), (3, above)] {
            assert_eq!(value(&format!("{left} {op} 2")).holds, Some(expected), "{left} {op} 2");
        }
    }
}

#[test]
fn names_may_contain_a_minus_sign_and_there_is_no_subtraction() {
    let expression = Expression::parse("fair.drain_s <= 1.10 * single-tuned.drain_s").unwrap();
    assert_eq!(expression.modes(), BTreeSet::from(["fair", "single-tuned"]));
    let (at, _, help) = mistake("fair.drain_s - 1 <= 2");
    assert_eq!(at, "-");
    assert!(help.contains("no subtraction"), "{help}");
}

#[test]
fn mistakes_are_pointed_at_and_come_with_a_remedy() {
    for (text, at, says, helps) in [
        ("fair.starved_pols_max <= 1", "starved_pols_max", "no metric", "`starved_polls_max`"),
        ("fiar.drain_s <= 1", "fiar", "no mode", "`fair`"),
        ("max(fair.starved_polls{sensr-*}) <= 1", "{sensr-*}", "no topic", "`sensor-"),
        ("fair.starved_polls{sensor-*} <= 1", "{sensor-*}", "matches 2", "max(fair.starved_polls{sensor-*})"),
        ("fair.starved_polls <= 1", "starved_polls", "per topic", "starved_polls_max"),
        ("fair.first_record_ms <= 1", "first_record_ms", "per topic", "max(fair.first_record_ms{*})"),
        ("fair.lost{orders} == 0", "{orders}", "whole mode", "fair.lost"),
        ("fair.drain_s", "", "expected a comparison", ""),
        ("fair.drain_s <= 5 <= 6", "<=", "one comparison", "two gates"),
        ("fair.drain_s = 5", "=", "not a comparison", "=="),
        ("fair.drain_s <= 5ms", "5ms", "not a number", "units"),
        ("fair.drain_s <= 1.2.3", "1.2.3", "not a number", ""),
        ("drain_s <= 5", "drain_s", "neither", "fair.drain_s"),
        ("fair. <= 5", "<=", "name of a metric", ""),
        ("max(fair.drain_s <= 5", "<=", "expected `)`", ""),
        ("fair.wait_p99_ms{orders <= 5", "{orders <= 5", "without its", ""),
        ("fair.wait_p99_ms{} <= 5", "{}", "must stand between", ""),
        ("Fair.drain_s <= 5", "F", "does not belong", "lower case"),
        ("", "", "expected a number", ""),
    ] {
        let (found, message, help) = mistake(text);
        assert_eq!(found, at, "{text}: {message}");
        assert!(message.contains(says), "{text}: {message}");
        assert!(help.contains(helps), "{text}: {help}");
    }
}

#[test]
fn a_glob_outside_of_an_extreme_may_match_one_topic() {
    let expression = Expression::parse("fair.starved_polls{sensor-?} <= 1").unwrap();
    assert!(expression.check(MODES, &["orders", "sensor-1"]).is_ok());
    assert!(expression.check(MODES, TOPICS).is_err());
}

#[test]
fn deeply_nested_brackets_are_refused_and_do_not_overflow_the_stack() {
    let text = format!("{}1{} < 2", "(".repeat(4_000), ")".repeat(4_000));
    let error = Expression::parse(&text).unwrap_err();
    assert!(error.message.contains("brackets"), "{error}");
    let long = Expression::parse(&format!("{} < 2", vec!["1"; 100_000].join("+"))).unwrap_err();
    assert!(long.message.contains("bytes"), "{long}");
    let wide = format!("{} < 2", vec!["(1)"; 1_000].join(" + "));
    assert!(Expression::parse(&wide).is_ok(), "brackets side by side are no depth");
}

#[test]
fn extremes_range_over_the_topics_of_a_glob() {
    let max = value("max(fair.starved_polls{*}) <= 1");
    assert_eq!((max.left, max.verdict), (Some(2.0), GateVerdict::Fail));
    assert_eq!(value("min(fair.starved_polls{sensor-*}) <= 1").left, Some(1.0));
    assert_eq!(value("max(fair.starved_polls{*}, 7, 2 * 4) <= 1").left, Some(8.0));
}

#[test]
fn a_missing_value_makes_the_gate_absent_and_is_named() {
    let one = value("fair.wait_p99_ms <= 50");
    assert_eq!((one.verdict, one.holds, one.left, one.right), (GateVerdict::Absent, None, None, Some(50.0)));
    assert_eq!(one.missing, ["fair.wait_p99_ms"]);
    let topic = value("max(fair.first_record_ms{*}) <= 50");
    assert_eq!(
        topic.verdict,
        GateVerdict::Absent,
        "a maximum over some of the topics is not the one asked for"
    );
    assert_eq!(topic.missing, ["fair.first_record_ms{sensor-2}"]);
    let both = value("fair.wait_p99_ms <= multi.drain_s");
    assert_eq!(both.missing, ["fair.wait_p99_ms", "multi.drain_s"]);
    let zero = value("1 / fair.lost <= 2");
    assert_eq!(zero.verdict, GateVerdict::Absent);
    assert!(zero.missing[0].contains("divisor"), "{:?}", zero.missing);
}

#[test]
fn clock_times_of_two_modes_are_indicative_and_counts_and_limits_decide() {
    let noisy = value("fair.drain_s <= 1.10 * single.drain_s");
    assert_eq!((noisy.verdict, noisy.holds), (GateVerdict::Indicative, Some(true)));
    assert_eq!(value("fair.drain_s <= 5").verdict, GateVerdict::Pass);
    assert_eq!(value("fair.drain_s <= 1").verdict, GateVerdict::Fail);
    assert_eq!(value("fair.connections_max == single.connections_max").verdict, GateVerdict::Fail);
    assert_eq!(value("fair.starved_polls_max <= single.starved_polls_max").verdict, GateVerdict::Pass);
    assert_eq!(value("fair.lost + single.lost == 0").verdict, GateVerdict::Pass);
}
