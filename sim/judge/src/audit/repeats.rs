//! Repeated deliveries of one partition: which are the price of a disruption, and which are a defect.

use std::collections::BTreeMap;

use super::intervals::Intervals;
use super::partition::Delivery;

/// Who got a partition when, and what of it was surely committed when.
#[derive(Debug, Default)]
pub(super) struct Tenure {
    /// (when, life, how many assignments of the partition that life has seen), in the log's order.
    pub(super) assigned: Vec<(u64, u32, u32)>,
    /// (when the worker heard of it, offset) of commits that the broker acknowledged.
    pub(super) acknowledged: Vec<(u64, i64)>,
    /// The last owner lost it without a chance to commit: the group gave it up, or refused its commit in the
    /// rebalance that took the partition away.
    pub(super) lost: bool,
}

impl Tenure {
    fn begin(&self, life: u32, assignment: u32) -> Option<u64> {
        let of = |(_, l, a): &&(u64, u32, u32)| (*l, *a) == (life, assignment);
        self.assigned.iter().find(of).map(|(t_ns, ..)| *t_ns)
    }

    /// The last offset that was acknowledged as committed by then.
    pub(super) fn committed(&self, t_ns: u64) -> i64 {
        let by_then = self.acknowledged.iter().filter(|(heard, _)| *heard <= t_ns);
        by_then.max_by_key(|(heard, _)| *heard).map_or(i64::MIN, |(_, offset)| *offset)
    }
}

/// What came more than once.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// Records that a new owner had to deliver again.
    pub(super) redelivered: u64,
    /// Offsets whose repetition nothing excuses.
    pub(super) duplicated: Intervals,
    /// Records that were delivered and not acknowledged as committed whenever somebody else got the
    /// partition: what a correct consumer delivers again at most.
    pub(super) uncommitted: u64,
}

/// Judges the deliveries of one partition.
///
/// A record may come again from another assignment than before if something had disrupted the
/// group by then (`disrupted_ns`), and if its offset was not acknowledged as committed when that
/// assignment began: the group can only go on where it committed. Whoever gets a partition without a
/// disruption has no excuse: everybody commits what was processed before giving a partition back.
pub(super) fn repeats(deliveries: &[Delivery], tenure: &Tenure, disrupted_ns: Option<u64>) -> Repeats {
    let mut found = Repeats::default();
    let mut in_time: Vec<&Delivery> = deliveries.iter().collect();
    in_time.sort_by_key(|delivery| delivery.t_ns);
    let disrupted = |t_ns: u64| disrupted_ns.is_some_and(|since| since <= t_ns);
    let mut ends: Vec<(u64, i64)> = Vec::with_capacity(in_time.len());
    let mut seen = Intervals::default();
    let mut own: BTreeMap<(u32, u32), Intervals> = BTreeMap::new();
    let mut wrong = Vec::new();
    for delivery in in_time {
        let key = (delivery.life, delivery.assignment);
        let this = Intervals::union(vec![(delivery.start, delivery.end)]);
        let again = this.and(&seen);
        if again.count() > 0 {
            let same = own.get(&key).map(|own| again.and(own)).unwrap_or_default();
            let others = again.without(&same);
            let began = tenure.begin(delivery.life, delivery.assignment).unwrap_or(delivery.t_ns);
            let excused_from = if disrupted(delivery.t_ns) { tenure.committed(began) } else { i64::MAX };
            found.redelivered += others.from(excused_from).count();
            let below = others.below(excused_from);
            wrong.extend(same.ranges().iter().chain(below.ranges()).copied());
        }
        seen = seen.with(delivery.start, delivery.end);
        let own = own.entry(key).or_default();
        *own = std::mem::take(own).with(delivery.start, delivery.end);
        let end = ends.last().map_or(delivery.end, |(_, end)| delivery.end.max(*end));
        ends.push((delivery.t_ns, end));
    }
    for (t_ns, ..) in tenure.assigned.iter().filter(|(t_ns, ..)| disrupted(*t_ns)) {
        let delivered = ends.iter().take_while(|(t, _)| t <= t_ns).last();
        if let Some((_, end)) = delivered {
            let from = tenure.committed(*t_ns);
            found.uncommitted += seen.from(from).below(*end).count();
        }
    }
    found.duplicated = Intervals::union(wrong);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(t_ns: u64, life: u32, start: i64, end: i64) -> Delivery {
        Delivery {
            start,
            end,
            id_sum: 0,
            life,
            assignment: 1,
            seq: t_ns,
            t_ns,
            processed: true,
            survived: true,
        }
    }

    fn tenure() -> Tenure {
        Tenure {
            assigned: vec![(0, 1, 1), (100, 2, 1)],
            acknowledged: vec![(50, 40), (200, 90)],
            lost: false,
        }
    }

    #[test]
    fn what_was_not_committed_may_come_again_after_a_disruption() {
        let deliveries = [delivery(10, 1, 0, 60), delivery(110, 2, 40, 80)];
        let found = repeats(&deliveries, &tenure(), Some(70));
        assert_eq!((found.redelivered, found.duplicated.count(), found.uncommitted), (20, 0, 20));
    }

    #[test]
    fn what_was_committed_may_not() {
        let deliveries = [delivery(10, 1, 0, 60), delivery(110, 2, 30, 80)];
        let found = repeats(&deliveries, &tenure(), Some(70));
        assert_eq!((found.redelivered, found.duplicated.count()), (20, 10));
        assert_eq!(found.duplicated.ranges(), [(30, 40)]);
    }

    #[test]
    fn nothing_excuses_a_repetition_before_or_without_a_disruption() {
        let deliveries = [delivery(10, 1, 0, 60), delivery(110, 2, 40, 80)];
        assert_eq!(repeats(&deliveries, &tenure(), None).duplicated.count(), 20);
        assert_eq!(repeats(&deliveries, &tenure(), Some(111)).duplicated.count(), 20);
    }

    #[test]
    fn one_owner_delivers_once() {
        let deliveries = [delivery(10, 1, 0, 60), delivery(20, 1, 50, 70)];
        let found = repeats(&deliveries, &tenure(), Some(5));
        assert_eq!((found.redelivered, found.duplicated.count()), (0, 10));
    }

    /// A process that stood still past its session goes on with what it had fetched.
    #[test]
    fn a_sleeper_that_wakes_up_repeats_what_was_not_committed_when_it_was_given_the_partition() {
        let deliveries = [delivery(10, 1, 0, 40), delivery(110, 2, 40, 80), delivery(120, 1, 40, 60)];
        let found = repeats(&deliveries, &tenure(), Some(70));
        assert_eq!((found.redelivered, found.duplicated.count()), (20, 0));
    }
}
