//! The processes of a run, from outside: signals, exit codes, streams, what stays behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const FAKE_WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fake_worker.py");

/// A scenario of one or more fake workers in a folder of its own.
struct Stand {
    dir: tempfile::TempDir,
}

impl Stand {
    fn new(behaviours: &[&str]) -> Self {
        let mut text = "schema_version: 1\n\
            name: stand\n\
            purpose: Shows what happens to processes.\n\
            topics:\n  - {name: a, partitions: 2, backlog: 2000, value_bytes: 8}\n\
            consumer: {max_poll_records: 500}\n\
            stop: {when: drained, deadline_s: 40}\n\
            gates: []\n\
            modes:\n"
            .to_owned();
        for behaviour in behaviours {
            let name = behaviour.replace('_', "-");
            text.push_str(&format!(
                "  - {{name: {name}, command: [python3, \"{FAKE_WORKER}\", {behaviour}, \"1000\"]}}\n"
            ));
        }
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::write(dir.path().join("stand.yaml"), text).expect("writable");
        Self { dir }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairpoll"));
        command.current_dir(self.dir.path()).arg("run").arg("stand.yaml").args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, options: &[&str]) -> Output {
        self.command(options).output().expect("fairpoll starts")
    }

    /// Starts a run and waits until its worker was assigned its partitions.
    fn start(&self) -> Child {
        let out = self.out();
        let child = self.command(&["--out", &out.to_string_lossy()]).spawn().expect("fairpoll starts");
        // The log on disk lags behind by a buffer, the worker's standard error does not.
        wait_for("the worker", || worker_of(child.id()).is_some());
        std::thread::sleep(Duration::from_millis(500));
        child
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `(pid, parent, state)` of every process.
fn processes() -> Vec<(u32, u32, char)> {
    let entries = fs::read_dir("/proc").expect("Linux");
    let process = |name: String| {
        let pid = name.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
        // The name in brackets may hold anything, brackets too.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        Some((pid, fields.next().and_then(|state| state.chars().next())?, fields.next()?.parse().ok()?))
    };
    entries
        .filter_map(|entry| process(entry.ok()?.file_name().into_string().ok()?))
        .map(|(pid, state, parent)| (pid, parent, state))
        .collect()
}

fn descendants(of: u32) -> BTreeSet<u32> {
    let all = processes();
    let mut found = BTreeSet::from([of]);
    loop {
        let more: Vec<u32> = all
            .iter()
            .filter(|(pid, parent, _)| found.contains(parent) && !found.contains(pid))
            .map(|(pid, ..)| *pid)
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found.remove(&of);
    found
}

fn alive(pids: &BTreeSet<u32>) -> Vec<u32> {
    let all = processes();
    let alive = |pid: &&u32| all.iter().any(|(other, _, state)| other == *pid && *state != 'Z');
    pids.iter().filter(alive).copied().collect()
}

fn worker_of(fairpoll: u32) -> Option<u32> {
    descendants(fairpoll).into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("fake_worker.py")
    })
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn event_names(folder: &Path) -> Vec<String> {
    let log = fs::read_to_string(folder.join("events.jsonl")).expect("a log");
    let name = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        event["body"]["event"].as_str().expect("a name").to_owned()
    };
    log.lines().map(name).collect()
}

#[test]
fn ctrl_c_stops_everything_keeps_a_partial_report_and_exits_with_130() {
    let stand = Stand::new(&["stall", "deliver"]);
    let fairpoll = stand.start();
    let children = descendants(fairpoll.id());
    assert!(!children.is_empty());
    signal(fairpoll.id(), "INT");
    let asked = Instant::now();
    let output = fairpoll.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(alive(&children), [0; 0]);
    assert!(text(&output.stderr).contains("interrupted"), "{}", text(&output.stderr));
    let events = event_names(&stand.out());
    assert_eq!(events.last().map(String::as_str), Some("run_ended"));
    for file in ["manifest.json", "summary.json", "report.html"] {
        assert!(stand.out().join(file).exists(), "{file}");
    }
}

#[test]
fn a_worker_that_ignores_every_request_does_not_hold_up_ctrl_c() {
    let stand = Stand::new(&["stone"]);
    let fairpoll = stand.start();
    let children = descendants(fairpoll.id());
    signal(fairpoll.id(), "INT");
    let asked = Instant::now();
    let output = fairpoll.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(alive(&children), [0; 0]);
}

#[test]
fn a_second_ctrl_c_kills_at_once() {
    let stand = Stand::new(&["stone"]);
    let fairpoll = stand.start();
    let children = descendants(fairpoll.id());
    signal(fairpoll.id(), "INT");
    // Two signals in one instant are one.
    std::thread::sleep(Duration::from_millis(200));
    signal(fairpoll.id(), "INT");
    let asked = Instant::now();
    let output = fairpoll.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_millis(300), "{:?}", asked.elapsed());
    wait_for("the children's end", || alive(&children).is_empty());
}

