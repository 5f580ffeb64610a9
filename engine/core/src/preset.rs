//! What suits a number of topics, and which group timings go together.

use std::num::NonZeroU32;

/// Records of a poll, or of a topic in a poll, where nothing else is said.
pub const RECORDS_DEFAULT: NonZeroU32 = NonZeroU32::new(500).expect("not 0");

/// What holds where nothing else is said, from a number of topics on.
///
/// The numbers are those of the system that this project re-implements: with more topics a poll
/// brings more, so each brings less of it, and a member may be silent for longer before its group
/// gives it up, because a poll's work takes longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// The smallest number of topics that it is for.
    pub topics_min: u32,
    /// The quota of a topic of weight 1, records per poll.
    pub max_poll_records: NonZeroU32,
    /// `session.timeout.ms`, milliseconds.
    pub session_timeout_ms: u32,
    /// `max.poll.interval.ms`, milliseconds; `None`: the client's own default.
    pub max_poll_interval_ms: Option<u32>,
}

/// All presets, the smallest number of topics first.
pub const PRESETS: [Preset; 3] = [
    Preset {
        topics_min: 2,
        max_poll_records: NonZeroU32::new(500).expect("not 0"),
        session_timeout_ms: 30_000,
        max_poll_interval_ms: None,
    },
    Preset {
        topics_min: 6,
        max_poll_records: NonZeroU32::new(300).expect("not 0"),
        session_timeout_ms: 45_000,
        max_poll_interval_ms: None,
    },
    Preset {
        topics_min: 10,
        max_poll_records: NonZeroU32::new(200).expect("not 0"),
        session_timeout_ms: 60_000,
        max_poll_interval_ms: Some(600_000),
    },
];

impl Preset {
    /// The preset for so many lanes, each with a quota of its own. One lane, be it of one topic or
    /// of all, is the plain consumer, for which nothing is preset.
    #[must_use]
    pub fn for_lanes(lane_count: u32) -> Option<&'static Self> {
        PRESETS.iter().rev().find(|preset| preset.topics_min <= lane_count)
    }
}

/// Timings of a group's member under the classic protocol, milliseconds; `None`: not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupTiming {
    /// How long it may be silent before the group gives it up.
    pub session_timeout_ms: Option<u32>,
    /// How often it tells that it lives.
    pub heartbeat_interval_ms: Option<u32>,
    /// How far apart its polls may be.
    pub max_poll_interval_ms: Option<u32>,
}

/// librdkafka's defaults.
const SESSION_DEFAULT_MS: u32 = 45_000;
const HEARTBEAT_DEFAULT_MS: u32 = 3_000;
const MAX_POLL_INTERVAL_DEFAULT_MS: u32 = 300_000;

/// The longest session that librdkafka takes.
const SESSION_MAX_MS: u32 = 3_600_000;

/// Kafka's own advice: a session of three heartbeats, so that one may be lost.
const HEARTBEATS_PER_SESSION: u32 = 3;

