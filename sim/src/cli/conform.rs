//! `fairpoll conform`.

use std::path::PathBuf;

use clap::Args;
use fairpoll_judge::conformance::terminal;

use crate::cli::run::image_of_environment;
use crate::cli::{load_all, tell, tell_error, tell_note};
use crate::conformance::{self, ArmChoice, ConformanceRequest, Progress};
use crate::exit_code::ExitCode;
use crate::run::posix::terminal_columns;

const EXAMPLES: &str = "\
Examples:
  fairpoll conform scenarios/*.yaml
  fairpoll conform scenarios/normal.yaml --arm embedded --arm container --arm container:3
  fairpoll conform scenarios/*.yaml --arm embedded --arm external --bootstrap-servers kafka:9092

Verdicts, gates on counts, and the records that were delivered must be the same; clock times may
differ, and are told. A scenario that an arm cannot hold, or whose faults it cannot do, is left out
there. Exit code 3: arms differ; 4: one was inconclusive every time; 5: nothing could be compared.";

/// What to compare.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConformArguments {
    /// Scenario files; all are checked before the first runs.
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<PathBuf>,
    /// A broker: embedded, container, container:N (N nodes) or external; may be repeated. The others
    /// are held against the first.
    #[arg(long = "arm", value_name = "ARM", default_values = ["embedded", "container"])]
    arms: Vec<ArmChoice>,
    /// Run everything on every arm so often; each time must come to the same end.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Run an inconclusive scenario so often at most.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,
    /// The image of containers, as for `fairpoll run`.
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// `host:port`, comma separated; with `--arm external`.
    #[arg(long, value_name = "B")]
    bootstrap_servers: Option<String>,
    /// The folder for the comparison and every run's report.
    #[arg(long, value_name = "DIR", default_value = "reports/conformance")]
    out: PathBuf,
}

pub(super) fn conform(arguments: &ConformArguments) -> ExitCode {
    for (index, arm) in arguments.arms.iter().enumerate() {
        if arguments.arms[..index].contains(arm) {
            tell_error(format!("--arm {arm} is given twice; --rounds N repeats all of them"));
            return ExitCode::Usage;
        }
    }
    let scenarios = match load_all(&arguments.scenarios) {
        Ok(scenarios) => scenarios,
        Err(code) => return code,
    };
    let request = ConformanceRequest {
        scenarios,
        arms: arguments.arms.clone(),
        rounds: arguments.rounds,
        attempts: arguments.attempts,
        image: arguments.image.clone().or_else(image_of_environment),
        bootstrap_servers: arguments.bootstrap_servers.clone(),
        out: arguments.out.clone(),
        command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
    };
    match conformance::run(&request, &mut tell_progress) {
        Ok(None) => ExitCode::Interrupted,
        Ok(Some(comparisons)) => {
            for comparison in &comparisons {
                tell(terminal(comparison, terminal_columns().unwrap_or(100)).trim_end());
            }
            tell(arguments.out.join("conformance.md").display());
            conformance::exit_code(&comparisons)
        }
        Err(error) => {
            tell_error(&error);
            error.exit_code()
        }
    }
}

fn tell_progress(progress: Progress<'_>) {
    match progress {
        Progress::Begins { arm, scenarios } => tell_note(format!("{arm}: {scenarios} scenarios")),
        Progress::Unfit { arm, why } => tell_note(format!("{arm}: left out: {why}")),
        Progress::Again { arm, scenario, why } => {
            tell_note(format!("{arm}: {scenario} was inconclusive and is run again: {why}"));
        }
        Progress::Ends { arm, took } => tell_note(format!("{arm}: {:.0} s", took.as_secs_f64())),
    }
}
