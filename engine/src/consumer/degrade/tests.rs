//! Giving way to a shortage that is said to be there.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::{Duration, Instant};

use fairpoll_core::mode::Resource;
use fairpoll_core::pressure::{Ladder, Pace, Pressure, Reading};
use futures_util::StreamExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use rdkafka_sys::rd_kafka_resp_err_t as Code;

use super::{Source, Stage, ladder};
use crate::consumer::places::Unplaced;
use crate::ffi::OffsetEntry;
use crate::{Batch, Config, Consumer, ConsumerEvent, GroupStrategy, Mode, ModeRequest, PollError, SeekTo};

#[path = "../../../tests/common/mock.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests outside, and used in part")]
mod mock;

use mock::Mock;

const TOPICS: [&str; 3] = ["a", "b", "c"];
const OFFSET_COMMIT: i16 = 8;

/// A place in a log: topic, partition.
type Log = (String, i32);

fn cluster(records: usize) -> Mock {
    let topics = TOPICS.map(|topic| (topic, 2, records));
    let mock = Mock::filled(&topics);
    mock.heartbeats_every(Duration::from_millis(100));
    mock
}

fn config(mock: &Mock, group: &str, mode: ModeRequest) -> Config {
    Config::new(mock.address(), group, TOPICS)
        .mode(mode)
        .max_poll_records(40)
        .property("auto.offset.reset", "earliest")
        .property("fetch.wait.max.ms", "10")
        .property("session.timeout.ms", "1500")
        .property("heartbeat.interval.ms", "200")
}

/// Acts on the first reading, and then never again.
const AT_ONCE: Pace =
    Pace { sustain: Duration::ZERO, readings: 1, cool_down: Duration::from_secs(3_600), ..Pace::DEFAULT };

impl Consumer {
    /// From now on so much is in use.
    fn is_short_of(&mut self, resource: Resource, pace: Pace) {
        let ladder = ladder(&self.config, &self.topology, self.degrading.memory_mib);
        self.degrading.pressure = Pressure::new(pace, ladder);
        self.degrading.source = Some(Source::Said(vec![Reading { resource, used: 95, limit: 100 }]));
        self.degrading.looked -= super::LOOK_EVERY;
    }
}

/// What was delivered, what the broker took, and what happened.
#[derive(Debug, Default)]
struct Course {
    delivered: BTreeMap<Log, Vec<i64>>,
    committed: BTreeMap<Log, i64>,
    sent: BTreeMap<u64, Vec<(String, i32, i64)>>,
    events: Vec<ConsumerEvent>,
}

impl Course {
    /// Notes what a batch has; checks that nothing comes that is committed.
    fn note(&mut self, batch: &Batch) {
        for record in batch.records() {
            let log = (record.topic().to_owned(), record.partition());
            let committed = self.committed.get(&log).copied().unwrap_or(0);
            assert!(record.offset() >= committed, "{log:?}: {} again after {committed}", record.offset());
            self.delivered.entry(log).or_default().push(record.offset());
        }
    }

    fn listen(&mut self, consumer: &mut Consumer) {
        for event in consumer.take_events() {
            match &event {
                ConsumerEvent::CommitSent { id, offsets } => {
                    self.sent.insert(*id, offsets.clone());
                }
                ConsumerEvent::CommitResult { id, error: None } => {
                    for (topic, partition, offset) in self.sent.remove(id).expect("sent before") {
                        self.committed.insert((topic, partition), offset);
                    }
                }
                _ => {}
            }
            self.events.push(event);
        }
    }

    fn count(&self) -> usize {
        self.delivered.values().map(Vec::len).sum()
    }

    fn degradations(&self) -> Vec<&ConsumerEvent> {
        self.events.iter().filter(|event| matches!(event, ConsumerEvent::Degraded { .. })).collect()
    }

    /// Polls and commits until it is so.
    async fn until(&mut self, consumer: &mut Consumer, done: impl Fn(&Self, &Consumer) -> bool) {
        let until = Instant::now() + Duration::from_secs(40);
        while !done(self, consumer) {
            assert!(Instant::now() < until, "{:?} {}", self.events, consumer.status());
            let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
            assert_eq!(batch.errors(), []);
            self.note(&batch);
            consumer.commit(&batch);
            self.listen(consumer);
        }
    }

    /// Every log was delivered from 0 on without a gap, and nothing twice.
    fn is_exactly_once(&self, records: i64) {
        assert_eq!(self.delivered.len(), 2 * TOPICS.len());
        for (log, offsets) in &self.delivered {
            assert_eq!(*offsets, (0..records).collect::<Vec<i64>>(), "{log:?}");
        }
    }
}

fn runs(consumer: &Consumer) -> (Mode, usize, usize) {
    let status = consumer.status();
    (status.resolution.actual, status.handles, status.lanes)
}

async fn stopped(mut consumer: Consumer) {
    let report = consumer.stop(Duration::from_secs(10)).await;
    assert!(report.committed && report.closed, "{report:?}");
}

