//! Judges consumer runs from their event log.
//!
//! Everything here is a pure function of the events (and of the manifest that stands beside
//! them): the same log gives the same verdict, table, plot and file, today or in a year. The
//! crate knows no consumer, no broker and no runtime; a stranger judges.
//!
//! * [`protocol`]: what a worker process is told and what it answers.
//! * [`event`]: the log of a run, one event per poll, never one per record.
//! * [`audit`]: what became of every record. [`analysis`]: metrics and the course of a run.
//! * [`metric`]: the one table of what is measured. [`gate`]: the language that judges it.
//! * [`judge`]: all of it, from a log to a verdict.
//! * [`benchmark`]: what criterion measured, which is no run's log.
//! * [`conformance`]: the same scenario on several brokers.
//! * [`summary`], [`timeline`]: what the judgement says, in numbers and in pictures' data.
//! * [`manifest`]: on what machine and with which versions the log came to be.

pub mod analysis;
pub mod audit;
pub mod benchmark;
pub mod conformance;
pub mod event;
pub mod gate;
pub mod judge;
pub mod manifest;
pub mod metric;
pub mod protocol;
pub mod report;
mod schema;
pub mod summary;
#[cfg(test)]
mod testing;
pub mod timeline;

pub use schema::schemas;
