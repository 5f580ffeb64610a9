//! Quotas in proportion to lag, so that uneven backlogs are drained together.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::lag::Lag;
use crate::lane::{LaneConfig, LaneIndex};
use crate::time::Timestamp;

/// How often to look at lags. A cached end is as fresh as the last fetch, and fetches of a lane that is
/// drained follow each other in tens of milliseconds: looking more often shows nothing new.
pub const OBSERVE_EVERY: Duration = Duration::from_millis(100);

/// Quotas go 63 % of their way in this time, so that one odd lag moves them by less than a third of it. What
/// is drained meanwhile is drained by the old quotas: short beside any backlog worth the name.
pub const TIME_CONSTANT: Duration = Duration::from_millis(250);

/// A lag that is older tells nothing: no fetch that is on its way takes so long. The lane keeps its quota.
/// That nobody is behind is believed at any age, for nothing makes an idle lane's lag any younger.
pub const STALE: Duration = Duration::from_secs(30);

/// Quotas stay as they are until one is off by this part of it: what shares change by from look to look
/// while backlogs of millions are drained is noise.
const OFF_BY: f64 = 1.0 / 8.0;

/// So near to where they go, records, quotas are there. A filter only comes near, and a quota whose new
/// value is just off by [`OFF_BY`] would move whenever the last bit of it does, a minute later.
const THERE: f64 = 1.0 / 16.0;

/// Floor and ceiling of a lane's quota, records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QuotaLimits {
    /// The least.
    pub min: NonZeroU32,
    /// The most; not below `min`.
    pub max: NonZeroU32,
}

/// Divides among the lanes what they have in all, in proportion to weight · lag.
///
/// # What holds
/// - The sum of the quotas is that of the configured ones, within floors and ceilings, always: what one
///   lane gets more of a poll the others get less.
/// - Every quota stays within the limits.
/// - With constant lags quotas converge and then stay; after a step they go to their new values without
///   overshooting by more than the dead band of an eighth and the rounding to whole records.
/// - While all lags together are less than one poll takes there is no backlog to share out, and quotas go
///   back to the configured ones.
///
/// A first-order filter smooths, and a dead band keeps quotas that are nearly right. There is a feedback
/// besides, and it steadies: a lane that is drained too fast has less lag, hence less quota.
///
/// # Who calls what
/// The consumer: [`observe`](Self::observe) with the lag of every lane, every [`OBSERVE_EVERY`] or so;
/// when it says that quotas changed, [`quota`](Self::quota) for each lane, for the poll machine.
#[derive(Debug, Clone)]
pub struct LagProportional {
    limits: QuotaLimits,
    lanes: Vec<Lane>,
    /// Records: the sum of all quotas.
    total: u32,
    observed: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Lane {
    weight: f64,
    configured: f64,
    smoothed: f64,
    quota: NonZeroU32,
}

impl LagProportional {
    /// Begins with the configured quotas, as far as the limits allow them.
    ///
    /// # Panics
    /// If the ceiling is below the floor.
    #[must_use]
    pub fn new(limits: QuotaLimits, lanes: impl IntoIterator<Item = LaneConfig>) -> Self {
        assert!(limits.min <= limits.max, "a quota of at least {} and at most {}", limits.min, limits.max);
        let lanes: Vec<Lane> = lanes
            .into_iter()
            .map(|config| {
                let quantum = NonZeroU32::new(config.quantum()).unwrap_or(limits.min);
                let quota = quantum.clamp(limits.min, limits.max);
                let configured = f64::from(quota.get());
                Lane { weight: f64::from(config.weight.get()), configured, smoothed: configured, quota }
            })
            .collect();
        let total = lanes.iter().fold(0, |sum: u32, lane| sum.saturating_add(lane.quota.get()));
        Self { limits, lanes, total, observed: None }
    }

    /// Records that the lane may have of a poll.
    #[must_use]
    pub fn quota(&self, lane: LaneIndex) -> NonZeroU32 {
        self.lanes[lane.position()].quota
    }

