//! What the types promise: programs that the compiler must refuse, in `refused/`, each at the line and
//! with the error that stands there as `//~ E0505`; and one that it must accept, lest all are refused
//! for a reason that has nothing to do with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fairpoll::{Batch, Consumer, OwnedRecord, Receipt};

/// An error code and its line.
type Refusal = (String, u64);

/// This crate as it was linked into this test: the youngest that is not younger than the test.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    let changed = |path: &Path| fs::metadata(path).and_then(|what| what.modified()).expect("a file");
    let (folder, linked) = (test.parent().expect("a folder"), changed(&test));
    let is_library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix("libfairpoll-").is_some_and(|hash| !hash.contains('-') && hash.ends_with(".rlib"))
    };
    let built = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    built
        .filter(|path| is_library(path) && changed(path) <= linked)
        .max_by_key(|path| changed(path))
        .expect("the test was linked with it")
}

/// What the compiler objects to.
fn refusals(program: &Path) -> Vec<Refusal> {
    let library = library();
    let output = Command::new("rustc")
        .args(["--edition=2024", "--emit=metadata", "--error-format=json", "--cap-lints=allow"])
        .arg(format!("--extern=fairpoll={}", library.display()))
        .arg(format!("-Ldependency={}", library.parent().expect("a folder").display()))
        .args(["--out-dir", env!("CARGO_TARGET_TMPDIR")])
        .arg(program)
        .output()
        .expect("rustc runs");
    let told = String::from_utf8(output.stderr).expect("JSON is UTF-8");
    let messages = told.lines().map(|line| {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {told}"))
    });
    let mut all: Vec<Refusal> = messages
        .filter(|message| message["level"] == "error" && message["spans"][0].is_object())
        .map(|message| {
            let spans = message["spans"].as_array().expect("looked at above");
            let primary = spans.iter().find(|span| span["is_primary"] == true).expect("each has one");
            let code = message["code"]["code"].as_str().unwrap_or("no code").to_owned();
            (code, primary["line_start"].as_u64().expect("a line"))
        })
        .collect();
    all.sort();
    assert_eq!(output.status.success(), all.is_empty(), "{}: {told}", program.display());
    all
}

/// What its marks announce.
fn announced(program: &Path) -> Vec<Refusal> {
    let text = fs::read_to_string(program).expect("a program");
    let marks = text.lines().zip(1..).filter_map(|(line, number)| {
        let (_, code) = line.split_once("//~ ")?;
        Some((code.trim().to_owned(), number))
    });
    let mut all: Vec<Refusal> = marks.collect();
    all.sort();
    all
}

#[test]
fn the_compiler_refuses_what_would_be_unsound_or_lose_records() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused");
    let programs: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    assert!(programs.len() > 1, "{programs:?}");
    for program in programs {
        let accepted = program.ends_with("not_this_one.rs");
        let announced = announced(&program);
        assert_eq!(announced.is_empty(), accepted, "{}: it says what is wrong with it", program.display());
        assert_eq!(refusals(&program), announced, "{}", program.display());
    }
}

/// Batches, copies and receipts may go to other tasks and threads and stay there.
#[test]
fn what_a_worker_needs_may_travel() {
    fn travels<T: Send + Sync + 'static>() {}
    travels::<Batch>();
    travels::<OwnedRecord>();
    travels::<Receipt>();
    fn moves<T: Send + 'static>() {}
    moves::<Consumer>();
}
