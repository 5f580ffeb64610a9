//! Who was served when: starvation, service gaps, first records, the drain.

use std::collections::{BTreeMap, BTreeSet};

use super::course::{Course, Poll};
use super::supply::Supply;

/// Polls of one process without a topic that had available records for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Starvation {
    /// The topic.
    pub topic: String,
    /// The process.
    pub life: u32,
    /// First and last poll of the stretch; 0 and 0 where it holds none.
    pub seq_first: u64,
    /// Last poll of the stretch.
    pub seq_last: u64,
    /// Non-empty polls of the stretch.
    pub polls: u64,
    /// When it began, ms since the worker's start.
    pub from_ms: f64,
    /// When it ended, ms since the worker's start.
    pub to_ms: f64,
    /// What other topics received from that process meanwhile: name and records, the most first.
    pub took: Vec<(String, u64)>,
}

/// Polls of one process, among those of all.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Run {
    pub(super) life: u32,
    /// Indices of the first and one past the last.
    pub(super) polls: (usize, usize),
    /// How many of these are the process's.
    pub(super) count: u64,
}

/// A stretch in which a process had available records of a topic and delivered none, ns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    /// The non-empty polls of the stretch that passed the topic over.
    pub(super) run: Run,
}

/// A stretch in which a topic had available records and nobody delivered any, ns.
#[derive(Debug, Clone)]
pub(super) struct Hunger {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    /// The parts of it in which nobody owned the partitions that held them.
    pub(super) ownerless: Vec<(u64, u64)>,
}

/// What one topic lived through.
#[derive(Debug, Clone, Default)]
pub(super) struct Served {
    /// (poll's begin, poll's return, fresh records so far), by whichever process.
    pub(super) deliveries: Vec<(u64, u64, u64)>,
    /// In order.
    pub(super) hungers: Vec<Hunger>,
    /// Longest run of a process's polls that passed it over.
    pub(super) starved: Run,
    /// The same of polls that began after the last rebalance.
    pub(super) starved_settled: u64,
    /// The longest gap within a process.
    pub(super) gap: Option<Gap>,
    /// When its last backlog record was delivered, ns; `None` where it has no backlog or not all
    /// was delivered.
    pub(super) drained_ns: Option<u64>,
    /// Index of the poll that delivered it.
    pub(super) drained_poll: usize,
    /// It had a backlog.
    pub(super) had_backlog: bool,
}

/// One pass over the polls and the changes of ownership.
///
/// A process is *hungry* for a topic while it owns a partition of it with a record that is not
/// delivered and was acknowledged `availability_ms` ago (the backlog: from the first poll), and no
/// fault withholds the topic. It stays so until it delivers the topic or loses those partitions; so
/// per process and topic one number, the time from which on it is hungry, carries the whole state,
/// and a poll costs one comparison for each topic that it does not serve.
pub(super) fn serve(course: &Course<'_>) -> Vec<Served> {
    let Some(origin_ns) = course.origin_ns() else {
        return vec![Served::default(); course.topics.len()];
    };
    let mut service = Service::new(course, origin_ns);
    let mut moves = moves(course).into_iter().peekable();
    for (index, poll) in course.polls.iter().enumerate() {
        while let Some((t_ns, change)) = moves.next_if(|(t_ns, _)| *t_ns < poll.return_ns) {
            service.change(t_ns, change);
        }
        service.poll(index, poll);
    }
    for (t_ns, change) in moves.take_while(|(t_ns, _)| *t_ns < course.end_ns) {
        service.change(t_ns, change);
    }
    service.finish(course.end_ns)
}

/// What decides, besides polls, who could deliver what.
#[derive(Debug, Clone, Copy)]
enum Move {
    Owner(usize, Option<u32>),
    /// A fault withholds the topic, or a stall that is excused, or no longer.
    Withheld(usize, bool),
}

fn moves(course: &Course<'_>) -> Vec<(u64, Move)> {
    let shifts = course.owners.shifts.iter();
    let mut moves: Vec<(u64, Move)> =
        shifts.map(|shift| (shift.t_ns, Move::Owner(shift.lane, shift.owner))).collect();
    for fault in &course.crew.faults {
        for topic in (0..course.topics.len()).filter(|topic| fault.withholds(&course.topics[*topic].name)) {
            moves.push((fault.from_ns, Move::Withheld(topic, true)));
            // What is deleted does not come back with the fault's end.
            let back = fault.to_ns.filter(|_| !fault.removes(&course.topics[topic].name));
            moves.extend(back.map(|t_ns| (t_ns, Move::Withheld(topic, false))));
        }
    }
    for (from_ns, to_ns) in course.excused.stretches() {
        for topic in 0..course.topics.len() {
            moves.push((*from_ns, Move::Withheld(topic, true)));
            moves.push((*to_ns, Move::Withheld(topic, false)));
        }
    }
    moves.sort_by_key(|(t_ns, _)| *t_ns);
    moves
}

