//! From figures to a verdict and its reasons.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::RunAnalysis;
use crate::audit::AuditReport;
use crate::event::{Header, Outcome};
use crate::gate::Expression;
use crate::summary::{Audit, GateResult, GateVerdict, Verdict};

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
    /// Modes whose broker took too long to acknowledge, though no fault troubled it: how long, ms
    /// (99th percentile), and how long is allowed.
    slow: BTreeMap<String, (f64, u64)>,
}

/// Beginnings of the names of metrics that a slow broker spoils: they count from the moment when a
/// record was there to be had, and that is taken to be `availability_ms` after its acknowledgement.
const SPOILT_BY_SLOW_BROKER: [&str; 4] = ["wait_", "starved_polls", "service_gap", "output_gap"];

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

    /// A broker that takes longer to acknowledge a record than `availability_ms` also takes longer
    /// to hand it out than the judge allows. What then fails may be the broker's doing; what holds,
    /// holds all the more.
    pub(super) fn slow_broker(&mut self, mode: &str, ack_p99_ms: Option<f64>, availability_ms: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a scenario's milliseconds")]
        let allowed = availability_ms as f64;
        if let Some(ack_ms) = ack_p99_ms.filter(|ack_ms| *ack_ms > allowed) {
            self.slow.insert(mode.to_owned(), (ack_ms, availability_ms));
        }
    }

    /// The mode of a failed gate whose failure is no larger than what a slow broker explains, if
    /// there is one: a wait or gap beyond its bound by no more than acknowledgements took, a topic
    /// starved for no longer than that.
    fn spoilt(&self, gate: &GateResult, starved_ms: &dyn Fn(&str) -> f64) -> Option<(&str, f64, u64)> {
        let expression = Expression::parse(&gate.expression).ok()?;
        let beyond_ms = (gate.left? - gate.right?).abs();
        let mut modes = expression.references().into_iter().filter_map(|reference| {
            SPOILT_BY_SLOW_BROKER.iter().find(|name| reference.metric.starts_with(**name))?;
            let (mode, (ack_ms, allowed)) = self.slow.get_key_value(&reference.mode)?;
            let counts_polls = reference.metric.starts_with("starved_polls");
            let unexplained_ms = if counts_polls { starved_ms(mode) } else { beyond_ms };
            (unexplained_ms <= *ack_ms).then_some((mode.as_str(), *ack_ms, *allowed))
        });
        modes.next()
    }

    /// Weighs the gates; `starved_ms` tells for how long a mode starved a topic at worst.
    pub(super) fn gates(&mut self, gates: &[GateResult], starved_ms: &dyn Fn(&str) -> f64) {
        for gate in gates {
            let about_broken = self.is_about_broken(gate);
            let reason = match gate.verdict {
                GateVerdict::Pass | GateVerdict::Indicative => continue,
                GateVerdict::Fail | GateVerdict::Absent if about_broken => continue,
                GateVerdict::Fail => format!("gate failed: {}{}", gate.expression, sides(gate)),
                GateVerdict::Absent => format!("gate without figures: {}", gate.expression),
            };
            let detail = gate.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            match self.spoilt(gate, starved_ms).filter(|_| gate.verdict == GateVerdict::Fail) {
                Some((mode, ack_ms, allowed)) => self.doubts.push(format!(
                    "{reason}{detail}; but in {mode} the broker took {ack_ms:.0} ms to acknowledge live records (99th \
                     percentile; availability_ms allows {allowed}), so this may not be the consumer's doing: free \
                     the machine, or raise availability_ms if the broker is always that slow"
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
