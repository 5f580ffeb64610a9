//! A mode is a topology: which handles there are, which lanes, and which topics go where.
//!
//! The only place that decides by mode. Everything after it is the same code in every mode.

use std::fmt;
use std::num::NonZeroU32;

use fairpoll_core::{LaneConfig, Mode, ModeReason, RequestedMode, Resolution, topology};

use crate::config::{Config, GroupStrategy, TopicConfig};

/// Handles and lanes of a consumer.
#[derive(Debug, Clone)]
pub(crate) struct Topology {
    pub(crate) resolution: Resolution,
    pub(crate) handles: Vec<HandlePlan>,
    pub(crate) lanes: Vec<LanePlan>,
    /// What the lanes are entitled to, in their order.
    pub(crate) shares: Vec<LaneConfig>,
}

/// One librdkafka client.
#[derive(Debug, Clone)]
pub(crate) struct HandlePlan {
    pub(crate) client_id: String,
    pub(crate) group_id: String,
    /// Its name as a static member.
    pub(crate) instance_id: Option<String>,
    pub(crate) protocol: GroupProtocol,
    /// Indexes into the configuration's topics.
    pub(crate) topics: Vec<usize>,
}

/// One FIFO of fetched records with a quota.
#[derive(Debug, Clone)]
pub(crate) struct LanePlan {
    /// Index into [`Topology::handles`].
    pub(crate) handle: usize,
    /// Indexes into the configuration's topics.
    pub(crate) topics: Vec<usize>,
}

/// What a handle speaks with its group's coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupProtocol {
    /// The classic protocol with the configured assignor.
    Classic,
    /// The classic protocol with the cooperative-sticky assignor, unless another one is configured.
    CooperativeSticky,
    /// KIP-848.
    Consumer,
}

impl fmt::Display for GroupProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "classic",
            Self::CooperativeSticky => "cooperative-sticky",
            Self::Consumer => "consumer",
        })
    }
}

impl Topology {
    pub(crate) fn new(config: &Config, resolution: Resolution) -> Self {
        let count = u32::try_from(config.topics.len()).expect("validate refuses more topics than Kafka has");
        let plan = topology::Topology::of(resolution.actual, count);
        let alone = plan.handle_count() > 1;
        let mut handles: Vec<HandlePlan> = Vec::new();
        let mut lanes: Vec<LanePlan> = Vec::new();
        for (topic, number) in (0..count).enumerate() {
            let lane = plan.lane_of_topic(number);
            let handle = plan.handle_of_lane(lane).0 as usize;
            // Topics come in order, so a handle or lane that is not there yet is the next one.
            if handle == handles.len() {
                handles.push(if alone {
                    handle_of_topic(config, topic)
                } else {
                    one_handle(config, resolution)
                });
            }
            if lane.position() == lanes.len() {
                lanes.push(LanePlan { handle, topics: Vec::new() });
            }
            handles[handle].topics.push(topic);
            lanes[lane.position()].topics.push(topic);
        }
        let quota = config.base_quota(plan.lane_count());
        let of_topic = |topic: &TopicConfig| LaneConfig {
            weight: NonZeroU32::new(topic.weight).expect("validate refuses a weight of 0"),
            quota,
            priority: topic.priority,
        };
        let shares = plan.lane_configs(quota, config.topics.iter().map(of_topic));
        Self { resolution, handles, lanes, shares }
    }

    /// Queues with a quota of their own.
    pub(crate) fn lane_count(&self) -> u32 {
        u32::try_from(self.lanes.len()).expect("there are no more lanes than topics")
    }

    /// The lane of the topic at this position of the configuration.
    pub(crate) fn lane_of(&self, topic: usize) -> usize {
        let lane = self.lanes.iter().position(|lane| lane.topics.contains(&topic));
        lane.expect("every topic has a lane")
    }

    /// Whether a poll waits for lanes whose records are on their way. With one lane there is nobody
    /// to be ahead of: `single` stays to the letter what one consumer does.
    pub(crate) fn waits_for_others(&self) -> bool {
        self.lanes.len() > 1
    }

