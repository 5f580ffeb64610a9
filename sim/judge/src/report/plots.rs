//! Which pictures there are, and the sentence under each that says what to see.

use std::collections::BTreeMap;

use plotters::style::RGBColor;

use super::plot::{self, Band, IDLE, Lane, Line, OWNERLESS, PRESENT, Panel, SERVED, STARVING, ServicePanel};
use super::value::{duration_ms, show};
use super::{ReportInput, shown};
use crate::summary::Summary;
use crate::timeline::{FaultStretch, ServiceState, Stretch, Timeline, TopicTimeline};

/// More lanes than this cannot be told apart at a glance.
const LANES_MOST: usize = 12;

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plot {
    /// Its file's name, without ending.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// What to see in it, in one sentence with this run's figures.
    pub caption: String,
    /// The picture, in the page's text colour and without a background.
    pub svg: String,
}

impl Plot {
    /// For a file of its own: with colours that follow the viewer's preference.
    #[must_use]
    pub fn standalone(&self) -> String {
        standalone(&self.svg)
    }
}

pub(super) fn standalone(svg: &str) -> String {
    let style = "<style>svg{color:#1b1f24;background:#fff}\
                 @media(prefers-color-scheme:dark){svg{color:#e6e6e6;background:#15181c}}</style>";
    match svg.find('>') {
        Some(end) => format!("{}{style}{}", &svg[..=end], &svg[end + 1..]),
        None => svg.to_owned(),
    }
}

