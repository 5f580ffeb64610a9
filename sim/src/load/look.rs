//! Looks at what the broker holds, with clients of the harness's own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::patience::Patience;
use super::{LoadError, STALLED_AFTER, TopicLoad, Totals, first_id};
use crate::broker::Endpoint;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// For how long a question is asked again that the cluster cannot answer just now. A node that came
/// back leads nothing yet, and for some seconds clients and brokers disagree about who does.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Reads everything back that was acknowledged, with a client that joins no group.
///
/// # Errors
/// If a record is missing or is another one, or if none comes for a minute.
pub fn verify_backlog(endpoint: &Endpoint, loads: &[TopicLoad], totals: &Totals) -> Result<(), LoadError> {
    let mut expected = BTreeMap::new();
    for load in loads {
        for partition in 0..load.open {
            let count = totals.get(&(load.name.clone(), partition)).copied().unwrap_or(0).unsigned_abs();
            if count > 0 {
                expected.insert((load.kafka_name.clone(), partition), (load, count));
            }
        }
    }
    if expected.is_empty() {
        return Ok(());
    }
    let client = reader(endpoint)?;
    let mut list = TopicPartitionList::new();
    for (topic, partition) in expected.keys() {
        list.add_partition_offset(topic, partition.cast_signed(), Offset::Beginning)
            .map_err(|error| LoadError::Client(error.to_string()))?;
    }
    client.assign(&list).map_err(|error| LoadError::Client(error.to_string()))?;

    let mut seen: BTreeMap<(String, u32), (u64, u64)> = BTreeMap::new();
    let mut missing: u64 = expected.values().map(|(_, count)| count).sum();
    let mut patience = Patience::new(STALLED_AFTER, missing, Instant::now());
    // Records come in runs of one partition; looking it up once per run is enough.
    let mut run: Option<((String, u32), (u64, u64))> = None;
    while missing > 0 {
        let Some(result) = client.poll(Duration::from_millis(100)) else {
            if patience.is_over(missing, Instant::now()) {
                break;
            }
            continue;
        };
        let message = result.map_err(|error| LoadError::Offsets(error.to_string()))?;
        let id = message
            .payload()
            .and_then(|value| value.first_chunk::<8>())
            .map_or(0, |id| u64::from_be_bytes(*id));
        let partition = message.partition().unsigned_abs();
        match &mut run {
            Some(((topic, known), sums)) if *known == partition && topic == message.topic() => {
                sums.0 += 1;
                sums.1 = sums.1.wrapping_add(id);
            }
            _ => {
                add(&mut seen, run.replace(((message.topic().to_owned(), partition), (1, id))));
            }
        }
        missing -= 1;
    }
    add(&mut seen, run);
    for ((topic, partition), (load, count)) in expected {
        let (found, sum) = seen.get(&(topic, partition)).copied().unwrap_or_default();
        let wrong =
            |what| LoadError::ReadBack { topic: load.name.clone(), partition, found, expected: count, what };
        if found != count {
            return Err(wrong("came back"));
        }
        let first = first_id(load.index, partition);
        let right = (0..count).fold(0_u64, |sum, ordinal| sum.wrapping_add(first + ordinal));
        if sum != right {
            return Err(wrong("came back, and they are not those that were sent"));
        }
    }
    Ok(())
}

fn add(seen: &mut BTreeMap<(String, u32), (u64, u64)>, run: Option<((String, u32), (u64, u64))>) {
    if let Some((partition, (count, sum))) = run {
        let sums = seen.entry(partition).or_default();
        sums.0 += count;
        sums.1 = sums.1.wrapping_add(sum);
    }
}

fn reader(endpoint: &Endpoint) -> Result<BaseConsumer, LoadError> {
    let mut config = endpoint.client();
    config
        .set("group.id", "fairpoll-look")
        .set("enable.auto.commit", "false")
        .set("queued.min.messages", "1000000")
        .set("fetch.wait.max.ms", "10");
    config.create().map_err(|error| LoadError::Client(error.to_string()))
}

