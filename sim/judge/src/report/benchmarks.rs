//! Benchmarks as a page, as Markdown with pictures beside it, and as JSON.
//!
//! Both texts are written from the same sections and cannot disagree. What else is to stand on the page (a
//! fairness log: gap and proven bound of each check) is another field of [`BenchmarksInput`] and makes sections
//! of its own.

use std::fmt::Write as _;

use maud::html as page;

use self::text::{Unit, mebibytes, percent, ratio, with_interval};
use super::html::{document, figure};
use super::markdown::escape;
use super::plot::{self, Curve, Point};
use super::plots::standalone;
use super::value::significant;
use crate::benchmark::{Benchmarks, Figure, Group, Interval, Row, SAMPLES_LEAST, Thing};

#[cfg(test)]
mod tests;
mod text;

/// The folder of the pictures, beside the Markdown file.
pub const PICTURES: &str = "benchmarks";

const TITLE: &str = "Benchmarks";
const ABOUT: &str = "What criterion measured. In parentheses, and as whiskers in the pictures: the confidence \
                     interval. An estimate is the slope over the iterations, or their mean where criterion did not \
                     vary them. Ratios are of what the picture shows.";
const REMADE: &str = "cargo bench -p fairpoll-benches && cargo run --release -- report --bench";

/// What the page is made of.
#[derive(Debug, Clone, Copy)]
pub struct BenchmarksInput<'a> {
    /// What criterion measured.
    pub benchmarks: &'a Benchmarks,
}

/// Every file: path inside the folder, contents. `benchmarks.html`, `benchmarks.md` with its pictures in
/// [`PICTURES`], `benchmarks.json`.
#[must_use]
pub fn files(input: &BenchmarksInput<'_>) -> Vec<(String, String)> {
    let sections = sections(input);
    let mut json =
        serde_json::to_string_pretty(input.benchmarks).expect("names and finite numbers are always JSON");
    json.push('\n');
    let texts = [
        ("benchmarks.html", html(&sections)),
        ("benchmarks.md", markdown(&sections)),
        ("benchmarks.json", json),
    ];
    let pictures = sections.iter().map(|section| (section.picture_path(), standalone(&section.svg)));
    texts.into_iter().map(|(path, text)| (path.to_owned(), text)).chain(pictures).collect()
}

/// A heading, a picture, a table.
struct Section {
    title: String,
    /// The picture's file, without folder and ending.
    picture: String,
    svg: String,
    /// What to see in the picture.
    caption: String,
    table: Table,
    /// How far to trust it.
    note: Option<String>,
}

impl Section {
    fn picture_path(&self) -> String {
        format!("{PICTURES}/{}.svg", self.picture)
    }
}

/// Text throughout; the first column names the row.
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

fn sections(input: &BenchmarksInput<'_>) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for group in &input.benchmarks.groups {
        let stem = file_name(&group.name);
        // `a/b` and `a-b` are two groups and would be one file.
        let taken = |name: &String| sections.iter().any(|section| section.picture == *name);
        let numbered = (2..).map(|number| format!("{stem}-{number}"));
        let picture = std::iter::once(stem.clone()).chain(numbered).find(|name| !taken(name));
        let (svg, caption) = picture_of(group);
        sections.push(Section {
            title: group.name.clone(),
            picture: picture.unwrap_or(stem),
            svg,
            caption,
            table: table(group),
            note: glanced(group),
        });
    }
    sections
}

/// Letters, digits, `_` and `-`: a name that needs no quoting in any shell or link.
fn file_name(group: &str) -> String {
    group.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

fn glanced(group: &Group) -> Option<String> {
    let least = group.rows.iter().map(|row| row.samples).min()?;
    (least < SAMPLES_LEAST).then(|| {
        format!("As few as {least} samples (criterion's --quick): intervals and ratios mean little.")
    })
}

/// What one thing is called.
fn thing(thing: Thing) -> &'static str {
    match thing {
        Thing::Element => "element",
        Thing::Byte => "byte",
    }
}

