//! Whether a load fits the embedded broker.

use std::time::Duration;

use crate::load::TopicLoad;

/// The mock cluster keeps so many bytes of stored batches per partition, and evicts silently.
const PARTITION_BYTES: u64 = 5 * 1024 * 1024;
/// And so many batches.
const PARTITION_BATCHES: u64 = 100_000;
/// A record's own fields beside its value (length, attributes, deltas, key and value lengths,
/// header count), at most so many bytes for the sizes in use here.
const RECORD_OVERHEAD: u64 = 14;
/// A batch's header. Live records travel alone or nearly so.
const BATCH_OVERHEAD: u64 = 61;

/// A topic does not fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "topic {topic}: the embedded broker keeps {limit} {unit} per partition and this scenario puts {needed} there \
     ({backlog} records of backlog and {live} live ones until the deadline, in {partitions} partitions); \
     use --broker container or --broker external, more partitions, fewer or smaller records, or a nearer deadline"
)]
pub struct FitError {
    /// The topic, by its name in the scenario.
    pub topic: String,
    /// What is short: `bytes` or `batches`.
    pub unit: &'static str,
    /// How much a partition holds.
    pub limit: u64,
    /// How much it would have to hold.
    pub needed: u64,
    /// Records before the measured consumer starts, over all partitions.
    pub backlog: u64,
    /// Records while it runs, over all partitions.
    pub live: u64,
    /// Partitions.
    pub partitions: u32,
}

/// Checks every topic.
pub(super) fn check(loads: &[TopicLoad], deadline: Duration) -> Result<(), FitError> {
    for load in loads {
        let partitions = u64::from(load.partitions);
        let before = load.backlog + load.earlier;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and rates are not negative"
        )]
        let live = (load.rate_per_s * deadline.as_secs_f64()).ceil() as u64;
        let record = u64::from(load.value_bytes) + RECORD_OVERHEAD;
        let bytes =
            before.div_ceil(partitions) * record + live.div_ceil(partitions) * (record + BATCH_OVERHEAD);
        let batches = live.div_ceil(partitions);
        for (unit, needed, limit) in
            [("bytes", bytes, PARTITION_BYTES), ("batches", batches, PARTITION_BATCHES)]
        {
            if needed > limit {
                return Err(FitError {
                    topic: load.name.clone(),
                    unit,
                    limit,
                    needed,
                    backlog: before,
                    live,
                    partitions: load.partitions,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(backlog: u64, rate_per_s: f64) -> TopicLoad {
        TopicLoad {
            open: 1,
            name: "orders".to_owned(),
            kafka_name: "p-orders".to_owned(),
            index: 0,
            partitions: 4,
            value_bytes: 32,
            random_bytes: 0,
            rate_per_s,
            backlog,
            earlier: 0,
        }
    }

    #[test]
    fn the_headline_scenario_fits() {
        assert_eq!(check(&[load(320_000, 0.0)], Duration::from_secs(60)), Ok(()));
    }

    #[test]
    fn a_deep_backlog_is_refused_with_its_numbers() {
        let error = check(&[load(4_000_000, 0.0)], Duration::from_secs(60)).unwrap_err();
        assert_eq!((error.unit, error.needed), ("bytes", 1_000_000 * 46));
        let message = error.to_string();
        assert!(message.contains("use --broker container or --broker external"), "{message}");
    }

    #[test]
    fn a_fast_topic_is_refused_for_its_batches() {
        let error = check(&[load(0, 50_000.0)], Duration::from_secs(60)).unwrap_err();
        assert_eq!(error.live, 3_000_000);
    }
}
