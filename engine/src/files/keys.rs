//! Fairpoll's own keys: the one table. The page `docs/configuration.md` shows it.

use std::time::Duration;

use super::document::{Node, Value};
use super::problem::Problem;
use super::reader::{Entry, Reader};
use crate::config::{GroupStrategy, ModeRequest, Quota, TopicConfig, check_topic_name};

/// A key.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What it takes.
    pub(super) takes: &'static str,
    /// What holds without it.
    pub(super) default: &'static str,
    /// What it means.
    pub(super) meaning: &'static str,
    pub(super) read: fn(&mut Reader<'_>, Entry<'_>),
}

/// Every key, in the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "bootstrap_servers",
        takes: "`host:port`, comma separated, or a list of them",
        default: "none: required",
        meaning: "brokers to ask first",
        read: bootstrap_servers,
    },
    Key {
        name: "group_id",
        takes: "text",
        default: "none: required",
        meaning: "the consumer group; offsets are committed under it",
        read: group_id,
    },
    Key {
        name: "topics",
        takes: "a list of names, or of maps `{name, weight, priority}`",
        default: "none: required; weight 1, priority 0",
        meaning: "the topics, each one's share relative to the others', and who comes first where a poll has a cap on its total",
        read: topics,
    },
    Key {
        name: "mode",
        takes: "`single`, `multi`, `fair` or `auto`",
        default: "what `multi_consumer_mode` says",
        meaning: "what runs; wins over `multi_consumer_mode`. `auto`: one topic `single`, more `fair`",
        read: mode,
    },
    Key {
        name: "multi_consumer_mode",
        takes: "true or false",
        default: "false",
        meaning: "true: `multi` (one topic: `single`); false: `single`",
        read: multi_consumer_mode,
    },
    Key {
        name: "max_poll_records",
        takes: "records, from 1",
        default: "500; in `multi` and `fair` by the number of topics",
        meaning: "in `single` the most of a poll, in `multi` and `fair` the most of a topic (times its weight) in a poll",
        read: max_poll_records,
    },
    Key {
        name: "quota",
        takes: "`fixed`, or `{lag_proportional: {min, max}}` in records",
        default: "`fixed`",
        meaning: "whether a topic's part of a poll stays `max_poll_records` or follows its lag between two bounds",
        read: quota,
    },
    Key {
        name: "starvation_guard",
        takes: "polls, from 1",
        default: "10",
        meaning: "a topic with records that got nothing in so many polls comes ahead of all priorities",
        read: starvation_guard,
    },
    Key {
        name: "group_strategy",
        takes: "`kip848`, `cooperative`, `own` or `classic`",
        default: "`kip848` in `multi`, `classic` in `single` and `fair`",
        meaning: "how handles and instances share the group; see group-strategies.md",
        read: group_strategy,
    },
    Key {
        name: "group_instance_id",
        takes: "text",
        default: "none: a dynamic member",
        meaning: "static membership (KIP-345): the name of this instance of the program; with several handles each is `{name}.{topic}`",
        read: group_instance_id,
    },
    Key {
        name: "session_timeout_ms",
        takes: "ms",
        default: "45,000; in `multi` and `fair` by the number of topics",
        meaning: "how long a member may be silent before the group gives it up (`session.timeout.ms`). Under KIP-848 the broker decides",
        read: |reader, entry| reader.property_of_key("session.timeout.ms", entry),
    },
    Key {
        name: "max_poll_interval_ms",
        takes: "ms",
        default: "300,000; in `multi` and `fair` by the number of topics",
        meaning: "how far apart polls may be (`max.poll.interval.ms`)",
        read: |reader, entry| reader.property_of_key("max.poll.interval.ms", entry),
    },
    Key {
        name: "join_wait_ms",
        takes: "ms",
        default: "5,000",
        meaning: "how long the first poll waits at most for every handle's first assignment",
        read: join_wait,
    },
    Key {
        name: "first_fetch_wait_ms",
        takes: "ms",
        default: "1,000; `single` never waits",
        meaning: "how long a poll after an assignment waits at most for the first fetch of every new topic",
        read: first_fetch_wait,
    },
    Key {
        name: "refill_wait_ms",
        takes: "ms",
        default: "50; `single` never waits",
        meaning: "how long a poll waits at most for topics that ran dry though their brokers hold more",
        read: refill_wait,
    },
    Key {
        name: "status_log_interval_ms",
        takes: "ms",
        default: "60,000",
        meaning: "how often a line of the log says where the consumer stands; 0 never",
        read: status_log_interval,
    },
    Key {
        name: "fetch_buffer_mib",
        takes: "MiB, from 1",
        default: "none: 10,000 records and 64 MiB for each queue",
        meaning: "the most memory that fetched records may take in the whole consumer; queue limits and fetch sizes follow from it",
        read: fetch_buffer,
    },
    Key {
        name: "fetch_buffer_partitions",
        takes: "partitions, from 1",
        default: "4",
        meaning: "how many partitions of a topic this consumer has at most, as far as `fetch_buffer_mib` is concerned",
        read: fetch_buffer_partitions,
    },
    Key {
        name: "degrade",
        takes: "true or false",
        default: "true",
        meaning: "whether the consumer gives way when descriptors, memory or connections run short, at the start and while it runs; see degradation.md",
        read: degrade,
    },
    Key {
        name: "connection_limit",
        takes: "sockets, from 1",
        default: "none: not limited",
        meaning: "how many sockets the process may have open, as far as `degrade` is concerned",
        read: connection_limit,
    },
    Key {
        name: "properties",
        takes: "a map of librdkafka properties",
        default: "none",
        meaning: "passed to librdkafka as they are; those that would break the engine's promises are refused",
        read: |reader, entry| reader.properties(entry),
    },
];

