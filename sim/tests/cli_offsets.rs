//! `fairpoll offsets migrate`: what it refuses before it asks anybody, and how it says that nobody answers.

use std::fs;
use std::process::Command;

const CONFIG: &str = "{bootstrap_servers: '127.0.0.1:1', group_id: g, topics: [a, b]}\n";

/// Exit code, standard output, standard error.
fn migrate(config: &str, options: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("consumer.yaml"), config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fairpoll"))
        .args(["offsets", "migrate", "--config", "consumer.yaml"])
        .args(options)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn refused(code: i32, words: &str, config: &str, options: &[&str]) {
    let (exit, told, complaint) = migrate(config, options);
    assert_eq!((exit, told.as_str()), (Some(code), ""), "{complaint}");
    assert!(complaint.contains(words), "{complaint}");
}

const THERE: [&str; 4] = ["--from", "shared", "--to", "own"];

#[test]
fn a_configuration_without_topics_moves_nothing() {
    let config = "{bootstrap_servers: '127.0.0.1:1', group_id: g}\n";
    refused(2, "there is no topic to consume", config, &THERE);
}

#[test]
fn from_and_to_are_two_kinds_of_groups() {
    refused(2, "from and to are both `own`", CONFIG, &["--from", "own", "--to", "own"]);
    refused(2, "write shared or own", CONFIG, &["--from", "shared", "--to", "mine"]);
}

#[test]
fn a_misspelt_key_is_told_at_its_place() {
    refused(2, "group_ids", &CONFIG.replace("group_id", "group_ids"), &THERE);
}

#[test]
fn a_cluster_that_does_not_answer_is_given_up_in_time() {
    let began = std::time::Instant::now();
    refused(6, "the brokers do not say", CONFIG, &[&THERE[..], &["--timeout-s", "1"]].concat());
    // The request's own second, another one for its answer, and the process.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}
