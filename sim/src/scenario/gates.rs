//! Gates inside a scenario: checked by the judge's parser, reported at their place in the YAML.

use std::ops::Range;

use fairpoll_judge::gate::{Expression, ParseError};

use super::Scenario;
use super::check::expressions;
use super::problem::Problem;
use super::tree::Node;

/// What the judge says of an expression.
struct Mistake {
    /// Bytes of the expression.
    at: Range<usize>,
    message: String,
    help: Option<String>,
}

/// What is wrong with the expressions of a scenario.
pub(super) fn check(scenario: &Scenario, tree: &Node, source: &str) -> Vec<Problem> {
    check_by(judge, scenario, tree, source)
}

fn judge(expression: &str, modes: &[&str], topics: &[&str]) -> Result<(), Mistake> {
    Expression::parse(expression)
        .and_then(|parsed| parsed.check(modes, topics))
        .map_err(|ParseError { at, message, help }| Mistake { at, message, help })
}

fn check_by(
    judge: impl Fn(&str, &[&str], &[&str]) -> Result<(), Mistake>,
    scenario: &Scenario,
    tree: &Node,
    source: &str,
) -> Vec<Problem> {
    let plans = scenario.topics_expanded();
    let topics: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
    let modes: Vec<&str> = scenario.modes.iter().map(|mode| mode.name.as_str()).collect();
    let places = ["demonstrates", "gates"].into_iter().flat_map(|key| expressions(tree, key));
    places
        .filter_map(|(expression, at)| {
            let mistake = judge(expression, &modes, &topics).err()?;
            let at = within(source, &at, expression, mistake.at);
            let mut problem = Problem::new(at, mistake.message, "here");
            problem.help = mistake.help;
            Some(problem)
        })
        .collect()
}

/// Bytes of the source for bytes of an expression. Quotes stand before the text; where YAML spells
/// it otherwise (escapes, folded lines) the whole value is pointed at.
fn within(source: &str, place: &Range<usize>, expression: &str, mistake: Range<usize>) -> Range<usize> {
    let offset = source.get(place.clone()).and_then(|text| text.find(expression));
    match offset {
        Some(offset) => {
            let start = place.start + offset;
            start + mistake.start.min(expression.len())..start + mistake.end.min(expression.len())
        }
        None => place.clone(),
    }
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
            let name = &text[start..dot];
            // `1.10` is a number.
            name.starts_with(|c: char| c.is_ascii_lowercase()).then_some(name)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    #[test]
    fn modes_are_the_words_before_a_dot_outside_braces() {
        let expression = "fair.drain_s <= 1.10 * single-tuned.wait_p99_ms{eu.orders} + min(multi.share_min)";
        assert_eq!(names(expression).collect::<Vec<_>>(), ["fair", "single-tuned", "multi"]);
    }

    #[test]
    fn a_mistake_is_pointed_at_inside_the_yaml_line() {
        let source = "\
schema_version: 1
name: x
purpose: ünïcode before the gates must not shift them
topics: [{name: a, backlog: 1}]
consumer: {max_poll_records: 1}
modes: [fair]
stop: {when: drained, deadline_s: 1}
demonstrates:
  - \"fair.good >= bad\"
gates:
  - fair.good <= 1 + bad # why
  - 'fair.good == bad'
  - >-
    fair.good
    == bad
";
        let bad = |expression: &str, modes: &[&str], topics: &[&str]| {
            assert_eq!((modes, topics), (&["fair"][..], &["a"][..]));
            let at = expression.find("bad").unwrap();
            Err(Mistake { at: at..at + 3, message: "bad".to_owned(), help: None })
        };
        let scenario = serde_saphyr::from_str(source).unwrap();
        let problems = check_by(bad, &scenario, &tree::parse(source).unwrap(), source);
        let texts: Vec<&str> = problems.iter().map(|problem| &source[problem.at.clone()]).collect();
        assert_eq!(texts[..3], ["bad", "bad", "bad"]);
        assert!(texts[3].contains("== bad"), "{texts:?}");
    }
}
