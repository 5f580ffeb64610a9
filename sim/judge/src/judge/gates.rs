//! Gates of a scenario, with what broke them.

use std::collections::BTreeMap;

use crate::analysis::{RunAnalysis, Starvation};
use crate::event::{GateFacts, Header};
use crate::gate::{Expression, Reference, evaluate};
use crate::summary::{GateResult, GateVerdict, ModeSummary};

// Who took the share: the first few say it.
const TAKERS_MAX: usize = 3;

/// What is known of the modes.
pub(super) struct Figures<'a> {
    pub(super) header: &'a Header,
    pub(super) modes: &'a BTreeMap<String, ModeSummary>,
    pub(super) runs: &'a BTreeMap<String, Vec<RunAnalysis>>,
}

/// Evaluates a gate. One that cannot be read (the log was edited) is absent and says why.
pub(super) fn result(facts: &GateFacts, figures: &Figures<'_>) -> GateResult {
    let mut result = GateResult {
        expression: facts.expression.clone(),
        line: facts.line,
        verdict: GateVerdict::Absent,
        holds: None,
        left: None,
        right: None,
        detail: None,
    };
    let expression = match Expression::parse(&facts.expression) {
        Ok(expression) => expression,
        Err(error) => {
            result.detail = Some(format!("not a gate: {error}"));
            return result;
        }
    };
    let found = evaluate(&expression, figures.modes);
    (result.verdict, result.holds, result.left, result.right) =
        (found.verdict, found.holds, found.left, found.right);
    result.detail = match found.verdict {
        GateVerdict::Pass => None,
        GateVerdict::Absent => Some(format!("not measured: {}", found.missing.join(", "))),
        GateVerdict::Indicative => Some(format!(
            "compares clock times, memory or CPU of two modes: {} decide nothing",
            runs(figures.header.runs)
        )),
        GateVerdict::Fail => culprits(&expression, figures),
    };
    result
}

fn runs(runs: u32) -> String {
    if runs == 1 { "one run each, which can".to_owned() } else { format!("{runs} runs without an interval") }
}

/// Per fairness metric of the expression: which topic, which polls, when, and who took the share.
fn culprits(expression: &Expression, figures: &Figures<'_>) -> Option<String> {
    let mut sentences: Vec<String> = Vec::new();
    for reference in expression.references() {
        if let Some(sentence) = culprit(reference, figures).filter(|sentence| !sentences.contains(sentence)) {
            sentences.push(sentence);
        }
    }
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

fn culprit(reference: &Reference, figures: &Figures<'_>) -> Option<String> {
    let counts_polls = reference.metric.starts_with("starved_polls");
    if !counts_polls && !reference.metric.starts_with("service_gap") {
        return None;
    }
    let whole_mode = reference.topics.is_none();
    let deliverable = |topic: &str| figures.header.topics.iter().any(|t| t.name == topic && t.deliverable);
    let concerns =
        |found: &&Starvation| reference.covers(&found.topic) && (!whole_mode || deliverable(&found.topic));
    let runs = figures.runs.get(&reference.mode)?;
    let candidates = runs.iter().zip(1_u32..).flat_map(|(run, number)| {
        let found = if counts_polls { &run.starvation } else { &run.gaps };
        found.iter().filter(concerns).map(move |found| (number, found))
    });
    let (run, worst) = candidates.max_by(|(_, a), (_, b)| {
        if counts_polls {
            a.polls.cmp(&b.polls)
        } else {
            (a.to_ms - a.from_ms).total_cmp(&(b.to_ms - b.from_ms))
        }
    })?;
    let which_run = if runs.len() > 1 { format!(" of run {run}") } else { String::new() };
    Some(format!("in {}{which_run}, {}", reference.mode, sentence(worst)))
}

fn sentence(found: &Starvation) -> String {
    let Starvation { topic, life, seq_first, seq_last, polls, from_ms, to_ms, took } = found;
    let whose = if *life > 1 { format!(" of life {life}") } else { String::new() };
    let which = match polls {
        0 => "no poll returned records meanwhile".to_owned(),
        1 => format!("poll {seq_first}{whose}"),
        _ => format!("polls {seq_first}–{seq_last}{whose}, {polls} of them"),
    };
    let takers: Vec<String> = took
        .iter()
        .take(TAKERS_MAX)
        .map(|(name, records)| format!("{name} took {records} records"))
        .collect();
    let mut share = takers.join(", ");
    if took.len() > TAKERS_MAX {
        let rest: u64 = took[TAKERS_MAX..].iter().map(|(_, records)| records).sum();
        share += &format!(", {} other topics {rest}", took.len() - TAKERS_MAX);
    }
    if !share.is_empty() {
        share = format!("; {share}");
    }
    format!(
        "{topic} had records and got none from {from_ms:.0} to {to_ms:.0} ms ({:.0} ms; {which}){share}",
        to_ms - from_ms
    )
}