    /// What lags are now, in the lanes' order; `None`: not known. Says whether quotas changed.
    ///
    /// # Panics
    /// If there are more or fewer lags than lanes.
    pub fn observe(&mut self, now: Timestamp, lags: &[Option<Lag>]) -> bool {
        assert_eq!(lags.len(), self.lanes.len(), "a lag for each lane");
        let since = self.observed.replace(now).map_or(Duration::ZERO, |before| now.since(before));
        let step = since.as_secs_f64() / (TIME_CONSTANT + since).as_secs_f64();
        let targets = self.targets(lags);
        // All at once, or the sum would change.
        let there = targets.iter().all(|(lane, target)| (target - self.lanes[*lane].smoothed).abs() < THERE);
        let step = if there { 1.0 } else { step };
        for (lane, target) in targets {
            let lane = &mut self.lanes[lane];
            lane.smoothed += step * (target - lane.smoothed);
        }
        let off = |lane: &Lane| {
            let quota = f64::from(lane.quota.get());
            (lane.smoothed - quota).abs() >= (quota * OFF_BY).max(1.0)
        };
        self.lanes.iter().any(off) && self.round()
    }

    /// Where the quotas of the lanes whose lag is known should be, by position.
    fn targets(&self, lags: &[Option<Lag>]) -> Vec<(usize, f64)> {
        let known = |lag: &Lag| lag.records == 0 || lag.age <= STALE;
        let records: Vec<Option<u64>> =
            lags.iter().map(|lag| lag.filter(known).map(|lag| lag.records)).collect();
        let behind = records.iter().flatten().fold(0, |sum: u64, records| sum.saturating_add(*records));
        let is_backlog = behind > u64::from(self.total);
        let known = || self.lanes.iter().zip(&records).enumerate();
        let budget: f64 =
            known().filter(|(_, (_, lag))| lag.is_some()).map(|(_, (lane, _))| lane.smoothed).sum();
        let demands: Vec<(usize, f64)> = known()
            .filter_map(|(position, (lane, lag))| {
                // One more, so that a lane without lag has a share where all others are at the ceiling.
                #[expect(clippy::cast_precision_loss, reason = "shares of more than 2^52 records")]
                let lag = (*lag)? as f64 + 1.0;
                Some((position, if is_backlog { lane.weight * lag } else { lane.configured }))
            })
            .collect();
        let level = self.level(budget, &demands);
        demands.into_iter().map(|(position, demand)| (position, self.limited(level * demand))).collect()
    }

    fn limited(&self, quota: f64) -> f64 {
        quota.clamp(f64::from(self.limits.min.get()), f64::from(self.limits.max.get()))
    }

    /// The level at which the demands, each within the limits, come to the budget. It exists because
    /// the budget was given out within the limits before; the sum rises with the level, so it is found by
    /// halving.
    fn level(&self, budget: f64, demands: &[(usize, f64)]) -> f64 {
        let smallest = demands.iter().map(|(_, demand)| *demand).fold(f64::INFINITY, f64::min);
        if smallest.is_infinite() {
            return 0.0;
        }
        let sum = |level: f64| demands.iter().map(|(_, demand)| self.limited(level * demand)).sum::<f64>();
        let (mut low, mut high) = (0.0, f64::from(self.limits.max.get()) / smallest);
        // Each halving adds a bit, and the level has 53.
        for _ in 0..100 {
            let middle = low + (high - low) / 2.0;
            if sum(middle) < budget { low = middle } else { high = middle }
        }
        high
    }

