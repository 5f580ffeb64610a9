//! A program that changes its group ids and takes its positions along, on a real broker: only that says
//! who is in a group.
//!
//! ```text
//! FAIRPOLL_TEST_BROKER=HOST:PORT cargo test -p fairpoll --test migration -- --ignored
//! ```

mod common;

use std::time::{Duration, Instant};

use common::real::Real;
use common::{Delivered, note};
use fairpoll::migration::{Conflict, GroupIds, Migration, MigrationError, MigrationRequest, Overtaken, Step};
use fairpoll::{Config, Consumer, GroupStrategy, ModeRequest};

const RECORDS: usize = 300;

fn request(from: GroupIds, to: GroupIds) -> MigrationRequest {
    MigrationRequest { from, to, overtaken: Overtaken::Refuse, timeout: Duration::from_secs(20) }
}

async fn survey(config: &Config, from: GroupIds, to: GroupIds) -> Result<Migration, MigrationError> {
    let config = config.clone();
    let asked = tokio::task::spawn_blocking(move || Migration::survey(&config, request(from, to)));
    asked.await.expect("it does not panic")
}

/// One life of the program: polls until so many records came, commits what it got, and stops.
async fn live(config: &Config, strategy: GroupStrategy, records: usize, into: &mut Delivered) {
    let mut consumer = Consumer::start(config.clone().group_strategy(strategy)).expect("start");
    take(&mut consumer, records, into).await;
    common::stopped(consumer).await;
}

async fn take(consumer: &mut Consumer, records: usize, into: &mut Delivered) {
    let until = Instant::now() + Duration::from_secs(30);
    let mut taken = 0;
    while taken < records {
        assert!(Instant::now() < until, "{taken} of {records} records came");
        let batch = consumer.get_many(Duration::from_millis(100), None).await.expect("poll");
        assert_eq!(batch.errors(), [], "no topic fails here");
        taken += batch.len();
        note(&batch, into);
        consumer.commit(&batch);
    }
}

/// Moves the positions, once nobody is a member any more: a broker notices a leave a moment later.
async fn migrate(config: &Config, from: GroupIds, to: GroupIds) -> usize {
    let until = Instant::now() + Duration::from_secs(10);
    let mut found = survey(config, from, to).await.expect("survey");
    while let Err(error) = found.permitted() {
        assert!(matches!(error, MigrationError::Active { .. }) && Instant::now() < until, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        found = survey(config, from, to).await.expect("survey");
    }
    let written = tokio::task::spawn_blocking(move || found.apply());
    let written = written.await.expect("it does not panic").expect("apply");
    let again = survey(config, from, to).await.expect("survey");
    assert!(again.permitted().is_ok() && !again.has_work(), "{again:?}");
    written
}

// shows: E18
#[tokio::test]
#[ignore = "needs a broker: FAIRPOLL_TEST_BROKER=HOST:PORT"]
async fn group_ids_are_changed_there_and_back_and_every_record_comes_once() {
    let mut real = Real::from_environment();
    real.create(&[("deep", 2), ("quiet", 1), ("empty", 1)]).await;
    for (topic, partition) in [("deep", 0), ("deep", 1), ("quiet", 0)] {
        real.produce(topic, partition, RECORDS);
    }
    let topics = ["deep", "quiet", "empty"].map(|topic| real.name(topic));
    for (shared, group) in [(GroupStrategy::Kip848, "kip848"), (GroupStrategy::Cooperative, "classic")] {
        let config = Config::new(&real.address, real.name(group), topics.clone())
            .mode(ModeRequest::Multi)
            .max_poll_records(50)
            .property("auto.offset.reset", "earliest");
        let mut all = Delivered::new();

        let mut first = Consumer::start(config.clone().group_strategy(shared)).expect("start");
        take(&mut first, RECORDS, &mut all).await;
        // Nothing is moved under the hands of a running program.
        let mut running = survey(&config, GroupIds::Shared, GroupIds::Own).await.expect("survey");
        let refused = tokio::task::spawn_blocking(move || running.apply()).await.expect("it does not panic");
        assert!(matches!(refused, Err(MigrationError::Active { .. })), "{group}: {refused:?}");
        common::stopped(first).await;

        assert!(migrate(&config, GroupIds::Shared, GroupIds::Own).await > 0, "{group}");
        live(&config, GroupStrategy::Own, RECORDS, &mut all).await;
        // The groups that were left behind are no way back: nobody goes back in time by mistake.
        let wrong = survey(&config, GroupIds::Shared, GroupIds::Own).await.expect("survey");
        let ahead = |step| matches!(step, Step::Conflict(_));
        assert!(wrong.partitions().iter().any(|moved| ahead(moved.step)), "{wrong:?}");

        assert!(migrate(&config, GroupIds::Own, GroupIds::Shared).await > 0, "{group}");
        let so_far: usize = all.values().map(Vec::len).sum();
        live(&config, shared, 3 * RECORDS - so_far, &mut all).await;
        let expected = [(&*topics[0], 0, RECORDS), (&*topics[0], 1, RECORDS), (&*topics[1], 0, RECORDS)];
        common::assert_complete(&all, &expected);
    }
    real.remove().await;
}

#[tokio::test]
#[ignore = "needs a broker: FAIRPOLL_TEST_BROKER=HOST:PORT"]
async fn what_retention_removed_is_named_and_gone_over_only_when_told() {
    let mut real = Real::from_environment();
    real.create(&[("short", 1)]).await;
    real.produce("short", 0, 100);
    let config = Config::new(&real.address, real.name("overtaken"), [real.name("short")])
        .mode(ModeRequest::Multi)
        .max_poll_records(20)
        .property("auto.offset.reset", "earliest");
    let mut all = Delivered::new();
    live(&config, GroupStrategy::Cooperative, 20, &mut all).await;
    let committed = i64::try_from(all.values().map(Vec::len).sum::<usize>()).expect("few");
    real.forget_before("short", 0, committed + 7).await;

    let refused = survey(&config, GroupIds::Shared, GroupIds::Own).await.expect("survey");
    assert_eq!(refused.partitions()[0].step, Step::Conflict(Conflict::Overtaken { by: 7 }));
    let told = MigrationRequest { overtaken: Overtaken::Clamp, ..request(GroupIds::Shared, GroupIds::Own) };
    let asked = {
        let config = config.clone();
        tokio::task::spawn_blocking(move || {
            let mut found = Migration::survey(&config, told)?;
            found.apply()
        })
    };
    assert_eq!(asked.await.expect("it does not panic"), Ok(1));
    let mut rest = Delivered::new();
    live(
        &config,
        GroupStrategy::Own,
        usize::try_from(100 - committed - 7).expect("some are left"),
        &mut rest,
    )
    .await;
    let offsets: Vec<i64> = rest.into_values().flatten().collect();
    assert_eq!(offsets, (committed + 7..100).collect::<Vec<_>>());
    real.remove().await;
}
