//! Lanes that ran dry though their topics hold more: looked at before a poll returns.

use fairpoll_core::refill::Verdict;
use fairpoll_core::{LaneIndex, PartitionIndex, Ready, Timestamp};

use super::Consumer;

impl Consumer {
    /// Whether this poll should wait a moment for lanes whose records are still on their way.
    ///
    /// What it costs where nobody waits: a queue's length for each lane that delivered since it was looked at,
    /// and the cached watermark of each partition that delivered once its lane is empty.
    pub(super) fn waits_for_refill(&mut self, now: Timestamp) -> Verdict {
        let looked_at: Vec<LaneIndex> = self.refill.to_look_at().collect();
        for lane in looked_at {
            // A control operation in the queue counts here too. It only cuts a wait short: what was
            // promised is judged by offsets.
            if self.lanes[lane.position()].queued() > 0 {
                self.refill.has_records(lane);
                continue;
            }
            let (partitions, health, paused) = (&self.partitions, &self.health, &self.paused);
            let works = |index: PartitionIndex| {
                let partition = partitions.get(index);
                partition.generation.is_some()
                    && !paused[partition.topic]
                    && !health.fails(index, partition.topic)
            };
            for index in self.refill.ran_dry(lane, works) {
                // The low end as well: retention may have emptied what a position still points to.
                let position = self.offsets.position(index);
                if let Some((position, (low, end))) = position.zip(self.watermarks(index)) {
                    self.refill.looked_at(lane, index, position.max(low), end);
                }
            }
        }
        self.held.clear();
        if self.refill.is_anybody_due() {
            let lanes = self.lanes.iter().zip(&self.topology.lanes);
            let held = lanes.map(|(lane, plan)| match lane.queued() {
                0 => Ready::Nothing,
                _ if plan.topics.iter().all(|&topic| self.paused[topic]) => Ready::Nothing,
                queued if queued >= self.plenty => Ready::Plenty,
                _ => Ready::Records,
            });
            self.held.extend(held);
        }
        self.refill.verdict(now, &self.held)
    }
}
