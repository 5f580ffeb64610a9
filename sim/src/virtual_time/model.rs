//! What client, network and broker take, in numbers.

use serde::{Deserialize, Serialize};

/// The simulated machine, network and broker. Times in nanoseconds of virtual time.
///
/// The defaults are of this project's reference machine (two cores that consumer, broker and producer share)
/// and of its own measurements there; `docs/virtual-time.md` says which. They are no constants of nature: a
/// broker on other machines, or further away, has others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// There and back between a client and a broker.
    pub round_trip_ns: u64,
    /// Each way takes up to so many hundredths longer, drawn anew each time.
    pub jitter_percent: u32,
    /// The broker's work on a fetch.
    pub request_ns: u64,
    /// Besides, for each partition that it asks for.
    pub request_partition_ns: u64,
    /// Besides, for each KiB of the answer, on its way too.
    pub answer_kib_ns: u64,
    /// A fetch that finds nothing is answered once something comes. The embedded broker looks again only
    /// when the client's `fetch.wait.max.ms` is over.
    pub wakes_long_polls: bool,
    /// Batches of a partition in one answer, at most; 0: as many as fit.
    pub batches_per_answer: u32,
    /// How large the batches of a backlog are, bytes, before they are compressed.
    pub batch_bytes: u64,
    /// The client's thread for a broker: an answer.
    pub unpack_answer_ns: u64,
    /// Besides, for each record.
    pub unpack_record_ns: u64,
    /// The application's thread: a poll that returns records.
    pub poll_ns: u64,
    /// Besides, for each record.
    pub poll_record_ns: u64,
    /// From a queue's wake-up until the application's thread runs.
    pub wake_ns: u64,
    /// What a sleep takes longer than it was asked to, and a poll's line besides.
    pub oversleep_ns: u64,
    /// From the start of a consumer of one handle until it owns its partitions, where nothing holds its
    /// group up.
    pub join_ns: u64,
    /// Besides, for each handle more.
    pub join_handle_ns: u64,
    /// The broker's `group.initial.rebalance.delay.ms`; the classic protocol waits for it.
    pub initial_rebalance_delay_ns: u64,
    /// Until handles that share a group of the classic protocol all own their partitions: each join
    /// rebalances all, and a member hears of it at its next heartbeat.
    pub shared_group_ns: u64,
    /// From the assignment until the first fetch is sent.
    pub lookup_ns: u64,
    /// A commit, there and back.
    pub commit_ns: u64,
    /// From when a live record is due until it can be read.
    pub produce_ns: u64,
    /// Resident memory of a consumer without any handle, KiB.
    pub base_kib: u64,
    /// Besides, for each handle.
    pub handle_kib: u64,
    /// Besides, for each lane.
    pub lane_kib: u64,
    /// What a fetched record takes besides its bytes.
    pub record_overhead_bytes: u64,
}

impl Model {
    /// Apache Kafka 4.1 beside the consumer on a machine of two cores.
    #[must_use]
    pub const fn kafka() -> Self {
        Self {
            round_trip_ns: 200_000,
            jitter_percent: 20,
            request_ns: 100_000,
            request_partition_ns: 4_000,
            answer_kib_ns: 600,
            wakes_long_polls: true,
            batches_per_answer: 0,
            batch_bytes: 131_072,
            unpack_answer_ns: 20_000,
            unpack_record_ns: 260,
            poll_ns: 6_000,
            poll_record_ns: 220,
            wake_ns: 30_000,
            oversleep_ns: 100_000,
            join_ns: 25_000_000,
            join_handle_ns: 3_000_000,
            initial_rebalance_delay_ns: 0,
            shared_group_ns: 3_000_000_000,
            lookup_ns: 1_000_000,
            commit_ns: 2_000_000,
            produce_ns: 2_000_000,
            base_kib: 13 * 1024,
            handle_kib: 500,
            lane_kib: 8,
            record_overhead_bytes: 438,
        }
    }

    /// The broker that comes with the tool: librdkafka's mock cluster.
    #[must_use]
    pub const fn embedded() -> Self {
        Self {
            round_trip_ns: 120_000,
            request_ns: 40_000,
            request_partition_ns: 1_000,
            answer_kib_ns: 300,
            wakes_long_polls: false,
            batches_per_answer: 1,
            batch_bytes: 900_000,
            join_ns: 15_000_000,
            join_handle_ns: 2_000_000,
            produce_ns: 1_500_000,
            ..Self::kafka()
        }
    }
}
