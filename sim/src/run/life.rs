//! One process of a mode's consumer, from start to exit, and what it says.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use fairpoll_judge::event::Body;
use fairpoll_judge::protocol::{PROTOCOL_VERSION, WorkerLine};

use super::interrupt;
use super::posix::{self, Exit};
use super::sampler::Sampler;
use super::spec::{Instance, Part, STOP_GRACE_MS};
use super::stage::{Access, StageError};
use super::tally::Tally;
use super::worker_process::{Incoming, TopicNames, WorkerProcess};
use crate::event_log::EventSink;
use crate::exit_code::ExitCode;

/// How late the run may notice that something is due; also how often it wakes up to look.
pub(crate) const SLICE: Duration = Duration::from_millis(5);
// An interpreter with a heavy client library takes seconds on a loaded machine; a program that
// does not speak the protocol at all should not cost a whole deadline.
const HELLO_WITHIN: Duration = Duration::from_secs(30);
// Beyond the grace the worker was told: its own clock starts when it reads the end of its input.
const STOP_MARGIN: Duration = Duration::from_secs(2);
// A process that is about to run out still has to open the files that tell it so.
const DESCRIPTOR_HEADROOM_PCT: u64 = 5;
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

/// Whether a process is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It goes on.
    There,
    /// It said goodbye and ended well.
    Gone,
}

/// Whether a life is measured or only prepares the ground for one that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Consumes, commits and stops; audited, not timed.
    Prepares,
    /// Audited, timed and sampled.
    Measured,
}

/// Which process of the run this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Who {
    /// Counts the processes of the run, from 1.
    pub(crate) life: u32,
    /// Which of the consumer's instances, from 1.
    pub(crate) instance: u32,
    /// What it is for.
    pub(crate) purpose: Purpose,
}

