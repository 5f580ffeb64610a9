//! The comparison table: metrics down, modes across, the better value marked.

use crate::metric::Kind;
use crate::metric::{Better, METRICS, Metric};
use crate::summary::{Metrics, Summary};

use super::value::{show, show_option};

/// The comparison table.
pub(super) struct Comparison {
    /// Mode names, in the scenario's order.
    pub(super) modes: Vec<String>,
    /// One per metric that some mode has.
    pub(super) rows: Vec<Row>,
}

/// One metric in all modes.
pub(super) struct Row {
    pub(super) metric: &'static Metric,
    /// Start-based on an embedded broker: its joins are faster than a real cluster's.
    pub(super) comparable: bool,
    pub(super) cells: Vec<Cell>,
}

/// One value.
pub(super) struct Cell {
    pub(super) text: String,
    /// No other mode's is better, and some other mode's is worse.
    pub(super) best: bool,
}

impl Row {
    /// `service_gap_ms_max [ms]`, with a mark where it is not comparable.
    pub(super) fn label(&self) -> String {
        let mark = if self.comparable { "" } else { " *" };
        let unit = unit(self.metric);
        if unit.is_empty() {
            format!("{}{mark}", self.metric.name)
        } else {
            format!("{} [{unit}]{mark}", self.metric.name)
        }
    }
}

/// Names say most units; those that do not are shown.
fn unit(metric: &Metric) -> &'static str {
    let said = ["_ms", "_s", "_mib", "_pct"].iter().any(|suffix| metric.name.ends_with(suffix))
        || ["_ms_", "_per_"].iter().any(|part| metric.name.contains(part))
        || metric.unit == "records";
    if said { "" } else { metric.unit }
}

/// The whole table: all metrics of modes but the auditor's counts, which stand apart.
pub(super) fn comparison(summary: &Summary) -> Comparison {
    let of_mode = |mode: &String| summary.modes.get(mode).map(|mode| &mode.metrics);
    table(summary, METRICS.iter().filter(|metric| metric.per_mode), &of_mode)
}

/// The same for one topic.
pub(super) fn comparison_of_topic(summary: &Summary, topic: &str) -> Comparison {
    let of_mode = |mode: &String| summary.modes.get(mode).and_then(|mode| mode.topics.get(topic));
    table(summary, METRICS.iter().filter(|metric| metric.per_topic), &of_mode)
}

fn table<'a>(
    summary: &'a Summary,
    metrics: impl Iterator<Item = &'static Metric>,
    of_mode: &dyn Fn(&'a String) -> Option<&'a Metrics>,
) -> Comparison {
    let row = |metric: &'static Metric| {
        if metric.kind == Kind::Audit {
            return None;
        }
        let values: Vec<Option<f64>> = summary
            .mode_order
            .iter()
            .map(|mode| of_mode(mode).and_then(|metrics| metrics.get(metric.name)).copied())
            .collect();
        values.iter().any(Option::is_some).then(|| Row {
            metric,
            comparable: !(metric.start_based && summary.broker == "embedded"),
            cells: cells(metric, &values),
        })
    };
    Comparison { modes: summary.mode_order.clone(), rows: metrics.filter_map(row).collect() }
}

fn cells(metric: &Metric, values: &[Option<f64>]) -> Vec<Cell> {
    let known = || values.iter().flatten().copied();
    let best = match metric.better {
        Better::Lower => known().reduce(f64::min),
        Better::Higher => known().reduce(f64::max),
        Better::Neither => None,
    };
    // What reads the same is the same; where all are, nobody is better.
    let texts: Vec<String> = values.iter().copied().map(show_option).collect();
    let best = best.map(|best| show_option(Some(best)));
    let differs =
        values.iter().zip(&texts).any(|(value, text)| value.is_some() && Some(text) != best.as_ref());
    let cell = |text: String| Cell { best: differs && Some(&text) == best.as_ref(), text };
    texts.into_iter().map(cell).collect()
}

/// How many samples stand behind metrics that share them.
pub(super) struct SampleCounts {
    metrics: Vec<&'static str>,
    modes: String,
    /// Of several runs the smallest count is known.
    least: bool,
}

impl SampleCounts {
    /// `n of wait_p50_ms, wait_p99_ms: single 1,482, fair 1,461`.
    pub(super) fn text(&self) -> String {
        let of = if self.least { "least n of a run for" } else { "n of" };
        format!("{of} {}: {}", self.metrics.join(", "), self.modes)
    }

    /// A row that every view shows rests on them.
    pub(super) fn is_headline(&self) -> bool {
        self.metrics.iter().any(|metric| HEADLINE.contains(metric))
    }
}

/// The samples behind every metric of modes that has any; metrics with equal counts together.
pub(super) fn sample_counts(summary: &Summary) -> Vec<SampleCounts> {
    let mut all: Vec<SampleCounts> = Vec::new();
    for metric in METRICS.iter().filter(|metric| metric.per_mode) {
        let count = |mode: &String| summary.modes.get(mode)?.samples.get(metric.name).copied();
        let known = summary.mode_order.iter().filter_map(|mode| Some((mode, count(mode)?)));
        #[expect(clippy::cast_precision_loss, reason = "a count of samples is far below 2^53")]
        let modes: Vec<String> = known.map(|(mode, n)| format!("{mode} {}", show(n as f64))).collect();
        let modes = modes.join(", ");
        match all.iter_mut().find(|counts| counts.modes == modes) {
            _ if modes.is_empty() => {}
            Some(counts) => counts.metrics.push(metric.name),
            None => all.push(SampleCounts { metrics: vec![metric.name], modes, least: summary.runs > 1 }),
        }
    }
    all
}

/// A mark says which figure is better, not that the difference means something.
pub(super) fn one_run_note(summary: &Summary) -> Option<&'static str> {
    (summary.runs == 1).then_some(
        "one run: small differences of clock times, memory and CPU are noise; --runs N gives medians",
    )
}

/// The rows that a narrow view shows first.
pub(super) const HEADLINE: [&str; 15] = [
    "starved_polls_max",
    "service_gap_ms_max",
    "wait_p50_ms",
    "wait_p99_ms",
    "wait_max_ms",
    "complete_input_ms",
    "output_gap_ms_max",
    "share_min",
    "drain_s",
    "overhead_s",
    "records_per_s",
    "rss_peak_mib",
    "cpu_s_per_million",
    "threads_max",
    "connections_max",
];
