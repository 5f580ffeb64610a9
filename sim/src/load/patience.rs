//! How long to wait for a broker: as long as it gets on with it.

use std::time::{Duration, Instant};

/// Waits end when nothing has happened for so long. A limit on the whole would be right for one size
/// of backlog and one disk.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    done: u64,
    since: Instant,
}

impl Patience {
    /// Waiting begins, with so much done.
    pub(super) fn new(limit: Duration, done: u64, now: Instant) -> Self {
        Self { limit, done, since: now }
    }

    /// Tells how much is done by now. Whether patience is at its end: nothing was added for the limit.
    pub(super) fn is_over(&mut self, done: u64, now: Instant) -> bool {
        if done != self.done {
            self.done = done;
            self.since = now;
        }
        now.duration_since(self.since) >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_broker_is_waited_for_as_long_as_it_gets_on() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut patience = Patience::new(Duration::from_secs(30), 0, begin);
        assert!((1..=20).all(|step| !patience.is_over(step, at(29 * step))));
    }

    #[test]
    fn a_broker_that_does_nothing_more_is_given_up() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut patience = Patience::new(Duration::from_secs(30), 7, begin);
        assert!(!patience.is_over(8, at(10)));
        assert!(!patience.is_over(8, at(39)));
        assert!(patience.is_over(8, at(40)));
    }
}
