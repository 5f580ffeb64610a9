//! What a consumer counts, through the `metrics` facade.
//!
//! Install a recorder (an exporter) before the consumer starts; without one all of this costs next to
//! nothing. Every metric has the label `group`, the configured group id. Work is done per poll and per
//! partition in it, never per record; gauges are set once a second, by whoever polls. Lines of the log and
//! spans: [`traces`](crate::traces).
//!
//! | name | kind | labels | what |
//! |---|---|---|---|
//! | [`POLLS`] | counter | | polls that returned, empty ones too |
//! | [`EMPTY_POLLS`] | counter | | polls without a record |
//! | [`POLL_RECORDS`] | histogram, records | | records of a poll that had any |
//! | [`RECORDS`] | counter, records | `topic` | records delivered |
//! | [`ERRORS`] | counter | `topic`, `code` | errors reported in batches, of what goes on failing only the first; `topic` is empty where none is named |
//! | [`QUEUED`] | gauge, records | `topic` | fetched and waiting in the topic's lane (in `single`: in the one lane) |
//! | [`LAG`] | gauge, records | `topic` | end − position over the partitions of which both are known, from the client's cache |
//! | [`QUARANTINED`] | gauge, partitions | `topic` | failing now; a topic that fails as a whole counts as one |
//! | [`ASSIGNED`] | gauge, partitions | | partitions owned now |
//! | [`OUTSTANDING`] | gauge, batches | | batches alive: each keeps its handle |
//! | [`REBALANCES`] | counter | `kind`: `assigned`, `revoked`, `lost` | rebalance callbacks |
//! | [`DEGRADATIONS`] | counter | `resource`, `to` | steps in which the consumer gave way to a shortage; `to` is the mode it runs in since |
//! | [`COMMITS`] | counter | `outcome`: `ok`, `partial`, `failed` | commits answered; `partial`: some partitions were refused, the others are committed |
//! | [`COMMIT_SECONDS`] | histogram, seconds | | from sending a commit to its answer |
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let exporter = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
//! // … start consumers, poll, and serve this on /metrics:
//! println!("{}", exporter.render());
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use fairpoll_core::Mode;
use fairpoll_core::mode::Resource;
use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

/// Polls that returned.
pub const POLLS: &str = "fairpoll_polls_total";
/// Polls without a record.
pub const EMPTY_POLLS: &str = "fairpoll_empty_polls_total";
/// Records of a poll.
pub const POLL_RECORDS: &str = "fairpoll_poll_records";
/// Records delivered.
pub const RECORDS: &str = "fairpoll_records_total";
/// Errors reported in batches.
pub const ERRORS: &str = "fairpoll_errors_total";
/// Records that wait in a lane.
pub const QUEUED: &str = "fairpoll_queued_records";
/// Records behind the end, as far as the client knows.
pub const LAG: &str = "fairpoll_lag_records";
/// Partitions that fail now.
pub const QUARANTINED: &str = "fairpoll_quarantined_partitions";
/// Partitions owned now.
pub const ASSIGNED: &str = "fairpoll_assigned_partitions";
/// Batches alive.
pub const OUTSTANDING: &str = "fairpoll_outstanding_batches";
/// Rebalance callbacks.
pub const REBALANCES: &str = "fairpoll_rebalances_total";
/// Steps in which a consumer gave way to a shortage.
pub const DEGRADATIONS: &str = "fairpoll_degradations_total";
/// Commits answered.
pub const COMMITS: &str = "fairpoll_commits_total";
/// How long commits take.
pub const COMMIT_SECONDS: &str = "fairpoll_commit_seconds";

/// One consumer's counters, looked up once.
pub(crate) struct Meters {
    group: Arc<str>,
    pub(crate) polls: Counter,
    pub(crate) empty_polls: Counter,
    pub(crate) poll_records: Histogram,
    pub(crate) topics: Vec<TopicMeters>,
    pub(crate) assigned: Gauge,
    pub(crate) outstanding: Gauge,
    commits_ok: Counter,
    commits_partial: Counter,
    commits_failed: Counter,
    commit_seconds: Histogram,
}

