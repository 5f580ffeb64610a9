//! What was done to the consumer, and what its processes did: two tables of the page.

use maud::{Markup, html as page};

use super::value::duration_ms;
use super::{ReportInput, shown};
use crate::timeline::{Ending, FaultStretch, Timeline};

/// Nothing where no scenario's fault and no second process was there.
pub(super) fn disturbances(input: &ReportInput<'_>) -> Markup {
    let courses = shown(input);
    let faults = courses.iter().any(|course| !course.faults.is_empty());
    let several = courses.iter().any(|course| course.processes.len() > 1);
    page! {
        @if faults { section { h2 { "Faults and what followed" } (fault_table(&courses)) } }
        @if faults || several { section { h2 { "Processes of the consumer" } (process_table(&courses)) } }
    }
}

fn fault_table(courses: &[&Timeline]) -> Markup {
    page! {
        div.scroll tabindex="0" role="group" aria-label="Faults and what followed" {
            table {
                thead { tr {
                    @for name in ["mode", "fault", "of"] { th scope="col" { (name) } }
                    @for name in ["from [s]", "to [s]", "delivered again after", "delivered twice"] {
                        th.number scope="col" { (name) }
                    }
                } }
                tbody {
                    @for course in courses {
                        @for (number, fault) in (1..).zip(&course.faults) {
                            tr {
                                th scope="row" { (course.mode) }
                                td { (number) " " (fault.kind) }
                                td { (if fault.what.is_empty() { "everything" } else { fault.what.as_str() }) }
                                td.number { (seconds(fault.from_ms)) }
                                td.number { (ended(fault)) }
                                td.number { (again(fault)) }
                                td.number { (fault.repeated) }
                            }
                        }
                    }
                }
            }
        }
        p.note { "Delivered again: until every partition that the fault concerned, and in which records were waiting, was delivered from; \
                  counted from the fault's end, or from its beginning where it happened once or to a process that was lost. \
                  Delivered twice: records that had been delivered before, from this fault to the next; the audit says whether that was right." }
    }
}

fn process_table(courses: &[&Timeline]) -> Markup {
    page! {
        div.scroll tabindex="0" role="group" aria-label="Processes of the consumer" {
            table {
                thead { tr {
                    th scope="col" { "mode" }
                    @for name in ["life", "instance", "from [s]", "to [s]"] { th.number scope="col" { (name) } }
                    th scope="col" { "ended" }
                    @for name in ["polls", "records"] { th.number scope="col" { (name) } }
                } }
                tbody {
                    @for course in courses {
                        @for process in &course.processes {
                            tr {
                                th scope="row" { (course.mode) }
                                td.number { (process.life) }
                                td.number { (process.instance) }
                                td.number { (seconds(process.from_ms)) }
                                td.number { (process.ended.map_or_else(|| "–".to_owned(), |(ms, _)| seconds(ms))) }
                                td { (process.ended.map_or("no end in the log", |(_, how)| words(how))) }
                                td.number { (process.polls) }
                                td.number { (process.records) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn words(how: Ending) -> &'static str {
    match how {
        Ending::Stopped => "stopped when asked",
        Ending::Killed => "killed by a fault",
        Ending::Failed => "ended by itself",
    }
}

fn seconds(ms: f64) -> String {
    format!("{:.2}", ms / 1e3)
}

#[expect(clippy::float_cmp, reason = "what happened once ends at the very number at which it began")]
fn ended(fault: &FaultStretch) -> String {
    match fault.to_ms {
        None => "the end".to_owned(),
        Some(to_ms) if to_ms == fault.from_ms => "–".to_owned(),
        Some(to_ms) => seconds(to_ms),
    }
}

fn again(fault: &FaultStretch) -> String {
    match (fault.delivered_again_ms, fault.to_ms) {
        (Some(ms), _) if ms > 0.0 => duration_ms(ms),
        (Some(_), _) => "nothing waited".to_owned(),
        (None, None) => "–".to_owned(),
        (None, Some(_)) => "never".to_owned(),
    }
}
