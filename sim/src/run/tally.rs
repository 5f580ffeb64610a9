//! What is still to come: the runner's own count, which decides when to go on. It judges nothing.

use std::collections::{BTreeMap, BTreeSet};

use fairpoll_judge::protocol::{DeliveredRange, TopicPartition};

/// How far each partition was delivered, over all lives of a mode's consumer.
///
/// Called by the run alone. [`Tally::expect`] raises a partition's target and may be repeated;
/// [`Tally::assigned`], [`Tally::revoked`] and [`Tally::delivered`] follow the worker's lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    partitions: BTreeMap<TopicPartition, Progress>,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    /// One past the last offset that was delivered.
    position: i64,
    /// One past the last offset that was produced.
    target: i64,
    /// The processes that say they own it. Two at a time: one of them has lost it and does not
    /// know yet.
    owners: BTreeSet<u32>,
    /// False where the scenario makes the topic fail for good: nobody waits for it.
    deliverable: bool,
}

impl Tally {
    /// Adds a topic's partitions, nothing produced and nothing delivered.
    pub(crate) fn add_topic(&mut self, topic: &str, partitions: u32, deliverable: bool) {
        for partition in 0..partitions {
            let key = TopicPartition { topic: topic.to_owned(), partition };
            self.partitions.insert(key, Progress { deliverable, ..Progress::default() });
        }
    }

    /// Offsets below `target` exist and are to be delivered; also of a partition that came into
    /// being in mid-run.
    pub(crate) fn expect(&mut self, topic: &str, partition: u32, target: i64) {
        let key = TopicPartition { topic: topic.to_owned(), partition };
        let late = || Progress { deliverable: true, ..Progress::default() };
        let progress = self.partitions.entry(key).or_insert_with(late);
        progress.target = progress.target.max(target);
    }

    /// A topic is gone: nobody waits for what it still held.
    pub(crate) fn give_up(&mut self, topic: &str) {
        let its = self.partitions.iter_mut().filter(|(key, _)| key.topic == topic);
        its.for_each(|(_, progress)| progress.deliverable = false);
    }

    /// A process is gone, and owns nothing any more.
    pub(crate) fn gone(&mut self, life: u32) {
        self.partitions.values_mut().for_each(|progress| {
            progress.owners.remove(&life);
        });
    }

    /// A process was given partitions.
    pub(crate) fn assigned(&mut self, life: u32, partitions: &[TopicPartition]) {
        for key in partitions {
            let late = || Progress { deliverable: true, ..Progress::default() };
            self.partitions.entry(key.clone()).or_insert_with(late).owners.insert(life);
        }
    }

    /// A process lost partitions.
    pub(crate) fn revoked(&mut self, life: u32, partitions: &[TopicPartition]) {
        for key in partitions {
            if let Some(progress) = self.partitions.get_mut(key) {
                progress.owners.remove(&life);
            }
        }
    }

    /// The worker delivered records.
    pub(crate) fn delivered(&mut self, range: &DeliveredRange) {
        if let Some(progress) = self.find(&range.topic, range.partition) {
            progress.position = progress.position.max(range.last.saturating_add(1));
        }
    }

    /// Every partition belongs to somebody.
    pub(crate) fn all_assigned(&self) -> bool {
        self.partitions.values().all(|progress| !progress.owners.is_empty())
    }

    /// Everything that can be delivered was.
    pub(crate) fn all_delivered(&self) -> bool {
        self.waited_for().all(|(_, progress)| progress.position >= progress.target)
    }

    /// Records delivered and records to deliver, where delivery is possible.
    pub(crate) fn records(&self) -> (u64, u64) {
        self.waited_for().fold((0, 0), |(done, all), (_, progress)| {
            let target = progress.target.max(0).unsigned_abs();
            (done + progress.position.clamp(0, progress.target.max(0)).unsigned_abs(), all + target)
        })
    }

