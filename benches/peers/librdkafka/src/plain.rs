//! rust-rdkafka's `BaseConsumer`, polled record by record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fairpoll_judge::protocol::{TopicPartition, WorkerSpec};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList};

use crate::course::{Course, Ranges, Which};
use crate::{Peer, PeerError};

/// How long the answers to the last commits are awaited.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

struct Context(Arc<Course>);

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(format!("{error}: {reason}"), false);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            let lost = consumer.assignment_lost();
            if !lost && let Err(error) = commit(consumer, &self.0, CommitMode::Sync) {
                self.0.error(error.to_string(), false);
            }
            self.0.revoked(named(partitions), lost);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => self.0.assigned(named(partitions)),
            Rebalance::Error(error) => self.0.error(error.to_string(), false),
            Rebalance::Revoke(_) => {}
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        self.0.commit_result(Which::Oldest, result.err().map(|error| error.to_string()));
    }
}

fn named(partitions: &TopicPartitionList) -> Vec<TopicPartition> {
    let name = |(topic, partition): &(String, i32)| TopicPartition {
        topic: topic.clone(),
        partition: partition.unsigned_abs(),
    };
    partitions.to_topic_map().keys().map(name).collect()
}

fn commit(consumer: &BaseConsumer<Context>, course: &Course, how: CommitMode) -> Result<(), PeerError> {
    let Some(ends) = course.commit_sent()? else { return Ok(()) };
    let mut offsets = TopicPartitionList::with_capacity(ends.len());
    for (place, offset) in &ends {
        offsets.add_partition_offset(&place.topic, place.partition.cast_signed(), Offset::Offset(*offset))?;
    }
    let sent = consumer.commit(&offsets, how);
    if matches!(how, CommitMode::Sync) || sent.is_err() {
        course.commit_result(Which::Last, sent.err().map(|error| error.to_string()));
    }
    Ok(())
}

/// A consumer of all topics.
pub(crate) struct Plain {
    consumer: BaseConsumer<Context>,
    course: Arc<Course>,
    /// The topic of the record before.
    topic: String,
}

impl Plain {
    pub(crate) fn start(
        spec: &WorkerSpec,
        config: &ClientConfig,
        course: &Arc<Course>,
    ) -> Result<Self, PeerError> {
        let consumer: BaseConsumer<Context> = config.create_with_context(Context(Arc::clone(course)))?;
        let topics: Vec<&str> = spec.topics.iter().map(|topic| topic.name.as_str()).collect();
        consumer.subscribe(&topics)?;
        Ok(Self { consumer, course: Arc::clone(course), topic: String::new() })
    }
}

impl Peer for Plain {
    fn poll(&mut self, most: usize, wait: Duration, into: &mut Ranges) -> Result<(), PeerError> {
        let mut wait = wait;
        while into.records() < most {
            match self.consumer.poll(wait) {
                None => break,
                Some(Err(error)) => self.course.error(error.to_string(), false),
                Some(Ok(record)) => {
                    let goes_on = into.records() > 0 && record.topic() == self.topic;
                    if !goes_on {
                        record.topic().clone_into(&mut self.topic);
                    }
                    let value = record.payload().unwrap_or_default();
                    into.push(goes_on, || self.topic.clone(), record.partition(), record.offset(), value);
                }
            }
            // Whatever else is there belongs to this poll; nothing is waited for.
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), PeerError> {
        commit(&self.consumer, &self.course, CommitMode::Async)
    }

    fn close(self: Box<Self>) -> Result<(), PeerError> {
        let until = Instant::now() + LAST_ANSWERS;
        commit(&self.consumer, &self.course, CommitMode::Sync)?;
        // Answers come by polling; records that come with them are not processed, hence not committed.
        while !self.course.all_answered() && Instant::now() < until {
            let _ = self.consumer.poll(Duration::from_millis(10));
        }
        self.consumer.unsubscribe();
        Ok(())
    }
}
