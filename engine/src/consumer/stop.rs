//! Stopping: commit what was processed, leave the groups, free everything, in bounded time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time;

use crate::ffi::Client;
use crate::status::StopReport;

use super::Consumer;

/// How often closing handles are looked at besides their wake-ups: librdkafka raises no event when
/// the last step of a close is done.
const CLOSE_LOOK: Duration = Duration::from_millis(5);

impl Consumer {
    /// Stops fetching, commits what was marked as processed, leaves the group with all handles at
    /// once and frees them; returns after `deadline` at the latest, with what could not be done.
    ///
    /// Idempotent: a second call reports an empty success.
    pub async fn stop(&mut self, deadline: Duration) -> StopReport {
        let began = Instant::now();
        let until = began + deadline;
        if self.stopped {
            return StopReport { committed: true, closed: true, ..StopReport::default() };
        }
        self.stopped = true;
        let mut report = StopReport { unprocessed: self.unprocessed(), ..StopReport::default() };
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

    /// Partitions with records that were delivered and not marked as processed.
    fn unprocessed(&self) -> Vec<(String, i32, i64)> {
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
        report.committed = self.offsets.dirty().next().is_none();
        report.errors.extend(self.errors.drain(..).map(|error| error.to_string()));
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
            let mut strays = Vec::new();
            for (index, client) in &clients {
                client.serve(&mut strays);
                while let Some(event) = client.next_event() {
                    self.on_client_event(now, *index, event);
                }
                self.retry_commits(now);
                self.advance_revocation(now, *index);
                // Records that nobody will take any more: their offsets were not processed.
                strays.clear();
            }
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

    /// Drops queues and handles and waits until librdkafka's threads are gone. A handle that a
    /// batch still needs is freed with that batch.
    async fn free(&mut self, until: Instant) -> bool {
        self.lanes.clear();
        let mut watched = Vec::with_capacity(self.handles.len());
        let mut held = 0;
        for client in self.handles.iter_mut().filter_map(|handle| handle.client.take()) {
            // Only batches still have it.
            if Arc::strong_count(&client) > 1 {
                held += 1;
            } else {
                watched.push(client.watch());
            }
        }
        for handle in 0..self.handles.len() {
            self.commits.forget(handle);
        }
        loop {
            if watched.iter().all(|gone| gone.is_gone()) {
                return held == 0;
            }
            let now = Instant::now();
            if now >= until {
                return false;
            }
            let _ = time::timeout_at((now + CLOSE_LOOK).min(until).into(), self.gone.woken()).await;
        }
    }
}
