//! Every behaviour that the engine promises, and what shows it: `docs/engine-features.md`.
//!
//! What shows a behaviour says so where it stands, by a comment with the row's id:
//!
//! * `// shows: E5, E20` above the attributes of a test function,
//! * `# shows: E4` in a scenario,
//! * `# shows: E21` in a script of `ci/`.
//!
//! What no check runs, of those that `.ci/run` and `ci/nightly` get to, shows nothing.
//!
//! So the table's names are read from the code and cannot be those of something that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const PAGE: &str = "docs/engine-features.md";

/// The rows.
const ROWS: [(&str, &str); 21] = [
    ("E1", "`multi`: a consumer for each topic, each with a quota of its own"),
    (
        "E2",
        "old configurations run as they did; the mode that runs, the one asked for and the reason are said",
    ),
    (
        "E3",
        "a poll takes from all topics at once and returns with the first records: nobody waits for an idle topic",
    ),
    ("E4", "a topic that fails is named in the batch, and the others go on"),
    (
        "E5",
        "commits by topic and batch, tried again after a failure; a partition that fails is named, the rest is committed",
    ),
    ("E6", "lag by topic and partition, mode and topics can be read while it runs, and stand in the log"),
    ("E7", "each topic's consumer can be looked at"),
    ("E8", "a stop commits what was processed, closes everything, and ends in time"),
    ("E9", "a partition's records come in their order"),
    ("E10", "records, session and poll interval follow from the number of topics, unless they are said"),
    (
        "E11",
        "configuration from a file, with the program's word over it; the keys of the original and the arguments of aiokafka are understood",
    ),
    ("E12", "quotas that follow lag, within limits and without oscillation"),
    ("E13", "weights and priorities, and nobody starves"),
    ("E14", "lag as the brokers know it now"),
    ("E15", "gives way when resources run short, at start and while it runs"),
    ("E16", "`fair`: one handle, a queue and a quota for each topic"),
    ("E17", "polls that wait for a record of each topic, or say who is missing"),
    (
        "E18",
        "group strategies, static members, several instances; what was taken away is not committed; group ids can be changed",
    ),
    ("E19", "TLS and SASL by librdkafka's properties; secrets are shown nowhere"),
    ("E20", "records are finished one by one in any order, and committed up to the first gap"),
    ("E21", "metrics and traces, served to Prometheus by an example"),
];

/// What nothing shows yet, and why. A row without anything that shows it must stand here.
const NOT_SHOWN: [(&str, &str); 0] = [];

/// Something that shows rows: where it stands, and what it is called there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Shows {
    path: String,
    /// A test's name; `None`: the file as a whole.
    name: Option<String>,
    needs_a_broker: bool,
}

/// Rows of one marker, or what is wrong with it.
fn rows_of(list: &str) -> Result<Vec<&'static str>, String> {
    let known = |id: &str| ROWS.iter().map(|row| row.0).find(|row| *row == id);
    list.split(',')
        .map(str::trim)
        .map(|id| known(id).ok_or_else(|| format!("there is no row `{id}`")))
        .collect()
}

/// The test below a marker: the lines between are its attributes and comments.
fn test_below(lines: &[&str]) -> Result<(String, bool), String> {
    let (mut is_test, mut is_ignored) = (false, false);
    for line in lines.iter().map(|line| line.trim()) {
        if let Some(attribute) = line.strip_prefix("#[") {
            is_test |= attribute.starts_with("test]") || attribute.starts_with("tokio::test");
            is_ignored |= attribute.starts_with("ignore");
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| !line.starts_with("//")) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            return if is_test { Ok((name, is_ignored)) } else { Err(format!("{name} is no test")) };
        } else if !line.starts_with("//") {
            break;
        }
    }
    Err("no test stands below it".to_owned())
}

