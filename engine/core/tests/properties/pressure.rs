//! Giving way, against its promises.

use std::time::Duration;

use fairpoll_core::Timestamp;
use fairpoll_core::mode::Resource;
use fairpoll_core::pressure::{Advice, Ladder, Pace, Pressure, Reading, Step};
use proptest::prelude::*;

use super::{Verdict, catches, holds};

const PACE: Pace = Pace {
    enter_percent: 90,
    leave_percent: 80,
    sustain: Duration::from_secs(5),
    readings: 3,
    cool_down: Duration::from_secs(60),
};

const RESOURCES: [Resource; 3] = [Resource::Descriptors, Resource::MemoryBytes, Resource::Connections];

/// Percent in use of each resource, where it is limited, so long after the round before.
type Round = (u64, [Option<u64>; 3]);
type Course = (Ladder, Vec<Round>);

fn ladder() -> impl Strategy<Value = Ladder> {
    (0_u32..4, any::<bool>())
        .prop_map(|(smaller_limits, cheaper_mode)| Ladder { smaller_limits, cheaper_mode })
}

/// Pressure comes in spells: what is short stays so for a while.
fn courses() -> impl Strategy<Value = Course> {
    let percent = || prop_oneof![3 => 88_u64..130, 2 => 80_u64..90, 1 => 0_u64..80];
    let readings = [percent(), percent(), percent()].prop_map(|percents| percents);
    let limited = prop::array::uniform3(prop::bool::weighted(0.8));
    let spell =
        (1_usize..30, 200_u64..3_000, readings, limited).prop_map(|(rounds, apart, percents, limited)| {
            let mut of_each = [None; 3];
            for (position, one) in of_each.iter_mut().enumerate() {
                *one = limited[position].then_some(percents[position]);
            }
            vec![(apart, of_each); rounds]
        });
    (ladder(), prop::collection::vec(spell, 1..30))
        .prop_map(|(ladder, spells)| (ladder, spells.into_iter().flatten().collect()))
}

fn readings_of(percents: [Option<u64>; 3]) -> Vec<Reading> {
    let readings = RESOURCES.into_iter().zip(percents);
    readings.filter_map(|(resource, used)| Some(Reading { resource, used: used?, limit: 100 })).collect()
}

/// What a machine of this pace advised, and when.
fn advised(pace: Pace, (ladder, rounds): &Course) -> Vec<(Timestamp, Advice)> {
    let mut machine = Pressure::new(pace, *ladder);
    let mut now = Timestamp::ZERO;
    let mut all = Vec::new();
    for (apart, percents) in rounds {
        now = now + Duration::from_millis(*apart);
        all.extend(machine.observe(now, &readings_of(*percents)).map(|advice| (now, advice)));
    }
    all
}

/// How long a resource has been short without a break when the machine spoke, and how often that was read.
fn spell(rounds: &[Round], resource: Resource, until: Timestamp) -> Option<(Duration, u32)> {
    let position = RESOURCES.iter().position(|known| *known == resource)?;
    let (mut now, mut since, mut count, mut last) = (Timestamp::ZERO, None, 0, Timestamp::ZERO);
    for (apart, percents) in rounds {
        now = now + Duration::from_millis(*apart);
        if now > until {
            break;
        }
        match percents[position] {
            Some(percent) if percent >= 90 => {
                if now.since(last) > PACE.sustain {
                    (since, count) = (None, 0);
                }
                since = since.or(Some(now));
                (count, last) = (count + 1, now);
            }
            Some(percent) if percent >= 80 => {}
            _ => (since, count) = (None, 0),
        }
    }
    since.map(|since| (until.since(since), count))
}

