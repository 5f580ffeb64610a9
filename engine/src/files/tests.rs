//! Files in all their forms, and what comes of them.

use proptest::prelude::*;

use super::aiokafka::{ARGUMENTS, Fate};
use super::{Format, Problems};
use crate::config::properties::{COMMON, RESERVED, Rejection, WITHOUT_EFFECT, rejection};
use crate::{Config, GroupStrategy, ModeRequest, Origin, Quota};

const BASE: &str = "bootstrap_servers: k:9092\ngroup_id: g\ntopics: [a, b]\n";

fn yaml(text: &str) -> Result<Config, Problems> {
    Config::from_text(text, Format::Yaml)
}

/// The base with these lines behind it.
fn with(lines: &str) -> Result<Config, Problems> {
    yaml(&format!("{BASE}{lines}\n"))
}

/// What is said of the base with these lines behind it.
fn refused(lines: &str) -> String {
    with(lines).expect_err(lines).to_string()
}

const EXAMPLE_YAML: &str = include_str!("../../../docs/example-consumer.yaml");
const EXAMPLE_TOML: &str = include_str!("../../../docs/example-consumer.toml");

/// The documentation's examples are read, say the same in both languages, and hold everything that
/// there is.
#[test]
fn the_examples_are_read_and_say_the_same() {
    let explained = |text, format| {
        let explanation = Config::from_text(text, format).expect("an example").explain(None).expect("usable");
        let settings = explanation.settings.into_iter().chain(explanation.handles[0].properties.clone());
        settings.map(|setting| (setting.name, setting.value)).collect::<Vec<_>>()
    };
    assert_eq!(explained(EXAMPLE_YAML, Format::Yaml), explained(EXAMPLE_TOML, Format::Toml));
    for key in super::keys::KEYS {
        assert!(EXAMPLE_YAML.contains(&format!("{}:", key.name)), "the example lacks {}", key.name);
    }
}

#[test]
fn quotas_that_follow_lag_and_priorities_are_read() {
    let config = with("quota: {lag_proportional: {min: 5, max: 900}}\nstarvation_guard: 4").expect("good");
    assert_eq!(config.quota, Quota::LagProportional { min: 5, max: 900 });
    assert_eq!(config.starvation_guard, 4);
    assert_eq!(with("quota: fixed").expect("good").quota, Quota::Fixed);
    for (wrong, word) in [
        ("quota: {}", "`quota` must be"),
        ("quota: lag", "lag"),
        ("quota: {lag_proportional: {min: 5}}", "without `max`"),
        ("quota: {lag_proportional: 5}", "`lag_proportional` must be"),
        ("quota: {lag_proportional: {min: 5, max: 6, mean: 7}}", "unknown key `mean`"),
        ("starvation_guard: 0", "starvation_guard"),
    ] {
        let problems = refused(wrong);
        assert!(problems.contains(word), "{wrong}: {problems}");
    }
    let topics = |topics| yaml(&format!("bootstrap_servers: k:9092\ngroup_id: g\ntopics: {topics}\n"));
    let config = topics("[{name: a, priority: 3}, b]").expect("good");
    assert_eq!(config.topics.iter().map(|topic| topic.priority).collect::<Vec<_>>(), [3, 0]);
    assert!(topics("[{name: a, priority: 256}]").is_err());
}

// shows: E11
#[test]
fn the_originals_keys_are_taken_as_they_are_nested_or_not() {
    let flat = "\
bootstrap_servers: [k1:9092, 'k2:9092']
group_id: g
topics: [a, {name: b, weight: 3}]
multi_consumer_mode: true
max_poll_records: 100
session_timeout_ms: 20000
max_poll_interval_ms: 400000
group_strategy: own
";
    let nested = format!("consumer:\n{}", flat.lines().map(|line| format!("  {line}\n")).collect::<String>());
    let json = r#"{"consumer": {"bootstrap_servers": "k1:9092,k2:9092", "group_id": "g",
        "topics": ["a", {"name": "b", "weight": 3}], "multi_consumer_mode": true, "max_poll_records": 100,
        "session_timeout_ms": 20000, "max_poll_interval_ms": 400000, "group_strategy": "own"}}"#;
    for text in [flat, &nested, json] {
        let config = yaml(text).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.bootstrap_servers, "k1:9092,k2:9092");
        assert_eq!((config.multi_consumer_mode, config.max_poll_records), (Some(true), Some(100)));
        assert_eq!(config.group_strategy, Some(GroupStrategy::Own));
        let weights: Vec<_> = config.topics.iter().map(|topic| (topic.name.as_str(), topic.weight)).collect();
        assert_eq!(weights, [("a", 1), ("b", 3)]);
        assert_eq!(config.properties["session.timeout.ms"], "20000");
        assert_eq!(config.properties["max.poll.interval.ms"], "400000");
        assert!(config.validate().is_ok());
    }
}

