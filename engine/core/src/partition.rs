//! Partitions by number.

use std::fmt;

/// Names a partition of some topic. The shell hands the numbers out, 0, 1, 2, …, one per topic and
/// partition for the consumer's whole life; they index vectors, so they should be dense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct PartitionIndex(pub u32);

impl PartitionIndex {
    /// Position in a `Vec` with one element per partition.
    #[must_use]
    pub const fn position(self) -> usize {
        // Widening: no supported target has pointers of less than 32 bits.
        self.0 as usize
    }
}

impl fmt::Display for PartitionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition #{}", self.0)
    }
}

/// A map from partitions, dense, in the partitions' order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionMap<T> {
    entries: Vec<Option<T>>,
}

impl<T> Default for PartitionMap<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> PartitionMap<T> {
    pub(crate) fn get(&self, partition: PartitionIndex) -> Option<&T> {
        self.entries.get(partition.position())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, partition: PartitionIndex) -> Option<&mut T> {
        self.entries.get_mut(partition.position())?.as_mut()
    }

    pub(crate) fn insert(&mut self, partition: PartitionIndex, value: T) -> Option<T> {
        let position = partition.position();
        if position >= self.entries.len() {
            self.entries.resize_with(position + 1, || None);
        }
        self.entries[position].replace(value)
    }

    pub(crate) fn remove(&mut self, partition: PartitionIndex) -> Option<T> {
        self.entries.get_mut(partition.position())?.take()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PartitionIndex, &T)> {
        // No partition is inserted but under a `u32`, so no position leaves its range.
        (0_u32..)
            .zip(&self.entries)
            .filter_map(|(index, entry)| Some((PartitionIndex(index), entry.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_forgets_what_is_removed_and_keeps_the_order() {
        let mut map = PartitionMap::default();
        for index in [5, 1, 3] {
            assert_eq!(map.insert(PartitionIndex(index), index), None);
        }
        assert_eq!(map.insert(PartitionIndex(3), 30), Some(3));
        assert_eq!(map.remove(PartitionIndex(5)), Some(5));
        assert_eq!(map.remove(PartitionIndex(99)), None);
        let entries: Vec<_> = map.iter().map(|(partition, value)| (partition.0, *value)).collect();
        assert_eq!(entries, [(1, 1), (3, 30)]);
        assert_eq!(map.get(PartitionIndex(5)), None);
    }
}
