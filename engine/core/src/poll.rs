//! Whose turn it is, and how much: deficit round robin over the lanes that have records.
//!
//! After Shreedhar and Varghese, "Efficient Fair Queuing Using Deficit Round Robin" (1996), with
//! the new-flow list of FQ-CoDel (RFC 8290, §4.2): a lane that just became non-empty is visited
//! once ahead of the ring.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use crate::budget::Budget;
use crate::index::LaneIndex;
use crate::time::Timestamp;

/// A lane's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneConfig {
    /// Share relative to the other lanes.
    pub weight: NonZeroU32,
    /// Records that a poll may take from a lane of weight 1; a lane of weight w may have w times
    /// as many.
    pub quota: NonZeroU32,
}

impl LaneConfig {
    /// Records that a poll may take from this lane.
    #[must_use]
    pub fn quantum(&self) -> u32 {
        self.quota.saturating_mul(self.weight).get()
    }
}

/// Permission to take records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// From this lane.
    pub lane: LaneIndex,
    /// At most so many; never 0.
    pub records: u32,
}

/// What a taken grant cost besides its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// What a poll took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PollSummary {
    /// Records.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
    /// Grants that were given.
    pub grants: u32,
    /// Lanes that may have more.
    pub lanes_backlogged: usize,
}

/// Decides, poll by poll, from which lane how many records are taken.
///
/// Who calls what, in which order: [`lane_ready`](Self::lane_ready) whenever a lane's queue may
/// have records (idempotent, at any time but between a grant and its settlement); then, for each
/// poll, [`begin`](Self::begin), [`next_grant`](Self::next_grant) and [`settle`](Self::settle) in
/// turns until there is no grant, [`end`](Self::end). Taking fewer records than granted means that
/// the lane is empty until `lane_ready` is called for it again.
///
/// In one poll a lane gets at most its quantum (quota × weight). Without a budget every lane with
/// records is visited once. With a budget that is smaller than the sum of the quanta, the visits
/// are shortened in proportion to the weights so that the poll reaches every lane; with a budget
/// smaller than the number of lanes, the ring goes on in the next poll where this one stopped.
///
/// Every operation is O(1), amortised over the grants; nothing is allocated once every lane was
/// ready at the same time.
#[derive(Debug, Clone)]
pub struct PollMachine {
    lanes: Vec<Lane>,
    /// Lanes that just became non-empty; each is visited once, ahead of the ring.
    fresh: VecDeque<LaneIndex>,
    /// The ring; its head is next. Holds lanes that ran empty until their turn comes round, so
    /// that a lane which empties and refills cannot overtake the others again and again.
    ring: VecDeque<LaneIndex>,
    /// Sum of the weights of lanes that may have records.
    backlogged_weight: u64,
    backlogged: usize,
    poll: Option<Poll>,
    polls: u64,
}

#[derive(Debug, Clone)]
struct Lane {
    config: LaneConfig,
    place: Place,
    /// It may have records.
    backlogged: bool,
    /// What is left of the visit in progress, records.
    deficit: u32,
    /// The poll that `served` is about.
    poll: u64,
    /// Records taken in that poll.
    served: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Out,
    Fresh,
    Ring,
}

/// A poll in progress.
#[derive(Debug, Clone)]
struct Poll {
    budget: Budget,
    /// Records a lane of weight 1 gets per visit.
    unit: u32,
    granted: Option<Grant>,
    /// Lanes in a row that had no allowance left; all of them: the poll is over.
    capped: usize,
    summary: PollSummary,
}

impl PollMachine {
    /// A machine for these lanes, all of them empty.
    #[must_use]
    pub fn new(lanes: impl IntoIterator<Item = LaneConfig>) -> Self {
        let lanes = lanes.into_iter().map(|config| Lane {
            config,
            place: Place::Out,
            backlogged: false,
            deficit: 0,
            poll: 0,
            served: 0,
        });
        Self {
            lanes: lanes.collect(),
            fresh: VecDeque::new(),
            ring: VecDeque::new(),
            backlogged_weight: 0,
            backlogged: 0,
            poll: None,
            polls: 0,
        }
    }

    /// A lane's queue may have records.
    pub fn lane_ready(&mut self, index: LaneIndex) {
        let lane = &mut self.lanes[index.as_usize()];
        if lane.backlogged {
            return;
        }
        lane.backlogged = true;
        self.backlogged += 1;
        self.backlogged_weight += u64::from(lane.config.weight.get());
        if lane.place == Place::Out {
            lane.place = Place::Fresh;
            self.fresh.push_back(index);
        }
        // In the ring already: it waits for its turn there.
    }

