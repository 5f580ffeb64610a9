//! Produces at a rate while a run lasts: an open loop. A record's due time is fixed before the run,
//! and a late producer does not move it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use fairpoll_judge::event::Origin;
use fairpoll_judge::protocol::Poison;
use rdkafka::producer::{Producer as _, ThreadedProducer};

use super::acks::{Acks, Sent};
use super::producer::{Shared, flush, send};
use super::{LoadError, TopicLoad, Totals, interval_ns, slots_of};
use crate::event_log::monotonic_ns;

/// How long the thread sleeps where nothing is ever due; it hears orders meanwhile.
const IDLE_NS: u64 = 60_000_000_000;
const METADATA_WITHIN: Duration = Duration::from_secs(10);

/// Live production in progress.
pub struct LiveLoad {
    acks: Arc<Acks>,
    orders: Sender<Order>,
    loads: Vec<TopicLoad>,
    thread: Option<JoinHandle<Result<(), LoadError>>>,
}

/// What the producing thread is told.
enum Order {
    Stop,
    /// These partitions exist from now on, of a topic by this name on the broker.
    Open(String, Vec<usize>),
    /// These are gone, or about to go.
    Close(Vec<usize>),
    /// The next record of these is poison.
    Poison(Vec<usize>, Poison),
}

/// When a partition's next record is due.
type Due = Reverse<(u64, usize)>;

impl LiveLoad {
    pub(super) fn start(
        producer: ThreadedProducer<Shared>,
        acks: Arc<Acks>,
        loads: &[TopicLoad],
        mut next: Vec<u64>,
    ) -> Result<Self, LoadError> {
        let intervals = intervals(loads);
        let first: Vec<usize> =
            loads.iter().flat_map(|load| slots_of(loads, &load.name, 0..load.open)).collect();
        let (orders, received) = channel::<Order>();
        let book = Arc::clone(&acks);
        let thread = std::thread::Builder::new().name("live-load".to_owned()).spawn(move || {
            let begin = monotonic_ns();
            let mut due = schedule(begin, &intervals, &first);
            let mut poisons: Vec<(Vec<usize>, Poison)> = Vec::new();
            loop {
                let soonest = due.peek().copied();
                let now = monotonic_ns();
                // A generator that is behind must still hear what it is told.
                let wait_ns = soonest.map_or(IDLE_NS, |Reverse((due_ns, _))| due_ns.saturating_sub(now));
                match received.recv_timeout(Duration::from_nanos(wait_ns)) {
                    Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                    Ok(Order::Open(topic, slots)) => {
                        learn_leaders(&producer, &topic)?;
                        due.extend(schedule(monotonic_ns(), &intervals, &slots));
                        continue;
                    }
                    Ok(Order::Close(slots)) => {
                        due.retain(|Reverse((_, slot))| !slots.contains(slot));
                        continue;
                    }
                    Ok(Order::Poison(slots, poison)) => {
                        poisons.push((slots, poison));
                        continue;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
                let now = monotonic_ns();
                let Some(Reverse((due_ns, slot))) = soonest.filter(|Reverse((due_ns, _))| *due_ns <= now)
                else {
                    continue;
                };
                due.pop();
                let interval_ns = intervals[slot];
                let ordinal = next[slot];
                next[slot] += 1;
                let poisoned = poisons.iter().position(|(slots, _)| slots.contains(&slot));
                let poison = poisoned.map(|position| poisons.remove(position).1);
                let origin = Origin::Live;
                let sent = Sent { slot, ordinal, due_ns, sent_ns: now, interval_ns, origin, poison };
                send(&producer, &book, sent)?;
                due.push(Reverse((due_ns + interval_ns, slot)));
            }
            flush(&producer, &book)
        });
        let thread = thread.map_err(|error| LoadError::Client(error.to_string()))?;
        Ok(Self { acks, orders, loads: loads.to_vec(), thread: Some(thread) })
    }

    /// A topic has more partitions now, these: they get as many records as each of the others.
    pub fn open(&self, topic: &str, partitions: Range<u32>) {
        let Some(load) = self.loads.iter().find(|load| load.name == topic) else { return };
        // A thread that ended says so when it is joined.
        let slots = slots_of(&self.loads, topic, partitions);
        let _ = self.orders.send(Order::Open(load.kafka_name.clone(), slots));
    }

    /// A topic is about to go: nothing more is produced to it, and what is under way may be refused.
    pub fn close(&self, topic: &str) {
        let Some(load) = self.loads.iter().find(|load| load.name == topic) else { return };
        let slots = slots_of(&self.loads, topic, 0..load.partitions);
        self.acks.close(&slots);
        let _ = self.orders.send(Order::Close(slots));
    }

    /// The next record of a topic is one on which processing fails.
    pub fn poison(&self, topic: &str, poison: Poison) {
        let Some(load) = self.loads.iter().find(|load| load.name == topic) else { return };
        let slots = slots_of(&self.loads, topic, 0..load.partitions);
        let _ = self.orders.send(Order::Poison(slots, poison));
    }

    /// Stops producing, waits for what is under way, and tells how far every partition reaches.
    ///
    /// # Errors
    /// If the broker refused records or did not acknowledge them in time.
    pub fn stop(mut self) -> Result<Totals, LoadError> {
        self.join()?;
        Ok(self.acks.totals())
    }

    fn join(&mut self) -> Result<(), LoadError> {
        let _ = self.orders.send(Order::Stop);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            None => Ok(()),
            Some(Err(_)) => Err(LoadError::Client("the live producer panicked".to_owned())),
        }
    }
}

impl Drop for LiveLoad {
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            tracing::debug!(%error, "live production ended with an error");
        }
    }
}

