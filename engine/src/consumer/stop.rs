//! Stopping: commit what was processed, leave the groups, free everything, in bounded time.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::time;
use tracing::Instrument;

use crate::ffi::{Client, Gone};
use crate::status::StopReport;
use crate::traces;

use super::Consumer;

/// How often closing handles are looked at besides their wake-ups: librdkafka raises no event when
/// the last step of a close is done.
const CLOSE_LOOK: Duration = Duration::from_millis(5);

/// How far a stop has come, for the next call to go on from: whoever drops the future, or is left with
/// a batch when the deadline passes, may ask again.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    /// Nothing is delivered any more.
    pub(super) begun: bool,
    /// What the first call found open; the assignments are gone afterwards.
    unprocessed: Vec<(String, i32, i64)>,
    /// Groups were left while a processed offset was not committed.
    uncommitted: bool,
    freed: Vec<Freed>,
}

/// A handle that the consumer has let go of.
#[derive(Debug)]
struct Freed {
    /// Batches may still have it, and so may a seek whose future was dropped or the question of an assignment, its
    /// own or one that it asks for others too, for a moment, or for seconds where a leader does not answer.
    client: Weak<Client>,
    gone: Gone,
}

impl Consumer {
    /// Stops fetching, commits what was marked as processed, leaves the group with all handles at
    /// once and frees them; returns after `deadline` at the latest, with what could not be done.
    ///
    /// Idempotent: another call does again only what is not done, and reports what is true by then,
    /// so it tells whether a handle that a batch kept has gone. Dropped, it has begun as soon as it was
    /// polled: nothing is delivered any more, and the next call goes on where it was.
    pub async fn stop(&mut self, deadline: Duration) -> StopReport {
        let span = traces::stop(&self.config.group_id);
        let report = self.stop_by(deadline).instrument(span.clone()).await;
        traces::stopped(&span, &report);
        report
    }

    async fn stop_by(&mut self, deadline: Duration) -> StopReport {
        let began = Instant::now();
        let until = began + deadline;
        if !std::mem::replace(&mut self.stopping.begun, true) {
            // Of one partition only one of both has something to say.
            self.stopping.unprocessed = self.degrading.abandon();
            self.stopping.unprocessed.extend(self.unprocessed());
        }
        let mut report =
            StopReport { unprocessed: self.stopping.unprocessed.clone(), ..StopReport::default() };
        self.finish_commits(until, &mut report).await;
        self.leave_groups(until, &mut report).await;
        report.outstanding_batches = self.batches.get();
        report.closed = self.free(until).await;
        report.took = began.elapsed();
        if !report.committed || !report.closed {
            tracing::warn!(?report, "stopped, but not cleanly");
        }
        report
    }

    /// Whether every handle was let go of: a drop leaves nothing half done.
    pub(super) fn is_stopped(&self) -> bool {
        self.handles.iter().all(|handle| handle.client.is_none())
    }

    /// Partitions with records that were delivered and not marked as processed.
    pub(super) fn unprocessed(&self) -> Vec<(String, i32, i64)> {
        let open = |(index, partition): (_, &super::Partition)| {
            let offset = self.offsets.first_incomplete(index)?;
            Some((partition.entry.topic.clone(), partition.entry.partition, offset))
        };
        self.partitions.assigned().filter_map(open).collect()
    }

    /// Sends what is processed and waits for the answers.
    async fn finish_commits(&mut self, until: Instant, report: &mut StopReport) {
        // Some of the time must be left for leaving the groups.
        let until = until - until.saturating_duration_since(Instant::now()) / 3;
        self.commit_processed();
        loop {
            let now = Instant::now();
            if let Err(error) = self.serve(now) {
                report.errors.push(error.to_string());
                break;
            }
            if !self.commits.any_pending() || now >= until {
                break;
            }
            let _ = time::timeout_at((now + CLOSE_LOOK).min(until).into(), self.wake.woken()).await;
        }
        // The assignments end with the group, and with them what is known of their offsets.
        self.stopping.uncommitted |= self.offsets.dirty().next().is_some();
        report.committed = !self.stopping.uncommitted;
        report.errors.extend(self.errors.drain(..).map(|error| error.to_string()));
        report.errors.extend(self.refused_commits().iter().map(ToString::to_string));
    }

    /// Closes all handles at once and answers their last revocations.
    async fn leave_groups(&mut self, until: Instant, report: &mut StopReport) {
        let mut clients: Vec<(usize, Arc<Client>)> = self
            .handles
            .iter()
            .enumerate()
            .filter_map(|(index, handle)| Some((index, handle.client.clone()?)))
            .collect();
        // A handle that failed for good refuses to leave, and is not waited for.
        clients.retain(|(_, client)| match client.begin_close(&self.wake) {
            Ok(()) => true,
            Err(error) => {
                report.errors.push(error);
                false
            }
        });
        loop {
            let now = Instant::now();
            clients.iter().for_each(|(index, client)| self.serve_leaving(now, *index, client));
            let open = clients.iter().filter(|(_, client)| !client.is_closed()).count();
            if open == 0 {
                break;
            }
            if now >= until {
                report
                    .errors
                    .push(format!("{open} of {} handles did not leave their group in time", clients.len()));
                break;
            }
            let _ = time::timeout_at((now + CLOSE_LOOK).min(until).into(), self.wake.woken()).await;
        }
    }

    /// Serves a handle that leaves its group: its last revocation and commits.
    pub(super) fn serve_leaving(&mut self, now: Instant, index: usize, client: &Arc<Client>) {
        // Records that nobody will take any more: their offsets were not processed.
        let mut strays = Vec::new();
        client.serve(&mut strays);
        while let Some(event) = client.next_event() {
            self.on_client_event(now, index, event);
        }
        self.hurry_arrival(now, index);
        self.retry_commits(now);
        self.advance_revocation(now, index);
    }

    /// Drops queues and handles; destroying them goes on elsewhere.
    pub(super) fn let_go_of_handles(&mut self) {
        self.lanes.clear();
        for client in self.handles.iter_mut().filter_map(|handle| handle.client.take()) {
            self.stopping.freed.push(Freed { client: Arc::downgrade(&client), gone: client.watch() });
        }
        for handle in 0..self.handles.len() {
            self.commits.forget(handle);
        }
    }

    /// Whether every handle that was let go of has gone, but for those that a batch still needs.
    pub(super) fn only_batches_keep_handles(&mut self) -> bool {
        self.stopping.freed.retain(|freed| !freed.gone.is_gone());
        let held = |freed: &Freed| self.batches.get() > 0 && freed.client.strong_count() > 0;
        self.stopping.freed.iter().all(held)
    }

    /// Drops queues and handles and waits until librdkafka's threads are gone. A handle that a
    /// batch still needs is freed with that batch, and not waited for.
    async fn free(&mut self, until: Instant) -> bool {
        self.let_go_of_handles();
        loop {
            if self.only_batches_keep_handles() {
                return self.stopping.freed.is_empty();
            }
            let now = Instant::now();
            if now >= until {
                return false;
            }
            let _ = time::timeout_at((now + CLOSE_LOOK).min(until).into(), self.gone.woken()).await;
        }
    }
}
