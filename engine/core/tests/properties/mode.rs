//! Mode resolution against the sentences of the design, and retries.

use std::time::Duration;

use fairpoll_core::mode::{HandleDemand, MachineLimits, resolve};
use fairpoll_core::{Backoff, Mode, ModeReason, ModeRequest, RequestedMode, Resolution};
use proptest::prelude::*;

use super::{Verdict, catches, holds};

type Resolve = fn(ModeRequest, u32, &HandleDemand, &MachineLimits) -> Resolution;

fn inputs() -> impl Strategy<Value = (ModeRequest, u32, HandleDemand, MachineLimits)> {
    use RequestedMode::{Auto, Fair, Multi, Single};
    let mode = prop::option::of(prop::sample::select(vec![Single, Multi, Fair, Auto]));
    let request = (mode, prop::option::of(any::<bool>()))
        .prop_map(|(mode, multi_consumer_mode)| ModeRequest { mode, multi_consumer_mode });
    let demand = (0_u64..20, 0_u64..20, 0_u64..20).prop_map(|(descriptors, memory_bytes, connections)| {
        HandleDemand { descriptors, memory_bytes, connections }
    });
    let limit = || prop::option::weighted(0.4, 0_u64..400);
    let limits = (limit(), limit(), limit()).prop_map(|(descriptors, memory_bytes, connections)| {
        MachineLimits { descriptors, memory_bytes, connections }
    });
    (request, 1_u32..30, demand, limits)
}

fn follows_the_rules(
    (request, topics, demand, limits): &(ModeRequest, u32, HandleDemand, MachineLimits),
    resolve: Resolve,
) -> Verdict {
    let Resolution { actual, reason, .. } = resolve(*request, *topics, demand, limits);
    let fits = |each: u64, limit: Option<u64>| limit.is_none_or(|limit| each * u64::from(*topics) <= limit);
    let multi_fits = fits(demand.descriptors, limits.descriptors)
        && fits(demand.memory_bytes, limits.memory_bytes)
        && fits(demand.connections, limits.connections);
    let one_topic = *topics == 1;
    let wants_multi = match request.mode {
        Some(mode) => mode == RequestedMode::Multi,
        None => request.multi_consumer_mode == Some(true) && !one_topic,
    };
    let wants_fair =
        request.mode == Some(RequestedMode::Fair) || request.mode == Some(RequestedMode::Auto) && !one_topic;
    let due = match (wants_multi, wants_fair) {
        (true, _) if multi_fits => Mode::Multi,
        (true, _) | (_, true) => Mode::Fair,
        _ => Mode::Single,
    };
    if actual != due {
        return Err(format!("{actual} runs, {due} is due"));
    }
    let says_so = matches!(reason, ModeReason::DoesNotFit { needed, available, .. } if needed > available);
    if says_so != (wants_multi && !multi_fits) {
        return Err(format!("the reason `{reason}` does not tell why {actual} runs"));
    }
    Ok(())
}

/// forall requests, topic counts, machines: an explicit mode wins; without it the switch decides,
/// one topic is `single`, absent is `single`; `multi` that does not fit is `fair` and says so.
// shows: E2, E15
#[test]
fn the_mode_follows_the_rules() {
    holds(&inputs(), |input| {
        follows_the_rules(input, |request, topics, demand, limits| {
            resolve(request, topics, demand, || *limits)
        })
    });
}

#[test]
fn the_mode_follows_the_rules_catches_wrong_rules() {
    catches("the switch wins over an explicit mode", &inputs(), |input| {
        follows_the_rules(input, |request, topics, demand, limits| {
            let mode = request.mode.filter(|_| request.multi_consumer_mode.is_none());
            resolve(ModeRequest { mode, ..request }, topics, demand, || *limits)
        })
    });
    catches("one topic stays multi", &inputs(), |input| {
        follows_the_rules(input, |request, topics, demand, limits| {
            let topics = if request.mode.is_none() { topics.max(2) } else { topics };
            resolve(request, topics, demand, || *limits)
        })
    });
    catches("limits are ignored", &inputs(), |input| {
        follows_the_rules(input, |request, topics, demand, _| {
            resolve(request, topics, demand, MachineLimits::default)
        })
    });
}

fn stays_in_bounds(initial: Duration, cap: Duration, delays: &[Duration]) -> Verdict {
    for (failure, delay) in delays.iter().enumerate() {
        let full = (0..failure).fold(initial, |full, _| full.saturating_mul(2).min(cap)).min(cap);
        if *delay > full || *delay < full / 2 {
            return Err(format!("delay {failure} is {delay:?}, outside of {:?} to {full:?}", full / 2));
        }
    }
    Ok(())
}

fn retries() -> impl Strategy<Value = (Duration, Duration, Vec<u64>)> {
    let millis = |range| Strategy::prop_map(range, Duration::from_millis);
    (millis(1_u64..500), millis(500_u64..60_000), prop::collection::vec(any::<u64>(), 1..50))
}

/// forall random numbers: the n-th delay lies in [d/2, d] with d = min(cap, initial · 2ⁿ).
#[test]
fn retry_delays_grow_within_their_bounds() {
    holds(&retries(), |(initial, cap, randoms)| {
        let mut backoff = Backoff::new(*initial, *cap);
        let delays: Vec<_> = randoms.iter().map(|random| backoff.next_delay(*random)).collect();
        stays_in_bounds(*initial, *cap, &delays)
    });
}

#[test]
fn retry_delays_grow_within_their_bounds_catches_a_missing_cap() {
    catches("no cap", &retries(), |(initial, cap, randoms)| {
        let mut backoff = Backoff::new(*initial, Duration::MAX);
        let delays: Vec<_> = randoms.iter().map(|random| backoff.next_delay(*random)).collect();
        stays_in_bounds(*initial, *cap, &delays)
    });
}
