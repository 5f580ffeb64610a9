//! Giving way while it runs: stop delivering, commit, leave the groups, start anew with less.
//!
//! A state machine inside the loop, as rebalances are: nothing blocks, nothing is awaited, and whoever
//! drops a poll's future finds it in the next one where it was. To the groups it is a member that leaves and
//! one that joins; to the application a while without records.

use std::time::{Duration, Instant};

use fairpoll_core::mode::Resource;
use fairpoll_core::pressure::{Advice, Ladder, Pace, Pressure, Reading, Step};
use fairpoll_core::{
    FirstFetch, LaneIndex, Mode, ModeReason, PartitionIndex, PollMachine, Refill, Timestamp,
};

use crate::config::Config;
use crate::error::PollError;
use crate::event::ConsumerEvent;
use crate::machine::Machine;
use crate::memory::Budget;
use crate::topology::Topology;

use super::build::{adapting, plenty, policy, properties, refill_wait};
use super::join::JoinWait;
use super::lane::Lane;
use super::open::open;
use super::{Consumer, Handle};

/// How often the machine is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the application is waited for that still has records in hand. What it does not mark as processed
/// by then comes again, as after a rebalance.
const PROCESSING_WAIT: Duration = Duration::from_secs(5);

/// Meanwhile a poll returns after so long, without records: the application cannot mark any while it waits
/// in one.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// How long commits may take. Nothing is given up for one that is not answered: the consumer goes on as it
/// was, and tries again later.
const COMMIT_WAIT: Duration = Duration::from_secs(5);

/// How long handles may take to leave their groups, and to end. A coordinator that is away must not keep the
/// consumer from its topics.
const LEAVE_WAIT: Duration = Duration::from_secs(10);
const FREE_WAIT: Duration = Duration::from_secs(5);

/// How much longer they may take to leave while the application holds a batch: it keeps a handle alive, and one
/// that has not left keeps its partitions from those that come next.
const LEAVE_WAIT_HELD: Duration = Duration::from_secs(60);

/// When handles that could not be created are tried again.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// How often a switch is looked at besides wake-ups: neither the last step of a close nor the end of a
/// handle's threads raises one here.
const STEP_LOOK: Duration = Duration::from_millis(5);

/// Where readings come from.
#[derive(Debug)]
pub(super) enum Source {
    Machine(Machine),
    /// The same each time.
    #[cfg(test)]
    Said(Vec<Reading>),
}

impl Source {
    fn readings(&self) -> Vec<Reading> {
        match self {
            Self::Machine(machine) => machine.readings(),
            #[cfg(test)]
            Self::Said(readings) => readings.clone(),
        }
    }
}

/// Whether the consumer gives way, and how far it has come with it.
#[derive(Debug)]
pub(super) struct Degrading {
    /// `None`: it never does.
    source: Option<Source>,
    pressure: Pressure,
    /// The limit of memory at the start, MiB: what could never be held need not be halved.
    memory_mib: Option<u64>,
    looked: Instant,
    under_way: Option<Switch>,
    /// It is being looked at, and not in its place.
    goes_on: bool,
    /// Steps that were taken.
    steps: u32,
}

/// A step that is being taken.
#[derive(Debug)]
struct Switch {
    advice: Advice,
    to: Build,
    /// To come back to, should the other not be possible.
    from: Build,
    stage: Stage,
    /// What comes again.
    unprocessed: Vec<(String, i32, i64)>,
}

/// What handles are made from.
#[derive(Debug, Clone)]
struct Build {
    fetch_buffer_mib: Option<u32>,
    topology: Topology,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Nothing is delivered; the application finishes what it has.
    Processing { until: Instant },
    /// The broker is to answer what was committed.
    Committing { until: Instant },
    /// Every handle leaves its group.
    Leaving { until: Instant },
    /// The handles' threads, connections and buffers go.
    Freeing { until: Instant },
    /// New handles are created.
    Opening { not_before: Instant },
}

/// What a look at a step brought.
#[derive(Debug, Clone, Copy)]
enum Progress {
    /// There is something to wait for.
    Waits,
    /// The next stage has begun.
    Next,
    /// The step is taken, or given up.
    Over,
}

