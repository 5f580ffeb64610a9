//! How much may be fetched ahead, so that a consumer keeps within a budget of memory.

use std::num::NonZeroU32;

/// What a queued or delivered record takes besides its bytes: librdkafka's operation with the message in
/// it, an allocation of its own. Measured on the mock broker in full queues of 100-byte values, which have
/// some 110 bytes on the wire: RSS grew by 438 bytes a record, in `single`, `multi` and `fair` alike
/// (12,704 records, 5,570,560 bytes; glibc's allocator; `engine/tests/memory.rs` prints it). That is 330
/// besides; the rest is for what an allocator does not use of its pages.
pub const RECORD_OVERHEAD_BYTES: u64 = 400;

/// The smallest records that answers under way are calculated with, bytes on the wire. Smaller ones are
/// more in a piece, and each takes [`RECORD_OVERHEAD_BYTES`].
pub const RECORD_BYTES_MIN: u64 = 100;

/// A piece takes so many times its bytes: itself, what the smallest records in it take besides, and as
/// much of a piece before it that a delivered batch still keeps.
const PIECE_UNPACKED: u64 = 2 + RECORD_OVERHEAD_BYTES / RECORD_BYTES_MIN;

/// No piece is smaller, bytes: Kafka's producers send batches of 16 KiB, and a broker gives whole batches.
pub const PIECE_BYTES_MIN: u64 = 16 * 1024;

/// Queues are never longer, records (or a quota), whatever the budget: what the engine has without one.
/// Longer ones drained no faster.
pub const QUEUED_RECORDS_MAX: u64 = 10_000;

/// Nor larger, thousands of bytes: librdkafka's own default.
pub const QUEUED_KBYTES_MAX: u64 = 65_536;

/// librdkafka's own default, bytes.
const FETCH_BYTES: u64 = 50 << 20;

/// The largest `fetch.max.bytes` that librdkafka takes.
const FETCH_BYTES_MAX: u64 = i32::MAX as u64 - 512;

/// A full queue of 10,000 records is looked at again after 10 ms. A shorter one is empty sooner: at the
/// same million records a second.
const RECORDS_PER_BACKOFF_MS: u64 = 1_000;

/// A full queue wakes its broker's thread once per back-off: at 2 ms 500 times a second.
const BACKOFF_MS_MIN: u64 = 2;

/// A consumer's fetching, as far as memory depends on it.
///
/// librdkafka decides per partition, and by the length and size of the *queue* that the partition is
/// forwarded to, whether the next request asks for it. So a lane may hold its two limits, and then one
/// piece of each of its partitions more. One batch may be delivered and not given back besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchDemand {
    /// Librdkafka clients.
    pub handles: NonZeroU32,
    /// Queues, each with limits of its own.
    pub lanes: NonZeroU32,
    /// Topics of all handles.
    pub topics: NonZeroU32,
    /// Partitions of a topic that are assigned to this consumer, at most. Nobody knows before the start,
    /// when the limits are fixed: it is what is said, or assumed.
    pub partitions_per_topic: NonZeroU32,
    /// What the lane with the largest quota may bring per poll, records.
    pub quota: NonZeroU32,
    /// What is fetched of a partition without a budget, bytes: pieces are never larger.
    pub piece_bytes_max: u64,
}

/// Limits of a handle; equal for all handles, and for all queues of a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// `queued.min.messages`: with so many records in its queue a partition is not fetched.
    pub queued_records: u64,
    /// `queued.max.messages.kbytes`: nor with so many thousand bytes of keys and values.
    pub queued_kbytes: u64,
    /// `max.partition.fetch.bytes`: what is fetched of a partition at once.
    pub piece_bytes: u64,
    /// `fetch.max.bytes`: the largest answer; never less than a piece of each partition, because the last
    /// ones of a request would come short for several requests in a row.
    pub answer_bytes: u64,
    /// `fetch.queue.backoff.ms`: when a full queue is looked at again.
    pub backoff_ms: u64,
}

/// A budget that does not hold what must be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a budget of {budget_bytes} bytes is less than the {minimum_bytes} that the smallest queues take")]
pub struct BudgetTooSmall {
    /// What was said.
    pub budget_bytes: u64,
    /// The smallest budget that does.
    pub minimum_bytes: u64,
}

