//! Brokers: where a scenario is replayed.
