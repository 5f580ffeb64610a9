//! A stage without a broker, and the runner's state machine on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fairpoll_judge::event::{Body, Event, Origin, Outcome, Phase};
use fairpoll_judge::manifest::BrokerFacts;
use fairpoll_judge::protocol::ProcessingCost;

use super::stage::{Access, Stage, StageError, Target};
use super::{Backend, BrokerChoice, InconclusivePolicy, RunRequest, run_with};
use crate::event_log::{EventSink, monotonic_ns};
use crate::exit_code::ExitCode;
use crate::scenario::{
    Backlog, BacklogSize, Commit, Consumer, EarlierLife, Fault, FaultKind, GateLines, Loaded, Mode, ModeKind,
    Scenario, Sharing, Stop, StopWhen, Topic,
};

const FAKE_WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fake_worker.py");

/// Produces by saying so.
struct Rehearsal {
    topics: Vec<(String, u32)>,
    before: u64,
    backlog: u64,
    properties: BTreeMap<String, String>,
    produced: u64,
    sink: EventSink,
    fails_after: Option<Instant>,
}

impl Stage for Rehearsal {
    fn access(&self) -> Access {
        let properties = self.properties.clone();
        Access { bootstrap_servers: "127.0.0.1:1".to_owned(), properties, ..Access::default() }
    }

    fn broker_ports(&self) -> BTreeSet<u16> {
        BTreeSet::from([1])
    }

    fn fill(&mut self, origin: Origin) -> Result<Vec<Target>, StageError> {
        let count = if origin == Origin::Before { self.before } else { self.backlog };
        let first = self.produced;
        self.produced += count;
        let now = monotonic_ns();
        let mut targets = Vec::new();
        for (index, (topic, partitions)) in self.topics.iter().enumerate() {
            for partition in 0..*partitions {
                let base = ((index as u64 + 1) << 48) | (u64::from(partition) << 32);
                self.sink.emit(Body::Produced {
                    topic: topic.clone(),
                    partition,
                    first_offset: first.cast_signed(),
                    count,
                    first_id: base + first,
                    scheduled_t0_ns: now,
                    interval_ns: 0,
                    ack_ns: now,
                    sent_ns: now,
                    origin,
                });
                let offset = self.produced.cast_signed();
                targets.push(Target { topic: topic.clone(), partition, offset });
            }
        }
        Ok(targets)
    }

    fn start_live(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    fn stop_live(&mut self) -> Result<Vec<Target>, StageError> {
        Ok(Vec::new())
    }

    fn fault(&mut self, _fault: &Fault, _begins: bool) -> Result<(), StageError> {
        Ok(())
    }

    fn check(&mut self) -> Result<(), StageError> {
        match self.fails_after {
            Some(at) if Instant::now() > at => {
                Err(StageError { what: "the broker is gone".to_owned(), exit: ExitCode::Infrastructure })
            }
            _ => Ok(()),
        }
    }

    fn offsets(&mut self, group_of: &dyn Fn(&str) -> String) -> Result<Vec<Body>, StageError> {
        assert!(group_of("x").ends_with("-group"), "the group of the run");
        Ok(Vec::new())
    }
}

struct Play {
    dir: tempfile::TempDir,
    request: RunRequest,
    broker_fails: bool,
}

fn mode(name: &str, behaviour: &str, records: u64) -> Mode {
    let command = ["python3", FAKE_WORKER, behaviour, &records.to_string()];
    Mode {
        name: name.to_owned(),
        kind: ModeKind::Command(command.map(str::to_owned).to_vec()),
        max_poll_records: None,
        fetch_buffer_mib: None,
        max_records: None,
        sharing: Sharing::default(),
        group_strategy: None,
        joins_as: None,
        properties: BTreeMap::new(),
    }
}

fn topic(name: &str, partitions: u32) -> Topic {
    Topic {
        name: name.to_owned(),
        count: None,
        partitions,
        backlog: Backlog(BacklogSize::Records(1000 * u64::from(partitions))),
        value_bytes: 8,
        rate_per_s: 0.0,
        weight: 1,
        priority: 0,
    }
}

impl Play {
    fn new(modes: Vec<Mode>) -> Self {
        let scenario = Scenario {
            schema_version: 1,
            name: "rehearsal".to_owned(),
            purpose: "Shows that the runner notices.".to_owned(),
            seed: 1,
            topics: vec![topic("a", 2), topic("b", 1)],
            broker: crate::scenario::BrokerNeeds::default(),
            producer: crate::scenario::Producing::default(),
            consumer: Consumer {
                max_poll_records: 500,
                fetch_buffer_mib: None,
                poll_timeout_ms: 100,
                commit: Commit::default(),
                instances: 1,
                properties: BTreeMap::new(),
            },
            processing: ProcessingCost::default(),
            modes,
            stop: Stop { when: StopWhen::Drained, deadline_s: 30.0, live_for_s: 0.0, stall_s: 20.0 },
            earlier_life: None,
            faults: Vec::new(),
            availability_ms: 50,
            demonstrates: Vec::new(),
            gates: Vec::new(),
        };
        let loaded = Loaded {
            scenario,
            path: PathBuf::from("rehearsal.yaml"),
            source: String::new(),
            sha256: "0".repeat(64),
            gate_lines: GateLines::default(),
        };
        let dir = tempfile::tempdir().expect("a temporary folder");
        let request = RunRequest {
            scenarios: vec![loaded],
            runs: 1,
            backend: Backend::Broker(BrokerChoice::Embedded),
            properties: BTreeMap::new(),
            seed: None,
            sampled: true,
            out: Some(dir.path().join("out")),
            quiet: true,
            json: false,
            inconclusive: InconclusivePolicy::Warn,
            command: Vec::new(),
        };
        Self { dir, request, broker_fails: false }
    }