fn keeps_its_promises((ladder, rounds): &Course, all: &[(Timestamp, Advice)]) -> Verdict {
    let mut left = *ladder;
    let mut last_step: Option<Timestamp> = None;
    let mut nothing_left = Vec::new();
    for (now, Advice { step, reading }) in all {
        if reading.used < 90 {
            return Err(format!("{step:?} though only {} % of {} are used", reading.used, reading.resource));
        }
        let Some((lasted, count)) = spell(rounds, reading.resource, *now) else {
            return Err(format!("{step:?} though {} are not short", reading.resource));
        };
        if lasted < PACE.sustain || count < PACE.readings {
            return Err(format!("{step:?} after {lasted:?} and {count} readings"));
        }
        if last_step.is_some_and(|last| now.since(last) < PACE.cool_down) {
            return Err(format!("{step:?} in the cool-down of the step before"));
        }
        match step {
            Step::SmallerLimits if reading.resource != Resource::MemoryBytes => {
                return Err(format!("smaller limits give back no {}", reading.resource));
            }
            Step::SmallerLimits if left.smaller_limits == 0 => {
                return Err("limits that are as small as they get".to_owned());
            }
            Step::SmallerLimits => left.smaller_limits -= 1,
            Step::CheaperMode if !left.cheaper_mode => return Err("no cheaper mode is left".to_owned()),
            Step::CheaperMode if reading.resource == Resource::MemoryBytes && left.smaller_limits > 0 => {
                return Err("the mode was given up before the limits".to_owned());
            }
            Step::CheaperMode => left.cheaper_mode = false,
            Step::Nothing if left.cheaper_mode => return Err("something was left".to_owned()),
            Step::Nothing if nothing_left.contains(&reading.resource) => {
                return Err(format!("said twice that nothing is left for {}", reading.resource));
            }
            Step::Nothing => {
                nothing_left.push(reading.resource);
                continue;
            }
        }
        last_step = Some(*now);
    }
    Ok(())
}

/// forall courses of use: every step follows pressure that lasted, none comes within a cool-down, limits
/// give way before the mode, each rung is taken once, and the end is said once for each resource.
// shows: E15
#[test]
fn giving_way_is_slow_and_only_goes_down() {
    holds(&courses(), |course| keeps_its_promises(course, &advised(PACE, course)));
}

#[test]
fn giving_way_is_slow_and_only_goes_down_catches_haste_and_ways_up() {
    let impatient = [
        ("too little patience", Pace { sustain: Duration::from_secs(3), ..PACE }),
        ("one reading is enough", Pace { readings: 1, sustain: Duration::from_millis(4_000), ..PACE }),
        ("no cool-down", Pace { cool_down: Duration::ZERO, ..PACE }),
        ("no hysteresis", Pace { leave_percent: 0, ..PACE }),
        ("pressure begins too early", Pace { enter_percent: 85, ..PACE }),
    ];
    for (defect, pace) in impatient {
        catches(defect, &courses(), |course| keeps_its_promises(course, &advised(pace, course)));
    }
    catches("rungs come back", &courses(), |course| {
        let (ladder, rounds) = course;
        let all =
            advised(PACE, &(Ladder { smaller_limits: ladder.smaller_limits + 1, ..*ladder }, rounds.clone()));
        keeps_its_promises(course, &all)
    });
}

/// Two values, one of which is read as long as the other, for less than the sustain time.
fn oscillations() -> impl Strategy<Value = (u64, u64, u64, usize)> {
    let around_the_lower = (60_u64..80, 80_u64..90);
    let across_both = (60_u64..80, 90_u64..130);
    (prop_oneof![around_the_lower, across_both], 200_u64..2_000, 1_usize..3)
        .prop_map(|((low, high), apart, stays)| (low, high, apart, stays))
}

fn comes_to_nothing(pace: Pace, &(low, high, apart, stays): &(u64, u64, u64, usize)) -> Verdict {
    let ladder = Ladder { smaller_limits: 3, cheaper_mode: true };
    let round = |percent| (apart, [Some(percent); 3]);
    let period = std::iter::repeat_n(round(low), stays).chain(std::iter::repeat_n(round(high), stays));
    let rounds = period.cycle().take(400).collect();
    match advised(pace, &(ladder, rounds)).first() {
        None => Ok(()),
        Some((now, advice)) => Err(format!("{:?} at {now}", advice.step)),
    }
}

/// forall readings that swing around the lower bound, or across both within the sustain time: nothing is done.
// shows: E15
#[test]
fn what_swings_around_a_bound_costs_nothing() {
    holds(&oscillations(), |swing| comes_to_nothing(PACE, swing));
}

#[test]
fn what_swings_around_a_bound_catches_a_machine_without_hysteresis() {
    catches("no hysteresis", &oscillations(), |swing| {
        comes_to_nothing(Pace { leave_percent: 0, ..PACE }, swing)
    });
}
