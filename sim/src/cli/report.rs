//! `fairpoll report`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::tell_error;
use crate::exit_code::ExitCode;

/// Of what.
#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// A folder that `fairpoll run` wrote: of one scenario, or of several.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn report(arguments: &ReportArguments) -> ExitCode {
    match crate::run::rerender(&arguments.folder) {
        Ok(code) => code,
        Err(error) => {
            tell_error(&error);
            error.exit_code()
        }
    }
}
