//! Produces at a rate while a run lasts: an open loop. A record's due time is fixed before the run,
//! and a late producer does not move it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use fairpoll_judge::event::Origin;
use rdkafka::producer::ThreadedProducer;

use super::acks::{Acks, Sent};
use super::producer::{Shared, flush, send};
use super::{LoadError, TopicLoad, Totals};
use crate::event_log::monotonic_ns;

/// Live production in progress.
pub struct LiveLoad {
    acks: Arc<Acks>,
    stop: Sender<()>,
    thread: Option<JoinHandle<Result<(), LoadError>>>,
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
        let (stop, stopped) = channel::<()>();
        let book = Arc::clone(&acks);
        let thread = std::thread::Builder::new().name("live-load".to_owned()).spawn(move || {
            let begin = monotonic_ns();
            let mut due = schedule(begin, &intervals);
            while let Some(&Reverse((due_ns, slot))) = due.peek() {
                let now = monotonic_ns();
                if due_ns > now {
                    match stopped.recv_timeout(Duration::from_nanos(due_ns - now)) {
                        Err(RecvTimeoutError::Timeout) => continue,
                        Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
                due.pop();
                let interval_ns = intervals[slot];
                let ordinal = next[slot];
                next[slot] += 1;
                let sent = Sent { slot, ordinal, due_ns, sent_ns: now, interval_ns, origin: Origin::Live };
                send(&producer, &book, sent)?;
                due.push(Reverse((due_ns + interval_ns, slot)));
                // A generator that is behind must still be able to stop.
                if matches!(stopped.try_recv(), Ok(())) {
                    break;
                }
            }
            flush(&producer, &book)
        });
        let thread = thread.map_err(|error| LoadError::Client(error.to_string()))?;
        Ok(Self { acks, stop, thread: Some(thread) })
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
        let _ = self.stop.send(());
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
        let seconds = f64::from(load.partitions) / load.rate_per_s;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and saturates"
        )]
        let interval = if load.rate_per_s > 0.0 { (seconds * 1e9) as u64 } else { 0 };
        std::iter::repeat_n(interval, load.partitions as usize)
    };
    loads.iter().flat_map(of_topic).collect()
}

/// The first due times: spread over an interval, so that equal rates do not send in step.
fn schedule(begin: u64, intervals: &[u64]) -> BinaryHeap<Due> {
    let live = intervals.iter().filter(|&&interval| interval > 0).count().max(1) as u64;
    let slots = intervals.iter().enumerate().filter(|&(_, &interval)| interval > 0);
    slots
        .zip(0..)
        .map(|((slot, &interval), place)| Reverse((begin + interval / live * place, slot)))
        .collect()
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
            value_bytes: 8,
            rate_per_s,
            backlog: 0,
            earlier: 0,
        };
        let intervals = intervals(&[load(2, 100.0), load(1, 0.0), load(1, 50.0)]);
        assert_eq!(intervals, [20_000_000, 20_000_000, 0, 20_000_000]);
        let mut due = schedule(1_000, &intervals).into_sorted_vec();
        due.reverse();
        let times: Vec<u64> = due.iter().map(|Reverse((at, _))| *at).collect();
        assert_eq!(times, [1_000, 1_000 + 6_666_666, 1_000 + 13_333_332]);
    }
}
