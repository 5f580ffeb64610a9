//! The consumer: one loop in every mode.
//!
//! The loop runs on the caller's task inside [`Consumer::get_many`] and nothing on it blocks; what must wait for a
//! broker's answer asks on a thread that ends with it. It serves each handle's control queue, answers rebalances,
//! takes from the lanes what the core's poll machine grants, and otherwise waits for a queue's wake-up.

mod adapt;
mod arrival;
pub(crate) mod build;
mod commit;
mod complete;
mod degrade;
mod exact_lag;
mod flow;
mod join;
mod lane;
mod open;
mod places;
mod quarantine;
mod rebalance;
mod refill;
mod refusal;
mod status_log;
mod stop;
mod stream;
#[cfg(test)]
mod tests;
mod together;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairpoll_core::poll::SAFETY_TICK;
use fairpoll_core::refill::Verdict;
use fairpoll_core::{
    Answer, CompleteInput, Cost, FirstFetch, Generation, LaneIndex, OffsetTracker, PartitionIndex,
    PollMachine, Ready, Refill, Refusals, Timestamp, Wakeup,
};
use tokio::time;
use tracing::Instrument;

use crate::batch::{Batch, BatchBuilder, BatchCount, LaneError};
use crate::config::Config;
use crate::error::{PollError, StartError};
use crate::event::ConsumerEvent;
use crate::ffi::{Client, ClientEvent, PartitionEntry, Wake};
use crate::metrics::Meters;
use crate::remedy::Remedies;
use crate::topology::{HandlePlan, Topology};
use crate::traces;

use self::arrival::Arrival;
pub use self::exact_lag::LagByTopic;
pub use self::flow::SeekTo;
use self::lane::Lane;
use self::rebalance::Revocation;

/// A Kafka consumer of many topics.
///
/// Who calls what: [`start`](Self::start) once; then, on one task, [`get_many`](Self::get_many) or
/// [`get_complete`](Self::get_complete) in a loop, at least every `max.poll.interval.ms`;
/// [`mark_processed`](Self::mark_processed) or
/// [`commit`](Self::commit) when a batch's work is done; [`stop`](Self::stop) at the end. The other
/// methods look without changing anything and may be called at any time.
///
/// Both are cancellation-safe: a dropped future loses no record. Dropping the consumer without
/// `stop` neither commits nor leaves the group; it warns and does not block.
#[derive(Debug)]
pub struct Consumer {
    config: Config,
    topology: Topology,
    topics: Arc<[Arc<str>]>,
    /// By topic: whether the application paused it.
    paused: Vec<bool>,
    handles: Vec<Handle>,
    lanes: Vec<Lane>,
    partitions: Partitions,
    poll: PollMachine,
    /// `None`: quotas are fixed.
    adapting: Option<adapt::Adapting>,
    first_fetch: FirstFetch,
    refill: Refill,
    /// What each lane holds, where that is of interest: kept for its memory.
    held: Vec<Ready>,
    /// A lane with so many records is one that fetching stops for soon.
    plenty: usize,
    complete_input: CompleteInput,
    offsets: OffsetTracker,
    commits: commit::Commits,
    refusals: Refusals,
    health: quarantine::Health,
    remedies: Remedies,
    events: VecDeque<ConsumerEvent>,
    /// Errors that wait for the next batch.
    errors: Vec<LaneError>,
    generation: u64,
    /// Records that came past their lane.
    strays: u64,
    batches: BatchCount,
    wake: Arc<Wake>,
    gone: Arc<Wake>,
    epoch: Instant,
    /// When the handles were created: at the start, or when the consumer gave way.
    opened: Instant,
    join_wait: join::JoinWait,
    /// Asks for all handles where their logs begin.
    together: Arc<together::Together>,
    meters: Meters,
    last_tick: Instant,
    status_log: status_log::StatusLog,
    stopping: stop::Stopping,
    degrading: degrade::Degrading,
}

/// One librdkafka client and where it stands.
#[derive(Debug)]
struct Handle {
    /// `None` once it was given up.
    client: Option<Arc<Client>>,
    plan: HandlePlan,
    /// It has taken over a first assignment, be it an empty one.
    joined: bool,
    /// An assignment of which it is asked where to begin.
    arrival: Option<Arrival>,
    /// A revocation that waits for its last commit.
    revocation: Option<Revocation>,
    /// librdkafka gave it up.
    fatal: Option<String>,
}

impl Handle {
    /// Whether its group has given it nothing yet, not even an empty assignment.
    fn is_joining(&self) -> bool {
        !self.joined && self.arrival.is_none() && self.client.is_some()
    }

