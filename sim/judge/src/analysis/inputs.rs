//! Complete inputs: one record of each topic, for the program that needs them all.

use super::course::Course;

/// When the program could compute.
#[derive(Debug, Clone, Default)]
pub(super) struct Inputs {
    /// (when, complete inputs so far), a step each.
    pub(super) steps: Vec<(u64, u64)>,
    /// Longest stretch in which the next input stood on the broker and was not complete, ns.
    /// `None` where not every topic ever had data at the same count.
    pub(super) gap_ns: Option<u64>,
}

/// The inputs of the topics that have data; one that the scenario makes undeliverable is left out.
///
/// Input `k` is complete when every topic has delivered `k` records. It could have been since the
/// broker acknowledged the `k`-th record of every topic; its gap is the time from then, from the
/// completion of input `k − 1`, or from the first poll, whichever came last, to its completion or
/// the run's end.
pub(super) fn inputs(course: &Course<'_>) -> Inputs {
    let has_data = course.has_data();
    let needed: Vec<usize> =
        (0..course.topics.len()).filter(|topic| has_data[*topic] && course.is_deliverable(*topic)).collect();
    let (Some(origin_ns), false) = (course.origin_ns(), needed.is_empty()) else {
        return Inputs::default();
    };
    let acknowledged: Vec<Acknowledged> =
        needed.iter().map(|topic| Acknowledged::of(course, *topic)).collect();
    let mut place = vec![None; course.topics.len()];
    for (index, topic) in needed.iter().enumerate() {
        place[*topic] = Some(index);
    }
    let mut delivered = vec![0_u64; needed.len()];
    let (mut complete, mut last_ns) = (0_u64, origin_ns);
    let mut inputs = Inputs::default();
    let mut note_gap = |complete: u64, last_ns: u64, t_ns: u64| {
        let waits_from = acknowledged
            .iter()
            .map(|topic| topic.nth_ns(complete + 1))
            .try_fold(0, |latest: u64, next| next.map(|next| latest.max(next)));
        if let Some(from_ns) = waits_from {
            let gap = course.excused.counted_ns(from_ns.max(last_ns), t_ns);
            inputs.gap_ns = inputs.gap_ns.max(Some(gap));
        }
    };
    let mut steps = Vec::new();
    for poll in &course.polls {
        let mut at_the_minimum = false;
        for take in &poll.takes {
            if let Some(index) = place[take.topic] {
                at_the_minimum |= delivered[index] == complete;
                delivered[index] += take.fresh();
            }
        }
        if !at_the_minimum {
            continue;
        }
        let now = delivered.iter().copied().min().unwrap_or(0);
        if now > complete {
            note_gap(complete, last_ns, poll.return_ns);
            (complete, last_ns) = (now, poll.return_ns);
            steps.push((poll.return_ns, complete));
        }
    }
    note_gap(complete, last_ns, course.end_ns);
    inputs.steps = steps;
    inputs
}

/// When a topic's records came to the broker, over its partitions.
struct Acknowledged {
    /// (when, records until then), by time.
    by_time: Vec<(u64, u64)>,
}

impl Acknowledged {
    fn of(course: &Course<'_>, topic: usize) -> Self {
        let mut by_time: Vec<(u64, u64)> = course
            .lanes
            .iter()
            .filter(|lane| lane.topic == topic)
            .flat_map(|lane| {
                let position = lane.supply.position();
                lane.supply
                    .batches()
                    .iter()
                    .filter(move |batch| batch.end > position)
                    .map(move |batch| (batch.ack_ns, batch.end.abs_diff(batch.start.max(position))))
            })
            .collect();
        by_time.sort_unstable();
        let mut records = 0;
        for (_, count) in &mut by_time {
            records += *count;
            *count = records;
        }
        Self { by_time }
    }

    /// When the `n`-th record (from 1) was acknowledged, ns.
    fn nth_ns(&self, n: u64) -> Option<u64> {
        let index = self.by_time.partition_point(|(_, records)| *records < n);
        self.by_time.get(index).map(|(t_ns, _)| *t_ns)
    }
}
