//! librdkafka as a program in C has it: batches of the consumer's one queue, or of one for each topic.

use std::ffi::{CString, c_char};
use std::ptr::{self, NonNull};

use rdkafka::ClientConfig;
use rdkafka_sys as sys;

use sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as OK;

const SEEK_WITHIN_MS: i32 = 10_000;

/// A consumer of partition 0 of some topics, from their beginning.
pub(crate) struct Raw {
    rk: NonNull<sys::rd_kafka_t>,
    /// Taken from in turns.
    queues: Vec<NonNull<sys::rd_kafka_queue_t>>,
    turn: usize,
    partitions: NonNull<sys::rd_kafka_topic_partition_list_t>,
    messages: Vec<*mut sys::rd_kafka_message_t>,
}

/// What was looked at of the records of a batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) records: usize,
    /// A sum that depends on every field.
    pub(crate) sum: u64,
}

impl Raw {
    /// Assigned, in no group: that makes no difference to a record.
    pub(crate) fn start(config: &ClientConfig, topics: &[String], batch: usize) -> Self {
        let native = config.create_native_config().expect("a configuration");
        let mut reason = [0 as c_char; 512];
        // SAFETY: the configuration is duplicated, because `rd_kafka_new` takes it over; the reason has the length
        // that is announced.
        let rk = unsafe {
            let conf = sys::rd_kafka_conf_dup(native.ptr());
            let kind = sys::rd_kafka_type_t::RD_KAFKA_CONSUMER;
            sys::rd_kafka_new(kind, conf, reason.as_mut_ptr(), reason.len())
        };
        let rk = NonNull::new(rk).expect("a consumer");
        // SAFETY: the handle is valid and has a group id, hence a consumer queue. Names are copied, an entry is
        // valid until the next is added, and librdkafka copies the list.
        let (queue, partitions) = unsafe {
            sys::rd_kafka_poll_set_consumer(rk.as_ptr());
            let queue = sys::rd_kafka_queue_get_consumer(rk.as_ptr());
            let partitions = sys::rd_kafka_topic_partition_list_new(0);
            for topic in topics {
                let topic = CString::new(topic.as_str()).expect("topic names have no NUL");
                (*sys::rd_kafka_topic_partition_list_add(partitions, topic.as_ptr(), 0)).offset = 0;
            }
            assert_eq!(sys::rd_kafka_assign(rk.as_ptr(), partitions), OK);
            (queue, partitions)
        };
        Self {
            rk,
            queues: vec![NonNull::new(queue).expect("a group id is set")],
            turn: 0,
            partitions: NonNull::new(partitions).expect("librdkafka aborts when it is out of memory"),
            messages: vec![ptr::null_mut(); batch],
        }
    }

    /// From now on every topic has a queue of its own, and a batch is of one of them. To be called when everything
    /// was read: an assignment forwards the queues once it is fetched.
    pub(crate) fn split(&mut self, topics: &[String], batch: usize) {
        let own = topics.iter().map(|topic| {
            let topic = CString::new(topic.as_str()).expect("topic names have no NUL");
            // SAFETY: handle and name are valid; without another queue it is not forwarded any more.
            let queue = unsafe {
                let queue = sys::rd_kafka_queue_get_partition(self.rk.as_ptr(), topic.as_ptr(), 0);
                sys::rd_kafka_queue_forward(queue, ptr::null_mut());
                queue
            };
            NonNull::new(queue).expect("it is assigned")
        });
        let own: Vec<_> = own.collect();
        std::mem::replace(&mut self.queues, own).into_iter().for_each(destroy);
        self.messages.resize(batch, ptr::null_mut());
    }

    /// Records, and a few control operations, that wait.
    pub(crate) fn queued(&self) -> usize {
        // SAFETY: the queues are valid.
        self.queues.iter().map(|queue| unsafe { sys::rd_kafka_queue_length(queue.as_ptr()) }).sum()
    }

    /// Every partition is read from its beginning again.
    pub(crate) fn rewind(&self) {
        // SAFETY: handle and list are valid; whatever error there is belongs to the caller.
        unsafe {
            let error =
                sys::rd_kafka_seek_partitions(self.rk.as_ptr(), self.partitions.as_ptr(), SEEK_WITHIN_MS);
            assert!(error.is_null(), "a seek failed");
        }
    }

    /// The next batch: taken, looked at and given back. Does not wait.
    pub(crate) fn batch(&mut self) -> Seen {
        let mut seen = Seen::default();
        let queue = self.queues[self.turn];
        self.turn = (self.turn + 1) % self.queues.len();
        // SAFETY: the queue is valid and used by this thread alone; there is room for as many pointers as are
        // announced, and those that are returned are ours until they are destroyed, once each.
        unsafe {
            let taken = sys::rd_kafka_consume_batch_queue(
                queue.as_ptr(),
                0,
                self.messages.as_mut_ptr(),
                self.messages.len(),
            );
            for &message in &self.messages[..usize::try_from(taken).unwrap_or(0)] {
                let record = &*message;
                if record.err == OK {
                    seen.records += 1;
                    // The topic as a number, which is the cheapest that there is.
                    seen.sum =
                        seen.sum.wrapping_add(record.rkt as u64 ^ u64::from(record.partition.unsigned_abs()));
                    seen.sum = seen.sum.wrapping_add(record.offset.unsigned_abs() + record.len as u64);
                }
                sys::rd_kafka_message_destroy(message);
            }
        }
        seen
    }
}

fn destroy(queue: NonNull<sys::rd_kafka_queue_t>) {
    // SAFETY: whoever calls this has it from librdkafka, and forgets it.
    unsafe { sys::rd_kafka_queue_destroy(queue.as_ptr()) };
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The queues go before their handle.
        self.queues.drain(..).for_each(destroy);
        // SAFETY: both are valid, and not used after this.
        unsafe {
            sys::rd_kafka_topic_partition_list_destroy(self.partitions.as_ptr());
            sys::rd_kafka_consumer_close(self.rk.as_ptr());
            sys::rd_kafka_destroy(self.rk.as_ptr());
        }
    }
}
