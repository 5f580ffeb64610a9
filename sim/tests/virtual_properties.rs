//! Whatever is drawn, a simulated consumer delivers every record once and in order, commits what it delivered, and
//! comes to an end.
//!
//! `PROPTEST_CASES=N cargo test -p fairpoll-sim --test virtual_properties` draws N cases.

use std::num::NonZeroU32;
use std::time::Duration;

use fairpoll_core::{Mode, Policy};
use fairpoll_sim::virtual_time::{
    End, FetchSettings, Group, Model, Poll, Produced, Run, Setup, TopicSetup, Trace, partitions, simulate,
};
use proptest::prelude::*;

fn topic() -> impl Strategy<Value = TopicSetup> {
    let backlog = prop_oneof![3 => 0_u64..300, 1 => 0_u64..40_000];
    let rate = prop_oneof![2 => Just(0.0), 1 => 0.1_f64..3_000.0];
    let sizes = (20_u64..2_000, 1_u64..=4);
    (1_u32..=4, 0_u64..50, backlog, rate, sizes, 1_u32..=3, 0_u8..=2).prop_map(
        |(partitions, earlier, backlog, rate_per_s, (unpacked_bytes, shrinks), weight, priority)| {
            TopicSetup {
                partitions,
                earlier,
                backlog,
                rate_per_s,
                record_bytes: 10 + unpacked_bytes / shrinks,
                unpacked_bytes,
                weight,
                priority,
            }
        },
    )
}

fn lives(topics: &[TopicSetup]) -> bool {
    topics.iter().any(|topic| topic.rate_per_s > 0.0)
}

fn fetch() -> impl Strategy<Value = FetchSettings> {
    let piece = prop_oneof![1_024_u64..64_000, 64_000_u64..2_000_000];
    (1_u64..20_000, 1_000_u64..10_000_000, piece, 1_u64..50_000_000, 0_u64..600, 0_u64..1_200).prop_map(
        |(queued_records, queued_bytes, piece_bytes, answer_bytes, wait_ms, backoff_ms)| FetchSettings {
            queued_records,
            queued_bytes,
            piece_bytes,
            answer_bytes,
            wait_ns: wait_ms * 1_000_000,
            backoff_ns: backoff_ms * 1_000_000,
        },
    )
}

fn setup() -> impl Strategy<Value = Setup> {
    let mode = prop_oneof![Just(Mode::Single), Just(Mode::Multi), Just(Mode::Fair)];
    let group = prop_oneof![Just(Group::Classic), Just(Group::Kip848), Just(Group::SharedClassic)];
    let topics = prop::collection::vec(topic(), 1..10);
    let quotas = (1_u32..1_500, prop::option::of(1_u32..4_000), prop::option::of(1_u64..300));
    let work = (0_u64..8_000, 0_u64..3_000);
    (mode, group, topics, quotas, work, fetch(), (1_u32..=3, 0_u32..=12, any::<u64>())).prop_map(
        |(mode, group, topics, (quota, max_records, complete_ms), (poll_us, record_ns), fetch, rest)| Setup {
            // Slow applications and fast producers meet: then it does not drain, and ends at its deadline.
            deadline: Duration::from_secs(if lives(&topics) { 100 } else { 1_000_000 }),
            mode,
            topics,
            quota: NonZeroU32::new(quota).expect("at least 1"),
            policy: Policy::PriorityWithGuard { guard_polls: NonZeroU32::MIN.saturating_add(3) },
            max_records,
            poll_timeout: Duration::from_millis(500),
            complete_wait: complete_ms.map(Duration::from_millis),
            first_fetch_wait: Duration::from_millis(100),
            refill_wait: Duration::from_millis(10),
            join_wait: Duration::from_secs(5),
            commit_every_polls: rest.1,
            work_poll: Duration::from_micros(poll_us),
            work_record: Duration::from_nanos(record_ns),
            fetch,
            threads: 6,
            connections: 2,
            group,
            nodes: rest.0,
            live_for: Duration::from_millis(200),
            seed: rest.2,
        },
    )
}

