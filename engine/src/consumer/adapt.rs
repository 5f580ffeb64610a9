//! Quotas that follow lag, from what the client knows anyway: no request is sent.

use std::time::Instant;

use fairpoll_core::quota::OBSERVE_EVERY;
use fairpoll_core::{Lag, LagProportional, LaneIndex, Timestamp};

use super::Consumer;

/// The machine and when it looked last.
#[derive(Debug)]
pub(super) struct Adapting {
    quotas: LagProportional,
    looked: Option<Instant>,
}

impl Adapting {
    pub(super) fn new(quotas: LagProportional) -> Self {
        Self { quotas, looked: None }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.looked.is_none_or(|looked| now.duration_since(looked) >= OBSERVE_EVERY)
    }
}

impl Consumer {
    /// Looks at the lags when it is time, and hands new quotas to the poll machine. Between polls.
    pub(super) fn adapt_quotas(&mut self, now: Instant) {
        if !self.adapting.as_ref().is_some_and(|adapting| adapting.is_due(now)) {
            return;
        }
        let at = self.timestamp(now);
        let lags: Vec<Option<Lag>> = (0..self.lanes.len()).map(|lane| self.lane_lag(at, lane)).collect();
        let Some(adapting) = self.adapting.as_mut().filter(|_| !lags.is_empty()) else { return };
        adapting.looked = Some(now);
        if adapting.quotas.observe(at, &lags) {
            for lane in (0..self.lanes.len()).map(LaneIndex::from_position) {
                self.poll.set_quantum(lane, adapting.quotas.quota(lane));
            }
        }
    }

    /// The lag of a lane's partitions, as far as it is known, and as old as the oldest. Unknown where it is
    /// of none.
    fn lane_lag(&self, now: Timestamp, lane: usize) -> Option<Lag> {
        let of_lane = self.partitions.assigned().filter(|(_, partition)| partition.lane == lane);
        of_lane.filter_map(|(index, _)| self.cached_lag(index).processing(now).ok()).reduce(|one, other| {
            Lag {
                records: one.records.saturating_add(other.records),
                // One that is behind makes the sum as old as it is; the others' ends may be of any age.
                age: match (one.records, other.records) {
                    (_, 0) => one.age,
                    (0, _) => other.age,
                    _ => one.age.max(other.age),
                },
            }
        })
    }

    /// Records that the lane may have of a poll now.
    pub(super) fn quantum(&self, lane: usize) -> u32 {
        match &self.adapting {
            Some(adapting) => adapting.quotas.quota(LaneIndex::from_position(lane)).get(),
            None => self.topology.shares[lane].quantum(),
        }
    }
}
