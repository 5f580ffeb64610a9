//! Runs a scenario.
