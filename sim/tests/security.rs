//! TLS, SASL/SCRAM and ACLs of a real Kafka. Needs Docker, the image, `openssl` and a build with TLS, and
//! fails without: `cargo test -p fairpoll-sim --features tls-system --test security -- --ignored`.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fairpoll::{Config, Consumer, GroupStrategy, LaneError, ModeRequest};
use fairpoll_sim::broker::acls::{self, Acl, Resource, Verb};
use fairpoll_sim::broker::{Broker, TopicSpec};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const TOPICS: [&str; 10] = ["t-0", "t-1", "t-2", "t-3", "t-4", "t-5", "t-6", "t-7", "t-8", "t-9"];
const RECORDS: usize = 20;
const PASSWORD: &str = "Sesame-4711";
const WRONG: &str = "Sesame-1147";
const ALICE: &str = "User:alice";
/// A broker is up within seconds, and on a busy machine within a minute.
const UP_WITHIN: Duration = Duration::from_secs(90);
/// It ends by itself after this, whatever becomes of the test.
const LIFE: &str = "300";

fn ran(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A certificate authority and what it signed, in a folder that a container may read.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let certificates = Self { folder };
        for authority in ["ca", "other-ca"] {
            certificates.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -keyout {authority}.key -out {authority}.pem -subj /CN={authority} -days 2"
            ));
        }
        certificates.sign("valid", "2");
        certificates.sign("expired", "-1");
        certificates
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        ran(Command::new("openssl").args(arguments.split(' ')).current_dir(self.folder.path()));
    }

    /// A key and a certificate in one file, as Kafka takes them.
    fn sign(&self, name: &str, days: &str) {
        fs::write(self.path("names"), "subjectAltName=IP:127.0.0.1").expect("writable");
        self.openssl(&format!(
            "req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN=broker"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days {days} -extfile names"
        ));
        let read = |kind: &str| fs::read_to_string(self.path(&format!("{name}.{kind}"))).expect("written");
        let both = self.path(&format!("{name}.store"));
        fs::write(&both, read("key") + &read("pem")).expect("writable");
        fs::set_permissions(both, fs::Permissions::from_mode(0o644)).expect("it is ours");
    }
}

/// One node that knows alice by her password and keeps to ACLs. Who comes without TLS may do everything.
struct Kafka {
    name: String,
    plain: u16,
    secure: u16,
    expired: u16,
}

