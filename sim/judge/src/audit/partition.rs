//! One partition's truth and what became of it.

use std::collections::BTreeSet;

use crate::event::TopicFacts;
use crate::summary::Audit;

use super::findings::{Finding, Findings, offsets};
use super::intervals::Intervals;
use super::repeats::{self, Repeats, Tenure};

/// Records that the broker acknowledged: offsets `start..end`, ids from `first_id` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) first_id: u64,
}

/// Records that a poll returned: offsets `start..end`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) id_sum: u64,
    pub(super) life: u32,
    /// How many assignments of the partition this life had seen.
    pub(super) assignment: u32,
    pub(super) seq: u64,
    /// When its poll returned.
    pub(super) t_ns: u64,
    pub(super) processed: bool,
    /// Its life could still commit what it processed: no fault killed it.
    pub(super) survived: bool,
}

/// What the broker said of a partition after the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Final {
    pub(super) log_start: i64,
    /// `None`: it could not be asked for. `Some(0)` where the group has none.
    pub(super) committed: Option<i64>,
}

/// A partition.
#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) produced: Vec<Batch>,
    /// In the order of delivery, life by life.
    pub(super) delivered: Vec<Delivery>,
    /// By life and offset: delivered, but processing failed, and did not succeed since.
    pub(super) failed: BTreeSet<(u32, i64)>,
    pub(super) tenure: Tenure,
    pub(super) broker: Option<Final>,
    /// A fault deleted its topic: what it still held cannot be delivered any more.
    pub(super) deleted: bool,
}

/// How the auditor names a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: u32,
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} partition {}", self.topic, self.partition)
    }
}

/// What holds for all partitions of the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// The worker said what it processed.
    pub(super) processing_known: bool,
    /// Every life that was there at the end stopped as it should: what it processed is to be
    /// committed.
    pub(super) stopped_cleanly: bool,
    /// From when on a fault may have taken partitions from their owners.
    pub(super) disrupted_ns: Option<u64>,
}

impl Partition {
    /// Adds this partition to the audit.
    pub(super) fn audit(
        &mut self,
        name: Name<'_>,
        facts: Option<&TopicFacts>,
        circumstances: Circumstances,
        audit: &mut Audit,
        findings: &mut Findings,
    ) {
        self.produced.sort_unstable_by_key(|batch| batch.start);
        let produced = Intervals::union(self.produced.iter().map(|batch| (batch.start, batch.end)).collect());
        let spans = || self.delivered.iter().map(|delivery| (delivery.start, delivery.end));
        let delivered = Intervals::union(spans().collect());
        self.missing(name, facts, &produced.without(&delivered), audit, findings);
        let repeats = repeats::repeats(&self.delivered, &self.tenure, circumstances.disrupted_ns);
        self.repeated(name, &repeats, &produced, audit, findings);
        self.order(name, audit, findings);
        self.payloads(name, circumstances.disrupted_ns.is_some(), audit, findings);
        if circumstances.processing_known {
            self.commits(name, &produced, circumstances, audit, findings);
        }
    }

    /// Never delivered: lost below the committed offset, skipped below the log's start,
    /// undelivered otherwise.
    fn missing(
        &self,
        name: Name<'_>,
        facts: Option<&TopicFacts>,
        missing: &Intervals,
        audit: &mut Audit,
        findings: &mut Findings,
    ) {
        let log_start = self.broker.map_or(i64::MIN, |broker| broker.log_start);
        let committed = self.broker.and_then(|broker| broker.committed).unwrap_or(i64::MIN);
        if self.deleted {
            // The broker has forgotten the commits too; what it acknowledged still binds.
            self.missing_of_deleted(
                name,
                missing,
                committed.max(self.tenure.committed(u64::MAX)),
                audit,
                findings,
            );
            return;
        }
        let skipped = missing.below(log_start);
        audit.skipped_by_retention += skipped.count();
        for &(start, end) in skipped.ranges() {
            findings.add(Finding::SkippedByRetention, || {
                format!(
                    "skipped by retention: {name} {}, below the log's start {log_start}",
                    offsets(start, end)
                )
            });
        }
        let there = missing.from(log_start);
        let lost = there.below(committed);
        audit.lost += lost.count();
        for &(start, end) in lost.ranges() {
            findings.add(Finding::Lost, || {
                format!(
                    "lost: {name} {}, acknowledged, never delivered and below the committed offset {committed}{}",
                    offsets(start, end),
                    self.neighbour(start)
                )
            });
        }
        if facts.is_some_and(|facts| !facts.deliverable) {
            return;
        }
        let undelivered = there.from(committed);
        audit.undelivered += undelivered.count();
        for &(start, end) in undelivered.ranges() {
            findings.add(Finding::Undelivered, || {
                format!(
                    "undelivered: {name} {}, acknowledged and never delivered{}",
                    offsets(start, end),
                    self.neighbour(start)
                )
            });
        }
    }

