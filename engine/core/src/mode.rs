//! Which mode runs, and why.

use std::fmt;
use std::str::FromStr;

/// A topology; see [`crate::topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Mode {
    /// One handle, one lane: the plain consumer, its cap is on the whole poll.
    Single,
    /// One handle and one lane per topic.
    Multi,
    /// One handle, one lane per topic.
    Fair,
}

/// What a user may write as `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum RequestedMode {
    /// [`Mode::Single`].
    Single,
    /// [`Mode::Multi`].
    Multi,
    /// [`Mode::Fair`].
    Fair,
    /// One topic: [`Mode::Single`]; more: [`Mode::Fair`].
    Auto,
}

/// Not a mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown mode `{text}`: write single, multi, fair or auto")]
pub struct UnknownMode {
    /// What was written.
    pub text: String,
}

/// What the configuration says about the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModeRequest {
    /// `mode`; wins over the switch.
    pub mode: Option<RequestedMode>,
    /// `multi_consumer_mode`.
    pub multi_consumer_mode: Option<bool>,
}

/// Something that a topology needs and a machine has only so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// File descriptors.
    Descriptors,
    /// Memory, bytes.
    MemoryBytes,
    /// TCP connections to brokers.
    Connections,
}

/// What one handle needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HandleDemand {
    /// File descriptors.
    pub descriptors: u64,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// TCP connections to brokers.
    pub connections: u64,
}

/// What is left for this consumer; `None`: not limited, or not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MachineLimits {
    /// File descriptors.
    pub descriptors: Option<u64>,
    /// Memory, bytes.
    pub memory_bytes: Option<u64>,
    /// TCP connections to brokers.
    pub connections: Option<u64>,
}

/// Why this mode runs. Each variant reads as one stable phrase that can be searched for in logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModeReason {
    /// `mode` names it.
    Explicit,
    /// `mode: auto` with one topic.
    AutoOneTopic,
    /// `mode: auto` with several topics.
    AutoSeveralTopics,
    /// `multi_consumer_mode: true` with several topics.
    SwitchOn,
    /// `multi_consumer_mode: true` with one topic.
    SwitchOnOneTopic,
    /// `multi_consumer_mode: false`.
    SwitchOff,
    /// Nothing was written.
    SwitchAbsent,
    /// `multi` does not fit the machine.
    DoesNotFit {
        /// What is short.
        resource: Resource,
        /// How much `multi` needs.
        needed: u64,
        /// How much there is.
        available: u64,
    },
    /// A mode with more handles ran, until something ran short; see [`crate::pressure`].
    RanShort {
        /// What was short.
        resource: Resource,
        /// How much of it was in use.
        used: u64,
        /// How much there was in all.
        limit: u64,
    },
}

/// The answer of [`resolve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// What was asked for: the explicit mode, or what the switch stands for.
    pub requested: RequestedMode,
    /// What runs.
    pub actual: Mode,
    /// Why.
    pub reason: ModeReason,
}

/// Which mode serves `topic_count` topics. An explicit mode wins to the letter, whatever the number
/// of topics; without it the switch decides; `multi` that does not fit becomes `fair`, which needs
/// one handle. Resources are checked in the order descriptors, memory, connections, and the first
/// one that is short is named. `limits` is asked only where something could give way.
#[must_use]
pub fn resolve(
    request: ModeRequest,
    topic_count: u32,
    demand: &HandleDemand,
    limits: impl FnOnce() -> MachineLimits,
) -> Resolution {
    use RequestedMode::{Auto, Fair, Multi, Single};
    let several = topic_count > 1;
    let (requested, actual, reason) = match (request.mode, request.multi_consumer_mode) {
        (Some(Single), _) => (Single, Mode::Single, ModeReason::Explicit),
        (Some(Multi), _) => (Multi, Mode::Multi, ModeReason::Explicit),
        (Some(Fair), _) => (Fair, Mode::Fair, ModeReason::Explicit),
        (Some(Auto), _) if several => (Auto, Mode::Fair, ModeReason::AutoSeveralTopics),
        (Some(Auto), _) => (Auto, Mode::Single, ModeReason::AutoOneTopic),
        (None, Some(true)) if several => (Multi, Mode::Multi, ModeReason::SwitchOn),
        (None, Some(true)) => (Multi, Mode::Single, ModeReason::SwitchOnOneTopic),
        (None, Some(false)) => (Single, Mode::Single, ModeReason::SwitchOff),
        (None, None) => (Single, Mode::Single, ModeReason::SwitchAbsent),
    };
    let shortage = match actual {
        Mode::Multi => shortage(u64::from(topic_count), demand, &limits()),
        Mode::Single | Mode::Fair => None,
    };
    match shortage {
        Some(reason) => Resolution { requested, actual: Mode::Fair, reason },
        None => Resolution { requested, actual, reason },
    }
}

