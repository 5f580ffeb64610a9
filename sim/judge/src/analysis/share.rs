//! Served against entitled: the weighted max-min share.

use super::course::{Course, number};

// DESIGN.md §3: 20 groups; under ten polls each a group says nothing.
const GROUPS: usize = 20;
const POLLS_MIN: usize = 200;

/// Per group of consecutive polls: when it ended, ns, and the smallest served/entitled of a topic.
/// Groups in which nobody was entitled to anything are skipped; empty under 200 polls.
///
/// A topic's demand in a group is what was available to the group's last poll and not delivered
/// before its first, or what it was served if that is more. What all topics were served in the
/// group is divided by weight among those whose demand is not met.
pub(super) fn shares(course: &Course<'_>) -> Vec<(u64, f64)> {
    if course.polls.len() < POLLS_MIN {
        return Vec::new();
    }
    let weights: Vec<f64> = course.topics.iter().map(|facts| f64::from(facts.weight)).collect();
    let mut positions: Vec<i64> = course.lanes.iter().map(|lane| lane.supply.position()).collect();
    let mut shares = Vec::new();
    for group in 0..GROUPS {
        let from = group * course.polls.len() / GROUPS;
        let to = (group + 1) * course.polls.len() / GROUPS;
        let polls = &course.polls[from..to];
        let Some(last) = polls.last() else { continue };
        let mut demand = vec![0_u64; weights.len()];
        for (lane, position) in course.lanes.iter().zip(&positions) {
            demand[lane.topic] += lane.supply.available_above(*position, last.begin_ns);
        }
        let mut served = vec![0_u64; weights.len()];
        for take in polls.iter().flat_map(|poll| &poll.takes) {
            served[take.topic] += take.fresh();
            positions[take.partition] = positions[take.partition].max(take.end);
        }
        let demand: Vec<f64> = demand.iter().zip(&served).map(|(d, s)| number(*d.max(s))).collect();
        let total: f64 = served.iter().map(|served| number(*served)).sum();
        let entitled = max_min(total, &demand, &weights);
        let ratios = served.iter().zip(&entitled).zip(&course.topics);
        let smallest = ratios
            .filter(|((_, entitled), facts)| **entitled > 0.0 && facts.deliverable)
            .map(|((served, entitled), _)| number(*served) / entitled)
            .reduce(f64::min);
        shares.extend(smallest.map(|share| (last.return_ns, share)));
    }
    shares
}

/// The weighted max-min fair division of `total`: nobody gets more than the demand, and what one
/// does not need goes to the others by weight (Bertsekas and Gallager, *Data Networks*, 6.5.2).
pub(super) fn max_min(total: f64, demand: &[f64], weights: &[f64]) -> Vec<f64> {
    let mut entitled = vec![0.0; demand.len()];
    let mut open: Vec<usize> = (0..demand.len()).filter(|i| demand[*i] > 0.0 && weights[*i] > 0.0).collect();
    // By how much of the level each needs: the first in this order is the first to be full.
    open.sort_by(|a, b| (demand[*a] / weights[*a]).total_cmp(&(demand[*b] / weights[*b])));
    let mut rest = total;
    let mut weight: f64 = open.iter().map(|i| weights[*i]).sum();
    for topic in open {
        entitled[topic] = demand[topic].min(rest * weights[topic] / weight);
        rest -= entitled[topic];
        weight -= weights[topic];
    }
    entitled
}

#[cfg(test)]
mod tests {
    use super::max_min;

    #[test]
    fn small_demands_are_met_and_the_rest_is_divided_by_weight() {
        assert_eq!(max_min(100.0, &[10.0, 1e9, 1e9], &[1.0, 1.0, 1.0]), [10.0, 45.0, 45.0]);
        assert_eq!(max_min(100.0, &[10.0, 1e9, 1e9], &[1.0, 1.0, 2.0]), [10.0, 30.0, 60.0]);
        assert_eq!(max_min(30.0, &[40.0, 40.0, 0.0], &[2.0, 1.0, 1.0]), [20.0, 10.0, 0.0]);
        assert_eq!(max_min(0.0, &[5.0], &[1.0]), [0.0]);
    }
}
