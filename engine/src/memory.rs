//! A budget of memory: what handles are told so that they keep within it, and what they may then hold.

use std::num::NonZeroU32;

use fairpoll_core::memory::QUEUED_KBYTES_MAX;
use fairpoll_core::{FetchDemand, FetchLimits};

use crate::config::properties::Properties;
use crate::config::{Config, Origin};
use crate::error::StartError;
use crate::topology::Topology;

/// What a [budget of memory](Config::fetch_buffer_mib) comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchBuffer {
    /// The budget, bytes.
    pub budget_bytes: u64,
    /// The smallest one that would be taken, bytes.
    pub minimum_bytes: u64,
    /// What the consumer may hold of records in the end, bytes. More than the budget only where properties
    /// were set that do not fit it.
    pub predicted_bytes_max: u64,
    /// A piece of every partition of all topics, bytes: what answers under way bring at most.
    pub pieces_bytes_max: u64,
    /// Partitions of a topic that it was calculated with.
    pub partitions_per_topic: u32,
}

const QUEUED_RECORDS: &str = "queued.min.messages";
const QUEUED_KBYTES: &str = "queued.max.messages.kbytes";
const PIECE_BYTES: &str = "max.partition.fetch.bytes";
const ANSWER_BYTES: &str = "fetch.max.bytes";
const BACKOFF_MS: &str = "fetch.queue.backoff.ms";
const MESSAGE_BYTES: &str = "message.max.bytes";
const RECEIVE_BYTES: &str = "receive.message.max.bytes";

/// librdkafka's default of [`PIECE_BYTES`].
const PIECE_BYTES_DEFAULT: u64 = 1 << 20;

/// librdkafka's default of [`MESSAGE_BYTES`]; it takes no [`ANSWER_BYTES`] below that property.
const MESSAGE_BYTES_DEFAULT: u64 = 1_000_000;

/// Its other defaults.
const QUEUED_RECORDS_DEFAULT: u64 = 100_000;
const ANSWER_BYTES_DEFAULT: u64 = 50 << 20;
const BACKOFF_MS_DEFAULT: u64 = 1_000;

/// librdkafka wants so many bytes of [`RECEIVE_BYTES`] beyond [`ANSWER_BYTES`].
const FRAMING_BYTES: u64 = 512;

/// The budget of a consumer, once its topology is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    bytes: u64,
    demand: FetchDemand,
}

impl Budget {
    /// `piece_bytes_max` is what would be fetched of a partition without a budget.
    fn new(config: &Config, topology: &Topology, piece_bytes_max: u64) -> Option<Self> {
        let bytes = u64::from(config.fetch_buffer_mib?) << 20;
        Some(Self { bytes, demand: Self::demand(config, topology, piece_bytes_max) })
    }

    fn demand(config: &Config, topology: &Topology, piece_bytes_max: u64) -> FetchDemand {
        let count = |number: usize| {
            let number = u32::try_from(number).expect("validate refuses more topics than Kafka has");
            NonZeroU32::new(number).expect("validate refuses a consumer of no topic")
        };
        let largest = topology.shares.iter().map(|share| share.quantum()).max().unwrap_or(1);
        let largest = config.quota_limits().map_or(largest, |limits| limits.max.get().max(largest));
        FetchDemand {
            handles: count(topology.handles.len()),
            lanes: count(topology.lanes.len()),
            topics: count(config.topics.len()),
            partitions_per_topic: NonZeroU32::new(config.fetch_buffer_partitions)
                .expect("validate refuses 0"),
            quota: NonZeroU32::new(largest).unwrap_or(NonZeroU32::MIN),
            piece_bytes_max,
        }
    }

    /// Half of the budget, MiB, or of what comes of the limits without one; never less than the smallest that
    /// would be taken. `most_mib` is what there is in all: half of more than that would give nothing back.
    /// `told` is what a handle is told for a configuration. `None`: no less is possible, or the properties that
    /// the user named leave nothing to it.
    pub(crate) fn halved(
        config: &Config,
        topology: &Topology,
        most_mib: Option<u64>,
        told: impl Fn(&Config) -> Properties,
    ) -> Option<u32> {
        let holds = |config: &Config| {
            let demand = Self::demand(config, topology, PIECE_BYTES_DEFAULT);
            demand.memory_bytes(&limits_of(&told(config)))
        };
        let now = holds(config);
        let least = Self::demand(config, topology, PIECE_BYTES_DEFAULT).minimum_bytes().div_ceil(1 << 20);
        let said = config.fetch_buffer_mib.map_or(now >> 20, u64::from);
        let said = most_mib.map_or(said, |most| said.min(most));
        let half = u32::try_from((said / 2).max(least)).ok()?;
        if config.fetch_buffer_mib.is_some_and(|mib| mib <= half) {
            return None;
        }
        (holds(&config.clone().with_budget(half)) < now).then_some(half)
    }

