//! Gates inside a scenario: checked by the judge's parser, reported at their place in the YAML.

use std::ops::Range;

use super::Scenario;
use super::problem::Problem;
use super::tree::Node;

/// What is wrong with the expressions of a scenario.
pub(super) fn check(_scenario: &Scenario, _tree: &Node, _source: &str) -> Vec<Problem> {
    Vec::new()
}

/// Whether an expression names one of the modes: `mode.metric`.
pub(super) fn names_any_mode(expression: &str, modes: &[String]) -> bool {
    names(expression).any(|name| modes.iter().any(|mode| mode == name))
}

/// The words before a dot: an expression's modes. Topic names inside `{…}` may have dots too.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let outside = expression.split(['{', '}']).step_by(2);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    outside.flat_map(move |text| {
        text.match_indices('.').filter_map(move |(dot, _)| {
            let start = text[..dot].rfind(|c: char| !plain(c)).map_or(0, |index| index + 1);
            let name: Range<usize> = start..dot;
            // `1.10` is a number.
            text[name].chars().next().filter(char::is_ascii_lowercase).map(|_| &text[start..dot])
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_the_words_before_a_dot_outside_braces() {
        let expression = "fair.drain_s <= 1.10 * single-tuned.wait_p99_ms{eu.orders} + min(multi.share_min)";
        assert_eq!(names(expression).collect::<Vec<_>>(), ["fair", "single-tuned", "multi"]);
    }
}
