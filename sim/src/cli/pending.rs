//! What other rooms of the house will provide. Goes when they do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::exit_code::ExitCode;
use crate::scenario::Loaded;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BrokerChoice {
    Embedded,
    External { bootstrap_servers: String },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum InconclusivePolicy {
    Fail,
    #[default]
    Warn,
    Pass,
}

#[derive(Debug, Clone)]
#[expect(dead_code, reason = "nobody runs scenarios yet")]
pub(super) struct RunRequest {
    pub(super) scenarios: Vec<Loaded>,
    pub(super) runs: u32,
    pub(super) broker: BrokerChoice,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) seed: Option<u64>,
    pub(super) out: Option<PathBuf>,
    pub(super) quiet: bool,
    pub(super) json: bool,
    pub(super) inconclusive: InconclusivePolicy,
    pub(super) command: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("not built yet")]
pub(super) struct RunError;

impl RunError {
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::Internal
    }
}

pub(super) fn run_all(_: &RunRequest) -> Result<ExitCode, RunError> {
    Err(RunError)
}

pub(super) fn rerender(_: &Path) -> Result<ExitCode, RunError> {
    Err(RunError)
}

pub(super) fn judge_schemas() -> Vec<(&'static str, serde_json::Value)> {
    Vec::new()
}

pub(super) fn worker() -> ExitCode {
    ExitCode::Internal
}

pub(super) fn broker() -> ExitCode {
    ExitCode::Internal
}
