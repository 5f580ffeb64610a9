//! What a consumer counts, as an exporter shows it.

mod common;

use std::time::{Duration, Instant};

use common::{Mock, config, stopped};
use fairpoll::{Consumer, ModeRequest};
use metrics_exporter_prometheus::PrometheusBuilder;

/// The value of the line that begins with this.
fn value(text: &str, start: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(start))?;
    line.rsplit(' ').next()?.parse().ok()
}

// shows: E21
#[test]
fn what_was_delivered_committed_and_refused_is_counted_by_group_and_topic() {
    let mock = Mock::filled(&[("deep", 1, 300), ("quiet", 1, 20)]);
    let recorder = PrometheusBuilder::new().build_recorder();
    let exporter = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let config = config(&mock, "counted", &["deep", "quiet"], ModeRequest::Fair);
            let mut consumer = Consumer::start(config).expect("start");
            let (mut records, mut polls, mut empty) = (0, 0, 0);
            let until = Instant::now() + Duration::from_secs(20);
            // The last second and a half are for gauges, which are set once a second.
            let mut quiet_since = None;
            while Instant::now() < until {
                let batch = consumer.get_many(Duration::from_millis(100), None).await.expect("poll");
                polls += 1;
                empty += usize::from(batch.is_empty());
                records += batch.len();
                consumer.commit(&batch);
                if records == 320
                    && *quiet_since.get_or_insert_with(Instant::now) + Duration::from_millis(1500)
                        < Instant::now()
                {
                    break;
                }
            }
            let text = exporter.render();
            let counted = |start: &str| value(&text, start).unwrap_or_else(|| panic!("{start} in {text}"));
            assert_eq!(counted("fairpoll_records_total{group=\"counted\",topic=\"deep\"}"), 300.0);
            assert_eq!(counted("fairpoll_records_total{group=\"counted\",topic=\"quiet\"}"), 20.0);
            assert_eq!(counted("fairpoll_polls_total"), polls as f64);
            assert_eq!(counted("fairpoll_empty_polls_total"), empty as f64);
            assert_eq!(counted("fairpoll_poll_records_count"), (polls - empty) as f64);
            assert_eq!(counted("fairpoll_rebalances_total{group=\"counted\",kind=\"assigned\"}"), 1.0);
            assert!(counted("fairpoll_commits_total{group=\"counted\",outcome=\"ok\"}") >= 1.0);
            assert_eq!(counted("fairpoll_assigned_partitions"), 2.0);
            assert_eq!(counted("fairpoll_lag_records{group=\"counted\",topic=\"deep\"}"), 0.0);
            stopped(consumer).await;

            let missing = common::config(&mock, "counted", &["nowhere"], ModeRequest::Multi);
            let mut consumer = Consumer::start(missing).expect("start");
            let until = Instant::now() + Duration::from_secs(10);
            let mut errors = 0;
            while errors == 0 && Instant::now() < until {
                errors +=
                    consumer.get_many(Duration::from_millis(100), None).await.expect("poll").errors().len();
            }
            let text = exporter.render();
            let refused =
                "fairpoll_errors_total{group=\"counted\",topic=\"nowhere\",code=\"UNKNOWN_TOPIC_OR_PART\"}";
            assert_eq!(value(&text, refused), Some(errors as f64), "{text}");
            let until = Instant::now() + Duration::from_millis(1500);
            while Instant::now() < until {
                consumer.get_many(Duration::from_millis(100), None).await.expect("poll");
            }
            let failing = "fairpoll_quarantined_partitions{group=\"counted\",topic=\"nowhere\"}";
            assert_eq!(value(&exporter.render(), failing), Some(1.0), "{text}");
            stopped(consumer).await;
        });
    });
}
