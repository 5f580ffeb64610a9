//! What a consumer is told at its start.

mod origin;
pub(crate) mod properties;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use fairpoll_core::{Preset, QuotaLimits, RECORDS_DEFAULT};

pub use self::origin::Origin;
use self::origin::Origins;
use self::properties::{Properties, canonical};
use crate::error::StartError;
use crate::secrets::mask_properties;

/// Configuration of a [`Consumer`](crate::Consumer).
///
/// ```
/// use fairpoll::{Config, ModeRequest};
///
/// let config = Config::new("localhost:9092", "my-service", ["orders", "sensor-1", "sensor-2"])
///     .mode(ModeRequest::Fair)
///     .max_poll_records(500)
///     .weight("orders", 2)
///     .property("auto.offset.reset", "earliest");
/// assert!(config.validate().is_ok());
/// ```
///
/// With the feature `files` it is read from YAML, JSON or TOML; what is set by a method afterwards
/// wins:
///
/// ```
/// # #[cfg(feature = "files")] {
/// use fairpoll::Config;
/// use fairpoll::files::Format;
///
/// let text = "{bootstrap_servers: kafka:9092, group_id: g, topics: [a, b], multi_consumer_mode: true}";
/// let config = Config::from_text(text, Format::Yaml).unwrap().max_poll_records(100);
/// # assert!(config.validate().is_ok());
/// # }
/// ```
///
/// What is not said follows from the number of topics where each has a quota of its own; see
/// [`fairpoll_core::Preset`].
#[derive(Clone, PartialEq)]
pub struct Config {
    pub(crate) bootstrap_servers: String,
    pub(crate) group_id: String,
    pub(crate) topics: Vec<TopicConfig>,
    pub(crate) mode: Option<ModeRequest>,
    pub(crate) multi_consumer_mode: Option<bool>,
    pub(crate) max_poll_records: Option<u32>,
    pub(crate) quota: Quota,
    pub(crate) starvation_guard: u32,
    pub(crate) group_strategy: Option<GroupStrategy>,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) join_wait: Duration,
    pub(crate) first_fetch_wait: Duration,
    pub(crate) refill_wait: Duration,
    pub(crate) status_log_interval: Duration,
    pub(crate) fetch_buffer_mib: Option<u32>,
    pub(crate) fetch_buffer_partitions: u32,
    pub(crate) degrade: bool,
    pub(crate) connection_limit: Option<u32>,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) origins: Origins,
    /// What was said in a file and has no effect.
    pub(crate) ignored: Vec<String>,
}

/// Properties are masked by name.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bootstrap_servers,
            group_id,
            topics,
            mode,
            multi_consumer_mode,
            max_poll_records,
            quota,
            starvation_guard,
            group_strategy,
            group_instance_id,
            join_wait,
            first_fetch_wait,
            refill_wait,
            status_log_interval,
            fetch_buffer_mib,
            fetch_buffer_partitions,
            degrade,
            connection_limit,
            properties,
            origins: _,
            ignored: _,
        } = self;
        f.debug_struct("Config")
            .field("bootstrap_servers", bootstrap_servers)
            .field("group_id", group_id)
            .field("topics", topics)
            .field("mode", mode)
            .field("multi_consumer_mode", multi_consumer_mode)
            .field("max_poll_records", max_poll_records)
            .field("quota", quota)
            .field("starvation_guard", starvation_guard)
            .field("group_strategy", group_strategy)
            .field("group_instance_id", group_instance_id)
            .field("join_wait", join_wait)
            .field("first_fetch_wait", first_fetch_wait)
            .field("refill_wait", refill_wait)
            .field("status_log_interval", status_log_interval)
            .field("fetch_buffer_mib", fetch_buffer_mib)
            .field("fetch_buffer_partitions", fetch_buffer_partitions)
            .field("degrade", degrade)
            .field("connection_limit", connection_limit)
            .field("properties", &mask_properties(properties))
            .finish()
    }
}

/// A topic and its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicConfig {
    pub(crate) name: String,
    pub(crate) weight: u32,
    pub(crate) priority: u8,
}

impl TopicConfig {
    pub(crate) fn new(name: String) -> Self {
        Self { name, weight: 1, priority: 0 }
    }
}