    /// The same topics with one handle in the place of several, where these are in one group: its positions
    /// are those of all. Lanes stay what they are, and so does the protocol. Static members do not leave their
    /// group: what they owned would go to nobody until their sessions are over.
    pub(crate) fn cheaper(&self, config: &Config, reason: ModeReason) -> Option<Self> {
        let [first, others @ ..] = self.handles.as_slice() else { return None };
        let resolution = Resolution { actual: Mode::Fair, reason, ..self.resolution };
        let mut cheaper = Self::new(config, resolution);
        let [only] = cheaper.handles.as_mut_slice() else { return None };
        only.protocol = first.protocol;
        let gives_way =
            |handle: &HandlePlan| handle.group_id == only.group_id && handle.instance_id.is_none();
        let all = others.iter().chain([first]).all(gives_way);
        (all && !others.is_empty()).then_some(cheaper)
    }

    /// The same with every handle on the classic protocol, for brokers without KIP-848.
    pub(crate) fn without_kip848(mut self) -> Self {
        for handle in &mut self.handles {
            if handle.protocol == GroupProtocol::Consumer {
                handle.protocol = GroupProtocol::CooperativeSticky;
            }
        }
        self
    }
}

/// The one client of all topics.
fn one_handle(config: &Config, resolution: Resolution) -> HandlePlan {
    // Where it stands in for several, other instances of the program may have those: the members of a group
    // speak one protocol.
    let stands_in = resolution.requested == RequestedMode::Multi && resolution.actual == Mode::Fair;
    let default = if stands_in { GroupStrategy::Kip848 } else { GroupStrategy::Classic };
    let strategy = config.group_strategy.unwrap_or(default);
    let group_id = match (strategy, config.topics.as_slice()) {
        (GroupStrategy::Own, [only]) => own_group_id(&config.group_id, &only.name),
        // `start` refuses own groups of several topics here: one handle cannot be in several.
        _ => config.group_id.clone(),
    };
    HandlePlan {
        client_id: "fairpoll".to_owned(),
        group_id,
        instance_id: config.group_instance_id.clone(),
        protocol: protocol(strategy),
        topics: Vec::new(),
    }
}

/// The client of one topic among several clients.
fn handle_of_topic(config: &Config, topic: usize) -> HandlePlan {
    let name = &config.topics[topic].name;
    let strategy = config.group_strategy.unwrap_or(GroupStrategy::Kip848);
    let group_id = match strategy {
        GroupStrategy::Own => own_group_id(&config.group_id, name),
        GroupStrategy::Kip848 | GroupStrategy::Cooperative | GroupStrategy::Classic => {
            config.group_id.clone()
        }
    };
    HandlePlan {
        client_id: format!("fairpoll-{name}"),
        group_id,
        // Of two members of one name the group puts the first out.
        instance_id: config.group_instance_id.as_ref().map(|id| format!("{id}.{name}")),
        protocol: protocol(strategy),
        topics: Vec::new(),
    }
}

fn protocol(strategy: GroupStrategy) -> GroupProtocol {
    match strategy {
        GroupStrategy::Kip848 => GroupProtocol::Consumer,
        // Groups of one topic have no members but ours, so the better assignor has nobody to suit.
        GroupStrategy::Cooperative | GroupStrategy::Own => GroupProtocol::CooperativeSticky,
        GroupStrategy::Classic => GroupProtocol::Classic,
    }
}

/// The group of one topic under [`GroupStrategy::Own`]: `{group_id}.{topic}`.
#[must_use]
pub fn own_group_id(group_id: &str, topic: &str) -> String {
    format!("{group_id}.{topic}")
}

#[cfg(test)]
mod tests {
    use fairpoll_core::ModeRequest;
    use fairpoll_core::mode::{self, HandleDemand, MachineLimits};

    use super::*;

    fn topology(config: &Config) -> Topology {
        let request = ModeRequest { mode: config.mode, multi_consumer_mode: None };
        let count = u32::try_from(config.topics.len()).expect("few");
        let resolution = mode::resolve(request, count, &HandleDemand::default(), MachineLimits::default);
        Topology::new(config, resolution)
    }

