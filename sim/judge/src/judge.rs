//! The judgement: from a log to verdict, figures and pictures.

use std::collections::BTreeMap;

use crate::analysis::{RunAnalysis, analyse, analyse_without_stalls, median};
use crate::audit::{AuditReport, audit};
use crate::event::{Event, Header, ModeFacts};
use crate::gate::Expression;
use crate::metric::{self, Kind};
use crate::summary::{Audit, GateResult, GateVerdict, Metrics, ModeSummary, RunMetrics, Summary};
use crate::timeline::Timeline;

mod gates;
mod log;
#[cfg(test)]
mod tests;
mod verdict;

pub use log::{LogError, read_log};

/// What a log says.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// In numbers.
    pub summary: Summary,
    /// In pictures' data: a course per mode and run, in the scenario's order of modes.
    pub timelines: Vec<Timeline>,
}

/// Judges a log.
///
/// The verdict is *fail* if a gate failed or has no figures, the auditor accuses the consumer, or a
/// deadline passed; else *inconclusive* if a `demonstrates` does not hold, the measurement has a
/// hole, live records that a gate depends on were produced late, a gate failed only for the moments in
/// which the broker stood still, or a run broke off (gates about its mode then decide nothing); else *pass*. With
/// several runs figures are medians, and missing where any run lacks them; the auditor's counts are
/// sums.
///
/// # Errors
/// If the log does not begin with a header of this version.
pub fn judge(events: &[Event]) -> Result<Judgement, LogError> {
    let header = log::header(events)?;
    let mut by_run: BTreeMap<(&str, u32), Vec<&Event>> = BTreeMap::new();
    for event in events {
        if let (Some(mode), Some(run)) = (&event.mode, event.run) {
            by_run.entry((mode, run)).or_default().push(event);
        }
    }
    let mut reasons = verdict::Reasons::default();
    let (mut modes, mut audits, mut runs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut reports_of = BTreeMap::new();
    let mut timelines = Vec::new();
    let uses_waits = uses_waits(header);
    for facts in &header.modes {
        let mode = facts.name.as_str();
        let mut analyses: Vec<RunAnalysis> = Vec::new();
        let mut reports: Vec<AuditReport> = Vec::new();
        for ((_, run), events) in by_run.range((mode, 0)..=(mode, u32::MAX)) {
            let mut analysis = analyse(header, Some(facts), events);
            let report = audit(header, events);
            let what = if header.runs > 1 { format!("{mode}, run {run}") } else { mode.to_owned() };
            reasons.run(header, &what, mode, &analysis, &report);
            if uses_waits {
                reasons.late(&what, analysis.producer_late_ms);
            }
            let course = std::mem::take(&mut analysis.timeline);
            timelines.push(Timeline { mode: mode.to_owned(), run: *run, ..course });
            analyses.push(analysis);
            reports.push(report);
        }
        if analyses.len() < header.runs as usize {
            reasons.missing(mode, analyses.len(), header.runs);
        }
        let summary = summarize(header, &analyses, &reports);
        modes.insert(mode.to_owned(), summary);
        audits.insert(mode.to_owned(), total(&reports, header.runs));
        runs.insert(mode.to_owned(), analyses);
        reports_of.insert(mode, reports);
    }
    let figures = gates::Figures { header, modes: &modes, runs: &runs };
    let demonstrates: Vec<GateResult> =
        header.demonstrates.iter().map(|g| gates::result(g, &figures)).collect();
    let gates: Vec<GateResult> = header.gates.iter().map(|gate| gates::result(gate, &figures)).collect();
    // Only for what failed: it costs as much as the first reading.
    let failed = gates.iter().any(|gate| gate.verdict == GateVerdict::Fail);
    let second_reading = |facts: &ModeFacts| {
        let of_mode = by_run.range((facts.name.as_str(), 0)..=(facts.name.as_str(), u32::MAX));
        let readings = of_mode.zip(&runs[&facts.name]).map(|((_, events), first)| {
            analyse_without_stalls(header, Some(facts), events).unwrap_or_else(|| first.clone())
        });
        let summary = summarize(header, &readings.collect::<Vec<_>>(), &reports_of[facts.name.as_str()]);
        (facts.name.clone(), summary)
    };
    let without_stalls = header.modes.iter().filter(|_| failed).map(second_reading).collect();
    reasons.gates(&gates, &verdict::Stalls { header, runs: &runs, without: &without_stalls });
    reasons.demonstrates(&demonstrates);
    let (verdict, reasons) = reasons.verdict();
    let summary = Summary {
        schema_version: 1,
        scenario: header.scenario.clone(),
        purpose: header.purpose.clone(),
        broker: header.broker.clone(),
        runs: header.runs,
        verdict,
        reasons,
        mode_order: header.modes.iter().map(|mode| mode.name.clone()).collect(),
        modes,
        audit: audits,
        demonstrates,
        gates,
    };
    Ok(Judgement { summary, timelines })
}

/// Whether a gate or a proof rests on waits, which a late producer falsifies.
fn uses_waits(header: &Header) -> bool {
    header
        .gates
        .iter()
        .chain(&header.demonstrates)
        .filter_map(|gate| Expression::parse(&gate.expression).ok())
        .any(|expression| expression.metrics().iter().any(|metric| metric.starts_with("wait_")))
}

/// The runs of a mode as one.
fn summarize(header: &Header, analyses: &[RunAnalysis], reports: &[AuditReport]) -> ModeSummary {
    let runs: Vec<RunMetrics> = analyses
        .iter()
        .zip(reports)
        .zip(1..)
        .map(|((analysis, report), run)| {
            let mut metrics = analysis.metrics.clone();
            metrics.extend(counts(report));
            RunMetrics { run, metrics, topics: analysis.topics.clone() }
        })
        .collect();
    let mut metrics = medians(runs.iter().map(|run| &run.metrics));
    for (name, value) in &mut metrics {
        if metric::find(name).is_some_and(|metric| metric.kind == Kind::Audit) {
            *value = runs.iter().filter_map(|run| run.metrics.get(name)).sum();
        }
    }
    let topics = header.topics.iter().map(|facts| {
        let of_runs = runs.iter().filter_map(|run| run.topics.get(&facts.name));
        (facts.name.clone(), medians(of_runs))
    });
    let topics = topics.collect();
    let mut samples: BTreeMap<String, u64> = BTreeMap::new();
    let mut errors: BTreeMap<String, u64> = BTreeMap::new();
    for analysis in analyses {
        for (name, count) in &analysis.samples {
            // The weakest of the runs' percentiles is as strong as their median.
            samples.entry(name.clone()).and_modify(|least| *least = (*least).min(*count)).or_insert(*count);
        }
        for (error, count) in &analysis.errors {
            *errors.entry(error.clone()).or_default() += count;
        }
    }
    let last = analyses.last();
    ModeSummary {
        metrics,
        topics,
        samples,
        runs,
        client: last.and_then(|run| run.client.clone()),
        actual_mode: last.and_then(|run| run.actual_mode.clone()),
        errors,
    }
}

/// Per name the median over the runs; a figure that any run lacks is missing.
fn medians<'a>(runs: impl Iterator<Item = &'a Metrics>) -> Metrics {
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut count = 0;
    for run in runs {
        count += 1;
        for (name, value) in run {
            values.entry(name).or_default().push(*value);
        }
    }
    values.retain(|_, values| values.len() == count);
    values
        .into_iter()
        .filter_map(|(name, mut values)| {
            values.sort_by(f64::total_cmp);
            median(&values).map(|median| (name.to_owned(), median))
        })
        .collect()
}

