//! Whom a call waits for that wants a record of each topic, and how long.

use std::time::Duration;

use fairpoll_core::{CompleteInput, NextRecord, Timestamp};
use proptest::prelude::*;

use super::{Verdict, catches, holds};

/// Milliseconds until the next look, and what is known then; `true`: a new call begins with it.
#[derive(Debug, Clone)]
struct Look {
    after_ms: u64,
    begins: bool,
    topics: Vec<NextRecord>,
}

const WAIT_MS: u64 = 20;
const TOPICS: usize = 4;

trait Waiter {
    fn begin(&mut self, now_ms: u64);
    /// Whether the call goes on.
    fn waits(&mut self, now_ms: u64, topics: &[NextRecord]) -> bool;
}

struct Real(CompleteInput);

impl Real {
    fn new(topics: usize) -> Self {
        Self(CompleteInput::new(topics))
    }
}

impl Waiter for Real {
    fn begin(&mut self, now_ms: u64) {
        self.0.begin(Timestamp::from_millis(now_ms), Duration::from_millis(WAIT_MS));
    }

    fn waits(&mut self, now_ms: u64, topics: &[NextRecord]) -> bool {
        self.0.waiting(Timestamp::from_millis(now_ms), topics.iter().copied()).is_some()
    }
}

/// Waits for everybody who is not here, as a gather with a timeout does.
#[derive(Default)]
struct WaitsForIdle {
    deadline: u64,
}

impl Waiter for WaitsForIdle {
    fn begin(&mut self, now_ms: u64) {
        self.deadline = now_ms + WAIT_MS;
    }

    fn waits(&mut self, now_ms: u64, topics: &[NextRecord]) -> bool {
        now_ms < self.deadline && topics.iter().any(|next| *next != NextRecord::Here)
    }
}

/// Remembers nobody who did not come.
#[derive(Default)]
struct NeverLearns {
    deadline: u64,
}

impl Waiter for NeverLearns {
    fn begin(&mut self, now_ms: u64) {
        self.deadline = now_ms + WAIT_MS;
    }

    fn waits(&mut self, now_ms: u64, topics: &[NextRecord]) -> bool {
        let here = topics.contains(&NextRecord::Here);
        let coming = topics.iter().any(|next| matches!(next, NextRecord::Coming { .. }));
        now_ms < self.deadline && (coming || !here)
    }
}

/// Takes what comes first.
struct NeverWaits;

impl Waiter for NeverWaits {
    fn begin(&mut self, _: u64) {}

    fn waits(&mut self, _: u64, topics: &[NextRecord]) -> bool {
        !topics.contains(&NextRecord::Here)
    }
}

fn looks() -> impl Strategy<Value = Vec<Look>> {
    let next = prop_oneof![
        3 => Just(NextRecord::Here),
        2 => Just(NextRecord::Absent),
        3 => (0_u64..3).prop_map(|seen| NextRecord::Coming { seen }),
        1 => Just(NextRecord::Withheld),
    ];
    let look = (0_u64..15, prop::bool::weighted(0.2), prop::collection::vec(next, TOPICS))
        .prop_map(|(after_ms, begins, topics)| Look { after_ms, begins, topics });
    prop::collection::vec(look, 1..30)
}

/// Plays the looks; `check` sees the time since the call began, what is known, and the answer.
fn play(
    waiter: &mut impl Waiter,
    looks: &[Look],
    mut check: impl FnMut(u64, &[NextRecord], bool) -> Verdict,
) -> Verdict {
    let (mut now, mut began) = (0, 0);
    waiter.begin(0);
    for look in looks {
        now += look.after_ms;
        if look.begins {
            waiter.begin(now);
            began = now;
        }
        let waits = waiter.waits(now, &look.topics);
        check(now - began, &look.topics, waits)?;
        if !waits {
            waiter.begin(now);
            began = now;
        }
    }
    Ok(())
}

fn waits_for_the_right_ones(looks: &[Look], waiter: &mut impl Waiter) -> Verdict {
    // What was known of a topic when a call's time was up.
    let mut in_vain: [Option<u64>; TOPICS] = [None; TOPICS];
    play(waiter, looks, |since_ms, topics, waits| {
        let time_is_up = since_ms >= WAIT_MS;
        let mut awaited = false;
        for (in_vain, next) in in_vain.iter_mut().zip(topics) {
            match next {
                NextRecord::Coming { seen } if *in_vain != Some(*seen) => {
                    awaited = true;
                    *in_vain = if time_is_up { Some(*seen) } else { *in_vain };
                }
                NextRecord::Here | NextRecord::Absent => *in_vain = None,
                _ => {}
            }
        }
        let here = topics.contains(&NextRecord::Here);
        match waits {
            true if time_is_up => Err(format!("waits after {since_ms} ms of {WAIT_MS}")),
            true if here && !awaited => Err(format!("waits for nobody: {topics:?}")),
            false if !time_is_up && awaited => Err(format!("did not wait after {since_ms} ms: {topics:?}")),
            false if !time_is_up && !here => Err("ends without a record before its time".to_owned()),
            _ => Ok(()),
        }
    })
}

/// forall histories: a call goes on exactly while its time lasts and a topic is waited for, or
/// nothing can be taken; who was waited for in vain is not waited for before more is known of it.
#[test]
fn a_call_waits_for_those_whose_record_should_come_and_no_longer_than_it_may() {
    holds(&looks(), |looks| waits_for_the_right_ones(looks, &mut Real::new(TOPICS)));
}

#[test]
fn a_call_waits_for_those_whose_record_should_come_catches_waiters_of_other_kinds() {
    catches("WaitsForIdle", &looks(), |looks| waits_for_the_right_ones(looks, &mut WaitsForIdle::default()));
    catches("NeverLearns", &looks(), |looks| waits_for_the_right_ones(looks, &mut NeverLearns::default()));
    catches("NeverWaits", &looks(), |looks| waits_for_the_right_ones(looks, &mut NeverWaits));
}

fn idle_topics_change_nothing(looks: &[Look], without: &mut impl Waiter, with: &mut impl Waiter) -> Verdict {
    let mut answers = Vec::new();
    play(without, looks, |_, _, waits| {
        answers.push(waits);
        Ok(())
    })?;
    let mut answers = answers.into_iter();
    let mut idle_too = looks.to_vec();
    for look in &mut idle_too {
        look.topics.push(NextRecord::Absent);
    }
    play(with, &idle_too, |since_ms, _, waits| match answers.next() {
        Some(same) if same == waits => Ok(()),
        _ => Err(format!("an idle topic changed the answer after {since_ms} ms")),
    })
}

/// forall histories: with one idle topic more every answer is the same.
#[test]
fn an_idle_topic_adds_no_waiting() {
    holds(&looks(), |looks| {
        idle_topics_change_nothing(looks, &mut Real::new(TOPICS), &mut Real::new(TOPICS + 1))
    });
}

#[test]
fn an_idle_topic_adds_no_waiting_catches_who_gathers_with_a_timeout() {
    catches("WaitsForIdle", &looks(), |looks| {
        idle_topics_change_nothing(looks, &mut WaitsForIdle::default(), &mut WaitsForIdle::default())
    });
}
