//! Soak: many random schedules of faults, each a scenario of its own, each judged.
//!
//! [`run`] makes a scenario of every seed ([`plan`]), writes it down and gives it to a `fairpoll
//! run` of its own, several at a time: they mostly wait. What passed is removed; what failed stays
//! with its log, and one line says how to replay it.

pub mod plan;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fairpoll_judge::summary::Summary;
use thiserror::Error;

use crate::exit_code::ExitCode;
use crate::run::{interrupt, posix};
use crate::scenario::{FaultKind, Scenario};

/// What the embedded broker, and the consumer's processes on it, can suffer.
pub const EMBEDDED_KINDS: &[FaultKind] = &[
    FaultKind::TopicFetchErrors,
    FaultKind::CommitErrors,
    FaultKind::BrokerDown,
    FaultKind::SlowBroker,
    FaultKind::LeaderMoved,
    FaultKind::CoordinatorMoved,
    FaultKind::PoisonRecord,
    FaultKind::ConsumerKilled,
    FaultKind::ConsumerFrozen,
    FaultKind::InstanceJoins,
    FaultKind::InstanceLeaves,
];

// Long enough not to burn a core, short enough not to lengthen a seed of five seconds.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What to soak.
#[derive(Debug, Clone)]
pub struct SoakRequest {
    /// The first seed.
    pub first_seed: u64,
    /// How many.
    pub seeds: u64,
    /// How many at a time.
    pub jobs: usize,
    /// Where failures are kept.
    pub out: PathBuf,
    /// Only these kinds.
    pub kinds: Vec<FaultKind>,
}

/// Why a soak could not be run.
#[derive(Debug, Error)]
pub enum SoakError {
    /// A folder or file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A scenario could not be turned into YAML.
    #[error("seed {seed} cannot be written as a scenario: {what}")]
    Format {
        /// The seed.
        seed: u64,
        /// The serializer's words.
        what: String,
    },
    /// A run could not be started.
    #[error("cannot start a run: {0}")]
    Start(io::Error),
    /// The signal handler could not be installed.
    #[error("cannot handle signals: {0}")]
    Signals(String),
}

/// How one seed ended.
#[derive(Debug)]
pub struct SeedEnd {
    /// Which.
    pub seed: u64,
    /// What its run answered.
    pub exit: i32,
    /// Its kinds of faults, in order.
    pub faults: Vec<FaultKind>,
    /// How long it took.
    pub took: Duration,
    /// Why it did not pass, in a sentence; empty if it did.
    pub reason: String,
    /// Its folder, if it is kept.
    pub kept: Option<PathBuf>,
    /// The auditor's counts over all modes.
    pub totals: Totals,
}

/// Counts over runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Runs of a mode that were judged.
    pub runs: u64,
    /// See [`fairpoll_judge::summary::Audit`].
    pub lost: u64,
    /// As above.
    pub out_of_order: u64,
    /// As above.
    pub committed_past_gap: u64,
    /// As above.
    pub duplicated: u64,
    /// As above.
    pub undelivered: u64,
}

impl Totals {
    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.lost += other.lost;
        self.out_of_order += other.out_of_order;
        self.committed_past_gap += other.committed_past_gap;
        self.duplicated += other.duplicated;
        self.undelivered += other.undelivered;
    }
}

/// Everything that was soaked.
#[derive(Debug, Default)]
pub struct SoakEnd {
    /// Seeds that were judged.
    pub seeds: u64,
    /// Seeds that did not pass.
    pub failed: Vec<u64>,
    /// How often each kind of fault happened.
    pub faults: BTreeMap<FaultKind, u64>,
    /// The auditor's counts.
    pub totals: Totals,
    /// The weightiest exit code.
    pub exit: ExitCode,
}

struct Job {
    seed: u64,
    faults: Vec<FaultKind>,
    folder: PathBuf,
    child: Child,
    began: Instant,
    _guard: interrupt::GuardedGroup,
}

