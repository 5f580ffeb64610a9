//! From a text's tree to a configuration, with every problem at its place.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use super::aiokafka::{self, ARGUMENTS, Argument, Conversion, Fate};
use super::document::{self, Key, Node, Value};
use super::keys::KEYS;
use super::problem::{Problem, Problems, position};
use super::{Config, Format};
use crate::config::Origin;
use crate::config::properties::{COMMON, Rejection, canonical, refusal, rejection};
use crate::secrets::mask_source;
use crate::suggest::{closest, listed, remedy};

/// The map in which everything may stand instead of at the top.
const NESTED: &str = "consumer";

pub(super) fn read(source: &str, format: Format) -> Result<Config, Problems> {
    let parsed = match format {
        Format::Yaml => document::parse_yaml(source),
        Format::Toml => document::parse_toml(source),
    };
    let root = parsed.map_err(|problem| Problems::new(mask_source(source, &[]), vec![*problem]))?;
    let mut reader = Reader {
        source,
        config: Config::unsaid(),
        problems: Vec::new(),
        said: BTreeMap::new(),
        hidden: Vec::new(),
    };
    reader.root(&root);
    if reader.problems.is_empty() {
        Ok(reader.config)
    } else {
        Err(Problems::new(mask_source(source, &reader.hidden), reader.problems))
    }
}

/// A key with its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a Key,
    pub(super) node: &'a Node,
}

impl Entry<'_> {
    /// Where to point at when something is said of the value.
    fn place(&self) -> Range<usize> {
        match &self.node.value {
            Value::Null | Value::List(_) | Value::Map(_) => self.key.span.clone(),
            _ => self.node.span.clone(),
        }
    }
}

/// Holds a tree against the tables. Fills [`Self::config`], and [`Self::problems`] where it cannot.
pub(super) struct Reader<'a> {
    source: &'a str,
    pub(super) config: Config,
    problems: Vec<Problem>,
    /// Settings that were said, and where.
    said: BTreeMap<String, Range<usize>>,
    /// Values that may be secrets, for who knows what a misspelt name meant.
    hidden: Vec<Range<usize>>,
}