    fn is(&self, client: &Arc<Client>) -> bool {
        self.client.as_ref().is_some_and(|own| Arc::ptr_eq(own, client))
    }
}

/// Every partition ever assigned, by a dense number.
#[derive(Debug, Default)]
struct Partitions {
    all: Vec<Partition>,
    /// Topic → partition number → index.
    by_topic: Vec<Vec<Option<PartitionIndex>>>,
}

/// One partition.
#[derive(Debug)]
struct Partition {
    topic: usize,
    entry: PartitionEntry,
    handle: usize,
    lane: usize,
    /// The assignment under which it is owned now.
    generation: Option<Generation>,
    /// When it last delivered, or was assigned: its cached watermarks are at least as fresh.
    fetched_at: Timestamp,
    /// Whether librdkafka was told to fetch nothing of it. It remembers that over rebalances.
    paused: bool,
    /// Where reading goes on while nothing was delivered of it, as far as that is known.
    reads_from: Option<i64>,
}

/// The dense number of a partition at this position.
fn index_of(position: usize) -> PartitionIndex {
    PartitionIndex(u32::try_from(position).expect("a consumer has fewer than 2^32 partitions"))
}

impl Partitions {
    fn find(&self, topic: usize, partition: i32) -> Option<PartitionIndex> {
        let partition = usize::try_from(partition).ok()?;
        *self.by_topic.get(topic)?.get(partition)?
    }

    fn get(&self, index: PartitionIndex) -> &Partition {
        &self.all[index.position()]
    }

    fn get_mut(&mut self, index: PartitionIndex) -> &mut Partition {
        &mut self.all[index.position()]
    }

    fn iter(&self) -> impl Iterator<Item = (PartitionIndex, &Partition)> {
        self.all.iter().enumerate().map(|(index, partition)| (index_of(index), partition))
    }

    fn assigned(&self) -> impl Iterator<Item = (PartitionIndex, &Partition)> {
        self.iter().filter(|(_, partition)| partition.generation.is_some())
    }
}

impl Consumer {
    /// Creates the handles of the configured mode and joins the group. Returns at once; the first
    /// [`get_many`](Self::get_many) waits for the assignment.
    ///
    /// # Errors
    /// If the configuration is not usable or librdkafka refuses a property. Brokers that cannot be
    /// reached are no error here: they are reported by batches until they come back.
    pub fn start(config: Config) -> Result<Self, StartError> {
        build::start(config)
    }

    /// The next records, or none after `timeout`.
    ///
    /// Takes from every lane up to its quota and up to `max_records` in all, in the scheduler's
    /// order, and returns as soon as any lane has records: a topic without any adds no waiting. Two
    /// waits have bounds of their own: the first poll after an assignment waits for the first fetch of
    /// every newly assigned topic ([`Config::first_fetch_wait`]), and a poll that has records waits for
    /// topics that ran dry although their brokers hold more ([`Config::refill_wait`]). `single` knows
    /// neither. While the consumer gives way to a shortage ([`Config::degrade`]) it returns nothing, and
    /// earlier, so that what is in hand can be marked as processed.
    ///
    /// # Errors
    /// If the consumer was stopped, or librdkafka gave up every handle, or none can be opened any more after a
    /// shortage. Whatever happens to single topics is reported in [`Batch::errors`].
    pub async fn get_many(
        &mut self,
        timeout: Duration,
        max_records: Option<u32>,
    ) -> Result<Batch, PollError> {
        let span = traces::get_many(&self.config.group_id);
        let result = self.poll_many(timeout, max_records).instrument(span.clone()).await;
        traces::polled(&span, result.as_ref().map(|batch| (batch.len(), batch.errors().len())));
        result
    }

    async fn poll_many(&mut self, timeout: Duration, max_records: Option<u32>) -> Result<Batch, PollError> {
        if self.stopping.begun {
            return Err(PollError::Stopped);
        }
        let began = Instant::now();
        let deadline = began + timeout;
        loop {
            let now = Instant::now();
            self.serve(now)?;
            self.give_way(now)?;
            let last = now >= deadline || self.asks_the_application(began, now);
            let (batch, hold) = self.take(now, max_records, last);
            if !batch.is_empty() || last {
                self.refill.over(self.timestamp(now));
                self.meter(&batch);
                // Nothing is awaited between taking and returning: a dropped future loses nothing.
                return Ok(batch.build(&self.topics, self.batches.ticket()));
            }
            let wake_at = self.next_wake(now).min(deadline);
            let wake_at = hold.map_or(wake_at, |Wakeup { at, .. }| wake_at.min(self.instant(at)));
            // Every queue was drained above, so a wake-up since then is still noted in `wake`.
            let _ = time::timeout_at(wake_at.into(), self.wake.woken()).await;
        }
    }