impl Kafka {
    fn start(certificates: &Path) -> Self {
        let free: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")).collect();
        let ports: Vec<u16> =
            free.iter().map(|listener| listener.local_addr().expect("bound").port()).collect();
        drop(free);
        let &[plain, secure, expired] = &ports[..] else { unreachable!("three were asked for") };
        let kafka =
            Self { name: format!("fairpoll-security-{:x}", std::process::id()), plain, secure, expired };
        let store = |name: &str| format!("/certificates/{name}.store");
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let advertised = format!(
            "PLAIN://127.0.0.1:{plain},SECURE://127.0.0.1:{secure},EXPIRED://127.0.0.1:{expired},INTERNAL://localhost:9092"
        );
        let settings = [
            ("CLUSTER_ID", "RmFpcnBvbGxDbHVzdGVyMQ"),
            ("KAFKA_HEAP_OPTS", "-Xms256m -Xmx512m"),
            ("KAFKA_OPTS", "-XX:TieredStopAtLevel=1"),
            ("KAFKA_NODE_ID", "1"),
            ("KAFKA_PROCESS_ROLES", "broker,controller"),
            ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
            (
                "KAFKA_LISTENERS",
                "PLAIN://0.0.0.0:9094,SECURE://0.0.0.0:9095,EXPIRED://0.0.0.0:9096,INTERNAL://localhost:9092,\
                 CONTROLLER://localhost:9093",
            ),
            ("KAFKA_ADVERTISED_LISTENERS", advertised.as_str()),
            (
                "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
                "PLAIN:PLAINTEXT,SECURE:SASL_SSL,EXPIRED:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
            ),
            ("KAFKA_INTER_BROKER_LISTENER_NAME", "INTERNAL"),
            ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
            ("KAFKA_AUTHORIZER_CLASS_NAME", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
            ("KAFKA_SUPER_USERS", "User:ANONYMOUS"),
            ("KAFKA_SASL_ENABLED_MECHANISMS", "SCRAM-SHA-256"),
            ("KAFKA_LISTENER_NAME_SECURE_SCRAM___SHA___256_SASL_JAAS_CONFIG", scram),
            ("KAFKA_LISTENER_NAME_EXPIRED_SCRAM___SHA___256_SASL_JAAS_CONFIG", scram),
            ("KAFKA_LISTENER_NAME_SECURE_SSL_KEYSTORE_TYPE", "PEM"),
            ("KAFKA_LISTENER_NAME_EXPIRED_SSL_KEYSTORE_TYPE", "PEM"),
            ("KAFKA_LISTENER_NAME_SECURE_SSL_KEYSTORE_LOCATION", &store("valid")),
            ("KAFKA_LISTENER_NAME_EXPIRED_SSL_KEYSTORE_LOCATION", &store("expired")),
            ("KAFKA_LOG_DIRS", "/tmp/kafka-logs"),
            ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
            ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
            ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
            ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        ];
        let mut command = Command::new("docker");
        command.args(["run", "--detach", "--rm", "--name", &kafka.name, "--label", "org.fairpoll.cluster"]);
        for (outside, inside) in [(plain, 9094), (secure, 9095), (expired, 9096)] {
            command.args(["--publish", &format!("127.0.0.1:{outside}:{inside}")]);
        }
        command.args(["--volume", &format!("{}:/certificates:ro", certificates.display())]);
        for (name, value) in settings {
            command.args(["--env", &format!("{name}={value}")]);
        }
        let image = std::env::var("FAIRPOLL_KAFKA_IMAGE");
        command.arg(image.as_deref().unwrap_or("fairpoll/kafka:4.1.0"));
        ran(command.args(["timeout", LIFE, "/etc/kafka/docker/run"]));
        kafka.wait_until_up();
        kafka.add_user("alice");
        kafka
    }

    fn wait_until_up(&self) {
        let until = Instant::now() + UP_WITHIN;
        loop {
            let log = ran(Command::new("docker").args(["logs", &self.name]));
            if log.contains("Kafka Server started") {
                return;
            }
            assert!(Instant::now() < until, "Kafka is not up: {log}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn add_user(&self, user: &str) {
        let what = format!("SCRAM-SHA-256=[iterations=4096,password={PASSWORD}]");
        ran(Command::new("docker").args([
            "exec",
            &self.name,
            "java",
            "-cp",
            "/opt/kafka/libs/*",
            "kafka.admin.ConfigCommand",
            "--bootstrap-server",
            "localhost:9092",
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            user,
            "--add-config",
            &what,
        ]));
    }

    /// For who comes without TLS.
    fn admin(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", format!("127.0.0.1:{}", self.plain));
        config
    }

    fn fill(&self) -> Broker {
        let mut broker = Broker::connect_external(&format!("127.0.0.1:{}", self.plain), &BTreeMap::new())
            .expect("it answers");
        let topic = |name: &&str| TopicSpec { name: (*name).to_owned(), partitions: 1, own_leader: false };
        broker.create_topics(&TOPICS.iter().map(topic).collect::<Vec<_>>()).expect("fresh topics");
        let producer: BaseProducer = self.admin().set("acks", "all").create().expect("a producer");
        for number in 0..RECORDS {
            for topic in TOPICS {
                let value = number.to_string();
                let record = BaseRecord::<(), str>::to(topic).partition(0).payload(&value);
                producer.send(record).unwrap_or_else(|(error, _)| panic!("{topic}: {error}"));
            }
        }
        producer.flush(Duration::from_secs(30)).expect("all are acknowledged");
        broker
    }

    fn grant(&self, acls: &[Acl<'_>]) {
        acls::create(&self.admin(), acls).expect("it takes ACLs");
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &self.name]).output();
    }
}

fn may_read(resource: Resource<'_>) -> Acl<'_> {
    Acl { resource, principal: ALICE, verb: Verb::MayRead }
}

/// What each mode and group strategy does, under a group of its own.
const WAYS: [(ModeRequest, Option<GroupStrategy>, &str); 4] = [
    (ModeRequest::Single, None, "single"),
    (ModeRequest::Multi, None, "multi"),
    (ModeRequest::Multi, Some(GroupStrategy::Own), "multi-own"),
    (ModeRequest::Fair, None, "fair"),
];

/// Alice's consumer.
struct Alice<'a> {
    port: u16,
    ca: &'a Path,
    password: &'a str,
}

impl Alice<'_> {
    fn consumer(
        &self,
        (mode, strategy, _): (ModeRequest, Option<GroupStrategy>, &str),
        group: &str,
    ) -> Consumer {
        let mut config = Config::new(format!("127.0.0.1:{}", self.port), group, TOPICS)
            .mode(mode)
            .join_wait(Duration::from_secs(2))
            .property("security.protocol", "SASL_SSL")
            .property("ssl.ca.location", self.ca.to_str().expect("a temporary folder's name"))
            .property("sasl.mechanism", "SCRAM-SHA-256")
            .property("sasl.username", "alice")
            .property("sasl.password", self.password)
            .property("auto.offset.reset", "earliest");
        if let Some(strategy) = strategy {
            config = config.group_strategy(strategy);
        }
        Consumer::start(config).expect("the configuration is good")
    }
}

/// What came of a consumer.
#[derive(Default)]
struct Seen {
    values: BTreeMap<String, Vec<String>>,
    errors: Vec<LaneError>,
    /// The last words of a consumer that cannot go on.
    failed: Option<String>,
}

impl Seen {
    fn is_complete(&self, topics: &[&str]) -> bool {
        topics.iter().all(|topic| self.values.get(*topic).is_some_and(|values| values.len() >= RECORDS))
    }

    fn remedy(&self, words: &str) -> bool {
        let told = self.errors.iter().filter_map(|error| error.remedy.as_deref());
        told.chain(self.failed.as_deref()).any(|remedy| remedy.contains(words))
    }

