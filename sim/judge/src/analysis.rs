//! Analysis: from the events of one run of one mode to metrics and pictures.
//!
//! Every metric's definition stands in [`crate::metric::METRICS`]; how it is read off the events
//! stands at the function that computes it. Only lives with `measured: true` are timed. Records
//! are ranges of offsets throughout; only live ones, which are few, are looked at singly.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Event, Header, ModeFacts, Outcome};
use crate::summary::Metrics;
use crate::timeline::Timeline;

mod course;
mod crew;
#[cfg(test)]
mod group_tests;
mod inputs;
mod ownership;
mod pictures;
mod recovery;
mod service;
mod share;
mod stalls;
mod supply;
#[cfg(test)]
mod tests;
mod waits;

pub use service::Starvation;

use course::{Course, millis, number};
use inputs::Inputs;
use service::Served;
use stalls::{Excused, stalls};
use waits::Times;

/// One run of one mode, analysed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunAnalysis {
    /// Of the whole mode; what could not be measured is missing.
    pub metrics: Metrics,
    /// Of one topic, by name; every topic of the scenario has an entry.
    pub topics: BTreeMap<String, Metrics>,
    /// How many samples stand behind a percentile: by metric name, or `metric{topic}`.
    pub samples: BTreeMap<String, u64>,
    /// For the plots; its mode and run are left to the caller.
    pub timeline: Timeline,
    /// The longest run of polls that passed a topic over; of each topic that has one.
    pub starvation: Vec<Starvation>,
    /// The longest service gap; of each topic that has one.
    pub gaps: Vec<Starvation>,
    /// For how long the broker or the machine stood still at most, ms, if it did: a live record's
    /// acknowledgement that took longer than `availability_ms` and was no fault's doing, or a worker
    /// that could not be sampled.
    pub stalled_ms: Option<f64>,
    /// How late live records were handed over, ms: the 99th percentile, or the highest that the
    /// samples carry.
    pub producer_late_ms: Option<f64>,
    /// Client library, actual mode and its reason, by the worker's word.
    pub client: Option<String>,
    /// The mode that really ran, where the worker said so.
    pub actual_mode: Option<String>,
    /// Errors that the worker reported in any life, with their counts.
    pub errors: BTreeMap<String, u64>,
    /// How the run ended; absent in a log that breaks off.
    pub outcome: Option<Outcome>,
}

/// Analyses one run of one mode; `events` are its events in the log's order, `mode` the facts of
/// the mode, where the header has them.
#[must_use]
pub fn analyse(header: &Header, mode: Option<&ModeFacts>, events: &[&Event]) -> RunAnalysis {
    analysis(mode, Course::gather(header, events))
}

/// The same, but time in which the broker or the machine stood still does not count as waiting: nobody starves in it,
/// and no wait or gap grows by it. `None` where it never did.
#[must_use]
pub fn analyse_without_stalls(
    header: &Header,
    mode: Option<&ModeFacts>,
    events: &[&Event],
) -> Option<RunAnalysis> {
    let mut course = Course::gather(header, events);
    course.excused = Excused::of(&stalls(&course), course.availability_ns);
    (!course.excused.stretches().is_empty()).then(|| analysis(mode, course))
}

fn analysis(mode: Option<&ModeFacts>, course: Course<'_>) -> RunAnalysis {
    let served = service::serve(&course);
    let inputs = inputs::inputs(&course);
    // Each of several instances can only serve what it owns: nobody is entitled to a share of all.
    let shares = if course.crew.instances() > 1 { Vec::new() } else { share::shares(&course) };
    let drain = Drain::of(&course, &served);
    let mut figures = Figures::new(&course);
    figures.start(&course, &served);
    figures.service(&course, &served);
    figures.inputs(&inputs);
    figures.waits(&course);
    figures.put("share_min", shares.iter().map(|(_, share)| *share).reduce(f64::min));
    figures.drain(&course, &served, drain.as_ref(), mode);
    figures.resources(&course);
    figures.group(&course);
    figures.faults(&course, &served);
    let backlog_delivered_ns = drain.map(|drain| drain.end_ns);
    let numbered = || served.iter().enumerate();
    RunAnalysis {
        starvation: numbered().filter_map(|(topic, s)| service::starvation(&course, topic, s)).collect(),
        gaps: numbered().filter_map(|(topic, s)| service::gap(&course, topic, s)).collect(),
        stalled_ms: stalls(&course).iter().map(|stall| stall.longest_ns).max().map(millis),
        producer_late_ms: waits::lateness(&course).tail_ms(),
        timeline: pictures::timeline(&course, &served, &inputs, &shares, backlog_delivered_ns),
        metrics: figures.metrics,
        topics: figures.topics,
        samples: figures.samples,
        client: course.client,
        actual_mode: course.actual_mode,
        errors: course.errors,
        outcome: course.outcome,
    }
}

