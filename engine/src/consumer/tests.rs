//! What only the inside can bring about.

use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusBuilder;
use rdkafka::ClientConfig;
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::ffi::{CommitOutcome, Failure, OffsetEntry, PartitionEntry};
use crate::{Config, Consumer, ConsumerEvent, GroupStrategy, LaneError, ModeRequest};

type Mock = MockCluster<'static, DefaultProducerContext>;

/// With a topic `a` of one partition.
fn cluster() -> Mock {
    let mock = MockCluster::new(1).expect("a mock cluster");
    mock.create_topic("a", 1, 1).expect("topic");
    mock
}

/// A consumer that owns the partition.
async fn assigned(mock: &Mock, group: &str) -> Consumer {
    // KIP-848: the mock's classic groups wait 3 s for more members.
    let config = Config::new(mock.bootstrap_servers(), group, ["a"])
        .mode(ModeRequest::Multi)
        .property("auto.offset.reset", "earliest")
        .property("fetch.wait.max.ms", "10");
    let mut consumer = Consumer::start(config).expect("start");
    let until = Instant::now() + Duration::from_secs(10);
    while consumer.status().assigned_partitions == 0 && Instant::now() < until {
        consumer.get_many(Duration::from_millis(20), None).await.expect("poll");
    }
    consumer
}

/// One handle for both topics.
fn of_two_topics(mock: &Mock, group: &str) -> Config {
    Config::new(mock.bootstrap_servers(), group, ["a", "b"])
        .mode(ModeRequest::Fair)
        .group_strategy(GroupStrategy::Kip848)
        .property("auto.offset.reset", "earliest")
        .property("fetch.wait.max.ms", "10")
}

fn produce(mock: &Mock, records: usize) {
    produce_to(mock, "a", records);
}

fn produce_to(mock: &Mock, topic: &str, records: usize) {
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().expect("producer");
    for _ in 0..records {
        producer
            .send(BaseRecord::<(), str>::to(topic).partition(0).payload("x"))
            .map_err(|(error, _)| error)
            .expect("room");
    }
    producer.flush(Duration::from_secs(10)).expect("flush");
}

/// librdkafka refuses every commit of such a handle; who tried again would never be done.
#[tokio::test]
async fn a_handle_that_failed_for_good_commits_nothing() {
    let mock = cluster();
    let mut consumer = assigned(&mock, "dead").await;
    produce(&mock, 5);
    let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
    assert!(!batch.is_empty());
    consumer.handles[0].fatal = Some("fenced".to_owned());
    consumer.take_events().for_each(drop);
    consumer.commit(&batch);
    assert_eq!(consumer.take_events().collect::<Vec<_>>(), []);
    assert!(!consumer.commits.any_pending());
    drop(batch);
    assert!(consumer.stop(Duration::from_secs(5)).await.closed);
}

/// Trap 2: a record that reaches the control queue is delivered through its lane, in order.
#[tokio::test]
async fn strays_are_delivered_once_and_in_order() {
    let mock = cluster();
    let mut consumer = assigned(&mock, "strays").await;
    let (_, partition) = consumer.partitions.assigned().next().expect("assigned");
    let client = consumer.handles[partition.handle].client.clone().expect("open");
    client.divert(&partition.entry);
    drop(client);

    produce(&mock, 50);
    let mut offsets = Vec::new();
    let until = Instant::now() + Duration::from_secs(10);
    while offsets.len() < 50 && Instant::now() < until {
        let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
        offsets.extend(batch.records().map(|record| record.offset()));
    }
    assert_eq!(offsets, (0..50).collect::<Vec<i64>>());
    assert_eq!(consumer.status().strays, 50);
    assert!(consumer.stop(Duration::from_secs(5)).await.closed);
}

