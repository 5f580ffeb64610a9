//! Fills topics before a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fairpoll_judge::event::Origin;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use super::acks::{Acks, Sent, slots};
use super::live::LiveLoad;
use super::patience::Patience;
use super::{LoadError, STALLED_AFTER, TopicLoad, Totals, share};
use crate::broker::Endpoint;
use crate::event_log::{EventSink, monotonic_ns};
use crate::scenario::Compression;

/// How often waiting for acknowledgements looks whether there are any.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const METADATA_WITHIN: Duration = Duration::from_secs(10);

/// The one producer of a run: idempotent, partitions explicit.
pub struct Producer {
    loads: Vec<TopicLoad>,
    acks: Arc<Acks>,
    bulk: ThreadedProducer<Shared>,
    /// For live records; used up by [`Self::start_live`].
    live: Option<ThreadedProducer<Shared>>,
    /// The next ordinal of each partition.
    next: Vec<u64>,
}

/// rdkafka takes its context by value; several producers report to the same book.
pub(super) type Shared = SharedAcks;

#[derive(Clone)]
pub(super) struct SharedAcks(pub(super) Arc<Acks>);

impl rdkafka::ClientContext for SharedAcks {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        rdkafka::ClientContext::error(&*self.0, error, reason);
    }
}

impl rdkafka::producer::ProducerContext for SharedAcks {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &rdkafka::message::DeliveryResult<'_>, sent: Box<Sent>) {
        self.0.delivery(result, sent);
    }
}

/// How records of a backlog are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batches {
    /// As services do that care for throughput: 128 KiB (Kafka's own default is 16).
    Usual,
    /// As large as they get, but for 4,000 records: the embedded broker serves one batch per partition
    /// and fetch. Small ones would make it slow, larger ones would each take the consumer tens of
    /// milliseconds to parse, in which it fetches nothing else.
    Large,
}

impl Batches {
    fn bytes(self) -> &'static str {
        match self {
            Self::Usual => "131072",
            Self::Large => "900000",
        }
    }
}

impl Producer {
    /// Connects. Acknowledged records are written to `sink`; `batches` says how a backlog lies on the
    /// broker, `compression` how all of it does.
    ///
    /// # Errors
    /// If the client refuses a property.
    pub fn connect(
        endpoint: &Endpoint,
        loads: Vec<TopicLoad>,
        batches: Batches,
        compression: Compression,
        sink: EventSink,
    ) -> Result<Self, LoadError> {
        let slots = slots(&loads);
        let next = vec![0; slots.len()];
        let acks = Arc::new(Acks::new(slots, sink));
        let connect = |config: ClientConfig| {
            let context = SharedAcks(Arc::clone(&acks));
            config.create_with_context(context).map_err(|error| LoadError::Client(error.to_string()))
        };
        let bulk = connect(for_a_backlog(endpoint, batches, compression))?;
        let live = connect(for_live_records(endpoint, compression))?;
        Ok(Self { loads, acks, bulk, live: Some(live), next })
    }

    /// Produces the records of an earlier life, or the backlog, and waits until all are
    /// acknowledged.
    ///
    /// # Errors
    /// If the broker refuses records or does not acknowledge them in time.
    pub fn fill(&mut self, origin: Origin) -> Result<(), LoadError> {
        let mut slot = 0;
        // One record goes through the producer of live records: opening its connection and getting
        // its producer id takes hundreds of milliseconds, by which the first live records would be
        // late. Of the deepest partition: a batch of one costs a fetch of its own, which must not
        // look like starvation of a quiet topic.
        let mut deepest: Option<(u64, usize)> = None;
        for load in self.loads.clone() {
            let records = match origin {
                Origin::Before => load.earlier,
                Origin::Backlog => load.backlog,
                Origin::Live => 0,
            };
            for partition in 0..load.open {
                let count = share(records, load.open, partition);
                for _ in 1..count {
                    let sent = self.next_record(slot, origin);
                    send(&self.bulk, &self.acks, sent)?;
                }
                // The last one follows below, unless this turns out to be the deepest partition.
                if count > 0 {
                    match deepest {
                        Some((most, _)) if most >= count => {
                            let sent = self.next_record(slot, origin);
                            send(&self.bulk, &self.acks, sent)?;
                        }
                        _ => {
                            if let Some((_, before)) = deepest.replace((count, slot)) {
                                let sent = self.next_record(before, origin);
                                send(&self.bulk, &self.acks, sent)?;
                            }
                        }
                    }
                }
                slot += 1;
            }
            slot += (load.partitions - load.open) as usize;
        }
        flush(&self.bulk, &self.acks)?;
        let Some((_, slot)) = deepest else { return Ok(()) };
        let Some(live) = self.live.take() else { return Ok(()) };
        let sent = self.next_record(slot, origin);
        let warmed = send(&live, &self.acks, sent)
            .and_then(|()| flush(&live, &self.acks))
            .and_then(|()| self.know_leaders(&live));
        self.live = Some(live);
        warmed
    }

    /// A client that meets a topic for the first time asks for its leader, one topic after the
    /// other and with pauses of 100 ms in between: the first live records would be acknowledged
    /// hundreds of milliseconds late, and the consumer would be charged for it.
    fn know_leaders(&self, live: &ThreadedProducer<Shared>) -> Result<(), LoadError> {
        for load in self.loads.iter().filter(|load| load.rate_per_s > 0.0 && load.open > 0) {
            live.client().fetch_metadata(Some(&load.kafka_name), METADATA_WITHIN).map_err(|error| {
                LoadError::Produce { topic: load.name.clone(), reason: error.to_string() }
            })?;
        }
        Ok(())
    }

