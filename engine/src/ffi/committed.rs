//! Answers to commits, as the coordinator gave them.
//!
//! Before librdkafka hands out the answer to a commit of which some partitions were refused, it writes the last
//! of their errors to all others too (`rd_kafka_cgrp_update_committed_offsets`): from what is handed out nobody
//! could tell who was committed. Interceptors see the answer before that.

use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka_sys as sys;

use super::client::notes;
use super::list::{self, Failure, OffsetEntry};

/// The answer to a commit.
#[derive(Debug, Clone)]
pub(crate) struct CommitOutcome {
    pub(crate) id: u64,
    /// The request as a whole failed; `None` where only some partitions were refused.
    pub(crate) error: Option<Failure>,
    /// Per partition, with its own error.
    pub(crate) offsets: Vec<OffsetEntry>,
}

/// What interceptors saw and the answer's callback has not asked for, in order: both come from librdkafka's
/// main thread, one after the other.
#[derive(Debug, Default)]
pub(super) struct Seen {
    answers: Mutex<VecDeque<Vec<OffsetEntry>>>,
    copied: AtomicBool,
}

impl Seen {
    /// Whether a handle took over the configuration, even if nothing came of the handle.
    pub(super) fn was_copied(&self) -> bool {
        self.copied.load(Ordering::Acquire)
    }

    fn push(&self, offsets: Vec<OffsetEntry>) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push_back(offsets);
    }

    /// The same answer as it was before librdkafka wrote to it. `None`: no interceptor saw it.
    fn original(&self, written: &[OffsetEntry]) -> Option<Vec<OffsetEntry>> {
        let same = |seen: &Vec<OffsetEntry>| {
            let name = |entry: &OffsetEntry| (entry.topic.clone(), entry.partition, entry.offset);
            seen.iter().map(name).eq(written.iter().map(name))
        };
        let mut seen = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let position = seen.iter().position(same)?;
        seen.drain(..=position).next_back()
    }
}

impl CommitOutcome {
    /// What librdkafka hands out, put right by what an interceptor saw.
    pub(super) fn new(id: u64, error: Option<Failure>, written: Vec<OffsetEntry>, seen: &Seen) -> Self {
        match seen.original(&written) {
            Some(offsets) => {
                let some_failed = offsets.iter().any(|entry| entry.error.is_some());
                Self { id, error: error.filter(|_| !some_failed), offsets }
            }
            None => Self { id, error, offsets: written },
        }
    }
}

/// Has the answers to the handle's commits seen.
///
/// # Safety
/// `conf` is valid, and its opaque will be the notes of the handle that is made of it.
pub(super) unsafe fn listen(conf: *mut sys::rd_kafka_conf_t) {
    // SAFETY: valid by contract; librdkafka copies the name.
    let refused = Failure::of(unsafe {
        sys::rd_kafka_conf_interceptor_add_on_new(conf, NAME.as_ptr(), Some(on_new), std::ptr::null_mut())
    });
    if let Some(failure) = refused {
        tracing::error!(error = failure.message, "answers to commits are not seen");
    }
}

const NAME: &std::ffi::CStr = c"fairpoll";

/// Runs inside `rd_kafka_new`.
unsafe extern "C" fn on_new(
    rk: *mut sys::rd_kafka_t,
    _conf: *const sys::rd_kafka_conf_t,
    _opaque: *mut c_void,
    _reason: *mut c_char,
    _reason_size: usize,
) -> sys::rd_kafka_resp_err_t {
    // SAFETY: the handle is valid inside its callback, and has its opaque by now.
    unsafe {
        let opaque = sys::rd_kafka_opaque(rk);
        notes(opaque).seen.copied.store(true, Ordering::Release);
        sys::rd_kafka_interceptor_add_on_commit(rk, NAME.as_ptr(), Some(on_commit_answered), opaque)
    }
}

/// Runs on librdkafka's main thread, which may not be held up, and asks nothing of the handle.
unsafe extern "C" fn on_commit_answered(
    _rk: *mut sys::rd_kafka_t,
    offsets: *const sys::rd_kafka_topic_partition_list_t,
    _code: sys::rd_kafka_resp_err_t,
    opaque: *mut c_void,
) -> sys::rd_kafka_resp_err_t {
    // SAFETY: librdkafka lends a valid list for the length of the call; the opaque is that of `on_new`.
    unsafe { notes(opaque).seen.push(list::read(offsets)) };
    sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::ffi::{Client, ClientEvent, Wake};

    fn answer(client: &Client, id: u64, offsets: &[(&str, i32, i64)]) -> CommitOutcome {
        client.commit(id, offsets.iter().copied()).expect("sent");
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            client.serve(&mut Vec::new());
            match client.next_event() {
                Some(ClientEvent::Committed(outcome)) => return outcome,
                _ => assert!(Instant::now() < until, "no answer"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Some of what is wrong librdkafka finds out only when the handle is half made.
    #[test]
    fn a_handle_that_librdkafka_gives_up_half_made_is_an_error() {
        let wake = Arc::new(Wake::default());
        for mechanism in ["NOPE", "GSSAPI"] {
            let mut config = ClientConfig::new();
            config.set("group.id", "half-made").set("security.protocol", "sasl_plaintext");
            config.set("sasl.mechanisms", mechanism);
            for _ in 0..3 {
                assert!(Client::new("test", &config, &wake, &wake).is_err(), "{mechanism}");
            }
        }
    }

    // shows: E5
    #[test]
    fn of_a_commit_that_is_refused_in_part_only_the_refused_have_an_error() {
        let mock = MockCluster::new(1).expect("a mock cluster");
        mock.create_topic("a", 2, 1).expect("topic");
        mock.create_topic("b", 1, 1).expect("topic");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", mock.bootstrap_servers()).set("group.id", "in-part");
        let wake = Arc::new(Wake::default());
        let client = Client::new("test", &config, &wake, &wake).expect("a client");
        // The mock refuses partitions that do not exist, and nothing else of a commit.
        let offsets = [("a", 0, 5), ("a", 7, 5), ("b", 0, 5), ("a", 1, 5), ("c", 0, 5)];
        for id in 1..=2 {
            let outcome = answer(&client, id, &offsets);
            assert_eq!((outcome.id, outcome.error), (id, None));
            let mut answers: Vec<(String, i32, Option<String>)> = outcome
                .offsets
                .into_iter()
                .map(|entry| (entry.topic, entry.partition, entry.error.map(|error| error.code)))
                .collect();
            answers.sort();
            let unknown = Some("UNKNOWN_TOPIC_OR_PART");
            let expected =
                [("a", 0, None), ("a", 1, None), ("a", 7, unknown), ("b", 0, None), ("c", 0, unknown)];
            let expected = expected
                .map(|(topic, partition, code)| (topic.to_owned(), partition, code.map(str::to_owned)));
            assert_eq!(answers, expected);
        }
    }
}