    /// Below the committed offset lost all the same; the rest went with its topic.
    fn missing_of_deleted(
        &self,
        name: Name<'_>,
        missing: &Intervals,
        committed: i64,
        audit: &mut Audit,
        findings: &mut Findings,
    ) {
        let lost = missing.below(committed);
        audit.lost += lost.count();
        for &(start, end) in lost.ranges() {
            findings.add(Finding::Lost, || {
                format!(
                    "lost: {name} {}, acknowledged, never delivered and below the committed offset {committed}{}",
                    offsets(start, end),
                    self.neighbour(start)
                )
            });
        }
        let gone = missing.from(committed);
        audit.skipped_by_retention += gone.count();
        for &(start, end) in gone.ranges() {
            findings.add(Finding::SkippedByRetention, || {
                format!("skipped by retention: {name} {}, deleted with its topic", offsets(start, end))
            });
        }
    }

    /// Where to look for a missing record: the poll that ended just before it.
    fn neighbour(&self, start: i64) -> String {
        match self.delivered.iter().find(|delivery| delivery.end == start) {
            Some(delivery) => format!("; poll {}{} ended before it", delivery.seq, life(delivery.life)),
            None => String::new(),
        }
    }

    fn repeated(
        &self,
        name: Name<'_>,
        repeats: &Repeats,
        produced: &Intervals,
        audit: &mut Audit,
        findings: &mut Findings,
    ) {
        let again = repeats.duplicated.and(produced);
        audit.duplicated += again.count();
        audit.redelivered += repeats.redelivered;
        audit.uncommitted_at_loss += repeats.uncommitted;
        for &(start, end) in again.ranges() {
            findings.add(Finding::Duplicated, || {
                // The polls of the first offset; of a long stretch others may follow.
                let polls: Vec<String> = self
                    .delivered
                    .iter()
                    .filter(|delivery| delivery.start <= start && start < delivery.end)
                    .map(|delivery| format!("{}{}", delivery.seq, life(delivery.life)))
                    .take(3)
                    .collect();
                format!("duplicated: {name} {}, in polls {}", offsets(start, end), polls.join(" and "))
            });
        }
    }

    /// Within one life and assignment each record lies above all before it.
    fn order(&self, name: Name<'_>, audit: &mut Audit, findings: &mut Findings) {
        let mut current = None;
        let mut next = i64::MIN;
        for delivery in &self.delivered {
            if current != Some((delivery.life, delivery.assignment)) {
                current = Some((delivery.life, delivery.assignment));
                next = i64::MIN;
            }
            let late_end = delivery.end.min(next);
            if delivery.start < late_end {
                audit.out_of_order += late_end.abs_diff(delivery.start);
                findings.add(Finding::OutOfOrder, || {
                    format!(
                        "out of order: {name} {} in poll {}{}, after offset {}",
                        offsets(delivery.start, late_end),
                        delivery.seq,
                        life(delivery.life),
                        next - 1
                    )
                });
            }
            next = next.max(delivery.end);
        }
    }

