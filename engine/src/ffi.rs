//! The only place that sees librdkafka's raw pointers.
//!
//! What is built here owns its pointers and gives out safe types:
//!
//! * [`Client`]: one librdkafka consumer handle. Its callbacks only write down what happened; the
//!   consumer's own loop reads that and decides.
//! * [`LaneQueue`]: one FIFO of fetched records, to which partition queues are forwarded.
//! * [`Message`]: one fetched record, owned.
//! * [`Wake`]: how librdkafka's threads wake the consumer's task.
//!
//! Life times: a [`LaneQueue`] and every batch hold their [`Client`] by `Arc`, so a handle is
//! destroyed after the last queue and the last message are gone (`rd_kafka_destroy` blocks while
//! either lives).

mod answer;
mod certificate;
mod client;
mod committed;
mod groups;
mod list;
mod message;
mod queue;
mod request;
mod start;
mod wake;

pub(crate) use client::{Client, ClientEvent, Gone};
pub(crate) use committed::CommitOutcome;
pub(crate) use groups::Membership;
pub(crate) use list::{Failure, OffsetEntry, PartitionEntry};
pub(crate) use message::{Message, MessageError};
pub(crate) use queue::LaneQueue;
pub(crate) use request::LogEnds;
pub(crate) use start::{Start, StartAt};
pub(crate) use wake::Wake;

use std::ffi::{CStr, c_int};
use std::{ptr, slice};

use rdkafka_sys as sys;

/// librdkafka's version, like `2.12.1`.
#[must_use]
pub fn librdkafka_version() -> String {
    // SAFETY: returns a pointer to a static, NUL-terminated string.
    let text = unsafe { CStr::from_ptr(sys::rd_kafka_version_str()) };
    text.to_string_lossy().into_owned()
}

/// librdkafka's words for an error code.
pub(crate) fn error_text(code: sys::rd_kafka_resp_err_t) -> String {
    // SAFETY: for every code librdkafka returns a pointer to a static, NUL-terminated string.
    let text = unsafe { CStr::from_ptr(sys::rd_kafka_err2str(code)) };
    text.to_string_lossy().into_owned()
}

/// librdkafka's symbolic name of an error code, like `TOPIC_AUTHORIZATION_FAILED`.
pub(crate) fn error_name(code: sys::rd_kafka_resp_err_t) -> String {
    // SAFETY: as above.
    let text = unsafe { CStr::from_ptr(sys::rd_kafka_err2name(code)) };
    text.to_string_lossy().into_owned()
}

/// The same of a number that a callback was given, which may be none of librdkafka's codes.
pub(crate) fn error_name_of(code: c_int) -> String {
    let (mut known, mut count) = (ptr::null(), 0);
    // SAFETY: both are valid places; librdkafka lends a static table of so many entries, of which those
    // without a code have null names.
    let table = unsafe {
        sys::rd_kafka_get_err_descs(&mut known, &mut count);
        slice::from_raw_parts(known, count)
    };
    let entry = table.iter().find(|entry| entry.code as c_int == code && !entry.name.is_null());
    // SAFETY: not null, NUL-terminated and static.
    entry.map_or_else(
        || code.to_string(),
        |entry| unsafe { CStr::from_ptr(entry.name) }.to_string_lossy().into_owned(),
    )
}

/// How many descriptors this process may have open; `None`: not limited, or not known.
pub(crate) fn descriptor_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the result.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0;
    (known && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}
