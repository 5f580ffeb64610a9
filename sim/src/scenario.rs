//! Scenarios: what a YAML file says, and what it means once it is checked.

mod model;

pub use model::*;
