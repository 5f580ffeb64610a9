//! Which mode runs: a pure function of what was asked for and what fits.

use std::fmt;

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Mode {
    /// One consumer, one queue, one cap on the whole poll.
    Single,
    /// One consumer per topic.
    Multi,
    /// One consumer, a queue and a quota per topic.
    Fair,
}

/// A mode that was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum ExplicitMode {
    /// [`Mode::Single`].
    Single,
    /// [`Mode::Multi`].
    Multi,
    /// [`Mode::Fair`].
    Fair,
    /// One topic: [`Mode::Single`], more: [`Mode::Fair`].
    Auto,
}

/// What the configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModeRequest {
    /// An explicit mode wins.
    pub mode: Option<ExplicitMode>,
    /// The original's switch.
    pub multi_consumer_mode: Option<bool>,
}

/// What the machine allows; `None`: not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Kafka clients that this process can afford (descriptors, memory, connections).
    pub handles: Option<usize>,
}

/// What was asked for, what runs, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// What was asked for.
    pub requested: Requested,
    /// What runs.
    pub actual: Mode,
    /// Why.
    pub reason: Reason,
}

/// What was asked for, and by which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requested {
    /// By `mode`.
    Mode(ExplicitMode),
    /// By `multi_consumer_mode`.
    MultiConsumerMode(bool),
    /// Not at all.
    Nothing,
}

/// Why a mode runs. Its words are stable: they are searched for in logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It was asked for.
    AsRequested,
    /// Nothing was asked for.
    Default,
    /// One topic needs no second consumer.
    OneTopic,
    /// `auto` and more than one topic.
    SeveralTopics,
    /// As many clients as topics do not fit.
    TooManyHandles {
        /// Clients that `multi` needs.
        needed: usize,
        /// Clients that fit.
        limit: usize,
    },
}

/// Resolves a request for so many topics.
///
/// An explicit `mode` wins and is taken to the letter. Without it `multi_consumer_mode: true` is
/// `multi`, with one topic `single`; absent or `false` is `single`. `multi` that does not fit
/// becomes `fair`: the same fairness with one client.
#[must_use]
pub fn resolve(request: ModeRequest, topics: usize, limits: &Limits) -> Resolution {
    let requested = match (request.mode, request.multi_consumer_mode) {
        (Some(mode), _) => Requested::Mode(mode),
        (None, Some(switch)) => Requested::MultiConsumerMode(switch),
        (None, None) => Requested::Nothing,
    };
    let (actual, reason) = match requested {
        Requested::Mode(ExplicitMode::Single) | Requested::MultiConsumerMode(false) => {
            (Mode::Single, Reason::AsRequested)
        }
        Requested::Mode(ExplicitMode::Fair) => (Mode::Fair, Reason::AsRequested),
        Requested::Mode(ExplicitMode::Multi) => (Mode::Multi, Reason::AsRequested),
        Requested::Mode(ExplicitMode::Auto) if topics <= 1 => (Mode::Single, Reason::OneTopic),
        Requested::Mode(ExplicitMode::Auto) => (Mode::Fair, Reason::SeveralTopics),
        Requested::MultiConsumerMode(true) if topics <= 1 => (Mode::Single, Reason::OneTopic),
        Requested::MultiConsumerMode(true) => (Mode::Multi, Reason::AsRequested),
        Requested::Nothing => (Mode::Single, Reason::Default),
    };
    match (actual, limits.handles) {
        (Mode::Multi, Some(limit)) if topics > limit => {
            let reason = Reason::TooManyHandles { needed: topics, limit };
            Resolution { requested, actual: Mode::Fair, reason }
        }
        _ => Resolution { requested, actual, reason },
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

impl fmt::Display for ExplicitMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Multi => "multi",
            Self::Fair => "fair",
            Self::Auto => "auto",
        })
    }
}

impl fmt::Display for Requested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(mode) => mode.fmt(f),
            Self::MultiConsumerMode(switch) => write!(f, "multi_consumer_mode:{switch}"),
            Self::Nothing => f.write_str("none"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsRequested => f.write_str("as requested"),
            Self::Default => f.write_str("no mode configured"),
            Self::OneTopic => f.write_str("only one topic"),
            Self::SeveralTopics => f.write_str("several topics"),
            Self::TooManyHandles { needed, limit } => {
                write!(f, "multi needs {needed} Kafka clients and {limit} fit")
            }
        }
    }
}
