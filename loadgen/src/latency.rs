//! Latency histograms with three significant digits, from one microsecond to ten minutes. There is no average here.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Lower bound of the histogram.
const LOWEST_NANOS: u64 = 1_000;

/// Upper bound of the histogram, ten minutes. Longer times are recorded as this.
const HIGHEST_NANOS: u64 = 600 * 1_000_000_000;

const DIGITS: u8 = 3;

/// A histogram of times in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// The reported quantiles, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Number of recorded times.
    pub count: u64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub p99_99: f64,
    pub max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NANOS, HIGHEST_NANOS, DIGITS);
        Self(histogram.expect("the bounds are constants"))
    }
}

impl Latencies {
    /// Records one time.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Number of recorded times.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The quantile for a fraction from 0 to 1, in milliseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        milliseconds(self.0.value_at_quantile(share))
    }

    /// The reported quantiles.
    pub fn quantiles(&self) -> Quantiles {
        Quantiles {
            count: self.count(),
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p99_9: self.quantile(0.999),
            p99_99: self.quantile(0.9999),
            max: milliseconds(self.0.max()),
        }
    }

    /// Points (fraction of all, milliseconds) for drawing the distribution, denser towards its tail.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        /// Points per halving of the remaining fraction.
        const RESOLUTION: u32 = 5;
        self.0
            .iter_quantiles(RESOLUTION)
            .map(|step| (step.quantile(), milliseconds(step.value_iterated_to())))
            .collect()
    }

    /// Adds the counts of another histogram.
    pub fn add(&mut self, counts: &HistogramCounts) {
        for &(value, count) in &counts.0 {
            self.0.saturating_record_n(value, count);
        }
    }

    /// The recorded counts, for another process.
    pub fn counts(&self) -> HistogramCounts {
        HistogramCounts(self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect())
    }

    /// The counts recorded since the last call. Resets the histogram.
    pub fn take(&mut self) -> HistogramCounts {
        let counts = self.counts();
        self.0.reset();
        counts
    }

    /// The raw histogram.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

/// Counts of a histogram as pairs (nanoseconds, count), to send between processes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HistogramCounts(Vec<(u64, u64)>);

fn milliseconds(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_milliseconds(times: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        times.into_iter().for_each(|time| latencies.record(Duration::from_millis(time)));
        latencies
    }

    #[test]
    fn quantiles_are_within_a_thousandth() {
        let quantiles = of_milliseconds(1..=1_000).quantiles();
        assert_eq!(quantiles.count, 1_000);
        assert!((quantiles.p50 / 500.0 - 1.0).abs() < 0.001, "{quantiles:?}");
        assert!((quantiles.p99 / 990.0 - 1.0).abs() < 0.001, "{quantiles:?}");
        assert!((quantiles.max / 1_000.0 - 1.0).abs() < 0.001, "{quantiles:?}");
    }

    #[test]
    fn nothing_is_lost_between_processes() {
        let mut one = of_milliseconds(1..=100);
        let mut all = of_milliseconds(101..=200);
        all.add(&one.take());
        assert_eq!(one.count(), 0);
        assert_eq!(all.quantiles(), of_milliseconds(1..=200).quantiles());
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        let latencies = of_milliseconds([60 * 60 * 1_000]);
        assert_eq!(latencies.count(), 1);
        assert!(latencies.quantile(1.0) >= 600_000.0);
    }
}
