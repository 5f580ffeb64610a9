//! Holding topics back, reading on from elsewhere, finishing record by record, asking for lag.

mod common;

use std::pin::pin;
use std::time::{Duration, Instant};

use common::{Delivered, MODES, Mock, assert_complete, config, note, stopped};
use fairpoll::{Batch, Committed, Consumer, ModeRequest, OwnedRecord, SeekError, SeekTo};
use futures_util::TryStreamExt;

const TOPICS: [&str; 3] = ["deep", "quiet-1", "quiet-2"];
const WAIT: Duration = Duration::from_secs(5);

fn filled() -> Mock {
    Mock::filled(&[("deep", 2, 2000), ("quiet-1", 1, 100), ("quiet-2", 1, 100)])
}

/// Polls until `enough` or 20 s passed.
async fn collect(consumer: &mut Consumer, into: &mut Delivered, enough: impl Fn(&Delivered) -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !enough(into) && Instant::now() < until {
        let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
        assert_eq!(batch.errors(), [], "no topic fails here");
        note(&batch, into);
        consumer.commit(&batch);
    }
}

/// Batches with so many records in all, or what came in 20 s. Nothing is marked as processed.
async fn batches(consumer: &mut Consumer, records: usize) -> Vec<Batch> {
    let until = Instant::now() + Duration::from_secs(20);
    let mut all: Vec<Batch> = Vec::new();
    while all.iter().map(Batch::len).sum::<usize>() < records && Instant::now() < until {
        all.push(consumer.get_many(Duration::from_millis(50), None).await.expect("poll"));
    }
    all
}

fn offsets(batches: &[Batch]) -> Vec<i64> {
    batches.iter().flat_map(Batch::records).map(|record| record.offset()).collect()
}

fn count(all: &Delivered) -> usize {
    all.values().map(Vec::len).sum()
}

