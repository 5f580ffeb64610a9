//! From a batch to the ranges of a poll's line, and to what cannot be processed.

use fairpoll::{Batch, PartitionRecords, Record};
use fairpoll_judge::protocol::{DeliveredRange, Poison};

/// What the *payloads* of a batch say.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    /// Runs of offsets without a gap, in the order of delivery, with the ids.
    pub(super) ranges: Vec<DeliveredRange>,
    /// Records on which processing fails, or failed once.
    pub(super) poison: Vec<(Record<'a>, Poison)>,
}

/// Reads every value once.
pub(super) fn of(batch: &Batch) -> Contents<'_> {
    let mut contents = Contents { ranges: Vec::with_capacity(batch.partitions().len()), poison: Vec::new() };
    for partition in batch.partitions() {
        of_partition(&partition, &mut contents);
    }
    contents
}

fn of_partition<'a>(partition: &PartitionRecords<'a>, contents: &mut Contents<'a>) {
    let ranges = &mut contents.ranges;
    let mut open: Option<DeliveredRange> = None;
    for record in partition.records() {
        let (offset, id) = (record.offset(), id_of(record.value()));
        if let Some(poison) = record.value().and_then(Poison::of) {
            contents.poison.push((record, poison));
        }
        match &mut open {
            Some(range) if range.last + 1 == offset => {
                range.last = offset;
                range.count += 1;
                range.id_sum = range.id_sum.wrapping_add(id);
            }
            _ => {
                let topic = partition.topic().to_owned();
                let next = DeliveredRange {
                    topic,
                    partition: partition.partition().unsigned_abs(),
                    first: offset,
                    last: offset,
                    count: 1,
                    id_sum: id,
                };
                ranges.extend(open.replace(next));
            }
        }
    }
    ranges.extend(open);
}

/// The record's id: the first eight bytes of its value. A value without one sums as 0, which no
/// produced record has, so the auditor finds it.
fn id_of(value: Option<&[u8]>) -> u64 {
    value.and_then(|value| value.first_chunk::<8>()).map_or(0, |id| u64::from_be_bytes(*id))
}