/// The time from the first batch to the last backlog record.
struct Drain {
    end_ns: u64,
    /// Index of the poll that ended it.
    last_poll: usize,
}

impl Drain {
    /// `None` where there was no backlog, or not all of it was delivered. A topic that the
    /// scenario makes undeliverable is left out.
    fn of(course: &Course<'_>, served: &[Served]) -> Option<Self> {
        let deep = || {
            let both = served.iter().enumerate();
            let due =
                |(topic, served): &(usize, &Served)| course.is_deliverable(*topic) && served.had_backlog;
            both.filter(due).map(|(_, served)| served)
        };
        let end_ns = deep()
            .map(|served| served.drained_ns)
            .try_fold(None, |latest, t| t.map(|t| latest.max(Some(t))))??;
        let last_poll = deep().map(|served| served.drained_poll).max()?;
        Some(Self { end_ns, last_poll })
    }
}

struct Figures {
    metrics: Metrics,
    topics: BTreeMap<String, Metrics>,
    samples: BTreeMap<String, u64>,
}

impl Figures {
    fn new(course: &Course<'_>) -> Self {
        let topics = course.topics.iter().map(|facts| (facts.name.clone(), Metrics::new())).collect();
        Self { metrics: Metrics::new(), topics, samples: BTreeMap::new() }
    }

