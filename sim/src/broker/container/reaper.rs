//! Containers die with us: a process of our own that waits for our end and removes what is left.
//!
//! It removes after a normal end as well, so that the way after `kill -9` is the way that is
//! walked every time.

use std::io::{Read, Write, stdin};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::super::BrokerError;
use super::docker::{CLUSTER_LABEL, Docker};
use crate::exit_code::ExitCode;

/// Said at an end in good order.
const REMOVE: &str = "remove";
/// Said where the containers shall stay.
const KEEP: &str = "keep";
/// Three virtual machines are gone within two seconds; a daemon under load takes longer.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// The process that removes a cluster. Dropped without a word, it removes it too.
#[derive(Debug)]
pub(super) struct Reaper {
    child: Child,
    cluster: String,
}

impl Reaper {
    /// Starts it, before anything is there that it could remove: as `fairpoll reaper`, of this
    /// program unless another is given.
    pub(super) fn start(cluster: &str, program: Option<&Path>) -> Result<Self, BrokerError> {
        let failed = |error: std::io::Error| {
            BrokerError::Container(format!("no process to remove the containers afterwards: {error}"))
        };
        let program = match program {
            Some(program) => program.to_owned(),
            None => std::env::current_exe().map_err(failed)?,
        };
        let mut command = Command::new(program);
        command.args(["reaper", cluster]).stdin(Stdio::piped()).stdout(Stdio::null());
        // Ctrl-C in a terminal goes to the whole group in front; this one must outlive it.
        command.process_group(0);
        Ok(Self { child: command.spawn().map_err(failed)?, cluster: cluster.to_owned() })
    }

    /// Has the cluster removed, and waits for it.
    pub(super) fn remove(self) {
        self.end(REMOVE);
    }

    /// Leaves the cluster alone for good.
    pub(super) fn keep(self) {
        self.end(KEEP);
    }

    fn end(mut self, word: &str) {
        if let Some(mut orders) = self.child.stdin.take() {
            let _ = orders.write_all(word.as_bytes());
        }
        match self.wait() {
            Some(status) if status.success() => {}
            _ => tracing::warn!(
                "containers may be left; look with: docker ps -a --filter label={CLUSTER_LABEL}={}",
                self.cluster
            ),
        }
    }

    fn wait(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + GONE_WITHIN;
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
        None
    }
}

/// `fairpoll reaper CLUSTER`: waits for the end of standard input, then removes the cluster.
#[must_use]
pub fn reap(cluster: &str) -> ExitCode {
    let mut word = String::new();
    // What is no text was not said by us: remove.
    let _ = stdin().read_to_string(&mut word);
    if word == KEEP {
        return ExitCode::Pass;
    }
    // After a death in mid-order the daemon may still be making what it was asked for.
    let empty_needed = if word == REMOVE { 1 } else { 4 };
    let until = Instant::now() + GONE_WITHIN;
    let mut empty = 0;
    let mut trouble = String::new();
    while empty < empty_needed && Instant::now() < until {
        match Docker::connect().map_err(|error| error.to_string()).and_then(|docker| docker.remove(cluster)) {
            Ok(true) => empty = 0,
            Ok(false) => empty += 1,
            Err(error) => trouble = error,
        }
        if empty < empty_needed {
            std::thread::sleep(Duration::from_millis(if word == REMOVE { 20 } else { 300 }));
        }
    }
    if empty == empty_needed {
        return ExitCode::Pass;
    }
    tracing::warn!(
        "containers are left ({trouble}); remove them with: \
         docker ps -aq --filter label={CLUSTER_LABEL}={cluster} | xargs docker rm -f -v"
    );
    ExitCode::Infrastructure
}
