//! A model that needs a record of every topic: it computes when its inputs are complete, and says
//! what it computes without when they are not.
//!
//! ```text
//! cargo run --release -p fairpoll --example model_inputs -- localhost:9092 my-group price weather demand
//! ```
#![expect(clippy::print_stdout, reason = "it shows what it computes")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use fairpoll::{Batch, Config, Consumer, ModeRequest};

/// The newest value of each topic, as long as its bytes.
type Inputs = BTreeMap<String, usize>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: model_inputs HOST:PORT GROUP TOPIC...";
    let (servers, group) = arguments.next().zip(arguments.next()).ok_or(usage)?;
    let config = Config::new(servers, group, arguments)
        .mode(ModeRequest::Fair)
        .property("auto.offset.reset", "earliest");
    let mut consumer = Consumer::start(config)?;
    let mut inputs = Inputs::new();
    // Ends when nothing came for five seconds; a service would go on.
    loop {
        let input = consumer.get_complete(Duration::from_secs(5)).await?;
        if input.batch.is_empty() {
            break;
        }
        // Of these the last value that is known must do.
        for missing in &input.missing {
            println!("without news of {missing}");
        }
        take_newest(&input.batch, &mut inputs);
        println!("computed from {inputs:?}");
        consumer.commit(&input.batch);
    }
    let report = consumer.stop(Duration::from_secs(5)).await;
    println!("committed: {}, closed: {}", report.committed, report.closed);
    Ok(())
}

fn take_newest(batch: &Batch, inputs: &mut Inputs) {
    for record in batch.records() {
        let bytes = record.value().map_or(0, <[u8]>::len);
        inputs.insert(record.topic().to_owned(), bytes);
    }
}
