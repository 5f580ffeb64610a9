//! The offset tracker against a list of every single record.

use std::collections::BTreeMap;

use fairpoll_core::offsets::Place;
use fairpoll_core::{Generation, OffsetRange, OffsetTracker, PartitionIndex};
use proptest::prelude::*;

use super::{Verdict, catches, holds};

const PARTITION: PartitionIndex = PartitionIndex(3);

#[derive(Debug, Clone)]
enum Operation {
    /// So many offsets missing, so many records.
    Deliver(i64, i64),
    /// A range within what was delivered: where it begins and how long it is, in 256ths.
    Complete(u8, u8),
    /// The next delivered records that are not completed, up to so many.
    CompleteInOrder(i64),
    /// A completion of the previous generation, from its first record.
    CompleteLate(i64),
    Reassign,
    /// The broker's answer to a commit of what is committable.
    Committed,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        4 => (prop_oneof![3 => Just(0_i64), 1 => 1_i64..6], 1_i64..20).prop_map(|(gap, count)| Operation::Deliver(gap, count)),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(at, len)| Operation::Complete(at, len / 4)),
        2 => (1_i64..20).prop_map(Operation::CompleteInOrder),
        1 => (1_i64..20).prop_map(Operation::CompleteLate),
        1 => Just(Operation::Reassign),
        1 => Just(Operation::Committed),
    ];
    prop::collection::vec(operation, 1..80)
}

/// What is under test: the tracker, or one with a defect.
trait Tracker {
    fn assigned(&mut self, committed: i64) -> Generation;
    fn delivered(&mut self, range: OffsetRange);
    fn completed(&mut self, generation: Generation, range: OffsetRange);
    fn committed(&mut self, generation: Generation, offset: i64);
    fn committable(&self) -> Option<i64>;
    fn dirty(&self) -> Option<i64>;
}

impl Tracker for OffsetTracker {
    fn assigned(&mut self, committed: i64) -> Generation {
        self.revoked(PARTITION);
        OffsetTracker::assigned(self, PARTITION, Some(committed))
    }

    fn delivered(&mut self, range: OffsetRange) {
        OffsetTracker::delivered(self, PARTITION, range).expect("offsets rise");
    }

    fn completed(&mut self, generation: Generation, range: OffsetRange) {
        OffsetTracker::completed(self, PARTITION, generation, range).expect("only what was delivered");
    }

    fn committed(&mut self, generation: Generation, offset: i64) {
        OffsetTracker::committed(self, PARTITION, generation, offset);
    }

    fn committable(&self) -> Option<i64> {
        OffsetTracker::committable(self, PARTITION)
    }

    fn dirty(&self) -> Option<i64> {
        OffsetTracker::dirty(self).next().map(|dirty| dirty.offset)
    }
}

/// The tracker with one of its safeguards taken away.
struct Broken {
    tracker: OffsetTracker,
    generation: Generation,
    highest: Option<i64>,
    position: i64,
    defect: Defect,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Defect {
    CommitsHighestCompleted,
    IgnoresGenerations,
    ForgetsCommitted,
}

impl Broken {
    fn new(defect: Defect) -> Self {
        let tracker = OffsetTracker::new();
        Self { tracker, generation: Generation(0), highest: None, position: 0, defect }
    }
}

impl Tracker for Broken {
    fn assigned(&mut self, committed: i64) -> Generation {
        self.highest = None;
        self.position = 0;
        self.generation = Tracker::assigned(&mut self.tracker, committed);
        self.generation
    }

    fn delivered(&mut self, range: OffsetRange) {
        self.position = range.last + 1;
        Tracker::delivered(&mut self.tracker, range);
    }

    fn completed(&mut self, mut generation: Generation, range: OffsetRange) {
        if self.defect == Defect::IgnoresGenerations && range.last < self.position {
            generation = self.generation;
        }
        if generation == self.generation {
            self.highest = self.highest.max(Some(range.last + 1));
        }
        Tracker::completed(&mut self.tracker, generation, range);
    }

    fn committed(&mut self, generation: Generation, offset: i64) {
        if self.defect != Defect::ForgetsCommitted {
            Tracker::committed(&mut self.tracker, generation, offset);
        }
    }

