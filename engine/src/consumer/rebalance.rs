//! Rebalances: a state machine inside the loop, never blocking.
//!
//! Assignment: ask where its partitions are to be read from ([`arrival`](super::arrival)), forward
//! every partition to its lane, then assign. Revocation: stop taking from the partitions, commit
//! what was processed of them, and give them back when the broker has answered or the time for it
//! is up.

use std::time::{Duration, Instant};

use fairpoll_core::{LaneIndex, PartitionIndex, Timestamp, WatermarkBefore};
use tracing::Span;

use crate::batch::LaneError;
use crate::event::ConsumerEvent;
use crate::ffi::{Message, PartitionEntry, Start};
use crate::memory::beyond_the_budget;
use crate::metrics::Rebalance;
use crate::topology::HandlePlan;
use crate::traces;

use super::{Consumer, Partition};

/// How long a revocation waits for the answer to its last commit. The group waits for it, and all
/// of a handle's topics with it; a coordinator that answers takes milliseconds.
const REVOKE_COMMIT_WAIT: Duration = Duration::from_secs(2);

/// Partitions on their way back to the group.
#[derive(Debug)]
pub(super) struct Revocation {
    entries: Vec<PartitionEntry>,
    lost: bool,
    pub(super) deadline: Instant,
    /// Ends when they are given back.
    span: Span,
}

impl Consumer {
    /// Takes over what the group gave: from here on it is fetched.
    pub(super) fn take_over(&mut self, now: Instant, handle: usize, starts: &[Start]) {
        let Some(client) = self.handles[handle].client.clone() else { return };
        let _span = self.rebalance_span(handle, Rebalance::Assigned, starts.len()).entered();
        self.generation += 1;
        let at = self.timestamp(now);
        let mut indexes = Vec::with_capacity(starts.len());
        for Start { entry, at: start } in starts {
            let Some(index) = self.partition_index(handle, entry) else {
                // librdkafka assigns what was subscribed, and that are our topics.
                tracing::error!(
                    topic = entry.topic,
                    partition = entry.partition,
                    "assigned a topic that was not asked for"
                );
                continue;
            };
            let lane = self.partitions.get(index).lane;
            // On every assignment: revoking un-forwards a queue for good. And before assigning:
            // until then nothing is fetched that could stray.
            if let Err(message) = client.forward(entry, self.lanes[lane].queue()) {
                self.errors.push(LaneError {
                    topic: Some(entry.topic.clone()),
                    partition: Some(entry.partition),
                    code: "FORWARD".to_owned(),
                    message,
                    fatal: false,
                    remedy: None,
                });
            }
            let watermark = match client.cached_watermarks(entry) {
                Some(_) => WatermarkBefore::Valid,
                None => WatermarkBefore::Invalid,
            };
            let generation = self.offsets.assigned(index, None);
            let partition = self.partitions.get_mut(index);
            (partition.generation, partition.fetched_at) = (Some(generation), at);
            let empty = start.filter(|start| start.is_end);
            partition.reads_from = empty.map(|start| start.offset);
            let topic = partition.topic;
            self.topic_works(at, topic);
            indexes.push(index);
            let lane = LaneIndex::from_position(lane);
            if empty.is_none() {
                self.first_fetch.assigned(at, lane, self.config.first_fetch_wait, [(index, watermark)]);
            }
        }
        self.set_paused_of(handle, &indexes, false);
        if let Err(message) = client.assign(starts) {
            tracing::error!(%message, "librdkafka refused an assignment");
            let code = "ASSIGN".to_owned();
            let (topic, partition, remedy) = (None, None, None);
            self.errors.push(LaneError { topic, partition, code, message, fatal: false, remedy });
        }
        self.set_paused_of(handle, &indexes, true);
        self.on_joined(now, handle);
        let assigned = self.partitions.by_topic.iter();
        let owned = |index: &&Option<PartitionIndex>| {
            index.is_some_and(|index| self.partitions.get(index).generation.is_some())
        };
        let assigned = assigned.map(|of_topic| of_topic.iter().filter(owned).count());
        if let Some(warning) = beyond_the_budget(&self.config, assigned) {
            tracing::warn!("{warning}");
        }
        self.meters.rebalance(Rebalance::Assigned);
        self.note(ConsumerEvent::Assigned {
            generation: self.generation,
            partitions: names(starts.iter().map(|start| &start.entry)),
        });
    }

    /// A handle had its first assignment, or will have none.
    pub(super) fn on_joined(&mut self, now: Instant, handle: usize) {
        if std::mem::replace(&mut self.handles[handle].joined, true) {
            return;
        }
        self.join_wait.joined(now);
        if self.joined() {
            let took = now.duration_since(self.opened);
            let partitions = self.partitions.assigned().count();
            tracing::info!(partitions, ?took, "every handle has joined its group");
        }
    }

    pub(super) fn on_revoke(
        &mut self,
        now: Instant,
        handle: usize,
        entries: Vec<PartitionEntry>,
        lost: bool,
    ) {
        // A handle that closes may take back what it has no answer for; it gets both answers, in order.
        self.hurry_arrival(now, handle);
        // Another revocation cannot come before this one is answered.
        debug_assert!(self.handles[handle].revocation.is_none(), "librdkafka waits for the answer");
        let kind = if lost { Rebalance::Lost } else { Rebalance::Revoked };
        let span = self.rebalance_span(handle, kind, entries.len());
        // Incremental revocations name their partitions; a list is empty where nothing is owned.
        for entry in &entries {
            if let Some(index) = self.partition_index(handle, entry) {
                let lane = self.partitions.get(index).lane;
                self.partitions.get_mut(index).generation = None;
                self.first_fetch.revoked(index);
                self.refill.forget(index);
                self.forget_failure(index);
                self.lanes[lane].forget_ahead(|message| is_of(message, entry));
            }
        }
        if !lost {
            span.in_scope(|| self.commit_handle(handle));
        }
        let deadline = now + REVOKE_COMMIT_WAIT;
        self.handles[handle].revocation = Some(Revocation { entries, lost, deadline, span });
        self.advance_revocation(now, handle);
    }

