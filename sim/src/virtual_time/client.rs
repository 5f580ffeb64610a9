//! librdkafka's part: what a client fetches, when, and how it reaches the lanes.
//!
//! Each client (*handle*) has a thread for each broker, with at most one fetch under way. It asks for the
//! partitions whose queue is below its limits and leaves out the others for `fetch.queue.backoff.ms`. The
//! broker answers with whole batches, in the order of the request, or waits. The client unpacks an answer
//! partition by partition; what is unpacked of one lies in its lane's queue at once.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use super::agenda::Agenda;
use super::log::{Live, Log, Most};
use super::model::Model;

/// A thread with nothing to do sleeps for a millisecond at least.
const BACKOFF_NS_MIN: u64 = 1_000_000;

/// How often a worker is looked at.
const SAMPLE_NS: u64 = 50_000_000;

/// librdkafka's settings, equal for all handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchSettings {
    /// `queued.min.messages`.
    pub queued_records: u64,
    /// `queued.max.messages.kbytes`, in bytes.
    pub queued_bytes: u64,
    /// `max.partition.fetch.bytes`.
    pub piece_bytes: u64,
    /// `fetch.max.bytes`.
    pub answer_bytes: u64,
    /// `fetch.wait.max.ms`, in nanoseconds.
    pub wait_ns: u64,
    /// `fetch.queue.backoff.ms`, in nanoseconds.
    pub backoff_ns: u64,
}

/// What happens by itself, without the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// A thread looks what to fetch.
    Look(usize),
    /// Its request is with the broker.
    Requested(usize),
    /// The broker looks again whether there is something for it; of which of its waits this was entered.
    Again(usize, u64),
    /// The answer is with the client.
    Received(usize),
    /// The next partition of the answer is unpacked.
    Unpacked(usize),
    /// A handle was given its partitions.
    Assigned(usize),
    /// The first fetches of a handle may be sent.
    Begins(usize),
    /// The broker answered a commit.
    Committed(u64),
    /// Live production begins.
    LoadBegins,
    /// It ends.
    LoadEnds,
    /// The process is looked at.
    Sampled,
}

/// What wakes the application's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// A queue got its first record.
    Records,
    /// A handle was given its partitions.
    Assigned(usize),
    /// A commit was answered.
    Committed(u64),
    /// Live production has begun.
    LoadBegan,
    /// Live production is over: no more than there is will come.
    LoadEnded,
}

/// A partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: usize,
    pub(super) lane: usize,
    pub(super) handle: usize,
    pub(super) log: Log,
    /// The next offset to ask for.
    pub(super) next: i64,
    /// The end of the log as the last answer told it.
    pub(super) told_end: Option<i64>,
    /// Between two live records; 0: there are none.
    pub(super) interval_ns: u64,
    owned: bool,
    /// The next request asks for it.
    takes_part: bool,
    left_out_until: u64,
}

impl Partition {
    pub(super) fn new(topic: usize, lane: usize, handle: usize, log: Log, next: i64) -> Self {
        Self {
            topic,
            lane,
            handle,
            log,
            next,
            told_end: None,
            interval_ns: 0,
            owned: false,
            takes_part: false,
            left_out_until: 0,
        }
    }
}

/// Records of one partition that lie in a queue.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    partition: usize,
    first: i64,
    count: u64,
}

/// What an answer says of a partition.
#[derive(Debug, Clone, Copy)]
struct Piece {
    partition: usize,
    count: u64,
    /// One past the last offset, as the broker knew it.
    end: i64,
}

/// A lane's queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    chunks: VecDeque<Chunk>,
    pub(super) records: u64,
    bytes: u64,
    /// So many of its first records were looked at, and lie with the engine since: librdkafka counts them no
    /// more, and signals again once its own part is no longer empty.
    looked_at: u64,
    /// It got its first record since this was looked at.
    pub(super) woken: bool,
}

