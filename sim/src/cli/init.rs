//! `fairpoll init`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::{tell, tell_error};
use crate::exit_code::ExitCode;

const STARTER: &str = include_str!("init/starter.yaml");

/// Where to.
#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// The file to write; an existing one is never overwritten.
    #[arg(default_value = "scenario.yaml", value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn init(arguments: &InitArguments) -> ExitCode {
    let path = &arguments.file;
    match write_new(path) {
        Ok(()) => {
            tell(format!("wrote {0}; next: fairpoll run {0}", path.display()));
            ExitCode::Pass
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            tell_error(format!("`{}` exists and is left as it is; name another file", path.display()));
            ExitCode::Usage
        }
        Err(error) => {
            tell_error(format!("`{}` cannot be written: {error}; name another file", path.display()));
            ExitCode::Usage
        }
    }
}

fn write_new(path: &Path) -> std::io::Result<()> {
    // `create_new` asks and creates in one step: nobody's file is lost to a race.
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(STARTER.as_bytes())
}
