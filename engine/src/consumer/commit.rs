//! Commits: what is processed goes to the broker, asynchronously, one request per handle at a time.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use fairpoll_core::offsets::DeliveryError;
use fairpoll_core::{
    Backoff, Committable, Concern, Generation, LaneIndex, OffsetRange, PartitionIndex, Timestamp,
};
use tracing::Span;

use crate::batch::{Batch, BatchBuilder, LaneError, Receipt};
use crate::event::ConsumerEvent;
use crate::ffi::{CommitOutcome, Failure, OffsetEntry};
use crate::metrics::Extent;
use crate::topology::HandlePlan;
use crate::traces;

use super::Consumer;
use super::places::Question;

/// A coordinator that moves or loads its group is back within seconds; until then a commit every
/// second is no burden.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_CAP: Duration = Duration::from_secs(1);

/// Commits in flight.
#[derive(Debug, Default)]
pub(super) struct Commits {
    last_id: u64,
    in_flight: Vec<InFlight>,
    /// Handles for which a commit was asked while one was in flight.
    wanted: Vec<usize>,
    /// Handles whose last commit failed in a way that may pass.
    retries: BTreeMap<usize, Retry>,
    /// Handles whose group may not commit, as was told.
    forbidden: BTreeSet<usize>,
    /// What is to be known before places are committed.
    pub(super) questions: Vec<Question>,
}

/// When a handle's commit is to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Again {
    /// Once the group has come to rest.
    AfterRebalance,
    /// A little later.
    Later,
}

/// A commit that is to be tried again.
#[derive(Debug)]
struct Retry {
    backoff: Backoff,
    at: Instant,
    /// It waits for the group's rebalance to be over.
    rebalancing: bool,
}

#[derive(Debug)]
pub(super) struct InFlight {
    id: u64,
    handle: usize,
    sent: Instant,
    pub(super) offsets: Vec<Committable>,
    /// Ends with the answer.
    span: Span,
}

impl Commits {
    pub(super) fn is_in_flight(&self, handle: usize) -> bool {
        self.in_flight.iter().any(|commit| commit.handle == handle)
    }

    /// Forgets what will not be answered: the handle is gone.
    pub(super) fn forget(&mut self, handle: usize) {
        self.in_flight.retain(|commit| commit.handle != handle);
        self.wanted.retain(|&wanted| wanted != handle);
        self.questions.retain(|question| question.handle != handle);
        self.retries.remove(&handle);
        self.forbidden.remove(&handle);
    }

    /// Whether the handle's commit may still succeed while the group waits for the handle.
    pub(super) fn may_succeed(&self, handle: usize) -> bool {
        self.is_in_flight(handle) || self.retries.get(&handle).is_some_and(|retry| !retry.rebalancing)
    }

    /// Whether anything is in flight, to be tried again or to be found out first.
    pub(super) fn any_pending(&self) -> bool {
        !self.in_flight.is_empty() || !self.retries.is_empty() || !self.questions.is_empty()
    }

    /// When the next commit is to be tried again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.values().map(|retry| retry.at).min()
    }

    fn try_again(&mut self, now: Instant, handle: usize, again: Again) {
        let backoff = || Backoff::new(RETRY_FIRST, RETRY_CAP);
        let retry = self.retries.entry(handle).or_insert_with(|| Retry {
            backoff: backoff(),
            at: now,
            rebalancing: false,
        });
        // Consumers that failed together must not come back together.
        let random = RandomState::new().build_hasher().finish();
        retry.at = now + retry.backoff.next_delay(random);
        retry.rebalancing = again == Again::AfterRebalance;
    }
}

