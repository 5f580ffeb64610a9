//! Keeps secrets out of everything that is written down.

use std::collections::BTreeMap;

/// What stands in a secret's place.
pub(crate) const MASK: &str = "***";

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

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLTALES.iter().any(|telltale| name.contains(telltale))
}

/// The properties with the values of secrets masked.
pub(crate) fn mask_properties(properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let masked = |(name, value): (&String, &String)| {
        let value = if is_secret(name) { MASK.to_owned() } else { mask_url(value) };
        (name.clone(), value)
    };
    properties.iter().map(masked).collect()
}

/// A command line with secrets masked: `name=value`, `--name=value`, `--name value` and
/// `scheme://user:password@host`.
pub(crate) fn mask_command(words: &[String]) -> Vec<String> {
    let mut next_is_secret = false;
    let mut masked = Vec::with_capacity(words.len());
    for word in words {
        let is_flag = word.starts_with('-');
        if next_is_secret && !is_flag {
            next_is_secret = false;
            masked.push(MASK.to_owned());
            continue;
        }
        next_is_secret = false;
        if word.contains('=') {
            masked.push(mask_assignment(word));
        } else {
            next_is_secret = is_flag && is_secret(word);
            masked.push(mask_url(word));
        }
    }
    masked
}

/// A text made of words, such as a worker's command line, with secrets masked.
pub(crate) fn mask_text(text: &str) -> String {
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    mask_command(&words).join(" ")
}

// `--property=sasl.password=x`: everything behind the first `=` that follows a telling name.
fn mask_assignment(word: &str) -> String {
    for (at, _) in word.match_indices('=') {
        if is_secret(&word[..at]) {
            return format!("{}={MASK}", &word[..at]);
        }
    }
    mask_url(word)
}

fn mask_url(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let host_ends = rest.find('/').unwrap_or(rest.len());
    match rest[..host_ends].rfind('@') {
        Some(at) => format!("{scheme}://{MASK}@{}", &rest[at + 1..]),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(line: &str) -> String {
        mask_text(line)
    }

    #[test]
    fn secrets_are_masked_however_they_are_spelt() {
        for line in [
            "run s.yaml --property sasl.password=hunter2",
            "run s.yaml --property=sasl.password=hunter2",
            "consume --token hunter2",
            "consume --api-key=hunter2",
            "consume ssl.keystore.PASSWORD=hunter2",
            "consume --property sasl.jaas.config=user=\"a\"password=hunter2",
            "consume kafka://me:hunter2@host:9092/topic",
        ] {
            assert!(!masked(line).contains("hunter2"), "{line} → {}", masked(line));
            assert!(masked(line).contains(MASK), "{line}");
        }
    }

    #[test]
    fn what_is_no_secret_stays_readable() {
        let line = "run scenarios/normal.yaml --mode fair --property security.protocol=SASL_SSL --out a=b";
        assert_eq!(masked(line), line);
    }

    #[test]
    fn a_flag_that_follows_a_secret_flag_is_not_taken_for_its_value() {
        assert_eq!(masked("x --no-password --mode fair"), "x --no-password --mode fair");
    }

    #[test]
    fn properties_are_masked_by_name() {
        let properties = BTreeMap::from([
            ("sasl.password".to_owned(), "hunter2".to_owned()),
            ("sasl.username".to_owned(), "me".to_owned()),
        ]);
        let masked = mask_properties(&properties);
        assert_eq!(masked["sasl.password"], MASK);
        assert_eq!(masked["sasl.username"], "me");
    }
}
