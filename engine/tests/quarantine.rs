//! Topics that fail, and all others that go on.

mod common;

use std::time::{Duration, Instant};

use common::{Delivered, MODES, Mock, assert_complete, config, note, stopped};
use fairpoll::{Consumer, ConsumerEvent, GroupStrategy, ModeRequest, SeekTo};
use rdkafka_sys::rd_kafka_resp_err_t as Code;

const TOPICS: [&str; 3] = ["sick", "well-1", "well-2"];
const SICK: usize = 50;
const WELL: usize = 200;
const FETCH: i16 = 1;
const OFFSET_COMMIT: i16 = 8;
const JOIN_GROUP: i16 = 11;
const HEARTBEAT: i16 = 12;
/// Leads the topic that is to fail, and nothing else.
const SICK_BROKER: i32 = 2;
const UNKNOWN: Code = Code::RD_KAFKA_RESP_ERR_UNKNOWN;
const INVALID: Code = Code::RD_KAFKA_RESP_ERR_INVALID_MSG;
const FORBIDDEN: Code = Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;

fn cluster() -> Mock {
    let mock = Mock::with_brokers(2);
    for (topic, broker, records) in [("sick", SICK_BROKER, SICK), ("well-1", 1, WELL), ("well-2", 1, WELL)] {
        mock.create(topic, 1);
        mock.lead(topic, 0, broker);
        mock.produce(topic, 0, records);
    }
    mock
}

/// What came of a consumer, for as long as it takes.
#[derive(Default)]
struct Seen {
    delivered: Delivered,
    /// Topic, partition and code of what batches reported.
    errors: Vec<(Option<String>, Option<i32>, String)>,
    /// What would help against them, where that is known.
    remedies: Vec<String>,
    events: Vec<ConsumerEvent>,
}

impl Seen {
    fn count(&self, topic: &str) -> usize {
        self.delivered.get(&(topic.to_owned(), 0)).map_or(0, Vec::len)
    }

    fn others_are_complete(&self) -> bool {
        self.count("well-1") == WELL && self.count("well-2") == WELL
    }

    /// Polls until `done`, or 20 s passed.
    async fn until(&mut self, consumer: &mut Consumer, done: impl Fn(&Self, &Consumer) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done(self, consumer) && Instant::now() < deadline {
            let batch = consumer.get_many(Duration::from_millis(20), None).await.expect("poll");
            note(&batch, &mut self.delivered);
            let errors = batch.errors().iter();
            self.errors
                .extend(errors.map(|error| (error.topic.clone(), error.partition, error.code.clone())));
            self.remedies.extend(batch.errors().iter().filter_map(|error| error.remedy.clone()));
            consumer.commit(&batch);
            self.events.extend(consumer.take_events());
        }
    }

    fn quarantined(&self) -> Vec<(&str, Option<i32>, &str)> {
        let quarantined = |event| match event {
            &ConsumerEvent::Quarantined { ref topic, partition, ref code } => {
                Some((topic.as_str(), partition, code.as_str()))
            }
            _ => None,
        };
        self.events.iter().filter_map(quarantined).collect()
    }

    fn released(&self) -> Vec<(&str, Option<i32>, u64, Duration)> {
        let released = |event| match event {
            &ConsumerEvent::Released { ref topic, partition, errors, after } => {
                Some((topic.as_str(), partition, errors, after))
            }
            _ => None,
        };
        self.events.iter().filter_map(released).collect()
    }
}