/// What was looked at has left the client, which would not deliver it again.
#[tokio::test]
async fn a_topic_that_is_paused_after_a_look_at_its_records_loses_none() {
    let mock = MockCluster::new(1).expect("a mock cluster");
    let servers = mock.bootstrap_servers();
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", &servers).create().expect("producer");
    for topic in ["a", "b"] {
        mock.create_topic(topic, 1, 1).expect("topic");
        for _ in 0..30 {
            let record = BaseRecord::<(), str>::to(topic).partition(0).payload("x");
            producer.send(record).map_err(|(error, _)| error).expect("room");
        }
    }
    producer.flush(Duration::from_secs(10)).expect("flush");
    let config = Config::new(&servers, "held", ["a", "b"])
        .mode(ModeRequest::Single)
        .group_strategy(GroupStrategy::Kip848)
        .property("auto.offset.reset", "earliest")
        .property("fetch.wait.max.ms", "10");
    let mut consumer = Consumer::start(config).expect("start");
    let until = Instant::now() + Duration::from_secs(10);
    while consumer.lanes[0].queued() < 60 && Instant::now() < until {
        consumer.get_many(Duration::from_millis(10), Some(0)).await.expect("poll");
    }
    consumer.look_at_topics(Instant::now());
    consumer.pause_topic("a").expect("known");
    let mut delivered = Vec::new();
    for expected in [30, 60] {
        let until = Instant::now() + Duration::from_secs(10);
        while delivered.len() < expected && Instant::now() < until {
            let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
            delivered.extend(batch.records().map(|record| (record.topic().to_owned(), record.offset())));
        }
        consumer.resume_topic("a").expect("known");
    }
    let expected = |topic: &str| (0..30).map(|offset| (topic.to_owned(), offset)).collect::<Vec<_>>();
    assert_eq!(delivered, [expected("b"), expected("a")].concat());
    assert!(consumer.stop(Duration::from_secs(5)).await.closed);
}

/// What came of a consumer that commits whatever it gets.
#[derive(Default)]
struct Seen {
    records: usize,
    errors: Vec<LaneError>,
    events: Vec<ConsumerEvent>,
}

impl Seen {
    /// Polls until `done`, or 20 s passed.
    async fn until(&mut self, consumer: &mut Consumer, done: impl Fn(&Self, &Consumer) -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !done(self, consumer) {
            assert!(Instant::now() < until, "it did not come about: {:?} {:?}", self.errors, self.events);
            let batch = consumer.get_many(Duration::from_millis(10), None).await.expect("poll");
            self.records += batch.records().count();
            self.errors.extend(batch.errors().iter().cloned());
            consumer.commit(&batch);
            self.events.extend(consumer.take_events());
        }
    }

    /// Polls and marks as processed, without a commit, until so many records came.
    async fn process(&mut self, consumer: &mut Consumer, records: usize) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.records < records {
            assert!(Instant::now() < until, "{} of {records} came", self.records);
            let batch = consumer.get_many(Duration::from_millis(10), None).await.expect("poll");
            self.records += batch.records().count();
            consumer.mark_processed(&batch);
        }
    }

    /// Topics of each commit that was sent.
    fn sent(&self) -> Vec<Vec<&str>> {
        let offsets = self.events.iter().filter_map(|event| match event {
            ConsumerEvent::CommitSent { offsets, .. } => Some(offsets),
            _ => None,
        });
        offsets.map(|offsets| offsets.iter().map(|(topic, ..)| topic.as_str()).collect()).collect()
    }

    fn is_refused(&self) -> bool {
        self.events.iter().any(|event| matches!(event, ConsumerEvent::CommitRefused { .. }))
    }
}

/// Makes a partition one that the coordinator does not know, or one that it knows.
fn call(consumer: &mut Consumer, topic: &str, partition: i32) {
    let (index, _) =
        consumer.partitions.assigned().find(|(_, owned)| owned.entry.topic == topic).expect("assigned");
    consumer.partitions.get_mut(index).entry = PartitionEntry { topic: topic.to_owned(), partition };
}

/// The topics of which something is processed and not known as committed.
fn uncommitted(consumer: &Consumer) -> Vec<String> {
    let topic = |partition| consumer.partitions.get(partition).entry.topic.clone();
    consumer.offsets.dirty().map(|due| topic(due.partition)).collect()
}

