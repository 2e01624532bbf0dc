//! Gives freed memory back to the system after a peak. Holds none itself.
//!
//! The system's allocator returns only what lies at the end of an arena; the output of a thousand stalled clients lies
//! between that of others, and would stay. So the parts of a worker report the memory that they use, and once a second the
//! worker looks whether they use less than before.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// The time for which less memory must have been used.
const WINDOW: Duration = Duration::from_secs(1);

/// Less than this is kept for the next burst, in bytes.
const WORTH_BYTES: usize = 2 * 1024 * 1024;

/// Less than this part of the peak is kept as well.
const WORTH_PART: usize = 4;

/// The memory that all parts of one worker use, in bytes, roughly.
#[derive(Clone, Debug, Default)]
pub struct MemoryUse(Rc<Cell<PeakUse>>);

/// The memory that one part of a worker uses.
#[derive(Debug)]
pub struct MemoryShare {
    total: MemoryUse,
    bytes: usize,
}

/// The use of memory over windows of time. Knows no clock.
#[derive(Clone, Copy, Debug, Default)]
struct PeakUse {
    now: usize,
    /// The peak of this window.
    lately: usize,
    /// The peak since memory was last given back.
    most: usize,
}

impl MemoryUse {
    /// A share for a part that uses nothing yet.
    pub fn share(&self) -> MemoryShare {
        MemoryShare { total: self.clone(), bytes: 0 }
    }

    /// Replaces what some part has used before with what it uses now, in bytes.
    pub(crate) fn change(&self, before: usize, after: usize) {
        self.0.update(|peak| peak.changed(before, after));
    }

    /// Gives memory back whenever it was used and is not any more. Never returns.
    pub(crate) async fn trim(self) {
        let mut windows = interval(WINDOW);
        windows.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            windows.tick().await;
            let (peak, is_worth) = self.0.get().window_ended();
            if is_worth {
                trim();
            }
            self.0.set(peak);
        }
    }
}

impl MemoryShare {
    /// Sets the bytes that the part uses now.
    pub(crate) fn set(&mut self, bytes: usize) {
        self.total.change(self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl PeakUse {
    fn changed(self, before: usize, after: usize) -> Self {
        let now = self.now + after - before;
        Self { now, lately: self.lately.max(now), ..self }
    }

    /// Starts the next window. Also whether memory should be given back, which it is not while it is used again and again.
    fn window_ended(self) -> (Self, bool) {
        let most = self.most.max(self.lately);
        let is_worth = most >= self.lately + WORTH_BYTES.max(most / WORTH_PART);
        let most = if is_worth { self.lately } else { most };
        (Self { now: self.now, lately: self.now, most }, is_worth)
    }
}

/// Gives free pages back: takes milliseconds for tens of MiB, in which other threads may wait for the allocator. Does nothing
/// with an allocator that has no such call.
#[allow(unsafe_code)]
fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number, may be called from any thread at any time, and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A table shrinks once it has room for this many times its entries.
const SPARE_FACTOR: usize = 4;

/// A table with room for fewer entries than this does not shrink.
const SPARE_MIN: usize = 1_024;

/// Shrinks a table after a peak.
pub fn shrink<K: Eq + Hash, V, S: BuildHasher>(table: &mut HashMap<K, V, S>) {
    if table.capacity() > SPARE_MIN.max(table.len() * SPARE_FACTOR) {
        table.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_not_used_for_a_whole_window_is_given_back_once_unless_it_is_little() {
        let cases: [(&[usize], &[bool]); 4] = [
            (&[100, 0, 0, 0], &[false, true, false, false]),
            (&[100, 60, 1, 0], &[false, true, true, false]),
            (&[100, 80, 100, 80], &[false; 4]),
            (&[1, 0, 1, 0], &[false; 4]),
        ];
        for (used, expected) in cases {
            let mut peak = PeakUse::default();
            let given_back = used.iter().map(|mebibytes| {
                let bytes = mebibytes << 20;
                let (next, is_worth) = peak.changed(0, bytes).changed(bytes, 0).window_ended();
                peak = next;
                is_worth
            });
            assert_eq!(given_back.collect::<Vec<_>>(), expected, "{used:?} MiB");
        }
    }
}
