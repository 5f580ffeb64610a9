//! librdkafka's mock cluster behind safe calls.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};
use rdkafka_sys as sys;

use super::backlog;

// Kafka's numbers of requests.
const FETCH: i16 = 1;
const OFFSET_COMMIT: i16 = 8;

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
        backlog::lengthen();
        Ok(Self { raw, nodes, _owner: owner })
    }

    pub(super) fn bootstrap_servers(&self) -> String {
        // SAFETY: the cluster is valid and lends a NUL-terminated string.
        unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(self.raw)) }
            .to_string_lossy()
            .into_owned()
    }

    /// Its brokers: 1, 2, ….
    pub(super) fn nodes(&self) -> BTreeSet<u32> {
        (1..=self.nodes.unsigned_abs()).collect()
    }

    pub(super) fn create_topic(&self, name: &str, leaders: &[u32]) -> Result<(), String> {
        let c_name = CString::new(name).map_err(|error| error.to_string())?;
        let partitions = i32::try_from(leaders.len()).map_err(|error| error.to_string())?;
        // SAFETY: cluster and name are valid; the name is copied.
        check(unsafe { sys::rd_kafka_mock_topic_create(self.raw, c_name.as_ptr(), partitions, 1) })?;
        breathe();
        if self.nodes == 1 {
            // Nobody else can lead.
            return Ok(());
        }
        (0..).zip(leaders).try_for_each(|(partition, leader)| self.set_leader(name, partition, *leader))
    }

    pub(super) fn set_leader(&self, topic: &str, partition: i32, node: u32) -> Result<(), String> {
        let topic = CString::new(topic).map_err(|error| error.to_string())?;
        let node = self.node(node)?;
        // SAFETY: cluster and name are valid; the name is copied.
        check(unsafe { sys::rd_kafka_mock_partition_set_leader(self.raw, topic.as_ptr(), partition, node) })?;
        breathe();
        Ok(())
    }

    pub(super) fn set_coordinator(&self, group: &str, node: u32) -> Result<(), String> {
        let group = CString::new(group).map_err(|error| error.to_string())?;
        let node = self.node(node)?;
        // SAFETY: cluster and names are valid; the names are copied.
        check(unsafe {
            sys::rd_kafka_mock_coordinator_set(self.raw, c"group".as_ptr(), group.as_ptr(), node)
        })?;
        breathe();
        Ok(())
    }

    pub(super) fn set_down(&self, node: u32, down: bool) -> Result<(), String> {
        let node = self.node(node)?;
        // SAFETY: the cluster is valid.
        check(unsafe {
            if down {
                sys::rd_kafka_mock_broker_set_down(self.raw, node)
            } else {
                sys::rd_kafka_mock_broker_set_up(self.raw, node)
            }
        })?;
        if !down {
            // It listens anew, as it did at first.
            backlog::lengthen();
        }
        breathe();
        Ok(())
    }

    pub(super) fn set_latency(&self, node: u32, ms: u32) -> Result<(), String> {
        let node = self.node(node)?;
        let ms = i32::try_from(ms).map_err(|error| error.to_string())?;
        // SAFETY: the cluster is valid.
        check(unsafe { sys::rd_kafka_mock_broker_set_rtt(self.raw, node, ms) })?;
        breathe();
        Ok(())
    }

    fn node(&self, node: u32) -> Result<i32, String> {
        let node = node.cast_signed();
        if (1..=self.nodes).contains(&node) { Ok(node) } else { Err(format!("there is no node {node}")) }
    }

    /// The node answers so many of its next requests of a kind with an error.
    pub(super) fn fail(&self, node: u32, request: Request, times: usize) {
        let no_delay: std::ffi::c_int = 0;
        let (key, error) = request.key_and_error();
        for _ in 0..times {
            // SAFETY: the cluster is valid; one pair of error and delay follows the count of 1.
            unsafe {
                sys::rd_kafka_mock_broker_push_request_error_rtts(
                    self.raw,
                    node.cast_signed(),
                    key,
                    1,
                    error as std::ffi::c_int,
                    no_delay,
                );
            }
        }
    }

    /// Errors that still wait for a request.
    pub(super) fn pending_errors(&self, node: u32, request: Request) -> usize {
        let mut count = 0;
        let (key, _) = request.key_and_error();
        // SAFETY: the cluster is valid, and `count` is a place for the result.
        unsafe { sys::rd_kafka_mock_broker_error_stack_cnt(self.raw, node.cast_signed(), key, &mut count) };
        count
    }
}

/// Requests that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// With UNKNOWN_SERVER_ERROR: librdkafka reports it to the application and tries again after
    /// `fetch.error.backoff.ms`; leader changes and missing topics it keeps to itself, and after a
    /// failed authorization it waits ten times as long, so that a fault would last longer than it
    /// was asked to.
    Fetch,
    /// With COORDINATOR_LOAD_IN_PROGRESS, as after a coordinator has moved.
    Commit,
}

impl Request {
    fn key_and_error(self) -> (i16, sys::rd_kafka_resp_err_t) {
        match self {
            Self::Fetch => (FETCH, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN),
            Self::Commit => {
                (OFFSET_COMMIT, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS)
            }
        }
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
