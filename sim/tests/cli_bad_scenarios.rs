//! Every way to get a scenario wrong has a message of its own, with place and remedy.
//!
//! Each test breaks one thing in a scenario that is good, so the message is about that thing alone.

use std::path::Path;

use fairpoll_sim::scenario::{LoadError, Rendering, load};

const GOOD: &str = "\
schema_version: 1
name: good
purpose: A scenario without a fault.
topics:
  - name: orders
    partitions: 4
    backlog: 1000
  - {name: sensor, count: 3, backlog: {downtime_s: 10}, rate_per_s: 50}
consumer:
  max_poll_records: 500
modes: [single, {name: tuned, mode: single, properties: {fetch.wait.max.ms: 10}}, fair]
stop: {when: drained, deadline_s: 60}
demonstrates:
  - single.starved_polls_max >= 2
gates:
  - fair.starved_polls_max <= 1
";

/// The message for a file of these bytes, with the folder's name taken out.
fn message(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenario.yaml");
    std::fs::write(&path, bytes).unwrap();
    let error = load(&path).expect_err("this scenario is wrong");
    assert_eq!(error.exit_code() as u8, 2);
    plain(&error, folder.path())
}

fn plain(error: &LoadError, folder: &Path) -> String {
    error.render(Rendering::Plain).replace(&format!("{}/", folder.display()), "")
}

/// The message when `from` reads `to` in the good scenario.
fn broken(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "`{from}` must stand once in the good scenario");
    message(GOOD.replace(from, to).as_bytes())
}

macro_rules! tells {
    ($($test:ident: $message:expr;)*) => {$(
        #[test]
        fn $test() {
            insta::assert_snapshot!(stringify!($test), $message);
        }
    )*};
}

#[test]
fn the_good_scenario_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenario.yaml");
    std::fs::write(&path, GOOD).unwrap();
    let loaded = load(&path).unwrap();
    let topics = loaded.scenario.topics_expanded();
    let backlog: Vec<_> = topics.iter().map(|topic| (topic.name.as_str(), topic.backlog)).collect();
    assert_eq!(backlog, [("orders", 1000), ("sensor-1", 500), ("sensor-2", 500), ("sensor-3", 500)]);
    assert_eq!(loaded.scenario.modes[1].properties["fetch.wait.max.ms"], "10");
    let header = loaded.header("embedded", 1);
    assert_eq!((header.demonstrates[0].line, header.gates[0].line), (14, 16));
    assert_eq!(loaded.sha256.len(), 64);
}

