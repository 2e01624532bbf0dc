//! When connections ended under the load and when their clients were back, over time and over all processes. Data only:
//! the worker records, the coordinator adds, the report reads.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Nanos;
use crate::reasons::{Reasons, add_reason, add_reasons};

/// Length of a moment. Moments of all processes begin at multiples of it.
const MOMENT: Duration = Duration::from_millis(100);

/// Moments in a second.
const MOMENTS_PER_SECOND: u64 = 10;

/// Maximum samples of a report. More moments than that are added up.
const SAMPLES_MAX: u64 = 600;

/// Connections that ended, and clients that came back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Comebacks {
    /// When the first connection ended.
    pub first_end: Option<Nanos>,
    /// When the last client was back.
    pub last_back: Option<Nanos>,
    /// Connections whose clients were told how long to wait.
    pub hinted: u64,
    /// The shortest and the longest time that clients were told to wait.
    pub hints: Option<(Duration, Duration)>,
    /// Attempts to come back that failed, by reason.
    pub failed_attempts: Reasons,
    /// What happened in each moment, by its number since the host booted. Moments in which nothing happened are left out.
    moments: BTreeMap<u64, Moment>,
}

/// What happened in one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Moment {
    ended: u64,
    back: u64,
}

/// Connections that ended and clients that came back per second, over a short time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ComebackSample {
    /// Seconds from the moment of the first end to the beginning of this time.
    pub seconds: f64,
    /// Connections that ended, per second.
    pub ended: f64,
    /// Clients that were back, per second.
    pub back: f64,
}

impl Comebacks {
    /// Records that a connection has ended whose client is to come back.
    pub fn record_end(&mut self, now: Nanos) {
        self.first_end = Some(self.first_end.map_or(now, |first| first.min(now)));
        self.moment(now).ended += 1;
    }

    /// Records that the server has told a client how long to wait.
    pub fn record_hint(&mut self, hint: Duration) {
        self.hinted += 1;
        self.hints = joined(self.hints, Some((hint, hint)));
    }

    /// Records that an attempt to come back has failed.
    pub fn record_failed_attempt(&mut self, reason: &str) {
        add_reason(&mut self.failed_attempts, reason.to_owned());
    }

    /// Records that a client is back.
    pub fn record_back(&mut self, now: Nanos) {
        self.last_back = self.last_back.max(Some(now));
        self.moment(now).back += 1;
    }

    /// Time from the end of the first connection until the last client was back; `None` if none was.
    pub fn outage(&self) -> Option<Duration> {
        Some(self.last_back?.since(self.first_end?))
    }

    /// The most connections that ended and the most clients that came back within one second, counted in whole seconds
    /// from the moment of the first end.
    pub fn most_per_second(&self) -> (u64, u64) {
        let seconds = self.sums(MOMENTS_PER_SECOND);
        let most = |count: fn(&Moment) -> u64| seconds.values().map(count).max().unwrap_or_default();
        (most(|second| second.ended), most(|second| second.back))
    }

    /// Samples without gaps from the first end to the last moment in which something happened: of 100 ms, and of ten
    /// times as much as often as needed to have [`SAMPLES_MAX`] at most.
    pub fn samples(&self) -> Vec<ComebackSample> {
        let moments = self.moments.last_key_value().map_or(0, |(last, _)| last - self.first_moment() + 1);
        let mut length = 1;
        while moments.div_ceil(length) > SAMPLES_MAX {
            length *= 10;
        }
        let sums = self.sums(length);
        let seconds = length as f64 * MOMENT.as_secs_f64();
        let sample = |index: u64| {
            let Moment { ended, back } = sums.get(&index).copied().unwrap_or_default();
            ComebackSample {
                seconds: index as f64 * seconds,
                ended: ended as f64 / seconds,
                back: back as f64 / seconds,
            }
        };
        (0..moments.div_ceil(length)).map(sample).collect()
    }

    fn moment(&mut self, now: Nanos) -> &mut Moment {
        self.moments.entry(now.0 / MOMENT.as_nanos() as u64).or_default()
    }

    fn first_moment(&self) -> u64 {
        self.moments.first_key_value().map_or(0, |(first, _)| *first)
    }

