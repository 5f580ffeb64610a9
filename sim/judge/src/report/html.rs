//! The report as one self-contained page: no network, no script, light and dark.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html as page};

use super::disturbances::disturbances;
use super::plots::plots;
use super::rows::{Comparison, comparison, comparison_of_topic, one_run_note, sample_counts};
use super::terminal::{after_faults, audit_counts};
use super::value::{show_option, sides};
use super::{ReportInput, gate_mark, gate_word, model_note, sentence, verdict_word};
use crate::manifest::{MachineFacts, Manifest};
use crate::summary::{GateResult, Summary};

const STYLE: &str = include_str!("report.css");

/// The page.
#[must_use]
pub fn html(input: &ReportInput<'_>) -> String {
    let summary = input.summary;
    let verdict = verdict_word(summary.verdict);
    let plots = plots(input);
    let (first, rest) = plots.split_at(plots.len().min(1));
    let body = page! {
        header {
            p.kicker { "Fairpoll report · " (summary.broker) " broker · " (summary.runs) @if summary.runs == 1 { " run" } @else { " runs" } " of each mode" }
            h1 { (summary.scenario) " " span class={ "verdict " (verdict) } { (verdict) } }
            p { (summary.purpose) }
            @if let Some(note) = model_note(summary) { p.note { (note) } }
            @for reason in &summary.reasons { p.reason { (reason) } }
        }
        @for plot in first { (figure(plot.title, &plot.svg, &plot.caption)) }
        @if summary.runs > 1 && !plots.is_empty() {
            p.note { "Pictures over time and the bars of first records show each mode's first run, and so do the times to half of the records and the peak throughput. Every other figure is the median of the runs." }
        }
        section {
            h2 { "Comparison" }
            (table(&comparison(summary)))
            p.note { "✓ marks the better value. –: not measured."
                @if summary.broker == "embedded" { " *: from the worker's start; not comparable with a real cluster, whose joins are slower than the embedded broker's." }
                @if summary.runs > 1 { " Medians over the runs." }
            }
            @if let Some(note) = one_run_note(summary) { p.note { (sentence(note)) } }
            @for counts in sample_counts(summary) { p.note { (counts.text()) } }
        }
        @if !summary.demonstrates.is_empty() {
            section {
                h2 { "Demonstrates" }
                p.note { "These must hold, or the scenario cannot tell the modes apart and decides nothing." }
                (gates(&summary.demonstrates))
            }
        }
        @if !summary.gates.is_empty() {
            section { h2 { "Gates" } (gates(&summary.gates)) }
        }
        section { h2 { "Audit" } (audit(summary)) }
        (disturbances(input))
        @for plot in rest { (figure(plot.title, &plot.svg, &plot.caption)) }
        section { h2 { "Topics" } (topics(summary)) }
        @if summary.modes.values().any(|mode| !mode.errors.is_empty()) {
            section { h2 { "Errors that consumers reported" } (errors(summary)) }
        }
        @if summary.modes.values().any(|mode| mode.client.is_some()) {
            section { h2 { "What ran" } (clients(summary)) }
        }
        @if let Some(manifest) = input.manifest {
            section { h2 { "How it was measured" } (measured(manifest)) }
        }
    };
    document(&format!("{}: {verdict}", summary.scenario), &body)
}

/// A page of that title: styled, without anything outside of it.
pub(super) fn document(title: &str, body: &Markup) -> String {
    page! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    }
    .into_string()
}

/// A picture under its title, with the sentence that says what to see.
pub(super) fn figure(title: &str, svg: &str, caption: &str) -> Markup {
    page! {
        section {
            h2 { (title) }
            figure {
                div.scroll tabindex="0" role="group" aria-label=(title) { (PreEscaped(svg)) }
                figcaption { (caption) }
            }
        }
    }
}

