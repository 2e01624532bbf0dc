//! Waiting for a state. No test waits for a time.

use std::thread;
use std::time::{Duration, Instant};

/// The longest that any test waits for anything. A test that passes never does.
pub const FAILSAFE: Duration = Duration::from_secs(60);

/// The first pause between two checks. Each further pause is twice as long, up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_micros(20);

/// The longest pause between two checks: short beside a test, long beside a check.
const PAUSE_MAX: Duration = Duration::from_millis(5);

/// Checks again and again until the condition holds. Fails after `FAILSAFE`.
#[track_caller]
pub fn until(holds: impl FnMut() -> bool) {
    assert!(holds_in_time(holds), "it does not happen within {FAILSAFE:?}");
}

/// Checks again and again until the figure is at most this. Fails after `FAILSAFE`, with the last figure.
#[track_caller]
pub fn until_at_most(most: u64, mut figure: impl FnMut() -> u64) {
    let mut last = u64::MAX;
    let in_time = holds_in_time(|| {
        last = figure();
        last <= most
    });
    assert!(in_time, "{last} does not come down to {most} within {FAILSAFE:?}");
}

fn holds_in_time(mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    let mut pause = PAUSE_MIN;
    while !holds() {
        if begun.elapsed() > FAILSAFE {
            return false;
        }
        thread::sleep(pause);
        pause = PAUSE_MAX.min(pause * 2);
    }
    true
}
