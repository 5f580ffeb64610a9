//! From a judgement to what people and machines read: pure functions of the same input, so that
//! terminal, page, table and test report cannot disagree.

pub mod benchmarks;
mod csv;
mod disturbances;
mod html;
mod junit;
mod markdown;
mod plot;
mod plots;
mod rows;
mod terminal;
pub(crate) mod value;

pub use self::csv::csv;
pub use self::html::html;
pub use self::junit::junit;
pub use self::markdown::markdown;
pub use self::plots::{Plot, plots};
pub use self::terminal::{TerminalStyle, terminal};

use crate::manifest::Manifest;
use crate::summary::{GateVerdict, Summary, Verdict};
use crate::timeline::Timeline;

/// What a report is made of.
#[derive(Debug, Clone, Copy)]
pub struct ReportInput<'a> {
    /// The numbers.
    pub summary: &'a Summary,
    /// The courses of the runs.
    pub timelines: &'a [Timeline],
    /// On what it was measured.
    pub manifest: Option<&'a Manifest>,
}

/// Every file of a report but the JSON ones: path inside the report's folder, contents.
#[must_use]
pub fn files(input: &ReportInput<'_>) -> Vec<(String, String)> {
    let mut files = vec![
        ("report.html".to_owned(), html(input)),
        ("report.md".to_owned(), markdown(input)),
        ("junit.xml".to_owned(), junit(input)),
        ("metrics.csv".to_owned(), csv(input)),
    ];
    files
        .extend(plots(input).into_iter().map(|plot| (format!("plots/{}.svg", plot.name), plot.standalone())));
    files
}

/// What a reader must know of where the figures come from.
fn model_note(summary: &Summary) -> Option<&'static str> {
    (summary.broker == "virtual")
        .then_some("Times, memory and sockets are those of a model in virtual time; nothing was measured.")
}

/// A verdict in one word.
fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Fail => "fail",
    }
}

/// A gate's verdict as a mark that needs no colour.
fn gate_mark(verdict: GateVerdict) -> &'static str {
    match verdict {
        GateVerdict::Pass => "✓",
        GateVerdict::Fail => "✗",
        GateVerdict::Indicative => "~",
        GateVerdict::Absent => "?",
    }
}

/// A gate's verdict in words.
fn gate_word(verdict: GateVerdict) -> &'static str {
    match verdict {
        GateVerdict::Pass => "holds",
        GateVerdict::Fail => "fails",
        GateVerdict::Indicative => "indicative: one run decides nothing here",
        GateVerdict::Absent => "not measured",
    }
}

/// A fragment as a sentence: a capital and a full stop.
fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// The run of a mode that pictures show: its first.
fn shown<'a>(input: &ReportInput<'a>) -> Vec<&'a Timeline> {
    let of_mode = |mode: &String| input.timelines.iter().find(|timeline| timeline.mode == *mode);
    input.summary.mode_order.iter().filter_map(of_mode).collect()
}