    /// What a run waits for, in words: the partitions that are farthest behind.
    pub(crate) fn missing(&self) -> String {
        let unowned = self.partitions.values().filter(|progress| progress.owners.is_empty()).count();
        let mut behind: Vec<(i64, &TopicPartition)> = self
            .waited_for()
            .map(|(key, progress)| (progress.target - progress.position, key))
            .filter(|(records, _)| *records > 0)
            .collect();
        behind.sort_by(|left, right| right.cmp(left));
        let total: i64 = behind.iter().map(|(records, _)| records).sum();
        let shown: Vec<String> = behind
            .iter()
            .take(3)
            .map(|(records, key)| format!("{records} of {} partition {}", key.topic, key.partition))
            .collect();
        match (unowned, shown.is_empty()) {
            (0, true) => "nothing was missing".to_owned(),
            (0, false) => format!("{total} records were undelivered, the most {}", shown.join(", ")),
            (_, true) => format!("{unowned} partitions were not assigned"),
            (_, false) => {
                format!(
                    "{unowned} partitions were not assigned and {total} records undelivered, the most {}",
                    shown.join(", ")
                )
            }
        }
    }

    fn waited_for(&self) -> impl Iterator<Item = (&TopicPartition, &Progress)> {
        self.partitions.iter().filter(|(_, progress)| progress.deliverable)
    }

    fn find(&mut self, topic: &str, partition: u32) -> Option<&mut Progress> {
        self.partitions.get_mut(&TopicPartition { topic: topic.to_owned(), partition })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(topic: &str, partition: u32, first: i64, last: i64) -> DeliveredRange {
        let count = (last - first + 1).unsigned_abs();
        DeliveredRange { topic: topic.to_owned(), partition, first, last, count, id_sum: 0 }
    }

    fn partition(topic: &str, partition: u32) -> TopicPartition {
        TopicPartition { topic: topic.to_owned(), partition }
    }

    #[test]
    fn a_run_is_done_when_every_partition_reached_its_target() {
        let mut tally = Tally::default();
        tally.add_topic("a", 2, true);
        tally.expect("a", 0, 10);
        tally.expect("a", 1, 5);
        tally.delivered(&range("a", 0, 0, 9));
        assert!(!tally.all_delivered());
        assert_eq!(tally.records(), (10, 15));
        assert!(tally.missing().contains("5 of a partition 1"), "{}", tally.missing());
        tally.delivered(&range("a", 1, 0, 4));
        assert!(tally.all_delivered());
        tally.expect("a", 1, 6);
        assert!(!tally.all_delivered(), "live production raises the target");
    }

    #[test]
    fn nobody_waits_for_a_topic_that_fails_for_good() {
        let mut tally = Tally::default();
        tally.add_topic("dead", 1, false);
        tally.expect("dead", 0, 100);
        assert!(tally.all_delivered());
        assert_eq!(tally.records(), (0, 0));
    }

    #[test]
    fn partitions_that_come_later_are_waited_for_and_those_of_a_deleted_topic_are_not() {
        let mut tally = Tally::default();
        tally.add_topic("a", 1, true);
        tally.assigned(1, &[partition("a", 1)]);
        tally.expect("a", 1, 5);
        assert!(!tally.all_delivered());
        tally.delivered(&range("a", 1, 0, 4));
        assert!(tally.all_delivered());
        tally.expect("a", 0, 3);
        assert!(!tally.all_delivered());
        tally.give_up("a");
        assert!(tally.all_delivered());
    }

    #[test]
    fn a_new_life_owns_nothing_but_what_was_delivered_stays_delivered() {
        let mut tally = Tally::default();
        tally.add_topic("a", 1, true);
        tally.expect("a", 0, 10);
        tally.assigned(1, &[partition("a", 0)]);
        tally.delivered(&range("a", 0, 0, 9));
        assert!(tally.all_assigned());
        tally.gone(1);
        assert!(!tally.all_assigned());
        assert!(tally.all_delivered());
    }

    #[test]
    fn a_revoked_partition_is_no_longer_assigned() {
        let mut tally = Tally::default();
        tally.add_topic("a", 2, true);
        tally.assigned(1, &[partition("a", 0), partition("a", 1)]);
        tally.revoked(1, &[partition("a", 1)]);
        assert!(!tally.all_assigned());
        assert!(tally.missing().contains("1 partitions were not assigned"));
    }
}
