//! What criterion measured, from the files that it leaves: benchmarks, in groups, with ratios.
//!
//! Criterion 0.8 keeps a benchmark in `<group>/[<function>/][<value>/]new/`: who it is in
//! [`BENCHMARK`], what it costs in [`ESTIMATES`], how often it was measured in [`SAMPLE`]. Which
//! folders there are is the caller's to know; here their texts become [`Group`]s.
//!
//! Criterion writes numbers without units. They are nanoseconds, but for groups whose last part is
//! `memory` (`lanes/memory`): there they are bytes. A group whose last part is `throughput` is shown as
//! what it does per second. In both the part before is what the parameter counts: `lanes`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

#[cfg(test)]
mod tests;

/// The file that says which benchmark it is, and how much an iteration does.
pub const BENCHMARK: &str = "benchmark.json";
/// The file with the estimates.
pub const ESTIMATES: &str = "estimates.json";
/// The file with what was measured.
pub const SAMPLE: &str = "sample.json";

/// With fewer samples criterion did not measure but glance (`--quick`); it refuses to measure with fewer.
pub const SAMPLES_LEAST: usize = 10;

const NS_PER_S: f64 = 1e9;

/// The three files of a benchmark, as they were read.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    /// [`BENCHMARK`].
    pub benchmark: &'a str,
    /// [`ESTIMATES`].
    pub estimates: &'a str,
    /// [`SAMPLE`].
    pub sample: &'a str,
}

/// One of the three files is not what criterion writes.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{file}: {what}")]
pub struct Unreadable {
    /// The file's name.
    pub file: &'static str,
    /// What is wrong, and where.
    pub what: String,
}

/// An estimate and its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Interval {
    /// The estimate.
    pub point: f64,
    /// The interval's lower end.
    pub lower: f64,
    /// The interval's upper end.
    pub upper: f64,
}

impl Interval {
    /// The same in another unit.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { point: self.point * factor, lower: self.lower * factor, upper: self.upper * factor }
    }

    /// Per second, where this is the time that `amount` takes, ns: a longer time is a smaller rate.
    fn rate(self, amount: f64) -> Self {
        let rate = |ns: f64| amount * NS_PER_S / ns;
        Self { point: rate(self.point), lower: rate(self.upper), upper: rate(self.lower) }
    }
}

/// What an iteration does, and what throughput counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Thing {
    /// Records, grants, lanes: what the bench says.
    Element,
    /// A byte.
    Byte,
}

/// How much an iteration does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Amount {
    /// Of what.
    pub of: Thing,
    /// How many; above 0.
    pub count: f64,
}

/// One benchmark as criterion estimates it.
#[derive(Debug, Clone, PartialEq)]
pub struct Benchmark {
    /// The group's id: `scheduler/backlogged`.
    pub group: String,
    /// The function within the group.
    pub function: Option<String>,
    /// What it was given: a number, or a word.
    pub value: Option<String>,
    /// How much an iteration does.
    pub amount: Option<Amount>,
    /// What an iteration takes: nanoseconds, or bytes in a group of memory.
    pub iteration: Interval,
    /// The interval's confidence, percent.
    pub confidence_pct: f64,
    /// How many samples the estimate rests on.
    pub samples: usize,
}

#[derive(Deserialize)]
struct Identity {
    group_id: String,
    function_id: Option<String>,
    value_str: Option<String>,
    throughput: Option<Throughput>,
}

/// Criterion's own, by its names.
#[derive(Deserialize)]
enum Throughput {
    Bits(u64),
    Bytes(u64),
    BytesDecimal(u64),
    Elements(u64),
    // Elements are what criterion calls primary.
    ElementsAndBytes { elements: u64 },
}

#[derive(Deserialize)]
struct Estimates {
    mean: Estimate,
    slope: Option<Estimate>,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: ConfidenceInterval,
}

#[derive(Deserialize)]
struct ConfidenceInterval {
    confidence_level: f64,
    lower_bound: f64,
    upper_bound: f64,
}

#[derive(Deserialize)]
struct Sample {
    iters: Vec<f64>,
}

