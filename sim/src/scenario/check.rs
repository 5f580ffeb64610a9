//! What no schema can say: names that must differ or exist, settings that must make sense together.

use std::collections::HashMap;
use std::ops::Range;

use fairpoll_judge::protocol::{QuotaRange, QuotaRule};

use super::Problem;
use super::tree::{Node, Value};
use super::{BacklogSize, Mode, ModeKind, Scenario};

/// A record's id holds 16 bits each for topic and partition; 0 is no topic.
const TOPICS_MAX: u64 = 0xFFFE;
const PARTITIONS_MAX: u32 = 0x1_0000;

/// Kafka allows 249 characters; the harness puts a prefix that names run and mode before them.
const TOPIC_NAME_CHARS_MAX: usize = 150;

/// What the harness decides for every run anew.
const HARNESS_PROPERTIES: [&str; 3] = ["bootstrap.servers", "metadata.broker.list", "group.id"];

/// What is wrong with a scenario that conforms to its schema.
pub(super) fn check(scenario: &Scenario, tree: &Node) -> Vec<Problem> {
    let mut check = Check { scenario, tree, problems: Vec::new() };
    check.name();
    check.topics();
    check.modes();
    check.production();
    check.faults();
    check.problems
}

struct Check<'a> {
    scenario: &'a Scenario,
    tree: &'a Node,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn name(&mut self) {
        let name = &self.scenario.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
            let problem = Problem::new(
                place(self.tree, "name"),
                format!("`{name}` cannot name a scenario"),
                "it names the output folder",
            );
            self.problems.push(
                problem.help("use lower-case letters, digits and `-`, with a letter first: `my-scenario`"),
            );
        }
    }

    fn topics(&mut self) {
        let mut expanded: HashMap<String, Range<usize>> = HashMap::new();
        let mut count = 0_u64;
        for (topic, node) in self.scenario.topics.iter().zip(items(self.tree, "topics")) {
            let at = place(node, "name");
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if !topic.name.starts_with(|c: char| c.is_ascii_alphanumeric())
                || !topic.name.chars().all(plain)
                || topic.name.len() > TOPIC_NAME_CHARS_MAX
            {
                let message = format!("`{}` cannot name a topic", topic.name);
                let help = format!(
                    "use at most {TOPIC_NAME_CHARS_MAX} letters, digits, `.`, `_` and `-`, a letter or digit first"
                );
                self.problems.push(Problem::new(at.clone(), message, "this name").help(help));
            }
            if topic.partitions > PARTITIONS_MAX {
                let message = format!(
                    "`{}` has {} partitions; {PARTITIONS_MAX} is the most a record's id can tell apart",
                    topic.name, topic.partitions
                );
                self.problems.push(Problem::new(place(node, "partitions"), message, "too many"));
            }
            count += u64::from(topic.count.unwrap_or(1));
            if count > TOPICS_MAX {
                let message =
                    format!("{count} topics; {TOPICS_MAX} is the most a record's id can tell apart");
                self.problems.push(Problem::new(place(node, "count"), message, "too many"));
                return;
            }
            let names = match topic.count {
                None => vec![topic.name.clone()],
                Some(count) => (1..=count).map(|i| format!("{}-{i}", topic.name)).collect(),
            };
            // One report per entry: of 50 doubled topics the first tells it all.
            if let Some((name, first)) =
                names.iter().find_map(|name| expanded.get(name).map(|first| (name.clone(), first.clone())))
            {
                let problem = Problem::new(at, format!("the topic `{name}` exists twice"), "again here");
                self.problems.push(
                    problem
                        .also(first, "first here")
                        .help("rename one; for topics alike one entry with `count` is enough"),
                );
            } else {
                expanded.extend(names.into_iter().map(|name| (name, at.clone())));
            }
        }
    }

    fn modes(&mut self) {
        let mut seen: HashMap<&str, Range<usize>> = HashMap::new();
        if let Some(properties) = self.tree.get("consumer").and_then(|node| node.get("properties")) {
            self.properties(properties);
        }
        for (mode, node) in self.scenario.modes.iter().zip(items(self.tree, "modes")) {
            let at = if node.get("name").is_some() { place(node, "name") } else { node.place() };
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
            if !mode.name.starts_with(|c: char| c.is_ascii_lowercase()) || !mode.name.chars().all(plain) {
                let message = format!("`{}` cannot name a mode", mode.name);
                self.problems.push(
                    Problem::new(at.clone(), message, "gates could not name it").help(
                        "use lower-case letters, digits, `_` and `-`, with a letter first: `single-3000`",
                    ),
                );
            }
            if let Some(first) = seen.get(mode.name.as_str()) {
                let problem = Problem::new(at, format!("two modes are called `{}`", mode.name), "again here");
                self.problems.push(
                    problem.also(first.clone(), "first here").help(format!(
                        "give one a name of its own: `{{name: {0}-2, mode: {0}, …}}`",
                        mode.name
                    )),
                );
            } else {
                seen.insert(&mode.name, at);
            }
            if mode.group_strategy.as_deref() == Some("own")
                && !matches!(&mode.kind, ModeKind::Fairpoll(kind) if kind == "multi")
                && !matches!(&mode.kind, ModeKind::Command(_))
            {
                let message = format!(
                    "the mode `{}` has one consumer for all topics and cannot give each a group",
                    mode.name
                );
                let problem = Problem::new(place(node, "group_strategy"), message, "a group per topic");
                self.problems.push(
                    problem.help("`own` belongs to `multi`; take `kip848`, `cooperative` or `classic` here"),
                );
            }
            self.sharing(mode, node);
            if let Some(properties) = node.get("properties") {
                self.properties(properties);
            }
        }
    }

    fn sharing(&mut self, mode: &Mode, node: &Node) {
        if mode.sharing.complete_wait_ms.is_some() && mode.max_records.is_some() {
            let problem = Problem::new(
                place(node, "complete_wait_ms"),
                format!("`{}` wants a record of each topic and caps the whole poll", mode.name),
                "a complete input has no cap but the topics' quotas",
            );
            self.problems.push(problem.help("remove `max_records`, or poll without `complete_wait_ms`"));
        }
        let Some(QuotaRule { lag_proportional: QuotaRange { min, max } }) = mode.sharing.quota else {
            return;
        };
        let records = mode.max_poll_records.unwrap_or(self.scenario.consumer.max_poll_records);
        let heaviest = self.scenario.topics.iter().map(|topic| topic.weight).max().unwrap_or(1);
        let most = records.saturating_mul(heaviest);
        if min > records || max < most {
            let message =
                format!("the quotas of `{}` begin with {records} records, times a topic's weight", mode.name);
            let problem = Problem::new(place(node, "quota"), message, "these limits do not hold them");
            self.problems.push(
                problem.help(format!("take a `min` of at most {records} and a `max` of at least {most}")),
            );
        }
    }

    fn properties(&mut self, properties: &Node) {
        for (key, _) in properties.entries() {
            if HARNESS_PROPERTIES.contains(&key.name.as_str()) {
                let message = format!("`{}` is set by the harness, anew for each run", key.name);
                self.problems.push(Problem::new(key.span.clone(), message, "remove this").help(
                    "a broker of yours is named on the command line: `--broker external --bootstrap-servers …`",
                ));
            }
        }
    }

    fn production(&mut self) {
        for (topic, node) in self.scenario.topics.iter().zip(items(self.tree, "topics")) {
            if matches!(topic.backlog.0, BacklogSize::DowntimeS(_)) && topic.rate_per_s == 0.0 {
                let message = format!(
                    "the backlog of `{}` is a downtime, and it has no `rate_per_s`: 0 records",
                    topic.name
                );
                let problem = Problem::new(place(node, "backlog"), message, "how many records is that?");
                self.problems.push(problem.help("add `rate_per_s`, or give the backlog in records"));
            }
        }
        let stop = &self.scenario.stop;
        let rated = self.scenario.topics.iter().any(|topic| topic.rate_per_s > 0.0);
        let backlog = self.scenario.topics_expanded().iter().any(|plan| plan.backlog > 0);
        let stop_node = self.tree.get("stop");
        let at = stop_node.map_or(0..0, |node| place(node, "live_for_s"));
        if !rated && !backlog {
            let problem = Problem::new(
                place_of_key(self.tree, "topics"),
                "no topic has a `backlog` or a `rate_per_s`: there is nothing to consume",
                "of these",
            );
            self.problems.push(problem.help("give at least one topic a `backlog`"));
        } else if !backlog && stop.live_for_s == 0.0 {
            let problem = Problem::new(
                at,
                "without a backlog the run is over before the first record is produced",
                "it ends when the backlog is delivered",
            );
            self.problems.push(problem.help("add `live_for_s: 5` to `stop`, or a `backlog` to a topic"));
        } else if !rated && stop.live_for_s > 0.0 {
            let problem = Problem::new(
                at,
                "`live_for_s` keeps production going, but no topic has a `rate_per_s`",
                "nothing is produced",
            );
            self.problems.push(problem.help("add `rate_per_s` to a topic, or remove `live_for_s`"));
        }
        if stop.live_for_s >= stop.deadline_s {
            let message = format!(
                "production goes on for {} s and the deadline is {} s: no run can end in time",
                stop.live_for_s, stop.deadline_s
            );
            let at = stop_node.map_or(0..0, |node| place(node, "deadline_s"));
            self.problems.push(Problem::new(at, message, "too soon").help("raise `deadline_s`"));
        }
    }

    fn faults(&mut self) {
        self.problems.extend(super::faults::problems(self.scenario, items(self.tree, "faults")));
    }
}

/// The places of the expressions under `key`, with their texts.
pub(super) fn expressions<'a>(tree: &'a Node, key: &str) -> Vec<(&'a str, Range<usize>)> {
    items(tree, key).iter().filter_map(|node| Some((node.text()?, node.span.clone()))).collect()
}

fn items<'a>(tree: &'a Node, key: &str) -> &'a [Node] {
    tree.get(key).map_or(&[], Node::items)
}

/// Where the value under `key` stands; without one, where the node does.
fn place(node: &Node, key: &str) -> Range<usize> {
    match node.get(key) {
        Some(value) if matches!(value.value, Value::Map(_) | Value::List(_)) => place_of_key(node, key),
        Some(value) => value.span.clone(),
        None => node.place(),
    }
}

fn place_of_key(node: &Node, key: &str) -> Range<usize> {
    node.entries().iter().find(|(k, _)| k.name == key).map_or_else(|| node.place(), |(k, _)| k.span.clone())
}
