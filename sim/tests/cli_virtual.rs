//! Virtual time, end to end: a run without a broker, and traces that are the same twice.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");

fn fairpoll(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairpoll")).args(arguments).current_dir(folder).output().unwrap()
}

fn scenario(name: &str) -> String {
    format!("{SCENARIOS}/{name}.yaml")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The metric of a mode in a summary.
fn metric(summary: &serde_json::Value, mode: &str, name: &str) -> f64 {
    let value = &summary["modes"][mode]["metrics"][name];
    value.as_f64().or_else(|| value["median"].as_f64()).unwrap_or_else(|| panic!("{mode}.{name}: {value}"))
}

#[test]
fn a_scenario_is_judged_in_virtual_time_as_on_a_broker() {
    let folder = tempfile::tempdir().unwrap();
    let file = scenario("backlog-after-downtime");
    let run = |out: &str| {
        let output = fairpoll(&["run", &file, "--broker", "virtual", "--quiet", "--out", out], folder.path());
        assert!(output.status.code() == Some(0), "{}", text(&output.stderr));
        fs::read(folder.path().join(out).join("events.jsonl")).unwrap()
    };
    assert!(run("one") == run("two"), "the same events, byte for byte");
    let summary = fs::read(folder.path().join("one/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(summary["broker"], "virtual");
    assert_eq!(summary["verdict"], "pass");
    assert!(metric(&summary, "single", "starved_polls_max") >= 20.0, "{summary}");
    assert!(metric(&summary, "fair", "starved_polls_max") <= 1.0);
    // As the engine predicts them, for one client and for ten.
    let cost = |mode| [metric(&summary, mode, "threads_max"), metric(&summary, mode, "connections_max")];
    assert_eq!((cost("single"), cost("fair"), cost("multi")), ([6.0, 2.0], [6.0, 2.0], [42.0, 20.0]));
    assert!(metric(&summary, "single", "wait_p99_ms") > 10.0 * metric(&summary, "fair", "wait_p99_ms"));
    let page = fs::read_to_string(folder.path().join("one/report.html")).unwrap();
    assert!(page.contains("a model in virtual time"), "nobody takes it for a measurement");
}

#[test]
fn a_seed_has_one_trace_and_another_has_another() {
    let folder = tempfile::tempdir().unwrap();
    let output = fairpoll(&["meta", &scenario("normal"), "--seeds", "3"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    let hashes: std::collections::BTreeSet<&str> =
        out.lines().map(|line| line.split(", ").nth(2).unwrap()).collect();
    assert_eq!((out.lines().count(), hashes.len()), (3, 3), "{out}");
    assert!(out.lines().all(|line| line.ends_with("identical")), "{out}");
    let again = fairpoll(&["meta", &scenario("normal"), "--seeds", "3"], folder.path());
    assert_eq!(text(&again.stdout), out);
}

#[test]
fn what_there_is_no_model_of_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, what) in [
        ("one-topic-fails", "the fault topic_fetch_errors"),
        ("lag-proportional", "quotas that follow lag"),
        ("faults/rolling-change", "the fault"),
    ] {
        let file = scenario(name);
        let output = fairpoll(&["run", &file, "--broker", "virtual", "--out", "out"], folder.path());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains("no model of") && said.contains(what) && said.contains("--broker"), "{said}");
        assert!(!folder.path().join("out").exists(), "nothing is written");

        let output = fairpoll(&["meta", &file], folder.path());
        assert_eq!(output.status.code(), Some(5), "{name}: nothing could be compared");
    }
}

/// A scenario of its own, with something else in it.
fn scenario_with(folder: &Path, from: &str, to: &str) -> Output {
    const SCENARIO: &str = "\
schema_version: 1
name: own
purpose: A topic.
topics: [{name: a, backlog: 5000, value_bytes: 50, rate_per_s: 10}]
consumer: {max_poll_records: 500, properties: {}}
processing: {per_poll_ms: 1}
modes: [single, fair]
stop: {when: drained, deadline_s: 30}
";
    assert!(SCENARIO.contains(from), "{from}");
    fs::write(folder.join("own.yaml"), SCENARIO.replace(from, to)).unwrap();
    fairpoll(&["run", "own.yaml", "--broker", "virtual", "--out", "out"], folder)
}

#[test]
fn what_the_model_would_ignore_or_could_not_hold_is_refused_before_anything_is_written() {
    for (from, to, words) in [
        ("{}}", "{fetch.min.bytes: 100000}}", "fetch.min.bytes=100000"),
        ("{}}", "{auto.offset.reset: latest}}", "auto.offset.reset=latest"),
        ("backlog: 5000", "backlog: 2000000000", "8000000 polls"),
        (
            "modes: [single, fair]",
            "modes: [single, {name: b, mode: fair, properties: {fetch.wait.max.ms: x}}]",
            "fetch.wait.max.ms",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = scenario_with(folder.path(), from, to);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{to}: {said}");
        assert!(said.contains(words), "{said}");
        assert!(!folder.path().join("out").exists(), "{to}: nothing is written");
    }
}

#[test]
fn a_deadline_says_what_is_missing_and_work_below_nothing_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let output = scenario_with(folder.path(), "deadline_s: 30", "deadline_s: 0.03");
    let said = text(&output.stderr);
    assert!(said.contains("in virtual time") && said.contains("records were undelivered"), "{said}");
    assert!(!said.contains("not assigned"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let output = scenario_with(folder.path(), "per_poll_ms: 1", "per_poll_ms: -1");
    assert_ne!(output.status.code(), Some(101), "{}", text(&output.stderr));
}

#[test]
fn secrets_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "hunter2";
    let file = scenario("normal");
    let given = format!("sasl.password={secret}");
    let arguments = ["run", &file, "--broker", "virtual", "--quiet", "--property", &given, "--out", "out"];
    let output = fairpoll(&arguments, folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for name in ["manifest.json", "report.html", "summary.json", "events.jsonl"] {
        let written = fs::read_to_string(folder.path().join("out").join(name)).unwrap();
        assert!(!written.contains(secret), "{name}");
    }
}
