//! The command line: what can be asked, and who answers.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write as _, stderr, stdout};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::exit_code::ExitCode;
use crate::scenario::{LoadError, Loaded, Rendering, load};

mod check;
mod config;
mod conform;
mod init;
mod logging;
mod meta;
mod offsets;
mod report;
mod run;
mod schema;
mod soak;
mod table;

const EXAMPLES: &str = "\
Examples:
  fairpoll run scenarios/backlog-after-downtime.yaml
  fairpoll run scenarios/*.yaml --runs 3 --out results
  fairpoll init my-scenario.yaml && fairpoll check my-scenario.yaml

Exit codes:
    0  everything held
    1  a defect of this tool
    2  wrong usage or an invalid scenario; nothing was run
    3  a gate or the audit failed; offsets: refused, nothing was written
    4  inconclusive: the measurement cannot decide
    5  there is nothing to compare with
    6  broker, container or worker failed
  130  interrupted
Over several scenarios the weightiest counts: 130 > 6 > 1 > 2 > 3 > 5 > 4 > 0.";

/// Replays backlog scenarios against Kafka consumers and judges what they delivered.
#[derive(Debug, Parser)]
#[command(name = "fairpoll", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios: every mode in a process of its own, measured, audited, judged.
    Run(run::RunArguments),
    /// Check scenario files without running them.
    Check(check::CheckArguments),
    /// Print the JSON Schemas of scenarios, events, summaries and the worker protocol.
    Schema(schema::SchemaArguments),
    /// Write a commented scenario to start from.
    Init(init::InitArguments),
    /// Judge the events of an earlier run again and write its report anew, or report benchmarks.
    Report(report::ReportArguments),
    /// Explain a consumer's configuration.
    Config(config::ConfigArguments),
    /// Move committed offsets between groups.
    Offsets(offsets::OffsetsArguments),
    /// Run random schedules of faults and see that no record is lost.
    Soak(soak::SoakArguments),
    /// Simulate scenarios twice in virtual time and see that both times are the same, byte for byte.
    Meta(meta::MetaArguments),
    /// Run scenarios on several brokers and see that they come to the same end.
    Conform(conform::ConformArguments),
    /// Be the measured consumer: one JSON document on stdin, NDJSON on stdout.
    #[command(hide = true)]
    Worker,
    /// Be the embedded broker: one command per line on stdin.
    #[command(hide = true)]
    Broker,
    /// Remove the containers of a cluster when standard input ends.
    #[command(hide = true)]
    Reaper {
        /// Its name.
        cluster: String,
    },
}

impl Arguments {
    /// Does what was asked, on this thread.
    #[must_use]
    pub fn dispatch(&self) -> ExitCode {
        // A worker's start-up line says which mode really runs, and why; the runner keeps it.
        logging::install(if matches!(self.command, Command::Worker) { "info" } else { "warn" });
        match &self.command {
            Command::Run(arguments) => run::run(arguments),
            Command::Check(arguments) => check::check(arguments),
            Command::Schema(arguments) => schema::schema(arguments),
            Command::Init(arguments) => init::init(arguments),
            Command::Report(arguments) => report::report(arguments),
            Command::Config(arguments) => config::config(arguments),
            Command::Offsets(arguments) => offsets::offsets(arguments),
            Command::Soak(arguments) => soak::soak(arguments),
            Command::Meta(arguments) => meta::meta(arguments),
            Command::Conform(arguments) => conform::conform(arguments),
            Command::Worker => crate::worker::main(),
            Command::Broker => crate::broker::mock::serve(),
            Command::Reaper { cluster } => crate::broker::reap(cluster),
        }
    }
}

/// Loads all scenarios. What is wrong with any of them is told on standard error, of all.
///
/// # Errors
/// The exit code, if one of them is invalid.
fn load_all(paths: &[PathBuf]) -> Result<Vec<Loaded>, ExitCode> {
    let mut loaded = Vec::new();
    let mut failed = None;
    for path in paths {
        match load(path) {
            Ok(scenario) => loaded.push(scenario),
            Err(error) => {
                failed = Some(error.exit_code());
                tell_load_error(&error, rendering());
            }
        }
    }
    match failed {
        None => Ok(loaded),
        Some(code) => Err(code),
    }
}

/// For whom errors are rendered.
fn rendering() -> Rendering {
    // https://no-color.org
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if stderr().is_terminal() && colours { Rendering::Fancy } else { Rendering::Plain }
}

#[expect(clippy::print_stderr, reason = "errors of the command line belong on standard error")]
fn tell_load_error(error: &LoadError, rendering: Rendering) {
    eprint!("{}", error.render(rendering));
    if matches!(error, LoadError::Invalid { .. }) {
        eprintln!("error: {error}");
    }
}

/// An error, as clap would put it.
#[expect(clippy::print_stderr, reason = "errors of the command line belong on standard error")]
fn tell_error(error: impl Display) {
    eprintln!("error: {error}");
}

/// Something worth knowing that is no result.
#[expect(clippy::print_stderr, reason = "standard output is for results")]
fn tell_note(note: impl Display) {
    eprintln!("note: {note}");
}

/// A result. A reader that has seen enough (`| head`) is no failure.
fn tell(text: impl Display) {
    match writeln!(stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            tell_error(format!("standard output cannot be written: {error}"));
        }
        _ => {}
    }
}