    fn committable(&self) -> Option<i64> {
        match self.defect {
            Defect::CommitsHighestCompleted => self.highest,
            _ => Tracker::committable(&self.tracker),
        }
    }

    fn dirty(&self) -> Option<i64> {
        Tracker::dirty(&self.tracker)
    }
}

/// Every record of the current generation, and whether it is completed.
struct Model {
    records: BTreeMap<i64, bool>,
    next: i64,
    committed: i64,
}

impl Model {
    /// The offset after the last record before the first that is not completed.
    fn due(&self) -> Option<i64> {
        let completed = self.records.iter().take_while(|(_, done)| **done);
        completed.last().map(|(offset, _)| offset + 1)
    }

    fn complete(&mut self, range: OffsetRange) {
        for (_, done) in self.records.range_mut(range.first..=range.last) {
            *done = true;
        }
    }

    fn first_incomplete(&self) -> Option<i64> {
        self.records.iter().find(|(_, done)| !**done).map(|(offset, _)| *offset)
    }
}

/// Which claim is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    NoCommitPastAGap,
    NothingHeldBack,
    LateCompletionsChangeNothing,
    DirtyUntilCommitted,
}

fn check(operations: &[Operation], tracker: &mut impl Tracker, claim: Claim) -> Verdict {
    let mut model = Model { records: BTreeMap::new(), next: 0, committed: 0 };
    let mut generation = tracker.assigned(0);
    let mut previous = None;
    for operation in operations {
        let before = tracker.committable();
        match *operation {
            Operation::Deliver(gap, count) => {
                let range = OffsetRange { first: model.next + gap, last: model.next + gap + count - 1 };
                tracker.delivered(range);
                model.records.extend((range.first..=range.last).map(|offset| (offset, false)));
                model.next = range.last + 1;
            }
            Operation::Complete(at, length) => {
                let (Some((&low, _)), Some((&high, _))) =
                    (model.records.first_key_value(), model.records.last_key_value())
                else {
                    continue;
                };
                let first = low + (high - low) * i64::from(at) / 256;
                let last = (first + (high - low) * i64::from(length) / 256).min(high);
                tracker.completed(generation, OffsetRange { first, last });
                model.complete(OffsetRange { first, last });
            }
            Operation::CompleteInOrder(count) => {
                let Some(first) = model.first_incomplete() else { continue };
                let last = (first + count - 1).min(model.next - 1);
                tracker.completed(generation, OffsetRange { first, last });
                model.complete(OffsetRange { first, last });
            }
            Operation::CompleteLate(count) => {
                let Some((old, first)) = previous else { continue };
                tracker.completed(old, OffsetRange { first, last: first + count - 1 });
                if claim == Claim::LateCompletionsChangeNothing && tracker.committable() != before {
                    return Err(format!("a late completion moved {before:?} to {:?}", tracker.committable()));
                }
            }
            Operation::Reassign => {
                // A consumer that comes back reads on from the committed offset.
                let first = model.committed;
                previous = Some((generation, first));
                generation = tracker.assigned(first);
                model = Model { records: BTreeMap::new(), next: first, committed: first };
            }
            Operation::Committed => {
                let Some(offset) = model.due() else { continue };
                tracker.committed(generation, offset);
                model.committed = offset;
            }
        }
        let (actual, due) = (tracker.committable(), model.due());
        match claim {
            Claim::NoCommitPastAGap => {
                if let (Some(actual), Some(gap)) = (actual, model.first_incomplete())
                    && actual > gap
                {
                    return Err(format!("{actual} may be committed, {gap} is not completed"));
                }
            }
            Claim::NothingHeldBack => {
                if actual.unwrap_or(0) < due.unwrap_or(0) {
                    return Err(format!("{actual:?} may be committed, all up to {due:?} is completed"));
                }
            }
            Claim::DirtyUntilCommitted => {
                let dirty = actual.filter(|offset| *offset != model.committed);
                if tracker.dirty() != dirty {
                    return Err(format!("{:?} is listed, {dirty:?} is not committed", tracker.dirty()));
                }
            }
            Claim::LateCompletionsChangeNothing => {}
        }
    }
    Ok(())
}

fn real_satisfies(claim: Claim) {
    holds(&operations(), |operations| check(operations, &mut OffsetTracker::new(), claim));
}

