//! `fairpoll soak`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{tell, tell_error};
use crate::exit_code::ExitCode;
use crate::scenario::FaultKind;
use crate::soak::{self, EMBEDDED_KINDS, SeedEnd, SoakEnd, SoakRequest};

const EXAMPLES: &str = "\
Examples:
  fairpoll soak --seeds 20
  fairpoll soak --first-seed 4711 --seeds 1      # replays one
  fairpoll soak --seeds 100 --kind consumer_killed --kind broker_down

A seed that fails keeps its folder: the scenario, the log and the report.";

/// What to soak.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SoakArguments {
    /// How many seeds: each is a random load under a random schedule of faults, run in every mode.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed; the others follow it.
    #[arg(long, value_name = "S", default_value_t = 1)]
    first_seed: u64,
    /// Seeds at a time.
    #[arg(long, value_name = "J", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Only faults of this kind; may be repeated.
    #[arg(long = "kind", value_name = "KIND", value_parser = kind)]
    kinds: Vec<FaultKind>,
    /// Where failures are kept.
    #[arg(long, value_name = "DIR", default_value = "reports/soak")]
    out: PathBuf,
}

fn kind(name: &str) -> Result<FaultKind, String> {
    EMBEDDED_KINDS.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
        let names: Vec<&str> = EMBEDDED_KINDS.iter().map(|kind| kind.name()).collect();
        format!("there are {}", names.join(", "))
    })
}

pub(super) fn soak(arguments: &SoakArguments) -> ExitCode {
    let kinds = if arguments.kinds.is_empty() { EMBEDDED_KINDS.to_vec() } else { arguments.kinds.clone() };
    let request = SoakRequest {
        first_seed: arguments.first_seed,
        seeds: arguments.seeds,
        jobs: usize::from(arguments.jobs),
        out: arguments.out.clone(),
        kinds,
    };
    let only: String = arguments.kinds.iter().map(|kind| format!(" --kind {}", kind.name())).collect();
    match soak::run(&request, &mut |seed| tell_seed(seed, &only)) {
        Ok(end) => {
            tell_end(&end);
            end.exit
        }
        Err(error) => {
            tell_error(error);
            ExitCode::Infrastructure
        }
    }
}

fn tell_seed(end: &SeedEnd, only: &str) {
    let faults: Vec<&str> = end.faults.iter().map(|kind| kind.name()).collect();
    let SeedEnd { seed, exit, reason, .. } = end;
    let seconds = end.took.as_secs_f64();
    match &end.kept {
        None => tell(format!("seed {seed}: pass, {seconds:.0} s ({})", faults.join(", "))),
        Some(kept) => {
            tell(format!("seed {seed}: exit {exit}, {seconds:.0} s ({}): {reason}", faults.join(", ")));
            tell(format!(
                "  replay: fairpoll soak --first-seed {seed} --seeds 1{only}   (kept in {})",
                kept.display()
            ));
        }
    }
}

fn tell_end(end: &SoakEnd) {
    let SoakEnd { seeds, failed, faults, totals, .. } = end;
    let kinds: Vec<String> = faults.iter().map(|(kind, count)| format!("{} {count}", kind.name())).collect();
    tell(format!(
        "{seeds} seeds, {} runs, {} faults of {} kinds: {}",
        totals.runs,
        faults.values().sum::<u64>(),
        faults.len(),
        kinds.join(", ")
    ));
    tell(format!(
        "lost {}, undelivered {}, out of order {}, committed past a gap {}, duplicated {}",
        totals.lost, totals.undelivered, totals.out_of_order, totals.committed_past_gap, totals.duplicated
    ));
    if !failed.is_empty() {
        let seeds: Vec<String> = failed.iter().map(u64::to_string).collect();
        tell(format!("did not pass: seeds {}", seeds.join(", ")));
    }
}
