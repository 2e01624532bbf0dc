//! When memory that clients and their outboxes have needed is worth giving back: not while it is needed again and again.
//! Knows no clock and gives nothing back itself.

use std::time::{Duration, Instant};

/// For so long less must have been needed.
const WINDOW: Duration = Duration::from_secs(1);

/// Less than this is kept for the next burst.
const WORTH_BYTES: usize = 2 * 1024 * 1024;

/// And so is less than this part of what was needed.
const WORTH_PART: usize = 4;

/// How much was needed, and how much is.
#[derive(Debug, Default)]
pub(super) struct Slack {
    /// Since memory was last given back.
    most: usize,
    /// In the window.
    lately: usize,
    window_ends: Option<Instant>,
}

impl Slack {
    /// So much is needed now.
    pub fn observe(&mut self, now: Instant, held: usize) {
        self.lately = self.lately.max(held);
        if self.window_ends.is_none() && self.lately >= WORTH_BYTES {
            self.window_ends = Some(now + WINDOW);
        }
    }

    /// When to ask whether memory is to be given back; never while little was needed.
    pub fn window_ends(&self) -> Option<Instant> {
        self.window_ends
    }

    /// The window has ended, and so much is needed: whether memory is to be given back.
    pub fn end_window(&mut self, now: Instant, held: usize) -> bool {
        let is_worth = self.most >= self.lately + WORTH_BYTES.max(self.most / WORTH_PART);
        self.most = if is_worth { self.lately } else { self.most.max(self.lately) };
        self.lately = held;
        self.window_ends = (self.most >= WORTH_BYTES).then_some(now + WINDOW);
        is_worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given back at the end of each window in which so many MiB were needed at most and then none.
    fn given_back(needed: &[usize]) -> Vec<bool> {
        let (mut slack, now) = (Slack::default(), Instant::now());
        let window = |&mebibytes: &usize| {
            slack.observe(now, mebibytes << 20);
            slack.window_ends().is_some() && slack.end_window(now, 0)
        };
        needed.iter().map(window).collect()
    }

    #[test]
    fn what_was_not_needed_for_a_whole_window_is_given_back_once() {
        assert_eq!(given_back(&[100, 0, 0, 0]), [false, true, false, false]);
        assert_eq!(given_back(&[100, 60, 1, 0]), [false, true, true, false]);
    }

    #[test]
    fn what_is_needed_again_and_again_is_kept() {
        assert_eq!(given_back(&[100, 80, 100, 80]), [false; 4]);
        assert_eq!(given_back(&[1, 0, 1, 0]), [false; 4]);
    }
}
