//! One librdkafka consumer handle.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka_sys as sys;

use crate::config::properties::told;

use super::answer::unless_over;
use super::certificate::{self, Objection};
use super::committed::{self, CommitOutcome, Seen};
use super::list::{self, Failure, List, PartitionEntry};
use super::message::Message;
use super::queue::LaneQueue;
use super::start::Start;
use super::wake::{Wake, Waker, on_queue_event};
use super::{error_name, error_name_of, error_text};

/// What a handle's callbacks wrote down, in order.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    /// The group gives partitions; librdkafka waits for [`Client::assign`].
    Assign(Vec<PartitionEntry>),
    /// The group takes partitions; librdkafka waits for [`Client::unassign`]. `lost`: somebody
    /// else owns them already, commits will be refused.
    Revoke { partitions: Vec<PartitionEntry>, lost: bool },
    /// The answer to a [`Client::commit`].
    Committed(CommitOutcome),
    /// Something that concerns the whole handle.
    Error { code: String, message: String, fatal: bool },
}

/// Why a handle could not be made, or not do something.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CreateError {
    #[error("{0}")]
    Property(String),
    #[error("librdkafka refused to create a consumer: {0}")]
    Refused(String),
}

/// Where callbacks write; librdkafka's opaque of the handle.
#[derive(Debug)]
pub(super) struct Notes {
    name: String,
    /// What is wrong with a broker's certificate.
    pub(super) objection: Objection,
    /// Answers to commits that interceptors saw.
    pub(super) seen: Seen,
    events: Mutex<VecDeque<ClientEvent>>,
    /// librdkafka waits for [`Client::assign`] or [`Client::unassign`].
    owes_answer: AtomicBool,
}

impl Notes {
    fn push(&self, event: ClientEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
    }
}

/// One librdkafka consumer handle. Dropped, it is destroyed on a thread of its own: destruction
/// joins librdkafka's threads and must not hold up an executor.
pub(crate) struct Client {
    rk: NonNull<sys::rd_kafka_t>,
    /// The handle's own queue: rebalances, commit answers, errors. Never records, once partitions
    /// are forwarded, but for strays.
    control: NonNull<sys::rd_kafka_queue_t>,
    control_waker: Box<Waker>,
    /// Where control goes once closing began.
    closing: Mutex<Option<Closing>>,
    notes: Option<Box<Notes>>,
    /// Rebalances are incremental (cooperative-sticky, KIP-848).
    incremental: bool,
    gone: Gone,
    on_gone: Arc<Wake>,
}

/// Tells whether a handle has been destroyed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gone(Arc<AtomicBool>);

