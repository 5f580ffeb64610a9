//! One run of one mode, gathered from its events: topics and partitions by number, polls in order.

use std::collections::{BTreeMap, HashMap};

use crate::event::{Body, Event, Header, Origin, Outcome, Phase, TopicFacts};
use crate::protocol::{DeliveredRange, TopicPartition, WorkerLine};

use super::crew::Crew;
use super::ownership::{Ownership, ownership};
use super::stalls::Excused;
use super::supply::{Batch, Supply};

/// What a poll returned of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Take {
    /// Number of the topic.
    pub(super) topic: usize,
    /// Number of the partition, over all topics.
    pub(super) partition: usize,
    /// First offset that had not been delivered before.
    pub(super) start: i64,
    /// One past the last offset; equal to `start` where nothing was new.
    pub(super) end: i64,
    /// Records, repeated ones too.
    pub(super) count: u64,
}

impl Take {
    /// Records that had not been delivered before.
    pub(super) fn fresh(&self) -> u64 {
        self.end.abs_diff(self.start)
    }
}

/// A poll that returned records.
#[derive(Debug, Clone)]
pub(super) struct Poll {
    /// The process that made it.
    pub(super) life: u32,
    pub(super) seq: u64,
    pub(super) begin_ns: u64,
    pub(super) return_ns: u64,
    pub(super) takes: Vec<Take>,
}

impl Poll {
    pub(super) fn records(&self) -> u64 {
        self.takes.iter().map(|take| take.count).sum()
    }
}

/// A partition.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    /// Number of its topic.
    pub(super) topic: usize,
    /// What it had, at the position where the measured consumer began.
    pub(super) supply: Supply,
}

/// A look at the worker process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) life: u32,
    pub(super) t_ns: u64,
    pub(super) rss_kib: u64,
    pub(super) rss_peak_kib: u64,
    pub(super) threads: u32,
    pub(super) connections: Option<u32>,
    pub(super) cpu_ms: u64,
}

/// What a worker was told about its partitions, by their numbers.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Assigned(Vec<usize>),
    Revoked(Vec<usize>),
}

/// A run of a mode.
#[derive(Debug, Default)]
pub(super) struct Course<'a> {
    pub(super) topics: Vec<&'a TopicFacts>,
    pub(super) lanes: Vec<Lane>,
    /// Of the measured lives, all together, in the order of their returns.
    pub(super) polls: Vec<Poll>,
    pub(super) samples: Vec<Sample>,
    /// Until the worker was told to stop: what it gives up while it closes is no rebalance.
    /// (when, which process, what).
    pub(super) changes: Vec<(u64, u32, Change)>,
    pub(super) crew: Crew<'a>,
    pub(super) owners: Ownership,
    /// How old an acknowledged record must be before a poll is expected to find it, ns.
    pub(super) availability_ns: u64,
    /// What does not count as waiting; nothing, unless a reading asks for it.
    pub(super) excused: Excused,
    /// From sending to the answer, ns.
    pub(super) commits_ns: Vec<u64>,
    pub(super) commit_failures: u64,
    pub(super) commits_sent: u64,
    /// Records on which processing failed; `None`: the workers do not say what they processed.
    pub(super) processing_failures: Option<u64>,
    /// How often workers gave way to a shortage.
    pub(super) degradations: u64,
    /// When the measured worker was started, by its own word.
    pub(super) start_ns: Option<u64>,
    /// When the run ended, or was told to.
    pub(super) end_ns: u64,
    /// CPU time of the measured lives that ended, ms.
    pub(super) cpu_ms: BTreeMap<u32, u64>,
    pub(super) client: Option<String>,
    pub(super) actual_mode: Option<String>,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) outcome: Option<Outcome>,
}

impl<'a> Course<'a> {
    /// Gathers `events`, those of one mode and run in the log's order.
    pub(super) fn gather(header: &'a Header, events: &[&'a Event]) -> Self {
        Gathering::new(header).gather(events)
    }

    /// When everything was assigned for the first time, to whichever process, ns.
    pub(super) fn joined_ns(&self) -> Option<u64> {
        // The scenario's partitions come first; one that is added later is nothing to wait for.
        self.owners.complete_ns(self.topics.iter().map(|facts| facts.partitions as usize).sum())
    }

    /// When partitions were assigned or revoked for the last time, ns.
    pub(super) fn settled_ns(&self) -> Option<u64> {
        self.changes.last().map(|(t_ns, ..)| *t_ns)
    }

    /// Whether all of a topic can be delivered in the end.
    pub(super) fn is_deliverable(&self, topic: usize) -> bool {
        let facts = self.topics[topic];
        facts.deliverable && !self.crew.faults.iter().any(|fault| fault.removes(&facts.name))
    }

    /// From when on the consumer could have served, ns: the first batch's poll began, and, where
    /// that poll itself waited for the group, everything was assigned.
    pub(super) fn origin_ns(&self) -> Option<u64> {
        let first = self.polls.first()?;
        let joined = self.joined_ns().unwrap_or(0).min(first.return_ns);
        Some(first.begin_ns.max(joined))
    }

    /// When the first batch returned, ns.
    pub(super) fn first_batch_ns(&self) -> Option<u64> {
        self.polls.first().map(|poll| poll.return_ns)
    }

    /// The zero of pictures, ns.
    pub(super) fn zero_ns(&self) -> u64 {
        self.start_ns.or(self.first_batch_ns()).unwrap_or(self.end_ns)
    }

    /// Milliseconds since the worker's start.
    pub(super) fn at_ms(&self, t_ns: u64) -> f64 {
        millis(t_ns.saturating_sub(self.zero_ns()))
    }

    /// Whether any record was there for the measured consumer, per topic.
    pub(super) fn has_data(&self) -> Vec<bool> {
        let mut has = vec![false; self.topics.len()];
        for lane in &self.lanes {
            has[lane.topic] |= lane.supply.earliest_ns().is_some();
        }
        has
    }
}

