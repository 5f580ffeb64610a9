//! A file as it was written: a tree in which every key and value knows where it stands.
//!
//! What a file means has no room for positions; everything that is said about a file is said about
//! a place in this tree.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// What stands there.
    pub value: Value,
    /// Bytes of the source. Of a list or map: where it begins.
    pub span: Range<usize>,
}

/// A key and its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Bytes of the source.
    pub span: Range<usize>,
}

/// What stands there.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the file's order.
    Map(Vec<(Key, Node)>),
}

/// Reads YAML, hence JSON.
///
/// # Errors
/// If it is not YAML.
pub fn parse_yaml(source: &str) -> Result<Node, Box<Problem>> {
    let parsed = serde_saphyr::from_str::<Spanned<Value>>(source).map(Node::from);
    parsed.map_err(|error| Box::new(yaml_problem(source, &error)))
}

/// Reads TOML. Times are read as text.
///
/// # Errors
/// If it is not TOML.
pub fn parse_toml(source: &str) -> Result<Node, Box<Problem>> {
    match DeTable::parse(source) {
        Ok(table) => {
            let span = table.span();
            Ok(Node { value: map_of(table.into_inner()), span })
        }
        Err(error) => Err(Box::new(Problem::new(error.span().unwrap_or(0..0), error.message(), "here"))),
    }
}

fn map_of(table: DeTable<'_>) -> Value {
    let mut entries: Vec<(Key, Node)> = table
        .into_iter()
        .map(|(key, value)| {
            let key = Key { span: key.span(), name: key.into_inner().into_owned() };
            let span = value.span();
            (key, Node { value: value_of(value.into_inner()), span })
        })
        .collect();
    entries.sort_by_key(|(key, _)| key.span.start);
    Value::Map(entries)
}

fn value_of(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            // More digits than any number here has; whoever wants one will refuse the text.
            Err(_) => Value::Text(number.to_string()),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Value::Float(number),
            Err(_) => Value::Text(number.as_str().to_owned()),
        },
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(items) => {
            let node = |item: toml::Spanned<DeValue<'_>>| {
                let span = item.span();
                Node { value: value_of(item.into_inner()), span }
            };
            Value::List(items.into_iter().map(node).collect())
        }
        DeValue::Table(table) => map_of(table),
    }
}

impl Node {
    /// The value under `key` of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(k, _)| k.name == key).map(|(_, node)| node)
    }

    /// The entries of a map; of anything else none.
    pub fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; of anything else none.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Text, if it is some.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Where to point at when something is said of the node as a whole.
    pub fn place(&self) -> Range<usize> {
        match self.entries().first() {
            Some((key, _)) => key.span.clone(),
            None => self.span.clone(),
        }
    }
}

/// What the YAML reader says, without the snippet of its own.
#[must_use]
pub fn yaml_problem(source: &str, error: &serde_saphyr::Error) -> Problem {
    let error = error.without_snippet();
    let at = error.location().map_or(0..0, |location| match location.span().byte_offset() {
        Some(_) => bytes(location),
        // Of a syntax error only line and column are known.
        None => point(source, location.line(), location.column()),
    });
    let at = at.start.min(source.len())..at.end.min(source.len());
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error {
        let message = format!("the key `{key}` stands twice in the same map");
        return Problem::new(at, message, "again here").help("keep one");
    }
    // The reader closes with the position, which stands beside the snippet already.
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text).trim_end_matches([',', ':']).to_owned();
    Problem::new(at, message, "here")
}

/// The byte at a line and a column in characters, both from 1.
fn point(source: &str, line: u64, column: u64) -> Range<usize> {
    let index = |from_one: u64| usize::try_from(from_one.saturating_sub(1)).unwrap_or(usize::MAX);
    let lines = source.split_inclusive('\n');
    let begin: usize = lines.clone().take(index(line)).map(str::len).sum();
    let text = lines.clone().nth(index(line)).unwrap_or_default();
    let within = text.char_indices().nth(index(column)).map_or(text.trim_end().len(), |(byte, _)| byte);
    begin + within..begin + within
}

/// The bytes that a location covers.
fn bytes(location: Location) -> Range<usize> {
    let span = location.span();
    let index = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
    let start = index(span.byte_offset());
    start..start + index(span.byte_len())
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { value: spanned.value, span: bytes(spanned.referenced) }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Value>>()? {
            items.push(item.into());
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key { name: key.value, span: bytes(key.referenced) };
            entries.push((key, map.next_value::<Spanned<Value>>()?.into()));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_know_their_bytes() {
        let source = "# ü\na:\n  - {b: 7, c: \"x y\"}\n  - plain text >= 1 # why\n";
        let tree = parse_yaml(source).unwrap();
        let list = tree.get("a").unwrap().items();
        let (key, value) = &list[0].entries()[0];
        assert_eq!(&source[key.span.clone()], "b");
        assert_eq!(&source[value.span.clone()], "7");
        assert_eq!(&source[list[0].get("c").unwrap().span.clone()], "\"x y\"");
        assert_eq!(&source[list[1].span.clone()], "plain text >= 1");
    }
    #[test]
    fn toml_is_the_same_tree() {
        let source = "a = [ {b = 7, c = \"x\"} ]\n[d]\n\"e.f\" = true\ng = 0x10\n";
        let tree = parse_toml(source).unwrap();
        let (key, value) = &tree.get("a").unwrap().items()[0].entries()[0];
        assert_eq!((&source[key.span.clone()], &source[value.span.clone()]), ("b", "7"));
        let table = tree.get("d").unwrap();
        assert!(matches!(table.get("e.f").unwrap().value, Value::Bool(true)));
        assert!(matches!(table.get("g").unwrap().value, Value::Integer(16)));
        let problem = parse_toml("a = 1\nb = \n").unwrap_err();
        assert_eq!(problem.at.start, 10, "{problem:?}");
    }
}