    fn config(mode: RequestedMode) -> Config {
        Config::new("localhost:9092", "group", ["a", "b", "c"]).mode(mode)
    }

    /// Trap 8: with the classic assignors every join of a handle takes all others' partitions.
    // shows: E18
    #[test]
    fn several_handles_share_a_group_under_kip_848_and_one_handle_keeps_the_classic_protocol() {
        let of = |mode| {
            let topology = topology(&config(mode));
            topology.handles.iter().map(|handle| handle.protocol).collect::<Vec<_>>()
        };
        assert_eq!(of(RequestedMode::Multi), [GroupProtocol::Consumer; 3]);
        assert_eq!(of(RequestedMode::Fair), [GroupProtocol::Classic]);
        assert_eq!(of(RequestedMode::Single), [GroupProtocol::Classic]);
    }

    #[test]
    fn every_topic_has_a_lane_on_its_handle() {
        let multi = topology(&config(RequestedMode::Multi));
        for (index, lane) in multi.lanes.iter().enumerate() {
            assert_eq!((lane.handle, lane.topics.as_slice()), (index, &[index][..]));
            assert_eq!(multi.handles[index].topics, [index]);
        }
        let single = topology(&config(RequestedMode::Single));
        assert_eq!(
            (single.handles[0].topics.as_slice(), single.lanes[0].topics.as_slice()),
            (&[0, 1, 2][..], &[0, 1, 2][..])
        );
    }

    #[test]
    fn no_two_handles_have_one_name_as_static_members() {
        let ids = |mode| {
            let topology = topology(&config(mode).group_instance_id("host-7"));
            topology.handles.into_iter().map(|handle| handle.instance_id).collect::<Vec<_>>()
        };
        let some = |id: &str| Some(id.to_owned());
        assert_eq!(ids(RequestedMode::Multi), [some("host-7.a"), some("host-7.b"), some("host-7.c")]);
        assert_eq!(ids(RequestedMode::Fair), [some("host-7")]);
        assert_eq!(topology(&config(RequestedMode::Fair)).handles[0].instance_id, None);
    }

    // shows: E15
    #[test]
    fn only_handles_of_one_group_give_way_to_one() {
        use RequestedMode::{Fair, Multi, Single};
        let cheaper = |config: &Config| topology(config).cheaper(config, ModeReason::Explicit);
        let of_one_group = config(Multi);
        let fair = cheaper(&of_one_group).expect("one group");
        let [only] = fair.handles.as_slice() else { panic!("{fair:?}") };
        assert_eq!((only.group_id.as_str(), only.topics.as_slice()), ("group", &[0, 1, 2][..]));
        // Whoever else is in the group goes on to speak it.
        assert_eq!(only.protocol, GroupProtocol::Consumer);
        let lanes: Vec<_> = fair.lanes.iter().map(|lane| (lane.handle, lane.topics.as_slice())).collect();
        assert_eq!(lanes, [(0, &[0][..]), (0, &[1][..]), (0, &[2][..])]);

        assert!(cheaper(&config(Multi).group_strategy(GroupStrategy::Own)).is_none());
        assert!(cheaper(&config(Multi).group_instance_id("host-7")).is_none());
        assert!(cheaper(&config(Fair)).is_none() && cheaper(&config(Single)).is_none());
        let fallen_back = topology(&of_one_group).without_kip848();
        let cheaper = fallen_back.cheaper(&of_one_group, ModeReason::Explicit).expect("one group");
        assert_eq!(cheaper.handles[0].protocol, GroupProtocol::CooperativeSticky);
    }

    #[test]
    fn own_groups_are_named_after_their_topics() {
        let config = config(RequestedMode::Multi).group_strategy(GroupStrategy::Own);
        let groups: Vec<String> =
            topology(&config).handles.into_iter().map(|handle| handle.group_id).collect();
        assert_eq!(groups, ["group.a", "group.b", "group.c"]);
    }
}
