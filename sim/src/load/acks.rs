//! The producer's truth: what was acknowledged, as events.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use fairpoll_judge::event::{Body, Origin};
use fairpoll_judge::protocol::Poison;
use rdkafka::ClientContext;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;

use super::{TopicLoad, Totals, first_id};
use crate::event_log::{EventSink, monotonic_ns};

/// Acknowledgements of one batch arrive in a burst; a longer pause begins a new event, so that each
/// event's time of acknowledgement holds for all its records.
const BURST_NS: u64 = 1_000_000;

/// What a record's id takes of its value.
const ID_BYTES: usize = 8;

/// Travels with a record to its acknowledgement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// Index of its partition among all.
    pub(super) slot: usize,
    /// Its number in the partition, from 0.
    pub(super) ordinal: u64,
    /// When it was due, ns.
    pub(super) due_ns: u64,
    /// When it was handed over, ns.
    pub(super) sent_ns: u64,
    /// Time between two records of its partition, ns; 0 in a backlog.
    pub(super) interval_ns: u64,
    /// Why it was produced.
    pub(super) origin: Origin,
    /// Processing it is to fail.
    pub(super) poison: Option<Poison>,
}

/// A partition that is produced to.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) topic: String,
    pub(super) kafka_topic: String,
    pub(super) partition: u32,
    pub(super) first_id: u64,
    value_bytes: usize,
    random_bytes: usize,
}

impl Slot {
    /// The value of a record: its id, bytes that are random but the same for this id in every run, and zeros.
    pub(super) fn value(&self, id: u64) -> Vec<u8> {
        let mut value = vec![0; self.value_bytes.max(ID_BYTES)];
        let (head, rest) = value.split_at_mut(ID_BYTES);
        head.copy_from_slice(&id.to_be_bytes());
        if self.random_bytes > 0 {
            let random = self.random_bytes.min(rest.len());
            fastrand::Rng::with_seed(id).fill(&mut rest[..random]);
        }
        value
    }
}

/// Every partition of every topic, in order.
pub(super) fn slots(loads: &[TopicLoad]) -> Vec<Slot> {
    let of_topic = |load: &TopicLoad| {
        let load = load.clone();
        (0..load.partitions).map(move |partition| Slot {
            topic: load.name.clone(),
            kafka_topic: load.kafka_name.clone(),
            partition,
            first_id: first_id(load.index, partition),
            value_bytes: load.value_bytes as usize,
            random_bytes: load.random_bytes as usize,
        })
    };
    loads.iter().flat_map(of_topic).collect()
}

/// Listens to acknowledgements.
#[derive(Debug)]
pub(super) struct Acks {
    slots: Vec<Slot>,
    sink: EventSink,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The burst in progress of each partition.
    open: Vec<Option<Burst>>,
    totals: Totals,
    /// Records, over all partitions.
    acknowledged: u64,
    failure: Option<(String, String)>,
    /// Partitions that a fault took away: what is refused there was meant to be.
    closed: BTreeSet<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Burst {
    first: Sent,
    last: Sent,
    first_offset: i64,
    count: u64,
    ack_ns: u64,
}

impl Acks {
    pub(super) fn new(slots: Vec<Slot>, sink: EventSink) -> Self {
        let state = State { open: vec![None; slots.len()], ..State::default() };
        Self { slots, sink, state: Mutex::new(state) }
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Writes down what is acknowledged so far.
    pub(super) fn finish_bursts(&self) {
        let mut state = self.lock();
        for slot in 0..self.slots.len() {
            if let Some(burst) = state.open[slot].take() {
                self.emit(&burst);
            }
        }
    }

    pub(super) fn totals(&self) -> Totals {
        self.lock().totals.clone()
    }

    /// What is refused by these partitions from now on is no failure.
    pub(super) fn close(&self, slots: &[usize]) {
        self.lock().closed.extend(slots);
    }

    /// Records that were acknowledged so far.
    pub(super) fn acknowledged(&self) -> u64 {
        self.lock().acknowledged
    }

    /// The first failure: topic and reason.
    pub(super) fn failure(&self) -> Option<(String, String)> {
        self.lock().failure.clone()
    }

    fn note(&self, sent: Sent, offset: i64) {
        let now = monotonic_ns();
        let slot = &self.slots[sent.slot];
        let mut state = self.lock();
        state.acknowledged += 1;
        let total = state.totals.entry((slot.topic.clone(), slot.partition)).or_default();
        *total = (*total).max(offset + 1);
        if let Some(burst) = &mut state.open[sent.slot] {
            let follows = sent.ordinal == burst.last.ordinal + 1
                && offset == burst.first_offset + burst.count.cast_signed()
                && sent.origin == burst.first.origin
                && now.saturating_sub(burst.ack_ns) < BURST_NS;
            if follows {
                burst.last = sent;
                burst.count += 1;
                return;
            }
            let burst = *burst;
            self.emit(&burst);
        }
        state.open[sent.slot] =
            Some(Burst { first: sent, last: sent, first_offset: offset, count: 1, ack_ns: now });
    }

    fn emit(&self, burst: &Burst) {
        let slot = &self.slots[burst.first.slot];
        self.sink.emit(Body::Produced {
            topic: slot.topic.clone(),
            partition: slot.partition,
            first_offset: burst.first_offset,
            count: burst.count,
            first_id: slot.first_id + burst.first.ordinal,
            scheduled_t0_ns: burst.first.due_ns,
            interval_ns: burst.first.interval_ns,
            ack_ns: burst.ack_ns,
            sent_ns: burst.last.sent_ns,
            origin: burst.first.origin,
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Acks {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, "{message}");
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        match result {
            Ok(message) => self.note(*sent, message.offset()),
            Err((error, _)) => {
                let topic = self.slots[sent.slot].topic.clone();
                let mut state = self.lock();
                if !state.closed.contains(&sent.slot) {
                    state.failure.get_or_insert((topic, error.to_string()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_id_and_as_much_that_does_not_compress_as_was_asked_for() {
        let value = |value_bytes, random_bytes, id| {
            let slot = Slot {
                topic: String::new(),
                kafka_topic: String::new(),
                partition: 0,
                first_id: 0,
                value_bytes,
                random_bytes,
            };
            slot.value(id)
        };
        assert_eq!(value(10, 0, 0x0102), [0, 0, 0, 0, 0, 0, 1, 2, 0, 0]);
        let half = value(200, 100, 7);
        assert_eq!((&half[..8], &half[108..]), (&7_u64.to_be_bytes()[..], &[0; 92][..]));
        let zeros = half[8..108].iter().filter(|byte| **byte == 0).count();
        assert!(zeros < 10, "{zeros} zeros in 100 random bytes");
        assert_eq!(value(200, 100, 7), half);
        assert_ne!(value(200, 100, 8)[8..], half[8..]);
        assert_eq!(value(10, 10, 7).len(), 10, "the id has its place");
    }
}