    fn put(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.metrics.insert(name.to_owned(), value);
        }
    }

    fn put_topic(&mut self, topic: &str, name: &str, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.topics.entry(topic.to_owned()).or_default().insert(name.to_owned(), value);
        }
    }

    /// `join_ms`: `start_ns` of the first worker's hello to the moment when each of the scenario's
    /// partitions is owned by some process. `ready_ms`: from there to the return of
    /// the first batch, 0 if that came sooner. `first_record_ms`: `start_ns` to the return of the
    /// first poll with the topic. `complete_input_ms`: the latest of these over the topics that
    /// have data and can be delivered; absent if one of them never delivered.
    fn start(&mut self, course: &Course<'_>, served: &[Served]) {
        let joined = course.joined_ns();
        let ready = joined.zip(course.first_batch_ns()).map(|(joined, first)| first.saturating_sub(joined));
        self.put("ready_ms", ready.map(millis));
        let Some(start_ns) = course.start_ns else { return };
        self.put("join_ms", joined.map(|joined| millis(joined.saturating_sub(start_ns))));
        let mut latest = Some(None);
        let has_data = course.has_data();
        for (topic, (facts, served)) in course.topics.iter().zip(served).enumerate() {
            let first = served.deliveries.first().map(|(_, t_ns, _)| millis(t_ns.saturating_sub(start_ns)));
            self.put_topic(&facts.name, "first_record_ms", first);
            if has_data[topic] && course.is_deliverable(topic) {
                latest = latest.zip(first).map(|(latest, first)| Some(first.max(latest.unwrap_or(0.0))));
            }
        }
        self.put("complete_input_ms", latest.flatten());
    }

    /// `starved_polls`: see [`service::serve`]. `service_gap_ms`: from a process's delivery (or the
    /// first batch's poll, the moment when a record became available or when the process got its
    /// partition, whichever came last) to its next delivery, or to the end of the run or of the
    /// ownership. The `_max` are over the processes and the topics that can be delivered; both are
    /// absent without any poll, and where nobody can tell what a process owned.
    /// `starved_polls_settled_max` needs a poll that began after the last rebalance.
    fn service(&mut self, course: &Course<'_>, served: &[Served]) {
        if course.polls.is_empty() || !course.owners.known {
            return;
        }
        let (mut polls_max, mut settled_max, mut gap_max) = (None, None, None);
        for (topic, (facts, served)) in course.topics.iter().zip(served).enumerate() {
            let polls = served.starved.count;
            let gap = served.gap.map_or(0, |gap| gap.to_ns - gap.from_ns);
            self.put_topic(&facts.name, "starved_polls", Some(number(polls)));
            self.put_topic(&facts.name, "service_gap_ms", Some(millis(gap)));
            if course.is_deliverable(topic) {
                polls_max = polls_max.max(Some(polls));
                settled_max = settled_max.max(Some(served.starved_settled));
                gap_max = gap_max.max(Some(gap));
            }
        }
        self.put("starved_polls_max", polls_max.map(number));
        let settled = course.settled_ns().is_some_and(|t| course.polls.iter().any(|poll| poll.begin_ns >= t));
        self.put("starved_polls_settled_max", settled_max.filter(|_| settled).map(number));
        self.put("service_gap_ms_max", gap_max.map(millis));
    }

    fn inputs(&mut self, inputs: &Inputs) {
        self.put("output_gap_ms_max", inputs.gap_ns.map(millis));
    }

    /// See [`waits::waits`], [`waits::pooled`] and [`waits::lateness`].
    fn waits(&mut self, course: &Course<'_>) {
        let waits = waits::waits(course);
        let figures = |times: &Times| {
            [
                ("wait_p50_ms", times.quantile_ms(0.5)),
                ("wait_p99_ms", times.quantile_ms(0.99)),
                ("wait_max_ms", times.max_ms()),
            ]
        };
        for (facts, times) in course.topics.iter().zip(&waits) {
            let Some(times) = times else { continue };
            for (name, value) in figures(times) {
                self.samples.insert(format!("{name}{{{}}}", facts.name), times.count());
                self.put_topic(&facts.name, name, value);
            }
        }
        let pool = waits::pooled(course, &waits);
        if pool.count() > 0 {
            for (name, value) in figures(&pool) {
                self.samples.insert(name.to_owned(), pool.count());
                self.put(name, value);
            }
        }
        let late = waits::lateness(course);
        if late.count() > 0 {
            self.samples.insert("producer_late_p99_ms".to_owned(), late.count());
            self.put("producer_late_p99_ms", late.quantile_ms(0.99));
            let acknowledged = waits::acknowledgements(course);
            self.samples.insert("ack_p99_ms".to_owned(), acknowledged.count());
            self.put("ack_p99_ms", acknowledged.quantile_ms(0.99));
        }
    }

    /// `drain_s`: return of the first batch to the return of the poll with the last backlog
    /// record. `overhead_s`: less the work that the scenario injects after each poll but the last;
    /// absent for several instances, which work at the same time.
    /// Rates are over the records of these polls; absent where the drain takes no time. Records
    /// per poll are of these polls, or of all where there was no backlog.
    fn drain(
        &mut self,
        course: &Course<'_>,
        served: &[Served],
        drain: Option<&Drain>,
        mode: Option<&ModeFacts>,
    ) {
        let Some(first_ns) = course.first_batch_ns() else { return };
        let first = course.polls.iter().find(|poll| poll.records() > 0);
        self.put(
            "first_batch_topics",
            first.map(|poll| {
                let topics: BTreeSet<usize> =
                    poll.takes.iter().filter(|take| take.count > 0).map(|take| take.topic).collect();
                number(topics.len() as u64)
            }),
        );
        let since_first = |t_ns: u64| millis(t_ns.saturating_sub(first_ns)) / 1e3;
        for (facts, served) in course.topics.iter().zip(served) {
            self.put_topic(&facts.name, "drain_s", served.drained_ns.map(since_first));
        }
        let polls = drain.map_or(&course.polls[..], |drain| &course.polls[..=drain.last_poll]);
        let mut sizes: Vec<u64> = polls.iter().map(course::Poll::records).collect();
        if let Some(drain) = drain {
            let drain_s = since_first(drain.end_ns);
            self.put("drain_s", Some(drain_s));
            let worked = &sizes[..drain.last_poll];
            let injected_s = mode.filter(|_| course.crew.instances() <= 1).map(|mode| {
                let cost = mode.processing;
                cost.per_poll_ms * number(worked.len() as u64) / 1e3
                    + cost.per_record_us * number(worked.iter().sum()) / 1e6
            });
            self.put("overhead_s", injected_s.map(|injected_s| drain_s - injected_s));
            let per_second = |amount: f64| (drain_s > 0.0).then(|| amount / drain_s);
            self.put("records_per_s", per_second(number(sizes.iter().sum())));
            let takes = polls.iter().flat_map(|poll| &poll.takes);
            let bytes: Option<u64> = takes
                .map(|take| course.topics[take.topic].value_bytes.map(|bytes| take.count * u64::from(bytes)))
                .sum();
            self.put("mib_per_s", bytes.and_then(|bytes| per_second(number(bytes) / 1_048_576.0)));
        }
        sizes.sort_unstable();
        self.put("records_per_poll_p50", median(&sizes.iter().map(|size| number(*size)).collect::<Vec<_>>()));
        self.put("records_per_poll_max", sizes.last().map(|size| number(*size)));
    }

    /// The sum over the instances of each one's largest sample, in whichever of its lives: what is to
    /// be provided for. CPU time from the end of each process, or its last sample where its end
    /// told none, per million delivered records.
    fn resources(&mut self, course: &Course<'_>) {
        let instance = |life: u32| course.crew.lives.get(&life).map_or(0, |life| life.instance);
        let sum_of_largest = |value: &dyn Fn(&course::Sample) -> Option<u64>| {
            let mut largest: BTreeMap<u32, u64> = BTreeMap::new();
            for sample in &course.samples {
                if let Some(value) = value(sample) {
                    let most = largest.entry(instance(sample.life)).or_default();
                    *most = (*most).max(value);
                }
            }
            (!largest.is_empty()).then(|| number(largest.values().sum()))
        };
        self.put("rss_peak_mib", sum_of_largest(&|s| Some(s.rss_peak_kib)).map(|kib| kib / 1024.0));
        self.put("threads_max", sum_of_largest(&|s| Some(s.threads.into())));
        self.put("connections_max", sum_of_largest(&|s| s.connections.map(u64::from)));
        let mut cpu_ms: BTreeMap<u32, u64> = BTreeMap::new();
        for sample in &course.samples {
            let most = cpu_ms.entry(sample.life).or_default();
            *most = (*most).max(sample.cpu_ms);
        }
        cpu_ms.extend(&course.cpu_ms);
        let records: u64 = course.polls.iter().map(course::Poll::records).sum();
        let known = records > 0 && !cpu_ms.is_empty();
        let cpu_s = number(cpu_ms.values().sum()) / 1e3;
        self.put("cpu_s_per_million", known.then(|| cpu_s / (number(records) / 1e6)));
    }

    /// `rebalances`: assignments and revocations until the worker is told to stop; absent where it
    /// reports none. Commit times: from `commit_sent` to the `commit_result` of the same id; the
    /// percentiles obey the rule of the waits.
    fn group(&mut self, course: &Course<'_>) {
        if !course.changes.is_empty() {
            self.put("rebalances", Some(number(course.changes.len() as u64)));
            self.put("revoked_ms", Some(millis(ownership::revoked_ns(course))));
        }
        if course.commits_sent > 0 {
            let mut times = Times::new();
            course.commits_ns.iter().for_each(|ns| times.add(*ns));
            for (name, q) in [("commit_p50_ms", 0.5), ("commit_p99_ms", 0.99)] {
                self.samples.insert(name.to_owned(), times.count());
                self.put(name, times.quantile_ms(q));
            }
            self.put("commit_failures", Some(number(course.commit_failures)));
        }
    }

    /// See [`recovery`].
    fn faults(&mut self, course: &Course<'_>, served: &[Served]) {
        self.put("processing_failures", course.processing_failures.map(number));
        self.put("degradations", (course.degradations > 0).then(|| number(course.degradations)));
        self.put("recovery_ms", recovery::recovery_ms(course));
        self.put("isolation_loss_pct", recovery::isolation_loss_pct(course, served));
    }
}

/// The median of sorted values; of an even number the mean of the two in the middle.
pub(crate) fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}
