//! From a configuration to handles and lanes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairpoll_core::mode::{self, HandleDemand, MachineLimits};
use fairpoll_core::{
    CompleteInput, FirstFetch, GroupTiming, LagProportional, ModeReason, ModeRequest, OffsetTracker, Policy,
    PollMachine, Preset, Refill, Resolution,
};

use crate::batch::BatchCount;
use crate::config::properties::{NOT_UNDER_KIP848, Properties, WITHOUT_EFFECT};
use crate::config::{Config, GROUP_INSTANCE_ID, GroupStrategy, Origin};
use crate::cost::{Cost, Size};
use crate::error::StartError;
use crate::ffi::Wake;
use crate::machine::Machine;
use crate::memory::{Budget, FetchBuffer};
use crate::metrics::Meters;
use crate::remedy::Remedies;
use crate::topology::{GroupProtocol, Topology};

use super::adapt::Adapting;
use super::commit::Commits;
use super::degrade::Degrading;
use super::join::JoinWait;
use super::open::open;
use super::quarantine::Health;
use super::status_log::StatusLog;
use super::stop::Stopping;
use super::{Consumer, Partitions};

pub(super) fn start(config: Config) -> Result<Consumer, StartError> {
    let topology = plan(&config)?;
    for warning in warnings(&config, &topology) {
        tracing::warn!("{warning}");
    }
    let (wake, gone) = (Arc::new(Wake::default()), Arc::new(Wake::default()));
    let (handles, lanes) = open(&config, &topology, &wake, &gone)?;
    let now = Instant::now();
    let topics: Arc<[Arc<str>]> = config.topics.iter().map(|topic| Arc::from(topic.name.as_str())).collect();
    let consumer = Consumer {
        meters: Meters::new(&config.group_id, &topics),
        topics,
        paused: vec![false; config.topics.len()],
        partitions: Partitions { all: Vec::new(), by_topic: vec![Vec::new(); config.topics.len()] },
        poll: PollMachine::new(topology.shares.iter().copied(), policy(&config)),
        adapting: adapting(&config, &topology),
        first_fetch: FirstFetch::new(),
        refill: Refill::new(topology.lanes.len(), refill_wait(&config, &topology)),
        held: Vec::with_capacity(topology.lanes.len()),
        plenty: plenty(&config, &topology),
        complete_input: CompleteInput::new(config.topics.len()),
        offsets: OffsetTracker::new(),
        commits: Commits::default(),
        refusals: super::refusal::nobody(),
        health: Health::new(&config),
        remedies: Remedies::new(&config),
        events: VecDeque::new(),
        errors: Vec::new(),
        generation: 0,
        strays: 0,
        batches: BatchCount::default(),
        wake,
        gone,
        epoch: now,
        opened: now,
        join_wait: JoinWait::default(),
        together: Arc::default(),
        last_tick: now,
        status_log: StatusLog::new(config.status_log_interval, now),
        stopping: Stopping::default(),
        degrading: Degrading::new(&config, &topology),
        handles,
        lanes,
        topology,
        config,
    };
    consumer.log_started();
    Ok(consumer)
}

/// Half of what fetching stops at: an application that leaves so much is slower than its brokers.
pub(super) fn plenty(config: &Config, topology: &Topology) -> usize {
    let limit = properties(config, topology, 0).number("queued.min.messages");
    limit.and_then(|records| usize::try_from(records / 2).ok()).map_or(usize::MAX, |half| half.max(1))
}

/// With one lane there is nobody to wait for.
pub(super) fn refill_wait(config: &Config, topology: &Topology) -> Duration {
    if topology.waits_for_others() { config.refill_wait } else { Duration::ZERO }
}

/// Where all priorities are equal it is deficit round robin.
pub(super) fn policy(config: &Config) -> Policy {
    Policy::PriorityWithGuard { guard_polls: config.guard_polls() }
}

/// The quota machine, where quotas are not fixed.
pub(super) fn adapting(config: &Config, topology: &Topology) -> Option<Adapting> {
    let limits = config.quota_limits()?;
    Some(Adapting::new(LagProportional::new(limits, topology.shares.iter().copied())))
}

