//! One life of a mode's consumer: its process, from start to exit, and what it says.

use std::path::Path;
use std::time::{Duration, Instant};

use fairpoll_judge::event::Body;
use fairpoll_judge::protocol::{PROTOCOL_VERSION, WorkerLine};

use super::interrupt;
use super::posix::Exit;
use super::sampler::Sampler;
use super::spec::{Part, STOP_GRACE_MS};
use super::stage::{Stage, StageError};
use super::tally::Tally;
use super::worker_process::{Incoming, TopicNames, WorkerProcess};
use crate::event_log::EventSink;
use crate::exit_code::ExitCode;

// How late the run may notice that something is due; also how often it wakes up to look.
const SLICE: Duration = Duration::from_millis(5);
// An interpreter with a heavy client library takes seconds on a loaded machine; a program that
// does not speak the protocol at all should not cost a whole deadline.
const HELLO_WITHIN: Duration = Duration::from_secs(30);
// Beyond the grace the worker was told: its own clock starts when it reads the end of its input.
const STOP_MARGIN: Duration = Duration::from_secs(2);
// For a worker that nobody measures any more.
const ABORT_GRACE: Duration = Duration::from_millis(500);

/// Why a run does not go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Ctrl-C.
    Interrupted,
    /// Time is up; what was missing.
    Deadline(String),
    /// Worker, broker or producer failed.
    Failed {
        /// What happened, for people.
        what: String,
        /// Whose fault it is.
        exit: ExitCode,
    },
}

impl From<StageError> for Trouble {
    fn from(StageError { what, exit }: StageError) -> Self {
        Self::Failed { what, exit }
    }
}

/// Whether a life is measured or only prepares the ground for one that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Consumes, commits and stops; audited, not timed.
    Prepares,
    /// Audited, timed and sampled.
    Measured,
}

/// A running worker and its story so far.
///
/// [`Life::start`], [`Life::listen`] for as long as it shall go on, then [`Life::finish`].
/// Dropped before that, it stops the worker with little patience.
#[derive(Debug)]
pub(crate) struct Life<'a> {
    part: &'a Part<'a>,
    sink: &'a EventSink,
    number: u32,
    process: WorkerProcess,
    sampler: Option<Sampler>,
    started: Instant,
    said_hello: bool,
    said_bye: bool,
    exit: Option<Exit>,
}

