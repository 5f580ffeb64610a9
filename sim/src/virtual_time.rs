//! Virtual time: a consumer on a model of librdkafka, network and broker, as a simulation of discrete events.
//!
//! The policies are not modelled: [`fairpoll_core`]'s own machines decide whose turn it is, which first fetches and
//! which lanes that ran dry are waited for, and what may be committed. What is modelled is what they are told: when
//! records reach a lane (`client`), what a broker holds and answers (`log`), and what all of it takes
//! ([`Model`]). Records are ranges of offsets and never made, so a thousand million of them cost
//! [`simulate`] no memory; a log has an event for every poll all the same.
//!
//! The same [`Setup`], [`Model`] and seed give the same course, on any machine.
//!
//! ```text
//! scenario ─▶ Setup ─▶ simulate ─┬─ consumer   the application's thread, over the core
//!                                ├─ client     librdkafka: fetches, queues, back-offs
//!                                └─ log        what brokers hold, by time
//!                                     └─▶ Trace ─▶ events of a log, or figures
//! ```

mod agenda;
mod client;
mod consumer;
mod events;
mod log;
mod model;
mod setup;

use std::num::NonZeroU32;
use std::time::Duration;

use fairpoll_core::{LaneIndex, Mode, Policy, Topology};

use self::client::{Clients, Happening, Partition, Told};
use self::consumer::{Consumer, Manner};
use self::log::Log;

use crate::load;

pub use self::client::FetchSettings;
pub use self::consumer::Run;
pub use self::events::{Facts, events};
pub use self::model::Model;
pub use self::setup::{Unmodelled, unfit};

/// A worker holds a line back for so long, and the harness knows of nothing earlier.
const HEARD_NS: u64 = 50_000_000;

/// The harness's producer puts no more into a batch.
const BATCH_RECORDS_MAX: u64 = 4_000;

/// What is simulated: one consumer in one mode, its topics, and the load on them.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its topology.
    pub mode: Mode,
    /// Its topics.
    pub topics: Vec<TopicSetup>,
    /// `max_poll_records`.
    pub quota: NonZeroU32,
    /// How lanes take turns.
    pub policy: Policy,
    /// Records of a whole poll.
    pub max_records: Option<u32>,
    /// The longest that a poll waits.
    pub poll_timeout: Duration,
    /// Polls want a record of every topic, and wait so long for it.
    pub complete_wait: Option<Duration>,
    /// The longest that a poll waits for first fetches.
    pub first_fetch_wait: Duration,
    /// The longest that a poll waits for lanes that ran dry.
    pub refill_wait: Duration,
    /// The longest that a poll waits for handles to join.
    pub join_wait: Duration,
    /// Commit after every so many polls with records; 0: only at the end.
    pub commit_every_polls: u32,
    /// The application's work on a poll.
    pub work_poll: Duration,
    /// Besides, for each record.
    pub work_record: Duration,
    /// What librdkafka is told.
    pub fetch: FetchSettings,
    /// Threads of its process, as the engine predicts them.
    pub threads: u32,
    /// Its connections to brokers, as the engine predicts them.
    pub connections: u32,
    /// How its handles join.
    pub group: Group,
    /// Brokers; each leads every so-many-th partition.
    pub nodes: u32,
    /// Live production goes on at least so long.
    pub live_for: Duration,
    /// What takes longer ends.
    pub deadline: Duration,
    /// Everything random follows from it.
    pub seed: u64,
}

/// A topic and what is produced to it.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSetup {
    /// Partitions, at least 1.
    pub partitions: u32,
    /// Records that an earlier consumer of the group has committed, over all partitions.
    pub earlier: u64,
    /// Records behind them when the consumer starts.
    pub backlog: u64,
    /// Records per second while it runs.
    pub rate_per_s: f64,
    /// Bytes of a record on the wire, compressed as it is.
    pub record_bytes: u64,
    /// The same, unpacked.
    pub unpacked_bytes: u64,
    /// Share relative to the others.
    pub weight: u32,
    /// Topics of a higher one come first under a cap of the whole poll.
    pub priority: u8,
}

/// How the handles of a consumer join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// One handle, or groups of their own, by the classic protocol.
    Classic,
    /// One group by KIP-848.
    Kip848,
    /// Several handles that share a group of the classic protocol.
    SharedClassic,
}

/// How a simulation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Everything was delivered; otherwise the deadline passed.
    pub finished: bool,
    /// When, ns since the start.
    pub at_ns: u64,
    /// Polls that returned records.
    pub polls: u64,
    /// Polls that did not.
    pub empty_polls: u64,
    /// Records that were delivered.
    pub records: u64,
    /// Time in which clients and application worked, ns.
    pub worked_ns: u64,
    /// The most memory of the process, KiB.
    pub memory_kib: u64,
}

