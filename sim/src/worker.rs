//! `fairpoll worker`: Fairpoll's own consumer behind the worker protocol.
//!
//! Reads one [`WorkerSpec`] from standard input, consumes until standard input is closed, and tells
//! what it does on standard output. It knows nothing of scenarios or of the judge's verdicts.

mod failed;
pub mod lines;
mod ranges;

use std::io::{self, BufRead};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairpoll::{Batch, Config, Consumer, ConsumerEvent, GroupStrategy, ModeRequest, PollError, Quota};
use fairpoll_judge::protocol::{
    PROTOCOL_VERSION, PartitionOffset, QuotaRange, QuotaRule, RecordPlace, TopicPartition, WorkerLine,
    WorkerSpec,
};
use tokio::sync::Notify;
use tokio::time;

use crate::event_log::monotonic_ns;
use crate::exit_code::ExitCode;
use crate::run::posix::renounce_huge_pages;

use self::failed::{Failed, place};
use self::lines::Lines;
use self::ranges::Contents;

/// Why a worker could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("cannot read the specification from standard input: {0}")]
    Spec(String),
    #[error("the specification is for protocol version {found}; this worker speaks {PROTOCOL_VERSION}")]
    Version { found: u32 },
    #[error("{what} {value:?} is unknown")]
    Unknown { what: &'static str, value: String },
    #[error(transparent)]
    Start(#[from] fairpoll::StartError),
    #[error(transparent)]
    Poll(#[from] PollError),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// Runs a worker to its end. Problems go to standard error.
#[must_use]
pub fn main() -> ExitCode {
    // librdkafka has four threads per client, and `multi` a client per topic.
    if let Err(error) = renounce_huge_pages() {
        tracing::warn!("worker: huge pages stay: {error}");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match read_spec().and_then(|(spec, stop)| runtime.block_on(work(&spec, &stop))) {
        Ok(()) => ExitCode::Pass,
        Err(error @ (WorkerError::Spec(_) | WorkerError::Version { .. } | WorkerError::Unknown { .. })) => {
            failed(&error);
            ExitCode::Usage
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    tracing::error!("worker: {error}");
    ExitCode::Infrastructure
}

/// The first line of standard input, and a note that is raised at its end. Reading goes on, on a
/// thread of its own, because its end is the order to stop.
fn read_spec() -> Result<(WorkerSpec, Arc<Notify>), WorkerError> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|error| WorkerError::Spec(error.to_string()))?;
    let spec: WorkerSpec =
        serde_json::from_str(&line).map_err(|error| WorkerError::Spec(error.to_string()))?;
    if spec.protocol_version != PROTOCOL_VERSION {
        return Err(WorkerError::Version { found: spec.protocol_version });
    }
    let stop = Arc::new(Notify::new());
    let raised = Arc::clone(&stop);
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            // Whatever else comes is not for this version; only the end counts.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            raised.notify_one();
        })
        .map_err(|error| WorkerError::Spec(error.to_string()))?;
    Ok((spec, stop))
}

/// What the engine is told by a specification.
pub(crate) fn config(spec: &WorkerSpec) -> Result<Config, WorkerError> {
    let mut config = Config::new(
        spec.bootstrap_servers.clone(),
        spec.group_id.clone(),
        spec.topics.iter().map(|topic| topic.name.clone()),
    )
    .max_poll_records(spec.max_poll_records)
    // The backlog is consumed from its beginning; a scenario's own choice comes after it.
    .property("auto.offset.reset", "earliest");
    for topic in &spec.topics {
        config = config.weight(&topic.name, topic.weight).priority(&topic.name, topic.priority);
    }
    if let Some(mib) = spec.fetch_buffer_mib {
        let partitions = spec.topics.iter().map(|topic| topic.partitions).max().unwrap_or(1);
        config = config.fetch_buffer_mib(mib).fetch_buffer_partitions(partitions.max(1));
    }
    if let Some(polls) = spec.starvation_guard_polls {
        config = config.starvation_guard(polls);
    }
    if let Some(QuotaRule { lag_proportional: QuotaRange { min, max } }) = spec.quota {
        config = config.quota(Quota::LagProportional { min, max });
    }
    if let Some(mode) = &spec.mode {
        let unknown = |_| WorkerError::Unknown { what: "mode", value: mode.clone() };
        config = config.mode(mode.parse::<ModeRequest>().map_err(unknown)?);
    }
    if let Some(strategy) = &spec.group_strategy {
        let unknown = |_| WorkerError::Unknown { what: "group strategy", value: strategy.clone() };
        config = config.group_strategy(strategy.parse::<GroupStrategy>().map_err(unknown)?);
    }
    for (name, value) in &spec.properties {
        config = config.property(name, value);
    }
    Ok(config)
}

async fn work(spec: &WorkerSpec, stop: &Notify) -> Result<(), WorkerError> {
    let mut lines = Lines::new(spec.unbuffered);
    let start_ns = monotonic_ns();
    let mut consumer = Consumer::start(config(spec)?)?;
    let status = consumer.status();
    lines.write_now(&WorkerLine::Hello {
        protocol_version: PROTOCOL_VERSION,
        start_ns,
        client: format!(
            "fairpoll {} (librdkafka {})",
            env!("CARGO_PKG_VERSION"),
            fairpoll::librdkafka_version()
        ),
        actual_mode: Some(status.resolution.actual.to_string()),
        reason: Some(status.resolution.reason.to_string()),
        handles: u32::try_from(status.handles).ok(),
    })?;
    let outcome = consume(spec, stop, &mut consumer, &mut lines).await;
    let report = consumer.stop(Duration::from_millis(spec.stop_grace_ms)).await;
    write_events(&mut consumer, &mut lines)?;
    let message = match &outcome {
        Err(error) => Some((error.to_string(), true)),
        Ok(_) if !report.errors.is_empty() => {
            Some((format!("on stopping: {}", report.errors.join("; ")), false))
        }
        Ok(_) => None,
    };
    if let Some((message, fatal)) = message {
        lines.write_now(&WorkerLine::Error { t_ns: monotonic_ns(), topic: None, message, fatal })?;
    }
    let counts = outcome?;
    lines.write_now(&WorkerLine::Bye {
        t_ns: monotonic_ns(),
        polls: counts.polls,
        empty_polls: Some(counts.empty_polls),
    })?;
    Ok(())
}

#[derive(Debug, Default)]
struct Counts {
    polls: u64,
    empty_polls: u64,
}

/// Polls, works and commits until the order to stop comes.
async fn consume(
    spec: &WorkerSpec,
    stop: &Notify,
    consumer: &mut Consumer,
    lines: &mut Lines,
) -> Result<Counts, WorkerError> {
    let mut counts = Counts::default();
    let mut failed = Failed::default();
    loop {
        retry(&mut failed, consumer, lines)?;
        let t_begin_ns = monotonic_ns();
        let batch = tokio::select! {
            // A poll that is given up loses nothing, and there is nothing more to deliver.
            biased;
            () = stop.notified() => break,
            batch = poll(spec, consumer, lines) => batch?,
        };
        let t_return_ns = monotonic_ns();
        write_events(consumer, lines)?;
        write_errors(&batch, lines)?;
        if batch.is_empty() {
            counts.empty_polls += 1;
            continue;
        }
        counts.polls += 1;
        let seq = counts.polls;
        let Contents { ranges, poison } = ranges::of(&batch);
        lines.write(&WorkerLine::Poll { seq, t_begin_ns, t_return_ns, ranges })?;
        work_on(spec, batch.len(), lines).await?;
        let t_ns = monotonic_ns();
        let failing = failed.sort_out(&poison, t_ns);
        for RecordPlace { topic, partition, offset } in &failing {
            let message = format!("processing the record at [{partition}] offset {offset} fails");
            lines.write(&WorkerLine::Error { t_ns, topic: Some(topic.clone()), message, fatal: false })?;
        }
        if failing.is_empty() {
            consumer.mark_processed(&batch);
        } else {
            let processed = batch.records().filter(|record| !failing.contains(&place(record)));
            processed.for_each(|record| consumer.ack(record));
        }
        lines.write(&WorkerLine::Processed { seq, t_ns, failed: failing })?;
        if spec.commit_every_polls > 0 && seq % u64::from(spec.commit_every_polls) == 0 {
            consumer.commit_processed();
        }
    }
    retry(&mut failed, consumer, lines)?;
    Ok(counts)
}

/// Processing what failed is tried again.
fn retry(failed: &mut Failed, consumer: &mut Consumer, lines: &mut Lines) -> Result<(), WorkerError> {
    let t_ns = monotonic_ns();
    let records = failed.retry(t_ns, consumer);
    if !records.is_empty() {
        lines.write(&WorkerLine::Recovered { t_ns, records })?;
    }
    Ok(())
}

/// A poll during which buffered lines still leave in time: it is given up for their sake and goes on where it
/// was.
async fn poll(spec: &WorkerSpec, consumer: &mut Consumer, lines: &mut Lines) -> Result<Batch, WorkerError> {
    if let Some(wait_ms) = spec.complete_wait_ms {
        return poll_complete(Duration::from_millis(wait_ms), consumer, lines).await;
    }
    let deadline = Instant::now() + Duration::from_millis(spec.poll_timeout_ms);
    loop {
        lines.flush_if_due()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let batch = time::timeout(lines::MOST_DELAY / 2, consumer.get_many(left, spec.max_records)).await;
        write_events(consumer, lines)?;
        if let Ok(batch) = batch {
            return Ok(batch?);
        }
    }
}

/// The same for a record of each topic.
async fn poll_complete(
    max_wait: Duration,
    consumer: &mut Consumer,
    lines: &mut Lines,
) -> Result<Batch, WorkerError> {
    let deadline = Instant::now() + max_wait;
    loop {
        lines.flush_if_due()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let input = time::timeout(lines::MOST_DELAY / 2, consumer.get_complete(left)).await;
        write_events(consumer, lines)?;
        if let Ok(input) = input {
            return Ok(input?.batch);
        }
    }
}

/// The application's injected work: on the polling task, as a service does it.
async fn work_on(spec: &WorkerSpec, records: usize, lines: &mut Lines) -> Result<(), WorkerError> {
    let cost = spec.processing;
    #[expect(clippy::cast_precision_loss, reason = "a poll has far fewer than 2^52 records")]
    let us = cost.per_poll_ms * 1000.0 + cost.per_record_us * records as f64;
    lines.flush_if_due()?;
    if us > 0.0 {
        // A thread's sleep, not the runtime's: that one rounds up to whole milliseconds.
        std::thread::sleep(Duration::from_secs_f64(us / 1e6));
    }
    Ok(())
}

fn write_errors(batch: &Batch, lines: &mut Lines) -> Result<(), WorkerError> {
    for error in batch.errors() {
        lines.write_now(&WorkerLine::Error {
            t_ns: monotonic_ns(),
            topic: error.topic.clone(),
            message: error.words(),
            fatal: error.fatal,
        })?;
    }
    Ok(())
}

fn write_events(consumer: &mut Consumer, lines: &mut Lines) -> Result<(), WorkerError> {
    for event in consumer.take_events() {
        let t_ns = monotonic_ns();
        match event {
            ConsumerEvent::Assigned { generation, partitions } => {
                lines.write_now(&WorkerLine::Assigned { t_ns, generation, partitions: named(partitions) })?;
            }
            ConsumerEvent::Revoked { generation, partitions, lost } => {
                let partitions = named(partitions);
                lines.write_now(&WorkerLine::Revoked { t_ns, generation, partitions, lost })?;
            }
            ConsumerEvent::CommitSent { id, offsets } => {
                let offsets = offsets.into_iter().map(place_of).collect();
                lines.write(&WorkerLine::CommitSent { id, t_ns, offsets })?;
            }
            ConsumerEvent::Degraded { to, resource, used, limit, unprocessed, .. } => {
                let unprocessed = unprocessed.into_iter().map(place_of).collect();
                let (resource, actual_mode) = (resource.name().to_owned(), to.to_string());
                let line = WorkerLine::Degraded { t_ns, resource, used, limit, actual_mode, unprocessed };
                lines.write_now(&line)?;
            }
            ConsumerEvent::CommitResult { id, error } => {
                lines.write(&WorkerLine::CommitResult { id, t_ns, error })?
            }
            _ => {}
        }
    }
    Ok(())
}

fn place_of((topic, partition, offset): (String, i32, i64)) -> PartitionOffset {
    PartitionOffset { topic, partition: number(partition), offset }
}

fn named(partitions: Vec<(String, i32)>) -> Vec<TopicPartition> {
    partitions
        .into_iter()
        .map(|(topic, partition)| TopicPartition { topic, partition: number(partition) })
        .collect()
}

/// Kafka's partition numbers are signed on the wire and never negative here.
fn number(partition: i32) -> u32 {
    partition.unsigned_abs()
}
