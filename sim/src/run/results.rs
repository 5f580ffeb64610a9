//! From the event log to verdict, files and exit code.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use fairpoll_judge::event::Event;
use fairpoll_judge::judge::{Judgement, judge, read_log};
use fairpoll_judge::manifest::Manifest;
use fairpoll_judge::report::{self, ReportInput, TerminalStyle};
use fairpoll_judge::summary::{GateVerdict, Summary, Verdict};

use super::console::Console;
use super::output::OutputFolder;
use super::{InconclusivePolicy, RunError};
use crate::exit_code::ExitCode;

/// Judges the events, writes every file of the report, and prints the table.
pub(crate) fn publish(
    events: &[Event],
    manifest: Option<&Manifest>,
    folder: &OutputFolder,
    console: Console,
) -> Result<Summary, RunError> {
    let Judgement { summary, timelines } =
        judge(events).map_err(|error| RunError::Judge { what: error.to_string() })?;
    // The numbers first: should a plot fail, they are there.
    let json = folder.write_json("summary.json", &summary)?;
    let input = ReportInput { summary: &summary, timelines: &timelines, manifest };
    for (name, contents) in report::files(&input) {
        folder.write(&name, contents.as_bytes())?;
    }
    let style = TerminalStyle { width: console.columns(), color: console.colors() };
    console.result(&report::terminal(&input, style));
    console.result(&format!("report: {}", folder.path().join("report.html").display()));
    console.document(&json);
    Ok(summary)
}

/// What a judged scenario means for the exit code. Noise is weighed by `policy`; whatever else
/// is inconclusive always counts.
pub(crate) fn exit_code(summary: &Summary, policy: InconclusivePolicy, console: Console) -> ExitCode {
    match summary.verdict {
        Verdict::Fail => ExitCode::GateFailed,
        Verdict::Inconclusive => ExitCode::Inconclusive,
        Verdict::Pass => {
            let undecided =
                summary.gates.iter().filter(|gate| gate.verdict == GateVerdict::Indicative).count();
            match (undecided, policy) {
                (0, _) | (_, InconclusivePolicy::Pass) => ExitCode::Pass,
                (_, InconclusivePolicy::Warn) => {
                    console.note(&format!("{undecided} gates compare clock times and decide nothing yet"));
                    ExitCode::Pass
                }
                (_, InconclusivePolicy::Fail) => ExitCode::Inconclusive,
            }
        }
    }
}

/// Judges a folder's events again and writes its report anew.
///
/// # Errors
/// If the folder holds no events that can be judged, or cannot be written to.
pub(crate) fn rerender(dir: &Path, console: Console) -> Result<ExitCode, RunError> {
    let log = dir.join("events.jsonl");
    let file = File::open(&log).map_err(|source| RunError::Read { path: log.clone(), source })?;
    let events = read_log(BufReader::new(file))
        .map_err(|error| RunError::Log { path: log.clone(), what: error.to_string() })?;
    let manifest_path = dir.join("manifest.json");
    let manifest: Option<Manifest> = match File::open(&manifest_path) {
        // A log can be judged alone.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(RunError::Read { path: manifest_path, source }),
        Ok(file) => Some(
            serde_json::from_reader(BufReader::new(file))
                .map_err(|error| RunError::Log { path: manifest_path, what: error.to_string() })?,
        ),
    };
    let folder = OutputFolder::existing(dir);
    let summary = publish(&events, manifest.as_ref(), &folder, console)?;
    Ok(exit_code(&summary, InconclusivePolicy::Warn, console))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::console::Verbosity;
    use fairpoll_judge::summary::GateResult;
    use std::collections::BTreeMap;

    fn code(verdict: Verdict, gate: GateVerdict, policy: InconclusivePolicy) -> ExitCode {
        let gate = GateResult {
            expression: "fair.drain_s <= single.drain_s".to_owned(),
            line: 0,
            verdict: gate,
            holds: None,
            left: None,
            right: None,
            detail: None,
        };
        let summary = Summary {
            schema_version: 1,
            scenario: "s".to_owned(),
            purpose: String::new(),
            broker: "embedded".to_owned(),
            runs: 1,
            verdict,
            reasons: Vec::new(),
            mode_order: Vec::new(),
            modes: BTreeMap::new(),
            audit: BTreeMap::new(),
            demonstrates: Vec::new(),
            gates: vec![gate],
        };
        exit_code(&summary, policy, Console::new(Verbosity::Quiet, false))
    }

    #[test]
    fn noise_is_weighed_by_the_policy() {
        let noisy = |policy| code(Verdict::Pass, GateVerdict::Indicative, policy);
        assert_eq!(noisy(InconclusivePolicy::Fail), ExitCode::Inconclusive);
        assert_eq!(noisy(InconclusivePolicy::Warn), ExitCode::Pass);
        assert_eq!(noisy(InconclusivePolicy::Pass), ExitCode::Pass);
    }

    #[test]
    fn no_policy_softens_a_failed_gate_or_a_flawed_measurement() {
        let lenient = InconclusivePolicy::Pass;
        assert_eq!(code(Verdict::Fail, GateVerdict::Fail, lenient), ExitCode::GateFailed);
        assert_eq!(code(Verdict::Inconclusive, GateVerdict::Pass, lenient), ExitCode::Inconclusive);
        assert_eq!(code(Verdict::Pass, GateVerdict::Pass, InconclusivePolicy::Fail), ExitCode::Pass);
    }
}