// shows: E11
#[test]
fn what_the_program_says_wins_over_the_file() {
    let config =
        with("max_poll_records: 7\nmode: multi\nproperties: {max.partition.fetch.bytes: 1000}").unwrap();
    assert_eq!(config.origin("mode"), Origin::File { key: "mode".to_owned(), line: 5 });
    let config = config
        .max_poll_records(9)
        .mode(ModeRequest::Fair)
        .topics(["c"])
        // The property's other name.
        .property("fetch.message.max.bytes", "2000");
    assert_eq!((config.max_poll_records, config.mode), (Some(9), Some(ModeRequest::Fair)));
    assert_eq!(config.topics.len(), 1);
    assert_eq!(config.properties.len(), 1, "{:?}", config.properties);
    assert_eq!(config.properties["fetch.message.max.bytes"], "2000");
    for setting in ["max_poll_records", "mode", "topics", "max.partition.fetch.bytes"] {
        assert_eq!(config.origin(setting), Origin::Program, "{setting}");
    }
    assert_eq!(config.origin("group_id"), Origin::File { key: "group_id".to_owned(), line: 2 });
}

#[test]
fn a_setting_said_twice_is_refused_with_both_places() {
    for (lines, words) in [
        (
            "consumer: {group_id: h}",
            "line 4, column 12: `group_id` is said twice (first here: line 2, column 1)",
        ),
        (
            "properties: {session.timeout.ms: 1}\nsession_timeout_ms: 2",
            "`session_timeout_ms` and `session.timeout.ms` are the same setting (first here: line 4, column 14)",
        ),
        (
            "fetch_max_bytes: 5000000\nproperties: {fetch.max.bytes: 5000000}",
            "`fetch.max.bytes` and `fetch_max_bytes` are the same setting",
        ),
        ("max_partition_fetch_bytes: 5\nproperties: {fetch.message.max.bytes: 5}", "are the same setting"),
    ] {
        let told = refused(lines);
        assert!(told.contains(words), "{told}");
    }
}

/// Every argument of aiokafka's, by what the table says of it.
// shows: E11
#[test]
fn every_argument_of_aiokafka_meets_its_fate() {
    for argument in ARGUMENTS {
        let name = argument.name;
        match argument.fate {
            Fate::Key => assert!(super::keys::KEYS.iter().any(|key| key.name == name), "{name}"),
            Fate::Property { name: property, .. } => {
                // A property that this build of librdkafka lacks is still one.
                assert_ne!(rejection(property, "1"), Some(Rejection::Unknown), "{name}");
                assert!(!RESERVED.iter().any(|reserved| reserved.name == property), "{name}");
            }
            Fate::Only { value, why } => {
                assert!(with(&format!("{name}: {value}")).is_ok());
                assert!(refused(&format!("{name}: {}", !value)).contains(why));
            }
            Fate::Ignored(why) => {
                let config = with(&format!("{name}: 1")).unwrap();
                assert_eq!(config.ignored, [format!("line 4: {name} has no effect: {why}")]);
            }
            Fate::Refused(why) => assert!(refused(&format!("{name}: 1")).contains(why)),
        }
        if !matches!(argument.fate, Fate::Key) {
            let config = with(&format!("{name}: null")).unwrap();
            assert_eq!(config, with("").unwrap(), "{name}: Python's None is what is not said");
        }
    }
}

#[test]
fn arguments_are_converted() {
    for (line, property, value) in [
        ("fetch_max_wait_ms: 100", "fetch.wait.max.ms", "100"),
        ("request_timeout_ms: 40000", "socket.timeout.ms", "40000"),
        ("metadata_max_age_ms: 300000", "topic.metadata.refresh.interval.ms", "300000"),
        ("auto_offset_reset: none", "auto.offset.reset", "error"),
        ("auto_offset_reset: earliest", "auto.offset.reset", "earliest"),
        ("check_crcs: true", "check.crcs", "true"),
        ("security_protocol: SASL_PLAINTEXT", "security.protocol", "SASL_PLAINTEXT"),
        ("sasl_plain_password: 0123", "sasl.password", "0123"),
        (
            "partition_assignment_strategy: [RoundRobinPartitionAssignor]",
            "partition.assignment.strategy",
            "roundrobin",
        ),
        (
            "partition_assignment_strategy: [aiokafka.coordinator.assignors.range.RangePartitionAssignor, roundrobin]",
            "partition.assignment.strategy",
            "range,roundrobin",
        ),
        ("client_rack: eu-1", "client.rack", "eu-1"),
        ("check_crcs: no", "check.crcs", "false"),
        ("sasl_plain_password: no", "sasl.password", "no"),
    ] {
        let config = with(line).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.properties[property], value, "{line}");
        let argument = line.split(':').next().expect("a name").to_owned();
        assert_eq!(config.origin(property), Origin::Aiokafka { argument, line: 4 });
    }
}

