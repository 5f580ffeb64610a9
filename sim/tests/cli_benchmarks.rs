//! `fairpoll report --bench`: criterion's folder as a page, and what is said when it cannot be one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fairpoll(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairpoll")).args(arguments).current_dir(folder).output().unwrap()
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/criterion")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A folder with criterion's where criterion puts it.
fn measured() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture(), &folder.path().join("target/criterion"));
    folder
}

/// Every file in a folder, by its path within.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            let within = self::files(&entry.path());
            files.extend(within.into_iter().map(|(path, text)| (format!("{name}/{path}"), text)));
        } else {
            files.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
    files
}

#[test]
fn criterions_folder_becomes_a_page_and_markdown_with_its_pictures() {
    let folder = measured();
    let output = fairpoll(&["report", "--bench"], folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "reports/benchmarks/benchmarks.html\n");
    let files = files(&folder.path().join("reports/benchmarks"));
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected = [
        "benchmarks.html",
        "benchmarks.json",
        "benchmarks.md",
        "benchmarks/lanes-memory.svg",
        "benchmarks/lanes-throughput.svg",
        "benchmarks/offsets-by_record.svg",
        "benchmarks/scheduler-backlogged.svg",
    ];
    assert_eq!(names, expected);
    insta::assert_snapshot!(files["benchmarks.md"]);

    let page = files["benchmarks.html"].replace("http://www.w3.org/2000/svg", "");
    for outside in ["http://", "https://", "<script", "<link", "@import", "src="] {
        assert!(!page.contains(outside), "the page reaches outside: {outside}");
    }
    for name in &expected[3..] {
        let inline = files[*name].lines().filter(|line| line.starts_with("<polyline")).collect::<Vec<_>>();
        assert!(inline.iter().all(|line| page.contains(line)), "{name} is in the page");
        assert!(files["benchmarks.md"].contains(&format!("]({name})")), "{name} is in the text");
    }

    let json: serde_json::Value = serde_json::from_str(&files["benchmarks.json"]).unwrap();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/benchmarks.v1.schema.json");
    let schema = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let schema = jsonschema::draft7::new(&schema).unwrap();
    let complaints: Vec<String> = schema.iter_errors(&json).map(|error| error.to_string()).collect();
    assert_eq!(complaints, Vec::<String>::new());
    assert_eq!(json["groups"][0]["rows"][1]["iteration"]["point"], 20_971_520.0);
}

#[test]
fn the_same_measurements_give_the_same_files() {
    let folder = measured();
    for out in ["once", "again"] {
        let output = fairpoll(&["report", "--bench", "target/criterion", "--out", out], folder.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(files(&folder.path().join("once")) == files(&folder.path().join("again")));
}

#[test]
fn a_picture_without_a_group_goes_and_what_is_not_ours_stays() {
    let folder = measured();
    let docs = folder.path().join("docs");
    fs::create_dir_all(docs.join("benchmarks")).unwrap();
    fs::create_dir_all(docs.join("plots")).unwrap();
    for file in
        ["benchmarks/gone.svg", "benchmarks/own.log", "plots/service.svg", "events.jsonl", "benchmarks.md"]
    {
        fs::write(docs.join(file), "old").unwrap();
    }
    assert!(fairpoll(&["report", "--bench", "--out", "docs"], folder.path()).status.success());
    let files = files(&docs);
    assert!(!files.contains_key("benchmarks/gone.svg"));
    for file in ["benchmarks/own.log", "plots/service.svg", "events.jsonl"] {
        assert_eq!(files[file], "old", "{file}");
    }
    assert!(files["benchmarks.md"].starts_with("# Benchmarks\n"));
}

/// Reports what `spoil` left of the fixture; answers what is said. An earlier page stays as it was.
fn refused(spoil: impl Fn(&Path)) -> String {
    let folder = measured();
    let out = folder.path().join("reports/benchmarks");
    fs::create_dir_all(&out).unwrap();
    fs::write(out.join("benchmarks.md"), "old").unwrap();
    spoil(&folder.path().join("target/criterion"));
    let output = fairpoll(&["report", "--bench"], folder.path());
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(files(&out), [("benchmarks.md".to_owned(), "old".to_owned())].into());
    message
}

#[test]
fn without_measurements_the_bench_is_named_that_makes_them() {
    let remedy = "run `cargo bench -p fairpoll-benches` first, or name criterion's folder\n";
    let missing = refused(|criterion| fs::remove_dir_all(criterion).unwrap());
    assert_eq!(missing, format!("error: there is no folder `target/criterion`; {remedy}"));
    let empty = refused(|criterion| {
        fs::remove_dir_all(criterion).unwrap();
        copy(&fixture().join("report"), &criterion.join("report"));
        copy(
            &fixture().join("scheduler_backlogged/12/base"),
            &criterion.join("scheduler_backlogged/12/base"),
        );
    });
    assert_eq!(empty, format!("error: no benchmark has estimates in `target/criterion`; {remedy}"));
}

#[test]
fn a_file_that_is_missing_or_broken_is_named() {
    let new = "scheduler_backlogged/12/new";
    for file in ["benchmark.json", "estimates.json", "sample.json"] {
        let path = format!("`target/criterion/{new}/{file}`");
        let message = refused(|criterion| fs::remove_file(criterion.join(new).join(file)).unwrap());
        assert!(message.starts_with(&format!("error: cannot read {path}: No such file")), "{message}");
        assert!(message.ends_with("if a bench broke off, run it again\n"), "{message}");
        let message = refused(|criterion| {
            let path = criterion.join(new).join(file);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, &text[..text.len() / 2]).unwrap();
        });
        let broken = format!("error: {path} is not what criterion 0.8 writes: EOF while parsing");
        assert!(message.starts_with(&broken), "{message}");
        let remedy = format!("delete the folder `target/criterion/{new}` and run its bench again\n");
        assert!(message.ends_with(&remedy), "{message}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused_with_the_remedy() {
    let folder = measured();
    fs::write(folder.path().join("file"), "").unwrap();
    let output = fairpoll(&["report", "--bench", "--out", "file/out"], folder.path());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("cannot write results to file/out") && message.contains("--out"), "{message}");
}

#[test]
fn a_run_and_benchmarks_are_not_reported_together() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, words) in [
        (&["report"][..], "required arguments were not provided"),
        (&["report", "run", "--bench"], "cannot be used with"),
        (&["report", "run", "--out", "docs"], "cannot be used with"),
    ] {
        let output = fairpoll(arguments, folder.path());
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(words), "{arguments:?}: {message}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
