//! `fairpoll report`.

use std::path::PathBuf;

use clap::Args;

use crate::benchmarks;
use crate::cli::{tell, tell_error};
use crate::exit_code::ExitCode;

const EXAMPLES: &str = "\
Examples:
  fairpoll report reports/normal-20250101T120000Z
  cargo bench -p fairpoll-benches && fairpoll report --bench
  fairpoll report --bench target/criterion --out docs

--bench writes benchmarks.html, which needs no other file, benchmarks.md with its pictures in
the folder benchmarks, and benchmarks.json. Criterion never forgets a benchmark: delete its folder
before measuring for a page without those that were renamed or removed.";

/// Of what.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReportArguments {
    /// A folder that `fairpoll run` wrote: of one scenario, or of several.
    #[arg(value_name = "DIR", required_unless_present = "bench", conflicts_with = "bench")]
    folder: Option<PathBuf>,
    /// Report benchmarks instead: what criterion 0.8 estimated, as a page with plots and tables. Without a
    /// folder: target/criterion.
    #[arg(long, value_name = "CRITERION_DIR", num_args = 0..=1, default_missing_value = "target/criterion")]
    bench: Option<PathBuf>,
    /// The folder for the page of benchmarks; other files in it stay, but for pictures in its `benchmarks/`.
    #[arg(long, value_name = "DIR", conflicts_with = "folder", default_value = "reports/benchmarks")]
    out: PathBuf,
}

pub(super) fn report(arguments: &ReportArguments) -> ExitCode {
    if let Some(criterion) = &arguments.bench {
        return match benchmarks::report(criterion, &arguments.out) {
            Ok(page) => {
                tell(page.display());
                ExitCode::Pass
            }
            Err(error) => {
                tell_error(&error);
                error.exit_code()
            }
        };
    }
    let Some(folder) = &arguments.folder else {
        unreachable!("clap requires one of both");
    };
    match crate::run::rerender(folder) {
        Ok(code) => code,
        Err(error) => {
            tell_error(&error);
            error.exit_code()
        }
    }
}
