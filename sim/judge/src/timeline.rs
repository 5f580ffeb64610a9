//! What the pictures show: the course of one run of one mode.
//!
//! All times are milliseconds since the measured worker's `start`.

/// The course of one run of one mode.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    /// The mode's name.
    pub mode: String,
    /// 1 for the first run.
    pub run: u32,
    /// When the first batch returned.
    pub first_batch_ms: Option<f64>,
    /// When the backlog was delivered.
    pub backlog_delivered_ms: Option<f64>,
    /// When the run ended.
    pub end_ms: f64,
    /// Per topic, in the scenario's order.
    pub topics: Vec<TopicTimeline>,
    /// Records per second, by time window: (middle of the window, rate).
    pub throughput: Vec<(f64, f64)>,
    /// Resident memory: (time, MiB).
    pub rss_mib: Vec<(f64, f64)>,
    /// Threads: (time, count).
    pub threads: Vec<(f64, u32)>,
    /// Established connections to brokers: (time, count).
    pub connections: Vec<(f64, u32)>,
    /// Complete inputs so far: (time, count). A step function.
    pub complete_inputs: Vec<(f64, u64)>,
    /// Smallest served/entitled over the topics, by group of polls: (time, ratio).
    pub share: Vec<(f64, f64)>,
    /// Records delivered and not yet delivered, over all topics: (time, records).
    pub lag: Vec<(f64, u64)>,
    /// The scenario's faults, in the order of their beginnings.
    pub faults: Vec<FaultStretch>,
    /// When partitions were assigned or revoked after the group had all of them for the first time.
    pub rebalances: Vec<f64>,
    /// The consumer's processes that were measured, in the order of their starts.
    pub processes: Vec<Process>,
}

/// A fault, and what followed.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultStretch {
    /// Its kind, as the scenario names it.
    pub kind: String,
    /// What it concerned: `topic orders`, `broker 2`, `instance 1`; empty where everything.
    pub what: String,
    /// From, ms.
    pub from_ms: f64,
    /// To, ms; the beginning again where it happened once; absent where it lasted to the end.
    pub to_ms: Option<f64>,
    /// How long it took until every partition that it concerned, and in which records were waiting,
    /// was delivered from again: from its beginning for what happens to a process or once, from its
    /// end for what lasts. Absent where that never came.
    pub delivered_again_ms: Option<f64>,
    /// Records delivered more than once, from its beginning to the next fault's.
    pub repeated: u64,
}

/// A process of the consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Its number in the run.
    pub life: u32,
    /// Which instance it was; a restart keeps the number.
    pub instance: u32,
    /// When it was started, ms.
    pub from_ms: f64,
    /// When it was gone, ms, and how; absent in a log that breaks off.
    pub ended: Option<(f64, Ending)>,
    /// Polls that returned records.
    pub polls: u64,
    /// Records it delivered, repeated ones too.
    pub records: u64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to.
    Stopped,
    /// A fault killed it.
    Killed,
    /// By itself.
    Failed,
}

/// The course of one topic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TopicTimeline {
    /// The topic's name.
    pub name: String,
    /// Stretches in order, without overlap.
    pub service: Vec<Stretch>,
    /// Records delivered so far: (time, count), thinned to what a plot can show.
    pub cumulative: Vec<(f64, u64)>,
    /// When its first record was delivered.
    pub first_record_ms: Option<f64>,
    /// Its backlog, in records.
    pub backlog: u64,
}

/// A stretch of a topic's life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// From, ms.
    pub from_ms: f64,
    /// To, ms.
    pub to_ms: f64,
    /// What went on.
    pub state: ServiceState,
}

/// What a topic lived through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// Polls delivered records of it.
    Served,
    /// It had available records and polls delivered none.
    Starving,
    /// It had available records, and nobody owned the partitions that held them.
    Ownerless,
    /// It had no available records.
    Idle,
}