impl Reader<'_> {
    fn root(&mut self, root: &Node) {
        let Value::Map(entries) = &root.value else {
            let message = format!("a configuration must be a map, not {}", found(root));
            let problem = Problem::new(root.span.clone(), message, "this is no map");
            self.problems.push(problem.help("begin with `bootstrap_servers: host:port`"));
            return;
        };
        for (key, node) in entries {
            if key.name != NESTED {
                self.entry(Entry { key, node });
            } else if let Value::Map(nested) = &node.value {
                nested.iter().for_each(|(key, node)| self.entry(Entry { key, node }));
            } else {
                self.wrong_type(Entry { key, node }, "a map");
            }
        }
    }

    fn entry(&mut self, entry: Entry<'_>) {
        let name = entry.key.name.as_str();
        if let Some(rule) = KEYS.iter().find(|rule| rule.name == name) {
            if self.claim(name, entry.key) && self.is_said(entry) {
                (rule.read)(self, entry);
            }
        } else if let Some(argument) = aiokafka::find(name) {
            self.argument(argument, entry);
        } else {
            self.unknown(entry);
        }
    }

    fn unknown(&mut self, entry: Entry<'_>) {
        let name = entry.key.name.as_str();
        let known: Vec<&str> =
            KEYS.iter().map(|rule| rule.name).chain(ARGUMENTS.iter().map(|row| row.name)).collect();
        let help = match closest(name, known.iter().copied()) {
            _ if name.contains('.') && rejection(name, "") != Some(Rejection::Unknown) => {
                format!("librdkafka's properties stand under `properties`: `properties: {{{name}: …}}`")
            }
            Some(meant) => format!("did you mean `{meant}`?"),
            None => {
                let keys: Vec<&str> = KEYS.iter().map(|rule| rule.name).collect();
                format!("there are {}, and the arguments of aiokafka's consumer", listed(&keys))
            }
        };
        self.hide(entry.node);
        let problem = Problem::new(entry.key.span.clone(), format!("unknown key `{name}`"), "no such key");
        self.problems.push(problem.help(help));
    }

    /// Notes that a setting is said here. If it was said before, both places are told.
    fn claim(&mut self, setting: &str, key: &Key) -> bool {
        let Some(first) = self.said.get(setting) else {
            self.said.insert(setting.to_owned(), key.span.clone());
            return true;
        };
        let earlier = unquoted(&self.source[first.clone()]);
        let message = if earlier == key.name {
            format!("`{earlier}` is said twice")
        } else {
            format!("`{}` and `{earlier}` are the same setting", key.name)
        };
        let problem = Problem::new(key.span.clone(), message, "again here").also(first.clone(), "first here");
        self.problems.push(problem.help("keep one"));
        false
    }

    /// Refuses nothing where a value belongs.
    fn is_said(&mut self, entry: Entry<'_>) -> bool {
        let said = !matches!(entry.node.value, Value::Null);
        if !said {
            let message = format!("`{}` has no value", entry.key.name);
            let problem = Problem::new(entry.key.span.clone(), message, "nothing is said");
            self.problems.push(problem.help("write a value, or remove the key"));
        }
        said
    }

    fn argument(&mut self, argument: &Argument, entry: Entry<'_>) {
        // Python's `None`: the argument was not given.
        if matches!(entry.node.value, Value::Null) {
            return;
        }
        let name = argument.name;
        match argument.fate {
            // Keys are found before arguments.
            Fate::Key => {}
            Fate::Property { name: property, conversion } => {
                if let Some(value) = self.converted(conversion, entry) {
                    let line = self.line(entry.key);
                    let origin = Origin::Aiokafka { argument: name.to_owned(), line };
                    self.property(property, value, entry, origin);
                }
            }
            Fate::Only { value: accepted, why } => {
                if self.truth(entry).is_some_and(|value| value != accepted) {
                    let message = format!("`{name}` can only be {accepted}");
                    let problem = Problem::new(entry.place(), message, "not with Fairpoll");
                    self.problems.push(problem.help(why));
                }
            }
            Fate::Ignored(why) => {
                let line = self.line(entry.key);
                self.config.ignored.push(format!("line {line}: {name} has no effect: {why}"));
            }
            Fate::Refused(why) => {
                let message = format!("aiokafka's `{name}` does not exist here");
                self.problems.push(Problem::new(entry.key.span.clone(), message, "this argument").help(why));
                self.hide(entry.node);
            }
        }
    }

    fn converted(&mut self, conversion: Conversion, entry: Entry<'_>) -> Option<String> {
        match conversion {
            Conversion::Milliseconds | Conversion::Bytes => {
                self.number(entry, 0..=u32::MAX).map(|number| number.to_string())
            }
            Conversion::Truth => self.truth(entry).map(|truth| truth.to_string()),
            Conversion::Same => self.scalar(entry),
            Conversion::OffsetReset => {
                self.scalar(entry).map(|value| if value == "none" { "error".to_owned() } else { value })
            }
            Conversion::Assignors => self.assignors(entry),
        }
    }

    fn assignors(&mut self, entry: Entry<'_>) -> Option<String> {
        let classes = self.texts(entry)?;
        let mut names = Vec::new();
        for (class, at) in classes {
            match aiokafka::assignor(&class) {
                Some(name) => names.push(name),
                None => {
                    let message = format!("librdkafka has no assignor `{class}`");
                    let problem = Problem::new(at, message, "not in librdkafka");
                    self.problems
                        .push(problem.help("there are `range`, `roundrobin` and `cooperative-sticky`"));
                    return None;
                }
            }
        }
        Some(names.join(","))
    }

    /// Every librdkafka property of a map.
    pub(super) fn properties(&mut self, entry: Entry<'_>) {
        let Value::Map(properties) = &entry.node.value else {
            self.wrong_type(entry, "a map of librdkafka properties");
            return;
        };
        for (key, node) in properties {
            let entry = Entry { key, node };
            if !self.is_said(entry) {
                continue;
            }
            if let Some(value) = self.scalar(entry) {
                let origin = self.origin(key);
                self.property(&key.name, value, entry, origin);
            }
        }
    }

    /// Sets a librdkafka property, if the engine and librdkafka take it.
    pub(super) fn property(&mut self, name: &str, value: String, entry: Entry<'_>, origin: Origin) {
        if let Some(message) = refusal(name, &value) {
            let problem = Problem::new(entry.key.span.clone(), message, "this property");
            self.problems.push(problem.help("remove it"));
            return;
        }
        match rejection(name, &value) {
            Some(Rejection::Unknown) => {
                let message = format!("librdkafka has no property `{name}`");
                let problem = Problem::new(entry.key.span.clone(), message, "no such property");
                self.problems.push(match closest(name, COMMON.iter().copied()) {
                    Some(meant) => problem.help(format!("did you mean `{meant}`?")),
                    None => problem.help("librdkafka's CONFIGURATION.md lists all there are"),
                });
                self.hide(entry.node);
            }
            Some(Rejection::Invalid(words)) => {
                let message = format!("librdkafka does not take this: {words}");
                self.problems.push(Problem::new(entry.place(), message, "this value"));
            }
            None => {
                if self.claim(canonical(name), entry.key) {
                    self.config.set_property(name.to_owned(), value, origin);
                }
            }
        }
    }

    /// A property under a key of Fairpoll's.
    pub(super) fn property_of_key(&mut self, name: &str, entry: Entry<'_>) {
        if let Some(ms) = self.number(entry, 1..=u32::MAX) {
            let origin = self.origin(entry.key);
            self.property(name, ms.to_string(), entry, origin);
        }
    }

    /// Notes where a key of Fairpoll's was said.
    pub(super) fn note(&mut self, entry: Entry<'_>) {
        let origin = self.origin(entry.key);
        self.config.origins.note(&entry.key.name, origin);
    }

    fn origin(&self, key: &Key) -> Origin {
        Origin::File { key: key.name.clone(), line: self.line(key) }
    }

    fn line(&self, key: &Key) -> u32 {
        position(self.source, key.span.start).0
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(super) fn wrong_type(&mut self, entry: Entry<'_>, wanted: &str) {
        let found = found(entry.node);
        let message = format!("`{}` must be {wanted}, not {found}", entry.key.name);
        self.problems.push(Problem::new(entry.place(), message, format!("this is {found}")));
    }

    pub(super) fn number(&mut self, entry: Entry<'_>, range: RangeInclusive<u32>) -> Option<u32> {
        let Value::Integer(number) = entry.node.value else {
            self.wrong_type(entry, "a whole number");
            return None;
        };
        let fitting = u32::try_from(number).ok().filter(|number| range.contains(number));
        if fitting.is_none() {
            let (least, most) = (range.start(), range.end());
            let message = format!("`{}` must be {least} to {most}, not {number}", entry.key.name);
            self.problems.push(Problem::new(entry.node.span.clone(), message, "this number"));
        }
        fitting
    }

    pub(super) fn truth(&mut self, entry: Entry<'_>) -> Option<bool> {
        if let Value::Bool(truth) = entry.node.value {
            return Some(truth);
        }
        self.wrong_type(entry, "true or false");
        None
    }

    pub(super) fn text(&mut self, entry: Entry<'_>) -> Option<String> {
        match entry.node.text() {
            Some(text) if text.trim().is_empty() => {
                let message = format!("`{}` is empty", entry.key.name);
                self.problems.push(Problem::new(entry.node.span.clone(), message, "nothing is said"));
                None
            }
            Some(text) => Some(text.to_owned()),
            None => {
                self.wrong_type(entry, "text");
                None
            }
        }
    }

    /// One of several words.
    pub(super) fn choice<T>(
        &mut self,
        entry: Entry<'_>,
        choices: &[&str],
        parse: fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(entry)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            let message = format!("`{}` cannot be `{text}`", entry.key.name);
            let problem = Problem::new(entry.node.span.clone(), message, "no such choice");
            self.problems.push(problem.help(remedy(&text, choices)));
        }
        parsed
    }

    /// A text, or a list of texts, with their places.
    pub(super) fn texts(&mut self, entry: Entry<'_>) -> Option<Vec<(String, Range<usize>)>> {
        let Value::List(items) = &entry.node.value else {
            return Some(vec![(self.text(entry)?, entry.node.span.clone())]);
        };
        let mut texts = Vec::with_capacity(items.len());
        for node in items {
            texts.push((self.text(Entry { key: entry.key, node })?, node.span.clone()));
        }
        if texts.is_empty() {
            let message = format!("`{}` is empty", entry.key.name);
            self.problems.push(Problem::new(entry.key.span.clone(), message, "this list"));
            return None;
        }
        Some(texts)
    }

    /// The only keys of a map inside a list.
    pub(super) fn known_keys(&mut self, node: &Node, known: &[&str], what: &str) {
        for (key, value) in node.entries() {
            if !known.contains(&key.name.as_str()) {
                let message = format!("unknown key `{}` in {what}", key.name);
                let problem = Problem::new(key.span.clone(), message, "no such key");
                self.problems.push(problem.help(remedy(&key.name, known)));
                self.hide(value);
            }
        }
    }

    /// Text, number or truth value, as librdkafka wants it: as it is written.
    fn scalar(&mut self, entry: Entry<'_>) -> Option<String> {
        let written = self.source.get(entry.node.span.clone()).unwrap_or_default();
        match &entry.node.value {
            Value::Text(text) => Some(text.clone()),
            // `yes` and `0123` may be passwords; behind an alias something else is written than is meant.
            Value::Bool(truth) if written.starts_with('*') => Some(truth.to_string()),
            Value::Bool(_) => Some(written.to_owned()),
            Value::Integer(number) if written.parse() == Ok(*number) => Some(written.to_owned()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) if written.parse() == Ok(*number) => Some(written.to_owned()),
            Value::Float(number) => Some(number.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.wrong_type(entry, "text or a number");
                None
            }
        }
    }

    fn hide(&mut self, node: &Node) {
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| self.hide(item)),
            Value::Map(entries) => entries.iter().for_each(|(_, value)| self.hide(value)),
            _ => self.hidden.push(node.span.clone()),
        }
    }
}

fn unquoted(key: &str) -> &str {
    key.trim_matches(['"', '\''])
}

/// What stands there, in words. Never the text itself: it may be secret.
fn found(node: &Node) -> &'static str {
    match &node.value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Text(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}
