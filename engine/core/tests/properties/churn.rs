//! A consumer's life at speed: a million assignments, revocations, seeks, pauses, deliveries,
//! completions and commits in random order, on all machines together, as the shell drives them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use fairpoll_core::{
    Answer, Completion, Cost, FirstFetch, Generation, LaneConfig, LaneIndex, OffsetRange, OffsetTracker,
    PartitionIndex, Policy, PollMachine, Timestamp, WatermarkBefore,
};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::Verdict;

const LANES: u32 = 5;
const PARTITIONS_PER_LANE: u32 = 3;
const OPERATIONS: u32 = 1_000_000;
/// Readings of which completions may still come, per partition.
const REMEMBERED: usize = 4;
const FIRST_FETCH_WAIT: Duration = Duration::from_millis(100);

/// What the shell does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// It completes what was delivered before a seek or a revocation in the generation of now.
    ForgetsGenerations,
    /// It takes from lanes that are paused.
    TakesFromPaused,
    /// It lets a seek begin without telling the tracker.
    SeeksInSilence,
}

/// A stretch of reading: from an assignment or a seek to the next, or to the revocation.
#[derive(Debug, Clone)]
struct Reading {
    generation: Generation,
    /// Delivered and not completed.
    open: BTreeSet<i64>,
    /// All that was delivered.
    range: Option<OffsetRange>,
}

#[derive(Debug, Default)]
struct Partition {
    end: i64,
    position: i64,
    /// On the broker.
    committed: i64,
    owned: bool,
    readings: Vec<Reading>,
}

struct Churn {
    rng: TestRng,
    defect: Defect,
    now: Timestamp,
    poll: PollMachine,
    offsets: OffsetTracker,
    first_fetch: FirstFetch,
    partitions: Vec<Partition>,
    paused: BTreeSet<u32>,
    /// What happened how often: all of it must.
    counts: BTreeMap<&'static str, u32>,
}

