//! What a poll returns.

mod complete;
mod record;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fmt, slice};

use crate::ffi::{Client, Message, MessageError};

pub use complete::{CompleteBatch, MissingReason, MissingTopic};
pub use record::{OwnedRecord, Receipt, Record};

/// The records of one poll, grouped by partition.
///
/// A batch owns librdkafka's messages and lends them; nothing is copied until you ask for it. One
/// kept record keeps its whole fetch buffer in memory, and a kept batch keeps its Kafka handle
/// alive, so process batches and let them go, or keep copies ([`Record::to_owned`]).
///
/// Records of one partition are in offset order; between partitions there is no order.
#[derive(Debug)]
pub struct Batch {
    // Dropped in this order: messages before the handles that they belong to.
    messages: Vec<Message>,
    groups: Vec<Group>,
    runs: Vec<Run>,
    errors: Vec<LaneError>,
    /// All that the consumer was asked for.
    topics: Arc<[Arc<str>]>,
    _handles: Vec<Arc<Client>>,
    _outstanding: Outstanding,
}

/// The records of one partition in a batch.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// The engine's number of the partition.
    pub(crate) index: fairpoll_core::PartitionIndex,
    /// The assignment under which the records were fetched.
    pub(crate) generation: fairpoll_core::Generation,
    /// Its runs, in the batch's list of runs.
    runs: Range<usize>,
    count: usize,
}

impl Group {
    /// Records of it in the batch.
    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

/// Neighbouring messages of one partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    group: usize,
    start: usize,
    len: usize,
}

/// A failure of one topic or partition, reported in the batch while all others go on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneError {
    /// The topic; `None` where librdkafka names none.
    pub topic: Option<String>,
    /// The partition; `None` where the whole topic, or the whole handle, is concerned.
    pub partition: Option<i32>,
    /// The error's symbolic name in Kafka's protocol, like `TOPIC_AUTHORIZATION_FAILED`.
    pub code: String,
    /// librdkafka's words.
    pub message: String,
    /// The handle cannot be used any more.
    pub fatal: bool,
    /// What would help, where that is known: of errors of authorization, authentication and TLS. Names
    /// principals, ACLs and properties, and no secret.
    pub remedy: Option<String>,
}

impl LaneError {
    /// What happened and what would help: all but whom it concerns.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { message, code, .. } = self;
        match &self.remedy {
            Some(remedy) => format!("{message} ({code}); {remedy}"),
            None => format!("{message} ({code})"),
        }
    }
}

impl From<MessageError> for LaneError {
    fn from(error: MessageError) -> Self {
        let MessageError { topic, partition, code, message, fatal } = error;
        Self { topic, partition, code, message, fatal, remedy: None }
    }
}

impl fmt::Display for LaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.topic, self.partition) {
            (Some(topic), Some(partition)) => write!(f, "{topic} [{partition}]: ")?,
            (Some(topic), None) => write!(f, "{topic}: ")?,
            (None, _) => {}
        }
        f.write_str(&self.words())
    }
}

/// An error of one owned partition, not yet judged.
#[derive(Debug)]
pub(crate) struct PartitionFailure {
    pub(crate) index: fairpoll_core::PartitionIndex,
    /// A fetch failed, and was taken up again where it failed.
    pub(crate) of_fetch: bool,
    pub(crate) error: LaneError,
}

/// Counts batches that are alive.
#[derive(Debug, Clone, Default)]
pub(crate) struct BatchCount(Arc<AtomicUsize>);

impl BatchCount {
    /// Counts one more until the ticket is dropped.
    pub(crate) fn ticket(&self) -> Outstanding {
        self.0.fetch_add(1, Ordering::Relaxed);
        Outstanding(self.clone())
    }

    /// How many are alive.
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One batch that is alive.
#[derive(Debug)]
pub(crate) struct Outstanding(BatchCount);

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A batch in the making: one per poll.
#[derive(Debug, Default)]
pub(crate) struct BatchBuilder {
    pub(crate) messages: Vec<Message>,
    groups: Vec<Group>,
    runs: Vec<Run>,
    pub(crate) errors: Vec<LaneError>,
    /// Errors of partitions, before it is known which of them are news.
    pub(crate) failures: Vec<PartitionFailure>,
    handles: Vec<Arc<Client>>,
}

impl BatchBuilder {
    /// No record yet, and what failed before.
    pub(crate) fn with_errors(errors: Vec<LaneError>) -> Self {
        Self { errors, ..Self::default() }
    }