    fn assert_secret(&self) {
        let told = format!("{:?} {:?}", self.errors, self.failed);
        assert!(!told.contains(PASSWORD) && !told.contains(WRONG), "{told}");
    }
}

/// Polls until `done`, or half a minute passed.
fn poll(mut consumer: Consumer, done: impl Fn(&Seen) -> bool) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut seen = Seen::default();
    let until = Instant::now() + Duration::from_secs(30);
    runtime.block_on(async {
        while !done(&seen) && seen.failed.is_none() && Instant::now() < until {
            match consumer.get_many(Duration::from_millis(100), None).await {
                Ok(batch) => {
                    for record in batch.records() {
                        let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
                        seen.values.entry(record.topic().to_owned()).or_default().push(value);
                    }
                    seen.errors.extend(batch.errors().iter().cloned());
                    consumer.commit(&batch);
                }
                Err(error) => seen.failed = Some(error.to_string()),
            }
        }
        consumer.stop(Duration::from_secs(5)).await;
    });
    seen.assert_secret();
    seen
}

/// One broker for all of it: its start is most of the time.
// shows: E19
#[test]
#[ignore = "needs Docker and a build with TLS: ci/containers"]
fn who_may_is_let_in_by_tls_and_scram_and_who_may_not_is_told_what_would_help() {
    let certificates = Certificates::new();
    let kafka = Kafka::start(certificates.folder.path());
    let _topics = kafka.fill();
    let ca = certificates.path("ca.pem");
    let alice = Alice { port: kafka.secure, ca: &ca, password: PASSWORD };
    let every: Vec<String> = (0..RECORDS).map(|number| number.to_string()).collect();

    // What docs/security.md says that a consumer needs, and nothing else.
    let mut acls: Vec<Acl<'_>> = TOPICS.map(|topic| may_read(Resource::Topic(topic))).to_vec();
    acls.extend(["single", "multi", "fair"].map(|group| may_read(Resource::Group(group))));
    acls.push(may_read(Resource::GroupsThatBegin("multi-own.")));
    kafka.grant(&acls);
    for way in WAYS {
        let seen = poll(alice.consumer(way, way.2), |seen| seen.is_complete(&TOPICS));
        for topic in TOPICS {
            assert_eq!(seen.values.get(topic), Some(&every), "{}: {topic}: {:?}", way.2, seen.errors);
        }
        assert_eq!(seen.errors, [], "{}", way.2);
    }

    // Who she is not, and whom she cannot trust.
    let impostor = Alice { password: WRONG, ..alice };
    let seen = poll(impostor.consumer(WAYS[3], "fair"), |seen| seen.remedy("sasl.password"));
    assert!(seen.remedy("the broker does not take User:alice"), "{:?}", seen.errors);
    let late = Alice { port: kafka.expired, ..alice };
    let seen = poll(late.consumer(WAYS[3], "fair"), |seen| seen.remedy("certificate"));
    assert!(seen.remedy("the broker's certificate must be renewed"), "{:?}", seen.errors);
    assert!(seen.errors.iter().any(|error| error.message.contains("expired")), "{:?}", seen.errors);
    let other = certificates.path("other-ca.pem");
    let wary = Alice { ca: &other, ..alice };
    let seen = poll(wary.consumer(WAYS[3], "fair"), |seen| seen.remedy("ssl.ca.location"));
    assert!(seen.remedy("put the certificate of the CA"), "{:?}", seen.errors);

    // A group that she may not join.
    for way in WAYS {
        let seen = poll(alice.consumer(way, "theirs"), |seen| seen.remedy("READ on the group theirs"));
        assert!(seen.remedy("grant User:alice READ on the group theirs"), "{}: {:?}", way.2, seen.errors);
        assert!(seen.values.is_empty(), "{}", way.2);
    }

    // One topic of ten.
    let forbidden = TOPICS[4];
    acls::remove_of_topic(&kafka.admin(), forbidden).expect("it takes ACLs");
    let others: Vec<&str> = TOPICS.into_iter().filter(|topic| *topic != forbidden).collect();
    let groups = WAYS.map(|(.., name)| format!("nine-{name}"));
    let acls: Vec<Acl<'_>> = groups.iter().map(|group| may_read(Resource::GroupsThatBegin(group))).collect();
    kafka.grant(&acls);
    let remedy = format!("grant User:alice READ on the topic {forbidden}");
    for (way, group) in WAYS.into_iter().zip(&groups) {
        let seen = poll(alice.consumer(way, group), |seen| seen.is_complete(&others) && seen.remedy(&remedy));
        for topic in &others {
            assert_eq!(seen.values.get(*topic), Some(&every), "{group}: {topic}: {:?}", seen.errors);
        }
        assert!(seen.remedy(&remedy), "{group}: {:?}", seen.errors);
        let named = |error: &LaneError| error.topic.as_deref() == Some(forbidden);
        assert!(seen.errors.iter().any(named), "{group}: {:?}", seen.errors);
    }
}
