//! `fairpoll check`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::{load_all, tell, tell_error};
use crate::exit_code::ExitCode;
use crate::run::suits;
use crate::scenario::Loaded;

/// What to check.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Scenario files.
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<PathBuf>,
    /// Check as well that this kind of broker can do what they ask for and hold what they put there.
    #[arg(long, value_enum, value_name = "KIND")]
    broker: Option<Kind>,
}

/// A kind of broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Embedded,
    Container,
    External,
    Virtual,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Container => "container",
            Self::External => "external",
            Self::Virtual => "virtual",
        }
    }
}

pub(super) fn check(arguments: &CheckArguments) -> ExitCode {
    let scenarios = match load_all(&arguments.scenarios) {
        Ok(scenarios) => scenarios,
        Err(code) => return code,
    };
    let mut exit = ExitCode::Pass;
    for loaded in &scenarios {
        match arguments.broker.map_or(Ok(()), |broker| suits(&loaded.scenario, broker.name())) {
            Ok(()) => tell(line(loaded)),
            Err(error) => {
                exit = error.exit_code();
                tell_error(error);
            }
        }
    }
    exit
}

/// What was understood, in one line, so that a wrong unit or a forgotten topic is noticed.
fn line(loaded: &Loaded) -> String {
    let scenario = &loaded.scenario;
    let topics = scenario.topics_expanded();
    let modes: Vec<&str> = scenario.modes.iter().map(|mode| mode.name.as_str()).collect();
    format!(
        "{path}: ok: {name}, {topics} topics, backlog of {backlog} records, {rate} records/s live, \
         modes {modes}, {gates} gates",
        path = loaded.path.display(),
        name = scenario.name,
        topics = topics.len(),
        backlog = topics.iter().map(|topic| topic.backlog).sum::<u64>(),
        rate = topics.iter().map(|topic| topic.rate_per_s).sum::<f64>(),
        modes = modes.join(", "),
        gates = scenario.gates.len(),
    )
}