/// Of one topic.
pub(crate) struct TopicMeters {
    pub(crate) records: Counter,
    pub(crate) queued: Gauge,
    pub(crate) lag: Gauge,
    pub(crate) failing: Gauge,
}

/// Why partitions come or go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rebalance {
    Assigned,
    Revoked,
    Lost,
}

impl Rebalance {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Revoked => "revoked",
            Self::Lost => "lost",
        }
    }
}

/// How much of a commit was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    All,
    Some,
    None,
}

impl Meters {
    pub(crate) fn new(group: &str, topics: &[Arc<str>]) -> Self {
        describe();
        let group: Arc<str> = group.into();
        let label = || ("group", group.to_string());
        let of_topic = |topic: &Arc<str>| {
            let labels = [label(), ("topic", topic.to_string())];
            TopicMeters {
                records: counter!(RECORDS, &labels),
                queued: gauge!(QUEUED, &labels),
                lag: gauge!(LAG, &labels),
                failing: gauge!(QUARANTINED, &labels),
            }
        };
        let commits = |outcome: &str| counter!(COMMITS, &[label(), ("outcome", outcome.to_owned())]);
        Self {
            polls: counter!(POLLS, &[label()]),
            empty_polls: counter!(EMPTY_POLLS, &[label()]),
            poll_records: histogram!(POLL_RECORDS, &[label()]),
            topics: topics.iter().map(of_topic).collect(),
            assigned: gauge!(ASSIGNED, &[label()]),
            outstanding: gauge!(OUTSTANDING, &[label()]),
            commits_ok: commits("ok"),
            commits_partial: commits("partial"),
            commits_failed: commits("failed"),
            commit_seconds: histogram!(COMMIT_SECONDS, &[label()]),
            group,
        }
    }

    /// An error went into a batch. Rare, so it is looked up.
    pub(crate) fn error(&self, topic: Option<&str>, code: &str) {
        let topic = topic.unwrap_or_default().to_owned();
        counter!(ERRORS, "group" => self.group.to_string(), "topic" => topic, "code" => code.to_owned())
            .increment(1);
    }

    pub(crate) fn rebalance(&self, kind: Rebalance) {
        counter!(REBALANCES, "group" => self.group.to_string(), "kind" => kind.name()).increment(1);
    }

    pub(crate) fn degraded(&self, resource: Resource, to: Mode) {
        let (resource, to) = (resource.name(), to.to_string());
        counter!(DEGRADATIONS, "group" => self.group.to_string(), "resource" => resource, "to" => to)
            .increment(1);
    }

    pub(crate) fn committed(&self, sent: Instant, now: Instant, extent: Extent) {
        let outcome = match extent {
            Extent::All => &self.commits_ok,
            Extent::Some => &self.commits_partial,
            Extent::None => &self.commits_failed,
        };
        outcome.increment(1);
        self.commit_seconds.record(now.saturating_duration_since(sent).max(Duration::ZERO));
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").field("group", &self.group).finish_non_exhaustive()
    }
}

fn describe() {
    use metrics::{describe_counter as counter, describe_gauge as gauge, describe_histogram as histogram};
    counter!(POLLS, Unit::Count, "polls that returned, empty ones too");
    counter!(EMPTY_POLLS, Unit::Count, "polls without a record");
    histogram!(POLL_RECORDS, Unit::Count, "records of a poll that had any");
    counter!(RECORDS, Unit::Count, "records delivered");
    counter!(ERRORS, Unit::Count, "errors reported in batches");
    gauge!(QUEUED, Unit::Count, "records fetched and waiting in the topic's lane");
    gauge!(LAG, Unit::Count, "end - position, from the client's cache");
    gauge!(QUARANTINED, Unit::Count, "partitions that fail now");
    gauge!(ASSIGNED, Unit::Count, "partitions owned now");
    gauge!(OUTSTANDING, Unit::Count, "batches alive");
    counter!(REBALANCES, Unit::Count, "rebalance callbacks");
    counter!(DEGRADATIONS, Unit::Count, "steps in which the consumer gave way to a shortage");
    counter!(COMMITS, Unit::Count, "commits answered");
    histogram!(COMMIT_SECONDS, Unit::Seconds, "from sending a commit to its answer");
}
