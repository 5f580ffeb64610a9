//! A simulation as events of a log: what a run on a broker would have written.

use std::sync::LazyLock;

use fairpoll_judge::event::{Body, Event, Header, Origin, Phase};
use fairpoll_judge::protocol::{
    DeliveredRange, PROTOCOL_VERSION, PartitionOffset, TopicPartition, WorkerLine,
};

use super::{End, Look, Model, Poll, Produced, Setup, Trace, partitions, simulate};
use crate::load;

/// When a consumer starts, on the clock of the log; what went before has earlier times.
const START_NS: u64 = 1_000_000_000;

/// Live records that are acknowledged within so long stand in one event.
const BURST_NS: u64 = 1_000_000;

/// The process that would have been.
const PID: u32 = 0;

/// What the events of a run are about.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The scenario's topics, in the order of the setup's.
    pub header: &'a Header,
    /// The mode's name.
    pub mode: &'a str,
    /// 1 for the first.
    pub run: u32,
}

/// Simulates a run and tells it as a run on a broker is told, but for how it ended.
#[must_use]
pub fn events(setup: &Setup, model: &Model, facts: Facts<'_>) -> (Vec<Event>, End) {
    let mut log = Log::new(setup, facts);
    log.filled(setup);
    let end = simulate(setup, model, &mut log);
    log.ended(end);
    (log.in_order(), end)
}

static CLIENT: LazyLock<String> =
    LazyLock::new(|| format!("fairpoll {} in virtual time", env!("CARGO_PKG_VERSION")));

struct Log<'a> {
    facts: Facts<'a>,
    partitions: Vec<(usize, u32)>,
    events: Vec<Event>,
    generation: u64,
    /// One past the last offset, and the committed one.
    ends: Vec<(i64, Option<i64>)>,
    life: u32,
    threads: u32,
    connections: u32,
}

impl<'a> Log<'a> {
    fn new(setup: &Setup, facts: Facts<'a>) -> Self {
        let partitions: Vec<(usize, u32)> = partitions(&setup.topics).collect();
        let ends = vec![(0, None); partitions.len()];
        Self {
            facts,
            partitions,
            events: Vec::new(),
            generation: 0,
            ends,
            life: 1,
            threads: setup.threads,
            connections: setup.connections,
        }
    }

    fn emit(&mut self, t_ns: u64, body: Body) {
        let Facts { mode, run, .. } = self.facts;
        self.events.push(Event { t_ns, mode: Some(mode.to_owned()), run: Some(run), body });
    }

    fn line(&mut self, t_ns: u64, line: WorkerLine) {
        self.emit(t_ns, Body::Worker { life: self.life, line });
    }

    fn topic(&self, partition: usize) -> String {
        self.facts.header.topics[self.partitions[partition].0].name.clone()
    }

    fn number(&self, partition: usize) -> u32 {
        self.partitions[partition].1
    }

    fn first_id(&self, partition: usize) -> u64 {
        let (topic, number) = self.partitions[partition];
        load::first_id(u16::try_from(topic).unwrap_or(u16::MAX), number)
    }

    fn range(&self, partition: usize, first: i64, count: u64) -> DeliveredRange {
        let first_id = self.first_id(partition).wrapping_add(first.unsigned_abs());
        // 0 + 1 + … + (count − 1), of which one factor is even.
        let sum = if count.is_multiple_of(2) {
            (count / 2).wrapping_mul(count.wrapping_sub(1))
        } else {
            count.wrapping_mul((count - 1) / 2)
        };
        DeliveredRange {
            topic: self.topic(partition),
            partition: self.number(partition),
            first,
            last: first + count.cast_signed() - 1,
            count,
            id_sum: count.wrapping_mul(first_id).wrapping_add(sum),
        }
    }

    fn put(&mut self, at_ns: u64, partition: usize, count: u64, origin: Origin) {
        if count == 0 {
            return;
        }
        let first = self.ends[partition].0;
        self.ends[partition].0 += count.cast_signed();
        let body = Body::Produced {
            topic: self.topic(partition),
            partition: self.number(partition),
            first_offset: first,
            count,
            first_id: self.first_id(partition) + first.unsigned_abs(),
            scheduled_t0_ns: at_ns,
            interval_ns: 0,
            ack_ns: at_ns,
            sent_ns: at_ns,
            origin,
        };
        self.emit(at_ns, body);
    }

