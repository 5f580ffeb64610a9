//! The result on a terminal.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::rows::{HEADLINE, comparison, one_run_note, sample_counts};
use super::value::sides;
use super::{ReportInput, gate_mark, model_note, verdict_word};
use crate::summary::{Audit, GateResult, GateVerdict, Summary, Verdict};

/// No line between rows: the table and the gates fit one screen.
const RULED: TableStyle = UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());

/// How wide, and whether colours may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalStyle {
    /// Columns.
    pub width: u16,
    /// Colours are shown.
    pub color: bool,
}

/// Table, gates, audit and verdict.
#[must_use]
pub fn terminal(input: &ReportInput<'_>, style: TerminalStyle) -> String {
    let summary = input.summary;
    let mut out = String::new();
    let paint = |text: &str, color: &str| {
        if style.color { format!("\u{1b}[{color}m{text}\u{1b}[0m") } else { text.to_owned() }
    };
    let _ = writeln!(out, "\n{}", table(summary, style));
    if summary.broker == "embedded" && comparison(summary).rows.iter().any(|row| !row.comparable) {
        let _ =
            writeln!(out, "* from the worker's start; the embedded broker joins faster than a real cluster");
    }
    if let Some(note) = model_note(summary) {
        let _ = writeln!(out, "{note}");
    }
    let (runs, what) = (summary.runs, if summary.runs == 1 { "run" } else { "runs: medians" });
    let _ = writeln!(out, "✓ the better value · {} broker · {runs} {what}", summary.broker);
    if let Some(note) = one_run_note(summary) {
        let _ = writeln!(out, "{note}");
    }
    for counts in sample_counts(summary).iter().filter(|counts| counts.is_headline()) {
        let _ = writeln!(out, "{}", counts.text());
    }
    for (title, gates) in [("demonstrates", &summary.demonstrates), ("gates", &summary.gates)] {
        if !gates.is_empty() {
            let _ = writeln!(out, "\n{title}");
        }
        for gate in gates {
            let _ =
                writeln!(out, "  {} {}", paint(gate_mark(gate.verdict), color_of(gate.verdict)), line(gate));
            if let Some(detail) = &gate.detail {
                let _ = writeln!(out, "      {detail}");
            }
        }
    }
    let _ = writeln!(out, "\naudit");
    for mode in &summary.mode_order {
        if let Some(audit) = summary.audit.get(mode) {
            let clean = audit_counts(audit).iter().all(|(_, count)| *count == 0);
            let mark = if clean { paint("✓", "32") } else { paint("✗", "31") };
            let _ = writeln!(out, "  {mark} {mode}: {}", audit_line(audit));
            for finding in &audit.findings {
                let _ = writeln!(out, "      {finding}");
            }
        }
    }
    let color = match summary.verdict {
        Verdict::Pass => "1;32",
        Verdict::Inconclusive => "1;33",
        Verdict::Fail => "1;31",
    };
    let _ = writeln!(out, "\n{}: {}", summary.scenario, paint(verdict_word(summary.verdict), color));
    for reason in &summary.reasons {
        let _ = writeln!(out, "  {reason}");
    }
    out
}

fn table(summary: &Summary, style: TerminalStyle) -> Table {
    let comparison = comparison(summary);
    let mut table = Table::new();
    table.load_style(RULED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(style.width);
    let header = std::iter::once(Cell::new(""))
        .chain(comparison.modes.iter().map(|mode| Cell::new(mode).set_alignment(CellAlignment::Right)));
    table.set_header(header);
    let rows = HEADLINE.iter().filter_map(|name| comparison.rows.iter().find(|row| row.metric.name == *name));
    for row in rows {
        let values = row.cells.iter().map(|cell| {
            // The mark, and not the colour alone, says which is better.
            let text = if cell.best { format!("{} ✓", cell.text) } else { format!("{}  ", cell.text) };
            Cell::new(text).set_alignment(CellAlignment::Right)
        });
        table.add_row(std::iter::once(Cell::new(row.label())).chain(values));
    }
    table
}

fn line(gate: &GateResult) -> String {
    let sides = sides(gate.left, gate.right);
    let held = match (gate.verdict, gate.holds) {
        (GateVerdict::Indicative, Some(true)) => "  (holds in this run; decides nothing)",
        (GateVerdict::Indicative, Some(false)) => "  (does not hold in this run; decides nothing)",
        _ => "",
    };
    format!("{}  [{sides}]{held}", gate.expression)
}

fn color_of(verdict: GateVerdict) -> &'static str {
    match verdict {
        GateVerdict::Pass => "32",
        GateVerdict::Fail | GateVerdict::Absent => "31",
        GateVerdict::Indicative => "33",
    }
}

/// The auditor's counts by name, in a fixed order.
pub(super) fn audit_counts(audit: &Audit) -> [(&'static str, u64); 8] {
    [
        ("lost", audit.lost),
        ("undelivered", audit.undelivered),
        ("duplicated", audit.duplicated),
        ("out_of_order", audit.out_of_order),
        ("committed_past_gap", audit.committed_past_gap),
        ("committed_behind", audit.committed_behind),
        ("skipped_by_retention", audit.skipped_by_retention),
        ("corrupted", audit.corrupted),
    ]
}

fn audit_line(audit: &Audit) -> String {
    let counts: Vec<String> =
        audit_counts(audit).iter().map(|(name, count)| format!("{name} {count}")).collect();
    let line = if audit_counts(audit).iter().all(|(_, count)| *count == 0) {
        "nothing lost, undelivered, duplicated, out of order, committed past a gap or behind, corrupted"
            .to_owned()
    } else {
        counts.join(", ")
    };
    match after_faults(audit) {
        Some(more) => format!("{line}; {more}"),
        None => line,
    }
}

/// What faults made a correct consumer do.
pub(super) fn after_faults(audit: &Audit) -> Option<String> {
    let Audit { redelivered, uncommitted_at_loss, commits_unknown, unacknowledged, .. } = audit;
    if [redelivered, uncommitted_at_loss, commits_unknown, unacknowledged].iter().all(|count| **count == 0) {
        return None;
    }
    let unacknowledged = match unacknowledged {
        0 => String::new(),
        some => format!(", {some} delivered that the producer never heard of"),
    };
    let unknown = match commits_unknown {
        0 => String::new(),
        1 => ", the outcome of 1 commit is unknown".to_owned(),
        many => format!(", the outcomes of {many} commits are unknown"),
    };
    Some(format!(
        "redelivered {redelivered} of {uncommitted_at_loss} uncommitted when faults took them{unknown}{unacknowledged}"
    ))
}
