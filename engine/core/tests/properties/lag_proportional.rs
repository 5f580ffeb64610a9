//! Claims about quotas that follow lag.

use std::num::NonZeroU32;
use std::time::Duration;

use fairpoll_core::{Lag, LagProportional, LaneConfig, LaneIndex, QuotaLimits, Timestamp};
use proptest::prelude::*;

use super::workload::lane;
use super::{Verdict, catches, holds};

/// Lanes, and two constant sets of lags, one after the other. `None`: not known.
#[derive(Debug, Clone)]
struct Step {
    limits: QuotaLimits,
    lanes: Vec<LaneConfig>,
    before: Vec<Option<Lag>>,
    after: Vec<Option<Lag>>,
}

const LOOK_MS: u64 = 100;
/// Forty time constants.
const LOOKS: usize = 100;

/// What decides; the real machine and broken ones do.
trait Divider {
    fn observe(&mut self, now: Timestamp, lags: &[Option<Lag>]);
    fn quotas(&self) -> Vec<u32>;
}

struct Real {
    machine: LagProportional,
    lanes: usize,
}

impl Real {
    fn new(step: &Step) -> Self {
        let machine = LagProportional::new(step.limits, step.lanes.iter().copied());
        Self { machine, lanes: step.lanes.len() }
    }
}

impl Divider for Real {
    fn observe(&mut self, now: Timestamp, lags: &[Option<Lag>]) {
        self.machine.observe(now, lags);
    }

    fn quotas(&self) -> Vec<u32> {
        (0..self.lanes).map(|lane| self.machine.quota(LaneIndex::from_position(lane)).get()).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    /// Every look overshoots and is corrected by the next.
    Oscillates,
    /// Each lane for itself, whatever the others get.
    DoesNotShare,
    /// No floor, no ceiling.
    NoLimits,
}

struct Broken {
    defect: Defect,
    limits: QuotaLimits,
    quotas: Vec<u32>,
    looks: u32,
}

impl Broken {
    fn new(step: &Step, defect: Defect) -> Self {
        let quotas = Real::new(step).quotas();
        Self { defect, limits: step.limits, quotas, looks: 0 }
    }
}

impl Divider for Broken {
    fn observe(&mut self, _: Timestamp, lags: &[Option<Lag>]) {
        self.looks += 1;
        let (min, max) = (self.limits.min.get(), self.limits.max.get());
        for (quota, lag) in self.quotas.iter_mut().zip(lags) {
            let records = lag.map_or(0, |lag| u32::try_from(lag.records).unwrap_or(u32::MAX));
            *quota = match self.defect {
                Defect::Oscillates if self.looks.is_multiple_of(2) => min,
                Defect::Oscillates => max,
                Defect::DoesNotShare => records.clamp(min, max),
                Defect::NoLimits => records,
            };
        }
    }

