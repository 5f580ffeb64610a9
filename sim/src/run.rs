//! Runs scenarios: broker, load, one worker process per mode and run, events, judgement, files.
//!
//! ```text
//! run_all ─ scenario_run ─ mode_run ─┬─ stage (broker, producer)
//!    │            │                  └─ crew ─ life (worker process, sampler)
//!    │            └─ results (judge, report files)
//!    └─ output, console, interrupt
//! ```
//!
//! The main thread directs; beside it live one thread that reads the worker's lines, one that
//! samples its process, and the live producer's. Nothing here judges: what happened goes into
//! the event log, and the verdict is made from the log alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use fairpoll_judge::summary::Verdict;
use serde::Serialize;
use thiserror::Error;

use crate::broker::Containers;
use crate::event_log::Clock;
use crate::exit_code::ExitCode;
use crate::scenario::{Loaded, Scenario, faults};
use crate::virtual_time::{self, Model};
use broker_stage::BrokerStage;
use console::{Console, Verbosity};
use scenario_run::{OpenStage, Perform, ScenarioEnd};

mod broker_stage;
mod console;
mod crew;
mod fault_schedule;
pub(crate) mod interrupt;
mod life;
mod manifest;
mod mode_run;
mod output;
pub(crate) mod posix;
mod progress;
#[cfg(test)]
mod rehearsal;
mod results;
mod sampler;
mod scenario_run;
mod secrets;
mod spec;
mod stage;
mod tally;
mod utc;
mod virtual_run;
mod worker_process;

pub use output::OutputError;
pub(crate) use output::OutputFolder;
pub(crate) use virtual_run::trace;

/// The kind of broker that virtual time calls itself.
const VIRTUAL: &str = "virtual";

/// Which broker a scenario is replayed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerChoice {
    /// The one that comes with the tool, in a child process.
    Embedded,
    /// Apache Kafka in containers.
    Container {
        /// The image; absent: whichever is there, see `docs/container-broker.md`.
        image: Option<String>,
        /// Leave the containers running afterwards.
        keep: bool,
    },
    /// A cluster of the user's.
    External {
        /// `host:port`, comma separated.
        bootstrap_servers: String,
    },
}

/// On what a scenario is replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A broker, with workers that consume from it.
    Broker(BrokerChoice),
    /// A model of both, in virtual time.
    Virtual(ModelChoice),
}

/// What virtual time is a model of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ModelChoice {
    /// [`Model::kafka`].
    #[default]
    Kafka,
    /// [`Model::embedded`], and what the harness sets for every mode alike on that broker.
    Embedded,
}

impl ModelChoice {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Embedded => "embedded",
        }
    }

    /// Its numbers.
    #[must_use]
    pub fn model(self) -> Model {
        match self {
            Self::Kafka => Model::kafka(),
            Self::Embedded => Model::embedded(),
        }
    }
}

impl BrokerChoice {
    /// Its name in logs and reports.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Container { .. } => "container",
            Self::External { .. } => "external",
        }
    }
}

impl Backend {
    /// Its name in logs and reports.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Broker(choice) => choice.kind(),
            Self::Virtual(_) => VIRTUAL,
        }
    }

    /// By what its events are stamped.
    fn clock(&self) -> Clock {
        match self {
            Self::Broker(_) => Clock::Monotonic,
            Self::Virtual(_) => Clock::Virtual,
        }
    }
}

/// What noise means for the exit code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InconclusivePolicy {
    /// Exit code 4.
    Fail,
    /// A line on standard error.
    #[default]
    Warn,
    /// Nothing.
    Pass,
}

/// What to run, on what, and where the results go.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The scenarios, in order; all are valid.
    pub scenarios: Vec<Loaded>,
    /// Runs of each mode, at least 1.
    pub runs: u32,
    /// On what.
    pub backend: Backend,
    /// librdkafka properties for every client.
    pub properties: BTreeMap<String, String>,
    /// Overrides the scenarios' own.
    pub seed: Option<u64>,
    /// Whether the workers' memory, threads and sockets are looked at.
    pub sampled: bool,
    /// The folder for the results; absent: a fresh one under `reports/`.
    pub out: Option<PathBuf>,
    /// Print nothing but errors.
    pub quiet: bool,
    /// Print `summary.json` on standard output and everything else on standard error.
    pub json: bool,
    /// What noise means.
    pub inconclusive: InconclusivePolicy,
    /// The command line, for the manifest.
    pub command: Vec<String>,
}

/// Running, or re-rendering, was impossible.
#[derive(Debug, Error)]
pub enum RunError {
    /// Results cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Two scenarios would write to the same folder.
    #[error(
        "two scenarios are named `{name}`: they would overwrite each other's results; rename one or run them apart"
    )]
    SameName {
        /// The name.
        name: String,
    },
    /// The broker cannot hold what a scenario puts there, or not do what it asks for.
    #[error("{scenario}: {what}")]
    DoesNotFit {
        /// The scenario.
        scenario: String,
        /// The numbers, and the way out.
        what: String,
    },
    /// The signal handler could not be installed.
    #[error("cannot handle signals: {what}")]
    Signals {
        /// The reason.
        what: String,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A stored file is not what it should be.
    #[error("{}: {what}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The judge refused the log that we wrote ourselves.
    #[error("the events of this run cannot be judged: {what}; please report it with events.jsonl")]
    Judge {
        /// The judge's words.
        what: String,
    },
}

impl RunError {
    /// What it means for the exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Output(OutputError::Open { .. })
            | Self::SameName { .. }
            | Self::DoesNotFit { .. }
            | Self::Read { .. }
            | Self::Log { .. } => ExitCode::Usage,
            Self::Output(OutputError::Write { .. }) => ExitCode::Infrastructure,
            Self::Signals { .. } | Self::Judge { .. } => ExitCode::Internal,
        }
    }
}