impl Gone {
    pub(crate) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

struct Closing {
    queue: NonNull<sys::rd_kafka_queue_t>,
    waker: Box<Waker>,
}

// SAFETY: librdkafka's API is thread-safe on a handle; what is not (batch consumption of one queue)
// is behind `&mut LaneQueue`.
unsafe impl Send for Client {}
// SAFETY: as above; the remaining fields are locked or Sync.
unsafe impl Sync for Client {}

impl Client {
    /// Creates a handle. It starts threads of its own and connects in the background.
    ///
    /// `wake` is raised for control events, `on_gone` when the handle has been destroyed.
    pub(crate) fn new(
        name: &str,
        config: &ClientConfig,
        wake: &Arc<Wake>,
        on_gone: &Arc<Wake>,
    ) -> Result<Arc<Self>, CreateError> {
        let native = config.create_native_config().map_err(|error| CreateError::Property(told(&error)))?;
        let notes = Box::new(Notes {
            name: name.to_owned(),
            objection: Objection::default(),
            seen: Seen::default(),
            events: Mutex::default(),
            owes_answer: AtomicBool::new(false),
        });
        let mut reason = [0 as c_char; 512];
        // SAFETY: `native` is a valid configuration, duplicated because `rd_kafka_new` takes it
        // over; `notes` is boxed and outlives the handle (freed after `rd_kafka_destroy`).
        let rk = unsafe {
            let conf = sys::rd_kafka_conf_dup(native.ptr());
            sys::rd_kafka_conf_set_opaque(conf, ptr::from_ref(notes.as_ref()).cast_mut().cast());
            sys::rd_kafka_conf_set_rebalance_cb(conf, Some(on_rebalance));
            sys::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            sys::rd_kafka_conf_set_log_cb(conf, Some(on_log));
            certificate::listen(conf, config);
            committed::listen(conf);
            let rk = sys::rd_kafka_new(
                sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
                conf,
                reason.as_mut_ptr(),
                reason.len(),
            );
            // On failure the configuration stays with the caller. But once it was copied, and interceptors were
            // called, librdkafka has freed the list of them that both share: destroying it would free that again
            // (`fail:` in `rd_kafka_new`). Some KiB are lost with a start that fails.
            if rk.is_null() && !notes.seen.was_copied() {
                sys::rd_kafka_conf_destroy(conf);
            }
            rk
        };
        let Some(rk) = NonNull::new(rk) else {
            // SAFETY: librdkafka wrote a NUL-terminated reason into the buffer.
            let reason = unsafe { CStr::from_ptr(reason.as_ptr()) };
            return Err(CreateError::Refused(reason.to_string_lossy().into_owned()));
        };
        // SAFETY: the handle is valid. After the redirection everything that concerns the handle
        // arrives on the consumer queue, which exists for every handle with a group id.
        let control = unsafe {
            sys::rd_kafka_poll_set_consumer(rk.as_ptr());
            sys::rd_kafka_queue_get_consumer(rk.as_ptr())
        };
        let control = NonNull::new(control).expect("configuration always sets a group id");
        let control_waker = Waker::new(Arc::clone(wake));
        // SAFETY: the waker is boxed, and `drop` disables the event before it is freed.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(
                control.as_ptr(),
                Some(on_queue_event),
                control_waker.opaque(),
            );
        }
        Ok(Arc::new(Self {
            rk,
            control,
            control_waker,
            closing: Mutex::default(),
            notes: Some(notes),
            incremental: Self::is_incremental(config),
            gone: Gone::default(),
            on_gone: Arc::clone(on_gone),
        }))
    }

    /// Whether a handle with these properties is given and loses partitions one by one, and not all at a time.
    ///
    /// `rd_kafka_rebalance_protocol` would say, too: the group's thread answers that, and does not once the group has
    /// ended. The configuration says as much: `group.protocol` is the engine's, and librdkafka makes no handle with
    /// assignors of both kinds.
    pub(crate) fn is_incremental(config: &ClientConfig) -> bool {
        let says = |name, value: &str| config.get(name).is_some_and(|said| said.contains(value));
        says("group.protocol", "consumer") || says("partition.assignment.strategy", "cooperative-sticky")
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_t {
        self.rk.as_ptr()
    }

    fn notes(&self) -> &Notes {
        self.notes.as_ref().expect("taken only by drop")
    }

    /// Joins the group for these topics.
    pub(crate) fn subscribe<'a>(&self, topics: impl ExactSizeIterator<Item = &'a str>) -> Result<(), String> {
        let list = List::of_topics(topics);
        // SAFETY: handle and list are valid; librdkafka copies the list.
        check(unsafe { sys::rd_kafka_subscribe(self.as_ptr(), list.as_ptr()) })
    }

    /// Whether control events may wait; resets the note.
    pub(crate) fn take_wake(&self) -> bool {
        self.control_waker.take()
    }

    /// Serves the control queue to its end without blocking. Callbacks run here, on the caller's
    /// thread. Records that came before their partition was forwarded are returned, as are errors
    /// of topics and partitions.
    pub(crate) fn serve(&self, strays: &mut Vec<Message>) {
        loop {
            // SAFETY: the handle is valid; a returned message is owned by us.
            let message = unsafe { sys::rd_kafka_consumer_poll(self.as_ptr(), 0) };
            let Some(message) = NonNull::new(message) else { break };
            // SAFETY: see above.
            strays.push(unsafe { Message::from_owned(message) });
        }
        if let Some(closing) = &*self.lock_closing() {
            let mut batch = [ptr::null_mut(); 16];
            loop {
                // SAFETY: the queue is valid, the array has room for as many pointers as given.
                let taken = unsafe {
                    sys::rd_kafka_consume_batch_queue(
                        closing.queue.as_ptr(),
                        0,
                        batch.as_mut_ptr(),
                        batch.len(),
                    )
                };
                let taken = usize::try_from(taken).unwrap_or(0);
                for pointer in batch[..taken].iter().copied().filter_map(NonNull::new) {
                    // SAFETY: owned by us, see above.
                    strays.push(unsafe { Message::from_owned(pointer) });
                }
                if taken < batch.len() {
                    break;
                }
            }
            closing.waker.take();
        }
    }

    /// The next thing a callback wrote down.
    pub(crate) fn next_event(&self) -> Option<ClientEvent> {
        self.notes().events.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Sends a partition's records to a lane.
    ///
    /// Must be called on **every** assignment and before it: revoking un-forwards a partition's
    /// queue for good (librdkafka #1335, #1792), and between assignment and forwarding records
    /// land on the control queue.
    pub(crate) fn forward(&self, entry: &PartitionEntry, lane: &LaneQueue) -> Result<(), String> {
        let topic = CString::new(entry.topic.as_str()).map_err(|error| error.to_string())?;
        // SAFETY: handle and name are valid; the partition object is created where it is missing.
        let source =
            unsafe { sys::rd_kafka_queue_get_partition(self.as_ptr(), topic.as_ptr(), entry.partition) };
        let Some(source) = NonNull::new(source) else {
            return Err(format!("no queue for {} [{}]", entry.topic, entry.partition));
        };
        // SAFETY: both queues are valid; forwarding keeps its own reference on the destination, and
        // the source's reference is given back.
        unsafe {
            sys::rd_kafka_queue_forward(source.as_ptr(), lane.as_ptr());
            sys::rd_kafka_queue_destroy(source.as_ptr());
        }
        Ok(())
    }

    /// Fetches partitions anew from these offsets; what is queued of them is dropped. Does not wait.
    /// A partition that was taken away meanwhile is left alone.
    pub(crate) fn seek(&self, positions: &[(PartitionEntry, i64)]) {
        let mut list = List::with_capacity(positions.len());
        for (entry, offset) in positions {
            list.push(&entry.topic, entry.partition, Some(*offset));
        }
        let do_not_wait = 0;
        // SAFETY: handle and list are valid; without a timeout nothing but misuse is answered.
        let refused =
            check_error(unsafe { sys::rd_kafka_seek_partitions(self.as_ptr(), list.as_ptr(), do_not_wait) });
        if let Err(error) = refused {
            tracing::error!(%error, "librdkafka refused to seek");
        }
    }

    /// Sends a partition's records to the control queue, as if they had come before forwarding.
    #[cfg(test)]
    pub(crate) fn divert(&self, entry: &PartitionEntry) {
        let topic = CString::new(entry.topic.as_str()).expect("a topic's name");
        // SAFETY: as in `forward`; the control queue is valid.
        unsafe {
            let source = sys::rd_kafka_queue_get_partition(self.as_ptr(), topic.as_ptr(), entry.partition);
            sys::rd_kafka_queue_forward(source, self.control.as_ptr());
            sys::rd_kafka_queue_destroy(source);
        }
    }

    /// Answers [`ClientEvent::Assign`]: fetching begins where each start says, or at the group's committed
    /// offset.
    ///
    /// librdkafka starts partitions one after the other, in an order of its own, and a first fetch leaves with
    /// those that were started by then: with none but empty ones, it is answered after `fetch.wait.max.ms`, and all
    /// others of that broker wait behind it. So those that are known to be empty are assigned after the others, where
    /// rebalances are incremental; elsewhere a second call would take back the first.
    pub(crate) fn assign(&self, starts: &[Start]) -> Result<(), String> {
        let is_empty = |start: &&Start| start.at.is_some_and(|at| at.is_end);
        let (last, first): (Vec<&Start>, Vec<&Start>) =
            starts.iter().partition(|start| self.incremental && is_empty(start));
        // An assignment without partitions wants an answer too.
        let two = !first.is_empty() && !last.is_empty();
        let lists = match two {
            true => vec![List::of_starts(first), List::of_starts(last)],
            false => vec![List::of_starts(starts)],
        };
        let incremental = self.incremental;
        self.answer(move |rk| {
            lists.iter().try_for_each(|list| {
                // SAFETY: handle and list are valid; librdkafka copies the list.
                unsafe {
                    match incremental {
                        true => check_error(sys::rd_kafka_incremental_assign(rk, list.as_ptr())),
                        false => check(sys::rd_kafka_assign(rk, list.as_ptr())),
                    }
                }
            })
        })
    }

    /// Answers [`ClientEvent::Revoke`]: these partitions are given back.
    pub(crate) fn unassign(&self, partitions: &[PartitionEntry]) -> Result<(), String> {
        let list = List::of_partitions(partitions);
        let incremental = self.incremental;
        self.answer(move |rk| {
            // SAFETY: handle and list are valid; librdkafka copies the list. A null list means: nothing is
            // assigned any more.
            unsafe {
                match incremental {
                    true => check_error(sys::rd_kafka_incremental_unassign(rk, list.as_ptr())),
                    false => check(sys::rd_kafka_assign(rk, ptr::null())),
                }
            }
        })
    }

    /// Answers a rebalance. While the handle closes, its group may end without waiting for that; then
    /// everything is given back already.
    fn answer(
        &self,
        call: impl FnOnce(*mut sys::rd_kafka_t) -> Result<(), String> + Send + 'static,
    ) -> Result<(), String> {
        self.notes().owes_answer.store(false, Ordering::Release);
        if self.lock_closing().is_none() {
            return call(self.as_ptr());
        }
        let rk = Asked(self.as_ptr());
        unless_over(move || call(rk.get()), || self.is_closed()).unwrap_or(Ok(()))
    }

    /// Sends a commit; the answer comes as [`ClientEvent::Committed`] with the same id.
    pub(crate) fn commit<'a>(
        &self,
        id: u64,
        offsets: impl ExactSizeIterator<Item = (&'a str, i32, i64)>,
    ) -> Result<(), String> {
        let mut list = List::with_capacity(offsets.len());
        for (topic, partition, offset) in offsets {
            list.push(topic, partition, Some(offset));
        }
        let id = usize::try_from(id).map_err(|error| error.to_string())?;
        // SAFETY: handle, list and queue are valid; librdkafka copies the list. The opaque is a
        // number in a pointer's clothes and never followed.
        check(unsafe {
            sys::rd_kafka_commit_queue(
                self.as_ptr(),
                list.as_ptr(),
                self.control.as_ptr(),
                Some(on_commit),
                ptr::without_provenance_mut(id),
            )
        })
    }

    /// The cached first and last offsets; `None` where no fetch was answered yet.
    pub(crate) fn cached_watermarks(&self, entry: &PartitionEntry) -> Option<(i64, i64)> {
        let topic = CString::new(entry.topic.as_str()).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: handle, name and both places are valid.
        let error = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.as_ptr(),
                topic.as_ptr(),
                entry.partition,
                &mut low,
                &mut high,
            )
        };
        (error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0)
            .then_some((low.max(0), high))
    }

    /// The fatal error that ended this handle: its code's name and librdkafka's words.
    pub(crate) fn fatal_error(&self) -> Option<(String, String)> {
        let mut text = [0 as c_char; 512];
        // SAFETY: handle and buffer are valid; the text is NUL-terminated.
        let code = unsafe { sys::rd_kafka_fatal_error(self.as_ptr(), text.as_mut_ptr(), text.len()) };
        (code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| {
            // SAFETY: see above.
            let text = unsafe { CStr::from_ptr(text.as_ptr()) };
            (error_name(code), text.to_string_lossy().into_owned())
        })
    }

    /// Begins to leave the group. [`Self::serve`] must be called, and a revocation answered, until
    /// [`Self::is_closed`].
    pub(crate) fn begin_close(&self, wake: &Arc<Wake>) -> Result<(), String> {
        let mut closing = self.lock_closing();
        if closing.is_some() {
            return Ok(());
        }
        // SAFETY: the handle is valid; librdkafka aborts rather than return null.
        let queue = unsafe { sys::rd_kafka_queue_new(self.as_ptr()) };
        let queue = NonNull::new(queue).expect("librdkafka aborts when it is out of memory");
        let waker = Waker::new(Arc::clone(wake));
        // SAFETY: queue and handle are valid; the waker is boxed and disabled before it is freed.
        let result = unsafe {
            sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_queue_event), waker.opaque());
            check_error(sys::rd_kafka_consumer_close_queue(self.as_ptr(), queue.as_ptr()))
        };
        if result.is_err() {
            // A handle that failed for good. No close has begun, so there is none to be finished.
            // SAFETY: the queue is valid and not used after this; its events are disabled first.
            unsafe {
                sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), None, ptr::null_mut());
                sys::rd_kafka_queue_destroy(queue.as_ptr());
            }
            return result;
        }
        *closing = Some(Closing { queue, waker });
        Ok(())
    }

    /// To be asked after this side let go of the handle.
    pub(crate) fn watch(&self) -> Gone {
        self.gone.clone()
    }

    pub(crate) fn is_closed(&self) -> bool {
        // SAFETY: the handle is valid.
        unsafe { sys::rd_kafka_consumer_closed(self.as_ptr()) == 1 }
    }

    fn lock_closing(&self) -> std::sync::MutexGuard<'_, Option<Closing>> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle on its way to the thread that answers a rebalance.
