//! `summary.json`: the judgement of a scenario in numbers. Its names are API.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Metric name → value. A metric that could not be measured is a missing key.
pub type Metrics = BTreeMap<String, f64>;

/// The judgement of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// 1.
    pub schema_version: u32,
    /// The scenario's name.
    pub scenario: String,
    /// What it is for.
    pub purpose: String,
    /// `embedded`, `external`, …
    pub broker: String,
    /// Runs of each mode.
    pub runs: u32,
    /// The verdict over audit, `demonstrates` and gates.
    pub verdict: Verdict,
    /// Why it is not `pass`, in sentences; the first is the weightiest.
    pub reasons: Vec<String>,
    /// The modes' names in the scenario's order.
    pub mode_order: Vec<String>,
    /// What was measured, by mode name; medians over the runs.
    pub modes: BTreeMap<String, ModeSummary>,
    /// The auditor's counts, by mode name, summed over the runs.
    pub audit: BTreeMap<String, Audit>,
    /// The scenario's own proof that it can tell the modes apart.
    pub demonstrates: Vec<GateResult>,
    /// The gates.
    pub gates: Vec<GateResult>,
}

/// What was measured of one mode.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModeSummary {
    /// Of the whole mode.
    pub metrics: Metrics,
    /// Of one topic, by topic name.
    pub topics: BTreeMap<String, Metrics>,
    /// How many samples stand behind a percentile, by metric name.
    pub samples: BTreeMap<String, u64>,
    /// The single runs, in order.
    pub runs: Vec<RunMetrics>,
    /// What runs under this name: client library, actual mode, reason.
    pub client: Option<String>,
    /// The mode that really ran, where the worker said so.
    pub actual_mode: Option<String>,
    /// Errors that the worker reported, each with its count; the topic stands in the text.
    pub errors: BTreeMap<String, u64>,
}

/// What was measured in one run of one mode.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunMetrics {
    /// 1 for the first.
    pub run: u32,
    /// Of the whole mode.
    pub metrics: Metrics,
    /// Of one topic, by topic name.
    pub topics: BTreeMap<String, Metrics>,
}

/// The auditor's verdict on one mode. All are counts of records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Acknowledged, never delivered, and below the final committed offset: gone for good.
    pub lost: u64,
    /// Acknowledged and never delivered otherwise: a restart would deliver it.
    pub undelivered: u64,
    /// Delivered more than once in the group, though nothing excuses it.
    pub duplicated: u64,
    /// Delivered again because a fault had taken the partition from its owner before the offset was
    /// committed.
    #[serde(default)]
    pub redelivered: u64,
    /// Delivered and not acknowledged as committed whenever a fault had a partition change hands:
    /// what a correct consumer delivers again at most.
    #[serde(default)]
    pub uncommitted_at_loss: u64,
    /// Delivered though the producer never heard that the broker had taken it: a fault came between.
    #[serde(default)]
    pub unacknowledged: u64,
    /// Commits, not records, whose outcome nobody knows: their worker was killed.
    #[serde(default)]
    pub commits_unknown: u64,
    /// Offset not increasing within one process, partition and assignment generation.
    pub out_of_order: u64,
    /// The committed offset lies beyond the first unprocessed record.
    pub committed_past_gap: u64,
    /// Processed before a clean stop and not committed.
    pub committed_behind: u64,
    /// Removed by the broker before they could be read.
    pub skipped_by_retention: u64,
    /// Delivered, but the payload is not the one that was produced at that offset, or no such
    /// record was produced.
    pub corrupted: u64,
    /// What was found, in sentences that name topic, partition, offsets and poll; capped.
    pub findings: Vec<String>,
}

/// The verdict on a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Audit clean, `demonstrates` and every gate held.
    Pass,
    /// The measurement cannot decide: see the reasons.
    Inconclusive,
    /// A gate or the audit failed.
    Fail,
}

/// The verdict on one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateVerdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// A wall-clock comparison of two modes after too few runs: printed, decides nothing.
    Indicative,
    /// A metric it names was not measured; that fails the scenario.
    Absent,
}

/// One gate, evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateResult {
    /// The expression as written.
    pub expression: String,
    /// Its line in the scenario file, from 1; 0 where unknown.
    pub line: u32,
    /// The verdict.
    pub verdict: GateVerdict,
    /// Whether the comparison held on the figures at hand, also where it decides nothing.
    pub holds: Option<bool>,
    /// Left side.
    pub left: Option<f64>,
    /// Right side.
    pub right: Option<f64>,
    /// What is missing, or which topic, polls and time broke it and who took the share.
    pub detail: Option<String>,
}
