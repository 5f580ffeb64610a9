//! What a consumer shows of itself.

use std::collections::BTreeMap;

use fairpoll_core::{Committed, PartitionIndex, PartitionLag, Sample};

use crate::status::{ConsumerInfo, Status};

use super::Consumer;

impl Consumer {
    /// Requested and actual mode and why, and the size of what was built.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            resolution: self.topology.resolution,
            topics: self.topics.iter().map(ToString::to_string).collect(),
            handles: self.handles.len(),
            lanes: self.lanes.len(),
            assigned_partitions: self.partitions.assigned().count(),
            joining_handles: self.handles.iter().filter(|handle| handle.is_joining()).count(),
            outstanding_batches: self.batches.get(),
            degradations: self.degrading.steps(),
            strays: self.strays,
            failing: self.failing(),
            refused_commits: self.refused_commits(),
        }
    }

    /// Topic → its consumer, for diagnosis. In `single` and `fair` all topics share one.
    #[must_use]
    pub fn consumers(&self) -> BTreeMap<String, ConsumerInfo> {
        let mut all = BTreeMap::new();
        for (index, handle) in self.handles.iter().enumerate() {
            for &topic in &handle.plan.topics {
                let mut partitions: Vec<i32> = self
                    .partitions
                    .assigned()
                    .filter(|(_, partition)| partition.topic == topic)
                    .map(|(_, partition)| partition.entry.partition)
                    .collect();
                partitions.sort_unstable();
                let lane = self.topology.lanes.iter().position(|lane| lane.topics.contains(&topic));
                let queued = lane.and_then(|lane| self.lanes.get(lane)).map_or(0, |lane| lane.queued());
                let info = ConsumerInfo {
                    handle: index,
                    client_id: handle.plan.client_id.clone(),
                    group_id: handle.plan.group_id.clone(),
                    partitions,
                    queued,
                    quota: lane.map_or(0, |lane| self.quantum(lane)),
                };
                all.insert(self.topics[topic].to_string(), info);
            }
        }
        all
    }

    /// Topic → lag of each assigned partition, from the client's cache: no request is sent. The
    /// cached end is as old as the partition's last fetch, and a starving partition is not fetched.
    #[must_use]
    pub fn lag_info(&self) -> BTreeMap<String, BTreeMap<i32, PartitionLag>> {
        let mut all: BTreeMap<String, BTreeMap<i32, PartitionLag>> = BTreeMap::new();
        for (index, partition) in self.partitions.assigned() {
            let lag = self.cached_lag(index);
            let topic = self.topics[partition.topic].to_string();
            all.entry(topic).or_default().insert(partition.entry.partition, lag);
        }
        all
    }

    pub(super) fn cached_lag(&self, index: PartitionIndex) -> PartitionLag {
        let partition = self.partitions.get(index);
        let client = self.handles[partition.handle].client.as_ref();
        let watermarks = client.and_then(|client| client.cached_watermarks(&partition.entry));
        let now = self.now();
        let cached = |offset| Sample { offset, at: partition.fetched_at };
        let sample = |offset| Sample { offset, at: now };
        PartitionLag {
            log_start: watermarks.map(|(start, _)| cached(start)),
            end: watermarks.map(|(_, end)| cached(end)),
            position: self.offsets.position(index).map(sample),
            committed: match self.offsets.last_committed(index) {
                Some(offset) => Committed::At(sample(offset)),
                None => Committed::NotAsked,
            },
        }
    }
}