/// `index.json`: one entry per scenario.
#[derive(Debug, Serialize)]
struct IndexEntry {
    scenario: String,
    verdict: Option<Verdict>,
    exit_code: u8,
    path: String,
}

/// Whether a kind of broker (`embedded`, `container`, `external`, `virtual`) can do what a scenario asks for and
/// hold what it puts there.
///
/// # Errors
/// [`RunError::DoesNotFit`] with the numbers and the way out.
pub fn suits(scenario: &Scenario, broker: &str) -> Result<(), RunError> {
    let does_not = |what| Err(RunError::DoesNotFit { scenario: scenario.name.clone(), what });
    if broker == VIRTUAL {
        return virtual_time::unfit(scenario).map_or(Ok(()), does_not);
    }
    if let Some(what) = faults::unsupported(scenario, broker) {
        return does_not(what);
    }
    if broker == BrokerChoice::Embedded.kind() {
        return broker_stage::fits_embedded(scenario).or_else(|error| does_not(error.to_string()));
    }
    Ok(())
}

/// Runs the scenarios one after the other and answers the weightiest exit code. Call it on the
/// main thread: worker and broker processes are tied to the thread that starts them.
///
/// # Errors
/// If nothing could be run, or results could not be written.
pub fn run_all(request: &RunRequest) -> Result<ExitCode, RunError> {
    // All of them, before the first runs.
    for Loaded { scenario, .. } in &request.scenarios {
        suits(scenario, request.backend.kind())?;
    }
    let choice = match &request.backend {
        Backend::Broker(choice) => choice,
        Backend::Virtual(model) => {
            virtual_run::check(request, *model).map_err(|(scenario, unmodelled)| RunError::DoesNotFit {
                scenario,
                what: unmodelled.to_string(),
            })?;
            return run_each(request, &mut |act| virtual_run::perform(act, *model, &request.properties));
        }
    };
    let mut containers = match choice {
        BrokerChoice::Container { image, keep } => Containers::new(image.clone(), *keep),
        BrokerChoice::Embedded | BrokerChoice::External { .. } => Containers::new(None, false),
    };
    let result = run_with(request, &mut |part, sink| {
        let (stage, facts) = BrokerStage::open(choice, &mut containers, &request.properties, part, sink)?;
        Ok((Box::new(stage), facts))
    });
    if let Some(farewell) = containers.farewell() {
        // Even of a quiet run: nobody could find it again.
        Console::new(Verbosity::Full, true).note(&farewell);
    }
    result
}

fn run_with(request: &RunRequest, open_stage: &mut OpenStage<'_>) -> Result<ExitCode, RunError> {
    run_each(request, &mut |act| scenario_run::on_a_stage(act, open_stage))
}

fn run_each(request: &RunRequest, perform: &mut Perform<'_>) -> Result<ExitCode, RunError> {
    let verbosity = if request.quiet { Verbosity::Quiet } else { Verbosity::Full };
    let console = Console::new(verbosity, request.json);
    let mut names = BTreeSet::new();
    for loaded in &request.scenarios {
        let name = &loaded.scenario.name;
        if !names.insert(name) {
            return Err(RunError::SameName { name: name.clone() });
        }
    }
    let single = match request.scenarios.as_slice() {
        [only] => Some(only.scenario.name.as_str()),
        _ => None,
    };
    let folder = match &request.out {
        Some(path) => OutputFolder::open(path.clone())?,
        None => OutputFolder::fresh(single.unwrap_or("scenarios"))?,
    };
    interrupt::install().map_err(|what| RunError::Signals { what })?;

    let mut worst = ExitCode::Pass;
    let mut index = Vec::new();
    for loaded in &request.scenarios {
        let name = loaded.scenario.name.clone();
        let own = if single.is_some() { folder.clone() } else { folder.subfolder(&name)? };
        console.note(&format!("{name}: {}", loaded.scenario.purpose.trim()));
        let ScenarioEnd { exit, verdict } = scenario_run::run(request, loaded, &own, console, perform)?;
        if exit.weight() > worst.weight() {
            worst = exit;
        }
        if single.is_none() {
            index.push(IndexEntry { path: name.clone(), scenario: name, verdict, exit_code: exit as u8 });
            folder.write_json("index.json", &index)?;
        }
        if exit == ExitCode::Interrupted {
            break;
        }
    }
    // Last on standard output: scripts take it from there.
    console.result(&folder.path().display().to_string());
    Ok(worst)
}

/// Judges the events stored in `dir` again and writes its report anew; a folder of several
/// scenarios has each of its own re-rendered.
///
/// # Errors
/// If there is nothing to judge in `dir`, or it cannot be written to.
pub fn rerender(dir: &Path) -> Result<ExitCode, RunError> {
    let console = Console::new(Verbosity::Full, false);
    let index = dir.join("index.json");
    if dir.join("events.jsonl").exists() || !index.exists() {
        return results::rerender(dir, console);
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        path: String,
    }
    let text = std::fs::read(&index).map_err(|source| RunError::Read { path: index.clone(), source })?;
    let entries: Vec<Entry> = serde_json::from_slice(&text)
        .map_err(|error| RunError::Log { path: index.clone(), what: error.to_string() })?;
    let mut worst = ExitCode::Pass;
    for Entry { path } in entries {
        let exit = results::rerender(&dir.join(path), console)?;
        if exit.weight() > worst.weight() {
            worst = exit;
        }
    }
    Ok(worst)
}
