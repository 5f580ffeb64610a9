//! `fairpoll config`: what it says of good files, and of every way to get one wrong.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn fairpoll(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairpoll")).args(arguments).current_dir(folder).output().unwrap()
}

/// What is said of a file with this name and text: exit code, standard output, standard error.
fn explain(name: &str, text: &str, options: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), text).unwrap();
    let output = fairpoll(&[&["config", "explain", name], options].concat(), folder.path());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn explained(name: &str, text: &str, options: &[&str]) -> String {
    let (code, told, complaints) = explain(name, text, options);
    assert_eq!((code, complaints.as_str()), (Some(0), ""), "{told}");
    told
}

fn refused(name: &str, text: &str) -> String {
    let (code, told, complaints) = explain(name, text, &[]);
    assert_eq!((code, told.as_str()), (Some(2), ""), "{complaints}");
    complaints
}

const EXAMPLE_YAML: &str = include_str!("../../docs/example-consumer.yaml");
const EXAMPLE_TOML: &str = include_str!("../../docs/example-consumer.toml");

/// As a program of the original had it, with a secret.
const ORIGINAL: &str = "\
consumer:
  bootstrap_servers: kafka:9092
  group_id: model
  topics: [t0, t1, t2, t3, t4, t5, t6, t7, t8, t9]
  multi_consumer_mode: true
  session_timeout_ms: 20000
  auto_commit_interval_ms: 1000
  security_protocol: SASL_PLAINTEXT
  sasl_mechanism: PLAIN
  sasl_plain_username: me
  sasl_plain_password: hunter2
";

#[test]
fn example() {
    insta::assert_snapshot!("example", explained("example-consumer.yaml", EXAMPLE_YAML, &["--brokers", "3"]));
}

/// All that differs are lines.
#[test]
fn the_example_comes_to_the_same_in_toml() {
    let lines_away = |text: &str| {
        let cut = |line: &str| line.split("  line ").next().unwrap_or_default().trim_end().to_owned();
        text.lines().skip(1).map(cut).collect::<Vec<_>>()
    };
    let yaml = explained("example-consumer.yaml", EXAMPLE_YAML, &[]);
    let toml = explained("example-consumer.toml", EXAMPLE_TOML, &[]);
    assert_eq!(lines_away(&yaml), lines_away(&toml));
}

#[test]
fn original() {
    insta::assert_snapshot!("original", explained("original.yaml", ORIGINAL, &[]));
}

