//! From a mode of a scenario to what is simulated.
//!
//! The engine itself is asked what the mode comes to ([`fairpoll::Config::explain`]): topology, waits, groups, and
//! what librdkafka is told.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use fairpoll::{Explanation, Setting, StartError};
use fairpoll_core::Policy;
use fairpoll_judge::protocol::WorkerSpec;
use rdkafka::ClientConfig;
use thiserror::Error;

use super::{FetchSettings, Group, Setup, TopicSetup};
use crate::scenario::{Compression, Mode, ModeKind, Scenario, TopicPlan};
use crate::worker;

/// What a record takes on the wire besides key and value: lengths, offset and time relative to its batch's.
const RECORD_BYTES: u64 = 10;

/// What the zeros of a value leave of themselves once they are compressed.
const ZEROS_BYTES: u64 = 6;

/// Of a worker besides librdkafka's: its own, and one that waits for the end of standard input.
const PROCESS_THREADS: u32 = 2;

/// A log lies in memory, with two events and some ranges for every poll.
const POLLS_MAX: u64 = 2_000_000;

/// What of librdkafka's properties is modelled, with their other names.
const FETCH: &[&str] = &[
    "queued.min.messages",
    "queued.max.messages.kbytes",
    "max.partition.fetch.bytes",
    "fetch.message.max.bytes",
    "fetch.max.bytes",
    "message.max.bytes",
    "fetch.wait.max.ms",
    "fetch.queue.backoff.ms",
];

/// What would change the course, and the values of which there is a model.
const MODELLED: &[(&str, &[&str])] =
    &[("auto.offset.reset", &["earliest", "smallest", "beginning"]), ("fetch.min.bytes", &["1"])];

/// Why a mode cannot be simulated.
#[derive(Debug, Error)]
pub enum Unmodelled {
    /// The scenario asks for something that there is no model of, or for too much.
    #[error("{0}")]
    Unfit(String),
    /// The engine would not start either.
    #[error(transparent)]
    Refused(#[from] StartError),
    /// librdkafka is told something that there is no model of.
    #[error(
        "virtual time has no model of {name}={value}; leave it out, or run with --broker embedded or container"
    )]
    Property {
        /// The property.
        name: String,
        /// What it says.
        value: String,
    },
    /// It is not a number.
    #[error("the property {name} is {value:?}, and should be a number")]
    NoNumber {
        /// The property.
        name: String,
        /// What it says.
        value: String,
    },
    /// The specification is not usable.
    #[error("{0}")]
    Specification(String),
}

/// Why a scenario cannot be simulated, and the way out; `None`: it can.
#[must_use]
pub fn unfit(scenario: &Scenario) -> Option<String> {
    let lacks = if let Some(fault) = scenario.faults.first() {
        Some(format!("the fault {}", fault.kind.name()))
    } else if scenario.consumer.instances > 1 {
        Some("several instances of a consumer".to_owned())
    } else {
        scenario.modes.iter().find_map(mode_lacks)
    };
    let lacks = lacks.map(|what| {
        format!("virtual time has no model of {what}; run with --broker embedded or --broker container")
    });
    lacks.or_else(|| too_long(scenario))
}

/// A log keeps every poll.
fn too_long(scenario: &Scenario) -> Option<String> {
    let topics = scenario.topics_expanded();
    let polls = |mode: &Mode| {
        let quota = u64::from(mode.max_poll_records.unwrap_or(scenario.consumer.max_poll_records).max(1));
        let in_all: u64 = topics.iter().fold(0, |sum, topic| sum.saturating_add(topic.backlog));
        let of_one =
            topics.iter().map(|topic| topic.backlog / u64::from(topic.weight.max(1))).max().unwrap_or(0);
        let shares = mode.kind != ModeKind::Fairpoll("single".to_owned());
        (if shares { of_one } else { in_all }) / quota
    };
    let polls = scenario.modes.iter().map(polls).fold(0, u64::saturating_add);
    (polls > POLLS_MAX).then(|| {
        format!(
            "the backlog over max_poll_records is {polls} polls, of all modes, and a log holds {POLLS_MAX}: take a \
             smaller backlog, larger polls or fewer modes"
        )
    })
}

