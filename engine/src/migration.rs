//! Takes committed offsets along when a program changes the group ids that it commits under.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fairpoll_core::migration::step;
pub use fairpoll_core::migration::{CommittedPair, Conflict, GroupIds, Overtaken, Step, UnknownGroupIds};

use crate::config::{Config, GROUP_INSTANCE_ID, Origin};
use crate::error::StartError;
use crate::ffi::{Client, Failure, LogEnds, Membership, OffsetEntry, PartitionEntry, Wake};
use crate::topology::own_group_id;

/// What is to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationRequest {
    /// The groups whose consumers stopped.
    pub from: GroupIds,
    /// The groups whose consumers will go on.
    pub to: GroupIds,
    /// What to do where retention was faster than the consumers.
    pub overtaken: Overtaken,
    /// How long each request to the brokers may take.
    pub timeout: Duration,
}

/// A survey of both kinds of groups, and what would be done; [`apply`](Self::apply) does it.
///
/// Every method that asks the brokers blocks until they have answered, at most the request's timeout for
/// each question: call it where that is no harm, in asynchronous code from `spawn_blocking`.
pub struct Migration {
    client: Arc<Client>,
    request: MigrationRequest,
    partitions: Vec<PartitionMove>,
    active: BTreeMap<String, String>,
}

/// One partition, and what happens to its position.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionMove {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The group whose position counts.
    pub source_group: String,
    /// The group that gets it.
    pub target_group: String,
    /// What they committed, and what the log holds.
    pub pair: CommittedPair,
    /// What happens.
    pub step: Step,
}

/// Why committed offsets are not moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The configuration is not usable.
    #[error(transparent)]
    Config(#[from] StartError),
    /// Both sides are the same groups.
    #[error("from and to are both `{0}`: there is nothing to move")]
    SameGroups(GroupIds),
    /// A topic is not on the cluster.
    #[error(
        "topic {topic:?} is not on the cluster, or this user may not see it: take it out of the configuration, \
         or create it"
    )]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// A group has members, who would commit over what is written, or go on without it.
    #[error(
        "consumers are running: {groups}. Stop every instance of the program; one that was killed counts \
         until its session is over"
    )]
    Active {
        /// The groups with their states.
        groups: String,
    },
    /// Positions contradict each other.
    #[error("{count} of {of} partitions are in conflict, see what is said of each: nothing was written")]
    Conflicts {
        /// Partitions in conflict.
        count: usize,
        /// Partitions in all.
        of: usize,
    },
    /// The brokers did not answer.
    #[error("{what}: {why}")]
    NotAnswered {
        /// What they were asked for.
        what: String,
        /// librdkafka's words.
        why: String,
    },
    /// A group took some positions, or none.
    #[error("{what}: {why}. What was written stays and is right: the same command does the rest")]
    NotWritten {
        /// Which group, or which of its partitions.
        what: String,
        /// librdkafka's words.
        why: String,
    },
    /// What was read back is not what was written.
    #[error(
        "{topic} [{partition}] is not where it was put: {what}. Somebody else commits for these groups; find out \
         who before any consumer is started"
    )]
    NotVerified {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What was read back.
        what: String,
    },
}

impl Migration {
    /// Asks for the groups' members and offsets and for the ends of the logs, and decides. Writes nothing.
    /// Of the configuration it takes the servers, the properties, the group id and the topics; the mode and
    /// the group strategy that are written there do not matter.
    ///
    /// # Errors
    /// If the configuration is not usable, a topic does not exist, or the brokers do not answer. Active
    /// members and conflicts are no errors here, but of [`Self::apply`].
    pub fn survey(config: &Config, request: MigrationRequest) -> Result<Self, MigrationError> {
        config.validate()?;
        if request.from == request.to {
            return Err(MigrationError::SameGroups(request.from));
        }
        let client = client(config)?;
        let groups = client.groups(request.timeout).map_err(not_answered("who is in the groups"))?;
        Self::among(config, request, client, &groups)
    }

    /// The rest of the survey, once it is known who is in which group.
    fn among(
        config: &Config,
        request: MigrationRequest,
        client: Arc<Client>,
        groups: &BTreeMap<String, Membership>,
    ) -> Result<Self, MigrationError> {
        let counts =
            client.partition_counts(request.timeout).map_err(not_answered("which topics there are"))?;
        let mut partitions = Vec::new();
        let mut active = BTreeMap::new();
        for topic in config.topics.iter().map(|topic| topic.name.as_str()) {
            let Some(&count) = counts.get(topic) else {
                return Err(MigrationError::NoTopic { topic: topic.to_owned() });
            };
            let group = |ids| match ids {
                GroupIds::Shared => config.group_id.clone(),
                GroupIds::Own => own_group_id(&config.group_id, topic),
            };
            let (source_group, target_group) = (group(request.from), group(request.to));
            for group in [&source_group, &target_group] {
                if let Some(Membership::Active(state)) = groups.get(group) {
                    active.insert(group.clone(), state.clone());
                }
            }
            partitions.extend((0..count).map(|partition| PartitionMove {
                topic: topic.to_owned(),
                partition,
                source_group: source_group.clone(),
                target_group: target_group.clone(),
                pair: CommittedPair { source: None, target: None, log_start: 0, log_end: 0 },
                step: Step::NothingCommitted,
            }));
        }
        let mut survey = Self { client, request, partitions, active };
        survey.read_positions()?;
        Ok(survey)
    }

