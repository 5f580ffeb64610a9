//! The consumer group: partitions without an owner.

use std::collections::BTreeMap;

use super::course::{Change, Course};

/// Partition-time without an owner, ns: from a revocation to the next assignment of the partition,
/// or to the run's end.
pub(super) fn revoked_ns(course: &Course<'_>) -> u64 {
    let mut ownerless = BTreeMap::new();
    let mut total = 0_u64;
    for (t_ns, change) in &course.changes {
        match change {
            Change::Revoked(partitions) => {
                for gone in *partitions {
                    ownerless.entry(gone).or_insert(*t_ns);
                }
            }
            Change::Assigned(partitions) => {
                for came in *partitions {
                    total += ownerless.remove(came).map_or(0, |since| t_ns.saturating_sub(since));
                }
            }
        }
    }
    total + ownerless.into_values().map(|since| course.end_ns.saturating_sub(since)).sum::<u64>()
}
