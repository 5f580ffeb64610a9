//! Polls that want a record of each topic.
//!
//! While a call waits its records stay in the lanes: it only looks at them. They are taken when the
//! batch is built, without awaiting anything in between, so a call that is dropped has nothing to give
//! back, and a rebalance finds nothing on its way.

use std::time::{Duration, Instant};

use fairpoll_core::{LaneIndex, NextRecord, PartitionIndex};
use tokio::time;
use tracing::Instrument;

use crate::batch::{BatchBuilder, CompleteBatch, MissingReason, MissingTopic};
use crate::error::PollError;
use crate::traces;

use super::Consumer;

/// What a look at a topic found.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    next: NextRecord,
    /// Why there is no record, should it stay so.
    reason: MissingReason,
}

impl Seen {
    const fn here() -> Self {
        // The reason is told should the record be gone when it is taken.
        Self { next: NextRecord::Here, reason: MissingReason::NotFetched }
    }
}

impl Consumer {
    /// The next records with at least one of each topic that has any.
    ///
    /// Waits until every topic with records can contribute, at most `max_wait`, and then takes from
    /// each lane up to its quota, as a [`get_many`](Self::get_many) does. A topic without records on the
    /// broker, as far as the client knows, adds no waiting; while no topic has any, the call waits for
    /// the first. A topic that could not contribute is named with the reason in
    /// [`CompleteBatch::missing`]. Errors of single topics are in the batch and do not end the wait.
    ///
    /// Not waited for, only named: a paused topic; one of which this consumer owns no partition, once
    /// its group is joined; and one that was waited for in vain by an earlier call, until it delivers or
    /// more of it is known to be on the broker. The last rule also bounds what a log costs that ends
    /// with transaction markers, which look like records that are late: one `max_wait`.
    ///
    /// In `single` all topics share one queue, and the cap stays on the total. The call looks through as
    /// many records as one poll may return: where they hold every topic the batch is complete, and where
    /// one topic's backlog fills them it returns at once and names the others as
    /// [`BehindOthers`](MissingReason::BehindOthers), since no waiting would help them.
    ///
    /// Cancellation-safe: what a dropped call had waited for is delivered by the next one, this or
    /// `get_many`, unless its partition was given back meanwhile.
    ///
    /// ```no_run
    /// # async fn example(consumer: &mut fairpoll::Consumer) -> Result<(), fairpoll::PollError> {
    /// use std::time::Duration;
    ///
    /// let input = consumer.get_complete(Duration::from_secs(1)).await?;
    /// for missing in &input.missing {
    ///     eprintln!("computing without {missing}");
    /// }
    /// println!("{} records", input.batch.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`get_many`](Self::get_many).
    pub async fn get_complete(&mut self, max_wait: Duration) -> Result<CompleteBatch, PollError> {
        let span = traces::get_complete(&self.config.group_id);
        let result = self.poll_complete(max_wait).instrument(span.clone()).await;
        traces::polled(&span, result.as_ref().map(|input| (input.batch.len(), input.batch.errors().len())));
        result
    }

    async fn poll_complete(&mut self, max_wait: Duration) -> Result<CompleteBatch, PollError> {
        if self.stopping.begun {
            return Err(PollError::Stopped);
        }
        let began = Instant::now();
        self.complete_input.begin(self.timestamp(began), max_wait);
        loop {
            let now = Instant::now();
            self.serve(now)?;
            self.give_way(now)?;
            let at = self.timestamp(now);
            let first_fetch = self.look_at_first_fetches(at);
            let seen = self.look_at_topics(now);
            let wait = self.complete_input.waiting(at, seen.iter().map(|topic| topic.next));
            let Some(wait) = wait.filter(|_| !self.asks_the_application(began, now)) else {
                self.refill.over(at);
                let batch = self.collect(at, None);
                let missing = self.missing(&batch, seen);
                self.meter(&batch);
                // As in `get_many`, nothing is awaited between taking and returning.
                let batch = batch.build(&self.topics, self.batches.ticket());
                return Ok(CompleteBatch { batch, missing });
            };
            let mut wake_at = self.next_wake(now).min(self.instant(wait.at));
            if let Some(first_fetch) = first_fetch {
                wake_at = wake_at.min(self.instant(first_fetch.at));
            }
            let _ = time::timeout_at(wake_at.into(), self.wake.woken()).await;
        }
    }

