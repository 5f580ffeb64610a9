//! A mode: a name alone, or a map that says what differs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use fairpoll_judge::protocol::QuotaRule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::model::property_map_schema;

/// Fairpoll's own modes.
pub const FAIRPOLL_MODES: &[&str] = &["single", "multi", "fair", "auto"];

/// How several handles may share a consumer group.
pub const GROUP_STRATEGIES: &[&str] = &["kip848", "cooperative", "own", "classic"];

/// What is measured under a name of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Mode {
    /// Its name in tables and gates.
    pub name: String,
    /// What runs.
    pub kind: ModeKind,
    /// Overrides `consumer.max_poll_records`.
    pub max_poll_records: Option<u32>,
    /// Overrides `consumer.fetch_buffer_mib`.
    pub fetch_buffer_mib: Option<u32>,
    /// Cap of a whole poll, records.
    pub max_records: Option<u32>,
    /// How topics share a poll.
    pub sharing: Sharing,
    /// How the handles of `multi`, and the instances of every mode, share the group: one of
    /// [`GROUP_STRATEGIES`].
    pub group_strategy: Option<String>,
    /// Instances that join later run Fairpoll in this mode: a rolling change from another program.
    pub joins_as: Option<String>,
    /// librdkafka properties, over those of the consumer.
    pub properties: BTreeMap<String, String>,
}

/// How the topics of a mode share a poll, where it is not by fixed quotas and the topics' priorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sharing {
    /// All topics are of one priority to it.
    pub ignores_priorities: bool,
    /// Polls after which a starving topic comes ahead of all priorities.
    pub starvation_guard_polls: Option<u32>,
    /// How quotas change.
    pub quota: Option<QuotaRule>,
    /// A poll waits so long for a record of each topic that has any, ms.
    pub complete_wait_ms: Option<u64>,
}

/// What runs under a mode's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeKind {
    /// Fairpoll itself in the mode `single`, `multi`, `fair` or `auto`.
    Fairpoll(String),
    /// A command that speaks the worker protocol.
    Command(Vec<String>),
}

impl Mode {
    /// What runs, in words, for tables: `fair`, `single with own properties`, a command line.
    #[must_use]
    pub fn label(&self) -> String {
        let what = match &self.kind {
            ModeKind::Fairpoll(mode) => mode.clone(),
            ModeKind::Command(command) => command.join(" "),
        };
        if self.properties.is_empty() { what } else { format!("{what} with own properties") }
    }

    fn is_plain(&self) -> bool {
        self.kind == ModeKind::Fairpoll(self.name.clone())
            && self.max_poll_records.is_none()
            && self.fetch_buffer_mib.is_none()
            && self.max_records.is_none()
            && self.sharing == Sharing::default()
            && self.group_strategy.is_none()
            && self.joins_as.is_none()
            && self.properties.is_empty()
    }
}

/// A mode with a name and settings of its own.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CustomMode")]
struct ModeMap {
    /// Its name in tables and gates: `[a-z][a-z0-9_-]*`; absent: the mode's. A command needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("pattern" = "^[a-z][a-z0-9_-]*$"))]
    name: Option<String>,
    /// Fairpoll itself in this mode. Either this or `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ["single", "multi", "fair", "auto"]))]
    mode: Option<String>,
    /// A command that speaks the worker protocol, program and arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    command: Option<Vec<String>>,
    /// Overrides `consumer.max_poll_records`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1))]
    max_poll_records: Option<u32>,
    /// Overrides `consumer.fetch_buffer_mib`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1))]
    fetch_buffer_mib: Option<u32>,
    /// Cap of a whole poll, records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1))]
    max_records: Option<u32>,
    /// `false`: the topics' priorities are unknown to this mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    priorities: Option<bool>,
    /// A topic with records that got nothing in so many consecutive polls comes ahead of all priorities;
    /// absent: the consumer's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1))]
    starvation_guard_polls: Option<u32>,
    /// How the quotas of topics change; absent: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "QuotaRule")]
    quota: Option<QuotaRule>,
    /// A poll waits until every topic with records can contribute one, at most so long, ms; absent: it
    /// returns as soon as any has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 1))]
    complete_wait_ms: Option<u64>,
    /// How the handles of `multi`, and the instances of every mode, share the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ["kip848", "cooperative", "own", "classic"]))]
    group_strategy: Option<String>,
    /// Instances that join later (the fault `instance_joins`) run Fairpoll in this mode: a rolling
    /// change from another program to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ["single", "multi", "fair", "auto"]))]
    joins_as: Option<String>,
    /// librdkafka properties, over those of the consumer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "property_map_schema")]
    properties: BTreeMap<String, String>,
}

