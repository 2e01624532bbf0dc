//! Memory that was needed and is not needed again soon, given back to the system. Holds none itself.
//!
//! The system's allocator returns only what lies at the end of an arena; what a thousand stalled clients were owed lies
//! between what others are owed, and would stay. So the parts of a worker tell what they need, and once a second the worker
//! looks whether that has become less.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// For so long less must have been needed.
const WINDOW: Duration = Duration::from_secs(1);

/// Less than this is kept for the next burst, in bytes.
const WORTH_BYTES: usize = 2 * 1024 * 1024;

/// And so is less than this part of what was needed.
const WORTH_PART: usize = 4;

/// What all parts of one worker need, in bytes, roughly.
#[derive(Clone, Debug, Default)]
pub struct MemoryUse(Rc<Cell<PeakUse>>);

/// What one part of it needs.
#[derive(Debug)]
pub struct MemoryShare {
    needs: MemoryUse,
    bytes: usize,
}

/// What was needed, over windows of time. Knows no clock.
#[derive(Clone, Copy, Debug, Default)]
struct PeakUse {
    now: usize,
    /// At most, in this window.
    lately: usize,
    /// At most, since memory was last given back.
    most: usize,
}

impl MemoryUse {
    /// A part that needs nothing yet.
    pub fn part(&self) -> MemoryShare {
        MemoryShare { needs: self.clone(), bytes: 0 }
    }

    /// Some part needed so many bytes and needs so many now.
    pub fn change(&self, before: usize, after: usize) {
        let mut slack = self.0.get();
        slack.change(before, after);
        self.0.set(slack);
    }

    /// Gives memory back that was needed and is not, for ever.
    pub async fn trim(self) {
        let mut windows = interval(WINDOW);
        windows.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            windows.tick().await;
            let mut slack = self.0.get();
            if slack.end_window() {
                trim();
            }
            self.0.set(slack);
        }
    }
}

impl MemoryShare {
    /// So many bytes are needed now.
    pub fn set(&mut self, bytes: usize) {
        self.needs.change(self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl PeakUse {
    fn change(&mut self, before: usize, after: usize) {
        self.now = self.now + after - before;
        self.lately = self.lately.max(self.now);
    }

    /// Whether memory is to be given back: not while it is needed again and again.
    fn end_window(&mut self) -> bool {
        let most = self.most.max(self.lately);
        let is_worth = most >= self.lately + WORTH_BYTES.max(most / WORTH_PART);
        self.most = if is_worth { self.lately } else { most };
        self.lately = self.now;
        is_worth
    }
}

/// Gives free pages back: milliseconds for tens of MiB, in which other threads may wait for memory. Does nothing where the
/// allocator has no such call.
#[allow(unsafe_code)]
fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number, may be called from any thread at any time, and touches only memory that nobody has.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given back at the end of each window in which so many MiB were needed at most and then none.
    fn given_back(needed: &[usize]) -> Vec<bool> {
        let mut slack = PeakUse::default();
        let window = |&mebibytes: &usize| {
            slack.change(0, mebibytes << 20);
            slack.change(mebibytes << 20, 0);
            slack.end_window()
        };
        needed.iter().map(window).collect()
    }

    #[test]
    fn what_was_not_needed_for_a_whole_window_is_given_back_once() {
        assert_eq!(given_back(&[100, 0, 0, 0]), [false, true, false, false]);
        assert_eq!(given_back(&[100, 60, 1, 0]), [false, true, true, false]);
    }

    #[test]
    fn what_is_needed_again_and_again_is_kept_and_so_is_a_little() {
        assert_eq!(given_back(&[100, 80, 100, 80]), [false; 4]);
        assert_eq!(given_back(&[1, 0, 1, 0]), [false; 4]);
    }

    #[test]
    fn what_is_needed_all_the_time_is_not_given_back() {
        let needs = MemoryUse::default();
        let (mut one, mut other) = (needs.part(), needs.part());
        let end_windows = || {
            [(); 3].map(|()| {
                let mut slack = needs.0.get();
                let is_worth = slack.end_window();
                needs.0.set(slack);
                is_worth
            })
        };
        one.set(100 << 20);
        other.set(1 << 20);
        assert_eq!(end_windows(), [false; 3]);
        one.set(0);
        assert_eq!(end_windows(), [false, true, false]);
    }
}
