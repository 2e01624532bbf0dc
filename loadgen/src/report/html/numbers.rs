//! Formats numbers for people. A value that is not finite becomes a dash.

use crate::report::chart::grouped;

/// Significant digits of a measured value.
const DIGITS: i32 = 3;

/// The text of a value that is not finite.
const NOTHING: &str = "–";

/// Formats a count.
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// Formats with three significant digits, and all digits before the decimal point.
pub fn significant(value: f64) -> String {
    if !value.is_finite() {
        return NOTHING.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits_before = value.abs().log10().floor() as i32 + 1;
    let decimals = usize::try_from(DIGITS - digits_before).unwrap_or_default().min(6);
    grouped(&format!("{value:.decimals$}"))
}

/// Formats with as many digits as the value needs.
pub fn plain(value: f64) -> String {
    if value.is_finite() { grouped(&value.to_string()) } else { NOTHING.to_owned() }
}

/// Formats a fraction as percent.
pub fn percent(share: f64) -> String {
    with_unit(share * 100.0, "%")
}

/// Formats a number with its unit; they stay on one line.
pub fn with_unit(value: f64, unit: &str) -> String {
    format!("{}\u{a0}{unit}", significant(value))
}

/// Formats bytes in the largest unit of which there is at least one.
pub fn bytes(value: f64) -> String {
    let units = [(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1_024.0, "KiB")];
    let (size, unit) = units.into_iter().find(|(size, _)| value.abs() >= *size).unwrap_or((1.0, "bytes"));
    with_unit(value / size, unit)
}

/// A number split at its decimal point, so that a column can align the points.
#[derive(Debug, PartialEq)]
pub struct Aligned {
    /// The digits before the decimal point.
    pub whole: String,
    /// The decimal point and the digits after it.
    pub fraction: String,
}

impl Aligned {
    /// Formats with three significant digits.
    pub fn significant(value: f64) -> Self {
        let text = significant(value);
        let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
        Self { whole: whole.to_owned(), fraction: fraction.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_kept_and_no_number_is_a_dash() {
        let texts = [0.0, 0.012_345, 1.234_5, 12.345, 123.45, 1_234.5, 1_234_567.0].map(significant);
        assert_eq!(texts, ["0", "0.0123", "1.23", "12.3", "123", "1234", "1\u{202f}234\u{202f}567"]);
        assert_eq!([f64::NAN, f64::INFINITY].map(significant), ["–", "–"]);
    }

    #[test]
    fn bytes_have_the_unit_that_fits() {
        assert_eq!(
            [0.0, 512.0, 1_258.0, 48.0e6].map(bytes),
            ["0\u{a0}bytes", "512\u{a0}bytes", "1.23\u{a0}KiB", "45.8\u{a0}MiB"]
        );
    }

    #[test]
    fn a_point_stands_apart_from_what_precedes_it() {
        let Aligned { whole, fraction } = Aligned::significant(12.345);
        assert_eq!((whole.as_str(), fraction.as_str()), ("12", ".3"));
    }
}
