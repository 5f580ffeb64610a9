//! Where partitions go on whose handles are about to be given up, although nothing was delivered of them.
//!
//! A group that has committed nothing begins where `auto.offset.reset` says: at the log's end that would pass
//! over what waits in the lane, and over all that is produced until the new handle has begun. So the place is
//! committed, once it is certain that the group has no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use fairpoll_core::PartitionIndex;
use fairpoll_core::first_fetch::SETTLE_RECORDS;
use fairpoll_core::offsets::Place;
use tokio::task;

use crate::config::properties::OffsetReset;
use crate::ffi::{Failure, OffsetEntry, PartitionEntry};

use super::Consumer;

/// How long the coordinator may take to say what is committed. Shorter than commits are waited for, which
/// come after it.
const ASK_WAIT: Duration = Duration::from_secs(3);

type Answer = Result<Vec<OffsetEntry>, Failure>;

/// A question to the coordinator of one handle's group.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) handle: usize,
    unplaced: Vec<Unplaced>,
    answer: Receiver<Answer>,
    /// Until then records may be on their way that the ends count already.
    settles: Instant,
}

/// A partition of which no offset tells where it goes on.
#[derive(Debug)]
pub(super) struct Unplaced {
    pub(super) index: PartitionIndex,
    pub(super) entry: PartitionEntry,
    pub(super) was_sought: bool,
    /// The log's end as the first fetch told it, or else the last.
    pub(super) end: Option<i64>,
}

impl Consumer {
    /// Has every partition keep its place. Asks the group where that depends on what it has committed.
    pub(super) fn keep_places(&mut self, now: Instant) {
        let assigned: Vec<PartitionIndex> = self.partitions.assigned().map(|(index, _)| index).collect();
        // Only then may the new handle begin behind what the old one had not delivered. From the start nothing
        // is passed over, and where no position may be chosen there is none to be kept.
        let from_the_end = OffsetReset::of(&self.config.properties) == OffsetReset::Latest;
        let mut unplaced: BTreeMap<usize, Vec<Unplaced>> = BTreeMap::new();
        for index in assigned {
            let was_sought = match self.offsets.keeps_its_place(index) {
                Some(Place::Sought) => true,
                Some(Place::Untold) if from_the_end => false,
                _ => continue,
            };
            let partition = self.partitions.get(index);
            let end = partition.reads_from.filter(|_| !was_sought);
            let end = end.or_else(|| self.watermarks(index).map(|(_, end)| end));
            let entry = partition.entry.clone();
            unplaced.entry(partition.handle).or_default().push(Unplaced { index, entry, was_sought, end });
        }
        for (handle, unplaced) in unplaced {
            self.ask_for_places(now, handle, unplaced);
        }
    }

    fn ask_for_places(&mut self, now: Instant, handle: usize, unplaced: Vec<Unplaced>) {
        let Some(client) = self.handles[handle].client.clone() else { return };
        let entries: Vec<PartitionEntry> = unplaced.iter().map(|one| one.entry.clone()).collect();
        let (tell, answer) = channel();
        let wake = self.wake.clone();
        task::spawn_blocking(move || {
            // Nobody may wait for it any more.
            let _ = tell.send(client.committed(&entries, ASK_WAIT));
            drop(client);
            wake.wake();
        });
        self.commits.questions.push(Question { handle, unplaced, answer, settles: now + SETTLE_RECORDS });
    }

    /// Takes the answers that are there, and commits the places.
    pub(super) fn serve_places(&mut self, now: Instant) {
        if !self.degrading.is_under_way() {
            self.commits.questions.clear();
            return;
        }
        for question in std::mem::take(&mut self.commits.questions) {
            if now < question.settles {
                self.commits.questions.push(question);
                continue;
            }
            match question.answer.try_recv() {
                Ok(Ok(committed)) => {
                    self.place(&question.unplaced, &committed);
                    self.commit_handle(question.handle);
                }
                Ok(Err(Failure { code, message })) => {
                    tracing::warn!(code, message, "it is not known what the group has committed");
                }
                Err(TryRecvError::Empty) => self.commits.questions.push(question),
                // The runtime is being shut down.
                Err(TryRecvError::Disconnected) => {}
            }
        }
    }

    pub(super) fn place(&mut self, unplaced: &[Unplaced], committed: &[OffsetEntry]) {
        let without = |entry: &PartitionEntry| {
            let of =
                |answer: &&OffsetEntry| answer.partition == entry.partition && answer.topic == entry.topic;
            committed.iter().find(of).is_some_and(|answer| answer.error.is_none() && answer.offset < 0)
        };
        let open: Vec<&Unplaced> =
            unplaced.iter().filter(|one| one.was_sought || without(&one.entry)).collect();
        let waiting = self.first_waiting(open.iter().map(|one| one.index).collect());
        for one in open {
            // What was sought and brought nothing goes back to what is committed: that repeats, and loses
            // nothing.
            let end = one.end.filter(|_| !one.was_sought);
            if let Some(offset) = waiting.get(&one.index).copied().or(end) {
                self.offsets.goes_on_from(one.index, offset);
            }
        }
    }

    /// The first record of each of these partitions that waits in its lane.
    fn first_waiting(&mut self, of: BTreeSet<PartitionIndex>) -> BTreeMap<PartitionIndex, i64> {
        let lanes: BTreeSet<usize> = of.iter().map(|&index| self.partitions.get(index).lane).collect();
        let mut first = BTreeMap::new();
        for lane in lanes {
            self.lanes[lane].look_through(&self.partitions, &self.topics, |index, offset| {
                if of.contains(&index) {
                    let known = first.entry(index).or_insert(offset);
                    *known = offset.min(*known);
                }
            });
        }
        first
    }
}