/// Time between two records of each partition, ns; 0: it gets none.
fn intervals(loads: &[TopicLoad]) -> Vec<u64> {
    let of_topic = |load: &TopicLoad| {
        // A topic's rate is that of the partitions that it begins with.
        let sharing = if load.open > 0 { load.open } else { load.partitions };
        let interval = interval_ns(load.rate_per_s, sharing);
        std::iter::repeat_n(interval, load.partitions as usize)
    };
    loads.iter().flat_map(of_topic).collect()
}

/// The first due times of some partitions: spread over an interval, so that equal rates do not send
/// in step.
fn schedule(begin: u64, intervals: &[u64], slots: &[usize]) -> BinaryHeap<Due> {
    let live: Vec<usize> = slots.iter().copied().filter(|slot| intervals[*slot] > 0).collect();
    let count = live.len().max(1) as u64;
    live.into_iter()
        .zip(0..)
        .map(|(slot, place)| Reverse((begin + intervals[slot] / count * place, slot)))
        .collect()
}

/// A client that knows a topic with fewer partitions refuses a record for a new one.
fn learn_leaders(producer: &ThreadedProducer<Shared>, topic: &str) -> Result<(), LoadError> {
    let known = producer.client().fetch_metadata(Some(topic), METADATA_WITHIN);
    known
        .map(|_| ())
        .map_err(|error| LoadError::Produce { topic: topic.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_share_their_topics_rate_and_do_not_send_in_step() {
        let load = |partitions, rate_per_s| TopicLoad {
            name: "t".to_owned(),
            kafka_name: "t".to_owned(),
            index: 0,
            partitions,
            open: partitions,
            value_bytes: 8,
            random_bytes: 0,
            rate_per_s,
            backlog: 0,
            earlier: 0,
        };
        let intervals = intervals(&[load(2, 100.0), load(1, 0.0), load(1, 50.0)]);
        assert_eq!(intervals, [20_000_000, 20_000_000, 0, 20_000_000]);
        let mut due = schedule(1_000, &intervals, &[0, 1, 2, 3]).into_sorted_vec();
        due.reverse();
        let times: Vec<u64> = due.iter().map(|Reverse((at, _))| *at).collect();
        assert_eq!(times, [1_000, 1_000 + 6_666_666, 1_000 + 13_333_332]);
    }

    #[test]
    fn partitions_that_come_later_get_what_their_siblings_get_and_wait_for_their_order() {
        let mut load = TopicLoad {
            name: "t".to_owned(),
            kafka_name: "t".to_owned(),
            index: 0,
            partitions: 3,
            open: 2,
            value_bytes: 8,
            random_bytes: 0,
            rate_per_s: 100.0,
            backlog: 0,
            earlier: 0,
        };
        assert_eq!(intervals(&[load.clone()]), [20_000_000; 3]);
        let late = slots_of(&[load.clone()], "t", 2..3);
        assert_eq!(late, [2]);
        assert_eq!(schedule(0, &[20_000_000; 3], &late).len(), 1);
        load.open = 0;
        assert_eq!(intervals(&[load]), [30_000_000; 3], "a topic that is created later has its rate then");
    }
}
