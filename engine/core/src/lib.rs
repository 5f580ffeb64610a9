//! The deciding half of Fairpoll: whose turn it is, how much it may take, what may be committed,
//! when to try again, which mode runs.
//!
//! Nothing in here reads a clock, draws a random number, opens a file or a socket, starts a thread
//! or waits. Time ([`Timestamp`]) and randomness are arguments; delays and wake-ups are results.
//! The same calls in the same order give the same answers.
//!
//! | decision | machine |
//! |---|---|
//! | which topology serves the topics | [`mode::resolve`], [`topology::Topology`] |
//! | what holds where the user says nothing | [`preset::Preset`], [`preset::GroupTiming`] |
//! | whose turn, how many records | [`poll::PollMachine`] over [`scheduler`] and [`quota`] |
//! | how much is fetched ahead | [`memory::FetchDemand`] |
//! | how quotas follow lag | [`quota::LagProportional`] |
//! | whether a first poll should still wait | [`first_fetch::FirstFetch`] |
//! | whether a poll waits for lanes that ran dry | [`refill::Refill`] |
//! | how long to wait for a record of each topic | [`complete_input::CompleteInput`] |
//! | what may be committed | [`offsets::OffsetTracker`] |
//! | who is left out of commits because it is refused, and until when | [`refusal::Refusals`] |
//! | how far behind | [`lag::PartitionLag`] |
//! | which position a group inherits from another | [`migration::step`] |
//! | when to try again | [`backoff::Backoff`] |
//! | when a shortage is given way to, and how far | [`pressure::Pressure`] |
//! | who is left alone because it fails, and until when | [`quarantine::Quarantine`] |

#![forbid(unsafe_code)]

pub mod backoff;
pub mod complete_input;
pub mod first_fetch;
pub mod lag;
pub mod lane;
pub mod memory;
pub mod migration;
pub mod mode;
pub mod offsets;
pub mod partition;
pub mod poll;
pub mod preset;
pub mod pressure;
pub mod quarantine;
pub mod quota;
pub mod refill;
pub mod refusal;
pub mod scheduler;
pub mod time;
pub mod topology;

pub use backoff::Backoff;
pub use complete_input::{CompleteInput, NextRecord};
pub use first_fetch::{Answer, FirstFetch, WatermarkBefore};
pub use lag::{Committed, Lag, LagUnknown, PartitionLag, Sample};
pub use lane::{LaneConfig, LaneIndex, LaneState};
pub use memory::{BudgetTooSmall, FetchDemand, FetchLimits};
pub use mode::{Mode, ModeReason, ModeRequest, RequestedMode, Resolution};
pub use offsets::{Committable, Completion, Generation, OffsetRange, OffsetTracker};
pub use partition::PartitionIndex;
pub use poll::{Cost, Grant, PollMachine, PollSummary};
pub use preset::{GroupTiming, PRESETS, Preset, RECORDS_DEFAULT};
pub use pressure::Pressure;
pub use quarantine::Quarantine;
pub use quota::{LagProportional, QuotaLedger, QuotaLimits};
pub use refill::{Ready, Refill};
pub use refusal::{Concern, Refusals};
pub use scheduler::Policy;
pub use time::{Timestamp, WakeReason, Wakeup};
pub use topology::{HandleIndex, Topology};
