//! What a worker knows of its run, and says of it. Rebalances, which clients tell by callback, write here too.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Mutex, PoisonError};

use fairpoll_judge::protocol::{DeliveredRange, PartitionOffset, TopicPartition, WorkerLine, WorkerSpec};
use fairpoll_sim::event_log::monotonic_ns;
use fairpoll_sim::worker::lines::Lines;

/// The ranges of a poll, record by record.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    of: Vec<DeliveredRange>,
    records: usize,
}

impl Ranges {
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn take(&mut self) -> Vec<DeliveredRange> {
        self.records = 0;
        std::mem::take(&mut self.of)
    }

    /// Adds a record; `goes_on` says whether it is of the topic of the one before it.
    pub(crate) fn push(
        &mut self,
        goes_on: bool,
        topic: impl FnOnce() -> String,
        partition: i32,
        offset: i64,
        value: &[u8],
    ) {
        let id = value.first_chunk::<8>().map_or(0, |id| u64::from_be_bytes(*id));
        let partition = partition.unsigned_abs();
        self.records += 1;
        match self.of.last_mut() {
            Some(range) if goes_on && range.partition == partition && range.last + 1 == offset => {
                range.last = offset;
                range.count += 1;
                range.id_sum = range.id_sum.wrapping_add(id);
            }
            _ => self.of.push(DeliveredRange {
                topic: topic(),
                partition,
                first: offset,
                last: offset,
                count: 1,
                id_sum: id,
            }),
        }
    }
}

/// Which commit an answer is to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    Oldest,
    Last,
}

/// Where a poll ends, by partition: the next offset to read.
pub(crate) type Ends = Vec<(TopicPartition, i64)>;

/// One run.
pub(crate) struct Course(Mutex<Inner>);

struct Inner {
    lines: Lines,
    generation: u64,
    /// The next offset to read of what was processed since the last commit.
    processed: BTreeMap<TopicPartition, i64>,
    commits: u64,
    /// Commits that are not answered, oldest first: a coordinator answers in order.
    unanswered: VecDeque<u64>,
}

impl Course {
    pub(crate) fn new(spec: &WorkerSpec) -> Self {
        Self(Mutex::new(Inner {
            lines: Lines::new(spec.unbuffered),
            generation: 0,
            processed: BTreeMap::new(),
            commits: 0,
            unanswered: VecDeque::new(),
        }))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn write_now(&self, line: &WorkerLine) -> io::Result<()> {
        self.with(|inner| inner.lines.write_now(line))
    }

    pub(crate) fn flush_if_due(&self) -> io::Result<()> {
        self.with(|inner| inner.lines.flush_if_due())
    }

    /// Tells of a poll; returns where it ends.
    pub(crate) fn deliver(
        &self,
        seq: u64,
        t_begin_ns: u64,
        t_return_ns: u64,
        ranges: Vec<DeliveredRange>,
    ) -> io::Result<Ends> {
        let end = |range: &DeliveredRange| {
            (TopicPartition { topic: range.topic.clone(), partition: range.partition }, range.last + 1)
        };
        let ends = ranges.iter().map(end).collect();
        self.with(|inner| inner.lines.write(&WorkerLine::Poll { seq, t_begin_ns, t_return_ns, ranges }))?;
        Ok(ends)
    }

    pub(crate) fn processed(&self, seq: u64, ends: Ends) -> io::Result<()> {
        self.with(|inner| {
            inner.processed.extend(ends);
            inner.lines.write(&WorkerLine::Processed { seq, t_ns: monotonic_ns(), failed: Vec::new() })
        })
    }

    /// Tells that what was processed is being committed; returns it, unless there is nothing.
    pub(crate) fn commit_sent(&self) -> io::Result<Option<Ends>> {
        self.with(|inner| {
            let ends: Ends = std::mem::take(&mut inner.processed).into_iter().collect();
            if ends.is_empty() {
                return Ok(None);
            }
            inner.commits += 1;
            inner.unanswered.push_back(inner.commits);
            let offsets = ends.iter().map(|(place, offset)| PartitionOffset {
                topic: place.topic.clone(),
                partition: place.partition,
                offset: *offset,
            });
            let offsets = offsets.collect();
            inner.lines.write(&WorkerLine::CommitSent {
                id: inner.commits,
                t_ns: monotonic_ns(),
                offsets,
            })?;
            Ok(Some(ends))
        })
    }

    /// The answer to the oldest commit that has none, or to the last, which was waited for.
    pub(crate) fn commit_result(&self, which: Which, error: Option<String>) {
        self.with(|inner| {
            let id = match which {
                Which::Oldest => inner.unanswered.pop_front(),
                Which::Last => inner.unanswered.pop_back(),
            };
            let Some(id) = id else { return };
            // Nobody can be told that nobody can be told.
            let _ = inner.lines.write(&WorkerLine::CommitResult { id, t_ns: monotonic_ns(), error });
        });
    }

    pub(crate) fn all_answered(&self) -> bool {
        self.with(|inner| inner.unanswered.is_empty())
    }

    pub(crate) fn assigned(&self, partitions: Vec<TopicPartition>) {
        if partitions.is_empty() {
            return;
        }
        self.with(|inner| {
            inner.generation += 1;
            let line =
                WorkerLine::Assigned { t_ns: monotonic_ns(), generation: inner.generation, partitions };
            let _ = inner.lines.write_now(&line);
        });
    }

    pub(crate) fn revoked(&self, partitions: Vec<TopicPartition>, lost: bool) {
        if partitions.is_empty() {
            return;
        }
        self.with(|inner| {
            let (t_ns, generation) = (monotonic_ns(), inner.generation);
            inner.processed.retain(|place, _| !partitions.contains(place));
            let _ = inner.lines.write_now(&WorkerLine::Revoked { t_ns, generation, partitions, lost });
        });
    }

    pub(crate) fn error(&self, message: String, fatal: bool) {
        let line = WorkerLine::Error { t_ns: monotonic_ns(), topic: None, message, fatal };
        let _ = self.write_now(&line);
    }
}