impl Queue {
    /// The partitions of its first `depth` records, which the engine keeps in its hands from now on.
    pub(super) fn look(&mut self, depth: u64) -> impl Iterator<Item = usize> {
        self.looked_at = self.looked_at.max(depth.min(self.records));
        let mut left = depth;
        self.chunks.iter().map_while(move |chunk| {
            let is_seen = left > 0;
            left = left.saturating_sub(chunk.count);
            is_seen.then_some(chunk.partition)
        })
    }

    /// Whether librdkafka fetches nothing more for it.
    fn is_full(&self, settings: &FetchSettings) -> bool {
        let records = self.records - self.looked_at;
        let bytes = self.bytes.checked_div(self.records).unwrap_or(0) * records;
        records >= settings.queued_records || bytes >= settings.queued_bytes
    }
}

/// In which order partitions stand in requests: each begins one further on, whoever is left out loses his place,
/// and whoever comes back stands at the end. An answer has the same order, so it decides who is behind whom.
#[derive(Debug, Default)]
struct Turns {
    all: Vec<usize>,
    first: usize,
}

impl Turns {
    /// A partition takes part from now on, or does not. `before`: whether it did.
    fn set(&mut self, partition: usize, before: &mut bool, takes_part: bool) {
        if *before == takes_part {
            return;
        }
        *before = takes_part;
        if takes_part {
            self.all.push(partition);
            return;
        }
        let place = self.all.iter().position(|other| *other == partition).expect("it took part");
        self.all.remove(place);
        if place < self.first {
            self.first -= 1;
        }
        if self.first >= self.all.len() {
            self.first = 0;
        }
    }

    /// The next request's partitions.
    fn next(&mut self, into: &mut Vec<usize>) {
        let (later, sooner) = self.all.split_at(self.first);
        into.extend(sooner.iter().chain(later));
        self.first = if self.all.is_empty() { 0 } else { (self.first + 1) % self.all.len() };
    }
}

/// A client's thread for one broker.
#[derive(Debug, Default)]
struct Fetcher {
    partitions: Vec<usize>,
    turns: Turns,
    /// What is under way.
    asked: Vec<usize>,
    answer: Vec<Piece>,
    answer_bytes: u64,
    unpacked: usize,
    /// Until when a request waits at the broker.
    waits_until: Option<u64>,
    /// Counts waits.
    wait: u64,
}

/// Clients, brokers and the way between them.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) now: u64,
    pub(super) partitions: Vec<Partition>,
    pub(super) queues: Vec<Queue>,
    pub(super) agenda: Agenda<Happening>,
    /// Bytes of answers that are under way or being unpacked.
    under_way_bytes: u64,
    /// Memory of records that lie in queues or in the application's hands, bytes.
    held_bytes: u64,
    /// The most that all of this was.
    pub(super) most_bytes: u64,
    /// Time that the clients' threads worked, ns.
    pub(super) worked_ns: u64,
    /// Looks at the process: when, memory of records and the most of it so far in bytes, and the time worked.
    pub(super) samples: Vec<(u64, u64, u64, u64)>,
    fetchers: Vec<Fetcher>,
    nodes: usize,
    settings: FetchSettings,
    model: Model,
    random: fastrand::Rng,
}

