//! From figures to a verdict and its reasons.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::RunAnalysis;
use crate::audit::AuditReport;
use crate::event::{Header, Outcome};
use crate::gate::{Expression, evaluate};
use crate::summary::{Audit, GateResult, GateVerdict, ModeSummary, Verdict};

// A wait is measured from the scheduled send, so a late generator lengthens every wait; the
// tightest gates ask for 50 ms, and 20 ms of a generator's own would be two fifths of that.
const PRODUCER_LATE_MS_MAX: f64 = 20.0;

/// Collects reasons.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    failures: Vec<String>,
    doubts: Vec<String>,
    /// Modes of which a run is missing or broke off: what they lack accuses nobody.
    broken: BTreeSet<String>,
}

/// What is known of moments in which the broker kept records waiting.
pub(super) struct Stalls<'a> {
    pub(super) header: &'a Header,
    pub(super) runs: &'a BTreeMap<String, Vec<RunAnalysis>>,
    /// The figures of a reading that leaves these moments out.
    pub(super) without: &'a BTreeMap<String, ModeSummary>,
}

/// What a stall may be blamed for.
struct Blame<'a> {
    mode: &'a str,
    /// The longest of them, ms.
    stalled_ms: f64,
    /// Both sides of the gate without the stalls.
    left: f64,
    right: f64,
}

impl Stalls<'_> {
    /// The stalls of one of its modes explain that a gate failed: it holds without them, and they
    /// make no more of a difference than such a stall can.
    fn explain<'g>(&self, gate: &'g Expression, sides: (f64, f64)) -> Option<Blame<'g>> {
        let found = evaluate(gate, self.without);
        let (GateVerdict::Pass, Some(left), Some(right)) = (found.verdict, found.left, found.right) else {
            return None;
        };
        let stalled_ms = |mode: &str| {
            let runs = self.runs.get(mode).into_iter().flatten();
            runs.filter_map(|run| run.stalled_ms).reduce(f64::max)
        };
        let mut modes = gate.modes().into_iter().filter_map(|mode| Some((mode, stalled_ms(mode)?)));
        let (mode, stalled_ms) = modes.next()?;
        // Where the broker always takes that long, all of the run is one stall. It shall not hide
        // what no single answer of the broker can have caused.
        #[expect(clippy::cast_precision_loss, reason = "a scenario's milliseconds")]
        let most_ms = stalled_ms + self.header.availability_ms as f64;
        let counts_polls = |name: &&str| name.starts_with("starved_polls");
        let difference_ms = if gate.metrics().iter().any(counts_polls) {
            self.starved_ms(gate)
        } else {
            ((sides.0 - sides.1) - (left - right)).abs()
        };
        (difference_ms <= most_ms).then_some(Blame { mode, stalled_ms, left, right })
    }

    /// For how long the modes of a gate on starved polls starved one of its topics at worst.
    fn starved_ms(&self, gate: &Expression) -> f64 {
        let references = gate.references().into_iter();
        let counting = references.filter(|reference| reference.metric.starts_with("starved_polls"));
        let stretches = counting.flat_map(|reference| {
            let runs = self.runs.get(&reference.mode).into_iter().flatten();
            let starved = runs.flat_map(|run| &run.starvation);
            starved.filter(|starved| reference.covers(&starved.topic))
        });
        stretches.map(|starved| starved.to_ms - starved.from_ms).fold(0.0, f64::max)
    }
}

impl Reasons {
    /// Weighs one run of a mode.
    pub(super) fn run(
        &mut self,
        header: &Header,
        what: &str,
        mode: &str,
        run: &RunAnalysis,
        report: &AuditReport,
    ) {
        let audit = &report.audit;
        match &run.outcome {
            Some(Outcome::Finished) => {}
            Some(Outcome::Deadline) => self.failures.push(format!(
                "{what}: the deadline{} passed, {} records undelivered; raise stop.deadline_s or lower the load",
                header.deadline_s.map(|seconds| format!(" of {seconds} s")).unwrap_or_default(),
                audit.undelivered + audit.lost
            )),
            Some(Outcome::Failed { what: why }) => self.breaks(mode, format!("{what} failed: {why}")),
            Some(Outcome::Interrupted) => self.breaks(mode, format!("{what} was interrupted")),
            None => self.breaks(mode, format!("{what} has no end in the log")),
        }
        let complete = matches!(run.outcome, Some(Outcome::Finished | Outcome::Deadline));
        for (name, count) in faults(audit, complete) {
            let finding = audit.findings.iter().find(|finding| finding.starts_with(name));
            let example = finding.map(|finding| format!(", for example: {finding}")).unwrap_or_default();
            self.failures.push(format!("{what}: {count} records {name}{example}"));
        }
        if report.skipped_unasked > 0 {
            self.doubts.push(format!(
                "{what}: the broker removed {} records before they could be read; lengthen its retention",
                report.skipped_unasked
            ));
        }
        self.doubts.extend(report.flaws.iter().map(|flaw| format!("{what}: {flaw}")));
    }