async fn assigned(consumer: &mut Consumer, partitions: usize) {
    let until = Instant::now() + Duration::from_secs(10);
    while consumer.status().assigned_partitions < partitions && Instant::now() < until {
        let batch = consumer.get_many(Duration::ZERO, Some(0)).await.expect("poll");
        assert!(batch.is_empty(), "it takes none");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_paused_topic_waits_and_loses_nothing_while_the_others_go_on() {
    let mock = filled();
    for mode in MODES {
        let mut consumer =
            Consumer::start(config(&mock, &format!("pause-{mode}"), &TOPICS, mode)).expect("start");
        consumer.pause_topic("deep").expect("known");
        let mut all = Delivered::new();
        collect(&mut consumer, &mut all, |all| count(all) == 200).await;
        assert_complete(&all, &[("quiet-1", 0, 100), ("quiet-2", 0, 100)]);
        for _ in 0..5 {
            let batch = consumer.get_many(Duration::from_millis(40), None).await.expect("poll");
            assert!(batch.is_empty(), "{mode}: the paused topic stays so");
        }

        consumer.resume_topic("deep").expect("known");
        collect(&mut consumer, &mut all, |all| count(all) >= 1000).await;
        consumer.pause_topic("deep").expect("known");
        consumer.pause_topic("deep").expect("twice is once");
        assert_eq!(consumer.paused_topics().collect::<Vec<_>>(), ["deep"]);
        let before = count(&all);
        for _ in 0..5 {
            let batch = consumer.get_many(Duration::from_millis(40), None).await.expect("poll");
            assert!(batch.is_empty(), "{mode}: paused in the middle");
        }
        assert_eq!(count(&all), before);
        consumer.resume_topic("deep").expect("known");
        collect(&mut consumer, &mut all, |all| count(all) == 4200).await;
        assert_complete(&all, &[("deep", 0, 2000), ("deep", 1, 2000)]);
        stopped(consumer).await;
    }
    let mut consumer = Consumer::start(config(&mock, "unknown", &TOPICS, ModeRequest::Fair)).expect("start");
    let error = consumer.pause_topic("deeep").expect_err("not its topic").to_string();
    assert!(error.contains("deeep"), "{error}");
    stopped(consumer).await;
}

#[tokio::test]
async fn a_seek_reads_on_from_there_and_commits_nothing_beyond_it_too_early() {
    let mock = filled();
    for mode in MODES {
        let group = format!("seek-{mode}");
        let mut consumer = Consumer::start(config(&mock, &group, &TOPICS, mode)).expect("start");
        let mut all = Delivered::new();
        collect(&mut consumer, &mut all, |all| count(all) == 4200).await;

        consumer.seek("quiet-1", 0, SeekTo::Offset(60), WAIT).await.expect("seek");
        let again = batches(&mut consumer, 40).await;
        assert_eq!(offsets(&again), (60..100).collect::<Vec<i64>>(), "{mode}");
        for batch in again {
            assert!(batch.records().all(|record| record.topic() == "quiet-1"), "{mode}");
            consumer.commit(&batch);
        }

        consumer.seek("quiet-2", 0, SeekTo::Beginning, WAIT).await.expect("seek");
        let again = batches(&mut consumer, 100).await;
        assert_eq!(offsets(&again), (0..100).collect::<Vec<i64>>(), "{mode}: from the beginning");
        for record in again.iter().flat_map(Batch::records).take(30) {
            consumer.ack(record);
        }
        drop(again);
        stopped(consumer).await;

        let mut next = Consumer::start(config(&mock, &group, &TOPICS, mode)).expect("start");
        let mut rest = Delivered::new();
        collect(&mut next, &mut rest, |rest| count(rest) >= 70).await;
        let offsets = &rest[&("quiet-2".to_owned(), 0)];
        assert_eq!(*offsets, (30..100).collect::<Vec<i64>>(), "{mode}: from where it was processed");
        assert_eq!(rest.len(), 1, "{mode}: everything else was committed: {:?}", rest.keys());
        stopped(next).await;
    }
}

/// What was processed before a seek back is committed after it up to the place that was sought: whoever
/// starts at the committed offset must not skip what was sought, nor begin where `auto.offset.reset` says.
#[tokio::test]
async fn a_seek_back_leaves_what_was_processed_to_be_committed_up_to_there() {
    let mock = Mock::filled(&[("deep", 1, 100)]);
    for mode in MODES {
        let start =
            || Consumer::start(config(&mock, &format!("back-{mode}"), &["deep"], mode)).expect("start");
        let mut consumer = start();
        let before = batches(&mut consumer, 100).await;
        before.iter().for_each(|batch| consumer.mark_processed(batch));
        consumer.seek("deep", 0, SeekTo::Offset(60), WAIT).await.expect("seek");
        // Of batches from before the seek: it changes nothing.
        before.iter().for_each(|batch| consumer.commit(batch));
        drop(before);
        stopped(consumer).await;

        let mut next = start();
        let mut all = Delivered::new();
        collect(&mut next, &mut all, |all| count(all) >= 40).await;
        assert_eq!(all[&("deep".to_owned(), 0)], (60..100).collect::<Vec<i64>>(), "{mode}");
        stopped(next).await;
    }
}

#[tokio::test]
async fn a_seek_right_after_the_assignment_holds() {
    let mock = filled();
    for mode in MODES {
        let mut consumer =
            Consumer::start(config(&mock, &format!("early-{mode}"), &TOPICS, mode)).expect("start");
        assigned(&mut consumer, 4).await;
        consumer.seek("deep", 1, SeekTo::Offset(1990), WAIT).await.expect("seek");
        consumer.seek("deep", 0, SeekTo::End, WAIT).await.expect("seek");
        let mut all = Delivered::new();
        collect(&mut consumer, &mut all, |all| count(all) == 210).await;
        assert_eq!(all[&("deep".to_owned(), 1)], (1990..2000).collect::<Vec<i64>>(), "{mode}");
        assert!(!all.contains_key(&("deep".to_owned(), 0)), "{mode}: nothing new came");
        stopped(consumer).await;
    }
}

#[tokio::test]
async fn a_seek_that_cannot_be_says_why() {
    let mock = Mock::filled(&[("deep", 1, 10)]);
    let mut consumer =
        Consumer::start(config(&mock, "impossible", &["deep"], ModeRequest::Single)).expect("start");
    let early = consumer.seek("deep", 0, SeekTo::Beginning, WAIT).await;
    assert!(matches!(early, Err(SeekError::NotOwned { .. })), "{early:?}");
    let mut all = Delivered::new();
    collect(&mut consumer, &mut all, |all| count(all) == 10).await;
    let seeks = [("deep", 7, SeekTo::End), ("other", 0, SeekTo::End), ("deep", 0, SeekTo::Offset(-3))];
    let mut errors = Vec::new();
    for (topic, partition, to) in seeks {
        errors.push(consumer.seek(topic, partition, to, WAIT).await.expect_err("impossible").to_string());
    }
    assert!(errors[0].contains("deep [7] is not assigned"), "{errors:?}");
    assert!(errors[1].contains("\"other\""), "{errors:?}");
    assert!(errors[2].contains("-3 is no offset"), "{errors:?}");
    stopped(consumer).await;
}

// shows: E20
#[tokio::test]
async fn records_are_finished_one_by_one_in_any_order_and_committed_up_to_the_first_gap() {
    let mock = Mock::filled(&[("deep", 1, 10), ("quiet-1", 1, 10)]);
    let topics = ["deep", "quiet-1"];
    let start = || Consumer::start(config(&mock, "ack", &topics, ModeRequest::Fair)).expect("start");
    let mut consumer = start();
    let all = batches(&mut consumer, 20).await;
    let copies: Vec<OwnedRecord> =
        all.iter().flat_map(Batch::records).map(|record| record.to_owned()).collect();
    drop(all);
    for copy in copies.iter().rev().filter(|copy| copy.topic == "deep" || copy.offset != 4) {
        consumer.ack(copy);
    }
    // Twice is once.
    consumer.ack(copies[0].receipt);
    consumer.commit_processed();
    stopped(consumer).await;

    let mut next = start();
    let mut all = Delivered::new();
    collect(&mut next, &mut all, |all| count(all) == 6).await;
    assert_eq!(all[&("quiet-1".to_owned(), 0)], (4..10).collect::<Vec<i64>>());
    assert_eq!(all.len(), 1, "{:?}", all.keys());
    stopped(next).await;
}

#[tokio::test]
async fn a_batch_names_the_topics_that_it_lacks_and_records_have_their_headers() {
    let mock = Mock::filled(&[("deep", 1, 0), ("quiet-1", 1, 0), ("quiet-2", 1, 0)]);
    mock.produce_with_headers("quiet-1", 0, &[("trace", Some("7")), ("trace", Some("8")), ("empty", None)]);
    let mut consumer = Consumer::start(config(&mock, "lacks", &TOPICS, ModeRequest::Fair)).expect("start");
    let batch = consumer.get_many(Duration::from_secs(10), None).await.expect("poll");
    assert_eq!(batch.missing_topics().collect::<Vec<_>>(), ["deep", "quiet-2"]);
    let record = batch.records().next().expect("one");
    let headers: Vec<(String, Option<&[u8]>)> =
        record.headers().map(|(name, value)| (name.into_owned(), value)).collect();
    let wanted: [(String, Option<&[u8]>); 3] =
        [("trace".into(), Some(b"7")), ("trace".into(), Some(b"8")), ("empty".into(), None)];
    assert_eq!(headers, wanted);
    assert_eq!(record.to_owned().headers.len(), 3);
    drop(batch);
    stopped(consumer).await;
}

// shows: E14
#[tokio::test]
async fn exact_lag_is_what_the_broker_says_and_not_what_was_last_fetched() {
    for mode in MODES {
        let mock = filled();
        let mut consumer =
            Consumer::start(config(&mock, &format!("lag-{mode}"), &TOPICS, mode)).expect("start");
        let mut all = Delivered::new();
        collect(&mut consumer, &mut all, |all| count(all) == 4200).await;
        // Nobody polls, so the client knows nothing of these.
        mock.produce("quiet-2", 0, 25);
        let lag = consumer.exact_lag(WAIT).await.expect("lag");
        let partitions: Vec<(&str, i32)> = lag
            .iter()
            .flat_map(|(topic, partitions)| partitions.keys().map(|number| (topic.as_str(), *number)))
            .collect();
        assert_eq!(partitions, [("deep", 0), ("deep", 1), ("quiet-1", 0), ("quiet-2", 0)], "{mode}");
        let quiet = &lag["quiet-2"][&0];
        assert_eq!(quiet.processing(consumer.now()).map(|lag| lag.records), Ok(25), "{mode}: {quiet:?}");
        assert_eq!(quiet.log_start.map(|sample| sample.offset), Some(0), "{mode}");
        stopped(consumer).await;
    }
}

#[tokio::test]
async fn a_group_that_never_committed_has_no_committed_offset_rather_than_0() {
    let mock = filled();
    let mut consumer = Consumer::start(config(&mock, "never", &TOPICS, ModeRequest::Fair)).expect("start");
    drop(consumer.get_many(Duration::from_secs(10), None).await.expect("poll"));
    let lag = consumer.exact_lag(WAIT).await.expect("lag");
    assert!(matches!(lag["quiet-1"][&0].committed, Committed::Absent { .. }), "{lag:?}");
    let report = consumer.stop(WAIT).await;
    assert!(report.closed, "{report:?}");
}

#[tokio::test]
async fn a_stream_commits_a_batch_when_the_next_is_asked_for() {
    let mock = Mock::filled(&[("deep", 1, 250)]);
    let start = || Consumer::start(config(&mock, "stream", &["deep"], ModeRequest::Fair)).expect("start");
    let mut consumer = start();
    let mut first = Vec::new();
    {
        let mut batches = pin!(consumer.batches(Some(100)));
        for _ in 0..2 {
            let batch = batches.try_next().await.expect("poll").expect("a batch");
            first.extend(batch.records().map(|record| record.offset()));
        }
    }
    assert_eq!(first, (0..i64::try_from(first.len()).expect("few")).collect::<Vec<_>>());
    let processed = consumer.stop(WAIT).await.unprocessed;
    // The first batch is processed, the second was not said to be.
    let [(_, _, next)] = processed[..] else { panic!("{processed:?}") };
    assert!(next > 0 && next < i64::try_from(first.len()).expect("few"), "{next} of {first:?}");
    assert!(pin!(consumer.batches(None)).try_next().await.expect("ended").is_none(), "it is stopped");

    let mut again = start();
    let batch = pin!(again.batches(Some(10))).try_next().await.expect("poll").expect("a batch");
    assert_eq!(batch.records().next().expect("one").offset(), next);
    drop(batch);
    let report = again.stop(WAIT).await;
    assert!(report.closed, "{report:?}");
}
