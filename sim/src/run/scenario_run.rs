//! One scenario: every run of every mode, interleaved, then the judgement.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use fairpoll_judge::event::{Body, Event};
use fairpoll_judge::manifest::BrokerFacts;
use fairpoll_judge::summary::Verdict;

use super::console::Console;
use super::crew::our_worker;
use super::life::Trouble;
use super::mode_run::{self, ModeRun};
use super::output::OutputFolder;
use super::progress::{Progress, RunProgress};
use super::spec::Part;
use super::stage::{Stage, StageError};
use super::tally::Tally;
use super::{RunError, RunRequest, interrupt, manifest, results, secrets};
use crate::event_log::{Clock, EventLog, EventSink};
use crate::exit_code::ExitCode;
use crate::scenario::{Loaded, Mode, ModeKind};

/// One run of one mode, to be performed on whatever there is.
pub(crate) struct Act<'a> {
    /// Which.
    pub(crate) part: &'a Part<'a>,
    /// Everything random follows from it.
    pub(crate) seed: u64,
    /// Where its files go.
    pub(crate) folder: &'a OutputFolder,
    /// Receives its events.
    pub(crate) sink: &'a EventSink,
    /// Shows how far it is.
    pub(crate) progress: &'a mut RunProgress,
    /// Counts what it delivers.
    pub(crate) tally: &'a mut Tally,
    /// What the manifest says of the broker.
    pub(crate) broker: &'a mut BrokerFacts,
}

/// Performs a run. What was measured stands in the log, whatever the answer; only [`Body::RunEnded`] is left
/// to the caller.
pub(crate) type Perform<'a> = dyn FnMut(Act<'_>) -> Result<(), Trouble> + 'a;