/// What the figure is called; in a table and, with the unit, on an axis.
fn figure_name(figure: Figure) -> String {
    match figure {
        Figure::Memory => "memory".to_owned(),
        Figure::Throughput(of) => format!("{}s per second", thing(of)),
        Figure::TimeEach(of) => format!("time per {}", thing(of)),
        Figure::TimePerIteration => "time per iteration".to_owned(),
    }
}

/// A figure with its unit: `30.9 ns`.
fn shown(figure: Figure, value: f64) -> String {
    Unit::fitting(figure, value).show(value)
}

fn table(group: &Group) -> Table {
    let mut amounts = group.rows.iter().filter_map(|row| row.amount);
    let each = amounts.next().map(|first| {
        let alike = amounts.all(|amount| thing(amount.of) == thing(first.of));
        if alike { thing(first.of) } else { "element or byte" }
    });
    let against = match group.base {
        Some(base) => format!("ratio to {}", significant(base)),
        None => "ratio to the least".to_owned(),
    };
    let mut head = vec!["benchmark".to_owned()];
    match group.figure {
        Figure::Memory => head.push("memory [MiB]".to_owned()),
        _ => head.push("time per iteration".to_owned()),
    }
    if let Some(each) = each {
        head.extend(["throughput".to_owned(), format!("time per {each}")]);
    }
    head.extend([against, "samples".to_owned()]);
    let cells = |row: &Row| {
        let mut cells = vec![row.name.clone()];
        cells.push(match group.figure {
            // The column's head has the unit.
            Figure::Memory => mebibytes(row.iteration),
            _ => with_interval(Figure::TimePerIteration, row.iteration),
        });
        if each.is_some() {
            let known = row.amount.zip(row.per_second).zip(row.each_ns);
            let texts = known.map(|((amount, rate), ns)| {
                [
                    with_interval(Figure::Throughput(amount.of), rate),
                    with_interval(Figure::TimeEach(amount.of), ns),
                ]
            });
            cells.extend(texts.unwrap_or_else(|| ["–".to_owned(), "–".to_owned()]));
        }
        cells.extend([row.ratio.map_or_else(|| "–".to_owned(), ratio), row.samples.to_string()]);
        cells
    };
    Table { head, rows: group.rows.iter().map(cells).collect() }
}

/// The picture and its caption: curves where parameters are numbers and functions few, else bars.
fn picture_of(group: &Group) -> (String, String) {
    let figure = group.figure;
    let most = group.rows.iter().map(|row| row.of(figure).upper).fold(0.0, f64::max);
    let unit = Unit::fitting(figure, most);
    let label = format!("{} [{}]", figure_name(figure), unit.name);
    if let Some(base) = group.base {
        let curves = curves(group, unit);
        let names: Vec<&str> = curves.iter().map(|curve| curve.name.as_str()).collect();
        if plot::can_be_told_apart(&names) {
            let parameter = group.counts.as_deref().unwrap_or("parameter");
            return (plot::curves(parameter, &label, &curves), caption_of_curves(group, base, parameter));
        }
    }
    let bar = |row: &Row| (row.name.clone(), vec![Some(row.of(figure).point / unit.size)]);
    let bars: Vec<(String, Vec<Option<f64>>)> = group.rows.iter().map(bar).collect();
    (plot::bars(&label, &[figure_name(figure)], &bars), caption_of_bars(group))
}

/// A curve per function.
fn curves(group: &Group, unit: Unit) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for row in &group.rows {
        let name = row.function.as_ref().unwrap_or(&group.name);
        let Some(x) = row.parameter else { continue };
        let Interval { point: y, lower, upper } = row.of(group.figure).times(1.0 / unit.size);
        let point = Point { x, y, lower, upper };
        match curves.last_mut().filter(|curve| curve.name == *name) {
            Some(curve) => curve.points.push(point),
            None => curves.push(Curve { name: name.clone(), points: vec![point] }),
        }
    }
    curves
}