impl GroupTiming {
    /// What is to be said in all: what was said, untouched; what the preset adds; and what has to
    /// follow from it, because a heartbeat must be shorter than the session and the session no longer
    /// than the poll interval (librdkafka refuses to start otherwise). What was not said gives way.
    #[must_use]
    pub fn completed(self, preset: Option<&Preset>) -> Self {
        let session = self.session_timeout_ms.or_else(|| {
            let wanted = preset.map_or(SESSION_DEFAULT_MS, |preset| preset.session_timeout_ms);
            let beaten = match self.heartbeat_interval_ms {
                Some(heartbeat) if heartbeat >= wanted => {
                    heartbeat.saturating_mul(HEARTBEATS_PER_SESSION).min(SESSION_MAX_MS)
                }
                _ => wanted,
            };
            let fitting = beaten.min(self.max_poll_interval_ms.unwrap_or(u32::MAX));
            (preset.is_some() || fitting != SESSION_DEFAULT_MS).then_some(fitting)
        });
        let longest = session.unwrap_or(SESSION_DEFAULT_MS);
        let heartbeat = self.heartbeat_interval_ms.or_else(|| {
            let too_slow = HEARTBEAT_DEFAULT_MS >= longest;
            too_slow.then_some((longest / HEARTBEATS_PER_SESSION).max(1))
        });
        let max_poll_interval = self.max_poll_interval_ms.or_else(|| {
            let preset = preset.and_then(|preset| preset.max_poll_interval_ms);
            let fitting = preset.unwrap_or(MAX_POLL_INTERVAL_DEFAULT_MS).max(longest);
            (fitting != MAX_POLL_INTERVAL_DEFAULT_MS).then_some(fitting)
        });
        Self {
            session_timeout_ms: session,
            heartbeat_interval_ms: heartbeat,
            max_poll_interval_ms: max_poll_interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    // shows: E10
    #[test]
    fn presets_begin_and_end_at_their_numbers_of_topics() {
        let of = |lanes| {
            Preset::for_lanes(lanes).map(|preset| {
                (preset.max_poll_records.get(), preset.session_timeout_ms, preset.max_poll_interval_ms)
            })
        };
        for (lanes, expected) in [
            (0, None),
            (1, None),
            (2, Some((500, 30_000, None))),
            (5, Some((500, 30_000, None))),
            (6, Some((300, 45_000, None))),
            (9, Some((300, 45_000, None))),
            (10, Some((200, 60_000, Some(600_000)))),
            (50, Some((200, 60_000, Some(600_000)))),
        ] {
            assert_eq!(of(lanes), expected, "{lanes} lanes");
        }
    }

    fn timing(session: Option<u32>, heartbeat: Option<u32>, poll: Option<u32>) -> GroupTiming {
        GroupTiming {
            session_timeout_ms: session,
            heartbeat_interval_ms: heartbeat,
            max_poll_interval_ms: poll,
        }
    }

    #[test]
    fn what_was_not_said_gives_way_to_what_was() {
        let ten = Preset::for_lanes(10);
        for (said, preset, expected) in [
            // Nothing said: the preset, or the client's own defaults.
            (timing(None, None, None), ten, timing(Some(60_000), None, Some(600_000))),
            (timing(None, None, None), None, timing(None, None, None)),
            // The preset's session is longer than the poll interval that was said.
            (timing(None, None, Some(20_000)), ten, timing(Some(20_000), None, Some(20_000))),
            // So is the client's own default, which librdkafka would refuse.
            (timing(None, None, Some(20_000)), None, timing(Some(20_000), None, Some(20_000))),
            // The session that was said is longer than any poll interval.
            (timing(Some(700_000), None, None), ten, timing(Some(700_000), None, Some(700_000))),
            (timing(Some(700_000), None, None), None, timing(Some(700_000), None, Some(700_000))),
            // A heartbeat that the session would not outlast, said or not.
            (timing(None, Some(60_000), None), ten, timing(Some(180_000), Some(60_000), Some(600_000))),
            (timing(Some(3_000), None, None), None, timing(Some(3_000), Some(1_000), None)),
        ] {
            assert_eq!(said.completed(preset), expected, "{said:?}");
        }
    }

    proptest! {
        /// For all timings that were said: they stand in the completed ones as they are, and what was
        /// not said never makes the session longer than the poll interval.
        #[test]
        fn what_was_said_stands_and_what_was_not_fits(
            session in option::of(1_u32..=3_600_000),
            heartbeat in option::of(1_u32..=3_600_000),
            poll in option::of(1_u32..=86_400_000),
            lanes in 0_u32..60,
        ) {
            let said = timing(session, heartbeat, poll);
            let all = said.completed(Preset::for_lanes(lanes));
            prop_assert!(session.is_none_or(|said| all.session_timeout_ms == Some(said)));
            prop_assert!(heartbeat.is_none_or(|said| all.heartbeat_interval_ms == Some(said)));
            prop_assert!(poll.is_none_or(|said| all.max_poll_interval_ms == Some(said)));
            if session.is_none() || poll.is_none() {
                let session = all.session_timeout_ms.unwrap_or(SESSION_DEFAULT_MS);
                prop_assert!(session <= all.max_poll_interval_ms.unwrap_or(MAX_POLL_INTERVAL_DEFAULT_MS));
                prop_assert!(session <= SESSION_MAX_MS);
            }
            prop_assert_eq!(all.completed(Preset::for_lanes(lanes)), all);
        }
    }
}