    /// To whole records with the same sum: the largest remainders are rounded up (Hamilton's method).
    fn round(&mut self) -> bool {
        let (min, max) = (self.limits.min.get(), self.limits.max.get());
        let before: Vec<NonZeroU32> = self.lanes.iter().map(|lane| lane.quota).collect();
        let mut left = self.total;
        let mut by_remainder: Vec<usize> = (0..self.lanes.len()).collect();
        for lane in &mut self.lanes {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "within limits that are 32 bits wide; the fraction is what remains"
            )]
            let whole = (lane.smoothed as u32).clamp(min, max);
            lane.quota = NonZeroU32::new(whole).unwrap_or(self.limits.min);
            left = left.saturating_sub(whole);
        }
        by_remainder.sort_by(|one, other| {
            self.lanes[*other].smoothed.fract().total_cmp(&self.lanes[*one].smoothed.fract())
        });
        for position in by_remainder {
            let quota = &mut self.lanes[position].quota;
            if left > 0 && quota.get() < max {
                *quota = quota.saturating_add(1);
                left -= 1;
            }
        }
        self.lanes.iter().map(|lane| lane.quota).ne(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: u32) -> NonZeroU32 {
        NonZeroU32::new(value).unwrap()
    }

    fn quotas(machine: &LagProportional) -> Vec<u32> {
        machine.lanes.iter().map(|lane| lane.quota.get()).collect()
    }

    fn fresh(records: u64) -> Option<Lag> {
        Some(Lag { records, age: Duration::ZERO })
    }

    /// Lanes of 100 records each, between 10 and 300.
    fn machine(lanes: usize) -> LagProportional {
        let limits = QuotaLimits { min: of(10), max: of(300) };
        LagProportional::new(limits, vec![LaneConfig::with_quota(of(100)); lanes])
    }

    /// Looks until ten seconds have passed.
    fn settle(machine: &mut LagProportional, lags: &[Option<Lag>]) -> Vec<u32> {
        let from = machine.observed.map_or(0, |at| at.as_nanos() / 1_000_000);
        for look in 0..100 {
            machine.observe(Timestamp::from_millis(from + look * 100), lags);
        }
        quotas(machine)
    }

    #[test]
    fn quotas_follow_the_shares_of_the_lag() {
        let quotas = settle(&mut machine(3), &[fresh(20_000), fresh(10_000), fresh(30_000)]);
        for (quota, due) in quotas.iter().zip([100_u32, 50, 150]) {
            assert!(quota.abs_diff(due) <= due / 8 + 1, "{quotas:?}");
        }
    }

    #[test]
    fn a_lane_without_lag_keeps_the_floor_and_a_hot_one_stops_at_the_ceiling() {
        let quotas = settle(&mut machine(5), &[fresh(1_000_000), fresh(0), fresh(0), fresh(0), fresh(0)]);
        assert!((265..=300).contains(&quotas[0]), "{quotas:?}");
        assert_eq!(quotas.iter().sum::<u32>(), 500);
    }

    #[test]
    fn without_a_backlog_quotas_go_back_to_the_configured_ones() {
        let mut machine = machine(3);
        settle(&mut machine, &[fresh(90_000), fresh(10), fresh(10)]);
        let quotas = settle(&mut machine, &[fresh(70), fresh(0), fresh(3)]);
        assert!(quotas.iter().all(|quota| quota.abs_diff(100) <= 13), "{quotas:?}");
    }

    #[test]
    fn a_lane_of_which_nothing_is_known_keeps_its_quota() {
        let stale = Some(Lag { records: 5_000, age: STALE + Duration::from_secs(1) });
        for unknown in [None, stale] {
            let quotas = settle(&mut machine(3), &[unknown, fresh(9_000), fresh(1_000)]);
            assert_eq!(quotas[0], 100, "{quotas:?}");
            assert!(quotas[1] > 150, "{quotas:?}");
        }
        let idle_for_long = Some(Lag { records: 0, age: STALE * 100 });
        assert!(settle(&mut machine(2), &[idle_for_long, fresh(9_000)])[0] < 20);
    }

    #[test]
    fn one_lane_alone_has_what_is_configured() {
        assert_eq!(settle(&mut machine(1), &[fresh(1_000_000)]), [100]);
    }
}
