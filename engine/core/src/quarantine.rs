//! What fails: when to try it again, when to speak of it, and when it works again.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::partition::{PartitionIndex, PartitionMap};
use crate::time::{Timestamp, WakeReason, Wakeup};

/// How a failure can pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The partition is held back, and fetched again when a probe is due: after a growing delay, but
    /// never sooner than this.
    Probe {
        /// The client's own back-off, which a probe cannot shorten.
        not_before: Duration,
    },
    /// The client tries again by itself, and reports every failure.
    ByClient,
    /// Nobody tries again. It lasts until the partition delivers, is given back or is sought.
    Nobody,
}

/// How fast probes follow each other, and how long silence must last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The first delay; see [`Backoff`].
    pub initial: Duration,
    /// The longest delay: a partition that works again is noticed so late.
    pub cap: Duration,
    /// A fetch that fails has reported that by then. A partition at its end has nothing else to say.
    pub quiet: Duration,
}

/// A failure and those that followed it without a success in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Episode {
    /// When it began.
    pub since: Timestamp,
    /// The newest error's symbolic name.
    pub code: String,
    /// How many errors there were. Never 0.
    pub errors: u64,
}

/// What to make of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It began: tell it.
    Began,
    /// Something else fails now: tell it.
    Changed,
    /// It is known: it was counted.
    Repeated,
}

impl Episode {
    /// The first error.
    #[must_use]
    pub fn begin(now: Timestamp, code: &str) -> Self {
        Self { since: now, code: code.to_owned(), errors: 1 }
    }

    /// One more error.
    pub fn again(&mut self, code: &str) -> News {
        self.errors = self.errors.saturating_add(1);
        if self.code == code {
            return News::Repeated;
        }
        code.clone_into(&mut self.code);
        News::Changed
    }
}

/// Where a partition in quarantine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Held back until then.
    Held { until: Timestamp },
    /// Tried. Works again if nothing is heard until then.
    Tried { quiet_at: Timestamp },
    /// Waits for a success.
    Stuck,
}

impl Stage {
    fn deadline(self) -> Option<Wakeup> {
        match self {
            Self::Held { until } => Some(Wakeup { at: until, reason: WakeReason::ProbeDue }),
            Self::Tried { quiet_at } => Some(Wakeup { at: quiet_at, reason: WakeReason::ProbeSettles }),
            Self::Stuck => None,
        }
    }

    fn held_until(self) -> Option<Timestamp> {
        match self {
            Self::Held { until } => Some(until),
            Self::Tried { .. } | Self::Stuck => None,
        }
    }
}

#[derive(Debug, Clone)]
struct Patient {
    episode: Episode,
    backoff: Backoff,
    stage: Stage,
}

/// Decides which partitions are left alone for a while because their fetches fail, when they are tried
/// again, and which of their errors are news.
///
/// Of partitions, not of lanes: several topics may share a lane, and one partition's leader may fail
/// while the others' do not. Whoever fails waits; nobody waits with it.
///
/// An *episode* begins with a partition's first error and ends with its first success. Between errors
/// the partition is held back, each time longer, from [`Pace::initial`] to [`Pace::cap`]; then a probe
/// is due: it is fetched as usual, and fails again or works. It works when it delivers a record, or
/// when nothing was heard of it for [`Pace::quiet`]: at its end there is no record to deliver.
///
/// # Who calls what
/// The consumer, on its poll loop: after taking records first [`delivered`](Self::delivered) for every
/// partition it took records of (what a queue holds before an error was fetched before it), then
/// [`failed`](Self::failed) for every error, and holds the partition back up to
/// [`held_until`](Self::held_until), in so far as the client does not do that by itself.
/// Before the next poll [`next_works`](Self::next_works) and [`next_probe`](Self::next_probe), in this
/// order, each until it answers `None`, and not before [`next_wakeup`](Self::next_wakeup) unless it
/// likes to. [`forget`](Self::forget) when a partition is given back or is read on from another place.
/// All but `failed` are idempotent and ignore partitions that do not fail.
#[derive(Debug, Clone)]
pub struct Quarantine {
    pace: Pace,
    patients: PartitionMap<Patient>,
    count: usize,
}

