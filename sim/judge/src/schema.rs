//! JSON Schemas of everything that crosses a boundary, draft-07.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::benchmark::Benchmarks;
use crate::event::Event;
use crate::manifest::Manifest;
use crate::protocol::{WorkerLine, WorkerSpec};
use crate::summary::Summary;

/// The schemas, each with its file name.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("summary.v1.schema.json", schema::<Summary>()),
        ("event.v1.schema.json", schema::<Event>()),
        ("worker-spec.v1.schema.json", schema::<WorkerSpec>()),
        ("worker-line.v1.schema.json", schema::<WorkerLine>()),
        ("manifest.v1.schema.json", schema::<Manifest>()),
        ("benchmarks.v1.schema.json", schema::<Benchmarks>()),
    ]
}

fn schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft07().into_generator().into_root_schema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::judge;
    use crate::testing::Log;

    fn validator(name: &str) -> jsonschema::Validator {
        let (_, schema) = schemas().into_iter().find(|(file, _)| *file == name).unwrap();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#", "{name}");
        jsonschema::validator_for(&schema).unwrap()
    }

    #[test]
    fn a_log_and_its_summary_are_valid_under_their_schemas() {
        let mut log = Log::new(&[("orders", 2)]);
        log.backlog("orders", 0, 10);
        log.gate("fair.lost == 0");
        log.start(0, true);
        log.poll(20, 21, &[("orders", 0, 0, 10)]);
        log.finish(30);
        let events = validator("event.v1.schema.json");
        for event in log.whole() {
            let value = serde_json::to_value(&event).unwrap();
            assert!(events.is_valid(&value), "{value}");
        }
        let summary = serde_json::to_value(judge(&log.whole()).unwrap().summary).unwrap();
        assert!(validator("summary.v1.schema.json").is_valid(&summary), "{summary}");
    }

    #[test]
    fn an_unknown_key_is_invalid() {
        let line = serde_json::json!({"event": "bye", "t_ns": 1, "polls": 2, "surprise": true});
        assert!(!validator("worker-line.v1.schema.json").is_valid(&line));
        let line = serde_json::json!({"event": "bye", "t_ns": 1, "polls": 2});
        assert!(validator("worker-line.v1.schema.json").is_valid(&line));
    }
}
