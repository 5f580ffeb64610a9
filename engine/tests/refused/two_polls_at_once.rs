//! Records that two polls took from one lane at once would have no order; in librdkafka that is
//! undefined behaviour.

use std::time::Duration;

use fairpoll::Consumer;

pub async fn both(mut consumer: Consumer) {
    let first = consumer.get_many(Duration::from_secs(1), None);
    let second = consumer.get_many(Duration::from_secs(1), None); //~ E0499
    let _ = (first.await, second.await);
}

fn main() {}
