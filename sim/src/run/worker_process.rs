//! A measured consumer: one child process in a group of its own that speaks the worker protocol.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairpoll_judge::protocol::{WorkerLine, WorkerSpec};
use thiserror::Error;

use super::interrupt::{self, GuardedGroup};
use super::posix::{self, Exit};
use crate::event_log::monotonic_ns;

// A poll of 50 topics × 100 partitions is under 1 MiB; whoever writes more has lost its newlines.
const LINE_BYTES_MAX: u64 = 16 << 20;
// Enough of a bad line to recognise it.
const EXCERPT_CHARS: usize = 160;
// A backtrace's message and a little of what led to it.
const LAST_WORDS_LINES: usize = 6;
const LAST_WORDS_BYTES: u64 = 4096;

/// Why a worker could not be started, or what it said that cannot be understood.
#[derive(Debug, Error)]
pub(crate) enum WorkerError {
    /// The program could not be executed.
    #[error("cannot start `{program}`: {source}; is it installed and on the PATH?")]
    Spawn {
        /// The command's first word.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The file for its standard error could not be opened.
    #[error("cannot write its log {}: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A line that is not of the protocol.
    #[error("line {number} of its standard output is not of the worker protocol ({reason}): {excerpt}")]
    BadLine {
        /// From 1.
        number: u64,
        /// What is wrong with it.
        reason: String,
        /// Its beginning.
        excerpt: String,
    },
}

/// Topic names on the broker and in the scenario.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopicNames {
    prefix: String,
    scenario_by_broker: HashMap<String, String>,
}

impl TopicNames {
    /// Names on the broker are `prefix` and the scenario's name.
    pub(crate) fn new<'a>(prefix: &str, names: impl Iterator<Item = &'a str>) -> Self {
        let pair = |name: &str| (format!("{prefix}{name}"), name.to_owned());
        Self { prefix: prefix.to_owned(), scenario_by_broker: names.map(pair).collect() }
    }

    /// The line with the scenario's names.
    ///
    /// # Errors
    /// The name of a topic that the worker was not told to consume.
    fn rename(&self, mut line: WorkerLine) -> Result<WorkerLine, String> {
        let rename = |topic: &mut String| match self.scenario_by_broker.get(topic.as_str()) {
            Some(name) => {
                topic.clone_from(name);
                Ok(())
            }
            None => Err(format!("it names the topic `{topic}`, which it was not told to consume")),
        };
        match &mut line {
            WorkerLine::Assigned { partitions, .. } | WorkerLine::Revoked { partitions, .. } => {
                partitions.iter_mut().try_for_each(|partition| rename(&mut partition.topic))?;
            }
            WorkerLine::Poll { ranges, .. } => {
                ranges.iter_mut().try_for_each(|range| rename(&mut range.topic))?;
            }
            WorkerLine::CommitSent { offsets, .. } => {
                offsets.iter_mut().try_for_each(|offset| rename(&mut offset.topic))?;
            }
            WorkerLine::Error { topic, message, .. } => {
                // Clients put names of their own here (`__consumer_offsets`): no reason to fail.
                if let Some(topic) = topic {
                    let _ = rename(topic);
                }
                *message = message.replace(&self.prefix, "");
            }
            WorkerLine::CommitResult { error, .. } => {
                if let Some(error) = error {
                    *error = error.replace(&self.prefix, "");
                }
            }
            WorkerLine::Processed { failed: records, .. } | WorkerLine::Recovered { records, .. } => {
                records.iter_mut().try_for_each(|record| rename(&mut record.topic))?;
            }
            WorkerLine::Degraded { unprocessed, .. } => {
                unprocessed.iter_mut().try_for_each(|offset| rename(&mut offset.topic))?;
            }
            WorkerLine::Hello { .. } | WorkerLine::Bye { .. } => {}
        }
        Ok(line)
    }
}