/// Nothing of the group is left to be read.
async fn everything_is_committed(mock: &Mock, group: &str) {
    let mut again = Consumer::start(config(mock, group, ModeRequest::Fair)).expect("start");
    let until = Instant::now() + Duration::from_secs(20);
    while again.status().assigned_partitions < 2 * TOPICS.len() && Instant::now() < until {
        assert!(again.get_many(Duration::from_millis(50), None).await.expect("poll").is_empty());
    }
    assert!(again.get_many(Duration::from_millis(500), None).await.expect("poll").is_empty());
    stopped(again).await;
}

// shows: E15
#[tokio::test]
async fn short_of_descriptors_the_handles_of_one_group_become_one_and_each_record_comes_once() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counts_here = metrics::set_default_local_recorder(&recorder);
    let mock = cluster(200);
    let mut consumer = Consumer::start(config(&mock, "descriptors", ModeRequest::Multi)).expect("start");
    let mut course = Course::default();
    course.until(&mut consumer, |course, _| course.count() >= 300).await;
    assert_eq!(runs(&consumer), (Mode::Multi, 3, 3));
    // Processed, and still in the program's hands while its handles go.
    let held = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
    assert!(!held.is_empty());
    course.note(&held);
    consumer.commit(&held);
    let copies: Vec<(i64, Option<Vec<u8>>)> =
        held.records().map(|record| (record.offset(), record.value().map(<[u8]>::to_vec))).collect();

    consumer.is_short_of(Resource::Descriptors, AT_ONCE);
    course.until(&mut consumer, |course, _| !course.degradations().is_empty()).await;
    assert_eq!(runs(&consumer), (Mode::Fair, 1, 3));
    let expected = ConsumerEvent::Degraded {
        from: Mode::Multi,
        to: Mode::Fair,
        resource: Resource::Descriptors,
        used: 95,
        limit: 100,
        fetch_buffer_mib: None,
        unprocessed: Vec::new(),
    };
    assert_eq!(course.degradations(), [&expected]);
    let given_back = course.events.iter().map(|event| match event {
        ConsumerEvent::Revoked { partitions, lost: false, .. } => partitions.len(),
        _ => 0,
    });
    assert_eq!(given_back.sum::<usize>(), 6, "{:?}", course.events);
    let said = consumer.status().to_string();
    assert!(
        said.starts_with(
            "requested_mode=multi actual_mode=fair reason=\"gave way when 95 of 100 file descriptors were in use\""
        ),
        "{said}"
    );
    let groups: BTreeSet<String> = consumer.consumers().into_values().map(|one| one.group_id).collect();
    assert_eq!(groups, BTreeSet::from(["descriptors".to_owned()]));

    TOPICS.iter().for_each(|topic| mock.produce(topic, 1, 50));
    course.until(&mut consumer, |course, _| course.count() >= 3 * (200 + 250)).await;
    let unchanged = held.records().map(|record| (record.offset(), record.value().map(<[u8]>::to_vec)));
    assert!(unchanged.eq(copies));
    for ((_, partition), offsets) in &course.delivered {
        let count = if *partition == 1 { 250 } else { 200 };
        assert_eq!(*offsets, (0..count).collect::<Vec<i64>>());
    }
    assert_eq!(consumer.status().degradations, 1);
    let counted = recorder.handle().render();
    let counted = counted.lines().find_map(|line| line.strip_prefix("fairpoll_degradations_total{"));
    let labels = "group=\"descriptors\",resource=\"descriptors\",to=\"fair\"";
    assert_eq!(counted, Some(&*format!("{labels}}} 1")));
    drop(held);
    stopped(consumer).await;
    everything_is_committed(&mock, "descriptors").await;
}

// shows: E15
#[tokio::test]
async fn short_of_memory_less_is_fetched_ahead_before_the_mode_gives_way() {
    let mock = cluster(300);
    let small = config(&mock, "memory", ModeRequest::Multi).fetch_buffer_mib(8).fetch_buffer_partitions(2);
    let mut consumer = Consumer::start(small).expect("start");
    let mut course = Course::default();
    course.until(&mut consumer, |course, _| course.count() >= 100).await;
    consumer.is_short_of(Resource::MemoryBytes, Pace { cool_down: Duration::ZERO, ..AT_ONCE });
    let Ladder { smaller_limits, cheaper_mode } = consumer.degrading.pressure.ladder();
    assert!((1..=4).contains(&smaller_limits) && cheaper_mode, "{smaller_limits}");
    let steps = smaller_limits as usize + 1;
    course.until(&mut consumer, |course, _| course.degradations().len() == steps).await;
    // Nothing is left to be given up.
    course.until(&mut consumer, |course, _| course.count() == 1800).await;
    course.is_exactly_once(300);

    let taken = course.degradations();
    let budgets: Vec<Option<u32>> = taken
        .iter()
        .map(|event| match event {
            ConsumerEvent::Degraded { fetch_buffer_mib, .. } => *fetch_buffer_mib,
            _ => None,
        })
        .collect();
    let modes: Vec<(Mode, Mode)> = taken
        .iter()
        .filter_map(|event| match event {
            ConsumerEvent::Degraded { from, to, .. } => Some((*from, *to)),
            _ => None,
        })
        .collect();
    assert_eq!(budgets[0], Some(4), "half");
    assert!(budgets[..steps - 1].windows(2).all(|pair| pair[1] < pair[0]), "{budgets:?}");
    assert_eq!(budgets[steps - 1], budgets[steps - 2], "the mode gives way, not the budget");
    assert!(modes[..steps - 1].iter().all(|step| *step == (Mode::Multi, Mode::Multi)), "{modes:?}");
    assert_eq!(modes[steps - 1], (Mode::Multi, Mode::Fair));
    stopped(consumer).await;
    everything_is_committed(&mock, "memory").await;
}