    /// The next time at which something is due without a queue's wake-up.
    fn next_wake(&mut self, now: Instant) -> Instant {
        let mut next = self.last_tick + SAFETY_TICK;
        if let Some(until) = self.waits_for_joins(now) {
            next = next.min(until);
        } else if let Some(Wakeup { at, .. }) = self.first_fetch_wakeup(self.timestamp(now)) {
            next = next.min(self.instant(at));
        }
        if let Some(at) = self.commits.next_retry() {
            next = next.min(at);
        }
        if let Some(Wakeup { at, .. }) = self.refusals.next_wakeup() {
            next = next.min(self.instant(at));
        }
        if let Some(at) = self.health.next_wakeup() {
            next = next.min(self.instant(at));
        }
        for arrival in self.handles.iter().filter_map(|handle| handle.arrival.as_ref()) {
            next = next.min(arrival.until);
        }
        for revocation in self.handles.iter().filter_map(|handle| handle.revocation.as_ref()) {
            next = next.min(revocation.deadline);
        }
        if let Some(at) = self.degrading.next_wake(now) {
            next = next.min(at);
        }
        // A time in the past would spin.
        next.max(now + Duration::from_micros(100))
    }

    /// Until when a poll waits for handles that have not joined; `None`: it does not.
    fn waits_for_joins(&mut self, now: Instant) -> Option<Instant> {
        let bound = self.opened + self.config.join_wait;
        // Who is being told where to begin is on the way, however long ago the others joined.
        if let Some(until) = self.first_arrivals().map(|until| until.min(bound)).filter(|&until| now < until)
        {
            return Some(until);
        }
        let all = self.joined();
        self.join_wait.until(now, all, bound)
    }

    /// Whether a first poll waits for handles that have not been given anything, not counting this one.
    fn waits_for_more_than(&self, client: Option<&Arc<Client>>) -> bool {
        let counts = |handle: &Handle| client.is_none_or(|client| !handle.is(client));
        !self.join_wait.is_over() && self.handles.iter().any(|handle| handle.is_joining() && counts(handle))
    }

    /// Whether every handle had its first assignment.
    fn joined(&self) -> bool {
        self.handles.iter().all(|handle| handle.joined || handle.client.is_none())
    }

    /// Serves control queues: rebalances, commit answers, errors.
    fn serve(&mut self, now: Instant) -> Result<(), PollError> {
        let tick = now.duration_since(self.last_tick) >= SAFETY_TICK;
        if tick {
            self.last_tick = now;
            for lane in 0..self.lanes.len() {
                self.poll.lane_ready(LaneIndex::from_position(lane));
            }
            self.set_gauges();
            self.log_status(now);
        }
        let mut strays = Vec::new();
        for index in 0..self.handles.len() {
            let Some(client) = self.handles[index].client.clone() else { continue };
            // The control queue must be polled even when all its partitions are forwarded away.
            if client.take_wake() || tick {
                client.serve(&mut strays);
            }
            while self.handles[index].is(&client) {
                let Some(event) = client.next_event() else { break };
                self.on_client_event(now, index, event);
            }
            self.advance_arrival(now, index);
            self.advance_revocation(now, index);
            for stray in strays.drain(..) {
                // A fallback puts new handles in the place of all; what the old ones still say
                // does not concern them.
                if self.handles[index].is(&client) {
                    self.on_stray(now, index, stray);
                }
            }
        }
        self.together.more_to_come(self.waits_for_more_than(None));
        self.retry_commits(now);
        self.serve_quarantine(now);
        self.adapt_quotas(now);
        // Handles that are about to be replaced may fail.
        if let Some(fatal) = self.all_handles_failed().filter(|_| !self.degrading.is_under_way()) {
            return Err(fatal);
        }
        Ok(())
    }

    fn on_client_event(&mut self, now: Instant, handle: usize, event: ClientEvent) {
        match event {
            ClientEvent::Assign(partitions) => self.on_assign(now, handle, partitions),
            ClientEvent::Revoke { partitions, lost } => self.on_revoke(now, handle, partitions, lost),
            ClientEvent::Committed(outcome) => self.on_committed(now, handle, outcome),
            ClientEvent::Error { code, message, fatal } => {
                self.on_handle_error(now, handle, code, message, fatal);
            }
        }
    }

