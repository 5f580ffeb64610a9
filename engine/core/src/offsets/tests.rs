//! The tracker, case by case; the properties stand in `tests/properties.rs`.

use super::*;

const P: PartitionIndex = PartitionIndex(2);

fn range(first: i64, last: i64) -> OffsetRange {
    OffsetRange { first, last }
}

fn delivered(ranges: &[(i64, i64)]) -> (OffsetTracker, Generation) {
    let mut tracker = OffsetTracker::new();
    let generation = tracker.assigned(P, None);
    for (first, last) in ranges {
        assert_eq!(tracker.delivered(P, range(*first, *last)), Ok(generation));
    }
    (tracker, generation)
}

#[test]
fn commits_stop_at_the_first_gap_and_jump_when_it_closes() {
    let (mut tracker, generation) = delivered(&[(0, 9), (10, 29)]);
    assert_eq!(tracker.completed(P, generation, range(10, 19)), Ok(Completion::Recorded));
    assert_eq!(tracker.committable(P), None);
    assert_eq!(tracker.completed(P, generation, range(0, 4)), Ok(Completion::Advanced { committable: 5 }));
    assert_eq!(tracker.first_incomplete(P), Some(5));
    assert_eq!(tracker.completed(P, generation, range(5, 9)), Ok(Completion::Advanced { committable: 20 }));
}

#[test]
fn offsets_that_the_broker_never_delivers_are_no_gap() {
    let (mut tracker, generation) = delivered(&[(0, 4), (10, 14)]);
    assert_eq!(tracker.completed(P, generation, range(10, 14)), Ok(Completion::Recorded));
    assert_eq!(tracker.completed(P, generation, range(0, 4)), Ok(Completion::Advanced { committable: 15 }));
    assert_eq!(tracker.first_incomplete(P), None);
}

#[test]
fn a_commit_ends_at_the_last_completed_record_not_at_the_next_delivered_one() {
    let (mut tracker, generation) = delivered(&[(0, 4), (10, 14)]);
    assert_eq!(tracker.completed(P, generation, range(0, 4)), Ok(Completion::Advanced { committable: 5 }));
    assert_eq!(tracker.first_incomplete(P), Some(10));
}

#[test]
fn completing_twice_changes_nothing() {
    let (mut tracker, generation) = delivered(&[(0, 9)]);
    for expected in [Completion::Advanced { committable: 10 }, Completion::Recorded] {
        assert_eq!(tracker.completed(P, generation, range(0, 9)), Ok(expected));
    }
    assert_eq!(tracker.committable(P), Some(10));
}

#[test]
fn a_completion_after_the_revocation_is_fenced_even_if_the_partition_came_back() {
    let (mut tracker, old) = delivered(&[(0, 9)]);
    tracker.revoked(P);
    assert_eq!(tracker.completed(P, old, range(0, 9)), Ok(Completion::Fenced));
    let new = tracker.assigned(P, Some(0));
    tracker.delivered(P, range(0, 9)).unwrap();
    assert_eq!(tracker.completed(P, old, range(0, 9)), Ok(Completion::Fenced));
    tracker.committed(P, old, 10);
    assert_eq!((tracker.committable(P), tracker.last_committed(P)), (None, Some(0)));
    assert_eq!(tracker.completed(P, new, range(0, 0)), Ok(Completion::Advanced { committable: 1 }));
    assert_eq!(tracker.fenced_count(), 2);
}

#[test]
fn what_is_committed_is_no_longer_dirty_until_more_is_completed() {
    let (mut tracker, generation) = delivered(&[(0, 9)]);
    assert_eq!(tracker.dirty().count(), 0);
    tracker.completed(P, generation, range(0, 4)).unwrap();
    let dirty = Committable { partition: P, generation, offset: 5 };
    assert_eq!(tracker.dirty().collect::<Vec<_>>(), [dirty]);
    tracker.committed(P, generation, 5);
    tracker.committed(P, generation, 3);
    assert_eq!(tracker.dirty().count(), 0);
    tracker.completed(P, generation, range(5, 9)).unwrap();
    assert_eq!(tracker.dirty().map(|dirty| dirty.offset).collect::<Vec<_>>(), [10]);
}

