//! A backlog: a number of records, or the length of a downtime.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Records, over all partitions: a number, or the length of a downtime.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Backlog(pub BacklogSize);

/// How a backlog is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BacklogSize {
    /// So many records.
    Records(u64),
    /// What `rate_per_s` produces in so many seconds.
    DowntimeS(f64),
}

impl Backlog {
    /// In records, of a topic that receives `rate_per_s` records per second.
    #[must_use]
    pub fn records(self, rate_per_s: f64) -> u64 {
        match self.0 {
            BacklogSize::Records(records) => records,
            // The cast saturates, and a checked scenario has neither negative rates nor times.
            BacklogSize::DowntimeS(seconds) => (rate_per_s * seconds).round() as u64,
        }
    }
}

impl Default for BacklogSize {
    fn default() -> Self {
        Self::Records(0)
    }
}

/// What is produced while nobody consumes.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Downtime")]
struct Downtime {
    /// Seconds of production at `rate_per_s`.
    #[schemars(range(min = 0.0))]
    downtime_s: f64,
}

impl Serialize for Backlog {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            BacklogSize::Records(records) => serializer.serialize_u64(records),
            BacklogSize::DowntimeS(downtime_s) => Downtime { downtime_s }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Backlog {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BacklogVisitor)
    }
}

struct BacklogVisitor;

impl<'de> Visitor<'de> for BacklogVisitor {
    type Value = Backlog;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of records or `{downtime_s: SECONDS}`")
    }

    fn visit_u64<E: Error>(self, records: u64) -> Result<Backlog, E> {
        Ok(Backlog(BacklogSize::Records(records)))
    }

    fn visit_i64<E: Error>(self, records: i64) -> Result<Backlog, E> {
        match u64::try_from(records) {
            Ok(records) => self.visit_u64(records),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(records), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Backlog, A::Error> {
        let downtime = Downtime::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Backlog(BacklogSize::DowntimeS(downtime.downtime_s)))
    }
}

impl JsonSchema for Backlog {
    fn schema_name() -> Cow<'static, str> {
        "Backlog".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Records, over all partitions: a number, or the length of a downtime.",
            "oneOf": [
                { "type": "integer", "minimum": 0 },
                generator.subschema_for::<Downtime>(),
            ],
        })
    }
}
