//! Lanes that ran dry though their topics hold more: looked at before a poll returns.

use fairpoll_core::{LaneIndex, PartitionIndex, Timestamp, Wakeup};

use super::Consumer;

impl Consumer {
    /// Whether this poll should wait a moment for lanes whose records are still on their way, and
    /// until when at most.
    ///
    /// What it costs where nobody waits: a queue's length for each lane that delivered to the last
    /// poll, and for each of those that is empty now, its partitions' cached watermarks.
    pub(super) fn waits_for_refill(&mut self, now: Timestamp) -> Option<Wakeup> {
        let looked_at: Vec<LaneIndex> = self.refill.to_look_at().collect();
        for index in looked_at {
            let lane = index.position();
            // A control operation in the queue counts here too; it only cuts a wait short.
            if self.lanes[lane].queued() > 0 {
                self.refill.holds_records(index);
            } else if self.is_behind(lane) {
                self.refill.is_due(index);
            } else {
                self.refill.is_idle(index);
            }
        }
        let ready = self.refill.is_anybody_due() && self.lanes.iter().any(|lane| lane.queued() > 0);
        self.refill.waiting(now, ready)
    }

    /// Whether some partition of the lane holds records beyond what was delivered, as far as its last
    /// fetch told, and nothing is known to keep them there.
    fn is_behind(&self, lane: usize) -> bool {
        let topics = &self.topology.lanes[lane].topics;
        topics.iter().filter(|&&topic| !self.paused[topic] && self.failure_code(topic).is_none()).any(
            |&topic| {
                let partitions = self.partitions.by_topic[topic].iter().flatten();
                partitions.copied().any(|index| self.is_partition_behind(index))
            },
        )
    }

    fn is_partition_behind(&self, index: PartitionIndex) -> bool {
        let owned = self.partitions.get(index).generation.is_some();
        let position = || self.offsets.position(index).or(self.partitions.get(index).reads_from);
        owned && position().is_some_and(|position| self.cached_end(index).is_some_and(|end| position < end))
    }
}
