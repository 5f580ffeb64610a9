//! What the others do, as it is right.

use std::time::Duration;

use fairpoll::{Batch, Consumer};

pub fn keep(batch: Batch) {
    let (copy, receipt) = batch.records().next().map(|record| (record.to_owned(), record.receipt())).expect("one");
    drop(batch);
    std::thread::spawn(move || println!("{} {receipt:?}", copy.offset));
}

pub async fn poll(mut consumer: Consumer) {
    let first = consumer.get_many(Duration::from_secs(1), None).await;
    let second = consumer.get_many(Duration::from_secs(1), None).await;
    drop(consumer.batches(None));
    consumer.stop(Duration::from_secs(1)).await;
    drop((first, second));
}

fn main() {}
