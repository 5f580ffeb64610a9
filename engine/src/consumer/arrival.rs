//! Arrivals: where partitions are to be read from is asked before they are assigned, of all at once.
//!
//! Left to itself, librdkafka takes the lack of a committed offset for an error and backs off: it asks for the
//! log's beginning 100 ms later, for each partition by itself, and each question waits at the broker behind the
//! long poll of the fetch that another partition sent before it. Measured on a Kafka with a topic of two empty
//! partitions: the answer to the second one's first fetch came 275 ms after the assignment.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::properties::OffsetReset;
use crate::ffi::{Client, PartitionEntry, Start};

use super::Consumer;

/// How long an assignment waits for answers, and how long an answer is good for: time to connect to leaders that are
/// far away. A leader that is gone must not hold up the others for longer than a first poll waits for it by default.
/// And whoever polls later than that may have lost the partitions to another, who has gone on committing.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// An assignment that is not answered yet; librdkafka waits for that, and keeps its membership alive.
#[derive(Debug)]
pub(super) struct Arrival {
    entries: Vec<PartitionEntry>,
    starts: Receiver<Vec<Start>>,
    pub(super) until: Instant,
}

impl Consumer {
    /// The group gives partitions.
    pub(super) fn on_assign(&mut self, now: Instant, handle: usize, entries: Vec<PartitionEntry>) {
        let Some(client) = self.handles[handle].client.clone() else { return };
        // Under the classic protocol a topic that changes meanwhile brings another assignment without a revocation
        // between them. Both are answered, in order.
        self.hurry_arrival(now, handle);
        // While a commit of the handle is out it is not known what is committed; librdkafka waits for it.
        let may_ask = !entries.is_empty() && !self.commits.may_succeed(handle);
        match may_ask.then(|| self.ask_for_starts(client, entries.clone())).flatten() {
            Some(starts) => {
                self.handles[handle].arrival = Some(Arrival { entries, starts, until: now + GOOD_FOR });
            }
            None => self.take_over(now, handle, &untold(entries)),
        }
    }

    /// `None`: there is no thread for it.
    fn ask_for_starts(
        &self,
        client: Arc<Client>,
        entries: Vec<PartitionEntry>,
    ) -> Option<Receiver<Vec<Start>>> {
        let reset = OffsetReset::of(&self.config.properties);
        let (tell, starts) = channel();
        let wake = Arc::clone(&self.wake);
        // Known before the thread looks.
        let coming = self.together.coming();
        self.together.more_to_come(self.waits_for_more_than(Some(&client)));
        let ask = move || {
            let asked = Arc::clone(&client);
            let put = move |entries: &[PartitionEntry]| asked.starts_by_reset(entries, reset);
            // Nobody may wait for it any more.
            let _ = tell.send(client.starts(entries, |entries| coming.ask(entries, put)));
            drop(client);
            wake.wake();
        };
        // Not on the runtime's pool, which would keep a thread for every handle for ten seconds.
        let spawned = thread::Builder::new().name("fairpoll-starts".to_owned()).spawn(ask);
        spawned.inspect_err(|error| tracing::warn!(%error, "no thread to ask for offsets on")).ok()?;
        Some(starts)
    }

    /// Until when handles are being told where to begin that have not taken over anything yet.
    pub(super) fn first_arrivals(&self) -> Option<Instant> {
        let first = self.handles.iter().filter(|handle| !handle.joined);
        first.filter_map(|handle| handle.arrival.as_ref()).map(|arrival| arrival.until).max()
    }

    /// Takes over what was given once it is known where to begin.
    pub(super) fn advance_arrival(&mut self, now: Instant, handle: usize) {
        let Some(arrival) = self.handles[handle].arrival.take() else { return };
        match arrival.starts.try_recv() {
            _ if now >= arrival.until => self.take_over(now, handle, &untold(arrival.entries)),
            Ok(starts) => self.take_over(now, handle, &starts),
            Err(TryRecvError::Empty) => self.handles[handle].arrival = Some(arrival),
            Err(TryRecvError::Disconnected) => self.take_over(now, handle, &untold(arrival.entries)),
        }
    }

    /// Takes over what was given without having been told where to begin: librdkafka needs the answer now.
    pub(super) fn hurry_arrival(&mut self, now: Instant, handle: usize) {
        if let Some(arrival) = self.handles[handle].arrival.take() {
            self.take_over(now, handle, &untold(arrival.entries));
        }
    }
}

fn untold(entries: Vec<PartitionEntry>) -> Vec<Start> {
    entries.into_iter().map(Start::untold).collect()
}
