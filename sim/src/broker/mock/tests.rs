//! Every order has its effect, seen by a client of its own.

use std::net::{TcpListener, TcpStream};
use std::os::fd::FromRawFd;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);
/// Far above what a loopback answer takes, far below [`LATENCY`].
const PROMPT: Duration = Duration::from_millis(250);
const LATENCY: Duration = Duration::from_millis(600);

/// A mock cluster in this process, with its servers by number.
struct Stand {
    state: State,
    servers: Vec<String>,
}

impl Stand {
    /// Two nodes; each leads a topic of one partition, `one` and `two`, that holds a record.
    fn new() -> Self {
        let mut state = State::default();
        let reply = state.carry_out(Order::Start { nodes: 2 }).expect("a mock cluster starts");
        let Reply::Started { bootstrap_servers, .. } = reply else { panic!("{reply:?}") };
        let servers = bootstrap_servers.split(',').map(str::to_owned).collect();
        let mut stand = Self { state, servers };
        for (name, leader) in [("one", 1), ("two", 2)] {
            stand.order(Order::CreateTopic { name: name.to_owned(), leaders: vec![leader] });
        }
        stand.produce(&["one", "two"]);
        stand
    }

    /// One more record in each topic.
    fn produce(&self, topics: &[&str]) {
        let producer: BaseProducer = self.config().create().expect("a valid configuration");
        for topic in topics {
            producer.send(BaseRecord::<(), str>::to(topic).payload("x")).expect("there is room for two");
        }
        producer.flush(PATIENCE).expect("their leaders answer");
    }

    fn order(&mut self, order: Order) {
        assert_eq!(self.state.carry_out(order), Ok(Reply::Done));
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.servers.join(","));
        config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "50");
        config
    }

    fn consumer(&self, group: &str) -> BaseConsumer {
        let mut config = self.config();
        config.set("group.id", group).set("enable.auto.commit", "false");
        config.create().expect("a valid configuration")
    }

    fn connects(&self, node: usize) -> bool {
        TcpStream::connect(&self.servers[node - 1]).is_ok()
    }
}

/// Counts what its member lives through.
#[derive(Default)]
struct Rebalances(AtomicUsize);

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn end_of(client: &BaseConsumer, topic: &str) -> Result<i64, KafkaError> {
    client.fetch_watermarks(topic, 0, PATIENCE).map(|(_, end)| end)
}

fn leader_of(client: &BaseConsumer, topic: &str) -> i32 {
    let metadata = client.fetch_metadata(Some(topic), PATIENCE).expect("a node answers");
    metadata.topics()[0].partitions()[0].leader()
}

/// The quickest of three: one may meet a busy machine.
fn answers_within(client: &BaseConsumer, topic: &str) -> Duration {
    let one = |_| {
        let began = Instant::now();
        end_of(client, topic).expect("the leader answers");
        began.elapsed()
    };
    (0..3).map(one).min().expect("three times")
}

fn commit(client: &BaseConsumer, topic: &str, offset: i64) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).expect("a valid offset");
    client.commit(&list, CommitMode::Sync)
}

fn committed(client: &BaseConsumer, topic: &str) -> Offset {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, 0);
    let list = client.committed_offsets(list, PATIENCE).expect("the coordinator answers");
    list.elements()[0].offset()
}

#[test]
fn a_node_that_is_down_refuses_connections_and_comes_back_with_its_log_and_commits() {
    let mut stand = Stand::new();
    stand.order(Order::MoveCoordinator { group: "g".to_owned(), node: 2 });
    let client = stand.consumer("g");
    commit(&client, "two", 1).expect("the coordinator is up");

    stand.order(Order::NodeDown { node: 2, down: true });
    assert!(stand.connects(1) && !stand.connects(2));
    assert!(client.fetch_watermarks("two", 0, Duration::from_millis(300)).is_err(), "its leader is down");
    assert_eq!(end_of(&client, "one"), Ok(1), "the other node goes on");

    stand.order(Order::NodeDown { node: 2, down: false });
    assert!(stand.connects(2));
    assert_eq!(end_of(&client, "two"), Ok(1));
    assert_eq!(committed(&client, "two"), Offset::Offset(1));
}