/// What a topic may have of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Quota {
    /// Always weight · [`max_poll_records`](Config::max_poll_records).
    #[default]
    Fixed,
    /// In proportion to weight · lag while there is a backlog, so that topics with uneven backlogs are
    /// drained together. The quotas of all topics together stay what they are with [`Self::Fixed`]. Lag is
    /// what the client knows from its fetches; quotas change smoothly, within a second or two. In
    /// `single` there is one quota, and nothing to divide.
    LagProportional {
        /// The least that a topic may have of a poll, records: at least 1, at most `max_poll_records`.
        min: u32,
        /// The most, records: at least the largest weight · `max_poll_records`.
        max: u32,
    },
}

pub use fairpoll_core::RequestedMode as ModeRequest;

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => f.write_str("fixed"),
            Self::LagProportional { min, max } => write!(f, "lag_proportional from {min} to {max}"),
        }
    }
}

/// How handles share the consumer group: those of `multi` among each other, and the handles of
/// several instances of a program in every mode. The default is [`Self::Kip848`] in `multi` and
/// [`Self::Classic`] in `single` and `fair`, whose groups may have members of other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupStrategy {
    /// One group under KIP-848 (`group.protocol=consumer`); where the broker refuses it, one group
    /// with the cooperative-sticky assignor, and a warning.
    Kip848,
    /// One group, classic protocol, cooperative-sticky assignor.
    Cooperative,
    /// A group per topic, `{group_id}.{topic}`, with the cooperative-sticky assignor: no handle
    /// feels another's rebalance. The committed
    /// offsets live under other group ids than those of `single` and `fair`, which have one handle
    /// and refuse this.
    Own,
    /// One group, classic protocol, the assignors of `partition.assignment.strategy` (librdkafka's
    /// default is `range,roundrobin`). With one handle it is what every other program does. With
    /// several, every join takes all partitions from everybody: records come twice.
    Classic,
}

/// librdkafka's name for [`Config::group_instance_id`].
pub(crate) const GROUP_INSTANCE_ID: &str = "group.instance.id";

impl GroupStrategy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kip848, Self::Cooperative, Self::Own, Self::Classic];

    /// As it is written in files: `kip848`, `cooperative`, `own`, `classic`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kip848 => "kip848",
            Self::Cooperative => "cooperative",
            Self::Own => "own",
            Self::Classic => "classic",
        }
    }
}

impl fmt::Display for GroupStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not a group strategy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown group strategy `{text}`: write kip848, cooperative, own or classic")]
pub struct UnknownGroupStrategy {
    /// What was written.
    pub text: String,
}

impl FromStr for GroupStrategy {
    type Err = UnknownGroupStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownGroupStrategy> {
        let known = Self::ALL.into_iter().find(|strategy| strategy.name() == text);
        known.ok_or_else(|| UnknownGroupStrategy { text: text.to_owned() })
    }
}

/// Defaults for fetching, fixed per handle at creation. They belong together: with the default
/// back-off of 1,000 ms a full queue is parked for a second, and with the default fetch wait of
/// 500 ms a partition that leaves back-off waits behind a long poll that holds only topics at
/// their end (one fetch is in flight per broker). `docs/fetching.md` has the sweep that they are from.
pub(crate) const FETCH_DEFAULTS: &[(&str, &str)] =
    &[("queued.min.messages", "10000"), ("fetch.queue.backoff.ms", "10"), ("fetch.wait.max.ms", "50")];

/// Long beside the two or three polls that topics of one priority wait for each other, and short beside
/// what a person notices: at 5 ms of work per poll 10 polls are 50 ms. One starving topic costs the
/// higher priorities at most every eleventh poll.
const STARVATION_GUARD: u32 = 10;

/// A fresh handle without committed offsets needs a little over 100 ms from its assignment to its
/// first record, whatever the broker: librdkafka opens the connection to a partition's leader only
/// then, at most one in 50 ms, and repeats the query for the first offset after 100 ms. Where that
/// query is refused it asks again after 500 ms.
const FIRST_FETCH_WAIT: Duration = Duration::from_secs(1);

/// Two round trips to a broker 20 ms away, and what it takes to parse an answer; see docs/adr/0006.
const REFILL_WAIT: Duration = Duration::from_millis(50);

/// Often enough to see in a log when something began, and a hundred lines in two hours.
const STATUS_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Under KIP-848 and in groups of their own, handles that are started together have joined after 0.1 s,
/// and after 3.1 s where the broker delays a group's first rebalance (`docs/group-strategies.md`).
const JOIN_WAIT: Duration = Duration::from_secs(5);

/// A budget has to fit more or fewer partitions than there are: with fewer, as much of it stays unused as was
/// for their pieces; with more, it is exceeded by theirs, which is warned of at their assignment.
const BUFFERED_PARTITIONS: u32 = 4;