    /// # Errors
    /// If the budget is too small, with the minimum.
    pub(crate) fn check(config: &Config, topology: &Topology) -> Result<(), StartError> {
        let Some(budget) = Self::new(config, topology, PIECE_BYTES_DEFAULT) else { return Ok(()) };
        let Err(refusal) = budget.demand.limits(budget.bytes) else { return Ok(()) };
        let FetchDemand { topics, lanes, partitions_per_topic, quota, .. } = budget.demand;
        Err(StartError::Config {
            what: format!(
                "fetch_buffer_mib is {}, and {topics} topics of {partitions_per_topic} partitions in {lanes} \
                 queues that bring up to {quota} records per poll need {} MiB: raise it, or lower \
                 max_poll_records, or say with fetch_buffer_partitions that a topic has fewer partitions here",
                refusal.budget_bytes >> 20,
                refusal.minimum_bytes.div_ceil(1 << 20),
            ),
        })
    }

    /// Tells a handle what follows from the budget, if there is one; what the user named stands.
    pub(crate) fn tell(config: &Config, topology: &Topology, properties: &mut Properties) {
        let piece_bytes = number(properties, PIECE_BYTES).unwrap_or(PIECE_BYTES_DEFAULT);
        let Some(budget) = Self::new(config, topology, piece_bytes) else { return };
        let limits = budget.demand.limits(budget.bytes).expect("plan refuses a budget that is too small");
        let answer_bytes = {
            let least = number(properties, MESSAGE_BYTES).unwrap_or(MESSAGE_BYTES_DEFAULT);
            let most = number(properties, RECEIVE_BYTES).map(|bytes| bytes.saturating_sub(FRAMING_BYTES));
            limits.answer_bytes.max(least).min(most.unwrap_or(u64::MAX))
        };
        for (name, value) in [
            (QUEUED_RECORDS, limits.queued_records),
            (QUEUED_KBYTES, limits.queued_kbytes),
            (PIECE_BYTES, limits.piece_bytes),
            (ANSWER_BYTES, answer_bytes),
            (BACKOFF_MS, limits.backoff_ms),
        ] {
            if !config.says_property(name) {
                properties.set(name, value.to_string(), Origin::Follows { from: "fetch_buffer_mib" });
            }
        }
    }
}

impl FetchBuffer {
    /// What comes of the budget, if there is one, where a handle is told this.
    pub(crate) fn of(config: &Config, topology: &Topology, told: &Properties) -> Option<Self> {
        let Budget { bytes, demand } = Budget::new(config, topology, PIECE_BYTES_DEFAULT)?;
        let limits = limits_of(told);
        Some(Self {
            budget_bytes: bytes,
            minimum_bytes: demand.minimum_bytes(),
            predicted_bytes_max: demand.memory_bytes(&limits),
            pieces_bytes_max: limits.piece_bytes.saturating_mul(demand.partitions()),
            partitions_per_topic: demand.partitions_per_topic.get(),
        })
    }

    /// That properties break the budget, if they do.
    pub(crate) fn warning(&self, config: &Config) -> Option<String> {
        if self.predicted_bytes_max <= self.budget_bytes {
            return None;
        }
        let named = [QUEUED_RECORDS, QUEUED_KBYTES, PIECE_BYTES];
        let named: Vec<&str> = named.into_iter().filter(|name| config.says_property(name)).collect();
        Some(format!(
            "fetch_buffer_mib is {}, and with {} as said the consumer may hold {} MiB: leave it to the budget, \
             or raise that",
            self.budget_bytes >> 20,
            named.join(", "),
            self.predicted_bytes_max.div_ceil(1 << 20),
        ))
    }
}

/// That a topic has more partitions here than the budget was calculated with, if one does. `assigned`: how
/// many partitions of each topic, in the configuration's order, this consumer has.
pub(crate) fn beyond_the_budget(config: &Config, assigned: impl Iterator<Item = usize>) -> Option<String> {
    config.fetch_buffer_mib?;
    let (topic, partitions) = config.topics.iter().zip(assigned).max_by_key(|(_, partitions)| *partitions)?;
    let most = config.fetch_buffer_partitions;
    (partitions > most as usize).then(|| {
        format!(
            "topic {} has {partitions} partitions here, and fetch_buffer_mib was divided for {most}: it may be \
             exceeded; set fetch_buffer_partitions to {partitions}",
            topic.name
        )
    })
}