#[test]
fn properties_that_break_promises_are_refused_and_their_own_values_are_not() {
    for reserved in RESERVED {
        let told = refused(&format!("properties: {{{}: \"1\"}}", reserved.name));
        assert!(told.contains(&format!("{} cannot be set: {}", reserved.name, reserved.why)), "{told}");
        if let Some(value) = reserved.fixed {
            assert!(
                with(&format!("properties: {{{}: {value}}}", reserved.name)).is_ok(),
                "{}",
                reserved.name
            );
        }
    }
    for (name, _) in WITHOUT_EFFECT {
        let config = with(&format!("properties: {{{name}: 100}}")).unwrap();
        let warnings = config.explain(None).unwrap().warnings;
        assert!(warnings.iter().any(|warning| warning.starts_with(name)), "{warnings:?}");
    }
}

/// A typing error is found by candidates that exist.
#[test]
fn candidates_for_misspelt_properties_exist() {
    for name in COMMON {
        assert_ne!(rejection(name, "1"), Some(Rejection::Unknown), "{name}");
    }
}

/// Whatever is wrong, a secret is in no message and in no text that a message is shown with.
// shows: E19
#[test]
fn no_error_shows_a_secret() {
    for lines in [
        "sasl_plain_password: hunter2\nmax_poll_records: 0",
        "properties: {sasl.password: hunter2, fetch.min.bytes: 0}",
        "properties: {sasl.pasword: hunter2}",
        "sasl_plain_pasword: hunter2",
        "ssl_context: {pem: [hunter2]}",
        "properties:\n  sasl.password: hunter2\n  x: [",
        "consumer: {x: [{name: c, pin: hunter2}]}",
        "properties:\n  ssl.key.pem: |\n    hunter2\n    hunter2\nmax_poll_records: 0",
        "value_deserializer: hunter2",
        "sasl_plain_password: {is: hunter2}\nssl_context: 1",
    ] {
        let Err(problems) = with(lines) else { panic!("{lines} is wrong") };
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
        assert!(!problems.source_text().contains("hunter2"), "{}", problems.source_text());
    }
    let config = with("sasl_plain_password: hunter2\nproperties: {sasl.username: me}").unwrap();
    assert!(!format!("{config:?} {:?}", config.explain(None)).contains("hunter2"));
    assert!(format!("{config:?}").contains("me"));
}

fn timings() -> impl Strategy<Value = [Option<u32>; 4]> {
    let up_to = |most: u32| proptest::option::of(1..=most);
    [up_to(20_000), up_to(700_000), up_to(700_000), up_to(1_000)]
}

proptest! {
    /// For all explicit values, wherever they are written, all modes and numbers of topics: they are
    /// what librdkafka is told, and the quota is theirs.
    #[test]
    fn explicit_values_win_over_presets_wherever_they_come_from(
        [heartbeat, session, poll, records] in timings(),
        topics in 1_usize..14,
        mode in prop::sample::select(vec!["single", "multi", "fair"]),
        as_properties in any::<bool>(),
    ) {
        let names: Vec<String> = (0..topics).map(|number| format!("t{number}")).collect();
        let mut text = format!(
            "bootstrap_servers: k\ngroup_id: g\nmode: {mode}\ngroup_strategy: {}\ntopics: [{}]\n",
            if mode == "multi" { "own" } else { "classic" },
            names.join(", ")
        );
        let keys = ["heartbeat_interval_ms", "session_timeout_ms", "max_poll_interval_ms"];
        let properties = ["heartbeat.interval.ms", "session.timeout.ms", "max.poll.interval.ms"];
        let said = [heartbeat, session, poll];
        if as_properties {
            text += "properties:\n  client.rack: r\n";
        }
        for ((key, property), value) in keys.iter().zip(properties).zip(said) {
            let Some(value) = value else { continue };
            text += &if as_properties { format!("  {property}: {value}\n") } else { format!("{key}: {value}\n") };
        }
        if let Some(records) = records {
            text += &format!("max_poll_records: {records}\n");
        }
        let config = yaml(&text).map_err(|problems| TestCaseError::fail(problems.to_string()))?;
        let topology = crate::consumer::build::plan(&config).expect("usable");
        let told = crate::consumer::build::properties(&config, &topology, 0);
        for (property, value) in properties.iter().zip(said) {
            prop_assert!(value.is_none_or(|value| told.number(property) == Some(value)), "{} {:?}", property, told);
        }
        if let Some(records) = records {
            let quota = topology.shares[0].quota.get();
            prop_assert_eq!(quota, records);
        }
    }
}
