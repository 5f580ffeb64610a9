//! What a consumer says in the log and in traces.

mod common;

use std::time::{Duration, Instant};

use common::captured::{Captured, Line, Span};
use common::{Mock, config, stopped};
use fairpoll::{Consumer, GroupStrategy, ModeRequest, PollError, traces};
use rdkafka_sys::rd_kafka_resp_err_t as Code;
use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

const OFFSET_COMMIT: i16 = 8;
const WAIT: Duration = Duration::from_secs(20);

/// Of this thread, which all of a test runs on.
fn capture() -> (Captured, DefaultGuard) {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::registry().with(captured.clone());
    (captured, tracing::subscriber::set_default(subscriber))
}

/// `key=value` of a line.
fn value<'a>(line: &'a Line, key: &str) -> &'a str {
    let start = format!(" {key}=");
    let (_, rest) = line.message.split_once(&start).unwrap_or_else(|| panic!("{key} in {line:?}"));
    rest.split(' ').next().expect("there is always one")
}

// shows: E6
#[tokio::test]
async fn what_runs_is_said_at_the_start_and_where_it_stands_from_time_to_time() {
    let mock = Mock::filled(&[("deep", 1, 300)]);
    let (log, _guard) = capture();
    let config = config(&mock, "a group", &["deep", "nowhere"], ModeRequest::Multi)
        .group_strategy(GroupStrategy::Own)
        .status_log_interval(Duration::from_millis(100));
    let mut consumer = Consumer::start(config).expect("start");
    let started = log.lines("fairpoll started:");
    let [started] = &started[..] else { panic!("once: {started:?}") };
    assert_eq!((started.target.as_str(), started.level), (traces::STATUS_TARGET, Level::INFO));
    assert_eq!((value(started, "actual_mode"), value(started, "handles")), ("multi", "2"));
    assert!(started.message.contains(" reason=\""), "{started:?}");
    let handles = log.lines("fairpoll handle:");
    let of_each: Vec<[&str; 4]> = handles
        .iter()
        .map(|line| ["handle", "client_id", "topic_names", "protocol"].map(|key| value(line, key)))
        .collect();
    assert_eq!(
        of_each,
        [
            ["0", "fairpoll-deep", "deep", "cooperative-sticky"],
            ["1", "fairpoll-nowhere", "nowhere", "cooperative-sticky"]
        ]
    );

    let mut delivered = 0;
    let is_said = |delivered: usize| {
        log.lines("fairpoll status:").into_iter().find(|line| {
            value(line, "lag_by_topic") == format!("deep:{}", 300 - delivered)
                && value(line, "failing") != "-"
        })
    };
    let until = Instant::now() + WAIT;
    let said = loop {
        assert!(Instant::now() < until, "{:?}", log.lines("fairpoll status:"));
        // A few, and then none: the rest is its lag.
        let most = if delivered == 0 { 10 } else { 0 };
        let batch = consumer.get_many(Duration::from_millis(20), Some(most)).await.expect("poll");
        delivered += batch.len();
        if let Some(line) = is_said(delivered).filter(|_| delivered > 0) {
            break line;
        }
    };
    assert_eq!((said.target.as_str(), said.level), (traces::STATUS_TARGET, Level::INFO));
    assert!(said.message.starts_with("fairpoll status: group=\"a group\" mode=multi topics=2 partitions=1 "));
    assert_eq!(value(&said, "failing"), "nowhere:UNKNOWN_TOPIC_OR_PART");
    assert_eq!(value(&said, "lag"), (300 - delivered).to_string());
    stopped(consumer).await;
}

#[tokio::test]
async fn without_an_interval_nothing_is_said_of_where_it_stands() {
    let mock = Mock::filled(&[("deep", 1, 10)]);
    let (log, _guard) = capture();
    let config = config(&mock, "silent", &["deep"], ModeRequest::Fair).status_log_interval(Duration::ZERO);
    let mut consumer = Consumer::start(config).expect("start");
    common::poll_for(&mut consumer, Duration::from_millis(2_500)).await;
    stopped(consumer).await;
    assert_eq!(log.lines("fairpoll started:").len(), 1);
    assert_eq!(log.lines("fairpoll status:").len(), 0);
}

fn field<'a>(span: &'a Span, name: &str) -> &'a str {
    span.fields.get(name).unwrap_or_else(|| panic!("{name} of {span:?}"))
}

