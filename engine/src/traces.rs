//! What a consumer writes to the log, and its spans, through the `tracing` facade.
//!
//! # Lines
//!
//! At level info of the target [`STATUS_TARGET`]; their words and keys are stable. Values without quotes
//! hold no blank; lists name ten at most (`a,b,+7`), and `-` is none.
//!
//! | line | when | keys |
//! |---|---|---|
//! | `fairpoll started:` | at the start, after a fallback to another group protocol, and after [giving way](crate::Config::degrade) | `requested_mode`, `actual_mode`, `reason`, `topics`, `handles`, `lanes`, `librdkafka` |
//! | `fairpoll handle:` | after it, for each handle | `handle`, `client_id`, `group`, `protocol`, `topics`, `lanes`, `topic_names` |
//! | `fairpoll status:` | every [`status_log_interval`](crate::Config::status_log_interval), by whoever polls | `group`, `mode`, `topics`, `partitions` assigned, `queued` records, `lag` in records over the partitions of which it is known, `lag_unknown` partitions, `lag_by_topic` (those furthest behind first), `failing` and `refused_commits` with their codes, `outstanding_batches` |
//!
//! Everything else has the module's path for its target: warnings of what fails, with topic, partition and
//! error, and when it works again. Librdkafka's own lines have the target `librdkafka`.
//!
//! # Spans
//!
//! At level debug; without a subscriber that takes it a span costs next to nothing. Work is done per poll,
//! commit and rebalance, never per record. Fields are named as OpenTelemetry's conventions for messaging
//! name them, where they do. Each span has `messaging.system` = `kafka` and `messaging.consumer.group.name`:
//! the configured group id, of commits and rebalances their handle's own. A call that is dropped before it
//! returns ends its span without the fields of the end.
//!
//! | name | from, to | fields |
//! |---|---|---|
//! | [`GET_MANY`], [`GET_COMPLETE`] | a call's begin, its return | `messaging.operation.name` = `poll`, `messaging.operation.type` = `receive`; at the end `messaging.batch.message_count` and `fairpoll.errors`, or `error.type` |
//! | [`COMMIT`] | a request is sent, it is answered; follows from the span in which the commit was asked for | `messaging.operation.name` = `commit`, `messaging.operation.type` = `settle`, `messaging.client.id`, `fairpoll.commit_id`, `fairpoll.partitions`; at the end `fairpoll.refused` partitions, and `error.type`: a code of Kafka's protocol |
//! | [`REBALANCE`] | an assignment is taken; a revocation begins, the partitions are given back after their last commit | `messaging.client.id`, `fairpoll.rebalance`: `assigned`, `revoked` or `lost`, `fairpoll.partitions` |
//! | [`STOP`] | a stop's begin, its return | at the end `fairpoll.committed`, `fairpoll.closed`, `fairpoll.outstanding_batches` |

use tracing::Span;
use tracing::field::Empty;

use crate::error::PollError;
use crate::status::StopReport;

/// The target of the lines that say what runs and where it stands.
pub const STATUS_TARGET: &str = "fairpoll::status";

/// One [`Consumer::get_many`](crate::Consumer::get_many).
pub const GET_MANY: &str = "fairpoll.get_many";
/// One [`Consumer::get_complete`](crate::Consumer::get_complete).
pub const GET_COMPLETE: &str = "fairpoll.get_complete";
/// One request to commit, up to its answer.
pub const COMMIT: &str = "fairpoll.commit";
/// Partitions that come or go.
pub const REBALANCE: &str = "fairpoll.rebalance";
/// One [`Consumer::stop`](crate::Consumer::stop).
pub const STOP: &str = "fairpoll.stop";

const SYSTEM: &str = "kafka";

/// A poll: its name must be known where it is compiled.
macro_rules! poll_span {
    ($name:expr, $group:expr) => {
        tracing::debug_span!(
            target: "fairpoll",
            $name,
            messaging.system = SYSTEM,
            messaging.operation.name = "poll",
            messaging.operation.type = "receive",
            messaging.consumer.group.name = $group,
            messaging.batch.message_count = Empty,
            fairpoll.errors = Empty,
            error.type = Empty,
        )
    };
}

pub(crate) fn get_many(group: &str) -> Span {
    poll_span!(GET_MANY, group)
}

pub(crate) fn get_complete(group: &str) -> Span {
    poll_span!(GET_COMPLETE, group)
}

/// A poll returned: so many records and errors, or an error.
pub(crate) fn polled(span: &Span, result: Result<(usize, usize), &PollError>) {
    match result {
        Ok((records, errors)) => {
            span.record("messaging.batch.message_count", records);
            span.record("fairpoll.errors", errors);
        }
        Err(PollError::Stopped) => {
            span.record("error.type", "stopped");
        }
        Err(_) => {
            span.record("error.type", "fatal");
        }
    }
}

pub(crate) fn commit(group: &str, client: &str, id: u64, partitions: usize) -> Span {
    let span = tracing::debug_span!(
        target: "fairpoll",
        parent: None,
        COMMIT,
        messaging.system = SYSTEM,
        messaging.operation.name = "commit",
        messaging.operation.type = "settle",
        messaging.consumer.group.name = group,
        messaging.client.id = client,
        fairpoll.commit_id = id,
        fairpoll.partitions = partitions,
        fairpoll.refused = Empty,
        error.type = Empty,
    );
    after_its_cause(span)
}

/// A commit was answered; the span ends when it is dropped.
pub(crate) fn committed(span: &Span, refused: usize, code: Option<&str>) {
    span.record("fairpoll.refused", refused);
    if let Some(code) = code {
        span.record("error.type", code);
    }
}

pub(crate) fn rebalance(group: &str, client: &str, kind: &'static str, partitions: usize) -> Span {
    let span = tracing::debug_span!(
        target: "fairpoll",
        parent: None,
        REBALANCE,
        messaging.system = SYSTEM,
        messaging.consumer.group.name = group,
        messaging.client.id = client,
        fairpoll.rebalance = kind,
        fairpoll.partitions = partitions,
    );
    after_its_cause(span)
}

/// Follows from the span that it began in, and is not in it: that would be open until this one ends, for as long
/// as a coordinator takes.
fn after_its_cause(span: Span) -> Span {
    span.follows_from(Span::current());
    span
}

pub(crate) fn stop(group: &str) -> Span {
    tracing::debug_span!(
        target: "fairpoll",
        STOP,
        messaging.system = SYSTEM,
        messaging.consumer.group.name = group,
        fairpoll.committed = Empty,
        fairpoll.closed = Empty,
        fairpoll.outstanding_batches = Empty,
    )
}

/// A stop is over.
pub(crate) fn stopped(span: &Span, report: &StopReport) {
    span.record("fairpoll.committed", report.committed);
    span.record("fairpoll.closed", report.closed);
    span.record("fairpoll.outstanding_batches", report.outstanding_batches);
}
