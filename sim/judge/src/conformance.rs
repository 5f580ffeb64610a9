//! Whether one scenario came to the same end on several brokers, and by how much its timing differs.
//!
//! An *arm* is what one broker made of the scenario: its log and the judgement of it. Arms conform
//! if their verdicts are the same, every gate and proof on exact figures (counts of polls, of
//! threads and connections, of the auditor) says the same, and the same records were delivered. Clock times, memory
//! and CPU are expected to differ; [`Comparison::timing`] says by how much.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::event::{Body, Event, Origin};
use crate::gate::Expression;
use crate::metric::{self, Kind, METRICS};
use crate::protocol::WorkerLine;
use crate::summary::{GateResult, GateVerdict, Summary, Verdict};

mod render;
#[cfg(test)]
mod tests;

pub use render::{markdown, terminal};

/// How many missing offsets of a partition are told one by one.
const MISSING_MOST: usize = 3;

/// What one broker made of a scenario.
#[derive(Debug, Clone)]
pub struct Arm {
    /// Its name: `embedded`, `container:3`, with the round where there are several.
    pub name: String,
    /// The judgement.
    pub summary: Summary,
    /// What was delivered.
    pub delivered: Delivered,
}

/// The records that a log's workers were given: per mode and run, topic and partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered(BTreeMap<Place, Offsets>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    mode: String,
    run: u32,
    topic: String,
    partition: u32,
}

/// Of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Offsets {
    /// Records that lay there before the run: the same on every broker.
    backlog: u64,
    /// Offsets that were acknowledged and never delivered, as ranges with their ends.
    missing: Vec<(i64, i64)>,
}

impl Delivered {
    /// Reads it from a log. How many live records there were depends on how long the run took, so
    /// of these it is only known which of them are missing.
    #[must_use]
    pub fn read(events: &[Event]) -> Self {
        let mut acknowledged: BTreeMap<Place, Vec<(i64, i64)>> = BTreeMap::new();
        let mut taken: BTreeMap<Place, Vec<(i64, i64)>> = BTreeMap::new();
        let mut backlog: BTreeMap<Place, u64> = BTreeMap::new();
        for event in events {
            let (Some(mode), Some(run)) = (&event.mode, event.run) else { continue };
            let place = |topic: &str, partition| Place {
                mode: mode.clone(),
                run,
                topic: topic.to_owned(),
                partition,
            };
            match &event.body {
                Body::Produced { topic, partition, first_offset, count, origin, .. } if *count > 0 => {
                    let last = first_offset + count.cast_signed() - 1;
                    acknowledged.entry(place(topic, *partition)).or_default().push((*first_offset, last));
                    if *origin != Origin::Live {
                        *backlog.entry(place(topic, *partition)).or_default() += count;
                    }
                }
                Body::Worker { line: WorkerLine::Poll { ranges, .. }, .. } => {
                    for range in ranges {
                        let ranges = taken.entry(place(&range.topic, range.partition)).or_default();
                        ranges.push((range.first, range.last));
                    }
                }
                _ => {}
            }
        }
        let of_partition = |(place, acknowledged)| {
            let taken = taken.get(&place).cloned().unwrap_or_default();
            let backlog = backlog.get(&place).copied().unwrap_or(0);
            (place, Offsets { backlog, missing: without(acknowledged, taken) })
        };
        Self(acknowledged.into_iter().map(of_partition).collect())
    }

    /// In what the other differs, in sentences; empty where it does not.
    fn differs_from(&self, other: &Self) -> Vec<String> {
        let places: BTreeSet<&Place> = self.0.keys().chain(other.0.keys()).collect();
        let nothing = Offsets::default();
        let sentence = |place: &Place| {
            let (mine, its) = (self.0.get(place).unwrap_or(&nothing), other.0.get(place).unwrap_or(&nothing));
            let what = if mine.backlog != its.backlog {
                format!("{} records in the backlog against {}", its.backlog, mine.backlog)
            } else if mine.missing != its.missing {
                format!("{} against {}", told(&its.missing), told(&mine.missing))
            } else {
                return None;
            };
            let Place { mode, run, topic, partition } = place;
            let which = if *run > 1 { format!(" run {run},") } else { String::new() };
            Some(format!("{mode},{which} {topic} [{partition}]: {what}"))
        };
        places.into_iter().filter_map(sentence).collect()
    }
}

/// `offsets 7 to 9, 12 to 12 undelivered`.
fn told(missing: &[(i64, i64)]) -> String {
    if missing.is_empty() {
        return "everything delivered".to_owned();
    }
    let some: Vec<String> =
        missing.iter().take(MISSING_MOST).map(|(first, last)| format!("{first} to {last}")).collect();
    let more = if missing.len() > MISSING_MOST { ", …" } else { "" };
    format!("offsets {}{more} undelivered", some.join(", "))
}

/// The offsets of `whole` that are in none of `taken`.
fn without(whole: Vec<(i64, i64)>, taken: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    let taken = union(taken);
    let mut rest = Vec::new();
    let mut next = 0;
    for (mut from, to) in union(whole) {
        // Both are in order: what lies before this range lies before all that follow.
        while taken.get(next).is_some_and(|(_, last)| *last < from) {
            next += 1;
        }
        for (first, last) in taken[next..].iter().take_while(|(first, _)| *first <= to) {
            if *first > from {
                rest.push((from, first - 1));
            }
            from = last + 1;
        }
        if from <= to {
            rest.push((from, to));
        }
    }
    rest
}

