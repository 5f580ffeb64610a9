//! The application's thread: polls as the engine's shell does them, over the same machines of the core.
//!
//! What the shell asks librdkafka is asked of [`Clients`] here. The order of the questions is the shell's
//! (`engine/src/consumer.rs`): joins, first fetches, lanes that ran dry, then grants.

use std::num::NonZeroU32;
use std::time::Duration;

use fairpoll_core::poll::SAFETY_TICK;
use fairpoll_core::refill::Verdict;
use fairpoll_core::{
    Answer, CompleteInput, Cost, FirstFetch, Generation, LaneConfig, LaneIndex, NextRecord, OffsetRange,
    OffsetTracker, PartitionIndex, Policy, PollMachine, Ready, Refill, Timestamp, Wakeup, WatermarkBefore,
};

use super::client::{Clients, Told};

/// The shell looks again no sooner than this: a time in the past would spin.
const LEAST_WAIT_NS: u64 = 100_000;

/// Records of one partition that a poll returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The partition, as the setup numbers them.
    pub partition: usize,
    /// First offset.
    pub first: i64,
    /// Records.
    pub count: u64,
}

impl Run {
    /// Last offset.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.first + self.count.cast_signed() - 1
    }
}

/// How a consumer polls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) max_records: Option<u32>,
    pub(super) timeout: Duration,
    pub(super) first_fetch_wait: Duration,
    pub(super) refill_wait: Duration,
    /// Polls want a record of every topic, and wait so long for it.
    pub(super) complete_wait: Option<Duration>,
    pub(super) join_wait: Duration,
    /// A lane with so many records is one that fetching stops for soon.
    pub(super) plenty: u64,
}

/// One consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    manner: Manner,
    poll: PollMachine,
    first_fetch: FirstFetch,
    refill: Refill,
    complete_input: CompleteInput,
    offsets: OffsetTracker,
    generations: Vec<Option<Generation>>,
    quanta: Vec<u32>,
    topics: usize,
    /// Handles that own nothing yet.
    joining: usize,
    held: Vec<Ready>,
    last_tick: u64,
    /// What the last poll returned.
    pub(super) runs: Vec<Run>,
}

fn index_of(partition: usize) -> PartitionIndex {
    PartitionIndex(u32::try_from(partition).expect("a consumer has fewer than 2^32 partitions"))
}

impl Consumer {
    pub(super) fn new(
        manner: Manner,
        lanes: &[LaneConfig],
        policy: Policy,
        (handles, topics, partitions): (usize, usize, usize),
    ) -> Self {
        let refill_wait = if lanes.len() > 1 { manner.refill_wait } else { Duration::ZERO };
        Self {
            manner,
            poll: PollMachine::new(lanes.iter().copied(), policy),
            first_fetch: FirstFetch::new(),
            refill: Refill::new(lanes.len(), refill_wait),
            complete_input: CompleteInput::new(topics),
            offsets: OffsetTracker::new(),
            generations: vec![None; partitions],
            quanta: lanes.iter().map(LaneConfig::quantum).collect(),
            topics,
            joining: handles,
            held: Vec::with_capacity(lanes.len()),
            last_tick: 0,
            runs: Vec::new(),
        }
    }

    fn waits_for_others(&self) -> bool {
        self.quanta.len() > 1
    }

    /// A handle was given its partitions.
    fn assigned(&mut self, clients: &Clients, handle: usize) {
        self.joining -= 1;
        let now = Timestamp::from_nanos(clients.now);
        for (index, partition) in clients.partitions.iter().enumerate() {
            if partition.handle == handle {
                let lane = LaneIndex::from_position(partition.lane);
                let bound = self.manner.first_fetch_wait;
                let named = [(index_of(index), WatermarkBefore::Invalid)];
                // The engine asks where partitions begin, and knows by that which hold nothing.
                if partition.log.end(clients.now) > 0 {
                    self.first_fetch.assigned(now, lane, bound, named);
                }
                let committed = Some(partition.next).filter(|&next| next > 0);
                self.generations[index] = Some(self.offsets.assigned(index_of(index), committed));
            }
        }
    }

