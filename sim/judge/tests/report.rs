//! What people and machines are shown.

use fairpoll_judge::report::{ReportInput, TerminalStyle, files, html, junit, markdown, plots, terminal};
use fairpoll_judge::summary::{Audit, GateResult, GateVerdict, ModeSummary, RunMetrics, Summary, Verdict};
use fairpoll_judge::timeline::{ServiceState, Stretch, Timeline, TopicTimeline};

fn mode(figures: &[(&str, f64)]) -> ModeSummary {
    let metrics: std::collections::BTreeMap<String, f64> =
        figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let runs = vec![RunMetrics { run: 1, metrics: metrics.clone(), ..RunMetrics::default() }];
    ModeSummary { metrics, runs, ..ModeSummary::default() }
}

fn summary() -> Summary {
    let gate = |expression: &str, verdict, left: Option<f64>| GateResult {
        expression: expression.to_owned(),
        line: 7,
        verdict,
        holds: left.map(|left| left <= 1.0),
        left,
        right: Some(1.0),
        detail: (verdict == GateVerdict::Fail).then(|| "sensor-<1> got none".to_owned()),
    };
    let single = [("starved_polls_max", 160.0), ("threads_max", 6.0), ("join_ms", 100.0)];
    let fair = [("starved_polls_max", 0.0), ("threads_max", 6.0), ("wait_p99_ms", 16.4)];
    let lossy = Audit { lost: 2, ..Audit::default() };
    Summary {
        schema_version: 1,
        scenario: "sample".to_owned(),
        purpose: "A & B < C".to_owned(),
        broker: "embedded".to_owned(),
        runs: 1,
        verdict: Verdict::Fail,
        reasons: vec!["gate failed".to_owned()],
        mode_order: vec!["single".to_owned(), "fair".to_owned()],
        modes: [("single".to_owned(), mode(&single)), ("fair".to_owned(), mode(&fair))].into(),
        audit: [("single".to_owned(), lossy), ("fair".to_owned(), Audit::default())].into(),
        demonstrates: vec![],
        gates: vec![
            gate("fair.starved_polls_max <= 1", GateVerdict::Pass, Some(0.0)),
            gate("single.starved_polls_max <= 1", GateVerdict::Fail, Some(160.0)),
            gate("fair.share_min <= 1", GateVerdict::Absent, None),
        ],
    }
}

fn timeline(mode: &str, topics: usize) -> Timeline {
    let topic = |index: usize| TopicTimeline {
        name: format!("topic-{index}"),
        service: vec![
            Stretch { from_ms: 100.0, to_ms: 900.0, state: ServiceState::Starving },
            Stretch { from_ms: 900.0, to_ms: 1_000.0, state: ServiceState::Served },
        ],
        cumulative: vec![(900.0, 10), (1_000.0, 20)],
        first_record_ms: Some(900.0),
        backlog: 20,
    };
    Timeline {
        mode: mode.to_owned(),
        run: 1,
        end_ms: 1_000.0,
        topics: (0..topics).map(topic).collect(),
        throughput: vec![(100.0, 1_000.0), (200.0, 2_000.0)],
        rss_mib: vec![(0.0, 20.0), (1_000.0, 30.0)],
        complete_inputs: vec![(100.0, 1), (500.0, 2)],
        ..Timeline::default()
    }
}