    fn quotas(&self) -> Vec<u32> {
        self.quotas.clone()
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let lag = || {
        let records = prop_oneof![2 => Just(0_u64), 3 => 0_u64..2_000, 3 => 0_u64..1_000_000];
        prop::option::weighted(0.9, (records, 0_u64..40))
            .prop_map(|lag| lag.map(|(records, age_s)| Lag { records, age: Duration::from_secs(age_s) }))
    };
    let lanes = prop::collection::vec((1_u32..3, 20_u32..200).prop_map(|(w, q)| lane(w, q)), 1..6);
    let limits = (1_u32..20, 400_u32..2_000).prop_map(|(min, max)| QuotaLimits {
        min: NonZeroU32::new(min).expect("not 0"),
        max: NonZeroU32::new(max).expect("not 0"),
    });
    let lags = || prop::collection::vec(lag(), 6);
    (lanes, limits, lags(), lags()).prop_map(|(lanes, limits, mut before, mut after)| {
        before.truncate(lanes.len());
        after.truncate(lanes.len());
        Step { limits, lanes, before, after }
    })
}

/// The quotas after each look, those at the beginning first; and from where on the second lags hold.
fn play(step: &Step, divider: &mut impl Divider) -> (Vec<Vec<u32>>, usize) {
    let mut history = vec![divider.quotas()];
    for (look, lags) in [&step.before; LOOKS].into_iter().chain([&step.after; LOOKS]).enumerate() {
        let now = Timestamp::from_millis(u64::try_from(look).expect("few") * LOOK_MS);
        divider.observe(now, lags);
        history.push(divider.quotas());
    }
    (history, LOOKS)
}

fn keeps_the_sum_and_the_limits(step: &Step, divider: &mut impl Divider) -> Verdict {
    let (history, _) = play(step, divider);
    let sum: u32 = history[0].iter().sum();
    for quotas in &history {
        if quotas.iter().sum::<u32>() != sum {
            return Err(format!("{quotas:?} come to {} instead of {sum}", quotas.iter().sum::<u32>()));
        }
        let within = step.limits.min.get()..=step.limits.max.get();
        if let Some(quota) = quotas.iter().find(|quota| !within.contains(quota)) {
            return Err(format!("{quota} of {quotas:?} is not within {within:?}"));
        }
    }
    Ok(())
}

/// forall lags, at every look: Σ quotas is what it was, and min ≤ quota ≤ max.
#[test]
fn what_one_lane_gets_the_others_do_not_and_limits_hold() {
    holds(&steps(), |step| keeps_the_sum_and_the_limits(step, &mut Real::new(step)));
}

#[test]
fn what_one_lane_gets_the_others_do_not_catches_who_does_not_share_or_limit() {
    for defect in [Defect::DoesNotShare, Defect::NoLimits] {
        catches(&format!("{defect:?}"), &steps(), |step| {
            keeps_the_sum_and_the_limits(step, &mut Broken::new(step, defect))
        });
    }
}

fn goes_one_way_and_stays(step: &Step, divider: &mut impl Divider) -> Verdict {
    let (history, at) = play(step, divider);
    for (phase, quotas) in [&history[..=at], &history[at..]].into_iter().enumerate() {
        for lane in 0..step.lanes.len() {
            let course: Vec<u32> = quotas.iter().map(|quotas| quotas[lane]).collect();
            let (first, last) = (course[0], course[course.len() - 1]);
            let back = course.windows(2).find(|pair| {
                // Whole records, and the dead band: when one lane is off by an eighth, all are set to where
                // they should be, those as well that were nearly right and on their way back.
                let (up, down) = (pair[1].saturating_sub(pair[0]), pair[0].saturating_sub(pair[1]));
                (if first <= last { down } else { up }) > 1 + last / 8
            });
            if let Some(pair) = back {
                return Err(format!("phase {phase}, lane {lane} goes {pair:?} on its way {first} to {last}"));
            }
            let settled = &course[course.len() - 20..];
            if settled.iter().any(|quota| *quota != last) {
                return Err(format!("phase {phase}, lane {lane} does not come to rest: {settled:?}"));
            }
        }
    }
    Ok(())
}

/// forall steps from constant lags to others: every quota goes to its new value without turning back by more
/// than an eighth of it and the rounding of a record, and stays there.
// shows: E12
#[test]
fn quotas_converge_without_oscillating() {
    holds(&steps(), |step| goes_one_way_and_stays(step, &mut Real::new(step)));
}

#[test]
fn quotas_converge_without_oscillating_catches_who_overshoots() {
    catches("Oscillates", &steps(), |step| {
        goes_one_way_and_stays(step, &mut Broken::new(step, Defect::Oscillates))
    });
}

/// How far apart the lanes end that drain so many records each, polls of the first and of the last;
/// `adapts`: by the machine's quotas, or by the configured ones.
fn drains_together(backlogs: &[u64], adapts: bool) -> Verdict {
    let step = Step {
        limits: QuotaLimits {
            min: NonZeroU32::new(5).expect("not 0"),
            max: NonZeroU32::new(2_000).expect("not 0"),
        },
        lanes: vec![lane(1, 100); backlogs.len()],
        before: vec![],
        after: vec![],
    };
    let mut divider = Real::new(&step);
    let mut left = backlogs.to_vec();
    let mut drained_at = vec![None; backlogs.len()];
    // A poll takes 10 ms; lags are looked at every tenth time.
    for poll in 0_u64..1_000_000 {
        if adapts && poll.is_multiple_of(10) {
            let lags: Vec<Option<Lag>> =
                left.iter().map(|records| Some(Lag { records: *records, age: Duration::ZERO })).collect();
            divider.observe(Timestamp::from_millis(poll * 10), &lags);
        }
        for ((left, quota), drained_at) in left.iter_mut().zip(divider.quotas()).zip(&mut drained_at) {
            *left = left.saturating_sub(u64::from(quota));
            if *left == 0 {
                drained_at.get_or_insert(poll + 1);
            }
        }
        if left.iter().all(|left| *left == 0) {
            break;
        }
    }
    let ends: Vec<u64> = drained_at.into_iter().flatten().collect();
    let (first, last) = (ends.iter().min().copied(), ends.iter().max().copied());
    match (first, last) {
        (Some(first), Some(last)) if 10 * first >= 7 * last => Ok(()),
        _ => Err(format!("backlogs of {backlogs:?} are drained after {ends:?} polls")),
    }
}

fn backlogs() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(40_000_u64..400_000, 2..5)
}

/// forall backlogs within a factor of ten: the first lane to be empty was so after at least 70 % of the
/// time of the last.
#[test]
fn uneven_backlogs_are_drained_together() {
    holds(&backlogs(), |backlogs| drains_together(backlogs, true));
}

#[test]
fn uneven_backlogs_are_drained_together_catches_fixed_quotas() {
    catches("fixed quotas", &backlogs(), |backlogs| drains_together(backlogs, false));
}
