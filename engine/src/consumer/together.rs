//! Questions of several handles, put to the brokers as one.
//!
//! Each handle asks from a thread of its own where its logs begin and end. Where fifty start together that is a
//! hundred requests and more, at the very moment in which brokers and clients have the most to do, and two requests
//! to each leader answer them all: every handle can reach every leader.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::ffi::{Failure, PartitionEntry, StartAt};

/// How long the first to ask waits for handles that have not been given anything yet. The first poll waits for them
/// much longer, so nobody is the worse for it; where one never comes (its topic does not exist) this is lost.
const GATHERS: Duration = Duration::from_millis(50);

/// How long an answer to the common question is waited for. Then each asks for itself as well, and takes what comes
/// first; where the common question failed it asks at once. That may be for somebody else's topic, and only that topic
/// is to suffer.
const PATIENCE: Duration = Duration::from_millis(200);

/// An answer: for each partition, in the order of the question.
pub(super) type Answer = Result<Vec<Option<StartAt>>, Failure>;

/// Gathers questions while handles are still joining.
#[derive(Debug, Default)]
pub(super) struct Together {
    /// Handles have not been given anything yet, and are waited for: more questions are to come.
    more_to_come: AtomicBool,
    /// So many have been given something and have not asked yet.
    coming: AtomicUsize,
    /// The question that others may still join.
    open: Mutex<Option<Question>>,
    /// No more are to come.
    all_are_here: Condvar,
}

/// One that others wait for until it has asked, or is dropped.
#[derive(Debug)]
pub(super) struct Coming(Arc<Together>);

/// What is asked for several.
#[derive(Debug, Default)]
struct Question {
    entries: Vec<PartitionEntry>,
    /// Who asks, and which part of it.
    askers: Vec<(Range<usize>, Sender<Answer>)>,
}

impl Together {
    /// Whether handles that have not been given anything yet are going to ask.
    pub(super) fn more_to_come(&self, more: bool) {
        if self.more_to_come.swap(more, Ordering::AcqRel) && !more {
            self.tell();
        }
    }

    /// Of one that is going to ask, or finds that it need not.
    pub(super) fn coming(self: &Arc<Self>) -> Coming {
        self.coming.fetch_add(1, Ordering::AcqRel);
        Coming(Arc::clone(self))
    }

    /// Fewer are to come.
    fn tell(&self) {
        // Not between a look at what is to come and the wait for it.
        let _open = lock(&self.open);
        self.all_are_here.notify_all();
    }

    /// Adds to the open question, or opens one, which is then the caller's to put: says so.
    fn join(&self, entries: &[PartitionEntry], tell: Sender<Answer>) -> bool {
        let mut open = lock(&self.open);
        let leads = open.is_none();
        let question = open.get_or_insert_default();
        let first = question.entries.len();
        question.entries.extend_from_slice(entries);
        question.askers.push((first..first + entries.len(), tell));
        leads
    }

    /// Waits for whoever is still to come, and closes the question: what it has come to.
    fn gathered(&self) -> Question {
        let waits = |_: &mut Option<_>| {
            self.more_to_come.load(Ordering::Acquire) || self.coming.load(Ordering::Acquire) > 0
        };
        let waited = self.all_are_here.wait_timeout_while(lock(&self.open), GATHERS, waits);
        let (mut open, _) = waited.unwrap_or_else(PoisonError::into_inner);
        open.take().unwrap_or_default()
    }
}

impl Coming {
    /// Asks, by `put`, for these and whatever others ask meanwhile. Blocks.
    pub(super) fn ask(
        self,
        entries: &[PartitionEntry],
        put: impl Fn(&[PartitionEntry]) -> Answer + Clone + Send + 'static,
    ) -> Answer {
        let (tell, told) = channel();
        let leads = self.0.join(entries, tell.clone());
        let together = Arc::clone(&self.0);
        drop(self);
        if leads {
            let question = together.gathered();
            if question.askers.len() == 1 {
                return put(entries);
            }
            // On a thread of its own, or whoever came first would have nobody to lose patience with. Where there is
            // no thread nobody is told, and everybody loses patience.
            let put = put.clone();
            let _ = on_a_thread(move || question.answer(&put));
        }
        match told.recv_timeout(PATIENCE) {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => return put(entries),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let (own, asks) = (entries.to_vec(), put.clone());
        let asked = on_a_thread(move || {
            // The common answer may have come first.
            let _ = tell.send(asks(&own));
        });
        if !asked {
            return put(entries);
        }
        let mut last = None;
        for answer in told.iter().take(2) {
            if answer.is_ok() {
                return answer;
            }
            last = Some(answer);
        }
        last.unwrap_or_else(|| put(entries))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        if self.0.coming.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.tell();
        }
    }
}

