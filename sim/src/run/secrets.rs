//! Keeps secrets out of everything that is written down.

pub(crate) use fairpoll::secrets::{MASK, mask_properties};
use fairpoll::secrets::{is_secret, mask_url};

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
}
