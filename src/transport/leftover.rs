//! What the clients of a worker have sent and is not executed yet: how much memory that takes, and when some is worth giving
//! back. Never holds any of it.
//!
//! What unfinished messages have taken lies between what others hold, and the allocator would keep it.

use std::cell::Cell;

/// Less than this is kept for the next messages.
const WORTH_BYTES: usize = 4 * 1024 * 1024;

/// And so is less than this part of what was held.
const WORTH_PART: usize = 4;

/// What all conversations of a worker hold, in bytes.
#[derive(Default)]
pub struct Leftover {
    now: Cell<usize>,
    /// At most, since the last sweep.
    lately: Cell<usize>,
    /// At most, since memory was last given back.
    most: Cell<usize>,
}

impl Leftover {
    /// A conversation held so much and holds so much now.
    pub fn change(&self, before: usize, after: usize) {
        let now = self.now.get() + after - before;
        self.now.set(now);
        self.lately.set(self.lately.get().max(now));
    }

    /// Whether memory is to be given back: not while it is needed again and again. To be asked from time to time.
    pub fn sweep(&self) -> bool {
        let lately = self.lately.replace(self.now.get());
        let most = self.most.get().max(lately);
        let is_worth = most >= lately + WORTH_BYTES.max(most / WORTH_PART);
        self.most.set(if is_worth { lately } else { most });
        is_worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each sweep says when so many MiB were held at most before it, and then none.
    fn swept(held: &[usize]) -> Vec<bool> {
        let leftover = Leftover::default();
        let sweep = |&mebibytes: &usize| {
            leftover.change(0, mebibytes << 20);
            leftover.change(mebibytes << 20, 0);
            leftover.sweep()
        };
        held.iter().map(sweep).collect()
    }

    #[test]
    fn what_was_not_held_since_the_last_sweep_is_given_back_once() {
        assert_eq!(swept(&[100, 0, 0]), [false, true, false]);
        assert_eq!(swept(&[100, 60, 3, 0]), [false, true, true, false]);
    }

    #[test]
    fn what_is_held_again_and_again_is_kept_and_so_is_a_little() {
        assert_eq!(swept(&[100, 80, 100, 80]), [false; 4]);
        assert_eq!(swept(&[3, 0, 3, 0]), [false; 4]);
    }

    #[test]
    fn what_is_held_for_long_is_not_given_back() {
        let leftover = Leftover::default();
        leftover.change(0, 100 << 20);
        assert_eq!([leftover.sweep(), leftover.sweep(), leftover.sweep()], [false; 3]);
        leftover.change(100 << 20, 0);
        assert_eq!([leftover.sweep(), leftover.sweep()], [false, true]);
    }
}
