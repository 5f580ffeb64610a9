//! The stage of real runs: a broker and a producer.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Duration;

use fairpoll_judge::event::{Body, Origin};
use fairpoll_judge::manifest::BrokerFacts;
use fairpoll_judge::protocol::Poison;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::BrokerChoice;
use super::spec::Part;
use super::stage::{Access, Stage, StageError, Target};
use crate::broker::{self, Broker, BrokerError, BrokerFault, ClusterNeeds, Containers, FitError, TopicSpec};
use crate::event_log::{EventSink, monotonic_ns};
use crate::exit_code::ExitCode;
use crate::load::{self, Batches, LiveLoad, LoadError, Producer, TopicLoad, Totals};
use crate::scenario::{Fault, FaultKind, Scenario};

const METADATA_WITHIN: Duration = Duration::from_secs(10);

/// Fresh topics on a broker. The embedded broker is fresh as well: what one mode leaves behind
/// (sessions, memory, a backlog in its heap) must not meet the next. Containers take seconds to
/// start and serve all modes.
pub(crate) struct BrokerStage {
    // In the order they must go: live production before its producer, that before the broker.
    live: Option<LiveLoad>,
    producer: Producer,
    loads: Vec<TopicLoad>,
    ports: BTreeSet<u16>,
    /// Members of the group come and go without a word.
    membership_faults: bool,
    /// The groups that commit.
    groups: Vec<String>,
    broker: Broker,
}

impl BrokerStage {
    /// Starts or joins the broker, refuses what it cannot hold, creates the topics.
    pub(crate) fn open(
        choice: &BrokerChoice,
        containers: &mut Containers,
        properties: &BTreeMap<String, String>,
        part: &Part<'_>,
        sink: &EventSink,
    ) -> Result<(Self, BrokerFacts), StageError> {
        let loads = topic_loads(part.scenario, &part.prefix);
        let failing: BTreeSet<&str> = part
            .scenario
            .faults
            .iter()
            .filter(|fault| fault.kind == FaultKind::TopicFetchErrors)
            .filter_map(|fault| fault.topic.as_deref())
            .collect();
        let mut broker = match choice {
            BrokerChoice::Embedded => {
                // A topic that shall fail is led by a node of its own, behind the scenario's.
                let alone = u32::try_from(failing.len()).unwrap_or(u32::MAX);
                Broker::start_embedded(part.scenario.broker.nodes.saturating_add(alone))?
            }
            BrokerChoice::Container { .. } => {
                let needs = ClusterNeeds {
                    nodes: part.scenario.broker.nodes,
                    acls: part.has_fault(&[FaultKind::TopicForbidden, FaultKind::TopicFetchErrors]),
                    relays: part.has_fault(&[FaultKind::SlowBroker]),
                };
                Broker::Container(containers.lend(needs, properties)?)
            }
            BrokerChoice::External { bootstrap_servers } => {
                Broker::connect_external(bootstrap_servers, properties)?
            }
        };
        let deadline = Duration::from_secs_f64(part.scenario.stop.deadline_s);
        broker
            .fits(&loads, deadline)
            .map_err(|error| StageError { what: error.to_string(), exit: ExitCode::Usage })?;
        let spec = |load: &TopicLoad| TopicSpec {
            name: load.kafka_name.clone(),
            partitions: load.open,
            own_leader: failing.contains(load.name.as_str()),
        };
        let groups: BTreeSet<String> = loads.iter().map(|load| part.group_of(&load.kafka_name)).collect();
        let groups: Vec<String> = groups.into_iter().collect();
        broker.own_groups(groups.clone())?;
        let now = loads.iter().filter(|load| load.open > 0);
        broker.create_topics(&now.map(spec).collect::<Vec<_>>())?;
        let batches = match choice {
            BrokerChoice::Embedded => Batches::Large,
            BrokerChoice::Container { .. } | BrokerChoice::External { .. } => Batches::Usual,
        };
        let compression = part.scenario.producer.compression;
        let producer =
            Producer::connect(broker.endpoint(), loads.clone(), batches, compression, sink.clone())?;
        let ports = broker_ports(&broker)?;
        let facts = broker.facts();
        let membership_faults = part.scenario.has_membership_faults();
        Ok((Self { live: None, producer, loads, ports, membership_faults, groups, broker }, facts))
    }

