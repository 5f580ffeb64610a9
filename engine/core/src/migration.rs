//! What becomes of a committed offset when a program changes the group that it commits under.

use std::fmt;
use std::str::FromStr;

/// Under which group ids a program commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupIds {
    /// One group id for all topics.
    Shared,
    /// A group per topic: `{group_id}.{topic}`.
    Own,
}

impl fmt::Display for GroupIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Own => "own",
        })
    }
}

/// Not a kind of group ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of groups `{text}`: write shared or own")]
pub struct UnknownGroupIds {
    /// What was written.
    pub text: String,
}

impl FromStr for GroupIds {
    type Err = UnknownGroupIds;

    fn from_str(text: &str) -> Result<Self, UnknownGroupIds> {
        let known = [Self::Shared, Self::Own].into_iter().find(|known| known.to_string() == text);
        known.ok_or_else(|| UnknownGroupIds { text: text.to_owned() })
    }
}

/// What is known of a partition: what either group committed, the offset that is read next, and what
/// the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedPair {
    /// The group whose consumers stopped; `None`: it committed nothing.
    pub source: Option<i64>,
    /// The group whose consumers will go on; `None`: it committed nothing.
    pub target: Option<i64>,
    /// The first offset that the log still has.
    pub log_start: i64,
    /// One past the log's last.
    pub log_end: i64,
}

/// What to do where retention has removed the record that the source would read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overtaken {
    /// A conflict: somebody has to know that records are gone.
    #[default]
    Refuse,
    /// Goes on at the first record that is left.
    Clamp,
}

/// What happens to one partition's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Neither group committed anything: the target begins where the source would have begun.
    NothingCommitted,
    /// The target is where it should be.
    AlreadyThere,
    /// The target gets this offset: it has none, or one that lies before it.
    Write {
        /// What is read next.
        offset: i64,
    },
    /// Nothing may be written, of no partition.
    Conflict(Conflict),
}

/// Why a position cannot be moved without losing or repeating what nobody asked to be lost or repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The target read further than the source: whose position counts, only a person knows.
    TargetAhead {
        /// How many offsets further.
        by: i64,
    },
    /// The target has a position, and the source none to put in its place.
    OnlyTarget,
    /// Retention removed what the source would read next.
    Overtaken {
        /// How many offsets are gone.
        by: i64,
    },
    /// The log ends before the source's offset: the topic is another one of the same name, or lost its end.
    BeyondLog {
        /// How many offsets are missing.
        by: i64,
    },
}

/// Decides what happens to a partition's position. Pure, and idempotent: once the step is done, the
/// same question is answered by [`Step::AlreadyThere`] or [`Step::NothingCommitted`].
///
/// What it writes is never before what the target had, and never past what the source had, unless
/// retention was there first and `overtaken` allows it.
#[must_use]
pub fn step(pair: CommittedPair, overtaken: Overtaken) -> Step {
    let Some(committed) = pair.source else {
        return match pair.target {
            None => Step::NothingCommitted,
            Some(_) => Step::Conflict(Conflict::OnlyTarget),
        };
    };
    if committed > pair.log_end {
        return Step::Conflict(Conflict::BeyondLog { by: committed - pair.log_end });
    }
    let offset = match overtaken {
        Overtaken::Refuse if committed < pair.log_start => {
            return Step::Conflict(Conflict::Overtaken { by: pair.log_start - committed });
        }
        Overtaken::Refuse | Overtaken::Clamp => committed.max(pair.log_start),
    };
    match pair.target {
        Some(target) if target > offset => Step::Conflict(Conflict::TargetAhead { by: target - offset }),
        Some(target) if target == offset => Step::AlreadyThere,
        _ => Step::Write { offset },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that holds 10 to 99.
    fn pair(source: Option<i64>, target: Option<i64>) -> CommittedPair {
        CommittedPair { source, target, log_start: 10, log_end: 100 }
    }

    fn careful(source: Option<i64>, target: Option<i64>) -> Step {
        step(pair(source, target), Overtaken::Refuse)
    }

    #[test]
    fn a_position_goes_to_a_group_that_has_none() {
        assert_eq!(careful(Some(40), None), Step::Write { offset: 40 });
    }

    /// On the way back the first group still has what it committed before it was left.
    #[test]
    fn a_position_that_was_left_behind_is_brought_up() {
        assert_eq!(careful(Some(40), Some(20)), Step::Write { offset: 40 });
    }

    #[test]
    fn a_group_that_read_further_keeps_its_position() {
        assert_eq!(careful(Some(40), Some(41)), Step::Conflict(Conflict::TargetAhead { by: 1 }));
    }

    #[test]
    fn a_position_is_not_replaced_by_none() {
        assert_eq!(careful(None, Some(40)), Step::Conflict(Conflict::OnlyTarget));
        assert_eq!(careful(None, None), Step::NothingCommitted);
    }

    #[test]
    fn what_retention_removed_is_named_and_skipped_only_when_told() {
        assert_eq!(careful(Some(7), None), Step::Conflict(Conflict::Overtaken { by: 3 }));
        assert_eq!(step(pair(Some(7), None), Overtaken::Clamp), Step::Write { offset: 10 });
        assert_eq!(step(pair(Some(7), Some(10)), Overtaken::Clamp), Step::AlreadyThere);
    }

    /// A recreated topic: to go on at its end would lose all that it has.
    #[test]
    fn an_offset_past_the_logs_end_is_never_moved() {
        for overtaken in [Overtaken::Refuse, Overtaken::Clamp] {
            let beyond = step(pair(Some(101), None), overtaken);
            assert_eq!(beyond, Step::Conflict(Conflict::BeyondLog { by: 1 }));
        }
        assert_eq!(careful(Some(100), None), Step::Write { offset: 100 });
    }
}
