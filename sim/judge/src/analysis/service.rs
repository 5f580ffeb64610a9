//! Who was served when: starvation, service gaps, first records, the drain.

use super::course::Course;
use super::supply::Supply;

/// Polls without a topic that had available records.
#[derive(Debug, Clone, PartialEq)]
pub struct Starvation {
    /// The topic.
    pub topic: String,
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
    /// What other topics received meanwhile: name and records, the most first.
    pub took: Vec<(String, u64)>,
}

/// A stretch in which a topic with available records received none, ns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hunger {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    /// Indices of the non-empty polls of the stretch that passed it over: the first and one past
    /// the last.
    pub(super) polls: (usize, usize),
}

/// What one topic lived through.
#[derive(Debug, Clone, Default)]
pub(super) struct Served {
    /// (poll's begin, poll's return, fresh records so far).
    pub(super) deliveries: Vec<(u64, u64, u64)>,
    /// Stretches with available records and without delivery, in order.
    pub(super) hungers: Vec<Hunger>,
    /// Longest run of polls that passed it over: indices of the first and one past the last.
    pub(super) starved: (usize, usize),
    /// When its last backlog record was delivered, ns; `None` where it has no backlog or not all
    /// was delivered.
    pub(super) drained_ns: Option<u64>,
    /// Index of the poll that delivered it.
    pub(super) drained_poll: usize,
    /// It had a backlog.
    pub(super) had_backlog: bool,
}

impl Served {
    pub(super) fn starved_polls(&self) -> u64 {
        (self.starved.1 - self.starved.0) as u64
    }

    /// The longest hunger.
    pub(super) fn gap(&self) -> Option<Hunger> {
        self.hungers.iter().copied().max_by_key(|hunger| hunger.to_ns - hunger.from_ns)
    }
}

/// One pass over the polls.
///
/// *Hungry* is a topic with a record that is not delivered and was acknowledged `availability_ms`
/// ago (the backlog: from the first poll). Such a topic stays hungry until a poll delivers to it,
/// so per topic one number, the time from which on it is hungry, carries the whole state, and a
/// poll costs one comparison for each topic that it does not serve.
pub(super) fn serve(course: &Course<'_>) -> Vec<Served> {
    let Some(origin_ns) = course.origin_ns() else {
        return vec![Served::default(); course.topics.len()];
    };
    let mut topics: Vec<Topic> = (0..course.topics.len()).map(|_| Topic::new(origin_ns)).collect();
    let mut supplies: Vec<Supply> = course.lanes.iter().map(|lane| lane.supply.clone()).collect();
    let mut backlog_ends: Vec<Option<i64>> = supplies.iter().map(Supply::backlog_end).collect();
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); topics.len()];
    for (index, lane) in course.lanes.iter().enumerate() {
        members[lane.topic].push(index);
        if backlog_ends[index].is_some_and(|end| end > supplies[index].position()) {
            topics[lane.topic].undrained += 1;
            topics[lane.topic].served.had_backlog = true;
        } else {
            backlog_ends[index] = None;
        }
    }
    let hungry_from = |members: &[usize], supplies: &[Supply]| {
        members.iter().filter_map(|lane| supplies[*lane].earliest_ns()).min()
    };
    for (topic, members) in topics.iter_mut().zip(&members) {
        topic.hungry_ns = hungry_from(members, &supplies);
    }
    let mut fresh = vec![None; topics.len()];
    for (index, poll) in course.polls.iter().enumerate() {
        for take in &poll.takes {
            *fresh[take.topic].get_or_insert(0) += take.fresh();
            supplies[take.partition].advance(take.end);
            if backlog_ends[take.partition].is_some_and(|end| supplies[take.partition].position() >= end) {
                backlog_ends[take.partition] = None;
                topics[take.topic].drained(index, poll.return_ns);
            }
        }
        for (number, topic) in topics.iter_mut().enumerate() {
            match fresh[number].take() {
                Some(fresh) => {
                    topic.delivery((poll.begin_ns, poll.return_ns), fresh);
                    topic.hungry_ns = hungry_from(&members[number], &supplies);
                }
                None => topic.passed_over(index, poll.begin_ns),
            }
        }
    }
    topics.into_iter().map(|topic| topic.finish(course.end_ns)).collect()
}

