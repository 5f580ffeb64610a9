//! A lane as the shell sees it: a queue, and what must go out before it.

use std::collections::VecDeque;
use std::sync::Arc;

use fairpoll_core::{Generation, PartitionIndex};

use crate::batch::{BatchBuilder, PartitionFailure};
use crate::ffi::{Client, LaneQueue, Message, PartitionEntry, Wake};

use super::Partitions;
use super::rebalance::is_of;

/// One FIFO of fetched records.
#[derive(Debug)]
pub(super) struct Lane {
    queue: LaneQueue,
    /// Records that left librdkafka already and are older than what the queue holds, so they go
    /// first: strays from the control queue, and what was looked at.
    ahead: VecDeque<Message>,
    /// What was looked at of topics that are paused now, in a lane that they share.
    held: VecDeque<Message>,
    /// The configuration's topics that it carries.
    topics: Vec<usize>,
}

/// What [`Lane::look`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looked {
    pub(super) records: usize,
    /// There is no more.
    pub(super) to_the_end: bool,
}

impl Lane {
    pub(super) fn new(client: &Arc<Client>, wake: &Arc<Wake>, topics: Vec<usize>) -> Self {
        Self { queue: LaneQueue::new(client, wake), ahead: VecDeque::new(), held: VecDeque::new(), topics }
    }

    pub(super) fn queue(&self) -> &LaneQueue {
        &self.queue
    }

    /// Whether records may have come since the last call.
    pub(super) fn take_wake(&self) -> bool {
        self.queue.take_wake()
    }

    /// Looks at the next `most` records without taking them out of the lane, and names the topic and the
    /// partition of each. What is looked at leaves the queue for [`Self::ahead`], so it is the next to be
    /// taken, whoever takes. Errors before the first record are moved to `batch`; it stops at one that lies
    /// behind a record, for what was fetched before an error is delivered before it is told.
    pub(super) fn look(
        &mut self,
        most: usize,
        partitions: &Partitions,
        names: &[Arc<str>],
        batch: &mut BatchBuilder,
        mut found: impl FnMut(usize, PartitionIndex),
    ) -> Looked {
        let mut records = 0;
        loop {
            while let Some(message) = self.ahead.get(records).filter(|_| records < most) {
                if message.is_error() {
                    if records > 0 {
                        return Looked { records, to_the_end: false };
                    }
                    self.move_error_out(partitions, names, batch);
                } else if let Some((topic, index, _)) = self.identify(message, partitions, names) {
                    found(topic, index);
                    records += 1;
                } else {
                    // Its assignment ended: whoever owns it now gets this record.
                    self.ahead.remove(records);
                }
            }
            let mut more = Vec::new();
            if records == most {
                return Looked { records, to_the_end: false };
            }
            if self.queue.len() == 0 || self.queue.take(most - records, &mut more) == 0 {
                return Looked { records, to_the_end: true };
            }
            self.ahead.extend(more);
        }
    }

    /// Looks at all that is here now, and names the partition and the offset of each record that is owned. As
    /// with [`Self::look`] it stays the next to be taken; the client fetches anew what the queue has room for.
    pub(super) fn look_through(
        &mut self,
        partitions: &Partitions,
        names: &[Arc<str>],
        mut found: impl FnMut(PartitionIndex, i64),
    ) {
        let mut waiting = Vec::new();
        let queued = self.queue.len();
        if queued > 0 {
            self.queue.take(queued, &mut waiting);
        }
        self.ahead.extend(waiting);
        for message in self.held.iter().chain(&self.ahead).filter(|message| !message.is_error()) {
            if let Some((_, index, _)) = self.identify(message, partitions, names) {
                found(index, message.offset());
            }
        }
    }

    /// A failed fetch is taken up again where it failed, as in [`Self::move_errors_out`]. The seek
    /// outdates at once what the queue holds of the partition; what is kept of it goes with it.
    fn move_error_out(&mut self, partitions: &Partitions, names: &[Arc<str>], batch: &mut BatchBuilder) {
        let Some(message) = self.ahead.pop_front() else { return };
        let failed_fetch = message.failed_fetch();
        let of_fetch = failed_fetch.is_some();
        if let Some((entry, offset)) = failed_fetch {
            self.ahead.retain(|message| !is_of(message, &entry));
            self.queue.client().seek(&[(entry, offset)]);
        }
        self.sort_error(&message, of_fetch, partitions, names, batch);
    }

    /// An error of a partition that is owned is one to be judged; any other is told as it is.
    fn sort_error(
        &self,
        message: &Message,
        of_fetch: bool,
        partitions: &Partitions,
        names: &[Arc<str>],
        batch: &mut BatchBuilder,
    ) {
        let error = message.error().into();
        match self.identify(message, partitions, names) {
            Some((_, index, _)) => batch.failures.push(PartitionFailure { index, of_fetch, error }),
            None => batch.errors.push(error),
        }
    }