#[test]
fn latency_delays_the_answers_of_one_node_or_of_all_and_ends() {
    let mut stand = Stand::new();
    let client = stand.consumer("g");
    let ms = u32::try_from(LATENCY.as_millis()).expect("small");
    // The first answers bring leaders and connections, from anybody.
    assert!(answers_within(&client, "one") < PROMPT && answers_within(&client, "two") < PROMPT);

    stand.order(Order::Latency { node: Some(2), ms });
    assert!(answers_within(&client, "two") >= LATENCY);
    assert!(answers_within(&client, "one") < PROMPT);

    stand.order(Order::Latency { node: None, ms });
    assert!(answers_within(&client, "one") >= LATENCY && answers_within(&client, "two") >= LATENCY);

    stand.order(Order::Latency { node: None, ms: 0 });
    assert!(answers_within(&client, "one") < PROMPT && answers_within(&client, "two") < PROMPT);
}

#[test]
fn a_moved_topic_is_served_by_its_new_leader_with_the_old_records() {
    let mut stand = Stand::new();
    let client = stand.consumer("g");
    assert_eq!(leader_of(&client, "two"), 2);
    stand.order(Order::MoveLeader { topic: "two".to_owned(), node: 1 });
    assert_eq!(leader_of(&client, "two"), 1);
    // The old leader is not needed any more.
    stand.order(Order::NodeDown { node: 2, down: true });
    assert_eq!(end_of(&client, "two"), Ok(1));
}

#[test]
fn a_moved_coordinator_is_asked_instead_of_the_old_one() {
    let mut stand = Stand::new();
    for (coordinator, down) in [(1, 2), (2, 1)] {
        let group = format!("coordinated-by-{coordinator}");
        stand.order(Order::MoveCoordinator { group: group.clone(), node: coordinator });
        stand.order(Order::NodeDown { node: down, down: true });
        let client = stand.consumer(&group);
        commit(&client, "one", 1).expect("its coordinator is up");
        assert_eq!(committed(&client, "one"), Offset::Offset(1));
        stand.order(Order::NodeDown { node: down, down: false });
    }
}

#[test]
fn a_consumer_goes_on_at_its_topics_new_leader_and_needs_the_old_one_no_more() {
    let mut stand = Stand::new();
    let client = stand.consumer("g");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("two", 0, Offset::Beginning).expect("a valid offset");
    client.assign(&list).expect("there is such a partition");
    let next = |client: &BaseConsumer| {
        let began = Instant::now();
        // What troubles it meanwhile, such as a node that is gone, is an error of a poll and passes.
        while began.elapsed() < PATIENCE {
            if let Some(Ok(message)) = client.poll(Duration::from_millis(50)) {
                return Some(message.offset());
            }
        }
        None
    };
    assert_eq!(next(&client), Some(0));

    stand.order(Order::MoveLeader { topic: "two".to_owned(), node: 1 });
    stand.order(Order::NodeDown { node: 2, down: true });
    stand.produce(&["two"]);
    assert_eq!(next(&client), Some(1));
}