// shows: E15
#[tokio::test]
async fn handles_with_groups_of_their_own_stay_and_only_fetch_less() {
    let mock = cluster(100);
    let own = config(&mock, "own", ModeRequest::Multi).group_strategy(GroupStrategy::Own);
    let mut consumer = Consumer::start(own).expect("start");
    let mut course = Course::default();
    consumer.is_short_of(Resource::Descriptors, AT_ONCE);
    course.until(&mut consumer, |course, _| course.count() >= 100).await;
    assert!(course.degradations().is_empty() && !consumer.degrading.is_under_way());
    consumer.is_short_of(Resource::MemoryBytes, AT_ONCE);
    course.until(&mut consumer, |course, _| course.count() == 600 && !course.degradations().is_empty()).await;
    course.is_exactly_once(100);
    let [ConsumerEvent::Degraded { from: Mode::Multi, to: Mode::Multi, fetch_buffer_mib: Some(_), .. }] =
        course.degradations()[..]
    else {
        panic!("{:?}", course.degradations());
    };
    assert_eq!(runs(&consumer), (Mode::Multi, 3, 3));
    stopped(consumer).await;
}

/// It comes back under the name under which it left; see KIP-345.
#[tokio::test]
async fn a_static_member_fetches_less_under_its_own_name_and_keeps_its_handles() {
    let mock = cluster(100);
    for mode in [ModeRequest::Fair, ModeRequest::Multi] {
        let group = format!("static-{mode}");
        let member =
            config(&mock, &group, mode).group_strategy(GroupStrategy::Kip848).group_instance_id("host-7");
        let mut consumer = Consumer::start(member).expect("start");
        let mut course = Course::default();
        course.until(&mut consumer, |course, _| course.count() >= 100).await;
        let before = runs(&consumer);
        consumer.is_short_of(Resource::Descriptors, AT_ONCE);
        course.until(&mut consumer, |course, _| course.count() >= 300).await;
        assert!(course.degradations().is_empty());
        consumer.is_short_of(Resource::MemoryBytes, AT_ONCE);
        course
            .until(&mut consumer, |course, _| course.count() == 600 && !course.degradations().is_empty())
            .await;
        course.is_exactly_once(100);
        assert_eq!(runs(&consumer), before);
        stopped(consumer).await;
    }
}

// shows: E15
#[tokio::test]
async fn whoever_drops_polls_while_the_consumer_gives_way_loses_nothing() {
    let mock = cluster(300);
    let mut consumer = Consumer::start(config(&mock, "dropped", ModeRequest::Multi)).expect("start");
    let mut course = Course::default();
    course.until(&mut consumer, |course, _| course.count() >= 200).await;
    consumer.is_short_of(Resource::Connections, AT_ONCE);
    let until = Instant::now() + Duration::from_secs(40);
    let (mut dropped, mut number) = (0, 0_u64);
    while course.count() < 1800 {
        assert!(Instant::now() < until, "{:?} {}", course.events, consumer.status());
        number += 1;
        let patience = Duration::from_micros(number * 7919 % 3_000);
        let polled = tokio::time::timeout(patience, consumer.get_many(Duration::from_secs(5), None)).await;
        let Ok(batch) = polled else {
            dropped += usize::from(consumer.degrading.is_under_way());
            continue;
        };
        let batch = batch.expect("poll");
        course.note(&batch);
        consumer.commit(&batch);
        course.listen(&mut consumer);
    }
    course.listen(&mut consumer);
    course.is_exactly_once(300);
    assert_eq!(course.degradations().len(), 1);
    assert!(dropped > 0, "no poll was dropped while it gave way");
    assert_eq!(runs(&consumer), (Mode::Fair, 1, 3));
    stopped(consumer).await;
    everything_is_committed(&mock, "dropped").await;
}

