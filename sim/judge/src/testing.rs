//! Writes small logs for tests: times in ms, ids as the harness makes them.

use std::collections::BTreeMap;

use crate::event::{
    Body, Event, GateFacts, Header, LOG_VERSION, ModeFacts, Origin, Outcome, Phase, TopicFacts,
};
use crate::protocol::{DeliveredRange, PROTOCOL_VERSION, ProcessingCost, TopicPartition, WorkerLine};

/// Milliseconds to nanoseconds.
pub(crate) fn ms(t: u64) -> u64 {
    t * 1_000_000
}

fn named(partitions: &[(&str, u32)]) -> Vec<TopicPartition> {
    let name = |(topic, partition): &(&str, u32)| TopicPartition {
        topic: (*topic).to_owned(),
        partition: *partition,
    };
    partitions.iter().map(name).collect()
}

/// A log under construction.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) header: Header,
    pub(crate) events: Vec<Event>,
    mode: String,
    run: u32,
    life: u32,
    /// Lives started so far.
    lives: u32,
    seqs: BTreeMap<u32, u64>,
    now_ns: u64,
    ends: BTreeMap<(String, u32), i64>,
    processed: BTreeMap<(String, u32), i64>,
}

impl Log {
    /// A log of the mode `fair` over topics `(name, partitions)`.
    pub(crate) fn new(topics: &[(&str, u32)]) -> Self {
        let facts = |(name, partitions): &(&str, u32)| TopicFacts {
            name: (*name).to_owned(),
            partitions: *partitions,
            weight: 1,
            backlog: 0,
            rate_per_s: 0.0,
            value_bytes: Some(1024),
            deliverable: true,
        };
        let header = Header {
            version: LOG_VERSION,
            scenario: "test".to_owned(),
            purpose: "to test".to_owned(),
            broker: "external".to_owned(),
            runs: 1,
            availability_ms: 50,
            deadline_s: Some(60.0),
            topics: topics.iter().map(facts).collect(),
            modes: Vec::new(),
            demonstrates: Vec::new(),
            gates: Vec::new(),
            instances: 1,
        };
        let mut log = Self {
            header,
            events: Vec::new(),
            mode: String::new(),
            run: 1,
            life: 0,
            lives: 0,
            seqs: BTreeMap::new(),
            now_ns: 0,
            ends: BTreeMap::new(),
            processed: BTreeMap::new(),
        };
        log.mode("fair", 1);
        log
    }

    /// Goes on with another mode or run, from empty topics.
    pub(crate) fn mode(&mut self, name: &str, run: u32) {
        name.clone_into(&mut self.mode);
        (self.run, self.life, self.lives) = (run, 0, 0);
        self.seqs.clear();
        self.ends.clear();
        self.processed.clear();
        if self.header.modes.iter().all(|mode| mode.name != name) {
            self.header.modes.push(ModeFacts {
                name: name.to_owned(),
                label: name.to_owned(),
                max_poll_records: 10,
                max_records: None,
                processing: ProcessingCost::default(),
            });
        }
    }

    pub(crate) fn gate(&mut self, expression: &str) {
        self.header.gates.push(GateFacts { expression: expression.to_owned(), line: 0 });
    }

    pub(crate) fn demonstrates(&mut self, expression: &str) {
        self.header.demonstrates.push(GateFacts { expression: expression.to_owned(), line: 0 });
    }

    pub(crate) fn emit(&mut self, body: Body) {
        let event = Event { t_ns: self.now_ns, mode: Some(self.mode.clone()), run: Some(self.run), body };
        self.events.push(event);
    }

    pub(crate) fn line(&mut self, line: WorkerLine) {
        let life = self.life;
        self.emit(Body::Worker { life, line });
    }

    /// The id at an offset.
    pub(crate) fn id(&self, topic: &str, partition: u32, offset: i64) -> u64 {
        let index = self.header.topics.iter().position(|facts| facts.name == topic).unwrap() as u64;
        (index + 1) << 48 | u64::from(partition) << 32 | offset.unsigned_abs()
    }

