//! A coarse sweep over all clients of a worker, in place of a timer per client, and the clock by which it judges them.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::shutdown::Drain;

/// Sweeps within the shortest of the times that a sweep watches.
const SWEEPS_PER_TIME: u32 = 4;

/// The longest time between two sweeps: a long time is kept to the second.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// Measures the time in which the server ran. Time in which it stood still is not counted: a client could not be heard.
#[derive(Debug)]
pub(super) struct SweepClock {
    started: Instant,
    stood_still: Cell<Duration>,
}

impl SweepClock {
    pub fn start() -> Self {
        Self { started: Instant::now(), stood_still: Cell::default() }
    }

    pub fn now(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.stood_still.get())
    }

    /// Lets time pass, as far as a test can see.
    #[cfg(test)]
    pub fn advance(&mut self, time: Duration) {
        self.started -= time;
    }

    /// The server stood still for this long.
    pub fn stand_still(&self, time: Duration) {
        self.stood_still.set(self.stood_still.get() + time);
    }

    /// Sweeps until the server stops, which ends all clients anyway.
    pub async fn sweep_until_stop(
        &self,
        times: impl IntoIterator<Item = Duration>,
        drain: Drain,
        mut sweep: impl FnMut(),
    ) {
        let shortest = times.into_iter().map(|time| time / SWEEPS_PER_TIME).min();
        let mut sweeps = interval(shortest.unwrap_or(SWEEP_INTERVAL_MAX).min(SWEEP_INTERVAL_MAX));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due_at = tokio::select! {
                () = drain.stopping() => return,
                due_at = sweeps.tick() => due_at.into_std(),
            };
            self.stand_still(Instant::now().saturating_duration_since(due_at));
            sweep();
        }
    }
}
