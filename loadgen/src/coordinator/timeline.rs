//! The timeline of a load: samples over all processes at regular intervals.

use std::time::Duration;

use crate::clock::Nanos;
use crate::latency::Latencies;
use crate::messages::Progress;
use crate::report::Sample;

/// Interval between two samples.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);

/// Maximum interval: a process that has not reported by then is left out.
const SAMPLE_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// Samples over all processes.
#[derive(Default)]
pub struct Timeline {
    pub samples: Vec<Sample>,
    processes: Vec<Process>,
    /// Deliveries so far.
    pub received: u64,
    latencies: Latencies,
    /// All measured latencies so far.
    pub all: Latencies,
    last: Option<Nanos>,
}

/// Reports of one process since the last sample.
#[derive(Clone, Copy, Debug, Default)]
struct Process {
    /// Clients in their rooms.
    clients: u32,
    /// Deliveries since the last sample.
    deliveries: u64,
    /// Time that these reports cover, which differs from the sample interval.
    covered: Duration,
    has_reported: bool,
}

impl Timeline {
    /// A timeline of this many processes.
    pub fn new(processes: usize) -> Self {
        Self { processes: vec![Process::default(); processes], ..Self::default() }
    }

    /// Clients in their rooms now.
    pub fn clients_now(&self) -> u32 {
        self.processes.iter().map(|process| process.clients).sum()
    }

    /// Adds a progress report of one process.
    pub fn add(&mut self, index: usize, progress: &Progress) {
        let process = &mut self.processes[index];
        process.clients = progress.clients;
        process.deliveries += progress.deliveries;
        process.covered += progress.over;
        process.has_reported = true;
        self.received += progress.deliveries;
        self.latencies.add(&progress.latencies);
        self.all.add(&progress.latencies);
    }

    /// Takes a sample when it is time.
    pub fn advance(&mut self, began: Nanos) {
        self.advance_to(Nanos::now(), began);
    }

    /// A sample waits until every process has reported once.
    fn advance_to(&mut self, now: Nanos, began: Nanos) {
        let elapsed = now.since(self.last.unwrap_or(began));
        let all_have_reported = self.processes.iter().all(|process| process.has_reported);
        if elapsed < SAMPLE_INTERVAL || (elapsed < SAMPLE_INTERVAL_MAX && !all_have_reported) {
            return;
        }
        self.last = Some(now);
        let measured = std::mem::take(&mut self.latencies);
        let quantile = |assignment| (measured.count() > 0).then(|| measured.quantile(assignment));
        self.samples.push(Sample {
            seconds: now.since(began).as_secs_f64(),
            clients: self.clients_now(),
            deliveries: self.processes.iter().map(Process::rate).sum(),
            p50: quantile(0.5),
            p99: quantile(0.99),
        });
        for process in &mut self.processes {
            *process = Process { clients: process.clients, ..Process::default() };
        }
    }
}

impl Process {
    /// Deliveries per second.
    fn rate(&self) -> f64 {
        if self.covered.is_zero() { 0.0 } else { self.deliveries as f64 / self.covered.as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Nanos {
        Nanos(milliseconds * 1_000_000)
    }

    fn report(milliseconds: u64, deliveries: u64) -> Progress {
        Progress { deliveries, over: Duration::from_millis(milliseconds), ..Progress::default() }
    }

    #[test]
    fn a_steady_load_is_flat_however_many_reports_a_sample_holds() {
        let mut timeline = Timeline::new(2);
        for (now, reports) in [(260, [1, 1]), (510, [2, 1]), (780, [1, 2]), (1_030, [1, 1])] {
            for (index, count) in reports.into_iter().enumerate() {
                (0..count).for_each(|_| timeline.add(index, &report(250, 1_000)));
            }
            timeline.advance_to(at(now), at(0));
        }
        let rates: Vec<f64> = timeline.samples.iter().map(|sample| sample.deliveries).collect();
        assert_eq!(rates, [8_000.0; 4]);
        assert_eq!(timeline.received, 10_000);
    }

    #[test]
    fn a_sample_waits_for_all_reports_but_not_for_ever() {
        let mut timeline = Timeline::new(2);
        timeline.add(0, &report(250, 1_000));
        timeline.advance_to(at(300), at(0));
        assert!(timeline.samples.is_empty(), "one is missing");
        timeline.advance_to(at(1_000), at(0));
        assert_eq!(timeline.samples.len(), 1);
        assert!((timeline.samples[0].deliveries - 4_000.0).abs() < 1e-6);
    }
}