fn bootstrap_servers(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(servers) = reader.texts(entry) {
        let servers: Vec<String> = servers.into_iter().map(|(server, _)| server).collect();
        reader.config.bootstrap_servers = servers.join(",");
        reader.note(entry);
    }
}

fn group_id(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(group_id) = reader.text(entry) {
        reader.config.group_id = group_id;
        reader.note(entry);
    }
}

fn mode(reader: &mut Reader<'_>, entry: Entry<'_>) {
    let choices = ["single", "multi", "fair", "auto"];
    if let Some(mode) = reader.choice(entry, &choices, |text| text.parse::<ModeRequest>().ok()) {
        reader.config.mode = Some(mode);
        reader.note(entry);
    }
}

fn multi_consumer_mode(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(switch) = reader.truth(entry) {
        reader.config.multi_consumer_mode = Some(switch);
        reader.note(entry);
    }
}

fn max_poll_records(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(records) = reader.number(entry, 1..=u32::MAX) {
        reader.config.max_poll_records = Some(records);
        reader.note(entry);
    }
}

fn group_strategy(reader: &mut Reader<'_>, entry: Entry<'_>) {
    let choices = GroupStrategy::ALL.map(GroupStrategy::name);
    if let Some(strategy) = reader.choice(entry, &choices, |text| text.parse::<GroupStrategy>().ok()) {
        reader.config.group_strategy = Some(strategy);
        reader.note(entry);
    }
}

fn group_instance_id(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(id) = reader.text(entry) {
        reader.config.group_instance_id = Some(id);
        reader.note(entry);
    }
}

fn starvation_guard(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(polls) = reader.number(entry, 1..=u32::MAX) {
        reader.config.starvation_guard = polls;
        reader.note(entry);
    }
}

fn quota(reader: &mut Reader<'_>, entry: Entry<'_>) {
    let wanted = "`fixed` or `{lag_proportional: {min: 50, max: 2000}}`";
    let read = match &entry.node.value {
        Value::Map(_) => lag_proportional(reader, entry, wanted),
        _ => reader.choice(entry, &["fixed"], |text| (text == "fixed").then_some(Quota::Fixed)),
    };
    if let Some(quota) = read {
        reader.config.quota = quota;
        reader.note(entry);
    }
}

fn lag_proportional(reader: &mut Reader<'_>, entry: Entry<'_>, wanted: &str) -> Option<Quota> {
    const RULE: &str = "lag_proportional";
    reader.known_keys(entry.node, &[RULE], "a quota");
    let Some((key, node)) = entry.node.entries().iter().find(|(key, _)| key.name == RULE) else {
        reader.wrong_type(entry, wanted);
        return None;
    };
    let bounds = Entry { key, node };
    if !matches!(node.value, Value::Map(_)) {
        reader.wrong_type(bounds, wanted);
        return None;
    }
    reader.known_keys(node, &["min", "max"], RULE);
    let mut bound = |name: &str| {
        let Some((key, node)) = node.entries().iter().find(|(key, _)| key.name == name) else {
            let message = format!("`{RULE}` without `{name}`");
            let problem = Problem::new(bounds.key.span.clone(), message, "between which bounds?");
            reader.problem(problem.help(format!("write {wanted}")));
            return None;
        };
        reader.number(Entry { key, node }, 1..=u32::MAX)
    };
    let (min, max) = (bound("min"), bound("max"));
    Some(Quota::LagProportional { min: min?, max: max? })
}

