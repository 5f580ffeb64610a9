//! What fifty topics cost in threads and sockets on a real broker. Counts, not times: they are equal or
//! they are not. One test in this binary, because it counts what the process has.
//!
//! ```text
//! FAIRPOLL_TEST_BROKER=HOST:PORT cargo test -p fairpoll --test footprint -- --ignored
//! ```

mod common;

use std::time::Duration;

use common::real::Real;
use common::{Delivered, Held, note};
use fairpoll::{Config, Consumer, GroupStrategy, ModeRequest};

const TOPICS: usize = 50;

/// What a consumer has that consumes every topic.
async fn held_by(real: &Real, topics: &[String], mode: ModeRequest) -> Held {
    let before = Held::now();
    let mut config =
        Config::new(&real.address, real.name(&format!("{mode}-{}", topics.len())), topics.to_vec())
            .mode(mode)
            .property("auto.offset.reset", "earliest");
    if mode == ModeRequest::Multi {
        config = config.group_strategy(GroupStrategy::Own);
    }
    let mut consumer = Consumer::start(config).expect("start");
    let mut all = Delivered::new();
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while all.len() < topics.len() {
        assert!(std::time::Instant::now() < until, "{mode}: {} of {TOPICS} topics came", all.len());
        let batch = consumer.get_many(Duration::from_millis(100), None).await.expect("poll");
        assert_eq!(batch.errors(), [], "no topic fails here");
        note(&batch, &mut all);
        consumer.commit(&batch);
    }
    let held = Held::now();
    common::stopped(consumer).await;
    before.comes_back(&mode.to_string()).await;
    Held {
        threads: held.threads - before.threads,
        descriptors: held.descriptors - before.descriptors,
        sockets: held.sockets - before.sockets,
    }
}

// shows: E16
#[tokio::test]
#[ignore = "needs a broker: FAIRPOLL_TEST_BROKER=HOST:PORT"]
async fn fair_costs_what_single_costs_and_multi_that_for_every_topic() {
    let mut real = Real::from_environment();
    let names: Vec<String> = (0..TOPICS).map(|number| format!("topic-{number}")).collect();
    real.create(&names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>()).await;
    names.iter().for_each(|name| real.send(name, 0, 3));
    real.flush();
    let topics: Vec<String> = names.iter().map(|name| real.name(name)).collect();
    // What the process keeps after its first client.
    held_by(&real, &topics[..1], ModeRequest::Fair).await;

    let one = held_by(&real, &topics[1..2], ModeRequest::Single).await;
    let single = held_by(&real, &topics, ModeRequest::Single).await;
    let fair = held_by(&real, &topics, ModeRequest::Fair).await;
    let multi = held_by(&real, &topics, ModeRequest::Multi).await;
    let all = format!("one topic {one:?}, single {single:?}, fair {fair:?}, multi {multi:?}");
    assert_eq!((fair.threads, fair.sockets), (single.threads, single.sockets), "{all}");
    assert_eq!((single.threads, single.sockets), (one.threads, one.sockets), "{all}");
    assert_eq!(multi.threads, TOPICS * one.threads, "{all}");
    assert!(multi.sockets >= TOPICS && multi.sockets <= TOPICS * one.sockets, "{all}");
    real.remove().await;
}
