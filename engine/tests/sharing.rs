//! How topics share a poll: priorities with a guard, quotas that follow lag.

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::{Mock, config, stopped};
use fairpoll::{Consumer, ModeRequest, Quota};

const WAIT: Duration = Duration::from_secs(20);

/// Polls until every topic has so many records in its lane; takes nothing.
async fn fetched(consumer: &mut Consumer, records: usize) {
    let began = Instant::now();
    while consumer.consumers().values().any(|info| info.queued < records) {
        assert!(began.elapsed() < WAIT, "everything is fetched");
        let batch = consumer.get_many(Duration::from_millis(10), Some(0)).await.expect("poll");
        assert!(batch.is_empty());
    }
}

// shows: E13
#[tokio::test]
async fn a_cap_on_the_poll_goes_to_the_higher_priority_and_nobody_starves() {
    let mock = Mock::filled(&[("urgent", 1, 2000), ("plain-1", 1, 500), ("plain-2", 1, 500)]);
    for mode in [ModeRequest::Multi, ModeRequest::Fair] {
        let topics = ["plain-1", "urgent", "plain-2"];
        let config = config(&mock, &format!("priority-{mode}"), &topics, mode)
            .max_poll_records(50)
            .priority("urgent", 1)
            .starvation_guard(4);
        let mut consumer = Consumer::start(config).expect("start");
        fetched(&mut consumer, 500).await;
        let mut polls: Vec<String> = Vec::new();
        for _ in 0..20 {
            let batch = consumer.get_many(WAIT, Some(50)).await.expect("poll");
            let topics: Vec<&str> = batch.partitions().map(|partition| partition.topic()).collect();
            assert_eq!(topics.len(), 1, "{mode}: the cap is one quota");
            polls.push(topics[0].to_owned());
        }
        let urgent = polls.iter().filter(|topic| *topic == "urgent").count();
        assert!((11..20).contains(&urgent), "{mode}: {polls:?}");
        for topic in topics {
            let longest = polls.split(|served| served == topic).map(<[String]>::len).max();
            // guard + 2 · lanes
            assert!(longest <= Some(4 + 2 * 3), "{mode}: {topic} waited for {longest:?} of {polls:?}");
        }
        stopped(consumer).await;
    }
}

// shows: E12
#[tokio::test]
async fn a_deeper_topic_gets_more_of_a_poll_and_the_others_as_much_less() {
    let mock = Mock::filled(&[("deep", 1, 20_000), ("shallow", 1, 4_000)]);
    let config = config(&mock, "lag", &["deep", "shallow"], ModeRequest::Fair)
        .max_poll_records(20)
        .quota(Quota::LagProportional { min: 2, max: 40 });
    let mut consumer = Consumer::start(config).expect("start");
    let quotas = |consumer: &Consumer| -> BTreeMap<String, u32> {
        consumer.consumers().into_iter().map(|(topic, info)| (topic, info.quota)).collect()
    };
    let began = Instant::now();
    loop {
        let now = quotas(&consumer);
        assert_eq!(now.values().sum::<u32>(), 40, "{now:?}");
        if now["deep"] >= 3 * now["shallow"] {
            break;
        }
        assert!(began.elapsed() < WAIT, "quotas did not follow the lag: {now:?}");
        let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
        for partition in batch.partitions() {
            assert!(
                partition.len() <= now[partition.topic()].max(quotas(&consumer)[partition.topic()]) as usize
            );
        }
        consumer.commit(&batch);
        drop(batch);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stopped(consumer).await;
}

#[test]
fn settings_that_cannot_hold_are_refused_with_the_remedy() {
    let config = || fairpoll::Config::new("localhost:9092", "group", ["a", "b"]);
    let refused = |config: fairpoll::Config| config.validate().expect_err("refused").to_string();
    assert!(refused(config().priority("c", 1)).contains("\"c\""), "an unknown topic");
    assert!(refused(config().starvation_guard(0)).contains("starvation_guard"));
    for (min, max) in [(0, 1000), (501, 1000), (1, 999)] {
        let what = refused(config().weight("a", 2).quota(Quota::LagProportional { min, max }));
        assert!(what.contains("at least 1000"), "{what}");
    }
    let fits = config().weight("a", 2).priority("b", 255).quota(Quota::LagProportional { min: 1, max: 1000 });
    assert!(fits.validate().is_ok());
}
