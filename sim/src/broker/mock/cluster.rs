//! librdkafka's mock cluster behind safe calls.

use std::ffi::{CStr, CString};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};
use rdkafka_sys as sys;

/// Kafka's number of the fetch request.
const FETCH: i16 = 1;

/// The lowest that Kafka takes by default.
const SESSION_TIMEOUT_MS: i32 = 6_000;
const HEARTBEAT_INTERVAL_MS: i32 = 500;

/// A cluster of mock brokers on loopback ports.
pub(super) struct Cluster {
    raw: *mut sys::rd_kafka_mock_cluster_t,
    nodes: i32,
    // The cluster lives on this handle's main thread; dropped after it.
    _owner: BaseProducer<DefaultProducerContext>,
}

// SAFETY: every call below is locked inside librdkafka; the owner is thread-safe.
unsafe impl Send for Cluster {}
// SAFETY: as above.
unsafe impl Sync for Cluster {}

impl Cluster {
    pub(super) fn start(nodes: u32) -> Result<Self, String> {
        let owner: BaseProducer<DefaultProducerContext> = ClientConfig::new()
            // The owner never connects anywhere; it only lends its main thread.
            .set("client.id", "fairpoll-embedded-broker")
            .set("log_level", "3")
            .create()
            .map_err(|error| error.to_string())?;
        let nodes = i32::try_from(nodes).map_err(|error| error.to_string())?;
        // SAFETY: the owner's handle is valid and outlives the cluster.
        let raw = unsafe { sys::rd_kafka_mock_cluster_new(owner.client().native_ptr(), nodes) };
        if raw.is_null() {
            return Err(format!("librdkafka made no mock cluster of {nodes} nodes"));
        }
        // SAFETY: the cluster was just made. By default a group waits 3 s for more members.
        unsafe { sys::rd_kafka_mock_group_initial_rebalance_delay_ms(raw, 0) };
        // Under KIP-848 the broker decides both. By default a killed member would keep its
        // partitions for 30 s, and the others hear of changes every 3 s.
        // SAFETY: as above.
        unsafe {
            sys::rd_kafka_mock_set_group_consumer_session_timeout_ms(raw, SESSION_TIMEOUT_MS);
            sys::rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(raw, HEARTBEAT_INTERVAL_MS);
        }
        Ok(Self { raw, nodes, _owner: owner })
    }

    pub(super) fn bootstrap_servers(&self) -> String {
        // SAFETY: the cluster is valid and lends a NUL-terminated string.
        unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(self.raw)) }
            .to_string_lossy()
            .into_owned()
    }

    pub(super) fn create_topic(&self, name: &str, partitions: u32, leader: u32) -> Result<(), String> {
        let name = CString::new(name).map_err(|error| error.to_string())?;
        let partitions = i32::try_from(partitions).map_err(|error| error.to_string())?;
        let leader = i32::try_from(leader).map_err(|error| error.to_string())?;
        // SAFETY: cluster and name are valid; the name is copied.
        check(unsafe { sys::rd_kafka_mock_topic_create(self.raw, name.as_ptr(), partitions, 1) })?;
        breathe();
        if self.nodes == 1 {
            // Nobody else can lead.
            return Ok(());
        }
        for partition in 0..partitions {
            // SAFETY: as above.
            check(unsafe {
                sys::rd_kafka_mock_partition_set_leader(self.raw, name.as_ptr(), partition, leader)
            })?;
            breathe();
        }
        Ok(())
    }

    /// The node answers so many of its next fetches with UNKNOWN_SERVER_ERROR. librdkafka reports
    /// it to the application and tries again after `fetch.error.backoff.ms`; leader changes and
    /// missing topics it keeps to itself, and after a failed authorization it waits ten times as
    /// long, so that a fault would last longer than it was asked to.
    pub(super) fn fail_fetches(&self, node: u32, times: usize) {
        let no_delay: std::ffi::c_int = 0;
        for _ in 0..times {
            // SAFETY: the cluster is valid; one pair of error and delay follows the count of 1.
            unsafe {
                sys::rd_kafka_mock_broker_push_request_error_rtts(
                    self.raw,
                    node.cast_signed(),
                    FETCH,
                    1,
                    sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN as std::ffi::c_int,
                    no_delay,
                );
            }
        }
    }

    /// Errors that still wait for a fetch.
    pub(super) fn pending_errors(&self, node: u32) -> usize {
        let mut count = 0;
        // SAFETY: the cluster is valid, and `count` is a place for the result.
        unsafe { sys::rd_kafka_mock_broker_error_stack_cnt(self.raw, node.cast_signed(), FETCH, &mut count) };
        count
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SAFETY: not used after this, and its owner is still there.
        unsafe { sys::rd_kafka_mock_cluster_destroy(self.raw) }
    }
}

/// The mock's thread loses the wake-up of an order that comes right behind another, and sees it
/// only at its next look, up to a second later.
fn breathe() {
    thread::sleep(Duration::from_millis(2));
}

fn check(code: sys::rd_kafka_resp_err_t) -> Result<(), String> {
    if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // SAFETY: for every code librdkafka returns a static, NUL-terminated string.
    Err(unsafe { CStr::from_ptr(sys::rd_kafka_err2str(code)) }.to_string_lossy().into_owned())
}