    /// One poll that begins `now`; when it has what it returns, which lies in [`Self::runs`]. `told` hears of
    /// everything besides records. Returns with nothing once live production has ended, too.
    pub(super) fn poll(
        &mut self,
        clients: &mut Clients,
        mut now: u64,
        wake_ns: u64,
        told: &mut impl FnMut(u64, Told),
    ) -> u64 {
        let most = self.manner.complete_wait.unwrap_or(self.manner.timeout);
        let deadline = now.saturating_add(nanos(most));
        self.runs.clear();
        self.complete_input.begin(Timestamp::from_nanos(now), most);
        let mut is_over = false;
        loop {
            is_over |= self.catch_up(clients, now, told);
            self.tick(now);
            let is_last = is_over || now >= deadline;
            let verdict = self.verdict(clients, is_last);
            if verdict == Verdict::Return {
                self.collect(clients);
            }
            if !self.runs.is_empty() || is_last {
                self.refill.over(Timestamp::from_nanos(now));
                return now;
            }
            let hold = match verdict {
                Verdict::Hold(Some(wakeup)) => Some(wakeup),
                Verdict::Hold(None) | Verdict::Return => None,
            };
            let until = self.next_wake(now, hold).min(deadline);
            now = match clients.wait(until) {
                Some(what) => {
                    is_over |= what == Told::LoadEnded;
                    self.hear(clients, what, told);
                    clients.now + wake_ns
                }
                None => until,
            };
        }
    }

    /// Lets happen what is due by `now`. Whether live production has ended by that.
    pub(super) fn catch_up(
        &mut self,
        clients: &mut Clients,
        now: u64,
        told: &mut impl FnMut(u64, Told),
    ) -> bool {
        let mut is_over = false;
        while let Some(what) = clients.wait(now) {
            is_over |= what == Told::LoadEnded;
            self.hear(clients, what, told);
        }
        is_over
    }

    fn hear(&mut self, clients: &Clients, what: Told, told: &mut impl FnMut(u64, Told)) {
        if let Told::Assigned(handle) = what {
            self.assigned(clients, handle);
        }
        if what != Told::Records {
            told(clients.now, what);
        }
    }

    fn tick(&mut self, now: u64) {
        if now - self.last_tick >= nanos(SAFETY_TICK) {
            self.last_tick = now;
            for lane in 0..self.quanta.len() {
                self.poll.lane_ready(LaneIndex::from_position(lane));
            }
        }
    }

    fn next_wake(&mut self, now: u64, hold: Option<Wakeup>) -> u64 {
        let at = Timestamp::from_nanos(now);
        let mut next = self.last_tick + nanos(SAFETY_TICK);
        if self.joining > 0 && now < nanos(self.manner.join_wait) {
            next = next.min(nanos(self.manner.join_wait));
        }
        let first_fetch = if self.waits_for_others() { self.first_fetch.waiting(at) } else { None };
        for Wakeup { at, .. } in first_fetch.into_iter().chain(hold) {
            next = next.min(at.as_nanos());
        }
        next.max(now + LEAST_WAIT_NS)
    }

    fn verdict(&mut self, clients: &mut Clients, is_last: bool) -> Verdict {
        let at = Timestamp::from_nanos(clients.now);
        let joins = self.joining > 0 && clients.now < nanos(self.manner.join_wait);
        if self.manner.complete_wait.is_some() {
            let first_fetch = self.look_at_first_fetches(clients);
            let seen = self.look_at_topics(clients, joins);
            let Some(wait) = self.complete_input.waiting(at, seen) else { return Verdict::Return };
            return Verdict::Hold(Some(first_fetch.map_or(wait, |first| wait.min(first))));
        }
        if joins || (self.waits_for_others() && self.look_at_first_fetches(clients).is_some()) {
            Verdict::Hold(None)
        } else if is_last {
            Verdict::Return
        } else {
            self.look_at_what_ran_dry(clients)
        }
    }

    fn look_at_first_fetches(&mut self, clients: &mut Clients) -> Option<Wakeup> {
        let now = Timestamp::from_nanos(clients.now);
        self.first_fetch.waiting(now)?;
        let unknown: Vec<(LaneIndex, PartitionIndex)> = self.first_fetch.unknown_lanes().collect();
        for (lane, partition) in unknown {
            let queue = &mut clients.queues[lane.position()];
            let depth = u64::from(self.quanta[lane.position()]);
            let holds_enough = self.waits_for_others() && queue.records >= depth;
            if queue.look(depth).any(|other| other == partition.position()) || holds_enough {
                self.first_fetch.delivered(partition);
                continue;
            }
            if let Some(end) = clients.partitions[partition.position()].told_end {
                let answer = if end > 0 { Answer::Records } else { Answer::Empty };
                self.first_fetch.fetch_answered(now, partition, answer);
            }
        }
        self.first_fetch.waiting(now)
    }

