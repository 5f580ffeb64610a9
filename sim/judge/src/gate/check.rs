//! Whether an expression's names exist.

use crate::metric::{self, closest};

use super::{Expression, Node, ParseError, Reference, glob};

pub(super) fn check(expression: &Expression, modes: &[&str], topics: &[&str]) -> Result<(), ParseError> {
    let names = Names { modes, topics };
    names.node(&expression.left)?;
    names.node(&expression.right)
}

struct Names<'a> {
    modes: &'a [&'a str],
    topics: &'a [&'a str],
}

impl Names<'_> {
    fn node(&self, node: &Node) -> Result<(), ParseError> {
        match node {
            Node::Number(_) => Ok(()),
            Node::Metric(reference) => {
                let matches = self.reference(reference)?;
                if matches > 1 {
                    return Err(ParseError {
                        at: reference.topics_at.clone(),
                        message: format!("the glob matches {matches} topics, and one value is needed"),
                        help: Some(format!("write max({reference}) or min({reference})")),
                    });
                }
                Ok(())
            }
            Node::Sum(a, b) | Node::Product(a, b) | Node::Quotient(a, b) => {
                self.node(a)?;
                self.node(b)
            }
            Node::Extreme(_, arguments) => arguments.iter().try_for_each(|argument| match argument {
                Node::Metric(reference) => self.reference(reference).map(|_| ()),
                other => self.node(other),
            }),
        }
    }

    /// How many topics it matches.
    fn reference(&self, reference: &Reference) -> Result<usize, ParseError> {
        let Reference { mode, metric, topics, mode_at, metric_at, topics_at } = reference;
        if !self.modes.contains(&mode.as_str()) {
            return Err(ParseError {
                at: mode_at.clone(),
                message: format!("no mode is named `{mode}`"),
                help: Some(remedy(mode, self.modes, "modes")),
            });
        }
        let Some(facts) = metric::find(metric) else {
            let names: Vec<&str> = metric::METRICS.iter().map(|metric| metric.name).collect();
            return Err(ParseError {
                at: metric_at.clone(),
                message: format!("no metric is named `{metric}`"),
                help: Some(remedy(metric, &names, "metrics")),
            });
        };
        let Some(pattern) = topics else {
            if facts.per_mode {
                return Ok(1);
            }
            let whole = format!("{metric}_max");
            let help = match metric::find(&whole) {
                Some(_) => format!("write `{mode}.{whole}`, or name a topic: `{mode}.{metric}{{…}}`"),
                None => format!("name a topic, `{mode}.{metric}{{…}}`, or write `max({mode}.{metric}{{*}})`"),
            };
            return Err(ParseError {
                at: metric_at.clone(),
                message: format!("`{metric}` is measured per topic"),
                help: Some(help),
            });
        };
        if !facts.per_topic {
            return Err(ParseError {
                at: topics_at.clone(),
                message: format!("`{metric}` is measured for the whole mode, not per topic"),
                help: Some(format!("write `{mode}.{metric}`")),
            });
        }
        match self.topics.iter().filter(|topic| glob::matches(pattern, topic)).count() {
            0 => Err(ParseError {
                at: topics_at.clone(),
                message: format!("no topic matches `{pattern}`"),
                help: Some(remedy(pattern, self.topics, "topics")),
            }),
            matches => Ok(matches),
        }
    }
}

fn remedy(word: &str, known: &[&str], what: &str) -> String {
    // A list of all metrics is a wall of text, one of the modes is an answer.
    const LISTED_MAX: usize = 12;
    match closest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.len() <= LISTED_MAX => format!("{what}: {}", known.join(", ")),
        None => format!("{what}: {}, … ({} in all)", known[..LISTED_MAX].join(", "), known.len()),
    }
}
