//! The scheduler again, naively: every decision is a search over all lanes, nothing is kept in
//! queues. And with defects to order.

use fairpoll_core::LaneConfig;

use super::workload::Poller;

/// One seeded defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// The quantum is the quota, whatever the weight.
    IgnoresWeights,
    /// A new lane is let in before an interrupted visit is finished.
    NewLaneInterruptsVisit,
    /// A lane that ran empty is new again at once.
    EmptiedLaneIsNewAgain,
    /// The ring starts at lane 0 in every poll.
    RestartsRing,
    /// What the cap cut off a visit is forfeited.
    ForgetsInterruptedVisit,
    /// A signal between take and settlement is overwritten.
    ForgetsLateSignal,
    /// What a lane did not take is not granted to others.
    WastesUntaken,
    /// The first lane may take all there is.
    NoQuota,
    /// The poll's cap is not applied.
    NoBudget,
    /// A lane that refilled after running empty goes on in the same poll.
    AsksEmptiedLaneAgain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Interrupted,
    New,
    Ring,
}

#[derive(Debug, Clone)]
struct Lane {
    quantum: u32,
    ready: bool,
    paused: bool,
    signalled: bool,
    /// The order of turns: smallest first.
    turn: Option<(Class, u64)>,
    deficit: u32,
    had_in_poll: u32,
    had_turn: bool,
    ran_empty: bool,
}

/// The reference, or a broken version of it.
#[derive(Debug, Clone)]
pub(crate) struct Naive {
    defect: Option<Defect>,
    lanes: Vec<Lane>,
    stamps: u64,
    in_poll: bool,
    left: Option<u32>,
    grant: Option<(usize, u32)>,
}

impl Naive {
    pub(crate) fn new(lanes: &[LaneConfig], defect: Option<Defect>) -> Self {
        let quantum = |config: &LaneConfig| match defect {
            Some(Defect::IgnoresWeights) => config.quota.get(),
            _ => config.weight.get() * config.quota.get(),
        };
        let lanes = lanes
            .iter()
            .map(|config| Lane {
                quantum: quantum(config),
                ready: false,
                paused: false,
                signalled: false,
                turn: None,
                deficit: 0,
                had_in_poll: 0,
                had_turn: false,
                ran_empty: false,
            })
            .collect();
        Self { defect, lanes, stamps: 0, in_poll: false, left: None, grant: None }
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    fn stamp(&mut self) -> u64 {
        self.stamps += 1;
        self.stamps
    }

    fn join(&mut self, lane: usize) {
        let stamp = self.stamp();
        let Lane { ready, paused, turn, had_turn, .. } = &mut self.lanes[lane];
        if *ready && !*paused && turn.is_none() {
            let class = if self.in_poll && *had_turn { Class::Ring } else { Class::New };
            *turn = Some((class, stamp));
        }
    }

    fn move_to_end(&mut self, lane: usize) {
        let stamp = self.stamp();
        self.lanes[lane].deficit = 0;
        self.lanes[lane].turn = Some((Class::Ring, stamp));
    }

    fn whose_turn(&mut self) -> Option<usize> {
        loop {
            let new_lanes_first = self.has(Defect::NewLaneInterruptsVisit);
            let key = |lane: &Lane| {
                lane.turn.map(|(class, stamp)| (!(new_lanes_first && class == Class::New), class, stamp))
            };
            let first = (0..self.lanes.len())
                .filter(|lane| self.lanes[*lane].turn.is_some())
                .min_by_key(|lane| key(&self.lanes[*lane]))?;
            let lane = &mut self.lanes[first];
            if lane.ready && !lane.paused {
                return Some(first);
            }
            if matches!(lane.turn, Some((Class::Interrupted, _))) {
                self.move_to_end(first);
            } else {
                lane.turn = None;
            }
        }
    }
}

impl Poller for Naive {
    fn ready(&mut self, lane: usize) {
        self.lanes[lane].ready = true;
        self.lanes[lane].signalled = true;
        self.join(lane);
    }

    fn pause(&mut self, lane: usize) {
        self.lanes[lane].paused = true;
    }

    fn resume(&mut self, lane: usize) {
        self.lanes[lane].paused = false;
        self.join(lane);
    }

    fn begin(&mut self, budget: Option<u32>) {
        self.in_poll = true;
        self.left = if self.has(Defect::NoBudget) { None } else { budget };
        for lane in &mut self.lanes {
            lane.had_in_poll = 0;
            lane.had_turn = false;
            lane.ran_empty = false;
        }
        if self.has(Defect::RestartsRing) {
            for lane in 0..self.lanes.len() {
                if self.lanes[lane].turn.is_some() {
                    self.move_to_end(lane);
                }
            }
        }
    }

    fn next(&mut self) -> Option<(usize, u32)> {
        if self.left == Some(0) {
            return None;
        }
        let first = self.whose_turn()?;
        let stamp = self.stamp();
        let no_quota = self.has(Defect::NoQuota);
        let asks_again = self.has(Defect::AsksEmptiedLaneAgain);
        let lane = &mut self.lanes[first];
        if (lane.ran_empty && !asks_again) || (lane.had_in_poll == lane.quantum && !no_quota) {
            return None;
        }
        lane.had_turn = true;
        if !matches!(lane.turn, Some((Class::Interrupted, _))) {
            lane.turn = Some((Class::Interrupted, stamp));
            lane.deficit = lane.quantum;
        }
        let mut records = lane.deficit.min(lane.quantum.saturating_sub(lane.had_in_poll));
        if no_quota {
            records = 1_000;
            lane.deficit = 2_000;
        }
        records = self.left.map_or(records, |left| records.min(left));
        lane.signalled = false;
        self.grant = Some((first, records));
        self.grant
    }

    fn settle(&mut self, taken: u32) {
        let (first, granted) = self.grant.take().expect("a grant");
        let charged = if self.has(Defect::WastesUntaken) { granted } else { taken };
        self.left = self.left.map(|left| left - charged);
        let forgets = self.has(Defect::ForgetsLateSignal);
        let lane = &mut self.lanes[first];
        lane.had_in_poll += taken;
        lane.deficit -= taken;
        if taken < granted {
            lane.ran_empty = true;
            lane.ready = lane.signalled && !forgets;
            self.move_to_end(first);
            if self.has(Defect::EmptiedLaneIsNewAgain) && !self.lanes[first].ready {
                self.lanes[first].turn = None;
            }
        } else if lane.deficit == 0 {
            self.move_to_end(first);
        }
    }

    fn end(&mut self) {
        self.in_poll = false;
        if self.has(Defect::ForgetsInterruptedVisit) {
            for lane in 0..self.lanes.len() {
                if matches!(self.lanes[lane].turn, Some((Class::Interrupted, _))) {
                    self.move_to_end(lane);
                }
            }
        }
    }
}
