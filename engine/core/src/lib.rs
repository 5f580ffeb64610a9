//! The deciding half of Fairpoll: whose turn, how much, what may be committed, which mode.
//!
//! Nothing here does I/O, reads a clock, draws a random number, starts a thread or knows Kafka's
//! client. Time and randomness are arguments, so the same inputs give the same outputs, and the
//! claims on fairness can be tested by the million.
//!
//! * [`PollMachine`]: from which lane how many records are taken in a poll.
//! * [`FirstFetch`]: which lanes are unknown rather than empty.
//! * [`OffsetTracker`]: what may be committed.
//! * [`lag`], [`mode`]: arithmetic and resolution.
#![forbid(unsafe_code)]

mod budget;
mod first_fetch;
mod index;
pub mod lag;
pub mod mode;
mod offsets;
mod poll;
mod time;

pub use budget::Budget;
pub use first_fetch::FirstFetch;
pub use index::{LaneIndex, PartitionIndex};
pub use offsets::{Completion, OffsetTracker};
pub use poll::{Cost, Grant, LaneConfig, PollMachine, PollSummary};
pub use time::{Timestamp, WakeReason, Wakeup};
