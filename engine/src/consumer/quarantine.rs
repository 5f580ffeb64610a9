//! Who fails: held back, tried again, told once.
//!
//! A partition that fails is left alone, not its lane: in `single` all topics share one, and in every
//! mode a topic's partitions have leaders of their own.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use fairpoll_core::quarantine::{Episode, News, Pace, Retry};
use fairpoll_core::{PartitionIndex, Quarantine, Timestamp};

use crate::batch::{BatchBuilder, LaneError, PartitionFailure};
use crate::config::Config;
use crate::event::ConsumerEvent;
use crate::ffi::{Message, PartitionEntry};
use crate::status::Failing;

use super::Consumer;

/// The longest that a partition is left alone: a leader that is back is noticed so late. A quarter of
/// what librdkafka would ask of a broker in trouble by itself, and nobody waits long once it is over.
const PROBE_CAP: Duration = Duration::from_secs(2);

/// Beyond the two long polls that a probe may have to wait for. librdkafka's thread of a broker of which
/// nothing else is fetched looks for work once a second; the rest is the way to the broker and back.
const PROBE_ANSWER: Duration = Duration::from_secs(2);

/// librdkafka's own waits, where the configuration does not say otherwise.
const FETCH_ERROR_BACKOFF: Duration = Duration::from_millis(500);
const FETCH_WAIT_MAX: Duration = Duration::from_millis(500);

/// After this librdkafka waits ten times as long, and a second at least.
pub(super) const NOT_AUTHORIZED: &str = "TOPIC_AUTHORIZATION_FAILED";

/// There is no position to read from, and `auto.offset.reset=error` forbids to choose one. librdkafka
/// says it once and does nothing more.
const NO_POSITION: &str = "_AUTO_OFFSET_RESET";

/// What fails now.
#[derive(Debug)]
pub(super) struct Health {
    partitions: Quarantine,
    /// By topic: what concerns it as a whole.
    topics: Vec<Option<TopicFailure>>,
    /// How long librdkafka lets a partition rest after a failed fetch.
    back_off: Duration,
}

#[derive(Debug)]
struct TopicFailure {
    episode: Episode,
    /// Its handle is given up.
    fatal: bool,
    /// So many records lay in its lane when it failed; their delivery says nothing.
    fetched_before: usize,
}

impl Health {
    pub(super) fn new(config: &Config) -> Self {
        let properties = config.client_properties();
        let millis = |name, default: Duration| {
            let value = properties.get(name);
            value.and_then(|text| text.parse().ok()).map_or(default, Duration::from_millis)
        };
        let back_off = millis("fetch.error.backoff.ms", FETCH_ERROR_BACKOFF);
        let fetch_wait = millis("fetch.wait.max.ms", FETCH_WAIT_MAX);
        let pace =
            Pace { initial: back_off, cap: PROBE_CAP.max(back_off), quiet: 2 * fetch_wait + PROBE_ANSWER };
        let topics = config.topics.iter().map(|_| None).collect();
        Self { partitions: Quarantine::new(pace), topics, back_off }
    }

    /// How an error passes; `None`: it happened, and that is all there is to say.
    fn retry(&self, failure: &PartitionFailure) -> Option<Retry> {
        match failure.error.code.as_str() {
            NOT_AUTHORIZED if failure.of_fetch => {
                Some(Retry::Probe { not_before: (10 * self.back_off).max(Duration::from_secs(1)) })
            }
            _ if failure.of_fetch => Some(Retry::Probe { not_before: self.back_off }),
            NO_POSITION => Some(Retry::Nobody),
            // The client's own complaints: a record that cannot be decoded, a log that was cut.
            code if code.starts_with('_') => None,
            // It asks for offsets until it is told.
            _ => Some(Retry::ByClient),
        }
    }

    fn is_fine(&self) -> bool {
        self.partitions.is_empty() && self.topics.iter().all(Option::is_none)
    }

    /// Whether a partition fails, or its topic as a whole.
    pub(super) fn fails(&self, index: PartitionIndex, topic: usize) -> bool {
        self.topics[topic].is_some() || self.partitions.fails(index)
    }

    /// When somebody is to be tried again, or is known to work.
    pub(super) fn next_wakeup(&self) -> Option<Timestamp> {
        self.partitions.next_wakeup().map(|wakeup| wakeup.at)
    }
}

impl Consumer {
    /// After a poll took records: who works, who fails, and what of it goes into the batch.
    pub(super) fn judge(&mut self, at: Timestamp, batch: &mut BatchBuilder) {
        // What lay before an error was fetched before it.
        if !self.health.is_fine() {
            for group in batch.groups() {
                self.works(at, group.index, group.len());
            }
        }
        for failure in std::mem::take(&mut batch.failures) {
            batch.errors.extend(self.fails(at, failure));
        }
    }