    fn on_handle_error(&mut self, now: Instant, handle: usize, code: String, message: String, fatal: bool) {
        if self.handles[handle].fatal.is_some() || (fatal && self.falls_back_from_kip848(handle, &code)) {
            return;
        }
        let topics = self.topic_names(handle);
        // The error is the handle's: of a topic only where the handle has just one.
        let plan = &self.handles[handle].plan;
        let topic = (plan.topics.len() == 1).then(|| self.topics[plan.topics[0]].to_string());
        let error = LaneError { topic, partition: None, code, message, fatal, remedy: None };
        let error = self.with_remedy(handle, error);
        if fatal {
            tracing::error!(%topics, %error, "a Kafka handle failed for good");
            self.handles[handle].fatal = Some(error.words());
            self.handle_fails(now, handle, &error);
        }
        self.errors.push(error);
    }

    fn all_handles_failed(&self) -> Option<PollError> {
        let what = self.handles.first()?.fatal.clone()?;
        let all = self.handles.iter().all(|handle| handle.fatal.is_some());
        all.then(|| PollError::Fatal { topics: self.topic_names(0), what })
    }

    fn topic_names(&self, handle: usize) -> String {
        let names: Vec<&str> =
            self.handles[handle].plan.topics.iter().map(|&topic| &*self.topics[topic]).collect();
        names.join(", ")
    }

    /// Takes from the lanes what the poll machine grants, unless others are worth waiting for: then
    /// nothing, and until when to wait for lanes that ran dry. Does not block. The last attempt of a poll
    /// waits for nobody who ran dry: what is here is returned.
    fn take(&mut self, now: Instant, max_records: Option<u32>, last: bool) -> (BatchBuilder, Option<Wakeup>) {
        let at = self.timestamp(now);
        let gives_way = self.degrading.is_under_way();
        let verdict = if gives_way || self.waits_for_joins(now).is_some() || self.waits_for_first_fetch(at) {
            Verdict::Hold(None)
        } else if last {
            Verdict::Return
        } else {
            self.waits_for_refill(at)
        };
        match verdict {
            Verdict::Return => (self.collect(at, max_records), None),
            Verdict::Hold(until) => (BatchBuilder::with_errors(std::mem::take(&mut self.errors)), until),
        }
    }

    /// Takes from the lanes, whoever else may be worth waiting for.
    fn collect(&mut self, at: Timestamp, max_records: Option<u32>) -> BatchBuilder {
        let mut batch = BatchBuilder::with_errors(std::mem::take(&mut self.errors));
        if self.degrading.is_under_way() {
            return batch;
        }
        // After the look at first fetches: what was seen there must be taken now.
        for (index, lane) in self.lanes.iter().enumerate() {
            if lane.take_wake() {
                self.poll.lane_ready(LaneIndex::from_position(index));
            }
        }
        self.poll.begin(at, max_records);
        while let Some(grant) = self.poll.next_grant() {
            let lane = &mut self.lanes[grant.lane.position()];
            let taken = lane.take(grant.records as usize, &mut batch, &self.partitions, &self.topics);
            // Errors are taken from the queue but are no records; the lane may hold more.
            let taken = u32::try_from(taken).unwrap_or(grant.records);
            self.poll.settle(grant, taken, Cost::default());
        }
        self.poll.end(at);
        for group in batch.groups() {
            self.first_fetch.delivered(group.index);
            self.partitions.get_mut(group.index).fetched_at = at;
        }
        self.note_delivered(&mut batch);
        self.judge(at, &mut batch);
        batch
    }

    /// When to look at first fetches again that a poll waits for.
    fn first_fetch_wakeup(&mut self, now: Timestamp) -> Option<Wakeup> {
        if !self.topology.waits_for_others() {
            return None;
        }
        self.first_fetch.waiting(now)
    }

    /// Whether some newly assigned lane's first fetch is still out. Such a lane is *unknown*, not
    /// empty: on a fast broker the deep topics' first fetch comes tens of polls before the others'.
    fn waits_for_first_fetch(&mut self, now: Timestamp) -> bool {
        self.topology.waits_for_others() && self.look_at_first_fetches(now).is_some()
    }

    /// Looks which first fetches have come back, and says when to look again.
    fn look_at_first_fetches(&mut self, now: Timestamp) -> Option<Wakeup> {
        self.first_fetch.waiting(now)?;
        self.look_into_unknown_lanes(now);
        let unknown: Vec<PartitionIndex> = self.first_fetch.unknown().collect();
        for index in unknown {
            let partition = self.partitions.get(index);
            let client = self.handles[partition.handle].client.as_ref();
            if let Some((start, end)) = client.and_then(|client| client.cached_watermarks(&partition.entry)) {
                let answer = if end > start { Answer::Records } else { Answer::Empty };
                self.first_fetch.fetch_answered(now, index, answer);
                // Should nothing come of it: there is nothing up to here.
                self.partitions.get_mut(index).reads_from.get_or_insert(end);
            }
        }
        self.first_fetch.waiting(now)
    }

