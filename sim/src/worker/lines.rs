//! Standard output, line by line, never held back for longer than the protocol allows.

use std::io::{self, BufWriter, Stdout, Write};
use std::time::{Duration, Instant};

use fairpoll_judge::protocol::WorkerLine;

/// Lines may wait for so long.
pub const MOST_DELAY: Duration = Duration::from_millis(100);

/// Buffered standard output. Writing a line per poll as it comes would cost a system call per poll,
/// and wake the harness as often.
pub struct Lines {
    out: BufWriter<Stdout>,
    /// Nothing may wait: this process may be killed.
    unbuffered: bool,
    oldest: Option<Instant>,
}

impl Lines {
    /// Standard output. `unbuffered`: as [`WorkerSpec::unbuffered`].
    ///
    /// [`WorkerSpec::unbuffered`]: fairpoll_judge::protocol::WorkerSpec::unbuffered
    #[must_use]
    pub fn new(unbuffered: bool) -> Self {
        Self { out: BufWriter::with_capacity(64 * 1024, io::stdout()), unbuffered, oldest: None }
    }

    /// Writes a line that may wait for its neighbours.
    ///
    /// # Errors
    /// Standard output is gone, as in every method.
    pub fn write(&mut self, line: &WorkerLine) -> io::Result<()> {
        self.put(line)?;
        if self.unbuffered { self.flush() } else { self.flush_if_due() }
    }

    /// Writes a line that the harness waits for.
    pub fn write_now(&mut self, line: &WorkerLine) -> io::Result<()> {
        self.put(line)?;
        self.flush()
    }

    /// To be called at least twice as often as [`MOST_DELAY`].
    pub fn flush_if_due(&mut self) -> io::Result<()> {
        // Half of what is allowed: the caller may come back only after as long again.
        match self.oldest {
            Some(oldest) if oldest.elapsed() >= MOST_DELAY / 2 => self.flush(),
            _ => Ok(()),
        }
    }

    fn put(&mut self, line: &WorkerLine) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")?;
        self.oldest.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.oldest = None;
        self.out.flush()
    }
}