// shows: E15
#[tokio::test]
async fn what_the_application_has_in_hand_is_waited_for() {
    let mock = cluster(60);
    let mut consumer = Consumer::start(config(&mock, "in-hand", ModeRequest::Multi)).expect("start");
    let mut course = Course::default();
    course.until(&mut consumer, |course, _| course.count() >= 100).await;
    let held = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
    assert!(!held.is_empty());
    course.note(&held);
    consumer.is_short_of(Resource::Descriptors, AT_ONCE);
    for _ in 0..3 {
        assert!(consumer.get_many(Duration::from_millis(10), None).await.expect("poll").is_empty());
        let input = consumer.get_complete(Duration::from_millis(10)).await.expect("poll");
        assert!(input.batch.is_empty());
        assert_eq!((consumer.degrading.steps(), consumer.status().handles), (0, 3));
    }
    consumer.commit(&held);
    course.until(&mut consumer, |course, _| course.count() == 360).await;
    course.is_exactly_once(60);
    let [ConsumerEvent::Degraded { unprocessed, .. }] = course.degradations()[..] else { panic!() };
    assert!(unprocessed.is_empty(), "{unprocessed:?}");
    drop(held);
    stopped(consumer).await;
}

/// As after a rebalance; and marking it late is no error.
// shows: E15
#[tokio::test]
async fn what_is_not_processed_in_time_is_named_and_comes_again() {
    let mock = cluster(60);
    let mut consumer = Consumer::start(config(&mock, "late", ModeRequest::Multi)).expect("start");
    let mut course = Course::default();
    course.until(&mut consumer, |course, _| course.count() >= 100).await;
    let held = loop {
        let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
        if !batch.is_empty() {
            break batch;
        }
    };
    let mut first: BTreeMap<Log, i64> = BTreeMap::new();
    for record in held.records() {
        first.entry((record.topic().to_owned(), record.partition())).or_insert(record.offset());
    }
    consumer.is_short_of(Resource::Descriptors, AT_ONCE);
    // Polls return for the application to finish, long before their time is up.
    let began = Instant::now();
    assert!(consumer.get_many(Duration::from_secs(600), None).await.expect("poll").is_empty());
    assert!(began.elapsed() < Duration::from_secs(60));
    course.until(&mut consumer, |course, _| !course.degradations().is_empty()).await;
    let [ConsumerEvent::Degraded { unprocessed, .. }] = course.degradations()[..] else { panic!() };
    let named: BTreeMap<Log, i64> =
        unprocessed.iter().map(|(topic, partition, offset)| ((topic.clone(), *partition), *offset)).collect();
    assert_eq!(named, first);
    consumer.commit(&held);
    course.until(&mut consumer, |course, _| course.count() == 360).await;
    course.is_exactly_once(60);
    drop(held);
    stopped(consumer).await;
    everything_is_committed(&mock, "late").await;
}

/// Where a group has no committed offset, `auto.offset.reset` says where it begins: here behind what was
/// delivered.
// shows: E15
#[tokio::test]
async fn who_reads_from_the_end_and_has_committed_nothing_keeps_its_place() {
    let mock = cluster(20);
    let latest = config(&mock, "latest", ModeRequest::Multi).property("auto.offset.reset", "latest");
    let mut consumer = Consumer::start(latest).expect("start");
    let until = Instant::now() + Duration::from_secs(40);
    // Where a log ends is asked for after the assignment; from then on nothing is passed over.
    let mut held: Vec<Batch> = Vec::new();
    while held.is_empty() {
        assert!(Instant::now() < until, "{}", consumer.status());
        mock.produce("a", 0, 1);
        let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
        held.extend((!batch.is_empty()).then_some(batch));
    }
    let first = held[0].records().next().expect("a record").offset();
    consumer.is_short_of(Resource::Descriptors, AT_ONCE);
    let mut again = Vec::new();
    while consumer.degrading.steps() == 0 || again.is_empty() {
        assert!(Instant::now() < until, "{}", consumer.status());
        let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
        let of_a = batch.records().filter(|record| record.topic() == "a" && record.partition() == 0);
        let offsets = of_a.map(|record| record.offset());
        if consumer.degrading.steps() == 0 {
            assert_eq!(offsets.count(), 0, "nothing is delivered while it gives way");
        } else {
            again.extend(offsets);
        }
    }
    assert_eq!(again[0], first);
    drop(held);
    consumer.stop(Duration::from_secs(10)).await;
}

// shows: E15
#[tokio::test]
async fn no_group_is_left_while_commits_are_not_answered() {
    let mock = cluster(100);
    let mut consumer = Consumer::start(config(&mock, "unanswered", ModeRequest::Multi)).expect("start");
    let mut course = Course::default();
    course.until(&mut consumer, |course, _| course.count() >= 100).await;
    mock.fail_requests(OFFSET_COMMIT, Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 1_000);
    // Something that is marked since, whatever was still answered well.
    let before = course.count();
    while course.count() == before {
        let batch = consumer.get_many(Duration::from_secs(5), None).await.expect("poll");
        course.note(&batch);
        consumer.mark_processed(&batch);
    }
    consumer.is_short_of(Resource::Descriptors, AT_ONCE);
    // What is only marked is committed before any group is left.
    let until = Instant::now() + Duration::from_secs(40);
    let mut committing = false;
    while course.count() < 600 {
        let stage = consumer.degrading.under_way.as_ref().map(|switch| switch.stage);
        committing |= matches!(stage, Some(Stage::Committing { .. }));
        assert!(!matches!(
            stage,
            Some(Stage::Leaving { .. } | Stage::Freeing { .. } | Stage::Opening { .. })
        ));
        assert!(Instant::now() < until, "{:?} {}", course.events, consumer.status());
        let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
        course.note(&batch);
        consumer.mark_processed(&batch);
        course.listen(&mut consumer);
    }
    course.is_exactly_once(100);
    assert!(committing, "it never began");
    assert_eq!(course.degradations(), Vec::<&ConsumerEvent>::new());
    assert_eq!(runs(&consumer), (Mode::Multi, 3, 3));
    // It is tried again.
    assert!(consumer.degrading.pressure.ladder().cheaper_mode);
    consumer.stop(Duration::from_secs(1)).await;
}

