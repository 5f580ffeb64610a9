use super::*;

const MODES: [Mode; 3] = [Mode::Single, Mode::Multi, Mode::Fair];

/// What the engine sets for a mode; `single` has a megabyte a piece.
fn fetch(mode: Mode) -> FetchSettings {
    FetchSettings {
        queued_records: 10_000,
        queued_bytes: 65_536 * 1024,
        piece_bytes: if mode == Mode::Fair { 256 << 10 } else { 1 << 20 },
        answer_bytes: 50 << 20,
        wait_ns: 50_000_000,
        backoff_ns: 10_000_000,
    }
}

fn topic(partitions: u32, backlog: u64, rate_per_s: f64) -> TopicSetup {
    TopicSetup {
        partitions,
        earlier: 0,
        backlog,
        rate_per_s,
        record_bytes: 210,
        unpacked_bytes: 200,
        weight: 1,
        priority: 0,
    }
}

/// Four deep topics and eight that go on living.
fn setup(mode: Mode, seed: u64) -> Setup {
    let deep = std::iter::repeat_n(topic(2, 100_000, 0.0), 4);
    let quiet = std::iter::repeat_n(topic(1, 100, 100.0), 8);
    Setup {
        mode,
        topics: deep.chain(quiet).collect(),
        quota: NonZeroU32::new(500).expect("not 0"),
        policy: Policy::default(),
        max_records: None,
        poll_timeout: Duration::from_secs(1),
        complete_wait: None,
        first_fetch_wait: Duration::from_millis(100),
        refill_wait: Duration::from_millis(10),
        join_wait: Duration::from_secs(5),
        commit_every_polls: 10,
        work_poll: Duration::from_millis(5),
        work_record: Duration::ZERO,
        fetch: fetch(mode),
        threads: 6,
        connections: 2,
        group: Group::Classic,
        nodes: 1,
        live_for: Duration::from_secs(1),
        deadline: Duration::from_secs(60),
        seed,
    }
}

/// Checks what is delivered, and keeps the polls.
#[derive(Debug, Default, PartialEq)]
struct Polls {
    next: Vec<i64>,
    produced: Vec<(usize, i64)>,
    committed: Vec<i64>,
    polls: Vec<(u64, u64, Vec<Run>)>,
    sent: u64,
    answered: u64,
}

impl Trace for Polls {
    fn polled(&mut self, poll: Poll<'_>) {
        assert_eq!(poll.number, self.polls.len() as u64 + 1);
        for run in poll.runs {
            if self.next.len() <= run.partition {
                self.next.resize(run.partition + 1, 0);
            }
            assert_eq!(self.next[run.partition], run.first, "partition {}: a gap", run.partition);
            self.next[run.partition] = run.last() + 1;
        }
        self.polls.push((poll.began_ns, poll.returned_ns, poll.runs.to_vec()));
    }

    fn commit_sent(&mut self, id: u64, _: u64, offsets: &[(usize, i64)]) {
        self.sent = id;
        for &(partition, offset) in offsets {
            if self.committed.len() <= partition {
                self.committed.resize(partition + 1, 0);
            }
            assert!(offset > self.committed[partition] && offset <= self.next[partition]);
            self.committed[partition] = offset;
        }
    }

    fn committed(&mut self, id: u64, _: u64) {
        assert_eq!(id, self.answered + 1);
        self.answered = id;
    }

    fn produced(&mut self, produced: Produced) {
        self.produced.push((produced.partition, produced.first + produced.count.cast_signed()));
    }
}

fn run(setup: &Setup) -> (End, Polls) {
    let mut polls = Polls::default();
    let end = simulate(setup, &Model::kafka(), &mut polls);
    (end, polls)
}

#[test]
fn every_record_comes_once_in_order_and_is_committed() {
    for mode in MODES {
        for nodes in [1, 3] {
            let (end, polls) = run(&Setup { nodes, ..setup(mode, 7) });
            assert!(end.finished, "{mode}: {end:?}");
            assert_eq!(polls.produced.len(), 8, "{mode}: the quiet topics went on living");
            for &(partition, produced) in &polls.produced {
                assert!(produced >= 195, "{mode}: a hundred a second for a second at least");
                assert_eq!(polls.next[partition], produced, "{mode}");
            }
            let deep = &polls.next[..8];
            assert!(deep.iter().all(|&next| next == 50_000), "{mode}: {deep:?}");
            assert_eq!(polls.committed, polls.next, "{mode}: what was delivered is committed in the end");
            assert_eq!(polls.sent, polls.answered, "{mode}");
            assert_eq!(end.records, polls.next.iter().sum::<i64>().unsigned_abs());
        }
    }
}

#[test]
fn the_same_seed_has_the_same_course_and_another_one_another() {
    for mode in MODES {
        assert!(run(&setup(mode, 1)) == run(&setup(mode, 1)), "{mode}");
        assert!(run(&setup(mode, 1)) != run(&setup(mode, 2)), "{mode}");
    }
}

/// Polls until each topic has had a record, and how many of them.
fn polls_until_complete(polls: &Polls, topics: usize) -> usize {
    let topic_of = |partition: usize| if partition < 8 { partition / 2 } else { partition - 4 };
    let mut seen = vec![false; topics];
    polls
        .polls
        .iter()
        .position(|(_, _, runs)| {
            runs.iter().for_each(|run| seen[topic_of(run.partition)] = true);
            seen.iter().all(|seen| *seen)
        })
        .expect("all topics have records")
        + 1
}