    /// What happened before the consumer started.
    fn filled(&mut self, setup: &Setup) {
        self.emit(START_NS / 10, Body::Phase { phase: Phase::Fill });
        let earlier: u64 = setup.topics.iter().map(|topic| topic.earlier).sum();
        if earlier > 0 {
            self.earlier_life(setup);
        }
        for partition in 0..self.partitions.len() {
            let (topic, number) = self.partitions[partition];
            let topic = &setup.topics[topic];
            let count = load::share(topic.backlog, topic.partitions, number);
            self.put(START_NS / 2, partition, count, Origin::Backlog);
        }
        self.emit(START_NS, Body::Phase { phase: Phase::Join });
        self.starts(START_NS, setup, true);
    }

    fn starts(&mut self, t_ns: u64, setup: &Setup, measured: bool) {
        self.emit(t_ns, Body::WorkerStarted { life: self.life, instance: 1, pid: PID, measured });
        let topics = u32::try_from(setup.topics.len()).unwrap_or(u32::MAX);
        let handles = fairpoll_core::Topology::of(setup.mode, topics).handle_count();
        self.line(
            t_ns,
            WorkerLine::Hello {
                protocol_version: PROTOCOL_VERSION,
                start_ns: t_ns,
                client: CLIENT.clone(),
                actual_mode: Some(setup.mode.to_string()),
                reason: None,
                handles: Some(handles),
            },
        );
    }

    /// An earlier consumer of the group took what was there then in one poll, committed it and went.
    fn earlier_life(&mut self, setup: &Setup) {
        let at = START_NS / 5;
        for partition in 0..self.partitions.len() {
            let (topic, number) = self.partitions[partition];
            let topic = &setup.topics[topic];
            let count = load::share(topic.earlier, topic.partitions, number);
            self.put(at, partition, count, Origin::Before);
        }
        self.starts(at, setup, false);
        let all: Vec<usize> = (0..self.partitions.len()).collect();
        self.assigned_at(at, &all);
        let had: Vec<usize> = all.into_iter().filter(|&partition| self.ends[partition].0 > 0).collect();
        let ranges = had
            .iter()
            .map(|&partition| self.range(partition, 0, self.ends[partition].0.unsigned_abs()))
            .collect();
        self.line(at, WorkerLine::Poll { seq: 1, t_begin_ns: at, t_return_ns: at, ranges });
        self.line(at, WorkerLine::Processed { seq: 1, t_ns: at, failed: Vec::new() });
        let offsets: Vec<(usize, i64)> =
            had.iter().map(|&partition| (partition, self.ends[partition].0)).collect();
        self.commit_at(1, at, &offsets);
        self.line(at, WorkerLine::CommitResult { id: 1, t_ns: at, error: None });
        self.goes(at, (1, 0), 0);
        self.life += 1;
    }

    fn goes(&mut self, t_ns: u64, (polls, empty_polls): (u64, u64), cpu_ms: u64) {
        self.line(t_ns, WorkerLine::Bye { t_ns, polls, empty_polls: Some(empty_polls) });
        let body = Body::WorkerExited {
            life: self.life,
            code: Some(0),
            signal: None,
            cpu_ms,
            expected: true,
            by_fault: false,
        };
        self.emit(t_ns, body);
    }

    fn assigned_at(&mut self, t_ns: u64, partitions: &[usize]) {
        self.generation += 1;
        let named = |&partition: &usize| TopicPartition {
            topic: self.topic(partition),
            partition: self.number(partition),
        };
        let partitions = partitions.iter().map(named).collect();
        self.line(t_ns, WorkerLine::Assigned { t_ns, generation: self.generation, partitions });
    }

