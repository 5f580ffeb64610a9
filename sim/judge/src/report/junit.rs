//! The result as JUnit XML, which every CI system shows.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::terminal::audit_counts;
use super::value::sides;
use super::{ReportInput, gate_word};
use crate::summary::{GateResult, GateVerdict, Verdict};

/// A suite with a case per gate, per `demonstrates`, and per mode's audit.
#[must_use]
pub fn junit(input: &ReportInput<'_>) -> String {
    let summary = input.summary;
    let mut suite = TestSuite::new(summary.scenario.clone());
    let expressions = [("demonstrates", &summary.demonstrates), ("gates", &summary.gates)];
    for (group, gate) in
        expressions.iter().flat_map(|(group, gates)| gates.iter().map(move |gate| (group, gate)))
    {
        let mut case = TestCase::new(gate.expression.clone(), status(gate));
        case.set_classname(format!("{}.{group}", summary.scenario));
        suite.add_test_case(case);
    }
    for mode in &summary.mode_order {
        let Some(audit) = summary.audit.get(mode) else { continue };
        let found: Vec<String> = audit_counts(audit)
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{name}: {count}"))
            .collect();
        let status = if found.is_empty() {
            TestCaseStatus::success()
        } else {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(found.join(", ")).set_description(audit.findings.join("\n"));
            status
        };
        let mut case = TestCase::new(format!("audit of {mode}"), status);
        case.set_classname(format!("{}.audit", summary.scenario));
        suite.add_test_case(case);
    }
    if summary.verdict == Verdict::Inconclusive {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(summary.reasons.join("; "));
        let mut case = TestCase::new("the measurement decides", status);
        case.set_classname(format!("{}.verdict", summary.scenario));
        suite.add_test_case(case);
    }
    let mut report = Report::new("fairpoll");
    report.add_test_suite(suite);
    report.to_string().expect("names come from YAML, which has no characters that XML forbids")
}

fn status(gate: &GateResult) -> TestCaseStatus {
    let sides = sides(gate.left, gate.right);
    let words = gate.detail.as_deref().unwrap_or_else(|| gate_word(gate.verdict));
    match gate.verdict {
        GateVerdict::Pass => TestCaseStatus::success(),
        GateVerdict::Indicative => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("{sides}; {words}"));
            status
        }
        GateVerdict::Fail | GateVerdict::Absent => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(format!("{sides}; {words}"));
            status
        }
    }
}