/// A partition at the moment.
struct Part {
    topic: usize,
    supply: Supply,
    /// Offset where its backlog ends, while that is not delivered.
    backlog_end: Option<i64>,
    owner: Option<u32>,
    /// Since when its owner can deliver it.
    since_ns: u64,
}

struct Service {
    parts: Vec<Part>,
    topics: Vec<Topic>,
    /// Per process and topic.
    slots: BTreeMap<u32, Vec<Slot>>,
    /// Partitions per topic.
    members: Vec<Vec<usize>>,
    /// How many faults and excused stalls withhold it, per topic.
    withheld: Vec<u32>,
    /// The processes that made a poll.
    seen: BTreeSet<u32>,
    ownerless: Vec<Vec<(u64, u64)>>,
    settled_ns: u64,
    origin_ns: u64,
}

impl Service {
    fn new(course: &Course<'_>, origin_ns: u64) -> Self {
        let count = course.topics.len();
        let mut service = Self {
            parts: Vec::new(),
            topics: (0..count).map(|_| Topic::new(origin_ns)).collect(),
            slots: BTreeMap::new(),
            members: vec![Vec::new(); count],
            withheld: vec![0; count],
            seen: BTreeSet::new(),
            ownerless: course.owners.ownerless(course.lanes.len(), course.end_ns),
            settled_ns: course.settled_ns().unwrap_or(u64::MAX),
            origin_ns,
        };
        for (index, lane) in course.lanes.iter().enumerate() {
            let supply = lane.supply.clone();
            let backlog_end = supply.backlog_end().filter(|end| *end > supply.position());
            let topic = &mut service.topics[lane.topic];
            topic.undrained += usize::from(backlog_end.is_some());
            topic.served.had_backlog |= backlog_end.is_some();
            service.members[lane.topic].push(index);
            service.parts.push(Part { topic: lane.topic, supply, backlog_end, owner: None, since_ns: 0 });
        }
        for topic in 0..count {
            service.topics[topic].hungry_ns = service.waiting_ns(topic);
        }
        service
    }

    /// From when on a topic has had available records, whosever.
    fn waiting_ns(&self, topic: usize) -> Option<u64> {
        self.members[topic].iter().filter_map(|part| self.parts[*part].supply.earliest_ns()).min()
    }

    /// From when on a process has had something of a topic to deliver.
    fn hungry_ns(&self, life: u32, topic: usize) -> Option<u64> {
        let parts = self.members[topic].iter().map(|part| &self.parts[*part]);
        parts
            .filter(|part| part.owner == Some(life) && self.withheld[topic] == 0)
            .filter_map(|part| Some(part.supply.earliest_ns()?.max(part.since_ns)))
            .min()
    }

    fn slot(&mut self, life: u32, topic: usize) -> &mut Slot {
        let (count, origin_ns) = (self.topics.len(), self.origin_ns);
        let slots = self.slots.entry(life).or_insert_with(|| vec![Slot::new(life, origin_ns); count]);
        &mut slots[topic]
    }

    fn change(&mut self, t_ns: u64, change: Move) {
        match change {
            Move::Owner(lane, owner) => {
                let before = std::mem::replace(&mut self.parts[lane].owner, owner);
                self.parts[lane].since_ns = t_ns;
                let topic = self.parts[lane].topic;
                before.into_iter().chain(owner).for_each(|life| self.look_again(life, topic, t_ns));
            }
            Move::Withheld(topic, on) => {
                let faults = &mut self.withheld[topic];
                *faults = if on { *faults + 1 } else { faults.saturating_sub(1) };
                let parts = self.members[topic].clone();
                for part in parts {
                    self.parts[part].since_ns = self.parts[part].since_ns.max(t_ns);
                    if let Some(life) = self.parts[part].owner {
                        self.look_again(life, topic, t_ns);
                    }
                }
            }
        }
    }

    /// A process may have got something to deliver, or lost it without delivering.
    fn look_again(&mut self, life: u32, topic: usize, t_ns: u64) {
        let hungry_ns = self.hungry_ns(life, topic);
        let served = self.slot(life, topic).look_again(t_ns, hungry_ns);
        self.topics[topic].add(served);
    }

