//! Holds a file's tree against the scenario's schema: unknown keys, missing keys, wrong types,
//! values out of bounds, all of them at once and each at its place.
//!
//! The schema is the one that editors get, so both say the same. Only what schemas generated
//! from our structs use is understood: a reader of any JSON Schema this is not.

use std::ops::Range;

use serde_json::Value as Json;

use super::Problem;
use super::suggest::{closest, listed, remedy};
use super::tree::{Node, Value};

/// What does not conform, in no particular order.
pub(super) fn conform(tree: &Node, schema: &Json) -> Vec<Problem> {
    let mut check = Conformance { root: schema, problems: Vec::new() };
    check.node(tree, schema, "the scenario", None);
    check.problems
}

struct Conformance<'a> {
    root: &'a Json,
    problems: Vec<Problem>,
}

impl<'a> Conformance<'a> {
    /// `what` names the node in messages; `key` is where the key stands that leads to it.
    fn node(&mut self, node: &Node, schema: &'a Json, what: &str, key: Option<&Range<usize>>) {
        let mut variants = Vec::new();
        self.variants(schema, &mut variants);
        let fitting = variants.iter().copied().find(|variant| has_type(node, variant));
        let Some(schema) = fitting else {
            let expected: Vec<String> = variants.iter().map(|variant| expected(variant)).collect();
            let at = match (&node.value, key) {
                (Value::Null | Value::List(_) | Value::Map(_), Some(key)) => key.clone(),
                _ => node.place(),
            };
            self.problems.push(Problem::new(
                at,
                format!("{what} must be {}, not {}", expected.join(" or "), found(node)),
                format!("this is {}", found(node)),
            ));
            return;
        };
        match &node.value {
            Value::Map(_) => self.map(node, schema, what),
            Value::List(items) => self.list(node, items, schema, what, key),
            Value::Integer(integer) => self.bounds(node, *integer as f64, schema, what),
            Value::Float(float) => self.bounds(node, *float, schema, what),
            Value::Text(text) => self.choice(node, text, &variants, what),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Follows references and takes alternatives apart.
    fn variants(&self, schema: &'a Json, out: &mut Vec<&'a Json>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.trim_start_matches("#/definitions/");
            self.variants(&self.root["definitions"][name], out);
        } else if let Some(all) = schema["allOf"].as_array() {
            // schemars wraps a reference so where a description or a default stands beside it.
            all.iter().for_each(|one| self.variants(one, out));
        } else if let Some(any) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            any.iter().for_each(|one| self.variants(one, out));
        } else {
            out.push(schema);
        }
    }

    fn map(&mut self, node: &Node, schema: &'a Json, what: &str) {
        let properties = schema["properties"].as_object();
        let known: Vec<&str> =
            properties.into_iter().flat_map(|map| map.keys()).map(String::as_str).collect();
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let missing = required.into_iter().filter(|key| node.get(key).is_none());
        let mut missing: Vec<&str> = missing.collect();
        for (key, value) in node.entries() {
            if let Some(schema) = properties.and_then(|map| map.get(&key.name)) {
                self.node(value, schema, &format!("`{}`", key.name), Some(&key.span));
            } else if schema["additionalProperties"].is_object() {
                self.node(
                    value,
                    &schema["additionalProperties"],
                    &format!("`{}`", key.name),
                    Some(&key.span),
                );
            } else {
                let message = format!("unknown key `{}` in {what}", key.name);
                let problem = Problem::new(key.span.clone(), message, "no such key");
                self.problems.push(problem.help(remedy(&key.name, &known)));
                // A misspelt key is not missing besides.
                if let Some(meant) = closest(&key.name, known.iter().copied()) {
                    missing.retain(|key| *key != meant);
                }
            }
        }
        for key in missing {
            let meaning = schema["properties"][key]["description"].as_str().unwrap_or_default();
            let message = format!("{what} lacks the key `{key}`");
            let problem = Problem::new(node.place(), message, "it belongs beside this");
            self.problems.push(problem.help(format!("`{key}`: {meaning}")));
        }
    }

