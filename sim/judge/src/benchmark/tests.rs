//! From criterion's files to groups.

use super::*;

/// The files of a benchmark: slope 100, mean 200, each with an interval of a tenth.
fn texts(group: &str, function: Option<&str>, value: Option<&str>, throughput: &str) -> [String; 3] {
    let identity = serde_json::json!({"group_id": group, "function_id": function, "value_str": value});
    let identity = identity.to_string().replacen('{', &format!("{{\"throughput\":{throughput},"), 1);
    let estimate = |point: f64| {
        let interval = serde_json::json!({"confidence_level": 0.95, "lower_bound": 0.9 * point, "upper_bound": 1.1 * point});
        serde_json::json!({"confidence_interval": interval, "point_estimate": point, "standard_error": 1.0})
    };
    let estimates =
        serde_json::json!({"mean": estimate(200.0), "median": estimate(300.0), "slope": estimate(100.0)});
    let sample = r#"{"sampling_mode": "Linear", "iters": [1, 2, 3], "times": [1, 2, 3]}"#;
    [identity, estimates.to_string(), sample.to_owned()]
}

fn read(texts: &[String; 3]) -> Result<Benchmark, Unreadable> {
    Benchmark::read(Texts { benchmark: &texts[0], estimates: &texts[1], sample: &texts[2] })
}

fn one(group: &str, function: Option<&str>, value: Option<&str>, throughput: &str, point: f64) -> Benchmark {
    let benchmark = read(&texts(group, function, value, throughput)).expect("readable");
    let iteration = benchmark.iteration.times(point / benchmark.iteration.point);
    Benchmark { iteration, ..benchmark }
}

fn group(benchmarks: Vec<Benchmark>) -> Group {
    let mut groups = Benchmarks::new(benchmarks).groups;
    assert_eq!(groups.len(), 1);
    groups.remove(0)
}

fn names(group: &Group) -> Vec<&str> {
    group.rows.iter().map(|row| row.name.as_str()).collect()
}

#[test]
fn the_estimate_is_the_slope_and_without_one_the_mean() {
    let mut texts = texts("g", None, Some("1"), "null");
    let benchmark = read(&texts).expect("readable");
    assert_eq!(benchmark.iteration, Interval { point: 100.0, lower: 90.0, upper: 110.00000000000001 });
    assert_eq!((benchmark.confidence_pct, benchmark.samples, benchmark.amount), (95.0, 3, None));
    let mut estimates: serde_json::Value = serde_json::from_str(&texts[1]).expect("JSON");
    estimates["slope"] = serde_json::Value::Null;
    texts[1] = estimates.to_string();
    assert_eq!(read(&texts).map(|benchmark| benchmark.iteration.point), Ok(200.0));
}

