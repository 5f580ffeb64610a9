//! Load: the producer's side of a scenario.
