//! librdkafka itself: batches of the one queue that a consumer has.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairpoll_judge::protocol::{TopicPartition, WorkerSpec};
use rdkafka::ClientConfig;
use rdkafka_sys as sys;

use crate::course::{Course, Ranges, Which};
use crate::{Peer, PeerError};

use sys::rd_kafka_resp_err_t as Code;

/// librdkafka waits for a *full* batch until the timeout is over, so a long one would hold back what a topic
/// has little of.
const MOST_WAIT: Duration = Duration::from_millis(10);
/// How long the answers to the last commits are awaited.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// A consumer of all topics.
pub(crate) struct Raw {
    rk: NonNull<sys::rd_kafka_t>,
    queue: NonNull<sys::rd_kafka_queue_t>,
    messages: Vec<*mut sys::rd_kafka_message_t>,
    /// librdkafka's opaque points to it.
    course: Arc<Course>,
}

impl Raw {
    pub(crate) fn start(
        spec: &WorkerSpec,
        config: &ClientConfig,
        course: &Arc<Course>,
    ) -> Result<Self, PeerError> {
        let native = config.create_native_config()?;
        let mut reason = [0 as c_char; 512];
        // SAFETY: the configuration is duplicated, because `rd_kafka_new` takes it over; the opaque is in an
        // `Arc` that the consumer keeps until it has destroyed the handle.
        let rk = unsafe {
            let conf = sys::rd_kafka_conf_dup(native.ptr());
            sys::rd_kafka_conf_set_opaque(conf, Arc::as_ptr(course).cast_mut().cast());
            sys::rd_kafka_conf_set_rebalance_cb(conf, Some(on_rebalance));
            sys::rd_kafka_conf_set_offset_commit_cb(conf, Some(on_commit));
            sys::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            let kind = sys::rd_kafka_type_t::RD_KAFKA_CONSUMER;
            sys::rd_kafka_new(kind, conf, reason.as_mut_ptr(), reason.len())
        };
        let Some(rk) = NonNull::new(rk) else {
            // SAFETY: librdkafka wrote a NUL-terminated reason. The configuration is leaked: the process ends.
            let reason = unsafe { CStr::from_ptr(reason.as_ptr()) };
            return Err(PeerError::Refused(reason.to_string_lossy().into_owned()));
        };
        // SAFETY: the handle is valid and has a group id, hence a consumer queue.
        let queue = unsafe {
            sys::rd_kafka_poll_set_consumer(rk.as_ptr());
            sys::rd_kafka_queue_get_consumer(rk.as_ptr())
        };
        let queue = NonNull::new(queue).expect("a group id is always set");
        let names = spec.topics.iter().map(|topic| (topic.name.as_str(), -1, None));
        let list = list_of(names);
        // SAFETY: handle and list are valid; librdkafka copies the list.
        let code = unsafe {
            let code = sys::rd_kafka_subscribe(rk.as_ptr(), list);
            sys::rd_kafka_topic_partition_list_destroy(list);
            code
        };
        if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(PeerError::Refused(text(code)));
        }
        Ok(Self { rk, queue, messages: Vec::new(), course: Arc::clone(course) })
    }
}

impl Peer for Raw {
    fn poll(&mut self, most: usize, wait: Duration, into: &mut Ranges) -> Result<(), PeerError> {
        self.messages.resize(most, ptr::null_mut());
        let timeout = i32::try_from(wait.min(MOST_WAIT).as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is valid and used by this thread alone; there is room for `most` pointers.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), timeout, self.messages.as_mut_ptr(), most)
        };
        let taken = usize::try_from(taken).unwrap_or(0);
        let mut before = ptr::null_mut();
        for &message in &self.messages[..taken] {
            // SAFETY: librdkafka gave the message away, valid until it is destroyed at the end of this block.
            unsafe {
                let record = &*message;
                if record.err == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                    let value = if record.payload.is_null() {
                        &[]
                    } else {
                        slice::from_raw_parts(record.payload.cast::<u8>(), record.len)
                    };
                    let topic = || string(sys::rd_kafka_topic_name(record.rkt));
                    into.push(record.rkt == before, topic, record.partition, record.offset, value);
                    before = record.rkt;
                } else {
                    self.course.error(text(record.err), false);
                }
                sys::rd_kafka_message_destroy(message);
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), PeerError> {
        commit(self.rk.as_ptr(), &self.course, true)
    }

    fn close(self: Box<Self>) -> Result<(), PeerError> {
        let until = Instant::now() + LAST_ANSWERS;
        commit(self.rk.as_ptr(), &self.course, false)?;
        // SAFETY: the handle is valid; polling serves the answers to commits, and what else comes is given back.
        unsafe {
            while !self.course.all_answered() && Instant::now() < until {
                let message = sys::rd_kafka_consumer_poll(self.rk.as_ptr(), 10);
                if !message.is_null() {
                    sys::rd_kafka_message_destroy(message);
                }
            }
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
            sys::rd_kafka_consumer_close(self.rk.as_ptr());
            sys::rd_kafka_destroy(self.rk.as_ptr());
        }
        Ok(())
    }
}