// shows: E21
#[tokio::test]
async fn polls_commits_rebalances_and_stops_are_spans_with_their_fields() {
    let mock = Mock::filled(&[("deep", 1, 300), ("quiet", 1, 20)]);
    let (log, _guard) = capture();
    let mut consumer =
        Consumer::start(config(&mock, "traced", &["deep", "quiet"], ModeRequest::Fair)).expect("start");
    let mut lengths = Vec::new();
    let until = Instant::now() + WAIT;
    while lengths.iter().sum::<usize>() < 320 {
        assert!(Instant::now() < until, "{lengths:?}");
        let batch = consumer.get_many(Duration::from_millis(50), None).await.expect("poll");
        lengths.push(batch.len());
        tracing::info_span!("work").in_scope(|| consumer.commit(&batch));
        // However long the coordinator takes: what caused a commit does not last until it is answered.
        let over = [log.spans("work"), log.spans(traces::GET_MANY)].concat();
        assert!(over.iter().all(|span| span.closed), "{over:?}");
    }
    // Nothing is in flight that would be refused too.
    while !log.spans(traces::COMMIT).iter().all(|span| span.closed) {
        assert!(Instant::now() < until, "not answered");
        consumer.get_many(Duration::from_millis(10), Some(0)).await.expect("poll");
    }
    mock.fail_requests(OFFSET_COMMIT, Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1);
    mock.produce("quiet", 0, 5);
    let input = consumer.get_complete(WAIT).await.expect("poll");
    lengths.push(input.batch.len());
    consumer.commit(&input.batch);
    let is_refused = |span: &Span| span.fields.get("error.type").is_some();
    let until = Instant::now() + WAIT;
    while !log.spans(traces::COMMIT).iter().any(is_refused) && Instant::now() < until {
        consumer.get_many(Duration::from_millis(10), None).await.expect("poll");
    }
    drop(input);
    stopped(consumer).await;

    for name in [traces::GET_MANY, traces::GET_COMPLETE, traces::COMMIT, traces::REBALANCE, traces::STOP] {
        for span in log.spans(name) {
            assert_eq!((span.level, span.closed), (Level::DEBUG, true), "{span:?}");
            assert_eq!(field(&span, "messaging.system"), "kafka");
            assert_eq!(field(&span, "messaging.consumer.group.name"), "traced");
        }
    }
    let polls = [log.spans(traces::GET_MANY), log.spans(traces::GET_COMPLETE)].concat();
    let counted = polls.iter().map(|span| field(span, "messaging.batch.message_count"));
    let counted: usize = counted.map(|count| count.parse::<usize>().expect("a number")).sum();
    assert_eq!(counted, lengths.iter().sum::<usize>());
    assert!(polls.iter().all(|span| field(span, "messaging.operation.type") == "receive"));

    let commits = log.spans(traces::COMMIT);
    assert!(commits.iter().any(|span| span.cause == Some("work")), "{commits:?}");
    let refused: Vec<&Span> = commits.iter().filter(|span| is_refused(span)).collect();
    let [refused] = refused[..] else { panic!("one was refused: {commits:?}") };
    assert_eq!(field(refused, "error.type"), "TOPIC_AUTHORIZATION_FAILED");
    assert_eq!((field(refused, "fairpoll.partitions"), field(refused, "fairpoll.refused")), ("1", "1"));
    let well = commits.iter().filter(|span| !is_refused(span));
    assert!(well.clone().count() >= 1 && well.clone().all(|span| field(span, "fairpoll.refused") == "0"));
    assert!(commits.iter().all(|span| field(span, "messaging.operation.name") == "commit"));

    let rebalances = log.spans(traces::REBALANCE);
    let kinds: Vec<[&str; 2]> = rebalances
        .iter()
        .map(|span| [field(span, "fairpoll.rebalance"), field(span, "fairpoll.partitions")])
        .filter(|[_, partitions]| *partitions != "0")
        .collect();
    assert_eq!(kinds, [["assigned", "2"], ["revoked", "2"]]);
    let stops = log.spans(traces::STOP);
    let [stop] = &stops[..] else { panic!("one: {stops:?}") };
    assert_eq!((field(stop, "fairpoll.committed"), field(stop, "fairpoll.closed")), ("true", "true"));
}

#[tokio::test]
async fn a_poll_that_fails_says_why_and_counts_nothing() {
    let mock = Mock::filled(&[("deep", 1, 10)]);
    let (log, _guard) = capture();
    let mut consumer = Consumer::start(config(&mock, "over", &["deep"], ModeRequest::Fair)).expect("start");
    consumer.stop(WAIT).await;
    let result = consumer.get_many(Duration::ZERO, None).await;
    assert_eq!(result.err(), Some(PollError::Stopped));
    let spans = log.spans(traces::GET_MANY);
    let [span] = &spans[..] else { panic!("one: {spans:?}") };
    assert_eq!(field(span, "error.type"), "stopped");
    assert_eq!(span.fields.get("messaging.batch.message_count"), None);
}
