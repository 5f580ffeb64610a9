//! The consumer in all modes.

mod common;

use std::time::{Duration, Instant};

use common::{MODES, Mock, assert_complete, config, drain, stopped};
use fairpoll::{Config, Consumer, ConsumerEvent, GroupStrategy, Mode, ModeRequest, StartError};

const TOPICS: [&str; 3] = ["deep", "quiet-1", "quiet-2"];

/// For a loaded machine: what is tested is the wait, not its default bound.
fn patient(config: Config) -> Config {
    config.first_fetch_wait(Duration::from_secs(5))
}

// shows: E1, E5, E9, E16
#[tokio::test]
async fn every_mode_delivers_every_record_once_and_in_order_and_commits_it() {
    let mock = Mock::filled(&[("deep", 3, 2000), ("quiet-1", 1, 40), ("quiet-2", 2, 30)]);
    for mode in MODES {
        let config = config(&mock, &format!("group-{mode}"), &TOPICS, mode);
        let mut consumer = Consumer::start(config.clone()).expect("start");
        let all = drain(&mut consumer, 6100).await;
        let deep = [("deep", 0, 2000), ("deep", 1, 2000), ("deep", 2, 2000)];
        assert_complete(&all, &deep);
        assert_complete(&all, &[("quiet-1", 0, 40), ("quiet-2", 0, 30), ("quiet-2", 1, 30)]);
        stopped(consumer).await;

        let mut again = Consumer::start(config).expect("start");
        let batch = again.get_many(Duration::from_secs(1), None).await.expect("poll");
        assert_eq!(batch.len(), 0, "{mode}: everything was committed, so nothing comes again");
        drop(batch);
        stopped(again).await;
    }
}

/// Trap 12: without the wait for first fetches the topics whose fetch came first are alone.
// shows: E3
#[tokio::test]
async fn the_first_batch_holds_every_topic_that_has_records_but_in_single() {
    let mock = Mock::filled(&[("deep", 1, 20_000), ("quiet-1", 1, 40), ("quiet-2", 1, 40)]);
    for mode in MODES {
        let mut consumer =
            Consumer::start(patient(config(&mock, &format!("first-{mode}"), &TOPICS, mode))).expect("start");
        let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
        match mode {
            ModeRequest::Single => assert!(batch.len() <= 100, "the cap is on the total: {}", batch.len()),
            _ => assert_eq!(batch.partitions().len(), 3, "{mode}"),
        }
        drop(batch);
        stopped(consumer).await;
    }
}

/// Twenty handles that start together would send forty requests, when brokers have the most to do.
#[tokio::test]
async fn where_logs_begin_is_asked_for_all_handles_together() {
    const LIST_OFFSETS: i16 = 2;
    let names: Vec<String> = (0..20).map(|number| format!("topic-{number}")).collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let mock = Mock::filled(&topics.iter().map(|topic| (*topic, 1, 1)).collect::<Vec<_>>());
    mock.count_requests();
    // More where the machine is so slow that some handles come too late for the first question.
    let mut fewest = usize::MAX;
    for attempt in 0..5 {
        let before = mock.requests(LIST_OFFSETS);
        let config = config(&mock, &format!("together-{attempt}"), &topics, ModeRequest::Multi);
        let mut consumer = Consumer::start(config.group_strategy(GroupStrategy::Own)).expect("start");
        let all = drain(&mut consumer, topics.len()).await;
        assert_eq!(all.len(), topics.len());
        stopped(consumer).await;
        fewest = fewest.min(mock.requests(LIST_OFFSETS) - before);
        if fewest <= 10 {
            return;
        }
    }
    panic!("{fewest} requests at the least");
}

