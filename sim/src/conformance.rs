//! Conformance: the same scenarios on several brokers, and whether they come to the same end.
//!
//! [`run`] gives the scenarios to one arm after the other, each with everything that it can hold,
//! reads back what was judged, and compares. An arm that was inconclusive (a machine too busy to
//! measure) is tried again, a failed one never.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use fairpoll_judge::conformance::{Agreement, Arm, Comparison, Delivered, compare, markdown};
use fairpoll_judge::event::{Body, Outcome};
use fairpoll_judge::judge::{judge, read_log};
use fairpoll_judge::summary::Verdict;
use thiserror::Error;

use crate::exit_code::ExitCode;
use crate::run::{
    Backend, BrokerChoice, InconclusivePolicy, ModelChoice, RunError, RunRequest, run_all, suits,
};
use crate::scenario::Loaded;

/// A broker to replay the scenarios on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArmChoice {
    /// The embedded broker.
    Embedded,
    /// Kafka in containers, with so many nodes at least; a scenario may ask for more.
    Container {
        /// At least 1.
        nodes: u32,
    },
    /// A cluster of the user's.
    External,
    /// A model of a broker in virtual time.
    Virtual(ModelChoice),
}

impl fmt::Display for ArmChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => formatter.write_str("embedded"),
            Self::Container { nodes: 1 } => formatter.write_str("container"),
            Self::Container { nodes } => write!(formatter, "container:{nodes}"),
            Self::External => formatter.write_str("external"),
            Self::Virtual(ModelChoice::Kafka) => formatter.write_str("virtual"),
            Self::Virtual(model) => write!(formatter, "virtual:{}", model.name()),
        }
    }
}

impl FromStr for ArmChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const NODES_MOST: u32 = 9;
        match text.split_once(':') {
            None if text == "embedded" => Ok(Self::Embedded),
            None if text == "container" => Ok(Self::Container { nodes: 1 }),
            None if text == "external" => Ok(Self::External),
            None if text == "virtual" => Ok(Self::Virtual(ModelChoice::Kafka)),
            Some(("virtual", "kafka")) => Ok(Self::Virtual(ModelChoice::Kafka)),
            Some(("virtual", "embedded")) => Ok(Self::Virtual(ModelChoice::Embedded)),
            Some(("container", nodes)) => match nodes.parse() {
                Ok(nodes @ 1..=NODES_MOST) => Ok(Self::Container { nodes }),
                _ => Err(format!("`container:N` has 1 to {NODES_MOST} nodes")),
            },
            _ => Err(
                "an arm is `embedded`, `container`, `container:N` (N nodes), `external`, or `virtual` or \
                      `virtual:embedded` (a model of Kafka, or of the embedded broker)"
                    .to_owned(),
            ),
        }
    }
}

/// What to compare.
#[derive(Debug, Clone)]
pub struct ConformanceRequest {
    /// The scenarios.
    pub scenarios: Vec<Loaded>,
    /// The brokers; the first is what the others are held against.
    pub arms: Vec<ArmChoice>,
    /// How often every arm runs everything; each time must come to the same end.
    pub rounds: u32,
    /// How often an inconclusive scenario is run at most.
    pub attempts: u32,
    /// The image of containers.
    pub image: Option<String>,
    /// Of the external arm.
    pub bootstrap_servers: Option<String>,
    /// Where every run's report and the comparison go.
    pub out: PathBuf,
    /// The command line, for the manifests.
    pub command: Vec<String>,
}

/// What is going on, for whoever waits.
#[derive(Debug)]
pub enum Progress<'a> {
    /// An arm begins with so many scenarios.
    Begins {
        /// Its name.
        arm: &'a str,
        /// How many.
        scenarios: usize,
    },
    /// A scenario is nothing for an arm.
    Unfit {
        /// The arm.
        arm: &'a str,
        /// Why.
        why: &'a str,
    },
    /// A scenario was inconclusive and is run again.
    Again {
        /// The arm.
        arm: &'a str,
        /// The scenario.
        scenario: &'a str,
        /// Why.
        why: &'a str,
    },
    /// An arm is through.
    Ends {
        /// Its name.
        arm: &'a str,
        /// How long it took.
        took: Duration,
    },
}