/// Nanoseconds to milliseconds.
#[expect(clippy::cast_precision_loss, reason = "a run is shorter than 2⁵³ ns, 104 days")]
pub(super) fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// A count as a metric.
#[expect(clippy::cast_precision_loss, reason = "nobody counts beyond 2⁵³")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

struct Gathering<'a> {
    course: Course<'a>,
    topics: HashMap<&'a str, usize>,
    lanes: HashMap<(usize, u32), usize>,
    batches: Vec<Vec<Batch>>,
    /// One past the largest offset delivered in lives that only prepared, per lane.
    prepared: Vec<i64>,
    measured: BTreeMap<u32, bool>,
    sent: HashMap<(u32, u64), u64>,
    stopping: bool,
}

impl<'a> Gathering<'a> {
    fn new(header: &'a Header) -> Self {
        let mut gathering = Self {
            course: Course {
                topics: header.topics.iter().collect(),
                availability_ns: header.availability_ms.saturating_mul(1_000_000),
                ..Course::default()
            },
            topics: header.topics.iter().enumerate().map(|(index, t)| (t.name.as_str(), index)).collect(),
            lanes: HashMap::new(),
            batches: Vec::new(),
            prepared: Vec::new(),
            measured: BTreeMap::new(),
            sent: HashMap::new(),
            stopping: false,
        };
        for facts in &header.topics {
            for partition in 0..facts.partitions {
                gathering.lane(&facts.name, partition);
            }
        }
        gathering
    }

    /// The number of a partition; topics that the scenario does not know are the auditor's matter.
    fn lane(&mut self, topic: &str, partition: u32) -> Option<usize> {
        let topic = *self.topics.get(topic)?;
        Some(*self.lanes.entry((topic, partition)).or_insert_with(|| {
            self.course.lanes.push(Lane { topic, supply: Supply::default() });
            self.batches.push(Vec::new());
            self.prepared.push(i64::MIN);
            self.course.lanes.len() - 1
        }))
    }

