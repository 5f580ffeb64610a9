//! What is still to happen, in order of time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Future events. Those of one moment happen in the order in which they were entered, so that the same
/// entries always lead to the same course.
#[derive(Debug)]
pub(super) struct Agenda<E> {
    heap: BinaryHeap<Entry<E>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    number: u64,
    what: E,
}

impl<E> Agenda<E> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), entered: 0 }
    }

    /// It will happen then, ns.
    pub(super) fn enter(&mut self, at: u64, what: E) {
        self.entered += 1;
        self.heap.push(Entry { at, number: self.entered, what });
    }

    /// What comes next, if it comes by then.
    pub(super) fn next_until(&mut self, limit: u64) -> Option<(u64, E)> {
        if self.heap.peek()?.at > limit {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.what))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The greatest is taken first: the earliest, and of those the one that was entered first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_of_one_moment_the_first_that_was_entered() {
        let mut agenda = Agenda::new();
        for (at, what) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            agenda.enter(at, what);
        }
        assert_eq!(agenda.next_until(2), None);
        let order: String = std::iter::from_fn(|| agenda.next_until(9)).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
    }
}