    /// Keeps back what was looked at of a topic that is paused. The client goes on behind it.
    pub(super) fn hold(&mut self, of: impl Fn(&Message) -> bool) {
        let (mut held, ahead): (VecDeque<Message>, _) = self.ahead.drain(..).partition(of);
        self.ahead = ahead;
        self.held.append(&mut held);
    }

    /// The topic is not paused any more: what was kept back goes first.
    pub(super) fn release(&mut self, of: impl Fn(&Message) -> bool) {
        let (mut released, held): (VecDeque<Message>, _) = self.held.drain(..).partition(of);
        self.held = held;
        released.append(&mut self.ahead);
        self.ahead = released;
    }

    /// Fetched records that wait, and a few control operations.
    pub(super) fn queued(&self) -> usize {
        self.held.len() + self.ahead.len() + self.queue.len()
    }

    /// A record that came past the queue.
    pub(super) fn add_stray(&mut self, message: Message) {
        self.ahead.push_back(message);
    }

    /// Forgets what is kept of a partition that is given back; its next owner fetches it again.
    /// librdkafka does the same for what is in the queue.
    pub(super) fn forget_ahead(&mut self, gone: impl Fn(&Message) -> bool) {
        self.ahead.retain(|message| !gone(message));
        self.held.retain(|message| !gone(message));
    }

    /// Moves up to `most` messages into the batch and returns how many left the lane, errors
    /// included: fewer than `most` means that the lane is empty.
    pub(super) fn take(
        &mut self,
        most: usize,
        batch: &mut BatchBuilder,
        partitions: &Partitions,
        names: &[Arc<str>],
    ) -> usize {
        let start = batch.messages.len();
        while batch.messages.len() - start < most {
            let Some(message) = self.ahead.pop_front() else { break };
            batch.messages.push(message);
        }
        let ahead = batch.messages.len() - start;
        let taken = ahead + self.queue.take(most - ahead, &mut batch.messages);
        if taken > 0 {
            batch.keep_handle(self.queue.client());
            self.sort_out(start, batch, partitions, names);
        }
        taken
    }

    /// Splits what was taken into runs of one partition each, and moves errors out. Work per run,
    /// not per record: comparing two numbers is all that a record costs.
    fn sort_out(&self, start: usize, batch: &mut BatchBuilder, partitions: &Partitions, names: &[Arc<str>]) {
        if batch.messages[start..].iter().any(Message::is_error) {
            self.move_errors_out(start, batch, partitions, names);
        }
        let mut first = start;
        while first < batch.messages.len() {
            let message = &batch.messages[first];
            let (token, partition) = (message.topic_token(), message.partition());
            let len = batch.messages[first..]
                .iter()
                .take_while(|other| other.partition() == partition && other.topic_token() == token)
                .count();
            match self.identify(message, partitions, names) {
                Some((topic, index, generation)) => {
                    batch.add_run((&names[topic], partition), index, generation, first, len);
                    first += len;
                }
                None => {
                    // Its assignment ended: whoever owns it now gets these records.
                    tracing::debug!(
                        topic = message.topic(),
                        partition,
                        len,
                        "records of a partition that was given back"
                    );
                    batch.messages.drain(first..first + len);
                }
            }
        }
    }

    /// Rare, so it may cost: keeps the order of what remains.
    ///
    /// When a batch call takes the error of a failed fetch, librdkafka counts it as the record at that
    /// offset, which was never fetched; if it pauses the partition then, as it does in a rebalance, it
    /// goes on behind it, and the record is lost without a word (librdkafka #4844 is the same at the
    /// end of a partition). So every failed fetch is taken up again where it failed, at once and whoever
    /// owns the partition; a partition that is held back for a while is held back there.
    fn move_errors_out(
        &self,
        start: usize,
        batch: &mut BatchBuilder,
        partitions: &Partitions,
        names: &[Arc<str>],
    ) {
        let mut failed: Vec<(PartitionEntry, i64)> = Vec::new();
        for message in batch.messages.split_off(start) {
            let again = |failed: &[(PartitionEntry, i64)]| {
                let of = |entry: &PartitionEntry| {
                    entry.partition == message.partition() && message.topic() == Some(&entry.topic)
                };
                failed.iter().any(|(entry, _)| of(entry))
            };
            if message.is_error() {
                let failed_fetch = message.failed_fetch();
                let of_fetch = failed_fetch.is_some();
                failed.extend(failed_fetch.filter(|_| !again(&failed)));
                self.sort_error(&message, of_fetch, partitions, names, batch);
            } else if !again(&failed) {
                batch.messages.push(message);
            }
        }
        if !failed.is_empty() {
            self.queue.client().seek(&failed);
        }
    }

    fn identify(
        &self,
        message: &Message,
        partitions: &Partitions,
        names: &[Arc<str>],
    ) -> Option<(usize, PartitionIndex, Generation)> {
        let topic = match self.topics.as_slice() {
            [topic] => *topic,
            topics => {
                let name = message.topic()?;
                *topics.iter().find(|&&topic| *names[topic] == *name)?
            }
        };
        let index = partitions.find(topic, message.partition())?;
        let generation = partitions.get(index).generation?;
        Some((topic, index, generation))
    }
}