#[test]
fn completing_what_was_not_delivered_is_refused_with_the_numbers() {
    let (mut tracker, generation) = delivered(&[(0, 9)]);
    let error = tracker.completed(P, generation, range(5, 10)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "offset 10 of partition #2 is not delivered yet, the next is 10: complete what a batch held"
    );
    assert_eq!(tracker.committable(P), None);
}

#[test]
fn deliveries_that_step_back_are_refused_and_leave_no_trace() {
    let (mut tracker, generation) = delivered(&[(5, 9)]);
    let error = DeliveryError::SteppedBack { partition: P, first: 9, position: 10 };
    assert_eq!(tracker.delivered(P, range(9, 12)), Err(error));
    assert_eq!(tracker.position(P), Some(10));
    assert_eq!(tracker.completed(P, generation, range(5, 9)), Ok(Completion::Advanced { committable: 10 }));
    let other = PartitionIndex(7);
    assert_eq!(tracker.delivered(other, range(0, 1)), Err(DeliveryError::NotAssigned { partition: other }));
}

#[test]
fn in_order_completion_keeps_one_run_however_many_records_pass() {
    let (mut tracker, generation) = delivered(&[]);
    for first in (0..100_000).step_by(100) {
        tracker.delivered(P, range(first, first + 99)).unwrap();
        tracker.completed(P, generation, range(first, first + 49)).unwrap();
        tracker.completed(P, generation, range(first + 50, first + 99)).unwrap();
        let entry = tracker.partitions.get(P).unwrap();
        assert!(entry.delivered.len() <= 1 && entry.behind_gap.is_empty());
    }
    assert_eq!(tracker.committable(P), Some(100_000));
}

#[test]
fn runs_behind_the_gap_are_joined() {
    let (mut tracker, generation) = delivered(&[(0, 99)]);
    for (first, last) in [(10, 19), (30, 39), (20, 29), (15, 34), (50, 50)] {
        tracker.completed(P, generation, range(first, last)).unwrap();
    }
    let entry = tracker.partitions.get(P).unwrap();
    assert_eq!(entry.behind_gap, BTreeMap::from([(10, 39), (50, 50)]));
}

#[test]
fn after_a_seek_back_nothing_beyond_it_is_committed_until_it_is_processed_again() {
    let (mut tracker, old) = delivered(&[(0, 9)]);
    tracker.completed(P, old, range(0, 9)).unwrap();
    tracker.committed(P, old, 10);
    let new = tracker.sought(P, 4).unwrap();
    assert_eq!(tracker.committable(P), None);
    assert_eq!(tracker.completed(P, old, range(0, 9)), Ok(Completion::Fenced));
    tracker.delivered(P, range(4, 9)).unwrap();
    assert_eq!(tracker.completed(P, new, range(4, 5)), Ok(Completion::Advanced { committable: 6 }));
    assert_eq!(tracker.dirty().map(|due| due.offset).collect::<Vec<_>>(), [6]);
    tracker.committed(P, new, 6);
    assert_eq!(tracker.dirty().count(), 0);
}

#[test]
fn what_was_completed_before_the_place_that_is_sought_stays_committable() {
    let (mut tracker, generation) = delivered(&[(0, 9)]);
    tracker.completed(P, generation, range(0, 4)).unwrap();
    tracker.sought(P, 5).unwrap();
    assert_eq!(tracker.dirty().map(|due| due.offset).collect::<Vec<_>>(), [5]);
    tracker.sought(P, i64::MAX).unwrap();
    assert_eq!(tracker.committable(P), Some(5));
    tracker.sought(P, 3).unwrap();
    assert_eq!(tracker.dirty().map(|due| due.offset).collect::<Vec<_>>(), [3], "all before it was completed");
    tracker.sought(P, 2).unwrap();
    assert_eq!(tracker.committable(P), Some(2));
    tracker.sought(P, i64::MIN).unwrap();
    assert_eq!(tracker.committable(P), None, "no offset");
    assert_eq!(OffsetTracker::new().sought(P, 0), None, "nobody assigned it");
}

