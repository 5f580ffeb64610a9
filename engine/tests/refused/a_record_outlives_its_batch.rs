//! The batch owns the messages: a record points into it.

use fairpoll::Batch;

pub fn keep(batch: Batch) {
    let record = batch.records().next().expect("one");
    drop(batch); //~ E0505
    println!("{}", record.offset());
}

fn main() {}