/// Traps 10 and 11: with one queue for all topics the deep one's prefetch would come first.
// shows: E3, E16
#[tokio::test]
async fn a_record_of_a_quiet_topic_does_not_wait_behind_a_deep_backlog() {
    for mode in [ModeRequest::Multi, ModeRequest::Fair] {
        let mock = Mock::filled(&[("deep", 1, 30_000), ("quiet-1", 1, 0), ("quiet-2", 1, 0)]);
        let mut consumer =
            Consumer::start(patient(config(&mock, &format!("behind-{mode}"), &TOPICS, mode))).expect("start");
        let first = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
        assert_eq!(first.len(), 100, "{mode}: the deep topic's quota");
        mock.produce("quiet-2", 0, 1);
        // A fetch takes up to 10 ms on the mock; the application is as slow as that.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let second = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
        let topics: Vec<&str> = second.partitions().map(|partition| partition.topic()).collect();
        assert!(topics.contains(&"quiet-2") && topics.contains(&"deep"), "{mode}: {topics:?}");
        drop((first, second));
        stopped(consumer).await;
    }
}

/// With ten topics, 200 of each where they have quotas of their own; in `single` 500 in all.
// shows: E1, E10
#[tokio::test]
async fn what_a_poll_brings_follows_from_the_number_of_topics_unless_it_is_said() {
    let names: Vec<String> = (0..10).map(|number| format!("t{number}")).collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let mock = Mock::filled(&topics.iter().map(|topic| (*topic, 1, 600)).collect::<Vec<_>>());
    for (mode, said, of_a_topic, in_all) in [
        (ModeRequest::Single, None, None, 500),
        (ModeRequest::Multi, None, Some(200), 2000),
        (ModeRequest::Fair, None, Some(200), 2000),
        (ModeRequest::Fair, Some(250), Some(250), 2500),
    ] {
        let mut config = Config::new(mock.address(), format!("preset-{mode}-{said:?}"), topics.clone())
            .mode(mode)
            .property("auto.offset.reset", "earliest")
            .property("fetch.wait.max.ms", "10");
        if let Some(said) = said {
            config = config.max_poll_records(said);
        }
        let mut consumer = Consumer::start(config).expect("start");
        // Everything is fetched before it is shared out: the mock needs several fetches for it.
        let until = Instant::now() + Duration::from_secs(20);
        let fetched = |consumer: &Consumer| {
            let lanes = consumer.consumers().into_values().map(|topic| topic.queued);
            if mode == ModeRequest::Single {
                lanes.max().is_some_and(|one| one >= 6000)
            } else {
                lanes.min().is_some_and(|one| one >= 600)
            }
        };
        while !fetched(&consumer) && Instant::now() < until {
            assert!(consumer.get_many(Duration::ZERO, Some(0)).await.expect("poll").is_empty());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
        assert_eq!(batch.len(), in_all, "{mode} {said:?}");
        // In `single` they are whose fetch came first.
        if let Some(of_a_topic) = of_a_topic {
            assert!(batch.partitions().all(|topic| topic.len() == of_a_topic), "{mode} {said:?}");
        }
        drop(batch);
        stopped(consumer).await;
    }
}

#[tokio::test]
async fn a_poll_keeps_to_the_total_that_it_is_given() {
    let mock = Mock::filled(&[("deep", 1, 500), ("quiet-1", 1, 500), ("quiet-2", 1, 500)]);
    let mut consumer =
        Consumer::start(patient(config(&mock, "total", &TOPICS, ModeRequest::Fair))).expect("start");
    // Everything is fetched before it is shared out: the mock needs several fetches for it.
    let until = Instant::now() + Duration::from_secs(20);
    while consumer.consumers().values().any(|topic| topic.queued < 500) && Instant::now() < until {
        assert!(consumer.get_many(Duration::ZERO, Some(0)).await.expect("poll").is_empty());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut served = std::collections::BTreeMap::new();
    for _ in 0..10 {
        let batch = consumer.get_many(Duration::from_secs(10), Some(90)).await.expect("poll");
        assert_eq!(batch.len(), 90);
        for partition in batch.partitions() {
            *served.entry(partition.topic().to_owned()).or_insert(0) += partition.len();
        }
        consumer.commit(&batch);
    }
    // A quota is 100: the ring goes on where the poll before stopped.
    assert!(
        served.len() == 3 && served.values().all(|&records| (200..=400).contains(&records)),
        "{served:?}"
    );
    stopped(consumer).await;
}

/// Trap 13: a batch call with a timeout would wait for a full batch.
#[tokio::test]
async fn a_single_record_is_delivered_without_waiting_for_more() {
    let mock = Mock::filled(&[("deep", 1, 0), ("quiet-1", 1, 0), ("quiet-2", 1, 0)]);
    for mode in MODES {
        let mut consumer =
            Consumer::start(config(&mock, &format!("alone-{mode}"), &TOPICS, mode)).expect("start");
        common::poll_for(&mut consumer, Duration::from_millis(500)).await;
        mock.produce("quiet-1", 0, 1);
        let began = Instant::now();
        let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
        assert_eq!(batch.len(), 1);
        // Half of the safety tick, and of any timeout a batch call could have been given.
        assert!(began.elapsed() < Duration::from_millis(500), "{mode}: {:?}", began.elapsed());
        consumer.commit(&batch);
        drop(batch);
        stopped(consumer).await;
    }
}

/// Trap 15: the wake-up brings them; the look at everything once a second could not, five times in
/// a row.
#[tokio::test]
async fn records_wake_a_poll_that_waits() {
    let mock = Mock::filled(&[("deep", 1, 0), ("quiet-1", 1, 0), ("quiet-2", 1, 0)]);
    let mut consumer = Consumer::start(config(&mock, "wake", &TOPICS, ModeRequest::Fair)).expect("start");
    common::poll_for(&mut consumer, Duration::from_millis(500)).await;
    for number in 0..5 {
        mock.produce("quiet-1", 0, 1);
        let began = Instant::now();
        let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
        assert_eq!(batch.len(), 1);
        assert!(began.elapsed() < Duration::from_millis(400), "record {number}: {:?}", began.elapsed());
        consumer.commit(&batch);
    }
    stopped(consumer).await;
}

/// Trap 5: positions and commits are the application's, not the client's.
#[tokio::test]
async fn what_was_not_marked_as_processed_comes_again() {
    let mock = Mock::filled(&[("deep", 1, 300), ("quiet-1", 1, 10), ("quiet-2", 1, 10)]);
    for mode in MODES {
        let config = config(&mock, &format!("again-{mode}"), &TOPICS, mode);
        let mut consumer = Consumer::start(config.clone()).expect("start");
        let first = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
        let second = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
        assert!(!first.is_empty() && !second.is_empty());
        // Which topics come first is the fetches' business; what the second batch brings of a
        // partition that is not in the first may be committed.
        let (mut unfinished, mut finished) = (common::Delivered::new(), common::Delivered::new());
        common::note(&first, &mut unfinished);
        common::note(&second, &mut finished);
        finished.retain(|partition, _| !unfinished.contains_key(partition));
        // Out of order: the second batch alone may not be committed past the first.
        consumer.commit(&second);
        drop((first, second));
        let report = consumer.stop(Duration::from_secs(5)).await;
        assert_eq!(report.unprocessed.len(), unfinished.len(), "{mode}: {report:?}");

        let mut again = Consumer::start(config).expect("start");
        let all = drain(&mut again, 320 - finished.values().map(Vec::len).sum::<usize>()).await;
        for (partition, offsets) in unfinished {
            assert_eq!(all[&partition][..offsets.len()], offsets, "{mode}: {partition:?} comes again");
        }
        for (partition, offsets) in finished {
            let next = all.get(&partition).map(|again| again[0]);
            assert!(
                next.is_none_or(|next| next > offsets[offsets.len() - 1]),
                "{mode}: {partition:?} was committed"
            );
        }
        stopped(again).await;
    }
}

// shows: E1, E2, E6, E7, E16
#[tokio::test]
async fn status_and_consumers_say_what_runs() {
    let mock = Mock::filled(&[("deep", 2, 10), ("quiet-1", 1, 10), ("quiet-2", 1, 10)]);
    for (mode, actual, handles, lanes) in [
        (ModeRequest::Single, Mode::Single, 1, 1),
        (ModeRequest::Multi, Mode::Multi, 3, 3),
        (ModeRequest::Fair, Mode::Fair, 1, 3),
        (ModeRequest::Auto, Mode::Fair, 1, 3),
    ] {
        let mut consumer =
            Consumer::start(config(&mock, &format!("status-{mode}"), &TOPICS, mode)).expect("start");
        drain(&mut consumer, 40).await;
        let status = consumer.status();
        assert_eq!((status.resolution.actual, status.handles, status.lanes), (actual, handles, lanes));
        assert_eq!((status.assigned_partitions, status.joining_handles), (4, 0));
        assert!(
            status.to_string().starts_with(&format!("requested_mode={mode} actual_mode={actual} reason=\""))
        );
        let consumers = consumer.consumers();
        assert_eq!(consumers.keys().map(String::as_str).collect::<Vec<_>>(), TOPICS);
        assert_eq!(consumers["deep"].partitions, [0, 1]);
        stopped(consumer).await;
    }
}

// shows: E2
#[tokio::test]
async fn the_switch_falls_back_to_single_with_one_topic() {
    let mock = Mock::filled(&[("deep", 1, 10)]);
    let config = Config::new(mock.address(), "switch", ["deep"])
        .multi_consumer_mode(true)
        .property("auto.offset.reset", "earliest");
    let consumer = Consumer::start(config).expect("start");
    assert_eq!(consumer.status().resolution.actual, Mode::Single);
    stopped(consumer).await;
}

/// Trap 9: a cached end is as old as the last fetch that brought it.
// shows: E6
#[tokio::test]
async fn lag_counts_from_the_position_and_carries_its_age() {
    let mock = Mock::filled(&[("deep", 1, 1000), ("quiet-1", 1, 0), ("quiet-2", 1, 0)]);
    let mut consumer = Consumer::start(config(&mock, "lag", &TOPICS, ModeRequest::Fair)).expect("start");
    let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
    assert_eq!(batch.len(), 100);
    let lag = &consumer.lag_info()["deep"][&0];
    let now = consumer.now();
    assert_eq!(lag.processing(now).expect("known").records, 900);
    assert!(lag.durability(now).is_err(), "nothing was committed: unknown, not 0");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let lag = &consumer.lag_info()["deep"][&0];
    let age = lag.processing(consumer.now()).expect("known").age;
    assert!(age >= Duration::from_millis(300), "{age:?}");
    drop(batch);
    stopped(consumer).await;
}

// shows: E4
#[tokio::test]
async fn a_failing_topic_is_named_and_the_others_go_on() {
    let mock = Mock::filled(&[("deep", 1, 500), ("quiet-1", 1, 10)]);
    for mode in MODES {
        // The mock creates what is asked for, unless it may not.
        let topics = ["deep", "quiet-1", "missing"];
        // Under KIP-848 the broker keeps a missing topic to itself: it assigns nothing.
        let mut config = config(&mock, &format!("missing-{mode}"), &topics, mode)
            .property("allow.auto.create.topics", "false");
        if mode == ModeRequest::Multi {
            config = config.group_strategy(GroupStrategy::Own);
        }
        let mut consumer = Consumer::start(config).expect("start");
        let deadline = Instant::now() + Duration::from_secs(20);
        let (mut records, mut errors) = (0, Vec::new());
        while (records < 510 || errors.is_empty()) && Instant::now() < deadline {
            let batch = consumer.get_many(Duration::from_millis(100), None).await.expect("poll");
            records += batch.len();
            errors.extend(batch.errors().iter().cloned());
            consumer.commit(&batch);
        }
        assert_eq!(records, 510, "{mode}");
        assert!(errors.iter().all(|error| error.topic.as_deref() == Some("missing")), "{mode}: {errors:?}");
        // The topic is missing, not one of its partitions.
        assert!(errors.iter().all(|error| error.partition.is_none()), "{mode}: {errors:?}");
        assert!(!errors.is_empty(), "{mode}");
        consumer.stop(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn brokers_that_cannot_be_reached_are_told_by_their_code_s_name() {
    let mut consumer = Consumer::start(Config::new("127.0.0.1:1", "nobody", ["a"])).expect("start");
    let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
    let codes: Vec<&str> = batch.errors().iter().map(|error| error.code.as_str()).collect();
    assert!(
        !codes.is_empty() && codes.iter().all(|code| ["_TRANSPORT", "_ALL_BROKERS_DOWN"].contains(code)),
        "{codes:?}"
    );
    drop(batch);
    consumer.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_its_remedy() {
    let base = || Config::new("127.0.0.1:1", "group", ["a", "b"]);
    for (config, words) in [
        (base().property("enable.auto.commit", "true"), "enable.auto.commit cannot be set"),
        (base().max_poll_records(0), "max_poll_records is 0"),
        (base().weight("c", 2), "\"c\""),
        (Config::new("127.0.0.1:1", "group", ["a", "a"]), "named twice"),
        (Config::new("127.0.0.1:1", "group", ["^a.*"]), "pattern"),
        (Config::new("127.0.0.1:1", "", ["a"]), "group_id is empty"),
        (base().property("no.such.property", "1"), "no.such.property"),
        (base().mode(ModeRequest::Fair).group_strategy(GroupStrategy::Own), "one consumer for all of them"),
    ] {
        let error: StartError = Consumer::start(config).expect_err("refused");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn events_tell_assignments_and_commits() {
    let mock = Mock::filled(&[("deep", 1, 50)]);
    let mut consumer = Consumer::start(config(&mock, "events", &["deep"], ModeRequest::Fair)).expect("start");
    drain(&mut consumer, 50).await;
    let mut events: Vec<ConsumerEvent> = consumer.take_events().collect();
    events.extend(common::poll_for(&mut consumer, Duration::from_millis(300)).await);
    assert!(
        matches!(&events[0], ConsumerEvent::Assigned { partitions, .. } if partitions == &[("deep".to_owned(), 0)])
    );
    let sent = events.iter().filter(|event| matches!(event, ConsumerEvent::CommitSent { .. })).count();
    let answered = events
        .iter()
        .filter(|event| matches!(event, ConsumerEvent::CommitResult { error: None, .. }))
        .count();
    assert!(sent >= 1 && sent == answered, "{events:?}");
    stopped(consumer).await;
}

/// A topic that does not exist has no group to join; in `multi` the first poll once waited five
/// seconds for its handle.
#[tokio::test]
async fn a_topic_that_does_not_exist_is_told_and_holds_up_nobody() {
    let mock = Mock::filled(&[("deep", 1, 40), ("quiet-1", 1, 40)]);
    for strategy in [GroupStrategy::Own, GroupStrategy::Kip848] {
        let config = config(&mock, &format!("missing-{strategy:?}"), &TOPICS, ModeRequest::Multi);
        let mut consumer = Consumer::start(config.group_strategy(strategy)).expect("start");
        let began = Instant::now();
        let (mut records, mut told) = (0, false);
        while records == 0 {
            let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
            records += batch.len();
            told |= batch.errors().iter().any(|error| error.topic.as_deref() == Some("quiet-2"));
        }
        assert!(began.elapsed() < Duration::from_secs(4), "{strategy:?}: {:?}", began.elapsed());
        assert!(told || strategy == GroupStrategy::Kip848, "KIP-848 does not say it");
        stopped(consumer).await;
    }
}