/// Sets the stage for one run of one mode.
pub(crate) type OpenStage<'a> =
    dyn FnMut(&Part<'_>, &EventSink) -> Result<(Box<dyn Stage>, BrokerFacts), StageError> + 'a;

/// How one scenario ended.
#[derive(Debug)]
pub(crate) struct ScenarioEnd {
    /// What it means for the exit code.
    pub(crate) exit: ExitCode,
    /// The verdict; absent where nothing could be judged.
    pub(crate) verdict: Option<Verdict>,
}

/// Runs one scenario into `folder`. What could be measured is judged and written, whatever went
/// wrong on the way.
pub(crate) fn run(
    request: &RunRequest,
    loaded: &Loaded,
    folder: &OutputFolder,
    console: Console,
    perform: &mut Perform<'_>,
) -> Result<ScenarioEnd, RunError> {
    let scenario = &loaded.scenario;
    let seed = request.seed.unwrap_or(scenario.seed);
    let mut header = loaded.header(request.backend.kind(), request.runs);
    for mode in &mut header.modes {
        mode.label = secrets::mask_text(&mode.label);
    }
    let unknown = BrokerFacts {
        kind: request.backend.kind().to_owned(),
        version: None,
        image: None,
        nodes: 0,
        imposed_properties: BTreeMap::new(),
        properties: request.properties.clone(),
    };
    let mut manifest = manifest::gather(loaded, seed, &request.command, unknown);
    folder.write_json("manifest.json", &manifest)?;
    let log = create_log(folder, request.backend.clock())?;
    log.append(Event {
        t_ns: log.now_ns(),
        mode: None,
        run: None,
        body: Body::Header(Box::new(header.clone())),
    });

    let mut progress = Progress::new(console, scenario.modes.iter().map(|mode| mode.name.as_str()));
    let run_id = run_id();
    let mut trouble = None;
    for (mode, run) in order(&scenario.modes, request.runs) {
        let part = Part {
            scenario,
            header: &header,
            mode,
            run,
            sampled: request.sampled,
            prefix: format!("fairpoll-{run_id}-{}-{run}-", mode.name),
        };
        let sink = log.sink(&mode.name, run);
        let mut run_progress = progress.begin(&mode.name, run, request.runs);
        let mut tally = Tally::default();
        let result = perform(Act {
            part: &part,
            seed,
            folder,
            sink: &sink,
            progress: &mut run_progress,
            tally: &mut tally,
            broker: &mut manifest.broker,
        });
        // Ctrl-C reaches the broker's children too: what failed then failed because of it.
        let result = if interrupt::requested() { Err(Trouble::Interrupted) } else { result };
        let outcome = mode_run::outcome(&result);
        run_progress.end(tally.records(), words(&result));
        sink.emit(Body::RunEnded { outcome });
        folder.write_json("manifest.json", &manifest)?;
        match result {
            Ok(()) => {}
            // The other modes may still be in time: that is what is compared.
            Err(Trouble::Deadline(what)) => {
                progress.aside(|| console.error(&format!("{}: {what}", scenario.name)))
            }
            Err(stopped) => {
                trouble = Some(stopped);
                break;
            }
        }
    }
    progress.finish();
    if let Some(Trouble::Failed { what, exit: ExitCode::Usage }) = &trouble {
        // Refused before anything was measured: a table would look like a result.
        console.error(&format!("{}: {what}", scenario.name));
        return Ok(ScenarioEnd { exit: ExitCode::Usage, verdict: None });
    }
    let judged = conclude(&log, folder, &manifest, console);
    let Some(trouble) = trouble else {
        let summary = judged?;
        let exit = results::exit_code(&summary, request.inconclusive, console);
        return Ok(ScenarioEnd { exit, verdict: Some(summary.verdict) });
    };
    let exit = match trouble {
        Trouble::Failed { what, exit } => {
            console.error(&format!("{}: {what}", scenario.name));
            exit
        }
        Trouble::Interrupted | Trouble::Deadline(_) => {
            console.error(&format!(
                "interrupted; what was measured so far stands in {}",
                folder.path().display()
            ));
            ExitCode::Interrupted
        }
    };
    // A fragment of a log may be too little to judge; the reason is already told.
    Ok(ScenarioEnd { exit, verdict: judged.ok().map(|summary| summary.verdict) })
}

/// Performs a run on a broker: sets the stage, and starts workers on it.
pub(crate) fn on_a_stage(act: Act<'_>, open_stage: &mut OpenStage<'_>) -> Result<(), Trouble> {
    let Act { part, folder, sink, progress, tally, broker, .. } = act;
    progress.phase("starting the broker");
    let (mut stage, facts) = open_stage(part, sink)?;
    *broker = manifest::masked(facts);
    let command = worker_command(part.mode)?;
    let log = log_path(folder, part)?;
    ModeRun { part, command: &command, log: &log, stage: &mut *stage, sink, progress }.perform(tally)
}

fn conclude(
    log: &EventLog,
    folder: &OutputFolder,
    manifest: &fairpoll_judge::manifest::Manifest,
    console: Console,
) -> Result<fairpoll_judge::summary::Summary, RunError> {
    let path = folder.path().join("events.jsonl");
    let events = log.finish().map_err(|source| RunError::Read { path, source })?;
    results::publish(&events, Some(manifest), folder, console)
}

fn create_log(folder: &OutputFolder, clock: Clock) -> Result<EventLog, RunError> {
    let path = folder.path().join("events.jsonl");
    EventLog::create(&path, clock).map_err(|source| super::output::OutputError::Open { path, source }.into())
}

fn log_path(folder: &OutputFolder, part: &Part<'_>) -> Result<std::path::PathBuf, Trouble> {
    let logs = folder.path().join("logs");
    match std::fs::create_dir_all(&logs) {
        Ok(()) => Ok(logs.join(format!("{}-{}.log", part.mode.name, part.run))),
        Err(error) => Err(Trouble::Failed {
            what: format!("cannot create {}: {error}", logs.display()),
            exit: ExitCode::Infrastructure,
        }),
    }
}

fn worker_command(mode: &Mode) -> Result<Vec<String>, Trouble> {
    match &mode.kind {
        ModeKind::Command(command) => Ok(command.clone()),
        ModeKind::Fairpoll(_) => our_worker(),
    }
}

/// Names this run of this scenario on a cluster that others use too. Milliseconds, because two
/// scenarios of one process may begin within a second.
fn run_id() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", since_epoch.as_millis(), std::process::id())
}

/// Run 1 of every mode in the scenario's order, run 2 in reverse, and so on (ABBA): what drifts
/// with time (heat, caches, a neighbour) then weighs on all modes alike.
fn order(modes: &[Mode], runs: u32) -> Vec<(&Mode, u32)> {
    let mut order = Vec::new();
    for run in 1..=runs {
        let one = modes.iter().map(|mode| (mode, run));
        if run % 2 == 1 { order.extend(one) } else { order.extend(one.rev()) }
    }
    order
}

fn words(result: &Result<(), Trouble>) -> &'static str {
    match result {
        Ok(()) => "done",
        Err(Trouble::Deadline(_)) => "deadline passed",
        Err(Trouble::Interrupted) => "interrupted",
        Err(Trouble::Failed { .. }) => "failed",
    }
}