impl Churn {
    fn new(defect: Defect) -> Self {
        let quota = |lane: u32| NonZeroU32::new(7 + 11 * lane).expect("not 0");
        let lanes = (0..LANES).map(|lane| LaneConfig::with_quota(quota(lane)));
        Self {
            // The same life each time.
            rng: TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]),
            defect,
            now: Timestamp::ZERO,
            poll: PollMachine::new(lanes, Policy::DeficitRoundRobin),
            offsets: OffsetTracker::new(),
            first_fetch: FirstFetch::new(),
            partitions: (0..LANES * PARTITIONS_PER_LANE).map(|_| Partition::default()).collect(),
            paused: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.rng.next_u32() % limit
    }

    fn offset_below(&mut self, limit: i64) -> i64 {
        i64::from(self.below(u32::try_from(limit).expect("short logs")))
    }

    fn step(&mut self) -> Verdict {
        self.now = self.now + Duration::from_micros(u64::from(self.below(2_000)));
        let index = PartitionIndex(self.below(LANES * PARTITIONS_PER_LANE));
        let what = match self.below(100) {
            0..4 => self.assign(index),
            4..6 => self.revoke(index),
            6..7 => self.seek(index),
            7..11 => self.pause(index),
            11..40 => self.produce(index),
            40..70 => return self.deliver(),
            70..88 => return self.complete(index),
            88..92 => return self.complete_late(index),
            _ => return self.commit(),
        };
        *self.counts.entry(what).or_default() += 1;
        self.check(index)
    }

    fn lane_of(index: PartitionIndex) -> LaneIndex {
        LaneIndex(index.0 / PARTITIONS_PER_LANE)
    }

    fn begin(&mut self, index: PartitionIndex, generation: Generation) {
        let readings = &mut self.partitions[index.position()].readings;
        readings.push(Reading { generation, open: BTreeSet::new(), range: None });
        let excess = readings.len().saturating_sub(REMEMBERED);
        readings.drain(..excess);
    }

    fn assign(&mut self, index: PartitionIndex) -> &'static str {
        if self.partitions[index.position()].owned {
            return "assigned already";
        }
        let generation = self.offsets.assigned(index, None);
        let before = [WatermarkBefore::Valid, WatermarkBefore::Invalid][self.below(2) as usize];
        self.first_fetch.assigned(self.now, Self::lane_of(index), FIRST_FETCH_WAIT, [(index, before)]);
        let partition = &mut self.partitions[index.position()];
        (partition.owned, partition.position) = (true, partition.committed);
        self.begin(index, generation);
        self.poll.lane_ready(Self::lane_of(index));
        "assigned"
    }

    fn revoke(&mut self, index: PartitionIndex) -> &'static str {
        self.offsets.revoked(index);
        self.first_fetch.revoked(index);
        self.partitions[index.position()].owned = false;
        "revoked"
    }

    fn seek(&mut self, index: PartitionIndex) -> &'static str {
        let end = self.partitions[index.position()].end;
        if !self.partitions[index.position()].owned {
            return "not sought";
        }
        let to = self.offset_below(end + 1);
        self.partitions[index.position()].position = to;
        if self.defect != Defect::SeeksInSilence {
            let generation = self.offsets.sought(index, to).expect("it is assigned");
            self.begin(index, generation);
        }
        self.poll.lane_ready(Self::lane_of(index));
        "sought"
    }

    fn pause(&mut self, index: PartitionIndex) -> &'static str {
        let lane = Self::lane_of(index);
        if self.paused.remove(&lane.0) {
            self.poll.resume(lane);
            return "resumed";
        }
        self.paused.insert(lane.0);
        self.poll.pause(lane);
        "paused"
    }

    fn produce(&mut self, index: PartitionIndex) -> &'static str {
        let records = 1 + i64::from(self.below(20));
        let partition = &mut self.partitions[index.position()];
        partition.end += records;
        // Logs begin anew before they are long; whoever reads them is told so by an assignment.
        if partition.end > 1_000 {
            *partition = Partition::default();
            self.revoke(index);
            return "a log began anew";
        }
        self.poll.lane_ready(Self::lane_of(index));
        if self.below(4) == 0 {
            self.first_fetch.fetch_answered(self.now, index, Answer::Records);
        }
        "produced"
    }

    /// One poll, perhaps ended early.
    fn deliver(&mut self) -> Verdict {
        *self.counts.entry("polled").or_default() += 1;
        let budget = (self.below(2) == 0).then(|| self.below(60));
        self.poll.begin(self.now, budget);
        let mut all = 0;
        while let Some(grant) = self.poll.next_grant() {
            let (lane, most) = (grant.lane, grant.records);
            if self.paused.contains(&lane.0) {
                return Err(format!("a grant to {lane}, which is paused"));
            }
            let taken = self.take(lane, most)?;
            all += taken;
            // What is taken of a lane that was revoked meanwhile is less than what was granted.
            self.poll.settle(grant, taken, Cost::default());
            if self.below(50) == 0 {
                break;
            }
        }
        if self.defect == Defect::TakesFromPaused
            && let Some(&lane) = self.paused.first()
        {
            all += self.take(LaneIndex(lane), 5)?;
        }
        let summary = self.poll.end(self.now);
        if summary.records != u64::from(all) || budget.is_some_and(|budget| all > budget) {
            return Err(format!("{all} records taken, {summary:?}, at most {budget:?}"));
        }
        let unknown: Vec<PartitionIndex> = self.first_fetch.unknown().collect();
        if let Some(gone) = unknown.iter().find(|index| !self.partitions[index.position()].owned) {
            return Err(format!("{gone} is waited for and not owned"));
        }
        if let Some(wakeup) = self.first_fetch.waiting(self.now)
            && wakeup.at > self.now + FIRST_FETCH_WAIT.max(Duration::from_millis(250))
        {
            return Err(format!("a first fetch is awaited until {:?}, it is {:?}", wakeup.at, self.now));
        }
        Ok(())
    }

    fn take(&mut self, lane: LaneIndex, most: u32) -> Result<u32, String> {
        let mut taken = 0;
        for number in 0..PARTITIONS_PER_LANE {
            let index = PartitionIndex(lane.0 * PARTITIONS_PER_LANE + number);
            let partition = &mut self.partitions[index.position()];
            let left = u32::try_from(partition.end - partition.position).unwrap_or(0);
            let count = left.min(most - taken);
            if !partition.owned || count == 0 {
                continue;
            }
            let range =
                OffsetRange { first: partition.position, last: partition.position + i64::from(count) - 1 };
            let generation = self.offsets.delivered(index, range).map_err(|error| error.to_string())?;
            let reading = partition.readings.last_mut().expect("it is owned");
            if reading.generation != generation {
                return Err(format!("delivered in {generation:?}, the reading is {:?}", reading.generation));
            }
            reading.open.extend(range.first..=range.last);
            let first = reading.range.map_or(range.first, |known| known.first);
            reading.range = Some(OffsetRange { first, ..range });
            partition.position = range.last + 1;
            self.first_fetch.delivered(index);
            taken += count;
        }
        Ok(taken)
    }

    /// Some of what is open, in any order.
    fn complete(&mut self, index: PartitionIndex) -> Verdict {
        let (at, length) = (self.below(4), i64::from(self.below(30)));
        let partition = &mut self.partitions[index.position()];
        let Some(reading) = partition.readings.last_mut().filter(|_| partition.owned) else { return Ok(()) };
        // Mostly from the front, or nothing would ever be committed.
        let skip = if at == 0 { (reading.open.len() / 2).min(50) } else { 0 };
        let Some(first) = reading.open.iter().copied().nth(skip) else { return Ok(()) };
        let last = (first + length).min(partition.position - 1);
        let range = OffsetRange { first, last };
        let completed =
            self.offsets.completed(index, reading.generation, range).map_err(|error| error.to_string())?;
        if completed == Completion::Fenced {
            return Err(format!("{range:?} of {index} is fenced, it was delivered just now"));
        }
        let done: Vec<i64> = reading.open.range(first..=last).copied().collect();
        for offset in done {
            reading.open.remove(&offset);
        }
        *self.counts.entry("completed").or_default() += 1;
        self.check(index)
    }

    /// Something of an earlier reading, or of a partition that is gone: it must change nothing.
    fn complete_late(&mut self, index: PartitionIndex) -> Verdict {
        let partition = &self.partitions[index.position()];
        let late = partition.readings.len().saturating_sub(usize::from(partition.owned));
        if late == 0 {
            return Ok(());
        }
        let which = self.below(u32::try_from(late).expect("few")) as usize;
        let readings = &self.partitions[index.position()].readings;
        let reading = &readings[which];
        let Some(range) = reading.range else { return Ok(()) };
        let mut generation = reading.generation;
        if self.defect == Defect::ForgetsGenerations {
            generation = readings.last().map_or(generation, |reading| reading.generation);
        }
        let before = self.offsets.committable(index);
        let completed = self.offsets.completed(index, generation, range);
        if completed != Ok(Completion::Fenced) || self.offsets.committable(index) != before {
            return Err(format!("a late completion of {index}: {completed:?}"));
        }
        *self.counts.entry("completed late").or_default() += 1;
        self.check(index)
    }

    /// Sends what is due; the broker answers, or does not.
    fn commit(&mut self) -> Verdict {
        let due: Vec<_> = self.offsets.dirty().collect();
        for due in due {
            if self.below(3) == 0 {
                continue;
            }
            self.partitions[due.partition.position()].committed = due.offset;
            self.offsets.committed(due.partition, due.generation, due.offset);
            *self.counts.entry("committed").or_default() += 1;
            if self.offsets.dirty().any(|still| still.partition == due.partition) {
                return Err(format!("{} is committed, and due all the same", due.partition));
            }
        }
        Ok(())
    }

    /// Nothing may be committed beyond the first record that is open.
    fn check(&self, index: PartitionIndex) -> Verdict {
        let partition = &self.partitions[index.position()];
        let reading = partition.readings.last().filter(|_| partition.owned);
        let open = reading.and_then(|reading| reading.open.first().copied());
        if self.offsets.first_incomplete(index) != open {
            let found = self.offsets.first_incomplete(index);
            return Err(format!("{index}: the first open record is {open:?}, the tracker says {found:?}"));
        }
        match (self.offsets.committable(index), open) {
            (Some(committable), Some(open)) if committable > open => {
                Err(format!("{index}: {committable} may be committed, {open} is open"))
            }
            (Some(_), _) if !partition.owned => Err(format!("{index} is not owned, and may be committed")),
            _ => Ok(()),
        }
    }
}

fn live(defect: Defect, operations: u32) -> Result<BTreeMap<&'static str, u32>, String> {
    let mut churn = Churn::new(defect);
    for number in 0..operations {
        churn.step().map_err(|what| format!("operation {number}: {what}"))?;
    }
    Ok(churn.counts)
}

/// forall lives: what is granted is taken or given back, nothing comes of what is paused, nothing is
/// committed past a record that is open, nothing late changes anything.
#[test]
fn a_million_operations_violate_no_ledger() {
    let counts = live(Defect::None, OPERATIONS).expect("nothing is violated");
    let often = ["assigned", "revoked", "sought", "paused", "resumed", "produced", "polled", "completed"];
    for what in often.iter().chain(&["completed late", "committed", "a log began anew"]) {
        assert!(counts.get(what).is_some_and(|&count| count > 10), "{what}: {counts:?}");
    }
}

#[test]
fn a_million_operations_violate_no_ledger_catches_a_shell_that_errs() {
    for defect in [Defect::ForgetsGenerations, Defect::TakesFromPaused, Defect::SeeksInSilence] {
        assert!(live(defect, 20_000).is_err(), "{defect:?} was not noticed");
    }
}
