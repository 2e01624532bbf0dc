//! What happens from moment to moment, over all processes.

use std::time::Duration;

use crate::clock::Nanos;
use crate::latency::Latencies;
use crate::messages::Progress;
use crate::report::Moment;

/// Between two moments.
const MOMENT: Duration = Duration::from_millis(250);

/// What happens from moment to moment.
#[derive(Default)]
pub struct Timeline {
    /// The moments so far.
    pub moments: Vec<Moment>,
    clients: Vec<u32>,
    /// Deliveries so far.
    pub received: u64,
    received_before: u64,
    latencies: Latencies,
    /// Of all that is measured so far.
    pub all: Latencies,
    last: Option<Nanos>,
}

impl Timeline {
    /// Over so many processes.
    pub fn new(processes: usize) -> Self {
        Self { clients: vec![0; processes], ..Self::default() }
    }

    /// Clients in their rooms now.
    pub fn clients_now(&self) -> u32 {
        self.clients.iter().sum()
    }

    /// What has come from one process.
    pub fn add(&mut self, index: usize, progress: &Progress) {
        self.clients[index] = progress.clients;
        self.received += progress.deliveries;
        self.latencies.add(&progress.latencies);
        self.all.add(&progress.latencies);
    }

    /// Ends a moment when its time has come.
    pub fn advance(&mut self, began: Nanos) {
        let now = Nanos::now();
        let elapsed = now.since(self.last.unwrap_or(began));
        if elapsed < MOMENT {
            return;
        }
        self.last = Some(now);
        let received = self.received - std::mem::replace(&mut self.received_before, self.received);
        let measured = std::mem::take(&mut self.latencies);
        let quantile = |share| (measured.count() > 0).then(|| measured.quantile(share));
        self.moments.push(Moment {
            seconds: now.since(began).as_secs_f64(),
            clients: self.clients_now(),
            deliveries: received as f64 / elapsed.as_secs_f64(),
            p50: quantile(0.5),
            p99: quantile(0.99),
        });
    }
}