#[test]
fn quiet_topics_wait_behind_deep_ones_in_single_and_nowhere_else() {
    let until = |mode| polls_until_complete(&run(&setup(mode, 3)).1, 12);
    assert_eq!((until(Mode::Fair), until(Mode::Multi)), (1, 1));
    assert!(until(Mode::Single) > 5, "the first answer alone fills several polls: {}", until(Mode::Single));
}

#[test]
fn a_poll_brings_no_more_than_it_may() {
    for mode in MODES {
        let setup = Setup { max_records: Some(700), ..setup(mode, 5) };
        let (end, polls) = run(&setup);
        assert!(end.finished);
        let most = polls.polls.iter().map(|(_, _, runs)| runs.iter().map(|run| run.count).sum()).max();
        let cap = if mode == Mode::Single { 500 } else { 700 };
        assert_eq!(most, Some(cap), "{mode}");
    }
}

#[test]
fn a_deadline_ends_what_takes_longer() {
    let late = Setup { deadline: Duration::from_millis(100), ..setup(Mode::Single, 1) };
    let (end, polls) = run(&late);
    assert!(!end.finished && end.records > 0, "{end:?}");
    assert_eq!(polls.committed, polls.next, "what it had is committed on its way out");
}

#[test]
fn topics_without_records_cost_no_wait() {
    let idle = std::iter::repeat_n(topic(1, 0, 0.0), 5);
    let only = Setup {
        topics: std::iter::once(topic(4, 50_000, 0.0)).chain(idle).collect(),
        ..setup(Mode::Fair, 1)
    };
    let (end, polls) = run(&only);
    assert!(end.finished);
    // 500 records and 5 ms of work a poll.
    let first = polls.polls[0].0;
    let last = polls.polls[polls.polls.len() - 1].1;
    assert!(last - first < 1_000_000_000, "100 polls took {} ms", (last - first) / 1_000_000);
}

#[test]
fn what_an_earlier_consumer_committed_does_not_come_again() {
    let mut with = setup(Mode::Fair, 1);
    with.topics[0].earlier = 1_000;
    let mut first = None;
    struct First<'a>(&'a mut Option<i64>);
    impl Trace for First<'_> {
        fn polled(&mut self, poll: Poll<'_>) {
            if let Some(run) = poll.runs.iter().find(|run| run.partition == 0) {
                self.0.get_or_insert(run.first);
            }
        }
    }
    let end = simulate(&with, &Model::kafka(), &mut First(&mut first));
    assert!(end.finished);
    assert_eq!(first, Some(500), "of two partitions each had half");
}

#[test]
fn memory_is_what_queues_hold_and_a_smaller_queue_takes_less() {
    let of = |queued_records| {
        let fetch = FetchSettings { queued_records, ..fetch(Mode::Fair) };
        run(&Setup { fetch, ..setup(Mode::Fair, 1) }).0.memory_kib
    };
    let (large, small) = (of(10_000), of(1_000));
    assert!(small < large && large < 100 * 1024, "{small} and {large} KiB");
}

#[test]
fn a_topic_that_only_lives_is_produced_and_delivered() {
    for mode in MODES {
        let living = Setup { topics: vec![topic(2, 0, 100.0); 3], ..setup(mode, 1) };
        let (end, polls) = run(&living);
        assert!(end.finished, "{mode}: {end:?}");
        assert_eq!(polls.produced.len(), 6, "{mode}");
        assert!(
            end.records >= 290 && end.records < 400,
            "{mode}: three hundred a second for a second: {end:?}"
        );
    }
}

#[test]
fn who_does_not_wait_looks_often_and_not_for_ever() {
    let hasty = Setup { poll_timeout: Duration::ZERO, ..setup(Mode::Fair, 1) };
    let (end, _) = run(&hasty);
    assert!(end.finished && end.empty_polls < 1_000_000, "{end:?}");
    let patient = Setup { poll_timeout: Duration::MAX, ..setup(Mode::Fair, 1) };
    assert!(run(&patient).0.finished);
}

/// What the engine has looked at lies with it: the rest of a lane wakes it though the lane is not empty.
#[test]
fn a_first_poll_does_not_outwait_a_partition_that_has_come() {
    let setup = Setup {
        topics: vec![topic(1, 10, 0.0), topic(2, 400, 0.0)],
        work_poll: Duration::ZERO,
        ..setup(Mode::Fair, 1)
    };
    let (_, polls) = run(&setup);
    let (_, returned, runs) = &polls.polls[0];
    let joined = Model::kafka().join_ns;
    assert!(returned - joined < 20_000_000, "{} ms after the join", (returned - joined) / 1_000_000);
    assert_eq!(runs.len(), 3, "all partitions: {runs:?}");
}

/// Nobody waits for the first fetch of a topic that is known to hold nothing.
#[test]
fn an_empty_topic_of_a_client_of_its_own_holds_nobody_up() {
    let setup = Setup {
        topics: vec![topic(1, 1_000, 0.0), topic(1, 0, 0.0)],
        fetch: FetchSettings { wait_ns: 500_000_000, ..fetch(Mode::Multi) },
        ..setup(Mode::Multi, 1)
    };
    let (_, polls) = run(&setup);
    let joined = Model::kafka().join_ns + Model::kafka().join_handle_ns;
    assert!(polls.polls[0].1 - joined < 50_000_000, "{} ms", (polls.polls[0].1 - joined) / 1_000_000);
}
