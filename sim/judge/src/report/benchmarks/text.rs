//! Figures of benchmarks as people read them: three digits, a unit that fits, the interval behind.

use super::super::value::{decimals, fixed, measured, significant};
use crate::benchmark::{Figure, Interval, Thing};

/// A unit: its name, and how many of what criterion counts in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    pub(super) name: &'static str,
    pub(super) size: f64,
}

const KIB: f64 = 1024.0;

/// From large to small.
const TIMES: [Unit; 4] = [
    Unit { name: "s", size: 1e9 },
    Unit { name: "ms", size: 1e6 },
    Unit { name: "µs", size: 1e3 },
    Unit { name: "ns", size: 1.0 },
];
const ELEMENTS: [Unit; 4] = [
    Unit { name: "G/s", size: 1e9 },
    Unit { name: "M/s", size: 1e6 },
    Unit { name: "k/s", size: 1e3 },
    Unit { name: "/s", size: 1.0 },
];
const BYTES: [Unit; 4] = [
    Unit { name: "GiB/s", size: KIB * KIB * KIB },
    Unit { name: "MiB/s", size: KIB * KIB },
    Unit { name: "KiB/s", size: KIB },
    Unit { name: "B/s", size: 1.0 },
];
/// Of memory, however little it is: figures of one table are compared.
const MEBIBYTES: Unit = Unit { name: "MiB", size: KIB * KIB };

impl Unit {
    /// The largest unit of which there is at least one; the smallest where there is not.
    pub(super) fn fitting(figure: Figure, value: f64) -> Self {
        let units = match figure {
            Figure::Memory => return MEBIBYTES,
            Figure::Throughput(Thing::Element) => &ELEMENTS,
            Figure::Throughput(Thing::Byte) => &BYTES,
            Figure::TimeEach(_) | Figure::TimePerIteration => &TIMES,
        };
        // 999.6 ns would be shown as 1000 ns.
        units.iter().copied().find(|unit| value >= unit.size * 0.9995).unwrap_or(units[units.len() - 1])
    }

    pub(super) fn show(self, value: f64) -> String {
        format!("{} {}", measured(value / self.size), self.name)
    }

    /// `2.79` and `(1.37–2.90)`: the interval has as many decimals as the estimate.
    fn parts(self, interval: Interval) -> (String, String) {
        let Interval { point, lower, upper } = interval.times(1.0 / self.size);
        let decimals = decimals(point);
        let interval = format!("({}–{})", fixed(lower, decimals), fixed(upper, decimals));
        (fixed(point, decimals), interval)
    }
}

/// `30.9 µs (30.7–31.4)`.
pub(super) fn with_interval(figure: Figure, interval: Interval) -> String {
    let unit = Unit::fitting(figure, interval.point);
    let (point, interval) = unit.parts(interval);
    format!("{point} {} {interval}", unit.name)
}

/// `2.79 (1.37–2.90)`, MiB.
pub(super) fn mebibytes(interval: Interval) -> String {
    let (point, interval) = MEBIBYTES.parts(interval);
    format!("{point} {interval}")
}

/// `1.02`.
pub(super) fn ratio(ratio: f64) -> String {
    fixed(ratio, decimals(ratio).min(2))
}

/// `95 %`.
pub(super) fn percent(percent: f64) -> String {
    // 0.95 is no sum of powers of two.
    format!("{} %", significant((percent * 100.0).round() / 100.0))
}