/// Polls, brokers and network of any speed.
fn model() -> impl Strategy<Value = Model> {
    (50_000_u64..100_000_000, 0_u32..=300, 0_u64..5_000_000, any::<bool>(), 0_u32..=2, 500_u64..1_000_000)
        .prop_map(
            |(
                round_trip_ns,
                jitter_percent,
                request_ns,
                wakes_long_polls,
                batches_per_answer,
                batch_bytes,
            )| Model {
                round_trip_ns,
                jitter_percent,
                request_ns,
                wakes_long_polls,
                batches_per_answer,
                batch_bytes,
                ..Model::kafka()
            },
        )
}

/// Refuses what must not be.
#[derive(Debug)]
struct Auditor {
    next: Vec<i64>,
    committed: Vec<i64>,
    ends: Vec<i64>,
    wrong: Option<String>,
    time: u64,
    /// Of every poll: when it returned, and what.
    course: Vec<(u64, Vec<Run>)>,
}

impl Auditor {
    fn new(setup: &Setup) -> Self {
        let share = |records: u64, count: u32, number: u32| {
            (records / u64::from(count) + u64::from(u64::from(number) < records % u64::from(count)))
                .cast_signed()
        };
        let all: Vec<(i64, i64)> = partitions(&setup.topics)
            .map(|(topic, number)| {
                let TopicSetup { partitions, earlier, backlog, .. } = setup.topics[topic];
                let earlier = share(earlier, partitions, number);
                (earlier, earlier + share(backlog, partitions, number))
            })
            .collect();
        let next: Vec<i64> = all.iter().map(|(earlier, _)| *earlier).collect();
        let ends = all.iter().map(|(_, end)| *end).collect();
        Self { committed: next.clone(), next, ends, wrong: None, time: 0, course: Vec::new() }
    }

    fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.get_or_insert_with(what);
        }
    }
}

impl Trace for Auditor {
    fn polled(&mut self, poll: Poll<'_>) {
        let Poll { number, began_ns, returned_ns, processed_ns, runs } = poll;
        let in_order = self.time <= began_ns && began_ns <= returned_ns && returned_ns <= processed_ns;
        self.must(in_order, || format!("poll {number} goes back in time"));
        self.time = processed_ns;
        self.course.push((returned_ns, runs.to_vec()));
        for run in runs {
            let next = self.next[run.partition];
            self.must(next == run.first && run.count > 0, || {
                format!("{run:?} after {next} in poll {number}")
            });
            self.next[run.partition] = run.last() + 1;
        }
    }

    fn commit_sent(&mut self, id: u64, _: u64, offsets: &[(usize, i64)]) {
        for &(partition, offset) in offsets {
            let (before, next) = (self.committed[partition], self.next[partition]);
            let rises = before < offset && offset <= next;
            self.must(rises, || format!("commit {id} of {offset}, {before} before, {next} delivered"));
            self.committed[partition] = offset;
        }
    }

    fn produced(&mut self, produced: Produced) {
        self.ends[produced.partition] = produced.first + produced.count.cast_signed();
    }
}

fn audited(setup: &Setup, model: &Model) -> (End, Auditor) {
    let mut auditor = Auditor::new(setup);
    let end = simulate(setup, model, &mut auditor);
    (end, auditor)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn every_record_comes_once_in_order_and_what_came_is_committed(setup in setup(), model in model()) {
        let (end, auditor) = audited(&setup, &model);
        prop_assert_eq!(&auditor.wrong, &None);
        prop_assert_eq!(&auditor.committed, &auditor.next, "what was delivered is committed in the end");
        if end.finished {
            prop_assert_eq!(&auditor.next, &auditor.ends, "everything was delivered");
        } else {
            prop_assert!(lives(&setup.topics), "a backlog to which nothing is added is drained: {:?}", end);
        }
    }

    #[test]
    fn the_same_draw_has_the_same_course(setup in setup(), model in model()) {
        let [(one, first), (two, second)] = [audited(&setup, &model), audited(&setup, &model)];
        prop_assert_eq!(one, two);
        prop_assert_eq!(first.course, second.course);
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(64)
}
