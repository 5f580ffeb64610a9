//! Scenarios: what a YAML file says, and what it means once it is checked.
//!
//! [`Scenario`] and its parts are the file, key by key; the JSON Schema is generated from them.

mod backlog;
mod expand;
mod mode;
mod model;

pub use backlog::{Backlog, BacklogSize};
pub use expand::TopicPlan;
pub use mode::{FAIRPOLL_MODES, GROUP_STRATEGIES, Mode, ModeKind};
pub use model::*;