impl Question {
    /// Puts it, and tells everybody who asked. Whoever is not told of a partition of its own is told that it failed:
    /// librdkafka may keep back what one leader said because of another.
    fn answer(self, put: impl Fn(&[PartitionEntry]) -> Answer) {
        let answer = put(&self.entries);
        for (own, tell) in self.askers {
            let of_own = answer.as_ref().map(|answer| answer[own].to_vec()).map_err(Failure::clone);
            let incomplete = || Failure { code: "_NOENT".to_owned(), message: "no answer".to_owned() };
            let whole = of_own.and_then(|own| match own.iter().all(Option::is_some) {
                true => Ok(own),
                false => Err(incomplete()),
            });
            // It may have lost patience.
            let _ = tell.send(whole);
        }
    }
}

/// Whether there is a thread for it.
fn on_a_thread(call: impl FnOnce() + Send + 'static) -> bool {
    let spawned = thread::Builder::new().name("fairpoll-ends".to_owned()).spawn(call);
    spawned.inspect_err(|error| tracing::warn!(%error, "no thread to ask for offsets on")).is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;

    fn entry(topic: &str, partition: i32) -> PartitionEntry {
        PartitionEntry { topic: topic.to_owned(), partition }
    }

    /// Tells topics apart: offset 100 × the topic's number + the partition.
    fn at(entry: &PartitionEntry) -> Option<StartAt> {
        let number: i64 = entry.topic.parse().expect("a number");
        let offset = 100 * number + i64::from(entry.partition);
        Some(StartAt { offset, leader_epoch: -1, is_end: false })
    }

    fn answer(entries: &[PartitionEntry]) -> Answer {
        Ok(entries.iter().map(at).collect())
    }

    fn failure() -> Failure {
        Failure { code: "_TIMED_OUT".to_owned(), message: "nobody answers".to_owned() }
    }

    fn gathered(together: &Together) -> usize {
        lock(&together.open).as_ref().map_or(0, |question| question.entries.len())
    }

    /// Eight topics of two partitions are asked for by a thread each while more is to come; what was put, and what
    /// each was answered.
    fn eight_ask(put: fn(&[PartitionEntry]) -> Answer) -> (Vec<usize>, Vec<Answer>) {
        let (together, sizes) = (Arc::<Together>::default(), Arc::<Mutex<Vec<usize>>>::default());
        together.more_to_come(true);
        let record = Arc::clone(&sizes);
        let recorded = move |entries: &[PartitionEntry]| {
            lock(&record).push(entries.len());
            put(entries)
        };
        let answers = thread::scope(|scope| {
            let ask = |topic: usize| {
                let entries = [entry(&topic.to_string(), 0), entry(&topic.to_string(), 1)];
                let (coming, recorded) = (together.coming(), recorded.clone());
                scope.spawn(move || coming.ask(&entries, recorded))
            };
            let asking: Vec<_> = (0..8).map(ask).collect();
            let began = Instant::now();
            // Where the machine is slow the first gives up waiting, and there are several questions.
            while gathered(&together) < 16 && began.elapsed() < GATHERS {
                thread::yield_now();
            }
            together.more_to_come(false);
            asking.into_iter().map(|asking| asking.join().expect("no panic")).collect()
        });
        (lock(&sizes).clone(), answers)
    }

    #[test]
    fn what_is_asked_while_more_is_to_come_is_asked_as_one_and_each_is_told_its_own() {
        let own = |topic: usize| answer(&[entry(&topic.to_string(), 0), entry(&topic.to_string(), 1)]);
        let as_one = (0..20).any(|_| {
            let (sizes, answers) = eight_ask(answer);
            assert_eq!(answers, (0..8).map(own).collect::<Vec<_>>());
            sizes == [16]
        });
        assert!(as_one, "never as one");
    }

    #[test]
    fn where_the_common_question_fails_each_asks_for_itself() {
        let (_, answers) = eight_ask(|entries| match entries.iter().any(|entry| entry.topic == "3") {
            true => Err(failure()),
            false => answer(entries),
        });
        for (topic, answered) in answers.iter().enumerate() {
            assert_eq!(answered.is_err(), topic == 3, "topic {topic}: {answered:?}");
        }
    }

    #[test]
    fn one_that_does_not_come_is_not_waited_for_long() {
        let together = Arc::<Together>::default();
        together.more_to_come(true);
        let began = Instant::now();
        assert_eq!(together.coming().ask(&[entry("1", 7)], answer), answer(&[entry("1", 7)]));
        assert!(began.elapsed() >= GATHERS, "{:?}", began.elapsed());
        assert_eq!(gathered(&together), 0, "the next one opens a question of its own");
    }

    /// Partitions that have a commit are not asked for.
    #[test]
    fn who_need_not_ask_is_not_waited_for() {
        // A slow machine takes as long as one would wait.
        assert!((0..20).any(|_| one_of_two_need_not_ask() < GATHERS / 2), "waited for");
    }

    /// How long the other one is in asking, once that is known.
    fn one_of_two_need_not_ask() -> Duration {
        let together = Arc::<Together>::default();
        let need_not = together.coming();
        let began = Instant::now();
        thread::scope(|scope| {
            let coming = together.coming();
            let asking = scope.spawn(move || coming.ask(&[entry("1", 0)], answer));
            while gathered(&together) < 1 && began.elapsed() < GATHERS {
                thread::yield_now();
            }
            let began = Instant::now();
            drop(need_not);
            assert_eq!(asking.join().expect("no panic"), answer(&[entry("1", 0)]));
            assert_eq!(together.coming.load(Ordering::Acquire), 0);
            began.elapsed()
        })
    }

    #[test]
    fn who_is_told_only_of_some_of_its_partitions_asks_for_itself() {
        // Of a common question one partition of each topic is told.
        let (sizes, answers) = eight_ask(|entries| match entries.len() {
            2 => answer(entries),
            _ => Ok(entries.iter().map(|entry| at(entry).filter(|_| entry.partition == 0)).collect()),
        });
        for (topic, answered) in answers.iter().enumerate() {
            let topic = topic.to_string();
            assert_eq!(*answered, answer(&[entry(&topic, 0), entry(&topic, 1)]), "{sizes:?}");
        }
    }

    /// Whoever came first, and whoever joined.
    #[test]
    fn nobody_waits_for_a_common_answer_that_does_not_come() {
        // Where the machine is slow each asks for itself, and nothing is seen.
        assert!((0..20).any(|_| a_common_answer_does_not_come()), "never asked together");
    }

    /// Whether it was asked for.
    fn a_common_answer_does_not_come() -> bool {
        let together = Arc::<Together>::default();
        together.more_to_come(true);
        let (release, held) = channel::<()>();
        let (held, was_common) = (Arc::new(Mutex::new(held)), Arc::new(AtomicBool::new(false)));
        let common = Arc::clone(&was_common);
        let put = move |entries: &[PartitionEntry]| {
            if entries.len() > 1 {
                common.store(true, Ordering::Relaxed);
                // Until this is over.
                let _ = lock(&held).recv_timeout(Duration::from_secs(2));
                return Err(failure());
            }
            answer(entries)
        };
        let began = Instant::now();
        thread::scope(|scope| {
            let asking = ["1", "2"].map(|topic| {
                let (coming, put) = (together.coming(), put.clone());
                scope.spawn(move || (topic, coming.ask(&[entry(topic, 0)], put)))
            });
            while gathered(&together) < 2 && began.elapsed() < GATHERS {
                thread::yield_now();
            }
            together.more_to_come(false);
            for asking in asking {
                let (topic, answered) = asking.join().expect("no panic");
                assert_eq!(answered, answer(&[entry(topic, 0)]));
            }
        });
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        drop(release);
        was_common.load(Ordering::Relaxed)
    }
}