fn catches_defect(claim: Claim, defect: Defect) {
    catches(&format!("{defect:?}"), &operations(), |operations| {
        check(operations, &mut Broken::new(defect), claim)
    });
}

/// forall orders of completion, missing offsets, reassignments: the committable offset does not lie
/// beyond the first record that is delivered and not completed.
// shows: E20
#[test]
fn nothing_is_committed_past_a_gap() {
    real_satisfies(Claim::NoCommitPastAGap);
}

#[test]
fn nothing_is_committed_past_a_gap_catches_committing_the_highest() {
    catches_defect(Claim::NoCommitPastAGap, Defect::CommitsHighestCompleted);
}

/// forall orders of completion: every record before the first gap may be committed at once.
#[test]
fn nothing_completed_before_the_gap_is_held_back() {
    real_satisfies(Claim::NothingHeldBack);
}

#[test]
fn nothing_completed_before_the_gap_is_held_back_catches_a_tracker_without_memory() {
    // Completions behind the gap are dropped instead of remembered.
    struct Forgetful(OffsetTracker);
    impl Tracker for Forgetful {
        fn assigned(&mut self, committed: i64) -> Generation {
            Tracker::assigned(&mut self.0, committed)
        }
        fn delivered(&mut self, range: OffsetRange) {
            Tracker::delivered(&mut self.0, range);
        }
        fn completed(&mut self, generation: Generation, range: OffsetRange) {
            if self.0.first_incomplete(PARTITION).is_some_and(|first| range.first <= first) {
                Tracker::completed(&mut self.0, generation, range);
            }
        }
        fn committed(&mut self, generation: Generation, offset: i64) {
            Tracker::committed(&mut self.0, generation, offset);
        }
        fn committable(&self) -> Option<i64> {
            Tracker::committable(&self.0)
        }
        fn dirty(&self) -> Option<i64> {
            Tracker::dirty(&self.0)
        }
    }
    catches("Forgetful", &operations(), |operations| {
        check(operations, &mut Forgetful(OffsetTracker::new()), Claim::NothingHeldBack)
    });
}

/// forall completions with the generation of an ownership that is over: they change nothing, also
/// if the partition came back and the same offsets were delivered again.
// shows: E18
#[test]
fn completions_after_a_revocation_are_fenced() {
    real_satisfies(Claim::LateCompletionsChangeNothing);
}

#[test]
fn completions_after_a_revocation_are_fenced_catches_ignored_generations() {
    catches_defect(Claim::LateCompletionsChangeNothing, Defect::IgnoresGenerations);
}

/// forall sequences: a partition is listed for commit exactly while what may be committed is not
/// known to be committed.
#[test]
fn a_partition_is_dirty_until_its_commit_is_answered() {
    real_satisfies(Claim::DirtyUntilCommitted);
}

#[test]
fn a_partition_is_dirty_until_its_commit_is_answered_catches_forgotten_answers() {
    catches_defect(Claim::DirtyUntilCommitted, Defect::ForgetsCommitted);
}

