//! Drawing: charts as inline SVG that follow the page's colours.
//!
//! plotters writes fixed colours; text and axes are drawn in marker colours that are replaced by
//! `currentColor` afterwards, and the background is left out, so that a chart is at home on a light
//! and on a dark page.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

mod curves;

pub(super) use self::curves::{Curve, Point, can_be_told_apart, curves};

/// Okabe and Ito's palette, without black and yellow: told apart by people with any colour vision,
/// and visible on white and on near-black.
const PALETTE: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
];

/// A topic's stretches.
pub(super) const SERVED: RGBColor = RGBColor(0, 158, 115);
pub(super) const STARVING: RGBColor = RGBColor(213, 94, 0);
pub(super) const OWNERLESS: RGBColor = RGBColor(204, 121, 167);
/// A process that is there.
pub(super) const PRESENT: RGBColor = RGBColor(86, 180, 233);

/// Stands for the page's text colour.
const INK: RGBColor = RGBColor(1, 1, 1);
/// Stands for the page's text colour, faint.
const FAINT: RGBColor = RGBColor(2, 2, 2);
/// Stands for the page's text colour over a picture that stays visible.
const VEIL: RGBColor = RGBColor(3, 3, 3);
/// A lane's ground, where nothing else is drawn.
pub(super) const IDLE: RGBColor = FAINT;

const WIDTH: u32 = 900;
const TEXT: u32 = 15;
/// Width of a letter, px, on average; plotters without fonts cannot measure.
const LETTER: i32 = 8;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The colour of the n-th mode.
pub(super) fn color(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// A named line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A fault: from, to (seconds; the same for what happens once) and its number in the table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Band {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) number: usize,
    pub(super) label: String,
}

/// Draws, and makes the colours the page's.
fn draw(height: u32, paint: impl FnOnce(&Area<'_>)) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        paint(&area);
        area.present().expect("drawing into a string");
    }
    svg.replace("#010101", "currentColor")
        .replace("stroke=\"#020202\"", "stroke=\"currentColor\" stroke-opacity=\"0.18\"")
        .replace("fill=\"#020202\"", "fill=\"currentColor\" fill-opacity=\"0.18\"")
        .replace("fill=\"#030303\"", "fill=\"currentColor\" fill-opacity=\"0.13\"")
        // The page decides the size; the box keeps the shape.
        .replacen(&format!("width=\"{WIDTH}\" height=\"{height}\" "), "role=\"img\" ", 1)
}

fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// Colour patches and names in a row; returns what is left below.
fn legend<'a>(area: &Area<'a>, entries: &[(String, RGBColor)]) -> Area<'a> {
    let (top, rest) = area.split_vertically(30);
    let mut x = 64;
    for (name, color) in entries {
        let _ = top.draw(&Rectangle::new([(x, 9), (x + 14, 23)], color.filled()));
        let _ = top.draw(&Text::new(name.clone(), (x + 20, 10), text(TEXT)));
        x += 20 + LETTER * i32::try_from(name.chars().count()).unwrap_or(0) + 24;
    }
    rest
}

fn mode_legend(names: &[String]) -> Vec<(String, RGBColor)> {
    names.iter().enumerate().map(|(index, name)| (name.clone(), color(index))).collect()
}

