//! The course of a run as the plots show it.

use std::collections::BTreeMap;

use crate::timeline::{Process, ServiceState, Stretch, Timeline, TopicTimeline};

use super::course::{Course, Sample, number};
use super::inputs::Inputs;
use super::recovery;
use super::service::{Hunger, Served};

// A plot is some 1,000 pixels wide; finer steps are not seen and make files large.
const POINTS_MAX: u64 = 500;
// Throughput over fewer windows shows no course, over more mostly noise.
const WINDOWS: u64 = 100;
// A narrower window holds too few polls for a rate.
const WINDOW_NS_MIN: u64 = 20_000_000;
// Deliveries closer than this are one stretch of service; also the default allowance for fetches.
const SERVICE_NS_MIN: u64 = 50_000_000;

pub(super) fn timeline(
    course: &Course<'_>,
    served: &[Served],
    inputs: &Inputs,
    shares: &[(u64, f64)],
    backlog_delivered_ns: Option<u64>,
) -> Timeline {
    let at = |t_ns: u64| course.at_ms(t_ns);
    Timeline {
        mode: String::new(),
        run: 0,
        first_batch_ms: course.first_batch_ns().map(at),
        backlog_delivered_ms: backlog_delivered_ns.map(at),
        end_ms: at(course.end_ns),
        topics: course
            .topics
            .iter()
            .zip(served)
            .map(|(facts, served)| topic(course, facts, served))
            .collect(),
        throughput: throughput(course),
        rss_mib: together(course, |sample| Some(sample.rss_kib))
            .map(|(ms, kib)| (ms, number(kib) / 1024.0))
            .collect(),
        threads: counts(together(course, |sample| Some(sample.threads.into()))),
        connections: counts(together(course, |sample| sample.connections.map(u64::from))),
        complete_inputs: thinned(course, inputs.steps.iter().copied()),
        share: shares.iter().map(|(t_ns, share)| (at(*t_ns), *share)).collect(),
        lag: lag(course),
        faults: recovery::faults(course),
        rebalances: rebalances(course),
        processes: processes(course),
    }
}

/// Of all processes together: the newest sample of each that is there, at every sample.
fn together(
    course: &Course<'_>,
    value: impl Fn(&Sample) -> Option<u64> + Copy,
) -> impl Iterator<Item = (f64, u64)> {
    let mut newest: BTreeMap<u32, u64> = BTreeMap::new();
    course.samples.iter().filter_map(move |sample| {
        newest.insert(sample.life, value(sample)?);
        let gone = |life: &u32| {
            let ended = course.crew.lives.get(life).and_then(|life| life.ended);
            ended.is_some_and(|(t_ns, _)| t_ns < sample.t_ns)
        };
        newest.retain(|life, _| !gone(life));
        Some((course.at_ms(sample.t_ns), newest.values().sum()))
    })
}

fn counts(points: impl Iterator<Item = (f64, u64)>) -> Vec<(f64, u32)> {
    points.map(|(ms, count)| (ms, u32::try_from(count).unwrap_or(u32::MAX))).collect()
}

/// Changes within a pixel are one mark.
fn rebalances(course: &Course<'_>) -> Vec<f64> {
    let joined_ns = course.joined_ns().unwrap_or(u64::MAX);
    let later = course.changes.iter().map(|(t_ns, ..)| *t_ns).filter(|t_ns| *t_ns > joined_ns);
    thinned(course, later.map(|t_ns| (t_ns, 0))).into_iter().map(|(ms, _)| ms).collect()
}

fn processes(course: &Course<'_>) -> Vec<Process> {
    let process = |(number, life): (&u32, &super::crew::Life)| {
        let polls = || course.polls.iter().filter(|poll| poll.life == *number);
        Process {
            life: *number,
            instance: life.instance,
            from_ms: course.at_ms(life.from_ns),
            ended: life.ended.map(|(t_ns, how)| (course.at_ms(t_ns), how)),
            polls: polls().count() as u64,
            records: polls().map(super::course::Poll::records).sum(),
        }
    };
    course.crew.lives.iter().map(process).collect()
}

fn span_ns(course: &Course<'_>) -> u64 {
    course.end_ns.saturating_sub(course.zero_ns()).max(1)
}

fn topic(course: &Course<'_>, facts: &crate::event::TopicFacts, served: &Served) -> TopicTimeline {
    let deliveries = served.deliveries.iter();
    TopicTimeline {
        name: facts.name.clone(),
        service: stretches(course, served),
        cumulative: thinned(course, deliveries.map(|(_, return_ns, records)| (*return_ns, *records))),
        first_record_ms: served.deliveries.first().map(|(_, return_ns, _)| course.at_ms(*return_ns)),
        backlog: facts.backlog,
    }
}

/// Points at least a pixel apart, and always the last.
fn thinned(course: &Course<'_>, points: impl Iterator<Item = (u64, u64)>) -> Vec<(f64, u64)> {
    let step = span_ns(course) / POINTS_MAX;
    let mut thin: Vec<(u64, u64)> = Vec::new();
    let mut kept_ns = 0;
    for (t_ns, value) in points {
        match thin.last_mut() {
            // The newest point of a pixel stands for all of it.
            Some(last) if t_ns.saturating_sub(kept_ns) < step => *last = (t_ns, value),
            _ => {
                kept_ns = t_ns;
                thin.push((t_ns, value));
            }
        }
    }
    thin.into_iter().map(|(t_ns, value)| (course.at_ms(t_ns), value)).collect()
}