/// What a configuration comes to on this machine, without a broker.
///
/// # Errors
/// The first thing that is wrong, with its remedy.
pub(crate) fn plan(config: &Config) -> Result<Topology, StartError> {
    config.validate()?;
    let topology = Topology::new(config, resolve(config));
    Budget::check(config, &topology)?;
    if config.group_strategy == Some(GroupStrategy::Own) && topology.handles[0].topics.len() > 1 {
        if let ModeReason::DoesNotFit { .. } = topology.resolution.reason {
            return Err(StartError::Config {
                what: format!(
                    "{}, and with the group_strategy `own` the positions of its topics lie in groups that \
                     `{}` does not join: raise that limit, or bring the positions to one group with `fairpoll \
                     offsets migrate` and take another strategy, or set degrade to false to start all the same",
                    topology.resolution.reason, topology.resolution.actual
                ),
            });
        }
        return Err(StartError::Config {
            what: format!(
                "the group_strategy `own` gives every topic a group, and `{}` has one consumer for all of them; \
                 take the mode multi or another strategy",
                topology.resolution.actual
            ),
        });
    }
    if let Some(id) = config.properties.get(GROUP_INSTANCE_ID)
        && topology.handles.windows(2).any(|pair| pair[0].group_id == pair[1].group_id)
    {
        return Err(StartError::Config {
            what: format!(
                "the property {GROUP_INSTANCE_ID} would give all {} handles of `{}` one name, and they would put \
                 each other out of the group: set group_instance_id to {id:?} instead",
                topology.handles.len(),
                topology.resolution.actual
            ),
        });
    }
    Ok(topology)
}

/// What was said and does not hold.
pub(crate) fn warnings(config: &Config, topology: &Topology) -> Vec<String> {
    let mut warnings = config.ignored.clone();
    let said = |name: &str| config.properties.contains_key(name);
    let without_effect = WITHOUT_EFFECT.iter().filter(|(name, _)| said(name));
    warnings.extend(without_effect.map(|(name, why)| format!("{name} has no effect: {why}")));
    if topology.handles.iter().any(|handle| handle.protocol == GroupProtocol::Consumer) {
        let dropped = NOT_UNDER_KIP848.iter().filter(|(name, _)| said(name));
        warnings.extend(
            dropped
                .map(|(name, who)| format!("{name} is ignored under KIP-848, where it is decided by {who}")),
        );
    }
    if !config.degrade
        && let [_, Resolution { reason: reason @ ModeReason::DoesNotFit { .. }, .. }] =
            resolve_within(config, || Machine::new(config.connection_limit).left())
    {
        warnings.push(format!("{reason}; it runs all the same because degrade is false"));
    }
    if let Some(mib) = config.fetch_buffer_mib
        && let Some(left) = Machine::new(None).left().memory_bytes
        && u64::from(mib) > left >> 20
    {
        warnings.push(format!(
            "fetch_buffer_mib is {mib}, and this process's cgroup has {} MiB left: less is fetched ahead once that \
             runs short, unless degrade is false",
            left >> 20
        ));
    }
    let buffer = FetchBuffer::of(config, topology, &properties(config, topology, 0));
    warnings.extend(buffer.and_then(|buffer| buffer.warning(config)));
    warnings
}

/// What a librdkafka client needs, as measured against one broker: two connections (bootstrap and
/// broker become one after a while; the coordinator has its own), a wake-up pipe per thread.
pub(crate) const HANDLE_DEMAND: HandleDemand =
    HandleDemand { descriptors: 16, memory_bytes: HANDLE_BYTES, connections: 2 };

/// What a client takes without any record: its threads' stacks and what librdkafka allocates. Fifty of them grew
/// RSS by 257 KiB each where no broker could be reached, and by 536 with one in the same process.
const HANDLE_BYTES: u64 = 512 * 1024;

fn resolve(config: &Config) -> Resolution {
    let limits = || Machine::new(config.connection_limit).left();
    let [asked, fits] = resolve_within(config, limits);
    if config.degrade { fits } else { asked }
}