    fn poll(&mut self, index: usize, poll: &Poll) {
        let mut fresh: Vec<Option<u64>> = vec![None; self.topics.len()];
        for take in &poll.takes {
            if fresh[take.topic].is_none() {
                self.end_hunger(take.topic, poll.return_ns);
            }
            *fresh[take.topic].get_or_insert(0) += take.fresh();
            let part = &mut self.parts[take.partition];
            part.supply.advance(take.end);
            if part.backlog_end.is_some_and(|end| part.supply.position() >= end) {
                part.backlog_end = None;
                self.topics[take.topic].drained(index, poll.return_ns);
            }
        }
        let first = self.seen.insert(poll.life);
        // A process's first poll may have waited for the assignment: everything counts that it owned
        // when that poll returned.
        let mine = self.parts.iter().filter(|part| part.owner == Some(poll.life));
        let latest = mine.map(|part| part.since_ns).max().filter(|_| first).unwrap_or(0);
        let begin_ns = poll.begin_ns.max(latest);
        for (topic, fresh) in fresh.into_iter().enumerate() {
            match fresh {
                Some(fresh) => self.delivery(topic, poll, fresh),
                None => {
                    let settled = poll.begin_ns >= self.settled_ns;
                    self.slot(poll.life, topic).passed_over(index, begin_ns, settled);
                }
            }
        }
    }

    fn delivery(&mut self, number: usize, poll: &Poll, fresh: u64) {
        let hungry_ns = self.hungry_ns(poll.life, number);
        let served = self.slot(poll.life, number).delivery(poll.return_ns, hungry_ns);
        let waiting_ns = self.waiting_ns(number);
        let topic = &mut self.topics[number];
        topic.add(served);
        topic.hungry_ns = waiting_ns;
        topic.delivered += fresh;
        topic.last_ns = poll.return_ns;
        topic.served.deliveries.push((poll.begin_ns, poll.return_ns, topic.delivered));
        // Who delivers what is no longer its own takes it from its new owner.
        let owners: BTreeSet<u32> =
            self.members[number].iter().filter_map(|part| self.parts[*part].owner).collect();
        for life in owners.into_iter().filter(|life| *life != poll.life) {
            self.look_again(life, number, poll.return_ns);
        }
    }

    /// Notes how long nobody delivered a topic, before what is delivered now is taken off.
    fn end_hunger(&mut self, number: usize, t_ns: u64) {
        let topic = &self.topics[number];
        let Some(from_ns) =
            topic.hungry_ns.map(|hungry| hungry.max(topic.last_ns)).filter(|from| *from < t_ns)
        else {
            return;
        };
        let mut ownerless = vec![(from_ns, t_ns)];
        for part in &self.members[number] {
            if self.parts[*part].supply.earliest_ns().is_some_and(|available| available < t_ns) {
                ownerless = overlap(&ownerless, &self.ownerless[*part]);
            }
        }
        self.topics[number].served.hungers.push(Hunger { from_ns, to_ns: t_ns, ownerless });
    }

    fn finish(mut self, end_ns: u64) -> Vec<Served> {
        for topic in 0..self.topics.len() {
            self.end_hunger(topic, end_ns);
        }
        for slots in self.slots.values_mut() {
            for (slot, topic) in slots.iter_mut().zip(&mut self.topics) {
                topic.add(slot.close(end_ns));
            }
        }
        self.topics.into_iter().map(|topic| topic.served).collect()
    }
}

/// What is in both lists of stretches.
fn overlap(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let pairs = a.iter().flat_map(|x| b.iter().map(move |y| (x.0.max(y.0), x.1.min(y.1))));
    pairs.filter(|(from, to)| from < to).collect()
}

/// A topic, whoever delivers it.
struct Topic {
    served: Served,
    /// From when on it has had available records.
    hungry_ns: Option<u64>,
    /// The last delivery, or where counting begins.
    last_ns: u64,
    delivered: u64,
    undrained: usize,
}

impl Topic {
    fn new(origin_ns: u64) -> Self {
        Self { served: Served::default(), hungry_ns: None, last_ns: origin_ns, delivered: 0, undrained: 0 }
    }

    fn drained(&mut self, index: usize, return_ns: u64) {
        self.undrained -= 1;
        if self.undrained == 0 {
            self.served.drained_ns = Some(return_ns);
            self.served.drained_poll = index;
        }
    }