impl Clients {
    /// `nodes` brokers, each of which leads every so-many-th partition.
    pub(super) fn new(
        (handles, lanes, nodes): (usize, usize, usize),
        partitions: Vec<Partition>,
        settings: FetchSettings,
        model: Model,
        seed: u64,
    ) -> Self {
        let mut fetchers: Vec<Fetcher> = Vec::new();
        fetchers.resize_with(handles * nodes, Fetcher::default);
        // As the harness lays them: one after the other over all topics.
        for (index, partition) in partitions.iter().enumerate() {
            fetchers[partition.handle * nodes + index % nodes].partitions.push(index);
        }
        let mut queues = Vec::new();
        queues.resize_with(lanes, Queue::default);
        Self {
            now: 0,
            partitions,
            queues,
            agenda: Agenda::new(),
            under_way_bytes: 0,
            held_bytes: 0,
            most_bytes: 0,
            worked_ns: 0,
            samples: Vec::new(),
            fetchers,
            nodes,
            settings,
            model,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Lets happen what is due by `until`, but no more than to the first that the application is told of. The
    /// time is then that of this, or `until`.
    pub(super) fn wait(&mut self, until: u64) -> Option<Told> {
        while let Some((at, what)) = self.agenda.next_until(until) {
            self.now = at;
            if let Some(told) = self.happens(what) {
                return Some(told);
            }
        }
        self.now = self.now.max(until);
        None
    }

    fn happens(&mut self, what: Happening) -> Option<Told> {
        match what {
            Happening::Look(fetcher) => self.look(fetcher),
            Happening::Requested(fetcher) => {
                self.fetchers[fetcher].waits_until = Some(self.now + self.settings.wait_ns);
                self.answer(fetcher);
            }
            Happening::Again(fetcher, wait) => {
                if self.fetchers[fetcher].waits_until.is_some() && self.fetchers[fetcher].wait == wait {
                    self.answer(fetcher);
                }
            }
            Happening::Received(fetcher) => {
                self.fetchers[fetcher].unpacked = 0;
                self.unpack(fetcher, self.model.unpack_answer_ns);
            }
            Happening::Unpacked(fetcher) => return self.unpacked(fetcher).then_some(Told::Records),
            Happening::Begins(handle) => {
                for partition in self.partitions.iter_mut().filter(|partition| partition.handle == handle) {
                    partition.owned = true;
                }
                for node in 0..self.nodes {
                    self.look(handle * self.nodes + node);
                }
            }
            Happening::LoadBegins => {
                self.load_begins();
                return Some(Told::LoadBegan);
            }
            Happening::Sampled => {
                self.samples.push((self.now, self.memory_bytes(), self.most_bytes, self.worked_ns));
                self.agenda.enter(self.now + SAMPLE_NS, Happening::Sampled);
            }
            Happening::LoadEnds => {
                let now = self.now;
                let lives = self.partitions.iter_mut().filter_map(|partition| partition.log.live.as_mut());
                lives.for_each(|live| live.until_ns = now);
                self.load_changed();
                return Some(Told::LoadEnded);
            }
            Happening::Assigned(handle) => return Some(Told::Assigned(handle)),
            Happening::Committed(id) => return Some(Told::Committed(id)),
        }
        None
    }

    /// One way between client and broker.
    fn way(&mut self) -> u64 {
        let half = self.model.round_trip_ns / 2;
        let most = half * u64::from(self.model.jitter_percent) / 100;
        half + self.random.u64(..=most)
    }

    fn look(&mut self, number: usize) {
        let (now, settings) = (self.now, self.settings);
        let mut fetcher = std::mem::take(&mut self.fetchers[number]);
        let mut soonest = None::<u64>;
        for &index in &fetcher.partitions {
            let partition = &mut self.partitions[index];
            if !partition.owned {
                continue;
            }
            let queue = &self.queues[partition.lane];
            if partition.left_out_until <= now && queue.is_full(&settings) {
                partition.left_out_until = now + settings.backoff_ns.max(BACKOFF_NS_MIN);
            }
            let is_left_out = partition.left_out_until > now;
            if is_left_out {
                let until = partition.left_out_until;
                soonest = Some(soonest.map_or(until, |soonest| soonest.min(until)));
            }
            fetcher.turns.set(index, &mut partition.takes_part, !is_left_out);
        }
        fetcher.asked.clear();
        fetcher.turns.next(&mut fetcher.asked);
        if !fetcher.asked.is_empty() {
            let way = self.way();
            self.agenda.enter(now + way, Happening::Requested(number));
        } else if let Some(soonest) = soonest {
            self.agenda.enter(soonest, Happening::Look(number));
        }
        self.fetchers[number] = fetcher;
    }

    /// The broker answers, or lets the request wait.
    fn answer(&mut self, number: usize) {
        let now = self.now;
        let mut fetcher = std::mem::take(&mut self.fetchers[number]);
        fetcher.answer.clear();
        let batches = match self.model.batches_per_answer {
            0 => i64::MAX,
            some => i64::from(some),
        };
        let mut bytes = 0;
        for &index in &fetcher.asked {
            let partition = &self.partitions[index];
            let left = self.settings.answer_bytes.saturating_sub(bytes);
            // The embedded broker looks at what it has already, and not at what it adds.
            let at_least_one = bytes == 0 || (self.model.batches_per_answer > 0 && left > 0);
            let most = Most { bytes: self.settings.piece_bytes.min(left), batches, at_least_one };
            let share = partition.log.share(partition.next, now, most);
            bytes += share.bytes;
            fetcher.answer.push(Piece {
                partition: index,
                count: share.records.unsigned_abs(),
                end: partition.log.end(now),
            });
        }
        let is_over = fetcher.waits_until.is_none_or(|until| until <= now);
        if bytes == 0 && !is_over {
            self.let_wait(number, &mut fetcher);
        } else {
            fetcher.waits_until = None;
            fetcher.answer_bytes = bytes;
            self.under_way_bytes += bytes;
            let work = self.model.request_ns
                + self.model.request_partition_ns * fetcher.asked.len() as u64
                + self.model.answer_kib_ns * bytes / 1024;
            let way = self.way();
            self.agenda.enter(now + work + way, Happening::Received(number));
        }
        self.fetchers[number] = fetcher;
    }

    fn let_wait(&mut self, number: usize, fetcher: &mut Fetcher) {
        let until = fetcher.waits_until.unwrap_or(self.now);
        let comes = |&index: &usize| {
            let partition = &self.partitions[index];
            partition.log.readable_at(partition.next)
        };
        let first = fetcher.asked.iter().filter_map(comes).min().filter(|_| self.model.wakes_long_polls);
        fetcher.wait += 1;
        let at = first.map_or(until, |first| first.clamp(self.now, until));
        self.agenda.enter(at, Happening::Again(number, fetcher.wait));
    }

    /// As the harness's producer does it: first records are spread over an interval, so that equal rates do not
    /// send in step.
    fn load_begins(&mut self) {
        let (now, delay_ns) = (self.now, self.model.produce_ns);
        let count = self.partitions.iter().filter(|partition| partition.interval_ns > 0).count() as u64;
        let lively = self.partitions.iter_mut().filter(|partition| partition.interval_ns > 0);
        for (place, partition) in (0..).zip(lively) {
            let interval_ns = partition.interval_ns;
            let first_due_ns = now + interval_ns / count * place;
            partition.log.live = Some(Live { first_due_ns, interval_ns, delay_ns, until_ns: u64::MAX });
        }
        self.load_changed();
    }

    /// Something else may come from now on, or not come: whoever waits looks anew when that is.
    fn load_changed(&mut self) {
        for number in 0..self.fetchers.len() {
            if self.fetchers[number].waits_until.is_some() {
                let mut fetcher = std::mem::take(&mut self.fetchers[number]);
                self.let_wait(number, &mut fetcher);
                self.fetchers[number] = fetcher;
            }
        }
    }

    /// Goes on to the next partition of an answer that brings something; those before it are told to be at
    /// their ends.
    fn unpack(&mut self, number: usize, begins_ns: u64) {
        let fetcher = &mut self.fetchers[number];
        while let Some(&Piece { partition, count, end }) = fetcher.answer.get(fetcher.unpacked) {
            // It is told before its records are unpacked.
            self.partitions[partition].told_end = Some(end);
            if count > 0 {
                let takes = begins_ns + count * self.model.unpack_record_ns;
                self.worked_ns += takes;
                self.agenda.enter(self.now + takes, Happening::Unpacked(number));
                return;
            }
            fetcher.unpacked += 1;
        }
        self.under_way_bytes -= fetcher.answer_bytes;
        self.agenda.enter(self.now + begins_ns, Happening::Look(number));
    }

    /// Whether it put a first record into its queue.
    fn unpacked(&mut self, number: usize) -> bool {
        let fetcher = &mut self.fetchers[number];
        let Piece { partition: index, count, .. } = fetcher.answer[fetcher.unpacked];
        fetcher.unpacked += 1;
        let partition = &mut self.partitions[index];
        let first = partition.next;
        partition.next += count.cast_signed();
        let queue = &mut self.queues[partition.lane];
        let wakes = queue.records == queue.looked_at;
        queue.woken |= wakes;
        queue.records += count;
        queue.bytes += count * partition.log.unpacked_bytes;
        self.held_bytes += count * (partition.log.unpacked_bytes + self.model.record_overhead_bytes);
        self.most_bytes = self.most_bytes.max(self.held_bytes + self.under_way_bytes);
        queue.chunks.push_back(Chunk { partition: index, first, count });
        self.unpack(number, 0);
        wakes
    }

    /// Takes at most `most` records off a lane's queue, run by run: partition, first offset, count.
    pub(super) fn take(&mut self, lane: usize, most: u64, mut taken: impl FnMut(usize, i64, u64)) -> u64 {
        let queue = &mut self.queues[lane];
        let mut left = most;
        while let (Some(chunk), Some(most)) = (queue.chunks.front_mut(), NonZeroU64::new(left)) {
            let count = chunk.count.min(most.get());
            taken(chunk.partition, chunk.first, count);
            left -= count;
            queue.records -= count;
            queue.looked_at = queue.looked_at.saturating_sub(count);
            queue.bytes -= count * self.partitions[chunk.partition].log.unpacked_bytes;
            if count == chunk.count {
                queue.chunks.pop_front();
            } else {
                chunk.first += count.cast_signed();
                chunk.count -= count;
            }
        }
        most - left
    }

    /// The application has finished with records, and their memory is given back.
    pub(super) fn give_back(&mut self, partition: usize, count: u64) {
        let bytes = self.partitions[partition].log.unpacked_bytes + self.model.record_overhead_bytes;
        self.held_bytes -= count * bytes;
    }

    /// Memory of records now, bytes.
    fn memory_bytes(&self) -> u64 {
        self.held_bytes + self.under_way_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of batches that are larger than a piece a Kafka gives one, of the first partition that has any; the embedded
    /// broker one of each.
    #[test]
    fn an_answer_brings_what_its_broker_gives() {
        let settings = FetchSettings {
            queued_records: 10_000,
            queued_bytes: 1 << 20,
            piece_bytes: 500,
            answer_bytes: 1 << 20,
            wait_ns: 0,
            backoff_ns: 0,
        };
        let counts = |model: Model, answer_bytes| {
            let log =
                Log { filled: 30, batch_records: 10, record_bytes: 100, unpacked_bytes: 100, live: None };
            let partitions = (0..3).map(|topic| Partition::new(topic, 0, 0, log.clone(), 0)).collect();
            let settings = FetchSettings { answer_bytes, ..settings };
            let mut clients = Clients::new((1, 1, 1), partitions, settings, model, 1);
            clients.agenda.enter(0, Happening::Begins(0));
            assert_eq!(clients.wait(10_000_000), Some(Told::Records));
            clients.fetchers[0].answer.iter().map(|piece| piece.count).collect::<Vec<_>>()
        };
        assert_eq!(counts(Model::kafka(), 1 << 20), [10, 0, 0]);
        assert_eq!(counts(Model::embedded(), 1 << 20), [10, 10, 10]);
        assert_eq!(counts(Model::embedded(), 1_500), [10, 10, 0], "until it has as much as was asked for");
    }

    #[test]
    fn partitions_take_turns_and_who_was_left_out_stands_at_the_end() {
        let mut turns = Turns::default();
        let mut part = [false; 4];
        let request = |turns: &mut Turns| {
            let mut asked = Vec::new();
            turns.next(&mut asked);
            asked
        };
        assert_eq!(request(&mut turns), Vec::<usize>::new());
        for (partition, takes_part) in part.iter_mut().enumerate() {
            turns.set(partition, takes_part, true);
            turns.set(partition, takes_part, true);
        }
        assert_eq!(request(&mut turns), [0, 1, 2, 3]);
        assert_eq!(request(&mut turns), [1, 2, 3, 0]);
        // It would begin with 2.
        turns.set(1, &mut part[1], false);
        assert_eq!(request(&mut turns), [2, 3, 0]);
        turns.set(1, &mut part[1], true);
        assert_eq!(request(&mut turns), [3, 1, 0, 2]);
    }
}