/// What came out of a worker.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A line, received at `t_ns`, with the scenario's topic names.
    Line {
        /// When, monotonic clock.
        t_ns: u64,
        /// What it said.
        line: WorkerLine,
    },
    /// Something that is not of the protocol; nothing is read behind it.
    Bad(WorkerError),
    /// Its standard output ended.
    Closed,
}

/// A running worker. Dropping it kills its whole process group.
///
/// The run calls [`WorkerProcess::spawn`], then [`WorkerProcess::next`] until it is satisfied,
/// then [`WorkerProcess::close_stdin`], and at last [`WorkerProcess::stop`].
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    pid: i32,
    stdin: Option<ChildStdin>,
    lines: Receiver<Incoming>,
    reader: Option<JoinHandle<()>>,
    log: PathBuf,
    log_begins: u64,
    exit: Option<Exit>,
    guard: Option<GuardedGroup>,
}

impl WorkerProcess {
    /// Starts `command`, tells it `spec` and begins to read its lines. Its standard error is
    /// appended to `log`.
    ///
    /// Call it on the main thread: the kernel kills the worker when the calling thread ends.
    ///
    /// # Errors
    /// If the log cannot be opened or the program not be executed.
    pub(crate) fn spawn(
        command: &[String],
        log: &Path,
        spec: &WorkerSpec,
        names: TopicNames,
    ) -> Result<Self, WorkerError> {
        let log_error = |source| WorkerError::Log { path: log.to_owned(), source };
        let stderr = OpenOptions::new().create(true).append(true).open(log).map_err(log_error)?;
        let log_begins = stderr.metadata().map_err(log_error)?.len();
        let (program, arguments) = command.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
        let mut process = Command::new(program);
        process.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        posix::tie_to_this_thread(&mut process);
        let mut child =
            process.spawn().map_err(|source| WorkerError::Spawn { program: program.to_owned(), source })?;
        let pid = child.id().cast_signed();
        let guard = interrupt::guard(pid);

        let mut stdin = child.stdin.take();
        if let Some(pipe) = &mut stdin {
            let mut line = serde_json::to_vec(spec).unwrap_or_default();
            line.push(b'\n');
            // A worker that is already dead is found out, and reported with its last words, by
            // whoever waits for its first line.
            let _ = pipe.write_all(&line).and_then(|()| pipe.flush());
        }
        let (sender, lines) = channel();
        let reader = child.stdout.take().map(|stdout| {
            std::thread::spawn(move || {
                read_lines(stdout, &names, |incoming| sender.send(incoming).is_ok());
            })
        });
        Ok(Self {
            pid,
            stdin,
            lines,
            reader,
            log: log.to_owned(),
            log_begins,
            exit: None,
            guard: Some(guard),
        })
    }

    /// Its process id, which is also its group's.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// The next thing it says, or nothing within `timeout`.
    pub(crate) fn next(&self, timeout: Duration) -> Option<Incoming> {
        match self.lines.recv_timeout(timeout) {
            Ok(incoming) => Some(incoming),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Incoming::Closed),
        }
    }

    /// Whether the process has ended. Lines may still be waiting.
    pub(crate) fn has_ended(&self) -> bool {
        self.exit.is_some() || posix::has_ended(self.pid)
    }

    /// Sends a signal to it and all its descendants in its group.
    pub(crate) fn signal(&self, signal: i32) {
        if self.exit.is_none() {
            posix::signal_group(self.pid, signal);
        }
    }

    /// Asks the worker to stop, the way the protocol says. Idempotent.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Gives the worker `grace` to end by itself after its standard input was closed, then asks
    /// by SIGTERM, then kills the group. Answers how it ended; idempotent.
    pub(crate) fn stop(&mut self, grace: Duration) -> Exit {
        self.close_stdin();
        if self.exit.is_none() && !self.ends_within(grace) {
            posix::signal_group(self.pid, libc::SIGTERM);
            // Long enough for a runtime to unwind, short enough for somebody who pressed Ctrl-C.
            self.ends_within(Duration::from_secs(1));
        }
        self.reap()
    }

    /// What it wrote to standard error at last; empty if it was silent.
    pub(crate) fn last_words(&self) -> String {
        last_lines(&self.log, self.log_begins).unwrap_or_default()
    }

    fn ends_within(&self, grace: Duration) -> bool {
        let until = Instant::now() + grace;
        while !self.has_ended() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    fn reap(&mut self) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        // While the leader is unreaped its group id cannot belong to anybody else; afterwards a
        // straggler of the group could no longer be named safely.
        posix::signal_group(self.pid, libc::SIGKILL);
        let exit = posix::reap(self.pid);
        self.exit = Some(exit);
        self.guard = None;
        // The pipe has no writer left, unless a descendant left the group with it: nobody waits
        // for that one.
        if let Some(reader) = self.reader.take_if(|reader| reader.is_finished()) {
            let _ = reader.join();
        }
        exit
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.close_stdin();
        self.reap();
    }
}