    fn one(behaviour: &str) -> Self {
        Self::new(vec![mode("ours", behaviour, 1000)])
    }

    fn scenario(&mut self) -> &mut Scenario {
        &mut self.request.scenarios[0].scenario
    }

    fn perform(&self) -> (ExitCode, Vec<Event>) {
        let exit = self.act();
        let text = std::fs::read_to_string(self.dir.path().join("out/events.jsonl")).expect("written");
        let events = text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
        (exit, events)
    }

    fn act(&self) -> ExitCode {
        let earlier = self.request.scenarios[0].scenario.earlier_life.map_or(0, |life| life.records);
        run_with(&self.request, &mut |part, sink| {
            let topics = part.header.topics.iter().map(|topic| (topic.name.clone(), topic.partitions));
            let stage = Rehearsal {
                topics: topics.collect(),
                before: earlier,
                backlog: 1000 - earlier,
                properties: self.request.properties.clone(),
                produced: 0,
                sink: sink.clone(),
                fails_after: self.broker_fails.then(|| Instant::now() + Duration::from_millis(500)),
            };
            let facts = BrokerFacts {
                kind: "embedded".to_owned(),
                version: None,
                image: None,
                nodes: 1,
                imposed_properties: BTreeMap::new(),
                properties: BTreeMap::new(),
            };
            Ok((Box::new(stage) as Box<dyn Stage>, facts))
        })
        .expect("the output can be written")
    }