impl Config {
    /// A configuration with its defaults: no explicit mode, records by the number of topics.
    #[must_use]
    pub fn new<T: Into<String>>(
        bootstrap_servers: impl Into<String>,
        group_id: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
    ) -> Self {
        Self::unsaid().bootstrap_servers(bootstrap_servers).group_id(group_id).topics(topics)
    }

    /// Nothing said yet.
    pub(crate) fn unsaid() -> Self {
        Self {
            bootstrap_servers: String::new(),
            group_id: String::new(),
            topics: Vec::new(),
            mode: None,
            multi_consumer_mode: None,
            max_poll_records: None,
            quota: Quota::Fixed,
            starvation_guard: STARVATION_GUARD,
            group_strategy: None,
            group_instance_id: None,
            join_wait: JOIN_WAIT,
            first_fetch_wait: FIRST_FETCH_WAIT,
            refill_wait: REFILL_WAIT,
            status_log_interval: STATUS_LOG_INTERVAL,
            fetch_buffer_mib: None,
            fetch_buffer_partitions: BUFFERED_PARTITIONS,
            degrade: true,
            connection_limit: None,
            properties: BTreeMap::new(),
            origins: Origins::default(),
            ignored: Vec::new(),
        }
    }

    /// `host:port`, comma separated.
    #[must_use]
    pub fn bootstrap_servers(mut self, servers: impl Into<String>) -> Self {
        self.bootstrap_servers = servers.into();
        self.noted("bootstrap_servers")
    }

    /// The consumer group.
    #[must_use]
    pub fn group_id(mut self, group_id: impl Into<String>) -> Self {
        self.group_id = group_id.into();
        self.noted("group_id")
    }

