//! Against librdkafka's mock, which cannot say who is in a group; what it can is asked here, and the whole
//! on a real broker (`ci/migration`).

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::*;

type Mock = MockCluster<'static, DefaultProducerContext>;

const WITHIN: Duration = Duration::from_secs(10);

/// Topics of two partitions with so many records each.
fn cluster(topics: &[(&str, usize)]) -> Mock {
    let mock = MockCluster::new(1).expect("a mock cluster");
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().expect("producer");
    for &(topic, records) in topics {
        mock.create_topic(topic, 2, 1).expect("topic");
        for number in 0..2 * records {
            let partition = i32::try_from(number % 2).expect("0 or 1");
            let record = BaseRecord::<(), str>::to(topic).partition(partition).payload("x");
            producer.send(record).map_err(|(error, _)| error).expect("room");
        }
    }
    producer.flush(WITHIN).expect("flush");
    mock
}

fn config(mock: &Mock, topics: &[&str]) -> Config {
    Config::new(mock.bootstrap_servers(), "group", topics.iter().copied())
}

fn request(from: GroupIds, to: GroupIds) -> MigrationRequest {
    MigrationRequest { from, to, overtaken: Overtaken::Refuse, timeout: WITHIN }
}

/// A survey without the question that the mock cannot answer.
fn survey(config: &Config, from: GroupIds, to: GroupIds) -> Migration {
    Migration::among(config, request(from, to), client(config).expect("client"), &BTreeMap::new())
        .expect("survey")
}

fn commit(migration: &Migration, group: &str, topic: &str, partition: i32, offset: i64) {
    let entry = PartitionEntry { topic: topic.to_owned(), partition };
    let answer = migration.client.commit_for(group, &[(entry, offset)], WITHIN).expect("an answer");
    assert_eq!(answer.iter().filter_map(|entry| entry.error.clone()).collect::<Vec<_>>(), []);
}

fn steps(migration: &Migration) -> Vec<(String, String)> {
    let partitions = migration.partitions().iter();
    partitions.map(|moved| (format!("{}/{}", moved.topic, moved.partition), moved.to_string())).collect()
}

fn step_of<'a>(migration: &'a Migration, topic: &str, partition: i32) -> &'a PartitionMove {
    let found = migration.partitions().iter().find(|m| m.topic == topic && m.partition == partition);
    found.expect("there is such a partition")
}

#[test]
fn positions_go_to_own_groups_and_come_back_further_on() {
    let mock = cluster(&[("a", 50), ("b", 50)]);
    let config = config(&mock, &["a", "b"]);
    let mut there = survey(&config, GroupIds::Shared, GroupIds::Own);
    assert!(!there.has_work(), "{:?}", steps(&there));
    commit(&there, "group", "a", 0, 7);
    commit(&there, "group", "a", 1, 50);
    commit(&there, "group", "b", 1, 1);
    there.read_positions().expect("positions");
    assert_eq!(there.apply(), Ok(3));
    assert!(!there.has_work());
    assert_eq!(there.apply(), Ok(0), "a second run finds nothing to do");
    assert_eq!(step_of(&there, "a", 0).pair.target, Some(7));
    assert_eq!(step_of(&there, "b", 0).step, Step::NothingCommitted);

    // The program goes on under its own groups for a while.
    commit(&there, "group.a", "a", 0, 30);
    commit(&there, "group.b", "b", 0, 3);
    let mut back = survey(&config, GroupIds::Own, GroupIds::Shared);
    assert_eq!(step_of(&back, "a", 0).to_string(), "write 30, forward by 23");
    assert_eq!(back.apply(), Ok(2));
    let again = survey(&config, GroupIds::Own, GroupIds::Shared);
    assert!(!again.has_work(), "{:?}", steps(&again));
    let shared: Vec<_> = again.partitions().iter().map(|moved| moved.pair.target).collect();
    assert_eq!(shared, [Some(30), Some(50), Some(3), Some(1)]);
}

#[test]
fn one_position_in_conflict_holds_back_all_of_them() {
    let mock = cluster(&[("a", 50)]);
    let config = config(&mock, &["a"]);
    let mut there = survey(&config, GroupIds::Shared, GroupIds::Own);
    commit(&there, "group", "a", 0, 7);
    commit(&there, "group", "a", 1, 10);
    commit(&there, "group.a", "a", 1, 11);
    there.read_positions().expect("positions");
    assert_eq!(there.apply(), Err(MigrationError::Conflicts { count: 1, of: 2 }));
    assert!(step_of(&there, "a", 1).to_string().starts_with("conflict: group.a is ahead by 1;"));
    there.read_positions().expect("positions");
    assert_eq!(step_of(&there, "a", 0).pair.target, None, "nothing was written");
}

#[test]
fn a_group_with_members_is_left_alone() {
    let mock = cluster(&[("a", 50)]);
    let config = config(&mock, &["a"]);
    for group in ["group", "group.a"] {
        let groups = BTreeMap::from([(group.to_owned(), Membership::Active("Stable".to_owned()))]);
        let client = client(&config).expect("client");
        let mut there = Migration::among(&config, request(GroupIds::Shared, GroupIds::Own), client, &groups)
            .expect("survey");
        commit(&there, "group", "a", 0, 7);
        there.read_positions().expect("positions");
        let refused = there.apply().expect_err("somebody is in a group").to_string();
        assert!(refused.starts_with(&format!("consumers are running: group {group} (Stable).")), "{refused}");
        there.read_positions().expect("positions");
        assert_eq!(step_of(&there, "a", 0).pair.target, None, "nothing was written");
    }
}

#[test]
fn a_position_that_somebody_moves_meanwhile_is_not_verified() {
    let decided = PartitionMove {
        topic: "a".to_owned(),
        partition: 0,
        source_group: "group".to_owned(),
        target_group: "group.a".to_owned(),
        pair: CommittedPair { source: Some(7), target: None, log_start: 0, log_end: 50 },
        step: Step::Write { offset: 7 },
    };
    let now = |source, target| {
        let pair = CommittedPair { source, target, ..decided.pair };
        verify(&decided, &PartitionMove { pair, ..decided.clone() })
    };
    assert_eq!(now(Some(7), Some(7)), Ok(()));
    assert!(now(Some(8), Some(7)).is_err_and(|error| error.to_string().contains("group has 8 instead of 7")));
    assert!(now(Some(7), None).is_err_and(|error| error.to_string().contains("has none instead of 7")));
}

/// The mock does not list groups: who is in them is not known, and nothing is written.
#[test]
fn where_the_brokers_do_not_say_who_is_in_a_group_nothing_is_moved() {
    let mock = cluster(&[("a", 1)]);
    let refused = Migration::survey(&config(&mock, &["a"]), request(GroupIds::Shared, GroupIds::Own))
        .expect_err("the mock cannot tell");
    assert!(refused.to_string().starts_with("the brokers do not say who is in the groups:"), "{refused}");
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    let mock = cluster(&[("a", 1)]);
    let config = config(&mock, &["a", "gone"]);
    let client = client(&config).expect("client");
    let refused =
        Migration::among(&config, request(GroupIds::Shared, GroupIds::Own), client, &BTreeMap::new())
            .expect_err("no topic");
    assert_eq!(refused, MigrationError::NoTopic { topic: "gone".to_owned() });
}