impl ModeMap {
    fn into_mode<E: Error>(self) -> Result<Mode, E> {
        let (name, kind) = match (self.mode, self.command) {
            (Some(mode), None) => {
                if !FAIRPOLL_MODES.contains(&mode.as_str()) {
                    return Err(E::unknown_variant(&mode, FAIRPOLL_MODES));
                }
                (self.name.unwrap_or_else(|| mode.clone()), ModeKind::Fairpoll(mode))
            }
            (None, Some(command)) if command.is_empty() => {
                return Err(E::custom("the command is empty; give a program and its arguments"));
            }
            (None, Some(command)) => {
                let name = self.name.ok_or_else(|| {
                    E::custom("a mode with a `command` needs a `name` for tables and gates")
                })?;
                (name, ModeKind::Command(command))
            }
            (None, None) => {
                return Err(E::custom("what runs? give `mode: fair` or `command: [program, argument]`"));
            }
            (Some(_), Some(_)) => {
                return Err(E::custom("`mode` and `command` exclude each other; keep one"));
            }
        };
        Ok(Mode {
            name,
            kind,
            max_poll_records: self.max_poll_records,
            fetch_buffer_mib: self.fetch_buffer_mib,
            max_records: self.max_records,
            sharing: Sharing {
                ignores_priorities: self.priorities == Some(false),
                starvation_guard_polls: self.starvation_guard_polls,
                quota: self.quota,
                complete_wait_ms: self.complete_wait_ms,
            },
            group_strategy: self.group_strategy,
            joins_as: self.joins_as,
            properties: self.properties,
        })
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_plain() {
            return serializer.serialize_str(&self.name);
        }
        let mut map = ModeMap {
            name: Some(self.name.clone()),
            max_poll_records: self.max_poll_records,
            fetch_buffer_mib: self.fetch_buffer_mib,
            max_records: self.max_records,
            priorities: self.sharing.ignores_priorities.then_some(false),
            starvation_guard_polls: self.sharing.starvation_guard_polls,
            quota: self.sharing.quota,
            complete_wait_ms: self.sharing.complete_wait_ms,
            group_strategy: self.group_strategy.clone(),
            joins_as: self.joins_as.clone(),
            properties: self.properties.clone(),
            ..ModeMap::default()
        };
        match &self.kind {
            ModeKind::Fairpoll(mode) => map.mode = Some(mode.clone()),
            ModeKind::Command(command) => map.command = Some(command.clone()),
        }
        map.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ModeVisitor)
    }
}

struct ModeVisitor;

impl<'de> Visitor<'de> for ModeVisitor {
    type Value = Mode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`single`, `multi`, `fair`, `auto` or a map with `name` and `mode` or `command`")
    }

    fn visit_str<E: Error>(self, mode: &str) -> Result<Mode, E> {
        ModeMap { mode: Some(mode.to_owned()), ..ModeMap::default() }.into_mode()
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Mode, A::Error> {
        ModeMap::deserialize(MapAccessDeserializer::new(map))?.into_mode()
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What is measured under a name of its own.",
            "oneOf": [
                { "type": "string", "enum": FAIRPOLL_MODES },
                generator.subschema_for::<ModeMap>(),
            ],
        })
    }
}
