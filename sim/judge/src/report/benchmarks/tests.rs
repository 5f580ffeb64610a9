//! What the page of benchmarks shows.

use super::*;
use crate::benchmark::{Amount, Benchmark};

fn benchmark(group: &str, function: Option<&str>, value: Option<&str>, point: f64) -> Benchmark {
    Benchmark {
        group: group.to_owned(),
        function: function.map(str::to_owned),
        value: value.map(str::to_owned),
        amount: Some(Amount { of: Thing::Element, count: 10.0 }),
        iteration: Interval { point, lower: 0.9 * point, upper: 1.1 * point },
        confidence_pct: 95.0,
        samples: 100,
    }
}

fn sections_of(found: Vec<Benchmark>) -> Vec<Section> {
    sections(&BenchmarksInput { benchmarks: &Benchmarks::new(found) })
}

fn section(found: Vec<Benchmark>) -> Section {
    let mut sections = sections_of(found);
    assert_eq!(sections.len(), 1);
    sections.remove(0)
}

/// Points, whiskers with their two ends, bars of one colour.
fn drawn(svg: &str) -> (usize, usize, usize) {
    let stroke = |line: &&str| line.starts_with("<polyline") && line.contains("#0072B2");
    let bars = svg.lines().filter(|line| line.starts_with("<rect") && line.contains("#0072B2")).count();
    (svg.matches("<circle").count(), svg.lines().filter(stroke).count(), bars)
}

#[test]
fn numbers_make_a_curve_with_whiskers_and_the_caption_compares_its_ends() {
    let found = [("1", 340.0), ("10", 350.0), ("1000", 400.0)];
    let section = section(found.map(|(lanes, ns)| benchmark("g", None, Some(lanes), ns)).into());
    // The curve, and three strokes for each point's interval.
    assert_eq!(drawn(&section.svg), (3, 1 + 3 * 3, 0), "{}", section.svg);
    for text in ["time per element [ns]", "parameter, logarithmic", "\n1,000\n", "\n34.0\n", "\n40.0\n"] {
        assert!(section.svg.contains(text), "{text}: {}", section.svg);
    }
    let caption = "Time per element at parameter 1,000 against 1: 40.0 ns against 34.0 ns, ratio 1.18. \
                   Whiskers: 95 % confidence interval.";
    assert_eq!(section.caption, caption);
    assert_eq!(section.table.head[4], "ratio to 1");
}

#[test]
fn a_caption_compares_only_what_was_measured_at_both_ends() {
    let of = |function, value| benchmark("g", Some(function), Some(value), 100.0);
    let caption = section(vec![of("early", "1"), of("late", "2"), of("both", "1"), of("both", "2")]).caption;
    assert!(
        caption.contains("parameter 2 against 1: both 10.0 ns against 10.0 ns, ratio 1.00."),
        "{caption}"
    );
    let caption = section(vec![of("early", "1"), of("late", "2")]).caption;
    assert_eq!(caption, "Time per element by parameter. Whiskers: 95 % confidence interval.");
}

#[test]
fn words_make_bars() {
    let section =
        section(vec![benchmark("g", Some("slow"), None, 400.0), benchmark("g", Some("fast"), None, 100.0)]);
    // Two bars and the legend's patch.
    assert_eq!(drawn(&section.svg), (0, 0, 3), "{}", section.svg);
    let caption =
        "The least: fast, 10.0 ns; the most: slow, 40.0 ns. The table has the 95 % confidence intervals.";
    assert_eq!(section.caption, caption);
    assert_eq!(section.table.head[4], "ratio to the least");
}

#[test]
fn more_functions_than_there_are_colours_make_bars() {
    let of = |count: usize| {
        let functions = (0..count).map(|n| format!("f{n}"));
        let both = functions
            .flat_map(|name| ["1", "2"].map(|value| benchmark("g", Some(name.as_str()), Some(value), 100.0)));
        section(both.collect())
    };
    assert_eq!(drawn(&of(6).svg).0, 12);
    assert_eq!(drawn(&of(7).svg).0, 0);
}