    /// Records on the broker before the consumer starts.
    pub(crate) fn backlog(&mut self, topic: &str, partition: u32, count: u64) {
        self.header.topics.iter_mut().find(|facts| facts.name == topic).unwrap().backlog += count;
        self.produced(topic, partition, count, Origin::Backlog, (0, 0));
    }

    /// Live records: the first due at `t0`, one every `interval`; acknowledged with the last.
    pub(crate) fn live(&mut self, topic: &str, partition: u32, count: u64, (t0, interval): (u64, u64)) {
        self.produced(topic, partition, count, Origin::Live, (t0, interval));
    }

    fn produced(
        &mut self,
        topic: &str,
        partition: u32,
        count: u64,
        origin: Origin,
        (t0, interval): (u64, u64),
    ) {
        let first_offset = *self.ends.entry((topic.to_owned(), partition)).or_default();
        self.ends.insert((topic.to_owned(), partition), first_offset + count as i64);
        let last = ms(t0) + ms(interval) * count.saturating_sub(1);
        self.emit(Body::Produced {
            topic: topic.to_owned(),
            partition,
            first_offset,
            count,
            first_id: self.id(topic, partition, first_offset),
            scheduled_t0_ns: ms(t0),
            interval_ns: ms(interval),
            ack_ns: last,
            sent_ns: last,
            origin,
        });
    }

    /// A worker begins at `t` and owns everything at `t + 10`.
    pub(crate) fn start(&mut self, t: u64, measured: bool) {
        self.emit_at(t, Body::Phase { phase: Phase::Join });
        self.launch(t, 1, measured);
        self.assign(t + 10, 1);
    }

    fn emit_at(&mut self, t: u64, body: Body) {
        self.now_ns = ms(t);
        self.emit(body);
    }

    /// A process of an instance begins at `t` and owns nothing yet; what follows is its own.
    pub(crate) fn launch(&mut self, t: u64, instance: u32, measured: bool) -> u32 {
        self.lives += 1;
        self.life = self.lives;
        let life = self.life;
        self.emit_at(t, Body::WorkerStarted { life, instance, pid: 1, measured });
        self.line(WorkerLine::Hello {
            protocol_version: PROTOCOL_VERSION,
            start_ns: ms(t),
            client: "test 1.0".to_owned(),
            actual_mode: Some("fair".to_owned()),
            reason: None,
            handles: Some(1),
        });
        life
    }

    /// What follows is said by another process.
    pub(crate) fn turn(&mut self, life: u32) {
        self.life = life;
    }

    /// The process is told at `t` that these partitions are its own.
    pub(crate) fn given(&mut self, t: u64, partitions: &[(&str, u32)]) {
        let partitions = named(partitions);
        self.line(WorkerLine::Assigned { t_ns: ms(t), generation: t, partitions });
    }

    /// The process is told at `t` that these partitions are its own no longer.
    pub(crate) fn taken(&mut self, t: u64, partitions: &[(&str, u32)]) {
        let partitions = named(partitions);
        self.line(WorkerLine::Revoked { t_ns: ms(t), generation: t, partitions, lost: false });
    }

    /// A fault kills the process.
    pub(crate) fn killed(&mut self, t: u64) {
        let life = self.life;
        let exited = Body::WorkerExited {
            life,
            code: None,
            signal: Some(9),
            cpu_ms: 0,
            expected: true,
            by_fault: true,
        };
        self.emit_at(t, exited);
        self.fault(t, "consumer_killed", None, true);
    }

    /// A fault begins or ends: of a topic, or of the process whose turn it is.
    pub(crate) fn fault(&mut self, t: u64, kind: &str, topic: Option<&str>, begins: bool) {
        let of_process = kind.starts_with("consumer") || kind.starts_with("instance");
        let (life, topic) = (of_process.then_some(self.life), topic.map(str::to_owned));
        self.emit_at(t, Body::Fault { kind: kind.to_owned(), topic, node: None, life, begins });
    }