struct Asked(*mut sys::rd_kafka_t);

// SAFETY: librdkafka's handles may be used by any thread. The handle outlives the call: either its
// owner waits for it, or the group has ended, and the call does not touch the handle again.
unsafe impl Send for Asked {}

impl Asked {
    /// A method, so that a closure takes all of it along and not only the pointer.
    fn get(&self) -> *mut sys::rd_kafka_t {
        self.0
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let closing = self.closing.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // SAFETY: both queues are valid and the control queue is not used after this; disabling the
        // events first makes sure that no callback touches a waker that is about to be freed.
        unsafe {
            if let Some(closing) = &closing {
                sys::rd_kafka_queue_cb_event_enable(closing.queue.as_ptr(), None, ptr::null_mut());
            }
            sys::rd_kafka_queue_cb_event_enable(self.control.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.control.as_ptr());
        }
        let doomed = Doomed {
            rk: self.rk,
            closing: closing.map(|closing| closing.queue),
            notes: self.notes.take(),
            gone: self.gone.clone(),
            on_gone: Arc::clone(&self.on_gone),
        };
        let spawned =
            thread::Builder::new().name("fairpoll-destroy".to_owned()).spawn(move || doomed.destroy());
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread to destroy a Kafka handle on; it is leaked");
        }
    }
}