    fn next_record(&mut self, slot: usize, origin: Origin) -> Sent {
        let now = monotonic_ns();
        let ordinal = self.next[slot];
        self.next[slot] += 1;
        Sent { slot, ordinal, due_ns: now, sent_ns: now, interval_ns: 0, origin, poison: None }
    }

    /// Produces at the topics' rates until [`LiveLoad::stop`]. Once.
    ///
    /// # Errors
    /// If it was started before, or there is no thread.
    pub fn start_live(&mut self) -> Result<LiveLoad, LoadError> {
        let producer =
            self.live.take().ok_or_else(|| LoadError::Client("live load runs already".to_owned()))?;
        LiveLoad::start(producer, Arc::clone(&self.acks), &self.loads, self.next.clone())
    }

    /// One past the last acknowledged offset of every partition that has records.
    #[must_use]
    pub fn produced_totals(&self) -> Totals {
        self.acks.totals()
    }
}

/// Throughput first. What queues behind a slow disk is late and no failure; how long is too long, `wait_on` says.
fn for_a_backlog(endpoint: &Endpoint, batches: Batches, compression: Compression) -> ClientConfig {
    let mut config = for_all_records(endpoint, compression);
    config.set("linger.ms", "50").set("batch.size", batches.bytes()).set("batch.num.messages", "4000");
    config.set("delivery.timeout.ms", "300000");
    config
}

/// Records leave nearly one by one: a linger is part of the wait that is measured.
fn for_live_records(endpoint: &Endpoint, compression: Compression) -> ClientConfig {
    let mut config = for_all_records(endpoint, compression);
    config.set("linger.ms", "0.5").set("delivery.timeout.ms", "30000");
    config
}

fn for_all_records(endpoint: &Endpoint, compression: Compression) -> ClientConfig {
    let mut config = endpoint.client();
    config.set("enable.idempotence", "true").set("compression.codec", compression.name());
    config.set("queue.buffering.max.messages", "1000000").set("queue.buffering.max.kbytes", "262144");
    config
}

/// Hands one record over; waits while the client's queue is full.
pub(super) fn send(producer: &ThreadedProducer<Shared>, acks: &Acks, sent: Sent) -> Result<(), LoadError> {
    let slot = &acks.slots()[sent.slot];
    let id = slot.first_id + sent.ordinal;
    let value = match sent.poison {
        Some(poison) => poison.value(id).to_vec(),
        None => slot.value(id),
    };
    let mut record: BaseRecord<'_, (), [u8], Box<Sent>> =
        BaseRecord::with_opaque_to(&slot.kafka_topic, Box::new(sent))
            .partition(slot.partition.cast_signed())
            .payload(&value);
    let mut patience = None;
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                wait_on(acks, &mut patience)?;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => {
                return Err(LoadError::Produce { topic: slot.topic.clone(), reason: error.to_string() });
            }
        }
    }
}

/// Refuses to wait on after a failure, and where no acknowledgement came for too long.
fn wait_on(acks: &Acks, patience: &mut Option<Patience>) -> Result<(), LoadError> {
    if let Some((topic, reason)) = acks.failure() {
        return Err(LoadError::Produce { topic, reason });
    }
    let (done, now) = (acks.acknowledged(), Instant::now());
    if !patience.get_or_insert_with(|| Patience::new(STALLED_AFTER, done, now)).is_over(done, now) {
        return Ok(());
    }
    Err(LoadError::Produce {
        topic: "(all)".to_owned(),
        reason: format!(
            "nothing was acknowledged for {} s, after {done} records; is the broker up, and has its disk room?",
            STALLED_AFTER.as_secs()
        ),
    })
}

/// Waits for all acknowledgements and writes them down.
pub(super) fn flush(producer: &ThreadedProducer<Shared>, acks: &Acks) -> Result<(), LoadError> {
    let mut patience = None;
    let flushed = loop {
        match producer.flush(LOOK_EVERY) {
            Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => {
                if let Err(error) = wait_on(acks, &mut patience) {
                    acks.finish_bursts();
                    return Err(error);
                }
            }
            other => break other,
        }
    };
    acks.finish_bursts();
    if let Some((topic, reason)) = acks.failure() {
        return Err(LoadError::Produce { topic, reason });
    }
    flushed.map_err(|error| LoadError::Produce { topic: "(all)".to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_record_of_a_run_is_compressed_as_the_scenario_says() {
        use Compression::{Gzip, Lz4, None, Snappy, Zstd};

        let endpoint = Endpoint {
            bootstrap_servers: "127.0.0.1:9".to_owned(),
            properties: BTreeMap::new(),
            imposed: BTreeMap::new(),
        };
        for codec in [None, Gzip, Snappy, Lz4, Zstd] {
            for config in [
                for_a_backlog(&endpoint, Batches::Usual, codec),
                for_a_backlog(&endpoint, Batches::Large, codec),
                for_live_records(&endpoint, codec),
            ] {
                assert_eq!(config.get("compression.codec"), Some(codec.name()));
                // What librdkafka makes of all of them together.
                let native = config.create_native_config().expect("librdkafka takes them");
                assert_eq!(native.get("compression.codec").expect("known"), codec.name());
            }
        }
    }
}