    pub(crate) fn everything(&self) -> Vec<TopicPartition> {
        let of = |facts: &TopicFacts| {
            let topic = facts.name.clone();
            (0..facts.partitions).map(move |partition| TopicPartition { topic: topic.clone(), partition })
        };
        self.header.topics.iter().flat_map(of).collect()
    }

    pub(crate) fn assign(&mut self, t: u64, generation: u64) {
        let partitions = self.everything();
        self.line(WorkerLine::Assigned { t_ns: ms(t), generation, partitions });
    }

    pub(crate) fn range(&self, topic: &str, partition: u32, first: i64, count: u64) -> DeliveredRange {
        let last = first + count as i64 - 1;
        let id_sum = (first..=last).map(|o| self.id(topic, partition, o)).fold(0, u64::wrapping_add);
        DeliveredRange { topic: topic.to_owned(), partition, first, last, count, id_sum }
    }

    /// A poll from `begin` to `end` with ranges `(topic, partition, first, count)`, processed.
    pub(crate) fn poll(&mut self, begin: u64, end: u64, ranges: &[(&str, u32, i64, u64)]) {
        self.unprocessed_poll(begin, end, ranges);
        for (topic, partition, first, count) in ranges {
            self.processed.insert(((*topic).to_owned(), *partition), first + *count as i64);
        }
        let seq = self.seqs[&self.life];
        self.line(WorkerLine::Processed { seq, t_ns: ms(end), failed: Vec::new() });
    }

    pub(crate) fn unprocessed_poll(&mut self, begin: u64, end: u64, ranges: &[(&str, u32, i64, u64)]) {
        let seq = self.seqs.entry(self.life).or_default();
        *seq += 1;
        let seq = *seq;
        self.now_ns = ms(end);
        let ranges = ranges.iter().map(|(t, p, first, count)| self.range(t, *p, *first, *count)).collect();
        self.line(WorkerLine::Poll { seq, t_begin_ns: ms(begin), t_return_ns: ms(end), ranges });
    }

    pub(crate) fn bye(&mut self, t: u64) {
        let life = self.life;
        let polls = self.seqs.get(&life).copied().unwrap_or(0);
        self.now_ns = ms(t);
        self.line(WorkerLine::Bye { t_ns: ms(t), polls, empty_polls: Some(0) });
        self.emit(Body::WorkerExited {
            life,
            code: Some(0),
            signal: None,
            cpu_ms: 0,
            expected: true,
            by_fault: false,
        });
    }

    /// The run's stop phase begins at `t`.
    pub(crate) fn stop(&mut self, t: u64) {
        self.emit_at(t, Body::Phase { phase: Phase::Stop });
    }

    /// The worker says goodbye, the broker tells its offsets, the run ends well.
    pub(crate) fn finish(&mut self, t: u64) {
        self.emit(Body::Phase { phase: Phase::Stop });
        self.bye(t);
        self.broker_offsets();
        self.emit(Body::RunEnded { outcome: Outcome::Finished });
    }

    pub(crate) fn broker_offsets(&mut self) {
        for ((topic, partition), log_end) in self.ends.clone() {
            let committed = self.processed.get(&(topic.clone(), partition)).copied();
            self.emit(Body::BrokerOffsets {
                topic,
                partition,
                log_start: 0,
                log_end,
                committed,
                committed_known: true,
            });
        }
    }

    /// The bodies of the polls' ranges, to be spoiled.
    pub(crate) fn ranges_mut(&mut self) -> impl Iterator<Item = &mut Vec<DeliveredRange>> {
        self.events.iter_mut().filter_map(|event| match &mut event.body {
            Body::Worker { line: WorkerLine::Poll { ranges, .. }, .. } => Some(ranges),
            _ => None,
        })
    }

    /// The events with their header.
    pub(crate) fn whole(&self) -> Vec<Event> {
        let body = Body::Header(Box::new(self.header.clone()));
        let mut events = vec![Event { t_ns: 0, mode: None, run: None, body }];
        events.extend(self.events.iter().cloned());
        events
    }
}
