//! Clients that came back, over time, as the report has them. Data only.

use serde::Serialize;

use crate::clock::Nanos;
use crate::comebacks::{ComebackSample, Comebacks};
use crate::reasons::Reasons;

/// When connections ended under the load and when their clients were back.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ComebackReport {
    /// Connections whose clients were told how long to wait before they come back.
    pub hinted: u64,
    /// The shortest and the longest time that clients were told to wait, in seconds; `None` if none was told.
    pub hint_seconds: Option<(f64, f64)>,
    /// Attempts to come back that failed, by reason.
    pub failed_attempts: Reasons,
    /// When the first connection ended and when the last client was back, in nanoseconds of the host's CLOCK_MONOTONIC,
    /// so that other programs of the host can compare.
    pub first_end: Option<Nanos>,
    pub last_back: Option<Nanos>,
    /// Seconds from the one to the other; `None` if some clients were not back.
    pub outage_seconds: Option<f64>,
    /// The most connections that ended within one second.
    pub ended_per_second_max: u64,
    /// The most clients that came back within one second.
    pub back_per_second_max: u64,
    /// Rates over short times, without gaps.
    pub timeline: Vec<ComebackSample>,
}

impl ComebackReport {
    /// The report. Without all clients there is no end of the outage.
    pub fn of(comebacks: &Comebacks, are_all_back: bool) -> Self {
        let (ended_per_second_max, back_per_second_max) = comebacks.most_per_second();
        Self {
            hinted: comebacks.hinted,
            hint_seconds: comebacks.hints.map(|(shortest, longest)| (shortest.as_secs_f64(), longest.as_secs_f64())),
            failed_attempts: comebacks.failed_attempts.clone(),
            first_end: comebacks.first_end,
            last_back: comebacks.last_back,
            outage_seconds: comebacks.outage().filter(|_| are_all_back).map(|outage| outage.as_secs_f64()),
            ended_per_second_max,
            back_per_second_max,
            timeline: comebacks.samples(),
        }
    }

    /// How long clients were told to wait; `None` if none was told.
    pub fn hint(&self) -> Option<String> {
        self.hint_seconds.map(|(shortest, longest)| {
            if shortest < longest { format!("{shortest} to {longest} s") } else { format!("{shortest} s") }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_outage_that_has_not_ended_has_no_length() {
        let mut comebacks = Comebacks::default();
        comebacks.record_end(Nanos(1_000_000_000));
        comebacks.record_back(Nanos(3_000_000_000));
        assert_eq!(ComebackReport::of(&comebacks, true).outage_seconds, Some(2.0));
        assert_eq!(ComebackReport::of(&comebacks, false).outage_seconds, None);
    }

    #[test]
    fn equal_hints_are_one_time_and_others_a_range() {
        let mut comebacks = Comebacks::default();
        assert_eq!(ComebackReport::of(&comebacks, true).hint(), None);
        comebacks.record_hint(Duration::from_secs(11));
        assert_eq!(ComebackReport::of(&comebacks, true).hint().as_deref(), Some("11 s"));
        comebacks.record_hint(Duration::from_millis(1_500));
        assert_eq!(ComebackReport::of(&comebacks, true).hint().as_deref(), Some("1.5 to 11 s"));
    }
}