    fn gather(mut self, events: &[&'a Event]) -> Course<'a> {
        for event in events {
            self.take(event);
        }
        let last = events.iter().map(|event| event.t_ns).max().unwrap_or(0);
        if !self.stopping {
            self.course.end_ns = last;
        }
        let mut course = self.course;
        // Processes write at the same time, and their lines may wait before they are written.
        course.polls.sort_by_key(|poll| poll.return_ns);
        course.changes.sort_by_key(|(t_ns, ..)| *t_ns);
        leave_repeated_out(&mut course.polls, self.prepared.clone());
        let last_return = course.polls.last().map_or(0, |poll| poll.return_ns);
        course.end_ns = course.end_ns.max(last_return);
        for (lane, (batches, position)) in
            course.lanes.iter_mut().zip(self.batches.into_iter().zip(self.prepared))
        {
            lane.supply = Supply::new(batches, position);
        }
        course.crew.close(course.end_ns);
        course.owners = ownership(&course);
        course
    }

    fn take(&mut self, event: &'a Event) {
        self.course.crew.take(event.t_ns, &event.body);
        match &event.body {
            Body::Phase { phase: Phase::Stop } if self.measures_now() => {
                self.stopping = true;
                self.course.end_ns = event.t_ns;
            }
            Body::Produced {
                topic,
                partition,
                first_offset,
                count,
                scheduled_t0_ns,
                interval_ns,
                ack_ns,
                sent_ns,
                origin,
                ..
            } => {
                let Some(lane) = self.lane(topic, *partition) else { return };
                let available_ns = match origin {
                    Origin::Before | Origin::Backlog => 0,
                    Origin::Live => ack_ns.saturating_add(self.course.availability_ns),
                };
                self.batches[lane].push(Batch {
                    start: *first_offset,
                    end: first_offset.saturating_add_unsigned(*count),
                    available_ns,
                    ack_ns: *ack_ns,
                    t0_ns: *scheduled_t0_ns,
                    interval_ns: *interval_ns,
                    sent_ns: *sent_ns,
                    origin: *origin,
                });
            }
            Body::WorkerStarted { life, measured, .. } => {
                self.measured.insert(*life, *measured);
            }
            Body::Worker { life, line } => self.line(*life, line),
            Body::Sample { life, rss_kib, rss_peak_kib, threads, connections, cpu_ms }
                if self.measures(*life) =>
            {
                self.course.samples.push(Sample {
                    life: *life,
                    t_ns: event.t_ns,
                    rss_kib: *rss_kib,
                    rss_peak_kib: *rss_peak_kib,
                    threads: *threads,
                    connections: *connections,
                    cpu_ms: *cpu_ms,
                });
            }
            Body::WorkerExited { life, cpu_ms, .. } if self.measures(*life) && *cpu_ms > 0 => {
                self.course.cpu_ms.insert(*life, *cpu_ms);
            }
            Body::RunEnded { outcome } => self.course.outcome = Some(outcome.clone()),
            _ => {}
        }
    }

    fn measures(&self, life: u32) -> bool {
        self.measured.get(&life).copied().unwrap_or(false)
    }

    fn measures_now(&self) -> bool {
        self.measured.values().next_back().copied().unwrap_or(false)
    }

    fn line(&mut self, life: u32, line: &'a WorkerLine) {
        if let WorkerLine::Error { topic, message, .. } = line {
            let text = match topic {
                Some(topic) => format!("{topic}: {message}"),
                None => message.clone(),
            };
            *self.course.errors.entry(text).or_default() += 1;
        }
        if !self.measures(life) {
            if let WorkerLine::Poll { ranges, .. } = line {
                for range in ranges {
                    if let Some(lane) = self.lane(&range.topic, range.partition) {
                        let end = range.last.saturating_add(1);
                        self.prepared[lane] = self.prepared[lane].max(end);
                    }
                }
            }
            return;
        }
        let course = &mut self.course;
        match line {
            WorkerLine::Hello { start_ns, client, actual_mode, reason, .. } => {
                course.start_ns = Some(course.start_ns.map_or(*start_ns, |first| first.min(*start_ns)));
                let details = [actual_mode.as_deref(), reason.as_deref()].into_iter().flatten();
                let words: Vec<&str> = std::iter::once(client.as_str()).chain(details).collect();
                course.client = Some(words.join(", "));
                course.actual_mode.clone_from(actual_mode);
            }
            WorkerLine::Assigned { t_ns, partitions, .. } if !self.stopping => {
                let lanes = self.lanes_of(partitions);
                self.course.changes.push((*t_ns, life, Change::Assigned(lanes)));
            }
            WorkerLine::Revoked { t_ns, partitions, .. } if !self.stopping => {
                let lanes = self.lanes_of(partitions);
                self.course.changes.push((*t_ns, life, Change::Revoked(lanes)));
            }
            WorkerLine::Processed { failed, .. } => {
                *course.processing_failures.get_or_insert_default() += failed.len() as u64;
            }
            WorkerLine::CommitSent { id, t_ns, .. } => {
                course.commits_sent += 1;
                self.sent.insert((life, *id), *t_ns);
            }
            WorkerLine::CommitResult { id, t_ns, error } => {
                course.commit_failures += u64::from(error.is_some());
                if let Some(sent) = self.sent.remove(&(life, *id)) {
                    course.commits_ns.push(t_ns.saturating_sub(sent));
                }
            }
            WorkerLine::Degraded { actual_mode, .. } => {
                course.degradations += 1;
                course.actual_mode = Some(actual_mode.clone());
            }
            WorkerLine::Poll { seq, t_begin_ns, t_return_ns, ranges } => {
                let takes = ranges.iter().filter_map(|range| self.delivered(range)).collect();
                let poll = Poll { life, seq: *seq, begin_ns: *t_begin_ns, return_ns: *t_return_ns, takes };
                self.course.polls.push(poll);
            }
            _ => {}
        }
    }

    fn lanes_of(&mut self, partitions: &[TopicPartition]) -> Vec<usize> {
        partitions.iter().filter_map(|owned| self.lane(&owned.topic, owned.partition)).collect()
    }

    fn delivered(&mut self, range: &DeliveredRange) -> Option<Take> {
        let lane = self.lane(&range.topic, range.partition)?;
        let end = range.last.saturating_add(1);
        // More than any run delivers in all; the auditor says what is wrong with it.
        const RECORDS_MAX: u64 = 1 << 40;
        if range.count > RECORDS_MAX || range.first > range.last || end.abs_diff(range.first) > RECORDS_MAX {
            return None;
        }
        let (topic, start) = (self.course.lanes[lane].topic, range.first);
        Some(Take { topic, partition: lane, start, end, count: range.count })
    }
}

/// Lets takes begin behind what had been delivered before them.
fn leave_repeated_out(polls: &mut [Poll], mut positions: Vec<i64>) {
    for take in polls.iter_mut().flat_map(|poll| &mut poll.takes) {
        let position = &mut positions[take.partition];
        take.start = take.start.max(*position).min(take.end);
        *position = (*position).max(take.end);
    }
}
