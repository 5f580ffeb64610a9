//! Receipts come from records that were delivered: nobody acknowledges what he never saw.

use fairpoll::Receipt;

pub fn forge(real: Receipt) -> Receipt {
    Receipt { offset: 1_000_000, ..real } //~ E0451
}

fn main() {}
