//! Partition lists, in and out.

use std::ffi::{CStr, CString};
use std::ptr::NonNull;
use std::slice;

use rdkafka_sys as sys;

use super::start::Start;

/// A partition as librdkafka names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionEntry {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

/// A partition with an offset and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// The epoch of the leader that wrote the record before the offset; −1: not told.
    pub(crate) leader_epoch: i32,
    /// Why this partition failed, where it did.
    pub(crate) error: Option<Failure>,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The code's name: `REBALANCE_IN_PROGRESS`; codes of librdkafka's own begin with `_`.
    pub(crate) code: String,
    /// librdkafka's words.
    pub(crate) message: String,
}

impl Failure {
    /// `None` where there is no error.
    pub(crate) fn of(code: sys::rd_kafka_resp_err_t) -> Option<Self> {
        let failed = code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        failed.then(|| Self { code: super::error_name(code), message: super::error_text(code) })
    }
}

/// A list that this side owns, to hand to librdkafka.
pub(crate) struct List(NonNull<sys::rd_kafka_topic_partition_list_t>);

// SAFETY: a plain list that nothing else points to; the type gives out no shared access across threads.
unsafe impl Send for List {}

impl List {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let capacity = i32::try_from(capacity).unwrap_or(i32::MAX);
        // SAFETY: no preconditions; librdkafka aborts rather than return null.
        let pointer = unsafe { sys::rd_kafka_topic_partition_list_new(capacity) };
        Self(NonNull::new(pointer).expect("librdkafka aborts when it is out of memory"))
    }

    /// Topics for a subscription.
    pub(crate) fn of_topics<'a>(topics: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let mut list = Self::with_capacity(topics.len());
        for topic in topics {
            list.push(topic, -1, None);
        }
        list
    }

    /// Partitions, with no offsets.
    pub(crate) fn of_partitions(partitions: &[PartitionEntry]) -> Self {
        let mut list = Self::with_capacity(partitions.len());
        for entry in partitions {
            list.push(&entry.topic, entry.partition, None);
        }
        list
    }

    /// Partitions, to be read from these offsets; from where the group committed where none is told.
    pub(crate) fn of_starts<'a>(starts: impl IntoIterator<Item = &'a Start>) -> Self {
        let starts = starts.into_iter();
        let mut list = Self::with_capacity(starts.size_hint().0);
        for Start { entry, at } in starts {
            let pushed = list.push(&entry.topic, entry.partition, at.map(|at| at.offset));
            if let Some(at) = at {
                // SAFETY: `pushed` stays valid until the list changes.
                unsafe { sys::rd_kafka_topic_partition_set_leader_epoch(pushed, at.leader_epoch) };
            }
        }
        list
    }

    /// Adds an entry and returns it; it is valid until the next is added. Topic names with a NUL byte cannot exist
    /// in Kafka; configuration refuses them.
    pub(crate) fn push(
        &mut self,
        topic: &str,
        partition: i32,
        offset: Option<i64>,
    ) -> *mut sys::rd_kafka_topic_partition_t {
        let name = CString::new(topic).expect("topic names are checked before a handle is made");
        // SAFETY: the list is valid; librdkafka copies the name and returns an entry of the list.
        let entry =
            unsafe { sys::rd_kafka_topic_partition_list_add(self.0.as_ptr(), name.as_ptr(), partition) };
        if let Some(offset) = offset {
            // SAFETY: `entry` was just returned and stays valid until the list changes.
            unsafe { (*entry).offset = offset };
        }
        entry
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.0.as_ptr()
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: owned, and not used after this.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0.as_ptr()) }
    }
}

/// Copies what a callback was lent.
///
/// # Safety
/// `list` is null or a valid list for the length of this call.
pub(crate) unsafe fn read(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<OffsetEntry> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: not null, valid by contract.
    let list = unsafe { &*list };
    let count = usize::try_from(list.cnt).unwrap_or(0);
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: `elems` points to `cnt` entries.
    let entries = unsafe { slice::from_raw_parts(list.elems, count) };
    entries
        .iter()
        .map(|entry| OffsetEntry {
            // SAFETY: every entry has a NUL-terminated topic name.
            topic: unsafe { CStr::from_ptr(entry.topic) }.to_string_lossy().into_owned(),
            partition: entry.partition,
            offset: entry.offset,
            // SAFETY: an entry of a valid list.
            leader_epoch: unsafe { sys::rd_kafka_topic_partition_get_leader_epoch(entry) },
            error: Failure::of(entry.err),
        })
        .collect()
}
