//! Threads, sockets and handles: what starts, ends. One test in this binary, because it counts what the
//! process has.

mod common;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::{Held, MODES, Mock, config, drain, stopped};
use fairpoll::{Batch, Consumer, ModeRequest, PollError};
use tokio::task::JoinSet;
use tracing_subscriber::fmt::MakeWriter;

const TOPICS: [&str; 3] = ["a", "b", "c"];
const RECORDS: usize = 300;
/// Start/stop cycles of a mode, so many at a time.
const CYCLES: usize = 100;
const AT_A_TIME: usize = 10;
const DEADLINE: Duration = Duration::from_secs(1);
/// Besides a deadline, for a machine that has other things to do.
const SLACK: Duration = Duration::from_secs(1);

/// What was logged, as text.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Forgets it.
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn start(mock: &Mock, group: &str, mode: ModeRequest) -> Consumer {
    Consumer::start(config(mock, group, &TOPICS, mode)).expect("start")
}

/// A consumer and a batch of it that has records.
async fn with_a_batch(mock: &Mock, group: &str, mode: ModeRequest) -> (Consumer, Batch) {
    let mut consumer = start(mock, group, mode);
    let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
    assert!(!batch.is_empty(), "{group}: records were there");
    (consumer, batch)
}

fn values(batch: &Batch) -> Vec<Vec<u8>> {
    batch.records().filter_map(|record| Some(record.value()?.to_vec())).collect()
}

// shows: E8
#[tokio::test]
async fn nothing_is_left_after_a_stop_and_a_held_batch_outlives_it() {
    let log = Log::default();
    let writer = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone());
    let _guard = tracing::subscriber::set_default(writer.finish());
    let mock = Mock::filled(&TOPICS.map(|topic| (topic, 1, RECORDS / TOPICS.len())));
    for mode in MODES {
        // A first consumer, for what the process and the mock keep for good.
        cycle(&mock, format!("first-{mode}"), mode).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let before = Held::now();

        let mut running = JoinSet::new();
        for number in 0..CYCLES {
            if running.len() == AT_A_TIME {
                running.join_next().await.expect("some run").expect("no panic");
            }
            running.spawn(cycle_of(config(&mock, &format!("{mode}-{number}"), &TOPICS, mode)));
        }
        running.join_all().await;
        before.comes_back(&format!("{CYCLES} cycles of {mode}")).await;

        a_held_batch_keeps_its_handle(&mock, mode, before).await;
        a_stop_that_is_dropped_can_be_taken_up_again(&mock, mode, before).await;
        a_drop_without_a_stop_warns_and_blocks_nobody(&mock, mode, before, &log).await;
    }
}

async fn cycle(mock: &Mock, group: String, mode: ModeRequest) {
    cycle_of(config(mock, &group, &TOPICS, mode)).await;
}

/// Starts, consumes everything, stops, and stops again.
async fn cycle_of(config: fairpoll::Config) {
    let mut consumer = Consumer::start(config).expect("start");
    let all = drain(&mut consumer, RECORDS).await;
    assert_eq!(all.values().map(Vec::len).sum::<usize>(), RECORDS);
    let report = consumer.stop(Duration::from_secs(10)).await;
    assert!(report.committed && report.closed, "{report:?}");
    let again = consumer.stop(Duration::ZERO).await;
    assert!(again.committed && again.closed && again.errors.is_empty(), "twice is once: {again:?}");
    let after = consumer.get_many(Duration::from_secs(10), None).await;
    assert_eq!(after.err(), Some(PollError::Stopped));
}

/// Trap 16: librdkafka's destruction waits for the last message; a batch keeps its handle.
async fn a_held_batch_keeps_its_handle(mock: &Mock, mode: ModeRequest, before: Held) {
    let (mut consumer, batch) = with_a_batch(mock, &format!("held-{mode}"), mode).await;
    let there = values(&batch);
    let began = Instant::now();
    let report = consumer.stop(DEADLINE).await;
    assert!(began.elapsed() < DEADLINE + SLACK, "{mode}: {report:?}");
    assert!(!report.closed && report.outstanding_batches == 1, "{mode}: {report:?}");
    // A batch is kept for as long as its owner likes: there is nothing to wait for.
    let again = consumer.stop(Duration::from_secs(10)).await;
    assert!(again.took < Duration::from_secs(5), "{mode}: {again:?}");
    assert!(!again.closed && again.outstanding_batches == 1, "{mode}: it is still held: {again:?}");
    assert!(Held::now().threads > before.threads, "{mode}: the batch keeps its handle's threads");
    assert_eq!(values(&batch), there, "{mode}: the batch is whole");
    drop(batch);
    let at_last = consumer.stop(Duration::from_secs(5)).await;
    assert!(at_last.closed && at_last.outstanding_batches == 0, "{mode}: {at_last:?}");
    before.comes_back(&format!("a held batch of {mode}")).await;

    // The consumer goes before its batch.
    let (mut consumer, batch) = with_a_batch(mock, &format!("outlived-{mode}"), mode).await;
    let there = values(&batch);
    consumer.stop(DEADLINE).await;
    drop(consumer);
    assert_eq!(values(&batch), there, "{mode}: the batch is whole");
    drop(batch);
    before.comes_back(&format!("a batch that outlived its consumer, {mode}")).await;
}

