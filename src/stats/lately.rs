//! What the counters said in the last minute, second by second, for what has happened lately.

use std::collections::VecDeque;

use super::{Refused, Totals, Unanswered};
use crate::metrics::BucketCounts;
use crate::protocol::dialect::Transport;
use crate::protocol::disconnect::Disconnect;

/// Moments that lie behind, one a second: what is counted since the oldest of them has happened within the last minute.
pub(super) const LATELY_SECONDS: usize = 60;

/// The newest totals, oldest first, and never none once one was pushed. They take 64 KiB.
#[derive(Debug, Default)]
pub(super) struct Lately(VecDeque<Totals>);

impl Lately {
    pub fn push(&mut self, totals: Totals) {
        if self.0.len() > LATELY_SECONDS {
            self.0.pop_front();
        }
        self.0.push_back(totals);
    }

    /// The newest totals.
    pub fn newest(&self) -> Option<&Totals> {
        self.0.back()
    }

    /// How much a count has risen in the last minute, or since the server started.
    pub fn rise(&self, count: impl Fn(&Totals) -> u64) -> u64 {
        let [first, last] = [self.0.front(), self.0.back()].map(|totals| totals.map_or(0, &count));
        last.saturating_sub(first)
    }

    /// Clients that have ended in the last minute.
    pub fn ended(&self, transport: Transport, reason: Disconnect) -> u64 {
        self.rise(|totals| totals.ended[transport as usize][reason as usize])
    }

    pub fn refused(&self) -> Refused {
        Refused {
            full: self.rise(|totals| totals.refused.full),
            address: self.rise(|totals| totals.refused.address),
            descriptors: self.rise(|totals| totals.refused.descriptors),
        }
    }

    pub fn unanswered(&self) -> Unanswered {
        Unanswered {
            failed: self.rise(|totals| totals.hooks.failed),
            circuit_open: self.rise(|totals| totals.hooks.circuit_open),
        }
    }

    /// The times of deliveries within the last `seconds`.
    pub fn written(&self, seconds: usize) -> BucketCounts {
        let Some(last) = self.0.back() else { return BucketCounts::default() };
        let first = &self.0[self.0.len().saturating_sub(seconds + 1)];
        last.written.since(&first.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_that_of_the_last_minute() {
        let mut lately = Lately::default();
        assert_eq!(lately.rise(|totals| totals.published), 0);
        for (seconds, rise) in [(1, 0), (1, 10), (58, 590), (1, 600), (1, 600), (100, 600)] {
            for _ in 0..seconds {
                let published = lately.newest().map_or(1_000, |totals| totals.published + 10);
                lately.push(Totals { published, ..Totals::default() });
            }
            assert_eq!(lately.rise(|totals| totals.published), rise);
        }
    }
}
