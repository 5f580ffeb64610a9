//! How long a first poll waits for handles that have not joined their group.

use std::time::{Duration, Instant};

/// After a join the others are waited for so long. Handles are started together and take the same
/// way, so their joins lie close to each other; who is not there by then may never come: its topic
/// does not exist (KIP-848 does not even say so), or there is nothing to own for it.
const QUIET: Duration = Duration::from_secs(1);

/// Decides whether a poll should wait for handles that have not joined, so that the first batch is
/// not of those topics only whose handle was fastest.
///
/// [`JoinWait::joined`] with every handle's first assignment (or the news that there is none to come),
/// [`JoinWait::until`] before every poll. Once it has answered `None` it always does: a late handle
/// does not hold up the others.
#[derive(Debug, Default)]
pub(super) struct JoinWait {
    last: Option<Instant>,
    over: bool,
}

impl JoinWait {
    /// A handle has joined.
    pub(super) fn joined(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// Whether nobody is waited for any more.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Until when to wait; `None`: no longer. `bound` is how long to wait at most.
    pub(super) fn until(&mut self, now: Instant, all_joined: bool, bound: Instant) -> Option<Instant> {
        let quiet = self.last.map(|last| last + QUIET);
        let until = quiet.map_or(bound, |quiet| quiet.min(bound));
        self.over |= all_joined || until <= now;
        (!self.over).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn everybody_is_waited_for_up_to_the_bound() {
        let (start, mut wait) = (Instant::now(), JoinWait::default());
        let bound = at(start, 5000);
        assert_eq!(wait.until(at(start, 0), false, bound), Some(bound));
        assert_eq!(wait.until(at(start, 4999), false, bound), Some(bound));
        assert_eq!(wait.until(at(start, 5000), false, bound), None);
    }

    #[test]
    fn a_handle_that_does_not_come_is_waited_for_a_second_after_the_last_that_did() {
        let (start, mut wait) = (Instant::now(), JoinWait::default());
        let bound = at(start, 5000);
        wait.joined(at(start, 100));
        wait.joined(at(start, 900));
        assert_eq!(wait.until(at(start, 1899), false, bound), Some(at(start, 1900)));
        assert_eq!(wait.until(at(start, 1900), false, bound), None);
        wait.joined(at(start, 2500));
        assert_eq!(wait.until(at(start, 2501), false, bound), None, "a late one holds up nobody");
    }

    #[test]
    fn nobody_is_waited_for_when_all_are_there() {
        let (start, mut wait) = (Instant::now(), JoinWait::default());
        wait.joined(start);
        assert_eq!(wait.until(start, true, at(start, 5000)), None);
    }
}
