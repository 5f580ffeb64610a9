//! Who polls has the consumer for himself.

use std::sync::Arc;
use std::time::Duration;

use fairpoll::Consumer;

pub async fn poll(consumer: Arc<Consumer>) {
    let _ = consumer.get_many(Duration::from_secs(1), None).await; //~ E0596
}

fn main() {}
