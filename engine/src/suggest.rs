//! "Did you mean …?"

/// The candidate that looks most like what was written, if any looks like it at all.
#[must_use]
pub fn closest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&written, &candidate.to_lowercase()), candidate))
        // Below 0.75 pairs such as `weight`/`height_of` begin to appear: worse than no suggestion.
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// The remedy for a name that does not exist: the closest one, or all there are.
#[must_use]
pub fn remedy(written: &str, candidates: &[&str]) -> String {
    match closest(written, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if candidates.is_empty() => "there are none".to_owned(),
        None => format!("there are: {}", listed(candidates)),
    }
}

/// `a`, `b`, `c`.
#[must_use]
pub fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_recognised_and_another_word_is_not() {
        let keys = ["name", "partitions", "backlog", "value_bytes"];
        assert_eq!(closest("partitons", keys), Some("partitions"));
        assert_eq!(closest("Backlog", keys), Some("backlog"));
        assert_eq!(closest("retention", keys), None);
    }
}