    fn commit_at(&mut self, id: u64, t_ns: u64, offsets: &[(usize, i64)]) {
        let named = |&(partition, offset): &(usize, i64)| PartitionOffset {
            topic: self.topic(partition),
            partition: self.number(partition),
            offset,
        };
        let line = WorkerLine::CommitSent { id, t_ns, offsets: offsets.iter().map(named).collect() };
        self.line(t_ns, line);
        for &(partition, offset) in offsets {
            self.ends[partition].1 = Some(offset);
        }
    }

    fn ended(&mut self, end: End) {
        let at = START_NS + end.at_ns;
        self.emit(at, Body::Phase { phase: Phase::Stop });
        let gone = self.events.iter().map(|event| event.t_ns).max().unwrap_or(at).max(at);
        self.goes(gone, (end.polls, end.empty_polls), end.worked_ns / 1_000_000);
        for partition in 0..self.partitions.len() {
            let (log_end, committed) = self.ends[partition];
            let body = Body::BrokerOffsets {
                topic: self.topic(partition),
                partition: self.number(partition),
                log_start: 0,
                log_end,
                committed,
                committed_known: true,
            };
            self.emit(gone, body);
        }
    }

    /// By time; what happened at one time in the order in which it was told.
    fn in_order(mut self) -> Vec<Event> {
        self.events.sort_by_key(|event| event.t_ns);
        self.events
    }
}

impl Trace for Log<'_> {
    fn assigned(&mut self, at_ns: u64, partitions: &[usize]) {
        self.assigned_at(START_NS + at_ns, partitions);
    }

    fn polled(&mut self, poll: Poll<'_>) {
        let ranges = poll.runs.iter().map(|run| self.range(run.partition, run.first, run.count)).collect();
        let t_return_ns = START_NS + poll.returned_ns;
        let t_begin_ns = START_NS + poll.began_ns;
        self.line(t_return_ns, WorkerLine::Poll { seq: poll.number, t_begin_ns, t_return_ns, ranges });
        let t_ns = START_NS + poll.processed_ns;
        self.line(t_ns, WorkerLine::Processed { seq: poll.number, t_ns, failed: Vec::new() });
    }

    fn commit_sent(&mut self, id: u64, at_ns: u64, offsets: &[(usize, i64)]) {
        self.commit_at(id, START_NS + at_ns, offsets);
    }

    fn committed(&mut self, id: u64, at_ns: u64) {
        let t_ns = START_NS + at_ns;
        self.line(t_ns, WorkerLine::CommitResult { id, t_ns, error: None });
    }

    fn load(&mut self, at_ns: u64, begins: bool) {
        let phase = if begins { Phase::Disturb } else { Phase::Drain };
        self.emit(START_NS + at_ns, Body::Phase { phase });
    }

    /// Told at the end, and sorted to where it belongs.
    fn produced(&mut self, produced: Produced) {
        let Produced { partition, first, count, first_due_ns, interval_ns, delay_ns } = produced;
        let each = (BURST_NS / interval_ns.max(1) + 1).min(count);
        let mut at = 0;
        while at < count {
            let number = each.min(count - at);
            let scheduled_t0_ns = START_NS + first_due_ns + at * interval_ns;
            let last_due_ns = scheduled_t0_ns + (number - 1) * interval_ns;
            let ack_ns = last_due_ns + delay_ns;
            let offset = first + at.cast_signed();
            let body = Body::Produced {
                topic: self.topic(partition),
                partition: self.number(partition),
                first_offset: offset,
                count: number,
                first_id: self.first_id(partition) + offset.unsigned_abs(),
                scheduled_t0_ns,
                interval_ns,
                ack_ns,
                sent_ns: last_due_ns,
                origin: Origin::Live,
            };
            self.emit(ack_ns, body);
            at += number;
        }
        self.ends[partition].0 = self.ends[partition].0.max(first + count.cast_signed());
    }

    fn looked(&mut self, look: Look) {
        let body = Body::Sample {
            life: self.life,
            rss_kib: look.memory_kib,
            rss_peak_kib: look.most_kib,
            threads: self.threads,
            connections: Some(self.connections),
            cpu_ms: look.worked_ns / 1_000_000,
        };
        self.emit(START_NS + look.at_ns, body);
    }
}