/// What the broker says of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerOffsets {
    /// Topic, by its name in the scenario.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// First offset that it still has.
    pub log_start: i64,
    /// One past the last.
    pub log_end: i64,
    /// The group's committed offset, if there is one.
    pub committed: Option<i64>,
    /// The committed offset could be asked for.
    pub committed_known: bool,
}

/// Asks for the log's ends and the committed offsets of every partition, without joining a group.
/// `group_of` names the group that commits for a topic, by its name on the broker.
///
/// # Errors
/// If the broker does not answer, or says for half a minute that it cannot tell yet.
pub fn broker_offsets(
    endpoint: &Endpoint,
    group_of: &dyn Fn(&str) -> String,
    loads: &[TopicLoad],
) -> Result<Vec<BrokerOffsets>, LoadError> {
    let failed = |error: KafkaError| LoadError::Offsets(error.to_string());
    let mut by_group: BTreeMap<String, Vec<&TopicLoad>> = BTreeMap::new();
    for load in loads.iter().filter(|load| load.open > 0) {
        by_group.entry(group_of(&load.kafka_name)).or_default().push(load);
    }
    let mut all = Vec::new();
    for (group, loads) in by_group {
        let mut config = endpoint.client();
        config.set("group.id", &group).set("enable.auto.commit", "false");
        let client: BaseConsumer = config.create().map_err(failed)?;
        let mut list = TopicPartitionList::new();
        for load in &loads {
            for partition in 0..load.open {
                list.add_partition(&load.kafka_name, partition.cast_signed());
            }
        }
        let committed = settled(|| {
            let answer = client.committed_offsets(list.clone(), ANSWER_WITHIN)?;
            // A coordinator on the move fails partitions one by one.
            let passing = answer.elements().iter().find_map(|entry| entry.error().err().filter(is_passing));
            passing.map_or(Ok(answer), Err)
        })
        .map_err(failed)?;
        for load in loads {
            for partition in 0..load.open {
                let number = partition.cast_signed();
                let ends = || client.fetch_watermarks(&load.kafka_name, number, ANSWER_WITHIN);
                let (log_start, log_end) = settled(ends).map_err(failed)?;
                let entry = committed.find_partition(&load.kafka_name, number);
                all.push(BrokerOffsets {
                    topic: load.name.clone(),
                    partition,
                    log_start,
                    log_end,
                    committed: entry
                        .as_ref()
                        .and_then(|entry| entry.offset().to_raw())
                        .filter(|&offset| offset >= 0),
                    committed_known: entry.is_some_and(|entry| entry.error().is_ok()),
                });
            }
        }
    }
    Ok(all)
}

/// Asks until the answer is not "not now", for [`SETTLED_WITHIN`] at most.
fn settled<T>(mut ask: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    let until = Instant::now() + SETTLED_WITHIN;
    loop {
        match ask() {
            Err(error) if is_passing(&error) && Instant::now() < until => std::thread::sleep(ASK_AGAIN_AFTER),
            answer => return answer,
        }
    }
}

/// Whether the cluster may answer the same question in a moment: leaders and coordinators move, and
/// connections break, while a node goes or comes.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    error.rdkafka_error_code().is_some_and(|code| {
        matches!(
            code,
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::ReplicaNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
                | Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::RequestTimedOut
                | Code::OperationTimedOut
                | Code::MessageTimedOut
                | Code::NetworkException
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_again_while_nobody_leads() {
        let mut asked = 0;
        let answer = settled(|| {
            asked += 1;
            if asked < 3 {
                Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NotLeaderForPartition))
            } else {
                Ok(asked)
            }
        });
        assert_eq!(answer.ok(), Some(3));
    }

    #[test]
    fn a_refusal_is_final() {
        let mut asked = 0;
        let answer: KafkaResult<()> = settled(|| {
            asked += 1;
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::TopicAuthorizationFailed))
        });
        assert!(answer.is_err());
        assert_eq!(asked, 1);
    }
}
