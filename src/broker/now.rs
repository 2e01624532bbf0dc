//! The time of a batch. The only file that reads the wall clock, and only to show it: it may jump.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::auth::UnixSeconds;
use crate::protocol::position::UnixMillis;

/// A moment, on the clock that never jumps and on the one that people read.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For ages.
    pub instant: Instant,
    /// For what is shown.
    pub unix: UnixMillis,
}

impl Now {
    /// The time in seconds, as tokens have it.
    pub fn unix_seconds(self) -> UnixSeconds {
        UnixSeconds(self.unix.0 / 1_000)
    }

    /// Reads both clocks.
    pub fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix: UnixMillis(u64::try_from(unix.as_millis()).unwrap_or_default()) }
    }
}
