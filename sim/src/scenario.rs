//! Scenarios: what a YAML file says, and what it means once it is checked.
//!
//! [`Scenario`] and its parts are the file, key by key; the JSON Schema is generated from them.
//! [`load()`] reads a file, checks it and says everything that is wrong with it at once.

mod backlog;
mod check;
mod conform;
mod expand;
pub mod faults;
mod gates;
mod load;
mod mode;
mod model;
mod problem;
mod schema;

pub use fairpoll::files::Problem;
use fairpoll::files::document as tree;
pub use fairpoll::suggest;

pub use backlog::{Backlog, BacklogSize};
pub use expand::TopicPlan;
pub use load::{GateLines, Loaded, UnknownMode, load, read_text};
pub use mode::{FAIRPOLL_MODES, GROUP_STRATEGIES, Mode, ModeKind, Sharing};
pub use model::*;
pub use problem::{FileKind, LoadError, Rendering};
pub use schema::schema;
