//! An explanation as text and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use fairpoll::{Cost, Explanation, FetchBuffer, HandleExplanation, Origin, Setting};
use serde_json::{Value, json};

use crate::cli::table::table;

/// For people.
pub(super) fn text(path: &Path, explanation: &Explanation) -> String {
    let mut out = String::new();
    let resolution = &explanation.resolution;
    let (handles, lanes) = (explanation.handles.len(), explanation.lanes);
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        out,
        "{}: {} (requested: {}; {})",
        path.display(),
        resolution.actual,
        resolution.requested,
        resolution.reason
    );
    let _ = writeln!(out, "\nhandles: {handles}, lanes: {lanes}");
    table(&mut out, explanation.handles.iter().map(handle_row));
    let _ = writeln!(out, "\ntopics: {}", explanation.topics.len());
    table(
        &mut out,
        explanation.topics.iter().map(|topic| {
            [
                topic.name.clone(),
                format!("lane {}", topic.lane),
                format!("weight {}", topic.weight),
                format!("the lane has {} records of a poll at most", topic.records_per_poll),
            ]
        }),
    );
    let _ = writeln!(out, "\nsettings");
    table(&mut out, explanation.settings.iter().map(setting_row));
    if let Some(first) = explanation.handles.first() {
        let others =
            if handles > 1 { " (the first handle; the others' client.id and group.id differ)" } else { "" };
        let _ = writeln!(out, "\nwhat librdkafka is told{others}");
        table(&mut out, first.properties.iter().map(setting_row));
    }
    let _ = writeln!(out, "\npredicted cost, brokers: {}", explanation.cost.brokers);
    table(&mut out, cost_rows(&explanation.cost, handles as u64, lanes as u64));
    if let Some(buffer) = &explanation.fetch_buffer {
        let FetchBuffer { partitions_per_topic, .. } = buffer;
        let _ =
            writeln!(out, "\nmemory of records, with {partitions_per_topic} partitions of each topic here");
        table(&mut out, buffer_rows(buffer));
    }
    if !explanation.warnings.is_empty() {
        let _ = writeln!(out, "\nwarnings");
        for warning in &explanation.warnings {
            let _ = writeln!(out, "  {warning}");
        }
    }
    out
}

fn handle_row(handle: &HandleExplanation) -> [String; 4] {
    let topics = match handle.topics.as_slice() {
        [only] => format!("topic {only}"),
        several => format!("{} topics", several.len()),
    };
    [
        handle.client_id.clone(),
        format!("group {}", handle.group_id),
        format!("{topics}, lanes: {}", handle.lanes),
        handle.protocol.to_owned(),
    ]
}

fn setting_row(setting: &Setting) -> [String; 3] {
    [setting.name.clone(), setting.value.clone(), setting.origin.to_string()]
}

/// What, how much, and how that is made up.
fn cost_rows(cost: &Cost, handles: u64, lanes: u64) -> [[String; 3]; 5] {
    let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
    let Cost { brokers, queued_bytes_max: queued, answers_bytes_max: answers, .. } = *cost;
    [
        ("threads", cost.threads.to_string(), format!("{handles} × (3 + {brokers})")),
        ("connections", cost.connections.to_string(), format!("{handles} × (1 + {brokers})")),
        (
            "descriptors, at most",
            cost.descriptors.to_string(),
            format!("{handles} × (16 + 3 × {})", brokers.saturating_sub(1)),
        ),
        ("queued records, at most", mib(queued), format!("lanes: {lanes} × {}", mib(queued / lanes.max(1)))),
        (
            "answers under way, at most",
            mib(answers),
            format!("{handles} × {brokers} × {}", mib(answers / (handles * brokers).max(1))),
        ),
    ]
    .map(|(what, much, made_up)| [what.to_owned(), much, made_up])
}

/// What was allowed, what is needed, and what is used of it.
fn buffer_rows(buffer: &FetchBuffer) -> [[String; 2]; 3] {
    let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
    [
        ("budget", mib(buffer.budget_bytes)),
        ("smallest possible budget", mib(buffer.minimum_bytes)),
        ("predicted, at most", mib(buffer.predicted_bytes_max)),
    ]
    .map(|(what, much)| [what.to_owned(), much])
}

/// For programs.
pub(super) fn json(path: &Path, explanation: &Explanation) -> Value {
    let resolution = &explanation.resolution;
    let cost = &explanation.cost;
    json!({
        "file": path.display().to_string(),
        "requested_mode": resolution.requested.to_string(),
        "actual_mode": resolution.actual.to_string(),
        "reason": resolution.reason.to_string(),
        "lanes": explanation.lanes,
        "handles": explanation.handles.iter().map(|handle| json!({
            "client_id": handle.client_id,
            "group_id": handle.group_id,
            "protocol": handle.protocol,
            "topics": handle.topics,
            "lanes": handle.lanes,
            "properties": settings(&handle.properties),
        })).collect::<Vec<_>>(),
        "topics": explanation.topics.iter().map(|topic| json!({
            "name": topic.name,
            "weight": topic.weight,
            "lane": topic.lane,
            "records_per_poll": topic.records_per_poll,
        })).collect::<Vec<_>>(),
        "settings": settings(&explanation.settings),
        "cost": {
            "brokers": cost.brokers,
            "threads": cost.threads,
            "connections": cost.connections,
            "descriptors_max": cost.descriptors,
            "queued_bytes_max": cost.queued_bytes_max,
            "answers_bytes_max": cost.answers_bytes_max,
        },
        "fetch_buffer": explanation.fetch_buffer.map(|buffer| json!({
            "budget_bytes": buffer.budget_bytes,
            "minimum_bytes": buffer.minimum_bytes,
            "predicted_bytes_max": buffer.predicted_bytes_max,
            "partitions_per_topic": buffer.partitions_per_topic,
        })),
        "warnings": explanation.warnings,
    })
}

fn settings(settings: &[Setting]) -> Vec<Value> {
    let one = |setting: &Setting| {
        json!({
            "name": setting.name,
            "value": setting.value,
            "origin": setting.origin.to_string(),
            "line": line(&setting.origin),
        })
    };
    settings.iter().map(one).collect()
}

/// The line of the file that said it.
fn line(origin: &Origin) -> Option<u32> {
    match origin {
        Origin::File { line, .. } | Origin::Aiokafka { line, .. } => Some(*line),
        _ => None,
    }
}