/// Served, starving, idle: from the first batch to the end. Stretches too short to be seen, and
/// pauses no longer than a fetch, belong to the service around them.
fn stretches(course: &Course<'_>, served: &Served) -> Vec<Stretch> {
    let Some(origin_ns) = course.origin_ns() else { return Vec::new() };
    let visible = (span_ns(course) / POINTS_MAX).max(SERVICE_NS_MIN);
    let mut line = Line { stretches: Vec::new(), until_ns: origin_ns };
    // Until the first batch nobody was passed over: whom it serves did not starve.
    let first_ns = course.first_batch_ns().unwrap_or(origin_ns);
    let seen = |hunger: &Hunger| hunger.to_ns > first_ns && hunger.to_ns - hunger.from_ns > visible;
    let mut hungers = served.hungers.iter().filter(|hunger| seen(hunger)).peekable();
    for (begin_ns, return_ns, _) in &served.deliveries {
        if let Some(hunger) = hungers.next_if(|hunger| hunger.to_ns <= *return_ns) {
            let idle_before = hunger.from_ns.saturating_sub(line.until_ns) > visible;
            line.to(hunger.from_ns, if idle_before { ServiceState::Idle } else { ServiceState::Served });
            line.through(hunger);
        } else {
            if *return_ns > first_ns && begin_ns.saturating_sub(line.until_ns) > visible {
                line.to(*begin_ns, ServiceState::Idle);
            }
            line.to(*return_ns, ServiceState::Served);
        }
    }
    if let Some(hunger) = hungers.next() {
        line.to(hunger.from_ns, ServiceState::Idle);
        line.through(hunger);
    }
    line.to(course.end_ns, ServiceState::Idle);
    let stretch = |(from, to, state): (u64, u64, ServiceState)| Stretch {
        from_ms: course.at_ms(from),
        to_ms: course.at_ms(to),
        state,
    };
    line.stretches.into_iter().map(stretch).collect()
}

struct Line {
    stretches: Vec<(u64, u64, ServiceState)>,
    until_ns: u64,
}

impl Line {
    fn through(&mut self, hunger: &Hunger) {
        for (from_ns, to_ns) in &hunger.ownerless {
            self.to(*from_ns, ServiceState::Starving);
            self.to(*to_ns, ServiceState::Ownerless);
        }
        self.to(hunger.to_ns, ServiceState::Starving);
    }

    fn to(&mut self, t_ns: u64, state: ServiceState) {
        if t_ns <= self.until_ns {
            return;
        }
        match self.stretches.last_mut() {
            Some(last) if last.2 == state => last.1 = t_ns,
            _ => self.stretches.push((self.until_ns, t_ns, state)),
        }
        self.until_ns = t_ns;
    }
}

fn throughput(course: &Course<'_>) -> Vec<(f64, f64)> {
    let Some(origin_ns) = course.origin_ns() else { return Vec::new() };
    let length = course.end_ns.saturating_sub(origin_ns);
    let window = (length / WINDOWS).max(WINDOW_NS_MIN);
    let mut records = vec![0_u64; usize::try_from(length / window).unwrap_or(0) + 1];
    for poll in &course.polls {
        let index = usize::try_from(poll.return_ns.saturating_sub(origin_ns) / window).unwrap_or(usize::MAX);
        if let Some(records) = records.get_mut(index) {
            *records += poll.records();
        }
    }
    let seconds = number(window) / 1e9;
    records
        .into_iter()
        .zip(0_u64..)
        .map(|(records, index)| {
            (course.at_ms(origin_ns + index * window + window / 2), number(records) / seconds)
        })
        .collect()
}

/// Records on the broker that are not delivered, over all topics.
fn lag(course: &Course<'_>) -> Vec<(f64, u64)> {
    let mut changes: Vec<(u64, i128)> = Vec::new();
    for lane in &course.lanes {
        let position = lane.supply.position();
        for batch in lane.supply.batches().iter().filter(|batch| batch.end > position) {
            let count = batch.end.abs_diff(batch.start.max(position));
            // What was there before the consumer counts from its start on.
            let t_ns = if batch.available_ns == 0 { 0 } else { batch.ack_ns };
            changes.push((t_ns.max(course.zero_ns()), i128::from(count)));
        }
    }
    for poll in &course.polls {
        let fresh: u64 = poll.takes.iter().map(super::course::Take::fresh).sum();
        changes.push((poll.return_ns, -i128::from(fresh)));
    }
    changes.sort_unstable();
    let mut lag = 0_i128;
    let course_of = changes.into_iter().map(|(t_ns, change)| {
        lag += change;
        // A record may be delivered before its acknowledgement reached the producer.
        (t_ns, u64::try_from(lag).unwrap_or(0))
    });
    thinned(course, course_of)
}
