//! Kafka consumers that never starve a topic.
//!
//! One [`Consumer`] reads many topics with a quota for each, in one of three modes behind the same
//! API:
//!
//! | mode | Kafka clients | queues | what it is |
//! |---|---|---|---|
//! | `single` | 1 | 1 | today's consumer: one cap on the total of a poll, prefetched data first in, first out |
//! | `multi` | one per topic | one per topic | one consumer per topic, its own quota, failure and offsets |
//! | `fair` | 1 | one per topic | multi's fairness at single's price |
//!
//! ```no_run
//! use std::time::Duration;
//! use fairpoll::{Config, Consumer, ModeRequest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("localhost:9092", "my-service", ["orders", "sensor-1", "sensor-2"])
//!     .mode(ModeRequest::Fair)
//!     .max_poll_records(500);
//! let mut consumer = Consumer::start(config)?;
//! for _ in 0..1_000 {
//!     let batch = consumer.get_many(Duration::from_secs(1), None).await?;
//!     for record in batch.records() {
//!         println!("{} [{}] {}", record.topic(), record.partition(), record.offset());
//!     }
//!     consumer.commit(&batch);
//! }
//! let report = consumer.stop(Duration::from_secs(5)).await;
//! assert!(report.committed);
//! # Ok(())
//! # }
//! ```
//!
//! A poll takes from every topic that has records and returns at once: an idle topic adds no
//! waiting. A topic that fails is reported in [`Batch::errors`] once, and stands in [`Status::failing`]
//! until it works again, while all others go on.
//!
//! A program that needs a record of *each* topic before it can compute polls with
//! [`Consumer::get_complete`]. Where topics should not be equal they have a [weight](Config::weight), under
//! a cap of the whole poll a [priority](Config::priority) that starves nobody, or quotas that
//! [follow their lag](Quota::LagProportional).
//!
//! What is not configured follows from the number of topics; [`Config::explain`] says what a
//! configuration comes to. With the feature `files` it is read from YAML, JSON or TOML, and the
//! arguments of aiokafka's consumer are understood. A program that changes its group ids takes its
//! positions along with [`migration::Migration`].
#![warn(missing_docs)]

mod batch;
mod cgroup;
mod config;
mod consumer;
mod cost;
mod error;
mod event;
mod explain;
mod ffi;
#[cfg(feature = "files")]
pub mod files;
mod machine;
mod memory;
pub mod metrics;
pub mod migration;
mod remedy;
pub mod secrets;
mod status;
#[cfg(feature = "files")]
pub mod suggest;
mod topology;
pub mod traces;

pub use batch::{
    Batch, CompleteBatch, LaneError, MissingReason, MissingTopic, OwnedRecord, PartitionRecords, Receipt,
    Record, Records,
};
pub use config::{Config, GroupStrategy, ModeRequest, Origin, Quota, UnknownGroupStrategy};
pub use consumer::{Consumer, LagByTopic, SeekTo};
pub use cost::Cost;
pub use error::{LagError, PollError, SeekError, StartError, UnknownTopic};
pub use event::ConsumerEvent;
pub use explain::{Explanation, HandleExplanation, Setting, TopicShare};
pub use fairpoll_core::mode::Resource;
pub use fairpoll_core::{
    Committed, Lag, LagUnknown, Mode, ModeReason, PartitionLag, Resolution, Sample, Timestamp,
};
pub use ffi::librdkafka_version;
pub use memory::FetchBuffer;
pub use status::{ConsumerInfo, Failing, RefusedCommit, Status, StopReport};
pub use topology::own_group_id;