/// Which mode is asked for, and which fits the machine.
fn resolve_within(config: &Config, limits: impl FnOnce() -> MachineLimits) -> [Resolution; 2] {
    let request = ModeRequest { mode: config.mode, multi_consumer_mode: config.multi_consumer_mode };
    let topics = u32::try_from(config.topics.len()).unwrap_or(u32::MAX);
    let asked = mode::resolve(request, topics, &HandleDemand::default(), MachineLimits::default);
    [asked, mode::resolve(request, topics, &demand(config), limits)]
}

/// What each of several handles needs. Of memory that is what a handle takes besides records: those take as much
/// in the cheaper mode. Descriptors and connections as predicted for as many brokers as are named, which may be
/// more than it comes to: where the cheaper mode serves the same groups that costs nothing, and where nothing
/// could be started at all it is one broker that decides.
fn demand(config: &Config) -> HandleDemand {
    let named = config.bootstrap_servers.split(',').filter(|server| !server.trim().is_empty()).count();
    let brokers = if config.group_strategy == Some(GroupStrategy::Own) { 1 } else { named };
    let size = Size { handles: 1, lanes: 1, brokers: brokers as u64, queue_kib: 0, answer_bytes: 0 };
    let Cost { descriptors, connections, .. } = Cost::of(size);
    HandleDemand { descriptors, connections, ..HANDLE_DEMAND }
}

/// What a handle that serves several lanes fetches of one partition at most, bytes; see
/// docs/adr/0004 and 0013. librdkafka's own default is 1 MiB. What an answer holds in all stays at librdkafka's
/// 50 MiB: where it is less than the pieces make together, the last partitions of a request go without,
/// and they are nearly the same ones request after request.
const SHARED_PARTITION_FETCH_BYTES: &str = "262144";

/// How long a broker that did not answer is let be at first, ms; it doubles from there up to
/// `reconnect.backoff.max.ms`. librdkafka also waits half of it (11 ms at least) before it connects to a second
/// broker that nobody has needed yet, which every handle does that joins a group: its first connection is to a
/// bootstrap server, which it gives up once it knows the cluster. With its own default of 100 a start takes 50 ms
/// more; see docs/group-strategies.md.
const RECONNECT_BACKOFF_MS: u32 = 20;

const RECONNECT_BACKOFF: &str = "reconnect.backoff.ms";
const RECONNECT_BACKOFF_MAX: &str = "reconnect.backoff.max.ms";

/// Whether a client has metrics for the broker to collect (KIP-714). librdkafka keeps histograms for them in every
/// handle, for each broker, also where no broker asks: with fifty handles 300 KiB each, and a twentieth of what they take
/// of the processor to join. A consumer has metrics of its own that know its topics; see docs/configuration.md.
const METRICS_PUSH: &str = "enable.metrics.push";

/// What the handle at this position is told.
pub(crate) fn properties(config: &Config, topology: &Topology, handle: usize) -> Properties {
    let plan = &topology.handles[handle];
    let mut properties = config.client_properties();
    let shares_its_connection = topology.lanes.iter().filter(|lane| lane.handle == handle).count() > 1;
    if shares_its_connection {
        properties.set_absent("max.partition.fetch.bytes", SHARED_PARTITION_FETCH_BYTES, Origin::Default);
    }
    if topology.handles.len() > 1 {
        properties.set_absent(METRICS_PUSH, "false", Origin::Default);
    }
    Budget::tell(config, topology, &mut properties);
    let group_id_is_the_users = plan.group_id == config.group_id;
    let from =
        if group_id_is_the_users { config.origin("group_id") } else { config.origin("group_strategy") };
    properties.set("group.id", &plan.group_id, from);
    if let Some(id) = &plan.instance_id {
        properties.set(GROUP_INSTANCE_ID, id, config.origin("group_instance_id"));
    }
    properties.set_absent("client.id", &plan.client_id, Origin::Default);
    if plan.protocol == GroupProtocol::Consumer {
        // What the user said of them is warned of once, at the start.
        leave_to_the_broker(&mut properties);
    }
    set_timing(&mut properties, topology.lane_count());
    // librdkafka refuses a first wait that is longer than the longest.
    let longest = properties.number(RECONNECT_BACKOFF_MAX).unwrap_or(u32::MAX);
    properties.set_absent(RECONNECT_BACKOFF, RECONNECT_BACKOFF_MS.min(longest).to_string(), Origin::Default);
    match plan.protocol {
        GroupProtocol::Classic => {}
        GroupProtocol::CooperativeSticky => {
            let from = config.origin("group_strategy");
            properties.set_absent("partition.assignment.strategy", "cooperative-sticky", from);
        }
        GroupProtocol::Consumer => {
            properties.set("group.protocol", "consumer", config.origin("group_strategy"));
            // The preset's are for the classic protocol, should the broker refuse this one.
            leave_to_the_broker(&mut properties);
        }
    }
    properties
}