/// Runs every seed and tells `each` as it ends. Call it on the main thread: runs die with the thread
/// that started them.
///
/// # Errors
/// If a scenario cannot be written or a run not be started.
pub fn run(request: &SoakRequest, each: &mut dyn FnMut(&SeedEnd)) -> Result<SoakEnd, SoakError> {
    interrupt::install().map_err(SoakError::Signals)?;
    let mut end = SoakEnd::default();
    let mut seeds = request.first_seed..request.first_seed.saturating_add(request.seeds);
    let mut jobs: Vec<Job> = Vec::new();
    loop {
        let interrupted = interrupt::requested();
        while jobs.len() < request.jobs.max(1) && !interrupted {
            let Some(seed) = seeds.next() else { break };
            jobs.push(start(request, seed)?);
        }
        if jobs.is_empty() {
            break;
        }
        if interrupted {
            for job in &jobs {
                // Once is enough, and a second one would make it stop without its report.
                posix::signal_group(job.child.id().cast_signed(), libc::SIGINT);
            }
            for mut job in std::mem::take(&mut jobs) {
                let _ = job.child.wait();
            }
            end.exit = ExitCode::Interrupted;
            break;
        }
        std::thread::sleep(LOOK_EVERY);
        let mut running = Vec::new();
        for mut job in jobs {
            match job.child.try_wait().map_err(SoakError::Start)? {
                None => running.push(job),
                Some(status) => {
                    use std::os::unix::process::ExitStatusExt as _;
                    let exit = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                    let seed = conclude(job, exit);
                    end.take(&seed);
                    each(&seed);
                }
            }
        }
        jobs = running;
    }
    // Empty where everything passed.
    let _ = fs::remove_dir(&request.out);
    Ok(end)
}

impl SoakEnd {
    fn take(&mut self, seed: &SeedEnd) {
        self.seeds += 1;
        self.totals.add(seed.totals);
        for kind in &seed.faults {
            *self.faults.entry(*kind).or_default() += 1;
        }
        let exit = ExitCode::from_number(seed.exit).unwrap_or(ExitCode::Internal);
        if exit != ExitCode::Pass {
            self.failed.push(seed.seed);
        }
        if exit.weight() > self.exit.weight() {
            self.exit = exit;
        }
    }
}

fn start(request: &SoakRequest, seed: u64) -> Result<Job, SoakError> {
    let scenario = plan::scenario(seed, &request.kinds);
    let folder = request.out.join(&scenario.name);
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| SoakError::Write { path, source }
    };
    fs::create_dir_all(&folder).map_err(write(&folder))?;
    let file = folder.join("scenario.yaml");
    fs::write(&file, text(&scenario)?).map_err(write(&file))?;
    let log = folder.join("run.log");
    let output = fs::File::create(&log).map_err(write(&log))?;
    let program = std::env::current_exe().map_err(SoakError::Start)?;
    let mut command = Command::new(program);
    command.arg("run").arg(&file).arg("--out").arg(folder.join("report"));
    command.args(["--inconclusive", "fail", "--unsampled"]).stdin(Stdio::null());
    command.stdout(output.try_clone().map_err(write(&log))?).stderr(output);
    posix::tie_to_this_thread(&mut command);
    let child = command.spawn().map_err(SoakError::Start)?;
    let guard = interrupt::guard(child.id().cast_signed());
    let faults = scenario.faults.iter().map(|fault| fault.kind).collect();
    Ok(Job { seed, faults, folder, child, began: Instant::now(), _guard: guard })
}

/// A scenario as a file that a person can run, read and change.
fn text(scenario: &Scenario) -> Result<String, SoakError> {
    serde_saphyr::to_string(scenario)
        .map_err(|error| SoakError::Format { seed: scenario.seed, what: error.to_string() })
}

fn conclude(job: Job, exit: i32) -> SeedEnd {
    let Job { seed, faults, folder, began, .. } = job;
    let took = began.elapsed();
    let summary: Option<Summary> = fs::read(folder.join("report/summary.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let totals = summary.as_ref().map(totals).unwrap_or_default();
    if exit == ExitCode::Pass as i32 {
        // What passed is one command away: the seed is all there is to it.
        let _ = fs::remove_dir_all(&folder);
        return SeedEnd { seed, exit, faults, took, reason: String::new(), kept: None, totals };
    }
    let said = summary.and_then(|summary| summary.reasons.into_iter().next());
    let reason = said.unwrap_or_else(|| last_line(&folder.join("run.log")));
    SeedEnd { seed, exit, faults, took, reason, kept: Some(folder), totals }
}

fn totals(summary: &Summary) -> Totals {
    let mut totals = Totals::default();
    for audit in summary.audit.values() {
        totals.add(Totals {
            runs: 1,
            lost: audit.lost,
            out_of_order: audit.out_of_order,
            committed_past_gap: audit.committed_past_gap,
            duplicated: audit.duplicated,
            undelivered: audit.undelivered,
        });
    }
    totals
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or("it said nothing").to_owned()
}