    /// The same error, with what would help against it where that is known.
    pub(super) fn with_remedy(&self, handle: usize, mut error: LaneError) -> LaneError {
        if error.remedy.is_none() {
            let group = &self.handles[handle].plan.group_id;
            error.remedy = self.remedies.of(&error.code, &error.message, error.topic.as_deref(), group);
        }
        error
    }

    /// A partition delivered records.
    fn works(&mut self, at: Timestamp, index: PartitionIndex, records: usize) {
        if let Some(episode) = self.health.partitions.delivered(index) {
            self.let_go(index);
            self.release(at, index, &episode);
        }
        let topic = self.partitions.get(index).topic;
        if let Some(failure) = self.health.topics[topic].as_mut().filter(|failure| !failure.fatal) {
            if failure.fetched_before < records {
                self.topic_works(at, topic);
            } else {
                failure.fetched_before -= records;
            }
        }
    }

    /// A partition reported an error: what is to be told.
    pub(super) fn fails(&mut self, at: Timestamp, failure: PartitionFailure) -> Option<LaneError> {
        let retry = self.health.retry(&failure);
        let PartitionFailure { index, error, .. } = failure;
        let error = self.with_remedy(self.partitions.get(index).handle, error);
        self.first_fetch.errored(index);
        let Some(retry) = retry else { return Some(error) };
        // Partitions that failed together must not come back together.
        let random = RandomState::new().build_hasher().finish();
        let news = self.health.partitions.failed(at, index, &error.code, retry, random);
        if self.health.partitions.held_until(index).is_some() {
            // It was sought where it failed, or the pause would keep what librdkafka counted for a record. And
            // a seek to an offset other than 0 forgets librdkafka's own back-off: without the pause a topic
            // that may not be read was fetched a hundred times a second.
            let handle = self.partitions.get(index).handle;
            self.pause_in_client(handle, &[index], true);
        }
        let partition = self.partitions.get(index);
        match news {
            News::Repeated => return None,
            News::Changed => {}
            News::Began => {
                let (topic, partition) = (partition.entry.topic.clone(), partition.entry.partition);
                tracing::warn!(topic, partition, %error, "a partition fails; all others go on");
                let code = error.code.clone();
                self.note(ConsumerEvent::Quarantined { topic, partition: Some(partition), code });
            }
        }
        Some(error)
    }

    /// A topic as a whole reported an error: what is to be told.
    pub(super) fn topic_fails(&mut self, at: Timestamp, topic: usize, error: LaneError) -> Option<LaneError> {
        let fatal = error.fatal;
        let handle = self.handles.iter().position(|handle| handle.plan.topics.contains(&topic));
        let error = match handle {
            Some(handle) => self.with_remedy(handle, error),
            None => error,
        };
        if let Some(failure) = &mut self.health.topics[topic] {
            failure.fatal |= fatal;
            return (failure.episode.again(&error.code) != News::Repeated).then_some(error);
        }
        let lane = self.topology.lanes.iter().position(|lane| lane.topics.contains(&topic));
        let fetched_before = lane.and_then(|lane| self.lanes.get(lane)).map_or(0, |lane| lane.queued());
        let episode = Episode::begin(at, &error.code);
        self.health.topics[topic] = Some(TopicFailure { episode, fatal, fetched_before });
        let (topic, code) = (self.topics[topic].to_string(), error.code.clone());
        tracing::warn!(topic, %error, "a topic fails; all others go on");
        self.note(ConsumerEvent::Quarantined { topic, partition: None, code });
        Some(error)
    }

    /// An error on the control queue: what is to be told. A fetch may fail before its partition is
    /// forwarded, like a record may come.
    pub(super) fn judge_stray(
        &mut self,
        now: Instant,
        handle: usize,
        message: &Message,
        mut error: LaneError,
    ) -> Option<LaneError> {
        let at = self.timestamp(now);
        error = self.with_remedy(handle, error);
        let named = message.topic().and_then(|name| self.topic(name).ok());
        let Some(topic) = named else { return Some(error) };
        if message.is_of_topic() {
            error.partition = None;
            return self.topic_fails(at, topic, error);
        }
        let index = self.partitions.find(topic, message.partition());
        let Some(index) = index.filter(|&index| self.partitions.get(index).generation.is_some()) else {
            return Some(error);
        };
        let failed = message.failed_fetch();
        let of_fetch = failed.is_some();
        if let (Some(place), Some(client)) = (failed, &self.handles[handle].client) {
            client.seek(&[place]);
        }
        self.fails(at, PartitionFailure { index, of_fetch, error })
    }

    /// A handle is given up, and all its topics with it.
    pub(super) fn handle_fails(&mut self, now: Instant, handle: usize, error: &LaneError) {
        let at = self.timestamp(now);
        for topic in self.handles[handle].plan.topics.clone() {
            self.topic_fails(at, topic, error.clone());
        }
        // It will not join any more, and the other handles' topics must not wait for it.
        self.on_joined(now, handle);
    }