fn leave_to_the_broker(properties: &mut Properties) {
    NOT_UNDER_KIP848.iter().for_each(|(name, _)| properties.remove(name));
}

const SESSION: &str = "session.timeout.ms";
const HEARTBEAT: &str = "heartbeat.interval.ms";
const MAX_POLL_INTERVAL: &str = "max.poll.interval.ms";

/// Adds what the number of topics suggests, and what has to fit what was said.
fn set_timing(properties: &mut Properties, lane_count: u32) {
    let preset = Preset::for_lanes(lane_count);
    let said = GroupTiming {
        session_timeout_ms: properties.number(SESSION),
        heartbeat_interval_ms: properties.number(HEARTBEAT),
        max_poll_interval_ms: properties.number(MAX_POLL_INTERVAL),
    };
    let all = said.completed(preset);
    let of_preset = GroupTiming::default().completed(preset);
    let longest_is_said = all.session_timeout_ms == said.max_poll_interval_ms;
    let limit = if longest_is_said { MAX_POLL_INTERVAL } else { HEARTBEAT };
    for (name, value, preset, from) in [
        (SESSION, all.session_timeout_ms, of_preset.session_timeout_ms, limit),
        (HEARTBEAT, all.heartbeat_interval_ms, of_preset.heartbeat_interval_ms, SESSION),
        (MAX_POLL_INTERVAL, all.max_poll_interval_ms, of_preset.max_poll_interval_ms, SESSION),
    ] {
        let Some(value) = value else { continue };
        let is_preset = Some(value) == preset;
        let origin = if is_preset { Origin::Preset { topics: lane_count } } else { Origin::Follows { from } };
        properties.set_absent(name, value.to_string(), origin);
    }
}

