//! The quota ledger against a list of open grants.

use fairpoll_core::QuotaLedger;
use proptest::prelude::*;

use super::{Verdict, catches, holds};

#[derive(Debug, Clone)]
enum Operation {
    Grant(u64),
    /// Of what is granted, so many 256ths.
    GiveBack(u8),
    Refill,
}

trait Ledger {
    fn grant(&mut self, wanted: u64) -> u64;
    fn give_back(&mut self, amount: u64);
    fn refill(&mut self);
    fn granted_and_available(&self) -> (u64, u64);
}

impl Ledger for QuotaLedger {
    fn grant(&mut self, wanted: u64) -> u64 {
        QuotaLedger::grant(self, wanted)
    }

    fn give_back(&mut self, amount: u64) {
        QuotaLedger::give_back(self, amount);
    }

    fn refill(&mut self) {
        QuotaLedger::refill(self);
    }

    fn granted_and_available(&self) -> (u64, u64) {
        (self.granted(), self.available())
    }
}

/// Takes everything back, and forgets that it is not granted any more.
struct Leaking {
    granted: u64,
    available: u64,
}

impl Ledger for Leaking {
    fn grant(&mut self, wanted: u64) -> u64 {
        let amount = wanted.min(self.available);
        self.available -= amount;
        self.granted += amount;
        amount
    }

    fn give_back(&mut self, amount: u64) {
        self.available += amount;
    }

    fn refill(&mut self) {
        self.available += self.granted;
        self.granted = 0;
    }

    fn granted_and_available(&self) -> (u64, u64) {
        (self.granted, self.available)
    }
}

fn inputs() -> impl Strategy<Value = (u64, Vec<Operation>)> {
    let operation = prop_oneof![
        4 => (0_u64..400).prop_map(Operation::Grant),
        3 => any::<u8>().prop_map(Operation::GiveBack),
        1 => Just(Operation::Refill),
    ];
    (0_u64..1_000, prop::collection::vec(operation, 0..60))
}

fn adds_up(capacity: u64, operations: &[Operation], ledger: &mut impl Ledger) -> Verdict {
    let mut outstanding = 0;
    for operation in operations {
        match operation {
            Operation::Grant(wanted) => {
                let granted = ledger.grant(*wanted);
                let due = (*wanted).min(capacity - outstanding);
                if granted != due {
                    return Err(format!("{granted} granted of {wanted} wanted, {due} could be had"));
                }
                outstanding += granted;
            }
            Operation::GiveBack(part) => {
                let amount = outstanding * u64::from(*part) / 256;
                ledger.give_back(amount);
                outstanding -= amount;
            }
            Operation::Refill => {
                ledger.refill();
                outstanding = 0;
            }
        }
        let (granted, available) = ledger.granted_and_available();
        if granted != outstanding || granted + available != capacity {
            return Err(format!("{granted} + {available} of {capacity}, {outstanding} are out"));
        }
    }
    Ok(())
}

/// forall sequences of operations: granted + available == capacity, and sum(granted(r)) ≤ capacity.
#[test]
fn granted_and_available_always_add_up_to_the_capacity() {
    holds(&inputs(), |(capacity, operations)| {
        adds_up(*capacity, operations, &mut QuotaLedger::new(*capacity))
    });
}

#[test]
fn granted_and_available_always_add_up_to_the_capacity_catches_a_leak() {
    catches("Leaking", &inputs(), |(capacity, operations)| {
        adds_up(*capacity, operations, &mut Leaking { granted: 0, available: *capacity })
    });
}
