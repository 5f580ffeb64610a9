//! `fairpoll config`.

mod explain;

use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use fairpoll::files::{Format, reference};
use fairpoll::secrets::mask_source;
use fairpoll::{Config, Explanation, Origin, StartError};

use crate::cli::{rendering, tell, tell_error, tell_load_error};
use crate::exit_code::ExitCode;
use crate::scenario::{FileKind, LoadError, Problem, read_text};

/// What to do with a consumer's configuration.
#[derive(Debug, Args)]
pub(super) struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say what a configuration comes to: mode, topology, every value with where it came from, cost.
    Explain(ExplainArguments),
    /// Print every key, preset, and librdkafka property with rules of its own, as Markdown.
    Reference,
}

const EXAMPLES: &str = "\
Examples:
  fairpoll config explain consumer.yaml
  fairpoll config explain consumer.toml --brokers 3 --format json

No broker is contacted. Secrets are masked.";

/// What to explain.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct ExplainArguments {
    /// The configuration: .yaml, .yml, .json or .toml.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Brokers of the cluster, for the predicted cost; without it, the bootstrap servers are counted.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    brokers: Option<u32>,
    /// For whom.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Output::Text)]
    format: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

pub(super) fn config(arguments: &ConfigArguments) -> ExitCode {
    match &arguments.command {
        ConfigCommand::Explain(arguments) => explain(arguments),
        ConfigCommand::Reference => {
            for section in reference() {
                tell(format!("## {}\n\n{}", section.title, section.table));
            }
            ExitCode::Pass
        }
    }
}

fn explain(arguments: &ExplainArguments) -> ExitCode {
    let path = &arguments.file;
    let Some(format) = Format::of(path) else {
        tell_error(format!(
            "`{}` does not say how it is written; name it .yaml, .yml, .json or .toml",
            path.display()
        ));
        return ExitCode::Usage;
    };
    match load(path, format, arguments.brokers) {
        Ok(Ok(explanation)) => {
            match arguments.format {
                Output::Text => tell(explain::text(path, &explanation).trim_end()),
                Output::Json => tell(format!("{:#}", explain::json(path, &explanation))),
            }
            ExitCode::Pass
        }
        Ok(Err(unusable)) => {
            tell_error(format!("`{}` is no usable configuration: {unusable}", path.display()));
            ExitCode::Usage
        }
        Err(error) => {
            tell_load_error(&error, rendering());
            error.exit_code()
        }
    }
}

/// The explanation of a file. Whatever is wrong at a place in it is a [`LoadError`]; what is missing
/// in it has no place.
fn load(
    path: &Path,
    format: Format,
    brokers: Option<u32>,
) -> Result<Result<Explanation, StartError>, LoadError> {
    let text = read_text(path, FileKind::Configuration)?;
    // Masked: the lines around a problem may hold secrets.
    let invalid = |masked: &str, problems: &[Problem]| LoadError::Invalid {
        path: path.to_owned(),
        kind: FileKind::Configuration,
        source_text: masked.to_owned(),
        problems: problems.to_vec(),
    };
    let config = Config::from_text(&text, format)
        .map_err(|problems| invalid(problems.source_text(), problems.problems()))?;
    let explained = config.explain(brokers);
    match explained.as_ref().err().and_then(|error| located(&config, &text, &error.to_string())) {
        Some(problem) => Err(invalid(&mask_source(&text, &[]), &[problem])),
        None => Ok(explained),
    }
}

/// What is wrong with settings that do not go together, at the first two that the message names.
fn located(config: &Config, text: &str, message: &str) -> Option<Problem> {
    let mut named: Vec<(usize, Range<usize>)> = config
        .said()
        .filter_map(|(setting, origin)| {
            let (key, line) = match origin {
                Origin::File { key, line } => (key, *line),
                Origin::Aiokafka { argument, line } => (argument, *line),
                _ => return None,
            };
            let line = usize::try_from(line).ok()?.checked_sub(1)?;
            let begin: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
            let at = begin + text[begin..].find(key.as_str())?;
            Some((message.find(setting)?, at..at + key.len()))
        })
        .collect();
    named.sort_by_key(|(mentioned, _)| *mentioned);
    let mut places = named.into_iter().map(|(_, place)| place);
    let problem = Problem::new(places.next()?, message, "this");
    Some(match places.next() {
        Some(other) => problem.also(other, "and this"),
        None => problem,
    })
}
