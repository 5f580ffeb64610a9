//! Partitions whose commits the coordinator refuses: named once, left out for a while, tried again.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use fairpoll_core::quarantine::{Episode, News};
use fairpoll_core::refusal::Prospect;
use fairpoll_core::{Committable, PartitionIndex, Refusals, Timestamp};

use crate::batch::LaneError;
use crate::event::ConsumerEvent;
use crate::ffi::{Failure, PartitionEntry};
use crate::status::RefusedCommit;

use super::Consumer;
use super::commit::InFlight;

/// A right or a topic that is missing is not back within milliseconds, and one request every half minute is
/// no burden; what is not committed for so long comes again after a crash.
const LEFT_OUT_FIRST: Duration = Duration::from_secs(1);
const LEFT_OUT_CAP: Duration = Duration::from_secs(30);

const MISSING: &str = "UNKNOWN_TOPIC_OR_PART";

pub(super) fn nobody() -> Refusals {
    Refusals::new(LEFT_OUT_FIRST, LEFT_OUT_CAP)
}

impl Consumer {
    /// The coordinator refused a partition's offset.
    pub(super) fn is_refused(
        &mut self,
        at: Timestamp,
        handle: usize,
        due: &Committable,
        failure: &Failure,
        prospect: Prospect,
    ) {
        let partition = self.partitions.get(due.partition);
        if partition.generation.is_none() {
            // On its way to its next owner, which is told by its own commits.
            return;
        }
        let PartitionEntry { topic, partition } = partition.entry.clone();
        // Partitions that were refused together must not come back together.
        let random = RandomState::new().build_hasher().finish();
        let what = (failure.code.as_str(), prospect);
        if self.refusals.refused(at, due.partition, due.offset, what, random) == News::Repeated {
            return;
        }
        let error = LaneError {
            topic: Some(topic.clone()),
            partition: Some(partition),
            code: failure.code.clone(),
            message: format!("offset {} could not be committed: {}", due.offset, failure.message),
            fatal: false,
            remedy: None,
        };
        let error = self.with_remedy(handle, error);
        tracing::warn!(topic, partition, %error, "a partition's commit is refused; no other is kept back by it");
        self.errors.push(error);
        let (offset, code, message) = (due.offset, failure.code.clone(), failure.message.clone());
        self.note(ConsumerEvent::CommitRefused { topic, partition, offset, code, message });
    }

    /// The coordinator took a partition's offset.
    pub(super) fn is_taken(&mut self, at: Timestamp, index: PartitionIndex) {
        let Some(Episode { since, code, errors }) = self.refusals.accepted(index) else { return };
        let after = at.since(since);
        let owner = self.partitions.get(index);
        let (PartitionEntry { topic, partition }, of) = (owner.entry.clone(), owner.topic);
        tracing::info!(topic, partition, refusals = errors, ?after, code, "its commits are taken again");
        self.note(ConsumerEvent::CommitAccepted { topic, partition, refusals: errors, after });
        if self.failure_code(of) == Some(MISSING) {
            self.topic_works(at, of);
        }
    }

    /// Under KIP-848 nobody says that a topic was deleted but the coordinator that takes its offsets no
    /// longer. A topic of which it still takes some is there.
    pub(super) fn note_missing_topics(
        &mut self,
        at: Timestamp,
        handle: usize,
        commit: &InFlight,
        refused: &[(Committable, &Failure, Prospect)],
    ) {
        let topic_of = |due: &Committable| self.partitions.get(due.partition).topic;
        let is_missing = |due: &Committable| {
            refused.iter().any(|(other, failure, _)| other == due && failure.code == MISSING)
        };
        let there: BTreeSet<usize> =
            commit.offsets.iter().filter(|due| !is_missing(due)).map(topic_of).collect();
        let mut gone: Vec<(usize, &Failure)> = Vec::new();
        for (due, failure, _) in refused.iter().filter(|(_, failure, _)| failure.code == MISSING) {
            if self.refusals.is_refused(due.partition) {
                // It was said when that began; now it may be alone in its commit.
                continue;
            }
            let topic = topic_of(due);
            if !there.contains(&topic) && gone.iter().all(|(known, _)| *known != topic) {
                gone.push((topic, failure));
            }
        }
        for (topic, failure) in gone {
            let error = LaneError {
                topic: Some(self.topics[topic].to_string()),
                partition: None,
                code: failure.code.clone(),
                message: failure.message.clone(),
                fatal: false,
                remedy: None,
            };
            let error = self.with_remedy(handle, error);
            let news = self.topic_fails(at, topic, error);
            self.errors.extend(news);
        }
    }

    /// Whose commits are refused now, by topic and partition.
    pub(super) fn refused_commits(&self) -> Vec<RefusedCommit> {
        let mut all: Vec<RefusedCommit> = self
            .refusals
            .all_refused()
            .map(|(index, episode, next_try)| {
                let PartitionEntry { topic, partition } = self.partitions.get(index).entry.clone();
                let Episode { since, code, errors } = episode.clone();
                RefusedCommit { topic, partition, since, code, refusals: errors, next_try }
            })
            .collect();
        all.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        all
    }
}