/// A running worker and its story so far.
///
/// [`Life::start`], [`Life::listen`] for as long as it shall go on, then [`Life::ask_to_stop`] and
/// [`Life::listen`] until it has ended. [`Life::kill`] is for faults. Dropped before its end, it
/// stops the worker with little patience.
#[derive(Debug)]
pub(crate) struct Life<'a> {
    part: &'a Part<'a>,
    sink: &'a EventSink,
    who: Who,
    process: WorkerProcess,
    sampler: Option<Sampler>,
    started: Instant,
    said_hello: bool,
    said_bye: bool,
    /// Until when it may take to stop.
    stop_until: Option<Instant>,
    /// When it was first seen to have ended; its standard output may outlive it.
    ended_at: Option<Instant>,
    exit: Option<Exit>,
    /// Its own limit, while a fault has set another.
    descriptors_before: Option<u64>,
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
        (access, broker_ports): (Access, &BTreeSet<u16>),
        sink: &'a EventSink,
        who: Who,
    ) -> Result<Self, Trouble> {
        let names = part.header.topics.iter().map(|topic| topic.name.as_str());
        let names = TopicNames::new(&part.prefix, names);
        let Who { life, instance, purpose } = who;
        let spec = part.spec(access, Instance(instance));
        let process = WorkerProcess::spawn(command, log, &spec, names).map_err(|error| {
            let what = format!("the worker of {}: {error}", part.describe());
            Trouble::Failed { what, exit: ExitCode::Infrastructure }
        })?;
        let pid = process.pid();
        let measured = purpose == Purpose::Measured;
        sink.emit(Body::WorkerStarted { life, instance, pid: pid.unsigned_abs(), measured });
        let sampler =
            (measured && part.sampled).then(|| Sampler::start(pid, life, broker_ports.clone(), sink.clone()));
        Ok(Self {
            part,
            sink,
            who,
            process,
            sampler,
            started: Instant::now(),
            said_hello: false,
            said_bye: false,
            stop_until: None,
            ended_at: None,
            exit: None,
            descriptors_before: None,
        })
    }

    /// Which process this is.
    pub(crate) fn who(&self) -> Who {
        self.who
    }

    /// Writes down what the worker says for so long, and whether it is still there. It ends well
    /// only after [`Life::ask_to_stop`].
    ///
    /// # Errors
    /// If it says something that it must not, ends unasked, does not stop in time, or somebody
    /// presses Ctrl-C.
    pub(crate) fn listen(&mut self, tally: &mut Tally, wait: Duration) -> Result<Presence, Trouble> {
        let until = Instant::now() + wait;
        loop {
            if interrupt::requested() {
                return Err(Trouble::Interrupted);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.process.next(left) {
                Some(Incoming::Line { t_ns, line }) => self.take(t_ns, line, tally)?,
                Some(Incoming::Bad(error)) => return Err(self.failed(&error.to_string())),
                Some(Incoming::Closed) => return self.ended(),
                // Its last lines may still be on their way; a descendant may hold the pipe open
                // behind a dead worker.
                None if self.process.has_ended() && left.is_zero() => {
                    let ended = *self.ended_at.get_or_insert_with(Instant::now);
                    if ended.elapsed() > STOP_MARGIN {
                        return self.ended();
                    }
                    return Ok(Presence::There);
                }
                None if self.stop_until.is_some_and(|until| Instant::now() >= until) => return self.ended(),
                None if !self.said_hello && self.started.elapsed() > HELLO_WITHIN => {
                    let what = format!(
                        "it did not say hello within {} s; does it speak the worker protocol (docs/worker-protocol.md)?",
                        HELLO_WITHIN.as_secs()
                    );
                    return Err(self.failed(&what));
                }
                None => return Ok(Presence::There),
            }
            if left.is_zero() {
                return Ok(Presence::There);
            }
        }
    }

    /// Asks the worker to commit and stop. Idempotent.
    pub(crate) fn ask_to_stop(&mut self) {
        self.process.close_stdin();
        self.stop_until
            .get_or_insert_with(|| Instant::now() + Duration::from_millis(STOP_GRACE_MS) + STOP_MARGIN);
    }

    /// Kills it, as a fault does. What it had written is still written down.
    ///
    /// # Errors
    /// If the last it said was not of the protocol.
    pub(crate) fn kill(mut self, tally: &mut Tally) -> Result<(), Trouble> {
        // A sampler that meets a dying process would report a hole.
        self.end_sampler();
        self.process.signal(libc::SIGKILL);
        let until = Instant::now() + STOP_MARGIN;
        loop {
            match self.process.next(SLICE * 4) {
                Some(Incoming::Line { t_ns, line }) => self.take(t_ns, line, tally)?,
                // A line that was being written when it died.
                Some(Incoming::Bad(_) | Incoming::Closed) => break,
                None if Instant::now() >= until => break,
                None => {}
            }
        }
        let Exit { code, signal, cpu_ms } = self.process.stop(Duration::ZERO);
        self.exit = Some(Exit { code, signal, cpu_ms });
        let life = self.who.life;
        self.sink.emit(Body::WorkerExited { life, code, signal, cpu_ms, expected: true, by_fault: true });
        Ok(())
    }

    /// Lets it open hardly more file descriptors than it has open now, or as many as before.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn limit_descriptors(&mut self, limited: bool) -> Result<(), Trouble> {
        let limit = match (limited, self.descriptors_before.take()) {
            (true, None) => {
                let open = posix::open_descriptors(self.process.pid());
                open.map(|open| (open + open * DESCRIPTOR_HEADROOM_PCT / 100).max(open + 1))
            }
            (true, Some(before)) => {
                self.descriptors_before = Some(before);
                return Ok(());
            }
            (false, Some(before)) => Ok(before),
            (false, None) => return Ok(()),
        };
        let before = limit.and_then(|limit| posix::limit_descriptors(self.process.pid(), limit));
        let before =
            before.map_err(|error| self.failed(&format!("its descriptors cannot be limited: {error}")))?;
        self.descriptors_before = limited.then_some(before);
        Ok(())
    }

    /// Makes all its threads stand still, or go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.process.signal(if frozen { libc::SIGSTOP } else { libc::SIGCONT });
    }

    fn ended(&mut self) -> Result<Presence, Trouble> {
        let Some(until) = self.stop_until else { return Err(self.ended_early()) };
        let exit = self.end(until.saturating_duration_since(Instant::now()));
        if exit.code == Some(0) && self.said_bye {
            return Ok(Presence::Gone);
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
                tally.assigned(self.who.life, partitions);
                None
            }
            WorkerLine::Revoked { partitions, .. } => {
                tally.revoked(self.who.life, partitions);
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
            | WorkerLine::Recovered { .. }
            | WorkerLine::CommitSent { .. }
            | WorkerLine::CommitResult { .. }
            | WorkerLine::Degraded { .. } => None,
        };
        self.sink.emit_at(t_ns, Body::Worker { life: self.who.life, line });
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
        let mut text = match self.who.instance {
            1 => format!("the worker of {} failed: {what}", self.part.describe()),
            other => format!("instance {other} of {} failed: {what}", self.part.describe()),
        };
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
        self.end_sampler();
        let Exit { code, signal, cpu_ms } = exit;
        let (life, expected) = (self.who.life, !ended_by_itself);
        self.sink.emit(Body::WorkerExited { life, code, signal, cpu_ms, expected, by_fault: false });
        self.exit = Some(exit);
        exit
    }

    fn end_sampler(&mut self) {
        if let Some(flaw) = self.sampler.take().and_then(|sampler| sampler.stop().flaw()) {
            self.sink.emit(Body::Flaw { what: flaw });
        }
    }
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        self.end(ABORT_GRACE);
    }
}