    /// A mode has fewer runs than the header says.
    pub(super) fn missing(&mut self, mode: &str, found: usize, expected: u32) {
        self.breaks(mode, format!("{mode}: the log has {found} of {expected} runs"));
    }

    fn breaks(&mut self, mode: &str, why: String) {
        self.broken.insert(mode.to_owned());
        self.doubts.push(why);
    }

    /// Live records were handed over late, and some expression uses waits.
    pub(super) fn late(&mut self, what: &str, late_ms: Option<f64>) {
        if let Some(late_ms) = late_ms.filter(|late_ms| *late_ms > PRODUCER_LATE_MS_MAX) {
            self.doubts.push(format!(
                "{what}: live records were handed over {late_ms:.0} ms late (99th percentile; {PRODUCER_LATE_MS_MAX} are \
                 allowed): the machine is too busy to measure waits; lower rate_per_s or free it"
            ));
        }
    }

    /// Weighs the gates.
    pub(super) fn gates(&mut self, gates: &[GateResult], stalls: &Stalls<'_>) {
        for gate in gates {
            let about_broken = self.is_about_broken(gate);
            let reason = match gate.verdict {
                GateVerdict::Pass | GateVerdict::Indicative => continue,
                GateVerdict::Fail | GateVerdict::Absent if about_broken => continue,
                GateVerdict::Fail => format!("gate failed: {}{}", gate.expression, sides(gate)),
                GateVerdict::Absent => format!("gate without figures: {}", gate.expression),
            };
            let detail = gate.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            let expression = Expression::parse(&gate.expression).ok();
            let failed = expression.as_ref().zip(gate.left.zip(gate.right));
            match failed.and_then(|(expression, sides)| stalls.explain(expression, sides)) {
                Some(Blame { mode, stalled_ms, left, right }) => self.doubts.push(format!(
                    "{reason}{detail}; but in {mode} the broker or the machine stood still for up to {stalled_ms:.0} ms, \
                     by the time to acknowledge live records (availability_ms allows {}) or to sample the worker, \
                     and without these moments the gate holds ({} against {}): free the machine, or raise \
                     availability_ms if the broker is always that slow",
                    stalls.header.availability_ms,
                    rounded(left),
                    rounded(right)
                )),
                None => self.failures.push(reason + &detail),
            }
        }
    }

    /// Weighs the proofs that the scenario can tell anything.
    pub(super) fn demonstrates(&mut self, proofs: &[GateResult]) {
        for proof in proofs.iter().filter(|proof| proof.holds != Some(true)) {
            let why = proof.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            self.doubts.push(format!(
                "the scenario cannot tell the modes apart: {} does not hold{}{why}",
                proof.expression,
                sides(proof)
            ));
        }
    }

    fn is_about_broken(&self, gate: &GateResult) -> bool {
        Expression::parse(&gate.expression)
            .is_ok_and(|expression| expression.modes().iter().any(|mode| self.broken.contains(*mode)))
    }

    /// A failure outweighs every doubt: what is broken is broken, however well it was measured.
    pub(super) fn verdict(self) -> (Verdict, Vec<String>) {
        let verdict = match (self.failures.is_empty(), self.doubts.is_empty()) {
            (false, _) => Verdict::Fail,
            (true, false) => Verdict::Inconclusive,
            (true, true) => Verdict::Pass,
        };
        (verdict, self.failures.into_iter().chain(self.doubts).collect())
    }
}

/// What the auditor's counts accuse the consumer of, by the findings' names. Of a run that broke
/// off, records may be missing because their lines are.
fn faults(audit: &Audit, complete: bool) -> Vec<(&'static str, u64)> {
    let always = [
        ("corrupted", audit.corrupted),
        ("out of order", audit.out_of_order),
        ("duplicated", audit.duplicated),
    ];
    let if_complete = [
        ("lost", audit.lost),
        ("committed past a gap", audit.committed_past_gap),
        ("undelivered", audit.undelivered),
        ("committed behind", audit.committed_behind),
    ];
    let taken = if complete { if_complete.len() } else { 0 };
    always.into_iter().chain(if_complete.into_iter().take(taken)).filter(|(_, count)| *count > 0).collect()
}

fn sides(gate: &GateResult) -> String {
    match (gate.left, gate.right) {
        (Some(left), Some(right)) => format!(" ({} against {})", rounded(left), rounded(right)),
        _ => String::new(),
    }
}

fn rounded(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}