    /// Sums over this many moments each, counted from the first.
    fn sums(&self, length: u64) -> BTreeMap<u64, Moment> {
        let mut sums: BTreeMap<u64, Moment> = BTreeMap::new();
        for (number, moment) in &self.moments {
            *sums.entry((number - self.first_moment()) / length).or_default() += *moment;
        }
        sums
    }
}

impl AddAssign for Comebacks {
    fn add_assign(&mut self, other: Self) {
        self.first_end = self.first_end.into_iter().chain(other.first_end).min();
        self.last_back = self.last_back.max(other.last_back);
        self.hinted += other.hinted;
        self.hints = joined(self.hints, other.hints);
        add_reasons(&mut self.failed_attempts, &other.failed_attempts);
        for (number, moment) in other.moments {
            *self.moments.entry(number).or_default() += moment;
        }
    }
}

impl AddAssign for Moment {
    fn add_assign(&mut self, other: Self) {
        self.ended += other.ended;
        self.back += other.back;
    }
}

/// The range that covers both ranges.
fn joined(one: Option<(Duration, Duration)>, other: Option<(Duration, Duration)>) -> Option<(Duration, Duration)> {
    one.into_iter().chain(other).reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Nanos {
        Nanos(milliseconds * 1_000_000)
    }

    /// One client for each pair of times, in milliseconds, at which it lost its connection and was back.
    fn comebacks(clients: &[(u64, u64)]) -> Comebacks {
        let mut comebacks = Comebacks::default();
        for &(ended, back) in clients {
            comebacks.record_end(at(ended));
            comebacks.record_back(at(back));
        }
        comebacks
    }

    #[test]
    fn processes_are_added_at_the_same_moments() {
        let mut all = comebacks(&[(1_010, 2_010)]);
        all += comebacks(&[(990, 2_190), (1_090, 2_050)]);
        assert_eq!((all.first_end, all.last_back), (Some(at(990)), Some(at(2_190))));
        assert_eq!(all.outage(), Some(Duration::from_millis(1_200)));
        let samples = all.samples();
        assert_eq!(samples.len(), 13, "from the moment of 900 ms to that of 2100 ms");
        assert_eq!((samples[0].ended, samples[1].ended, samples[11].back, samples[12].back), (10.0, 20.0, 20.0, 10.0));
        assert_eq!(samples[2], ComebackSample { seconds: 0.2, ..ComebackSample::default() });
    }

    #[test]
    fn the_busiest_second_counts_from_the_first_end() {
        let all = comebacks(&[(500, 1_600), (900, 1_700), (1_400, 2_400), (1_500, 2_700)]);
        assert_eq!(all.most_per_second(), (3, 3));
        assert_eq!(Comebacks::default().most_per_second(), (0, 0));
    }

    #[test]
    fn a_long_load_has_no_more_samples_than_a_chart_can_show() {
        let all = comebacks(&[(0, 100), (3_600_000, 3_600_100)]);
        let samples = all.samples();
        assert_eq!((samples.len(), samples[0].ended, samples[360].back), (361, 0.1, 0.1));
        assert_eq!(Comebacks::default().samples(), []);
    }

    #[test]
    fn hints_and_failed_attempts_are_added() {
        let mut all = Comebacks::default();
        all.record_hint(Duration::from_secs(11));
        all.record_failed_attempt("refused");
        let mut other = Comebacks::default();
        [1, 3].into_iter().for_each(|seconds| other.record_hint(Duration::from_secs(seconds)));
        other.record_failed_attempt("refused");
        all += other;
        assert_eq!((all.hinted, all.hints), (3, Some((Duration::from_secs(1), Duration::from_secs(11)))));
        assert_eq!(all.failed_attempts, [("refused".to_owned(), 2)].into());
    }

    #[test]
    fn they_come_whole_through_the_pipe_of_a_worker() {
        let all = comebacks(&[(1_010, 2_010), (1_020, 2_500)]);
        let read: Comebacks = serde_json::from_slice(&serde_json::to_vec(&all).unwrap()).unwrap();
        assert_eq!((read.samples(), read.outage()), (all.samples(), all.outage()));
    }
}
