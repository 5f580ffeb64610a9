//! Groups that this handle is not a member of: who is in them, what they committed. Requests that wait
//! for their answer: to be made on a thread that may block, never on the loop.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::slice;
use std::time::Duration;

use rdkafka_sys as sys;
use sys::rd_kafka_admin_op_t as Operation;
use sys::rd_kafka_consumer_group_state_t as State;

use super::client::Client;
use super::list::{self, Failure, List, OffsetEntry, PartitionEntry};
use super::request::millis;

/// librdkafka ends a request when its time is up, and its answer may be on its way then.
const GRACE: Duration = Duration::from_secs(1);

/// Whether a group has members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Membership {
    /// It has none.
    Idle,
    /// It has, or is about to; the broker's word for its state.
    Active(String),
}

impl Client {
    /// Every consumer group of the cluster that this client may see, of the classic protocol as of KIP-848.
    /// A group that is not in the answer does not exist. Asks every broker, and fails if one does not
    /// answer: it may be the one that coordinates the group in question.
    pub(crate) fn groups(&self, timeout: Duration) -> Result<BTreeMap<String, Membership>, Failure> {
        let answer =
            self.ask(Operation::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, timeout, |options, queue| {
                // SAFETY: handle, options and queue are valid.
                unsafe { sys::rd_kafka_ListConsumerGroups(self.as_ptr(), options, queue) };
            })?;
        let (mut failed, mut found) = (0, 0);
        // SAFETY: the event answers this very request and lends what it holds while it lives; the arrays
        // have as many entries as is said, each valid, the strings NUL-terminated.
        unsafe {
            let result = sys::rd_kafka_event_ListConsumerGroups_result(answer.as_ptr());
            let errors = sys::rd_kafka_ListConsumerGroups_result_errors(result, &mut failed);
            if failed > 0 {
                return Err(Failure::lent(*errors).unwrap_or_else(Failure::without_answer));
            }
            let groups = sys::rd_kafka_ListConsumerGroups_result_valid(result, &mut found);
            let groups = if found == 0 { &[] } else { slice::from_raw_parts(groups, found) };
            let membership = |group| {
                let state = sys::rd_kafka_ConsumerGroupListing_state(group);
                match state {
                    State::RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY
                    | State::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD => Membership::Idle,
                    // KIP-848 has states that librdkafka does not know; all of them have members.
                    _ => Membership::Active(text(sys::rd_kafka_consumer_group_state_name(state))),
                }
            };
            let name = |group| text(sys::rd_kafka_ConsumerGroupListing_group_id(group));
            Ok(groups.iter().map(|&group| (name(group), membership(group))).collect())
        }
    }

