//! Ctrl-C: the first asks, the second kills at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::posix;
use crate::exit_code::ExitCode;

static REQUESTS: AtomicU32 = AtomicU32::new(0);
static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
static GROUPS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Takes over SIGINT, SIGTERM and SIGHUP for the rest of the process's life. Idempotent.
///
/// # Errors
/// If another handler is already in place; the text says so.
pub(crate) fn install() -> Result<(), String> {
    INSTALLED.get_or_init(|| ctrlc::set_handler(on_signal).map_err(|error| error.to_string())).clone()
}

/// Whether somebody asked us to stop.
pub(crate) fn requested() -> bool {
    REQUESTS.load(Ordering::Relaxed) > 0
}

// Runs on a thread of ctrlc's own, not in signal context: locks are fine.
fn on_signal() {
    if REQUESTS.fetch_add(1, Ordering::Relaxed) == 0 {
        return;
    }
    for leader in groups().iter() {
        posix::signal_group(*leader, libc::SIGKILL);
    }
    // The broker child dies with us: its standard input ends and the kernel signals it.
    std::process::exit(ExitCode::Interrupted as i32);
}

/// A process group that must not outlive us, for as long as this lives.
#[derive(Debug)]
pub(crate) struct GuardedGroup {
    leader: i32,
}

/// Has the second Ctrl-C kill this group.
pub(crate) fn guard(leader: i32) -> GuardedGroup {
    groups().push(leader);
    GuardedGroup { leader }
}

impl Drop for GuardedGroup {
    fn drop(&mut self) {
        groups().retain(|leader| *leader != self.leader);
    }
}

fn groups() -> MutexGuard<'static, Vec<i32>> {
    // A list of numbers is whole after any panic.
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}