impl FetchDemand {
    /// The limits with which [`Self::memory_bytes`] is within the budget. Half of it, as far as pieces can
    /// use that, is for answers under way, the rest for queues: a third of that by number, the others by size,
    /// so that both limits are reached together at records of about 400 bytes. No limit falls when the budget
    /// grows, and a queue always takes a quota of records of [`RECORD_BYTES_MIN`].
    ///
    /// # Errors
    /// If the budget is less than [`Self::minimum_bytes`].
    pub fn limits(&self, budget_bytes: u64) -> Result<FetchLimits, BudgetTooSmall> {
        let minimum_bytes = self.minimum_bytes();
        if budget_bytes < minimum_bytes {
            return Err(BudgetTooSmall { budget_bytes, minimum_bytes });
        }
        let quota = u64::from(self.quota.get());
        let piece_max = self.piece_bytes_max.max(PIECE_BYTES_MIN);
        let answers = (budget_bytes / 2)
            .clamp(self.answers_bytes(PIECE_BYTES_MIN), self.answers_bytes(piece_max))
            .min(budget_bytes - self.lanes_bytes_min());
        let piece_bytes = answers / self.partitions() / PIECE_UNPACKED;

        let of_a_lane = (budget_bytes - answers) / self.lane_count() - self.lane_bytes_min();
        let longer = (of_a_lane / 3 / RECORD_OVERHEAD_BYTES).min(QUEUED_RECORDS_MAX.saturating_sub(quota));
        // Bytes count twice: in the queue, and in a batch that took them from it.
        let larger = (of_a_lane - longer * RECORD_OVERHEAD_BYTES) / 2;
        let queued_records = quota + longer;
        let kbytes_min = kbytes_min(quota);
        Ok(FetchLimits {
            queued_records,
            queued_kbytes: (kbytes_min + larger / 1000).min(QUEUED_KBYTES_MAX.max(kbytes_min)),
            piece_bytes,
            answer_bytes: self.answer_bytes(piece_bytes),
            backoff_ms: (queued_records / RECORDS_PER_BACKOFF_MS)
                .clamp(BACKOFF_MS_MIN, QUEUED_RECORDS_MAX / RECORDS_PER_BACKOFF_MS),
        })
    }

    /// The most that a consumer with these limits holds of records, bytes: full queues, a piece of every
    /// partition on top of them, and a batch that took all it may from queues that are full again. It holds
    /// for records from [`RECORD_BYTES_MIN`] on that arrive uncompressed in batches no larger than a piece,
    /// and are given back about in the order in which they came.
    #[must_use]
    pub fn memory_bytes(&self, limits: &FetchLimits) -> u64 {
        let records = (limits.queued_records + u64::from(self.quota.get())) * RECORD_OVERHEAD_BYTES;
        let lane = records.saturating_add(2 * limits.queued_kbytes * 1000);
        lane.saturating_mul(self.lane_count()).saturating_add(self.answers_bytes(limits.piece_bytes))
    }

    /// The smallest budget: a quota in every queue, one of every lane in the program's hands, and the
    /// smallest piece of every partition on the way.
    #[must_use]
    pub fn minimum_bytes(&self) -> u64 {
        self.lanes_bytes_min().saturating_add(self.answers_bytes(PIECE_BYTES_MIN))
    }

    /// A quota in the queue and one delivered.
    fn lane_bytes_min(&self) -> u64 {
        let quota = u64::from(self.quota.get());
        2 * quota * RECORD_OVERHEAD_BYTES + 2 * kbytes_min(quota) * 1000
    }

    fn lanes_bytes_min(&self) -> u64 {
        self.lane_bytes_min().saturating_mul(self.lane_count())
    }

    /// A piece of every partition, unpacked.
    fn answers_bytes(&self, piece_bytes: u64) -> u64 {
        piece_bytes.saturating_mul(PIECE_UNPACKED).saturating_mul(self.partitions())
    }

    fn answer_bytes(&self, piece_bytes: u64) -> u64 {
        let of_a_handle = self.partitions().div_ceil(u64::from(self.handles.get()));
        piece_bytes.saturating_mul(of_a_handle).clamp(FETCH_BYTES, FETCH_BYTES_MAX)
    }

    /// Partitions of all topics together.
    #[must_use]
    pub fn partitions(&self) -> u64 {
        u64::from(self.topics.get()) * u64::from(self.partitions_per_topic.get())
    }

    fn lane_count(&self) -> u64 {
        u64::from(self.lanes.get())
    }
}

/// What a quota of the smallest records has, in the unit of librdkafka's limit.
fn kbytes_min(quota: u64) -> u64 {
    (quota * RECORD_BYTES_MIN).div_ceil(1000)
}