impl Quarantine {
    /// Nobody fails.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, patients: PartitionMap::default(), count: 0 }
    }

    /// The partition reported an error. `random` is uniform over all of `u64`.
    pub fn failed(
        &mut self,
        now: Timestamp,
        partition: PartitionIndex,
        code: &str,
        retry: Retry,
        random: u64,
    ) -> News {
        let stage = |backoff: &mut Backoff| match retry {
            Retry::Probe { not_before } => {
                Stage::Held { until: now + backoff.next_delay(random).max(not_before) }
            }
            Retry::ByClient => Stage::Tried { quiet_at: now + self.pace.quiet },
            Retry::Nobody => Stage::Stuck,
        };
        if let Some(patient) = self.patients.get_mut(partition) {
            patient.stage = stage(&mut patient.backoff);
            return patient.episode.again(code);
        }
        let mut backoff = Backoff::new(self.pace.initial, self.pace.cap);
        let stage = stage(&mut backoff);
        self.patients.insert(partition, Patient { episode: Episode::begin(now, code), backoff, stage });
        self.count += 1;
        News::Began
    }

    /// The partition delivered a record. Its episode, if that ends one.
    pub fn delivered(&mut self, partition: PartitionIndex) -> Option<Episode> {
        self.forget(partition)
    }

    /// The partition is no longer owned, or begins anew elsewhere. Its episode, if it was in one.
    pub fn forget(&mut self, partition: PartitionIndex) -> Option<Episode> {
        if self.count == 0 {
            return None;
        }
        let patient = self.patients.remove(partition)?;
        self.count -= 1;
        Some(patient.episode)
    }

    /// A partition that works again, because nothing was heard since it was tried; it is forgotten.
    pub fn next_works(&mut self, now: Timestamp) -> Option<(PartitionIndex, Episode)> {
        let quiet = |patient: &Patient| matches!(patient.stage, Stage::Tried { quiet_at } if quiet_at <= now);
        let (partition, _) = self.patients().find(|(_, patient)| quiet(patient))?;
        Some((partition, self.forget(partition)?))
    }

    /// A partition that is to be tried now; it counts as tried.
    pub fn next_probe(&mut self, now: Timestamp) -> Option<PartitionIndex> {
        let due = |patient: &Patient| matches!(patient.stage, Stage::Held { until } if until <= now);
        let (partition, _) = self.patients().find(|(_, patient)| due(patient))?;
        let quiet_at = now + self.pace.quiet;
        self.patients.get_mut(partition)?.stage = Stage::Tried { quiet_at };
        Some(partition)
    }

    /// When [`next_works`](Self::next_works) or [`next_probe`](Self::next_probe) has an answer, if
    /// nothing happens before.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Wakeup> {
        Wakeup::earliest(self.patients().map(|(_, patient)| patient.stage.deadline()))
    }

    /// Whether nobody fails.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the partition fails.
    #[must_use]
    pub fn fails(&self, partition: PartitionIndex) -> bool {
        self.patients.get(partition).is_some()
    }

    /// Until when the partition is held back, if it is.
    #[must_use]
    pub fn held_until(&self, partition: PartitionIndex) -> Option<Timestamp> {
        self.patients.get(partition)?.stage.held_until()
    }

    /// Who fails, and when the next probe is due, where one is.
    pub fn failing(&self) -> impl Iterator<Item = (PartitionIndex, &Episode, Option<Timestamp>)> {
        self.patients()
            .map(|(partition, Patient { episode, stage, .. })| (partition, episode, stage.held_until()))
    }

    /// Free of charge where nobody fails, which is nearly always.
    fn patients(&self) -> impl Iterator<Item = (PartitionIndex, &Patient)> {
        self.patients.iter().take(if self.count == 0 { 0 } else { usize::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const PARTITION: PartitionIndex = PartitionIndex(3);
    const PACE: Pace = Pace {
        initial: Duration::from_millis(500),
        cap: Duration::from_millis(5_000),
        quiet: Duration::from_millis(1_000),
    };
    const PROBE: Retry = Retry::Probe { not_before: Duration::ZERO };

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn failing(retry: Retry) -> Quarantine {
        let mut quarantine = Quarantine::new(PACE);
        assert_eq!(quarantine.failed(at(0), PARTITION, "UNKNOWN", retry, 0), News::Began);
        quarantine
    }

    #[test]
    fn a_partition_is_held_back_tried_and_works_when_nothing_is_heard() {
        let mut quarantine = failing(PROBE);
        let due = Wakeup { at: at(250), reason: WakeReason::ProbeDue };
        assert_eq!(quarantine.next_wakeup(), Some(due));
        assert_eq!(quarantine.next_probe(at(249)), None);
        assert_eq!(quarantine.next_probe(at(260)), Some(PARTITION));
        assert_eq!(quarantine.next_probe(at(260)), None, "once");
        let settles = Wakeup { at: at(1_260), reason: WakeReason::ProbeSettles };
        assert_eq!(quarantine.next_wakeup(), Some(settles));
        assert_eq!(quarantine.next_works(at(1_259)), None);
        let episode = Episode { since: at(0), code: "UNKNOWN".to_owned(), errors: 1 };
        assert_eq!(quarantine.next_works(at(1_260)), Some((PARTITION, episode)));
        assert_eq!((quarantine.next_wakeup(), quarantine.is_empty()), (None, true));
    }

    #[test]
    fn the_clients_own_back_off_is_not_shortened() {
        let quarantine = failing(Retry::Probe { not_before: 800 * MS });
        assert_eq!(quarantine.next_wakeup().map(|wakeup| wakeup.at), Some(at(800)));
    }

    #[test]
    fn the_first_error_and_another_code_are_news_and_repeats_are_counted() {
        let mut quarantine = failing(PROBE);
        let mut fail = |code| quarantine.failed(at(10), PARTITION, code, PROBE, 0);
        assert_eq!(fail("UNKNOWN"), News::Repeated);
        assert_eq!(fail("TOPIC_AUTHORIZATION_FAILED"), News::Changed);
        assert_eq!(fail("TOPIC_AUTHORIZATION_FAILED"), News::Repeated);
        let episode = quarantine.delivered(PARTITION).expect("it failed");
        assert_eq!((episode.errors, episode.since), (4, at(0)));
        assert_eq!(quarantine.delivered(PARTITION), None);
        assert_eq!(quarantine.failed(at(20), PARTITION, "UNKNOWN", PROBE, 0), News::Began);
    }

    #[test]
    fn what_the_client_tries_by_itself_is_never_probed_and_passes_in_silence() {
        let mut quarantine = failing(Retry::ByClient);
        assert_eq!(quarantine.next_probe(at(900)), None);
        quarantine.failed(at(900), PARTITION, "UNKNOWN", Retry::ByClient, 0);
        assert_eq!(quarantine.next_works(at(1_899)), None);
        assert!(quarantine.next_works(at(1_900)).is_some());
    }

    #[test]
    fn what_nobody_tries_again_waits_for_a_success() {
        let mut quarantine = failing(Retry::Nobody);
        assert_eq!(quarantine.next_wakeup(), None);
        assert_eq!(quarantine.next_works(Timestamp::NEVER), None);
        assert_eq!(
            quarantine.failing().map(|(partition, _, probe)| (partition, probe)).next(),
            Some((PARTITION, None))
        );
        assert!(quarantine.delivered(PARTITION).is_some());
    }
}
