//! A consumer's budget of memory.

use std::num::NonZeroU32;

use fairpoll_core::memory::{
    PIECE_BYTES_MIN, QUEUED_KBYTES_MAX, QUEUED_RECORDS_MAX, RECORD_BYTES_MIN, RECORD_OVERHEAD_BYTES,
};
use fairpoll_core::{BudgetTooSmall, FetchDemand, FetchLimits};
use proptest::prelude::*;

use super::{Verdict, catches, holds};

type Limits = fn(&FetchDemand, u64) -> Result<FetchLimits, BudgetTooSmall>;

fn count(range: std::ops::Range<u32>) -> impl Strategy<Value = NonZeroU32> {
    range.prop_map(|count| NonZeroU32::new(count).expect("ranges begin at 1"))
}

/// A consumer, a budget around what it needs at least, and another one that is larger by so much.
fn inputs() -> impl Strategy<Value = (FetchDemand, u64, u64)> {
    let piece = prop::sample::select(vec![1_000_u64, 131_072, 1_048_576]);
    let topology = (count(1..60), 0_usize..3).prop_map(|(topics, mode)| {
        let one = NonZeroU32::MIN;
        [(one, one, topics), (topics, topics, topics), (one, topics, topics)][mode]
    });
    let demand = (topology, count(1..20), count(1..20_000), piece).prop_map(
        |((handles, lanes, topics), partitions_per_topic, quota, piece_bytes_max)| FetchDemand {
            handles,
            lanes,
            topics,
            partitions_per_topic,
            quota,
            piece_bytes_max,
        },
    );
    // From half the minimum to forty times, finer where it is small.
    let thousandths = prop_oneof![500_u64..2_000, 1_000_u64..40_000];
    (demand, thousandths, 0_u64..100 << 20).prop_map(|(demand, thousandths, more)| {
        (demand, demand.minimum_bytes().saturating_mul(thousandths) / 1000, more)
    })
}

/// What a consumer may hold, counted anew and record by record: every queue is at its limits, a whole
/// piece of the smallest records came on top of each partition's, and a batch of the same kind is out.
fn held_bytes(demand: &FetchDemand, limits: &FetchLimits) -> u128 {
    let wide = |number: u64| u128::from(number);
    let partitions = u128::from(demand.topics.get()) * u128::from(demand.partitions_per_topic.get());
    let in_queue = u128::from(demand.lanes.get())
        * (wide(limits.queued_records) * wide(RECORD_OVERHEAD_BYTES) + wide(limits.queued_kbytes) * 1000);
    let records_in_a_piece = wide(limits.piece_bytes / RECORD_BYTES_MIN);
    let on_top = partitions * (wide(limits.piece_bytes) + records_in_a_piece * wide(RECORD_OVERHEAD_BYTES));
    // Large records: not the quota ends the batch, but what its queue held.
    let delivered = u128::from(demand.lanes.get())
        * (u128::from(demand.quota.get()) * wide(RECORD_OVERHEAD_BYTES) + wide(limits.queued_kbytes) * 1000)
        + partitions * wide(limits.piece_bytes);
    in_queue + on_top + delivered
}