fn read_lines(stdout: impl Read, names: &TopicNames, mut deliver: impl FnMut(Incoming) -> bool) {
    let mut stdout = BufReader::with_capacity(1 << 18, stdout);
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        let read = (&mut stdout).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        let t_ns = monotonic_ns();
        if !matches!(read, Ok(1..)) {
            break;
        }
        let parsed = if bytes.len() as u64 == LINE_BYTES_MAX && bytes.last() != Some(&b'\n') {
            Err(format!("longer than {LINE_BYTES_MAX} bytes"))
        } else {
            serde_json::from_slice(&bytes)
                .map_err(|error| error.to_string())
                .and_then(|line| names.rename(line))
        };
        let incoming = match parsed {
            Ok(line) => Incoming::Line { t_ns, line },
            Err(reason) => Incoming::Bad(WorkerError::BadLine { number, reason, excerpt: excerpt(&bytes) }),
        };
        let is_bad = matches!(incoming, Incoming::Bad(_));
        if !deliver(incoming) || is_bad {
            return;
        }
    }
    deliver(Incoming::Closed);
}

fn excerpt(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(EXCERPT_CHARS * 4)];
    let text = String::from_utf8_lossy(shown);
    let text = text.trim_end();
    if text.is_empty() {
        return "(an empty line)".to_owned();
    }
    let mut excerpt: String = text.chars().take(EXCERPT_CHARS).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    excerpt
}

