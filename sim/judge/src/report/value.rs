//! Numbers as people read them.

/// A value with as many digits as carry meaning: counts whole, small figures with decimals.
pub(crate) fn show(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value.fract() == 0.0 || magnitude >= 1_000.0 {
        return grouped(value);
    }
    match magnitude {
        // Rounds up to four digits, which are grouped.
        999.5.. => grouped(value),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Thousands apart by a thin gap: 320,900.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// How many decimals three digits leave: 2 for 1.23, 4 for 0.0123, none from 100 on.
pub(super) fn decimals(value: f64) -> usize {
    if !value.is_finite() || value == 0.0 {
        return 0;
    }
    // 9.996 is shown as 10.0.
    let magnitude = (value.abs() * 1.0005).log10().floor();
    (2.0 - magnitude).clamp(0.0, 17.0) as usize
}

/// With so many decimals; thousands apart.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if value.abs() >= 999.5 { grouped(value) } else { format!("{value:.decimals$}") }
}

/// Three digits however small it is, where [`show`] has three decimals.
pub(super) fn measured(value: f64) -> String {
    fixed(value, decimals(value))
}

/// The same for what was chosen and not measured: whole numbers whole.
pub(super) fn significant(value: f64) -> String {
    if value.fract() == 0.0 { show(value) } else { measured(value) }
}

/// A value that may be absent.
pub(crate) fn show_option(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), show)
}

/// Both sides of a comparison. Where they differ they read differently: `200.4 against 200.0`, and
/// never a gate that fails with `200 against 200`.
pub(super) fn sides(left: Option<f64>, right: Option<f64>) -> String {
    // A double has no more than 17 digits that carry meaning.
    const DIGITS_MOST: usize = 17;
    let (mut texts, both) = ((show_option(left), show_option(right)), left.zip(right));
    if let Some((left, right)) = both.filter(|(left, right)| left != right && texts.0 == texts.1) {
        let finer = (1..=DIGITS_MOST).map(|digits| (format!("{left:.digits$}"), format!("{right:.digits$}")));
        texts = finer.into_iter().find(|(left, right)| left != right).unwrap_or(texts);
    }
    format!("{} against {}", texts.0, texts.1)
}

/// Milliseconds in the unit that fits: `14 ms`, `2.2 s`.
pub(super) fn duration_ms(ms: f64) -> String {
    if ms >= 1_000.0 { format!("{:.1} s", ms / 1_000.0) } else { format!("{ms:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_the_digits_that_carry_meaning() {
        let shown: Vec<String> = [0.0, 3.0, 320_900.0, 1234.5, 123.4, 12.34, 1.234, 0.0456].map(show).into();
        assert_eq!(shown, ["0", "3", "320,900", "1,234", "123", "12.3", "1.23", "0.046"]);
        assert_eq!(show(999.7), "1,000");
        assert_eq!(show_option(None), "–");
        assert_eq!((duration_ms(14.2), duration_ms(2_240.0)), ("14 ms".to_owned(), "2.2 s".to_owned()));
    }

    #[test]
    fn small_values_keep_three_digits() {
        let shown = [0.0, 3.0, 0.004_123, 0.041_23, 9.996, 99.96, 999.7, 12_345.6].map(significant);
        assert_eq!(shown, ["0", "3", "0.00412", "0.0412", "10.0", "100", "1,000", "12,346"]);
        assert_eq!([34.0, 0.0, 1_000.0].map(measured), ["34.0", "0", "1,000"]);
    }

    #[test]
    fn sides_that_differ_never_read_the_same() {
        assert_eq!(sides(Some(169.3), Some(200.0)), "169 against 200");
        assert_eq!(sides(Some(200.4), Some(200.0)), "200.4 against 200.0");
        assert_eq!(sides(Some(3.700_01), Some(3.7)), "3.70001 against 3.70000");
        assert_eq!(sides(Some(2.0), Some(2.0)), "2 against 2");
        assert_eq!(sides(None, Some(1.0)), "– against 1");
    }
}