impl Degrading {
    pub(super) fn new(config: &Config, topology: &Topology) -> Self {
        let source = config.degrade.then(|| Source::Machine(Machine::new(config.connection_limit)));
        let readings = source.as_ref().map(Source::readings).unwrap_or_default();
        let memory = readings.iter().find(|reading| reading.resource == Resource::MemoryBytes);
        let memory_mib = memory.map(|reading| reading.limit >> 20);
        let pressure = Pressure::new(Pace::DEFAULT, ladder(config, topology, memory_mib));
        Self {
            source,
            pressure,
            memory_mib,
            looked: Instant::now(),
            under_way: None,
            goes_on: false,
            steps: 0,
        }
    }

    /// Whether a step is being taken: nothing is delivered then.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some() || self.goes_on
    }

    pub(super) fn steps(&self) -> u32 {
        self.steps
    }

    /// The consumer is stopped, wherever it was. What comes again, of partitions that were given back already.
    pub(super) fn abandon(&mut self) -> Vec<(String, i32, i64)> {
        self.under_way.take().map_or_else(Vec::new, |switch| switch.unprocessed)
    }

    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        match self.under_way.as_ref()?.stage {
            Stage::Opening { not_before } => Some(not_before),
            _ => Some(now + STEP_LOOK),
        }
    }

    /// Looks at the machine when it is time. What that takes grows with the descriptors that are open: less
    /// than a millisecond for a thousand.
    fn look(&mut self, now: Instant, at: Timestamp) -> Option<Advice> {
        let source = self.source.as_ref()?;
        if now.duration_since(self.looked) < LOOK_EVERY {
            return None;
        }
        self.looked = now;
        self.pressure.observe(at, &source.readings())
    }
}

/// What a consumer has to give up.
fn ladder(config: &Config, topology: &Topology, memory_mib: Option<u64>) -> Ladder {
    let mut smaller = config.clone();
    let mut smaller_limits = 0;
    while let Some(mib) = halved(&smaller, topology, memory_mib) {
        smaller = smaller.with_budget(mib);
        smaller_limits += 1;
    }
    Ladder { smaller_limits, cheaper_mode: topology.cheaper(config, topology.resolution.reason).is_some() }
}

fn halved(config: &Config, topology: &Topology, memory_mib: Option<u64>) -> Option<u32> {
    Budget::halved(config, topology, memory_mib, |config| properties(config, topology, 0))
}

impl Consumer {
    /// Looks whether something is short, and takes a step on the way if one is under way. Does not block.
    ///
    /// # Errors
    /// If no handle can be opened any more. The next call tries again.
    pub(super) fn give_way(&mut self, now: Instant) -> Result<(), PollError> {
        if !self.degrading.is_under_way() {
            let at = self.timestamp(now);
            let Some(advice) = self.degrading.look(now, at) else { return Ok(()) };
            self.degrading.under_way = self.begin_step(now, advice);
        }
        // Several stages may be over at once.
        while let Some(mut switch) = self.degrading.under_way.take() {
            self.degrading.goes_on = true;
            let went = self.go_on(now, &mut switch);
            self.degrading.goes_on = false;
            if !matches!(went, Ok(Progress::Over)) {
                self.degrading.under_way = Some(switch);
            }
            if !matches!(went?, Progress::Next) {
                break;
            }
        }
        Ok(())
    }

    /// Whether this poll should return without records, for the application to finish what it has.
    pub(super) fn asks_the_application(&self, began: Instant, now: Instant) -> bool {
        let switch = self.degrading.under_way.as_ref();
        let processing = switch.is_some_and(|switch| matches!(switch.stage, Stage::Processing { .. }));
        processing && now.duration_since(began) >= ASK_EVERY
    }

    fn begin_step(&mut self, now: Instant, advice: Advice) -> Option<Switch> {
        let Advice { step, reading } = advice;
        let Reading { resource, used, limit } = reading;
        let from = Build { fetch_buffer_mib: self.config.fetch_buffer_mib, topology: self.topology.clone() };
        let to = match step {
            Step::Nothing => None,
            Step::SmallerLimits => halved(&self.config, &self.topology, self.degrading.memory_mib)
                .map(|mib| Build { fetch_buffer_mib: Some(mib), ..from.clone() }),
            Step::CheaperMode => {
                let reason = ModeReason::RanShort { resource, used, limit };
                let topology = self.topology.cheaper(&self.config, reason);
                topology.map(|topology| Build { topology, ..from.clone() })
            }
        };
        let Some(to) = to else {
            tracing::warn!(
                "{used} of {limit} {resource} are in use, and there is nothing left to be given up"
            );
            return None;
        };
        tracing::warn!("{used} of {limit} {resource} are in use: starting anew with less");
        let stage = Stage::Processing { until: now + PROCESSING_WAIT };
        Some(Switch { advice, to, from, stage, unprocessed: Vec::new() })
    }