fn last_lines(path: &Path, begins: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(end.saturating_sub(LAST_WORDS_BYTES).max(begins)))?;
    let mut bytes = Vec::new();
    file.take(LAST_WORDS_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    Ok(lines[lines.len().saturating_sub(LAST_WORDS_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairpoll_judge::protocol::{PROTOCOL_VERSION, ProcessingCost};

    fn spec() -> WorkerSpec {
        WorkerSpec {
            protocol_version: PROTOCOL_VERSION,
            name: "ours".to_owned(),
            mode: None,
            bootstrap_servers: "127.0.0.1:1".to_owned(),
            topics: Vec::new(),
            group_id: "g".to_owned(),
            group_strategy: None,
            max_poll_records: 500,
            max_records: None,
            fetch_buffer_mib: None,
            starvation_guard_polls: None,
            quota: None,
            complete_wait_ms: None,
            poll_timeout_ms: 1000,
            commit_every_polls: 10,
            processing: ProcessingCost::default(),
            properties: std::collections::BTreeMap::new(),
            stop_grace_ms: 1000,
            instance: 1,
            unbuffered: false,
        }
    }

    fn spawn(script: &str) -> (tempfile::TempDir, WorkerProcess) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let command = ["sh", "-c", script].map(str::to_owned);
        let names = TopicNames::new("p-", ["a"].into_iter());
        let worker = WorkerProcess::spawn(&command, &dir.path().join("log"), &spec(), names);
        (dir, worker.expect("sh exists"))
    }

    fn next(worker: &WorkerProcess) -> Incoming {
        worker.next(Duration::from_secs(10)).expect("something within ten seconds")
    }

    #[test]
    fn topics_get_the_scenarios_names() {
        let (_dir, worker) = spawn(
            r#"echo '{"event":"poll","seq":1,"t_begin_ns":1,"t_return_ns":2,"ranges":[{"topic":"p-a","partition":0,"first":0,"last":0,"count":1,"id_sum":0}]}'"#,
        );
        let Incoming::Line { line: WorkerLine::Poll { ranges, .. }, .. } = next(&worker) else {
            panic!("a poll")
        };
        assert_eq!(ranges[0].topic, "a");
        assert!(matches!(next(&worker), Incoming::Closed));
    }

    #[test]
    fn an_unknown_topic_is_named() {
        let (_dir, worker) = spawn(
            r#"echo '{"event":"assigned","t_ns":1,"generation":1,"partitions":[{"topic":"x","partition":0}]}'"#,
        );
        let Incoming::Bad(error) = next(&worker) else { panic!("a bad line") };
        assert!(error.to_string().contains("line 1") && error.to_string().contains("`x`"), "{error}");
    }

    #[test]
    fn a_bad_line_is_quoted_with_its_number() {
        let (_dir, worker) = spawn(
            r#"echo '{"event":"processed","seq":1,"t_ns":1}'; echo 'Traceback (most recent call last)'"#,
        );
        assert!(matches!(next(&worker), Incoming::Line { .. }));
        let Incoming::Bad(error) = next(&worker) else { panic!("a bad line") };
        let text = error.to_string();
        assert!(text.contains("line 2") && text.contains("Traceback"), "{text}");
    }

    #[test]
    fn the_spec_arrives_and_a_closed_stdin_ends_the_worker() {
        let (_dir, mut worker) =
            spawn(r#"read line; case "$line" in *'"name":"ours"'*) cat >/dev/null; exit 5;; esac; exit 1"#);
        assert_eq!(worker.stop(Duration::from_secs(10)).code, Some(5));
    }

    #[test]
    fn a_worker_that_ignores_every_request_is_killed() {
        let (_dir, mut worker) = spawn("trap '' TERM; echo ready >&2; while :; do sleep 0.05; done");
        let until = Instant::now() + Duration::from_secs(10);
        while worker.last_words().is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(worker.stop(Duration::from_millis(10)).signal, Some(libc::SIGKILL));
    }

    #[test]
    fn dropping_a_worker_kills_its_descendants() {
        let (dir, worker) = spawn("sleep 1000 & echo $! >&2; wait");
        let until = Instant::now() + Duration::from_secs(10);
        while worker.last_words().is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let descendant = worker.last_words();
        assert!(Path::new("/proc").join(&descendant).exists());
        drop(worker);
        let stat = || std::fs::read_to_string(Path::new("/proc").join(&descendant).join("stat"));
        // An orphan's exit is collected by init; until then it is a zombie.
        while stat().is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < until, "the descendant outlived its worker");
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(dir);
    }

    #[test]
    fn last_words_are_those_of_this_life_only() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = dir.path().join("log");
        std::fs::write(&log, "from an earlier life\n").expect("writable");
        let command = ["sh", "-c", "echo boom >&2"].map(str::to_owned);
        let mut worker =
            WorkerProcess::spawn(&command, &log, &spec(), TopicNames::default()).expect("sh exists");
        worker.stop(Duration::from_secs(10));
        assert_eq!(worker.last_words(), "boom");
    }

    #[test]
    fn a_missing_program_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let command = ["no-such-program".to_owned()];
        let error = WorkerProcess::spawn(&command, &dir.path().join("log"), &spec(), TopicNames::default());
        assert!(error.err().is_some_and(|error| error.to_string().contains("`no-such-program`")));
    }
}
