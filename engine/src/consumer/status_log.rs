//! The lines of the log that say what runs and where it stands: stable, greppable `key=value` pairs.

use std::cmp::Reverse;
use std::fmt;
use std::time::{Duration, Instant};

use crate::ffi::librdkafka_version;
use crate::status::{Failing, RefusedCommit};
use crate::traces::STATUS_TARGET;

use super::Consumer;

/// So many topics are named in a line, those furthest behind first; the rest is counted.
const NAMED: usize = 10;

/// When the next status line is due.
#[derive(Debug)]
pub(super) struct StatusLog {
    interval: Duration,
    last: Instant,
}

impl StatusLog {
    /// With an interval of 0 none ever is.
    pub(super) const fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, last: now }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let due = !self.interval.is_zero() && now.duration_since(self.last) >= self.interval;
        if due {
            self.last = now;
        }
        due
    }
}

impl Consumer {
    /// Says what runs: one line for all of it, and one for each handle.
    pub(super) fn log_started(&self) {
        let version = librdkafka_version();
        tracing::info!(target: STATUS_TARGET, "fairpoll started: {} librdkafka={version}", self.status());
        for handle in 0..self.handles.len() {
            self.log_handle(handle);
        }
    }

    fn log_handle(&self, handle: usize) {
        let plan = &self.handles[handle].plan;
        let lanes = self.topology.lanes.iter().filter(|lane| lane.handle == handle).count();
        let topics = named(plan.topics.iter().map(|&topic| self.topics[topic].to_string()).collect());
        tracing::info!(
            target: STATUS_TARGET,
            "fairpoll handle: handle={handle} client_id={} group={:?} protocol={} topics={} lanes={lanes} \
             topic_names={topics}",
            plan.client_id,
            plan.group_id,
            plan.protocol,
            plan.topics.len(),
        );
    }

    /// Says where it stands, if that is due.
    pub(super) fn log_status(&mut self, now: Instant) {
        // Counting lag looks at every partition: not for a line that nobody takes.
        if self.status_log.is_due(now) && tracing::enabled!(target: STATUS_TARGET, tracing::Level::INFO) {
            tracing::info!(target: STATUS_TARGET, "fairpoll status: {}", self.status_line());
        }
    }

    fn status_line(&self) -> StatusLine {
        let now = self.now();
        let mut line = StatusLine {
            group: self.config.group_id.clone(),
            mode: self.topology.resolution.actual.to_string(),
            topics: self.topics.len(),
            partitions: self.partitions.assigned().count(),
            queued: self.lanes.iter().map(super::Lane::queued).sum(),
            failing: self.failing().iter().map(failing).collect(),
            refused: self.refused_commits().iter().map(refused).collect(),
            outstanding_batches: self.batches.get(),
            ..StatusLine::default()
        };
        for (topic, partitions) in self.lag_info() {
            let known: Vec<u64> =
                partitions.values().filter_map(|lag| Some(lag.processing(now).ok()?.records)).collect();
            line.lag_unknown += partitions.len() - known.len();
            if !known.is_empty() {
                line.lag.push((topic, known.iter().sum()));
            }
        }
        line
    }
}

fn failing(Failing { topic, partition, code, .. }: &Failing) -> String {
    match partition {
        Some(partition) => format!("{topic}[{partition}]:{code}"),
        None => format!("{topic}:{code}"),
    }
}

fn refused(RefusedCommit { topic, partition, code, .. }: &RefusedCommit) -> String {
    format!("{topic}[{partition}]:{code}")
}

/// Where a consumer stands.
#[derive(Debug, Default)]
struct StatusLine {
    group: String,
    mode: String,
    topics: usize,
    partitions: usize,
    queued: usize,
    /// By topic, over the partitions of which it is known.
    lag: Vec<(String, u64)>,
    /// Partitions of which it is not.
    lag_unknown: usize,
    failing: Vec<String>,
    refused: Vec<String>,
    outstanding_batches: usize,
}

impl fmt::Display for StatusLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.lag.iter().map(|(_, lag)| lag).sum();
        let mut behind: Vec<&(String, u64)> = self.lag.iter().filter(|(_, lag)| *lag > 0).collect();
        behind.sort_by_key(|(topic, lag)| (Reverse(*lag), topic.clone()));
        write!(
            f,
            "group={:?} mode={} topics={} partitions={} queued={} lag={total} lag_unknown={} lag_by_topic={} \
             failing={} refused_commits={} outstanding_batches={}",
            self.group,
            self.mode,
            self.topics,
            self.partitions,
            self.queued,
            self.lag_unknown,
            named(behind.into_iter().map(|(topic, lag)| format!("{topic}:{lag}")).collect()),
            named(self.failing.clone()),
            named(self.refused.clone()),
            self.outstanding_batches,
        )
    }
}

/// `a,b,c`, `a,…,+7` where there are more than are named, `-` for none.
fn named(mut all: Vec<String>) -> String {
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    if more > 0 {
        all.push(format!("+{more}"));
    }
    if all.is_empty() { "-".to_owned() } else { all.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_names_those_furthest_behind_and_counts_the_rest() {
        let lag = (0..13).map(|number| (format!("t{number}"), number * 10)).collect();
        let line = StatusLine {
            group: "a group".to_owned(),
            mode: "fair".to_owned(),
            topics: 14,
            partitions: 20,
            queued: 7,
            lag,
            lag_unknown: 1,
            failing: vec!["sick[0]:UNKNOWN".to_owned()],
            ..StatusLine::default()
        };
        assert_eq!(
            line.to_string(),
            "group=\"a group\" mode=fair topics=14 partitions=20 queued=7 lag=780 lag_unknown=1 \
             lag_by_topic=t12:120,t11:110,t10:100,t9:90,t8:80,t7:70,t6:60,t5:50,t4:40,t3:30,+2 \
             failing=sick[0]:UNKNOWN refused_commits=- outstanding_batches=0"
        );
    }

    #[test]
    fn a_line_is_due_once_in_each_interval_and_never_without_one() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut log = StatusLog::new(Duration::from_secs(10), start);
        let due: Vec<u64> = (0..40).filter(|&second| log.is_due(at(second))).collect();
        assert_eq!(due, [10, 20, 30]);
        let mut never = StatusLog::new(Duration::ZERO, start);
        assert!((0..40).all(|second| !never.is_due(at(second))));
    }
}