struct Topic {
    served: Served,
    /// From when on it has had available records.
    hungry_ns: Option<u64>,
    /// The last delivery, or where counting begins.
    last_ns: u64,
    /// The current run of polls that passed it over.
    run: Option<(usize, usize)>,
    delivered: u64,
    undrained: usize,
}

impl Topic {
    fn new(origin_ns: u64) -> Self {
        Self {
            served: Served::default(),
            hungry_ns: None,
            last_ns: origin_ns,
            run: None,
            delivered: 0,
            undrained: 0,
        }
    }

    fn passed_over(&mut self, index: usize, begin_ns: u64) {
        if self.hungry_ns.is_some_and(|hungry| hungry <= begin_ns) {
            let first = self.run.map_or(index, |(first, _)| first);
            self.run = Some((first, index + 1));
        }
    }

    fn delivery(&mut self, (begin_ns, return_ns): (u64, u64), fresh: u64) {
        self.close(return_ns);
        self.delivered += fresh;
        self.served.deliveries.push((begin_ns, return_ns, self.delivered));
        self.last_ns = return_ns;
    }

    /// Ends what goes on since the last delivery.
    fn close(&mut self, t_ns: u64) {
        let run = self.run.take().unwrap_or_default();
        if run.1 - run.0 > self.served.starved.1 - self.served.starved.0 {
            self.served.starved = run;
        }
        if let Some(hungry) = self.hungry_ns {
            let from_ns = self.last_ns.max(hungry);
            if from_ns < t_ns {
                self.served.hungers.push(Hunger { from_ns, to_ns: t_ns, polls: run });
            }
        }
    }

    fn drained(&mut self, index: usize, return_ns: u64) {
        self.undrained -= 1;
        if self.undrained == 0 {
            self.served.drained_ns = Some(return_ns);
            self.served.drained_poll = index;
        }
    }

    fn finish(mut self, end_ns: u64) -> Served {
        self.close(end_ns);
        self.served
    }
}

/// The polls of the longest run that passed `topic` over, and who took them.
pub(super) fn starvation(course: &Course<'_>, topic: usize, served: &Served) -> Option<Starvation> {
    let (first, end) = served.starved;
    let polls = course.polls.get(first..end).filter(|polls| !polls.is_empty())?;
    Some(describe(course, topic, (first, end), (polls[0].begin_ns, polls[polls.len() - 1].return_ns)))
}

/// The longest service gap, and who was served meanwhile.
pub(super) fn gap(course: &Course<'_>, topic: usize, served: &Served) -> Option<Starvation> {
    let hunger = served.gap()?;
    Some(describe(course, topic, hunger.polls, (hunger.from_ns, hunger.to_ns)))
}

fn describe(
    course: &Course<'_>,
    topic: usize,
    (first, end): (usize, usize),
    (from, to): (u64, u64),
) -> Starvation {
    let polls = &course.polls[first..end];
    let mut records = vec![0; course.topics.len()];
    for take in polls.iter().flat_map(|poll| &poll.takes) {
        records[take.topic] += take.count;
    }
    let names = course.topics.iter().map(|facts| facts.name.clone());
    let mut took: Vec<(String, u64)> = names.zip(records).filter(|(_, records)| *records > 0).collect();
    took.sort_by_key(|(_, records)| std::cmp::Reverse(*records));
    Starvation {
        topic: course.topics[topic].name.clone(),
        seq_first: polls.first().map_or(0, |poll| poll.seq),
        seq_last: polls.last().map_or(0, |poll| poll.seq),
        polls: polls.len() as u64,
        from_ms: course.at_ms(from),
        to_ms: course.at_ms(to),
        took,
    }
}
