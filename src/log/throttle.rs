//! Warnings that would otherwise come once per client: at most one line in ten seconds, with how often it has happened since
//! the last one.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The time from one line to the next.
const PAUSE: Duration = Duration::from_secs(10);

/// One kind of occasion to warn, on one thread: a `thread_local!` is one per worker.
///
/// ```
/// use roomcast::log::LogThrottle;
///
/// thread_local! {
///     static FULL: LogThrottle = const { LogThrottle::new() };
/// }
/// if let Some(times) = FULL.with(LogThrottle::count) {
///     tracing::warn!(times, "full");
/// }
/// ```
#[derive(Debug)]
pub struct LogThrottle {
    told_at: Cell<Option<Instant>>,
    times: Cell<u64>,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self::new()
    }
}

impl LogThrottle {
    /// It has not happened yet.
    pub const fn new() -> Self {
        Self { told_at: Cell::new(None), times: Cell::new(0) }
    }

    /// It happens once more. Returns how often it has happened since the last line, if it is time for a line.
    pub fn count(&self) -> Option<u64> {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> Option<u64> {
        let times = self.times.get() + 1;
        self.times.set(times);
        let is_early = self.told_at.get().is_some_and(|told_at| now.duration_since(told_at) < PAUSE);
        if is_early {
            return None;
        }
        self.told_at.set(Some(now));
        self.times.set(0);
        Some(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_is_told_at_once_and_those_of_ten_seconds_together() {
        let throttle = LogThrottle::new();
        let begun = Instant::now();
        assert_eq!(throttle.count_at(begun), Some(1));
        assert_eq!(throttle.count_at(begun + PAUSE / 2), None);
        assert_eq!(throttle.count_at(begun + PAUSE - Duration::from_nanos(1)), None);
        assert_eq!(throttle.count_at(begun + PAUSE), Some(3));
        assert_eq!(throttle.count_at(begun + PAUSE), None);
    }
}