    fn go_on(&mut self, now: Instant, switch: &mut Switch) -> Result<Progress, PollError> {
        let next = match switch.stage {
            Stage::Processing { until } => {
                if now < until && !self.unprocessed().is_empty() {
                    return Ok(Progress::Waits);
                }
                self.commit_before_leaving(now);
                Stage::Committing { until: now + COMMIT_WAIT }
            }
            Stage::Committing { until } => {
                if self.commits.any_pending() {
                    return Ok(if now < until { Progress::Waits } else { self.put_off(now, switch) });
                }
                switch.unprocessed = self.comes_again();
                self.begin_to_leave();
                Stage::Leaving { until: now + LEAVE_WAIT }
            }
            Stage::Leaving { until } => {
                let held = if self.batches.get() > 0 { LEAVE_WAIT_HELD } else { Duration::ZERO };
                if !self.has_left(now) && now < until + held {
                    return Ok(Progress::Waits);
                }
                self.forget_assignments();
                self.let_go_of_handles();
                Stage::Freeing { until: now + FREE_WAIT }
            }
            Stage::Freeing { until } => {
                if now < until && !self.only_batches_keep_handles() {
                    return Ok(Progress::Waits);
                }
                Stage::Opening { not_before: now }
            }
            Stage::Opening { not_before } => {
                if now < not_before {
                    return Ok(Progress::Waits);
                }
                return self.open_anew(now, switch);
            }
        };
        switch.stage = next;
        Ok(Progress::Next)
    }

    /// Sends what is processed. A partition of which nothing is keeps its place in the log all the same.
    fn commit_before_leaving(&mut self, now: Instant) {
        self.keep_places(now);
        self.commit_processed();
    }

    /// Where records come again: what is not processed, and what is and could not be committed.
    fn comes_again(&self) -> Vec<(String, i32, i64)> {
        let again = |(index, partition): (_, &super::Partition)| {
            let offset = self.offsets.comes_again(index)?;
            Some((partition.entry.topic.clone(), partition.entry.partition, offset))
        };
        self.partitions.assigned().filter_map(again).collect()
    }

    /// Commits are not answered: the groups are not left, and the consumer goes on as it was.
    fn put_off(&mut self, now: Instant, switch: &Switch) -> Progress {
        tracing::warn!("commits are not answered; going on as before, to try again later");
        let at = self.timestamp(now);
        self.degrading.pressure.put_off(at, switch.advice.step);
        for lane in 0..self.lanes.len() {
            self.poll.lane_ready(LaneIndex::from_position(lane));
        }
        Progress::Over
    }

    fn begin_to_leave(&self) {
        for client in self.handles.iter().filter_map(|handle| handle.client.as_ref()) {
            if let Err(error) = client.begin_close(&self.wake) {
                // It failed for good, and has left already.
                tracing::debug!(%error, "a handle does not leave its group");
            }
        }
    }

    /// Answers what the groups ask of those that leave. What they say last of their records does not matter:
    /// nobody takes any more.
    fn has_left(&mut self, now: Instant) -> bool {
        let mut all = true;
        for index in 0..self.handles.len() {
            let Some(client) = self.handles[index].client.clone() else { continue };
            self.serve_leaving(now, index, &client);
            all &= client.is_closed() || self.handles[index].fatal.is_some();
        }
        all
    }

    /// What was not given back is not owned any more: a handle had failed, or its group did not answer.
    fn forget_assignments(&mut self) {
        let owned = |&(index, _): &(PartitionIndex, &_)| self.offsets.generation(index).is_some();
        let owned: Vec<(PartitionIndex, (String, i32))> = self
            .partitions
            .iter()
            .filter(owned)
            .map(|(index, partition)| (index, (partition.entry.topic.clone(), partition.entry.partition)))
            .collect();
        for &(index, _) in &owned {
            self.partitions.get_mut(index).generation = None;
            self.offsets.revoked(index);
            self.first_fetch.revoked(index);
            self.refill.forget(index);
            self.forget_failure(index);
            self.refusals.forget(index);
        }
        if !owned.is_empty() {
            let partitions = owned.into_iter().map(|(_, name)| name).collect();
            self.note(ConsumerEvent::Revoked { generation: self.generation, partitions, lost: true });
        }
    }

