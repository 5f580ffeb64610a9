//! `fairpoll meta`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::run::ModelKind;
use crate::cli::{load_all, tell, tell_error, tell_note};
use crate::exit_code::ExitCode;
use crate::meta::{Comparison, compare};
use crate::run::{Backend, ModelChoice, suits};

const EXAMPLES: &str = "\
Examples:
  fairpoll meta scenarios/*.yaml --seeds 20
  fairpoll meta scenarios/normal.yaml --first-seed 4711 --seeds 1   # compare its hash with another machine's

A scenario that virtual time has no model of is named and left out. Exit code 1: traces differ, which is
a defect of this tool; 5: nothing could be compared.";

/// What to compare.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MetaArguments {
    /// Scenario files.
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<PathBuf>,
    /// How many seeds of each.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed instead of the scenario's own; the others follow it.
    #[arg(long, value_name = "S")]
    first_seed: Option<u64>,
    /// Of which broker virtual time is a model.
    #[arg(long, value_enum, value_name = "BROKER", default_value_t = ModelKind::Kafka)]
    model: ModelKind,
}

pub(super) fn meta(arguments: &MetaArguments) -> ExitCode {
    let scenarios = match load_all(&arguments.scenarios) {
        Ok(scenarios) => scenarios,
        Err(code) => return code,
    };
    let model = ModelChoice::from(arguments.model);
    let mut exit = ExitCode::NoBaseline;
    for loaded in &scenarios {
        let name = &loaded.scenario.name;
        if let Err(error) = suits(&loaded.scenario, Backend::Virtual(model).kind()) {
            tell_note(error);
            continue;
        }
        let first = arguments.first_seed.unwrap_or(loaded.scenario.seed);
        for seed in (0..arguments.seeds).map(|number| first.wrapping_add(number)) {
            match compare(loaded, seed, model) {
                Ok(comparison) => {
                    tell(line(name, &comparison));
                    if comparison.differs.is_some() {
                        exit = ExitCode::Internal;
                    } else if exit == ExitCode::NoBaseline {
                        exit = ExitCode::Pass;
                    }
                }
                Err(unmodelled) => {
                    tell_error(format!("{name}: {unmodelled}"));
                    return ExitCode::Usage;
                }
            }
        }
    }
    exit
}

fn line(name: &str, comparison: &Comparison) -> String {
    let Comparison { seed, lines, sha256, differs } = comparison;
    let words = match differs {
        None => "identical".to_owned(),
        Some(at) => format!("DIFFERENT from line {} on:\n  {}\n  {}", at.line, at.first, at.second),
    };
    format!("{name}, seed {seed}: {lines} lines, {}, {words}", &sha256[..16])
}