/// What a file shows, and what is wrong with its markers.
fn read(path: &str, text: &str) -> (Vec<(&'static str, Shows)>, Vec<String>) {
    let is_code = path.ends_with(".rs");
    let marker = if is_code { "// shows: " } else { "# shows: " };
    let lines: Vec<&str> = text.lines().collect();
    let (mut shown, mut wrong) = (Vec::new(), Vec::new());
    for (number, line) in lines.iter().enumerate() {
        let Some(list) = line.trim_start().strip_prefix(marker) else { continue };
        let what = if is_code {
            test_below(&lines[number + 1..]).map(|(name, ignored)| (Some(name), ignored))
        } else {
            Ok((None, false))
        };
        match rows_of(list).and_then(|rows| Ok((rows, what?))) {
            Ok((rows, (name, needs_a_broker))) => {
                let shows = Shows { path: path.to_owned(), name, needs_a_broker };
                shown.extend(rows.into_iter().map(|row| (row, shows.clone())));
            }
            Err(what) => wrong.push(format!("{path}:{}: {what}", number + 1)),
        }
    }
    (shown, wrong)
}

/// Files below a folder, by extension; `None`: those without one.
fn files(folder: &Path, extension: Option<&str>, into: &mut Vec<PathBuf>) {
    for entry in
        fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it is readable"))
    {
        let path = entry.path();
        if path.is_dir() {
            files(&path, extension, into);
        } else if path.extension().and_then(|found| found.to_str()) == extension {
            into.push(path);
        }
    }
}

/// Row → what shows it, of the whole project.
fn collect() -> (BTreeMap<&'static str, BTreeSet<Shows>>, Vec<String>) {
    let mut paths = Vec::new();
    for (folder, extension) in
        [("engine", Some("rs")), ("sim", Some("rs")), ("scenarios", Some("yaml")), ("ci", None)]
    {
        files(&Path::new(ROOT).join(folder), extension, &mut paths);
    }
    let text = |path: &str| fs::read_to_string(Path::new(ROOT).join(path)).expect("it is text");
    let called = called(&text);
    let (mut rows, mut wrong): (BTreeMap<_, BTreeSet<Shows>>, Vec<String>) = Default::default();
    for path in paths {
        let path = path.strip_prefix(ROOT).expect("it was found below").to_string_lossy().into_owned();
        // Its own examples of markers are none.
        if path == "engine/tests/features.rs" {
            continue;
        }
        let (shown, problems) = read(&path, &text(&path));
        wrong.extend(problems);
        for (row, shows) in shown {
            if !is_run(&shows, &called) {
                wrong.push(format!("{}: neither .ci/run nor ci/nightly gets to it", cell(&shows)));
            }
            rows.entry(row).or_default().insert(shows);
        }
    }
    (rows, wrong)
}

/// The text of every script that `.ci/run` and `ci/nightly` get to.
fn called(text: &dyn Fn(&str) -> String) -> String {
    let mut all = text(".ci/run") + &text("ci/nightly");
    let mut scripts = Vec::new();
    files(&Path::new(ROOT).join("ci"), None, &mut scripts);
    let mut names: Vec<String> = scripts
        .iter()
        .map(|path| path.strip_prefix(ROOT).expect("it was found below").to_string_lossy().into_owned())
        .collect();
    while let Some(position) = names.iter().position(|name| mentions(&all, name)) {
        all += &text(&names.swap_remove(position));
    }
    all
}

/// Whether a text names something, and not only something that begins with that name.
fn mentions(text: &str, name: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(name).any(|(at, _)| !text[at + name.len()..].starts_with(goes_on))
}

/// Whether some check runs it. `cargo test` runs every test that needs no broker, and `ci/scenarios` what
/// stands in its folders.
fn is_run(shows: &Shows, called: &str) -> bool {
    let path = Path::new(&shows.path);
    let stem = path.file_stem().expect("a file has a name").to_string_lossy();
    let folder = path.parent().expect("it stands in a folder").to_string_lossy();
    match &*folder {
        "ci" => mentions(called, &shows.path),
        "scenarios" | "scenarios/regressions" | "scenarios/faults/embedded" => true,
        _ if shows.path.ends_with(".yaml") => mentions(called, &stem),
        _ => !shows.needs_a_broker || mentions(called, &format!("--test {stem}")),
    }
}

/// The table, and the rows that nothing shows and nobody excuses.
fn table(shown: &BTreeMap<&'static str, BTreeSet<Shows>>) -> (String, Vec<String>) {
    let mut out = "| row | behaviour | shown by |\n|---|---|---|\n".to_owned();
    let mut wrong = Vec::new();
    for (row, behaviour) in ROWS {
        let mut cells: Vec<String> = shown.get(row).into_iter().flatten().map(cell).collect();
        match NOT_SHOWN.iter().find(|(not_shown, _)| *not_shown == row) {
            Some((_, why)) => cells.push(format!("**not shown yet:** {why}")),
            None if cells.is_empty() => wrong.push(format!("nothing shows {row}: {behaviour}")),
            None => {}
        }
        out += &format!("| {row} | {behaviour} | {} |\n", cells.join("<br>"));
    }
    (out, wrong)
}

fn cell(shows: &Shows) -> String {
    let real = if shows.needs_a_broker { " (real broker)" } else { "" };
    match &shows.name {
        Some(name) => format!("`{}`: `{name}`{real}", shows.path),
        None => format!("`{}`", shows.path),
    }
}

#[test]
fn every_row_is_shown_by_what_says_so_and_the_documentation_lists_it() {
    let (shown, mut wrong) = collect();
    let (table, unshown) = table(&shown);
    wrong.extend(unshown);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let path = Path::new(ROOT).join(PAGE);
    let page = fs::read_to_string(&path).expect("the page exists");
    let begin = "<!-- generated: features -->\n";
    let start = page.find(begin).expect("the page has a place for the table") + begin.len();
    let end = start + page[start..].find("<!-- end -->").expect("every begin has an end");
    let renewed = format!("{}{table}{}", &page[..start], &page[end..]);
    if std::env::var_os("FAIRPOLL_RENEW_DOCS").is_some() {
        fs::write(path, renewed).expect("the page can be written");
        return;
    }
    let different = page.lines().zip(renewed.lines()).find(|(is, should)| is != should);
    assert!(
        page == renewed,
        "{PAGE} differs from what the code says, first at {different:?}; renew it by\n    \
         FAIRPOLL_RENEW_DOCS=1 cargo test -p fairpoll --test features"
    );
}

#[test]
fn a_marker_stands_above_a_test_and_names_rows_that_exist() {
    let wrong = |text: &str| read("a.rs", text).1.join("\n");
    assert_eq!(wrong("// shows: E1, E5\n#[test]\nfn a() {}\n"), "");
    assert_eq!(wrong("    // shows: E1\n    /// Doc.\n    #[tokio::test]\n    async fn a() {}\n"), "");
    assert_eq!(wrong("// shows: E99\n#[test]\nfn a() {}\n"), "a.rs:1: there is no row `E99`");
    assert_eq!(wrong("// shows: E1\nfn a() {}\n"), "a.rs:1: a is no test");
    assert_eq!(
        wrong("// shows: E1\n// fn a() {}\n\n#[test]\nfn a() {}\n"),
        "a.rs:1: no test stands below it"
    );
    let ignored = read("a.rs", "// shows: E1\n#[test]\n#[ignore = \"broker\"]\nfn a() {}\n").0;
    assert_eq!(cell(&ignored[0].1), "`a.rs`: `a` (real broker)");
}

#[test]
fn what_no_check_runs_shows_nothing() {
    let of = |path: &str, needs_a_broker| Shows { path: path.to_owned(), name: None, needs_a_broker };
    let called =
        "step ci/examples-of-others\ncargo test --test flow-2 -- --ignored\nrun scenarios/faults/{a,b}.yaml";
    assert!(!is_run(&of("ci/examples", false), called));
    assert!(is_run(&of("ci/examples-of-others", false), called));
    assert!(is_run(&of("engine/tests/flow.rs", false), called));
    assert!(!is_run(&of("engine/tests/flow.rs", true), called));
    assert!(is_run(&of("scenarios/faults/b.yaml", false), called));
    assert!(!is_run(&of("scenarios/faults/c.yaml", false), called));
    assert!(is_run(&of("scenarios/c.yaml", false), called));
}

#[test]
fn a_row_that_nothing_shows_is_noticed() {
    let (mut shown, _) = collect();
    shown.remove("E7");
    let wrong = table(&shown).1;
    assert!(
        wrong.contains(&"nothing shows E7: each topic's consumer can be looked at".to_owned()),
        "{wrong:?}"
    );
}