fn shortage(handles: u64, demand: &HandleDemand, limits: &MachineLimits) -> Option<ModeReason> {
    [
        (Resource::Descriptors, demand.descriptors, limits.descriptors),
        (Resource::MemoryBytes, demand.memory_bytes, limits.memory_bytes),
        (Resource::Connections, demand.connections, limits.connections),
    ]
    .into_iter()
    .find_map(|(resource, per_handle, available)| {
        let needed = per_handle.saturating_mul(handles);
        let available = available?;
        (needed > available).then_some(ModeReason::DoesNotFit { resource, needed, available })
    })
}

impl FromStr for RequestedMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        match text {
            "single" => Ok(Self::Single),
            "multi" => Ok(Self::Multi),
            "fair" => Ok(Self::Fair),
            "auto" => Ok(Self::Auto),
            _ => Err(UnknownMode { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for RequestedMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Multi => "multi",
            Self::Fair => "fair",
            Self::Auto => "auto",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Multi => "multi",
            Self::Fair => "fair",
        })
    }
}

impl Resource {
    /// One word, as a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::MemoryBytes => "memory",
            Self::Connections => "connections",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => "file descriptors",
            Self::MemoryBytes => "bytes of memory",
            Self::Connections => "connections",
        })
    }
}

impl fmt::Display for ModeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Explicit => f.write_str("mode set explicitly"),
            Self::AutoOneTopic => f.write_str("mode auto with one topic"),
            Self::AutoSeveralTopics => f.write_str("mode auto with several topics"),
            Self::SwitchOn => f.write_str("multi_consumer_mode is true"),
            Self::SwitchOnOneTopic => f.write_str("multi_consumer_mode is true but there is one topic"),
            Self::SwitchOff => f.write_str("multi_consumer_mode is false"),
            Self::SwitchAbsent => f.write_str("multi_consumer_mode is not set"),
            Self::DoesNotFit { resource, needed, available } => write!(
                f,
                "multi does not fit this machine: it needs {needed} {resource}, there are {available}"
            ),
            Self::RanShort { resource, used, limit } => {
                write!(f, "gave way when {used} of {limit} {resource} were in use")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(mode: Option<RequestedMode>, switch: Option<bool>, topics: u32) -> (Mode, ModeReason) {
        let request = ModeRequest { mode, multi_consumer_mode: switch };
        let resolution = resolve(request, topics, &HandleDemand::default(), MachineLimits::default);
        (resolution.actual, resolution.reason)
    }

    #[test]
    fn the_table_of_the_design_holds_row_by_row() {
        use ModeReason::*;
        use RequestedMode as R;
        let rows = [
            (Some(R::Single), Some(true), 5, Mode::Single, Explicit),
            (Some(R::Multi), Some(false), 5, Mode::Multi, Explicit),
            (Some(R::Multi), None, 1, Mode::Multi, Explicit),
            (Some(R::Fair), None, 1, Mode::Fair, Explicit),
            (Some(R::Auto), None, 1, Mode::Single, AutoOneTopic),
            (Some(R::Auto), Some(true), 2, Mode::Fair, AutoSeveralTopics),
            (None, Some(true), 2, Mode::Multi, SwitchOn),
            (None, Some(true), 1, Mode::Single, SwitchOnOneTopic),
            (None, Some(false), 9, Mode::Single, SwitchOff),
            (None, None, 9, Mode::Single, SwitchAbsent),
        ];
        for (mode, switch, topics, actual, reason) in rows {
            assert_eq!(resolved(mode, switch, topics), (actual, reason), "{mode:?} {switch:?} {topics}");
        }
    }

    #[test]
    fn multi_that_does_not_fit_becomes_fair_and_names_the_numbers() {
        let demand = HandleDemand { descriptors: 10, memory_bytes: 1, connections: 3 };
        let limits = MachineLimits { descriptors: Some(120), memory_bytes: None, connections: Some(35) };
        let request = ModeRequest { mode: Some(RequestedMode::Multi), multi_consumer_mode: None };
        let resolution = resolve(request, 12, &demand, || limits);
        assert_eq!((resolution.requested, resolution.actual), (RequestedMode::Multi, Mode::Fair));
        assert_eq!(
            resolution.reason.to_string(),
            "multi does not fit this machine: it needs 36 connections, there are 35"
        );
        assert_eq!(resolve(request, 11, &demand, || limits).actual, Mode::Multi);
    }

    #[test]
    fn modes_are_read_as_they_are_written() {
        for text in ["single", "multi", "fair", "auto"] {
            assert_eq!(text.parse::<RequestedMode>().unwrap().to_string(), text);
        }
        let error = "Fair".parse::<RequestedMode>().unwrap_err();
        assert_eq!(error.to_string(), "unknown mode `Fair`: write single, multi, fair or auto");
    }
}
