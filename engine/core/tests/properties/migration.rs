//! Moving committed offsets to other groups.

use fairpoll_core::migration::{CommittedPair, Overtaken, Step, step};
use proptest::prelude::*;

use crate::{Verdict, catches, holds};

type Decide = fn(CommittedPair, Overtaken) -> Step;

fn pairs() -> impl Strategy<Value = (CommittedPair, Overtaken)> {
    let offset = || proptest::option::weighted(0.8, 0..60_i64);
    let log = (0..30_i64, 0..30_i64);
    let overtaken = prop_oneof![Just(Overtaken::Refuse), Just(Overtaken::Clamp)];
    (offset(), offset(), log, overtaken).prop_map(|(source, target, (log_start, length), overtaken)| {
        (CommittedPair { source, target, log_start, log_end: log_start + length }, overtaken)
    })
}

/// forall pairs: what is written lies in the log, is not before what the target had, and is what the source
/// had, or the log's start where that came later and was allowed; done once, nothing is left to do.
fn keeps_positions(decide: Decide, (pair, overtaken): (CommittedPair, Overtaken)) -> Verdict {
    let Step::Write { offset } = decide(pair, overtaken) else { return Ok(()) };
    let Some(source) = pair.source else { return Err(format!("{offset} is nobody's position")) };
    let allowed =
        offset == source || (offset == pair.log_start && offset > source && overtaken == Overtaken::Clamp);
    if !allowed {
        return Err(format!("{offset} is not the source's {source}"));
    }
    if !(pair.log_start..=pair.log_end).contains(&offset) {
        return Err(format!("{offset} is not in the log"));
    }
    if pair.target.is_some_and(|target| target >= offset) {
        return Err(format!("{offset} is not after the target's {:?}", pair.target));
    }
    match decide(CommittedPair { target: Some(offset), ..pair }, overtaken) {
        Step::AlreadyThere => Ok(()),
        again => Err(format!("a second run would do {again:?}")),
    }
}

// shows: E18
#[test]
fn a_migration_keeps_every_position() {
    holds(&pairs(), |input| keeps_positions(step, *input));
}

#[test]
fn a_migration_that_moves_back_clamps_unasked_or_repeats_itself_is_noticed() {
    catches("the target's own position is not looked at", &pairs(), |input| {
        let blind = |pair, overtaken| step(CommittedPair { target: None, ..pair }, overtaken);
        keeps_positions(blind, *input)
    });
    catches("always clamps", &pairs(), |input| {
        keeps_positions(|pair, _| step(pair, Overtaken::Clamp), *input)
    });
    catches("the log is not looked at", &pairs(), |input| {
        let blind =
            |pair, overtaken| step(CommittedPair { log_start: 0, log_end: i64::MAX, ..pair }, overtaken);
        keeps_positions(blind, *input)
    });
}
