//! Commits that the coordinator refuses for single partitions: when to send them again, and when to speak
//! of it.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::partition::{PartitionIndex, PartitionMap};
use crate::quarantine::{Episode, News};
use crate::time::{Timestamp, WakeReason, Wakeup};

/// Whether the same offset may be taken another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// Once a topic is there again, or a right was granted.
    MayPass,
    /// This offset will never be taken as it is; a later one may.
    Final,
}

/// Whom an error in the answer to a commit concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// The partition that has it, and nobody else.
    Partition(Prospect),
    /// The commit was made for an assignment before the group's last rebalance, or in one. A commit that is
    /// sent while a join is under way waits behind it in the client and arrives with the old generation.
    /// What a member keeps over the rebalance is to be committed again; what it loses is taken from it by
    /// the rebalance.
    Overtaken,
    /// The group as a whole may not commit: nothing but somebody's help changes that.
    Group,
    /// The coordinator, or the way to it: it passes by itself.
    Passing,
}

/// Codes that are of one partition even where all have them.
const OF_A_PARTITION: [(&str, Prospect); 5] = [
    ("TOPIC_AUTHORIZATION_FAILED", Prospect::MayPass),
    ("UNKNOWN_TOPIC_OR_PART", Prospect::MayPass),
    ("UNKNOWN_TOPIC_ID", Prospect::MayPass),
    ("OFFSET_METADATA_TOO_LARGE", Prospect::Final),
    // The request was too large for the log. Partitions come back at different times, in smaller ones.
    ("INVALID_COMMIT_OFFSET_SIZE", Prospect::MayPass),
];

const OVERTAKEN: [&str; 6] = [
    "REBALANCE_IN_PROGRESS",
    "ILLEGAL_GENERATION",
    "STALE_MEMBER_EPOCH",
    "UNKNOWN_MEMBER_ID",
    "FENCED_MEMBER_EPOCH",
    "FENCED_INSTANCE_ID",
];

impl Concern {
    /// Of an error's symbolic name in Kafka's protocol. `others_were_taken`: the same answer took other
    /// partitions, so whatever the error is, it is not the group's.
    #[must_use]
    pub fn of(code: &str, others_were_taken: bool) -> Self {
        let known = OF_A_PARTITION.iter().find(|(known, _)| *known == code);
        match (known, code) {
            (Some((_, prospect)), _) => Self::Partition(*prospect),
            _ if others_were_taken => Self::Partition(Prospect::MayPass),
            (None, "GROUP_AUTHORIZATION_FAILED") => Self::Group,
            (None, code) if OVERTAKEN.contains(&code) => Self::Overtaken,
            (None, _) => Self::Passing,
        }
    }
}

#[derive(Debug, Clone)]
struct Refused {
    episode: Episode,
    backoff: Backoff,
    offset: i64,
    prospect: Prospect,
    /// Left out until then; `None`: that is over.
    until: Option<Timestamp>,
}

/// Decides which partitions are left out of commits because the coordinator refused them, when they are
/// sent again, and which refusals are news. Nobody else waits with them.
///
/// An *episode* begins with a partition's first refusal and ends with the first offset that is taken. After
/// each refusal the partition is left out for a growing time, from `initial` to `cap`; then it is due, and
/// goes with the next commit: a [final](Prospect::Final) refusal only with another offset.
///
/// # Who calls what
/// The committer: [`may_send`](Self::may_send) for everything that it is about to send, but for the last
/// commit before a partition is given back, which leaves nobody out. With the answer [`refused`](Self::refused)
/// or [`accepted`](Self::accepted) for each partition in it. Before it waits
/// [`next_due`](Self::next_due) until that answers `None`, and commits what is due; it need not ask before
/// [`next_wakeup`](Self::next_wakeup). [`forget`](Self::forget) when a partition is given back. All but
/// `refused` are idempotent and ignore partitions that are not refused.
#[derive(Debug, Clone)]
pub struct Refusals {
    fresh: Backoff,
    refused: PartitionMap<Refused>,
    count: usize,
}

impl Refusals {
    /// Nobody is refused. Partitions are left out for times that grow from `initial` to `cap`; see [`Backoff`].
    #[must_use]
    pub fn new(initial: Duration, cap: Duration) -> Self {
        Self { fresh: Backoff::new(initial, cap), refused: PartitionMap::default(), count: 0 }
    }

