//! What a partition had to offer, and how far it was delivered.

use crate::event::Origin;

/// Records that were produced together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    /// First offset.
    pub(super) start: i64,
    /// One past the last offset.
    pub(super) end: i64,
    /// From when on a poll that begins is expected to find it, ns: acknowledged and
    /// `availability_ms` old; 0 for what was there before the consumer.
    pub(super) available_ns: u64,
    /// When the broker acknowledged it, ns.
    pub(super) ack_ns: u64,
    /// When the first record was due, ns.
    pub(super) t0_ns: u64,
    /// From one record to the next, ns.
    pub(super) interval_ns: u64,
    /// When the last record was handed over, ns.
    pub(super) sent_ns: u64,
    /// Why it was produced.
    pub(super) origin: Origin,
}

impl Batch {
    pub(super) fn count(&self) -> u64 {
        self.end.abs_diff(self.start)
    }

    /// When the record at `offset` was due, ns.
    pub(super) fn due_ns(&self, offset: i64) -> u64 {
        self.t0_ns.saturating_add(self.interval_ns.saturating_mul(offset.abs_diff(self.start)))
    }
}

/// A partition's batches and the consumer's position in them.
#[derive(Debug, Clone, Default)]
pub(super) struct Supply {
    batches: Vec<Batch>,
    /// The earliest availability of this batch or any later one.
    earliest_ns: Vec<u64>,
    /// The first batch that is not wholly delivered.
    next: usize,
    /// One past the largest delivered offset.
    position: i64,
}

impl Supply {
    pub(super) fn new(mut batches: Vec<Batch>, position: i64) -> Self {
        batches.retain(|batch| batch.start < batch.end);
        batches.sort_unstable_by_key(|batch| batch.start);
        let mut earliest_ns: Vec<u64> = batches.iter().map(|batch| batch.available_ns).collect();
        for index in (1..earliest_ns.len()).rev() {
            earliest_ns[index - 1] = earliest_ns[index - 1].min(earliest_ns[index]);
        }
        let mut supply = Self { batches, earliest_ns, next: 0, position: i64::MIN };
        supply.advance(position);
        supply
    }

    pub(super) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Everything below `position` is delivered.
    pub(super) fn advance(&mut self, position: i64) {
        self.position = self.position.max(position);
        while self.batches.get(self.next).is_some_and(|batch| batch.end <= self.position) {
            self.next += 1;
        }
    }

    /// From when on it has had available records that are not delivered, ns.
    pub(super) fn earliest_ns(&self) -> Option<u64> {
        self.earliest_ns.get(self.next).copied()
    }

    /// How many records at or above `position` are available at `t_ns`.
    pub(super) fn available_above(&self, position: i64, t_ns: u64) -> u64 {
        let first = self.batches.partition_point(|batch| batch.end <= position);
        self.batches[first..]
            .iter()
            .filter(|batch| batch.available_ns <= t_ns)
            .map(|batch| batch.end.abs_diff(batch.start.max(position)))
            .sum()
    }

    /// One past its last backlog record.
    pub(super) fn backlog_end(&self) -> Option<i64> {
        self.batches.iter().filter(|batch| batch.origin == Origin::Backlog).map(|batch| batch.end).max()
    }
}