// shows: E15
#[tokio::test]
async fn a_consumer_that_can_open_no_handle_says_so_and_tries_again() {
    let mock = cluster(100);
    let mut consumer = Consumer::start(config(&mock, "no-handle", ModeRequest::Multi)).expect("start");
    let mut course = Course::default();
    course.until(&mut consumer, |course, _| course.count() >= 100).await;
    consumer.is_short_of(Resource::Descriptors, AT_ONCE);
    consumer.config.properties.insert("no.such.property".to_owned(), "1".to_owned());
    let until = Instant::now() + Duration::from_secs(30);
    let refused = loop {
        assert!(Instant::now() < until);
        match consumer.get_many(Duration::from_millis(50), None).await {
            Ok(batch) => {
                course.note(&batch);
                consumer.commit(&batch);
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, PollError::NoHandle { .. }), "{refused}");
    assert!(refused.to_string().contains("no.such.property"), "{refused}");
    // A stream goes on as well.
    {
        let mut batches = pin!(consumer.batches(None));
        for _ in 0..2 {
            let refused = batches.next().await;
            assert!(matches!(refused, Some(Err(PollError::NoHandle { .. }))), "{refused:?}");
        }
    }
    // Whatever is asked meanwhile is answered.
    consumer.pause_topic("a").expect("known");
    consumer.resume_topic("a").expect("known");
    assert!(consumer.status().assigned_partitions == 0 && consumer.lag_info().is_empty());
    assert!(consumer.consumers().into_values().all(|one| one.queued == 0));
    consumer.config.properties.remove("no.such.property");
    course.until(&mut consumer, |course, _| course.count() == 600).await;
    course.is_exactly_once(100);
    assert_eq!(runs(&consumer), (Mode::Fair, 1, 3));
    stopped(consumer).await;
}

#[tokio::test]
async fn a_consumer_that_cannot_start_with_less_goes_on_as_it_was() {
    let mock = cluster(100);
    let mut consumer = Consumer::start(config(&mock, "as-before", ModeRequest::Multi)).expect("start");
    let mut course = Course::default();
    course.until(&mut consumer, |course, _| course.count() >= 100).await;
    consumer.is_short_of(Resource::Descriptors, AT_ONCE);
    let until = Instant::now() + Duration::from_secs(30);
    while !consumer.degrading.is_under_way() && Instant::now() < until {
        course.note(&consumer.get_many(Duration::ZERO, Some(0)).await.expect("poll"));
    }
    // librdkafka refuses to subscribe to nothing.
    let switch = consumer.degrading.under_way.as_mut().expect("under way");
    switch.to.topology.handles[0].topics.clear();
    course.until(&mut consumer, |course, _| course.count() == 600).await;
    course.is_exactly_once(100);
    assert_eq!(course.degradations(), Vec::<&ConsumerEvent>::new());
    assert_eq!(runs(&consumer), (Mode::Multi, 3, 3));
    stopped(consumer).await;
    everything_is_committed(&mock, "as-before").await;
}

#[tokio::test]
async fn a_topic_that_is_paused_stays_so_when_the_consumer_gives_way() {
    let mock = cluster(100);
    for (mode, resource) in
        [(ModeRequest::Multi, Resource::Descriptors), (ModeRequest::Single, Resource::MemoryBytes)]
    {
        let kip848 = config(&mock, &format!("paused-{mode}"), mode).group_strategy(GroupStrategy::Kip848);
        let mut consumer = Consumer::start(kip848).expect("start");
        let mut course = Course::default();
        course.until(&mut consumer, |course, _| course.count() >= 100).await;
        consumer.pause_topic("b").expect("known");
        consumer.is_short_of(resource, AT_ONCE);
        let of_b = |course: &Course| -> usize {
            (0..2)
                .filter_map(|partition| course.delivered.get(&("b".to_owned(), partition)))
                .map(Vec::len)
                .sum()
        };
        let before = of_b(&course);
        course
            .until(&mut consumer, |course, _| {
                !course.degradations().is_empty() && course.count() - of_b(course) == 400
            })
            .await;
        assert_eq!(of_b(&course), before, "{mode}");
        consumer.resume_topic("b").expect("known");
        course.until(&mut consumer, |course, _| course.count() == 600).await;
        course.is_exactly_once(100);
        stopped(consumer).await;
    }
}

#[tokio::test]
async fn a_stop_in_the_middle_of_it_leaves_nothing_behind() {
    let mock = cluster(100);
    for stage in ["processing", "leaving", "freeing"] {
        let is_there = |consumer: &Consumer| {
            let stage_now = consumer.degrading.under_way.as_ref().map(|switch| switch.stage);
            match stage {
                "processing" => stage_now.is_some(),
                "leaving" => matches!(stage_now, Some(Stage::Leaving { .. })),
                _ => matches!(stage_now, Some(Stage::Freeing { .. } | Stage::Opening { .. })),
            }
        };
        // A stage may last for less than one look.
        let mut seen = false;
        for attempt in 0..30 {
            let group = format!("stopped-{stage}-{attempt}");
            let mut consumer = Consumer::start(config(&mock, &group, ModeRequest::Multi)).expect("start");
            let mut course = Course::default();
            course.until(&mut consumer, |course, _| course.count() == 600).await;
            let until = Instant::now() + Duration::from_secs(30);
            consumer.is_short_of(Resource::Descriptors, AT_ONCE);
            while !is_there(&consumer) && consumer.degrading.steps() == 0 {
                assert!(Instant::now() < until, "{stage}");
                let poll = consumer.get_many(Duration::from_secs(5), None);
                let _ = tokio::time::timeout(Duration::from_micros(100), poll).await;
            }
            seen = is_there(&consumer);
            stopped(consumer).await;
            everything_is_committed(&mock, &group).await;
            if seen {
                break;
            }
        }
        assert!(seen, "{stage} was never seen");
    }
}

#[tokio::test]
async fn a_stop_in_the_middle_of_it_tells_what_comes_again() {
    let mock = cluster(100);
    let mut consumer = Consumer::start(config(&mock, "stopped-unmarked", ModeRequest::Multi)).expect("start");
    let mut held = Vec::new();
    let until = Instant::now() + Duration::from_secs(60);
    while held.iter().map(Batch::len).sum::<usize>() < 600 {
        assert!(Instant::now() < until);
        held.push(consumer.get_many(Duration::from_millis(50), None).await.expect("poll"));
    }
    consumer.is_short_of(Resource::Descriptors, AT_ONCE);
    // Everything was given back by then, and nothing can be opened.
    consumer.config.properties.insert("no.such.property".to_owned(), "1".to_owned());
    while consumer.get_many(Duration::from_millis(50), None).await.is_ok() {
        assert!(Instant::now() < until);
    }
    let mut unprocessed = consumer.stop(Duration::from_secs(10)).await.unprocessed;
    unprocessed.sort();
    let all =
        ["a", "b", "c"].into_iter().flat_map(|topic| [0, 1].map(|number| (topic.to_owned(), number, 0)));
    assert_eq!(unprocessed, all.collect::<Vec<_>>());
}

#[tokio::test]
async fn complete_inputs_wait_until_the_consumer_has_given_way() {
    let mock = cluster(50);
    let mut consumer = Consumer::start(config(&mock, "complete", ModeRequest::Multi)).expect("start");
    let mut course = Course::default();
    consumer.is_short_of(Resource::Descriptors, AT_ONCE);
    let until = Instant::now() + Duration::from_secs(40);
    while course.count() < 300 {
        assert!(Instant::now() < until, "{}", consumer.status());
        let input = consumer.get_complete(Duration::from_millis(300)).await.expect("poll");
        course.note(&input.batch);
        consumer.commit(&input.batch);
        course.listen(&mut consumer);
    }
    course.is_exactly_once(50);
    assert_eq!(course.degradations().len(), 1);
    stopped(consumer).await;
}

// shows: E15
#[tokio::test]
async fn who_is_told_not_to_give_way_does_not() {
    let mock = cluster(50);
    let stays = config(&mock, "stays", ModeRequest::Multi).degrade(false);
    let consumer = Consumer::start(stays).expect("start");
    assert!(consumer.degrading.source.is_none());
    stopped(consumer).await;
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// forall points at which something runs short, and orders in which records are marked as processed: nothing
/// that is committed comes again (`Course::note`), and in the end each log came whole and in order, but for
/// what was repeated because it was not marked.
// shows: E15
#[tokio::test]
async fn wherever_it_gives_way_nothing_committed_comes_again_and_nothing_is_lost() {
    for seed in 0..6 {
        let mut dice = Dice(seed);
        let mock = cluster(80);
        let group = format!("random-{seed}");
        let strategy = [GroupStrategy::Kip848, GroupStrategy::Cooperative][usize::from(seed % 4 == 3)];
        let shared = config(&mock, &group, ModeRequest::Multi).group_strategy(strategy);
        let mut consumer = Consumer::start(shared).expect("start");
        let mut course = Course::default();
        let short_after = dice.below(480);
        let (mut is_short, mut held) = (false, Vec::<Batch>::new());
        let until = Instant::now() + Duration::from_secs(60);
        let all = |course: &Course| {
            let seen = |offsets: &Vec<i64>| offsets.iter().collect::<BTreeSet<_>>().len();
            course.delivered.values().map(seen).sum::<usize>() == 480
        };
        while !all(&course) || course.degradations().is_empty() || !held.is_empty() {
            assert!(Instant::now() < until, "seed {seed}: {:?} {}", course.events, consumer.status());
            if !is_short && course.count() as u64 >= short_after {
                is_short = true;
                consumer.is_short_of(Resource::Descriptors, AT_ONCE);
            }
            let cap = 1 + u32::try_from(dice.below(90)).expect("few");
            let batch = consumer.get_many(Duration::from_millis(20), Some(cap)).await.expect("poll");
            course.note(&batch);
            held.push(batch);
            while !held.is_empty() && (held.len() > 4 || dice.below(3) > 0) {
                let which = usize::try_from(dice.below(held.len() as u64)).expect("few");
                let batch = held.swap_remove(which);
                let records: Vec<_> = batch.records().collect();
                if dice.below(2) == 0 {
                    consumer.commit(&batch);
                } else {
                    records.iter().rev().for_each(|record| consumer.ack(*record));
                    consumer.commit_processed();
                }
            }
            course.listen(&mut consumer);
        }
        for (log, offsets) in &course.delivered {
            let mut next = 0;
            for offset in offsets {
                assert!(*offset <= next, "seed {seed}: {log:?} skips from {next} to {offset}");
                next = offset + 1;
            }
        }
        assert_eq!(runs(&consumer), (Mode::Fair, 1, 3), "seed {seed}");
        stopped(consumer).await;
        everything_is_committed(&mock, &group).await;
    }
}

/// A consumer that reads from the end in a group that has committed nothing, with its topics paused. Its
/// position in each log is certain: the first fetches are answered.
async fn at_the_end(mock: &Mock, group: &str) -> Consumer {
    let latest = config(mock, group, ModeRequest::Multi).property("auto.offset.reset", "latest");
    let mut consumer = Consumer::start(latest).expect("start");
    TOPICS.iter().for_each(|topic| consumer.pause_topic(topic).expect("known"));
    let until = Instant::now() + Duration::from_secs(40);
    while consumer.status().assigned_partitions < 2 * TOPICS.len() {
        assert!(Instant::now() < until, "{}", consumer.status());
        assert!(consumer.get_many(Duration::ZERO, None).await.expect("poll").is_empty());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let is_fetched = |consumer: &Consumer| {
        consumer.partitions.assigned().all(|(index, _)| consumer.watermarks(index).is_some())
    };
    while !is_fetched(&consumer) {
        assert!(Instant::now() < until, "{}", consumer.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    consumer
}

/// Gives way, and opens no handle before it was `meanwhile`.
async fn gives_way(consumer: &mut Consumer, meanwhile: impl FnOnce()) {
    consumer.is_short_of(Resource::Descriptors, AT_ONCE);
    consumer.config.properties.insert("no.such.property".to_owned(), "1".to_owned());
    let until = Instant::now() + Duration::from_secs(40);
    while consumer.get_many(Duration::from_millis(50), None).await.is_ok() {
        assert!(Instant::now() < until, "{}", consumer.status());
    }
    meanwhile();
    consumer.config.properties.remove("no.such.property");
    while consumer.degrading.is_under_way() {
        assert!(Instant::now() < until, "{}", consumer.status());
        let _ = consumer.get_many(Duration::from_millis(50), None).await;
    }
    assert_eq!(consumer.degrading.steps(), 1);
}

/// Each log came from 20 to before `end`, once.
async fn comes_from_the_old_end(consumer: &mut Consumer, end: i64) {
    TOPICS.iter().for_each(|topic| consumer.resume_topic(topic).expect("known"));
    let mut course = Course::default();
    let expected = 2 * TOPICS.len() * usize::try_from(end - 20).expect("few");
    course.until(consumer, |course, _| course.count() >= expected).await;
    assert_eq!(course.delivered.len(), 2 * TOPICS.len());
    for (log, offsets) in &course.delivered {
        assert_eq!(*offsets, (20..end).collect::<Vec<i64>>(), "{log:?}");
    }
}

fn produce_everywhere(mock: &Mock, records: usize) {
    TOPICS.iter().for_each(|topic| (0..2).for_each(|partition| mock.produce(topic, partition, records)));
}

// shows: E15
#[tokio::test]
async fn what_is_produced_to_idle_topics_while_no_handle_is_open_comes_although_nothing_was_committed() {
    let mock = cluster(20);
    let mut consumer = at_the_end(&mock, "latest-idle").await;
    gives_way(&mut consumer, || produce_everywhere(&mock, 5)).await;
    comes_from_the_old_end(&mut consumer, 25).await;
    stopped(consumer).await;
}

// shows: E15
#[tokio::test]
async fn what_waits_in_the_lanes_comes_again_although_nothing_was_committed() {
    let mock = cluster(20);
    let mut consumer = at_the_end(&mock, "latest-fetched").await;
    produce_everywhere(&mock, 5);
    let until = Instant::now() + Duration::from_secs(40);
    while consumer.lanes.iter().any(|lane| lane.queued() < 10) {
        assert!(Instant::now() < until, "{}", consumer.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gives_way(&mut consumer, || produce_everywhere(&mock, 3)).await;
    comes_from_the_old_end(&mut consumer, 28).await;
    stopped(consumer).await;
}

/// A commit that another consumer of the group made before counts, however little was fetched of the log.
// shows: E15
#[tokio::test]
async fn a_place_that_the_group_has_is_not_moved() {
    let mock = cluster(20);
    let mut consumer = at_the_end(&mock, "latest-committed").await;
    let committed = |topic: &str, partition, offset| OffsetEntry {
        topic: topic.to_owned(),
        partition,
        offset,
        leader_epoch: -1,
        error: None,
    };
    let answers: Vec<OffsetEntry> =
        TOPICS.iter().flat_map(|topic| [committed(topic, 0, 7), committed(topic, 1, -1001)]).collect();
    let unplaced: Vec<Unplaced> = consumer
        .partitions
        .assigned()
        .map(|(index, partition)| Unplaced {
            index,
            entry: partition.entry.clone(),
            was_sought: false,
            end: Some(20),
        })
        .collect();
    consumer.place(&unplaced, &answers);
    let places: BTreeMap<i32, Option<i64>> = consumer
        .partitions
        .assigned()
        .map(|(index, partition)| (partition.entry.partition, consumer.offsets.committable(index)))
        .collect();
    assert_eq!(places, BTreeMap::from([(0, None), (1, Some(20))]));
    consumer.stop(Duration::from_secs(10)).await;
}

// shows: E15
#[tokio::test]
async fn a_partition_that_was_sought_and_has_delivered_nothing_since_goes_on_there() {
    let mock = cluster(100);
    let mut consumer = Consumer::start(config(&mock, "sought", ModeRequest::Multi)).expect("start");
    let mut course = Course::default();
    let settled = |course: &Course, consumer: &Consumer| {
        course.count() == 600 && !consumer.commits.any_pending() && course.committed.len() == 6
    };
    course.until(&mut consumer, settled).await;
    // The next poll begins the step, and delivers nothing.
    consumer.seek("a", 0, SeekTo::Offset(50), Duration::from_secs(10)).await.expect("owned");
    gives_way(&mut consumer, || ()).await;
    let mut again = Course::default();
    again.until(&mut consumer, |again, _| again.count() >= 50).await;
    assert_eq!(again.delivered, BTreeMap::from([(("a".to_owned(), 0), (50..100).collect())]));
    stopped(consumer).await;
    everything_is_committed(&mock, "sought").await;
}

// shows: E15
#[tokio::test]
async fn what_a_seek_forward_passed_over_does_not_come_back() {
    let mock = cluster(100);
    let mut consumer = Consumer::start(config(&mock, "forward", ModeRequest::Multi)).expect("start");
    let mut course = Course::default();
    let settled = |course: &Course, consumer: &Consumer| {
        course.count() == 600 && !consumer.commits.any_pending() && course.committed.len() == 6
    };
    course.until(&mut consumer, settled).await;
    consumer.pause_topic("a").expect("known");
    mock.produce("a", 0, 50);
    consumer.seek("a", 0, SeekTo::Offset(130), Duration::from_secs(10)).await.expect("owned");
    consumer.resume_topic("a").expect("known");
    let held = consumer.get_many(Duration::from_secs(30), None).await.expect("poll");
    assert_eq!(held.records().next().map(|record| record.offset()), Some(130));
    gives_way(&mut consumer, || ()).await;
    let mut again = Course::default();
    again.until(&mut consumer, |again, _| again.count() >= 20).await;
    assert_eq!(again.delivered, BTreeMap::from([(("a".to_owned(), 0), (130..150).collect())]));
    drop(held);
    stopped(consumer).await;
}

// shows: E15
#[tokio::test]
async fn what_is_processed_and_cannot_be_committed_is_named_as_what_comes_again() {
    let mock = cluster(20);
    let mut consumer = Consumer::start(config(&mock, "refused", ModeRequest::Multi)).expect("start");
    mock.fail_requests(OFFSET_COMMIT, Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, 1_000);
    let until = Instant::now() + Duration::from_secs(40);
    let mut count = 0;
    while count < 120 {
        assert!(Instant::now() < until, "{}", consumer.status());
        let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
        count += batch.len();
        consumer.mark_processed(&batch);
    }
    gives_way(&mut consumer, || ()).await;
    let named: Vec<Vec<(String, i32, i64)>> = consumer
        .take_events()
        .filter_map(|event| match event {
            ConsumerEvent::Degraded { unprocessed, .. } => Some(unprocessed),
            _ => None,
        })
        .collect();
    let [named] = &named[..] else { panic!("{named:?}") };
    let named: BTreeSet<(String, i32, i64)> = named.iter().cloned().collect();
    let all = TOPICS.iter().flat_map(|topic| [((*topic).to_owned(), 0, 0), ((*topic).to_owned(), 1, 0)]);
    assert_eq!(named, all.collect());
    consumer.stop(Duration::from_secs(1)).await;
}
