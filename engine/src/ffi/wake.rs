//! How librdkafka's threads wake the consumer's task.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka_sys as sys;
use tokio::sync::Notify;

/// One per consumer: the task waits on it for any of its queues.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    notify: Notify,
}

impl Wake {
    /// Completes when any queue went from empty to non-empty since the last time it completed.
    ///
    /// `Notify` keeps one permit, so a wake-up between draining the queues and awaiting this is
    /// not lost.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Wakes the task; safe from any thread.
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }
}

/// One per queue: remembers that the queue may have something, and wakes the task.
///
/// Queue events are edge-triggered (length 0 → 1) and run under the queue's lock on one of
/// librdkafka's threads, so the callback does nothing else.
#[derive(Debug)]
pub(crate) struct Waker {
    wake: Arc<Wake>,
    raised: AtomicBool,
}

impl Waker {
    pub(crate) fn new(wake: Arc<Wake>) -> Box<Self> {
        Box::new(Self { wake, raised: AtomicBool::new(false) })
    }

    /// Whether the queue had an event since the last call.
    pub(crate) fn take(&self) -> bool {
        // The plain load keeps the cache line shared while nothing happens.
        self.raised.load(Ordering::Relaxed) && self.raised.swap(false, Ordering::AcqRel)
    }

    /// What librdkafka hands to [`on_queue_event`].
    pub(crate) fn opaque(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }
}

/// Given to `rd_kafka_queue_cb_event_enable` together with a [`Waker::opaque`].
pub(crate) unsafe extern "C" fn on_queue_event(_rk: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `opaque` comes from `Waker::opaque` of a boxed waker; its queue's owner disables the
    // event (which takes the queue's lock, under which this runs) before it frees the waker.
    let waker = unsafe { &*opaque.cast_const().cast::<Waker>() };
    waker.raised.store(true, Ordering::Release);
    waker.wake.wake();
}