#[test]
fn a_seek_back_to_before_a_commit_does_not_take_it_back() {
    let (mut tracker, generation) = delivered(&[(0, 9)]);
    tracker.completed(P, generation, range(0, 4)).unwrap();
    tracker.committed(P, generation, 5);
    tracker.delivered(P, range(10, 19)).unwrap();
    tracker.completed(P, generation, range(5, 14)).unwrap();
    let mut before = tracker.clone();
    before.sought(P, 4).unwrap();
    assert_eq!(before.dirty().count(), 0);
    tracker.sought(P, 7).unwrap();
    assert_eq!(tracker.dirty().map(|due| due.offset).collect::<Vec<_>>(), [7]);
}

#[test]
fn who_gives_up_before_anything_is_completed_commits_where_it_began() {
    let (mut tracker, generation) = delivered(&[(40, 49)]);
    tracker.keeps_its_place(P);
    assert_eq!(tracker.committable(P), Some(40));
    // What is completed afterwards goes on from there.
    assert_eq!(tracker.completed(P, generation, range(40, 44)), Ok(Completion::Advanced { committable: 45 }));
    tracker.keeps_its_place(P);
    assert_eq!(tracker.committable(P), Some(45));

    let mut nothing_delivered = OffsetTracker::new();
    nothing_delivered.assigned(P, None);
    assert_eq!(nothing_delivered.keeps_its_place(P), Some(Place::Untold));
    assert_eq!(nothing_delivered.committable(P), None);
    nothing_delivered.goes_on_from(P, 7);
    assert_eq!(nothing_delivered.dirty().map(|due| due.offset).collect::<Vec<_>>(), [7]);
    nothing_delivered.goes_on_from(P, 9);
    assert_eq!(nothing_delivered.committable(P), Some(7), "the first word counts");
    assert_eq!(nothing_delivered.comes_again(P), None, "nothing was delivered");
    assert_eq!(OffsetTracker::new().keeps_its_place(P), None, "nobody assigned it");
}

#[test]
fn who_gives_up_after_a_seek_goes_on_there_whatever_was_committed() {
    let (mut tracker, generation) = delivered(&[(0, 9)]);
    tracker.completed(P, generation, range(0, 9)).unwrap();
    tracker.committed(P, generation, 10);
    for target in [4, 50] {
        tracker.sought(P, target).unwrap();
        assert_eq!(tracker.keeps_its_place(P), Some(Place::Kept));
        assert_eq!(tracker.dirty().map(|due| due.offset).collect::<Vec<_>>(), [target]);
        // The log goes on a little behind it.
        let sought = tracker.generation(P).unwrap();
        tracker.delivered(P, range(target + 2, target + 9)).unwrap();
        tracker.keeps_its_place(P);
        assert_eq!(tracker.committable(P), Some(target + 2));
        tracker.completed(P, sought, range(target + 2, target + 5)).unwrap();
        tracker.keeps_its_place(P);
        assert_eq!(tracker.committable(P), Some(target + 6));
    }
    for no_offset in [i64::MIN, i64::MAX] {
        tracker.sought(P, no_offset).unwrap();
        assert_eq!(tracker.keeps_its_place(P), Some(Place::Sought));
    }
    tracker.goes_on_from(P, 70);
    assert_eq!(tracker.committable(P), Some(70));
}

#[test]
fn what_comes_again_begins_at_what_was_committed() {
    let (mut tracker, generation) = delivered(&[(5, 9), (10, 19)]);
    assert_eq!(tracker.comes_again(P), Some(5));
    tracker.completed(P, generation, range(5, 9)).unwrap();
    assert_eq!(tracker.comes_again(P), Some(5), "no commit was taken");
    tracker.committed(P, generation, 10);
    assert_eq!(tracker.comes_again(P), Some(10));
    tracker.completed(P, generation, range(10, 19)).unwrap();
    assert_eq!(tracker.comes_again(P), Some(10), "the last commit was not taken");
    tracker.committed(P, generation, 20);
    assert_eq!(tracker.comes_again(P), None);
}