/// What a handle is told, with librdkafka's defaults where it is told nothing.
fn limits_of(told: &Properties) -> FetchLimits {
    let or = |name, default| number(told, name).unwrap_or(default);
    FetchLimits {
        queued_records: or(QUEUED_RECORDS, QUEUED_RECORDS_DEFAULT),
        queued_kbytes: or(QUEUED_KBYTES, QUEUED_KBYTES_MAX),
        piece_bytes: or(PIECE_BYTES, PIECE_BYTES_DEFAULT),
        answer_bytes: or(ANSWER_BYTES, ANSWER_BYTES_DEFAULT),
        backoff_ms: or(BACKOFF_MS, BACKOFF_MS_DEFAULT),
    }
}

/// A property as a number, under whichever of its names.
fn number(properties: &Properties, name: &str) -> Option<u64> {
    properties.number(name).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModeRequest;
    use crate::consumer::build::{plan, properties, warnings};

    const MODES: [ModeRequest; 3] = [ModeRequest::Single, ModeRequest::Multi, ModeRequest::Fair];

    fn four_topics(mode: ModeRequest) -> Config {
        Config::new("localhost:9092", "group", ["a", "b", "c", "d"]).mode(mode)
    }

    fn topics_of(count: usize) -> Config {
        let names = (0..count).map(|number| format!("topic-{number}"));
        Config::new("localhost:9092", "group", names).mode(ModeRequest::Fair)
    }

    fn buffer(config: &Config) -> FetchBuffer {
        config.explain(None).expect("usable").fetch_buffer.expect("a budget")
    }

    #[test]
    fn what_a_handle_is_told_follows_from_the_budget() {
        let derived = [QUEUED_RECORDS, QUEUED_KBYTES, PIECE_BYTES, ANSWER_BYTES, BACKOFF_MS];
        for mode in MODES {
            for mib in [8, 16, 64, 1000] {
                let config = four_topics(mode).fetch_buffer_mib(mib);
                let topology = plan(&config).expect("usable");
                let told = properties(&config, &topology, 0);
                let follows = Origin::Follows { from: "fetch_buffer_mib" };
                for name in derived {
                    let from = told.iter().find(|(known, ..)| *known == name).map(|(.., from)| from);
                    assert_eq!(from, Some(&follows), "{mode} {mib} {name}");
                }
                let FetchBuffer { budget_bytes, predicted_bytes_max, .. } = buffer(&config);
                assert_eq!(budget_bytes, u64::from(mib) << 20);
                assert!(predicted_bytes_max <= budget_bytes, "{mode} {mib}: {predicted_bytes_max}");
                assert_eq!(warnings(&config, &topology), Vec::<String>::new());
                // librdkafka would lower it to the size of a queue otherwise.
                assert!(number(&told, ANSWER_BYTES).is_some_and(|bytes| bytes >= 50 << 20), "{mode} {mib}");
            }
        }
    }

    #[test]
    fn nothing_changes_without_a_budget() {
        for mode in MODES {
            let config = four_topics(mode);
            let told = properties(&config, &plan(&config).expect("usable"), 0);
            assert_eq!(told.get(QUEUED_RECORDS), Some("10000"), "{mode}");
            assert_eq!(told.get(BACKOFF_MS), Some("10"), "{mode}");
            assert!(!told.contains(QUEUED_KBYTES), "{mode}");
            assert_eq!(config.explain(None).expect("usable").fetch_buffer, None, "{mode}");
        }
    }

    // shows: E15
    #[test]
    fn halving_what_is_fetched_ahead_ends_at_the_smallest_budget() {
        let half = |config: &Config| {
            let topology = plan(config).expect("usable");
            Budget::halved(config, &topology, None, |config| properties(config, &topology, 0))
        };
        for mode in MODES {
            for said in [None, Some(100), Some(7)] {
                let mut config = four_topics(mode);
                config.fetch_buffer_mib = said;
                let mut budgets: Vec<u32> = said.into_iter().collect();
                while let Some(mib) = half(&config) {
                    budgets.push(mib);
                    // A budget that is refused would be a panic.
                    config = config.with_budget(mib);
                    assert!(plan(&config).is_ok(), "{mode} {mib}");
                }
                assert!(budgets.len() > 1, "{mode} {said:?}");
                let pairs = budgets.windows(2).all(|pair| pair[1] < pair[0] && pair[1] >= pair[0] / 2);
                assert!(pairs, "{mode} {budgets:?}");
                let least = buffer(&config).minimum_bytes.div_ceil(1 << 20);
                assert_eq!(budgets.last().copied().map(u64::from), Some(least), "{mode} {budgets:?}");
            }
        }
        // What could never be held is not halved first.
        let many = topics_of(50);
        let topology = plan(&many).expect("usable");
        let within = |most| Budget::halved(&many, &topology, most, |config| properties(config, &topology, 0));
        assert!(within(None).is_some_and(|mib| mib > 1000), "{:?}", within(None));
        assert_eq!(within(Some(512)), Some(256));
        // Where every limit is said there is nothing to make smaller.
        let said = [(QUEUED_RECORDS, "5000"), (QUEUED_KBYTES, "4000"), (PIECE_BYTES, "65536")];
        let said = said
            .into_iter()
            .fold(four_topics(ModeRequest::Fair), |config, (name, value)| config.property(name, value));
        assert_eq!(half(&said), None);
    }

    #[test]
    fn a_budget_that_is_too_small_is_refused_with_one_that_is_not() {
        for mode in MODES {
            let refusal = plan(&four_topics(mode).fetch_buffer_mib(1)).expect_err("too small").to_string();
            let minimum = refusal.split(" need ").nth(1).and_then(|rest| rest.split(' ').next());
            let minimum: u32 =
                minimum.and_then(|mib| mib.parse().ok()).unwrap_or_else(|| panic!("{refusal}"));
            assert!(refusal.starts_with("fetch_buffer_mib is 1, and 4 topics of 4 partitions"), "{refusal}");
            assert!(plan(&four_topics(mode).fetch_buffer_mib(minimum)).is_ok(), "{mode}: {refusal}");
            assert!(plan(&four_topics(mode).fetch_buffer_mib(minimum - 1)).is_err(), "{mode}: {refusal}");
        }
        // It depends on everything that the sentence names.
        let narrow = four_topics(ModeRequest::Fair).fetch_buffer_mib(2);
        assert!(plan(&narrow).is_err());
        assert!(plan(&narrow.fetch_buffer_partitions(1).max_poll_records(100)).is_ok());
    }

    #[test]
    fn what_the_user_names_stands_and_is_warned_of_where_it_breaks_the_budget() {
        let config = four_topics(ModeRequest::Fair).fetch_buffer_mib(16);
        let told = |config: &Config| {
            let topology = plan(config).expect("usable");
            (properties(config, &topology, 0), warnings(config, &topology))
        };
        for (name, value, fits) in [
            (QUEUED_RECORDS, "1000", true),
            (QUEUED_RECORDS, "100000", false),
            (QUEUED_KBYTES, "65536", false),
            (PIECE_BYTES, "1048576", false),
            // The same property.
            ("fetch.message.max.bytes", "1048576", false),
            (BACKOFF_MS, "1000", true),
            (ANSWER_BYTES, "2097152", true),
        ] {
            let (properties, warnings) = told(&config.clone().property(name, value));
            assert_eq!(properties.get(name), Some(value));
            assert_eq!(warnings.is_empty(), fits, "{name}: {warnings:?}");
        }
        let (_, warnings) = told(&config.property(QUEUED_KBYTES, "65536"));
        assert!(
            warnings[0].starts_with("fetch_buffer_mib is 16, and with queued.max.messages.kbytes as said"),
            "{warnings:?}"
        );
    }

    #[test]
    fn sizes_that_librdkafka_compares_still_fit_each_other() {
        for (name, value) in
            [(RECEIVE_BYTES, "2000000"), (MESSAGE_BYTES, "90000000"), (MESSAGE_BYTES, "1000")]
        {
            let config = four_topics(ModeRequest::Fair).fetch_buffer_mib(16).property(name, value);
            let explained = config.explain(None);
            assert!(explained.is_ok(), "{name}: {explained:?}");
        }
    }

    #[test]
    fn more_partitions_than_the_budget_was_divided_for_are_told() {
        let config = four_topics(ModeRequest::Fair);
        assert_eq!(beyond_the_budget(&config, [1, 9, 2, 0].into_iter()), None);
        let config = config.fetch_buffer_mib(64);
        assert_eq!(beyond_the_budget(&config, [4, 4, 2, 0].into_iter()), None);
        let told = beyond_the_budget(&config, [1, 9, 2, 0].into_iter()).expect("nine are more than four");
        assert!(told.starts_with("topic b has 9 partitions here") && told.ends_with("to 9"), "{told}");
    }
}
