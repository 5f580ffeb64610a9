//! Whose records come, and from where: pausing topics, seeking.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fairpoll_core::{LaneIndex, PartitionIndex};
use tokio::{task, time};

use crate::error::{SeekError, UnknownTopic};
use crate::ffi::Message;
use crate::topology::LanePlan;

use super::Consumer;

/// Where to read on, for [`Consumer::seek`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeekTo {
    /// The record at this offset, or the next that there is. Not below 0.
    Offset(i64),
    /// The first record that the log still holds.
    Beginning,
    /// Behind the last record: what comes from now on.
    End,
}

impl SeekTo {
    /// As librdkafka writes it.
    const fn wire(self) -> i64 {
        match self {
            Self::Offset(offset) => offset,
            Self::Beginning => -2,
            Self::End => -1,
        }
    }

    /// As the offset tracker writes it.
    const fn bound(self) -> i64 {
        match self {
            Self::Offset(offset) => offset,
            Self::Beginning => i64::MIN,
            Self::End => i64::MAX,
        }
    }
}

/// librdkafka refuses to seek before it has begun to fetch, which it does a moment after the
/// assignment.
const NOT_YET: &str = "_STATE";
const SEEK_AGAIN: Duration = Duration::from_millis(10);

impl Consumer {
    /// Delivers nothing of this topic until it is resumed, also over rebalances. Idempotent.
    ///
    /// With a lane of its own (`multi`, `fair`) the topic keeps what is fetched, and its prefetch goes
    /// on up to the queue limits; resuming costs nothing. In `single` it is one among others in the
    /// queue, so the client drops what is fetched of it and fetches that again later.
    ///
    /// # Errors
    /// If the consumer does not have the topic.
    pub fn pause_topic(&mut self, topic: &str) -> Result<(), UnknownTopic> {
        self.set_paused(topic, true)
    }

    /// Delivers the topic again. Idempotent.
    ///
    /// # Errors
    /// If the consumer does not have the topic.
    pub fn resume_topic(&mut self, topic: &str) -> Result<(), UnknownTopic> {
        self.set_paused(topic, false)
    }

    /// The topics that are paused, in the configuration's order.
    pub fn paused_topics(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().zip(&self.paused).filter(|(_, paused)| **paused).map(|(topic, _)| &**topic)
    }

    fn set_paused(&mut self, topic: &str, paused: bool) -> Result<(), UnknownTopic> {
        let topic = self.topic(topic)?;
        if std::mem::replace(&mut self.paused[topic], paused) == paused {
            return Ok(());
        }
        let (position, lane) = self
            .topology
            .lanes
            .iter()
            .enumerate()
            .find(|(_, lane)| lane.topics.contains(&topic))
            .expect("every topic has a lane");
        if lane.topics.len() > 1 {
            let handle = lane.handle;
            let indexes: Vec<PartitionIndex> = self
                .partitions
                .assigned()
                .filter(|(_, partition)| partition.topic == topic)
                .map(|(index, _)| index)
                .collect();
            let at = self.now();
            // What is not fetched cannot fail, and what is fetched again may work.
            indexes.iter().for_each(|&index| self.begins_anew(at, index));
            self.pause_in_client(handle, &indexes, paused);
            let of_topic = |message: &Message| message.topic() == Some(&self.topics[topic]);
            // There is no lane while the consumer starts anew; the new one begins with what is paused.
            let lane = self.lanes.get_mut(position);
            if paused {
                lane.into_iter().for_each(|lane| lane.hold(of_topic));
            } else {
                lane.into_iter().for_each(|lane| lane.release(of_topic));
                self.poll.lane_ready(LaneIndex::from_position(position));
            }
        } else if paused {
            self.poll.pause(LaneIndex::from_position(position));
        } else {
            self.poll.resume(LaneIndex::from_position(position));
        }
        Ok(())
    }

    /// Topics in a lane with others can only be held back by the client, and so can a partition.
    pub(super) fn pause_in_client(&mut self, handle: usize, indexes: &[PartitionIndex], paused: bool) {
        let mut entries = Vec::with_capacity(indexes.len());
        for &index in indexes {
            let partition = self.partitions.get_mut(index);
            partition.paused = paused;
            entries.push(partition.entry.clone());
        }
        if let Some(client) = self.handles[handle].client.as_ref().filter(|_| !entries.is_empty()) {
            client.set_paused(&entries, paused);
        }
    }

