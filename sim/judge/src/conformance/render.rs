//! Comparisons as text.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table};

use super::{Agreement, Comparison, TimingRow, verdict_word, word};
use crate::report::value::{show, show_option};

/// What people look at first; the rest is in the file.
const HEADLINE: [&str; 6] =
    ["service_gap_ms_max", "wait_p99_ms", "ack_p99_ms", "complete_input_ms", "join_ms", "drain_s"];

fn agreement_word(agreement: Agreement) -> &'static str {
    match agreement {
        Agreement::Agrees => "agrees",
        Agreement::Differs => "differs",
        Agreement::Undecided => "undecided",
        Agreement::Alone => "nothing to compare",
    }
}

fn mark(agreement: Agreement) -> &'static str {
    match agreement {
        Agreement::Agrees => "✓",
        Agreement::Differs => "✗",
        Agreement::Undecided => "?",
        Agreement::Alone => "–",
    }
}

/// One scenario for a terminal: verdicts, what differs, and the figures that people look at.
#[must_use]
pub fn terminal(comparison: &Comparison, width: u16) -> String {
    let mut out = String::new();
    let verdicts = comparison.arms.iter().zip(&comparison.verdicts);
    let verdicts: Vec<String> =
        verdicts.map(|(arm, verdict)| format!("{arm} {}", verdict_word(*verdict))).collect();
    let Comparison { scenario, agreement, .. } = comparison;
    let _ = writeln!(
        out,
        "{} {scenario}: {} ({})",
        mark(*agreement),
        agreement_word(*agreement),
        verdicts.join(", ")
    );
    for difference in &comparison.differences {
        let _ = writeln!(out, "    {difference}");
    }
    let rows: Vec<&TimingRow> =
        comparison.timing.iter().filter(|row| HEADLINE.contains(&row.metric.as_str())).collect();
    if comparison.arms.len() > 1 && !rows.is_empty() {
        let _ = writeln!(out, "{}", table(comparison, &rows, width));
    }
    out
}

fn table(comparison: &Comparison, rows: &[&TimingRow], width: u16) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    let mut header = vec!["mode".to_owned(), "timing".to_owned()];
    header.extend(comparison.arms.iter().cloned());
    header.extend(comparison.arms[1..].iter().map(|arm| format!("{arm} ÷")));
    table.set_header(header);
    for row in rows {
        let mut cells = vec![Cell::new(&row.mode), Cell::new(&row.metric)];
        let figures = row.values.iter().map(|value| show(*value));
        let ratios = row.ratios[1..].iter().map(|ratio| show_option(*ratio));
        cells.extend(figures.chain(ratios).map(|text| Cell::new(text).set_alignment(CellAlignment::Right)));
        table.add_row(cells);
    }
    table
}

/// All of it as Markdown.
#[must_use]
pub fn markdown(comparisons: &[Comparison]) -> String {
    let mut out = String::from("# Conformance\n\nThe same scenarios on several brokers.\n");
    for comparison in comparisons {
        let Comparison { scenario, agreement, .. } = comparison;
        let _ = writeln!(out, "\n## {scenario}: {}\n", agreement_word(*agreement));
        for (arm, verdict) in comparison.arms.iter().zip(&comparison.verdicts) {
            let _ = writeln!(out, "- {arm}: {}", verdict_word(*verdict));
        }
        if !comparison.differences.is_empty() {
            let _ = writeln!(out, "\nDifferent:\n");
            for difference in &comparison.differences {
                let _ = writeln!(out, "- {difference}");
            }
        }
        let arms = comparison.arms.join(" | ");
        let rule = "---|".repeat(comparison.arms.len());
        if !comparison.gates.is_empty() {
            let _ = writeln!(out, "\n| gate | rests on | {arms} |\n|---|---|{rule}");
        }
        for row in &comparison.gates {
            let holds: Vec<&str> = row.holds.iter().map(|holds| word(*holds)).collect();
            let on = if row.exact { "counts" } else { "clock, memory, CPU" };
            let _ = writeln!(out, "| `{}` | {on} | {} |", row.expression, holds.join(" | "));
        }
        if comparison.arms.len() > 1 && !comparison.timing.is_empty() {
            let ratios: Vec<String> = comparison.arms[1..].iter().map(|arm| format!("{arm} ÷")).collect();
            let _ = writeln!(
                out,
                "\n| mode | figure | {arms} | {} |\n|---|---|{rule}{}",
                ratios.join(" | "),
                "---|".repeat(ratios.len())
            );
            for row in &comparison.timing {
                let values: Vec<String> = row.values.iter().map(|value| show(*value)).collect();
                let ratios: Vec<String> = row.ratios[1..].iter().map(|ratio| show_option(*ratio)).collect();
                let TimingRow { mode, metric, .. } = row;
                let _ =
                    writeln!(out, "| {mode} | {metric} | {} | {} |", values.join(" | "), ratios.join(" | "));
            }
        }
    }
    out
}
