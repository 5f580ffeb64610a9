//! Sets of offsets as sorted ranges: ten million records are a handful of numbers.

/// A set of offsets: half-open ranges, sorted, disjoint, not touching, none empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Intervals(Vec<(i64, i64)>);

impl Intervals {
    /// The union of ranges in any order.
    pub(super) fn union(mut ranges: Vec<(i64, i64)>) -> Self {
        ranges.retain(|(start, end)| start < end);
        ranges.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::new();
        for (start, end) in ranges {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self(merged)
    }

    /// What lies in at least two of the ranges.
    pub(super) fn repeated(mut ranges: Vec<(i64, i64)>) -> Self {
        ranges.retain(|(start, end)| start < end);
        ranges.sort_unstable();
        let mut again = Vec::new();
        // Ranges come by their start, so everything from this one's start up to `covered` has
        // been seen.
        let mut covered = i64::MIN;
        for (start, end) in ranges {
            again.push((start, end.min(covered)));
            covered = covered.max(end);
        }
        Self::union(again)
    }

    /// With one range more. Cheap where it follows the last one, as deliveries do.
    pub(super) fn with(mut self, start: i64, end: i64) -> Self {
        match self.0.last_mut() {
            Some(last) if last.0 <= start && start <= last.1 => last.1 = last.1.max(end),
            Some(last) if last.1 < start && start < end => self.0.push((start, end)),
            _ => {
                self.0.push((start, end));
                return Self::union(self.0);
            }
        }
        self
    }

    /// What is in `self` and not in `other`.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        let mut holes = other.0.iter().copied().peekable();
        for &(mut start, end) in &self.0 {
            while holes.next_if(|hole| hole.1 <= start).is_some() {}
            while let Some(&(hole_start, hole_end)) = holes.peek() {
                if hole_start >= end {
                    break;
                }
                if start < hole_start {
                    left.push((start, hole_start));
                }
                start = start.max(hole_end);
                if hole_end > end {
                    // It reaches into the next range.
                    break;
                }
                holes.next();
            }
            if start < end {
                left.push((start, end));
            }
        }
        Self(left)
    }

    /// What is in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        self.without(&self.without(other))
    }

    /// What lies below `offset`.
    pub(super) fn below(&self, offset: i64) -> Self {
        self.and(&Self::union(vec![(i64::MIN, offset)]))
    }

    /// What lies at or above `offset`.
    pub(super) fn from(&self, offset: i64) -> Self {
        self.and(&Self::union(vec![(offset, i64::MAX)]))
    }

    /// The smallest offset.
    pub(super) fn first(&self) -> Option<i64> {
        self.0.first().map(|(start, _)| *start)
    }

    /// How many offsets.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(start, end)| end.abs_diff(*start)).fold(0, u64::saturating_add)
    }

    /// The ranges, half-open.
    pub(super) fn ranges(&self) -> &[(i64, i64)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Intervals;

    fn ranges() -> impl Strategy<Value = Vec<(i64, i64)>> {
        prop::collection::vec((0_i64..30, 0_i64..8).prop_map(|(start, count)| (start, start + count)), 0..8)
    }

    fn offsets(ranges: &[(i64, i64)]) -> BTreeSet<i64> {
        ranges.iter().flat_map(|(start, end)| *start..*end).collect()
    }

    proptest! {
        /// forall ranges A, B: every operation equals the one on sets of single offsets.
        #[test]
        fn operations_on_ranges_equal_those_on_single_offsets(a in ranges(), b in ranges(), cut in 0_i64..30) {
            let (x, y) = (Intervals::union(a.clone()), Intervals::union(b.clone()));
            let (p, q) = (offsets(&a), offsets(&b));
            let same = |found: &Intervals, expected: BTreeSet<i64>| {
                offsets(found.ranges()) == expected && found.count() == expected.len() as u64
                    && found.first() == expected.first().copied()
            };
            prop_assert!(same(&x, p.clone()));
            prop_assert!(same(&x.without(&y), p.difference(&q).copied().collect()));
            prop_assert!(same(&x.and(&y), p.intersection(&q).copied().collect()));
            prop_assert!(same(&x.below(cut), p.iter().copied().filter(|o| *o < cut).collect()));
            prop_assert!(same(&x.from(cut), p.iter().copied().filter(|o| *o >= cut).collect()));
            let twice = p.iter().copied().filter(|o| a.iter().filter(|(s, e)| s <= o && o < e).count() > 1);
            prop_assert!(same(&Intervals::repeated(a.clone()), twice.collect()));
        }
    }
}
