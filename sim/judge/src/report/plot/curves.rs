//! A figure against a parameter: the parameter's axis is logarithmic, every point has its interval.

use plotters::prelude::*;
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{
    FAINT, INK, LETTER, PALETTE, TEXT, WIDTH, color, draw, legend, mode_legend, px, text, tick, ticks, top,
};
use crate::report::value;

const LEFT: i32 = 84;
/// Half a value stands right of the last point.
const RIGHT: i32 = WIDTH as i32 - 48;
/// Above the highest interval a value is written.
const TOP: i32 = 22;
const BOTTOM: i32 = 250;
/// A row of numbers under the axis.
const ROW: i32 = 17;
/// Half the width of an interval's ends.
const WHISKER: i32 = 5;
/// So far apart are points of several curves at the same parameter: those that are alike would hide each other.
const APART: i32 = 6;
/// A letter of a value beside its point, px.
const SMALL_LETTER: i32 = 7;

/// Points of one kind, from left to right.
pub(in crate::report) struct Curve {
    pub(in crate::report) name: String,
    pub(in crate::report) points: Vec<Point>,
}

/// One measurement: the parameter (above 0), the figure, its interval.
pub(in crate::report) struct Point {
    pub(in crate::report) x: f64,
    pub(in crate::report) y: f64,
    pub(in crate::report) lower: f64,
    pub(in crate::report) upper: f64,
}

/// Whether so many names can be told apart by colour, and have room in a row.
pub(in crate::report) fn can_be_told_apart(names: &[&str]) -> bool {
    let letters: usize = names.iter().map(|name| name.chars().count()).sum();
    let width = LETTER as usize * letters + 44 * names.len() + 64;
    names.len() <= PALETTE.len() && width <= WIDTH as usize
}

/// Curves with intervals. The figure's axis begins at 0, or is logarithmic where values span more than a
/// factor of 30, as with bars.
pub(in crate::report) fn curves(x_label: &str, y_label: &str, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let mut xs: Vec<f64> = points().map(|point| point.x).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let (first, last) = (xs.first().copied().unwrap_or(1.0), xs.last().copied().unwrap_or(1.0));
    // Some room beside the outermost points, so that intervals do not lie on the axis.
    let margin = ((last / first).ln() * 0.04).max(0.1);
    let (from, length) = (first.ln() - margin, (last / first).ln() + 2.0 * margin);
    let x = |value: f64| LEFT + (f64::from(RIGHT - LEFT) * (value.ln() - from) / length) as i32;

    let most = top(points().map(|point| point.upper)) * 1.05;
    let least = points().map(|point| point.y).filter(|value| *value > 0.0).fold(most, f64::min);
    let log = most / least > 30.0;
    let floor = if log { 10_f64.powf(least.log10().floor()) } else { 0.0 };
    let y = |value: f64| {
        let share = if log { (value.max(floor) / floor).ln() / (most / floor).ln() } else { value / most };
        BOTTOM - (f64::from(BOTTOM - TOP) * share) as i32
    };

    let numbers = numbers(&xs, x);
    let rows = numbers.iter().map(|(_, _, row)| row + 1).max().unwrap_or(1);
    // A single curve is named by the picture's title.
    let is_named = curves.len() > 1;
    let height = if is_named { 30 } else { 0 } + BOTTOM + ROW * rows + 34;
    draw(u32::try_from(height).unwrap_or(340), |area| {
        let names: Vec<String> = curves.iter().map(|curve| curve.name.clone()).collect();
        let area = if is_named { legend(area, &mode_legend(&names)) } else { area.clone() };
        for value in ticks(log, floor, most) {
            let y = y(value);
            let _ = area.draw(&PathElement::new(vec![(LEFT, y), (RIGHT, y)], FAINT));
            let beside = text(TEXT).pos(Pos::new(HPos::Right, VPos::Center));
            let _ = area.draw(&Text::new(tick(&value), (LEFT - 8, y), beside));
        }
        for (name, x, row) in &numbers {
            let _ = area.draw(&PathElement::new(vec![(*x, BOTTOM), (*x, BOTTOM + 5 + ROW * row)], INK));
            let below = text(TEXT).pos(Pos::new(HPos::Center, VPos::Top));
            let _ = area.draw(&Text::new(name.clone(), (*x, BOTTOM + 8 + ROW * row), below));
        }
        let _ = area.draw(&PathElement::new(vec![(LEFT, TOP), (LEFT, BOTTOM), (RIGHT, BOTTOM)], INK));
        let middle = text(TEXT).pos(Pos::new(HPos::Center, VPos::Top));
        let label = format!("{x_label}, logarithmic");
        let _ = area.draw(&Text::new(label, ((LEFT + RIGHT) / 2, BOTTOM + 12 + ROW * rows), middle));
        let label = if log { format!("{y_label}, logarithmic") } else { y_label.to_owned() };
        let upright = text(TEXT).transform(FontTransform::Rotate270).pos(Pos::new(HPos::Center, VPos::Top));
        let _ = area.draw(&Text::new(label, (10, (TOP + BOTTOM) / 2), upright));

        for (index, curve) in curves.iter().enumerate() {
            let color = color(index);
            let aside = APART * (2 * px(index) - px(curves.len()) + 1) / 2;
            let x = |value: f64| x(value) + aside;
            let line: Vec<(i32, i32)> = curve.points.iter().map(|point| (x(point.x), y(point.y))).collect();
            let _ = area.draw(&PathElement::new(line, color.stroke_width(2)));
            // Where the last value above and the last one below end.
            let mut ends = [i32::MIN; 2];
            for point in &curve.points {
                let (x, low, high) = (x(point.x), y(point.lower), y(point.upper));
                for bar in [
                    [(x, low), (x, high)],
                    [(x - WHISKER, low), (x + WHISKER, low)],
                    [(x - WHISKER, high), (x + WHISKER, high)],
                ] {
                    let _ = area.draw(&PathElement::new(bar, color.stroke_width(2)));
                }
                let _ = area.draw(&Circle::new((x, y(point.y)), 4, color.filled()));
                // Of several curves the values would lie on each other; the table has them.
                if is_named {
                    continue;
                }
                let value = value::measured(point.y);
                let half = SMALL_LETTER * px(value.chars().count()) / 2 + 3;
                let (above, below) = (high.min(y(point.y)) - 6, low.max(y(point.y)) + 6);
                let (place, y, side) = match room(&mut ends, x, half) {
                    Some(0) => (x, above, VPos::Bottom),
                    Some(_) if below + 14 < BOTTOM => (x, below, VPos::Top),
                    _ => continue,
                };
                let style = text(13).pos(Pos::new(HPos::Center, side));
                let _ = area.draw(&Text::new(value, (place, y), style));
            }
        }
    })
}

