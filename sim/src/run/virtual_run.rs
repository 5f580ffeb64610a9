//! A run in virtual time: simulated, and told as a run on a broker is told.

use std::collections::BTreeMap;

use fairpoll_judge::event::{Body, Event};
use fairpoll_judge::manifest::BrokerFacts;
use fairpoll_judge::protocol::WorkerLine;

use super::life::Trouble;
use super::scenario_run::Act;
use super::spec::{Instance, Part};
use super::stage::Access;
use super::{ModelChoice, RunRequest, manifest};
use crate::broker;
use crate::exit_code::ExitCode;
use crate::scenario::Loaded;
use crate::virtual_time::{self, End, Facts, Setup, Unmodelled};

/// Nobody listens there.
const NOWHERE: &str = "virtual:9092";

/// Simulates a run into its log.
pub(crate) fn perform(
    act: Act<'_>,
    model: ModelChoice,
    properties: &BTreeMap<String, String>,
) -> Result<(), Trouble> {
    let Act { part, seed, sink, progress, tally, broker, .. } = act;
    progress.phase("simulating");
    for topic in &part.header.topics {
        tally.add_topic(&topic.name, topic.partitions, topic.deliverable);
    }
    // Each run draws anew.
    let seed = seed.wrapping_add(u64::from(part.run - 1));
    let (events, end) = tell(part, seed, model, properties).map_err(|unmodelled| Trouble::Failed {
        what: format!("{}: {unmodelled}", part.describe()),
        exit: ExitCode::Usage,
    })?;
    *broker = manifest::masked(BrokerFacts {
        kind: super::VIRTUAL.to_owned(),
        version: Some(format!("a model of {}", model.name())),
        image: None,
        nodes: part.scenario.broker.nodes,
        imposed_properties: imposed(model),
        properties: properties.clone(),
    });
    for Event { t_ns, body, .. } in events {
        if let Body::BrokerOffsets { topic, partition, log_end, .. } = &body {
            tally.expect(topic, *partition, *log_end);
        }
        match &body {
            Body::Worker { life, line: WorkerLine::Assigned { partitions, .. } } => {
                tally.assigned(*life, partitions);
            }
            Body::Worker { line: WorkerLine::Poll { ranges, .. }, .. } => {
                ranges.iter().for_each(|range| tally.delivered(range));
            }
            _ => {}
        }
        sink.emit_at(t_ns, body);
    }
    if end.finished {
        return Ok(());
    }
    Err(Trouble::Deadline(format!(
        "{}: the deadline of {} s (stop.deadline_s) passed in virtual time; {}",
        part.describe(),
        part.scenario.stop.deadline_s,
        tally.missing()
    )))
}

/// Whether everything of a request can be simulated.
///
/// # Errors
/// The scenario, and what there is no model of or the engine would not take.
pub(crate) fn check(request: &RunRequest, model: ModelChoice) -> Result<(), (String, Unmodelled)> {
    for loaded in &request.scenarios {
        let scenario = &loaded.scenario;
        let header = loaded.header(super::VIRTUAL, request.runs);
        for mode in &scenario.modes {
            let part = Part { scenario, header: &header, mode, run: 1, sampled: true, prefix: String::new() };
            setup(&part, scenario.seed, model, &request.properties)
                .map_err(|unmodelled| (scenario.name.clone(), unmodelled))?;
        }
    }
    Ok(())
}

/// What a run would have written into its log, but for how it ended.
fn tell(
    part: &Part<'_>,
    seed: u64,
    model: ModelChoice,
    properties: &BTreeMap<String, String>,
) -> Result<(Vec<Event>, End), Unmodelled> {
    let setup = setup(part, seed, model, properties)?;
    let facts = Facts { header: part.header, mode: &part.mode.name, run: part.run };
    Ok(virtual_time::events(&setup, &model.model(), facts))
}

fn setup(
    part: &Part<'_>,
    seed: u64,
    model: ModelChoice,
    properties: &BTreeMap<String, String>,
) -> Result<Setup, Unmodelled> {
    let access = Access {
        bootstrap_servers: NOWHERE.to_owned(),
        imposed: imposed(model),
        properties: properties.clone(),
    };
    let spec = part.spec(access, Instance(1));
    Setup::of(part.scenario, part.mode, &spec, seed)
}

/// The log of one run of each mode, line by line: the same for the same scenario, seed and model, on any machine.
///
/// # Errors
/// If there is no model of what the scenario asks for.
pub(crate) fn trace(loaded: &Loaded, seed: u64, model: ModelChoice) -> Result<Vec<u8>, Unmodelled> {
    let scenario = &loaded.scenario;
    let header = loaded.header(super::VIRTUAL, 1);
    let mut lines = Vec::new();
    for mode in &scenario.modes {
        let part = Part { scenario, header: &header, mode, run: 1, sampled: true, prefix: String::new() };
        let (events, _) = tell(&part, seed, model, &BTreeMap::new())?;
        for event in events {
            // Into memory, and of values that JSON has.
            serde_json::to_writer(&mut lines, &event).expect("an event is written");
            lines.push(b'\n');
        }
    }
    Ok(lines)
}

/// What the harness sets for every mode alike on the broker that is modelled.
fn imposed(model: ModelChoice) -> BTreeMap<String, String> {
    match model {
        ModelChoice::Kafka => BTreeMap::new(),
        ModelChoice::Embedded => broker::embedded_imposes(),
    }
}
