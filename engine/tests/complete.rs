//! Polls that want a record of each topic.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::{MODES, Mock, config, stopped};
use fairpoll::{
    CompleteBatch, Consumer, ConsumerEvent, GroupStrategy, MissingReason, MissingTopic, ModeRequest,
};

const TOPICS: [&str; 4] = ["deep", "few", "late", "idle"];
/// Longer than anything here takes on a busy machine.
const WAIT: Duration = Duration::from_secs(20);
/// With a lane for each topic.
const LANES: [ModeRequest; 2] = [ModeRequest::Multi, ModeRequest::Fair];

fn filled() -> Mock {
    Mock::filled(&[("deep", 2, 1000), ("few", 1, 150), ("late", 1, 5), ("idle", 1, 0)])
}

/// Records by topic.
fn counts(input: &CompleteBatch) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for partition in input.batch.partitions() {
        *counts.entry(partition.topic().to_owned()).or_default() += partition.len();
    }
    counts
}

fn of(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|&(topic, count)| (topic.to_owned(), count)).collect()
}

fn reasons(missing: &[MissingTopic]) -> Vec<(&str, &MissingReason)> {
    missing.iter().map(|missing| (missing.topic.as_str(), &missing.reason)).collect()
}

/// Also the very first, whose fetches come back one after the other.
// shows: E17
#[tokio::test]
async fn every_topic_that_has_records_is_in_the_input_with_its_quota_at_most() {
    let mock = filled();
    for mode in LANES {
        let mut consumer =
            Consumer::start(config(&mock, &format!("all-{mode}"), &TOPICS, mode)).expect("start");
        let began = Instant::now();
        for expected in
            [&[("deep", 100), ("few", 100), ("late", 5)][..], &[("deep", 100), ("few", 50)], &[("deep", 100)]]
        {
            let input = consumer.get_complete(WAIT).await.expect("poll");
            // Fewer than its quota where less of it is fetched so far.
            let mut counts = counts(&input);
            if let Some(fetched @ 1..100) = counts.get_mut("deep") {
                *fetched = 100;
            }
            assert_eq!(counts, of(expected), "{mode}");
            assert_eq!(input.missing, [], "{mode}: a topic without records is not missing");
            assert!(input.is_complete());
            consumer.commit(&input.batch);
        }
        assert!(began.elapsed() < WAIT, "{mode}: nobody waited for the idle topic");
        stopped(consumer).await;
    }
}

#[tokio::test]
async fn without_any_record_the_call_waits_for_the_first() {
    for mode in MODES {
        let mock = Mock::filled(&[("a", 1, 0), ("b", 1, 0)]);
        let mut consumer =
            Consumer::start(config(&mock, &format!("none-{mode}"), &["a", "b"], mode)).expect("start");
        while consumer.status().assigned_partitions < 2 {
            consumer.get_many(Duration::from_millis(20), None).await.expect("poll");
        }
        let input = consumer.get_complete(Duration::from_millis(300)).await.expect("poll");
        assert!(input.batch.is_empty() && input.missing.is_empty() && !input.is_complete(), "{input:?}");
        drop(input);
        let (input, ()) = tokio::join!(consumer.get_complete(WAIT), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            mock.produce("b", 0, 1);
        });
        let input = input.expect("poll");
        assert_eq!(counts(&input).get("b"), Some(&1), "{mode}");
        consumer.commit(&input.batch);
        drop(input);
        stopped(consumer).await;
    }
}

// shows: E17
#[tokio::test]
async fn who_cannot_contribute_is_named_with_the_reason_and_not_waited_for() {
    let mock = filled();
    let topics = ["deep", "few", "absent"];
    for mode in LANES {
        let mut consumer =
            Consumer::start(config(&mock, &format!("named-{mode}"), &topics, mode)).expect("start");
        consumer.pause_topic("few").expect("known");
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < WAIT, "{mode}: nobody told that the topic is absent");
            let input = consumer.get_complete(WAIT).await.expect("poll");
            consumer.commit(&input.batch);
            assert!(!input.batch.is_empty() && !input.is_complete(), "{mode}: {input:?}");
            let [(few, MissingReason::Paused), (absent, why)] = reasons(&input.missing)[..] else {
                panic!("{mode}: {:?}", input.missing)
            };
            assert_eq!((few, absent), ("few", "absent"));
            match why {
                MissingReason::Failed { code, .. } if mode == ModeRequest::Fair => {
                    assert_eq!(code, "UNKNOWN_TOPIC_OR_PART");
                    break;
                }
                // Under KIP-848 the coordinator does not say that a topic does not exist.
                MissingReason::NotAssigned if mode == ModeRequest::Multi => break,
                MissingReason::NotAssigned => mock.produce("deep", 0, 1),
                other => panic!("{mode}: {other:?}"),
            }
        }
        consumer.resume_topic("few").expect("known");
        let input = consumer.get_complete(WAIT).await.expect("poll");
        assert!(counts(&input).contains_key("few"), "{mode}: {input:?}");
        drop(input);
        stopped(consumer).await;
    }
}

