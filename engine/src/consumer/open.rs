//! From a topology to handles that join their groups, and lanes.

use std::iter::from_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use tracing::{Dispatch, Span, dispatcher};

use crate::config::Config;
use crate::error::StartError;
use crate::ffi::{Client, Wake};
use crate::topology::{HandlePlan, Topology};

use super::Handle;
use super::build::properties;
use super::lane::Lane;

/// Creates handles and lanes, and subscribes. On failure what was created leaves its group again, and is dropped.
pub(super) fn open(
    config: &Config,
    topology: &Topology,
    wake: &Arc<Wake>,
    gone: &Arc<Wake>,
) -> Result<(Vec<Handle>, Vec<Lane>), StartError> {
    let (handles, outcome) = make_handles(config, topology, wake, gone);
    // Only now, with every handle there: joins that follow each other closely are one rebalance.
    let mut together = handles.iter().filter(|handle| !alone(topology, &handle.plan));
    if let Err(error) = outcome.and_then(|()| together.try_for_each(|handle| subscribe(config, handle))) {
        for client in handles.iter().filter_map(|handle| handle.client.as_ref()) {
            // One that cannot leave was not in the group.
            let _ = client.begin_close(wake);
        }
        return Err(error);
    }
    let lanes = topology
        .lanes
        .iter()
        .map(|plan| {
            let client = handles[plan.handle].client.as_ref().expect("created above");
            Lane::new(client, wake, plan.topics.clone())
        })
        .collect();
    Ok((handles, lanes))
}

/// How many handles are made at a time. To make one is mostly to wait for threads that librdkafka starts, which take
/// turns with those of the handles that are there already. Fifty one after the other hold up the caller for 75 ms on
/// two cores, eight at a time for 41, sixteen for 46 (medians of 24).
const MADE_AT_A_TIME: usize = 8;

/// Makes the handles, in the topology's order; those that are alone in their group join it while others are still being
/// made. On failure no more are made: those that were, and what is wrong with the first that was not.
fn make_handles(
    config: &Config,
    topology: &Topology,
    wake: &Arc<Wake>,
    gone: &Arc<Wake>,
) -> (Vec<Handle>, Result<(), StartError>) {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let make_next = || {
        if failed.load(Ordering::Relaxed) {
            return None;
        }
        let index = next.fetch_add(1, Ordering::Relaxed);
        let plan = topology.handles.get(index)?;
        let handle = make_handle(config, topology, index, wake, gone);
        let joined = handle.and_then(|handle| match alone(topology, plan) {
            true => subscribe(config, &handle).map(|()| handle),
            false => Ok(handle),
        });
        failed.fetch_or(joined.is_err(), Ordering::Relaxed);
        Some((index, joined))
    };
    // What keeps one from being made mostly keeps them all, and librdkafka loses some KiB with each.
    let mut made = Vec::from_iter(make_next());
    let (dispatch, span) = (dispatcher::get_default(Dispatch::clone), Span::current());
    let make_rest =
        || dispatcher::with_default(&dispatch, || span.in_scope(|| from_fn(make_next).collect::<Vec<_>>()));
    thread::scope(|scope| {
        let helper =
            || thread::Builder::new().name("fairpoll-open".to_owned()).spawn_scoped(scope, make_rest);
        let helpers = topology.handles.len().saturating_sub(2).min(MADE_AT_A_TIME - 1);
        // Where there is no thread for it the others do the work.
        let helpers: Vec<_> = (0..helpers).map_while(|_| helper().ok()).collect();
        made.extend(from_fn(make_next));
        for helper in helpers {
            made.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    made.sort_by_key(|&(index, _)| index);
    let mut handles = Vec::with_capacity(made.len());
    let mut outcome = Ok(());
    for (_, made) in made {
        match made {
            Ok(handle) => handles.push(handle),
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    (handles, outcome)
}

fn make_handle(
    config: &Config,
    topology: &Topology,
    index: usize,
    wake: &Arc<Wake>,
    gone: &Arc<Wake>,
) -> Result<Handle, StartError> {
    let plan = &topology.handles[index];
    let properties = properties(config, topology, index).client_config();
    let client = Client::new(&plan.client_id, &properties, wake, gone).map_err(|error| {
        let names = plan.topics.iter().map(|&topic| config.topics[topic].name.as_str());
        StartError::Client { topics: names.collect::<Vec<_>>().join(", "), what: error.to_string() }
    })?;
    Ok(Handle {
        client: Some(client),
        plan: plan.clone(),
        joined: false,
        arrival: None,
        revocation: None,
        fatal: None,
    })
}

/// Whether no other handle of this consumer joins its group.
fn alone(topology: &Topology, plan: &HandlePlan) -> bool {
    topology.handles.iter().filter(|other| other.group_id == plan.group_id).count() == 1
}

fn subscribe(config: &Config, handle: &Handle) -> Result<(), StartError> {
    let Some(client) = &handle.client else { return Ok(()) };
    let topics = &handle.plan.topics;
    let names: Vec<&str> = topics.iter().map(|&topic| config.topics[topic].name.as_str()).collect();
    client
        .subscribe(names.iter().copied())
        .map_err(|what| StartError::Client { topics: names.join(", "), what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupStrategy;
    use crate::ModeRequest;
    use crate::consumer::build::plan;

    /// A consumer per topic, at a server that is not there.
    fn many() -> Config {
        let topics: Vec<String> = (0..40).map(|number| format!("topic-{number}")).collect();
        let config = Config::new("127.0.0.1:1", "group", topics).mode(ModeRequest::Multi);
        // Neither is it asked whether they fit this machine, beside all other tests.
        config.group_strategy(GroupStrategy::Own).degrade(false)
    }

    #[test]
    fn handles_that_are_made_side_by_side_stand_in_the_order_of_their_topics() {
        let (config, wake) = (many(), Arc::new(Wake::default()));
        let topology = plan(&config).expect("usable");
        let (handles, outcome) = make_handles(&config, &topology, &wake, &wake);
        outcome.expect("made");
        let names = |plan: &HandlePlan| plan.client_id.clone();
        assert_eq!(
            handles.iter().map(|handle| names(&handle.plan)).collect::<Vec<_>>(),
            topology.handles.iter().map(names).collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_keeps_handles_from_being_made_is_told_of_the_first() {
        let wake = Arc::new(Wake::default());
        // Said only when a handle is to be made. That it is said is also why the configuration tells whether rebalances
        // are incremental.
        let config = many().property("partition.assignment.strategy", "range,cooperative-sticky");
        let topology = plan(&config).expect("usable");
        let (handles, outcome) = make_handles(&config, &topology, &wake, &wake);
        assert!(handles.is_empty());
        let Err(StartError::Client { topics, what }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(topics, "topic-0");
        assert!(what.contains("must have the same protocol type"), "{what}");
    }
}