    fn look_at_topics(&self, clients: &mut Clients, joins: bool) -> Vec<NextRecord> {
        let mut seen = vec![None::<NextRecord>; self.topics];
        let mut is_cut = vec![false; self.quanta.len()];
        for (lane, queue) in clients.queues.iter_mut().enumerate() {
            // A queue of one topic is known by its first record.
            let depth = if self.waits_for_others() { 1 } else { u64::from(self.quanta[lane]) };
            is_cut[lane] = queue.records >= depth;
            for partition in queue.look(depth) {
                seen[clients.partitions[partition].topic] = Some(NextRecord::Here);
            }
        }
        let mut ends = vec![(false, 0_u64, false); self.topics];
        for (index, partition) in clients.partitions.iter().enumerate() {
            let (coming, sum, behind_others) = &mut ends[partition.topic];
            *behind_others |= is_cut[partition.lane] && !self.waits_for_others();
            let position = self.offsets.position(index_of(index)).unwrap_or(partition.next);
            let is_unknown = self.first_fetch.is_unknown(index_of(index));
            *coming |= is_unknown || partition.told_end.is_none_or(|end| position < end);
            *sum = sum.wrapping_add(partition.told_end.map_or(0, i64::unsigned_abs));
        }
        let of_topic = |(seen, end): (Option<NextRecord>, (bool, u64, bool))| match (seen, end) {
            (Some(here), _) => here,
            (None, _) if joins => NextRecord::Coming { seen: 0 },
            (None, (false, ..)) => NextRecord::Absent,
            (None, (.., true)) => NextRecord::Withheld,
            (None, (_, sum, _)) => NextRecord::Coming { seen: sum },
        };
        seen.into_iter().zip(ends).map(of_topic).collect()
    }

    fn look_at_what_ran_dry(&mut self, clients: &Clients) -> Verdict {
        let looked_at: Vec<LaneIndex> = self.refill.to_look_at().collect();
        for lane in looked_at {
            if clients.queues[lane.position()].records > 0 {
                self.refill.has_records(lane);
                continue;
            }
            for index in self.refill.ran_dry(lane, |_| true) {
                let end = clients.partitions[index.position()].told_end;
                if let Some((position, end)) = self.offsets.position(index).zip(end) {
                    self.refill.looked_at(lane, index, position, end);
                }
            }
        }
        self.held.clear();
        if self.refill.is_anybody_due() {
            let plenty = self.manner.plenty;
            self.held.extend(clients.queues.iter().map(|queue| match queue.records {
                0 => Ready::Nothing,
                records if records >= plenty => Ready::Plenty,
                _ => Ready::Records,
            }));
        }
        self.refill.verdict(Timestamp::from_nanos(clients.now), &self.held)
    }

    fn collect(&mut self, clients: &mut Clients) {
        let at = Timestamp::from_nanos(clients.now);
        for (lane, queue) in clients.queues.iter_mut().enumerate() {
            if std::mem::take(&mut queue.woken) {
                self.poll.lane_ready(LaneIndex::from_position(lane));
            }
        }
        let runs = &mut self.runs;
        self.poll.begin(at, self.manner.max_records);
        while let Some(grant) = self.poll.next_grant() {
            let taken =
                clients.take(grant.lane.position(), u64::from(grant.records), |partition, first, count| {
                    match runs.last_mut() {
                        Some(run) if run.partition == partition && run.last() + 1 == first => {
                            run.count += count
                        }
                        _ => runs.push(Run { partition, first, count }),
                    }
                });
            let taken = u32::try_from(taken).unwrap_or(grant.records);
            self.poll.settle(grant, taken, Cost::default());
        }
        self.poll.end(at);
        for run in &self.runs {
            let index = index_of(run.partition);
            self.first_fetch.delivered(index);
            let lane = LaneIndex::from_position(clients.partitions[run.partition].lane);
            self.refill.delivered(lane, index, run.first);
            let range = OffsetRange { first: run.first, last: run.last() };
            self.offsets.delivered(index, range).expect("a queue holds a partition's records in order");
        }
    }

    /// The application has finished with what the last poll returned.
    pub(super) fn processed(&mut self) {
        for run in &self.runs {
            let generation = self.generations[run.partition].expect("it was assigned");
            let range = OffsetRange { first: run.first, last: run.last() };
            let completed = self.offsets.completed(index_of(run.partition), generation, range);
            completed.expect("it was delivered");
        }
    }

    /// What is to be committed now: partition and the next offset to read. It counts as committed.
    pub(super) fn commits(&mut self) -> Vec<(usize, i64)> {
        let due: Vec<_> = self.offsets.dirty().collect();
        for due in &due {
            self.offsets.committed(due.partition, due.generation, due.offset);
        }
        due.into_iter().map(|due| (due.partition.position(), due.offset)).collect()
    }
}

/// A lane of a quota.
pub(super) fn lane(quota: NonZeroU32, weight: u32, priority: u8) -> LaneConfig {
    let weight = NonZeroU32::new(weight).unwrap_or(NonZeroU32::MIN);
    LaneConfig { weight, priority, ..LaneConfig::with_quota(quota) }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
