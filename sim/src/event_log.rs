//! Writes `events.jsonl` while a run goes on, and keeps the events for judging at its end.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairpoll_judge::event::{Body, Event};

/// Now, in nanoseconds of the kernel's monotonic clock: the one clock of harness and workers.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the call to fill; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// By what an event is stamped that does not say when it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The kernel's monotonic clock.
    Monotonic,
    /// There is none: by the latest event of its run, 0 if it is the first.
    Virtual,
}

/// The log of one scenario. Clones write to the same log.
#[derive(Debug, Clone)]
pub struct EventLog {
    inner: Arc<Mutex<Inner>>,
    clock: Clock,
}

#[derive(Debug)]
struct Inner {
    file: BufWriter<File>,
    events: Vec<Event>,
    error: Option<io::Error>,
}

impl EventLog {
    /// Begins a log in a new file.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(path: &Path, clock: Clock) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        let inner = Inner { file, events: Vec::new(), error: None };
        Ok(Self { inner: Arc::new(Mutex::new(inner)), clock })
    }

    /// When something happens now that belongs to no run.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        match self.clock {
            Clock::Monotonic => monotonic_ns(),
            Clock::Virtual => 0,
        }
    }

    /// Adds an event. A failing disk does not stop the run: the error is kept for [`Self::finish`].
    pub fn append(&self, event: Event) {
        let mut inner = self.lock();
        if inner.error.is_none() {
            let written = serde_json::to_writer(&mut inner.file, &event)
                .map_err(io::Error::from)
                .and_then(|()| inner.file.write_all(b"\n"));
            inner.error = written.err();
        }
        inner.events.push(event);
    }

    /// A pen for one run of one mode.
    #[must_use]
    pub fn sink(&self, mode: &str, run: u32) -> EventSink {
        EventSink { log: self.clone(), mode: mode.to_owned(), run, latest: Arc::default() }
    }

    /// Everything so far; the file is flushed.
    ///
    /// # Errors
    /// If anything could not be written.
    pub fn finish(&self) -> io::Result<Vec<Event>> {
        let mut inner = self.lock();
        if let Some(error) = inner.error.take() {
            return Err(error);
        }
        inner.file.flush()?;
        Ok(inner.events.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves complete events behind; they are still worth judging.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the events of one run of one mode.
#[derive(Debug, Clone)]
pub struct EventSink {
    log: EventLog,
    mode: String,
    run: u32,
    /// The latest event's time.
    latest: Arc<AtomicU64>,
}

impl EventSink {
    /// Adds an event, stamped now.
    pub fn emit(&self, body: Body) {
        let now = match self.log.clock {
            Clock::Monotonic => monotonic_ns(),
            Clock::Virtual => self.latest.load(Ordering::Relaxed),
        };
        self.emit_at(now, body);
    }

    /// Adds an event that happened, or was received, at `t_ns`.
    pub fn emit_at(&self, t_ns: u64, body: Body) {
        self.latest.fetch_max(t_ns, Ordering::Relaxed);
        self.log.append(Event { t_ns, mode: Some(self.mode.clone()), run: Some(self.run), body });
    }
}