impl Benchmark {
    /// Reads a benchmark. Its estimate is the slope, or the mean where criterion did not vary the
    /// iterations and so has no slope: what criterion itself prints.
    ///
    /// # Errors
    /// The first file that criterion would not have written, and what is wrong with it.
    pub fn read(texts: Texts<'_>) -> Result<Self, Unreadable> {
        let identity: Identity = parse(BENCHMARK, texts.benchmark)?;
        let estimates: Estimates = parse(ESTIMATES, texts.estimates)?;
        let sample: Sample = parse(SAMPLE, texts.sample)?;
        let Estimate { point_estimate, confidence_interval: interval } =
            estimates.slope.unwrap_or(estimates.mean);
        let iteration =
            Interval { point: point_estimate, lower: interval.lower_bound, upper: interval.upper_bound };
        // A rate and a logarithm need more than 0. Nothing takes no time, but a lane may well take no memory.
        let least = if is_memory(&identity.group_id) { 0.0 } else { f64::MIN_POSITIVE };
        for (name, value) in [("point estimate", iteration.point), ("lower bound", iteration.lower)] {
            if value < least {
                let what = format!("a {name} of {value} cannot have been measured");
                return Err(Unreadable { file: ESTIMATES, what });
            }
        }
        if iteration.upper < iteration.lower {
            let what = format!("the interval {} to {} is empty", iteration.lower, iteration.upper);
            return Err(Unreadable { file: ESTIMATES, what });
        }
        Ok(Self {
            group: identity.group_id,
            function: identity.function_id,
            value: identity.value_str,
            amount: identity.throughput.as_ref().and_then(amount),
            iteration,
            confidence_pct: 100.0 * interval.confidence_level,
            samples: sample.iters.len(),
        })
    }

    /// What it was given, where that is a number that an axis can show: above 0, because axes of
    /// parameters are logarithmic.
    fn parameter(&self) -> Option<f64> {
        let number: f64 = self.value.as_ref()?.parse().ok()?;
        (number.is_finite() && number > 0.0).then_some(number)
    }
}

fn parse<'a, T: Deserialize<'a>>(file: &'static str, text: &'a str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error| Unreadable { file, what: error.to_string() })
}

#[expect(clippy::cast_precision_loss, reason = "a count of elements is shown with three digits")]
fn amount(throughput: &Throughput) -> Option<Amount> {
    let (of, count) = match *throughput {
        Throughput::Elements(count) | Throughput::ElementsAndBytes { elements: count } => {
            (Thing::Element, count as f64)
        }
        Throughput::Bytes(count) | Throughput::BytesDecimal(count) => (Thing::Byte, count as f64),
        Throughput::Bits(count) => (Thing::Byte, count as f64 / 8.0),
    };
    (count > 0.0).then_some(Amount { of, count })
}

fn last_part(group: &str) -> &str {
    group.rsplit('/').next().unwrap_or(group)
}

fn is_memory(group: &str) -> bool {
    last_part(group) == "memory"
}

/// The figure that a group is about: what is plotted, and what ratios are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Bytes.
    Memory,
    /// Things per second.
    Throughput(Thing),
    /// Nanoseconds per thing.
    TimeEach(Thing),
    /// Nanoseconds per iteration: where no amount is known, or not of all.
    TimePerIteration,
}

/// Benchmarks of one group.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Group {
    /// Its id.
    pub name: String,
    /// What it is about.
    pub figure: Figure,
    /// What the parameter counts, where the group's name says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<String>,
    /// The smallest parameter, to which ratios are. `None`: not every benchmark has a number, or all have
    /// the same; ratios are to the least figure then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<f64>,
    /// The confidence of the intervals, percent; the smallest, should they differ.
    pub confidence_pct: f64,
    /// By function, then by parameter: numbers as numbers.
    pub rows: Vec<Row>,
}

/// One benchmark in its group. What is not known is a missing key.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// Function and value: `fair/12`, or the group's name where it has neither.
    pub name: String,
    /// The function, where the group has functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The value, where it is a number above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<f64>,
    /// What an iteration takes: nanoseconds, or bytes where the figure is `memory`.
    pub iteration: Interval,
    /// How much an iteration does; not where the figure is `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Of that, per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<Interval>,
    /// Nanoseconds for one of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each_ns: Option<Interval>,
    /// The figure, against that of the same function at the base (or the least of the group).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// How many samples it rests on.
    pub samples: usize,
}

/// `benchmarks.json`: all groups, by name.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Benchmarks {
    /// 1.
    pub schema_version: u32,
    /// The groups.
    pub groups: Vec<Group>,
}

