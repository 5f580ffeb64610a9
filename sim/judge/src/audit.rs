//! The auditor: what became of every record that the broker acknowledged.
//!
//! It reconstructs the truth from [`Body::Produced`], compares it with what the worker's polls
//! delivered and with the committed offsets that the harness read from the broker, and uses no
//! code of any consumer. All of it is arithmetic on ranges of offsets; no record is touched singly.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Body, Event, Header, Outcome};
use crate::protocol::{RecordPlace, TopicPartition, WorkerLine};
use crate::summary::Audit;

mod findings;
mod intervals;
mod partition;
mod repeats;
#[cfg(test)]
mod tests;

use findings::Findings;
use intervals::Intervals;
use partition::{Batch, Circumstances, Delivery, Final, Name, Partition};

/// The auditor's report on one run of one mode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Counts and findings.
    pub audit: Audit,
    /// Why the run decides nothing, whatever the counts say: holes in the measurement.
    pub flaws: Vec<String>,
    /// Counts of [`Audit`] that could not be established, by name; they stand at 0 there and
    /// must be left out of the metrics.
    pub unknown: Vec<&'static str>,
    /// Of the records skipped by retention those that no fault of the scenario removed.
    pub skipped_unasked: u64,
}

/// Audits one run of one mode; `events` are its events in the log's order.
///
/// *Delivered* is what a poll returned, in any life of the consumer. *Processed* is what was
/// returned by a poll whose number the same life's `processed` reached, but for the records that it
/// named as failed and not as recovered since.
#[must_use]
pub fn audit(header: &Header, events: &[&Event]) -> AuditReport {
    let mut run = Run::default();
    for event in events {
        run.take(event.t_ns, &event.body);
    }
    run.finish(header)
}

#[derive(Debug, Default)]
struct Run {
    partitions: BTreeMap<(String, u32), Partition>,
    lives: BTreeMap<u32, Life>,
    flaws: Vec<String>,
    finished: bool,
    /// When the first fault began that may take partitions from their owners.
    disrupted_ns: Option<u64>,
    /// Topics of which a fault removed records, and whether all: what is missing then is what the
    /// scenario asked for.
    removed: BTreeMap<String, bool>,
}

#[derive(Debug, Default)]
struct Life {
    seq: u64,
    returned_ns: u64,
    processed: Option<u64>,
    assignments: BTreeMap<(String, u32), u32>,
    /// Commits without an answer so far.
    sent: BTreeMap<u64, Vec<(String, u32, i64)>>,
    /// Partitions whose last answered commit was refused.
    refused: BTreeSet<(String, u32)>,
    /// Those of them that it gave back since, with the number of their assignment.
    given_back: Vec<((String, u32), u32)>,
    polls_said: Option<u64>,
    /// A fault killed it.
    killed: bool,
}

/// Kinds of faults that take nobody's partitions away and no commit back. Whoever starts anew because
/// descriptors are short gives its partitions back itself, and commits before.
const HARMLESS: [&str; 4] = ["topic_fetch_errors", "topic_forbidden", "poison_record", "descriptors_limited"];

const DELETED: &str = "topic_deleted";
const OVERTAKES: &str = "retention_overtakes";

impl Run {
    fn take(&mut self, t_ns: u64, body: &Body) {
        if let Body::Fault { kind, topic: Some(topic), begins: true, .. } = body
            && matches!(kind.as_str(), DELETED | OVERTAKES)
        {
            // A topic that is deleted stays so, whatever else happens to it.
            *self.removed.entry(topic.clone()).or_default() |= kind == DELETED;
        }
        match body {
            Body::Produced { topic, partition, first_offset, count, first_id, .. } => {
                let end = first_offset.saturating_add_unsigned(*count);
                self.partition(topic, *partition).produced.push(Batch {
                    start: *first_offset,
                    end,
                    first_id: *first_id,
                });
            }
            Body::WorkerStarted { life, .. } => {
                self.lives.entry(*life).or_default();
            }
            Body::Worker { life, line } => self.line(*life, line),
            Body::BrokerOffsets { topic, partition, log_start, committed, committed_known, .. } => {
                let committed = committed_known.then_some(committed.unwrap_or(0));
                self.partition(topic, *partition).broker = Some(Final { log_start: *log_start, committed });
            }
            Body::WorkerExited { life, by_fault: true, .. } => {
                self.lives.entry(*life).or_default().killed = true;
                self.disrupted_ns.get_or_insert(t_ns);
            }
            Body::Fault { kind, begins: true, .. } if !HARMLESS.contains(&kind.as_str()) => {
                self.disrupted_ns.get_or_insert(t_ns);
            }
            Body::Flaw { what } => self.flaws.push(what.clone()),
            Body::RunEnded { outcome } => self.finished = *outcome == Outcome::Finished,
            _ => {}
        }
    }

