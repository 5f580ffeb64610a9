//! The stream is dropped first: only then is its last batch known to be unprocessed.

use std::time::Duration;

use fairpoll::Consumer;

pub async fn read(mut consumer: Consumer) {
    let batches = consumer.batches(None);
    consumer.stop(Duration::from_secs(1)).await; //~ E0499
    drop(batches);
}

fn main() {}
