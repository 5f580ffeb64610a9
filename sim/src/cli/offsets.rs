//! `fairpoll offsets`.

mod migrate;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use fairpoll::Config;
use fairpoll::migration::{GroupIds, Migration, MigrationError, MigrationRequest, Overtaken};

use crate::cli::config::read_config;
use crate::cli::run::property;
use crate::cli::{tell, tell_error, tell_note};
use crate::exit_code::ExitCode;

/// What to do with committed offsets.
#[derive(Debug, Args)]
pub(super) struct OffsetsArguments {
    #[command(subcommand)]
    command: OffsetsCommand,
}

#[derive(Debug, Subcommand)]
enum OffsetsCommand {
    /// Take committed offsets along between one group for all topics and a group per topic.
    Migrate(MigrateArguments),
}

const EXAMPLES: &str = "\
Examples:
  fairpoll offsets migrate --config consumer.yaml --from shared --to own
  fairpoll offsets migrate --config consumer.yaml --from shared --to own --apply

`shared` is the group_id of the configuration, `own` a group per topic: {group_id}.{topic}. Stop every
instance of the program first. Without --apply nothing is written.

Exit codes: 0 done, or nothing to do, or --apply would do it; 2 wrong usage or an invalid configuration;
3 refused: a group has members, or positions are in conflict, and nothing was written; 6 the brokers did
not answer or did not take it. --apply that failed is run again: what it wrote stays.";

/// What to move.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct MigrateArguments {
    /// The consumer's configuration: .yaml, .yml, .json or .toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where the positions are: shared or own.
    #[arg(long, value_name = "GROUPS")]
    from: GroupIds,
    /// Where they go: own or shared.
    #[arg(long, value_name = "GROUPS")]
    to: GroupIds,
    /// Write. Without it, only say what would be written.
    #[arg(long)]
    apply: bool,
    /// Go on at the first record that is left where retention removed the next one.
    #[arg(long)]
    clamp: bool,
    /// `host:port`, comma separated, in the place of the configuration's.
    #[arg(long, value_name = "B")]
    bootstrap_servers: Option<String>,
    /// A librdkafka property, in the place of the configuration's; may be repeated.
    #[arg(long = "property", value_name = "K=V", value_parser = property)]
    properties: Vec<(String, String)>,
    /// How long each question to the brokers may take, seconds.
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout_s: u64,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn offsets(arguments: &OffsetsArguments) -> ExitCode {
    let OffsetsCommand::Migrate(arguments) = &arguments.command;
    let config = match read_config(&arguments.config) {
        Ok(read) => arguments.over(read.config),
        Err(unreadable) => return unreadable.tell(),
    };
    match migrate(&config, arguments) {
        Ok(()) => ExitCode::Pass,
        Err(error) => {
            tell_error(&error);
            exit_code(&error)
        }
    }
}

fn migrate(config: &Config, arguments: &MigrateArguments) -> Result<(), MigrationError> {
    let mut migration = Migration::survey(config, arguments.request())?;
    let permitted = migration.permitted();
    // What was found is told before anything is written, whatever becomes of that.
    let found = migrate::Found::of(&migration, permitted.as_ref().err());
    if !arguments.json {
        tell(migrate::text(&found));
    }
    let outcome = permitted.and_then(|()| if arguments.apply { migration.apply() } else { Ok(0) });
    if arguments.json {
        tell(format!("{:#}", migrate::json(&found, &outcome)));
    }
    let written = outcome?;
    if !arguments.json {
        tell_note(match (migration.has_work(), written) {
            (true, _) => "nothing was written; --apply does it".to_owned(),
            (false, 0) => "there is nothing to do".to_owned(),
            (false, written) => format!("{written} written, read back and right"),
        });
    }
    Ok(())
}

fn exit_code(error: &MigrationError) -> ExitCode {
    match error {
        MigrationError::Config(_) | MigrationError::SameGroups(_) | MigrationError::NoTopic { .. } => {
            ExitCode::Usage
        }
        MigrationError::Active { .. } | MigrationError::Conflicts { .. } => ExitCode::GateFailed,
        _ => ExitCode::Infrastructure,
    }
}

impl MigrateArguments {
    /// The configuration with what was said here in the place of what it says.
    fn over(&self, config: Config) -> Config {
        let config = match &self.bootstrap_servers {
            Some(servers) => config.bootstrap_servers(servers),
            None => config,
        };
        self.properties.iter().fold(config, |config, (name, value)| config.property(name, value))
    }

    fn request(&self) -> MigrationRequest {
        MigrationRequest {
            from: self.from,
            to: self.to,
            overtaken: if self.clamp { Overtaken::Clamp } else { Overtaken::Refuse },
            timeout: Duration::from_secs(self.timeout_s),
        }
    }
}
