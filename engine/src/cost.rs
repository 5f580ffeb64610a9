//! What a topology costs, predicted without a broker.

use crate::consumer::build::HANDLE_DEMAND;

/// Threads of a librdkafka client besides one per broker: its main thread, one for the first contact,
/// one for the group's coordinator. Counted in `/proc/self/task` of a consumer of the mock cluster.
const THREADS_PER_HANDLE: u64 = 3;

/// librdkafka wakes each of its threads by a pipe of its own.
const DESCRIPTORS_PER_THREAD: u64 = 2;

/// What a consumer needs at most, once every broker leads partitions of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// The number of brokers that this holds for.
    pub brokers: u64,
    /// librdkafka's threads: handles × (3 + brokers).
    pub threads: u64,
    /// TCP connections: handles × (1 + brokers); the coordinator has one of its own.
    pub connections: u64,
    /// File descriptors, an upper bound: handles × (16 with one broker, 3 more with each further one,
    /// its connection and its thread's pipe).
    pub descriptors: u64,
    /// Bytes of records that are fetched and not yet delivered, at most: lanes ×
    /// `queued.max.messages.kbytes` × 1,024.
    pub queued_bytes_max: u64,
    /// Bytes of answers that are under way besides, at most: handles × brokers × `fetch.max.bytes`, or, with
    /// a budget of memory, × a piece of each of a handle's partitions if that is less. One may come when a
    /// queue is nearly full.
    pub answers_bytes_max: u64,
}

/// What a topology is made of, as far as it costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) handles: u64,
    pub(crate) lanes: u64,
    pub(crate) brokers: u64,
    /// `queued.max.messages.kbytes`.
    pub(crate) queue_kib: u64,
    /// The largest answer.
    pub(crate) answer_bytes: u64,
}

impl Cost {
    pub(crate) fn of(size: Size) -> Self {
        let Size { handles, lanes, brokers, queue_kib, answer_bytes } = size;
        let further = brokers.saturating_sub(1) * (1 + DESCRIPTORS_PER_THREAD);
        Self {
            brokers,
            threads: handles * (THREADS_PER_HANDLE + brokers),
            connections: handles * (HANDLE_DEMAND.connections - 1 + brokers),
            descriptors: handles * (HANDLE_DEMAND.descriptors + further),
            queued_bytes_max: lanes * queue_kib * 1024,
            answers_bytes_max: handles * brokers * answer_bytes,
        }
    }
}
