//! The other may outlive the batch: copies go there.

use fairpoll::Batch;

pub fn process(batch: Batch) {
    for record in batch.records() { //~ E0597
        std::thread::spawn(move || println!("{}", record.offset()));
    }
}

fn main() {}
