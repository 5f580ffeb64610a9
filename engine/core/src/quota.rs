//! A quota as a ledger: what is granted and what is left always add up. And what quotas may follow.

mod lag_proportional;

pub use lag_proportional::{LagProportional, OBSERVE_EVERY, QuotaLimits, STALE, TIME_CONSTANT};

/// Keeps `granted + available == capacity`, asserted at entry and exit of every public method: a
/// quota that leaks or multiplies is a defect of ours, and limping on would hide it.
///
/// Order of calls: [`grant`](Self::grant) and [`give_back`](Self::give_back) in any order within
/// a poll, [`refill`](Self::refill) between polls (idempotent).
///
/// Unit: records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaLedger {
    capacity: u64,
    granted: u64,
    available: u64,
}

impl QuotaLedger {
    /// The capacity of a poll without a cap of its own.
    pub const UNLIMITED: u64 = u64::MAX;

    /// Nothing granted yet.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        let ledger = Self { capacity, granted: 0, available: capacity };
        ledger.assert_invariants();
        ledger
    }

    /// Grants as much of `wanted` as is left and returns that; 0 if nothing is.
    pub fn grant(&mut self, wanted: u64) -> u64 {
        self.assert_invariants();
        let amount = wanted.min(self.available);
        self.available -= amount;
        self.granted += amount;
        self.assert_invariants();
        amount
    }

    /// Takes back what a grant did not use.
    ///
    /// # Panics
    /// If more comes back than was granted.
    pub fn give_back(&mut self, amount: u64) {
        self.assert_invariants();
        assert!(amount <= self.granted, "{amount} records given back of {} granted", self.granted);
        self.granted -= amount;
        self.available += amount;
        self.assert_invariants();
    }

    /// Starts over with the whole capacity.
    pub fn refill(&mut self) {
        self.assert_invariants();
        self.granted = 0;
        self.available = self.capacity;
        self.assert_invariants();
    }

    /// What can be granted in all.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.assert_invariants();
        self.capacity
    }

    /// What is granted and did not come back.
    #[must_use]
    pub const fn granted(&self) -> u64 {
        self.assert_invariants();
        self.granted
    }

    /// What can still be granted.
    #[must_use]
    pub const fn available(&self) -> u64 {
        self.assert_invariants();
        self.available
    }

    const fn assert_invariants(&self) {
        assert!(
            matches!(self.granted.checked_add(self.available), Some(sum) if sum == self.capacity),
            "quota ledger: granted + available != capacity"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_never_more_than_is_left() {
        let mut ledger = QuotaLedger::new(10);
        assert_eq!(ledger.grant(7), 7);
        assert_eq!(ledger.grant(7), 3);
        assert_eq!(ledger.grant(7), 0);
        ledger.give_back(4);
        assert_eq!((ledger.granted(), ledger.available()), (6, 4));
        ledger.refill();
        assert_eq!((ledger.granted(), ledger.available()), (0, 10));
    }

    #[test]
    fn an_unlimited_ledger_does_not_overflow() {
        let mut ledger = QuotaLedger::new(QuotaLedger::UNLIMITED);
        assert_eq!(ledger.grant(u64::MAX), u64::MAX);
        ledger.give_back(u64::MAX);
        assert_eq!(ledger.available(), u64::MAX);
    }

    #[test]
    #[should_panic(expected = "3 records given back of 2 granted")]
    fn giving_back_more_than_was_granted_is_a_defect() {
        let mut ledger = QuotaLedger::new(10);
        ledger.grant(2);
        ledger.give_back(3);
    }

    #[test]
    #[should_panic(expected = "granted + available != capacity")]
    fn a_ledger_that_leaks_is_noticed_at_the_next_call() {
        let mut ledger = QuotaLedger::new(10);
        ledger.available = 9;
        ledger.grant(1);
    }
}