    /// Whether any lane may have records.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.backlogged > 0
    }

    /// Begins a poll of at most `budget` records; `None`: every lane up to its quantum.
    ///
    /// # Panics
    /// If a poll is in progress.
    pub fn begin(&mut self, _now: Timestamp, budget: Option<u32>) {
        assert!(self.poll.is_none(), "a poll is in progress: end() it first");
        self.polls += 1;
        let unit = match budget {
            None => u32::MAX,
            // At least one record a visit, or nobody would ever be served.
            Some(budget) => {
                let share = u64::from(budget) / self.backlogged_weight.max(1);
                u32::try_from(share).unwrap_or(u32::MAX).max(1)
            }
        };
        let budget = Budget::new(budget.map_or(u64::MAX, u64::from));
        self.poll = Some(Poll { budget, unit, granted: None, capped: 0, summary: PollSummary::default() });
    }

    /// The next lane to take from; `None`: this poll is over.
    ///
    /// # Panics
    /// If no poll is in progress, or the grant before was not settled.
    pub fn next_grant(&mut self) -> Option<Grant> {
        let polls = self.polls;
        let poll = self.poll.as_mut().expect("begin() comes before next_grant()");
        assert!(poll.granted.is_none(), "settle() the grant before asking for the next");
        loop {
            if poll.budget.available() == 0 {
                return None;
            }
            let index = match (self.fresh.front(), self.ring.front()) {
                (Some(&fresh), _) => fresh,
                // Everybody in the ring has had all that a poll may give.
                (None, Some(_)) if poll.capped >= self.ring.len() => return None,
                (None, Some(&head)) => head,
                (None, None) => return None,
            };
            let lane = &mut self.lanes[index.as_usize()];
            if !lane.backlogged {
                // It ran empty and its turn has come round: from now on it counts as new again.
                self.ring.pop_front();
                lane.place = Place::Out;
                continue;
            }
            if lane.poll != polls {
                lane.poll = polls;
                lane.served = 0;
            }
            let allowance = lane.config.quantum() - lane.served;
            if allowance == 0 {
                if lane.place == Place::Fresh {
                    // It ran empty, left and came back, all in this poll.
                    self.fresh.pop_front();
                    lane.place = Place::Ring;
                    self.ring.push_back(index);
                } else {
                    self.ring.rotate_left(1);
                }
                poll.capped += 1;
                continue;
            }
            if lane.deficit == 0 {
                lane.deficit = poll.unit.saturating_mul(lane.config.weight.get()).min(lane.config.quantum());
            }
            let records = lane.deficit.min(allowance);
            let records = u32::try_from(poll.budget.available()).map_or(records, |left| records.min(left));
            poll.budget.grant(u64::from(records));
            poll.capped = 0;
            let grant = Grant { lane: index, records };
            poll.granted = Some(grant);
            return Some(grant);
        }
    }

    /// What became of a grant. Taking less than granted means that the lane is empty.
    ///
    /// # Panics
    /// If this grant is not the one in progress, or more was taken than granted.
    pub fn settle(&mut self, grant: Grant, taken: u32, cost: Cost) {
        let poll = self.poll.as_mut().expect("begin() comes before settle()");
        assert_eq!(poll.granted.take(), Some(grant), "only the grant in progress can be settled");
        assert!(taken <= grant.records, "took {taken} of {} granted records", grant.records);
        poll.budget.give_back(u64::from(grant.records - taken));
        poll.summary.records += u64::from(taken);
        poll.summary.bytes += cost.bytes;
        poll.summary.grants += 1;

        let lane = &mut self.lanes[grant.lane.as_usize()];
        lane.served += taken;
        lane.deficit -= taken;
        let emptied = taken < grant.records;
        if emptied {
            // An empty lane saves nothing up.
            lane.deficit = 0;
            lane.backlogged = false;
            self.backlogged -= 1;
            self.backlogged_weight -= u64::from(lane.config.weight.get());
        }
        // A visit that the budget cut short goes on in the next poll, from the same place.
        let over = lane.deficit == 0;
        match lane.place {
            Place::Fresh if over => {
                self.fresh.pop_front();
                lane.place = Place::Ring;
                self.ring.push_back(grant.lane);
            }
            Place::Ring if over => self.ring.rotate_left(1),
            Place::Fresh | Place::Ring | Place::Out => {}
        }
    }

    /// Ends the poll.
    ///
    /// # Panics
    /// If no poll is in progress, or a grant was not settled.
    pub fn end(&mut self, _now: Timestamp) -> PollSummary {
        let poll = self.poll.take().expect("begin() comes before end()");
        assert!(poll.granted.is_none(), "settle() the last grant before end()");
        PollSummary { lanes_backlogged: self.backlogged, ..poll.summary }
    }
}