// shows: E4
#[tokio::test]
async fn a_failing_partition_is_told_once_held_back_and_taken_up_where_it_failed() {
    for mode in MODES {
        let mock = cluster();
        mock.fail_requests_of(SICK_BROKER, FETCH, &[UNKNOWN, UNKNOWN, UNKNOWN, INVALID, INVALID]);
        let config = config(&mock, &format!("held-{mode}"), &TOPICS, mode)
            .property("fetch.error.backoff.ms", "100")
            // A failed fetch is an answer: who fails is not waited for.
            .first_fetch_wait(Duration::from_secs(60));
        let mut consumer = Consumer::start(config).expect("start");
        let mut seen = Seen::default();
        // The others go on while it fails.
        seen.until(&mut consumer, |seen, consumer| {
            seen.others_are_complete()
                && consumer.status().failing.first().is_some_and(|sick| sick.errors >= 2)
        })
        .await;
        let failing = consumer.status().failing;
        let [sick] = &failing[..] else { panic!("{mode}: one fails: {failing:?}") };
        assert_eq!((sick.topic.as_str(), sick.partition, sick.fatal), ("sick", Some(0), false), "{mode}");
        assert!(sick.code == "UNKNOWN" || sick.code == "INVALID_MSG", "{mode}: {sick:?}");
        assert_eq!(seen.count("sick"), 0, "{mode}");

        seen.until(&mut consumer, |seen, consumer| {
            seen.count("sick") == SICK && consumer.status().failing.is_empty()
        })
        .await;
        let expected = [("sick", 0, SICK), ("well-1", 0, WELL), ("well-2", 0, WELL)];
        assert_complete(&seen.delivered, &expected);
        let of_sick = |code: &str| (Some("sick".to_owned()), Some(0), code.to_owned());
        assert_eq!(seen.errors, [of_sick("UNKNOWN"), of_sick("INVALID_MSG")], "{mode}: no repeats");
        assert_eq!(seen.quarantined(), [("sick", Some(0), "UNKNOWN")], "{mode}");
        let [("sick", Some(0), 5, after)] = seen.released()[..] else { panic!("{mode}: {:?}", seen.events) };
        // 100, and then at least half of 200, 400, 800 and 1,600 ms.
        assert!(after >= Duration::from_millis(1_600), "{mode}: {after:?}");
        stopped(consumer).await;
    }
}

#[tokio::test]
async fn the_next_probe_is_shown_and_not_made_before_its_time() {
    let mock = cluster();
    let all = [UNKNOWN; 40];
    mock.fail_requests_of(SICK_BROKER, FETCH, &all);
    let config =
        config(&mock, "probes", &TOPICS, ModeRequest::Fair).property("fetch.error.backoff.ms", "300");
    let mut consumer = Consumer::start(config).expect("start");
    let mut seen = Seen::default();
    let mut errors = 0;
    let mut not_before = consumer.now();
    let until = Instant::now() + Duration::from_secs(20);
    while errors < 4 && Instant::now() < until {
        seen.until(&mut consumer, |_, consumer| {
            consumer.status().failing.first().is_some_and(|sick| sick.errors > errors)
        })
        .await;
        let failing = consumer.status().failing;
        let [sick] = &failing[..] else { panic!("one fails: {failing:?}") };
        assert_eq!(all.len() - mock.failing_requests_of(SICK_BROKER, FETCH), sick.errors as usize);
        // The first probe is librdkafka's own, by a clock that began when the fetch failed.
        assert!(errors < 2 || consumer.now() >= not_before, "a fetch came before its time");
        errors = sick.errors;
        let next = sick.next_probe.expect("it is held back");
        assert!(next > not_before && sick.since < next);
        not_before = next;
    }
    assert_eq!(seen.errors.len(), 1, "{:?}", seen.errors);
    stopped(consumer).await;
}

/// librdkafka forgets its own back-off when it is told to seek to an offset other than 0, and after every
/// failed fetch it is told to.
#[tokio::test]
async fn a_partition_that_fails_behind_its_beginning_is_left_alone_for_as_long() {
    let mock = cluster();
    let config =
        config(&mock, "behind", &TOPICS, ModeRequest::Fair).property("fetch.error.backoff.ms", "100");
    let mut consumer = Consumer::start(config).expect("start");
    let mut seen = Seen::default();
    seen.until(&mut consumer, |seen, _| seen.count("sick") == SICK).await;
    mock.fail_requests_of(SICK_BROKER, FETCH, &[FORBIDDEN; 200]);
    let mut not_before = consumer.now();
    for errors in 1..=3 {
        seen.until(&mut consumer, |_, consumer| {
            consumer.status().failing.first().is_some_and(|sick| sick.errors >= errors)
        })
        .await;
        let failing = consumer.status().failing;
        let [sick] = &failing[..] else { panic!("one fails: {failing:?}") };
        assert_eq!(sick.errors, errors, "one fetch at a time");
        assert!(consumer.now() >= not_before, "a fetch came before its time");
        not_before = sick.next_probe.expect("it is held back");
    }
    assert_eq!(seen.remedies, ["grant User:ANONYMOUS READ on the topic sick"]);
    stopped(consumer).await;
}