// shows: E5
#[tokio::test]
async fn a_partition_whose_commit_is_refused_is_named_and_the_rest_is_committed() {
    let mock = cluster();
    mock.create_topic("b", 1, 1).expect("topic");
    let config = of_two_topics(&mock, "in-part");
    let recorder = PrometheusBuilder::new().build_recorder();
    let exporter = recorder.handle();
    let started = metrics::with_local_recorder(&recorder, || Consumer::start(config));
    let mut consumer = started.expect("start");
    let mut seen = Seen::default();
    seen.until(&mut consumer, |_, consumer| consumer.status().assigned_partitions == 2).await;
    call(&mut consumer, "a", 7);
    ["a", "b"].into_iter().for_each(|topic| produce_to(&mock, topic, 5));
    // Both in one commit, whatever order their records come in.
    seen.process(&mut consumer, 10).await;
    seen.until(&mut consumer, |seen, consumer| {
        seen.records == 10 && seen.is_refused() && uncommitted(consumer) == ["a"]
    })
    .await;
    let mut refused = seen.events.iter().filter(|event| matches!(event, ConsumerEvent::CommitRefused { .. }));
    let (Some(ConsumerEvent::CommitRefused { topic, partition, code, .. }), None) =
        (refused.next(), refused.next())
    else {
        panic!("nobody else is refused: {:?}", seen.events)
    };
    assert_eq!((topic.as_str(), *partition, code.as_str()), ("a", 7, "UNKNOWN_TOPIC_OR_PART"));
    let counted = "fairpoll_commits_total{group=\"in-part\",outcome=\"partial\"} 1";
    assert!(exporter.render().lines().any(|line| line == counted), "{}", exporter.render());
    let [one] = &consumer.status().refused_commits[..] else { panic!("{:?}", consumer.status()) };
    assert_eq!((one.topic.as_str(), one.partition, one.code.as_str()), ("a", 7, code.as_str()));

    // The others are committed meanwhile, and it is told once however often it is tried.
    seen.events.clear();
    // It may be due just now; each time it is left out for longer.
    let mut records = seen.records;
    while !seen.sent().contains(&vec!["b"]) {
        records += 1;
        assert!(records < 60, "it waits, and they do not: {:?}", seen.events);
        produce_to(&mock, "b", 1);
        seen.until(&mut consumer, |seen, consumer| seen.records == records && uncommitted(consumer) == ["a"])
            .await;
    }
    seen.until(&mut consumer, |_, consumer| consumer.status().refused_commits[0].refusals >= 3).await;
    assert!(seen.sent().contains(&vec!["a"]), "it is tried though nothing else is due: {:?}", seen.events);
    assert!(!seen.is_refused(), "{:?}", seen.events);
    let of_a = |error: &&LaneError| error.topic.as_deref() == Some("a") && error.partition == Some(7);
    let told: Vec<&LaneError> = seen.errors.iter().filter(of_a).collect();
    let [told] = told[..] else { panic!("once: {:?}", seen.errors) };
    assert_eq!(told.code, "UNKNOWN_TOPIC_OR_PART");
    assert!(told.message.starts_with("offset "), "{told}");

    // It is taken as soon as it may be, though nobody asks for a commit any more.
    seen.events.clear();
    call(&mut consumer, "a", 0);
    let until = Instant::now() + Duration::from_secs(60);
    while !uncommitted(&consumer).is_empty() && Instant::now() < until {
        consumer.get_many(Duration::from_millis(10), None).await.expect("poll");
        seen.events.extend(consumer.take_events());
    }
    assert_eq!(uncommitted(&consumer), Vec::<String>::new());
    let accepted = |event: &ConsumerEvent| matches!(event, ConsumerEvent::CommitAccepted { topic, refusals: 3.., .. } if topic == "a");
    assert!(seen.events.iter().any(accepted), "{:?}", seen.events);
    assert_eq!(consumer.status().refused_commits, []);
    assert_eq!(consumer.status().failing, [], "a topic that takes commits is there");
    let report = consumer.stop(Duration::from_secs(20)).await;
    assert!(report.committed && report.closed, "{report:?}");
}

/// The last commit before the end leaves nobody out, and waits for nobody who is refused again.
#[tokio::test]
async fn a_stop_tries_what_was_refused_once_more_and_says_that_it_is_not_committed() {
    for comes_right in [true, false] {
        let mock = cluster();
        let mut consumer = assigned(&mock, "last").await;
        call(&mut consumer, "a", 7);
        produce(&mock, 5);
        let mut seen = Seen::default();
        seen.until(&mut consumer, |seen, _| seen.records == 5 && seen.is_refused()).await;
        if comes_right {
            call(&mut consumer, "a", 0);
        }
        let report = consumer.stop(Duration::from_secs(30)).await;
        assert_eq!((report.committed, report.closed), (comes_right, true), "{report:?}");
        assert!(report.took < Duration::from_secs(20), "{report:?}");
        let named = report.errors.iter().any(|error| error.starts_with("a [7]: commits were refused"));
        assert_eq!(named, !comes_right, "{report:?}");
        assert_eq!(consumer.status().refused_commits, [], "it was given back");
    }
}

/// Answers the commit that was sent last, in the coordinator's place, by topic and partition.
fn answer(consumer: &mut Consumer, code: impl Fn(&str, i32) -> Option<&'static str>) {
    let sent = consumer.take_events().find_map(|event| match event {
        ConsumerEvent::CommitSent { id, offsets } => Some((id, offsets)),
        _ => None,
    });
    let (id, offsets) = sent.expect("sent");
    let answers = offsets.into_iter().map(|(topic, partition, offset)| {
        let error = code(&topic, partition)
            .map(|code| Failure { code: code.to_owned(), message: "it is refused".to_owned() });
        OffsetEntry { topic, partition, offset, leader_epoch: -1, error }
    });
    let outcome = CommitOutcome { id, error: None, offsets: answers.collect() };
    consumer.on_committed(Instant::now(), 0, outcome);
}