/// A handle on its way to destruction.
struct Doomed {
    rk: NonNull<sys::rd_kafka_t>,
    /// Where a close that had begun says what it waits for.
    closing: Option<NonNull<sys::rd_kafka_queue_t>>,
    notes: Option<Box<Notes>>,
    gone: Gone,
    on_gone: Arc<Wake>,
}

// SAFETY: sole owner of the handle; destruction is allowed from any thread but librdkafka's own.
unsafe impl Send for Doomed {}

/// How long a close that had begun is answered before the handle is destroyed all the same. Its last
/// step waits for the coordinator's answer.
const FINISH_CLOSE: Duration = Duration::from_secs(5);

impl Doomed {
    fn destroy(self) {
        if let Some(queue) = self.closing {
            self.finish_close(queue);
            // SAFETY: the queue is valid and not used after this; its events are disabled.
            unsafe { sys::rd_kafka_queue_destroy(queue.as_ptr()) };
        }
        // SAFETY: nobody else has the handle any more. Leaving the group is `begin_close`'s work:
        // here it would poll, and discard what it polls.
        unsafe {
            let flags = sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE;
            sys::rd_kafka_destroy_flags(self.rk.as_ptr(), c_int::try_from(flags).unwrap_or(0x8));
        }
        // Callbacks may run until here.
        drop(self.notes);
        self.gone.0.store(true, Ordering::Release);
        self.on_gone.wake();
    }