    /// Notes that `messages[start..start + len]` are of this partition.
    pub(crate) fn add_run(
        &mut self,
        partition: (&Arc<str>, i32),
        index: fairpoll_core::PartitionIndex,
        generation: fairpoll_core::Generation,
        start: usize,
        len: usize,
    ) {
        // Neighbours are the usual case; a partition that comes back is looked up backwards.
        let known =
            self.groups.iter().rposition(|group| group.index == index && group.generation == generation);
        let group = known.unwrap_or_else(|| {
            let (topic, partition) = (Arc::clone(partition.0), partition.1);
            self.groups.push(Group { topic, partition, index, generation, runs: 0..0, count: 0 });
            self.groups.len() - 1
        });
        self.groups[group].count += len;
        self.runs.push(Run { group, start, len });
    }

    /// Makes sure that the messages' handle outlives them.
    pub(crate) fn keep_handle(&mut self, client: &Arc<Client>) {
        if !self.handles.iter().any(|known| Arc::ptr_eq(known, client)) {
            self.handles.push(Arc::clone(client));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.errors.is_empty()
    }

    /// The partitions that have records in it.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The partition's records belong to another generation than was thought.
    pub(crate) fn set_generation(
        &mut self,
        index: fairpoll_core::PartitionIndex,
        generation: fairpoll_core::Generation,
    ) {
        for group in self.groups.iter_mut().filter(|group| group.index == index) {
            group.generation = generation;
        }
    }

    /// First and last offset of each run and its partition, in the order of delivery.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (&Group, i64, i64)> {
        self.runs.iter().map(|run| {
            let messages = &self.messages[run.start..run.start + run.len];
            (&self.groups[run.group], messages[0].offset(), messages[run.len - 1].offset())
        })
    }

    /// Groups what was taken. Stable, so a partition's runs stay in order.
    pub(crate) fn build(mut self, topics: &Arc<[Arc<str>]>, outstanding: Outstanding) -> Batch {
        self.runs.sort_by_key(|run| run.group);
        let mut start = 0;
        for (index, group) in self.groups.iter_mut().enumerate() {
            let len = self.runs[start..].iter().take_while(|run| run.group == index).count();
            group.runs = start..start + len;
            start += len;
        }
        Batch {
            messages: self.messages,
            groups: self.groups,
            runs: self.runs,
            errors: self.errors,
            topics: Arc::clone(topics),
            _handles: self.handles,
            _outstanding: outstanding,
        }
    }
}

impl Batch {
    /// Records in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is no record in it. There may be [`errors`](Self::errors).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The partitions that have records in it.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = PartitionRecords<'_>> {
        self.groups.iter().map(|group| PartitionRecords { batch: self, group })
    }

    /// All records, partition by partition.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.partitions().flat_map(|partition| partition.records())
    }

    /// The consumer's topics that have no record in it, in the configuration's order.
    pub fn missing_topics(&self) -> impl Iterator<Item = &str> {
        let has = |topic: &Arc<str>| self.groups.iter().any(|group| Arc::ptr_eq(&group.topic, topic));
        self.topics.iter().filter(move |topic| !has(topic)).map(|topic| &**topic)
    }

    /// What failed while this poll ran. Other topics are not affected. Of a partition or topic that goes
    /// on failing only the first error is here, and one of another kind; the others are counted in
    /// [`Status::failing`](crate::Status::failing).
    #[must_use]
    pub fn errors(&self) -> &[LaneError] {
        &self.errors
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// First and last offset of each run of a group, in order.
    pub(crate) fn spans<'a>(&'a self, group: &Group) -> impl Iterator<Item = (i64, i64)> + 'a {
        self.runs[group.runs.clone()].iter().map(|run| {
            let messages = &self.messages[run.start..run.start + run.len];
            (messages[0].offset(), messages[run.len - 1].offset())
        })
    }
}

/// The records of one partition in a [`Batch`].
#[derive(Debug, Clone, Copy)]
pub struct PartitionRecords<'a> {
    batch: &'a Batch,
    group: &'a Group,
}

impl<'a> PartitionRecords<'a> {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        &self.group.topic
    }

    /// The partition number.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.group.partition
    }

    /// Records of it; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a partition without records is not in a batch")]
    pub fn len(&self) -> usize {
        self.group.count
    }

    /// Its records in offset order.
    pub fn records(&self) -> Records<'a> {
        Records {
            batch: self.batch,
            group: self.group,
            runs: self.batch.runs[self.group.runs.clone()].iter(),
            current: [].iter(),
        }
    }
}

/// Iterator over the records of one partition.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    batch: &'a Batch,
    group: &'a Group,
    runs: slice::Iter<'a, Run>,
    current: slice::Iter<'a, Message>,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            if let Some(message) = self.current.next() {
                return Some(Record { group: self.group, message });
            }
            let run = self.runs.next()?;
            self.current = self.batch.messages[run.start..run.start + run.len].iter();
        }
    }
}