    /// Creates what is to run from now on; where that is not possible, what ran before.
    fn open_anew(&mut self, now: Instant, switch: &mut Switch) -> Result<Progress, PollError> {
        let refusal = match self.open_as(now, &switch.to) {
            Ok(()) => {
                self.tell(switch);
                return Ok(Progress::Over);
            }
            Err(refusal) => refusal,
        };
        match self.open_as(now, &switch.from) {
            Ok(()) => {
                let again = &switch.unprocessed;
                tracing::warn!(%refusal, ?again, "cannot start with less; going on as before");
                let at = self.timestamp(now);
                self.degrading.pressure.put_off(at, switch.advice.step);
                Ok(Progress::Over)
            }
            Err(error) => {
                switch.stage = Stage::Opening { not_before: now + OPEN_AGAIN };
                Err(PollError::NoHandle { what: format!("{refusal}; as before: {error}") })
            }
        }
    }

    fn open_as(&mut self, now: Instant, build: &Build) -> Result<(), String> {
        let mut config = self.config.clone();
        config.fetch_buffer_mib = build.fetch_buffer_mib;
        let (handles, lanes) =
            open(&config, &build.topology, &self.wake, &self.gone).map_err(|error| error.to_string())?;
        self.config.fetch_buffer_mib = build.fetch_buffer_mib;
        self.begin_with(now, build.topology.clone(), handles, lanes);
        Ok(())
    }

    /// Everything that belongs to handles and lanes begins anew. What belongs to the consumer stays: paused
    /// topics, numbers of partitions, and generations, by which late marks of old batches are known.
    fn begin_with(&mut self, now: Instant, topology: Topology, handles: Vec<Handle>, lanes: Vec<Lane>) {
        self.poll = PollMachine::new(topology.shares.iter().copied(), policy(&self.config));
        self.adapting = adapting(&self.config, &topology);
        self.first_fetch = FirstFetch::new();
        self.refill = Refill::new(topology.lanes.len(), refill_wait(&self.config, &topology));
        self.plenty = plenty(&self.config, &topology);
        (self.opened, self.join_wait) = (now, JoinWait::default());
        for partition in &mut self.partitions.all {
            let lane = topology.lane_of(partition.topic);
            (partition.lane, partition.handle) = (lane, topology.lanes[lane].handle);
            (partition.paused, partition.reads_from) = (false, None);
        }
        (self.topology, self.handles, self.lanes) = (topology, handles, lanes);
        for (position, lane) in self.topology.lanes.iter().enumerate() {
            // Of a lane that topics share, the client is told with the assignment.
            if let &[topic] = lane.topics.as_slice()
                && self.paused[topic]
            {
                self.poll.pause(LaneIndex::from_position(position));
            }
        }
        self.every_topic_begins_anew(now);
    }

    /// That the consumer gave way: in the log by one stable line that can be searched for.
    fn tell(&mut self, switch: &mut Switch) {
        let Reading { resource, used, limit } = switch.advice.reading;
        let [from, to]: [Mode; 2] = [&switch.from, &switch.to].map(|build| build.topology.resolution.actual);
        let fetch_buffer_mib = self.config.fetch_buffer_mib;
        let unprocessed = std::mem::take(&mut switch.unprocessed);
        self.degrading.steps += 1;
        self.meters.degraded(resource, to);
        let budget = fetch_buffer_mib.map_or_else(|| "none".to_owned(), |mib| mib.to_string());
        tracing::warn!(
            "fairpoll degraded: from={from} to={to} resource=\"{resource}\" used={used} limit={limit} \
             fetch_buffer_mib={budget} unprocessed_partitions={}; {}",
            unprocessed.len(),
            self.status()
        );
        self.log_started();
        self.note(ConsumerEvent::Degraded { from, to, resource, used, limit, fetch_buffer_mib, unprocessed });
    }
}

#[cfg(test)]
mod tests;