#[tokio::test]
async fn one_queue_for_all_topics_is_looked_through_as_far_as_a_poll_may_take() {
    let mock = Mock::filled(&[("deep", 1, 1000), ("few", 1, 0)]);
    let config = config(&mock, "single", &["deep", "few"], ModeRequest::Single);
    let mut consumer = Consumer::start(config).expect("start");
    let input = consumer.get_complete(WAIT).await.expect("poll");
    // Whether the other topic has records is not known yet.
    assert_eq!(counts(&input), of(&[("deep", 100)]));
    drop(input);
    mock.produce("few", 0, 5);
    let began = Instant::now();
    while consumer.consumers()["few"].queued < 905 {
        assert!(began.elapsed() < WAIT, "everything is fetched");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..9 {
        let input = consumer.get_complete(WAIT).await.expect("poll");
        assert_eq!(counts(&input), of(&[("deep", 100)]), "the cap is on the total");
        assert_eq!(reasons(&input.missing), [("few", &MissingReason::BehindOthers)]);
    }
    let input = consumer.get_complete(WAIT).await.expect("poll");
    assert_eq!((counts(&input), input.is_complete()), (of(&[("few", 5)]), true));
    assert!(began.elapsed() < WAIT, "no waiting would have helped");
    drop(input);
    stopped(consumer).await;
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// What one consumer got, and whether it stepped back without a new assignment.
#[derive(Default)]
struct Log {
    got: BTreeSet<(String, i32, i64)>,
    last: BTreeMap<(String, i32), i64>,
    dropped: usize,
}

impl Log {
    /// One call, dropped at a random point or run to its end; what it returns is committed.
    async fn step(&mut self, consumer: &mut Consumer, dice: &mut Dice) {
        let patience = Duration::from_micros(dice.below(3_000));
        let batch = if dice.below(4) == 0 {
            Some(consumer.get_many(patience, Some(7)).await.expect("poll"))
        } else {
            let input = tokio::time::timeout(patience, consumer.get_complete(WAIT)).await;
            self.dropped += usize::from(input.is_err());
            input.ok().map(|input| input.expect("poll").batch)
        };
        for event in consumer.take_events() {
            if let ConsumerEvent::Assigned { partitions, .. } = event {
                self.last.retain(|partition, _| !partitions.contains(partition));
            }
        }
        let Some(batch) = batch else { return };
        for record in batch.records() {
            let partition = (record.topic().to_owned(), record.partition());
            let before = self.last.insert(partition.clone(), record.offset());
            assert!(before < Some(record.offset()), "{partition:?}: {} after {before:?}", record.offset());
            self.got.insert((partition.0, partition.1, record.offset()));
        }
        consumer.commit(&batch);
    }
}

/// While a second member takes partitions away and gives them back. Under the eager protocol all are
/// taken, under the cooperative one some; in `single` up to a whole poll was looked at and lies ready.
#[tokio::test]
async fn calls_that_are_dropped_around_rebalances_lose_and_reorder_nothing() {
    for (mode, strategy) in [
        (ModeRequest::Fair, GroupStrategy::Classic),
        (ModeRequest::Fair, GroupStrategy::Kip848),
        (ModeRequest::Single, GroupStrategy::Cooperative),
    ] {
        let mock = Mock::filled(&[("a", 2, 300), ("b", 2, 30), ("c", 2, 0)]);
        let config = config(&mock, &format!("drop-{mode}-{strategy:?}"), &["a", "b", "c"], mode)
            .group_strategy(strategy);
        let mut dice = Dice(42);
        let mut first = Consumer::start(config.clone()).expect("start");
        let (mut log, mut other) = (Log::default(), Log::default());
        let mut produced = 30;
        let until = Instant::now() + WAIT;
        while log.got.len() < 100 && Instant::now() < until {
            log.step(&mut first, &mut dice).await;
        }
        let mut second = Consumer::start(config).expect("start");
        while (second.status().assigned_partitions == 0 || other.got.is_empty()) && Instant::now() < until {
            log.step(&mut first, &mut dice).await;
            other.step(&mut second, &mut dice).await;
            mock.produce("b", 0, 1);
            mock.produce("b", 1, 1);
            produced += 1;
        }
        assert!(!other.got.is_empty(), "{mode} {strategy:?}: the second member was given records");
        stopped(second).await;
        let until = Instant::now() + WAIT;
        let all = |log: &Log| log.got.union(&other.got).count();
        while all(&log) < 600 + 2 * produced && Instant::now() < until {
            log.step(&mut first, &mut dice).await;
        }
        assert_eq!(all(&log), 600 + 2 * produced, "{mode} {strategy:?}: nothing is lost");
        assert!(log.dropped >= 10, "{mode} {strategy:?}: only {} calls were dropped", log.dropped);
        stopped(first).await;
    }
}