impl<'a> Life<'a> {
    /// Starts the worker; nothing has been heard of it yet.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(
        part: &'a Part<'a>,
        command: &[String],
        log: &Path,
        stage: &dyn Stage,
        sink: &'a EventSink,
        (number, purpose): (u32, Purpose),
    ) -> Result<Self, Trouble> {
        let names = part.header.topics.iter().map(|topic| topic.name.as_str());
        let names = TopicNames::new(&part.prefix, names);
        let process =
            WorkerProcess::spawn(command, log, &part.spec(stage.access()), names).map_err(|error| {
                let what = format!("the worker of {}: {error}", part.describe());
                Trouble::Failed { what, exit: ExitCode::Infrastructure }
            })?;
        let pid = process.pid();
        let measured = purpose == Purpose::Measured;
        sink.emit(Body::WorkerStarted { life: number, instance: 1, pid: pid.unsigned_abs(), measured });
        let sampler = measured.then(|| Sampler::start(pid, number, stage.broker_ports(), sink.clone()));
        Ok(Self {
            part,
            sink,
            number,
            process,
            sampler,
            started: Instant::now(),
            said_hello: false,
            said_bye: false,
            exit: None,
        })
    }

    /// Writes down what the worker says for a moment (some ms).
    ///
    /// # Errors
    /// If it says something that it must not, ends, or somebody presses Ctrl-C.
    pub(crate) fn listen(&mut self, tally: &mut Tally) -> Result<(), Trouble> {
        let until = Instant::now() + SLICE;
        loop {
            if interrupt::requested() {
                return Err(Trouble::Interrupted);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.process.next(left) {
                Some(Incoming::Line { t_ns, line }) => self.take(t_ns, line, tally)?,
                Some(Incoming::Bad(error)) => return Err(self.failed(&error.to_string())),
                Some(Incoming::Closed) => return Err(self.ended_early()),
                // A descendant may hold the pipe open behind a dead worker.
                None if self.process.has_ended() => return Err(self.ended_early()),
                None if !self.said_hello && self.started.elapsed() > HELLO_WITHIN => {
                    let what = format!(
                        "it did not say hello within {} s; does it speak the worker protocol (docs/worker-protocol.md)?",
                        HELLO_WITHIN.as_secs()
                    );
                    return Err(self.failed(&what));
                }
                None => return Ok(()),
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    /// Asks the worker to stop and waits until it is gone.
    ///
    /// # Errors
    /// If it does not commit, say goodbye and exit with 0 in time.
    pub(crate) fn finish(mut self, tally: &mut Tally) -> Result<(), Trouble> {
        self.process.close_stdin();
        let until = Instant::now() + Duration::from_millis(STOP_GRACE_MS) + STOP_MARGIN;
        loop {
            if interrupt::requested() {
                return Err(Trouble::Interrupted);
            }
            match self.process.next(SLICE * 4) {
                Some(Incoming::Line { t_ns, line }) => self.take(t_ns, line, tally)?,
                Some(Incoming::Bad(error)) => return Err(self.failed(&error.to_string())),
                Some(Incoming::Closed) => break,
                None if self.process.has_ended() || Instant::now() >= until => break,
                None => {}
            }
        }
        let exit = self.end(until.saturating_duration_since(Instant::now()));
        if exit.code == Some(0) && self.said_bye {
            return Ok(());
        }
        let what = match (self.said_bye, exit.signal) {
            (false, Some(libc::SIGTERM | libc::SIGKILL)) if Instant::now() >= until => {
                format!("it did not stop within {STOP_GRACE_MS} ms after its standard input was closed")
            }
            (false, _) => format!("it {} without saying bye", exit.describe()),
            (true, _) => format!("it {} after its bye", exit.describe()),
        };
        Err(self.failed(&what))
    }

    fn take(&mut self, t_ns: u64, line: WorkerLine, tally: &mut Tally) -> Result<(), Trouble> {
        let problem = match &line {
            WorkerLine::Hello { .. } if self.said_hello => Some("it said hello twice".to_owned()),
            WorkerLine::Hello { protocol_version, .. } => {
                self.said_hello = true;
                (*protocol_version != PROTOCOL_VERSION).then(|| {
                    format!("it speaks version {protocol_version} of the worker protocol; this harness speaks {PROTOCOL_VERSION}")
                })
            }
            _ if !self.said_hello => Some("its first line is not hello (docs/worker-protocol.md)".to_owned()),
            _ if self.said_bye => Some("it spoke on after its bye".to_owned()),
            WorkerLine::Assigned { partitions, .. } => {
                tally.assigned(partitions);
                None
            }
            WorkerLine::Revoked { partitions, .. } => {
                tally.revoked(partitions);
                None
            }
            WorkerLine::Poll { ranges, .. } => {
                ranges.iter().for_each(|range| tally.delivered(range));
                None
            }
            WorkerLine::Error { fatal: true, message, .. } => Some(format!("it gave up: {message}")),
            WorkerLine::Bye { .. } => {
                self.said_bye = true;
                None
            }
            WorkerLine::Error { .. }
            | WorkerLine::Processed { .. }
            | WorkerLine::CommitSent { .. }
            | WorkerLine::CommitResult { .. } => None,
        };
        self.sink.emit_at(t_ns, Body::Worker { life: self.number, line });
        problem.map_or(Ok(()), |what| Err(self.failed(&what)))
    }

    fn ended_early(&mut self) -> Trouble {
        // The pipe closes an instant before the process is gone.
        let lingered = {
            let until = Instant::now() + STOP_MARGIN;
            while !self.process.has_ended() && Instant::now() < until {
                std::thread::sleep(SLICE);
            }
            !self.process.has_ended()
        };
        let exit = self.end(Duration::ZERO);
        let how = match (lingered, self.said_bye) {
            (true, _) => "closed its standard output in mid-run".to_owned(),
            (false, true) => format!("said bye in mid-run and {}", exit.describe()),
            (false, false) => format!("{} in mid-run", exit.describe()),
        };
        self.failed(&format!("it {how}"))
    }

    fn failed(&self, what: &str) -> Trouble {
        let mut text = format!("the worker of {} failed: {what}", self.part.describe());
        let last_words = self.process.last_words();
        if !last_words.is_empty() {
            text.push_str("\nits last words on standard error:");
            for line in last_words.lines() {
                text.push_str("\n  ");
                text.push_str(line);
            }
        }
        Trouble::Failed { what: text, exit: ExitCode::Infrastructure }
    }

    fn end(&mut self, grace: Duration) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        let ended_by_itself = self.process.has_ended() && !self.said_bye;
        let exit = self.process.stop(grace);
        if let Some(flaw) = self.sampler.take().and_then(|sampler| sampler.stop().flaw()) {
            self.sink.emit(Body::Flaw { what: flaw });
        }
        let Exit { code, signal, cpu_ms } = exit;
        let expected = !ended_by_itself;
        self.sink.emit(Body::WorkerExited {
            life: self.number,
            code,
            signal,
            cpu_ms,
            expected,
            by_fault: false,
        });
        self.exit = Some(exit);
        exit
    }
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        self.end(ABORT_GRACE);
    }
}
