//! Throttles warnings that would otherwise be logged once per client: one line in ten seconds at most, with the number
//! of occurrences since the last line.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The shortest time between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// The throttle of one kind of warning on one thread: as a `thread_local!` there is one per worker.
#[derive(Debug, Default)]
pub struct LogThrottle {
    logged_at: Cell<Option<Instant>>,
    times: Cell<u64>,
}

impl LogThrottle {
    /// A throttle that allows the first line.
    pub const fn new() -> Self {
        Self { logged_at: Cell::new(None), times: Cell::new(0) }
    }

    /// Counts an occurrence. Returns the occurrences since the last line if a line is due.
    pub fn count(&self) -> Option<u64> {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> Option<u64> {
        let times = self.times.get() + 1;
        self.times.set(times);
        if self.logged_at.get().is_some_and(|logged_at| now.duration_since(logged_at) < PAUSE) {
            return None;
        }
        self.logged_at.set(Some(now));
        self.times.set(0);
        Some(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_logged_at_once_and_the_next_after_ten_seconds() {
        let throttle = LogThrottle::new();
        let start = Instant::now();
        let logged = [0, 5, 9, 10, 11].map(|seconds| throttle.count_at(start + Duration::from_secs(seconds)));
        assert_eq!(logged, [Some(1), None, None, Some(3), None]);
    }
}