fn mode_lacks(mode: &Mode) -> Option<String> {
    if matches!(mode.kind, ModeKind::Command(_)) {
        return Some(format!("the command of mode {}", mode.name));
    }
    mode.sharing.quota.map(|_| format!("quotas that follow lag (mode {})", mode.name))
}

impl Setup {
    /// What a worker with this specification would be.
    ///
    /// # Errors
    /// If there is no model of it, or the engine would not start so.
    pub fn of(scenario: &Scenario, mode: &Mode, spec: &WorkerSpec, seed: u64) -> Result<Self, Unmodelled> {
        if let Some(why) = unfit(scenario) {
            return Err(Unmodelled::Unfit(why));
        }
        // What this machine has must not decide over the course.
        let config = worker::config(spec).map_err(|error| Unmodelled::Specification(error.to_string()))?;
        let explanation = config.degrade(false).explain(Some(scenario.broker.nodes))?;
        let ms = |name| Ok::<_, Unmodelled>(Duration::from_millis(number(&explanation.settings, name, 0)?));
        let guard = u32::try_from(number(&explanation.settings, "starvation_guard", 1)?).unwrap_or(u32::MAX);
        Ok(Self {
            mode: explanation.resolution.actual,
            topics: scenario.topics_expanded().iter().map(|plan| topic(scenario, mode, plan)).collect(),
            quota: NonZeroU32::new(spec.max_poll_records).unwrap_or(NonZeroU32::MIN),
            policy: Policy::PriorityWithGuard {
                guard_polls: NonZeroU32::new(guard).unwrap_or(NonZeroU32::MIN),
            },
            max_records: spec.max_records,
            poll_timeout: Duration::from_millis(spec.poll_timeout_ms),
            complete_wait: spec.complete_wait_ms.map(Duration::from_millis),
            first_fetch_wait: ms("first_fetch_wait_ms")?,
            refill_wait: ms("refill_wait_ms")?,
            join_wait: ms("join_wait_ms")?,
            commit_every_polls: spec.commit_every_polls,
            work_poll: seconds(spec.processing.per_poll_ms / 1e3),
            work_record: seconds(spec.processing.per_record_us / 1e6),
            fetch: fetch_settings(&explanation)?,
            threads: PROCESS_THREADS
                + u32::try_from(explanation.cost.threads).unwrap_or(u32::MAX - PROCESS_THREADS),
            connections: u32::try_from(explanation.cost.connections).unwrap_or(u32::MAX),
            group: group(&explanation),
            nodes: scenario.broker.nodes,
            live_for: seconds(scenario.stop.live_for_s),
            deadline: seconds(scenario.stop.deadline_s),
            seed,
        })
    }
}

/// As a worker takes them: what is not above zero is nothing.
fn seconds(seconds: f64) -> Duration {
    if seconds > 0.0 { Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX) } else { Duration::ZERO }
}

fn topic(scenario: &Scenario, mode: &Mode, plan: &TopicPlan) -> TopicSetup {
    let earlier = scenario.earlier_life.map_or(0, |life| life.records);
    let value = u64::from(plan.value_bytes);
    let on_the_wire = match scenario.producer.compression {
        Compression::None => value,
        _ => 8 + u64::from(scenario.producer.random_bytes(plan.value_bytes)) + ZEROS_BYTES,
    };
    TopicSetup {
        partitions: plan.partitions,
        earlier,
        backlog: plan.backlog,
        rate_per_s: plan.rate_per_s,
        record_bytes: RECORD_BYTES + on_the_wire.min(value + RECORD_BYTES),
        unpacked_bytes: value,
        weight: plan.weight,
        priority: if mode.sharing.ignores_priorities { 0 } else { plan.priority },
    }
}

