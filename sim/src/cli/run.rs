//! `fairpoll run`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::{load_all, tell_error, tell_note};
use crate::exit_code::ExitCode;
use crate::run::{Backend, BrokerChoice, InconclusivePolicy, ModelChoice, RunRequest, run_all};
use crate::scenario::Loaded;

const EXAMPLES: &str = "\
Examples:
  fairpoll run scenarios/backlog-after-downtime.yaml
  fairpoll run scenarios/normal.yaml --mode single --mode fair --runs 3
  fairpoll run scenarios/backlog-after-downtime.yaml --broker container
  fairpoll run scenarios/*.yaml --broker external --bootstrap-servers kafka:9092
  fairpoll run scenarios/normal.yaml --json --out results | jq .verdict

The folder with the results (report.html, summary.json, events.jsonl, …) is printed last.";

/// What to run.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArguments {
    /// Scenario files; all are checked before the first runs.
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<PathBuf>,
    /// Run only this mode of the scenario; may be repeated. Gates that name others are left out.
    #[arg(long = "mode", value_name = "M")]
    modes: Vec<String>,
    /// Runs of each mode; metrics are medians.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// What noise means: exit code 4, a warning, or nothing.
    #[arg(long, value_enum, default_value_t = Noise::Warn)]
    inconclusive: Noise,
    /// Where the scenario is replayed.
    #[arg(long, value_enum, default_value_t = BrokerKind::Embedded)]
    broker: BrokerKind,
    /// `host:port`, comma separated; with `--broker external`.
    #[arg(long, value_name = "B")]
    bootstrap_servers: Option<String>,
    /// The image of `--broker container`; without it the first that is on this machine of
    /// apache/kafka:4.1.0 and fairpoll/kafka:4.1.0, else the former is pulled.
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Leave the containers of `--broker container` running, and say how to reach and remove them.
    #[arg(long)]
    keep: bool,
    /// Of which broker `--broker virtual` is a model.
    #[arg(long, value_enum, value_name = "BROKER")]
    model: Option<ModelKind>,
    /// A librdkafka property for every client; may be repeated.
    #[arg(long = "property", value_name = "K=V", value_parser = property)]
    properties: Vec<(String, String)>,
    /// Overrides the scenarios' seed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The folder for the results; without it a fresh one under `reports/`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print nothing but errors.
    #[arg(long)]
    quiet: bool,
    /// Do not look at the workers' memory, threads and sockets: several runs at a time would only
    /// find out that the machine is busy.
    #[arg(long, hide = true)]
    unsampled: bool,
    /// Print summary.json on standard output and everything else on standard error.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Noise {
    /// Exit code 4.
    Fail,
    /// A line on standard error.
    Warn,
    /// Nothing.
    Pass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BrokerKind {
    /// librdkafka's mock cluster in a child process; nothing to install.
    Embedded,
    /// Apache Kafka in a container, started and removed by the run.
    Container,
    /// A cluster of yours.
    External,
    /// None: a model of consumer and broker in virtual time, in no time; see docs/virtual-time.md.
    Virtual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ModelKind {
    /// Apache Kafka beside the consumer (the default).
    Kafka,
    /// The embedded broker.
    Embedded,
}

impl From<ModelKind> for ModelChoice {
    fn from(kind: ModelKind) -> Self {
        match kind {
            ModelKind::Kafka => Self::Kafka,
            ModelKind::Embedded => Self::Embedded,
        }
    }
}

/// Why the arguments cannot be meant so.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Misuse {
    #[error("--broker external needs --bootstrap-servers HOST:PORT")]
    NoBootstrap,
    #[error(
        "--bootstrap-servers is for --broker external; add that, or leave the servers out to use the embedded broker"
    )]
    BootstrapWithoutExternal,
    #[error("--{option} is for --broker container; add that, or leave it out")]
    WithoutContainer { option: &'static str },
    #[error("--model is for --broker virtual; add that, or leave it out")]
    WithoutVirtual,
    #[error("--property {key} is given twice; keep one")]
    PropertyTwice { key: String },
    #[error("--property {key} is set by the harness, anew for each run{remedy}")]
    HarnessProperty { key: String, remedy: &'static str },
}

pub(super) fn run(arguments: &RunArguments) -> ExitCode {
    let (backend, properties) = match arguments.backend().and_then(|b| Ok((b, arguments.properties()?))) {
        Ok(settings) => settings,
        Err(misuse) => {
            tell_error(misuse);
            return ExitCode::Usage;
        }
    };
    let mut scenarios = match load_all(&arguments.scenarios) {
        Ok(scenarios) => scenarios,
        Err(code) => return code,
    };
    if let Err(code) = arguments.keep_modes(&mut scenarios) {
        return code;
    }
    if matches!(backend, Backend::Broker(BrokerChoice::External { .. })) && !arguments.quiet {
        for scenario in scenarios.iter().map(|loaded| &loaded.scenario).filter(|s| s.broker.nodes > 1) {
            tell_note(format!(
                "{}: it asks for {} nodes; a cluster of yours is taken as it is",
                scenario.name, scenario.broker.nodes
            ));
        }
    }
    let request = RunRequest {
        scenarios,
        runs: arguments.runs,
        backend,
        properties,
        seed: arguments.seed,
        sampled: !arguments.unsampled,
        out: arguments.out.clone(),
        quiet: arguments.quiet,
        json: arguments.json,
        inconclusive: arguments.inconclusive.into(),
        command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
    };
    run_all(&request).unwrap_or_else(|error| {
        tell_error(&error);
        error.exit_code()
    })
}

impl RunArguments {
    fn backend(&self) -> Result<Backend, Misuse> {
        if self.broker != BrokerKind::Container {
            if self.image.is_some() {
                return Err(Misuse::WithoutContainer { option: "image" });
            }
            if self.keep {
                return Err(Misuse::WithoutContainer { option: "keep" });
            }
        }
        if self.broker != BrokerKind::Virtual && self.model.is_some() {
            return Err(Misuse::WithoutVirtual);
        }
        let servers = self.bootstrap_servers.as_ref();
        Ok(Backend::Broker(match (self.broker, servers) {
            (BrokerKind::External, Some(servers)) if !servers.trim().is_empty() => {
                BrokerChoice::External { bootstrap_servers: servers.clone() }
            }
            (BrokerKind::External, _) => return Err(Misuse::NoBootstrap),
            (_, Some(_)) => return Err(Misuse::BootstrapWithoutExternal),
            (BrokerKind::Virtual, None) => {
                return Ok(Backend::Virtual(self.model.map(Into::into).unwrap_or_default()));
            }
            (BrokerKind::Embedded, None) => BrokerChoice::Embedded,
            (BrokerKind::Container, None) => BrokerChoice::Container {
                image: self.image.clone().or_else(image_of_environment),
                keep: self.keep,
            },
        }))
    }

    fn properties(&self) -> Result<BTreeMap<String, String>, Misuse> {
        let mut properties = BTreeMap::new();
        for (key, value) in &self.properties {
            match key.as_str() {
                "bootstrap.servers" | "metadata.broker.list" => {
                    let remedy = "; use --bootstrap-servers";
                    return Err(Misuse::HarnessProperty { key: key.clone(), remedy });
                }
                "group.id" => return Err(Misuse::HarnessProperty { key: key.clone(), remedy: "" }),
                _ => {}
            }
            if properties.insert(key.clone(), value.clone()).is_some() {
                return Err(Misuse::PropertyTwice { key: key.clone() });
            }
        }
        Ok(properties)
    }

    fn keep_modes(&self, scenarios: &mut [Loaded]) -> Result<(), ExitCode> {
        let wanted: BTreeSet<&String> = self.modes.iter().collect();
        let wanted: Vec<String> = wanted.into_iter().cloned().collect();
        for loaded in scenarios {
            match loaded.keep_modes(&wanted) {
                Ok(dropped) => {
                    for expression in dropped.iter().filter(|_| !self.quiet) {
                        tell_note(format!(
                            "{}: `{expression}` names a mode that is not run; left out",
                            loaded.scenario.name
                        ));
                    }
                }
                Err(unknown) => {
                    tell_error(unknown);
                    return Err(ExitCode::Usage);
                }
            }
        }
        Ok(())
    }
}

/// Unlike an option it may be set for good, so it is no misuse beside another kind of broker.
pub(super) fn image_of_environment() -> Option<String> {
    std::env::var("FAIRPOLL_KAFKA_IMAGE").ok().filter(|image| !image.is_empty())
}

impl From<Noise> for InconclusivePolicy {
    fn from(noise: Noise) -> Self {
        match noise {
            Noise::Fail => Self::Fail,
            Noise::Warn => Self::Warn,
            Noise::Pass => Self::Pass,
        }
    }
}

pub(super) fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("a property is written `key=value`".to_owned()),
    }
}