impl Consumer {
    /// Marks a batch's records as processed and sends their offsets to the broker, without waiting.
    ///
    /// Commits are coalesced: while one is in flight for a handle, the next is sent with its
    /// answer. Results are reported by [`take_events`](Self::take_events). A commit that failed in a
    /// way that may pass is tried again by itself, after 50 ms at first and every second at last.
    ///
    /// Of a commit that is refused for some of its partitions the others are committed. Whoever is refused is
    /// named in the next batch's errors and by [`CommitRefused`](ConsumerEvent::CommitRefused), once, and left
    /// out of commits for a second at first and half a minute at last; then it is tried again by itself,
    /// unless its offset can never be taken (`OFFSET_METADATA_TOO_LARGE`): then a later
    /// offset is. The last commit before a partition is given back leaves nobody out.
    ///
    /// Records of a partition that was taken from this
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
                self.complete(group.index, group.generation, OffsetRange { first, last });
            }
        }
    }

    /// Sends the offsets of everything processed so far, without waiting.
    pub fn commit_processed(&mut self) {
        for handle in 0..self.handles.len() {
            // What failed is tried again at its time, and takes this along.
            if !self.commits.retries.contains_key(&handle) {
                self.commit_handle(handle);
            }
        }
    }

    /// Tries again what is due.
    pub(super) fn retry_commits(&mut self, now: Instant) {
        self.serve_places(now);
        let due: Vec<usize> = self
            .commits
            .retries
            .iter()
            .filter(|(_, retry)| retry.at <= now)
            .map(|(handle, _)| *handle)
            .collect();
        for handle in due.into_iter().filter(|&handle| !self.commits.is_in_flight(handle)).collect::<Vec<_>>()
        {
            self.commit_handle(handle);
            if !self.commits.is_in_flight(handle) {
                // Nothing is due any more: it was taken away meanwhile.
                self.commits.retries.remove(&handle);
            }
        }
        self.retry_refused(now);
    }

    /// Tries again what was refused and need not be left out any longer, though nothing else may be due.
    fn retry_refused(&mut self, now: Instant) {
        let at = self.timestamp(now);
        while let Some(index) = self.refusals.next_due(at) {
            let handle = self.partitions.get(index).handle;
            // What failed as a whole is tried again at its time, and takes this along.
            if !self.commits.retries.contains_key(&handle) {
                self.commit_handle(handle);
            }
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
        let now = self.now();
        let due: Vec<Committable> = self
            .offsets
            .dirty()
            .filter(|due| self.partitions.get(due.partition).handle == handle)
            .filter(|due| self.goes_with_a_commit(now, due))
            .collect();
        // A handle that failed for good commits nothing, however often it is tried.
        let usable = !due.is_empty() && self.handles[handle].fatal.is_none();
        let Some(client) = self.handles[handle].client.as_ref().filter(|_| usable) else { return };
        self.commits.last_id += 1;
        let id = self.commits.last_id;
        let entries = due.iter().map(|due| {
            let entry = &self.partitions.get(due.partition).entry;
            (entry.topic.as_str(), entry.partition, due.offset)
        });
        let sent = client.commit(id, entries.clone());
        let offsets =
            entries.map(|(topic, partition, offset)| (topic.to_owned(), partition, offset)).collect();
        self.note(ConsumerEvent::CommitSent { id, offsets });
        match sent {
            Ok(()) => {
                let HandlePlan { group_id, client_id, .. } = &self.handles[handle].plan;
                let span = traces::commit(group_id, client_id, id, due.len());
                let sent = Instant::now();
                self.commits.in_flight.push(InFlight { id, handle, sent, offsets: due, span });
            }
            Err(error) => self.note(ConsumerEvent::CommitResult { id, error: Some(error) }),
        }
    }

    /// Whoever was refused waits for its time, but for the last commit before it is given back.
    fn goes_with_a_commit(&self, now: Timestamp, due: &Committable) -> bool {
        let last = self.stopping.begun || self.partitions.get(due.partition).generation.is_none();
        last || self.refusals.may_send(now, due.partition, due.offset)
    }

    pub(super) fn on_committed(&mut self, now: Instant, handle: usize, outcome: CommitOutcome) {
        let Some(position) = self.commits.in_flight.iter().position(|commit| commit.id == outcome.id) else {
            return;
        };
        let commit = self.commits.in_flight.swap_remove(position);
        let failed: Vec<String> = outcome
            .offsets
            .iter()
            .filter_map(|entry| {
                let Failure { message, .. } = entry.error.as_ref()?;
                Some(format!("{} [{}]: {message}", entry.topic, entry.partition))
            })
            .collect();
        let (taken, again) = self.settle(now, handle, &commit, &outcome);
        let codes = outcome.offsets.iter().filter_map(|entry| entry.error.as_ref()).chain(&outcome.error);
        let code = codes.map(|failure| failure.code.as_str()).next();
        traces::committed(&commit.span, commit.offsets.len() - taken, code);
        let error = match (outcome.error, failed.is_empty()) {
            (None, true) => None,
            (Some(error), true) => Some(error.message),
            (_, false) => Some(failed.join("; ")),
        };
        let extent = match &error {
            None => Extent::All,
            Some(_) if taken > 0 => Extent::Some,
            Some(_) => Extent::None,
        };
        self.meters.committed(commit.sent, now, extent);
        match &error {
            Some(error) if taken > 0 => {
                tracing::warn!(id = commit.id, taken, %error, "a commit was refused in part; what it took counts");
            }
            Some(error) => {
                tracing::warn!(id = commit.id, %error, "a commit failed; its offsets go with a later one");
            }
            None => {}
        }
        self.note(ConsumerEvent::CommitResult { id: commit.id, error });
        match again {
            None => {
                self.commits.retries.remove(&handle);
            }
            // Asked for since, perhaps by a revocation that waits for it: a commit that is sent now
            // is of the generation after the rebalance that overtook this one.
            Some(Again::AfterRebalance) if self.commits.wanted.contains(&handle) => {}
            Some(again) => {
                self.commits.try_again(now, handle, again);
                // It goes with the retry.
                self.commits.wanted.retain(|&wanted| wanted != handle);
            }
        }
        if let Some(position) = self.commits.wanted.iter().position(|&wanted| wanted == handle) {
            self.commits.wanted.swap_remove(position);
            self.commit_handle(handle);
        }
    }

    /// Notes for each partition what the coordinator said of it: how many were taken, and when the handle is
    /// to try again.
    fn settle(
        &mut self,
        now: Instant,
        handle: usize,
        commit: &InFlight,
        outcome: &CommitOutcome,
    ) -> (usize, Option<Again>) {
        let at = self.timestamp(now);
        // Nearly always there is none.
        let failed: Vec<(&OffsetEntry, &Failure)> =
            outcome.offsets.iter().filter_map(|answer| Some((answer, answer.error.as_ref()?))).collect();
        let failure = |due: &Committable| {
            let entry = &self.partitions.get(due.partition).entry;
            let own = failed
                .iter()
                .find(|(answer, _)| answer.partition == entry.partition && answer.topic == entry.topic);
            // An error of the whole request stands for every partition.
            own.map(|(_, failure)| *failure).or(outcome.error.as_ref())
        };
        let failures: Vec<Option<&Failure>> = commit.offsets.iter().map(failure).collect();
        let taken = failures.iter().filter(|failure| failure.is_none()).count();
        let (mut again, mut forbidden) = (None, None);
        let mut refused = Vec::new();
        for (due, failure) in commit.offsets.iter().zip(failures) {
            let Some(failure) = failure else {
                self.offsets.committed(due.partition, due.generation, due.offset);
                self.is_taken(at, due.partition);
                continue;
            };
            match Concern::of(&failure.code, taken > 0) {
                Concern::Partition(prospect) => refused.push((*due, failure, prospect)),
                Concern::Overtaken => again = again.max(Some(Again::AfterRebalance)),
                Concern::Passing => again = again.max(Some(Again::Later)),
                Concern::Group => forbidden = Some(failure),
            }
        }
        if let Some(failure) = forbidden {
            self.group_may_not_commit(handle, failure);
        } else if taken > 0 {
            self.commits.forbidden.remove(&handle);
        }
        self.note_missing_topics(at, handle, commit, &refused);
        for (due, failure, prospect) in refused {
            self.is_refused(at, handle, &due, failure, prospect);
        }
        (taken, again)
    }

    /// A handle's group may not commit at all: told once, until something of it was taken.
    fn group_may_not_commit(&mut self, handle: usize, failure: &Failure) {
        if !self.commits.forbidden.insert(handle) {
            return;
        }
        // The error is the handle's: of a topic only where the handle has just one.
        let topic = match self.handles[handle].plan.topics.as_slice() {
            &[topic] => Some(self.topics[topic].to_string()),
            _ => None,
        };
        let error = LaneError {
            topic,
            partition: None,
            code: failure.code.clone(),
            message: format!("nothing can be committed: {}", failure.message),
            fatal: false,
            remedy: None,
        };
        let error = self.with_remedy(handle, error);
        self.errors.push(error);
    }

    /// Marks one record as processed, in any order and at any time as long as this consumer owns its
    /// partition; afterwards it has no effect, and the record comes again at its new owner. The next
    /// commit goes up to the first record of the partition that is not marked.
    ///
    /// Takes a record of a batch, a copy of one, or its [`Receipt`].
    pub fn ack(&mut self, record: impl Into<Receipt>) {
        let Receipt { index, generation, offset } = record.into();
        self.complete(index, generation, OffsetRange { first: offset, last: offset });
    }

    /// These records are processed.
    pub(super) fn complete(&mut self, index: PartitionIndex, generation: Generation, range: OffsetRange) {
        if let Err(error) = self.offsets.completed(index, generation, range) {
            // Everything that this consumer delivered was noted then.
            tracing::error!(%error, "marked records of another consumer as processed; ignored");
        }
    }

    /// Tells the tracker what the caller is about to get.
    pub(super) fn note_delivered(&mut self, batch: &mut BatchBuilder) {
        let mut stepped_back: Vec<(PartitionIndex, Generation)> = Vec::new();
        for (group, first, last) in batch.spans() {
            let (index, range) = (group.index, OffsetRange { first, last });
            let lane = LaneIndex::from_position(self.partitions.get(index).lane);
            self.refill.delivered(lane, index, first);
            match self.offsets.delivered(index, range) {
                Ok(_) => {}
                Err(DeliveryError::SteppedBack { position, .. }) => {
                    // The log was truncated, or a seek was not waited for. What comes is read anew.
                    tracing::warn!(
                        topic = &*group.topic,
                        group.partition,
                        first,
                        position,
                        "reads on from an earlier offset"
                    );
                    if let Some(generation) = self.offsets.sought(index, first) {
                        stepped_back.push((index, generation));
                        // Nothing lies before it in a generation that has just begun.
                        let _ = self.offsets.delivered(index, range);
                    }
                }
                Err(error) => tracing::error!(%error, topic = &*group.topic, "a delivery that cannot be"),
            }
        }
        for (index, generation) in stepped_back {
            self.partitions.get_mut(index).generation = Some(generation);
            batch.set_generation(index, generation);
        }
    }
}