    /// Answers the rebalance of a close that nobody serves any more: the stop was dropped, or its time
    /// was up. Without an answer destruction waits for ever: once a close has begun, librdkafka takes
    /// the one in `rd_kafka_destroy_flags`, which would give everything back unasked, for the same.
    fn finish_close(&self, queue: NonNull<sys::rd_kafka_queue_t>) {
        let owes_answer = || {
            let notes = self.notes.as_ref();
            notes.is_some_and(|notes| notes.owes_answer.swap(false, Ordering::AcqRel))
        };
        let until = Instant::now() + FINISH_CLOSE;
        // SAFETY: the handle is valid.
        let is_over = || unsafe { sys::rd_kafka_consumer_closed(self.rk.as_ptr()) } == 1;
        while !is_over() && Instant::now() < until {
            if owes_answer() {
                let rk = Asked(self.rk.as_ptr());
                // SAFETY: the handle is valid; a null list means: nothing is assigned any more, in
                // either protocol of a handle that closes.
                unless_over(move || unsafe { sys::rd_kafka_assign(rk.get(), ptr::null()) }, is_over);
            }
            // SAFETY: queue and handle are valid, and so are the notes for callbacks that run here; a
            // returned message is owned by us.
            unsafe {
                let message = sys::rd_kafka_consume_queue(queue.as_ptr(), 10);
                drop(NonNull::new(message).map(|message| Message::from_owned(message)));
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("name", &self.notes().name).finish_non_exhaustive()
    }
}

fn check(code: sys::rd_kafka_resp_err_t) -> Result<(), String> {
    if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(error_text(code)) }
}

fn check_error(error: *mut sys::rd_kafka_error_t) -> Result<(), String> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null error object is owned by us and has a NUL-terminated string.
    unsafe {
        let text = CStr::from_ptr(sys::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        sys::rd_kafka_error_destroy(error);
        Err(text)
    }
}

/// # Safety
/// `opaque` must be the handle's notes.
pub(super) unsafe fn notes<'a>(opaque: *mut c_void) -> &'a Notes {
    // SAFETY: set in `Client::new` to boxed notes that outlive the handle.
    unsafe { &*opaque.cast_const().cast::<Notes>() }
}

/// Runs inside [`Client::serve`]. Only notes the list: the answer is given by the consumer's loop.
unsafe extern "C" fn on_rebalance(
    rk: *mut sys::rd_kafka_t,
    code: sys::rd_kafka_resp_err_t,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: librdkafka lends a valid list for the length of the call.
    let entries = unsafe { list::read(partitions) };
    let partitions = entries
        .into_iter()
        .map(|entry| PartitionEntry { topic: entry.topic, partition: entry.partition })
        .collect();
    let event = match code {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => ClientEvent::Assign(partitions),
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
            // SAFETY: the handle is valid inside its callback.
            let lost = unsafe { sys::rd_kafka_assignment_lost(rk) } == 1;
            ClientEvent::Revoke { partitions, lost }
        }
        // librdkafka documents that any other code means: give everything back.
        _ => {
            // SAFETY: see `notes`.
            unsafe { notes(opaque) }.push(ClientEvent::Error {
                code: error_name(code),
                message: error_text(code),
                fatal: false,
            });
            ClientEvent::Revoke { partitions, lost: true }
        }
    };
    // SAFETY: see `notes`.
    let notes = unsafe { notes(opaque) };
    notes.owes_answer.store(true, Ordering::Release);
    notes.push(event);
}