    /// The ids read from the payloads must add up to those that were produced at the offsets. Of
    /// a range whose sum is wrong no record can be trusted: all count.
    fn payloads(&self, name: Name<'_>, disrupted: bool, audit: &mut Audit, findings: &mut Findings) {
        for delivery in &self.delivered {
            let (produced, id_sum) = self.expected(delivery.start, delivery.end);
            let count = delivery.end.abs_diff(delivery.start);
            if produced < count && disrupted {
                // A batch whose acknowledgement was lost with its broker may be there all the same;
                // nobody can say what its records should hold.
                audit.unacknowledged += count - produced;
            } else if produced < count {
                audit.corrupted += count - produced;
                findings.add(Finding::Corrupted, || {
                    format!(
                        "corrupted: {name} {} in poll {}{}: {} of them were never produced",
                        offsets(delivery.start, delivery.end),
                        delivery.seq,
                        life(delivery.life),
                        count - produced
                    )
                });
            } else if id_sum != delivery.id_sum {
                audit.corrupted += count;
                findings.add(Finding::Corrupted, || {
                    format!(
                        "corrupted: {name} {} in poll {}{}: the payloads' ids add up to {}, the produced ones to {id_sum}",
                        offsets(delivery.start, delivery.end),
                        delivery.seq,
                        life(delivery.life),
                        delivery.id_sum
                    )
                });
            }
        }
    }

    /// How many of the offsets were produced, and the sum of their ids modulo 2⁶⁴.
    fn expected(&self, start: i64, end: i64) -> (u64, u64) {
        let from = self.produced.partition_point(|batch| batch.end <= start);
        let (mut count, mut sum) = (0_u64, 0_u64);
        for batch in self.produced[from..].iter().take_while(|batch| batch.start < end) {
            let (a, b) = (batch.start.max(start), batch.end.min(end));
            let n = b.abs_diff(a);
            let id = batch.first_id.wrapping_add(a.abs_diff(batch.start));
            // n(n−1)/2 needs 127 bits before the division.
            let triangle = u128::from(n) * u128::from(n.saturating_sub(1)) / 2;
            #[expect(clippy::cast_possible_truncation, reason = "the sum is modulo 2⁶⁴")]
            let triangle = triangle as u64;
            count += n;
            sum = sum.wrapping_add(n.wrapping_mul(id)).wrapping_add(triangle);
        }
        (count, sum)
    }

    /// What these deliveries brought, less the records on which processing failed in the same life.
    fn processed<'a>(&self, deliveries: impl Iterator<Item = &'a Delivery>) -> Intervals {
        let mut spans = Vec::new();
        for delivery in deliveries {
            let mut start = delivery.start;
            for (_, failed) in self.failed.range((delivery.life, start)..(delivery.life, delivery.end)) {
                spans.push((start, *failed));
                start = failed + 1;
            }
            spans.push((start, delivery.end));
        }
        Intervals::union(spans)
    }

    fn commits(
        &self,
        name: Name<'_>,
        produced: &Intervals,
        circumstances: Circumstances,
        audit: &mut Audit,
        findings: &mut Findings,
    ) {
        let Some(Final { log_start, committed: Some(committed) }) = self.broker else { return };
        let done = |delivery: &&Delivery| delivery.processed;
        let processed = self.processed(self.delivered.iter().filter(done));
        // What retention removed is no gap of the consumer's.
        let open = produced.from(log_start).without(&processed);
        let past = open.below(committed);
        audit.committed_past_gap += past.count();
        if let Some(gap) = past.first() {
            findings.add(Finding::CommittedPastGap, || {
                format!(
                    "committed past a gap: {name} is committed up to {committed}, but offset {gap} was not processed \
                     ({} in all)",
                    past.count()
                )
            });
        }
        // Whom a fault made the group give up could not commit, however well it stopped.
        let expelled = self.tenure.lost && circumstances.disrupted_ns.is_some();
        if circumstances.stopped_cleanly && !expelled {
            // What an earlier owner processed and could not commit any more comes again, or would.
            let last = self.tenure.assigned.last().filter(|_| circumstances.disrupted_ns.is_some());
            let owned = |delivery: &&Delivery| {
                last.is_none_or(|(_, life, number)| (delivery.life, delivery.assignment) == (*life, *number))
            };
            let survived = |delivery: &&Delivery| delivery.survived;
            let kept = self.processed(self.delivered.iter().filter(done).filter(survived).filter(owned));
            let behind = kept.and(produced).from(committed).below(open.first().unwrap_or(i64::MAX));
            audit.committed_behind += behind.count();
            if let Some(first) = behind.first() {
                findings.add(Finding::CommittedBehind, || {
                    format!(
                        "committed behind: {name} is committed up to {committed}, though {} records from offset {first} \
                         on were processed before the stop",
                        behind.count()
                    )
                });
            }
        }
    }
}

fn life(life: u32) -> String {
    if life > 1 { format!(" of life {life}") } else { String::new() }
}