/// Every picture that there is data for.
#[must_use]
pub fn plots(input: &ReportInput<'_>) -> Vec<Plot> {
    let courses = shown(input);
    if courses.is_empty() {
        return Vec::new();
    }
    let summary = input.summary;
    [
        Some(service(summary, &courses)),
        waits(summary),
        Some(complete_inputs(summary, &courses)),
        Some(cumulative(&courses)),
        first_records(summary, &courses),
        Some(throughput(&courses)),
        share(summary, &courses),
        memory(summary, &courses),
        resources(summary),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A metric of every mode, in the scenario's order.
fn values(summary: &Summary, metric: &str) -> Vec<(String, Option<f64>)> {
    let of = |mode: &String| summary.modes.get(mode).and_then(|mode| mode.metrics.get(metric)).copied();
    summary.mode_order.iter().map(|mode| (mode.clone(), of(mode))).collect()
}

/// Metrics with the words for them, as groups of bars; those that no mode has are left out.
fn bar_groups(summary: &Summary, names: &[(&str, &str)]) -> Vec<(String, Vec<Option<f64>>)> {
    let group = |(metric, name): &(&str, &str)| {
        let values: Vec<Option<f64>> = values(summary, metric).into_iter().map(|(_, value)| value).collect();
        values.iter().any(Option::is_some).then(|| ((*name).to_owned(), values))
    };
    names.iter().filter_map(group).collect()
}

/// `single 14 ms, fair 9 ms`.
fn listed(summary: &Summary, metric: &str, show: impl Fn(f64) -> String) -> String {
    let known = values(summary, metric).into_iter();
    let words: Vec<String> =
        known.filter_map(|(mode, value)| Some(format!("{mode} {}", show(value?)))).collect();
    if words.is_empty() { "not measured".to_owned() } else { words.join(", ") }
}

/// Says that not every topic is shown, where that is so.
fn left_out(courses: &[&Timeline], chosen: &[usize]) -> String {
    let all = courses.first().map_or(0, |course| course.topics.len());
    if all <= chosen.len() {
        return String::new();
    }
    let shown = chosen.len();
    format!(" Shown are {shown} of {all} topics: the deepest, and those that starved longest in any mode.")
}

fn starving_ms(topic: &TopicTimeline) -> f64 {
    let starving = topic.service.iter().filter(|stretch| stretch.state == ServiceState::Starving);
    starving.map(|stretch| stretch.to_ms - stretch.from_ms).sum()
}

/// The topics to show, by position: all, or the deepest and those that starved longest in any mode.
fn chosen(courses: &[&Timeline]) -> Vec<usize> {
    let Some(first) = courses.first() else { return Vec::new() };
    let mut all: Vec<usize> = (0..first.topics.len()).collect();
    if all.len() > LANES_MOST {
        let worst = |index: usize| {
            let topics = courses.iter().filter_map(|course| course.topics.get(index));
            topics.map(starving_ms).fold(0.0, f64::max)
        };
        let deepest = all.iter().copied().max_by_key(|&index| first.topics[index].backlog);
        all.sort_by(|&a, &b| worst(b).total_cmp(&worst(a)));
        all.truncate(LANES_MOST);
        if let Some(deepest) = deepest.filter(|deepest| !all.contains(deepest)) {
            all.pop();
            all.push(deepest);
        }
        all.sort_unstable();
    }
    all
}

/// Deliveries that fall into a starving stretch, ms: each ended one wait and began the next.
fn trickle(topic: &TopicTimeline) -> impl Iterator<Item = f64> + '_ {
    let starving = |ms: f64| {
        let within = |stretch: &Stretch| stretch.from_ms < ms && ms < stretch.to_ms;
        topic.service.iter().any(|stretch| stretch.state == ServiceState::Starving && within(stretch))
    };
    topic.cumulative.iter().map(|&(ms, _)| ms).filter(move |&ms| starving(ms))
}

/// What a lane shows, later over earlier. A stretch may span several waits with a delivery between
/// them; without a mark for each, a topic that gets a record now and then would look abandoned, and
/// the picture would claim a longer wait than the one that was measured.
fn painted(topic: &TopicTimeline) -> Vec<(f64, f64, RGBColor)> {
    let stretch = |stretch: &Stretch| {
        let color = match stretch.state {
            ServiceState::Served => SERVED,
            ServiceState::Starving => STARVING,
            ServiceState::Ownerless => OWNERLESS,
            ServiceState::Idle => return None,
        };
        Some((stretch.from_ms / 1e3, stretch.to_ms / 1e3, color))
    };
    let marks = trickle(topic).map(|ms| (ms / 1e3, ms / 1e3, SERVED));
    topic.service.iter().filter_map(stretch).chain(marks).collect()
}

fn service(summary: &Summary, courses: &[&Timeline]) -> Plot {
    let chosen = chosen(courses);
    let lane = |topic: &TopicTimeline| Lane { name: topic.name.clone(), stretches: painted(topic) };
    let panel = |course: &&Timeline| {
        let topics = chosen.iter().filter_map(|&index| course.topics.get(index));
        ServicePanel {
            mode: course.mode.clone(),
            lanes: topics.map(lane).chain(instances(course)).collect(),
            bands: bands(course),
            marks: course.rebalances.iter().map(|ms| ms / 1e3).collect(),
        }
    };
    let panels: Vec<ServicePanel> = courses.iter().map(panel).collect();
    let mut entries = vec![
        ("records delivered".to_owned(), SERVED),
        ("starving: records there, none delivered".to_owned(), STARVING),
        ("nothing to deliver, or not yet begun".to_owned(), IDLE),
    ];
    let ownerless = |topic: &TopicTimeline| topic.service.iter().any(|s| s.state == ServiceState::Ownerless);
    if courses.iter().flat_map(|course| &course.topics).any(ownerless) {
        // Shorter names, so that four stand in a row.
        "starving".clone_into(&mut entries[1].0);
        "nothing to deliver".clone_into(&mut entries[2].0);
        entries.insert(2, ("records there, no owner".to_owned(), OWNERLESS));
    }
    let trickles =
        courses.iter().flat_map(|course| &course.topics).any(|topic| trickle(topic).next().is_some());
    let marks =
        if trickles { " A mark inside a starving stretch is a delivery between two waits." } else { "" };
    let left_out = left_out(courses, &chosen);
    let moved = if courses.iter().any(|course| !course.rebalances.is_empty()) {
        " Small marks above the lanes are rebalances."
    } else {
        ""
    };
    let veiled = veiled(courses);
    Plot {
        name: "service",
        title: "Who is served when",
        caption: format!(
            "The longest time that a topic with records got none: {}.{marks}{veiled}{moved}{left_out}",
            listed(summary, "service_gap_ms_max", duration_ms)
        ),
        svg: plot::service(&panels, &entries),
    }
}

fn waits(summary: &Summary) -> Option<Plot> {
    let names = [("wait_p50_ms", "median"), ("wait_p99_ms", "99th percentile"), ("wait_max_ms", "longest")];
    let groups = bar_groups(summary, &names);
    (!groups.is_empty()).then(|| Plot {
        name: "waits",
        title: "How long a live record of a quiet topic waits",
        caption: format!(
            "From its scheduled send to the caller, median: {}; 99th percentile: {}.",
            listed(summary, "wait_p50_ms", duration_ms),
            listed(summary, "wait_p99_ms", duration_ms)
        ),
        svg: plot::bars("wait [ms]", &summary.mode_order, &groups),
    })
}

/// Where more than one process ran: when each instance of the consumer was there.
fn instances(course: &Timeline) -> Vec<Lane> {
    if course.processes.len() < 2 {
        return Vec::new();
    }
    let mut lanes: BTreeMap<u32, Vec<(f64, f64, RGBColor)>> = BTreeMap::new();
    for process in &course.processes {
        let to_ms = process.ended.map_or(course.end_ms, |(ms, _)| ms).min(course.end_ms);
        let stretch = (process.from_ms / 1e3, to_ms / 1e3, PRESENT);
        lanes.entry(process.instance).or_default().push(stretch);
    }
    lanes
        .into_iter()
        .map(|(instance, stretches)| Lane { name: format!("instance {instance}"), stretches })
        .collect()
}

/// A mode's faults, numbered as in the table.
fn bands(course: &Timeline) -> Vec<Band> {
    let band = |(number, fault): (usize, &FaultStretch)| Band {
        from: fault.from_ms / 1e3,
        to: fault.to_ms.unwrap_or(course.end_ms).min(course.end_ms) / 1e3,
        number,
        label: match fault.what.as_str() {
            "" => format!("{number} {}", fault.kind),
            what => format!("{number} {}, {what}", fault.kind),
        },
    };
    (1..).zip(&course.faults).map(band).collect()
}

/// The faults of all modes in one picture: each from its first beginning to its last end, for a
/// schedule counts from each mode's own start of production.
fn bands_of_all(courses: &[&Timeline]) -> Vec<Band> {
    let mut all: Vec<Band> = Vec::new();
    for band in courses.iter().flat_map(|course| bands(course)) {
        match all.iter_mut().find(|other| other.number == band.number) {
            Some(other) => {
                other.from = other.from.min(band.from);
                other.to = other.to.max(band.to);
            }
            None => all.push(band),
        }
    }
    all
}

/// Says what bands are, where there are any.
fn veiled(courses: &[&Timeline]) -> &'static str {
    if courses.iter().all(|course| course.faults.is_empty()) {
        return "";
    }
    " Bands are faults, numbered as in the table."
}