#[test]
fn a_member_beats_at_its_new_coordinator_and_outlives_the_old_one() {
    // Long beside what a loaded machine keeps a thread from running.
    const SESSION: Duration = Duration::from_secs(4);
    let mut stand = Stand::new();
    stand.order(Order::MoveCoordinator { group: "g".to_owned(), node: 1 });
    let mut config = stand.config();
    config.set("group.id", "g").set("enable.auto.commit", "false");
    config.set("session.timeout.ms", SESSION.as_millis().to_string()).set("heartbeat.interval.ms", "100");
    let member: BaseConsumer<Rebalances> =
        config.create_with_context(Rebalances::default()).expect("a valid configuration");
    member.subscribe(&["two"]).expect("a valid name");
    let lives_for = |time: Duration| {
        let began = Instant::now();
        while began.elapsed() < time {
            let _ = member.poll(Duration::from_millis(50));
        }
        member.context().0.load(Ordering::Relaxed)
    };
    let began = Instant::now();
    while lives_for(Duration::ZERO) == 0 && began.elapsed() < PATIENCE {
        let _ = member.poll(Duration::from_millis(50));
    }

    stand.order(Order::MoveCoordinator { group: "g".to_owned(), node: 2 });
    // Some heartbeats, of which the first is refused.
    lives_for(SESSION / 2);
    stand.order(Order::NodeDown { node: 1, down: true });
    assert_eq!(lives_for(2 * SESSION), 1, "its first assignment, and it was never thrown out");
}

/// How many connections may wait at the listening socket on this port.
fn may_wait(port: u16) -> Option<u32> {
    backlog::listening().into_iter().find_map(|socket| {
        // SAFETY: the socket stays open as long as this copy of the descriptor is not closed, which it is not.
        let listener = std::mem::ManuallyDrop::new(unsafe { TcpListener::from_raw_fd(socket) });
        if listener.local_addr().ok()?.port() != port {
            return None;
        }
        // SAFETY: a struct of numbers, for which zero is a value.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut bytes = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).expect("few");
        let place = (&raw mut info).cast();
        // SAFETY: `place` has room for the `bytes` that are announced.
        let code =
            unsafe { libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut bytes) };
        // Of a socket that listens the kernel says here what it was told.
        (code == 0).then_some(info.tcpi_sacked)
    })
}

#[test]
fn many_clients_may_start_together_also_at_a_node_that_was_down() {
    let mut stand = Stand::new();
    let port = |server: &String| server.rsplit(':').next().and_then(|port| port.parse().ok());
    let ports: Vec<u16> = stand.servers.iter().map(|server| port(server).expect("host:port")).collect();
    let enough = |when: &str| {
        for &port in &ports {
            assert!(may_wait(port) >= Some(500), "{when}: {port}: {:?}", may_wait(port));
        }
    };
    enough("at the start");
    stand.order(Order::NodeDown { node: 1, down: true });
    stand.order(Order::NodeDown { node: 1, down: false });
    enough("after an absence");
}

#[test]
fn commits_fail_for_as_long_as_they_are_told_to() {
    let mut stand = Stand::new();
    let client = stand.consumer("g");
    commit(&client, "one", 0).expect("nothing is wrong yet");

    stand.order(Order::FailCommits { fail: true });
    for _ in 0..3 {
        assert!(commit(&client, "one", 1).is_err());
    }
    assert_eq!(committed(&client, "one"), Offset::Offset(0), "a failed commit changes nothing");

    stand.order(Order::FailCommits { fail: false });
    // What was left on the stack outlasts the fault by a commit, and by no more.
    let _ = commit(&client, "one", 1);
    commit(&client, "one", 1).expect("the fault is over");
    assert_eq!(committed(&client, "one"), Offset::Offset(1));
}

#[test]
fn nodes_and_topics_that_are_not_there_are_refused() {
    let mut state = Stand::new().state;
    for order in [
        Order::NodeDown { node: 3, down: true },
        Order::NodeDown { node: 0, down: true },
        Order::Latency { node: Some(3), ms: 1 },
        Order::MoveLeader { topic: "one".to_owned(), node: 3 },
        Order::MoveLeader { topic: "three".to_owned(), node: 1 },
        Order::MoveCoordinator { group: "g".to_owned(), node: 3 },
        Order::FailFetches { topic: "three".to_owned(), fail: true },
    ] {
        assert!(state.carry_out(order.clone()).is_err(), "{order:?}");
    }
}
