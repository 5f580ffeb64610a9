//! One fetched record, owned.

use std::borrow::Cow;
use std::ffi::CStr;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Mutex, PoisonError};

use rdkafka_sys as sys;

use super::list::PartitionEntry;
use super::{error_name, error_text};

/// A record, or an error, that librdkafka put on a queue. Freed on drop.
///
/// It must not outlive its handle: whoever keeps messages keeps the handle's `Arc<Client>`.
#[repr(transparent)]
pub(crate) struct Message(NonNull<sys::rd_kafka_message_t>);

// SAFETY: a consumed message is not shared with librdkafka's threads; reading its fields is plain
// memory access, and freeing it uses atomic reference counts on its fetch buffer and partition.
unsafe impl Send for Message {}
// SAFETY: all methods through `&self` only read fields that nobody writes after creation, but for the
// headers, which are parsed under a lock.
unsafe impl Sync for Message {}

/// Which partition an error concerns, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageError {
    pub(crate) topic: Option<String>,
    pub(crate) partition: Option<i32>,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) fatal: bool,
}

impl Message {
    /// Takes ownership of a pointer that a consume call returned.
    ///
    /// # Safety
    /// `pointer` must come from librdkafka, be owned by the caller and not be used afterwards.
    pub(crate) unsafe fn from_owned(pointer: NonNull<sys::rd_kafka_message_t>) -> Self {
        Self(pointer)
    }

    fn raw(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: owned, hence valid until drop.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn is_error(&self) -> bool {
        self.raw().err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    pub(crate) fn offset(&self) -> i64 {
        self.raw().offset
    }

    pub(crate) fn partition(&self) -> i32 {
        self.raw().partition
    }

    /// Where a fetch failed: the partition's next offset that was not fetched. `None` for records and
    /// for errors of the client's own, after which it does not fetch on by itself.
    pub(crate) fn failed_fetch(&self) -> Option<(PartitionEntry, i64)> {
        let raw = self.raw();
        // The client's own codes end at -100; of the brokers' the unknown one is -1.
        let by_broker = raw.err as i32 > sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__END as i32;
        let known = by_broker && raw.partition >= 0 && raw.offset >= 0;
        let topic = self.topic().filter(|_| known)?.to_owned();
        Some((PartitionEntry { topic, partition: raw.partition }, raw.offset))
    }

    /// Of an error on the control queue: whether it is the topic's as a whole. librdkafka writes
    /// partition 0 there, and no offset.
    pub(crate) fn is_of_topic(&self) -> bool {
        self.raw().partition <= 0 && self.raw().offset == i64::from(sys::RD_KAFKA_OFFSET_INVALID)
    }

    /// Identifies the topic object while this message lives.
    pub(crate) fn topic_token(&self) -> usize {
        self.raw().rkt as usize
    }

    /// The topic's name; `None` for errors that concern no topic.
    pub(crate) fn topic(&self) -> Option<&str> {
        let rkt = self.raw().rkt;
        if rkt.is_null() {
            return None;
        }
        // SAFETY: the message holds a reference on its topic object, whose name lives as long.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(rkt)) };
        // Kafka allows only ASCII letters, digits, '.', '_' and '-' in topic names.
        name.to_str().ok()
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        let raw = self.raw();
        // SAFETY: payload and len describe memory that the message owns.
        unsafe { bytes(raw.payload.cast(), raw.len) }
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        let raw = self.raw();
        // SAFETY: key and key_len describe memory that the message owns.
        unsafe { bytes(raw.key.cast(), raw.key_len) }
    }

    /// Milliseconds since the epoch; `None` where the record carries none.
    pub(crate) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid, and `kind` is a valid place for the result.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(self.0.as_ptr(), &mut kind) };
        (timestamp >= 0).then_some(timestamp)
    }

    /// The headers in their order.
    pub(crate) fn headers(&self) -> Headers<'_> {
        let mut headers = ptr::null_mut();
        let parsing = PARSING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the message is valid. The first call parses the headers into the message, which is
        // the only write after its creation; all calls are under one lock.
        let result = unsafe { sys::rd_kafka_message_headers(self.0.as_ptr(), &mut headers) };
        drop(parsing);
        let found = result == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        Headers { headers: NonNull::new(headers).filter(|_| found), next: 0, message: PhantomData }
    }

    /// The error it stands for.
    pub(crate) fn error(&self) -> MessageError {
        let raw = self.raw();
        // SAFETY: for an error message librdkafka returns a string that lives as long as it does.
        let text = unsafe { sys::rd_kafka_message_errstr(self.0.as_ptr()) };
        let message = if text.is_null() {
            error_text(raw.err)
        } else {
            // SAFETY: not null, NUL-terminated, see above.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
        };
        MessageError {
            topic: self.topic().map(str::to_owned),
            // Without a topic it is no partition's, whatever it says.
            partition: (!raw.rkt.is_null() && raw.partition >= 0).then_some(raw.partition),
            code: error_name(raw.err),
            message,
            fatal: raw.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__FATAL,
        }
    }
}

/// Held while librdkafka looks for a message's headers: the first look parses and keeps them. One lock
/// for all messages: a word per message would cost more than waiting now and then.
static PARSING: Mutex<()> = Mutex::new(());

/// Iterator over a record's headers: name and value.
#[derive(Clone)]
pub(crate) struct Headers<'a> {
    headers: Option<NonNull<sys::rd_kafka_headers_t>>,
    next: usize,
    message: PhantomData<&'a Message>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (Cow<'a, str>, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list belongs to the message, which outlives `'a`, and is not changed any more;
        // the places are valid.
        let result = unsafe {
            sys::rd_kafka_header_get_all(self.headers?.as_ptr(), self.next, &mut name, &mut value, &mut len)
        };
        if result != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        self.next += 1;
        // SAFETY: the name is NUL-terminated, the value has `len` bytes or is null; both live as long
        // as the message.
        Some(unsafe { (CStr::from_ptr(name).to_string_lossy(), bytes(value.cast(), len)) })
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: owned, and not used after this.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// # Safety
/// `start` is null, or points to `len` bytes that live as long as `'a`.
unsafe fn bytes<'a>(start: *const u8, len: usize) -> Option<&'a [u8]> {
    // SAFETY: see above; null is not turned into a slice.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, len) })
}
