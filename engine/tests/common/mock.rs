//! A mock cluster whose groups do not wait for more members: rdkafka's own wrapper cannot set that.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka_sys as sys;

/// Records of a batch at most, librdkafka's default.
const BATCH: usize = 10_000;

pub struct Mock {
    cluster: *mut sys::rd_kafka_mock_cluster_t,
    _owner: ThreadedProducer<DefaultProducerContext>,
    /// Made when something is produced: an idle producer connects some time later, in the middle of a test
    /// that counts sockets.
    producer: OnceLock<ThreadedProducer<DefaultProducerContext>>,
}

// SAFETY: librdkafka locks the mock cluster inside.
unsafe impl Send for Mock {}

impl Mock {
    pub fn new() -> Self {
        Self::with_brokers(1)
    }

    /// Brokers 1, 2, …; see [`Self::lead`].
    pub fn with_brokers(brokers: i32) -> Self {
        let owner: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", "127.0.0.1:1")
            .set("log_level", "0")
            .create()
            .expect("owner");
        // SAFETY: the owner lives as long as the cluster; the cluster is destroyed first.
        let cluster = unsafe {
            let cluster = sys::rd_kafka_mock_cluster_new(owner.client().native_ptr(), brokers);
            assert!(!cluster.is_null());
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
            cluster
        };
        Self { cluster, _owner: owner, producer: OnceLock::new() }
    }

    fn producer(&self) -> &ThreadedProducer<DefaultProducerContext> {
        self.producer.get_or_init(|| {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", self.address()).set("linger.ms", "50");
            config.create().expect("producer")
        })
    }

    pub fn address(&self) -> String {
        address(self.cluster)
    }