    /// What is known of each topic's next record, in the configuration's order.
    pub(super) fn look_at_topics(&mut self, now: Instant) -> Vec<Seen> {
        if self.degrading.is_under_way() {
            // They come again once the consumer has started anew, and not before.
            let withheld = Seen { next: NextRecord::Withheld, reason: MissingReason::NotAssigned };
            return vec![withheld; self.topics.len()];
        }
        let mut here = vec![false; self.topics.len()];
        let mut behind_others = vec![false; self.topics.len()];
        let mut found_out = BatchBuilder::with_errors(std::mem::take(&mut self.errors));
        let quanta: Vec<u32> = (0..self.lanes.len()).map(|lane| self.quantum(lane)).collect();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let plan = &self.topology.lanes[index];
            // A queue of one topic is known by its first record.
            let depth = match plan.topics.as_slice() {
                [_] => 1,
                _ => quanta[index] as usize,
            };
            let found = |topic: usize, _| here[topic] = true;
            let looked = lane.look(depth, &self.partitions, &self.topics, &mut found_out, found);
            if looked.records > 0 {
                self.poll.lane_ready(LaneIndex::from_position(index));
            }
            if !looked.to_the_end && plan.topics.len() > 1 {
                plan.topics.iter().for_each(|&topic| behind_others[topic] = !here[topic]);
            }
        }
        self.judge(self.timestamp(now), &mut found_out);
        self.errors = found_out.errors;
        let joining = self.waits_for_joins(now).is_some();
        (0..self.topics.len())
            .map(|topic| {
                if self.paused[topic] {
                    return Seen { next: NextRecord::Withheld, reason: MissingReason::Paused };
                }
                if here[topic] {
                    return Seen::here();
                }
                let mut seen = self.look_at_brokers(topic, joining);
                if seen.next == NextRecord::Absent {
                    return seen;
                }
                if behind_others[topic] {
                    return Seen { next: NextRecord::Withheld, reason: MissingReason::BehindOthers };
                }
                if let Some(code) = self.failure_code(topic) {
                    seen.reason = MissingReason::Failed { code: code.to_owned() };
                }
                seen
            })
            .collect()
    }

    /// What the client's cache says of a topic of which nothing is fetched.
    fn look_at_brokers(&mut self, topic: usize, joining: bool) -> Seen {
        let owned: Vec<PartitionIndex> = self.partitions.by_topic[topic]
            .iter()
            .flatten()
            .copied()
            .filter(|&index| self.partitions.get(index).generation.is_some())
            .collect();
        if owned.is_empty() {
            let next = if joining { NextRecord::Coming { seen: 0 } } else { NextRecord::Withheld };
            return Seen { next, reason: MissingReason::NotAssigned };
        }
        let (mut coming, mut ends) = (false, 0_u64);
        for index in owned {
            let end = self.cached_end(index);
            coming |= self.is_coming(index, end);
            ends = ends.wrapping_add(end.map_or(0, i64::unsigned_abs));
        }
        let next = if coming { NextRecord::Coming { seen: ends } } else { NextRecord::Absent };
        Seen { next, reason: MissingReason::NotFetched }
    }

    fn cached_end(&self, index: PartitionIndex) -> Option<i64> {
        self.watermarks(index).map(|(_, end)| end)
    }

    /// Start and end of the log as the last fetch told them.
    pub(super) fn watermarks(&self, index: PartitionIndex) -> Option<(i64, i64)> {
        let partition = self.partitions.get(index);
        let client = self.handles[partition.handle].client.as_ref()?;
        client.cached_watermarks(&partition.entry)
    }

    /// Whether the partition should have a record that is not fetched yet.
    fn is_coming(&mut self, index: PartitionIndex, end: Option<i64>) -> bool {
        let Some(end) = end else { return true };
        if self.first_fetch.is_unknown(index) {
            return true;
        }
        let position = self.offsets.position(index);
        // Its first fetch was answered and brought nothing: it was read to its end by an earlier owner.
        let from = position.unwrap_or_else(|| *self.partitions.get_mut(index).reads_from.get_or_insert(end));
        from < end
    }

    fn missing(&self, batch: &BatchBuilder, seen: Vec<Seen>) -> Vec<MissingTopic> {
        let mut contributed = vec![false; seen.len()];
        for group in batch.groups() {
            contributed[self.partitions.get(group.index).topic] = true;
        }
        seen.into_iter()
            .enumerate()
            .filter(|(topic, seen)| !contributed[*topic] && seen.next != NextRecord::Absent)
            .map(|(topic, seen)| MissingTopic { topic: self.topics[topic].to_string(), reason: seen.reason })
            .collect()
    }
}
