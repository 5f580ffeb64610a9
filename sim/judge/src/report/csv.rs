//! Every figure as one row: for spreadsheets and histories.

use super::ReportInput;
use crate::metric;
use crate::summary::Metrics;

const HEADER: [&str; 7] = ["scenario", "mode", "run", "topic", "metric", "unit", "value"];

/// Long format: one row per scenario, mode, run, topic (empty: the whole mode) and metric.
#[must_use]
pub fn csv(input: &ReportInput<'_>) -> String {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let summary = input.summary;
    let mut rows: Vec<[String; 7]> = vec![HEADER.map(str::to_owned)];
    for mode in &summary.mode_order {
        let Some(figures) = summary.modes.get(mode) else { continue };
        for run in &figures.runs {
            let mut add = |topic: &str, metrics: &Metrics| {
                for (name, value) in metrics {
                    let unit = metric::find(name).map_or("", |metric| metric.unit);
                    rows.push([
                        summary.scenario.clone(),
                        mode.clone(),
                        run.run.to_string(),
                        topic.to_owned(),
                        name.clone(),
                        unit.to_owned(),
                        value.to_string(),
                    ]);
                }
            };
            add("", &run.metrics);
            for (topic, metrics) in &run.topics {
                add(topic, metrics);
            }
        }
    }
    for row in rows {
        writer.write_record(row).expect("rows of one length go into memory");
    }
    let bytes = writer.into_inner().expect("flushing into memory cannot fail");
    String::from_utf8(bytes).expect("only strings were written")
}
