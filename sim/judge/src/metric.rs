//! The one table of metrics: names, units, kinds and what they mean.
//!
//! Gates, tables, plots and files look a metric up here; nobody else knows a unit or which of two
//! values is the better one.

/// What a metric is a matter of, and so how far one run can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Counted in polls, records or calls.
    Count,
    /// Read off a clock: noisy.
    Wall,
    /// What a process used of the machine.
    Resource,
    /// The auditor's verdict.
    Audit,
}

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The smaller one.
    Lower,
    /// The larger one.
    Higher,
    /// Neither: it depends on what the user wants.
    Neither,
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, as gates and `summary.json` write it.
    pub name: &'static str,
    /// Its unit; empty for a ratio.
    pub unit: &'static str,
    /// What it is a matter of.
    pub kind: Kind,
    /// Which of two values is the better one.
    pub better: Better,
    /// It exists for each topic: `mode.metric{topic}`.
    pub per_topic: bool,
    /// It exists for the whole mode: `mode.metric`.
    pub per_mode: bool,
    /// A comparison of two modes decides after one run: the value has no noise worth the name.
    pub exact: bool,
    /// Counted from the worker's start; not comparable on an embedded broker, whose joins are
    /// faster than a real cluster's.
    pub start_based: bool,
    /// What it is, in one line.
    pub definition: &'static str,
}

/// Every metric, in the order of tables.
pub const METRICS: &[Metric] = &[
    count("starved_polls", "polls", Better::Lower, TOPIC)
        .is("longest run of a process's consecutive non-empty polls without a record of a topic of which it had available ones"),
    count("starved_polls_max", "polls", Better::Lower, MODE).is("the largest starved_polls of any topic"),
    count("starved_polls_settled_max", "polls", Better::Lower, MODE)
        .is("the largest starved_polls of any topic over the polls after the last rebalance"),
    wall("service_gap_ms", "ms", Better::Lower, TOPIC)
        .is("longest time in which a process had available records of the topic and delivered none"),
    wall("service_gap_ms_max", "ms", Better::Lower, MODE).is("the largest service_gap_ms of any topic"),
    wall("wait_p50_ms", "ms", Better::Lower, BOTH)
        .is("median from a live record's scheduled send to its delivery; pooled over the topics that are not the deepest"),
    wall("wait_p99_ms", "ms", Better::Lower, BOTH)
        .is("99th percentile from a live record's scheduled send to its delivery; pooled likewise"),
    wall("wait_max_ms", "ms", Better::Lower, BOTH)
        .is("longest time from a live record's scheduled send to its delivery; pooled likewise"),
    wall("producer_late_p99_ms", "ms", Better::Lower, MODE)
        .is("99th percentile of how late the generator handed live records over"),
    wall("ack_p99_ms", "ms", Better::Neither, MODE)
        .is("99th percentile from a live record's scheduled send to the broker's acknowledgement: the broker's part of a wait"),
    count("share_min", "", Better::Higher, MODE)
        .is("smallest served/entitled over topics and 20 groups of consecutive polls"),
    wall("first_record_ms", "ms", Better::Lower, TOPIC)
        .since_start()
        .is("worker's start to the topic's first record in a batch"),
    wall("complete_input_ms", "ms", Better::Lower, MODE)
        .since_start()
        .is("worker's start until every topic that has data has delivered a record"),
    wall("output_gap_ms_max", "ms", Better::Lower, MODE)
        .is("longest stretch in which every topic had data and no new complete input could be formed"),
    wall("join_ms", "ms", Better::Lower, MODE).since_start().is("worker's start to every partition assigned"),
    wall("ready_ms", "ms", Better::Lower, MODE).since_start().is("every partition assigned to first batch"),
    count("first_batch_topics", "", Better::Higher, MODE).is("topics with a record in the first batch"),
    wall("drain_s", "s", Better::Lower, BOTH).is("first batch to the last backlog record delivered"),
    wall("overhead_s", "s", Better::Lower, MODE).is("drain_s minus the injected processing time"),
    wall("records_per_s", "1/s", Better::Higher, MODE).is("records delivered per second of drain"),
    wall("mib_per_s", "MiB/s", Better::Higher, MODE).is("value bytes delivered per second of drain"),
    count("records_per_poll_p50", "records", Better::Neither, MODE)
        .is("median of the records of a non-empty poll during drain"),
    count("records_per_poll_max", "records", Better::Neither, MODE)
        .is("most records of one poll during drain"),
    resource("rss_peak_mib", "MiB").is("the worker process's high-water mark of resident memory; of several instances the sum"),
    resource("cpu_s_per_million", "s").is("CPU time of the worker processes per million records delivered"),
    resource("threads_max", "").without_noise().is("most threads of the worker process; of several instances the sum"),
    resource("connections_max", "").without_noise().is("most established TCP connections of the worker to brokers; of several instances the sum"),
    count("rebalances", "", Better::Lower, MODE).is("rebalance callbacks: assignments and revocations"),
    wall("revoked_ms", "ms", Better::Lower, MODE)
        .is("time that partitions had no owner that could deliver, after their first one, summed over partitions"),
    wall("commit_p50_ms", "ms", Better::Lower, MODE).is("median from a commit sent to the broker's answer"),
    wall("commit_p99_ms", "ms", Better::Lower, MODE)
        .is("99th percentile from a commit sent to the broker's answer"),
    count("commit_failures", "", Better::Lower, MODE).is("commits that the broker or the client refused"),
    count("processing_failures", "records", Better::Lower, MODE)
        .is("records that were delivered and could not be processed at once"),
    count("degradations", "", Better::Neither, MODE)
        .is("how often a worker said that it started anew with less because resources ran short"),
    wall("recovery_ms", "ms", Better::Lower, MODE)
        .is("end of the last fault until every partition with records waiting then was delivered from"),
    wall("isolation_loss_pct", "%", Better::Lower, MODE)
        .is("drop of the healthy topics' delivery rate while one topic fails, against before and after"),
    count("lag_processing", "records", Better::Lower, TOPIC).is("end of the log minus position"),
    count("lag_durability", "records", Better::Lower, TOPIC).is("end of the log minus committed offset"),
    audit("lost").is("acknowledged, never delivered, below the final committed offset"),
    audit("undelivered").is("acknowledged and never delivered otherwise"),
    audit("duplicated").is("delivered more than once in the group, though nothing excuses it"),
    audit("redelivered").is("delivered again after a fault, because it was not committed when its owner lost it"),
    audit("uncommitted_at_loss").is("delivered and not committed whenever a fault had a partition change hands"),
    audit("out_of_order").is("offset not increasing within one process, partition and assignment"),
    audit("committed_past_gap").is("committed beyond the first unprocessed record"),
    audit("committed_behind").is("processed before a clean stop and not committed"),
    audit("skipped_by_retention").is("removed by the broker before they could be read"),
    audit("corrupted").is("delivered with another payload than the produced one, or never produced"),
];

