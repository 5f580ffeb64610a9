//! One consumer of all topics, without Fairpoll, behind the worker protocol.
//!
//! ```text
//! peer-librdkafka raw        rd_kafka_consume_batch_queue on the consumer's queue
//! peer-librdkafka plain      rust-rdkafka's BaseConsumer::poll, record by record
//! ```
//!
//! Properties of the specification come after librdkafka's own defaults; nothing else is tuned.

mod course;
mod plain;
mod raw;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fairpoll_judge::protocol::{PROTOCOL_VERSION, WorkerLine, WorkerSpec};
use fairpoll_sim::event_log::monotonic_ns;
use rdkafka::ClientConfig;

use self::course::{Course, Ranges};

/// How long a poll waits at once: in between, lines leave in time and the order to stop is seen.
const SLICE: Duration = Duration::from_millis(40);

/// Why a peer could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("usage: peer-librdkafka raw|plain, with a specification on standard input")]
    Usage,
    #[error("cannot read the specification: {0}")]
    Spec(#[from] serde_json::Error),
    #[error("the specification is for protocol version {0}; this worker speaks {PROTOCOL_VERSION}")]
    Version(u32),
    #[error("standard input or output: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Kafka(#[from] rdkafka::error::KafkaError),
    #[error("librdkafka: {0}")]
    Refused(String),
}

/// A client library behind the loop that all share.
trait Peer {
    /// Waits up to `wait` for records, and takes up to `most`.
    fn poll(&mut self, most: usize, wait: Duration, into: &mut Ranges) -> Result<(), PeerError>;
    /// Commits what was processed, without waiting for the answer.
    fn commit(&mut self) -> Result<(), PeerError>;
    /// Commits what was processed, waits for every answer, and leaves the group.
    fn close(self: Box<Self>) -> Result<(), PeerError>;
}

/// Runs the worker that the first argument names. Problems go to standard error.
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard output belongs to the protocol.
            let _ = writeln!(io::stderr(), "peer-librdkafka: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), PeerError> {
    let api = std::env::args().nth(1).ok_or(PeerError::Usage)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let spec: WorkerSpec = serde_json::from_str(&line)?;
    if spec.protocol_version != PROTOCOL_VERSION {
        return Err(PeerError::Version(spec.protocol_version));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        raised.store(true, Ordering::Relaxed);
    });

    let course = Arc::new(Course::new(&spec));
    let start_ns = monotonic_ns();
    let (peer, client): (Box<dyn Peer>, _) = match api.as_str() {
        "raw" => (Box::new(raw::Raw::start(&spec, &config(&spec), &course)?), "librdkafka, batches"),
        "plain" => (Box::new(plain::Plain::start(&spec, &config(&spec), &course)?), "rust-rdkafka, poll"),
        _ => return Err(PeerError::Usage),
    };
    course.write_now(&WorkerLine::Hello {
        protocol_version: PROTOCOL_VERSION,
        start_ns,
        client: format!("{client} {}", rdkafka::util::get_rdkafka_version().1),
        actual_mode: None,
        reason: None,
        handles: Some(1),
    })?;
    consume(&spec, &stop, &course, peer)
}

fn config(spec: &WorkerSpec) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &spec.bootstrap_servers)
        .set("group.id", &spec.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest");
    for (name, value) in &spec.properties {
        config.set(name, value);
    }
    config
}

/// Polls, works and commits until the order to stop comes.
fn consume(
    spec: &WorkerSpec,
    stop: &AtomicBool,
    course: &Course,
    mut peer: Box<dyn Peer>,
) -> Result<(), PeerError> {
    let most = usize::try_from(spec.max_records.unwrap_or(spec.max_poll_records)).unwrap_or(usize::MAX);
    let (mut seq, mut empty_polls) = (0, 0);
    let mut ranges = Ranges::default();
    while !stop.load(Ordering::Relaxed) {
        let t_begin_ns = monotonic_ns();
        let until = Instant::now() + Duration::from_millis(spec.poll_timeout_ms);
        while ranges.records() == 0 && !stop.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            peer.poll(most, left.min(SLICE), &mut ranges)?;
            course.flush_if_due()?;
            if left.is_zero() {
                break;
            }
        }
        let records = ranges.records();
        if records == 0 {
            empty_polls += 1;
            continue;
        }
        seq += 1;
        let t_return_ns = monotonic_ns();
        let delivered = ranges.take();
        let ends = course.deliver(seq, t_begin_ns, t_return_ns, delivered)?;
        let cost = spec.processing;
        #[expect(clippy::cast_precision_loss, reason = "a poll has far fewer than 2^52 records")]
        let us = cost.per_poll_ms * 1000.0 + cost.per_record_us * records as f64;
        if us > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(us / 1e6));
        }
        course.processed(seq, ends)?;
        if spec.commit_every_polls > 0 && seq % u64::from(spec.commit_every_polls) == 0 {
            peer.commit()?;
        }
    }
    peer.close()?;
    course.write_now(&WorkerLine::Bye {
        t_ns: monotonic_ns(),
        polls: seq,
        empty_polls: Some(empty_polls),
    })?;
    Ok(())
}
