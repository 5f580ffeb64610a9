//! Load: the producer's side of a scenario, and looks at what the broker holds.
//!
//! Every record carries an id in the first eight bytes of its value: ids of a partition are
//! consecutive and no two records of a run share one, so that a range of deliveries can be checked
//! against a sum.

mod acks;
mod live;
mod look;
mod patience;
mod producer;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::live::LiveLoad;
pub use self::look::{BrokerOffsets, broker_offsets, verify_backlog};
pub use self::producer::{Batches, Producer};

/// A broker that neither acknowledges nor delivers a record for so long is given up. One that loses
/// its node and elects another pauses for some 10 s.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// What is produced to one topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicLoad {
    /// Its name in the scenario.
    pub name: String,
    /// Its name on the broker.
    pub kafka_name: String,
    /// Its place in the scenario; part of its records' ids.
    pub index: u16,
    /// Partitions that it ever has.
    pub partitions: u32,
    /// Those that it has now, the first ones; 0 where it does not exist yet, or no longer.
    pub open: u32,
    /// Size of a value, bytes.
    pub value_bytes: u32,
    /// How many of them, behind the id, do not compress.
    pub random_bytes: u32,
    /// Records per second while the run lasts, over all partitions.
    pub rate_per_s: f64,
    /// Records on the broker before the measured consumer starts, over all partitions.
    pub backlog: u64,
    /// Records for an earlier life of the consumer, over all partitions.
    pub earlier: u64,
}

/// One past the last produced offset, by topic (its name in the scenario) and partition.
pub type Totals = BTreeMap<(String, u32), i64>;

/// Why load could not be produced or read back.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The client could not be made.
    #[error("no client for the broker: {0}")]
    Client(String),
    /// The broker refused records, or did not acknowledge them in time.
    #[error("producing to {topic} failed: {reason}")]
    Produce {
        /// Topic, by its name in the scenario.
        topic: String,
        /// The client's words.
        reason: String,
    },
    /// What was acknowledged is not what can be read.
    #[error("the backlog of {topic} [{partition}] cannot be read back: {found} of {expected} records {what}")]
    ReadBack {
        /// Topic, by its name in the scenario.
        topic: String,
        /// Partition.
        partition: u32,
        /// Records that were read.
        found: u64,
        /// Records that were acknowledged.
        expected: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The broker did not tell offsets.
    #[error("the broker does not tell its offsets: {0}")]
    Offsets(String),
}

/// The id of a partition's first record; the others follow one by one.
pub(crate) fn first_id(topic: u16, partition: u32) -> u64 {
    (u64::from(topic) + 1) << 48 | u64::from(partition) << 32
}

/// The partitions of a topic that were made, or taken away, by a fault: where they stand among all
/// partitions of all topics, as the producer numbers them.
fn slots_of(loads: &[TopicLoad], topic: &str, partitions: std::ops::Range<u32>) -> Vec<usize> {
    let mut before = 0;
    for load in loads {
        if load.name == topic {
            return partitions.map(|partition| before + partition as usize).collect();
        }
        before += load.partitions as usize;
    }
    Vec::new()
}

/// Time between two live records of each of so many partitions, ns; 0: there are none.
pub(crate) fn interval_ns(rate_per_s: f64, partitions: u32) -> u64 {
    if rate_per_s > 0.0 { (f64::from(partitions) / rate_per_s * 1e9) as u64 } else { 0 }
}

/// Records of a topic that go to a partition, dealt round robin.
pub(crate) fn share(records: u64, partitions: u32, partition: u32) -> u64 {
    let (each, rest) = (records / u64::from(partitions), records % u64::from(partitions));
    each + u64::from(u64::from(partition) < rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for records in [0, 1, 7, 320_001] {
            assert_eq!((0..4).map(|partition| share(records, 4, partition)).sum::<u64>(), records);
        }
    }

    #[test]
    fn ids_of_neighbouring_partitions_do_not_meet() {
        assert_eq!(first_id(0, 1) - first_id(0, 0), 1 << 32);
        assert!(first_id(1, 0) > first_id(0, u32::from(u16::MAX)) + u64::from(u32::MAX));
    }
}
