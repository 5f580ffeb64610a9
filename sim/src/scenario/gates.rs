//! Gates inside a scenario: checked by the judge's parser, reported at their place in the YAML.

use std::ops::Range;

use fairpoll_judge::gate::{Expression, ParseError};

use super::Problem;
use super::Scenario;
use super::check::expressions;
use super::tree::Node;

/// What is wrong with the expressions of a scenario.
pub(super) fn check(scenario: &Scenario, tree: &Node, source: &str) -> Vec<Problem> {
    check_by(judge, scenario, tree, source)
}

fn judge(expression: &str, modes: &[&str], topics: &[&str]) -> Result<(), ParseError> {
    Expression::parse(expression)?.check(modes, topics)
}

fn check_by(
    judge: impl Fn(&str, &[&str], &[&str]) -> Result<(), ParseError>,
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

/// Whether an expression names one of the modes.
pub(super) fn names_any_mode(expression: &str, modes: &[String]) -> bool {
    Expression::parse(expression)
        .is_ok_and(|parsed| modes.iter().any(|mode| parsed.modes().contains(mode.as_str())))
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

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
            Err(ParseError { at: at..at + 3, message: "bad".to_owned(), help: None })
        };
        let scenario = serde_saphyr::from_str(source).unwrap();
        let problems = check_by(bad, &scenario, &tree::parse_yaml(source).unwrap(), source);
        let texts: Vec<&str> = problems.iter().map(|problem| &source[problem.at.clone()]).collect();
        assert_eq!(texts[..3], ["bad", "bad", "bad"]);
        assert!(texts[3].contains("== bad"), "{texts:?}");
    }
}