fn over_time(courses: &[&Timeline], points: impl Fn(&Timeline) -> Vec<(f64, f64)>) -> Vec<Line> {
    let line = |course: &&Timeline| Line {
        name: course.mode.clone(),
        points: points(course).into_iter().map(|(ms, value)| (ms / 1e3, value)).collect(),
    };
    courses.iter().map(line).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a picture shows three digits")]
fn count(value: u64) -> f64 {
    value as f64
}

fn complete_inputs(summary: &Summary, courses: &[&Timeline]) -> Plot {
    let points = |course: &Timeline| course.complete_inputs.iter().map(|&(ms, n)| (ms, count(n))).collect();
    Plot {
        name: "complete-inputs",
        title: "When a program that needs a record of every topic could compute",
        caption: format!(
            "Each step up is one more record of every topic; the longest stretch without any: {}.",
            listed(summary, "output_gap_ms_max", duration_ms)
        ),
        svg: plot::lines("complete inputs", &over_time(courses, points), true, &bands_of_all(courses)),
    }
}

fn cumulative(courses: &[&Timeline]) -> Plot {
    let deepest = courses.first().and_then(|course| {
        let topics = course.topics.iter().enumerate();
        topics.max_by_key(|(_, topic)| topic.backlog).map(|(index, _)| index)
    });
    let panel = |course: &&Timeline| {
        let line = |index: usize| {
            let topic = course.topics.get(index)?;
            let total = topic.cumulative.last().filter(|last| last.1 > 0)?.1;
            let points = topic.cumulative.iter();
            let points = points.map(|&(ms, got)| (ms / 1e3, 100.0 * count(got) / count(total))).collect();
            Some((plot::color(if Some(index) == deepest { 0 } else { 4 }), points))
        };
        // The deepest topic last, on top of the others.
        let others = (0..course.topics.len()).filter(|&index| Some(index) != deepest);
        let lines = others.chain(deepest).filter_map(line).collect();
        Panel { name: course.mode.clone(), lines, bands: bands(course) }
    };
    let behind = courses.iter().map(|course| {
        let half = slowest_share(course).into_iter().find(|&(_, share)| share >= 50.0).map(|(ms, _)| ms);
        format!("{} {}", course.mode, half.map_or_else(|| "never".to_owned(), duration_ms))
    });
    let deepest_name = deepest
        .and_then(|index| courses.first()?.topics.get(index))
        .map_or_else(String::new, |topic| format!("the deepest topic, {}", topic.name));
    Plot {
        name: "cumulative",
        title: "Records of each topic delivered so far",
        caption: format!(
            "A line per topic, in percent of its records; every topic has at least half of them after: {}.",
            behind.collect::<Vec<_>>().join(", ")
        ),
        svg: plot::panels(
            "delivered [%]",
            &courses.iter().map(panel).collect::<Vec<_>>(),
            &[(deepest_name, plot::color(0)), ("the others".to_owned(), plot::color(4))],
        ),
    }
}

/// Over time, the smallest share of its records that a topic with records has got, in percent.
fn slowest_share(course: &Timeline) -> Vec<(f64, f64)> {
    const STEPS: u32 = 200;
    let topics: Vec<&TopicTimeline> =
        course.topics.iter().filter(|topic| topic.cumulative.last().is_some_and(|last| last.1 > 0)).collect();
    let at = |topic: &TopicTimeline, ms: f64| {
        let next = topic.cumulative.partition_point(|point| point.0 <= ms);
        let total = topic.cumulative.last().map_or(1, |last| last.1);
        let got = next.checked_sub(1).map_or(0, |index| topic.cumulative[index].1);
        100.0 * count(got) / count(total)
    };
    (0..=STEPS)
        .map(|step| {
            let ms = course.end_ms * f64::from(step) / f64::from(STEPS);
            (ms, topics.iter().map(|topic| at(topic, ms)).fold(100.0, f64::min))
        })
        .collect()
}

fn first_records(summary: &Summary, courses: &[&Timeline]) -> Option<Plot> {
    let chosen = chosen(courses);
    let groups: Vec<(String, Vec<Option<f64>>)> = chosen
        .iter()
        .filter_map(|&index| {
            let name = courses.first()?.topics.get(index)?.name.clone();
            let values: Vec<Option<f64>> =
                courses.iter().map(|course| course.topics.get(index)?.first_record_ms).collect();
            values.iter().any(Option::is_some).then_some((name, values))
        })
        .collect();
    let modes: Vec<String> = courses.iter().map(|course| course.mode.clone()).collect();
    (!groups.is_empty()).then(|| Plot {
        name: "first-records",
        title: "When each topic's first record came",
        caption: format!(
            "From the worker's start; every topic that has data had delivered one after: {}.{}",
            listed(summary, "complete_input_ms", duration_ms),
            left_out(courses, &chosen)
        ),
        svg: plot::bars("time to the first record [ms]", &modes, &groups),
    })
}

fn throughput(courses: &[&Timeline]) -> Plot {
    let peak = |course: &&Timeline| {
        let most = course.throughput.iter().map(|point| point.1).fold(0.0, f64::max);
        format!("{} {}", course.mode, show(most.round()))
    };
    Plot {
        name: "throughput",
        title: "Throughput",
        caption: format!(
            "Records per second over all topics; at most: {}.",
            courses.iter().map(peak).collect::<Vec<_>>().join(", ")
        ),
        svg: plot::lines(
            "records per second",
            &over_time(courses, |course| course.throughput.clone()),
            false,
            &bands_of_all(courses),
        ),
    }
}

fn share(summary: &Summary, courses: &[&Timeline]) -> Option<Plot> {
    courses.iter().any(|course| !course.share.is_empty()).then(|| Plot {
        name: "share",
        title: "The smallest share that a topic got of what it was entitled to",
        caption: format!(
            "1 is fair, 0 is starved, per group of consecutive polls; the minimum: {}.",
            listed(summary, "share_min", show)
        ),
        svg: plot::lines(
            "served / entitled",
            &over_time(courses, |course| course.share.clone()),
            false,
            &bands_of_all(courses),
        ),
    })
}

fn memory(summary: &Summary, courses: &[&Timeline]) -> Option<Plot> {
    courses.iter().any(|course| !course.rss_mib.is_empty()).then(|| Plot {
        name: "memory",
        title: "Resident memory of the consumer",
        caption: format!("The kernel's high-water mark in MiB: {}.", listed(summary, "rss_peak_mib", show)),
        svg: plot::lines(
            "resident memory [MiB]",
            &over_time(courses, |course| course.rss_mib.clone()),
            false,
            &bands_of_all(courses),
        ),
    })
}

fn resources(summary: &Summary) -> Option<Plot> {
    let names = [("threads_max", "threads"), ("connections_max", "connections")];
    let groups = bar_groups(summary, &names);
    (!groups.is_empty()).then(|| Plot {
        name: "resources",
        title: "Threads and connections",
        caption: format!(
            "At most, per worker process; threads: {}; connections to brokers: {}.",
            listed(summary, "threads_max", show),
            listed(summary, "connections_max", show)
        ),
        svg: plot::bars("count", &summary.mode_order, &groups),
    })
}
