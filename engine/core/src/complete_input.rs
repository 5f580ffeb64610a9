//! Complete inputs: how long to wait so that every topic that has records contributes one.

use std::time::Duration;

use crate::time::{Timestamp, WakeReason, Wakeup};

/// What is known of the next record of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextRecord {
    /// It can be taken.
    Here,
    /// There is none, as far as anybody knows.
    Absent,
    /// It should come.
    Coming {
        /// Another number whenever more is known of the topic than before, such as the sum of its
        /// partitions' ends.
        seen: u64,
    },
    /// It may exist and cannot come while the call lasts.
    Withheld,
}

/// Decides until when a call waits that wants a record of each topic.
///
/// A call is over when some record can be taken and nobody is waited for, or when its time is up.
/// Whom it waits for are the topics whose next record should come: a topic without records, or one
/// whose records are withheld, adds no waiting.
///
/// A topic that was waited for in vain until a call's time was up is not waited for again, in this
/// call or a later one, before more is known of it: what ends with transaction markers looks like
/// records that are late, and would otherwise cost every call its whole time.
///
/// # Who calls what
/// The consumer: [`begin`](Self::begin) when a call begins (one that was given up halfway needs no
/// farewell), then [`waiting`](Self::waiting) with what is known of all topics, whenever something
/// happened: `None` says that the call takes what there is.
#[derive(Debug, Clone)]
pub struct CompleteInput {
    deadline: Timestamp,
    /// By topic: what was seen of it when it was waited for in vain.
    in_vain: Vec<Option<u64>>,
}

impl CompleteInput {
    /// For so many topics; nobody was waited for yet.
    #[must_use]
    pub fn new(topics: usize) -> Self {
        Self { deadline: Timestamp::ZERO, in_vain: vec![None; topics] }
    }

    /// A call begins that may take `max_wait`.
    pub fn begin(&mut self, now: Timestamp, max_wait: Duration) {
        self.deadline = now + max_wait;
    }

    /// `None`: take what there is. Otherwise call again when something happened, at the time given
    /// at the latest. `topics`: what is known of each, always in the same order.
    pub fn waiting(
        &mut self,
        now: Timestamp,
        topics: impl IntoIterator<Item = NextRecord>,
    ) -> Option<Wakeup> {
        let time_is_up = self.deadline <= now;
        let (mut anything_here, mut awaited) = (false, false);
        for (in_vain, next) in self.in_vain.iter_mut().zip(topics) {
            match next {
                NextRecord::Coming { seen } => {
                    awaited |= *in_vain != Some(seen);
                    if time_is_up {
                        *in_vain = Some(seen);
                    }
                }
                NextRecord::Here => (anything_here, *in_vain) = (true, None),
                NextRecord::Absent => *in_vain = None,
                NextRecord::Withheld => {}
            }
        }
        let over = time_is_up || (anything_here && !awaited);
        (!over).then_some(Wakeup { at: self.deadline, reason: WakeReason::CallerDeadline })
    }
}

#[cfg(test)]
mod tests {
    use super::NextRecord::{Absent, Coming, Here, Withheld};
    use super::*;

    const WAIT: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn begun(topics: usize) -> CompleteInput {
        let mut input = CompleteInput::new(topics);
        input.begin(at(0), WAIT);
        input
    }

    #[test]
    fn a_call_ends_with_the_last_topic_that_was_waited_for() {
        let mut input = begun(3);
        let until = Wakeup { at: at(100), reason: WakeReason::CallerDeadline };
        assert_eq!(input.waiting(at(0), [Here, Coming { seen: 7 }, Absent]), Some(until));
        assert_eq!(input.waiting(at(30), [Here, Here, Absent]), None);
    }

    #[test]
    fn nobody_waits_for_a_topic_without_records_or_whose_records_are_withheld() {
        assert_eq!(begun(3).waiting(at(0), [Here, Absent, Withheld]), None);
    }

    #[test]
    fn without_any_record_a_call_takes_its_whole_time() {
        let mut input = begun(2);
        assert!(input.waiting(at(99), [Absent, Withheld]).is_some());
        assert_eq!(input.waiting(at(100), [Absent, Withheld]), None);
    }

    #[test]
    fn who_was_waited_for_in_vain_is_waited_for_again_only_when_more_is_known() {
        let mut input = begun(2);
        assert_eq!(input.waiting(at(100), [Here, Coming { seen: 7 }]), None, "the time is up");
        input.begin(at(100), WAIT);
        assert_eq!(input.waiting(at(100), [Here, Coming { seen: 7 }]), None);
        assert!(input.waiting(at(100), [Here, Coming { seen: 8 }]).is_some());
        // It came after all: the next one is waited for.
        assert_eq!(input.waiting(at(110), [Here, Here]), None);
        input.begin(at(110), WAIT);
        assert!(input.waiting(at(110), [Here, Coming { seen: 7 }]).is_some());
    }

    #[test]
    fn a_call_that_was_given_up_halfway_leaves_nothing_behind() {
        let mut input = begun(2);
        assert!(input.waiting(at(50), [Here, Coming { seen: 7 }]).is_some());
        input.begin(at(60), WAIT);
        assert!(input.waiting(at(159), [Here, Coming { seen: 7 }]).is_some());
        assert_eq!(input.waiting(at(160), [Here, Coming { seen: 7 }]), None);
    }
}