/// The same offsets in ranges that neither overlap nor touch, in order.
fn union(mut ranges: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    ranges.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// One scenario on several brokers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The scenario.
    pub scenario: String,
    /// The arms, in order.
    pub arms: Vec<String>,
    /// Each arm's verdict.
    pub verdicts: Vec<Verdict>,
    /// What the arms together say.
    pub agreement: Agreement,
    /// In what they differ though they should not, in sentences.
    pub differences: Vec<String>,
    /// What every arm says of the gates and proofs.
    pub gates: Vec<GateRow>,
    /// Clock times, memory and CPU, where every arm has them.
    pub timing: Vec<TimingRow>,
}

/// Whether arms conform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// They do.
    Agrees,
    /// They do not.
    Differs,
    /// One of them was inconclusive: nothing can be said.
    Undecided,
    /// Only one broker can hold the scenario, or do what it asks for.
    Alone,
}

/// A gate or proof.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateRow {
    /// The expression.
    pub expression: String,
    /// It rests on counts alone, so it must be the same everywhere.
    pub exact: bool,
    /// Per arm: whether it holds; absent where a figure was not measured.
    pub holds: Vec<Option<bool>>,
}

/// A figure that may differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimingRow {
    /// The mode.
    pub mode: String,
    /// The metric.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Per arm.
    pub values: Vec<f64>,
    /// Per arm: the value over the first arm's; absent where that is 0.
    pub ratios: Vec<Option<f64>>,
}

/// Compares what several arms made of one scenario; the first is what the others are held against.
///
/// # Panics
/// Without an arm there is nothing to compare.
#[must_use]
pub fn compare(arms: &[Arm]) -> Comparison {
    let first = arms.first().expect("the caller has at least one arm");
    let mut differences = Vec::new();
    let gates = gate_rows(arms);
    for row in gates.iter().filter(|row| row.exact) {
        for (arm, holds) in arms.iter().zip(&row.holds).skip(1).filter(|(_, holds)| **holds != row.holds[0]) {
            differences.push(format!(
                "`{}` {} on {} and {} on {}",
                row.expression,
                word(row.holds[0]),
                first.name,
                word(*holds),
                arm.name
            ));
        }
    }
    for arm in &arms[1..] {
        if arm.summary.verdict != first.summary.verdict {
            let reasons = [&first.summary, &arm.summary].map(|summary| summary.reasons.first());
            let because =
                reasons.into_iter().flatten().next().map_or(String::new(), |why| format!(": {why}"));
            differences.push(format!(
                "{} on {} and {} on {}{because}",
                verdict_word(first.summary.verdict),
                first.name,
                verdict_word(arm.summary.verdict),
                arm.name
            ));
        }
        let sets = first.delivered.differs_from(&arm.delivered);
        differences.extend(
            sets.into_iter().map(|what| format!("delivered on {} and on {}, {what}", arm.name, first.name)),
        );
    }
    let inconclusive = arms.iter().any(|arm| arm.summary.verdict == Verdict::Inconclusive);
    let agreement = match (arms.len(), inconclusive, differences.is_empty()) {
        (1, _, _) => Agreement::Alone,
        (_, true, _) => Agreement::Undecided,
        (_, false, true) => Agreement::Agrees,
        (_, false, false) => Agreement::Differs,
    };
    Comparison {
        scenario: first.summary.scenario.clone(),
        arms: arms.iter().map(|arm| arm.name.clone()).collect(),
        verdicts: arms.iter().map(|arm| arm.summary.verdict).collect(),
        agreement,
        differences,
        gates,
        timing: timing_rows(arms),
    }
}

fn word(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "holds",
        Some(false) => "does not hold",
        None => "is not measured",
    }
}

fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Fail => "fail",
    }
}

fn gate_rows(arms: &[Arm]) -> Vec<GateRow> {
    let all = |summary: &Summary| -> Vec<GateResult> {
        summary.demonstrates.iter().chain(&summary.gates).cloned().collect()
    };
    let of_arms: Vec<Vec<GateResult>> = arms.iter().map(|arm| all(&arm.summary)).collect();
    let row = |gate: &GateResult| {
        let same =
            |gates: &Vec<GateResult>| gates.iter().find(|other| other.expression == gate.expression).cloned();
        GateRow {
            expression: gate.expression.clone(),
            exact: is_exact(&gate.expression),
            holds: of_arms.iter().map(|gates| same(gates).and_then(|gate| holds(&gate))).collect(),
        }
    };
    of_arms.first().into_iter().flatten().map(row).collect()
}

fn holds(gate: &GateResult) -> Option<bool> {
    match gate.verdict {
        GateVerdict::Pass => Some(true),
        GateVerdict::Fail => Some(false),
        GateVerdict::Indicative => gate.holds,
        GateVerdict::Absent => None,
    }
}

fn is_exact(expression: &str) -> bool {
    Expression::parse(expression).is_ok_and(|expression| {
        expression.metrics().iter().all(|name| metric::find(name).is_some_and(|metric| metric.exact))
    })
}

fn timing_rows(arms: &[Arm]) -> Vec<TimingRow> {
    let Some(first) = arms.first() else { return Vec::new() };
    let mut rows = Vec::new();
    for mode in &first.summary.mode_order {
        let noisy = METRICS
            .iter()
            .filter(|metric| metric.per_mode && matches!(metric.kind, Kind::Wall | Kind::Resource));
        for metric in noisy {
            let value = |arm: &Arm| arm.summary.modes.get(mode)?.metrics.get(metric.name).copied();
            let Some(values) = arms.iter().map(value).collect::<Option<Vec<f64>>>() else { continue };
            let ratios = values.iter().map(|value| (values[0] > 0.0).then(|| value / values[0])).collect();
            rows.push(TimingRow {
                mode: mode.clone(),
                metric: metric.name.to_owned(),
                unit: metric.unit.to_owned(),
                values,
                ratios,
            });
        }
    }
    rows
}