    /// The partitions, in the configuration's order of topics.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionMove] {
        &self.partitions
    }

    /// Whether anything would be written. `false` where a position is in conflict.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.partitions.iter().any(|moved| matches!(moved.step, Step::Write { .. }))
    }

    /// Whether [`Self::apply`] would write, as far as it is known now.
    ///
    /// # Errors
    /// If a group has members, or positions are in conflict.
    pub fn permitted(&self) -> Result<(), MigrationError> {
        if !self.active.is_empty() {
            let name = |(group, state): (&String, &String)| format!("group {group} ({state})");
            let groups = self.active.iter().map(name).collect::<Vec<_>>().join(", ");
            return Err(MigrationError::Active { groups });
        }
        let of = self.partitions.len();
        match self.partitions.iter().filter(|moved| matches!(moved.step, Step::Conflict(_))).count() {
            0 => Ok(()),
            count => Err(MigrationError::Conflicts { count, of }),
        }
    }

    /// Writes the positions, group by group, then reads both sides back and holds them against what was
    /// decided. A consumer that joined meanwhile makes it fail: the broker takes no such commit for a group
    /// with members. Returns how many positions were written.
    ///
    /// # Errors
    /// If it is not [permitted](Self::permitted), then nothing was written; if a group does not take the
    /// positions; if what is read back is something else.
    pub fn apply(&mut self) -> Result<usize, MigrationError> {
        self.permitted()?;
        let decided = self.partitions.clone();
        let mut by_group: BTreeMap<&str, Vec<(PartitionEntry, i64)>> = BTreeMap::new();
        for moved in &decided {
            if let Step::Write { offset } = moved.step {
                by_group.entry(&moved.target_group).or_default().push((moved.entry(), offset));
            }
        }
        for (group, offsets) in &by_group {
            let what = || format!("group {group} does not take its positions");
            let answer = self.client.commit_for(group, offsets, self.request.timeout);
            let answer = answer
                .map_err(|failure| MigrationError::NotWritten { what: what(), why: words(&failure) })?;
            if let Some((entry, failure)) =
                answer.iter().find_map(|entry| entry.error.as_ref().map(|failure| (entry, failure)))
            {
                let what = format!("group {group} does not take {} [{}]", entry.topic, entry.partition);
                return Err(MigrationError::NotWritten { what, why: words(failure) });
            }
        }
        self.read_positions()?;
        for (moved, now) in decided.iter().zip(&self.partitions) {
            verify(moved, now)?;
        }
        Ok(by_group.values().map(Vec::len).sum())
    }

    /// Committed offsets before the ends of the logs, so that a log that grows meanwhile does not seem to end
    /// before them.
    fn read_positions(&mut self) -> Result<(), MigrationError> {
        let mut committed = BTreeMap::new();
        let groups: BTreeSet<(&str, &str)> = self
            .partitions
            .iter()
            .flat_map(|moved| [&moved.source_group, &moved.target_group].map(|group| (group, moved)))
            .map(|(group, moved)| (group.as_str(), moved.topic.as_str()))
            .collect();
        let mut topics_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (group, topic) in groups {
            topics_of.entry(group).or_default().insert(topic);
        }
        for (group, topics) in topics_of {
            let of_group = self.partitions.iter().filter(|moved| topics.contains(moved.topic.as_str()));
            let entries: Vec<PartitionEntry> = of_group.map(PartitionMove::entry).collect();
            let what = format!("what group {group} has committed");
            let answers = self.client.committed_by(group, &entries, self.request.timeout);
            for answer in answers.map_err(not_answered(&what))? {
                let offset = offset(&answer).map_err(not_answered(&what))?;
                committed.insert((group.to_owned(), answer.topic, answer.partition), offset);
            }
        }
        let entries: Vec<PartitionEntry> = self.partitions.iter().map(PartitionMove::entry).collect();
        let what = "where the logs begin and end";
        let ends = self.client.log_ends(&entries, self.request.timeout).map_err(not_answered(what))?;
        for (moved, LogEnds { entry, start, end }) in self.partitions.iter_mut().zip(ends) {
            let what = format!("where {} [{}] begins and ends", entry.topic, entry.partition);
            let of = |group: &String| {
                let key = (group.clone(), entry.topic.clone(), entry.partition);
                committed.get(&key).copied().flatten()
            };
            moved.pair = CommittedPair {
                source: of(&moved.source_group),
                target: of(&moved.target_group),
                log_start: start.map_err(not_answered(&what))?,
                log_end: end.map_err(not_answered(&what))?,
            };
            moved.step = step(moved.pair, self.request.overtaken);
        }
        Ok(())
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration")
            .field("request", &self.request)
            .field("partitions", &self.partitions)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

impl PartitionMove {
    fn entry(&self) -> PartitionEntry {
        PartitionEntry { topic: self.topic.clone(), partition: self.partition }
    }
}

/// What happens, in words; of a conflict with the way out.
impl fmt::Display for PartitionMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source_group, target_group, pair, .. } = self;
        match self.step {
            Step::NothingCommitted => f.write_str("nothing committed, nothing to move"),
            Step::AlreadyThere => f.write_str("is there"),
            Step::Write { offset } => {
                match pair.target {
                    None => write!(f, "write {offset}")?,
                    Some(target) => write!(f, "write {offset}, forward by {}", offset - target)?,
                }
                match pair.source {
                    Some(source) if source < offset => {
                        write!(f, "; {} records are gone by retention", offset - source)
                    }
                    _ => Ok(()),
                }
            }
            Step::Conflict(Conflict::TargetAhead { by }) => write!(
                f,
                "conflict: {target_group} is ahead by {by}; if its position counts, leave {source_group} out, \
                 else delete its offset first"
            ),
            Step::Conflict(Conflict::OnlyTarget) => write!(
                f,
                "conflict: {target_group} has a position and {source_group} has none; commit one for \
                 {source_group}, or delete the offset of {target_group}"
            ),
            Step::Conflict(Conflict::Overtaken { by }) => write!(
                f,
                "conflict: {by} records are gone by retention, the log begins at {}; to go on there, clamp",
                pair.log_start
            ),
            Step::Conflict(Conflict::BeyondLog { by }) => write!(
                f,
                "conflict: {source_group} is {by} past the end of the log ({}): was the topic recreated? Reset its \
                 offset to where reading should go on",
                pair.log_end
            ),
        }
    }
}