tells! {
    unknown_key: broken("partitions: 4", "partitons: 4");
    unknown_key_that_resembles_nothing: broken("partitions: 4", "retention: 4");
    unknown_key_in_a_mode: broken("properties:", "props:");
    unknown_key_in_a_backlog: broken("downtime_s", "downtime");
    missing_key: broken("stop: {when: drained, deadline_s: 60}\n", "");
    wrong_type: broken("partitions: 4", "partitions: four");
    wrong_type_of_backlog: broken("backlog: 1000", "backlog: lots");
    nothing_where_a_number_belongs: broken("max_poll_records: 500", "max_poll_records:");
    text_where_a_list_belongs: broken("topics:\n", "topics: orders\nignored:\n");
    number_beyond_its_type: broken("partitions: 4", "partitions: 99999999999");
    zero_partitions: broken("partitions: 4", "partitions: 0");
    zero_max_poll_records: broken("max_poll_records: 500", "max_poll_records: 0");
    negative_rate: broken("rate_per_s: 50", "rate_per_s: -50");
    value_without_room_for_the_id: broken("partitions: 4", "value_bytes: 7");
    wrong_schema_version: broken("schema_version: 1", "schema_version: 2");
    bad_scenario_name: broken("name: good", "name: Good One");
    bad_topic_name: broken("name: orders", "name: orders/eu");
    duplicate_topic: broken("name: orders", "name: sensor-2");
    unknown_mode: broken("fair]", "fare]");
    unknown_mode_in_a_map: broken("mode: single", "mode: singel");
    duplicate_mode: broken("name: tuned", "name: single");
    bad_mode_name: broken("name: tuned", "name: Tuned");
    mode_with_nothing_to_run: broken("mode: single, ", "");
    mode_with_command_and_mode: broken("mode: single", "mode: single, command: [cat]");
    command_without_a_name: broken("name: tuned, mode: single", "command: [cat]");
    unknown_compression: broken("modes:", "producer: {compression: lz5}\nmodes:");
    more_random_bytes_than_there_are:
        broken("modes:", "producer: {compression: lz4, random_bytes_ratio: 1.5}\nmodes:");
    no_modes: broken("[single, {name: tuned, mode: single, properties: {fetch.wait.max.ms: 10}}, fair]", "[]");
    quota_limits_that_do_not_hold: broken("mode: single", "mode: fair, quota: {lag_proportional: {min: 10, max: 400}}");
    complete_input_with_a_cap: broken("mode: single", "mode: fair, max_records: 9, complete_wait_ms: 100");
    group_strategy_of_a_single_handle: broken("mode: single", "mode: single, group_strategy: own");
    property_of_the_harness: broken("fetch.wait.max.ms", "group.id");
    downtime_without_a_rate: broken(", rate_per_s: 50", "");
    nothing_to_consume: broken(
        "    backlog: 1000\n  - {name: sensor, count: 3, backlog: {downtime_s: 10}, rate_per_s: 50}\n",
        ""
    );
    live_production_without_time: broken(
        "    backlog: 1000\n  - {name: sensor, count: 3, backlog: {downtime_s: 10}, rate_per_s: 50}\n",
        "    rate_per_s: 5\n"
    );
    deadline_before_the_end_of_production: broken("deadline_s: 60", "deadline_s: 60, live_for_s: 60");
    fault_on_an_unknown_topic: broken(
        "stop:",
        "faults: [{at_ms: 0, kind: topic_fetch_errors, topic: sensor-4}]\nstop:"
    );
    fault_without_its_topic: broken("stop:", "faults: [{at_ms: 0, kind: topic_fetch_errors}]\nstop:");
    fault_without_its_end: broken(
        "stop:",
        "broker: {nodes: 3}\nfaults: [{at_ms: 0, kind: broker_down, node: 2}]\nstop:"
    );
    fault_that_forbids_a_topic_without_an_end: broken(
        "stop:",
        "faults: [{at_ms: 0, kind: topic_forbidden, topic: orders}]\nstop:"
    );
    fault_with_a_key_that_means_nothing: broken(
        "stop:",
        "faults: [{at_ms: 0, kind: commit_errors, topic: orders, for_ms: 100}]\nstop:"
    );
    fault_of_a_node_that_is_not_there: broken(
        "stop:",
        "broker: {nodes: 2}\nfaults: [{at_ms: 0, kind: broker_down, node: 3, for_ms: 100}]\nstop:"
    );
    fault_of_an_instance_that_is_not_there: broken(
        "stop:",
        "faults: [{at_ms: 9, kind: consumer_killed, instance: 2}]\nstop:"
    );
    fault_that_widens_a_topic_without_live_records: broken(
        "stop:",
        "faults: [{at_ms: 9, kind: topic_widened, topic: orders, partitions: 6}]\nstop:"
    );
    faults_that_no_broker_can_do_together: broken(
        "stop:",
        "faults: [{at_ms: 9, kind: topic_deleted, topic: orders}, {at_ms: 9, kind: commit_errors, for_ms: 9}]\nstop:"
    );
    fault_that_moves_a_topic_which_fails_alone: broken(
        "stop:",
        "broker: {nodes: 2}\nfaults: [{at_ms: 0, kind: topic_fetch_errors, topic: orders}, \
         {at_ms: 9, kind: leader_moved, topic: orders, node: 2}]\nstop:"
    );
    topic_widened_to_no_more_than_it_has: broken(
        "stop:",
        "faults: [{at_ms: 9, kind: topic_widened, topic: sensor-1, partitions: 1}]\nstop:"
    );
    topic_created_that_has_a_backlog: broken(
        "stop:",
        "faults: [{at_ms: 9, kind: topic_created, topic: sensor-1}]\nstop:"
    );
    topic_created_before_anybody_consumes: broken(
        "stop:",
        "faults: [{at_ms: 0, kind: topic_created, topic: sensor-1}]\nstop:"
    );
    poison_before_there_are_live_records: broken(
        "stop:",
        "faults: [{at_ms: 0, kind: poison_record, topic: sensor-1}]\nstop:"
    );
    poison_in_a_topic_without_live_records: broken(
        "stop:",
        "faults: [{at_ms: 9, kind: poison_record, topic: orders}]\nstop:"
    );
    unknown_fault: broken("stop:", "faults: [{at_ms: 0, kind: topic_fetch_error}]\nstop:");
    gate_with_an_unknown_metric: broken("fair.starved_polls_max", "fair.starved_pols_max");
    gate_with_an_unknown_mode: broken("fair.starved_polls_max", "fare.starved_polls_max");
    gate_with_a_glob_that_fits_nothing: broken(
        "fair.starved_polls_max <= 1",
        "max(fair.starved_polls{sensors-*}) <= 1"
    );
    gate_that_compares_nothing: broken("fair.starved_polls_max <= 1", "fair.starved_polls_max");
    gate_with_subtraction: broken("starved_polls_max <= 1", "starved_polls_max <= 1 - 1");
    demonstrates_with_an_unknown_metric: broken("single.starved_polls_max", "single.hunger");
    key_twice: broken("partitions: 4", "partitions: 4\n    partitions: 5");
    several_problems_at_once: message(
        GOOD.replace("partitions: 4", "partitons: 4").replace("fair]", "fare]").replace("500", "0").as_bytes()
    );
    not_yaml: message(b"topics: [orders\nname: x\n");
    not_a_map: message(b"hello\n");
    not_utf8: message(b"schema_version: 1\nname: g\xffod\n");
    empty: message(b"# nothing yet\n\n");
}

#[test]
fn missing_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("normal.yaml"), GOOD).unwrap();
    let error = load(&folder.path().join("normall.yaml")).unwrap_err();
    insta::assert_snapshot!("missing_file", plain(&error, folder.path()));
}

#[test]
fn folder_instead_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("scenarios");
    std::fs::create_dir(&inner).unwrap();
    insta::assert_snapshot!("folder", plain(&load(&inner).unwrap_err(), folder.path()));
}

/// A link to itself cannot be read even by root, whom permissions do not stop.
#[test]
fn unreadable_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenario.yaml");
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let error = load(&path).unwrap_err();
    assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
    insta::assert_snapshot!("unreadable", plain(&error, folder.path()));
}
