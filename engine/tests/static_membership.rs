//! Members that keep their partitions over a restart.

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::{Mock, config, poll_for, stopped};
use fairpoll::{Config, Consumer, ConsumerEvent, GroupStrategy, ModeRequest};

const TOPICS: [&str; 2] = ["a", "b"];

fn owned(consumer: &Consumer) -> BTreeSet<(String, i32)> {
    let of = |(topic, info): (String, fairpoll::ConsumerInfo)| {
        info.partitions.into_iter().map(move |partition| (topic.clone(), partition))
    };
    consumer.consumers().into_iter().flat_map(of).collect()
}

async fn both_until(
    first: &mut Consumer,
    second: &mut Consumer,
    done: impl Fn(&Consumer, &Consumer) -> bool,
) -> Vec<ConsumerEvent> {
    let until = Instant::now() + Duration::from_secs(15);
    let mut of_second = Vec::new();
    while !done(first, second) && Instant::now() < until {
        poll_for(first, Duration::from_millis(20)).await;
        of_second.extend(poll_for(second, Duration::from_millis(20)).await);
    }
    of_second
}

fn is_rebalance(event: &ConsumerEvent) -> bool {
    matches!(event, ConsumerEvent::Assigned { .. } | ConsumerEvent::Revoked { .. })
}

/// KIP-848: the mock takes the members of a classic group for new ones, whatever their names.
// shows: E18
#[tokio::test]
async fn a_static_member_gets_its_partitions_back_and_the_others_do_not_notice() {
    let mock = Mock::filled(&[("a", 2, 10), ("b", 2, 10)]);
    mock.heartbeats_every(Duration::from_millis(100));
    let member = |id: &str| -> Config {
        config(&mock, "static", &TOPICS, ModeRequest::Fair)
            .group_strategy(GroupStrategy::Kip848)
            .group_instance_id(id)
    };
    let mut first = Consumer::start(member("one")).expect("start");
    let mut second = Consumer::start(member("two")).expect("start");
    let shared = |first: &Consumer, second: &Consumer| owned(first).len() == 2 && owned(second).len() == 2;
    both_until(&mut first, &mut second, shared).await;
    let before = owned(&first);
    assert_eq!((before.len(), owned(&second).len()), (2, 2));
    stopped(first).await;
    // Ten heartbeats: of a member that left, the second would have the partitions by now.
    let away = poll_for(&mut second, Duration::from_secs(1)).await;
    assert!(!away.iter().any(is_rebalance), "{away:?}");

    let mut again = Consumer::start(member("one")).expect("start");
    let events = both_until(&mut again, &mut second, |again, _| !owned(again).is_empty()).await;
    assert_eq!(owned(&again), before);
    assert!(!events.iter().any(is_rebalance), "{events:?}");
    stopped(again).await;
    stopped(second).await;
}

#[tokio::test]
async fn the_handles_of_one_program_do_not_fence_each_other() {
    let mock = Mock::filled(&[("a", 1, 10), ("b", 1, 10)]);
    let config = config(&mock, "handles", &TOPICS, ModeRequest::Multi).group_instance_id("host-7");
    let mut consumer = Consumer::start(config).expect("start");
    let all = common::drain(&mut consumer, 20).await;
    common::assert_complete(&all, &[("a", 0, 10), ("b", 0, 10)]);
    assert_eq!(consumer.status().failing, []);
    stopped(consumer).await;
}

#[tokio::test]
async fn one_name_for_several_handles_is_refused_with_the_remedy() {
    let config =
        |mode| Config::new("localhost:1", "group", TOPICS).mode(mode).property("group.instance.id", "host-7");
    let refused = Consumer::start(config(ModeRequest::Multi)).expect_err("they would share it").to_string();
    assert!(refused.contains("set group_instance_id to \"host-7\" instead"), "{refused}");
    let twice = config(ModeRequest::Fair).group_instance_id("host-8").validate().expect_err("two names");
    assert!(twice.to_string().contains("keep the first"), "{twice}");
    let empty = Config::new("localhost:1", "group", TOPICS).group_instance_id("");
    assert!(empty.validate().is_err());
    // One handle: whoever sets the property means it.
    drop(Consumer::start(config(ModeRequest::Fair)).expect("one handle"));
}