/// Why nothing could be compared.
#[derive(Debug, Error)]
pub enum ConformanceError {
    /// A scenario could not be run at all.
    #[error(transparent)]
    Run(#[from] RunError),
    /// An arm has no servers.
    #[error("the arm `external` needs --bootstrap-servers HOST:PORT")]
    NoBootstrap,
    /// A broker or worker failed.
    #[error("{arm}: {scenario} failed: {why}")]
    Failed {
        /// The arm.
        arm: String,
        /// The scenario.
        scenario: String,
        /// What happened.
        why: String,
    },
    /// A result could not be read back.
    #[error("cannot read {}: {what}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The comparison could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl ConformanceError {
    /// What it means for the exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Run(error) => error.exit_code(),
            Self::NoBootstrap => ExitCode::Usage,
            Self::Failed { .. } | Self::Read { .. } | Self::Write { .. } => ExitCode::Infrastructure,
        }
    }
}

/// Runs every scenario on every arm that can hold it and compares; `None` where somebody interrupted
/// it. Call it on the main thread: processes are tied to the thread that starts them.
///
/// # Errors
/// If a run failed for another reason than its verdict, or files cannot be read or written.
pub fn run(
    request: &ConformanceRequest,
    tell: &mut dyn FnMut(Progress<'_>),
) -> Result<Option<Vec<Comparison>>, ConformanceError> {
    let unwritable = |source| ConformanceError::Write { path: request.out.clone(), source };
    fs::create_dir_all(&request.out).map_err(unwritable)?;
    let mut found: BTreeMap<String, Vec<Arm>> = BTreeMap::new();
    for round in 1..=request.rounds {
        for choice in &request.arms {
            let name =
                if request.rounds > 1 { format!("{choice}, round {round}") } else { choice.to_string() };
            let backend = request.backend(choice)?;
            let mut scenarios = Vec::new();
            for loaded in &request.scenarios {
                let mut loaded = loaded.clone();
                if let ArmChoice::Container { nodes } = choice {
                    loaded.scenario.broker.nodes = loaded.scenario.broker.nodes.max(*nodes);
                }
                match suits(&loaded.scenario, backend.kind()) {
                    Ok(()) => scenarios.push(loaded),
                    Err(why) => tell(Progress::Unfit { arm: &name, why: &why.to_string() }),
                }
            }
            tell(Progress::Begins { arm: &name, scenarios: scenarios.len() });
            let began = Instant::now();
            let Some(arms) = run_arm(request, &name, backend, scenarios, tell)? else { return Ok(None) };
            for arm in arms {
                found.entry(arm.summary.scenario.clone()).or_default().push(arm);
            }
            tell(Progress::Ends { arm: &name, took: began.elapsed() });
        }
    }
    let order = request.scenarios.iter().filter_map(|loaded| found.get(&loaded.scenario.name));
    let comparisons: Vec<Comparison> = order.map(|arms| compare(arms)).collect();
    write(&request.out.join("conformance.md"), markdown(&comparisons).as_bytes())?;
    let json = serde_json::to_vec_pretty(&comparisons)
        .map_err(|error| read(&request.out.join("conformance.json"), error.to_string()))?;
    write(&request.out.join("conformance.json"), &json)?;
    Ok(Some(comparisons))
}

/// What all comparisons together mean.
#[must_use]
pub fn exit_code(comparisons: &[Comparison]) -> ExitCode {
    let has = |agreement| comparisons.iter().any(|comparison| comparison.agreement == agreement);
    if has(Agreement::Differs) {
        ExitCode::GateFailed
    } else if has(Agreement::Undecided) {
        ExitCode::Inconclusive
    } else if has(Agreement::Agrees) {
        ExitCode::Pass
    } else {
        ExitCode::NoBaseline
    }
}

impl ConformanceRequest {
    fn backend(&self, choice: &ArmChoice) -> Result<Backend, ConformanceError> {
        Ok(Backend::Broker(match choice {
            ArmChoice::Virtual(model) => return Ok(Backend::Virtual(*model)),
            ArmChoice::Embedded => BrokerChoice::Embedded,
            ArmChoice::Container { .. } => BrokerChoice::Container { image: self.image.clone(), keep: false },
            ArmChoice::External => {
                let servers = self.bootstrap_servers.clone().ok_or(ConformanceError::NoBootstrap)?;
                BrokerChoice::External { bootstrap_servers: servers }
            }
        }))
    }
}

/// Runs the scenarios on one arm, the inconclusive ones again; `None` where it was interrupted.
fn run_arm(
    request: &ConformanceRequest,
    name: &str,
    backend: Backend,
    mut scenarios: Vec<Loaded>,
    tell: &mut dyn FnMut(Progress<'_>),
) -> Result<Option<Vec<Arm>>, ConformanceError> {
    let mut arms = Vec::new();
    for attempt in 1..=request.attempts.max(1) {
        if scenarios.is_empty() {
            break;
        }
        let folder_name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let again = if attempt > 1 { format!("-again-{attempt}") } else { String::new() };
        let folder = request.out.join(format!("{folder_name}{again}"));
        let single = scenarios.len() == 1;
        let exit = run_all(&RunRequest {
            scenarios: scenarios.clone(),
            runs: 1,
            backend: backend.clone(),
            properties: BTreeMap::new(),
            seed: None,
            sampled: true,
            out: Some(folder.clone()),
            quiet: true,
            json: false,
            inconclusive: InconclusivePolicy::Warn,
            command: request.command.clone(),
        })?;
        if exit == ExitCode::Interrupted {
            return Ok(None);
        }
        let mut undecided = Vec::new();
        for loaded in scenarios {
            let scenario = loaded.scenario.name.clone();
            let folder = if single { folder.clone() } else { folder.join(&scenario) };
            let (arm, broken) = read_arm(name, &folder)?;
            // What broke off says nothing of brokers, however often it is tried.
            if let Some(why) = broken {
                return Err(ConformanceError::Failed { arm: name.to_owned(), scenario, why });
            }
            let why = arm.summary.reasons.first().cloned().unwrap_or_default();
            if arm.summary.verdict == Verdict::Inconclusive && attempt < request.attempts {
                tell(Progress::Again { arm: name, scenario: &scenario, why: &why });
                undecided.push(loaded);
            } else {
                arms.push(arm);
            }
        }
        scenarios = undecided;
    }
    Ok(Some(arms))
}

/// Reads back what a run left, and what went wrong where it broke off.
fn read_arm(name: &str, folder: &Path) -> Result<(Arm, Option<String>), ConformanceError> {
    let path = folder.join("events.jsonl");
    let file = File::open(&path).map_err(|error| read(&path, error.to_string()))?;
    let events = read_log(BufReader::new(file)).map_err(|error| read(&path, error.to_string()))?;
    let summary = judge(&events).map_err(|error| read(&path, error.to_string()))?.summary;
    let broken = events.iter().find_map(|event| match &event.body {
        Body::RunEnded { outcome: Outcome::Failed { what } } => Some(what.clone()),
        _ => None,
    });
    Ok((Arm { name: name.to_owned(), summary, delivered: Delivered::read(&events) }, broken))
}

fn read(path: &Path, what: String) -> ConformanceError {
    ConformanceError::Read { path: path.to_owned(), what }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ConformanceError> {
    fs::write(path, bytes).map_err(|source| ConformanceError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_are_written_as_they_are_read() {
        for text in ["embedded", "container", "container:3", "external", "virtual", "virtual:embedded"] {
            assert_eq!(text.parse::<ArmChoice>().map(|arm| arm.to_string()), Ok(text.to_owned()));
        }
        for text in ["container:0", "container:10", "container:x", "mock", "embedded:2", ""] {
            assert!(text.parse::<ArmChoice>().is_err(), "{text}");
        }
    }
}
