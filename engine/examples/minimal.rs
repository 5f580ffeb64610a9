//! The smallest loop: poll, process, commit, stop.
//!
//! ```text
//! cargo run --release -p fairpoll --example minimal -- localhost:9092 my-group orders sensor-1 sensor-2
//! ```
#![expect(clippy::print_stdout, reason = "it shows what it reads")]

use std::error::Error;
use std::time::Duration;

use fairpoll::{Config, Consumer, ModeRequest};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: minimal HOST:PORT GROUP TOPIC...";
    let (servers, group) = arguments.next().zip(arguments.next()).ok_or(usage)?;
    let config = Config::new(servers, group, arguments)
        .mode(ModeRequest::Fair)
        .property("auto.offset.reset", "earliest");
    let mut consumer = Consumer::start(config)?;
    // Ends when nothing came for five seconds; a service would go on.
    loop {
        let batch = consumer.get_many(Duration::from_secs(5), None).await?;
        for error in batch.errors() {
            println!("{error}");
        }
        if batch.is_empty() && batch.errors().is_empty() {
            break;
        }
        for partition in batch.partitions() {
            println!("{} [{}]: {} records", partition.topic(), partition.partition(), partition.len());
        }
        consumer.commit(&batch);
    }
    let report = consumer.stop(Duration::from_secs(5)).await;
    println!("committed: {}, closed: {}", report.committed, report.closed);
    Ok(())
}