    /// A scenario's fault in the broker's names; `None` where it is not the broker's.
    fn broker_fault(&self, fault: &Fault) -> Result<Option<BrokerFault>, StageError> {
        let lacks = |key: &str| StageError {
            what: format!(
                "the fault {} lacks its {key}, or names one that does not exist",
                fault.kind.name()
            ),
            exit: ExitCode::Usage,
        };
        let load = || {
            let name = fault.topic.as_deref().ok_or_else(|| lacks("topic"))?;
            self.loads.iter().find(|load| load.name == name).ok_or_else(|| lacks("topic"))
        };
        let topic = || load().map(|load| load.kafka_name.clone());
        let node = || fault.node.ok_or_else(|| lacks("node"));
        Ok(Some(match fault.kind {
            FaultKind::TopicFetchErrors => BrokerFault::FetchErrors { topic: topic()? },
            FaultKind::CommitErrors => BrokerFault::CommitErrors,
            FaultKind::BrokerDown => BrokerFault::Down { node: node()? },
            FaultKind::SlowBroker => BrokerFault::Slow {
                node: fault.node,
                latency_ms: fault.latency_ms.ok_or_else(|| lacks("latency_ms"))?,
            },
            FaultKind::LeaderMoved => BrokerFault::LeaderMoved { topic: topic()?, node: node()? },
            FaultKind::CoordinatorMoved => {
                BrokerFault::CoordinatorMoved { groups: self.groups.clone(), node: node()? }
            }
            FaultKind::TopicDeleted => BrokerFault::TopicDeleted { topic: topic()? },
            FaultKind::TopicForbidden => BrokerFault::TopicForbidden { topic: topic()? },
            FaultKind::RetentionOvertakes => {
                let load = load()?;
                let totals = self.producer.produced_totals();
                let half = |partition| {
                    let end = totals.get(&(load.name.clone(), partition)).copied().unwrap_or(0);
                    (load.kafka_name.clone(), partition, end / 2)
                };
                BrokerFault::Retention { before: (0..load.open).map(half).collect() }
            }
            FaultKind::TopicCreated => {
                BrokerFault::TopicCreated { topic: topic()?, partitions: load()?.partitions }
            }
            FaultKind::TopicWidened => BrokerFault::TopicWidened {
                topic: topic()?,
                partitions: fault.partitions.ok_or_else(|| lacks("partitions"))?,
            },
            FaultKind::PoisonRecord
            | FaultKind::ConsumerKilled
            | FaultKind::ConsumerFrozen
            | FaultKind::InstanceJoins
            | FaultKind::InstanceLeaves
            | FaultKind::DescriptorsLimited => return Ok(None),
        }))
    }
}

