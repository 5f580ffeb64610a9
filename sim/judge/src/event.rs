//! The event log: one stream, versioned, one event per poll and never per record.
//!
//! `events.jsonl` holds one [`Event`] per line. The first line of a log is a [`Body::Header`];
//! it carries everything of the scenario that judging needs, so a log can be judged alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::protocol::{ProcessingCost, WorkerLine};

/// Version of the log's format.
pub const LOG_VERSION: u32 = 1;

/// Longer than this between two samples of a worker, ns, and nobody looked at it: the machine stood
/// still. Samples are taken every 50 ms; what is ten times as long is no jitter.
pub const UNSAMPLED_NS: u64 = 500_000_000;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When the harness wrote it down (or, for a worker's line, received it): nanoseconds of the
    /// monotonic clock.
    pub t_ns: u64,
    /// The mode's name in the scenario; absent in the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// 1 for the first run of a mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// First line of a log.
    Header(Box<Header>),
    /// A run of a mode enters a phase.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// The broker acknowledged records: the producer's truth. Record `i` of the batch
    /// (0 ≤ i < count) has offset `first_offset + i`, id `first_id + i` and was due at
    /// `scheduled_t0_ns + i × interval_ns`.
    Produced {
        /// Topic, by its name in the scenario.
        topic: String,
        /// Partition number.
        partition: u32,
        /// Offset of the first record.
        first_offset: i64,
        /// Records.
        count: u64,
        /// Id of the first record.
        first_id: u64,
        /// When the first record was due, ns. For the backlog: when it was handed over.
        scheduled_t0_ns: u64,
        /// Time between two records of this batch, ns; 0 for the backlog.
        interval_ns: u64,
        /// When the broker acknowledged the batch, ns.
        ack_ns: u64,
        /// When the batch's last record was really handed to the producer, ns.
        sent_ns: u64,
        /// Why it was produced.
        origin: Origin,
    },
    /// A worker process was started. Every process of a run has a number of its own, its life: 1
    /// for the first, higher for a restart and for each further instance.
    WorkerStarted {
        /// Which process of the run.
        life: u32,
        /// Which of the consumer's instances it is: 1, 2, …; a restart keeps the number.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        instance: u32,
        /// Process id.
        pid: u32,
        /// The life whose polls are measured; an earlier one only prepares (consume, commit,
        /// stop) and is audited but not timed.
        measured: bool,
    },
    /// A line that a worker wrote, its topics renamed to the scenario's.
    Worker {
        /// Which life.
        life: u32,
        /// The line.
        line: WorkerLine,
    },
    /// A look at a worker process from outside.
    Sample {
        /// Which life.
        life: u32,
        /// Resident memory, KiB.
        rss_kib: u64,
        /// The kernel's high-water mark of resident memory, KiB.
        rss_peak_kib: u64,
        /// Threads.
        threads: u32,
        /// Established TCP connections to brokers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connections: Option<u32>,
        /// User and system CPU time so far, ms.
        cpu_ms: u64,
    },
    /// A worker process ended.
    WorkerExited {
        /// Which life.
        life: u32,
        /// Exit code, if it exited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        /// Signal, if it was killed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        /// User and system CPU time of its life, ms.
        cpu_ms: u64,
        /// It ended because the harness asked it to.
        expected: bool,
        /// A fault of the scenario killed it: it could neither commit nor say goodbye.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_fault: bool,
    },
    /// A fault of the scenario begins or ends.
    Fault {
        /// Its kind, as the scenario names it.
        kind: String,
        /// The topic it concerns.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
        /// The broker it concerns.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<u32>,
        /// The process it concerns.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        life: Option<u32>,
        /// `true` where it begins.
        begins: bool,
    },
    /// What the broker says after the run, asked by the harness's own client.
    BrokerOffsets {
        /// Topic, by its name in the scenario.
        topic: String,
        /// Partition number.
        partition: u32,
        /// First offset that the broker still has.
        log_start: i64,
        /// One past the last.
        log_end: i64,
        /// The group's committed offset; absent where there is none, or where the consumer
        /// commits under group ids of its own that could not be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        committed: Option<i64>,
        /// False where the committed offset could not be asked for.
        committed_known: bool,
    },
    /// The measurement itself has a hole: whatever the numbers say, they decide nothing.
    Flaw {
        /// What was missed.
        what: String,
    },
    /// This run of this mode ended.
    RunEnded {
        /// How.
        outcome: Outcome,
    },
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

/// Why a record was produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// For an earlier life of the consumer, which consumed and committed it.
    Before,
    /// On the broker before the measured consumer started.
    Backlog,
    /// Produced while the run lasted.
    Live,
}

/// Phases of a run, in order; join time is never drain time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Topics are created, filled and read back.
    Fill,
    /// The worker is started and gets its partitions.
    Join,
    /// Live production runs and faults are on.
    Disturb,
    /// Faults are over; what is left is delivered.
    Drain,
    /// The worker commits and stops.
    Stop,
}

/// How a run of a mode ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "how", deny_unknown_fields)]
pub enum Outcome {
    /// The stop rule was met.
    Finished,
    /// The deadline passed first.
    Deadline,
    /// The worker or the broker failed.
    Failed {
        /// What happened, for people.
        what: String,
    },
    /// Somebody interrupted the run.
    Interrupted,
}

/// What judging must know of the scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`LOG_VERSION`].
    pub version: u32,
    /// The scenario's name.
    pub scenario: String,
    /// What it is for, in a sentence.
    pub purpose: String,
    /// `embedded`, `external`, …
    pub broker: String,
    /// Runs of each mode.
    pub runs: u32,
    /// A record counts as available to a poll if the broker acknowledged it at least so long
    /// before the poll began, ms.
    pub availability_ms: u64,
    /// A run that takes longer ends as [`Outcome::Deadline`], s; absent in logs that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<f64>,
    /// The topics, in the scenario's order, expanded (`count: 9` → nine).
    pub topics: Vec<TopicFacts>,
    /// The modes, in the scenario's order.
    pub modes: Vec<ModeFacts>,
    /// Expressions that must hold for the scenario to be able to tell anything.
    pub demonstrates: Vec<GateFacts>,
    /// Expressions that decide.
    pub gates: Vec<GateFacts>,
    /// Processes of the consumer at the start.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub instances: u32,
}

/// A topic of the scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicFacts {
    /// Its name in the scenario.
    pub name: String,
    /// Partitions at the start; 0 where the topic comes into being later.
    pub partitions: u32,
    /// Weight among the lanes.
    pub weight: u32,
    /// Records on the broker before the measured consumer starts.
    pub backlog: u64,
    /// Records per second while the run lasts.
    pub rate_per_s: f64,
    /// Size of a record's value, bytes; absent in logs that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_bytes: Option<u32>,
    /// False where the scenario makes it fail for good: nothing of it can be delivered.
    pub deliverable: bool,
}

/// A mode of the scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModeFacts {
    /// Its name.
    pub name: String,
    /// What runs, in words: `fair`, `single with own properties`, a command line.
    pub label: String,
    /// Records per poll or per topic and poll.
    pub max_poll_records: u32,
    /// Cap of a whole poll.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_records: Option<u32>,
    /// Injected work.
    pub processing: ProcessingCost,
}

/// A gate as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateFacts {
    /// The expression.
    pub expression: String,
    /// Its line in the scenario file, from 1; 0 where unknown.
    pub line: u32,
}