/// Runs inside [`Client::serve`].
unsafe extern "C" fn on_commit(
    rk: *mut sys::rd_kafka_t,
    code: sys::rd_kafka_resp_err_t,
    offsets: *mut sys::rd_kafka_topic_partition_list_t,
    id: *mut c_void,
) {
    // SAFETY: the handle is valid inside its callback; its opaque was set in `Client::new`.
    let notes = unsafe { notes(sys::rd_kafka_opaque(rk)) };
    let error = Failure::of(code);
    // SAFETY: librdkafka lends a valid list for the length of the call.
    let offsets = unsafe { list::read(offsets) };
    let outcome = CommitOutcome::new(id.addr() as u64, error, offsets, &notes.seen);
    notes.push(ClientEvent::Committed(outcome));
}

/// Runs inside [`Client::serve`]: errors of the handle as a whole.
unsafe extern "C" fn on_error(
    rk: *mut sys::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: librdkafka passes a NUL-terminated reason.
    let reason = unsafe { CStr::from_ptr(reason) }.to_string_lossy().into_owned();
    let fatal = code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__FATAL as c_int;
    // SAFETY: see `notes`.
    let notes = unsafe { notes(opaque) };
    let event = if fatal {
        let mut text = [0 as c_char; 512];
        // SAFETY: handle and buffer are valid; the text is NUL-terminated.
        let (code, text) = unsafe {
            let code = sys::rd_kafka_fatal_error(rk, text.as_mut_ptr(), text.len());
            (code, CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned())
        };
        ClientEvent::Error { code: error_name(code), message: text, fatal: true }
    } else {
        let message = notes.objection.completes(reason);
        ClientEvent::Error { code: error_name_of(code), message, fatal: false }
    };
    notes.push(event);
}

/// Runs on any of librdkafka's threads.
unsafe extern "C" fn on_log(
    rk: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    text: *const c_char,
) {
    // SAFETY: librdkafka passes NUL-terminated strings and a handle that has a name.
    let (name, facility, text) = unsafe {
        (
            CStr::from_ptr(sys::rd_kafka_name(rk)).to_string_lossy(),
            CStr::from_ptr(facility).to_string_lossy(),
            CStr::from_ptr(text).to_string_lossy(),
        )
    };
    // syslog's levels: 0–3 errors, 4 warning, 5–6 information, 7 debug. A broker that cannot be
    // reached is an "error" to librdkafka and everyday life to a consumer that retries.
    match level {
        0..=2 => tracing::error!(target: "librdkafka", %name, %facility, "{text}"),
        3 | 4 => tracing::warn!(target: "librdkafka", %name, %facility, "{text}"),
        5 | 6 => tracing::info!(target: "librdkafka", %name, %facility, "{text}"),
        _ => tracing::debug!(target: "librdkafka", %name, %facility, "{text}"),
    }
}