    /// Gives partitions back once their last commit is answered, or cannot be waited for.
    pub(super) fn advance_revocation(&mut self, now: Instant, handle: usize) {
        let Some(revocation) = &self.handles[handle].revocation else { return };
        let waits = !revocation.lost && self.commits.may_succeed(handle) && now < revocation.deadline;
        if waits {
            return;
        }
        let Some(Revocation { entries, lost, span, .. }) = self.handles[handle].revocation.take() else {
            return;
        };
        let _span = span.entered();
        let indexes: Vec<PartitionIndex> =
            entries.iter().filter_map(|entry| self.partition_index(handle, entry)).collect();
        for index in indexes {
            // From here on completions of the old generation are fenced.
            self.offsets.revoked(index);
            self.refusals.forget(index);
        }
        if let Some(client) = &self.handles[handle].client
            && let Err(message) = client.unassign(&entries)
        {
            tracing::error!(%message, "librdkafka refused to give partitions back");
        }
        self.meters.rebalance(if lost { Rebalance::Lost } else { Rebalance::Revoked });
        let (generation, partitions) = (self.generation, names(&entries));
        self.note(ConsumerEvent::Revoked { generation, partitions, lost });
    }

    fn rebalance_span(&self, handle: usize, kind: Rebalance, partitions: usize) -> Span {
        let HandlePlan { group_id, client_id, .. } = &self.handles[handle].plan;
        traces::rebalance(group_id, client_id, kind.name(), partitions)
    }

    /// The dense number of a partition; the first look gives it one.
    fn partition_index(&mut self, handle: usize, entry: &PartitionEntry) -> Option<PartitionIndex> {
        let topics = &self.handles[handle].plan.topics;
        let topic = *topics.iter().find(|&&topic| *self.topics[topic] == *entry.topic)?;
        let number = usize::try_from(entry.partition).ok()?;
        if let Some(known) = self.partitions.find(topic, entry.partition) {
            return Some(known);
        }
        let lane = self
            .topology
            .lanes
            .iter()
            .position(|lane| lane.handle == handle && lane.topics.contains(&topic))
            .expect("every topic of a handle has a lane on it");
        let index = super::index_of(self.partitions.all.len());
        let entry = entry.clone();
        self.partitions.all.push(Partition {
            topic,
            entry,
            handle,
            lane,
            generation: None,
            fetched_at: Timestamp::ZERO,
            paused: false,
            reads_from: None,
        });
        let slots = &mut self.partitions.by_topic[topic];
        if slots.len() <= number {
            slots.resize(number + 1, None);
        }
        slots[number] = Some(index);
        Some(index)
    }

    /// A message on the control queue: an error of a topic, or a record that came before its
    /// partition was forwarded. Records are never dropped and never reordered.
    pub(super) fn on_stray(&mut self, now: Instant, handle: usize, message: Message) {
        if message.is_error() {
            let fatal = self.handles[handle].client.as_ref().and_then(|client| client.fatal_error());
            if let Some((code, what)) = fatal {
                // librdkafka says it in two ways, in no order: by a message, and by its error callback.
                self.on_handle_error(now, handle, code, what, true);
                return;
            }
            let mut error = LaneError::from(message.error());
            // Of a topic as a whole librdkafka reports partition 0, and no offset.
            error.partition = error.partition.filter(|_| message.offset() >= 0);
            if error.topic.is_none() && self.handles[handle].plan.topics.len() == 1 {
                error.topic = Some(self.topics[self.handles[handle].plan.topics[0]].to_string());
            }
            // Its only topic does not exist: there is no group to join for it, and the other handles'
            // topics must not wait for one.
            if error.code == "UNKNOWN_TOPIC_OR_PART" && self.handles[handle].plan.topics.len() == 1 {
                self.on_joined(now, handle);
            }
            let news = self.judge_stray(now, handle, &message, error);
            self.errors.extend(news);
            return;
        }
        let topic = message.topic().map(str::to_owned);
        let entry = topic.map(|topic| PartitionEntry { topic, partition: message.partition() });
        let index = entry.and_then(|entry| self.partition_index(handle, &entry));
        match index {
            Some(index) => {
                let lane = self.partitions.get(index).lane;
                self.strays += 1;
                self.lanes[lane].add_stray(message);
                self.poll.lane_ready(LaneIndex::from_position(lane));
            }
            None => tracing::error!(topic = message.topic(), "a record of a topic that was not asked for"),
        }
    }
}

pub(super) fn is_of(message: &Message, entry: &PartitionEntry) -> bool {
    message.partition() == entry.partition && message.topic() == Some(entry.topic.as_str())
}

fn names<'a>(entries: impl IntoIterator<Item = &'a PartitionEntry>) -> Vec<(String, i32)> {
    entries.into_iter().map(|entry| (entry.topic.clone(), entry.partition)).collect()
}
