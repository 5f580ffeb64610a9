//! The result as Markdown: for a pull request, a wiki, a mail.

use std::fmt::Write as _;

use super::rows::{comparison, one_run_note, sample_counts};
use super::terminal::audit_counts;
use super::value::sides;
use super::{ReportInput, gate_mark, gate_word, model_note, sentence, verdict_word};

/// The whole report but its pictures.
#[must_use]
pub fn markdown(input: &ReportInput<'_>) -> String {
    let summary = input.summary;
    let mut out = String::new();
    let _ = writeln!(out, "# {}: {}\n", escape(&summary.scenario), verdict_word(summary.verdict));
    let _ = writeln!(out, "{}\n", escape(summary.purpose.trim()));
    if let Some(note) = model_note(summary) {
        let _ = writeln!(out, "{note}\n");
    }
    for reason in &summary.reasons {
        let _ = writeln!(out, "- {}", escape(reason));
    }
    let comparison = comparison(summary);
    let _ = writeln!(out, "\n## Comparison\n\n| | {} |", comparison.modes.join(" | "));
    let _ = writeln!(out, "|---|{}", "---:|".repeat(comparison.modes.len()));
    for row in &comparison.rows {
        let cell = |cell: &super::rows::Cell| {
            if cell.best { format!("**{}**", cell.text) } else { cell.text.clone() }
        };
        let cells: Vec<String> = row.cells.iter().map(cell).collect();
        let _ = writeln!(out, "| {} | {} |", row.label(), cells.join(" | "));
    }
    let plural = if summary.runs == 1 { "run" } else { "runs; medians" };
    let _ = writeln!(
        out,
        "\nBold: the better value. {} broker, {} {plural} of each mode.",
        summary.broker, summary.runs
    );
    if comparison.rows.iter().any(|row| !row.comparable) {
        let _ = writeln!(out, "\\* from the worker's start: not comparable on the embedded broker.");
    }
    if let Some(note) = one_run_note(summary) {
        let _ = writeln!(out, "\n{}", sentence(note));
    }
    let counts = sample_counts(summary);
    if !counts.is_empty() {
        let counts: Vec<String> = counts.iter().map(|counts| escape(&counts.text())).collect();
        let _ = writeln!(out, "\n{}.", counts.join("; "));
    }
    for (title, gates) in [("Demonstrates", &summary.demonstrates), ("Gates", &summary.gates)] {
        if gates.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n## {title}\n\n| | expression | left against right | |\n|---|---|---:|---|");
        for gate in gates {
            let detail = gate.detail.as_deref().unwrap_or_else(|| gate_word(gate.verdict));
            let sides = sides(gate.left, gate.right);
            let mark = gate_mark(gate.verdict);
            let _ = writeln!(
                out,
                "| {mark} | `{}` | {sides} | {} |",
                gate.expression.replace('|', "\\|"),
                escape(detail)
            );
        }
    }
    let _ = writeln!(out, "\n## Audit\n");
    for mode in &summary.mode_order {
        let Some(audit) = summary.audit.get(mode) else { continue };
        let counts: Vec<String> =
            audit_counts(audit).iter().map(|(name, count)| format!("{name} {count}")).collect();
        let _ = writeln!(out, "- {mode}: {}", counts.join(", "));
        for finding in &audit.findings {
            let _ = writeln!(out, "  - {}", escape(finding));
        }
    }
    out
}

/// Text that Markdown would take for markup.
pub(super) fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if matches!(c, '|' | '*' | '_' | '<' | '>' | '`' | '[' | ']') {
            out.push('\\');
        }
        out.push(if c == '\n' { ' ' } else { c });
        out
    })
}