/// A poll that returned records.
#[derive(Debug, Clone, Copy)]
pub struct Poll<'a> {
    /// 1, 2, 3, ….
    pub number: u64,
    /// When it was called.
    pub began_ns: u64,
    /// When it returned.
    pub returned_ns: u64,
    /// When the application had finished with it.
    pub processed_ns: u64,
    /// What it returned.
    pub runs: &'a [Run],
}

/// Live records of a partition, from `first_due_ns` on one every `interval_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// The partition, as the setup numbers them: those of the first topic first.
    pub partition: usize,
    /// Offset of the first.
    pub first: i64,
    /// How many.
    pub count: u64,
    /// When the first was due.
    pub first_due_ns: u64,
    /// Between two of them.
    pub interval_ns: u64,
    /// From when one was due until it could be read.
    pub delay_ns: u64,
}

/// A look at the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// When.
    pub at_ns: u64,
    /// Memory, KiB.
    pub memory_kib: u64,
    /// The most so far.
    pub most_kib: u64,
    /// Time in which clients and application worked so far, ns.
    pub worked_ns: u64,
}

/// Hears what happens. Times are ns since the consumer's start; they rise within a method, not from one to the
/// other.
pub trait Trace {
    /// Partitions came.
    fn assigned(&mut self, at_ns: u64, partitions: &[usize]) {
        let _ = (at_ns, partitions);
    }
    /// A poll returned records, and the application finished with them.
    fn polled(&mut self, poll: Poll<'_>) {
        let _ = poll;
    }
    /// Offsets were sent for commit: partition and next offset.
    fn commit_sent(&mut self, id: u64, at_ns: u64, offsets: &[(usize, i64)]) {
        let _ = (id, at_ns, offsets);
    }
    /// The commit was answered.
    fn committed(&mut self, id: u64, at_ns: u64) {
        let _ = (id, at_ns);
    }
    /// Live production begins or ends.
    fn load(&mut self, at_ns: u64, begins: bool) {
        let _ = (at_ns, begins);
    }
    /// What was produced, once production has ended or the time is up.
    fn produced(&mut self, produced: Produced) {
        let _ = produced;
    }
    /// The process was looked at.
    fn looked(&mut self, look: Look) {
        let _ = look;
    }
}

/// Nobody listens.
impl Trace for () {}

/// The partitions of a setup, in the order in which they are numbered: topic and number within it.
pub fn partitions(topics: &[TopicSetup]) -> impl Iterator<Item = (usize, u32)> {
    topics
        .iter()
        .enumerate()
        .flat_map(|(topic, setup)| (0..setup.partitions).map(move |number| (topic, number)))
}

/// Runs it from the consumer's start until everything is delivered or the deadline is over.
pub fn simulate(setup: &Setup, model: &Model, trace: &mut impl Trace) -> End {
    Course::new(setup, model).run(trace)
}

/// Where live production stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    /// Nothing was delivered yet.
    Waits,
    /// It begins then.
    Begins(u64),
    /// It ends then.
    Ends,
    /// It has ended.
    Ended,
}

struct Course<'a> {
    setup: &'a Setup,
    model: &'a Model,
    clients: Clients,
    consumer: Consumer,
    /// By partition: its handle.
    owners: Vec<usize>,
    /// Records of the backlog that are not delivered.
    backlog_left: u64,
    delivered: u64,
    load: Load,
    worked_ns: u64,
    commits: u64,
}

impl<'a> Course<'a> {
    fn new(setup: &'a Setup, model: &'a Model) -> Self {
        let topic_count = u32::try_from(setup.topics.len()).expect("fewer than 2^32 topics");
        let topology = Topology::of(setup.mode, topic_count);
        let shares =
            setup.topics.iter().map(|topic| consumer::lane(setup.quota, topic.weight, topic.priority));
        let lanes = topology.lane_configs(setup.quota, shares);
        let partitions = partitions_of(setup, model, topology);
        let handles = topology.handle_count() as usize;
        let nodes = setup.nodes.max(1) as usize;
        let manner = Manner {
            max_records: setup.max_records,
            timeout: setup.poll_timeout,
            first_fetch_wait: setup.first_fetch_wait,
            refill_wait: setup.refill_wait,
            complete_wait: setup.complete_wait,
            join_wait: setup.join_wait,
            plenty: (setup.fetch.queued_records / 2).max(1),
        };
        let counts = (handles, setup.topics.len(), partitions.len());
        let consumer = Consumer::new(manner, &lanes, setup.policy, counts);
        let counts = (handles, lanes.len(), nodes);
        let mut clients = Clients::new(counts, partitions, setup.fetch, *model, setup.seed);
        let mut joined = 0;
        for handle in 0..handles {
            let at = joins_at(setup, model, handle as u64);
            joined = joined.max(at);
            clients.agenda.enter(at, Happening::Assigned(handle));
            clients.agenda.enter(at + model.lookup_ns, Happening::Begins(handle));
        }
        clients.agenda.enter(0, Happening::Sampled);
        let backlog_left = setup.topics.iter().map(|topic| topic.backlog).sum();
        let mut load = Load::Waits;
        if backlog_left == 0 {
            // There is no first record to wait for.
            clients.agenda.enter(joined, Happening::LoadBegins);
            clients.agenda.enter(joined.saturating_add(nanos(setup.live_for)), Happening::LoadEnds);
            load = Load::Ends;
        }
        Self {
            setup,
            model,
            owners: clients.partitions.iter().map(|partition| partition.handle).collect(),
            clients,
            consumer,
            backlog_left,
            delivered: 0,
            load,
            worked_ns: 0,
            commits: 0,
        }
    }