fn group(explanation: &Explanation) -> Group {
    let handles = &explanation.handles;
    let groups: BTreeSet<&str> = handles.iter().map(|handle| handle.group_id.as_str()).collect();
    if handles.iter().any(|handle| handle.protocol.starts_with("KIP-848")) {
        Group::Kip848
    } else if groups.len() < handles.len() {
        Group::SharedClassic
    } else {
        Group::Classic
    }
}

fn fetch_settings(explanation: &Explanation) -> Result<FetchSettings, Unmodelled> {
    let told = explanation.handles.first().map_or(&[][..], |handle| &handle.properties);
    for (name, modelled) in MODELLED {
        let other = told.iter().find(|setting| setting.name == *name && !modelled.contains(&&*setting.value));
        if let Some(Setting { name, value, .. }) = other {
            return Err(Unmodelled::Property { name: name.clone(), value: value.clone() });
        }
    }
    // librdkafka knows its other names for these, and what holds where nothing is said.
    let mut config = ClientConfig::new();
    for Setting { name, value, .. } in told.iter().filter(|setting| FETCH.contains(&setting.name.as_str())) {
        config.set(name, value);
    }
    let native =
        config.create_native_config().map_err(|error| Unmodelled::Specification(error.to_string()))?;
    let number = |name: &str| {
        let value = native.get(name).map_err(|error| Unmodelled::Specification(error.to_string()))?;
        value.parse::<u64>().map_err(|_| Unmodelled::NoNumber { name: name.to_owned(), value })
    };
    let queued_bytes = number("queued.max.messages.kbytes")?.saturating_mul(1024);
    let answer_bytes = number("fetch.max.bytes")?;
    let is_said = told.iter().any(|setting| setting.name == "fetch.max.bytes");
    Ok(FetchSettings {
        queued_records: number("queued.min.messages")?,
        queued_bytes,
        piece_bytes: number("max.partition.fetch.bytes")?,
        // A client lowers the default to the size of a queue, and raises it to that of a message.
        answer_bytes: if is_said {
            answer_bytes
        } else {
            answer_bytes.min(queued_bytes).max(number("message.max.bytes")?)
        },
        wait_ns: number("fetch.wait.max.ms")?.saturating_mul(1_000_000),
        backoff_ns: number("fetch.queue.backoff.ms")?.saturating_mul(1_000_000),
    })
}

/// The setting of this name, or what holds without it.
fn number(settings: &[Setting], name: &str, otherwise: u64) -> Result<u64, Unmodelled> {
    let Some(setting) = settings.iter().find(|setting| setting.name == name) else { return Ok(otherwise) };
    setting
        .value
        .parse()
        .map_err(|_| Unmodelled::NoNumber { name: name.to_owned(), value: setting.value.clone() })
}

#[cfg(test)]
mod tests {
    use fairpoll::Config;

    use super::*;

    fn settings(own: &[(&str, &str)]) -> Result<FetchSettings, Unmodelled> {
        let config = Config::new("localhost:9092", "group", ["a", "b"]).mode(fairpoll::ModeRequest::Fair);
        let config = own.iter().fold(config, |config, (name, value)| config.property(*name, *value));
        fetch_settings(&config.explain(None)?)
    }

    #[test]
    fn what_librdkafka_is_told_holds_under_any_name() {
        let default = settings(&[]).expect("usable");
        assert_eq!((default.queued_records, default.piece_bytes), (10_000, 256 << 10));
        assert_eq!((default.wait_ns, default.backoff_ns), (50_000_000, 10_000_000));
        assert_eq!(default.answer_bytes, 50 << 20);
        let renamed = settings(&[("fetch.message.max.bytes", "65536")]).expect("usable");
        assert_eq!(renamed.piece_bytes, 65_536);
        let small = settings(&[("queued.max.messages.kbytes", "1")]).expect("usable");
        assert_eq!((small.queued_bytes, small.answer_bytes), (1_024, 1_000_000), "never less than a message");
        let said = settings(&[("fetch.max.bytes", "2097152")]).expect("usable");
        assert_eq!(said.answer_bytes, 2 << 20);
        assert!(settings(&[("fetch.min.bytes", "2")]).is_err());
    }
}