impl Consumer {
    /// Builds every handle anew with the cooperative-sticky assignor where the broker refuses
    /// KIP-848. Only before anything was assigned: nothing has been delivered yet.
    pub(super) fn falls_back_from_kip848(&mut self, handle: usize, code: &str) -> bool {
        let refused = code == "UNSUPPORTED_VERSION" || code == "_UNSUPPORTED_FEATURE";
        // Handles that are leaving are not replaced: those that come next find out by themselves.
        let nothing_yet = self.handles.iter().all(|handle| !handle.joined);
        let leaving = self.degrading.is_under_way() || self.stopping.begun;
        if !refused
            || !nothing_yet
            || leaving
            || self.handles[handle].plan.protocol != GroupProtocol::Consumer
        {
            return false;
        }
        let topology = self.topology.clone().without_kip848();
        match open(&self.config, &topology, &self.wake, &self.gone) {
            Ok((handles, lanes)) => {
                tracing::warn!("the broker refuses KIP-848 groups; using the cooperative-sticky assignor");
                self.lanes = lanes;
                self.handles = handles;
                self.topology = topology;
                self.log_started();
                true
            }
            Err(error) => {
                tracing::error!(%error, "no fallback from KIP-848");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fairpoll_core::{Mode, RequestedMode};

    use super::*;
    use crate::ffi::Client;
    use crate::topology::Topology;

    /// What the first handle of a mode fetches at most, of a partition and in all.
    fn fetches(mode: RequestedMode, own: &[(&str, &str)]) -> [Option<String>; 2] {
        let config = Config::new("localhost:9092", "group", ["orders", "sensor"]).mode(mode);
        let config = own.iter().fold(config, |config, (name, value)| config.property(*name, *value));
        let topology = Topology::new(&config, resolve(&config));
        let client = properties(&config, &topology, 0).client_config();
        ["max.partition.fetch.bytes", "fetch.max.bytes"].map(|name| client.get(name).map(str::to_owned))
    }

    fn bytes(of_partition: &str, in_all: &str) -> [Option<String>; 2] {
        [of_partition, in_all].map(|text| (!text.is_empty()).then(|| text.to_owned()))
    }

    #[test]
    fn only_lanes_that_share_a_connection_fetch_in_small_pieces() {
        let shared = bytes(SHARED_PARTITION_FETCH_BYTES, "");
        assert_eq!(fetches(RequestedMode::Fair, &[]), shared);
        assert_eq!(fetches(RequestedMode::Multi, &[]), bytes("", ""));
        assert_eq!(fetches(RequestedMode::Single, &[]), bytes("", ""));
    }

    #[test]
    fn what_the_user_says_of_fetch_sizes_holds_under_either_name() {
        let own = ("max.partition.fetch.bytes", "1048576");
        assert_eq!(fetches(RequestedMode::Fair, &[own]), bytes("1048576", ""));
        assert_eq!(fetches(RequestedMode::Fair, &[("fetch.message.max.bytes", "1048576")]), bytes("", ""));
        let own = ("fetch.max.bytes", "4194304");
        assert_eq!(fetches(RequestedMode::Fair, &[own]), bytes(SHARED_PARTITION_FETCH_BYTES, "4194304"));
    }

    #[test]
    fn only_one_of_a_kind_has_metrics_for_the_broker_to_collect_unless_told_otherwise() {
        let told = |mode, own: Option<&str>| {
            let config = topics(3, mode);
            let config = own.into_iter().fold(config, |config, value| config.property(METRICS_PUSH, value));
            let topology = Topology::new(&config, resolve(&config));
            properties(&config, &topology, 2 % topology.handles.len()).get(METRICS_PUSH).map(str::to_owned)
        };
        assert_eq!(told(RequestedMode::Multi, None).as_deref(), Some("false"));
        assert_eq!(told(RequestedMode::Multi, Some("true")).as_deref(), Some("true"));
        assert_eq!(told(RequestedMode::Fair, None), None, "librdkafka's default");
        assert_eq!(told(RequestedMode::Single, None), None);
    }

    const COUNTS: [usize; 7] = [1, 2, 5, 6, 9, 10, 50];
    const MODES: [RequestedMode; 3] = [RequestedMode::Single, RequestedMode::Multi, RequestedMode::Fair];

    fn topics(count: usize, mode: RequestedMode) -> Config {
        Config::new("localhost:9092", "group", (0..count).map(|number| format!("topic-{number}"))).mode(mode)
    }

    /// Quota, session and poll interval of the first handle.
    fn settled(config: &Config) -> (u32, Option<u32>, Option<u32>) {
        let topology = plan(config).expect("usable");
        let told = properties(config, &topology, 0);
        (topology.shares[0].quota.get(), told.number(SESSION), told.number(MAX_POLL_INTERVAL))
    }

    // shows: E10
    #[test]
    fn presets_hold_where_topics_have_quotas_of_their_own() {
        use RequestedMode::{Fair, Multi, Single};
        for (count, fair) in [
            (1, (500, None, None)),
            (5, (500, Some(30_000), None)),
            (6, (300, Some(45_000), None)),
            (10, (200, Some(60_000), Some(600_000))),
        ] {
            assert_eq!(settled(&topics(count, Fair)), fair, "{count}");
            let own = topics(count, Multi).group_strategy(GroupStrategy::Own);
            assert_eq!(settled(&own), fair, "{count}");
            // Under KIP-848 the broker decides over sessions.
            assert_eq!(settled(&topics(count, Multi)), (fair.0, None, fair.2), "{count}");
            assert_eq!(settled(&topics(count, Single)), (500, None, None), "{count}");
        }
    }

    /// Answered in the other way a rebalance fails.
    #[test]
    fn rebalances_are_incremental_where_the_protocol_or_the_assignor_is() {
        let strategies = [
            (None, false),
            (Some(GroupStrategy::Classic), false),
            (Some(GroupStrategy::Cooperative), true),
            (Some(GroupStrategy::Kip848), true),
        ];
        for (strategy, incremental) in strategies {
            let mut config = topics(2, RequestedMode::Fair);
            config.group_strategy = strategy;
            let is_incremental = |config: &Config, topology: Topology| {
                Client::is_incremental(&properties(config, &topology, 0).client_config())
            };
            let topology = || plan(&config).expect("usable");
            assert_eq!(is_incremental(&config, topology()), incremental, "{strategy:?}");
            // On a broker without KIP-848 it is another incremental one.
            assert_eq!(is_incremental(&config, topology().without_kip848()), incremental, "{strategy:?}");
        }
        // What the user says of assignors counts.
        for (strategy, assignors, incremental) in [
            (GroupStrategy::Classic, "cooperative-sticky", true),
            (GroupStrategy::Cooperative, "range", false),
        ] {
            let config = topics(2, RequestedMode::Fair)
                .group_strategy(strategy)
                .property("partition.assignment.strategy", assignors);
            let told = properties(&config, &plan(&config).expect("usable"), 0).client_config();
            assert_eq!(Client::is_incremental(&told), incremental, "{assignors}");
        }
    }

    #[test]
    fn under_kip_848_only_what_was_said_is_warned_of_and_the_brokers_setting_named() {
        let told = |config: &Config| warnings(config, &plan(config).expect("usable"));
        let preset = topics(10, RequestedMode::Multi);
        assert_eq!(told(&preset), Vec::<String>::new());
        let said = preset.clone().session_timeout(Duration::from_secs(20));
        assert_eq!(
            told(&said),
            ["session.timeout.ms is ignored under KIP-848, where it is decided by the broker's \
                 group.consumer.session.timeout.ms"]
        );
        assert_eq!(settled(&said), (200, None, Some(600_000)));
        // The classic protocol, to which the same configuration falls back.
        let classic = plan(&said).expect("usable").without_kip848();
        assert_eq!(properties(&said, &classic, 0).number(SESSION), Some(20_000));
        let classic = plan(&preset).expect("usable").without_kip848();
        assert_eq!(properties(&preset, &classic, 0).number(SESSION), Some(60_000));
    }

    /// For all numbers of topics, modes, protocols, and timings of which not all were said: librdkafka
    /// creates a handle.
    #[test]
    fn librdkafka_takes_what_it_is_told() {
        let said: [&[(&str, &str)]; 7] = [
            &[],
            &[(MAX_POLL_INTERVAL, "6000")],
            &[(SESSION, "700000")],
            &[(HEARTBEAT, "90000")],
            &[(HEARTBEAT, "2000"), (MAX_POLL_INTERVAL, "10000")],
            &[(SESSION, "1500"), ("fetch.max.bytes", "3000000")],
            &[(RECONNECT_BACKOFF_MAX, "19")],
        ];
        for (count, mode) in COUNTS.into_iter().flat_map(|count| MODES.map(|mode| (count, mode))) {
            for strategy in [None, Some(GroupStrategy::Cooperative), Some(GroupStrategy::Kip848)] {
                for said in said {
                    let mut config = topics(count, mode);
                    config.group_strategy = strategy;
                    let config =
                        said.iter().fold(config, |config, (name, value)| config.property(*name, *value));
                    let explained = config.explain(None);
                    assert!(explained.is_ok(), "{count} {mode} {strategy:?} {said:?}: {explained:?}");
                }
            }
        }
    }

    // shows: E15
    #[test]
    fn multi_that_does_not_fit_starts_as_fair_in_the_same_group_and_protocol() {
        // Three topics need six, whatever else the process has open.
        let scarce = topics(3, RequestedMode::Multi).connection_limit(5);
        let fair = plan(&scarce).expect("usable");
        let Resolution { requested, actual, reason } = fair.resolution;
        assert_eq!((requested, actual), (RequestedMode::Multi, Mode::Fair));
        let said = reason.to_string();
        assert!(
            said.starts_with("multi does not fit this machine: it needs 6 connections, there are"),
            "{said}"
        );
        let [only] = fair.handles.as_slice() else { panic!("{fair:?}") };
        assert_eq!((only.group_id.as_str(), only.protocol), ("group", GroupProtocol::Consumer));
        assert!(warnings(&scarce, &fair).is_empty());

        let stays = scarce.degrade(false);
        let multi = plan(&stays).expect("usable");
        assert_eq!(multi.resolution.actual, Mode::Multi);
        let [warning] = warnings(&stays, &multi).try_into().expect("one");
        assert!(warning.ends_with("it runs all the same because degrade is false"), "{warning}");
    }

    // shows: E15
    #[test]
    fn groups_of_topics_are_not_given_up_for_a_shortage_and_the_remedy_is_told() {
        let own = topics(3, RequestedMode::Multi).group_strategy(GroupStrategy::Own).connection_limit(5);
        let error = plan(&own).expect_err("positions would be lost").to_string();
        assert!(
            error.contains("it needs 6 connections") && error.contains("fairpoll offsets migrate"),
            "{error}"
        );
        assert_eq!(plan(&own.degrade(false)).expect("usable").handles.len(), 3);
    }

    // shows: E15
    #[test]
    fn memory_must_hold_the_handles_and_what_they_fetch_ahead_gives_way_before_them() {
        let fits = |config: &Config, mib: Option<u64>| {
            let limits = MachineLimits { memory_bytes: mib.map(|mib| mib << 20), ..MachineLimits::default() };
            let [asked, fits] = resolve_within(config, || limits);
            assert_eq!(asked.actual, Mode::Multi);
            fits.actual
        };
        let ten = topics(10, RequestedMode::Multi);
        assert_eq!(fits(&ten, None), Mode::Multi);
        // What it would fetch at most is far more, in any mode.
        assert_eq!(fits(&ten, Some(64)), Mode::Multi);
        assert_eq!(fits(&ten, Some(4)), Mode::Fair);
        assert_eq!(fits(&ten.fetch_buffer_mib(100), Some(64)), Mode::Multi);
        // Whoever has one handle does not ask.
        let never = || -> MachineLimits { panic!("asked the machine") };
        for mode in [RequestedMode::Fair, RequestedMode::Single, RequestedMode::Auto] {
            resolve_within(&topics(10, mode), never);
        }
    }

    #[test]
    fn brokers_that_are_named_count_in_what_a_handle_needs() {
        let one = topics(2, RequestedMode::Multi);
        let three = one.clone().bootstrap_servers("a:1,b:1, c:1");
        let [one, three] =
            [one, three].map(|config| [demand(&config), demand(&config.group_strategy(GroupStrategy::Own))]);
        assert_eq!(one, [HANDLE_DEMAND, HANDLE_DEMAND]);
        let [three, own] = three;
        assert_eq!(own, HANDLE_DEMAND, "nothing is refused for brokers that may not be there");
        assert_eq!((three.descriptors, three.connections), (22, 4));
    }

    #[test]
    fn a_static_member_is_one_member() {
        let config = |mode| topics(3, mode).property("group.instance.id", "me");
        let error = plan(&config(RequestedMode::Multi)).expect_err("three members of one name").to_string();
        assert!(error.contains("all 3 handles of `multi` one name"), "{error}");
        assert!(error.contains("set group_instance_id to \"me\" instead"), "{error}");
        assert!(plan(&config(RequestedMode::Multi).group_strategy(GroupStrategy::Own)).is_ok());
        assert!(plan(&config(RequestedMode::Fair)).is_ok());
    }

    /// A misspelt name says nothing of what its value is.
    #[test]
    fn no_error_of_a_start_shows_a_value() {
        for (name, value) in [("sasl.pasword", "hunter2"), ("ssl.key.pem", "hunter2")] {
            let error = start(topics(2, RequestedMode::Fair).property(name, value)).expect_err("refused");
            assert!(error.to_string().contains(name), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