    fn list(
        &mut self,
        node: &Node,
        items: &[Node],
        schema: &'a Json,
        what: &str,
        key: Option<&Range<usize>>,
    ) {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        if (items.len() as u64) < least {
            let at = key.cloned().unwrap_or_else(|| node.place());
            self.problems.push(Problem::new(
                at,
                format!("{what} needs at least {least} entry"),
                "this list is empty",
            ));
        }
        for (index, item) in items.iter().enumerate() {
            let name = item.get("name").and_then(Node::text);
            let what = match name {
                Some(name) => format!("`{name}` of {what}"),
                None => format!("entry {} of {what}", index + 1),
            };
            self.node(item, &schema["items"], &what, None);
        }
    }

    fn bounds(&mut self, node: &Node, value: f64, schema: &Json, what: &str) {
        let wanted = if let Some(exact) = schema["const"].as_f64().filter(|exact| *exact != value) {
            format!("be {exact}")
        } else if let Some(least) = schema["minimum"].as_f64().filter(|least| value < *least) {
            format!("be at least {least}")
        } else if let Some(floor) = schema["exclusiveMinimum"].as_f64().filter(|floor| value <= *floor) {
            format!("be greater than {floor}")
        } else if let Some(most) = schema["maximum"].as_f64().filter(|most| value > *most) {
            format!("be at most {most}")
        } else if schema["format"] == "uint32" && value > f64::from(u32::MAX) {
            format!("be at most {}", u32::MAX)
        } else {
            return;
        };
        let problem = Problem::new(node.place(), format!("{what} must {wanted}, not {value}"), "this number");
        self.problems.push(match schema["description"].as_str() {
            Some(meaning) => problem.help(format!("{what}: {meaning}")),
            None => problem,
        });
    }

    /// The choices of all variants that are text: schemars makes a variant of each where they have
    /// descriptions. A variant that is any text takes any.
    fn choice(&mut self, node: &Node, text: &str, variants: &[&Json], what: &str) {
        let mut choices: Vec<&str> = Vec::new();
        for schema in variants.iter().filter(|schema| has_type(node, schema)) {
            match (&schema["enum"], &schema["const"]) {
                (Json::Array(some), _) => choices.extend(some.iter().filter_map(Json::as_str)),
                (_, Json::String(only)) => choices.push(only),
                _ => return,
            }
        }
        if !choices.contains(&text) {
            let message = format!("{what} cannot be `{text}`: there are {}", listed(&choices));
            let problem = Problem::new(node.place(), message, "no such choice");
            self.problems.push(match closest(text, choices.iter().copied()) {
                Some(choice) => problem.help(format!("did you mean `{choice}`?")),
                None => problem,
            });
        }
    }
}

fn types(schema: &Json) -> Vec<&str> {
    match &schema["type"] {
        Json::String(one) => vec![one],
        Json::Array(several) => several.iter().filter_map(Json::as_str).collect(),
        // A choice without a type: `const` and `enum` of unit variants are text.
        _ => vec!["string"],
    }
}

fn has_type(node: &Node, schema: &Json) -> bool {
    types(schema).into_iter().any(|name| match &node.value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Integer(_) => name == "integer" || name == "number",
        Value::Float(_) => name == "number",
        Value::Text(_) => name == "string",
        Value::List(_) => name == "array",
        Value::Map(_) => name == "object",
    })
}

fn expected(schema: &Json) -> String {
    if let Some(choices) = schema["enum"].as_array() {
        let choices: Vec<&str> = choices.iter().filter_map(Json::as_str).collect();
        return format!("one of {}", listed(&choices));
    }
    let names: Vec<String> = types(schema)
        .into_iter()
        .map(|name| match name {
            "integer" => "a whole number".to_owned(),
            "number" => "a number".to_owned(),
            "string" => "text".to_owned(),
            "boolean" => "true or false".to_owned(),
            "array" => "a list".to_owned(),
            "object" => "a map".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    let keys: Vec<&str> =
        schema["properties"].as_object().into_iter().flat_map(|map| map.keys()).map(String::as_str).collect();
    if keys.is_empty() || keys.len() > 8 {
        names.join(" or ")
    } else {
        format!("{} with {}", names.join(" or "), listed(&keys))
    }
}

fn found(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Integer(value) => format!("the number {value}"),
        Value::Float(value) => format!("the number {value}"),
        Value::Text(text) => format!("the text \"{text}\""),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}