    fn partition(&mut self, topic: &str, partition: u32) -> &mut Partition {
        self.partitions.entry((topic.to_owned(), partition)).or_default()
    }

    fn line(&mut self, number: u32, line: &WorkerLine) {
        let life = self.lives.entry(number).or_default();
        match line {
            WorkerLine::Assigned { partitions, t_ns, .. } => {
                for owned in partitions {
                    let key = (owned.topic.clone(), owned.partition);
                    let count = life.assignments.entry(key.clone()).or_default();
                    *count += 1;
                    let tenure = &mut self.partitions.entry(key).or_default().tenure;
                    tenure.assigned.push((*t_ns, number, *count));
                    tenure.lost = false;
                }
            }
            WorkerLine::Revoked { partitions, lost: false, .. } => {
                for TopicPartition { topic, partition } in partitions {
                    let key = (topic.clone(), *partition);
                    let assignment = life.assignments.get(&key).copied().unwrap_or(0);
                    if life.refused.remove(&key) {
                        life.given_back.push((key, assignment));
                    }
                }
            }
            WorkerLine::Revoked { partitions, lost: true, .. } => {
                for TopicPartition { topic, partition } in partitions {
                    self.partitions.entry((topic.clone(), *partition)).or_default().tenure.lost = true;
                }
            }
            WorkerLine::CommitSent { id, offsets, .. } => {
                let offsets = offsets.iter().map(|o| (o.topic.clone(), o.partition, o.offset)).collect();
                life.sent.insert(*id, offsets);
            }
            WorkerLine::CommitResult { id, t_ns, error } => {
                // Of a request with an error some partitions may have been taken: nobody knows which.
                for (topic, partition, offset) in life.sent.remove(id).unwrap_or_default() {
                    let key = (topic, partition);
                    if error.is_some() {
                        life.refused.insert(key);
                        continue;
                    }
                    life.refused.remove(&key);
                    self.partitions.entry(key).or_default().tenure.acknowledged.push((*t_ns, offset));
                }
            }
            WorkerLine::Processed { seq, failed, .. } => {
                life.processed = life.processed.max(Some(*seq));
                for RecordPlace { topic, partition, offset } in failed {
                    let failed = &mut self.partitions.entry((topic.clone(), *partition)).or_default().failed;
                    failed.insert((number, *offset));
                }
            }
            WorkerLine::Recovered { records, .. } => {
                for RecordPlace { topic, partition, offset } in records {
                    let failed = &mut self.partitions.entry((topic.clone(), *partition)).or_default().failed;
                    failed.remove(&(number, *offset));
                }
            }
            WorkerLine::Bye { polls, .. } => life.polls_said = Some(*polls),
            WorkerLine::Poll { seq, t_begin_ns, t_return_ns, ranges } => {
                if *seq != life.seq + 1 {
                    let expected = life.seq + 1;
                    self.flaws.push(format!(
                        "poll {expected} of life {number} is missing in the log: poll {seq} came next"
                    ));
                }
                if t_return_ns < t_begin_ns || *t_begin_ns < life.returned_ns {
                    self.flaws.push(format!("poll {seq} of life {number}: its clock runs backwards"));
                }
                life.seq = *seq;
                life.returned_ns = *t_return_ns;
                // It goes on without them: it was no stop that gave them back. Whoever got them may have ended before
                // it heard of it, and then nobody is said to own them.
                for (key, assignment) in life.given_back.drain(..) {
                    let tenure = &mut self.partitions.entry(key).or_default().tenure;
                    let last = tenure.assigned.last().map(|&(_, life, number)| (life, number));
                    tenure.lost |= last == Some((number, assignment));
                }
                for range in ranges {
                    let end = range.first.saturating_add_unsigned(range.count);
                    if range.count == 0 || range.last.checked_add(1) != Some(end) {
                        self.flaws.push(format!(
                            "poll {seq} of life {number} says {} records for offsets {}–{} of {} partition {}",
                            range.count, range.first, range.last, range.topic, range.partition
                        ));
                    }
                    let key = (range.topic.clone(), range.partition);
                    let assignment = life.assignments.get(&key).copied().unwrap_or(0);
                    self.partitions.entry(key).or_default().delivered.push(Delivery {
                        start: range.first,
                        end,
                        id_sum: range.id_sum,
                        life: number,
                        assignment,
                        seq: *seq,
                        t_ns: *t_return_ns,
                        processed: false,
                        survived: true,
                    });
                }
            }
            _ => {}
        }
    }