    fn run(mut self, trace: &mut impl Trace) -> End {
        let deadline = nanos(self.setup.deadline);
        let (mut now, mut polls, mut empty_polls) = (0, 0, 0);
        loop {
            let began_ns = now;
            let found = self.poll(now, trace);
            let count: u64 = self.consumer.runs.iter().map(|run| run.count).sum();
            if count == 0 {
                empty_polls += u64::from(self.load != Load::Ended);
                // Looking costs something, too, or a caller that does not wait would look for ever.
                now = found.max(began_ns + self.model.poll_ns.max(1));
            } else {
                polls += 1;
                let takes = self.model.poll_ns + self.model.poll_record_ns * count;
                self.worked_ns += takes;
                let returned_ns = found + takes;
                let processed_ns = returned_ns + self.work(count);
                trace.polled(Poll {
                    number: polls,
                    began_ns,
                    returned_ns,
                    processed_ns,
                    runs: &self.consumer.runs,
                });
                self.note(returned_ns, count);
                now = processed_ns;
                self.finish_with(now, polls, trace);
            }
            self.look(trace);
            let is_over = self.load == Load::Ended && self.is_all_delivered();
            if is_over || now >= deadline {
                let at_ns = if is_over { now + HEARD_NS } else { now };
                return self.end(is_over, at_ns, (polls, empty_polls), trace);
            }
        }
    }

    fn poll(&mut self, now: u64, trace: &mut impl Trace) -> u64 {
        let Self { consumer, clients, load, owners, model, .. } = self;
        consumer.poll(clients, now, model.wake_ns, &mut |at, what| hear(load, owners, trace, (at, what)))
    }

    /// The application's work on a poll: it sleeps, and sleeps too long.
    fn work(&self, count: u64) -> u64 {
        let work = nanos(self.setup.work_poll) + nanos(self.setup.work_record).saturating_mul(count);
        if work == 0 { 0 } else { work + self.model.oversleep_ns }
    }

    /// What the harness makes of a poll.
    fn note(&mut self, returned_ns: u64, count: u64) {
        self.delivered += count;
        for run in &self.consumer.runs {
            let filled = self.clients.partitions[run.partition].log.filled;
            self.backlog_left -= (filled - run.first).clamp(0, run.count.cast_signed()).unsigned_abs();
        }
        if self.load == Load::Waits {
            let at = returned_ns + HEARD_NS;
            self.load = Load::Begins(at);
            self.clients.agenda.enter(at, Happening::LoadBegins);
        }
        if let Load::Begins(since) = self.load
            && self.backlog_left == 0
        {
            let at = (returned_ns + HEARD_NS).max(since + nanos(self.setup.live_for));
            self.load = Load::Ends;
            self.clients.agenda.enter(at, Happening::LoadEnds);
        }
    }

    fn finish_with(&mut self, now: u64, polls: u64, trace: &mut impl Trace) {
        self.consumer.processed();
        let Self { consumer, clients, load, owners, .. } = self;
        consumer.catch_up(clients, now, &mut |at, what| hear(load, owners, trace, (at, what)));
        for run in &self.consumer.runs {
            self.clients.give_back(run.partition, run.count);
        }
        let every = u64::from(self.setup.commit_every_polls);
        if every > 0 && polls.is_multiple_of(every) {
            self.commit(now, trace);
        }
    }

    fn commit(&mut self, now: u64, trace: &mut impl Trace) {
        let offsets = self.consumer.commits();
        if !offsets.is_empty() {
            self.commits += 1;
            trace.commit_sent(self.commits, now, &offsets);
            self.clients.agenda.enter(now + self.model.commit_ns, Happening::Committed(self.commits));
        }
    }

