//! The committed schemas are what the code says, and the committed scenarios are what they say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn fairpoll(arguments: &[&str], folder: &Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_fairpoll")).args(arguments).current_dir(folder).output().unwrap()
}

fn files(folder: &Path, suffix: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn scenario_schema() -> jsonschema::Validator {
    let text = fs::read_to_string(root().join("schemas/scenario.v1.schema.json")).unwrap();
    jsonschema::draft7::new(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn as_json(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap()
}

fn complaints(schema: &jsonschema::Validator, yaml: &str) -> Vec<String> {
    schema.iter_errors(&as_json(yaml)).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn committed_schemas_are_generated_from_the_code_as_it_is() {
    let fresh = tempfile::tempdir().unwrap();
    let output = fairpoll(&["schema", "--out", "."], fresh.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let fresh = files(fresh.path(), ".json");
    let committed = files(&root().join("schemas"), ".json");
    assert!(fresh.contains_key("scenario.v1.schema.json"));
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&fresh),
        names(&committed),
        "`cargo run -- schema --out schemas` brings them up to date"
    );
    for (name, text) in fresh {
        // Not assert_eq: two pages of JSON help nobody.
        assert!(
            committed[&name] == text,
            "schemas/{name} is out of date: run `cargo run -- schema --out schemas` and commit it"
        );
    }
}

#[test]
fn every_committed_scenario_satisfies_its_schema_and_the_check() {
    let schema = scenario_schema();
    let scenarios = files(&root().join("scenarios"), ".yaml");
    assert!(scenarios.len() >= 8, "only {} scenarios", scenarios.len());
    for (name, yaml) in &scenarios {
        assert_eq!(complaints(&schema, yaml), Vec::<String>::new(), "{name}");
        assert!(yaml.starts_with("# yaml-language-server: $schema=../schemas/scenario.v1"), "{name}");
        let stem = name.trim_end_matches(".yaml");
        assert_eq!(as_json(yaml)["name"], stem, "the file is named like the scenario");
        let output = fairpoll(&["check", name], &root().join("scenarios"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn schema_rejects_what_check_rejects() {
    let schema = scenario_schema();
    let good = fs::read_to_string(root().join("scenarios/normal.yaml")).unwrap();
    for (from, to) in [
        ("partitions: 2", "partitons: 2"),
        ("partitions: 2", "partitions: 0"),
        ("partitions: 2", "partitions: two"),
        ("{downtime_s: 1}", "{downtime: 1}"),
        ("max_poll_records: 500", "max_poll_records: 0"),
        ("value_bytes: 100", "value_bytes: 7"),
        ("multi, fair]", "multi, fare]"),
        ("multi, fair]", "{name: x, mode: fair, propertys: {}}]"),
        ("schema_version: 1", "schema_version: 2"),
        ("name: normal", "name: Not Normal"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "`{from}` stands in the scenario");
        assert_ne!(complaints(&schema, &bad), Vec::<String>::new(), "`{to}` must be rejected");
    }
}

#[test]
fn starter_satisfies_the_schema_and_passes_check() {
    let folder = tempfile::tempdir().unwrap();
    assert!(fairpoll(&["init", "mine.yaml"], folder.path()).status.success());
    let yaml = fs::read_to_string(folder.path().join("mine.yaml")).unwrap();
    assert_eq!(complaints(&scenario_schema(), &yaml), Vec::<String>::new());
    let output = fairpoll(&["check", "mine.yaml"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