/// A list to hand to librdkafka; to be destroyed by the caller.
fn list_of<'a>(
    entries: impl ExactSizeIterator<Item = (&'a str, i32, Option<i64>)>,
) -> *mut sys::rd_kafka_topic_partition_list_t {
    // SAFETY: no preconditions; names are copied, and entries stay valid until the next is added.
    unsafe {
        let list = sys::rd_kafka_topic_partition_list_new(i32::try_from(entries.len()).unwrap_or(i32::MAX));
        for (topic, partition, offset) in entries {
            let topic = CString::new(topic).expect("topic names have no NUL");
            let entry = sys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition);
            if let Some(offset) = offset {
                (*entry).offset = offset;
            }
        }
        list
    }
}

fn commit(rk: *mut sys::rd_kafka_t, course: &Course, later: bool) -> Result<(), PeerError> {
    let Some(ends) = course.commit_sent()? else { return Ok(()) };
    let entries = ends
        .iter()
        .map(|(place, offset)| (place.topic.as_str(), place.partition.cast_signed(), Some(*offset)));
    let list = list_of(entries);
    // SAFETY: handle and list are valid; librdkafka copies the list.
    let code = unsafe {
        let code = sys::rd_kafka_commit(rk, list, i32::from(later));
        sys::rd_kafka_topic_partition_list_destroy(list);
        code
    };
    // A commit that is waited for has no callback.
    if !later || code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
        course.commit_result(Which::Last, failure(code));
    }
    Ok(())
}

fn failure(code: Code) -> Option<String> {
    (code != Code::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| text(code))
}

fn text(code: Code) -> String {
    // SAFETY: librdkafka has a static text for every code.
    unsafe { string(sys::rd_kafka_err2str(code)) }
}

/// # Safety
/// `text` is NUL-terminated.
unsafe fn string(text: *const c_char) -> String {
    // SAFETY: by contract.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// # Safety
/// `opaque` is the one that [`Raw::start`] set.
unsafe fn course<'a>(opaque: *mut c_void) -> &'a Course {
    // SAFETY: it outlives the handle, whose callbacks alone come here.
    unsafe { &*opaque.cast_const().cast() }
}

/// Runs inside [`Raw::poll`] and [`Raw::close`].
unsafe extern "C" fn on_rebalance(
    rk: *mut sys::rd_kafka_t,
    code: Code,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: librdkafka lends a valid list for the length of the call, and the handle is valid.
    unsafe {
        let course = course(opaque);
        let count = usize::try_from((*partitions).cnt).unwrap_or(0);
        let entries = if count == 0 { &[][..] } else { slice::from_raw_parts((*partitions).elems, count) };
        let named = entries
            .iter()
            .map(|entry| TopicPartition {
                topic: string(entry.topic),
                partition: entry.partition.unsigned_abs(),
            })
            .collect();
        if code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            sys::rd_kafka_assign(rk, partitions);
            course.assigned(named);
        } else {
            let lost = sys::rd_kafka_assignment_lost(rk) == 1;
            if !lost && let Err(error) = commit(rk, course, false) {
                course.error(error.to_string(), false);
            }
            sys::rd_kafka_assign(rk, ptr::null());
            course.revoked(named, lost);
        }
    }
}

unsafe extern "C" fn on_commit(
    _: *mut sys::rd_kafka_t,
    code: Code,
    _: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: see `course`.
    unsafe { course(opaque) }.commit_result(Which::Oldest, failure(code));
}

unsafe extern "C" fn on_error(
    _: *mut sys::rd_kafka_t,
    code: i32,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    let fatal = code == Code::RD_KAFKA_RESP_ERR__FATAL as i32;
    // SAFETY: the reason is NUL-terminated; see `course`.
    unsafe { course(opaque).error(string(reason), fatal) };
}