fn keeps_within((demand, budget, more): &(FetchDemand, u64, u64), limits_of: Limits) -> Verdict {
    let limits = match limits_of(demand, *budget) {
        Ok(limits) => limits,
        Err(refusal) if refusal.minimum_bytes > *budget => {
            let least = limits_of(demand, refusal.minimum_bytes);
            return least.map(|_| ()).map_err(|_| format!("{refusal}, and that is refused as well"));
        }
        Err(refusal) => return Err(format!("refused for no reason: {refusal}")),
    };
    let held = held_bytes(demand, &limits);
    if held > u128::from(*budget) {
        return Err(format!("{limits:?} hold {held} bytes, the budget is {budget}"));
    }
    let predicted = demand.memory_bytes(&limits);
    if u128::from(predicted) < held || predicted > *budget {
        return Err(format!("{limits:?}: {predicted} bytes were predicted, {held} may be held"));
    }
    let quota = u64::from(demand.quota.get());
    let holds_a_quota =
        limits.queued_records >= quota && limits.queued_kbytes * 1000 >= quota * RECORD_BYTES_MIN;
    if !holds_a_quota || limits.piece_bytes < PIECE_BYTES_MIN {
        return Err(format!("{limits:?} are too small for a quota of {quota}"));
    }
    if limits.queued_records > QUEUED_RECORDS_MAX.max(quota)
        || limits.queued_kbytes > QUEUED_KBYTES_MAX
        || limits.piece_bytes > demand.piece_bytes_max.max(PIECE_BYTES_MIN)
    {
        return Err(format!("{limits:?} are more than what holds without a budget"));
    }
    let pieces =
        limits.piece_bytes * u64::from(demand.topics.get()) * u64::from(demand.partitions_per_topic.get());
    if limits.answer_bytes < pieces.div_ceil(u64::from(demand.handles.get())) {
        return Err(format!("{limits:?}: an answer does not hold the pieces"));
    }
    let Ok(wider) = limits_of(demand, budget + more) else {
        return Err(format!("{budget} bytes are taken and {more} more are not"));
    };
    let pairs = [
        (limits.queued_records, wider.queued_records),
        (limits.queued_kbytes, wider.queued_kbytes),
        (limits.piece_bytes, wider.piece_bytes),
        (limits.answer_bytes, wider.answer_bytes),
        (limits.backoff_ms, wider.backoff_ms),
    ];
    if pairs.iter().any(|(less, more)| less > more) {
        return Err(format!("with {more} bytes more {limits:?} become {wider:?}"));
    }
    Ok(())
}

/// forall consumers, budgets: what may be held is at most what was predicted, and that at most the budget;
/// every queue takes a quota; no limit falls when the budget grows; what is refused is less than the
/// minimum, and the minimum is taken.
#[test]
fn a_budget_is_kept_and_more_of_it_never_takes_away() {
    holds(&inputs(), |input| keeps_within(input, FetchDemand::limits));
}

#[test]
fn a_budget_is_kept_catches_limits_that_forget_something() {
    catches("the number of lanes", &inputs(), |input| {
        keeps_within(input, |demand, budget| FetchDemand { lanes: NonZeroU32::MIN, ..*demand }.limits(budget))
    });
    catches("the partitions of a topic", &inputs(), |input| {
        keeps_within(input, |demand, budget| {
            FetchDemand { partitions_per_topic: NonZeroU32::MIN, ..*demand }.limits(budget)
        })
    });
    catches("the quota", &inputs(), |input| {
        keeps_within(input, |demand, budget| FetchDemand { quota: NonZeroU32::MIN, ..*demand }.limits(budget))
    });
    catches("the least that is needed", &inputs(), |input| {
        keeps_within(input, |demand, budget| demand.limits(budget.max(demand.minimum_bytes())))
    });
    catches("that more is not less", &inputs(), |input| {
        keeps_within(input, |demand, budget| {
            let mut limits = demand.limits(budget)?;
            if limits.queued_records == QUEUED_RECORDS_MAX {
                limits.queued_records -= 1;
                limits.piece_bytes = PIECE_BYTES_MIN;
            }
            Ok(limits)
        })
    });
}

/// The figures of `docs/configuration.md`.
#[test]
fn sixteen_mebibytes_for_four_topics() {
    let of = |count| NonZeroU32::new(count).expect("not 0");
    let fair = FetchDemand {
        handles: of(1),
        lanes: of(4),
        topics: of(4),
        partitions_per_topic: of(4),
        quota: of(500),
        piece_bytes_max: 131_072,
    };
    let limits = fair.limits(16 << 20).expect("more than the minimum");
    assert_eq!((limits.queued_records, limits.queued_kbytes), (1_830, 582));
    assert_eq!((limits.piece_bytes, limits.backoff_ms), (87_381, 2));
    assert_eq!(fair.minimum_bytes(), 3_572_864);
}