    pub fn create(&self, topic: &str, partitions: i32) {
        let name = CString::new(topic).expect("name");
        // SAFETY: the cluster lives; the name is copied.
        let error = unsafe { sys::rd_kafka_mock_topic_create(self.cluster, name.as_ptr(), partitions, 1) };
        assert_eq!(error, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
    }

    /// Members of KIP-848 groups report so often, and learn so soon what is theirs.
    pub fn heartbeats_every(&self, interval: Duration) {
        let ms = i32::try_from(interval.as_millis()).expect("short");
        // SAFETY: the cluster lives.
        unsafe { sys::rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(self.cluster, ms) };
        breathe();
    }

    /// This broker leads the partition from now on.
    pub fn lead(&self, topic: &str, partition: i32, broker: i32) {
        let name = CString::new(topic).expect("name");
        // SAFETY: the cluster lives; the name is copied.
        unsafe { sys::rd_kafka_mock_partition_set_leader(self.cluster, name.as_ptr(), partition, broker) };
        breathe();
    }

    /// The broker's answers take so long from now on.
    pub fn slow(&self, broker: i32, answers_after: Duration) {
        let ms = i32::try_from(answers_after.as_millis()).expect("short");
        // SAFETY: the cluster lives.
        unsafe { sys::rd_kafka_mock_broker_set_rtt(self.cluster, broker, ms) };
        breathe();
    }

    /// Whoever asks for the topic is told this error; none ends it.
    pub fn fail_topic(&self, topic: &str, error: sys::rd_kafka_resp_err_t) {
        let name = CString::new(topic).expect("name");
        // SAFETY: the cluster lives; the name is copied.
        unsafe { sys::rd_kafka_mock_topic_set_error(self.cluster, name.as_ptr(), error) };
        breathe();
    }

    /// One broker answers its next requests of this kind with these errors, one after the other.
    pub fn fail_requests_of(&self, broker: i32, api_key: i16, errors: &[sys::rd_kafka_resp_err_t]) {
        for error in errors {
            let (error, no_delay) = (*error as std::ffi::c_int, 0 as std::ffi::c_int);
            // SAFETY: the cluster lives; one pair of error and delay follows the count of 1.
            unsafe {
                sys::rd_kafka_mock_broker_push_request_error_rtts(
                    self.cluster,
                    broker,
                    api_key,
                    1,
                    error,
                    no_delay,
                );
            }
        }
    }

    /// Requests of this broker that are still to be answered with an error.
    pub fn failing_requests_of(&self, broker: i32, api_key: i16) -> usize {
        let mut count = 0;
        // SAFETY: the cluster lives, and `count` is a place for the result.
        unsafe { sys::rd_kafka_mock_broker_error_stack_cnt(self.cluster, broker, api_key, &mut count) };
        count
    }

    /// The broker answers so many of the next requests of this kind with an error.
    pub fn fail_requests(&self, api_key: i16, error: sys::rd_kafka_resp_err_t, times: usize) {
        let mut errors = vec![error; times];
        // SAFETY: the cluster lives; the array is copied.
        unsafe {
            sys::rd_kafka_mock_push_request_errors_array(
                self.cluster,
                api_key,
                errors.len(),
                errors.as_mut_ptr(),
            );
        }
    }

    /// Requests of this kind are no longer answered with [`Mock::fail_requests`]' errors.
    pub fn pass_requests(&self, api_key: i16) {
        // SAFETY: the cluster lives.
        unsafe { sys::rd_kafka_mock_clear_request_errors(self.cluster, api_key) };
    }

    /// Requests are counted from now on.
    pub fn count_requests(&self) {
        // SAFETY: the cluster lives.
        unsafe { sys::rd_kafka_mock_start_request_tracking(self.cluster) };
    }

    /// Requests of this kind that came since [`Self::count_requests`].
    pub fn requests(&self, api_key: i16) -> usize {
        let mut count = 0;
        // SAFETY: the cluster lives, and `count` is a place for the length of what is returned, which is ours to
        // destroy.
        unsafe {
            let all = sys::rd_kafka_mock_get_requests(self.cluster, &mut count);
            let of_kind =
                (0..count).filter(|&at| sys::rd_kafka_mock_request_api_key(*all.add(at)) == api_key);
            let of_kind = of_kind.count();
            sys::rd_kafka_mock_request_destroy_array(all, count);
            of_kind
        }
    }

    /// Produces records to one partition and waits until they are acknowledged.
    pub fn produce(&self, topic: &str, partition: i32, records: usize) {
        self.send(topic, partition, records);
        self.producer().flush(Duration::from_secs(10)).expect("flush");
    }

    /// Produces records to one partition and waits for nothing.
    pub fn send(&self, topic: &str, partition: i32, records: usize) {
        send(self.producer(), topic, partition, records);
    }

    /// Produces one record with these headers.
    pub fn produce_with_headers(&self, topic: &str, partition: i32, headers: &[(&str, Option<&str>)]) {
        let with = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header { key, value: value.as_deref() })
        });
        let record = BaseRecord::<(), str>::to(topic).partition(partition).payload("x").headers(with);
        self.producer().send(record).map_err(|(error, _)| error).expect("room");
        self.producer().flush(Duration::from_secs(10)).expect("flush");
    }

    /// Topics of so many partitions of so many records each, as few batches as can be, however busy the
    /// machine: the mock answers a fetch with one.
    pub fn filled(topics: &[(&str, i32, usize)]) -> Self {
        let mock = Self::new();
        let mut by_records: BTreeMap<usize, Vec<(&str, i32)>> = BTreeMap::new();
        for &(topic, partitions, records) in topics {
            mock.create(topic, partitions);
            if records > 0 {
                by_records.entry(records).or_default().extend((0..partitions).map(|at| (topic, at)));
            }
        }
        for (records, partitions) in by_records {
            // A full batch is sent at once; a time to linger would be cut short by a busy machine, or waited
            // for: librdkafka's flush ends it for brokers that are connected, not for those that will be.
            let batch = records.div_ceil(records.div_ceil(BATCH));
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", mock.address());
            config.set("linger.ms", "5000").set("batch.num.messages", batch.to_string());
            let producer: ThreadedProducer<_> = config.create().expect("producer");
            for (topic, partition) in partitions {
                send(&producer, topic, partition, records);
            }
            producer.flush(Duration::from_secs(10)).expect("flush");
        }
        mock
    }
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, partition: i32, records: usize) {
    for number in 0..records {
        let value = number.to_string();
        let mut record = BaseRecord::<(), str>::to(topic).partition(partition).payload(&value);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The mock's thread loses the wake-up of an order that comes right behind another.
fn breathe() {
    std::thread::sleep(Duration::from_millis(2));
}

fn address(cluster: *mut sys::rd_kafka_mock_cluster_t) -> String {
    // SAFETY: the cluster lives and lends a NUL-terminated string.
    unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(cluster)) }.to_string_lossy().into_owned()
}

impl Drop for Mock {
    fn drop(&mut self) {
        // SAFETY: not used after this; its owner is dropped later.
        unsafe { sys::rd_kafka_mock_cluster_destroy(self.cluster) }
    }
}