#[test]
fn memory_is_in_mebibytes_and_has_no_time() {
    let mib = 1_048_576.0;
    let found = [("1", 3.0 * mib), ("100", 20.0 * mib)];
    let section =
        section(found.map(|(lanes, bytes)| benchmark("lanes/memory", None, Some(lanes), bytes)).into());
    assert_eq!(section.table.head, ["benchmark", "memory [MiB]", "ratio to 1", "samples"]);
    assert_eq!(section.table.rows[1], ["100", "20.0 (18.0–22.0)", "6.67", "100"]);
    assert!(section.svg.contains("memory [MiB]") && section.svg.contains("lanes, logarithmic"));
    assert!(
        section.caption.contains("lanes 100 against 1: 20.0 MiB against 3.00 MiB"),
        "{}",
        section.caption
    );
}

#[test]
fn values_that_span_decades_stand_on_a_logarithmic_axis_that_says_so() {
    let svg = |most: f64| {
        section(vec![benchmark("g", None, Some("1"), 10.0), benchmark("g", None, Some("2"), most)]).svg
    };
    assert!(!svg(200.0).contains("[ns], logarithmic"));
    assert!(svg(400.0).contains("[ns], logarithmic"));
}

#[test]
fn every_group_has_a_picture_of_its_own() {
    let names = ["a-b", "a/b", "a b", "größe"].map(|name| benchmark(name, None, None, 1.0));
    let pictures: Vec<String> =
        sections_of(names.into()).into_iter().map(|section| section.picture).collect();
    assert_eq!(pictures, ["a-b", "a-b-2", "a-b-3", "gr--e"]);
}

#[test]
fn names_are_escaped_wherever_they_stand() {
    let benchmarks = Benchmarks::new(vec![benchmark("a_<b>", Some("x|<y>&"), None, 1.0)]);
    let files = files(&BenchmarksInput { benchmarks: &benchmarks });
    let file = |name: &str| &files.iter().find(|(path, _)| path == name).expect("a file").1;
    assert!(file("benchmarks.md").contains("\n## a\\_\\<b\\>\n\n![a\\_\\<b\\>](benchmarks/a_-b-.svg)\n"));
    assert!(file("benchmarks.md").contains("\n| x\\|\\<y\\>& | "));
    for page in ["benchmarks.html", "benchmarks/a_-b-.svg"] {
        assert!(file(page).contains("x|&lt;y&gt;&amp;") && !file(page).contains("<y>"), "{page}");
    }
}

#[test]
fn too_few_samples_are_said() {
    let glance = |samples| section(vec![Benchmark { samples, ..benchmark("g", None, None, 1.0) }]).note;
    assert_eq!(glance(10), None);
    assert!(glance(9).is_some_and(|note| note.contains("9 samples")));
}

#[test]
fn figures_have_three_digits_and_a_unit_that_fits() {
    let time = |ns| shown(Figure::TimePerIteration, ns);
    let times = [0.03051, 34.0, 999.4, 999.7, 1_234.0, 5.5e6, 2.0e9, 1.5e12].map(time);
    assert_eq!(
        times,
        ["0.0305 ns", "34.0 ns", "999 ns", "1.00 µs", "1.23 µs", "5.50 ms", "2.00 s", "1,500 s"]
    );
    let rate = |of, rate| shown(Figure::Throughput(of), rate);
    assert_eq!(rate(Thing::Element, 2.8e6), "2.80 M/s");
    assert_eq!(rate(Thing::Element, 12.0), "12.0 /s");
    assert_eq!(rate(Thing::Byte, 1.5 * 1024.0 * 1024.0), "1.50 MiB/s");
    assert_eq!(shown(Figure::Memory, 1_024.0), "0.000977 MiB");
    let interval = Interval { point: 9.99, lower: 9.5, upper: 10.25 };
    assert_eq!(with_interval(Figure::TimePerIteration, interval), "9.99 ns (9.50–10.25)");
    assert_eq!([0.5, 1.0, 12.34, 3_981.0].map(ratio), ["0.50", "1.00", "12.3", "3,981"]);
    assert_eq!([95.0, 99.0, 100.0 * 0.999].map(percent), ["95 %", "99 %", "99.9 %"]);
}
