//! Memory that was freed and is not needed again soon, given back to the system. Never allocates, never keeps any.
//!
//! The system's allocator returns only what lies at the end of an arena; what a thousand stalled clients were owed lies
//! between what others are owed, and would stay.

/// Less than this is kept for the next burst, in bytes.
const WORTH_BYTES: usize = 2 * 1024 * 1024;

/// And so is less than this part of what was needed.
const WORTH_PART: usize = 4;

/// When giving back is worth it: not while memory is needed again and again. Goes by windows of time, and knows no clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slack {
    /// Needed at most since memory was last given back, in bytes.
    most: usize,
    /// In this window.
    lately: usize,
}

impl Slack {
    /// So many bytes are needed now.
    pub fn observe(&mut self, needed: usize) {
        self.lately = self.lately.max(needed);
    }

    /// Whether so much was needed that the end of a window is to be told.
    pub fn is_worth_watching(&self) -> bool {
        self.most.max(self.lately) >= WORTH_BYTES
    }

    /// A window has ended, and so many bytes are needed: whether memory is to be given back.
    pub fn end_window(&mut self, needed: usize) -> bool {
        let most = self.most.max(self.lately);
        let is_worth = most >= self.lately + WORTH_BYTES.max(most / WORTH_PART);
        self.most = if is_worth { self.lately } else { most };
        self.lately = needed;
        is_worth
    }
}

/// Gives free pages back: milliseconds for tens of MiB, in which other threads may wait for memory. Does nothing where the
/// allocator has no such call.
#[allow(unsafe_code)]
pub fn give_back() {
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
        let mut slack = Slack::default();
        let window = |&mebibytes: &usize| {
            slack.observe(mebibytes << 20);
            slack.is_worth_watching() && slack.end_window(0)
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
        let mut slack = Slack::default();
        slack.observe(100 << 20);
        assert_eq!([(); 3].map(|()| slack.end_window(100 << 20)), [false; 3]);
        assert_eq!([(); 3].map(|()| slack.end_window(0)), [false, true, false]);
    }
}
