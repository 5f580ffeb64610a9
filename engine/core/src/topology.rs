//! What a mode is made of: handles, lanes, and which topic goes where.

use std::num::NonZeroU32;

use crate::lane::{LaneConfig, LaneIndex};
use crate::mode::Mode;

/// Names a handle: one client instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleIndex(pub u32);

/// The one place where a mode becomes a structure. Everything after it asks for lanes and handles
/// and does not know the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topology {
    handles: u32,
    lanes: u32,
}

impl Topology {
    /// The topology of a mode over so many topics.
    #[must_use]
    pub const fn of(mode: Mode, topic_count: u32) -> Self {
        match mode {
            Mode::Single => Self { handles: 1, lanes: 1 },
            Mode::Multi => Self { handles: topic_count, lanes: topic_count },
            Mode::Fair => Self { handles: 1, lanes: topic_count },
        }
    }

    /// Client instances.
    #[must_use]
    pub const fn handle_count(&self) -> u32 {
        self.handles
    }

    /// Lanes.
    #[must_use]
    pub const fn lane_count(&self) -> u32 {
        self.lanes
    }

    /// The lane of the topic at this position of the topic list.
    #[must_use]
    pub const fn lane_of_topic(&self, topic: u32) -> LaneIndex {
        if self.lanes == 1 { LaneIndex(0) } else { LaneIndex(topic) }
    }

    /// The handle whose records come through the lane.
    #[must_use]
    pub const fn handle_of_lane(&self, lane: LaneIndex) -> HandleIndex {
        if self.handles == 1 { HandleIndex(0) } else { HandleIndex(lane.0) }
    }

    /// What the lanes are entitled to. `topics`: what each would be with a lane of its own, in their
    /// order; a lane that several topics share has the plain quota, because within it there is no
    /// order to influence.
    pub fn lane_configs(
        &self,
        quota: NonZeroU32,
        topics: impl IntoIterator<Item = LaneConfig>,
    ) -> Vec<LaneConfig> {
        if self.lanes == 1 {
            return vec![LaneConfig::with_quota(quota)];
        }
        topics.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modes_differ_in_handles_and_lanes_only() {
        let counts = |mode| {
            let topology = Topology::of(mode, 7);
            (topology.handle_count(), topology.lane_count())
        };
        assert_eq!(counts(Mode::Single), (1, 1));
        assert_eq!(counts(Mode::Multi), (7, 7));
        assert_eq!(counts(Mode::Fair), (1, 7));
    }

    #[test]
    fn a_topic_finds_its_lane_and_its_handle() {
        let route = |mode| {
            let topology = Topology::of(mode, 7);
            let lane = topology.lane_of_topic(3);
            (lane, topology.handle_of_lane(lane))
        };
        assert_eq!(route(Mode::Single), (LaneIndex(0), HandleIndex(0)));
        assert_eq!(route(Mode::Multi), (LaneIndex(3), HandleIndex(3)));
        assert_eq!(route(Mode::Fair), (LaneIndex(3), HandleIndex(0)));
    }

    #[test]
    fn the_one_lane_of_single_keeps_the_plain_cap_whatever_the_weights() {
        let of = |value| NonZeroU32::new(value).unwrap();
        let quanta = |mode| {
            let topics =
                [1, 3].map(|weight| LaneConfig { weight: of(weight), ..LaneConfig::with_quota(of(500)) });
            let configs = Topology::of(mode, 2).lane_configs(of(500), topics);
            configs.iter().map(LaneConfig::quantum).collect::<Vec<_>>()
        };
        assert_eq!(quanta(Mode::Single), [500]);
        assert_eq!(quanta(Mode::Fair), [500, 1_500]);
    }
}
