//! Lag as the brokers know it, not as the client remembers it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairpoll_core::{Committed, PartitionIndex, PartitionLag, Sample, Timestamp};
use tokio::task;

use crate::error::LagError;
use crate::ffi::{Client, Failure, LogEnds, OffsetEntry, PartitionEntry};

use super::Consumer;

/// Topic → lag of each assigned partition.
pub type LagByTopic = BTreeMap<String, BTreeMap<i32, PartitionLag>>;

/// What one handle found out.
struct Answers {
    committed: Vec<OffsetEntry>,
    committed_at: Timestamp,
    ends: Vec<LogEnds>,
    ends_at: Timestamp,
}

impl Consumer {
    /// Lag of every assigned partition, asked of the brokers: committed offsets first, then where the
    /// logs begin and end, so that a commit in between does not make the lag too small. Per handle
    /// one request to the coordinator and two to each leader, all handles at once; each waits at most
    /// `timeout`. [`lag_info`](Self::lag_info) costs nothing, and is as old as the last fetch.
    ///
    /// A partition whose leader refused has no end in the answer.
    ///
    /// # Errors
    /// If the consumer is stopped, or a coordinator or all leaders of a handle did not answer.
    pub async fn exact_lag(&self, timeout: Duration) -> Result<LagByTopic, LagError> {
        if self.stopping.begun {
            return Err(LagError::Stopped);
        }
        let mut asked = Vec::new();
        for (number, handle) in self.handles.iter().enumerate() {
            let Some(client) = handle.client.clone() else { continue };
            let (indexes, entries): (Vec<PartitionIndex>, Vec<PartitionEntry>) = self
                .partitions
                .assigned()
                .filter(|(_, partition)| partition.handle == number)
                .map(|(index, partition)| (index, partition.entry.clone()))
                .unzip();
            if entries.is_empty() {
                continue;
            }
            let epoch = self.epoch;
            let now = move || super::since(epoch);
            let task = task::spawn_blocking(move || ask(&client, &entries, timeout, &now));
            asked.push((number, indexes, task));
        }
        let mut all = LagByTopic::new();
        for (handle, indexes, task) in asked {
            let not_answered =
                |what: String| LagError::NotAnswered { topics: self.topic_names(handle), what };
            let answers = task
                .await
                .map_err(|error| not_answered(error.to_string()))?
                .map_err(|failure| not_answered(format!("{} ({})", failure.message, failure.code)))?;
            for index in indexes {
                let partition = self.partitions.get(index);
                let position = self.offsets.position(index);
                let lag = answers.lag(&partition.entry, position);
                let topic = self.topics[partition.topic].to_string();
                all.entry(topic).or_default().insert(partition.entry.partition, lag);
            }
        }
        Ok(all)
    }
}

/// On a thread that may block.
fn ask(
    client: &Arc<Client>,
    entries: &[PartitionEntry],
    timeout: Duration,
    now: &dyn Fn() -> Timestamp,
) -> Result<Answers, Failure> {
    let committed = client.committed(entries, timeout)?;
    let committed_at = now();
    let ends = client.log_ends(entries, timeout)?;
    Ok(Answers { committed, committed_at, ends, ends_at: now() })
}

impl Answers {
    fn lag(&self, entry: &PartitionEntry, position: Option<i64>) -> PartitionLag {
        let of = |other: &&OffsetEntry| other.partition == entry.partition && other.topic == entry.topic;
        let committed = match self.committed.iter().find(of).filter(|answer| answer.error.is_none()) {
            None => Committed::NotAsked,
            Some(answer) if answer.offset < 0 => Committed::Absent { at: self.committed_at },
            Some(answer) => Committed::At(Sample { offset: answer.offset, at: self.committed_at }),
        };
        let ends = self.ends.iter().find(|ends| ends.entry == *entry);
        let sample = |offset: &Result<i64, Failure>| {
            let offset = *offset.as_ref().ok()?;
            (offset >= 0).then_some(Sample { offset, at: self.ends_at })
        };
        PartitionLag {
            log_start: ends.and_then(|ends| sample(&ends.start)),
            end: ends.and_then(|ends| sample(&ends.end)),
            position: position.map(|offset| Sample { offset, at: self.ends_at }),
            committed,
        }
    }
}
