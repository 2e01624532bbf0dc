//! The counts of a histogram at one moment, their differences, and percentiles of them.

use std::time::Duration;

use super::{BUCKETS, Histogram};

/// How often each bucket of some histograms was counted, at one moment or between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketCounts([u64; BUCKETS.len() + 1]);

impl BucketCounts {
    /// The counts of these histograms together.
    pub fn of<'a>(all: impl Iterator<Item = &'a Histogram>) -> Self {
        let mut sum = Self::default();
        for one in all {
            sum.0.iter_mut().zip(&one.buckets).for_each(|(sum, bucket)| *sum += bucket.get());
        }
        sum
    }

    /// What was counted since an earlier moment.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = *self;
        difference.0.iter_mut().zip(earlier.0).for_each(|(now, before)| *now = now.saturating_sub(before));
        difference
    }

    /// The duration that a share of all counted ones, from 0 to 1, does not exceed; `None` if nothing was counted.
    /// Within a bucket the durations are taken to be spread evenly, so the error is at most the width of the bucket.
    /// Durations above the last bound count as that bound.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.0.iter().sum();
        let rank = share * total as f64;
        let (mut below, mut lower) = (0, Duration::ZERO);
        for (count, (upper, _)) in self.0.iter().zip(BUCKETS) {
            if *count > 0 && (below + count) as f64 >= rank {
                let within = (rank - below as f64).max(0.0) / *count as f64;
                return Some(lower + (upper - lower).mul_f64(within));
            }
            below += count;
            lower = upper;
        }
        (total > 0).then_some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(durations: &[(u64, u64)]) -> BucketCounts {
        let histogram = Histogram::default();
        durations.iter().for_each(|&(micros, times)| histogram.record(Duration::from_micros(micros), times));
        BucketCounts::of([&histogram].into_iter())
    }

    #[test]
    fn a_percentile_lies_within_its_bucket_in_proportion() {
        for (durations, share, micros) in [
            (&[][..], 0.99, None),
            (&[(50, 1)], 1.0, Some(50)),
            (&[(50, 10)], 0.5, Some(25)),
            (&[(60, 100)], 0.5, Some(75)),
            (&[(60, 99), (900, 1)], 0.5, Some(75)),
            (&[(60, 99), (900, 1)], 0.99, Some(100)),
            (&[(60, 90), (900, 10)], 0.95, Some(750)),
            (&[(60, 50), (900, 50)], 0.0, Some(50)),
            (&[(20_000_000, 1)], 0.5, Some(10_000_000)),
            (&[(60, 1), (20_000_000, 99)], 0.99, Some(10_000_000)),
        ] {
            let found = counted(durations).percentile(share).map(|found| found.as_micros());
            assert_eq!(found, micros, "{share} of {durations:?}");
        }
    }

    #[test]
    fn a_difference_has_what_was_counted_between_two_moments() {
        let [earlier, later] = [counted(&[(60, 5)]), counted(&[(60, 5), (900, 3)])];
        assert_eq!(later.since(&earlier), counted(&[(900, 3)]));
        assert_eq!(later.since(&later).percentile(0.5), None);
    }
}
