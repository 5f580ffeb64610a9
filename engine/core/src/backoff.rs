//! When to try again: exponential, capped, with jitter.

use std::time::Duration;

/// Hands out growing delays. Whoever retries calls [`next_delay`](Self::next_delay) after each
/// failure with a fresh random number, waits so long, and calls [`reset`](Self::reset) after a
/// success (idempotent).
///
/// The n-th delay (from 0) lies in `[d/2, d]` with `d = min(cap, initial · 2ⁿ)`: "equal jitter".
/// Half of it is random, so that consumers that failed together do not come back together; half is
/// fixed, so that none comes back at once. See Brooker, "Exponential backoff and jitter" (2015).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    initial: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Delays grow from `initial` to `cap`.
    #[must_use]
    pub const fn new(initial: Duration, cap: Duration) -> Self {
        Self { initial, cap, failures: 0 }
    }

    /// It failed once more: how long to wait. `random` is uniform over all of `u64`.
    pub fn next_delay(&mut self, random: u64) -> Duration {
        let full = self.full_delay();
        self.failures = self.failures.saturating_add(1);
        let half = full / 2;
        let jitter_nanos = (full - half).as_nanos().saturating_mul(u128::from(random)) >> 64;
        // A duration of more than 584 years is as good as its fixed half.
        half + Duration::from_nanos(u64::try_from(jitter_nanos).unwrap_or(u64::MAX))
    }

    /// It worked.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    fn full_delay(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.initial.saturating_mul(factor).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn delays_double_up_to_the_cap_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(100 * MS, 1_000 * MS);
        let delays: Vec<_> = (0..6).map(|_| backoff.next_delay(0)).collect();
        assert_eq!(delays, [50 * MS, 100 * MS, 200 * MS, 400 * MS, 500 * MS, 500 * MS]);
        assert_eq!(backoff.failures(), 6);
        backoff.reset();
        assert_eq!(backoff.next_delay(0), 50 * MS);
    }

    #[test]
    fn jitter_spreads_over_the_upper_half() {
        let delay = |random| Backoff::new(100 * MS, 1_000 * MS).next_delay(random);
        assert_eq!(delay(0), 50 * MS);
        assert_eq!(delay(1 << 63), 75 * MS);
        assert!(delay(u64::MAX) < 100 * MS && delay(u64::MAX) > 99 * MS);
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let mut backoff = Backoff::new(MS, Duration::from_secs(30));
        for _ in 0..1_000 {
            assert!(backoff.next_delay(u64::MAX) <= Duration::from_secs(30));
        }
    }
}