    fn add(&mut self, closed: Closed) {
        if closed.run.count > self.served.starved.count {
            self.served.starved = closed.run;
        }
        self.served.starved_settled = self.served.starved_settled.max(closed.settled);
        let length = |gap: &Gap| gap.to_ns - gap.from_ns;
        let longest = self.served.gap.as_ref().map_or(0, length);
        // Of equals the later one, as everywhere.
        if let Some(gap) = closed.gap.filter(|gap| length(gap) >= longest) {
            self.served.gap = Some(gap);
        }
    }
}

/// What a process's neglect of a topic came to.
#[derive(Debug, Clone, Copy, Default)]
struct Closed {
    run: Run,
    settled: u64,
    gap: Option<Gap>,
}

/// A topic in one process.
#[derive(Debug, Clone)]
struct Slot {
    life: u32,
    /// From when on the process has had something of it to deliver.
    hungry_ns: Option<u64>,
    /// The last delivery, or where counting begins.
    last_ns: u64,
    /// The current run of polls that passed it over.
    run: Run,
    settled: u64,
}

impl Slot {
    fn new(life: u32, origin_ns: u64) -> Self {
        Self { life, hungry_ns: None, last_ns: origin_ns, run: Run::default(), settled: 0 }
    }

    fn passed_over(&mut self, index: usize, begin_ns: u64, settled: bool) {
        if self.hungry_ns.is_some_and(|hungry| hungry <= begin_ns) {
            let first = if self.run.count == 0 { index } else { self.run.polls.0 };
            self.run = Run { life: self.life, polls: (first, index + 1), count: self.run.count + 1 };
            self.settled += u64::from(settled);
        }
    }

    fn delivery(&mut self, return_ns: u64, hungry_ns: Option<u64>) -> Closed {
        let closed = self.close(return_ns);
        self.hungry_ns = hungry_ns;
        self.last_ns = return_ns;
        closed
    }

    fn look_again(&mut self, t_ns: u64, hungry_ns: Option<u64>) -> Closed {
        let now = |hungry: Option<u64>| hungry.is_some_and(|hungry| hungry <= t_ns);
        if now(self.hungry_ns) && now(hungry_ns) {
            // It goes on being hungry, and for as long as it has been.
            return Closed::default();
        }
        let closed = self.close(t_ns);
        self.hungry_ns = hungry_ns;
        closed
    }

    /// Ends what goes on since the last delivery.
    fn close(&mut self, t_ns: u64) -> Closed {
        let run = Run { life: self.life, ..std::mem::take(&mut self.run) };
        let settled = std::mem::take(&mut self.settled);
        let from_ns = self.hungry_ns.map(|hungry| hungry.max(self.last_ns)).filter(|from| *from < t_ns);
        Closed { run, settled, gap: from_ns.map(|from_ns| Gap { from_ns, to_ns: t_ns, run }) }
    }
}

/// The polls of the longest run that passed `topic` over, and who took them.
pub(super) fn starvation(course: &Course<'_>, topic: usize, served: &Served) -> Option<Starvation> {
    let mut polls = polls_of(course, served.starved);
    let first = polls.next()?;
    let last = polls.last().unwrap_or(first);
    Some(describe(course, topic, served.starved, (first.begin_ns, last.return_ns)))
}

/// The longest service gap, and who was served meanwhile.
pub(super) fn gap(course: &Course<'_>, topic: usize, served: &Served) -> Option<Starvation> {
    let gap = served.gap?;
    Some(describe(course, topic, gap.run, (gap.from_ns, gap.to_ns)))
}

fn polls_of<'c>(course: &'c Course<'_>, run: Run) -> impl Iterator<Item = &'c Poll> {
    course.polls[run.polls.0..run.polls.1].iter().filter(move |poll| poll.life == run.life)
}

fn describe(course: &Course<'_>, topic: usize, run: Run, (from, to): (u64, u64)) -> Starvation {
    let polls = || polls_of(course, run);
    let mut records = vec![0; course.topics.len()];
    for take in polls().flat_map(|poll| &poll.takes) {
        records[take.topic] += take.count;
    }
    let names = course.topics.iter().map(|facts| facts.name.clone());
    let mut took: Vec<(String, u64)> = names.zip(records).filter(|(_, records)| *records > 0).collect();
    took.sort_by_key(|(_, records)| std::cmp::Reverse(*records));
    Starvation {
        topic: course.topics[topic].name.clone(),
        life: run.life,
        seq_first: polls().next().map_or(0, |poll| poll.seq),
        seq_last: polls().last().map_or(0, |poll| poll.seq),
        polls: run.count,
        from_ms: course.at_ms(from),
        to_ms: course.at_ms(to),
        took,
    }
}