/// Each for itself: what the group's trouble held up goes again with the handle's next try, and whoever is
/// refused is left out of it.
#[tokio::test]
async fn of_a_commit_of_which_nothing_was_taken_each_partition_is_judged_by_its_own_error() {
    let mock = cluster();
    mock.create_topic("b", 1, 1).expect("topic");
    let config = of_two_topics(&mock, "each");
    let mut consumer = Consumer::start(config).expect("start");
    ["a", "b"].into_iter().for_each(|topic| produce_to(&mock, topic, 5));
    let mut seen = Seen::default();
    seen.process(&mut consumer, 10).await;
    consumer.commit_processed();
    answer(&mut consumer, |topic, _| match topic {
        "a" => Some("OFFSET_METADATA_TOO_LARGE"),
        _ => Some("COORDINATOR_LOAD_IN_PROGRESS"),
    });
    assert!(consumer.commits.next_retry().is_some(), "b goes again");
    let refused = consumer.status().refused_commits;
    let [one] = &refused[..] else { panic!("a alone: {refused:?}") };
    assert_eq!((one.topic.as_str(), one.code.as_str()), ("a", "OFFSET_METADATA_TOO_LARGE"));
    // The same offset would be refused for ever.
    seen.until(&mut consumer, |_, consumer| uncommitted(consumer) == ["a"]).await;
    seen.until(&mut consumer, |_, consumer| consumer.status().refused_commits[0].next_try.is_none()).await;
    assert_eq!(seen.sent(), [["b"]]);
    produce(&mock, 1);
    seen.until(&mut consumer, |_, consumer| uncommitted(consumer).is_empty()).await;
    assert_eq!(seen.sent().last(), Some(&vec!["a"]), "a later one may be taken");
    assert!(consumer.stop(Duration::from_secs(20)).await.committed);
}

#[tokio::test]
async fn a_topic_of_which_some_offsets_are_taken_is_not_missing() {
    for missing in [&["a"][..], &["a", "b"]] {
        let mock = cluster();
        mock.create_topic("b", 1, 1).expect("topic");
        let mut consumer = Consumer::start(of_two_topics(&mock, "some")).expect("start");
        ["a", "b"].into_iter().for_each(|topic| produce_to(&mock, topic, 5));
        let mut seen = Seen::default();
        seen.process(&mut consumer, 10).await;
        // Two partitions of one topic, as far as the answer is concerned.
        let (of_a, of_b) = (consumer.topic("a").expect("known"), consumer.topic("b").expect("known"));
        let (index, _) =
            consumer.partitions.assigned().find(|(_, owned)| owned.topic == of_b).expect("assigned");
        consumer.partitions.get_mut(index).topic = of_a;
        consumer.commit_processed();
        answer(&mut consumer, |topic, _| missing.contains(&topic).then_some("UNKNOWN_TOPIC_OR_PART"));
        assert_eq!(consumer.status().refused_commits.len(), missing.len());
        let failing: Vec<String> =
            consumer.status().failing.into_iter().map(|failing| failing.topic).collect();
        let expected: &[&str] = if missing.len() == 2 { &["a"] } else { &[] };
        assert_eq!(failing, expected);
        consumer.partitions.get_mut(index).topic = of_b;
        consumer.stop(Duration::from_secs(20)).await;
    }
}