/// A partition at its end has nothing to deliver: that nothing more is heard of it is all it can say.
#[tokio::test]
async fn a_partition_without_records_is_released_when_its_fetches_no_longer_fail() {
    let mock = Mock::with_brokers(2);
    mock.create("sick", 1);
    mock.lead("sick", 0, SICK_BROKER);
    mock.fail_requests_of(SICK_BROKER, FETCH, &[UNKNOWN; 2]);
    let config =
        config(&mock, "silent", &["sick"], ModeRequest::Fair).property("fetch.error.backoff.ms", "50");
    let mut consumer = Consumer::start(config).expect("start");
    let mut seen = Seen::default();
    seen.until(&mut consumer, |seen, _| !seen.released().is_empty()).await;
    // librdkafka says nothing of an error in the answer with which it reaches the end.
    assert!(matches!(seen.released()[..], [("sick", Some(0), 1.., _)]), "{:?}", seen.events);
    assert_eq!(consumer.status().failing, []);
    stopped(consumer).await;
}

/// librdkafka remembers over rebalances that it was told to fetch nothing of a partition.
#[tokio::test]
async fn a_partition_that_was_held_back_when_it_was_given_away_is_fetched_when_it_comes_back() {
    for mode in [ModeRequest::Single, ModeRequest::Fair] {
        let mock = cluster();
        // Held back for 1.5 s at least, and no longer than this: a rebalance takes a third of that.
        let config =
            config(&mock, &format!("given-{mode}"), &TOPICS, mode).property("fetch.error.backoff.ms", "3000");
        let mut first = Consumer::start(config.clone()).expect("start");
        let mut seen = Seen::default();
        mock.fail_requests_of(SICK_BROKER, FETCH, &[UNKNOWN]);
        seen.until(&mut first, |seen, consumer| {
            seen.others_are_complete() && !consumer.status().failing.is_empty()
        })
        .await;
        assert_eq!(first.status().failing.len(), 1, "{mode}");
        let mut second = Consumer::start(config).expect("start");
        let of_sick = |(topic, _): &(String, i32)| topic == "sick";
        let given_away = |seen: &Seen| {
            seen.events.iter().any(|event| {
                matches!(event, ConsumerEvent::Revoked { partitions, .. } if partitions.iter().any(of_sick))
            })
        };
        let until = Instant::now() + Duration::from_secs(10);
        while !given_away(&seen) && Instant::now() < until {
            let from = Instant::now();
            seen.until(&mut first, |_, _| from.elapsed() > Duration::from_millis(20)).await;
            second.get_many(Duration::from_millis(20), None).await.expect("poll");
        }
        assert!(given_away(&seen), "{mode}: {:?}", seen.events);
        let released = seen.events.iter().any(|event| matches!(event, ConsumerEvent::Released { .. }));
        assert!(!released, "{mode}: it was held back all the time, or this shows nothing");
        stopped(second).await;
        seen.until(&mut first, |seen, consumer| {
            seen.count("sick") >= SICK && consumer.status().failing.is_empty()
        })
        .await;
        assert_complete(&seen.delivered, &[("sick", 0, SICK)]);
        stopped(first).await;
    }
}

