//! Usage errors: exit code 2, a message with the remedy, nothing written.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn fairpoll(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairpoll")).args(arguments).current_dir(folder).output().unwrap()
}

/// A folder with a valid scenario, `mine.yaml`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert!(fairpoll(&["init", "mine.yaml"], folder.path()).status.success());
    folder
}

/// Valid, and beyond what the embedded broker holds.
const MILLIONS: &str = "\
schema_version: 1
name: millions
purpose: A deep topic.
topics: [{name: deep, backlog: 4000000, value_bytes: 32}]
consumer: {max_poll_records: 500}
modes: [fair]
stop: {when: drained, deadline_s: 30}
";

/// Runs a wrong command line beside `mine.yaml`; answers what it says.
fn refused(arguments: &[&str]) -> String {
    let folder = folder();
    let output = fairpoll(arguments, folder.path());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mine.yaml"], "nothing else is written");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_model_is_of_virtual_time_alone() {
    let message = refused(&["run", "mine.yaml", "--model", "embedded"]);
    assert_eq!(message, "error: --model is for --broker virtual; add that, or leave it out\n");
    let message = refused(&["run", "mine.yaml", "--broker", "virtual", "--keep"]);
    assert_eq!(message, "error: --keep is for --broker container; add that, or leave it out\n");
}

#[test]
fn options_of_the_container_broker_are_for_no_other() {
    for (options, name) in [(&["--image", "apache/kafka:4.1.0"][..], "--image"), (&["--keep"], "--keep")] {
        let message = refused(&[&["run", "mine.yaml"], options].concat());
        assert_eq!(message, format!("error: {name} is for --broker container; add that, or leave it out\n"));
    }
}

#[test]
fn a_fault_that_the_broker_cannot_do_is_refused_before_anything_starts() {
    // Nobody answers at this port: that is not what is complained about.
    let elsewhere = &["--broker", "external", "--bootstrap-servers", "127.0.0.1:1"][..];
    for (fault, options, message) in [
        (
            "{at_ms: 9, kind: topic_deleted, topic: orders}",
            &[][..],
            "fault 1 (topic_deleted) cannot be done on the embedded broker: run with --broker container",
        ),
        (
            "{at_ms: 9, kind: commit_errors, for_ms: 9}",
            elsewhere,
            "fault 1 (commit_errors) cannot be done on the external broker: run with --broker embedded",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "schema_version: 1\nname: mine\npurpose: Breaks something.\ntopics: [{{name: orders, backlog: 9}}]\n\
             consumer: {{max_poll_records: 9}}\nmodes: [fair]\nstop: {{when: drained, deadline_s: 9}}\nfaults: [{fault}]\ngates: []\n"
        );
        fs::write(folder.path().join("mine.yaml"), text).unwrap();
        let output = fairpoll(&[&["run", "mine.yaml"], options].concat(), folder.path());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(message), "{told}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is written");
    }
}

#[test]
fn servers_are_not_for_the_container_broker() {
    let message =
        refused(&["run", "mine.yaml", "--broker", "container", "--bootstrap-servers", "127.0.0.1:1"]);
    assert!(message.contains("is for --broker external"), "{message}");
}

#[test]
fn external_broker_needs_servers() {
    let message = refused(&["run", "mine.yaml", "--broker", "external"]);
    assert_eq!(message, "error: --broker external needs --bootstrap-servers HOST:PORT\n");
}

#[test]
fn servers_need_the_external_broker() {
    let message = refused(&["run", "mine.yaml", "--bootstrap-servers", "127.0.0.1:1"]);
    assert!(message.contains("is for --broker external"), "{message}");
}

#[test]
fn unknown_mode_is_refused_with_a_suggestion() {
    let message = refused(&["run", "mine.yaml", "--mode", "fare"]);
    assert_eq!(message, "error: `mine.yaml` has no mode `fare`; did you mean `fair`?\n");
}

