//! Everything that crosses the border to librdkafka, in every mode and at awkward moments: what is lent is
//! used up to the end, what is given back is given back once. `ci/valgrind` runs it under memcheck, which
//! sees what a test cannot; without it, it is a test like others.

mod common;

use std::time::{Duration, Instant};

use common::{MODES, Mock, config, stopped};
use fairpoll::{Batch, Consumer, ModeRequest, OwnedRecord, SeekTo};

const TOPICS: [&str; 3] = ["a", "b", "c"];
/// Memcheck makes it twenty to fifty times slower, and runs one thread at a time.
const WAIT: Duration = Duration::from_secs(120);

/// Batches with so many records in all. Every third poll is dropped before it is done.
async fn take(consumer: &mut Consumer, records: usize) -> Vec<Batch> {
    let until = Instant::now() + WAIT;
    let (mut batches, mut taken, mut polls) = (Vec::new(), 0, 0);
    while taken < records {
        assert!(Instant::now() < until, "{taken} of {records} records came");
        polls += 1;
        if polls % 3 == 0 {
            let dropped = tokio::time::timeout(
                Duration::from_millis(polls % 7),
                consumer.get_many(Duration::from_millis(50), None),
            );
            let Ok(batch) = dropped.await else { continue };
            taken += batch.as_ref().map_or(0, Batch::len);
            batches.extend(batch);
            continue;
        }
        let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
        taken += batch.len();
        consumer.commit(&batch);
        batches.push(batch);
    }
    batches
}

/// Reads every byte that is lent.
fn read(batches: &[Batch]) -> (usize, Vec<OwnedRecord>) {
    let mut bytes = 0;
    let mut copies = Vec::new();
    for record in batches.iter().flat_map(Batch::records) {
        let sum = |bytes: Option<&[u8]>| {
            bytes.unwrap_or_default().iter().fold(0, |sum, byte| sum + usize::from(*byte))
        };
        bytes += sum(record.key()) + sum(record.value()) + record.topic().len();
        bytes += record.headers().map(|(name, value)| name.len() + sum(value)).sum::<usize>();
        if record.offset() % 10 == 0 {
            copies.push(record.to_owned());
        }
    }
    (bytes, copies)
}

async fn life(mock: &Mock, mode: ModeRequest, round: usize) {
    let config = config(mock, &format!("stress-{mode}-{round}"), &TOPICS, mode);
    let mut first = Consumer::start(config.clone()).expect("start");
    let held = take(&mut first, 200).await;
    // Records that were read are read again; some of what waits in the queues is thrown away.
    first.seek("a", 0, SeekTo::Beginning, WAIT).await.expect("it is assigned");
    let again = take(&mut first, 100).await;
    // Another one takes partitions away, while their records are held.
    let mut second = Consumer::start(config.clone()).expect("start");
    for _ in 0..20 {
        let poll = |consumer: &'static str| move |error| panic!("{consumer}: {error}");
        let (one, two) = tokio::join!(
            first.get_many(Duration::from_millis(20), None),
            second.get_many(Duration::from_millis(20), None)
        );
        let (one, two) = (one.unwrap_or_else(poll("first")), two.unwrap_or_else(poll("second")));
        first.commit(&one);
        second.commit(&two);
    }
    let lag = first.exact_lag(WAIT).await;
    assert!(lag.is_ok(), "{lag:?}");
    drop(again);
    // Records outlive the consumer that brought them, and their copies outlive them.
    let report = first.stop(Duration::from_millis(500)).await;
    assert!(report.outstanding_batches > 0, "{report:?}");
    drop(first);
    let (bytes, copies) = read(&held);
    assert!(bytes > 0);
    drop(held);
    assert!(copies.iter().all(|copy| TOPICS.contains(&copy.topic.as_str())));
    if round == 0 {
        stopped(second).await;
    } else {
        // Without a stop, with whatever is under way.
        drop(second);
    }
}

#[tokio::test]
async fn every_mode_is_started_read_sought_shared_and_stopped_at_awkward_moments() {
    let mock = Mock::filled(&TOPICS.map(|topic| (topic, 2, 300)));
    mock.produce_with_headers("a", 0, &[("name", Some("value")), ("empty", None)]);
    for mode in MODES {
        for round in 0..2 {
            life(&mock, mode, round).await;
        }
    }
    // Handles are destroyed on threads of their own.
    tokio::time::sleep(Duration::from_millis(500)).await;
}
