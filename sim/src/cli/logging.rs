//! Where log lines go: standard error, for people and for the runner, which keeps a worker's.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// The environment variable that says what is logged, in the words of `tracing_subscriber`.
const VARIABLE: &str = "FAIRPOLL_LOG";

/// Installs the log of this process; `default` is the level without the variable.
pub(super) fn install(default: &str) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    // A second installation in the same process is refused, and the first is as good.
    let _ = subscriber.try_init();
}