    /// A topic is there: something of it was assigned, or fetched.
    pub(super) fn topic_works(&mut self, at: Timestamp, topic: usize) {
        let failure = self.health.topics[topic].take_if(|failure| !failure.fatal);
        if let Some(TopicFailure { episode, .. }) = failure {
            let topic = self.topics[topic].to_string();
            self.note_released(at, topic, None, &episode);
        }
    }

    /// Every handle was replaced: what failed with the old ones is over, or fails anew.
    pub(super) fn every_topic_begins_anew(&mut self, now: Instant) {
        let at = self.timestamp(now);
        for topic in 0..self.topics.len() {
            if let Some(failure) = &mut self.health.topics[topic] {
                failure.fatal = false;
            }
            self.topic_works(at, topic);
        }
    }

    /// Tries what is due again, and releases what was silent since it was tried.
    pub(super) fn serve_quarantine(&mut self, now: Instant) {
        let at = self.timestamp(now);
        while let Some((index, episode)) = self.health.partitions.next_works(at) {
            self.release(at, index, &episode);
        }
        while let Some(index) = self.health.partitions.next_probe(at) {
            self.let_go(index);
        }
    }

    /// A partition is no longer held back here; librdkafka goes on where it failed. The application may
    /// have paused it meanwhile.
    fn let_go(&mut self, index: PartitionIndex) {
        let partition = self.partitions.get(index);
        let (topic, handle, paused) = (partition.topic, partition.handle, partition.paused);
        if paused && !self.is_paused_in_client(topic) {
            self.pause_in_client(handle, &[index], false);
        }
    }

    /// A partition works again.
    fn release(&mut self, at: Timestamp, index: PartitionIndex, episode: &Episode) {
        let PartitionEntry { topic, partition } = self.partitions.get(index).entry.clone();
        self.note_released(at, topic, Some(partition), episode);
    }

    fn note_released(&mut self, at: Timestamp, topic: String, partition: Option<i32>, episode: &Episode) {
        let (errors, after) = (episode.errors, at.since(episode.since));
        tracing::info!(topic, partition, errors, ?after, code = episode.code, "works again");
        self.note(ConsumerEvent::Released { topic, partition, errors, after });
    }

    /// A partition is given back: what held it back is nothing to its next owner, be it this one.
    pub(super) fn forget_failure(&mut self, index: PartitionIndex) {
        self.health.partitions.forget(index);
    }

    /// A partition begins anew, at another place or after a pause: what failed is over.
    pub(super) fn begins_anew(&mut self, at: Timestamp, index: PartitionIndex) {
        self.let_go(index);
        if let Some(episode) = self.health.partitions.forget(index) {
            self.release(at, index, &episode);
        }
    }

    /// The newest code of a topic that fails, or of one of its partitions.
    pub(super) fn failure_code(&self, topic: usize) -> Option<&str> {
        if let Some(failure) = &self.health.topics[topic] {
            return Some(&failure.episode.code);
        }
        let of_topic = |index: PartitionIndex| self.partitions.get(index).topic == topic;
        let mut failing = self.health.partitions.failing();
        failing.find(|(index, ..)| of_topic(*index)).map(|(_, episode, _)| episode.code.as_str())
    }

    /// Who fails now: by topic, what concerns it as a whole first.
    pub(super) fn failing(&self) -> Vec<Failing> {
        let mut all: Vec<(usize, Failing)> = Vec::new();
        for (topic, failure) in self.health.topics.iter().enumerate() {
            let Some(TopicFailure { episode, fatal, .. }) = failure else { continue };
            all.push((topic, self.failing_one(topic, None, episode, None, *fatal)));
        }
        for (index, episode, next_probe) in self.health.partitions.failing() {
            let partition = self.partitions.get(index);
            let (topic, number) = (partition.topic, Some(partition.entry.partition));
            all.push((topic, self.failing_one(topic, number, episode, next_probe, false)));
        }
        all.sort_by_key(|(topic, failing)| (*topic, failing.partition));
        all.into_iter().map(|(_, failing)| failing).collect()
    }

    fn failing_one(
        &self,
        topic: usize,
        partition: Option<i32>,
        episode: &Episode,
        next_probe: Option<Timestamp>,
        fatal: bool,
    ) -> Failing {
        let Episode { since, code, errors } = episode.clone();
        Failing { topic: self.topics[topic].to_string(), partition, since, code, errors, next_probe, fatal }
    }

    /// How much of each topic fails, by topic: its partitions, or the whole as one.
    pub(super) fn failing_counts(&self) -> Vec<usize> {
        let mut counts: Vec<usize> =
            self.health.topics.iter().map(|failure| usize::from(failure.is_some())).collect();
        for (index, ..) in self.health.partitions.failing() {
            counts[self.partitions.get(index).topic] += 1;
        }
        counts
    }
}
