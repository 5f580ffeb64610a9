//! What the consumer allocates while records flow: so much by the poll, nothing by the record.
//! Counted is what Rust asks the allocator for on the application's thread; librdkafka is C.

mod common;

use std::time::Duration;

use allocation_counter::measure;
use common::{MODES, Mock, config, stopped};
use fairpoll::{Batch, Consumer, ModeRequest};

const LONG: Duration = Duration::from_secs(20);

const TOPICS: [&str; 4] = ["a", "b", "c", "d"];

/// Enough for all polls of all that is counted here.
const RECORDS_OF_A_TOPIC: usize = 10_000;

const POLLS: usize = 30;

/// How an application says that it has processed a batch.
type Finish = fn(&mut Consumer, &Batch);

const BY_BATCH: Finish = |consumer, batch| consumer.mark_processed(batch);

const BY_RECORD: Finish = |consumer, batch| batch.records().for_each(|record| consumer.ack(record));

/// Allocations of a poll of so many records, of reading through them, and of finishing them; medians.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Allocations {
    poll: u64,
    read: u64,
    finish: u64,
}

fn allocations(mock: &Mock, mode: ModeRequest, of_a_poll: u32, finish: Finish) -> Allocations {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let max_poll_records = if mode == ModeRequest::Single { of_a_poll } else { of_a_poll / 4 };
    // No poll goes without a topic whose records are on their way.
    let config = config(mock, &format!("allocations-{mode}-{of_a_poll}"), &TOPICS, mode)
        .max_poll_records(max_poll_records)
        .property("queued.min.messages", "100000")
        .first_fetch_wait(LONG)
        .refill_wait(LONG);
    let mut consumer = runtime.block_on(async { Consumer::start(config) }).expect("start");
    let mut seen = Vec::new();
    while seen.len() < POLLS {
        let mut polled = None;
        let poll = measure(|| polled = Some(runtime.block_on(consumer.get_many(LONG, None)))).count_total;
        let batch = polled.expect("measured").expect("poll");
        assert!(!batch.is_empty(), "{mode}: {seen:?}");
        let mut bytes = 0;
        let read = measure(|| {
            for record in batch.records() {
                bytes += record.topic().len() + record.value().map_or(0, <[u8]>::len);
            }
        });
        assert!(bytes > 0);
        let finish = measure(|| finish(&mut consumer, &batch));
        // Polls at the start may bring fewer.
        if batch.len() == of_a_poll as usize {
            seen.push(Allocations { poll, read: read.count_total, finish: finish.count_total });
        }
    }
    runtime.block_on(stopped(consumer));
    let median = |of: fn(&Allocations) -> u64| {
        let mut sorted: Vec<u64> = seen.iter().map(of).collect();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    Allocations {
        poll: median(|seen| seen.poll),
        read: median(|seen| seen.read),
        finish: median(|seen| seen.finish),
    }
}

#[test]
fn nothing_is_allocated_by_the_record() {
    let mock = Mock::with_brokers(1);
    for topic in TOPICS {
        mock.create(topic, 1);
        mock.produce(topic, 0, RECORDS_OF_A_TOPIC);
    }
    for mode in MODES {
        for finish in [BY_BATCH, BY_RECORD] {
            let (few, many) = (allocations(&mock, mode, 40, finish), allocations(&mock, mode, 400, finish));
            assert_eq!(few, many, "{mode}");
            assert_eq!((many.read, many.finish), (0, 0), "{mode}");
            // The batch's lists: of records anew for each lane, all others once.
            assert!(many.poll <= 8, "{mode}: {many:?}");
        }
    }
}
