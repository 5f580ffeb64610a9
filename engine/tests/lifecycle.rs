//! Threads and handles: what starts, ends. One test in this binary, because it counts the threads
//! of the process.

mod common;

use std::time::{Duration, Instant};

use common::{MODES, Mock, config, drain, stopped, threads};
use fairpoll::Consumer;

async fn threads_come_down_to(most: usize) -> bool {
    let until = Instant::now() + Duration::from_secs(5);
    while threads() > most {
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

#[tokio::test]
async fn nothing_is_left_after_a_stop_and_a_held_batch_outlives_it() {
    let topics = ["a", "b", "c"];
    let mock = Mock::filled(&[("a", 1, 100), ("b", 1, 100), ("c", 1, 100)]);
    // The producer's and the mock's threads exist by now.
    let before = threads();
    for mode in MODES {
        for cycle in 0..4 {
            let mut consumer =
                Consumer::start(config(&mock, &format!("c-{mode}-{cycle}"), &topics, mode)).expect("start");
            drain(&mut consumer, 300).await;
            assert!(threads() > before);
            stopped(consumer).await;
        }
        assert!(threads_come_down_to(before).await, "{mode}: {} threads, {before} before", threads());

        // Trap 16: librdkafka's destruction waits for the last message; a batch keeps its handle.
        let mut consumer =
            Consumer::start(config(&mock, &format!("held-{mode}"), &topics, mode)).expect("start");
        let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
        let values: Vec<Vec<u8>> =
            batch.records().filter_map(|record| Some(record.value()?.to_vec())).collect();
        assert!(!values.is_empty());
        let report = consumer.stop(Duration::from_secs(5)).await;
        assert!(!report.closed && report.outstanding_batches == 1, "{mode}: {report:?}");
        assert!(report.took < Duration::from_secs(3), "{mode}: nothing to wait for: {report:?}");
        drop(consumer);
        let held: Vec<Vec<u8>> =
            batch.records().filter_map(|record| Some(record.value()?.to_vec())).collect();
        assert_eq!(held, values, "{mode}: the batch is whole");
        drop(batch);
        assert!(threads_come_down_to(before).await, "{mode}: {} threads, {before} before", threads());

        // Dropped without a stop: it warns, and goes all the same.
        let mut consumer =
            Consumer::start(config(&mock, &format!("dropped-{mode}"), &topics, mode)).expect("start");
        drain(&mut consumer, 300).await;
        drop(consumer);
        assert!(threads_come_down_to(before).await, "{mode}: {} threads, {before} before", threads());
    }
}
