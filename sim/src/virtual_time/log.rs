//! A partition's log: what a broker holds of it, as a function of time.

/// What a batch takes besides its records, bytes on the wire.
const BATCH_BYTES: u64 = 61;

/// Records of one partition. They are never made: an offset stands for each.
#[derive(Debug, Clone)]
pub(super) struct Log {
    /// Records that lie there when the consumer starts.
    pub(super) filled: i64,
    /// Records in each batch of them.
    pub(super) batch_records: i64,
    /// Bytes that a record takes on the wire and on disk.
    pub(super) record_bytes: u64,
    /// The same once it is unpacked.
    pub(super) unpacked_bytes: u64,
    /// What is produced while the consumer runs; `None`: nothing, or not yet.
    pub(super) live: Option<Live>,
}

/// Records that are produced at a rate: the k-th is due at `first_due_ns + k · interval_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) first_due_ns: u64,
    pub(super) interval_ns: u64,
    /// From when it is due until it can be read.
    pub(super) delay_ns: u64,
    /// What is due from then on is not produced any more.
    pub(super) until_ns: u64,
}

/// What an answer brings of a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) records: i64,
    pub(super) bytes: u64,
}

/// What an answer may bring of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) bytes: u64,
    pub(super) batches: i64,
    /// The first batch comes, however large it is.
    pub(super) at_least_one: bool,
}

impl Live {
    /// How many were produced by then.
    fn produced(&self, at_ns: u64) -> i64 {
        let due_until = at_ns.saturating_sub(self.delay_ns).saturating_add(1).min(self.until_ns);
        match due_until.checked_sub(self.first_due_ns) {
            None | Some(0) => 0,
            Some(span) => ((span - 1) / self.interval_ns.max(1) + 1).cast_signed(),
        }
    }

    /// When the k-th record is due; `None`: never.
    pub(super) fn due(&self, k: i64) -> Option<u64> {
        let due = self.first_due_ns.saturating_add(k.unsigned_abs().saturating_mul(self.interval_ns));
        (due < self.until_ns).then_some(due)
    }
}

impl Log {
    /// One past the last offset that can be read.
    pub(super) fn end(&self, at_ns: u64) -> i64 {
        self.filled + self.live.map_or(0, |live| live.produced(at_ns))
    }

    /// When this offset can be read; `None`: never, as things stand.
    pub(super) fn readable_at(&self, offset: i64) -> Option<u64> {
        if offset < self.filled {
            return Some(0);
        }
        let live = self.live?;
        live.due(offset - self.filled).map(|due| due.saturating_add(live.delay_ns))
    }

    /// What an answer brings from this offset on: whole batches, as a broker reads them. Live records lie
    /// in batches of one.
    pub(super) fn share(&self, from: i64, at_ns: u64, most: Most) -> Share {
        let end = self.end(at_ns);
        let mut share = Share::default();
        let (mut at, mut batches) = (from, 0);
        while at < end && batches < most.batches {
            let in_batch = if at < self.filled {
                let next = (at / self.batch_records + 1) * self.batch_records;
                next.min(self.filled) - at
            } else {
                1
            };
            let bytes = BATCH_BYTES + in_batch.unsigned_abs() * self.record_bytes;
            let fits = share.bytes + bytes <= most.bytes || (most.at_least_one && batches == 0);
            if !fits {
                break;
            }
            share.records += in_batch;
            share.bytes += bytes;
            at += in_batch;
            batches += 1;
        }
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(filled: i64) -> Log {
        Log { filled, batch_records: 10, record_bytes: 100, unpacked_bytes: 100, live: None }
    }

    const ALL: Most = Most { bytes: u64::MAX / 2, batches: i64::MAX, at_least_one: true };

    #[test]
    fn an_answer_brings_whole_batches_and_one_at_least_if_it_must() {
        let log = log(25);
        assert_eq!(log.share(0, 0, ALL).records, 25);
        assert_eq!(log.share(25, 0, ALL), Share::default());
        let of = |bytes, at_least_one| log.share(0, 0, Most { bytes, at_least_one, ..ALL }).records;
        assert_eq!(of(2_121, false), 10);
        assert_eq!(of(2_122, false), 20);
        assert_eq!((of(1_000, false), of(1_000, true)), (0, 10));
        assert_eq!(log.share(0, 0, Most { batches: 1, ..ALL }).records, 10);
        // From within a batch its rest comes.
        assert_eq!(log.share(5, 0, Most { batches: 1, ..ALL }).records, 5);
    }

    #[test]
    fn live_records_can_be_read_one_by_one_once_they_are_written() {
        let live = Live { first_due_ns: 100, interval_ns: 10, delay_ns: 5, until_ns: 125 };
        let log = Log { live: Some(live), ..log(3) };
        for (at, end) in [(0, 3), (104, 3), (105, 4), (114, 4), (115, 5), (125, 6), (1_000, 6)] {
            assert_eq!(log.end(at), end, "at {at}");
        }
        assert_eq!(log.readable_at(2), Some(0));
        assert_eq!(log.readable_at(3), Some(105));
        assert_eq!(log.readable_at(5), Some(125));
        assert_eq!(log.readable_at(6), None, "production is over by then");
        assert_eq!(log.share(3, 115, ALL).records, 2);
        assert_eq!(log.share(3, 115, Most { batches: 1, ..ALL }).records, 1);
    }
}
