//! Commits: what is processed goes to the broker, asynchronously, one request per handle at a time.

use fairpoll_core::{Committable, OffsetRange};

use crate::batch::{Batch, BatchBuilder};
use crate::event::ConsumerEvent;
use crate::ffi::CommitOutcome;

use super::Consumer;

/// Commits in flight.
#[derive(Debug, Default)]
pub(super) struct Commits {
    last_id: u64,
    in_flight: Vec<InFlight>,
    /// Handles for which a commit was asked while one was in flight.
    wanted: Vec<usize>,
}

#[derive(Debug)]
struct InFlight {
    id: u64,
    handle: usize,
    offsets: Vec<Committable>,
}

impl Commits {
    pub(super) fn is_in_flight(&self, handle: usize) -> bool {
        self.in_flight.iter().any(|commit| commit.handle == handle)
    }

    pub(super) fn any_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Forgets what will not be answered: the handle is gone.
    pub(super) fn forget(&mut self, handle: usize) {
        self.in_flight.retain(|commit| commit.handle != handle);
        self.wanted.retain(|&wanted| wanted != handle);
    }
}

impl Consumer {
    /// Marks a batch's records as processed and sends their offsets to the broker, without waiting.
    ///
    /// Commits are coalesced: while one is in flight for a handle, the next is sent with its
    /// answer. Results are reported by [`take_events`](Self::take_events); an offset whose commit
    /// failed is sent again with the next commit. Records of a partition that was taken from this
    /// consumer since are left out: they belong to its next owner.
    pub fn commit(&mut self, batch: &Batch) {
        self.mark_processed(batch);
        self.commit_processed();
    }

    /// Marks a batch's records as processed: the next commit, or [`stop`](Self::stop), commits
    /// them. Batches may be finished in any order; nothing beyond the first unfinished record of a
    /// partition is ever committed.
    pub fn mark_processed(&mut self, batch: &Batch) {
        for group in batch.groups() {
            for (first, last) in batch.spans(group) {
                let range = OffsetRange { first, last };
                if let Err(error) = self.offsets.completed(group.index, group.generation, range) {
                    // Every batch of this consumer was noted when it was delivered.
                    tracing::error!(%error, "marked a batch of another consumer as processed; ignored");
                }
            }
        }
    }

    /// Sends the offsets of everything processed so far, without waiting.
    pub fn commit_processed(&mut self) {
        for handle in 0..self.handles.len() {
            self.commit_handle(handle);
        }
    }

    /// Sends what is due on one handle, or notes that it is wanted.
    pub(super) fn commit_handle(&mut self, handle: usize) {
        if self.commits.is_in_flight(handle) {
            if !self.commits.wanted.contains(&handle) {
                self.commits.wanted.push(handle);
            }
            return;
        }
        let due: Vec<Committable> =
            self.offsets.dirty().filter(|due| self.partitions.get(due.partition).handle == handle).collect();
        let Some(client) = self.handles[handle].client.as_ref().filter(|_| !due.is_empty()) else { return };
        self.commits.last_id += 1;
        let id = self.commits.last_id;
        let entries = due.iter().map(|due| {
            let entry = &self.partitions.get(due.partition).entry;
            (entry.topic.as_str(), entry.partition, due.offset)
        });
        let sent = client.commit(id, entries.clone());
        let offsets = entries.map(|(topic, partition, offset)| (topic.to_owned(), partition, offset)).collect();
        self.note(ConsumerEvent::CommitSent { id, offsets });
        match sent {
            Ok(()) => self.commits.in_flight.push(InFlight { id, handle, offsets: due }),
            Err(error) => self.note(ConsumerEvent::CommitResult { id, error: Some(error) }),
        }
    }

    pub(super) fn on_committed(&mut self, handle: usize, outcome: CommitOutcome) {
        let Some(position) = self.commits.in_flight.iter().position(|commit| commit.id == outcome.id) else {
            return;
        };
        let commit = self.commits.in_flight.swap_remove(position);
        let failed: Vec<String> = outcome
            .offsets
            .iter()
            .filter_map(|entry| Some(format!("{} [{}]: {}", entry.topic, entry.partition, entry.error.as_ref()?)))
            .collect();
        for due in &commit.offsets {
            let entry = &self.partitions.get(due.partition).entry;
            let answer = outcome
                .offsets
                .iter()
                .find(|answer| answer.partition == entry.partition && answer.topic == entry.topic);
            // An error of the whole request stands for every partition, unless it only says that
            // some of them failed.
            let whole = outcome.error.is_none() || !failed.is_empty();
            let ok = whole && answer.is_none_or(|answer| answer.error.is_none());
            if ok {
                self.offsets.committed(due.partition, due.generation, due.offset);
            }
        }
        let error = match (outcome.error, failed.is_empty()) {
            (None, true) => None,
            (Some(error), true) => Some(error),
            (_, false) => Some(failed.join("; ")),
        };
        if let Some(error) = &error {
            tracing::warn!(id = commit.id, %error, "a commit failed; its offsets go with the next one");
        }
        self.note(ConsumerEvent::CommitResult { id: commit.id, error });
        if let Some(position) = self.commits.wanted.iter().position(|&wanted| wanted == handle) {
            self.commits.wanted.swap_remove(position);
            self.commit_handle(handle);
        }
    }

    /// Tells the tracker what the caller is about to get.
    pub(super) fn note_delivered(&mut self, batch: &BatchBuilder) {
        for (group, first, last) in batch.spans() {
            if let Err(error) = self.offsets.delivered(group.index, OffsetRange { first, last }) {
                // librdkafka delivers a partition's records in order within an assignment.
                tracing::error!(%error, topic = &*group.topic, "a partition stepped back");
            }
        }
    }
}
