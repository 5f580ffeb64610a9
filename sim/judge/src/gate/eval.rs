//! From expressions and figures to verdicts.

use std::collections::BTreeMap;

use crate::metric;
use crate::summary::{GateVerdict, ModeSummary};

use super::{Expression, Extreme, Node, Reference, glob};

/// What a gate says of the figures at hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The verdict.
    pub verdict: GateVerdict,
    /// Whether the comparison holds, also where it decides nothing; absent where a side is.
    pub holds: Option<bool>,
    /// Left side.
    pub left: Option<f64>,
    /// Right side.
    pub right: Option<f64>,
    /// What was not measured: `mode.metric` or `mode.metric{topic}`, or a division by zero.
    pub missing: Vec<String>,
}

/// Evaluates `expression` on the figures of `modes`, whose `topics` must have an entry for every
/// topic, measured or not.
///
/// A comparison of noisy metrics ([`Metric::exact`](metric::Metric#structfield.exact) is false) of two modes is indicative:
/// only an interval over paired runs could decide it. Counts and absolute limits decide at once.
#[must_use]
pub fn evaluate(expression: &Expression, modes: &BTreeMap<String, ModeSummary>) -> Evaluation {
    let mut figures = Figures { modes, missing: Vec::new() };
    let left = figures.node(&expression.left);
    let right = figures.node(&expression.right);
    let holds = left.zip(right).map(|(left, right)| expression.comparison.holds(left, right));
    let verdict = match holds {
        None => GateVerdict::Absent,
        Some(_) if compares_noise_of_two_modes(expression) => GateVerdict::Indicative,
        Some(true) => GateVerdict::Pass,
        Some(false) => GateVerdict::Fail,
    };
    Evaluation { verdict, holds, left, right, missing: figures.missing }
}

fn compares_noise_of_two_modes(expression: &Expression) -> bool {
    let noisy = |name: &str| metric::find(name).is_none_or(|metric| !metric.exact);
    expression.modes().len() > 1 && expression.metrics().into_iter().any(noisy)
}

struct Figures<'a> {
    modes: &'a BTreeMap<String, ModeSummary>,
    missing: Vec<String>,
}

impl Figures<'_> {
    /// A missing value does not end the walk: all that is missing is named at once.
    fn node(&mut self, node: &Node) -> Option<f64> {
        let value = match node {
            Node::Number(value) => Some(*value),
            Node::Metric(reference) => {
                let values = self.reference(reference)?;
                match values[..] {
                    [value] => Some(value),
                    _ => {
                        self.missing.push(format!("one value of {reference}: it has {}", values.len()));
                        None
                    }
                }
            }
            Node::Sum(a, b) => {
                let (a, b) = (self.node(a), self.node(b));
                Some(a? + b?)
            }
            Node::Product(a, b) => {
                let (a, b) = (self.node(a), self.node(b));
                Some(a? * b?)
            }
            Node::Quotient(a, b) => {
                let (a, b) = (self.node(a), self.node(b));
                let (a, b) = (a?, b?);
                if b == 0.0 {
                    self.missing.push("a quotient: the divisor is 0".to_owned());
                    return None;
                }
                Some(a / b)
            }
            Node::Extreme(which, arguments) => {
                let mut values = Vec::new();
                let mut complete = true;
                for argument in arguments {
                    let more = match argument {
                        Node::Metric(reference) => self.reference(reference),
                        other => self.node(other).map(|value| vec![value]),
                    };
                    complete &= more.is_some();
                    values.extend(more.unwrap_or_default());
                }
                let extreme = match which {
                    Extreme::Min => values.into_iter().reduce(f64::min),
                    Extreme::Max => values.into_iter().reduce(f64::max),
                };
                extreme.filter(|_| complete)
            }
        };
        value.filter(|value| value.is_finite())
    }

    /// All values, or `None` if any is missing: an extreme over what happens to be there is not
    /// the one asked for.
    fn reference(&mut self, reference: &Reference) -> Option<Vec<f64>> {
        let Some(mode) = self.modes.get(&reference.mode) else {
            self.missing.push(reference.to_string());
            return None;
        };
        let Some(pattern) = &reference.topics else {
            let value = mode.metrics.get(&reference.metric);
            if value.is_none() {
                self.missing.push(reference.to_string());
            }
            return value.map(|value| vec![*value]);
        };
        let mut values = Vec::new();
        let mut complete = true;
        for (topic, metrics) in mode.topics.iter().filter(|(topic, _)| glob::matches(pattern, topic)) {
            match metrics.get(&reference.metric) {
                Some(value) => values.push(*value),
                None => {
                    complete = false;
                    self.missing.push(format!("{}.{}{{{topic}}}", reference.mode, reference.metric));
                }
            }
        }
        if complete && values.is_empty() {
            self.missing.push(reference.to_string());
        }
        (complete && !values.is_empty()).then_some(values)
    }
}
