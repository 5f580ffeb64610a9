//! Where newly assigned partitions are read from, found out before they are assigned.

use std::time::Duration;

use crate::config::properties::OffsetReset;

use super::client::Client;
use super::list::{Failure, OffsetEntry, PartitionEntry};
use super::request::{LATEST, LogEnds};

/// How long the coordinator may take to say what is committed. It has just given partitions, so it is there.
const COORDINATOR_WAIT: Duration = Duration::from_secs(1);

/// How long the leaders may take for either end. Longer than anybody waits for the answer: librdkafka takes a request
/// that is out of time for a dead connection, and closes it with all that is under way.
const LEADERS_WAIT: Duration = Duration::from_secs(3);

/// A partition and where its reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) entry: PartitionEntry,
    /// `None`: librdkafka finds it out.
    pub(crate) at: Option<StartAt>,
}

/// An offset that reading begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartAt {
    pub(crate) offset: i64,
    /// The epoch that was committed with the offset, by which a truncated log is known; −1: none.
    pub(crate) leader_epoch: i32,
    /// The log ended there when it was asked.
    pub(crate) is_end: bool,
}

impl Start {
    /// librdkafka is to find out where.
    pub(crate) const fn untold(entry: PartitionEntry) -> Self {
        Self { entry, at: None }
    }

    /// `None`: nothing is committed, or it is not known.
    fn of_committed(answer: &OffsetEntry) -> Option<StartAt> {
        let offset = (answer.error.is_none() && answer.offset >= 0).then_some(answer.offset)?;
        Some(StartAt { offset, leader_epoch: answer.leader_epoch, is_end: false })
    }

    /// The log's first record that is left.
    fn of_beginning(ends: &LogEnds) -> Option<StartAt> {
        let (&offset, &end) = ends.start.as_ref().ok().zip(ends.end.as_ref().ok())?;
        (offset >= 0).then_some(StartAt { offset, leader_epoch: -1, is_end: offset == end })
    }

    /// Behind the log's last record.
    fn of_end(end: &Result<i64, Failure>) -> Option<StartAt> {
        let offset = end.as_ref().copied().ok().filter(|&offset| offset >= 0)?;
        Some(StartAt { offset, leader_epoch: -1, is_end: true })
    }
}

impl Client {
    /// Asks where these partitions are to be read from: the coordinator for what is committed, and the leaders
    /// of those without a commit for their logs' ends. In the order given. Where the coordinator does not answer
    /// nothing is told, and nothing of those without a commit where one of their leaders does not: librdkafka
    /// hands out all of such answers or none. `by_reset` asks the leaders: [`Self::starts_by_reset`], or somebody who
    /// asks for several handles. Blocks, for seconds where nobody answers.
    pub(crate) fn starts(
        &self,
        entries: Vec<PartitionEntry>,
        by_reset: impl FnOnce(&[PartitionEntry]) -> Result<Vec<Option<StartAt>>, Failure>,
    ) -> Vec<Start> {
        let mut starts: Vec<Start> = entries.into_iter().map(Start::untold).collect();
        let entries: Vec<PartitionEntry> = starts.iter().map(|start| start.entry.clone()).collect();
        let committed = match self.committed(&entries, COORDINATOR_WAIT) {
            Ok(committed) => committed,
            Err(failure) => {
                tracing::debug!(error = failure.message, "the coordinator does not say what is committed");
                return starts;
            }
        };
        let mut without = Vec::new();
        // librdkafka answers in the list's order.
        for (start, answer) in starts.iter_mut().zip(&committed) {
            start.at = Start::of_committed(answer);
            if answer.error.is_none() && start.at.is_none() {
                without.push(start);
            }
        }
        if without.is_empty() {
            return starts;
        }
        let entries: Vec<PartitionEntry> = without.iter().map(|start| start.entry.clone()).collect();
        match by_reset(&entries) {
            Ok(told) => without.into_iter().zip(told).for_each(|(start, at)| start.at = at),
            Err(failure) => {
                tracing::debug!(
                    error = failure.message,
                    "the leaders do not say where the logs begin or end"
                );
            }
        }
        starts
    }