/// The client that asks. It joins no group.
fn client(config: &Config) -> Result<Arc<Client>, MigrationError> {
    let mut properties = config.client_properties();
    properties.remove(GROUP_INSTANCE_ID);
    properties.remove("group.remote.assignor");
    properties.set("group.id", &config.group_id, config.origin("group_id"));
    // Under read_committed a log ends where the oldest open transaction begins, before what a consumer of
    // read_uncommitted may have committed.
    properties.set("isolation.level", "read_uncommitted", Origin::Fixed);
    properties.set_absent("client.id", "fairpoll-migration", Origin::Default);
    let (wake, gone) = (Arc::new(Wake::default()), Arc::new(Wake::default()));
    Client::new("migration", &properties.client_config(), &wake, &gone).map_err(|error| {
        let topics = config.topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>().join(", ");
        StartError::Client { topics, what: error.to_string() }.into()
    })
}

/// Both sides must be what they were said to become.
fn verify(decided: &PartitionMove, now: &PartitionMove) -> Result<(), MigrationError> {
    let target = match decided.step {
        Step::Write { offset } => Some(offset),
        _ => decided.pair.target,
    };
    let wrong = |group: &str, is: Option<i64>, should: Option<i64>| {
        let text =
            |offset: Option<i64>| offset.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
        MigrationError::NotVerified {
            topic: now.topic.clone(),
            partition: now.partition,
            what: format!("group {group} has {} instead of {}", text(is), text(should)),
        }
    };
    if now.pair.target != target {
        return Err(wrong(&now.target_group, now.pair.target, target));
    }
    if now.pair.source != decided.pair.source {
        return Err(wrong(&now.source_group, now.pair.source, decided.pair.source));
    }
    Ok(())
}

fn offset(answer: &OffsetEntry) -> Result<Option<i64>, Failure> {
    match &answer.error {
        Some(failure) => Err(failure.clone()),
        None => Ok((answer.offset >= 0).then_some(answer.offset)),
    }
}

fn not_answered(what: &str) -> impl Fn(Failure) -> MigrationError {
    move |failure| MigrationError::NotAnswered {
        what: format!("the brokers do not say {what}"),
        why: words(&failure),
    }
}

fn words(failure: &Failure) -> String {
    format!("{} ({})", failure.message, failure.code)
}

#[cfg(test)]
mod tests;