    /// Whether the application paused the topic, and it is the client that holds it back.
    pub(super) fn is_paused_in_client(&self, topic: usize) -> bool {
        let shared = |lane: &LanePlan| lane.topics.len() > 1 && lane.topics.contains(&topic);
        self.paused[topic] && self.topology.lanes.iter().any(shared)
    }

    /// What the application paused stays so under a new assignment, and nothing else: the client keeps
    /// what it was told of a partition before that was given back. Before the assignment what is not
    /// to be paused, after it what is.
    pub(super) fn set_paused_of(&mut self, handle: usize, indexes: &[PartitionIndex], paused: bool) {
        let concerns = |index: &&PartitionIndex| {
            let partition = self.partitions.get(**index);
            (paused || partition.paused) && self.is_paused_in_client(partition.topic) == paused
        };
        let concerned: Vec<PartitionIndex> = indexes.iter().filter(concerns).copied().collect();
        self.pause_in_client(handle, &concerned, paused);
    }

    /// Reads a partition on from another place. What is fetched of it is dropped; batches that were
    /// delivered before can no longer be marked as processed (they change nothing). What was
    /// processed stays to be committed, but not beyond the place that was sought.
    ///
    /// Waits until the client has begun, at most `timeout`. Dropped earlier, the seek may happen or
    /// not; nothing that comes afterwards is committed past a record that was not processed.
    ///
    /// # Errors
    /// If the consumer does not have the topic or does not own the partition now, if the offset is
    /// negative, or if the client did not begin in time: the partition then goes on where it was.
    pub async fn seek(
        &mut self,
        topic: &str,
        partition: i32,
        to: SeekTo,
        timeout: Duration,
    ) -> Result<(), SeekError> {
        if let SeekTo::Offset(offset) = to
            && offset < 0
        {
            return Err(SeekError::Negative { offset });
        }
        let number = self.topic(topic)?;
        let index = self.owned(number, partition);
        let index = index.ok_or_else(|| SeekError::NotOwned { topic: topic.to_owned(), partition })?;
        let (entry, handle, lane) = {
            let partition = self.partitions.get(index);
            (partition.entry.clone(), partition.handle, partition.lane)
        };
        let Some(client) = self.handles[handle].client.clone() else {
            return Err(SeekError::NotOwned { topic: topic.to_owned(), partition });
        };
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (client, what) = (Arc::clone(&client), entry.clone());
            let asked = task::spawn_blocking(move || client.seek_and_wait(&what, to.wire(), left)).await;
            let failure = match asked {
                Ok(Ok(())) => {
                    // Not before it is certain: had it failed, what is delivered and not processed
                    // would be forgotten, and committed past. Nobody takes records meanwhile.
                    let partition = self.partitions.get_mut(index);
                    partition.generation = self.offsets.sought(index, to.bound());
                    partition.reads_from = Some(to.bound());
                    self.refill.forget(index);
                    self.lanes[lane].forget_ahead(|message| super::rebalance::is_of(message, &entry));
                    self.begins_anew(self.now(), index);
                    return Ok(());
                }
                Ok(Err(failure)) => failure,
                // The runtime is being shut down.
                Err(error) => {
                    return Err(SeekError::Refused {
                        topic: topic.to_owned(),
                        partition,
                        what: error.to_string(),
                    });
                }
            };
            if failure.code != NOT_YET || Instant::now() + SEEK_AGAIN > deadline {
                let what = format!("{} ({})", failure.message, failure.code);
                return Err(SeekError::Refused { topic: topic.to_owned(), partition, what });
            }
            time::sleep(SEEK_AGAIN).await;
        }
    }

    pub(super) fn topic(&self, name: &str) -> Result<usize, UnknownTopic> {
        let position = self.topics.iter().position(|topic| **topic == *name);
        position.ok_or_else(|| UnknownTopic { topic: name.to_owned(), known: self.topics.len() })
    }

    fn owned(&self, topic: usize, partition: i32) -> Option<PartitionIndex> {
        let index = self.partitions.find(topic, partition)?;
        self.partitions.get(index).generation.map(|_| index)
    }
}