fn with<T>(topics: usize, look: impl FnOnce(&ReportInput<'_>) -> T) -> T {
    let summary = summary();
    let timelines = [timeline("single", topics), timeline("fair", topics)];
    look(&ReportInput { summary: &summary, timelines: &timelines, manifest: None })
}

#[test]
fn the_terminal_shows_the_better_value_both_sides_of_gates_and_what_the_auditor_found() {
    let text = with(3, |input| terminal(input, TerminalStyle { width: 100, color: false }));
    let row = |name: &str| text.lines().find(|line| line.contains(name)).expect("a row").to_owned();
    assert!(row("starved_polls_max [polls]").contains("0 ✓"), "{text}");
    assert!(!row("threads_max").contains('✓'), "equal values: nobody is better: {text}");
    assert!(row("wait_p99_ms").contains('–'), "absent, not 0: {text}");
    assert!(text.contains("✗ single.starved_polls_max <= 1  [160 against 1]"), "{text}");
    assert!(text.contains("? fair.share_min <= 1  [– against 1]"), "{text}");
    assert!(text.contains("✗ single: lost 2"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours were asked for");
}

#[test]
fn the_page_is_self_contained_and_escapes_what_it_is_given() {
    let page = with(3, html);
    // The one address is the name of SVG's namespace.
    let reach = page.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http://", "https://", "<script", "<link", "@import"] {
        assert!(!reach.contains(outside), "the page reaches outside: {outside}");
    }
    assert!(page.contains("A &amp; B &lt; C") && page.contains("sensor-&lt;1&gt;"));
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(page.contains("0 ✓"), "the better value is marked by more than colour");
}

#[test]
fn every_picture_says_what_to_see_and_follows_the_pages_colours() {
    let plots = with(3, plots);
    let names: Vec<&str> = plots.iter().map(|plot| plot.name).collect();
    let expected = [
        "service",
        "waits",
        "complete-inputs",
        "cumulative",
        "first-records",
        "throughput",
        "memory",
        "resources",
    ];
    assert_eq!(names, expected);
    for plot in plots {
        assert!(plot.caption.ends_with('.') && plot.caption.len() > 20, "{}: {}", plot.name, plot.caption);
        assert!(plot.svg.contains("currentColor") && plot.svg.contains("viewBox"), "{}", plot.name);
        assert!(!plot.svg.contains("#010101") && !plot.svg.contains("#020202"), "{}", plot.name);
        assert!(plot.standalone().contains("prefers-color-scheme"), "{}", plot.name);
    }
}

#[test]
fn many_topics_are_reduced_to_the_worst_and_that_is_said() {
    let service = with(50, |input| plots(input).remove(0));
    assert!(service.caption.contains("12 of 50 topics"), "{}", service.caption);
    assert_eq!(service.svg.matches("topic-").count(), 2 * 12);
    assert!(service.svg.contains("nothing to deliver"), "every colour has a name");
}

#[test]
fn junit_has_a_case_for_every_gate_and_every_audit() {
    let xml = with(3, junit);
    assert!(xml.contains("tests=\"5\"") && xml.contains("failures=\"3\""), "{xml}");
    assert!(xml.contains("160 against 1") || xml.contains("sensor-&lt;1&gt; got none"), "{xml}");
    assert!(xml.contains("lost: 2"), "{xml}");
}

#[test]
fn the_same_input_gives_the_same_files() {
    let once = with(3, files);
    assert_eq!(once, with(3, files));
    let file = |name: &str| once.iter().find(|(path, _)| path == name).expect("a file").1.as_str();
    let csv = file("metrics.csv");
    assert!(csv.starts_with("scenario,mode,run,topic,metric,unit,value\n"));
    assert!(csv.contains("sample,fair,1,,wait_p99_ms,ms,16.4\n"), "{csv}");
    assert!(file("report.md").contains("| starved_polls_max [polls] | 160 | **0** |"));
}

#[test]
fn a_delivery_between_two_waits_is_drawn_over_the_starving_stretch() {
    let (summary, mut course) = (summary(), timeline("single", 1));
    let marks = |course: &Timeline| {
        let input =
            ReportInput { summary: &summary, timelines: std::slice::from_ref(course), manifest: None };
        let service = plots(&input).remove(0);
        (service.svg.matches("#009E73").count(), service.caption.contains("between two waits"))
    };
    // The stretch lasts from 100 to 900 ms: deliveries at its ends are not inside it.
    let (without, said) = marks(&course);
    assert!(!said, "nothing was delivered while the topic starved");
    course.topics[0].cumulative = vec![(300.0, 1), (500.0, 2), (900.0, 10), (1_000.0, 20)];
    assert_eq!(marks(&course), (without + 2, true));
}

#[test]
fn every_picture_that_leaves_topics_out_says_so() {
    let plots = with(50, plots);
    for name in ["service", "first-records"] {
        let plot = plots.iter().find(|plot| plot.name == name).expect("a picture");
        assert!(plot.caption.contains("12 of 50 topics"), "{name}: {}", plot.caption);
    }
}

#[test]
fn the_deepest_topic_is_drawn_last_also_where_another_had_no_data() {
    let (summary, mut course) = (summary(), timeline("single", 4));
    course.topics[0].cumulative.clear();
    course.topics[2].backlog = 1_000;
    let input = ReportInput { summary: &summary, timelines: std::slice::from_ref(&course), manifest: None };
    let plots = plots(&input);
    let cumulative = plots.iter().find(|plot| plot.name == "cumulative").expect("a picture");
    let colors: Vec<&str> = cumulative
        .svg
        .split("<polyline ")
        .skip(1)
        .filter_map(|line| ["#0072B2", "#D55E00"].into_iter().find(|color| line.contains(color)))
        .collect();
    assert_eq!(colors, ["#D55E00", "#D55E00", "#0072B2"]);
}

#[test]
fn every_view_says_how_many_samples_stand_behind_a_percentile() {
    let mut summary = summary();
    let fair = summary.modes.get_mut("fair").expect("a mode");
    fair.samples.insert("wait_p99_ms".to_owned(), 1_482);
    let views = |summary: &Summary| {
        let input = ReportInput { summary, timelines: &[], manifest: None };
        [terminal(&input, TerminalStyle { width: 80, color: false }), html(&input), markdown(&input)]
    };
    for view in views(&summary) {
        let view = view.replace('\\', "");
        assert!(view.contains("n of wait_p99_ms: fair 1,482"), "{view}");
        assert!(view.contains("are noise"), "a mark alone would promise too much: {view}");
    }
    summary.runs = 5;
    for view in views(&summary) {
        let view = view.replace('\\', "");
        assert!(view.contains("least n of a run for wait_p99_ms: fair 1,482"), "{view}");
        assert!(!view.contains("are noise"), "{view}");
    }
}

#[test]
fn a_failed_gate_never_shows_the_same_figure_on_both_sides() {
    let mut summary = summary();
    let gate = &mut summary.gates[1];
    (gate.left, gate.right, gate.detail) = (Some(200.4), Some(200.0), None);
    let input = ReportInput { summary: &summary, timelines: &[], manifest: None };
    let style = TerminalStyle { width: 80, color: false };
    for view in [terminal(&input, style), html(&input), markdown(&input), junit(&input)] {
        assert!(view.contains("200.4 against 200.0"), "{view}");
    }
}

#[test]
fn the_page_says_what_ran_and_which_run_the_pictures_show() {
    let mut summary = summary();
    summary.modes.get_mut("fair").expect("a mode").client = Some("fairpoll, fell back to single".to_owned());
    let timelines = [timeline("fair", 2)];
    let page = |summary: &Summary| html(&ReportInput { summary, timelines: &timelines, manifest: None });
    assert!(page(&summary).contains("fell back to single"));
    assert!(!page(&summary).contains("first run"));
    summary.runs = 3;
    assert!(page(&summary).contains("each mode's first run"));
}