    /// Runs a worker that must fail; answers what the log says of it.
    fn failure(&self) -> String {
        let (exit, events) = self.perform();
        assert_eq!(exit, ExitCode::Infrastructure);
        let ended = events.iter().rev().find_map(|event| match &event.body {
            Body::RunEnded { outcome: Outcome::Failed { what } } => Some(what.clone()),
            _ => None,
        });
        let exited = events.iter().any(|event| matches!(event.body, Body::WorkerExited { .. }));
        assert!(exited, "the exit stands in the log");
        ended.expect("a failed outcome")
    }
}

fn phases(events: &[Event]) -> Vec<Phase> {
    let phase = |event: &Event| match event.body {
        Body::Phase { phase } => Some(phase),
        _ => None,
    };
    events.iter().filter_map(phase).collect()
}

#[test]
fn a_run_goes_through_its_phases_and_leaves_every_file() {
    let play = Play::one("deliver");
    let (exit, events) = play.perform();
    assert!(matches!(events[0].body, Body::Header(_)));
    assert_eq!(phases(&events), [Phase::Fill, Phase::Join, Phase::Disturb, Phase::Drain, Phase::Stop]);
    let last = &events[events.len() - 1].body;
    assert!(matches!(last, Body::RunEnded { outcome: Outcome::Finished }), "{last:?}");
    assert!(events.iter().any(|event| matches!(event.body, Body::Sample { .. })));
    assert!(events.iter().any(|event| matches!(
        event.body,
        Body::WorkerExited { code: Some(0), signal: None, expected: true, .. }
    )));
    // A rehearsal has no offsets to audit: the verdict is not what is looked at here.
    assert!(!matches!(exit, ExitCode::Infrastructure | ExitCode::Internal | ExitCode::Interrupted));
    for file in ["manifest.json", "summary.json", "report.html", "logs/ours-1.log"] {
        assert!(play.dir.path().join("out").join(file).exists(), "{file}");
    }
    assert!(!play.dir.path().join("out/index.json").exists(), "one scenario needs no index");
}

#[test]
fn runs_are_interleaved_there_and_back() {
    let mut play = Play::new(vec![mode("x", "deliver", 1000), mode("y", "deliver", 1000)]);
    play.request.runs = 2;
    let (_, events) = play.perform();
    let ended: Vec<(String, u32)> = events
        .iter()
        .filter(|event| matches!(event.body, Body::RunEnded { .. }))
        .map(|event| (event.mode.clone().expect("a mode"), event.run.expect("a run")))
        .collect();
    let expected = [("x", 1), ("y", 1), ("y", 2), ("x", 2)].map(|(mode, run)| (mode.to_owned(), run));
    assert_eq!(ended, expected);
}

#[test]
fn an_earlier_life_is_not_measured_and_ends_before_the_backlog_is_there() {
    let mut play = Play::one("deliver");
    play.scenario().earlier_life = Some(EarlierLife { records: 400 });
    let state = play.dir.path().join("state");
    // The fake keeps its own commits: told by its environment, 400 records in its first life.
    let script = format!(
        "FAKE_WORKER_STATE={0}; export FAKE_WORKER_STATE; n=1000; [ -e {0} ] || n=400; exec python3 {1} deliver $n",
        state.display(),
        FAKE_WORKER,
    );
    play.scenario().modes[0].kind =
        ModeKind::Command(["sh", "-c", &script, "sh"].map(str::to_owned).to_vec());
    let (_, events) = play.perform();
    let lives: Vec<(u32, bool)> = events
        .iter()
        .filter_map(|event| match event.body {
            Body::WorkerStarted { life, measured, .. } => Some((life, measured)),
            _ => None,
        })
        .collect();
    assert_eq!(lives, [(1, false), (2, true)]);
    let exited = events.iter().position(|event| matches!(event.body, Body::WorkerExited { life: 1, .. }));
    let backlog =
        events.iter().position(|event| matches!(event.body, Body::Produced { origin: Origin::Backlog, .. }));
    assert!(exited.is_some() && exited < backlog);
    let last = &events[events.len() - 1].body;
    assert!(matches!(last, Body::RunEnded { outcome: Outcome::Finished }), "{last:?}");
}

#[test]
fn a_worker_that_dies_ends_the_run_with_its_mode_signal_and_last_words() {
    let what = Play::one("killed").failure();
    assert!(what.contains("mode ours") && what.contains("signal 9 (SIGKILL)"), "{what}");
    let what = Play::one("crash").failure();
    assert!(what.contains("exited with code 3") && what.contains("something broke"), "{what}");
}

#[test]
fn what_is_not_of_the_protocol_ends_the_run_and_is_quoted() {
    for (behaviour, words) in [
        ("bad_line", "Traceback"),
        ("spam_before_hello", "line 1 of its standard output"),
        ("wrong_version", "version 99"),
        ("no_hello", "first line is not hello"),
        ("early_bye", "said bye in mid-run"),
        ("no_bye", "without saying bye"),
        ("fatal", "not authorised"),
    ] {
        let play = match behaviour {
            // One record short of what was produced, so that the run is still on.
            "early_bye" => Play::new(vec![mode("ours", behaviour, 999)]),
            _ => Play::one(behaviour),
        };
        let what = play.failure();
        assert!(what.contains(words), "{behaviour}: {what}");
    }
}

#[test]
fn after_a_failure_no_other_mode_is_started() {
    let play = Play::new(vec![mode("x", "killed", 1000), mode("y", "deliver", 1000)]);
    let (exit, events) = play.perform();
    assert_eq!(exit, ExitCode::Infrastructure);
    assert!(events.iter().all(|event| event.mode.as_deref() != Some("y")));
}

#[test]
fn a_run_without_progress_ends_at_its_deadline_and_the_others_go_on() {
    for behaviour in ["stall", "never_assigned"] {
        let mut play = Play::new(vec![mode("x", behaviour, 1000), mode("y", "deliver", 1000)]);
        play.scenario().stop.deadline_s = 2.0;
        let (exit, events) = play.perform();
        assert!(!matches!(exit, ExitCode::Pass | ExitCode::Infrastructure), "{behaviour}: {exit:?}");
        let outcomes: Vec<&Outcome> = events
            .iter()
            .filter_map(|event| match &event.body {
                Body::RunEnded { outcome } => Some(outcome),
                _ => None,
            })
            .collect();
        assert_eq!(outcomes, [&Outcome::Deadline, &Outcome::Finished], "{behaviour}");
        let said_bye = events.iter().any(|event| {
            let worker = matches!(&event.body, Body::Worker { line, .. }
                if matches!(line, fairpoll_judge::protocol::WorkerLine::Bye { .. }));
            worker && event.mode.as_deref() == Some("x")
        });
        assert!(said_bye || behaviour == "never_assigned", "a late worker may commit and say goodbye");
    }
}

#[test]
fn a_broker_that_fails_in_mid_run_ends_it() {
    let mut play = Play::one("stall");
    play.broker_fails = true;
    let what = play.failure();
    assert!(what.contains("the broker is gone"), "{what}");
}

#[test]
fn faults_begin_and_end_on_schedule_before_live_production_stops() {
    let mut play = Play::one("deliver");
    let fault = |at_ms, for_ms| Fault {
        topic: Some("a".to_owned()),
        for_ms,
        ..Fault::new(FaultKind::TopicFetchErrors, at_ms)
    };
    play.scenario().faults = vec![fault(0, Some(200)), fault(100, None)];
    let (_, events) = play.perform();
    let at = |wanted: fn(&Body) -> bool| events.iter().position(|event| wanted(&event.body));
    let faults: Vec<bool> = events
        .iter()
        .filter_map(|event| match event.body {
            Body::Fault { begins, .. } => Some(begins),
            _ => None,
        })
        .collect();
    assert_eq!(faults, [true, true, false, false]);
    let first = at(|body| matches!(body, Body::Fault { begins: true, .. }));
    let started = at(|body| matches!(body, Body::WorkerStarted { .. }));
    let ended = at(|body| matches!(body, Body::Fault { begins: false, .. }));
    let drain = at(|body| matches!(body, Body::Phase { phase: Phase::Drain }));
    assert!(first < started && ended < drain, "a fault at 0 is there before the consumer starts");
}

#[test]
fn several_scenarios_get_a_folder_each_and_an_index_with_the_weightiest_exit_code() {
    let mut play = Play::one("killed");
    let mut second = Play::one("deliver").request.scenarios.remove(0);
    second.scenario.name = "second".to_owned();
    play.request.scenarios.push(second);
    let out = play.dir.path().join("out");
    assert_eq!(play.act(), ExitCode::Infrastructure);
    assert!(!out.join("events.jsonl").exists(), "the folder itself holds the index only");
    let index = std::fs::read_to_string(out.join("index.json")).expect("written");
    let index: serde_json::Value = serde_json::from_str(&index).expect("JSON");
    assert_eq!(index[0]["scenario"], "rehearsal");
    assert_eq!(index[0]["exit_code"], 6);
    assert_eq!(index[1]["path"], "second");
    assert!(out.join("second/events.jsonl").exists());
}

#[test]
fn a_scenario_that_the_broker_refuses_has_no_verdict_and_starts_no_worker() {
    let play = Play::one("deliver");
    let exit = run_with(&play.request, &mut |_, _| {
        Err(StageError { what: "too deep; use --broker external".to_owned(), exit: ExitCode::Usage })
    });
    assert_eq!(exit.expect("the output can be written"), ExitCode::Usage);
    assert!(!play.dir.path().join("out/summary.json").exists());
    assert!(!play.dir.path().join("out/logs").exists());
}

#[test]
fn two_scenarios_of_one_name_are_refused_before_anything_is_written() {
    let mut play = Play::one("deliver");
    let again = play.request.scenarios[0].clone();
    play.request.scenarios.push(again);
    let error = run_with(&play.request, &mut |_, _| panic!("nothing runs")).expect_err("refused");
    assert_eq!(error.exit_code(), ExitCode::Usage);
    assert!(!play.dir.path().join("out").exists());
}

#[test]
fn secrets_reach_the_worker_and_nothing_that_is_written() {
    let mut play = Play::one("deliver");
    let secret = "hunter2".to_owned();
    play.request.properties = BTreeMap::from([("sasl.password".to_owned(), secret.clone())]);
    play.request.command =
        vec!["fairpoll".to_owned(), "--property".to_owned(), format!("sasl.password={secret}")];
    let spec = play.dir.path().join("spec");
    let script =
        format!("read line; echo \"$line\" > {0}; python3 {FAKE_WORKER} deliver 1000 < {0}", spec.display());
    play.scenario().modes[0].kind = ModeKind::Command(["sh", "-c", &script].map(str::to_owned).to_vec());
    play.act();
    let spec = std::fs::read_to_string(spec).expect("the worker was told");
    assert!(spec.contains(&secret), "the worker needs it");
    for file in ["manifest.json", "events.jsonl", "summary.json"] {
        let text = std::fs::read_to_string(play.dir.path().join("out").join(file)).expect("written");
        assert!(!text.contains(&secret), "{file}");
    }
}
