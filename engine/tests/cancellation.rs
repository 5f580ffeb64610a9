//! A future that is dropped loses nothing: ten thousand polls in each mode, seeks, stops.
//!
//! `FAIRPOLL_SEED=N cargo test -p fairpoll --test cancellation` draws other points to drop at; a test
//! that fails shows its seed.
#![expect(clippy::print_stdout, reason = "shown where a test fails: the seed")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use common::{Delivered, MODES, Mock, config, note, stopped};
use fairpoll::{Batch, Config, Consumer, ConsumerEvent, GroupStrategy, ModeRequest, PollError, SeekTo};
use fastrand::Rng;

const DROPS: usize = 10_000;
const PARTITIONS: [(&str, i32); 5] = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 0)];
const TOPICS: [&str; 3] = ["a", "b", "c"];
const WAIT: Duration = Duration::from_secs(5);

fn rng(of: &str) -> Rng {
    let seed = std::env::var("FAIRPOLL_SEED").ok();
    let seed = seed.map_or(20_261_124, |text| text.parse().expect("FAIRPOLL_SEED is a number"));
    println!("{of}: FAIRPOLL_SEED={seed}");
    Rng::with_seed(seed)
}

/// What the future returns at its next poll; `None`: it waits.
async fn once<F: Future>(future: &mut Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Runs a future up to a random point; `None`: it was dropped there.
async fn part_of<F: Future>(rng: &mut Rng, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match rng.u8(..100) {
        0..40 => once(&mut future).await,
        40..60 => {
            for _ in 0..rng.u32(2..12) {
                if let Some(output) = once(&mut future).await {
                    return Some(output);
                }
                tokio::task::yield_now().await;
            }
            None
        }
        // The other branch is ready at once, or when it is asked a second time; half of the time it is
        // asked first.
        60..80 => tokio::select! {
            output = &mut future => Some(output),
            () = std::future::ready(()) => None,
        },
        80..90 => tokio::select! {
            output = &mut future => Some(output),
            () = tokio::task::yield_now() => None,
        },
        _ => tokio::time::timeout(Duration::from_micros(rng.u64(..2_500)), future).await.ok(),
    }
}

/// What a group has seen of its topics, and what must be true of that: an assignment goes on where the
/// group stands, without a gap and in order. Only its first record of a partition may be an earlier
/// one, for the mock refuses commits while a group rebalances, but none whose commit was answered.
#[derive(Default)]
struct Ledger {
    next: BTreeMap<(String, i32), i64>,
    acknowledged: BTreeMap<(String, i32), i64>,
}

/// Whether a commit of this offset was answered, and well.
fn is_committed(events: &[ConsumerEvent], place: (&str, i32, i64)) -> bool {
    let is_of =
        |(topic, partition, offset): &(String, i32, i64)| (topic.as_str(), *partition, *offset) == place;
    let sent = |wanted: u64| {
        let holds = |event: &ConsumerEvent| {
            matches!(event,
            ConsumerEvent::CommitSent { id, offsets } if *id == wanted && offsets.iter().any(is_of))
        };
        events.iter().any(holds)
    };
    events.iter().any(|event| matches!(event, ConsumerEvent::CommitResult { id, error: None } if sent(*id)))
}

/// One consumer of the group.
struct Member {
    name: &'static str,
    consumer: Consumer,
    /// Partitions of which nothing came since their assignment.
    fresh: BTreeSet<(String, i32)>,
    position: BTreeMap<(String, i32), i64>,
    sent: BTreeMap<u64, Vec<(String, i32, i64)>>,
}

impl Member {
    fn start(name: &'static str, config: Config) -> Self {
        Self {
            name,
            consumer: Consumer::start(config).expect("start"),
            fresh: BTreeSet::new(),
            position: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// One poll, perhaps a part of one. Whether it was dropped.
    async fn poll(&mut self, rng: &mut Rng, ledger: &mut Ledger) -> bool {
        let most = rng.bool().then(|| rng.u32(1..40));
        let polled = part_of(rng, self.consumer.get_many(Duration::from_millis(50), most)).await;
        self.look_at_events(ledger);
        let Some(batch) = polled else { return true };
        let batch = batch.expect("poll");
        assert_eq!(batch.errors(), [], "no topic fails here");
        self.check(&batch, ledger);
        self.consumer.commit(&batch);
        self.look_at_events(ledger);
        false
    }

    fn look_at_events(&mut self, ledger: &mut Ledger) {
        let events: Vec<ConsumerEvent> = self.consumer.take_events().collect();
        for event in events {
            match event {
                ConsumerEvent::Assigned { partitions, .. } => self.fresh.extend(partitions),
                ConsumerEvent::CommitSent { id, offsets } => drop(self.sent.insert(id, offsets)),
                ConsumerEvent::CommitResult { id, error: None } => {
                    for (topic, partition, offset) in self.sent.remove(&id).expect("sent before") {
                        let known = ledger.acknowledged.entry((topic, partition)).or_default();
                        *known = offset.max(*known);
                    }
                }
                _ => {}
            }
        }
    }

    fn check(&mut self, batch: &Batch, ledger: &mut Ledger) {
        for record in batch.records() {
            let (partition, offset) = ((record.topic().to_owned(), record.partition()), record.offset());
            let next = ledger.next.entry(partition.clone()).or_default();
            let what = format!("{} got {partition:?} offset {offset}, the group's next is {next}", self.name);
            if self.fresh.remove(&partition) {
                let acknowledged = ledger.acknowledged.get(&partition).copied().unwrap_or(0);
                assert!(offset <= *next, "lost: {what}");
                assert!(offset >= acknowledged, "repeated what is committed up to {acknowledged}: {what}");
            } else {
                let position = self.position[&partition];
                assert_eq!(offset, position, "lost, repeated or out of order: {what}");
            }
            *next = (*next).max(offset + 1);
            self.position.insert(partition, offset + 1);
        }
    }
}

/// Produces a little to some partitions.
fn produce(mock: &Mock, rng: &mut Rng, produced: &mut BTreeMap<(String, i32), i64>) {
    for (topic, partition) in PARTITIONS {
        let records = rng.usize(..12);
        mock.send(topic, partition, records);
        *produced.entry((topic.to_owned(), partition)).or_default() += i64::try_from(records).expect("few");
    }
}

async fn ten_thousand_polls_are_dropped(mode: ModeRequest) {
    let mut rng = rng(&mode.to_string());
    let mock = Mock::filled(&[("a", 2, 0), ("b", 2, 0), ("c", 1, 0)]);
    let group = format!("dropped-{mode}");
    let config = config(&mock, &group, &TOPICS, mode).max_poll_records(20);
    // Whoever leaves the mock's KIP-848 group before it was answered may leave a partition there that
    // nobody gets.
    let config = match mode {
        ModeRequest::Multi => config.group_strategy(GroupStrategy::Own),
        _ => config,
    };
    let mut produced = BTreeMap::new();
    let mut ledger = Ledger::default();
    let mut first = Member::start("the first", config.clone());
    let mut second = None;
    let mut dropped = 0;
    // A second member comes and goes, twice; the drops go on meanwhile.
    let mut comes = [DROPS / 5, DROPS * 3 / 5].into_iter().peekable();
    let mut shared = 0;
    let until = Instant::now() + Duration::from_secs(60);
    while dropped < DROPS || shared < 2 {
        assert!(Instant::now() < until, "{dropped} drops, {shared} assignments shared");
        if rng.u8(..100) == 0 {
            produce(&mock, &mut rng, &mut produced);
        }
        dropped += usize::from(first.poll(&mut rng, &mut ledger).await);
        if comes.next_if(|&at| at <= dropped && second.is_none()).is_some() {
            second = Some((Member::start("the second", config.clone()), Instant::now()));
        }
        if let Some((member, began)) = &mut second {
            dropped += usize::from(member.poll(&mut rng, &mut ledger).await);
            let owns = member.consumer.status().assigned_partitions > 0;
            if owns && began.elapsed() > Duration::from_millis(1_200) {
                shared += 1;
                let Some((mut member, _)) = second.take() else { continue };
                let report = member.consumer.stop(WAIT).await;
                member.look_at_events(&mut ledger);
                assert!(report.committed && report.closed && report.unprocessed.is_empty(), "{report:?}");
            }
        }
    }
    assert_eq!(shared, 2, "{mode}: the group was shared twice");

    let until = Instant::now() + Duration::from_secs(20);
    // What a rebalance kept from being committed comes again, and is then.
    while (ledger.next != produced || ledger.acknowledged != produced) && Instant::now() < until {
        first.poll(&mut rng, &mut ledger).await;
    }
    assert_eq!(ledger.next, produced, "{mode}: everything came");
    assert_eq!(ledger.acknowledged, produced, "{mode}: everything was committed");
    assert!(ledger.next.values().all(|&records| records > 0), "{mode}: {:?}", ledger.next);
    assert_eq!(first.consumer.status().strays, 0, "{mode}");
    stopped(first.consumer).await;

    let mut again = Consumer::start(config).expect("start");
    let batch = again.get_many(Duration::from_millis(700), None).await.expect("poll");
    assert_eq!(batch.len(), 0, "{mode}: everything was committed");
    stopped(again).await;
}

#[tokio::test]
async fn ten_thousand_polls_of_single_are_dropped_and_lose_and_repeat_nothing() {
    ten_thousand_polls_are_dropped(ModeRequest::Single).await;
}

#[tokio::test]
async fn ten_thousand_polls_of_multi_are_dropped_and_lose_and_repeat_nothing() {
    ten_thousand_polls_are_dropped(ModeRequest::Multi).await;
}

#[tokio::test]
async fn ten_thousand_polls_of_fair_are_dropped_and_lose_and_repeat_nothing() {
    ten_thousand_polls_are_dropped(ModeRequest::Fair).await;
}

/// A dropped seek may happen or not; either way the partition is whole from where it goes on, and the
/// commits stay behind the first record that was not processed.
#[tokio::test]
async fn a_dropped_seek_happens_or_does_not_and_nothing_is_committed_past_what_is_unprocessed() {
    let mut rng = rng("seek");
    let mock = Mock::filled(&[("a", 1, 100), ("b", 1, 100)]);
    let mut happened = [0, 0];
    for (number, mode) in MODES.into_iter().cycle().take(9).enumerate() {
        let config = config(&mock, &format!("seek-{number}"), &["a", "b"], mode);
        let mut consumer = Consumer::start(config.clone()).expect("start");
        let all = common::drain(&mut consumer, 200).await;
        common::assert_complete(&all, &[("a", 0, 100), ("b", 0, 100)]);

        // Every other time the last commit is answered before the seek.
        let stands = number % 2 == 0;
        let (waits, mut events) = (Instant::now(), Vec::new());
        while stands && !is_committed(&events, ("a", 0, 100)) {
            assert!(waits.elapsed() < WAIT, "{mode}: the commit is not answered");
            consumer.get_many(Duration::from_millis(20), None).await.expect("poll");
            events.extend(consumer.take_events());
        }
        let target = rng.i64(0..90);
        let sought = part_of(&mut rng, consumer.seek("a", 0, SeekTo::Offset(target), WAIT)).await;
        assert!(matches!(sought, None | Some(Ok(()))), "{mode}: {sought:?}");
        let mut again: Vec<Batch> = Vec::new();
        let rest = usize::try_from(100 - target).expect("small");
        let count = |batches: &[Batch]| batches.iter().map(Batch::len).sum::<usize>();
        let began = Instant::now();
        // What has begun comes; what was dropped may never begin.
        let patience = |count: usize| if count > 0 || sought.is_some() { 10_000 } else { 400 };
        while count(&again) < rest && began.elapsed() < Duration::from_millis(patience(count(&again))) {
            let polled = part_of(&mut rng, consumer.get_many(Duration::from_millis(20), Some(7))).await;
            again.extend(polled.map(|batch| batch.expect("poll")));
        }
        let mut read = Delivered::new();
        again.iter().for_each(|batch| note(batch, &mut read));
        let read = read.remove(&("a".to_owned(), 0)).unwrap_or_default();
        happened[usize::from(!read.is_empty())] += 1;
        if !read.is_empty() {
            assert_eq!(read, (target..100).collect::<Vec<i64>>(), "{mode}: the log from there, once");
        }
        // What comes is processed up to somewhere.
        let processed = rng.usize(..=read.len());
        for record in again.iter().flat_map(Batch::records).take(processed) {
            consumer.ack(record);
        }
        drop(again);
        stopped(consumer).await;

        let next = target + i64::try_from(processed).expect("small");
        let mut successor = Consumer::start(config).expect("start");
        // Where nothing was processed since, a commit that was answered before the seek still stands; where none
        // was (the mock refuses what it gets while the group rebalances), all that was processed is committed up
        // to the place that was sought.
        let left = usize::try_from(100 - next).expect("small");
        let is_certain = processed > 0 && left > 0;
        let (least, patience) = if is_certain { (left, 20_000) } else { (1, 500) };
        let mut rest = common::drain_within(&mut successor, least, Duration::from_millis(patience)).await;
        let rest = rest.remove(&("a".to_owned(), 0)).unwrap_or_default();
        let what = format!("{mode}: sought {target}, of {} records {processed} processed", read.len());
        let came = if is_certain { left } else { rest.len() };
        assert_eq!(rest, (next..100).take(came).collect::<Vec<i64>>(), "{what}");
        assert!(!read.is_empty() || rest.is_empty(), "{what}: {rest:?} again, although no seek was seen");
        assert!(
            !stands || processed > 0 || rest.is_empty(),
            "{what}: {rest:?} again, although it was committed"
        );
        stopped(successor).await;
    }
    assert!(happened[1] > 0, "no seek happened: {happened:?}");
}

/// A stop that is dropped at any point is taken up again by the next, which says what is true then.
#[tokio::test]
async fn a_dropped_stop_is_taken_up_by_the_next() {
    let mut rng = rng("stop");
    let mock = Mock::filled(&[("a", 1, 100), ("b", 1, 100)]);
    for (number, mode) in MODES.into_iter().cycle().take(9).enumerate() {
        let config = config(&mock, &format!("stop-{number}"), &["a", "b"], mode);
        let mut consumer = Consumer::start(config.clone()).expect("start");
        let batch = consumer.get_many(Duration::from_secs(10), Some(30)).await.expect("poll");
        assert!(!batch.is_empty());
        consumer.mark_processed(&batch);
        let mut all = Delivered::new();
        note(&batch, &mut all);
        drop(batch);
        assert!(once(&mut pin!(consumer.stop(WAIT))).await.is_none(), "{mode}: it has something to wait for");
        let mut drops = 1;
        let report = loop {
            match part_of(&mut rng, consumer.stop(WAIT)).await {
                Some(report) => break report,
                None => drops += 1,
            }
            let polled = consumer.get_many(Duration::ZERO, None).await;
            assert_eq!(polled.err(), Some(PollError::Stopped), "{mode}: once begun it is not taken back");
        };
        assert!(report.committed && report.closed, "{mode} after {drops} drops: {report:?}");
        drop(consumer);
        let mut next = Consumer::start(config).expect("start");
        for (partition, offsets) in
            common::drain(&mut next, 200 - all.values().map(Vec::len).sum::<usize>()).await
        {
            all.entry(partition).or_default().extend(offsets);
        }
        common::assert_complete(&all, &[("a", 0, 100), ("b", 0, 100)]);
        stopped(next).await;
    }
}
