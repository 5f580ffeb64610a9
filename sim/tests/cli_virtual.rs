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