#[test]
fn when_fairpoll_is_killed_workers_and_broker_are_gone_within_two_seconds() {
    let stand = Stand::new(&["stone"]);
    let mut fairpoll = stand.start();
    let children = descendants(fairpoll.id());
    assert!(!alive(&children).is_empty());
    signal(fairpoll.id(), "KILL");
    let killed = Instant::now();
    fairpoll.wait().expect("it ends");
    while !alive(&children).is_empty() {
        assert!(killed.elapsed() < Duration::from_secs(2), "alive: {:?}", alive(&children));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn when_a_worker_is_killed_the_run_ends_with_6_and_names_its_mode() {
    let stand = Stand::new(&["stall", "deliver"]);
    let fairpoll = stand.start();
    let worker = worker_of(fairpoll.id()).expect("it runs");
    signal(worker, "KILL");
    let output = fairpoll.wait_with_output().expect("it ends");
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("mode stall") && errors.contains("SIGKILL"), "{errors}");
    assert!(stand.out().join("summary.json").exists(), "the partial report is kept");
}

/// A heap for each of librdkafka's threads in huge pages: `multi` took 3.4 MiB for a topic, and takes 0.5.
#[test]
fn a_worker_has_no_huge_pages_and_others_keep_them() {
    let status = |pid: u32| fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let mut worker = Command::new(env!("CARGO_BIN_EXE_fairpoll"))
        .arg("worker")
        .stdin(Stdio::piped())
        .spawn()
        .expect("the binary");
    let pid = worker.id();
    wait_for("the worker to renounce", || status(pid).contains("THP_enabled:\t0"));
    drop(worker.stdin.take());
    worker.wait().expect("ours");
    assert!(status(std::process::id()).contains("THP_enabled:\t1"));
}

#[test]
fn an_output_folder_that_cannot_be_written_is_refused_before_anything_starts() {
    let stand = Stand::new(&["deliver"]);
    let output = stand.run(&["--out", "stand.yaml/out"]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("--out") && errors.contains("stand.yaml/out"), "{errors}");
    let left = fs::read_dir(stand.dir.path()).expect("readable").count();
    assert_eq!(left, 1, "nothing but the scenario");
}

#[test]
fn without_out_the_last_line_of_stdout_is_a_fresh_folder_under_reports() {
    let stand = Stand::new(&["deliver"]);
    let folder = || {
        let output = stand.run(&[]);
        let shown = text(&output.stdout);
        PathBuf::from(shown.lines().last().unwrap_or_else(|| panic!("{}", text(&output.stderr))))
    };
    let (first, second) = (folder(), folder());
    assert_ne!(first, second);
    for folder in [first, second] {
        assert!(folder.starts_with("reports"), "{}", folder.display());
        assert!(stand.dir.path().join(&folder).join("events.jsonl").exists());
    }
}

#[test]
fn quiet_prints_nothing() {
    let stand = Stand::new(&["deliver"]);
    let output = stand.run(&["--quiet", "--out", "out"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
    assert!(stand.out().join("summary.json").exists());
}

#[test]
fn json_puts_the_summary_alone_on_stdout() {
    let stand = Stand::new(&["deliver"]);
    let output = stand.run(&["--json", "--out", "out"]);
    let file = fs::read_to_string(stand.out().join("summary.json")).expect("written");
    assert_eq!(text(&output.stdout), file);
    let summary: serde_json::Value = serde_json::from_str(&file).expect("JSON");
    assert_eq!(summary["scenario"], "stand");
    assert!(text(&output.stderr).contains("report.html"), "people are told on standard error");
}

#[test]
fn a_report_renders_again_to_the_same_summary() {
    let stand = Stand::new(&["deliver"]);
    let run = stand.run(&["--quiet", "--out", "out"]);
    let summary = fs::read(stand.out().join("summary.json")).expect("written");
    fs::remove_file(stand.out().join("summary.json")).expect("there");
    let again = Command::new(env!("CARGO_BIN_EXE_fairpoll"))
        .arg("report")
        .arg(stand.out())
        .output()
        .expect("fairpoll starts");
    assert_eq!(again.status.code(), run.status.code(), "{}", text(&again.stderr));
    assert_eq!(fs::read(stand.out().join("summary.json")).expect("written"), summary);
}

#[test]
fn records_of_every_codec_arrive() {
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let stand = Stand::new(&["deliver"]);
        let file = stand.dir.path().join("stand.yaml");
        let text = fs::read_to_string(&file).expect("written");
        let (head, _) = text.split_once("modes:").expect("its last key");
        fs::write(&file, format!("{head}modes: [fair]\nproducer: {{compression: {codec}}}\n"))
            .expect("writable");
        let output = stand.run(&["--quiet", "--out", "out"]);
        assert_eq!(output.status.code(), Some(0), "{codec}: {}", self::text(&output.stderr));
    }
}
