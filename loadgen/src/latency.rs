//! Latencies: counted in a histogram of microseconds with three digits, from one microsecond to ten minutes. Never an average.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// What the histogram tells apart at the low end.
const LOWEST_NANOS: u64 = 1_000;

/// Longer ones count as this, ten minutes.
const HIGHEST_NANOS: u64 = 600 * 1_000_000_000;

const DIGITS: u8 = 3;

/// Times in nanoseconds, with three significant digits each.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// The times that matter, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many were counted.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// Nine in ten are below.
    pub p90: f64,
    /// 99 in 100 are below.
    pub p99: f64,
    /// 999 in 1 000 are below.
    pub p99_9: f64,
    /// 9 999 in 10 000 are below.
    pub p99_99: f64,
    /// The longest.
    pub max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NANOS, HIGHEST_NANOS, DIGITS);
        Self(histogram.expect("the bounds are constants"))
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time below which this share of all lie, in milliseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        milliseconds(self.0.value_at_quantile(share))
    }

    /// The times that matter.
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

    /// Points of the curve, (share of all, milliseconds), halving what is left at each.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        /// Points for each halving.
        const RESOLUTION: u32 = 5;
        self.0
            .iter_quantiles(RESOLUTION)
            .map(|step| (step.quantile(), milliseconds(step.value_iterated_to())))
            .collect()
    }

    /// Adds what another has counted.
    pub fn add(&mut self, counts: &Counts) {
        for &(value, count) in &counts.0 {
            self.0.saturating_record_n(value, count);
        }
    }

    /// What was counted, as plain numbers.
    pub fn counts(&self) -> Counts {
        Counts(self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect())
    }

    /// What was counted since the last time, as plain numbers.
    pub fn take(&mut self) -> Counts {
        let counts = self.counts();
        self.0.reset();
        counts
    }

    /// The raw histogram.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

/// A histogram between processes: (nanoseconds, how many).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(Vec<(u64, u64)>);

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