    fn finish(mut self, header: &Header) -> AuditReport {
        for (number, life) in &self.lives {
            match life.polls_said {
                Some(said) if said != life.seq => self.flaws.push(format!(
                    "life {number} says it made {said} polls, the log has {}: its last lines are missing",
                    life.seq
                )),
                None if self.finished && !life.killed => {
                    self.flaws.push(format!("life {number} ended without its closing line"));
                }
                _ => {}
            }
        }
        let circumstances = Circumstances {
            processing_known: self
                .lives
                .values()
                .all(|life| life.processed.is_some() || life.seq == 0 || life.killed),
            stopped_cleanly: self.lives.values().any(|life| !life.killed)
                && self.lives.values().all(|life| life.killed || life.polls_said.is_some()),
            // The embedded broker refuses commits in a rebalance, which a Kafka takes: nobody can
            // commit what it gives away while the instances join.
            disrupted_ns: if header.broker == "embedded" && header.instances > 1 {
                Some(0)
            } else {
                self.disrupted_ns
            },
        };
        let mut report = AuditReport::default();
        let mut findings = Findings::default();
        report.audit.commits_unknown =
            self.lives.values().filter(|life| life.killed).map(|life| life.sent.len() as u64).sum();
        let mut commits_known = circumstances.processing_known;
        for ((topic, number), partition) in &mut self.partitions {
            for delivery in &mut partition.delivered {
                let processed = self.lives.get(&delivery.life).and_then(|life| life.processed);
                delivery.processed = processed.is_some_and(|last| delivery.seq <= last);
                delivery.survived = self.lives.get(&delivery.life).is_none_or(|life| !life.killed);
            }
            let name = Name { topic, partition: *number };
            let facts = header.topics.iter().find(|facts| facts.name == *topic);
            let broker = partition.broker;
            commits_known &= broker.is_some_and(|broker| broker.committed.is_some());
            partition.deleted = self.removed.get(topic).copied().unwrap_or(false);
            let skipped = report.audit.skipped_by_retention;
            partition.audit(name, facts, circumstances, &mut report.audit, &mut findings);
            if !self.removed.contains_key(topic) {
                report.skipped_unasked += report.audit.skipped_by_retention - skipped;
            }
            let overlap = Intervals::repeated(partition.produced.iter().map(|b| (b.start, b.end)).collect());
            if let Some(offset) = overlap.first() {
                self.flaws.push(format!("{name}: the producer reports offset {offset} twice"));
            }
            // The embedded broker forgets silently; elsewhere retention is the cluster's own.
            if let Some(evicted) = broker.map(|broker| broker.log_start).filter(|start| *start > 0)
                && header.broker == "embedded"
            {
                self.flaws.push(format!(
                    "{name}: the embedded broker evicted the records below offset {evicted}; \
                     lower the backlog or use another broker"
                ));
            }
        }
        if !commits_known {
            report.unknown.extend(["committed_past_gap", "committed_behind"]);
        }
        report.audit.findings = findings.sentences();
        report.flaws = self.flaws;
        report
    }
}
