//! Replays backlog scenarios against brokers and measures every mode in a process of its own.
//!
//! ```text
//! scenario ─▶ broker ─▶ load (fill, verify, live) ─▶ run (worker processes, samples) ─▶ events ─▶ fairpoll-judge
//! ```

pub mod benchmarks;
pub mod broker;
pub mod cli;
pub mod conformance;
pub mod event_log;
pub mod exit_code;
pub mod load;
pub mod meta;
pub mod run;
pub mod scenario;
pub mod soak;
pub mod virtual_time;
pub mod worker;
