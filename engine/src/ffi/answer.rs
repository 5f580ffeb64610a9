//! Answers to rebalances of a group that may end meanwhile.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often to look whether the group has ended.
const LOOK: Duration = Duration::from_millis(5);

/// An answer that was taken before the group's end is there by then: librdkafka's thread only has to
/// pass it on.
const ANSWERED_AFTER_END: Duration = Duration::from_millis(200);

/// Makes a call that librdkafka answers, or never does if the group ends before it is read:
/// `rd_kafka_cgrp_op_serve` drops what is asked of a group that has ended, and whoever asked waits for
/// ever. So the call runs on a thread of its own, which stays behind in that case; it waits at a queue
/// that is its own and touches nothing else any more. `None`: the group has ended, and there is nothing
/// left to answer.
pub(super) fn unless_over<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
    is_over: impl Fn() -> bool,
) -> Option<T> {
    if is_over() {
        return None;
    }
    let (send, answer) = channel();
    thread::spawn(move || {
        // Whoever asked may have given up.
        let _ = send.send(call());
    });
    let mut over_since: Option<Instant> = None;
    loop {
        match answer.recv_timeout(LOOK) {
            Ok(answer) => return Some(answer),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if is_over() && over_since.get_or_insert_with(Instant::now).elapsed() > ANSWERED_AFTER_END {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn an_answer_is_waited_for_and_a_group_that_has_ended_is_not() {
        let slow = || {
            thread::sleep(Duration::from_millis(50));
            7
        };
        assert_eq!(unless_over(slow, || false), Some(7));
        assert_eq!(unless_over(|| 7, || true), None, "it is not even asked");
        // It ends while it is asked, and nobody answers.
        let asked = Arc::new(AtomicBool::new(false));
        let begun = Arc::clone(&asked);
        let never = move || {
            begun.store(true, Ordering::Release);
            loop {
                thread::park();
            }
        };
        assert_eq!(unless_over::<()>(never, || asked.load(Ordering::Acquire)), None);
    }
}
