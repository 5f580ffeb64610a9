//! The tables of `docs/configuration.md`, from the tables that are read by.

use std::fmt::Write as _;

use fairpoll_core::PRESETS;

use super::aiokafka::{ARGUMENTS, Argument, Fate};
use super::keys::KEYS;
use crate::config::properties::{NOT_UNDER_KIP848, RESERVED, WITHOUT_EFFECT};
use crate::config::{Config, FETCH_DEFAULTS, ModeRequest};
use crate::consumer::build::{plan, properties};

/// A generated part of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name in the page's markers.
    pub name: &'static str,
    /// What it lists.
    pub title: &'static str,
    /// A Markdown table.
    pub table: String,
}

/// The generated tables: keys, presets, aiokafka's arguments, properties.
#[must_use]
pub fn reference() -> Vec<Section> {
    vec![
        Section { name: "keys", title: "Fairpoll's keys", table: keys() },
        Section { name: "presets", title: "Presets by the number of topics", table: presets() },
        Section { name: "aiokafka", title: "Arguments of aiokafka's consumer", table: arguments() },
        Section { name: "defaults", title: "librdkafka properties with other defaults", table: defaults() },
        Section { name: "refused", title: "librdkafka properties that are refused", table: refused() },
        Section { name: "without-effect", title: "… that have no effect", table: without_effect() },
        Section { name: "kip848", title: "… that KIP-848 leaves to the broker", table: not_under_kip848() },
    ]
}

fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(N));
    for row in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

fn code(name: &str) -> String {
    format!("`{name}`")
}

fn keys() -> String {
    let row = |key: &super::keys::Key| {
        [code(key.name), key.takes.to_owned(), key.default.to_owned(), key.meaning.to_owned()]
    };
    table(["key", "takes", "default", "meaning"], KEYS.iter().map(row))
}

fn presets() -> String {
    let rows = PRESETS.iter().enumerate().map(|(index, preset)| {
        let topics = match PRESETS.get(index + 1) {
            Some(next) => format!("{} to {}", preset.topics_min, next.topics_min - 1),
            None => format!("{} and more", preset.topics_min),
        };
        let poll = preset.max_poll_interval_ms.map_or_else(|| "300000".to_owned(), |ms| ms.to_string());
        [topics, preset.max_poll_records.to_string(), preset.session_timeout_ms.to_string(), poll]
    });
    table(["topics", "`max_poll_records`", "`session_timeout_ms`", "`max_poll_interval_ms`"], rows)
}

fn arguments() -> String {
    let row = |argument: &Argument| {
        let (fate, why) = match argument.fate {
            Fate::Key => ("a key, see above".to_owned(), String::new()),
            Fate::Property { name, conversion } => (code(name), conversion.words().to_owned()),
            Fate::Only { value, why } => (format!("only `{value}`"), why.to_owned()),
            Fate::Ignored(why) => ("ignored, with a warning".to_owned(), why.to_owned()),
            Fate::Refused(why) => ("refused".to_owned(), why.to_owned()),
        };
        let here = match argument.fate {
            Fate::Property { name, .. } => default_of(name),
            Fate::Only { value, .. } => format!("`{value}`"),
            Fate::Key | Fate::Ignored(_) | Fate::Refused(_) => String::new(),
        };
        [code(argument.name), fate, why, code(argument.default), here]
    };
    let head = ["argument", "becomes", "how, or why", "default in aiokafka", "default here"];
    table(head, ARGUMENTS.iter().map(row))
}

/// A property's default: Fairpoll's where it has one, else librdkafka's.
fn default_of(property: &str) -> String {
    if property == "auto.offset.reset" {
        // A topic's property: a handle's configuration has no default of it to show.
        return code("latest");
    }
    let [plain, fair] = [ModeRequest::Single, ModeRequest::Fair].map(|mode| {
        let config = Config::new("localhost", "group", ["a", "b"]).mode(mode);
        let topology = plan(&config).expect("a usable configuration");
        let native = properties(&config, &topology, 0).client_config().create_native_config();
        // What has no default has no value either.
        native.and_then(|native| native.get(property)).unwrap_or_default()
    });
    match plain.as_str() {
        "" => String::new(),
        _ if plain != fair => format!("{}, in `fair` {}", code(&plain), code(&fair)),
        _ => code(&plain),
    }
}

fn defaults() -> String {
    let rows = FETCH_DEFAULTS.iter().map(|(name, value)| [code(name), code(value)]);
    table(["property", "default"], rows)
}

fn refused() -> String {
    let rows = RESERVED.iter().map(|reserved| {
        let fixed = reserved.fixed.map_or_else(String::new, code);
        [code(reserved.name), fixed, reserved.why.to_owned()]
    });
    table(["property", "but for this value", "why"], rows)
}

fn without_effect() -> String {
    let rows = WITHOUT_EFFECT.iter().map(|(name, why)| [code(name), (*why).to_owned()]);
    table(["property", "why"], rows)
}

fn not_under_kip848() -> String {
    let rows = NOT_UNDER_KIP848.iter().map(|(name, who)| [code(name), (*who).to_owned()]);
    table(["property", "decided by"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");

    /// The page with the tables as they are now.
    fn renewed(page: &str) -> String {
        let mut page = page.to_owned();
        for Section { name, table, .. } in reference() {
            let begin = format!("<!-- generated: {name} -->\n");
            let start = page.find(&begin).unwrap_or_else(|| panic!("{PAGE} lacks {begin}")) + begin.len();
            let end = start + page[start..].find("<!-- end -->").expect("every begin has an end");
            page.replace_range(start..end, &table);
        }
        page
    }

    /// The tables of the documentation are the tables that files are read by.
    #[test]
    fn the_documentation_shows_the_tables_of_the_code() {
        let page = std::fs::read_to_string(PAGE).expect("the page exists");
        let renewed = renewed(&page);
        if std::env::var_os("FAIRPOLL_RENEW_DOCS").is_some() {
            std::fs::write(PAGE, &renewed).expect("the page can be written");
            return;
        }
        let different = page.lines().zip(renewed.lines()).find(|(is, should)| is != should);
        assert!(
            page == renewed,
            "docs/configuration.md differs from the code's tables, first at {different:?}; renew it by\n    \
             FAIRPOLL_RENEW_DOCS=1 cargo test -p fairpoll --features files --lib the_documentation_shows"
        );
    }
}