    /// The coordinator refused this offset of the partition. `random` is uniform over all of `u64`.
    pub fn refused(
        &mut self,
        now: Timestamp,
        partition: PartitionIndex,
        offset: i64,
        (code, prospect): (&str, Prospect),
        random: u64,
    ) -> News {
        if let Some(refused) = self.refused.get_mut(partition) {
            (refused.offset, refused.prospect) = (offset, prospect);
            refused.until = Some(now + refused.backoff.next_delay(random));
            return refused.episode.again(code);
        }
        let (episode, mut backoff) = (Episode::begin(now, code), self.fresh.clone());
        let until = Some(now + backoff.next_delay(random));
        self.refused.insert(partition, Refused { episode, backoff, offset, prospect, until });
        self.count += 1;
        News::Began
    }

    /// The coordinator took an offset of the partition. The episode, if that ends one.
    pub fn accepted(&mut self, partition: PartitionIndex) -> Option<Episode> {
        self.forget(partition)
    }

    /// The partition is no longer owned. Its episode, if it was in one.
    pub fn forget(&mut self, partition: PartitionIndex) -> Option<Episode> {
        if self.count == 0 {
            return None;
        }
        let refused = self.refused.remove(partition)?;
        self.count -= 1;
        Some(refused.episode)
    }

    /// Whether this offset of the partition goes with a commit that is sent now.
    #[must_use]
    pub fn may_send(&self, now: Timestamp, partition: PartitionIndex, offset: i64) -> bool {
        self.refused.get(partition).is_none_or(|refused| {
            let hopeless = refused.prospect == Prospect::Final && refused.offset == offset;
            !hopeless && refused.until.is_none_or(|until| until <= now)
        })
    }

    /// A partition that need not be left out any longer.
    pub fn next_due(&mut self, now: Timestamp) -> Option<PartitionIndex> {
        let due = |refused: &Refused| refused.until.is_some_and(|until| until <= now);
        let (partition, _) = self.all().find(|(_, refused)| due(refused))?;
        self.refused.get_mut(partition)?.until = None;
        Some(partition)
    }

    /// When [`next_due`](Self::next_due) has an answer, if nothing happens before.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Wakeup> {
        let due = |at| Wakeup { at, reason: WakeReason::RetryDue };
        Wakeup::earliest(self.all().map(|(_, refused)| refused.until.map(due)))
    }

    /// Whether the partition's last commit was refused.
    #[must_use]
    pub fn is_refused(&self, partition: PartitionIndex) -> bool {
        self.refused.get(partition).is_some()
    }

    /// Who is refused now, and until when it is left out, where it is.
    pub fn all_refused(&self) -> impl Iterator<Item = (PartitionIndex, &Episode, Option<Timestamp>)> {
        self.all().map(|(partition, refused)| (partition, &refused.episode, refused.until))
    }

    /// Free of charge where nobody is refused, which is nearly always.
    fn all(&self) -> impl Iterator<Item = (PartitionIndex, &Refused)> {
        self.refused.iter().take(if self.count == 0 { 0 } else { usize::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_some_do_not_share_is_never_the_groups() {
        use Concern::{Group, Overtaken, Partition, Passing};
        use Prospect::{Final, MayPass};
        for (code, of_all, of_some) in [
            ("TOPIC_AUTHORIZATION_FAILED", Partition(MayPass), Partition(MayPass)),
            ("UNKNOWN_TOPIC_OR_PART", Partition(MayPass), Partition(MayPass)),
            ("OFFSET_METADATA_TOO_LARGE", Partition(Final), Partition(Final)),
            ("GROUP_AUTHORIZATION_FAILED", Group, Partition(MayPass)),
            ("ILLEGAL_GENERATION", Overtaken, Partition(MayPass)),
            ("COORDINATOR_LOAD_IN_PROGRESS", Passing, Partition(MayPass)),
            ("SOMETHING_NEW", Passing, Partition(MayPass)),
        ] {
            assert_eq!((Concern::of(code, false), Concern::of(code, true)), (of_all, of_some), "{code}");
        }
    }
}
