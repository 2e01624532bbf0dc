//! The median and the range of a metric over several runs.

use std::fmt;

use serde::Serialize;

/// The median, the minimum and the maximum of several values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MedianRange {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl MedianRange {
    /// Summarises the values; `None` if there are none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median =
            if figures.len() % 2 == 1 { figures[middle] } else { f64::midpoint(figures[middle - 1], figures[middle]) };
        Some(Self { median, min, max })
    }
}

/// Formats as `median (min..max)` with the requested precision.
impl fmt::Display for MedianRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = formatter.precision().unwrap_or(2);
        let Self { median, min, max } = self;
        write!(formatter, "{median:.decimals$} ({min:.decimals$}..{max:.decimals$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        assert_eq!(MedianRange::of([3.0, 1.0, 2.0]), Some(MedianRange { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(MedianRange::of([4.0, 1.0]).unwrap().to_string(), "2.50 (1.00..4.00)");
        assert_eq!(MedianRange::of([]), None);
    }
}