#[test]
fn original_as_json() {
    let told = explained("original.yaml", ORIGINAL, &["--format", "json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["actual_mode"], "multi");
    assert_eq!(told["handles"].as_array().unwrap().len(), 10);
    assert_eq!(told["cost"]["threads"], 40);
    let settings = told["settings"].as_array().unwrap();
    let records = settings.iter().find(|setting| setting["name"] == "max_poll_records").unwrap();
    assert_eq!(
        records,
        &serde_json::json!({
            "name": "max_poll_records", "value": "200", "origin": "preset for 10 topics", "line": null
        })
    );
    let properties = told["handles"][0]["properties"].as_array().unwrap();
    let password = properties.iter().find(|property| property["name"] == "sasl.password").unwrap();
    assert_eq!((&password["value"], &password["line"]), (&"***".into(), &11.into()));
    assert!(!told.to_string().contains("hunter2"));
}

#[test]
fn single() {
    let text = "{bootstrap_servers: k, group_id: g, topics: [a, b], max_poll_interval_ms: 20000}";
    insta::assert_snapshot!("single", explained("single.json", text, &[]));
}

#[test]
fn reference_prints_the_tables_of_the_documentation() {
    let output = fairpoll(&["config", "reference"], Path::new("."));
    let told = String::from_utf8(output.stdout).unwrap();
    let page = include_str!("../../docs/configuration.md");
    let tables: Vec<&str> = told.lines().filter(|line| line.starts_with('|')).collect();
    assert!(tables.len() > 80, "{}", tables.len());
    assert!(tables.iter().all(|line| page.contains(line)));
}

const GOOD: &str = "\
bootstrap_servers: kafka:9092
group_id: model
topics: [orders, sensor]
multi_consumer_mode: true
max_poll_records: 500
properties:
  sasl.password: hunter2
  fetch.min.bytes: 1
";

/// The message when `from` reads `to` in the good file.
fn broken(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "`{from}` must stand once in the good file");
    let told = refused("consumer.yaml", &GOOD.replace(from, to));
    assert!(!told.contains("hunter2"), "{told}");
    told
}

macro_rules! tells {
    ($($test:ident: $message:expr;)*) => {$(
        #[test]
        fn $test() {
            insta::assert_snapshot!(stringify!($test), $message);
        }
    )*};
}

tells! {
    unknown_key: broken("max_poll_records", "max_pol_records");
    unknown_key_that_resembles_nothing: broken("max_poll_records", "colour");
    property_at_the_top: broken("max_poll_records: 500", "fetch.min.bytes: 1");
    unknown_property: broken("sasl.password", "sasl.pasword");
    property_out_of_range: broken("fetch.min.bytes: 1", "fetch.min.bytes: 0");
    property_of_the_engine: broken("fetch.min.bytes: 1", "enable.auto.commit: true");
    property_under_its_other_name: broken("fetch.min.bytes: 1", "group.id: other");
    argument_that_does_not_exist_here: broken("max_poll_records: 500", "consumer_timeout_ms: 200");
    argument_with_a_value_that_cannot_be: broken("max_poll_records: 500", "enable_auto_commit: true");
    assignor_that_librdkafka_lacks: broken(
        "max_poll_records: 500",
        "partition_assignment_strategy: [StickyPartitionAssignor]"
    );
    said_twice: broken("max_poll_records: 500", "consumer: {group_id: other}");
    said_twice_under_two_names: broken("max_poll_records: 500", "fetch_min_bytes: 5");
    key_twice: broken("max_poll_records: 500", "group_id: other");
    no_value: broken("max_poll_records: 500", "max_poll_records:");
    wrong_type: broken("max_poll_records: 500", "max_poll_records: many");
    zero_records: broken("max_poll_records: 500", "max_poll_records: 0");
    switch_that_is_no_truth: broken("multi_consumer_mode: true", "multi_consumer_mode: perhaps");
    unknown_mode: broken("multi_consumer_mode: true", "mode: fare");
    unknown_group_strategy: broken("multi_consumer_mode: true", "group_strategy: kip_848");
    topic_twice: broken("[orders, sensor]", "[orders, {name: orders, weight: 2}]");
    topic_that_is_a_pattern: broken("[orders, sensor]", "[orders, ^sensor.*]");
    topic_of_no_weight: broken("[orders, sensor]", "[{name: orders, weight: 0}]");
    topic_with_an_unknown_key: broken("[orders, sensor]", "[{name: orders, wight: 2}]");
    topic_without_a_name: broken("[orders, sensor]", "[{weight: 2}]");
    topics_as_text: broken("[orders, sensor]", "orders");
    no_topics: broken("[orders, sensor]", "[]");
    several_problems_at_once: broken("topics: [orders, sensor]\nmulti_consumer_mode: true", "topic: []\nmode: 1");
    not_yaml: broken("fetch.min.bytes: 1", "fetch.min.bytes: [");
    not_toml: refused("consumer.toml", "group_id = \"g\"\n[properties]\n\"sasl.password\" = \"hunter2\nx = 1\n");
    toml_is_checked_alike: refused("consumer.toml", "group_id = 7\n\"max.poll.records\" = 5\n");
    no_map: refused("consumer.yaml", "hello\n");
    empty: refused("consumer.yaml", "# nothing yet\n");
    extension_that_says_nothing: refused("consumer.conf", GOOD);
    group_missing: broken("group_id: model\n", "");
    timings_that_do_not_go_together: broken(
        "multi_consumer_mode: true",
        "mode: fair\nsession_timeout_ms: 30000\nmax_poll_interval_ms: 20000"
    );
    static_member_of_several_handles: broken("fetch.min.bytes: 1", "group.instance.id: me");
    own_groups_of_one_handle: broken("multi_consumer_mode: true", "mode: fair\ngroup_strategy: own");
}

#[cfg(not(any(feature = "tls", feature = "tls-system")))]
tells! {
    without_tls: broken("fetch.min.bytes: 1", "security.protocol: ssl");
}

#[test]
fn missing_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("consumer.toml"), "").unwrap();
    let output = fairpoll(&["config", "explain", "consumr.toml"], folder.path());
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!("missing_file", String::from_utf8(output.stderr).unwrap());
}