/// What became of the figure from the smallest parameter to the largest.
fn caption_of_curves(group: &Group, base: f64, parameter: &str) -> String {
    let largest = group.rows.iter().filter_map(|row| row.parameter).fold(base, f64::max);
    let ends = group.rows.iter().filter(|row| row.parameter == Some(largest)).filter_map(|end| {
        let is_begin = |row: &&Row| row.function == end.function && row.parameter == Some(base);
        let begin = group.rows.iter().find(is_begin)?;
        let [from, to] = [begin, end].map(|row| shown(group.figure, row.of(group.figure).point));
        let name = end.function.as_ref().map_or_else(String::new, |function| format!("{function} "));
        Some(format!("{name}{to} against {from}, ratio {}", end.ratio.map_or_else(|| "–".to_owned(), ratio)))
    });
    let ends: Vec<String> = ends.collect();
    let name = match group.figure {
        Figure::Throughput(of) => format!("Throughput in {}s per second", thing(of)),
        figure => super::sentence(&figure_name(figure)).trim_end_matches('.').to_owned(),
    };
    let confidence = percent(group.confidence_pct);
    let what = if ends.is_empty() {
        format!("by {parameter}")
    } else {
        let (base, largest) = (significant(base), significant(largest));
        format!("at {parameter} {largest} against {base}: {}", ends.join("; "))
    };
    format!("{name} {what}. Whiskers: {confidence} confidence interval.")
}

fn caption_of_bars(group: &Group) -> String {
    let point = |row: &&Row| row.of(group.figure).point;
    let by = |a: &&Row, b: &&Row| point(a).total_cmp(&point(b));
    let (Some(least), Some(most)) = (group.rows.iter().min_by(by), group.rows.iter().max_by(by)) else {
        return String::new();
    };
    let named = |row: &Row| format!("{}, {}", row.name, shown(group.figure, row.of(group.figure).point));
    let confidence = percent(group.confidence_pct);
    let tail = format!("The table has the {confidence} confidence intervals.");
    if group.rows.len() == 1 {
        return format!("{}. {tail}", named(least));
    }
    format!("The least: {}; the most: {}. {tail}", named(least), named(most))
}

fn html(sections: &[Section]) -> String {
    let body = page! {
        header {
            p.kicker { "Fairpoll · criterion" }
            h1 { (TITLE) }
            p { (ABOUT) }
            p.note { "Made by " code { (REMADE) } "." }
        }
        @for section in sections {
            (figure(&section.title, &section.svg, &section.caption))
            div.scroll tabindex="0" role="group" aria-label=(section.title) {
                table {
                    thead { tr { @for (column, name) in section.table.head.iter().enumerate() {
                        @if column == 0 { th scope="col" { (name) } } @else { th.number scope="col" { (name) } }
                    } } }
                    tbody {
                        @for row in &section.table.rows {
                            tr { @for (column, cell) in row.iter().enumerate() {
                                @if column == 0 { th scope="row" { (cell) } } @else { td.number { (cell) } }
                            } }
                        }
                    }
                }
            }
            @if let Some(note) = &section.note { p.note { (note) } }
        }
    };
    document(TITLE, &body)
}

fn markdown(sections: &[Section]) -> String {
    let mut out = format!("# {TITLE}\n\n{ABOUT}\n\nMade by `{REMADE}`.\n");
    for section in sections {
        let title = escape(&section.title);
        let _ = writeln!(out, "\n## {title}\n\n![{title}]({})\n", section.picture_path());
        let _ = writeln!(out, "{}\n", escape(&section.caption));
        let line = |cells: &[String]| {
            format!("| {} |", cells.iter().map(|cell| escape(cell)).collect::<Vec<_>>().join(" | "))
        };
        let _ = writeln!(out, "{}", line(&section.table.head));
        let _ = writeln!(out, "|---|{}", "---:|".repeat(section.table.head.len() - 1));
        for row in &section.table.rows {
            let _ = writeln!(out, "{}", line(row));
        }
        if let Some(note) = &section.note {
            let _ = writeln!(out, "\n{}", escape(note));
        }
    }
    out
}
