//! No output shows a secret: whatever a command writes is searched for one, file by file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The value of everything that is secret here, and of nothing else.
const SECRET: &str = "Sesame-4711";

/// What may be seen: its presence shows that the search finds what is there.
const SEEN: &str = "Alibaba-0815";

/// Where properties are said, each with a secret in it.
const SCENARIO: &str = "\
schema_version: 1
name: stand
purpose: Its properties hold secrets.
topics:
  - {name: a, partitions: 1, backlog: 200, value_bytes: 8}
consumer:
  max_poll_records: 500
  properties:
    sasl.password: Sesame-4711
    client.id: stand
stop: {when: drained, deadline_s: 40}
gates: []
modes:
  - fair
  - {name: multi-too, mode: multi, properties: {sasl.password: Sesame-4711}}
";

fn fairpoll(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairpoll"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("fairpoll starts")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Everything that a command wrote, by where.
fn written(output: &Output, out: &Path) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let file = |path: PathBuf| (path.display().to_string(), text(&fs::read(path).expect("readable")));
    let mut all: Vec<(String, String)> = files(out).into_iter().map(file).collect();
    all.push(("standard output".to_owned(), text(&output.stdout)));
    all.push(("standard error".to_owned(), text(&output.stderr)));
    all
}

#[track_caller]
fn assert_secret(all: &[(String, String)]) {
    for (place, text) in all {
        let line = text.lines().find(|line| line.contains(SECRET));
        assert_eq!(line, None, "{place} shows a secret");
    }
}

/// Runs a scenario and searches all that comes of it.
#[track_caller]
fn run(scenario: &str, options: &[&str]) -> (Option<i32>, Vec<(String, String)>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("stand.yaml"), scenario).expect("writable");
    let output = fairpoll(folder.path(), &[&["run", "stand.yaml", "--out", "out"], options].concat());
    let mut all = written(&output, &folder.path().join("out"));
    assert_secret(&all);
    // What a stored run is rendered to anew.
    if folder.path().join("out/events.jsonl").exists() {
        all.extend(written(&fairpoll(folder.path(), &["report", "out"]), &folder.path().join("out")));
        assert_secret(&all);
    }
    (output.status.code(), all)
}

// shows: E19
#[test]
fn nothing_that_a_run_writes_shows_a_secret() {
    let secret = format!("sasl.password={SECRET}");
    let seen = format!("client.id={SEEN}");
    let (code, all) = run(SCENARIO, &["--property", &secret, "--property", &seen, "--json"]);
    assert_eq!(code, Some(0), "{:?}", all.last());
    for place in ["events.jsonl", "manifest.json", "summary.json", "report.html", "junit.xml", "fair-1.log"] {
        assert!(
            all.iter().any(|(name, text)| name.ends_with(place) && !text.is_empty()),
            "{place} is searched"
        );
    }
    let manifest = all.iter().find(|(name, _)| name.ends_with("manifest.json")).map(|(_, text)| text);
    assert!(manifest.is_some_and(|text| text.contains(SEEN) && text.contains("***")), "{manifest:?}");
}

/// What librdkafka cannot use is told by those who were given it: the worker, its log, the verdict.
#[test]
fn nothing_that_a_failed_run_writes_shows_a_secret() {
    let beside = format!("client.id: stand\n    fetch.wait.max.ms: soon\n    ssl.key.password: {SECRET}");
    let (code, all) = run(&SCENARIO.replacen("client.id: stand", &beside, 1), &[]);
    assert_eq!(code, Some(6), "{:?}", all.last());
    // Whether librdkafka knows these depends on how it was built.
    for name in ["ssl.key.password", "ssl.keystore.password", "sasl.oauthbearer.config"] {
        run(&SCENARIO.replacen("client.id: stand", &format!("{name}: {SECRET}"), 1), &[]);
    }
}

/// A worker of somebody else's, whose command line holds a secret.
#[test]
fn nothing_shows_a_secret_of_a_command() {
    let worker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fake_worker.py");
    let mode =
        format!("{{name: theirs, command: [python3, \"{worker}\", deliver, \"200\", --token, {SECRET}]}}");
    let scenario = SCENARIO.replacen("fair", &mode, 1);
    let (code, all) = run(&scenario, &["--json"]);
    // It commits nothing, and is judged for it.
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {:?}", all.last());
    let (code, all) = run(&scenario.replacen("multi-too", "Multi", 1), &[]);
    assert_eq!(code, Some(2), "{:?}", all.last());
}

/// The lines around a problem are shown, and a secret may be one of them.
#[test]
fn nothing_that_is_said_of_a_wrong_scenario_shows_a_secret() {
    for (from, to) in [
        ("max_poll_records: 500", "max_poll_recods: 500"),
        ("deadline_s: 40", "deadline: 40"),
        ("client.id: stand", "group.id: mine"),
        ("multi-too, mode: multi", "multi-too, mode: mlti"),
        ("    client.id", "   client.id"),
    ] {
        let scenario = SCENARIO.replacen(from, to, 1);
        let (code, all) = run(&scenario, &[]);
        assert_eq!(code, Some(2), "{to}: {:?}", all.last());
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("stand.yaml"), &scenario).expect("writable");
        let output = fairpoll(folder.path(), &["check", "stand.yaml"]);
        assert_eq!(output.status.code(), Some(2), "{to}");
        assert_secret(&written(&output, folder.path().join("out").as_path()));
    }
}

#[test]
fn nothing_that_is_explained_of_a_configuration_shows_a_secret() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = format!(
        "bootstrap_servers: kafka:9092\ngroup_id: {SEEN}\ntopics: [a, b]\nproperties:\n  \
         sasl.password: {SECRET}\n  fetch.min.bytes: 1\n"
    );
    let broken = file.replace("fetch.min.bytes: 1", "fetch.min.bytes: none");
    let misspelt = file.replace("sasl.password", "sasl.pasword");
    let of_tls = file.replace("sasl.password", "ssl.key.password");
    let tls = cfg!(any(feature = "tls", feature = "tls-system"));
    for (text, good) in [(&file, true), (&broken, false), (&misspelt, false), (&of_tls, tls)] {
        fs::write(folder.path().join("consumer.yaml"), text).expect("writable");
        for options in [&[][..], &["--format", "json"]] {
            let output =
                fairpoll(folder.path(), &[&["config", "explain", "consumer.yaml"], options].concat());
            let all = written(&output, &folder.path().join("out"));
            assert_secret(&all);
            assert_eq!(output.status.code(), Some(if good { 0 } else { 2 }), "{all:?}");
            assert!(
                all.iter().any(|(_, text)| text.contains(SEEN) || text.contains("consumer.yaml")),
                "{all:?}"
            );
        }
    }
}