/// In which of two rows a text has room, and takes it.
fn room(ends: &mut [i32; 2], centre: i32, half: i32) -> Option<usize> {
    let row = ends.iter().position(|end| centre - half >= *end)?;
    ends[row] = centre + half;
    Some(row)
}

/// The parameters' numbers under the axis: text, place and row. Where one would touch its neighbour it goes
/// into a row below; what has no room in two rows is left to the table.
fn numbers(xs: &[f64], place: impl Fn(f64) -> i32) -> Vec<(String, i32, i32)> {
    let mut ends = [i32::MIN; 2];
    let mut numbers = Vec::new();
    for &x in xs {
        let (text, centre) = (value::significant(x), place(x));
        let half = LETTER * px(text.chars().count()) / 2 + 4;
        if let Some(row) = room(&mut ends, centre, half) {
            numbers.push((text, centre, px(row)));
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_would_touch_stand_in_two_rows_and_what_has_no_room_is_left_out() {
        let rows = |xs: &[f64]| -> Vec<(String, i32)> {
            let at = |x: f64| (x * 10.0) as i32;
            numbers(xs, at).into_iter().map(|(text, _, row)| (text, row)).collect()
        };
        let named = |pairs: &[(&str, i32)]| -> Vec<(String, i32)> {
            pairs.iter().map(|(text, row)| ((*text).to_owned(), *row)).collect()
        };
        assert_eq!(rows(&[1.0, 10.0, 12.0, 100.0]), named(&[("1", 0), ("10", 0), ("12", 1), ("100", 0)]));
        assert_eq!(rows(&[10.0, 10.5, 11.0]), named(&[("10", 0), ("10.5", 1)]));
    }

    #[test]
    fn a_whisker_reaches_from_one_end_of_the_interval_to_the_other() {
        let point = |x, y, lower, upper| Point { x, y, lower, upper };
        let points = vec![point(1.0, 10.0, 5.0, 20.0), point(2.0, 10.0, 10.0, 10.0)];
        let svg = curves("x", "y", &[Curve { name: "g".to_owned(), points }]);
        // The axis ends 5 % above 20.
        let at = |y: f64| BOTTOM - (f64::from(BOTTOM - TOP) * y / 21.0) as i32;
        let strokes: Vec<Vec<i32>> = svg
            .split("<polyline")
            .filter(|stroke| stroke.contains("#0072B2"))
            .map(|stroke| {
                let points =
                    stroke.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("points");
                points
                    .split_whitespace()
                    .map(|point| point.split_once(',').expect("x,y").1.parse().expect("a number"))
                    .collect()
            })
            .collect();
        let [middle, low, high] = [10.0, 5.0, 20.0].map(at);
        let expected = [[middle, middle], [low, high], [low, low], [high, high]].map(Vec::from);
        assert_eq!(strokes[..4], expected);
        assert!(svg.contains(&format!("cy=\"{middle}\"")), "{svg}");
    }
}