/// A number on an axis.
fn tick(value: &f64) -> String {
    match value.abs() {
        1e6.. => format!("{}M", trim(value / 1e6)),
        1e4.. => format!("{}k", trim(value / 1e3)),
        // Two decimals would make nothing of it.
        magnitude if 0.0 < magnitude && magnitude < 0.01 => {
            super::value::significant(*value).trim_end_matches('0').to_owned()
        }
        _ => trim(*value),
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The largest value, or 1 where there is none: an axis needs a length.
fn top(values: impl Iterator<Item = f64>) -> f64 {
    let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    if most > 0.0 { most } else { 1.0 }
}

/// Lines over time (seconds). `steps`: the value holds until the next point.
pub(super) fn lines(y_label: &str, lines: &[Line], steps: bool, bands: &[Band]) -> String {
    draw(320, |area| {
        let names: Vec<String> = lines.iter().map(|line| line.name.clone()).collect();
        let area = legend(area, &mode_legend(&names));
        let x_top = top(lines.iter().flat_map(|line| &line.points).map(|point| point.0));
        let y_top = top(lines.iter().flat_map(|line| &line.points).map(|point| point.1)) * 1.05;
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..x_top, 0.0..y_top)
            .expect("both ranges have a length");
        mesh(&mut chart, "time since start [s]", y_label);
        veil(&mut chart, bands, (x_top, y_top));
        for (index, line) in lines.iter().enumerate() {
            let points = if steps { stepped(&line.points) } else { line.points.clone() };
            let _ = chart.draw_series(LineSeries::new(points, color(index).stroke_width(2)));
        }
    })
}

/// A panel per mode, each with thin lines and one that stands out: many courses of the same kind.
pub(super) fn panels(y_label: &str, panels: &[Panel], entries: &[(String, RGBColor)]) -> String {
    let count = u32::try_from(panels.len()).unwrap_or(1).max(1);
    draw(30 + 210 * count, |area| {
        let area = legend(area, entries);
        let x_top =
            top(panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.1).map(|point| point.0));
        for (panel, area) in panels.iter().zip(area.split_evenly((panels.len().max(1), 1))) {
            let mut chart = ChartBuilder::on(&area)
                .margin(8)
                .caption(&panel.name, text(17))
                .x_label_area_size(44)
                .y_label_area_size(64)
                .build_cartesian_2d(0.0..x_top, 0.0..105.0)
                .expect("both ranges have a length");
            mesh(&mut chart, "time since start [s]", y_label);
            veil(&mut chart, &panel.bands, (x_top, 105.0));
            for (color, points) in &panel.lines {
                let _ = chart.draw_series(LineSeries::new(stepped(points), color.stroke_width(2)));
            }
        }
    })
}

/// One mode's panel: lines and their colours.
pub(super) struct Panel {
    pub(super) name: String,
    pub(super) lines: Vec<(RGBColor, Vec<(f64, f64)>)>,
    pub(super) bands: Vec<Band>,
}

/// Faults as bands with their numbers, over the whole height.
fn veil(chart: &mut Chart<'_, '_>, bands: &[Band], (x_top, y_top): (f64, f64)) {
    for band in bands.iter().filter(|band| band.from <= x_top) {
        // What happens once is a line.
        let to = band.to.max(band.from + x_top / 400.0).min(x_top);
        let area = Rectangle::new([(band.from, 0.0), (to, y_top)], VEIL.filled());
        let _ = chart.draw_series(std::iter::once(area));
        let number = Text::new(band.number.to_string(), (band.from, y_top), text(13));
        let _ = chart.draw_series(std::iter::once(number));
    }
}