/// The auditor's counts as metrics, those that it could establish.
fn counts(report: &AuditReport) -> impl Iterator<Item = (String, f64)> {
    let Audit {
        lost,
        undelivered,
        duplicated,
        redelivered,
        uncommitted_at_loss,
        unacknowledged: _,
        commits_unknown: _,
        out_of_order,
        committed_past_gap,
        committed_behind,
        skipped_by_retention,
        corrupted,
        findings: _,
    } = report.audit.clone();
    let counts = [
        ("lost", lost),
        ("undelivered", undelivered),
        ("duplicated", duplicated),
        ("redelivered", redelivered),
        ("uncommitted_at_loss", uncommitted_at_loss),
        ("out_of_order", out_of_order),
        ("committed_past_gap", committed_past_gap),
        ("committed_behind", committed_behind),
        ("skipped_by_retention", skipped_by_retention),
        ("corrupted", corrupted),
    ];
    let known = counts.into_iter().filter(|(name, _)| !report.unknown.contains(name));
    #[expect(clippy::cast_precision_loss, reason = "nobody counts beyond 2⁵³")]
    known.map(|(name, count)| (name.to_owned(), count as f64))
}

/// The sum over the runs.
fn total(reports: &[AuditReport], runs: u32) -> Audit {
    let mut total = Audit::default();
    for (AuditReport { audit, .. }, run) in reports.iter().zip(1..) {
        total.lost += audit.lost;
        total.undelivered += audit.undelivered;
        total.duplicated += audit.duplicated;
        total.redelivered += audit.redelivered;
        total.uncommitted_at_loss += audit.uncommitted_at_loss;
        total.unacknowledged += audit.unacknowledged;
        total.commits_unknown += audit.commits_unknown;
        total.out_of_order += audit.out_of_order;
        total.committed_past_gap += audit.committed_past_gap;
        total.committed_behind += audit.committed_behind;
        total.skipped_by_retention += audit.skipped_by_retention;
        total.corrupted += audit.corrupted;
        let named =
            |finding: &String| if runs > 1 { format!("run {run}: {finding}") } else { finding.clone() };
        total.findings.extend(audit.findings.iter().map(named));
    }
    total
}