fn table(comparison: &Comparison) -> Markup {
    page! {
        div.scroll tabindex="0" role="group" aria-label="Comparison of the modes" {
            table {
                thead { tr { th scope="col" { "metric" } @for mode in &comparison.modes { th.number scope="col" { (mode) } } } }
                tbody {
                    @for row in &comparison.rows {
                        tr {
                            th scope="row" title=(row.metric.definition) { (row.label()) }
                            @for cell in &row.cells {
                                @if cell.best { td.number.best { (cell.text) " ✓" } } @else { td.number { (cell.text) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn gates(gates: &[GateResult]) -> Markup {
    page! {
        ul.gates {
            @for gate in gates {
                li {
                    span class={ "mark " (class(gate)) } title=(gate_word(gate.verdict)) { (gate_mark(gate.verdict)) }
                    div {
                        code { (gate.expression) }
                        p.sides { (sides(gate.left, gate.right)) " · " (gate_word(gate.verdict)) }
                        @if let Some(detail) = &gate.detail { p.detail.(class(gate)) { (detail) } }
                    }
                }
            }
        }
    }
}

fn class(gate: &GateResult) -> &'static str {
    use crate::summary::GateVerdict::{Absent, Fail, Indicative, Pass};
    match gate.verdict {
        Pass => "pass",
        Fail | Absent => "fail",
        Indicative => "inconclusive",
    }
}

fn audit(summary: &Summary) -> Markup {
    let modes: Vec<&String> =
        summary.mode_order.iter().filter(|mode| summary.audit.contains_key(*mode)).collect();
    let names = audit_counts(&crate::summary::Audit::default()).map(|(name, _)| name);
    page! {
        div.scroll tabindex="0" role="group" aria-label="The auditor's counts" {
            table {
                thead { tr { th scope="col" { "records" } @for mode in &modes { th.number scope="col" { (mode) } } } }
                tbody {
                    @for (index, name) in names.iter().enumerate() {
                        tr {
                            th scope="row" { (name) }
                            @for mode in &modes {
                                @let count = audit_counts(&summary.audit[*mode])[index].1;
                                @if count == 0 { td.number { "0" } } @else { td.number.bad { "✗ " (count) } }
                            }
                        }
                    }
                }
            }
        }
        @for mode in &modes {
            @if let Some(more) = after_faults(&summary.audit[*mode]) { p.note { (mode) ": " (more) "." } }
        }
        @for mode in &modes {
            @for finding in &summary.audit[*mode].findings { p.detail { (mode) ": " (finding) } }
        }
    }
}

fn topics(summary: &Summary) -> Markup {
    let mut names: Vec<&String> = Vec::new();
    for mode in summary.modes.values() {
        for topic in mode.topics.keys() {
            if !names.contains(&topic) {
                names.push(topic);
            }
        }
    }
    page! {
        @for topic in names {
            details { summary { (topic) } (table(&comparison_of_topic(summary, topic))) }
        }
    }
}

fn errors(summary: &Summary) -> Markup {
    page! {
        ul {
            @for mode in &summary.mode_order {
                @if let Some(figures) = summary.modes.get(mode) {
                    @for (error, count) in &figures.errors { li { (mode) ": " (count) " × " (error) } }
                }
            }
        }
    }
}

fn clients(summary: &Summary) -> Markup {
    page! {
        dl {
            @for mode in &summary.mode_order {
                @if let Some(client) = summary.modes.get(mode).and_then(|mode| mode.client.as_ref()) {
                    dt { (mode) } dd { (client) }
                }
            }
        }
    }
}

fn properties(properties: &BTreeMap<String, String>) -> String {
    properties.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// What the control group allows, where that is less than the machine has.
fn limits(machine: &MachineFacts) -> String {
    let memory = machine.cgroup_memory_mib.map(|mib| format!("{mib} MiB"));
    let cpus = machine.cgroup_cpus.map(|cpus| format!("{} cores", show_option(Some(cpus))));
    memory.into_iter().chain(cpus).collect::<Vec<_>>().join(", ")
}

fn measured(manifest: &Manifest) -> Markup {
    let machine = &manifest.machine;
    let facts = [
        ("started", manifest.started_at.clone()),
        ("reproduce with", manifest.command.join(" ")),
        ("scenario", format!("{} (SHA-256 {})", manifest.scenario, manifest.scenario_sha256)),
        ("seed", manifest.seed.to_string()),
        ("revision", manifest.git_revision.clone().unwrap_or_else(|| "–".to_owned())),
        ("Fairpoll", manifest.fairpoll_version.clone()),
        ("librdkafka", manifest.librdkafka_version.clone()),
        (
            "broker",
            format!(
                "{}{}, {} node(s)",
                manifest.broker.kind,
                manifest.broker.version.as_ref().map_or_else(String::new, |version| format!(" ({version})")),
                manifest.broker.nodes
            ),
        ),
        ("set for every mode", properties(&manifest.broker.imposed_properties)),
        ("given for every mode", properties(&manifest.broker.properties)),
        (
            "machine",
            format!(
                "{}, {} cores, {} MiB, kernel {}",
                machine.cpu_model.as_deref().unwrap_or("unknown CPU"),
                machine.cores,
                machine.memory_mib,
                machine.kernel.as_deref().unwrap_or("–")
            ),
        ),
        ("limits", limits(machine)),
        ("load before", show_option(machine.load_1m)),
    ];
    page! {
        dl { @for (name, value) in facts { @if !value.is_empty() { dt { (name) } dd { (value) } } } }
    }
}
