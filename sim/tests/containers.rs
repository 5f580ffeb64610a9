//! Kafka in containers, for real. All but the first need Docker and the image, and fail without:
//! `cargo test -p fairpoll-sim --test containers -- --ignored`.

#![cfg(feature = "containers")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use fairpoll_sim::broker::{Broker, BrokerFault, ClusterNeeds, Containers, TopicSpec};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const FAIRPOLL: &str = env!("CARGO_BIN_EXE_fairpoll");
const FAKE_WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fake_worker.py");

/// A small scenario in a folder of its own.
struct Stand {
    dir: tempfile::TempDir,
}

impl Stand {
    fn new(nodes: u32, modes: &str) -> Self {
        let text = format!(
            "schema_version: 1\n\
             name: stand\n\
             purpose: Shows what containers do.\n\
             topics:\n  - {{name: a, partitions: 2, backlog: 2000, value_bytes: 8}}\n\
             broker: {{nodes: {nodes}}}\n\
             consumer: {{max_poll_records: 500}}\n\
             stop: {{when: drained, deadline_s: 60}}\n\
             modes: {modes}\n\
             gates: []\n"
        );
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::write(dir.path().join("stand.yaml"), text).expect("writable");
        Self { dir }
    }

    /// Its worker stands still, so a run lasts until somebody ends it.
    fn endless(nodes: u32) -> Self {
        Self::new(
            nodes,
            &format!("[{{name: stall, command: [python3, \"{FAKE_WORKER}\", stall, \"1000\"]}}]"),
        )
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn spawn(&self, options: &[&str]) -> Child {
        let mut command = Command::new(FAIRPOLL);
        command.current_dir(self.dir.path()).args([
            "run",
            "stand.yaml",
            "--broker",
            "container",
            "--out",
            "out",
        ]);
        command.args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("fairpoll starts")
    }

    /// Starts a run and waits until its worker consumes.
    fn start(&self) -> Child {
        let child = self.spawn(&[]);
        let log = self.out().join("logs/stall-1.log");
        wait_for("the worker", Duration::from_secs(120), || log.exists());
        std::thread::sleep(Duration::from_millis(500));
        assert_ne!(left_by(child.id()), [""; 0], "its containers run");
        child
    }
}

fn wait_for(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < until, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("there is a docker command");
    assert!(output.status.success(), "docker {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Containers and networks of a process; their names end in its number.
fn left_by(pid: u32) -> Vec<String> {
    let containers =
        docker(&["ps", "-a", "--filter", "label=org.fairpoll.cluster", "--format", "{{.Names}}"]);
    let networks =
        docker(&["network", "ls", "--filter", "label=org.fairpoll.cluster", "--format", "{{.Name}}"]);
    let own = format!("-{pid:x}");
    let is_own = |name: &&str| name.ends_with(&own) || name.contains(&format!("{own}-"));
    containers.lines().chain(networks.lines()).filter(is_own).map(str::to_owned).collect()
}

fn finish(child: Child) -> (u32, Output) {
    (child.id(), child.wait_with_output().expect("it ends"))
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_machine_without_docker_is_told_so_within_five_seconds() {
    let stand = Stand::new(1, "[fair]");
    let began = Instant::now();
    let output = Command::new(FAIRPOLL)
        .current_dir(stand.dir.path())
        .args(["run", "stand.yaml", "--broker", "container", "--out", "out"])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .output()
        .expect("fairpoll starts");
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("no Docker daemon answers"), "{errors}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn all_modes_of_a_run_share_one_container_and_leave_nothing() {
    let stand = Stand::new(1, "[single, multi, fair]");
    let (pid, output) = finish(stand.spawn(&[]));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(left_by(pid), [""; 0]);
    let manifest = fs::read_to_string(stand.out().join("manifest.json")).expect("written");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let broker = &manifest["broker"];
    assert_eq!((&broker["kind"], &broker["nodes"]), (&"container".into(), &1.into()), "{broker}");
    assert!(
        broker["version"].as_str().is_some_and(|version| version.starts_with("Apache Kafka 4")),
        "{broker}"
    );
    assert!(broker["image"]["id"].as_str().is_some_and(|id| id.starts_with("sha256:")), "{broker}");
    let created = docker(&[
        "events",
        "--since",
        "10m",
        "--until",
        "0s",
        "--filter",
        "event=create",
        "--filter",
        "label=org.fairpoll.cluster",
        "--format",
        "{{.Actor.Attributes.name}}",
    ]);
    let own = created.lines().filter(|name| name.contains(&format!("-{pid:x}-"))).count();
    assert_eq!(own, 1, "{created}");
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn three_nodes_run_on_a_network_of_their_own_and_leave_nothing() {
    let stand = Stand::new(3, "[fair]");
    let (pid, output) = finish(stand.spawn(&[]));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(left_by(pid), [""; 0]);
    let manifest = fs::read_to_string(stand.out().join("manifest.json")).expect("written");
    assert!(manifest.contains("\"nodes\": 3"), "{manifest}");
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn ctrl_c_in_mid_run_leaves_nothing() {
    let stand = Stand::endless(3);
    let fairpoll = stand.start();
    signal(fairpoll.id(), "INT");
    let (pid, output) = finish(fairpoll);
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert_eq!(left_by(pid), [""; 0]);
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn a_second_ctrl_c_leaves_nothing_either() {
    let stand = Stand::endless(1);
    let fairpoll = stand.start();
    signal(fairpoll.id(), "INT");
    std::thread::sleep(Duration::from_millis(200));
    signal(fairpoll.id(), "INT");
    let (pid, output) = finish(fairpoll);
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    wait_for("the containers' end", Duration::from_secs(20), || left_by(pid).is_empty());
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn ctrl_c_while_containers_start_leaves_nothing() {
    let stand = Stand::endless(3);
    let fairpoll = stand.spawn(&[]);
    wait_for("a container", Duration::from_secs(60), || !left_by(fairpoll.id()).is_empty());
    signal(fairpoll.id(), "INT");
    let (pid, output) = finish(fairpoll);
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert_eq!(left_by(pid), [""; 0]);
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn when_fairpoll_is_killed_containers_and_network_go_too() {
    let stand = Stand::endless(3);
    let fairpoll = stand.start();
    signal(fairpoll.id(), "KILL");
    let (pid, _) = finish(fairpoll);
    wait_for("the containers' end", Duration::from_secs(20), || left_by(pid).is_empty());
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn an_image_that_does_not_exist_is_named_with_the_remedy_within_five_seconds() {
    let stand = Stand::new(1, "[fair]");
    let began = Instant::now();
    let (pid, output) = finish(stand.spawn(&["--image", "fairpoll.invalid/no-such-kafka:1"]));
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("fairpoll.invalid/no-such-kafka:1"), "{errors}");
    assert!(errors.contains("containers/kafka/build-image"), "{errors}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(left_by(pid), [""; 0]);
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn a_container_that_does_not_come_up_is_tried_twice_and_tells_what_it_said() {
    let image = format!("fairpoll-test-broken:{}", std::process::id());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dockerfile = "FROM fairpoll/kafka:4.1.0\nUSER root\n\
        RUN echo 'echo out of coffee; exit 7' >/etc/kafka/docker/run\n";
    fs::write(folder.path().join("Dockerfile"), dockerfile).expect("writable");
    let built = Command::new("docker")
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "--quiet", "--tag", &image])
        .arg(folder.path())
        .output()
        .expect("docker runs");
    assert!(built.status.success(), "{}", text(&built.stderr));
    let stand = Stand::new(1, "[fair]");
    let (pid, output) = finish(stand.spawn(&["--image", &image]));
    docker(&["rmi", &image]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("trying once more"), "{errors}");
    assert!(errors.matches("out of coffee").count() >= 2, "{errors}");
    assert_eq!(left_by(pid), [""; 0]);
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn what_is_kept_runs_on_and_says_how_to_remove_it() {
    let stand = Stand::new(1, "[fair]");
    let (pid, output) = finish(stand.spawn(&["--keep"]));
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let names = left_by(pid);
    let line = errors.lines().find(|line| line.starts_with("kept: ")).unwrap_or_else(|| panic!("{errors}"));
    let (_, removal) = line.split_once("remove it with: ").expect("the remedy");
    let removed = Command::new("sh").args(["-c", removal]).output().expect("a shell");
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(left_by(pid), [""; 0]);
}

fn lend(containers: &mut Containers, nodes: u32) -> Broker {
    lend_as(containers, ClusterNeeds { nodes, acls: false, relays: false })
}

fn lend_as(containers: &mut Containers, needs: ClusterNeeds) -> Broker {
    Broker::Container(containers.lend(needs, &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}")))
}

fn containers() -> Containers {
    Containers::new(None, false).removed_by(FAIRPOLL.into())
}

fn topic(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, own_leader: false }
}

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker.endpoint().bootstrap_servers);
    config
}

fn produce(broker: &Broker, topic: &str, count: u32) {
    let producer: BaseProducer = client(broker).set("acks", "all").create().expect("a producer");
    for value in 0..count {
        let record = BaseRecord::<(), str>::to(topic).partition(0).payload("value");
        producer.send(record).unwrap_or_else(|(error, _)| panic!("{value}: {error}"));
    }
    producer.flush(Duration::from_secs(30)).expect("all are acknowledged");
}

/// First and next offset of partition 0; nothing while the broker does not answer.
fn watermarks(broker: &Broker, topic: &str) -> Option<(i64, i64)> {
    let consumer: BaseConsumer = client(broker).create().expect("a consumer");
    consumer.fetch_watermarks(topic, 0, Duration::from_secs(2)).ok()
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn topics_are_widened_shortened_deleted_and_a_node_comes_back_with_its_log() {
    let mut containers = containers();
    let mut broker = lend(&mut containers, 1);
    broker.create_topics(&[topic("t", 1), topic("u", 1)]).expect("fresh topics");
    produce(&broker, "t", 100);
    broker.delete_records("t", 0, 40).expect("older records go");
    assert_eq!(watermarks(&broker, "t"), Some((40, 100)));
    broker.widen_topic("t", 5).expect("more partitions");
    assert_eq!(broker.leader_of("t", 4).expect("it answers"), Some(1));
    broker.delete_topic("u").expect("it goes");
    assert_eq!(broker.leader_of("u", 0).expect("it answers"), None);
    let foreign = broker.delete_topic("__consumer_offsets").expect_err("it is not ours");
    assert!(foreign.to_string().contains("did not create"), "{foreign}");

    broker.stop_node(1).expect("it goes down");
    assert_eq!(watermarks(&broker, "t"), None, "nobody answers");
    assert!(broker.is_alive(), "a node that was sent down is no failure");
    broker.start_node(1).expect("it comes up");
    wait_for("the node", Duration::from_secs(60), || watermarks(&broker, "t").is_some());
    assert_eq!(watermarks(&broker, "t"), Some((40, 100)), "nothing is lost");

    // The next mode gets the same cluster, whole and without the topics of this one.
    let servers = broker.endpoint().bootstrap_servers.clone();
    broker.stop_node(1).expect("it goes down");
    drop(broker);
    let broker = lend(&mut containers, 1);
    assert_eq!(broker.endpoint().bootstrap_servers, servers);
    assert_eq!(broker.leader_of("t", 0).expect("it answers"), None);
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn when_a_leader_of_three_is_killed_another_leads_and_nothing_is_lost() {
    let mut containers = containers();
    let mut broker = lend(&mut containers, 3);
    broker.create_topics(&[topic("t", 1)]).expect("a fresh topic");
    produce(&broker, "t", 100);
    let first = broker.leader_of("t", 0).expect("it answers").expect("somebody leads");
    broker.stop_node(first).expect("it goes down");
    wait_for("another leader", Duration::from_secs(30), || {
        broker.leader_of("t", 0).is_ok_and(|leader| leader.is_some_and(|leader| leader != first))
    });
    produce(&broker, "t", 10);
    assert_eq!(watermarks(&broker, "t"), Some((0, 110)));
    broker.start_node(first).expect("it comes up");
    drop(broker);
    drop(containers);
    assert_eq!(left_by(std::process::id()).iter().filter(|name| name.ends_with("-3")).count(), 0);
}

/// What comes first of partition 0: a record, or an error.
fn first(broker: &Broker, topic: &str) -> Result<(), KafkaError> {
    let consumer: BaseConsumer = client(broker).set("group.id", "nobody").create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("a place");
    consumer.assign(&list).expect("it takes it");
    consumer.poll(Duration::from_secs(30)).expect("one of both comes").map(|_| ())
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn a_topic_that_may_not_be_read_is_written_and_its_neighbour_is_read() {
    let mut containers = containers();
    let mut broker = lend_as(&mut containers, ClusterNeeds { nodes: 3, acls: true, relays: false });
    broker.create_topics(&[topic("t", 1), topic("u", 1)]).expect("fresh topics");
    let forbidden = BrokerFault::TopicForbidden { topic: "t".to_owned() };
    broker.fault(&forbidden, true).expect("an ACL");
    produce(&broker, "t", 10);
    produce(&broker, "u", 10);
    assert_eq!(watermarks(&broker, "t"), Some((0, 10)), "what there is may be asked for");
    let refused = KafkaError::MessageConsumption(RDKafkaErrorCode::TopicAuthorizationFailed);
    // A node may hear of it a moment after the controller has answered.
    wait_for("the refusal", Duration::from_secs(10), || first(&broker, "t").is_err());
    assert_eq!(first(&broker, "t"), Err(refused));
    assert_eq!(first(&broker, "u"), Ok(()));
    broker.fault(&forbidden, false).expect("no ACL any more");
    wait_for("a record", Duration::from_secs(10), || first(&broker, "t").is_ok());

    // Without ACLs it is another cluster.
    let servers = broker.endpoint().bootstrap_servers.clone();
    drop(broker);
    let mut broker = lend(&mut containers, 3);
    assert_ne!(broker.endpoint().bootstrap_servers, servers);
    broker.create_topics(&[topic("t", 1)]).expect("a fresh topic");
    let error = broker.fault(&forbidden, true).expect_err("nobody keeps to it");
    assert!(error.to_string().contains("ACL"), "{error}");
}

#[test]
#[ignore = "needs Docker: ci/containers"]
fn a_slow_node_s_answers_take_longer_until_the_fault_ends() {
    const LATENCY: Duration = Duration::from_secs(1);
    let mut containers = containers();
    let mut broker = lend_as(&mut containers, ClusterNeeds { nodes: 2, acls: false, relays: true });
    broker.create_topics(&[topic("t", 1)]).expect("a fresh topic");
    produce(&broker, "t", 10);
    let leader = broker.leader_of("t", 0).expect("asked").expect("led");
    assert_eq!(leader, 1, "the first of all");
    let slow = |node| BrokerFault::Slow { node: Some(node), latency_ms: 1000 };
    let asking = |broker: &Broker| {
        let client: BaseConsumer = client(broker).create().expect("a consumer");
        // Connected to the leader.
        client.fetch_watermarks("t", 0, Duration::from_secs(30)).expect("answered");
        move || {
            let began = Instant::now();
            assert_eq!(client.fetch_watermarks("t", 0, Duration::from_secs(30)), Ok((0, 10)));
            began.elapsed()
        }
    };
    let ask = asking(&broker);
    assert!(ask() < LATENCY);
    broker.fault(&slow(leader), true).expect("slow");
    assert!(ask() >= LATENCY);
    broker.fault(&slow(leader), false).expect("as fast as before");
    assert!(ask() < LATENCY);
    broker.fault(&slow(3 - leader), true).expect("slow");
    assert!(ask() < LATENCY, "it is the other node");
    let error = broker.fault(&slow(7), true).expect_err("there is none");
    assert!(error.to_string().contains("no node 7"), "{error}");
}
