//! Records on which the application's processing failed.

use fairpoll::{Consumer, Receipt, Record};
use fairpoll_judge::protocol::{Poison, RecordPlace};

/// Delivered, not processed, and not given up: what an application does that must not skip a record
/// and must not stop for one either. The others of the partition go on; its commits wait for these.
///
/// [`Failed::sort_out`] for the poison records of every batch, [`Failed::retry`] after every poll and
/// before the end.
#[derive(Debug, Default)]
pub(super) struct Failed {
    records: Vec<(RecordPlace, Poison, Receipt)>,
}

impl Failed {
    /// Keeps those of a batch's poison records that fail now, and tells where they lie.
    pub(super) fn sort_out(&mut self, poison: &[(Record<'_>, Poison)], now_ns: u64) -> Vec<RecordPlace> {
        let failing = poison.iter().filter(|(_, poison)| poison.fails_at(now_ns));
        let failing = failing.map(|(record, poison)| (place(record), *poison, record.receipt()));
        let before = self.records.len();
        self.records.extend(failing);
        self.records[before..].iter().map(|(place, ..)| place.clone()).collect()
    }

    /// Tries all of them again, and tells which succeeded. A partition that was given away meanwhile
    /// takes no notice of it: its new owner gets the record.
    pub(super) fn retry(&mut self, now_ns: u64, consumer: &mut Consumer) -> Vec<RecordPlace> {
        let succeeds = |(_, poison, _): &mut (RecordPlace, Poison, Receipt)| !poison.fails_at(now_ns);
        let done = self.records.extract_if(.., succeeds);
        done.map(|(place, _, receipt)| {
            consumer.ack(receipt);
            place
        })
        .collect()
    }
}

/// Where a record lies.
pub(super) fn place(record: &Record<'_>) -> RecordPlace {
    RecordPlace {
        topic: record.topic().to_owned(),
        partition: record.partition().unsigned_abs(),
        offset: record.offset(),
    }
}