fn stepped(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let corners = points.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
    corners.chain(points.last().copied()).collect()
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

fn mesh(chart: &mut Chart<'_, '_>, x_label: &str, y_label: &str) {
    let _ = chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .x_labels(10)
        .y_labels(6)
        .x_desc(x_label)
        .y_desc(y_label)
        .label_style(text(TEXT))
        .axis_desc_style(text(TEXT))
        .x_label_formatter(&tick)
        .y_label_formatter(&tick)
        .draw();
}

/// Horizontal bars: a group per category, a bar per mode. Values span decades, so the axis is
/// logarithmic where they do.
pub(super) fn bars(x_label: &str, modes: &[String], groups: &[(String, Vec<Option<f64>>)]) -> String {
    let bar = 15;
    let gap = 14;
    let group_height = i32::try_from(modes.len()).unwrap_or(1) * bar + gap;
    let body = group_height * i32::try_from(groups.len()).unwrap_or(1);
    let longest = groups.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let left = 24 + LETTER * i32::try_from(longest).unwrap_or(0);
    let known = || groups.iter().flat_map(|(_, values)| values.iter().flatten().copied());
    let most = top(known());
    let least = known().filter(|value| *value > 0.0).fold(most, f64::min);
    let log = most / least > 30.0;
    let floor = if log { 10_f64.powf(least.log10().floor()).min(most / 10.0) } else { 0.0 };
    draw(u32::try_from(body + 30 + 56).unwrap_or(400), |area| {
        let area = legend(area, &mode_legend(modes));
        let right = i32::try_from(WIDTH).unwrap_or(900) - 90;
        let scale = |value: f64| {
            let share =
                if log { (value.max(floor) / floor).log10() / (most / floor).log10() } else { value / most };
            left + (f64::from(right - left) * share) as i32
        };
        for value in ticks(log, floor, most) {
            let x = scale(value);
            let _ = area.draw(&PathElement::new(vec![(x, 0), (x, body)], FAINT));
            let anchored = text(TEXT).pos(Pos::new(HPos::Center, VPos::Top));
            let _ = area.draw(&Text::new(tick(&value), (x, body + 6), anchored));
        }
        let middle = text(TEXT).pos(Pos::new(HPos::Center, VPos::Top));
        let unit = if log { format!("{x_label}, logarithmic") } else { x_label.to_owned() };
        let _ = area.draw(&Text::new(unit, ((left + right) / 2, body + 28), middle));
        for (place, (name, values)) in (0_i32..).zip(groups) {
            let y = place * group_height + gap / 2;
            let centre = y + (group_height - gap) / 2;
            let label = text(TEXT).pos(Pos::new(HPos::Right, VPos::Center));
            let _ = area.draw(&Text::new(name.clone(), (left - 10, centre), label));
            for (index, value) in values.iter().enumerate() {
                let Some(value) = value else { continue };
                let y = y + i32::try_from(index).unwrap_or(0) * bar;
                let x = scale(*value).max(left + 2);
                let _ = area.draw(&Rectangle::new([(left, y + 1), (x, y + bar - 1)], color(index).filled()));
                let beside = text(13).pos(Pos::new(HPos::Left, VPos::Center));
                let _ = area.draw(&Text::new(super::value::show(*value), (x + 5, y + bar / 2), beside));
            }
        }
        let _ = area.draw(&PathElement::new(vec![(left, 0), (left, body)], INK));
    })
}

fn ticks(log: bool, floor: f64, most: f64) -> Vec<f64> {
    if log {
        let decades = std::iter::successors(Some(floor), |value| Some(value * 10.0));
        return decades.take_while(|value| *value <= most).collect();
    }
    let step = 10_f64.powf((most / 4.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * step)
        .into_iter()
        .find(|step| most / step <= 6.0)
        .unwrap_or(most);
    std::iter::successors(Some(0.0), |value| Some(value + step)).take_while(|value| *value <= most).collect()
}

/// One topic in one mode.
pub(super) struct Lane {
    pub(super) name: String,
    /// From, to (seconds) and colour.
    pub(super) stretches: Vec<(f64, f64, RGBColor)>,
}

/// One mode: lanes, faults over them, and marks (seconds) above them.
pub(super) struct ServicePanel {
    pub(super) mode: String,
    pub(super) lanes: Vec<Lane>,
    pub(super) bands: Vec<Band>,
    pub(super) marks: Vec<f64>,
}

const LANE: i32 = 17;
/// A row of faults' names.
const LABEL: i32 = 16;

impl ServicePanel {
    fn height(&self, rows: usize) -> i32 {
        34 + LABEL * px(rows) + LANE * px(self.lanes.len())
    }
}

fn px(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(0)
}

/// Where each band's name stands, px, so that none covers another: (x, row).
fn places(bands: &[Band], scale: impl Fn(f64) -> i32, right: i32) -> Vec<(i32, usize)> {
    let mut ends: Vec<i32> = Vec::new();
    let place = |band: &Band| {
        let width = (LETTER - 1) * px(band.label.chars().count());
        let x = scale(band.from).min(right - width);
        let row = ends.iter().position(|end| *end < x).unwrap_or(ends.len());
        ends.resize(ends.len().max(row + 1), 0);
        ends[row] = x + width + LETTER;
        (x, row)
    };
    bands.iter().map(place).collect()
}

/// A panel per mode, a lane per topic.
pub(super) fn service(panels: &[ServicePanel], entries: &[(String, RGBColor)]) -> String {
    let lanes = || panels.iter().flat_map(|panel| &panel.lanes);
    let longest = lanes().map(|lane| lane.name.chars().count()).max().unwrap_or(0);
    let left = 24 + LETTER * px(longest);
    let right = i32::try_from(WIDTH).unwrap_or(900) - 16;
    let x_top = top(lanes().flat_map(|lane| &lane.stretches).map(|stretch| stretch.1));
    let scale = |seconds: f64| left + (f64::from(right - left) * seconds.min(x_top) / x_top) as i32;
    let places: Vec<Vec<(i32, usize)>> =
        panels.iter().map(|panel| places(&panel.bands, scale, right)).collect();
    let rows = |places: &[(i32, usize)]| places.iter().map(|(_, row)| row + 1).max().unwrap_or(0);
    let heights: Vec<i32> =
        panels.iter().zip(&places).map(|(panel, places)| panel.height(rows(places))).collect();
    let body: i32 = heights.iter().sum();
    draw(u32::try_from(body + 30 + 56).unwrap_or(600), |area| {
        let area = legend(area, entries);
        for value in ticks(false, 0.0, x_top) {
            let x = scale(value);
            let _ = area.draw(&PathElement::new(vec![(x, 26), (x, body)], FAINT));
            let anchored = text(TEXT).pos(Pos::new(HPos::Center, VPos::Top));
            let _ = area.draw(&Text::new(tick(&value), (x, body + 6), anchored));
        }
        let middle = text(TEXT).pos(Pos::new(HPos::Center, VPos::Top));
        let _ = area.draw(&Text::new("time since start [s]", ((left + right) / 2, body + 28), middle));
        let mut y = 0;
        for ((panel, places), height) in panels.iter().zip(&places).zip(&heights) {
            let _ = area.draw(&Text::new(panel.mode.clone(), (left, y + 8), text(17)));
            let first = y + 28 + LABEL * px(rows(places));
            for (place, row) in (0_i32..).zip(&panel.lanes) {
                let y = first + place * LANE;
                let label = text(13).pos(Pos::new(HPos::Right, VPos::Center));
                let _ = area.draw(&Text::new(row.name.clone(), (left - 8, y + LANE / 2), label));
                let _ = area.draw(&Rectangle::new([(left, y + 2), (right, y + LANE - 2)], FAINT.filled()));
                for (from, to, color) in &row.stretches {
                    // One pixel is lost where the page shrinks the picture.
                    let (x0, x1) = (scale(*from), scale(*to).max(scale(*from) + 2));
                    let _ = area.draw(&Rectangle::new([(x0, y + 2), (x1, y + LANE - 2)], color.filled()));
                }
            }
            let bottom = first + LANE * px(panel.lanes.len());
            for mark in &panel.marks {
                let x = scale(*mark);
                let _ = area.draw(&PathElement::new(vec![(x, first - 4), (x, first + 1)], INK));
            }
            for (band, (x, row)) in panel.bands.iter().zip(places) {
                let y = y + 28 + LABEL * px(*row);
                let (x0, x1) = (scale(band.from), scale(band.to).max(scale(band.from) + 2));
                let _ = area.draw(&Rectangle::new([(x0, y), (x1, bottom)], VEIL.filled()));
                let _ = area.draw(&PathElement::new(vec![(x0, y), (x0, bottom)], INK));
                let _ = area.draw(&Text::new(band.label.clone(), (x + 3, y), text(13)));
            }
            y += height;
        }
    })
}
