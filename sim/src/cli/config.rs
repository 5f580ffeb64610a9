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
    match load(path, arguments.brokers) {
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
        Err(unreadable) => unreadable.tell(),
    }
}

/// A configuration and the text that it was read from.
pub(super) struct ReadConfig {
    pub(super) config: Config,
    text: String,
}

/// Why a file is no configuration.
pub(super) enum Unreadable {
    /// Its name does not say how it is written.
    Nameless(PathBuf),
    /// What is wrong, at its places.
    Load(LoadError),
}

impl Unreadable {
    /// Tells it on standard error.
    pub(super) fn tell(&self) -> ExitCode {
        match self {
            Self::Nameless(path) => {
                tell_error(format!(
                    "`{}` does not say how it is written; name it .yaml, .yml, .json or .toml",
                    path.display()
                ));
                ExitCode::Usage
            }
            Self::Load(error) => {
                tell_load_error(error, rendering());
                error.exit_code()
            }
        }
    }
}

/// The configuration of a file. Whatever is wrong at a place in it is told there.
pub(super) fn read_config(path: &Path) -> Result<ReadConfig, Unreadable> {
    let format = Format::of(path).ok_or_else(|| Unreadable::Nameless(path.to_owned()))?;
    let text = read_text(path, FileKind::Configuration).map_err(Unreadable::Load)?;
    let config = Config::from_text(&text, format)
        .map_err(|problems| invalid(path, problems.source_text(), problems.problems()))?;
    Ok(ReadConfig { config, text })
}

/// The explanation of a file. What is missing in it has no place.
fn load(path: &Path, brokers: Option<u32>) -> Result<Result<Explanation, StartError>, Unreadable> {
    let ReadConfig { config, text } = read_config(path)?;
    let explained = config.explain(brokers);
    match explained.as_ref().err().and_then(|error| located(&config, &text, &error.to_string())) {
        Some(problem) => Err(invalid(path, &mask_source(&text, &[]), &[problem])),
        None => Ok(explained),
    }
}

/// With the text masked: the lines around a problem may hold secrets.
fn invalid(path: &Path, masked: &str, problems: &[Problem]) -> Unreadable {
    Unreadable::Load(LoadError::Invalid {
        path: path.to_owned(),
        kind: FileKind::Configuration,
        source_text: masked.to_owned(),
        problems: problems.to_vec(),
    })
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