impl Stage for BrokerStage {
    fn access(&self) -> Access {
        let endpoint = self.broker.endpoint();
        let mut imposed = endpoint.imposed.clone();
        if self.membership_faults {
            let timeouts = session_timeouts(&self.broker);
            imposed.extend(timeouts.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        Access {
            bootstrap_servers: endpoint.bootstrap_servers.clone(),
            imposed,
            properties: endpoint.properties.clone(),
        }
    }

    fn broker_ports(&self) -> BTreeSet<u16> {
        self.ports.clone()
    }

    fn fill(&mut self, origin: Origin) -> Result<Vec<Target>, StageError> {
        self.producer.fill(origin)?;
        load::verify_backlog(self.broker.endpoint(), &self.loads, &self.producer.produced_totals())?;
        Ok(targets(self.producer.produced_totals()))
    }

    fn start_live(&mut self) -> Result<(), StageError> {
        self.live = Some(self.producer.start_live()?);
        Ok(())
    }

    fn stop_live(&mut self) -> Result<Vec<Target>, StageError> {
        match self.live.take() {
            Some(live) => Ok(targets(live.stop()?)),
            None => Ok(Vec::new()),
        }
    }

    fn fault(&mut self, fault: &Fault, begins: bool) -> Result<(), StageError> {
        if let (FaultKind::PoisonRecord, Some(topic), Some(live), true) =
            (fault.kind, &fault.topic, &self.live, begins)
        {
            let until = fault.for_ms.map(|lasts_ms| monotonic_ns().saturating_add(lasts_ms * 1_000_000));
            live.poison(topic, Poison { until_ns: until.and_then(NonZeroU64::new) });
        }
        let Some(order) = self.broker_fault(fault)? else { return Ok(()) };
        let topic = self.loads.iter().position(|load| fault.concerns(&load.name));
        let goes = matches!(order, BrokerFault::TopicDeleted { .. }) && begins;
        if let (true, Some(topic), Some(live)) = (goes, topic, &self.live) {
            live.close(&self.loads[topic].name);
        }
        self.broker.fault(&order, begins)?;
        match (order, topic) {
            (BrokerFault::TopicDeleted { .. }, Some(topic)) => self.loads[topic].open = 0,
            (
                BrokerFault::TopicCreated { partitions, .. } | BrokerFault::TopicWidened { partitions, .. },
                Some(topic),
            ) if begins => {
                let load = &mut self.loads[topic];
                let before = std::mem::replace(&mut load.open, partitions);
                if let Some(live) = &self.live {
                    live.open(&load.name, before..partitions);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), StageError> {
        if self.broker.is_alive() {
            return Ok(());
        }
        Err(StageError { what: "the broker ended in mid-run".to_owned(), exit: ExitCode::Infrastructure })
    }

    fn offsets(&mut self, group_of: &dyn Fn(&str) -> String) -> Result<Vec<Body>, StageError> {
        let offsets = load::broker_offsets(self.broker.endpoint(), group_of, &self.loads)?;
        let event = |facts: load::BrokerOffsets| Body::BrokerOffsets {
            topic: facts.topic,
            partition: facts.partition,
            log_start: facts.log_start,
            log_end: facts.log_end,
            committed: facts.committed,
            committed_known: facts.committed_known,
        };
        Ok(offsets.into_iter().map(event).collect())
    }
}

/// How soon a broker gives up a member that says nothing any more, where the classic protocol lets
/// the member choose. The default of 45 s would be most of a run. Kafka takes 6 s at least; the
/// embedded broker lets every rebalance last for this time less a second.
fn session_timeouts(broker: &Broker) -> [(&'static str, &'static str); 2] {
    match broker {
        Broker::Embedded(_) => [("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "200")],
        _ => [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")],
    }
}

/// Whether the embedded broker can hold a scenario.
pub(crate) fn fits_embedded(scenario: &Scenario) -> Result<(), FitError> {
    let deadline = Duration::from_secs_f64(scenario.stop.deadline_s);
    broker::fits_embedded(&topic_loads(scenario, ""), deadline)
}

fn topic_loads(scenario: &Scenario, prefix: &str) -> Vec<TopicLoad> {
    let earlier = scenario.earlier_life.map_or(0, |life| life.records);
    let plans = scenario.topics_expanded().into_iter().enumerate();
    plans
        .map(|(index, plan)| TopicLoad {
            kafka_name: format!("{prefix}{}", plan.name),
            // The scenario's check refuses more topics than ids have room for.
            index: u16::try_from(index).unwrap_or(u16::MAX),
            partitions: scenario.partitions_at_end(&plan),
            open: scenario.partitions_at_start(&plan),
            value_bytes: plan.value_bytes,
            random_bytes: scenario.producer.random_bytes(plan.value_bytes),
            rate_per_s: plan.rate_per_s,
            backlog: plan.backlog,
            earlier,
            name: plan.name,
        })
        .collect()
}

fn targets(totals: Totals) -> Vec<Target> {
    let target = |((topic, partition), offset)| Target { topic, partition, offset };
    totals.into_iter().map(target).collect()
}

// Bootstrap servers may be a name in front of others: the metadata tells who there is.
fn broker_ports(broker: &Broker) -> Result<BTreeSet<u16>, StageError> {
    let endpoint = broker.endpoint();
    let named = endpoint.bootstrap_servers.split(',');
    let mut ports: BTreeSet<u16> =
        named.filter_map(|server| server.rsplit_once(':')?.1.trim().parse().ok()).collect();
    let mut config = ClientConfig::new();
    config.extend(endpoint.properties.clone());
    config.set("bootstrap.servers", &endpoint.bootstrap_servers);
    let unknown = |error: rdkafka::error::KafkaError| StageError {
        what: format!("cannot ask the broker for its nodes: {error}"),
        exit: ExitCode::Infrastructure,
    };
    let client: BaseConsumer = config.create().map_err(unknown)?;
    let metadata = client.fetch_metadata(None, METADATA_WITHIN).map_err(unknown)?;
    ports.extend(metadata.brokers().iter().filter_map(|node| u16::try_from(node.port()).ok()));
    Ok(ports)
}

impl From<BrokerError> for StageError {
    fn from(error: BrokerError) -> Self {
        Self { exit: error.exit_code(), what: error.to_string() }
    }
}

impl From<LoadError> for StageError {
    fn from(error: LoadError) -> Self {
        Self { what: error.to_string(), exit: ExitCode::Infrastructure }
    }
}