    /// Finds out which unknown partitions have delivered. Nobody waits for the rest of a lane that
    /// holds all that it may contribute to the next poll.
    fn look_into_unknown_lanes(&mut self, now: Timestamp) {
        let mut unknown: Vec<(LaneIndex, PartitionIndex)> = self.first_fetch.unknown_lanes().collect();
        unknown.sort_unstable();
        let mut found_out = BatchBuilder::with_errors(std::mem::take(&mut self.errors));
        for of_lane in unknown.chunk_by(|(one, _), (other, _)| one == other) {
            let (index, _) = of_lane[0];
            let depth = self.quantum(index.position()) as usize;
            let mut delivered: Vec<PartitionIndex> = Vec::new();
            let found = |_, partition| {
                // Records come in runs of one partition.
                if delivered.last() != Some(&partition) {
                    delivered.push(partition);
                }
            };
            let lane = &mut self.lanes[index.position()];
            let looked = lane.look(depth, &self.partitions, &self.topics, &mut found_out, found);
            if looked.records > 0 {
                self.poll.lane_ready(index);
            }
            delivered.into_iter().for_each(|partition| self.first_fetch.delivered(partition));
            // In a lane that topics share a full quantum of one tells nothing of the others.
            if !looked.to_the_end && self.topology.lanes[index.position()].topics.len() == 1 {
                of_lane.iter().for_each(|(_, partition)| self.first_fetch.delivered(*partition));
            }
        }
        self.judge(now, &mut found_out);
        self.errors = found_out.errors;
    }

    /// What happened besides records since the last call. Bounded: the oldest are dropped when
    /// nobody asks.
    pub fn take_events(&mut self) -> impl Iterator<Item = ConsumerEvent> + '_ {
        self.events.drain(..)
    }

    /// Counts what a poll returns.
    fn meter(&self, batch: &BatchBuilder) {
        self.meters.polls.increment(1);
        for error in &batch.errors {
            self.meters.error(error.topic.as_deref(), &error.code);
        }
        if batch.messages.is_empty() {
            self.meters.empty_polls.increment(1);
            return;
        }
        self.meters.poll_records.record(batch.messages.len() as f64);
        for group in batch.groups() {
            let topic = self.partitions.get(group.index).topic;
            self.meters.topics[topic].records.increment(group.len() as u64);
        }
    }

    /// What is looked at now and then rather than counted.
    fn set_gauges(&self) {
        let now = self.now();
        self.meters.assigned.set(self.partitions.assigned().count() as f64);
        self.meters.outstanding.set(self.batches.get() as f64);
        for (plan, lane) in self.topology.lanes.iter().zip(&self.lanes) {
            let queued = lane.queued() as f64;
            plan.topics.iter().for_each(|&topic| self.meters.topics[topic].queued.set(queued));
        }
        for (meters, failing) in self.meters.topics.iter().zip(self.failing_counts()) {
            meters.failing.set(failing as f64);
        }
        for (topic, partitions) in self.lag_info() {
            let known = partitions.values().filter_map(|lag| lag.processing(now).ok());
            let lag: u64 = known.map(|lag| lag.records).sum();
            if let Ok(topic) = self.topic(&topic) {
                self.meters.topics[topic].lag.set(lag as f64);
            }
        }
    }

    fn note(&mut self, event: ConsumerEvent) {
        // Nobody may be listening; what is kept must not grow without bound.
        const MOST: usize = 1024;
        if self.events.len() == MOST {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Now, on the clock of [`lag_info`](Self::lag_info)'s samples.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.timestamp(Instant::now())
    }

    fn timestamp(&self, at: Instant) -> Timestamp {
        between(self.epoch, at)
    }

    fn instant(&self, at: Timestamp) -> Instant {
        self.epoch + Duration::from_nanos(at.as_nanos())
    }
}

/// Now, on the clock that began with the consumer.
fn since(epoch: Instant) -> Timestamp {
    between(epoch, Instant::now())
}

fn between(epoch: Instant, at: Instant) -> Timestamp {
    let since = at.saturating_duration_since(epoch).as_nanos();
    Timestamp::from_nanos(u64::try_from(since).unwrap_or(u64::MAX))
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if !self.is_stopped() {
            tracing::warn!(
                "a consumer was dropped without stop(), or in the middle of it: what was processed may not be \
                 committed, and the group waits for its session to time out"
            );
        }
    }
}