    fn is_all_delivered(&self) -> bool {
        let in_all = |partition: &Partition| partition.log.end(u64::MAX).unsigned_abs();
        let earlier: u64 = self.setup.topics.iter().map(|topic| topic.earlier).sum();
        self.clients.partitions.iter().map(in_all).sum::<u64>() - earlier == self.delivered
    }

    fn memory_kib(&self, bytes: u64) -> u64 {
        let topology =
            Topology::of(self.setup.mode, u32::try_from(self.setup.topics.len()).unwrap_or(u32::MAX));
        self.model.base_kib
            + self.model.handle_kib * u64::from(topology.handle_count())
            + self.model.lane_kib * u64::from(topology.lane_count())
            + bytes / 1024
    }

    fn look(&mut self, trace: &mut impl Trace) {
        for (at_ns, bytes, most, worked_ns) in std::mem::take(&mut self.clients.samples) {
            trace.looked(Look {
                at_ns,
                memory_kib: self.memory_kib(bytes),
                most_kib: self.memory_kib(most),
                worked_ns: self.worked_ns + worked_ns,
            });
        }
    }

    fn end(
        mut self,
        finished: bool,
        at_ns: u64,
        (polls, empty_polls): (u64, u64),
        trace: &mut impl Trace,
    ) -> End {
        self.commit(at_ns, trace);
        // Nobody goes before his commits are answered.
        let until = at_ns + self.model.commit_ns;
        while let Some(told) = self.clients.wait(until) {
            if let Told::Committed(id) = told {
                trace.committed(id, self.clients.now);
            }
        }
        self.look(trace);
        for (partition, of) in self.clients.partitions.iter().enumerate() {
            let Some(live) = of.log.live else { continue };
            let count = (of.log.end(at_ns) - of.log.filled).unsigned_abs();
            if count > 0 {
                trace.produced(Produced {
                    partition,
                    first: of.log.filled,
                    count,
                    first_due_ns: live.first_due_ns,
                    interval_ns: live.interval_ns,
                    delay_ns: live.delay_ns,
                });
            }
        }
        End {
            finished,
            at_ns,
            polls,
            empty_polls,
            records: self.delivered,
            worked_ns: self.worked_ns + self.clients.worked_ns,
            memory_kib: self.memory_kib(self.clients.most_bytes),
        }
    }
}

/// Tells what happened besides records.
fn hear(load: &mut Load, owners: &[usize], trace: &mut impl Trace, (at_ns, what): (u64, Told)) {
    match what {
        Told::Records => {}
        Told::Assigned(handle) => {
            let owned = (0..owners.len()).filter(|&partition| owners[partition] == handle);
            trace.assigned(at_ns, &owned.collect::<Vec<_>>());
        }
        Told::Committed(id) => trace.committed(id, at_ns),
        Told::LoadBegan => trace.load(at_ns, true),
        Told::LoadEnded => {
            *load = Load::Ended;
            trace.load(at_ns, false);
        }
    }
}

/// The partitions, with what lies in each and who reads it.
fn partitions_of(setup: &Setup, model: &Model, topology: Topology) -> Vec<Partition> {
    let mut all = Vec::new();
    for (topic, number) in partitions(&setup.topics) {
        let TopicSetup { partitions, earlier, backlog, rate_per_s, record_bytes, unpacked_bytes, .. } =
            setup.topics[topic];
        let lane: LaneIndex = topology.lane_of_topic(u32::try_from(topic).unwrap_or(u32::MAX));
        let share = |records| load::share(records, partitions, number).cast_signed();
        let batch_records = (model.batch_bytes / unpacked_bytes.max(1)).clamp(1, BATCH_RECORDS_MAX);
        let log = Log {
            filled: share(earlier) + share(backlog),
            batch_records: batch_records.cast_signed(),
            record_bytes,
            unpacked_bytes,
            live: None,
        };
        let handle = topology.handle_of_lane(lane).0 as usize;
        let mut partition = Partition::new(topic, lane.position(), handle, log, share(earlier));
        partition.interval_ns = load::interval_ns(rate_per_s, partitions);
        all.push(partition);
    }
    all
}

/// When a handle owns its partitions.
fn joins_at(setup: &Setup, model: &Model, handle: u64) -> u64 {
    let alone = model.join_ns + model.join_handle_ns * handle;
    alone
        + match setup.group {
            Group::Kip848 => 0,
            Group::Classic => model.initial_rebalance_delay_ns,
            Group::SharedClassic => model.initial_rebalance_delay_ns + model.shared_group_ns,
        }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
