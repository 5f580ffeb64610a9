//! Requests that wait for their answer: to be made on a thread that may block, never on the loop.

use std::time::Duration;

use rdkafka_sys as sys;

use super::client::Client;
use super::list::{self, Failure, List, OffsetEntry, PartitionEntry};

/// Where the log of a partition begins and ends, as its leader says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogEnds {
    pub(crate) entry: PartitionEntry,
    pub(crate) start: Result<i64, Failure>,
    pub(crate) end: Result<i64, Failure>,
}

/// `rd_kafka_offsets_for_times` takes these for timestamps, as `ListOffsets` does: the end, and the
/// first offset that is left.
pub(super) const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

impl Client {
    /// Reads on from this offset: an offset, or one of librdkafka's logical ones (−2 beginning,
    /// −1 end). What is queued of the partition is dropped. Answered when librdkafka has begun.
    pub(crate) fn seek_and_wait(
        &self,
        entry: &PartitionEntry,
        offset: i64,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let mut list = List::with_capacity(1);
        list.push(&entry.topic, entry.partition, Some(offset));
        // 0 would not wait.
        let timeout = millis(timeout).max(1);
        // SAFETY: handle and list are valid; the error is owned by us.
        let failed =
            unsafe { take_error(sys::rd_kafka_seek_partitions(self.as_ptr(), list.as_ptr(), timeout)) };
        // SAFETY: the list is valid.
        let answers = unsafe { list::read(list.as_ptr()) };
        match failed.or_else(|| answers.into_iter().find_map(|answer| answer.error)) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// What the group has committed; an offset below 0 is none. Asks the coordinator.
    pub(crate) fn committed(
        &self,
        entries: &[PartitionEntry],
        timeout: Duration,
    ) -> Result<Vec<OffsetEntry>, Failure> {
        let list = List::of_partitions(entries);
        // SAFETY: handle and list are valid.
        let code = unsafe { sys::rd_kafka_committed(self.as_ptr(), list.as_ptr(), millis(timeout)) };
        match Failure::of(code) {
            Some(failure) => Err(failure),
            // SAFETY: the list is valid.
            None => Ok(unsafe { list::read(list.as_ptr()) }),
        }
    }

    /// Where logs begin and end. One request to each leader for either end.
    pub(crate) fn log_ends(
        &self,
        entries: &[PartitionEntry],
        timeout: Duration,
    ) -> Result<Vec<LogEnds>, Failure> {
        let starts = self.offsets_at(entries, EARLIEST, timeout)?;
        let ends = self.offsets_at(entries, LATEST, timeout)?;
        // librdkafka answers in the list's order.
        let both = entries.iter().zip(starts.into_iter().zip(ends));
        Ok(both.map(|(entry, (start, end))| LogEnds { entry: entry.clone(), start, end }).collect())
    }

    /// What `timestamp` stands for in each of these partitions, in their order: see [`EARLIEST`] and [`LATEST`].
    pub(super) fn offsets_at(
        &self,
        entries: &[PartitionEntry],
        timestamp: i64,
        timeout: Duration,
    ) -> Result<Vec<Result<i64, Failure>>, Failure> {
        let mut list = List::with_capacity(entries.len());
        for entry in entries {
            list.push(&entry.topic, entry.partition, Some(timestamp));
        }
        // SAFETY: handle and list are valid.
        let code = unsafe { sys::rd_kafka_offsets_for_times(self.as_ptr(), list.as_ptr(), millis(timeout)) };
        // SAFETY: the list is valid.
        let answers = unsafe { list::read(list.as_ptr()) };
        let single = answers.iter().any(|answer| answer.error.is_some());
        match Failure::of(code) {
            // Not answered at all.
            Some(failure) if !single => Err(failure),
            _ => Ok(answers.into_iter().map(|answer| answer.error.map_or(Ok(answer.offset), Err)).collect()),
        }
    }

    /// Stops or resumes fetching of partitions; what is queued of them is dropped and fetched again.
    /// Does not wait.
    pub(crate) fn set_paused(&self, entries: &[PartitionEntry], paused: bool) {
        let list = List::of_partitions(entries);
        // SAFETY: handle and list are valid. Partitions that are not known are left alone.
        unsafe {
            match paused {
                true => sys::rd_kafka_pause_partitions(self.as_ptr(), list.as_ptr()),
                false => sys::rd_kafka_resume_partitions(self.as_ptr(), list.as_ptr()),
            }
        };
    }
}

pub(super) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// # Safety
/// `error` is null or an error object owned by the caller, and not used afterwards.
unsafe fn take_error(error: *mut sys::rd_kafka_error_t) -> Option<Failure> {
    if error.is_null() {
        return None;
    }
    // SAFETY: not null, valid by contract, freed once.
    unsafe {
        let failure = Failure::of(sys::rd_kafka_error_code(error));
        sys::rd_kafka_error_destroy(error);
        failure
    }
}
