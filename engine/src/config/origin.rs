//! Where settings came from.

use std::collections::BTreeMap;
use std::fmt;

/// Where the value of a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// Nobody said anything, and this suits the number of topics.
    Preset {
        /// How many there are.
        topics: u32,
    },
    /// Nobody said anything, and it has to fit another setting.
    Follows {
        /// That setting.
        from: &'static str,
    },
    /// The engine's promises rest on it.
    Fixed,
    /// The program said it: at construction or by a method of [`Config`](crate::Config).
    Program,
    /// A key of a file.
    File {
        /// The key as it stands there.
        key: String,
        /// Its line, from 1.
        line: u32,
    },
    /// An argument of aiokafka's consumer in a file.
    Aiokafka {
        /// The argument.
        argument: String,
        /// Its line, from 1.
        line: u32,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset { topics } => write!(f, "preset for {topics} topics"),
            Self::Follows { from } => write!(f, "follows from {from}"),
            Self::Fixed => f.write_str("fixed: the engine rests on it"),
            Self::Program => f.write_str("the program"),
            Self::File { key, line } => write!(f, "line {line}: {key}"),
            Self::Aiokafka { argument, line } => write!(f, "line {line}: aiokafka's {argument}"),
        }
    }
}

/// Origins by setting: a key of the configuration, or a librdkafka property.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    pub(crate) fn note(&mut self, setting: &str, origin: Origin) {
        self.0.insert(setting.to_owned(), origin);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.0.iter().map(|(setting, origin)| (setting.as_str(), origin))
    }

    pub(crate) fn of(&self, setting: &str) -> Origin {
        self.0.get(setting).cloned().unwrap_or(Origin::Default)
    }
}
