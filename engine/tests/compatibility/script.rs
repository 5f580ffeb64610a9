//! The script: what is done, one operation a line, and where it comes from.

#![expect(unreachable_pub, reason = "a part of one test binary")]

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use fastrand::Rng;

pub const SEED: u64 = 20_261_124;
pub const OPERATIONS: usize = 200;
pub const TOPICS: [(&str, i32); 3] = [("orders", 3), ("sensor", 2), ("audit", 1)];

/// One thing that is done with both consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// So many records to a partition.
    Produce(String, i32, usize),
    /// Polls of at most so many records until everything that may come has come. Of which partitions
    /// a poll takes is up to the client, so only the end is the same for both.
    Poll(u32),
    /// So many records, where only one partition has any: both consumers are then in the middle of it.
    Take(u32),
    /// Commits what came since the last commit, of partitions that were not sought since.
    Commit,
    Seek(String, i32, i64),
    Pause(String),
    Resume(String),
    /// Stops and starts anew in the same group.
    Restart,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Produce(topic, partition, records) => write!(f, "produce {topic} {partition} {records}"),
            Self::Poll(most) => write!(f, "poll {most}"),
            Self::Take(records) => write!(f, "take {records}"),
            Self::Commit => write!(f, "commit"),
            Self::Seek(topic, partition, offset) => write!(f, "seek {topic} {partition} {offset}"),
            Self::Pause(topic) => write!(f, "pause {topic}"),
            Self::Resume(topic) => write!(f, "resume {topic}"),
            Self::Restart => write!(f, "restart"),
        }
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let wrong = || format!("no operation: {line:?}");
        let words: Vec<&str> = line.split_whitespace().collect();
        fn number<T: FromStr>(word: &str) -> Result<T, String> {
            word.parse().map_err(|_| format!("no number: {word:?}"))
        }
        Ok(match words[..] {
            ["produce", topic, partition, records] => {
                Self::Produce(topic.to_owned(), number(partition)?, number(records)?)
            }
            ["poll", most] => Self::Poll(number(most)?),
            ["take", records] => Self::Take(number(records)?),
            ["commit"] => Self::Commit,
            ["seek", topic, partition, offset] => {
                Self::Seek(topic.to_owned(), number(partition)?, number(offset)?)
            }
            ["pause", topic] => Self::Pause(topic.to_owned()),
            ["resume", topic] => Self::Resume(topic.to_owned()),
            ["restart"] => Self::Restart,
            _ => return Err(wrong()),
        })
    }
}

/// Where a consumer of the topics stands, as every client must agree.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub partitions: BTreeMap<(String, i32), Stand>,
    pub paused: Vec<String>,
}

/// One partition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stand {
    pub end: i64,
    pub position: i64,
    /// Delivered and neither committed nor sought past.
    pub uncommitted: bool,
    pub committed: i64,
}

impl World {
    pub fn new() -> Self {
        let all = TOPICS.iter().flat_map(|&(topic, count)| (0..count).map(move |number| (topic, number)));
        let partitions = all.map(|(topic, number)| ((topic.to_owned(), number), Stand::default()));
        Self { partitions: partitions.collect(), paused: Vec::new() }
    }

    /// Partitions of which records may come, and how many.
    pub fn open(&self) -> Vec<((String, i32), usize)> {
        let open = self
            .partitions
            .iter()
            .filter(|((topic, _), stand)| stand.position < stand.end && !self.paused.contains(topic));
        let count = |stand: &Stand| usize::try_from(stand.end - stand.position).expect("looked at above");
        open.map(|(partition, stand)| (partition.clone(), count(stand))).collect()
    }

    pub fn apply(&mut self, operation: &Operation) {
        let at = |topic: &String, partition: i32| (topic.clone(), partition);
        match operation {
            Operation::Produce(topic, partition, records) => {
                let stand = self.partitions.get_mut(&at(topic, *partition)).expect("known");
                stand.end += i64::try_from(*records).expect("few");
            }
            Operation::Poll(_) => {
                for (partition, _) in self.open() {
                    let stand = self.partitions.get_mut(&partition).expect("known");
                    (stand.position, stand.uncommitted) = (stand.end, true);
                }
            }
            Operation::Take(records) => {
                for (partition, _) in self.open() {
                    let stand = self.partitions.get_mut(&partition).expect("known");
                    (stand.position, stand.uncommitted) = (stand.position + i64::from(*records), true);
                }
            }
            Operation::Commit => {
                for stand in self.partitions.values_mut().filter(|stand| stand.uncommitted) {
                    (stand.committed, stand.uncommitted) = (stand.position, false);
                }
            }
            Operation::Seek(topic, partition, offset) => {
                let stand = self.partitions.get_mut(&at(topic, *partition)).expect("known");
                (stand.position, stand.uncommitted) = (*offset, false);
            }
            Operation::Pause(topic) => self.paused.push(topic.clone()),
            Operation::Resume(topic) => self.paused.retain(|paused| paused != topic),
            Operation::Restart => {
                self.paused.clear();
                for stand in self.partitions.values_mut() {
                    (stand.position, stand.uncommitted) = (stand.committed, false);
                }
            }
        }
    }
}

/// The script that a seed makes.
pub fn generate(seed: u64) -> Vec<Operation> {
    let mut rng = Rng::with_seed(seed);
    let mut world = World::new();
    let mut script: Vec<Operation> = Vec::new();
    while script.len() < OPERATIONS {
        let operation = match script.last() {
            // A new consumer seeks and pauses once it has its partitions.
            None | Some(Operation::Restart) => Operation::Poll(rng.u32(1..80)),
            _ => draw(&mut rng, &world),
        };
        world.apply(&operation);
        script.push(operation);
    }
    script
}

fn draw(rng: &mut Rng, world: &World) -> Operation {
    let (topic, partitions) = TOPICS[rng.usize(..TOPICS.len())];
    let (topic, partition) = (topic.to_owned(), rng.i32(0..partitions));
    let stand = world.partitions[&(topic.clone(), partition)];
    let open = world.open();
    if let [(_, count)] = open[..]
        && rng.bool()
    {
        return Operation::Take(rng.u32(1..=u32::try_from(count).expect("few")));
    }
    match rng.u8(..100) {
        0..18 => Operation::Produce(topic, partition, rng.usize(1..10)),
        18..36 => Operation::Produce(topic, partition, rng.usize(1..300)),
        36..52 => Operation::Poll(rng.u32(1..80)),
        52..55 => Operation::Poll(1_000),
        55..68 => Operation::Commit,
        68..80 => Operation::Seek(topic, partition, rng.i64(0..=stand.end)),
        80..95 if world.paused.contains(&topic) => Operation::Resume(topic),
        80..90 => Operation::Pause(topic),
        90..95 => Operation::Commit,
        _ => Operation::Restart,
    }
}
