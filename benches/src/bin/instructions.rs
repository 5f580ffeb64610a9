//! How many instructions the deciding half takes, as callgrind counts them, with limits: `ci/instructions` runs it.
//!
//! The count does not depend on who else uses the machine and is the same in every run, so a limit can stand close
//! to what was measured. The compiler decides it as well: a new toolchain means new numbers, which is what a count
//! that is off says.
//!
//! The parent starts itself once for each case under `valgrind --tool=callgrind`, which collects only while
//! [`collected`] runs. Everything is counted over [`POLLS`] polls, after as many that are not: the first ones
//! allocate.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program; what it prints is its result")]

use std::env;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::process::{Command, ExitCode};
use std::time::Duration;

use fairpoll_benches::{backlogged_machine, full_poll};
use fairpoll_core::{
    Cost, Lag, LagProportional, LaneConfig, LaneIndex, OffsetRange, OffsetTracker, PartitionIndex, Policy,
    PollMachine, QuotaLimits, Timestamp,
};

const POLLS: u32 = 100;
const QUOTA: u32 = 500;
/// In a hundred, either way: what is slower than it was must be meant, and a limit far above says nothing.
const TOLERANCE: u64 = 2;
/// The child's first argument; a case's name follows.
const COUNT: &str = "--count";

struct Case {
    name: &'static str,
    /// What it is counted per.
    units: u32,
    /// Instructions, when the number was last set.
    measured: u64,
    /// Prepares, and does the rest in [`collected`].
    run: fn(),
}

const CASES: [Case; 8] = [
    Case { name: "grant, 12 lanes", units: 12 * POLLS, measured: 451_716, run: || grants(12) },
    Case { name: "grant, 1000 lanes", units: 1_000 * POLLS, measured: 35_624_516, run: || grants(1_000) },
    Case { name: "arrival, 12 lanes", units: 12 * POLLS, measured: 630_622, run: || arrivals(12) },
    Case { name: "arrival, 1000 lanes", units: 1_000 * POLLS, measured: 50_919_822, run: || arrivals(1_000) },
    Case { name: "batch, 12 partitions", units: 12 * POLLS, measured: 215_025, run: || batches(12) },
    Case {
        name: "batch, 1000 partitions",
        units: 1_000 * POLLS,
        measured: 17_776_725,
        run: || batches(1_000),
    },
    Case { name: "record behind a gap", units: QUOTA, measured: 294_525, run: acknowledgements },
    Case { name: "lag, 12 lanes", units: 12 * POLLS, measured: 1_615_346, run: || lags(12) },
];

/// Callgrind's `--toggle-collect`: nothing else may be called so.
#[inline(never)]
fn collected(work: impl FnOnce()) {
    work();
}

/// One grant for each lane and poll.
fn grants(lanes: u32) {
    let mut machine = backlogged_machine(lanes, QUOTA, Policy::DeficitRoundRobin);
    let mut polls = || {
        for _ in 0..POLLS {
            black_box(full_poll(&mut machine, None));
        }
    };
    polls();
    collected(polls);
}

/// Each lane says that it has a record, is served and runs empty.
fn arrivals(lanes: u32) {
    let quota = NonZeroU32::new(QUOTA).expect("not 0");
    let configs = (0..lanes).map(|_| LaneConfig::with_quota(quota));
    let mut machine = PollMachine::new(configs, Policy::DeficitRoundRobin);
    let mut polls = || {
        for _ in 0..POLLS {
            for lane in 0..lanes {
                machine.lane_ready(LaneIndex(lane));
            }
            machine.begin(Timestamp::ZERO, None);
            while let Some(grant) = machine.next_grant() {
                machine.settle(grant, 1, Cost { bytes: 100 });
            }
            black_box(machine.end(Timestamp::ZERO));
        }
    };
    polls();
    collected(polls);
}

/// A batch of every partition is delivered, and completed as a whole.
fn batches(partitions: u32) {
    let mut tracker = OffsetTracker::new();
    for partition in (0..partitions).map(PartitionIndex) {
        tracker.assigned(partition, None);
    }
    let mut first = 0;
    let mut polls = || {
        for _ in 0..POLLS {
            let range = OffsetRange { first, last: first + i64::from(QUOTA) - 1 };
            for partition in (0..partitions).map(PartitionIndex) {
                let generation = tracker.delivered(partition, range).expect("assigned");
                black_box(tracker.completed(partition, generation, range).expect("delivered"));
            }
            first += i64::from(QUOTA);
        }
    };
    polls();
    collected(polls);
}

/// Every record of a batch acknowledged by itself, the first one last: all the others wait behind a gap.
fn acknowledgements() {
    let partition = PartitionIndex(0);
    let mut tracker = OffsetTracker::new();
    tracker.assigned(partition, None);
    let records = i64::from(QUOTA);
    let range = OffsetRange { first: 0, last: records - 1 };
    let generation = tracker.delivered(partition, range).expect("assigned");
    collected(|| {
        for offset in (1..records).chain([0]) {
            let one = OffsetRange { first: offset, last: offset };
            black_box(tracker.completed(partition, generation, one).expect("delivered"));
        }
    });
}

/// Quotas follow the lags, looked at once for each poll.
fn lags(lanes: u32) {
    let quota = |records| NonZeroU32::new(records).expect("not 0");
    let limits = QuotaLimits { min: quota(10), max: quota(QUOTA) };
    let configs = (0..lanes).map(|_| LaneConfig::with_quota(quota(QUOTA)));
    let mut quotas = LagProportional::new(limits, configs);
    let lag = |lane| Some(Lag { records: u64::from(lane) * 1_000, age: Duration::ZERO });
    let mut lags: Vec<_> = (0..lanes).map(lag).collect();
    let mut at = Timestamp::ZERO;
    let mut looks = || {
        for _ in 0..POLLS {
            lags.rotate_left(1);
            at = at + Duration::from_secs(1);
            black_box(quotas.observe(at, &lags));
        }
    };
    looks();
    collected(looks);
}

/// In a child under callgrind; `Err` is what it said instead of a count.
fn count(case: &Case) -> Result<u64, String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args([
        "--tool=callgrind",
        "--toggle-collect=instructions::collected*",
        "--callgrind-out-file=/dev/null",
    ]);
    valgrind.arg(env::current_exe().map_err(|error| error.to_string())?).args([COUNT, case.name]);
    let output = valgrind
        .output()
        .map_err(|error| format!("valgrind does not start: {error}; ci/get-valgrind installs it"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match collected {
        Some(collected) if output.status.success() => Ok(collected),
        _ => Err(format!("{}: {said}", output.status)),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [first, name] = &arguments[..]
        && first == COUNT
    {
        CASES.iter().filter(|case| case.name == name).for_each(|case| (case.run)());
        return ExitCode::SUCCESS;
    }
    let mut code = ExitCode::SUCCESS;
    for case in &CASES {
        let counted = match count(case) {
            Ok(counted) => counted,
            Err(error) => {
                eprintln!("{}: {error}", case.name);
                return ExitCode::from(2);
            }
        };
        let off = counted.abs_diff(case.measured) * 100 > case.measured * TOLERANCE;
        let verdict = match (off, counted > case.measured) {
            (false, _) => "",
            (true, true) => "  SLOWER than its limit",
            (true, false) => "  faster: lower the number in benches/src/bin/instructions.rs",
        };
        let each = counted / u64::from(case.units);
        println!("{:24} {each:6} each {counted:12} in all, of {:12}{verdict}", case.name, case.measured);
        if off {
            code = ExitCode::FAILURE;
        }
    }
    code
}