impl Benchmarks {
    /// Sorted and compared; in whatever order they were found.
    #[must_use]
    pub fn new(found: Vec<Benchmark>) -> Self {
        let mut groups: BTreeMap<String, Vec<Benchmark>> = BTreeMap::new();
        for benchmark in found {
            groups.entry(benchmark.group.clone()).or_default().push(benchmark);
        }
        Self {
            schema_version: 1,
            groups: groups.into_iter().map(|(name, all)| Group::new(name, all)).collect(),
        }
    }
}

impl Group {
    fn new(name: String, mut benchmarks: Vec<Benchmark>) -> Self {
        benchmarks.sort_by(|a, b| {
            let numbers =
                a.parameter().unwrap_or(f64::INFINITY).total_cmp(&b.parameter().unwrap_or(f64::INFINITY));
            a.function.cmp(&b.function).then(numbers).then_with(|| a.value.cmp(&b.value))
        });
        let figure = figure(&name, &benchmarks);
        let base = base(&benchmarks);
        let confidence_pct =
            benchmarks.iter().map(|benchmark| benchmark.confidence_pct).fold(100.0, f64::min);
        let counts = name.rsplit_once('/').filter(|(_, last)| matches!(*last, "memory" | "throughput"));
        let counts = counts.map(|(before, _)| last_part(before).to_owned());
        let mut rows: Vec<Row> =
            benchmarks.into_iter().map(|benchmark| Row::new(benchmark, figure)).collect();
        let figures: Vec<f64> = rows.iter().map(|row| row.of(figure).point).collect();
        let against = |row: &Row| match base {
            Some(base) => {
                let same = |other: &&Row| other.function == row.function && other.parameter == Some(base);
                rows.iter().find(same).map(|other| other.of(figure).point)
            }
            None => figures.iter().copied().reduce(f64::min),
        };
        let ratios: Vec<Option<f64>> = (rows.iter().zip(&figures))
            .map(|(row, figure)| {
                against(row).filter(|against| *against > 0.0).map(|against| figure / against)
            })
            .collect();
        for (row, ratio) in rows.iter_mut().zip(ratios) {
            row.ratio = ratio;
        }
        Self { name, figure, counts, base, confidence_pct, rows }
    }
}

fn figure(name: &str, benchmarks: &[Benchmark]) -> Figure {
    if is_memory(name) {
        return Figure::Memory;
    }
    let mut things = benchmarks.iter().map(|benchmark| benchmark.amount.map(|amount| amount.of));
    let first = things.next().flatten();
    match first.filter(|first| things.all(|thing| thing == Some(*first))) {
        Some(thing) if last_part(name) == "throughput" => Figure::Throughput(thing),
        Some(thing) => Figure::TimeEach(thing),
        None => Figure::TimePerIteration,
    }
}

/// The smallest parameter, if all have one and there is something to compare with it.
fn base(benchmarks: &[Benchmark]) -> Option<f64> {
    let parameters: Option<Vec<f64>> = benchmarks.iter().map(Benchmark::parameter).collect();
    let parameters = parameters?;
    let least = parameters.iter().copied().reduce(f64::min)?;
    parameters.iter().any(|parameter| *parameter > least).then_some(least)
}

impl Row {
    fn new(benchmark: Benchmark, figure: Figure) -> Self {
        let amount = benchmark.amount.filter(|_| figure != Figure::Memory);
        let parameter = benchmark.parameter();
        let parts: Vec<&str> =
            benchmark.function.iter().chain(&benchmark.value).map(String::as_str).collect();
        Self {
            name: if parts.is_empty() { benchmark.group.clone() } else { parts.join("/") },
            parameter,
            iteration: benchmark.iteration,
            amount,
            per_second: amount.map(|amount| benchmark.iteration.rate(amount.count)),
            each_ns: amount.map(|amount| benchmark.iteration.times(1.0 / amount.count)),
            ratio: None,
            samples: benchmark.samples,
            function: benchmark.function,
        }
    }

    /// The figure that the group is about.
    #[must_use]
    pub fn of(&self, figure: Figure) -> Interval {
        match figure {
            Figure::Throughput(_) => self.per_second,
            Figure::TimeEach(_) => self.each_ns,
            Figure::Memory | Figure::TimePerIteration => None,
        }
        // A group's figure is chosen so that all its rows have it.
        .unwrap_or(self.iteration)
    }
}