fn join_wait(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(ms) = reader.number(entry, 0..=u32::MAX) {
        reader.config.join_wait = Duration::from_millis(ms.into());
        reader.note(entry);
    }
}

fn first_fetch_wait(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(ms) = reader.number(entry, 0..=u32::MAX) {
        reader.config.first_fetch_wait = Duration::from_millis(ms.into());
        reader.note(entry);
    }
}

fn status_log_interval(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(ms) = reader.number(entry, 0..=u32::MAX) {
        reader.config.status_log_interval = Duration::from_millis(ms.into());
        reader.note(entry);
    }
}

fn refill_wait(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(ms) = reader.number(entry, 0..=u32::MAX) {
        reader.config.refill_wait = Duration::from_millis(ms.into());
        reader.note(entry);
    }
}

fn fetch_buffer(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(mib) = reader.number(entry, 1..=u32::MAX) {
        reader.config.fetch_buffer_mib = Some(mib);
        reader.note(entry);
    }
}

fn fetch_buffer_partitions(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(partitions) = reader.number(entry, 1..=u32::MAX) {
        reader.config.fetch_buffer_partitions = partitions;
        reader.note(entry);
    }
}

fn degrade(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(gives_way) = reader.truth(entry) {
        reader.config.degrade = gives_way;
        reader.note(entry);
    }
}

fn connection_limit(reader: &mut Reader<'_>, entry: Entry<'_>) {
    if let Some(sockets) = reader.number(entry, 1..=u32::MAX) {
        reader.config.connection_limit = Some(sockets);
        reader.note(entry);
    }
}

fn topics(reader: &mut Reader<'_>, entry: Entry<'_>) {
    let Value::List(items) = &entry.node.value else {
        reader.wrong_type(entry, "a list of topics, `[orders, sensor-1]`");
        return;
    };
    if items.is_empty() {
        let problem =
            Problem::new(entry.key.span.clone(), "there is no topic to consume", "this list is empty");
        reader.problem(problem.help("name at least one"));
    }
    let mut first_places: Vec<(&str, &Node)> = Vec::with_capacity(items.len());
    for item in items {
        let Some((topic, place)) = topic(reader, entry, item) else { continue };
        let name = place.text().unwrap_or_default();
        if let Err(why) = check_topic_name(name) {
            reader.problem(Problem::new(
                place.span.clone(),
                format!("topic name `{name}` {why}"),
                "this name",
            ));
        }
        if let Some((_, first)) = first_places.iter().find(|(known, _)| *known == name) {
            let message = format!("the topic `{name}` is named twice");
            let problem = Problem::new(place.span.clone(), message, "again here");
            reader.problem(problem.also(first.span.clone(), "first here").help("keep one"));
        }
        first_places.push((name, place));
        reader.config.topics.push(topic);
    }
    reader.note(entry);
}

/// A topic, and where its name stands.
fn topic<'n>(reader: &mut Reader<'_>, entry: Entry<'_>, item: &'n Node) -> Option<(TopicConfig, &'n Node)> {
    if let Some(name) = item.text() {
        return Some((TopicConfig::new(name.to_owned()), item));
    }
    if !matches!(item.value, Value::Map(_)) {
        let wanted = "a list of names, or of maps `{name, weight, priority}`";
        reader.wrong_type(Entry { key: entry.key, node: item }, wanted);
        return None;
    }
    reader.known_keys(item, &["name", "weight", "priority"], "a topic");
    let mut number = |name: &str, range, absent| {
        let found = item.entries().iter().find(|(key, _)| key.name == name);
        found.map_or(Some(absent), |(key, node)| reader.number(Entry { key, node }, range))
    };
    let weight = number("weight", 1..=u32::MAX, 1);
    let priority = number("priority", 0..=u32::from(u8::MAX), 0);
    let Some(place) = item.get("name") else {
        let problem = Problem::new(item.place(), "a topic without `name`", "which topic is it?");
        reader.problem(problem.help("`{name: orders, weight: 2}`"));
        return None;
    };
    let Some(name) = place.text() else {
        reader.problem(Problem::new(item.place(), "a topic's `name` must be text", "this topic"));
        return None;
    };
    let priority = u8::try_from(priority?).expect("read within its range");
    Some((TopicConfig { weight: weight?, priority, ..TopicConfig::new(name.to_owned()) }, place))
}