    /// Where `auto.offset.reset` says. Whoever reads from a log's end need not know its beginning; whoever reads
    /// from its beginning wants to know whether there is anything.
    pub(crate) fn starts_by_reset(
        &self,
        entries: &[PartitionEntry],
        reset: OffsetReset,
    ) -> Result<Vec<Option<StartAt>>, Failure> {
        Ok(match reset {
            OffsetReset::Error => vec![None; entries.len()],
            OffsetReset::Earliest => {
                self.log_ends(entries, LEADERS_WAIT)?.iter().map(Start::of_beginning).collect()
            }
            OffsetReset::Latest => {
                self.offsets_at(entries, LATEST, LEADERS_WAIT)?.iter().map(Start::of_end).collect()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    use super::*;
    use crate::ffi::list::{self, List};
    use crate::ffi::{ClientEvent, Wake};

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_list_says_offset_and_epoch_or_leaves_both_to_librdkafka() {
        let start = |partition, at| Start { entry: PartitionEntry { topic: "a".to_owned(), partition }, at };
        let at = StartAt { offset: 7, leader_epoch: 3, is_end: false };
        let list = List::of_starts(&[start(0, Some(at)), start(1, None)]);
        // SAFETY: the list is valid.
        let read = unsafe { list::read(list.as_ptr()) };
        let read: Vec<_> =
            read.iter().map(|entry| (entry.partition, entry.offset, entry.leader_epoch)).collect();
        assert_eq!(read, [(0, 7, 3), (1, i64::from(rdkafka_sys::RD_KAFKA_OFFSET_INVALID), -1)]);
    }

    /// Three records in each of two partitions and none in a third; something is committed of the first.
    #[test]
    fn reading_begins_where_the_group_committed_or_else_where_the_reset_says() {
        let mock = MockCluster::new(2).expect("a mock cluster");
        mock.create_topic("a", 3, 1).expect("topic");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", mock.bootstrap_servers()).set("group.id", "starts");
        let producer: BaseProducer = config.create().expect("a producer");
        for record in 0..6 {
            let record = BaseRecord::<(), str>::to("a").partition(record % 2).payload("x");
            producer.send(record).map_err(|(error, _)| error).expect("queued");
        }
        producer.flush(LONG).expect("written");
        let wake = Arc::new(Wake::default());
        let client = Client::new("test", &config, &wake, &wake).expect("a client");
        client.commit(1, [("a", 0, 2)].into_iter()).expect("sent");
        let until = Instant::now() + LONG;
        loop {
            client.serve(&mut Vec::new());
            match client.next_event() {
                Some(ClientEvent::Committed(outcome)) => break assert_eq!(outcome.error, None),
                _ => assert!(Instant::now() < until, "no answer"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }

        let starts = |reset| {
            let entry = |partition| PartitionEntry { topic: "a".to_owned(), partition };
            // Not in the order of their numbers: answers are told apart by place.
            let by_reset = |entries: &[PartitionEntry]| client.starts_by_reset(entries, reset);
            let starts = client.starts([2, 0, 1].map(entry).into(), by_reset);
            assert_eq!(starts.iter().map(|start| start.entry.partition).collect::<Vec<_>>(), [2, 0, 1]);
            starts.into_iter().map(|start| start.at.map(|at| (at.offset, at.is_end))).collect::<Vec<_>>()
        };
        let committed = Some((2, false));
        assert_eq!(starts(OffsetReset::Earliest), [Some((0, true)), committed, Some((0, false))]);
        assert_eq!(starts(OffsetReset::Latest), [Some((0, true)), committed, Some((3, true))]);
        assert_eq!(starts(OffsetReset::Error), [None, committed, None]);

        // A leader that is gone is not waited for, and does not matter to who has a commit.
        mock.partition_leader("a", 2, None).expect("no leader");
        let began = Instant::now();
        assert_eq!(starts(OffsetReset::Earliest)[1], committed);
        assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    }
}