#[test]
fn property_needs_an_equals_sign() {
    let message = refused(&["run", "mine.yaml", "--property", "fetch.wait.max.ms"]);
    assert!(message.contains("a property is written `key=value`"), "{message}");
}

#[test]
fn property_of_the_harness_is_refused() {
    let message = refused(&["run", "mine.yaml", "--property", "bootstrap.servers=x:1"]);
    assert!(message.contains("use --bootstrap-servers"), "{message}");
}

#[test]
fn property_given_twice_is_refused() {
    let message = refused(&["run", "mine.yaml", "--property", "a=1", "--property", "a=2"]);
    assert_eq!(message, "error: --property a is given twice; keep one\n");
}

#[test]
fn zero_runs_are_refused() {
    assert!(refused(&["run", "mine.yaml", "--runs", "0"]).contains("0 is not in 1..=1000"));
}

#[test]
fn invalid_scenario_is_found_before_the_first_one_runs() {
    let message = refused(&["run", "mine.yaml", "nine.yaml"]);
    assert!(message.contains("there is no file `nine.yaml`"), "{message}");
    assert!(message.contains("did you mean `mine.yaml`?"), "{message}");
}

#[test]
fn every_invalid_file_is_told_not_only_the_first() {
    let message = refused(&["check", "one.yaml", "mine.yaml", "two.yaml"]);
    assert!(message.contains("`one.yaml`") && message.contains("`two.yaml`"), "{message}");
}

#[test]
fn check_of_a_kind_of_broker_refuses_what_it_cannot_hold_with_the_way_out() {
    let folder = folder();
    fs::write(folder.path().join("millions.yaml"), MILLIONS).unwrap();
    let check =
        |broker| fairpoll(&["check", "--broker", broker, "mine.yaml", "millions.yaml"], folder.path());
    let output = check("embedded");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("error: millions: topic deep: the embedded broker keeps"), "{message}");
    assert!(message.contains("use --broker container or --broker external"), "{message}");
    // The one that suits, `init`'s own, is told as ever.
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("mine.yaml: ok") && !told.contains("millions.yaml: ok"), "{told}");
    assert!(check("container").status.success());
    assert!(fairpoll(&["check", "millions.yaml"], folder.path()).status.success());
}

#[test]
fn check_of_a_kind_of_broker_refuses_a_fault_that_it_cannot_do() {
    let folder = folder();
    let deletes =
        format!("{MILLIONS}faults: [{{at_ms: 1000, kind: topic_fetch_errors, topic: deep, for_ms: 100}}]\n");
    fs::write(folder.path().join("errors.yaml"), deletes).unwrap();
    let output = fairpoll(&["check", "--broker", "external", "errors.yaml"], folder.path());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("run with --broker embedded"), "{message}");
}

#[test]
fn init_overwrites_nothing() {
    let folder = folder();
    fs::write(folder.path().join("mine.yaml"), "precious").unwrap();
    let output = fairpoll(&["init", "mine.yaml"], folder.path());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read_to_string(folder.path().join("mine.yaml")).unwrap(), "precious");
}

#[test]
fn nothing_at_all_shows_the_help_and_is_a_usage_error() {
    let output = fairpoll(&[], Path::new("."));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: fairpoll <COMMAND>"));
}

#[test]
fn help_shows_examples_and_exit_codes_but_no_internal_commands() {
    let output = fairpoll(&["--help"], Path::new("."));
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("fairpoll run scenarios/backlog-after-downtime.yaml"), "{help}");
    assert!(help.contains("130  interrupted"), "{help}");
    assert!(!help.contains("worker  ") && !help.contains("broker  "), "{help}");
}

#[test]
fn schema_alone_prints_the_scenario_schema() {
    let output = fairpoll(&["schema"], Path::new("."));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["title"], "Scenario");
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairpoll"));
    let output = command.arg("schema").stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