    /// The topics, each with weight 1, in the place of all that were named before.
    #[must_use]
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics = topics.into_iter().map(|name| TopicConfig::new(name.into())).collect();
        self.noted("topics")
    }

    /// Notes that the program said it, in the place of whoever said it before.
    fn noted(mut self, setting: &str) -> Self {
        self.origins.note(setting, Origin::Program);
        self
    }

    /// Asks for a mode. Wins over [`Self::multi_consumer_mode`].
    #[must_use]
    pub fn mode(mut self, mode: ModeRequest) -> Self {
        self.mode = Some(mode);
        self.noted("mode")
    }

    /// The original's switch: `true` asks for `multi` (one topic: `single`), `false` for `single`.
    #[must_use]
    pub fn multi_consumer_mode(mut self, enabled: bool) -> Self {
        self.multi_consumer_mode = Some(enabled);
        self.noted("multi_consumer_mode")
    }

    /// Records: in `single` of a whole poll, in `multi` and `fair` of a topic in a poll. Default 500;
    /// in `multi` and `fair` 300 from 6 topics on, 200 from 10 on.
    #[must_use]
    pub fn max_poll_records(mut self, records: u32) -> Self {
        self.max_poll_records = Some(records);
        self.noted("max_poll_records")
    }

    /// How long a member may be silent before its group gives it up: `session.timeout.ms`. Under
    /// KIP-848 the broker decides. Default 45 s; in `multi` and `fair` 30 s for 2 to 5 topics, 60 s
    /// from 10 on.
    #[must_use]
    pub fn session_timeout(self, timeout: Duration) -> Self {
        self.property("session.timeout.ms", timeout.as_millis().to_string())
    }

    /// How far apart polls may be: `max.poll.interval.ms`. Default 300 s; in `multi` and `fair` 600 s
    /// from 10 topics on.
    #[must_use]
    pub fn max_poll_interval(self, interval: Duration) -> Self {
        self.property("max.poll.interval.ms", interval.as_millis().to_string())
    }

    /// A topic's share relative to the others' 1. Unknown topics are refused at start.
    #[must_use]
    pub fn weight(mut self, topic: &str, weight: u32) -> Self {
        match self.topics.iter_mut().find(|known| known.name == topic) {
            Some(known) => known.weight = weight,
            None => self.refuse_topic(topic),
        }
        self
    }

    /// Topics of a higher priority come first where a poll has a cap on its total (`max_records`): the
    /// lower ones get what those leave of it, and now and then a quota of their own, see
    /// [`Self::starvation_guard`]. Without such a cap every topic has its quota in every poll, whatever the
    /// priorities; in `single` there is no order to influence. Default 0 for all; within a priority topics
    /// share by weight. Unknown topics are refused at start.
    #[must_use]
    pub fn priority(mut self, topic: &str, priority: u8) -> Self {
        match self.topics.iter_mut().find(|known| known.name == topic) {
            Some(known) => known.priority = priority,
            None => self.refuse_topic(topic),
        }
        self
    }

    /// A topic with records that got nothing in so many consecutive polls is served one quota ahead of all
    /// priorities: one topic in a poll, and none in the next, so that the higher priorities keep every
    /// other poll. No topic with records goes unserved for more than so many polls and two for each
    /// topic. Default 10; at least 1. Of no effect while all priorities are equal: topics then take turns.
    #[must_use]
    pub fn starvation_guard(mut self, polls: u32) -> Self {
        self.starvation_guard = polls;
        self.noted("starvation_guard")
    }

    /// What a topic may have of a poll. Default [`Quota::Fixed`].
    #[must_use]
    pub fn quota(mut self, quota: Quota) -> Self {
        self.quota = quota;
        self.noted("quota")
    }

    /// Kept, with a weight that `validate` refuses by name: builders cannot fail.
    fn refuse_topic(&mut self, topic: &str) {
        self.topics.push(TopicConfig { weight: 0, ..TopicConfig::new(topic.to_owned()) });
    }

    /// How handles share the group.
    #[must_use]
    pub fn group_strategy(mut self, strategy: GroupStrategy) -> Self {
        self.group_strategy = Some(strategy);
        self.noted("group_strategy")
    }

    /// Makes the consumer a static member of its group (KIP-345): started anew under the same name within
    /// its session it gets its partitions back, and nobody else feels a rebalance. One name for each
    /// instance of the program, the same after its restart. Where two use one name at a time, one of them
    /// fails for good: the first (`FENCED_INSTANCE_ID`), under KIP-848 the second
    /// (`UNRELEASED_INSTANCE_ID`), which there also holds after a crash, until the session is over.
    ///
    /// Where every topic has a handle of its own (`multi`), the handles are members named `{id}.{topic}`.
    ///
    /// A static member does not leave its group when it stops, so its partitions wait for it until
    /// `session.timeout.ms` (45 s; under KIP-848 the broker's `group.consumer.session.timeout.ms`) has
    /// passed, and only then go to the others.
    #[must_use]
    pub fn group_instance_id(mut self, id: impl Into<String>) -> Self {
        self.group_instance_id = Some(id.into());
        self.noted("group_instance_id")
    }

    /// How long the first poll waits at most for every handle's first assignment, and no longer than
    /// a second after the last that came. A group member may own nothing, and a topic may not exist,
    /// so the wait must end. Default 5 s.
    #[must_use]
    pub fn join_wait(mut self, wait: Duration) -> Self {
        self.join_wait = wait;
        self.noted("join_wait_ms")
    }

    /// How long a poll after an assignment waits for the first fetch of every newly assigned
    /// topic. Without it the topics whose fetch came first are alone for tens of polls. A bound: the
    /// wait ends with the last first fetch. Default 1 s; at most 250 ms for a partition that this
    /// consumer had before, of which nothing tells that it was answered. `single` never waits.
    #[must_use]
    pub fn first_fetch_wait(mut self, wait: Duration) -> Self {
        self.first_fetch_wait = wait;
        self.noted("first_fetch_wait_ms")
    }

    /// How long a poll waits at most for topics whose queue ran empty although their last fetch told
    /// of more records, once another topic has some. It is an application faster than its brokers that
    /// meets such topics; a topic that is at its end is never waited for, nor
    /// is one again that was waited for in vain before it delivered. Waiting that costs others throughput,
    /// or was in vain, takes less than a twentieth of the time. Default 50 ms; 0 returns what is there at once. `single`
    /// never waits.
    #[must_use]
    pub fn refill_wait(mut self, wait: Duration) -> Self {
        self.refill_wait = wait;
        self.noted("refill_wait_ms")
    }

    /// How often the consumer says in the log where it stands: one line at level info of the target
    /// [`STATUS_TARGET`](crate::traces::STATUS_TARGET), with mode, partitions, records queued, lag by topic and who
    /// fails. Written by whoever polls, so at most once a second, and not while nobody polls. Default 60 s;
    /// 0 never.
    #[must_use]
    pub fn status_log_interval(mut self, interval: Duration) -> Self {
        self.status_log_interval = interval;
        self.noted("status_log_interval_ms")
    }

    /// The most memory that the records of the whole consumer may take, MiB: those in its queues, those on
    /// the way, and one batch in the program's hands. Queue limits, fetch sizes and back-off of every handle
    /// follow from it ([`Self::explain`] shows them), and `max.partition.fetch.bytes`, `queued.min.messages`
    /// and the like stand where they are set as properties. What a consumer takes without any record is not
    /// in it. A budget that the smallest queues would exceed is refused at start with the minimum. Default:
    /// none; each queue is limited to 10,000 records and 64 MiB.
    ///
    /// It holds for records of 100 bytes and more that arrive uncompressed in batches no larger than a
    /// piece, of as many partitions as [`Self::fetch_buffer_partitions`] says, and for a program that gives
    /// batches back in turn: one kept record keeps the whole answer that it came in.
    #[must_use]
    pub fn fetch_buffer_mib(mut self, mib: u32) -> Self {
        self.fetch_buffer_mib = Some(mib);
        self.noted("fetch_buffer_mib")
    }

    /// How many partitions of a topic this consumer is assigned at most, for
    /// [`Self::fetch_buffer_mib`]: limits are fixed at the start, when nobody knows. Default 4.
    #[must_use]
    pub fn fetch_buffer_partitions(mut self, partitions: u32) -> Self {
        self.fetch_buffer_partitions = partitions;
        self.noted("fetch_buffer_partitions")
    }

    /// Whether the consumer gives way when resources run short: descriptors (`RLIMIT_NOFILE`), memory (its
    /// cgroup's), or connections ([`Self::connection_limit`]). Default `true`.
    ///
    /// At the start `multi` that would not fit runs as `fair`. While it runs, more than 90 % of a limit for
    /// 5 s make it stop delivering, commit, and start anew inside the same [`Consumer`](crate::Consumer): with
    /// half of what is fetched ahead where memory is short, then, and at once where it is something else, as
    /// `fair` in the place of `multi`, if the group ids stay the same and no member is static. No more than one step in a minute, and
    /// never back up: that takes a new start. [`ConsumerEvent::Degraded`](crate::ConsumerEvent::Degraded)
    /// and a line of the log say so.
    #[must_use]
    pub fn degrade(mut self, gives_way: bool) -> Self {
        self.degrade = gives_way;
        self.noted("degrade")
    }

    /// How many sockets this process may have open, as far as [`Self::degrade`] is concerned: those of the
    /// whole process, whoever opened them. At least 1. Default: no limit.
    #[must_use]
    pub fn connection_limit(mut self, sockets: u32) -> Self {
        self.connection_limit = Some(sockets);
        self.noted("connection_limit")
    }

    /// A librdkafka property. Those that would break the engine's promises are refused at start.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set_property(name.into(), value.into(), Origin::Program);
        self
    }

    /// Sets a property under whichever of its names it was set before.
    pub(crate) fn set_property(&mut self, name: String, value: String, origin: Origin) {
        let same = |known: &String| canonical(known) == canonical(&name);
        self.properties.retain(|known, _| !same(known));
        self.origins.note(canonical(&name), origin);
        self.properties.insert(name, value);
    }

    /// Checks what can be checked without a broker.
    ///
    /// # Errors
    /// The first thing that is wrong, with its remedy.
    pub fn validate(&self) -> Result<(), StartError> {
        let invalid = |what: String| Err(StartError::Config { what });
        if self.bootstrap_servers.trim().is_empty() {
            return invalid("bootstrap_servers is empty: name at least one host:port".to_owned());
        }
        if self.group_id.is_empty() {
            return invalid("group_id is empty: offsets are committed under it".to_owned());
        }
        if self.group_instance_id.as_ref().is_some_and(String::is_empty) {
            return invalid(
                "group_instance_id is empty: name this instance of the program, or leave it out".to_owned(),
            );
        }
        if self.group_instance_id.is_some() && self.properties.contains_key(GROUP_INSTANCE_ID) {
            return invalid(format!(
                "both group_instance_id and the property {GROUP_INSTANCE_ID} are set: keep the first"
            ));
        }
        if self.topics.len() > 1_000_000 {
            return invalid(format!("{} topics are more than a Kafka cluster holds", self.topics.len()));
        }
        if self.topics.is_empty() {
            return invalid("there is no topic to consume".to_owned());
        }
        if self.max_poll_records == Some(0) {
            return invalid("max_poll_records is 0: a poll could return nothing".to_owned());
        }
        for (index, topic) in self.topics.iter().enumerate() {
            if topic.weight == 0 {
                let name = &topic.name;
                return invalid(format!(
                    "the weight of topic {name:?} is 0, or the topic is not consumed: weights begin at 1"
                ));
            }
            if let Err(why) = check_topic_name(&topic.name) {
                return invalid(format!("topic name {:?} {why}", topic.name));
            }
            if self.topics[..index].iter().any(|earlier| earlier.name == topic.name) {
                return invalid(format!("topic {:?} is named twice", topic.name));
            }
        }
        if self.starvation_guard == 0 {
            return invalid("starvation_guard is 0 polls: with 1 a topic waits for one poll".to_owned());
        }
        if self.fetch_buffer_partitions == 0 {
            return invalid("fetch_buffer_partitions is 0: a topic has at least one".to_owned());
        }
        if self.connection_limit == Some(0) {
            return invalid("connection_limit is 0: no broker could be reached".to_owned());
        }
        if let Quota::LagProportional { min, max } = self.quota {
            // Quotas differ only where every topic has one.
            let base = self.base_quota(u32::try_from(self.topics.len()).unwrap_or(u32::MAX)).get();
            let heaviest = self.topics.iter().map(|topic| topic.weight).max().unwrap_or(1);
            let most = heaviest.saturating_mul(base);
            if min == 0 || min > base || max < most {
                return invalid(format!(
                    "lag_proportional from {min} to {max} does not hold the quotas it begins with: take a min \
                     from 1 to max_poll_records ({base}), and a max of at least {most}"
                ));
            }
        }
        match self.properties.iter().find_map(|(name, value)| properties::refusal(name, value)) {
            Some(what) => invalid(what),
            None => Ok(()),
        }
    }

    /// With another budget of memory, which nobody said.
    pub(crate) fn with_budget(mut self, mib: u32) -> Self {
        self.fetch_buffer_mib = Some(mib);
        self
    }

    /// The quota of a lane of weight 1, where there are so many lanes.
    pub(crate) fn base_quota(&self, lane_count: u32) -> NonZeroU32 {
        match self.max_poll_records {
            Some(records) => NonZeroU32::new(records).expect("validate refuses 0"),
            None => Preset::for_lanes(lane_count).map_or(RECORDS_DEFAULT, |preset| preset.max_poll_records),
        }
    }

    /// Every setting that was said, by name (a key of files, or a librdkafka property), and where.
    pub fn said(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.origins.iter()
    }

    /// Where a setting came from: a key of files, or a property.
    pub(crate) fn origin(&self, setting: &str) -> Origin {
        self.origins.of(canonical(setting))
    }

    /// Whether the user named a property, under either of its names.
    pub(crate) fn says_property(&self, name: &str) -> bool {
        self.properties.keys().any(|known| canonical(known) == canonical(name))
    }

    /// Floor and ceiling of quotas that are not fixed.
    pub(crate) fn quota_limits(&self) -> Option<QuotaLimits> {
        let Quota::LagProportional { min, max } = self.quota else { return None };
        let limit = |records| NonZeroU32::new(records).expect("validate refuses 0");
        Some(QuotaLimits { min: limit(min), max: limit(max) })
    }

    pub(crate) fn guard_polls(&self) -> NonZeroU32 {
        NonZeroU32::new(self.starvation_guard).expect("validate refuses 0")
    }

    /// Properties of a handle, before the group's own: fetch defaults, then the user's, then what
    /// the engine's promises rest on.
    pub(crate) fn client_properties(&self) -> Properties {
        let mut all = Properties::default();
        for (name, value) in FETCH_DEFAULTS {
            all.set(name, *value, Origin::Default);
        }
        for (name, value) in &self.properties {
            all.set(name, value, self.origin(name));
        }
        all.set("bootstrap.servers", &self.bootstrap_servers, self.origin("bootstrap_servers"));
        let fixed = [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // librdkafka 2.2–2.13.1 moves the position on EOF messages in batch calls (#4844).
            ("enable.partition.eof", "false"),
        ];
        for (name, value) in fixed {
            all.set(name, value, Origin::Fixed);
        }
        all
    }
}

/// Kafka's own rule for topic names.
pub(crate) fn check_topic_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty");
    }
    if name.len() > 249 {
        return Err("is longer than 249 bytes");
    }
    if name.starts_with('^') {
        return Err("is a pattern: topics are named one by one, each has a lane of its own");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Err("has a character other than ASCII letters, digits, '.', '_' and '-'");
    }
    Ok(())
}