/// A handle that closes has its partitions taken back although nobody answered their assignment.
#[tokio::test]
async fn what_is_taken_back_before_it_was_taken_over_is_given_back() {
    for strategy in [GroupStrategy::Kip848, GroupStrategy::Cooperative, GroupStrategy::Classic] {
        let mock = cluster();
        mock.create_topic("b", 1, 1).expect("topic");
        let config = of_two_topics(&mock, "taken-back").group_strategy(strategy);
        let mut consumer = Consumer::start(config).expect("start");
        // Nobody polls, so that the assignment waits in the control queue.
        let client = consumer.handles[0].client.clone().expect("a client");
        let until = Instant::now() + Duration::from_secs(20);
        while !client.take_wake() {
            assert!(Instant::now() < until, "{strategy:?}: the group gave nothing");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Nor does anybody answer before the close has asked for everything back.
        client.begin_close(&consumer.wake).expect("closing");
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(client);
        let report = consumer.stop(Duration::from_secs(20)).await;
        assert!(report.closed && report.errors.is_empty(), "{strategy:?}: {report:?}");
        assert!(report.took < Duration::from_secs(10), "{strategy:?}: {report:?}");
    }
}

/// Polls until the group has given both topics and it is being asked where they begin.
async fn arriving(mock: &Mock, group: &str) -> Consumer {
    let mut consumer = Consumer::start(of_two_topics(mock, group)).expect("start");
    let until = Instant::now() + Duration::from_secs(20);
    while consumer.handles[0].arrival.is_none() {
        assert!(Instant::now() < until, "nothing was assigned");
        consumer.get_many(Duration::from_millis(1), None).await.expect("poll");
    }
    assert_eq!((consumer.status().assigned_partitions, consumer.status().joining_handles), (0, 0));
    consumer
}

/// Whoever comes back late to what was asked may have lost the partitions to one who commits.
#[tokio::test]
async fn an_answer_is_good_for_a_second() {
    let mock = cluster();
    mock.create_topic("b", 1, 1).expect("topic");
    // Time to see that there is a question.
    mock.broker_round_trip_time(1, Duration::from_millis(100)).expect("slow");
    for (works_for, told) in [(Duration::ZERO, true), (Duration::from_millis(1200), false)] {
        let mut consumer = arriving(&mock, &format!("good-{told}")).await;
        std::thread::sleep(works_for);
        let until = Instant::now() + Duration::from_secs(20);
        while consumer.status().assigned_partitions < 2 {
            assert!(Instant::now() < until, "it was not taken over");
            consumer.serve(Instant::now()).expect("served");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Both are empty, which only an answer tells before the first fetch.
        let known = consumer.partitions.assigned().filter(|(_, owned)| owned.reads_from == Some(0)).count();
        assert_eq!(known, if told { 2 } else { 0 });
        assert!(consumer.stop(Duration::from_secs(20)).await.closed);
    }
}

/// Handles that start together ask together, and only the topic of the silent leader suffers; whichever asks first.
#[tokio::test]
async fn a_silent_leader_keeps_nobody_from_an_answer_but_its_own_topic() {
    tokio::join!(only_one_of_a_and_b_suffers("a"), only_one_of_a_and_b_suffers("b"));
}

async fn only_one_of_a_and_b_suffers(silent: &str) {
    let mock: Mock = MockCluster::new(2).expect("a mock cluster");
    for topic in ["a", "b"] {
        mock.create_topic(topic, 1, 1).expect("topic");
        mock.partition_leader(topic, 0, Some(if topic == silent { 2 } else { 1 })).expect("a leader");
        mock.coordinator(MockCoordinator::Group(format!("silent.{topic}")), 1).expect("a coordinator");
    }
    mock.broker_round_trip_time(2, Duration::from_secs(10)).expect("slow");
    let servers = mock.bootstrap_servers();
    let speaks = servers.split(',').next().expect("an address");
    // The mock's classic groups all wait 3 s for more members, so both are given theirs together.
    let config = Config::new(speaks, "silent", ["a", "b"])
        .mode(ModeRequest::Multi)
        .group_strategy(GroupStrategy::Own)
        .property("auto.offset.reset", "earliest");
    let mut consumer = Consumer::start(config).expect("start");
    let until = Instant::now() + Duration::from_secs(20);
    while consumer.status().assigned_partitions < 2 {
        assert!(Instant::now() < until, "nothing was assigned");
        consumer.get_many(Duration::from_millis(1), None).await.expect("poll");
    }
    // Both are empty, which only an answer tells before the first fetch.
    for (_, owned) in consumer.partitions.assigned() {
        let topic = owned.entry.topic.as_str();
        let told = (topic != silent).then_some(0);
        assert_eq!(owned.reads_from, told, "{topic}, while the leader of {silent} is silent");
    }
    assert!(consumer.stop(Duration::from_secs(20)).await.closed);
}

/// Under the classic protocol a topic that changes brings one without a revocation in between.
#[tokio::test]
async fn an_assignment_that_overtakes_another_leaves_none_without_an_answer() {
    let mock = cluster();
    mock.create_topic("b", 1, 1).expect("topic");
    let mut consumer = Consumer::start(of_two_topics(&mock, "overtaken")).expect("start");
    let now = Instant::now();
    for (given, topic) in ["a", "b"].into_iter().enumerate() {
        consumer.on_assign(now, 0, vec![PartitionEntry { topic: topic.to_owned(), partition: 0 }]);
        assert_eq!(consumer.status().assigned_partitions, given, "all but the last");
        assert!(consumer.handles[0].arrival.is_some());
    }
}
