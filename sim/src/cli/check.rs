//! `fairpoll check`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{load_all, tell};
use crate::exit_code::ExitCode;
use crate::scenario::Loaded;

/// What to check.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Scenario files.
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<PathBuf>,
}

pub(super) fn check(arguments: &CheckArguments) -> ExitCode {
    match load_all(&arguments.scenarios) {
        Ok(scenarios) => {
            scenarios.iter().for_each(|loaded| tell(line(loaded)));
            ExitCode::Pass
        }
        Err(code) => code,
    }
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