/// Say, because a signal handler's own time was up.
async fn a_stop_that_is_dropped_can_be_taken_up_again(mock: &Mock, mode: ModeRequest, before: Held) {
    let group = format!("unfinished-{mode}");
    let (mut consumer, batch) = with_a_batch(mock, &group, mode).await;
    consumer.mark_processed(&batch);
    let delivered = batch.len();
    drop(batch);
    tokio::select! {
        biased;
        report = consumer.stop(Duration::from_secs(5)) => panic!("{mode}: it has not waited: {report:?}"),
        () = std::future::ready(()) => {}
    }
    let polled = consumer.get_many(Duration::ZERO, None).await;
    assert_eq!(polled.err(), Some(PollError::Stopped), "{mode}");
    let report = consumer.stop(Duration::from_secs(10)).await;
    assert!(report.committed && report.closed, "{mode}: {report:?}");
    before.comes_back(&format!("a stop of {mode} in two parts")).await;

    let mut next = start(mock, &group, mode);
    let rest = drain(&mut next, RECORDS - delivered).await;
    assert_eq!(rest.values().map(Vec::len).sum::<usize>(), RECORDS - delivered, "{mode}: it was committed");
    stopped(next).await;

    // No time at all: it says so, and what it left open ends by itself.
    let (mut consumer, batch) = with_a_batch(mock, &format!("no-time-{mode}"), mode).await;
    drop(batch);
    let report = consumer.stop(Duration::ZERO).await;
    assert!(!report.closed && report.outstanding_batches == 0, "{mode}: {report:?}");
    before.comes_back(&format!("a stop of {mode} without time")).await;
    let report = consumer.stop(Duration::ZERO).await;
    assert!(report.closed, "{mode}: it is gone by now: {report:?}");
}

/// Destruction joins librdkafka's threads, so it happens elsewhere: they are still there when `drop`
/// returns. Once in a while the machine may be so busy elsewhere that they are not.
async fn a_drop_without_a_stop_warns_and_blocks_nobody(
    mock: &Mock,
    mode: ModeRequest,
    before: Held,
    log: &Log,
) {
    const TRIES: usize = 5;
    let mut at_once = 0;
    for number in 0..TRIES {
        let (consumer, batch) = with_a_batch(mock, &format!("dropped-{mode}-{number}"), mode).await;
        drop(batch);
        log.take();
        drop(consumer);
        at_once += usize::from(Held::now().threads > before.threads);
        let said = log.take();
        assert!(said.contains("WARN") && said.contains("dropped without stop()"), "{mode}: {said:?}");
        before.comes_back(&format!("a drop of {mode}")).await;
    }
    assert!(at_once > 0, "{mode}: drop waited for librdkafka's threads, {TRIES} times");
    // Nor after a stop that was not waited for. Several, because how far each has come is up to
    // librdkafka: where the group's last rebalance was not answered yet, nobody else would do it.
    let mut halves = JoinSet::new();
    for number in 0..TRIES * 2 {
        let mut consumer = start(mock, &format!("half-{mode}-{number}"), mode);
        let log = log.clone();
        halves.spawn(async move {
            let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
            assert!(!batch.is_empty(), "{mode}: records were there");
            drop(batch);
            tokio::select! {
                biased;
                report = consumer.stop(Duration::from_secs(5)) => panic!("{mode}: it has not waited: {report:?}"),
                () = std::future::ready(()) => {}
            }
            log.take();
            drop(consumer);
            let said = log.take();
            // On a busy machine librdkafka's thread may leave the group while this one waits for the
            // processor; then nothing is half done, and nothing is said.
            let warned = said.contains("WARN") && said.contains("dropped without stop()");
            assert!(warned || said.is_empty(), "{mode}: {said:?}");
            warned
        });
    }
    let warned = halves.join_all().await.into_iter().filter(|warned| *warned).count();
    assert!(warned > 0, "{mode}: no drop in the middle of a stop warned");
    before.comes_back(&format!("drops of {mode} in their stop")).await;
}