    /// What any group has committed; an offset below 0 is none.
    pub(crate) fn committed_by(
        &self,
        group: &str,
        partitions: &[PartitionEntry],
        timeout: Duration,
    ) -> Result<Vec<OffsetEntry>, Failure> {
        let group = CString::new(group).expect("no handle is made with a NUL byte in its group id");
        let list = List::of_partitions(partitions);
        let operation = Operation::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
        let answer = self.ask(operation, timeout, |options, queue| {
            // SAFETY: all are valid; the request copies name and list, and is itself copied.
            unsafe {
                let mut request = sys::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), list.as_ptr());
                sys::rd_kafka_ListConsumerGroupOffsets(self.as_ptr(), &mut request, 1, options, queue);
                sys::rd_kafka_ListConsumerGroupOffsets_destroy(request);
            }
        })?;
        let mut count = 0;
        // SAFETY: the event answers this very request, and lends what it holds while it lives.
        unsafe {
            let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(answer.as_ptr());
            let groups = sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
            offsets_of(groups, count)
        }
    }

    /// Commits for a group of which nobody is a member; the broker refuses it where somebody is. The
    /// answer has an error per partition.
    pub(crate) fn commit_for(
        &self,
        group: &str,
        offsets: &[(PartitionEntry, i64)],
        timeout: Duration,
    ) -> Result<Vec<OffsetEntry>, Failure> {
        let group = CString::new(group).expect("no handle is made with a NUL byte in its group id");
        let mut list = List::with_capacity(offsets.len());
        for (entry, offset) in offsets {
            list.push(&entry.topic, entry.partition, Some(*offset));
        }
        let operation = Operation::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS;
        let answer = self.ask(operation, timeout, |options, queue| {
            // SAFETY: all are valid; the request copies name and list, and is itself copied.
            unsafe {
                let mut request = sys::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), list.as_ptr());
                sys::rd_kafka_AlterConsumerGroupOffsets(self.as_ptr(), &mut request, 1, options, queue);
                sys::rd_kafka_AlterConsumerGroupOffsets_destroy(request);
            }
        })?;
        let mut count = 0;
        // SAFETY: the event answers this very request, and lends what it holds while it lives.
        unsafe {
            let result = sys::rd_kafka_event_AlterConsumerGroupOffsets_result(answer.as_ptr());
            let groups = sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &mut count);
            offsets_of(groups, count)
        }
    }

    /// How many partitions each topic of the cluster has. All topics are asked for, because asking for one
    /// by name may create it.
    pub(crate) fn partition_counts(&self, timeout: Duration) -> Result<BTreeMap<String, i32>, Failure> {
        let mut metadata = std::ptr::null();
        let every_topic = 1;
        // SAFETY: the handle is valid, and `metadata` is a place for the result.
        let code = unsafe {
            sys::rd_kafka_metadata(
                self.as_ptr(),
                every_topic,
                std::ptr::null_mut(),
                &mut metadata,
                millis(timeout),
            )
        };
        if let Some(failure) = Failure::of(code) {
            return Err(failure);
        }
        // SAFETY: without an error it is valid and ours until it is destroyed, once; the array has as many
        // entries as is said, each with a NUL-terminated name.
        unsafe {
            let count = usize::try_from((*metadata).topic_cnt).unwrap_or(0);
            let topics = if count == 0 { &[] } else { slice::from_raw_parts((*metadata).topics, count) };
            let known = topics.iter().filter(|topic| Failure::of(topic.err).is_none());
            let counts = known.map(|topic| (text(topic.topic), topic.partition_cnt)).collect();
            sys::rd_kafka_metadata_destroy(metadata);
            Ok(counts)
        }
    }

    /// Sends one administrative request and waits for its answer.
    fn ask(
        &self,
        operation: Operation,
        timeout: Duration,
        send: impl FnOnce(*const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    ) -> Result<Answer, Failure> {
        let mut reason = [0 as c_char; 256];
        // SAFETY: the handle is valid; options and queue are made and destroyed here, where the queue may go
        // before an answer that comes too late: librdkafka counts its references.
        let event = unsafe {
            let options = sys::rd_kafka_AdminOptions_new(self.as_ptr(), operation);
            // Refused outside of 0 to 3,600,000 ms; then librdkafka's own socket.timeout.ms holds.
            sys::rd_kafka_AdminOptions_set_request_timeout(
                options,
                millis(timeout),
                reason.as_mut_ptr(),
                reason.len(),
            );
            let queue = sys::rd_kafka_queue_new(self.as_ptr());
            send(options, queue);
            let event = sys::rd_kafka_queue_poll(queue, millis(timeout + GRACE));
            sys::rd_kafka_queue_destroy(queue);
            sys::rd_kafka_AdminOptions_destroy(options);
            event
        };
        let answer = Answer(NonNull::new(event).ok_or_else(Failure::without_answer)?);
        // SAFETY: the event is valid.
        match Failure::of(unsafe { sys::rd_kafka_event_error(answer.as_ptr()) }) {
            Some(failure) => {
                // SAFETY: with an error there is a NUL-terminated text, lent while the event lives.
                let message = unsafe { text(sys::rd_kafka_event_error_string(answer.as_ptr())) };
                Err(Failure { message, ..failure })
            }
            None => Ok(answer),
        }
    }
}

/// An event that this side owns.
struct Answer(NonNull<sys::rd_kafka_event_t>);

impl Answer {
    fn as_ptr(&self) -> *mut sys::rd_kafka_event_t {
        self.0.as_ptr()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: owned, and not used after this.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

impl Failure {
    fn without_answer() -> Self {
        Self { code: "_TIMED_OUT".to_owned(), message: "no answer".to_owned() }
    }

    /// # Safety
    /// `error` is null or a valid error object.
    unsafe fn lent(error: *const sys::rd_kafka_error_t) -> Option<Self> {
        if error.is_null() {
            return None;
        }
        // SAFETY: not null, valid by contract; the text is NUL-terminated.
        unsafe {
            let failure = Self::of(sys::rd_kafka_error_code(error))?;
            Some(Self { message: text(sys::rd_kafka_error_string(error)), ..failure })
        }
    }
}

/// The answer for the one group that was asked for.
///
/// # Safety
/// `groups` points to `count` valid results.
unsafe fn offsets_of(
    groups: *mut *const sys::rd_kafka_group_result_t,
    count: usize,
) -> Result<Vec<OffsetEntry>, Failure> {
    if count == 0 {
        return Err(Failure::without_answer());
    }
    // SAFETY: there is one, valid by contract, and its list lives as long as it does.
    unsafe {
        match Failure::lent(sys::rd_kafka_group_result_error(*groups)) {
            Some(failure) => Err(failure),
            None => Ok(list::read(sys::rd_kafka_group_result_partitions(*groups))),
        }
    }
}

/// # Safety
/// `pointer` is null or a NUL-terminated string.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, valid by contract.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}
