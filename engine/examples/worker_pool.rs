//! At least once, with a pool of workers that finish in any order.
//!
//! ```text
//! cargo run --release -p fairpoll --example worker_pool -- localhost:9092 my-group orders sensor-1
//! ```
//!
//! Records are copied to the workers, because a batch that is kept keeps its fetch buffers. Each
//! worker sends back the receipt of what it has done, and the consumer commits each partition up to
//! its first record that is not done: after a crash nothing is skipped, and what was done beyond such
//! a record comes again. The queue to the workers is bounded, so a slow pool slows the polls down.
#![expect(clippy::print_stdout, reason = "it shows what it does")]

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use fairpoll::{Config, Consumer, ModeRequest, OwnedRecord, Receipt};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, interval};

const WORKERS: usize = 4;
const QUEUE: usize = 1_000;
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// A service would go on.
const IDLE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: worker_pool HOST:PORT GROUP TOPIC...";
    let (servers, group) = arguments.next().zip(arguments.next()).ok_or(usage)?;
    let config = Config::new(servers, group, arguments)
        .mode(ModeRequest::Fair)
        .property("auto.offset.reset", "earliest");
    let mut consumer = Consumer::start(config)?;

    let (work, queue) = mpsc::channel::<OwnedRecord>(QUEUE);
    let (done, mut receipts) = mpsc::unbounded_channel::<Receipt>();
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..WORKERS {
        let (queue, done) = (Arc::clone(&queue), done.clone());
        tokio::spawn(async move {
            loop {
                let record = queue.lock().await.recv().await;
                let Some(record) = record else { break };
                process(&record).await;
                if done.send(record.receipt).is_err() {
                    break;
                }
            }
        });
    }
    // Theirs alone: when the workers are gone, nobody waits for them.
    drop((done, queue));

    let mut ready: VecDeque<OwnedRecord> = VecDeque::new();
    let mut commit = interval(COMMIT_EVERY);
    let (mut delivered, mut finished) = (0_u64, 0_u64);
    let mut last = Instant::now();
    while last.elapsed() < IDLE {
        tokio::select! {
            // Dropping this future when another branch is first loses no record.
            batch = consumer.get_many(IDLE, Some(500)), if ready.is_empty() => {
                let batch = batch?;
                ready.extend(batch.records().map(|record| record.to_owned()));
                delivered += batch.len() as u64;
                last = Instant::now();
            }
            permit = work.reserve(), if !ready.is_empty() => {
                let (permit, record) = (permit?, ready.pop_front().expect("looked at above"));
                permit.send(record);
            }
            Some(receipt) = receipts.recv() => {
                consumer.ack(receipt);
                finished += 1;
                last = Instant::now();
            }
            _ = commit.tick() => consumer.commit_processed(),
        }
    }
    // No more work: the workers finish what they have, and say so.
    drop(work);
    while let Some(receipt) = receipts.recv().await {
        consumer.ack(receipt);
        finished += 1;
    }
    let report = consumer.stop(Duration::from_secs(5)).await;
    println!("{delivered} delivered, {finished} finished, committed: {}", report.committed);
    Ok(())
}

async fn process(record: &OwnedRecord) {
    // Work that waits for something, of different lengths.
    let bytes = record.value.as_deref().unwrap_or_default();
    let micros = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    tokio::time::sleep(Duration::from_micros(micros.into())).await;
}
