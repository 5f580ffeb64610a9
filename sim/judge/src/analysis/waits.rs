//! Waits of live records, and how punctual their producer was.

use hdrhistogram::Histogram;

use crate::event::Origin;

use super::course::{Course, millis, number};

// Three digits: a wait of 17 ms is known to 17 µs, and a histogram takes some 100 KiB.
const DIGITS: u8 = 3;
// An hour; nobody's scenario waits longer, and a value beyond is counted as an hour.
const MICROS_MAX: u64 = 3_600_000_000;

/// Times by their frequency.
#[derive(Debug, Clone)]
pub(super) struct Times {
    histogram: Histogram<u64>,
    max_ns: u64,
}

impl Times {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, MICROS_MAX, DIGITS)
            .expect("1 to an hour of microseconds at three digits are valid bounds");
        Self { histogram, max_ns: 0 }
    }

    pub(super) fn add(&mut self, ns: u64) {
        self.add_n(ns, 1);
    }

    pub(super) fn add_n(&mut self, ns: u64, n: u64) {
        self.max_ns = self.max_ns.max(ns);
        self.histogram.saturating_record_n(ns / 1_000, n);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.max_ns = self.max_ns.max(other.max_ns);
        self.histogram.add(&other.histogram).expect("both have the same bounds");
    }

    pub(super) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The quantile `q`, ms; `None` under 10/(1−q) samples, of which fewer than ten would lie
    /// beyond it.
    pub(super) fn quantile_ms(&self, q: f64) -> Option<f64> {
        // 10/(1−0.99) is 1000.0000000000009 in floating point.
        let enough = number(self.count()) + 1e-6 >= 10.0 / (1.0 - q);
        enough.then(|| number(self.histogram.value_at_quantile(q)) / 1e3)
    }

    /// The quantile 0.99, or the highest that so few samples carry; `None` under 20.
    pub(super) fn tail_ms(&self) -> Option<f64> {
        let n = number(self.count());
        (n >= 20.0).then(|| number(self.histogram.value_at_quantile((1.0 - 10.0 / n).min(0.99))) / 1e3)
    }

    pub(super) fn max_ms(&self) -> Option<f64> {
        (self.count() > 0).then(|| millis(self.max_ns))
    }
}

/// Waits per topic: of each live record, from the time it was due to the return of the poll that
/// delivered it first.
pub(super) fn waits(course: &Course<'_>) -> Vec<Option<Times>> {
    let mut waits: Vec<Option<Times>> = vec![None; course.topics.len()];
    for poll in &course.polls {
        for take in poll.takes.iter().filter(|take| take.fresh() > 0) {
            let batches = course.lanes[take.partition].supply.batches();
            let first = batches.partition_point(|batch| batch.end <= take.start);
            let overlapping = batches[first..].iter().take_while(|batch| batch.start < take.end);
            for batch in overlapping.filter(|batch| batch.origin == Origin::Live) {
                let times = waits[take.topic].get_or_insert_with(Times::new);
                for offset in batch.start.max(take.start)..batch.end.min(take.end) {
                    times.add(course.excused.counted_ns(batch.due_ns(offset), poll.return_ns));
                }
            }
        }
    }
    waits
}

/// The waits of the topics that are not the deepest. Where all are equally deep, none is.
pub(super) fn pooled(course: &Course<'_>, waits: &[Option<Times>]) -> Times {
    let deepest = course.topics.iter().map(|facts| facts.backlog).max().unwrap_or(0);
    let all_alike = course.topics.iter().all(|facts| facts.backlog == deepest);
    let mut pool = Times::new();
    for (facts, times) in course.topics.iter().zip(waits) {
        if let Some(times) = times.as_ref().filter(|_| all_alike || facts.backlog < deepest) {
            pool.merge(times);
        }
    }
    pool
}

/// How long the broker took with live records: of each, from the time it was due to the
/// acknowledgement of its batch.
pub(super) fn acknowledgements(course: &Course<'_>) -> Times {
    let mut times = Times::new();
    let batches = course.lanes.iter().flat_map(|lane| lane.supply.batches());
    for batch in batches.filter(|batch| batch.origin == Origin::Live) {
        for offset in batch.start..batch.end {
            times.add(batch.ack_ns.saturating_sub(batch.due_ns(offset)));
        }
    }
    times
}

/// How late live records were handed over: of each batch the last record's lateness, counted for
/// all its records.
pub(super) fn lateness(course: &Course<'_>) -> Times {
    let mut times = Times::new();
    let batches = course.lanes.iter().flat_map(|lane| lane.supply.batches());
    for batch in batches.filter(|batch| batch.origin == Origin::Live) {
        times.add_n(batch.sent_ns.saturating_sub(batch.due_ns(batch.end - 1)), batch.count());
    }
    times
}
