//! Also where the record itself is gone: key, value and headers lie in the batch's fetch buffers.

use fairpoll::Batch;

pub fn keep(batch: Batch) {
    let value = batch.records().next().and_then(|record| record.value());
    drop(batch); //~ E0505
    println!("{value:?}");
}

pub fn keep_headers(batch: Batch) {
    let record = batch.records().next().expect("one");
    let headers = record.headers();
    drop(batch); //~ E0505
    println!("{}", headers.count());
}

fn main() {}
