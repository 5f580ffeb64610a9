//! Which settings are secret, and what stands in their place wherever something is written down.

use std::collections::BTreeMap;
use std::ops::Range;

/// What stands in a secret's place.
pub const MASK: &str = "***";

// Rather a harmless path masked (`ssl.key.location`) than a secret shown.
const TELLTALES: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "key",
    "credential",
    "jaas",
    "oauthbearer.config",
];

/// Whether a setting of this name (a property, an argument, an option) holds a secret.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLTALES.iter().any(|telltale| name.contains(telltale))
}

/// The value of a setting as it may be shown.
#[must_use]
pub fn masked(name: &str, value: &str) -> String {
    if is_secret(name) { MASK.to_owned() } else { mask_url(value) }
}

/// The properties with the values of secrets masked.
#[must_use]
pub fn mask_properties(properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    properties.iter().map(|(name, value)| (name.clone(), masked(name, value))).collect()
}

/// `scheme://user:password@host` without user and password.
#[must_use]
pub fn mask_url(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let host_ends = rest.find('/').unwrap_or(rest.len());
    match rest[..host_ends].rfind('@') {
        Some(at) => format!("{scheme}://{MASK}@{}", &rest[at + 1..]),
        None => word.to_owned(),
    }
}

/// A configuration's text with its secrets masked, byte for byte as long as before, so that places in
/// it stay what they are. It need not be well-formed: whatever follows a telling name is masked to
/// the end of the line, and further lines that belong to it. `also` is masked as well.
#[must_use]
pub fn mask_source(source: &str, also: &[Range<usize>]) -> String {
    let mut bytes = source.as_bytes().to_vec();
    let mut hide = |range: Range<usize>| {
        let end = range.end.min(bytes.len());
        for byte in &mut bytes[range.start.min(end)..end] {
            if !byte.is_ascii_whitespace() {
                *byte = b'*';
            }
        }
    };
    let mut running: Option<Running> = None;
    let mut begin = 0;
    for line in source.split_inclusive('\n') {
        let end = begin + line.len();
        let indent = line.len() - line.trim_start().len();
        match running {
            Some(Running::Quoted(quotes)) => {
                hide(begin..end);
                running = (!line.contains(quotes)).then_some(Running::Quoted(quotes));
            }
            Some(Running::Deeper(than)) if indent > than || line.trim().is_empty() => hide(begin..end),
            _ => {
                running = None;
                if let Some(value) = secret_value(line) {
                    hide(begin + value..end);
                    let open = |quotes: &&str| line[value..].matches(*quotes).count() == 1;
                    running = Some(match ["\"\"\"", "'''"].iter().find(|quotes| open(quotes)) {
                        Some(quotes) => Running::Quoted(quotes),
                        None => Running::Deeper(indent),
                    });
                }
            }
        }
        begin = end;
    }
    also.iter().cloned().for_each(&mut hide);
    // Every byte that was replaced belongs to a character all of whose bytes were.
    String::from_utf8(bytes).unwrap_or_default()
}

/// A secret that goes on in the next line.
#[derive(Debug, Clone, Copy)]
enum Running {
    /// In lines that stand deeper than its name.
    Deeper(usize),
    /// To the closing quotes.
    Quoted(&'static str),
}

/// Where in a line a secret begins: behind the first `:` or `=` that a telling name stands before, or behind
/// an option of a command line that has one.
fn secret_value(line: &str) -> Option<usize> {
    let ends = |c: char| c.is_whitespace() || matches!(c, '{' | '[' | ',' | '"' | '\'');
    let assigned = line.match_indices([':', '=']).map(|(at, _)| at).find_map(|at| {
        let name = line[..at].trim_end_matches(ends).rsplit(ends).next().unwrap_or_default();
        is_secret(name).then_some(at + 1)
    });
    let option = line.match_indices("--").find_map(|(at, _)| {
        let name = line[at..].split(|c| ends(c) || c == ']').next().unwrap_or_default();
        is_secret(name).then_some(at + name.len())
    });
    assigned.into_iter().chain(option).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    // shows: E19
    #[test]
    fn properties_are_masked_by_name() {
        let properties = BTreeMap::from([
            ("sasl.password".to_owned(), "hunter2".to_owned()),
            ("sasl.username".to_owned(), "me".to_owned()),
            ("plugin".to_owned(), "http://me:hunter2@host/x".to_owned()),
        ]);
        let masked = mask_properties(&properties);
        assert_eq!(masked["sasl.password"], MASK);
        assert_eq!(masked["sasl.username"], "me");
        assert_eq!(masked["plugin"], "http://***@host/x");
    }

    #[test]
    fn a_text_is_masked_without_moving_anything() {
        for source in [
            "a: 1\nsasl.password: hunter2\nb: 2\n",
            "a: {sasl.password: hunter2, x: 1}\nb: 2\n",
            "{\"sasl.password\":\n   \"hunter2\"\n}\nb: 2\n",
            "[properties]\n\"ssl.key.pem\" = \"\"\"\nhunter2\n\"\"\"\nb = 2\n",
            "p:\n  ssl.key.pem: |\n    hunter2\n\n    hünter2\n  b: 2\n",
            "sasl_plain_password = \"hunter2\nb = 2\n",
            "a: [consume, --api-token, hunter2]\nb: 2\n",
            "a: consume --token hunter2\nb: 2\n",
        ] {
            let masked = mask_source(source, &[]);
            assert_eq!(masked.len(), source.len());
            assert!(!masked.contains("unter2"), "{masked}");
            assert!(masked.contains("b: 2") || masked.contains("b = 2"), "{masked}");
        }
        assert_eq!(mask_source("abc: def\n", &[5..6, 6..8]), "abc: ***\n");
    }
}