/// What happens to a partition before it keeps its place.
#[derive(Debug, Clone)]
enum Step {
    Deliver(i64, i64),
    CompleteInOrder(i64),
    /// The last so many that were delivered: behind a gap, mostly.
    CompleteLast(i64),
    Seek(i64),
    Committed,
    KeepsItsPlace,
    GoesOnFrom(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let target = prop_oneof![6 => 0_i64..200, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let step = prop_oneof![
        4 => (0_i64..4, 1_i64..20).prop_map(|(gap, count)| Step::Deliver(gap, count)),
        3 => (1_i64..20).prop_map(Step::CompleteInOrder),
        2 => (1_i64..20).prop_map(Step::CompleteLast),
        1 => target.prop_map(Step::Seek),
        2 => Just(Step::Committed),
        2 => Just(Step::KeepsItsPlace),
        1 => (0_i64..20).prop_map(Step::GoesOnFrom),
    ];
    prop::collection::vec(step, 1..40)
}

/// A place is never past a record that was delivered and not completed, nor past one that is still to come;
/// nor before what is committed unless the application sought; and where offsets tell one there is one.
fn keeps_a_place(steps: &[Step], keep: impl Fn(&mut OffsetTracker) -> Option<Place>) -> Verdict {
    let mut tracker = OffsetTracker::new();
    let mut generation = tracker.assigned(PARTITION, None);
    let mut records: BTreeMap<i64, bool> = BTreeMap::new();
    let (mut next, mut committed, mut was_sought, mut is_concrete) = (0, None::<i64>, false, false);
    let mut completed_since = false;
    for step in steps {
        match *step {
            Step::Deliver(gap, count) => {
                let range = OffsetRange { first: next + gap, last: next + gap + count - 1 };
                tracker.delivered(PARTITION, range).expect("offsets rise");
                records.extend((range.first..=range.last).map(|offset| (offset, false)));
                next = range.last + 1;
            }
            Step::CompleteInOrder(count) => {
                let open = records.iter().find(|(_, done)| !**done).map(|(offset, _)| *offset);
                let Some(first) = open else { continue };
                let last = (first + count - 1).min(next - 1);
                tracker.completed(PARTITION, generation, OffsetRange { first, last }).expect("delivered");
                records.range_mut(first..=last).for_each(|(_, done)| *done = true);
                completed_since = true;
            }
            Step::CompleteLast(count) => {
                let Some((&begins, _)) = records.first_key_value() else { continue };
                let (first, last) = ((next - count).max(begins), next - 1);
                tracker.completed(PARTITION, generation, OffsetRange { first, last }).expect("delivered");
                records.range_mut(first..=last).for_each(|(_, done)| *done = true);
                completed_since |= records.values().next() == Some(&true);
            }
            Step::Seek(target) => {
                generation = tracker.sought(PARTITION, target).expect("assigned");
                records.clear();
                (was_sought, is_concrete) = (true, (0..i64::MAX).contains(&target));
                completed_since = false;
                next = if is_concrete { target } else { next };
            }
            Step::Committed => {
                let Some(offset) = tracker.dirty().next().map(|due| due.offset) else { continue };
                tracker.committed(PARTITION, generation, offset);
                committed = Some(offset);
            }
            Step::GoesOnFrom(distance) => {
                // Asked for before anything is delivered, told after it: then it must change nothing.
                let told = if records.is_empty() { next } else { next + distance };
                tracker.goes_on_from(PARTITION, told);
            }
            Step::KeepsItsPlace => {
                let place = keep(&mut tracker);
                let kept = tracker.committable(PARTITION).or(tracker.last_committed(PARTITION));
                let told = !records.is_empty() || (was_sought && is_concrete);
                if told && (place != Some(Place::Kept) || kept.is_none()) {
                    return Err(format!("{place:?}, {kept:?}, although offsets tell"));
                }
                if was_sought
                    && told
                    && !completed_since
                    && kept.is_none_or(|kept| Some(kept) < records.keys().next().copied().or(Some(next)))
                {
                    return Err(format!("{kept:?} is before what was sought"));
                }
            }
        }
        let Some(place) = tracker.committable(PARTITION) else { continue };
        let open = records.iter().find(|(_, done)| !**done).map_or(next, |(offset, _)| *offset);
        if place > open {
            return Err(format!("{place} may be committed, {open} is not completed"));
        }
        if !was_sought && committed.is_some_and(|committed| place < committed) {
            return Err(format!("{place} may be committed after {committed:?}"));
        }
    }
    Ok(())
}

// shows: E15
#[test]
fn a_place_is_where_reading_goes_on() {
    holds(&steps(), |steps| keeps_a_place(steps, |tracker| tracker.keeps_its_place(PARTITION)));
}

#[test]
fn a_place_is_where_reading_goes_on_catches_one_behind_what_was_delivered() {
    catches("the position", &steps(), |steps| {
        keeps_a_place(steps, |tracker| {
            if tracker.committable(PARTITION).is_none()
                && let Some(position) = tracker.position(PARTITION)
            {
                tracker.sought(PARTITION, position);
            }
            tracker.keeps_its_place(PARTITION)
        })
    });
}

#[test]
fn a_place_is_where_reading_goes_on_catches_nobody_keeping_any() {
    catches("nothing kept", &steps(), |steps| keeps_a_place(steps, |_| Some(Place::Kept)));
}
