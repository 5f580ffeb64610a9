//! The scenario's JSON Schema, generated from the model.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Scenario;

/// The schema of scenario files, JSON Schema draft-07: the one that editors understand.
#[must_use]
pub fn schema() -> Value {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Scenario>();
    schema.to_value()
}
