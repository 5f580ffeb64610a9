//! Topics and records to try the other examples with.
//!
//! ```text
//! cargo run --release -p fairpoll --example fill -- localhost:9092 orders=100000 sensor-1=100 sensor-2=100
//! ```
//!
//! Creates each topic where it does not exist, with two partitions, and appends so many records to it.
#![expect(clippy::print_stdout, reason = "it says what it did")]

use std::error::Error;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

const PARTITIONS: i32 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: fill HOST:PORT TOPIC=RECORDS...";
    let mut arguments = std::env::args().skip(1);
    let servers = arguments.next().ok_or(usage)?;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &servers).create()?;
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", &servers).set("linger.ms", "5").create()?;
    for argument in arguments {
        let (topic, records) = argument.split_once('=').ok_or(usage)?;
        let records: u64 = records.parse().map_err(|_| usage)?;
        let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
        for created in admin.create_topics([&new], &AdminOptions::new()).await? {
            match created {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => return Err(format!("{topic}: {code}").into()),
            }
        }
        for number in 0..records {
            let (key, value) = (format!("key-{}", number % 100), format!("{topic} record {number}"));
            let mut record = BaseRecord::to(topic).key(&key).payload(&value);
            while let Err((error, back)) = producer.send(record) {
                if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                    return Err(error.into());
                }
                record = back;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        producer.flush(Duration::from_secs(30))?;
        println!("{topic}: {records} records");
    }
    Ok(())
}