/// The metric of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// The metric name that was probably meant.
#[must_use]
pub fn suggest(name: &str) -> Option<&'static str> {
    closest(name, METRICS.iter().map(|metric| metric.name))
}

/// The candidate that looks most like `word`, if one does at all.
pub(crate) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Below 0.8 Jaro-Winkler proposes words that merely share letters.
    const ALIKE: f64 = 0.8;
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[derive(Clone, Copy)]
struct Scope {
    topic: bool,
    mode: bool,
}

const TOPIC: Scope = Scope { topic: true, mode: false };
const MODE: Scope = Scope { topic: false, mode: true };
const BOTH: Scope = Scope { topic: true, mode: true };

const fn metric(name: &'static str, unit: &'static str, kind: Kind, better: Better, scope: Scope) -> Metric {
    Metric {
        name,
        unit,
        kind,
        better,
        per_topic: scope.topic,
        per_mode: scope.mode,
        exact: matches!(kind, Kind::Count | Kind::Audit),
        start_based: false,
        definition: "",
    }
}

const fn count(name: &'static str, unit: &'static str, better: Better, scope: Scope) -> Metric {
    metric(name, unit, Kind::Count, better, scope)
}

const fn wall(name: &'static str, unit: &'static str, better: Better, scope: Scope) -> Metric {
    metric(name, unit, Kind::Wall, better, scope)
}

const fn resource(name: &'static str, unit: &'static str) -> Metric {
    metric(name, unit, Kind::Resource, Better::Lower, MODE)
}

const fn audit(name: &'static str) -> Metric {
    metric(name, "records", Kind::Audit, Better::Lower, MODE)
}

impl Metric {
    const fn without_noise(mut self) -> Self {
        self.exact = true;
        self
    }

    const fn since_start(mut self) -> Self {
        self.start_based = true;
        self
    }

    const fn is(mut self, definition: &'static str) -> Self {
        self.definition = definition;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_metric_is_defined_for_something() {
        for (index, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[index + 1..].iter().all(|other| other.name != metric.name), "{}", metric.name);
            assert!(!metric.definition.is_empty(), "{} has no definition", metric.name);
            assert!(metric.per_topic || metric.per_mode, "{} belongs to nothing", metric.name);
        }
    }

    #[test]
    fn a_misspelt_name_is_guessed_and_nonsense_is_not() {
        assert_eq!(suggest("starved_pols_max"), Some("starved_polls_max"));
        assert_eq!(suggest("wait_p95_ms").map(|name| &name[..5]), Some("wait_"));
        assert_eq!(suggest("xyzzy"), None);
    }

    #[test]
    fn clock_times_and_memory_are_noisy_and_counts_are_not() {
        for (name, exact) in
            [("drain_s", false), ("rss_peak_mib", false), ("cpu_s_per_million", false), ("threads_max", true)]
        {
            assert_eq!(find(name).map(|metric| metric.exact), Some(exact), "{name}");
        }
        assert!(find("connections_max").is_some_and(|metric| metric.exact));
        assert!(find("lost").is_some_and(|metric| metric.exact && metric.kind == Kind::Audit));
    }
}