/// What concerns a topic as a whole librdkafka tries again by itself.
#[tokio::test]
async fn a_topic_that_may_not_be_read_is_told_once_and_shown_until_it_may() {
    for (mode, strategy) in [
        (ModeRequest::Single, GroupStrategy::Classic),
        (ModeRequest::Multi, GroupStrategy::Own),
        (ModeRequest::Fair, GroupStrategy::Classic),
    ] {
        let mock = cluster();
        mock.fail_topic("sick", Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
        let config = config(&mock, &format!("forbidden-{mode}"), &TOPICS, mode)
            .group_strategy(strategy)
            .join_wait(Duration::from_secs(1))
            .property("topic.metadata.refresh.interval.ms", "100");
        let mut consumer = Consumer::start(config).expect("start");
        let mut seen = Seen::default();
        seen.until(&mut consumer, |seen, consumer| {
            seen.others_are_complete() && !consumer.status().failing.is_empty()
        })
        .await;
        let failing = consumer.status().failing;
        let [sick] = &failing[..] else { panic!("{mode}: one fails: {failing:?}") };
        let forbidden = "TOPIC_AUTHORIZATION_FAILED";
        assert_eq!((sick.topic.as_str(), sick.partition, sick.code.as_str()), ("sick", None, forbidden));
        assert_eq!((sick.next_probe, sick.fatal), (None, false), "{mode}");

        mock.fail_topic("sick", Code::RD_KAFKA_RESP_ERR_NO_ERROR);
        seen.until(&mut consumer, |seen, consumer| {
            seen.count("sick") == SICK && consumer.status().failing.is_empty()
        })
        .await;
        let expected = [("sick", 0, SICK), ("well-1", 0, WELL), ("well-2", 0, WELL)];
        assert_complete(&seen.delivered, &expected);
        assert_eq!(seen.errors, [(Some("sick".to_owned()), None, forbidden.to_owned())], "{mode}");
        assert_eq!(seen.remedies, ["grant User:ANONYMOUS READ on the topic sick"], "{mode}");
        assert!(matches!(seen.released()[..], [("sick", None, _, _)]), "{mode}: {:?}", seen.events);
        stopped(consumer).await;
    }
}

// shows: E1, E4
#[tokio::test]
async fn a_handle_that_fails_for_good_takes_only_its_own_topic_with_it() {
    // One that never joined, and one that owns its partition and has records to commit.
    for request in [JOIN_GROUP, HEARTBEAT] {
        let mock = cluster();
        let config = config(&mock, &format!("fatal-{request}"), &TOPICS, ModeRequest::Multi)
            .group_strategy(GroupStrategy::Own)
            .join_wait(Duration::from_secs(60));
        // Whoever asks first is told that somebody else has its name.
        mock.fail_requests(request, Code::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, 1);
        let mut consumer = Consumer::start(config).expect("start");
        let mut seen = Seen::default();
        seen.until(&mut consumer, |_, consumer| !consumer.status().failing.is_empty()).await;
        let failing = consumer.status().failing;
        let [dead] = &failing[..] else { panic!("one fails: {failing:?}") };
        assert_eq!((dead.fatal, dead.partition, dead.next_probe), (true, None, None));
        assert_eq!(dead.code, "FENCED_INSTANCE_ID");

        let others: Vec<&str> = TOPICS.into_iter().filter(|topic| *topic != dead.topic).collect();
        others.iter().for_each(|topic| mock.produce(topic, 0, 5));
        let produced = |topic: &str| if topic == "sick" { SICK + 5 } else { WELL + 5 };
        seen.until(&mut consumer, |seen, _| others.iter().all(|topic| seen.count(topic) == produced(topic)))
            .await;
        for topic in &others {
            assert_complete(&seen.delivered, &[(topic, 0, produced(topic))]);
        }
        let told: Vec<_> =
            seen.errors.iter().filter(|(topic, ..)| topic.as_ref() == Some(&dead.topic)).collect();
        assert_eq!(told.len(), 1, "{:?}", seen.errors);
        assert_eq!(consumer.status().failing, failing, "it stays so");
        // It can neither commit nor leave, and nobody waits for that.
        let report = consumer.stop(Duration::from_secs(30)).await;
        assert!(report.closed && report.took < Duration::from_secs(15), "{report:?}");
    }
}

/// Under KIP-848 only the coordinator says that a topic is gone.
#[tokio::test]
async fn topics_whose_offsets_are_refused_as_unknown_are_told() {
    for mode in [ModeRequest::Multi, ModeRequest::Fair] {
        let mock = cluster();
        let config =
            config(&mock, &format!("gone-{mode}"), &TOPICS, mode).group_strategy(GroupStrategy::Kip848);
        // librdkafka tries a few times by itself.
        mock.fail_requests(OFFSET_COMMIT, Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, 20);
        let mut consumer = Consumer::start(config).expect("start");
        let mut seen = Seen::default();
        seen.until(&mut consumer, |seen, _| !seen.quarantined().is_empty()).await;
        let told = seen.quarantined();
        let unknown = (None, "UNKNOWN_TOPIC_OR_PART");
        assert!(!told.is_empty(), "{mode}: {:?}", seen.events);
        assert!(told.iter().all(|&(_, partition, code)| (partition, code) == unknown), "{told:?}");
        assert!(consumer.stop(Duration::from_secs(5)).await.closed, "{mode}");
    }
}

/// No retry helps, and whoever looks at nothing but batches must know.
#[tokio::test]
async fn a_group_that_may_not_commit_is_told_of_once_with_what_would_help() {
    let mock = cluster();
    mock.fail_requests(OFFSET_COMMIT, Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, 2);
    let mut consumer =
        Consumer::start(config(&mock, "forbidden-group", &TOPICS, ModeRequest::Fair)).expect("start");
    let mut seen = Seen::default();
    let answers = |seen: &Seen| {
        let answers = seen.events.iter().filter_map(|event| match event {
            ConsumerEvent::CommitResult { error, .. } => Some(error.is_none()),
            _ => None,
        });
        answers.collect::<Vec<bool>>()
    };
    for expected in [&[false][..], &[false, false], &[false, false, true]] {
        mock.produce("well-1", 0, 1);
        seen.until(&mut consumer, |seen, _| answers(seen).len() >= expected.len()).await;
        assert_eq!(answers(&seen)[..expected.len()], *expected);
    }
    assert_eq!(seen.errors, [(None, None, "GROUP_AUTHORIZATION_FAILED".to_owned())]);
    let [remedy] = &seen.remedies[..] else { panic!("{:?}", seen.remedies) };
    assert!(remedy.contains("READ") && remedy.contains("forbidden-group"), "{remedy}");
    stopped(consumer).await;
}

#[tokio::test]
async fn a_partition_that_is_paused_or_sought_while_it_is_held_back_begins_anew() {
    for mode in [ModeRequest::Single, ModeRequest::Fair] {
        let mock = cluster();
        mock.fail_requests_of(SICK_BROKER, FETCH, &[UNKNOWN; 2]);
        let config = config(&mock, &format!("anew-{mode}"), &TOPICS, mode)
            // Held back for 1 to 2 s after the second failure, by the engine.
            .property("fetch.error.backoff.ms", "1000");
        let mut consumer = Consumer::start(config).expect("start");
        let mut seen = Seen::default();
        seen.until(&mut consumer, |_, consumer| {
            consumer.status().failing.first().is_some_and(|sick| sick.errors == 2)
        })
        .await;
        assert_eq!(consumer.status().failing.len(), 1, "{mode}");
        let first = if mode == ModeRequest::Single {
            // Here librdkafka holds a paused topic back, and it must not be told to go on meanwhile.
            consumer.pause_topic("sick").expect("known");
            assert_eq!(consumer.status().failing, [], "{mode}");
            let from = Instant::now();
            seen.until(&mut consumer, |_, _| from.elapsed() > Duration::from_millis(2_200)).await;
            assert_eq!(seen.count("sick"), 0, "{mode}");
            consumer.resume_topic("sick").expect("known");
            0
        } else {
            consumer.seek("sick", 0, SeekTo::Offset(10), Duration::from_secs(5)).await.expect("owned");
            assert_eq!(consumer.status().failing, [], "{mode}");
            10
        };
        seen.until(&mut consumer, |seen, _| seen.count("sick") + first == SICK).await;
        let expected: Vec<i64> = (first as i64..SICK as i64).collect();
        assert_eq!(seen.delivered[&("sick".to_owned(), 0)], expected, "{mode}");
        stopped(consumer).await;
    }
}
