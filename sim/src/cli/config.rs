//! `fairpoll config`.

mod explain;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use fairpoll::Config;
use fairpoll::files::{Format, reference};

use crate::cli::{rendering, tell, tell_error, tell_load_error};
use crate::exit_code::ExitCode;
use crate::scenario::{FileKind, LoadError, read_text};

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
    let config = match load(path, format) {
        Ok(config) => config,
        Err(error) => {
            tell_load_error(&error, rendering());
            return error.exit_code();
        }
    };
    match config.explain(arguments.brokers) {
        Ok(explanation) => {
            match arguments.format {
                Output::Text => tell(explain::text(path, &explanation).trim_end()),
                Output::Json => tell(format!("{:#}", explain::json(path, &explanation))),
            }
            ExitCode::Pass
        }
        Err(error) => {
            tell_error(format!("`{}` is no usable configuration: {error}", path.display()));
            ExitCode::Usage
        }
    }
}

fn load(path: &Path, format: Format) -> Result<Config, LoadError> {
    let text = read_text(path, FileKind::Configuration)?;
    Config::from_text(&text, format).map_err(|problems| LoadError::Invalid {
        path: path.to_owned(),
        kind: FileKind::Configuration,
        // Masked: the lines around a problem may hold secrets.
        source_text: problems.source_text().to_owned(),
        problems: problems.problems().to_vec(),
    })
}
