//! A survey of groups as text and as JSON.

use fairpoll::migration::{Conflict, Migration, MigrationError, PartitionMove, Step};
use serde_json::{Value, json};

use crate::cli::table::table;

/// What the survey found, before anything was written.
pub(super) struct Found {
    partitions: Vec<PartitionMove>,
    refused: Option<String>,
}

impl Found {
    pub(super) fn of(migration: &Migration, refused: Option<&MigrationError>) -> Self {
        Self { partitions: migration.partitions().to_vec(), refused: refused.map(ToString::to_string) }
    }
}

/// For people.
pub(super) fn text(found: &Found) -> String {
    let mut out = String::new();
    let offset = |offset: Option<i64>| offset.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
    let head = ["topic", "partition", "from group", "offset", "to group", "offset", "log", "what happens"]
        .map(str::to_owned);
    let rows = found.partitions.iter().map(|moved| {
        [
            moved.topic.clone(),
            moved.partition.to_string(),
            moved.source_group.clone(),
            offset(moved.pair.source),
            moved.target_group.clone(),
            offset(moved.pair.target),
            format!("{}–{}", moved.pair.log_start, moved.pair.log_end),
            moved.to_string(),
        ]
    });
    table(&mut out, std::iter::once(head).chain(rows));
    out.truncate(out.trim_end().len());
    out
}

/// For programs.
pub(super) fn json(found: &Found, outcome: &Result<usize, MigrationError>) -> Value {
    let partitions: Vec<Value> = found.partitions.iter().map(partition).collect();
    json!({
        "partitions": partitions,
        "refused": found.refused,
        "written": outcome.as_ref().ok(),
        "error": outcome.as_ref().err().map(ToString::to_string),
    })
}

fn partition(moved: &PartitionMove) -> Value {
    let (step, write) = match moved.step {
        Step::NothingCommitted => ("nothing_committed", None),
        Step::AlreadyThere => ("already_there", None),
        Step::Write { offset } => ("write", Some(offset)),
        Step::Conflict(Conflict::TargetAhead { .. }) => ("target_ahead", None),
        Step::Conflict(Conflict::OnlyTarget) => ("only_target", None),
        Step::Conflict(Conflict::Overtaken { .. }) => ("overtaken", None),
        Step::Conflict(Conflict::BeyondLog { .. }) => ("beyond_log", None),
    };
    json!({
        "topic": moved.topic,
        "partition": moved.partition,
        "source_group": moved.source_group,
        "source_offset": moved.pair.source,
        "target_group": moved.target_group,
        "target_offset": moved.pair.target,
        "log_start": moved.pair.log_start,
        "log_end": moved.pair.log_end,
        "step": step,
        "write_offset": write,
        "words": moved.to_string(),
    })
}
