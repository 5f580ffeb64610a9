//! One FIFO of fetched records.

use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka_sys as sys;

use super::client::Client;
use super::message::Message;
use super::wake::{Wake, Waker, on_queue_event};

/// A queue of one handle to which partition queues are forwarded.
///
/// `take` needs `&mut`: batch consumption of one queue from two threads is undefined behaviour in
/// librdkafka.
pub(crate) struct LaneQueue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    waker: Box<Waker>,
    // Last field: the handle outlives its queue.
    client: Arc<Client>,
}

// SAFETY: librdkafka's queues are locked inside; the waker is Sync.
unsafe impl Send for LaneQueue {}

impl LaneQueue {
    pub(crate) fn new(client: &Arc<Client>, wake: &Arc<Wake>) -> Self {
        // SAFETY: the handle is valid; librdkafka aborts rather than return null.
        let queue = unsafe { sys::rd_kafka_queue_new(client.as_ptr()) };
        let queue = NonNull::new(queue).expect("librdkafka aborts when it is out of memory");
        let waker = Waker::new(Arc::clone(wake));
        // SAFETY: the waker is boxed, hence does not move, and `drop` disables the event first.
        unsafe { sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_queue_event), waker.opaque()) };
        Self { queue, waker, client: Arc::clone(client) }
    }

    /// Whether records came to the empty queue since the last call.
    pub(crate) fn take_wake(&self) -> bool {
        self.waker.take()
    }

    /// Records and control operations that wait. Takes the queue's lock.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: the queue is valid.
        unsafe { sys::rd_kafka_queue_length(self.queue.as_ptr()) }
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Appends up to `most` waiting messages to `into` and returns how many. Never blocks: with a
    /// timeout librdkafka would wait for a *full* batch.
    pub(crate) fn take(&mut self, most: usize, into: &mut Vec<Message>) -> usize {
        into.reserve(most);
        let free = into.spare_capacity_mut();
        // SAFETY: `Message` is a transparent wrapper of a non-null message pointer, so the spare
        // capacity is room for at least `most` pointers; librdkafka writes as many as it returns.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, free.as_mut_ptr().cast(), most)
        };
        // -1 is an error without records; the queue is valid and the size positive, so the only
        // cause left is a handle in destruction.
        let taken = usize::try_from(taken).unwrap_or(0);
        // SAFETY: that many elements were just written, each an owned, non-null pointer.
        unsafe { into.set_len(into.len() + taken) };
        taken
    }
}

impl Drop for LaneQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is valid. Disabling takes the queue's lock, under which the callback
        // runs: after it no callback touches the waker.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

impl fmt::Debug for LaneQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneQueue").field("len", &self.len()).finish_non_exhaustive()
    }
}