#[test]
fn every_throughput_of_criterion_is_an_amount_of_elements_or_of_bytes() {
    for (throughput, expected) in [
        (r#"{"Elements": 500}"#, Some((Thing::Element, 500.0))),
        (r#"{"ElementsAndBytes": {"elements": 5, "bytes": 9}}"#, Some((Thing::Element, 5.0))),
        (r#"{"Bytes": 1024}"#, Some((Thing::Byte, 1024.0))),
        (r#"{"BytesDecimal": 1000}"#, Some((Thing::Byte, 1000.0))),
        (r#"{"Bits": 16}"#, Some((Thing::Byte, 2.0))),
        // Nothing can be divided by it.
        (r#"{"Elements": 0}"#, None),
        ("null", None),
    ] {
        let amount = read(&texts("g", None, None, throughput)).expect("readable").amount;
        assert_eq!(amount.map(|amount| (amount.of, amount.count)), expected, "{throughput}");
    }
}

#[test]
fn what_criterion_would_not_write_is_named_with_its_file() {
    let good = texts("g", None, None, "null");
    for (index, file) in [BENCHMARK, ESTIMATES, SAMPLE].into_iter().enumerate() {
        for bad in ["", "{", "[]", "{}", "null"] {
            let mut texts = good.clone();
            bad.clone_into(&mut texts[index]);
            assert_eq!(read(&texts).map_err(|error| error.file), Err(file), "`{bad}`");
        }
    }
    for (from, to, what) in [
        (
            "\"point_estimate\":100.0",
            "\"point_estimate\":0.0",
            "a point estimate of 0 cannot have been measured",
        ),
        ("\"lower_bound\":90.0", "\"lower_bound\":-1.0", "a lower bound of -1 cannot have been measured"),
        ("\"lower_bound\":90.0", "\"lower_bound\":500.0", "the interval 500 to 110"),
        ("\"point_estimate\":100.0", "\"point_estimate\":null", "invalid type: null"),
    ] {
        let mut texts = good.clone();
        assert!(texts[1].contains(from), "{}", texts[1]);
        texts[1] = texts[1].replace(from, to);
        let error = read(&texts).expect_err(to);
        assert_eq!(error.file, ESTIMATES);
        assert!(error.what.contains(what), "{}", error.what);
    }
    // A lane may take no memory.
    let mut texts = texts("lanes/memory", None, None, "null");
    texts[1] = texts[1].replace("\"point_estimate\":100.0", "\"point_estimate\":0.0");
    assert_eq!(read(&texts).map(|benchmark| benchmark.iteration.point), Ok(0.0));
}

#[test]
fn groups_are_sorted_by_name_and_their_benchmarks_by_function_and_number() {
    let found = |values: &[&str]| -> Vec<Benchmark> {
        let of = |group, function| {
            move |value: &&str| one(group, function, Some(*value), r#"{"Elements": 1}"#, 10.0)
        };
        let b = values.iter().map(of("b", None));
        b.chain(values.iter().map(of("a", Some("two"))))
            .chain(values.iter().map(of("a", Some("one"))))
            .collect()
    };
    let there = Benchmarks::new(found(&["1000", "9", "12", "100"]));
    assert_eq!(
        there,
        Benchmarks::new(found(&["100", "12", "9", "1000"])),
        "in whatever order they were found"
    );
    assert_eq!(there.groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let sorted = ["one/9", "one/12", "one/100", "one/1000", "two/9", "two/12", "two/100", "two/1000"];
    assert_eq!(names(&there.groups[0]), sorted);
    assert_eq!(names(&there.groups[1]), ["9", "12", "100", "1000"]);
}

#[test]
fn time_for_an_element_and_elements_per_second_come_from_the_time_of_an_iteration() {
    let row = group(vec![one("g", None, Some("10"), r#"{"Elements": 10}"#, 100.0)]).rows.remove(0);
    let each = row.each_ns.expect("an amount is known");
    assert_eq!((each.point, each.lower, each.upper.round()), (10.0, 9.0, 11.0));
    // 10 ns each: a hundred million per second. The longest time is the least throughput.
    let rate = row.per_second.expect("an amount is known");
    assert_eq!((rate.point, rate.lower.round(), rate.upper.round()), (1e8, 90_909_091.0, 111_111_111.0));
}

#[test]
fn ratios_of_numbers_are_to_the_smallest_one_of_the_same_function() {
    let elements = |lanes: u32| format!("{{\"Elements\": {lanes}}}");
    let of =
        |function, lanes: u32, ns| one("g", Some(function), Some(&lanes.to_string()), &elements(lanes), ns);
    let found = vec![
        of("fair", 2, 100.0),
        of("fair", 200, 9_000.0),
        of("multi", 200, 20_000.0),
        of("multi", 2, 50.0),
    ];
    let group = group(found);
    assert_eq!((group.base, group.figure), (Some(2.0), Figure::TimeEach(Thing::Element)));
    let ratios: Vec<(&str, Option<f64>)> =
        group.rows.iter().map(|row| (row.name.as_str(), row.ratio)).collect();
    let expected =
        [("fair/2", Some(1.0)), ("fair/200", Some(0.9)), ("multi/2", Some(1.0)), ("multi/200", Some(4.0))];
    assert_eq!(ratios, expected);
}

#[test]
fn a_function_that_was_not_measured_at_the_smallest_number_has_no_ratio() {
    let found = vec![
        one("g", Some("fair"), Some("1"), "null", 100.0),
        one("g", Some("fair"), Some("2"), "null", 200.0),
        one("g", Some("late"), Some("2"), "null", 300.0),
    ];
    let ratios: Vec<Option<f64>> = group(found).rows.iter().map(|row| row.ratio).collect();
    assert_eq!(ratios, [Some(1.0), Some(2.0), None]);
}

#[test]
fn without_numbers_ratios_are_to_the_least() {
    for values in [["slow", "fast"], ["0", "1"], ["-1", "1"], ["inf", "1"], ["NaN", "1"], ["7", "7"]] {
        let found = vec![
            one("g", Some("a"), Some(values[0]), "null", 300.0),
            one("g", Some("b"), Some(values[1]), "null", 100.0),
        ];
        let group = group(found);
        assert_eq!(group.base, None, "{values:?}");
        assert_eq!(
            group.rows.iter().map(|row| row.ratio).collect::<Vec<_>>(),
            [Some(3.0), Some(1.0)],
            "{values:?}"
        );
    }
}

#[test]
fn a_groups_last_part_says_what_its_numbers_are() {
    let elements = r#"{"Elements": 4}"#;
    let of = |name: &str, throughput: &str| group(vec![one(name, None, Some("1"), throughput, 400.0)]);
    let counts = |group: &Group| group.counts.clone();
    let memory = of("lanes/memory", elements);
    assert_eq!((memory.figure, counts(&memory)), (Figure::Memory, Some("lanes".to_owned())));
    let row = &memory.rows[0];
    assert_eq!((row.amount, row.per_second, row.each_ns), (None, None, None), "bytes take no time");
    let throughput = of("lanes/throughput", elements);
    assert_eq!(throughput.figure, Figure::Throughput(Thing::Element));
    assert_eq!(counts(&throughput), Some("lanes".to_owned()));
    assert_eq!(throughput.rows[0].of(throughput.figure).point, 1e7);
    assert_eq!(of("lanes/throughput", "null").figure, Figure::TimePerIteration, "of what would it be?");
    for name in ["memory_of/lanes", "memory/lanes", "in-memory", "memory/"] {
        let group = of(name, elements);
        assert_eq!((group.figure, counts(&group)), (Figure::TimeEach(Thing::Element), None), "{name}");
    }
    assert_eq!(of("memory", "null").figure, Figure::Memory);
}

#[test]
fn what_only_some_benchmarks_have_is_not_the_groups_figure() {
    let with = |throughput: &str| one("g", Some(throughput), None, throughput, 100.0);
    let elements = r#"{"Elements": 4}"#;
    for other in ["null", r#"{"Bytes": 4}"#] {
        let group = group(vec![with(elements), with(other)]);
        assert_eq!(group.figure, Figure::TimePerIteration, "{other}");
        assert!(group.rows.iter().all(|row| row.ratio == Some(1.0)));
    }
}
