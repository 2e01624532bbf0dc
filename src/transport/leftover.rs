//! What the clients of a worker have sent and is not executed yet: how much memory that takes, and when some is worth giving
//! back. Never holds any of it.

use std::cell::Cell;

use crate::memory::Slack;

/// What all conversations of a worker hold.
#[derive(Default)]
pub struct Leftover {
    bytes: Cell<usize>,
    slack: Cell<Slack>,
}

impl Leftover {
    /// A conversation held so many bytes and holds so many now.
    pub fn change(&self, before: usize, after: usize) {
        let bytes = self.bytes.get() + after - before;
        self.bytes.set(bytes);
        self.with_slack(|slack| slack.observe(bytes));
    }

    /// Whether memory is to be given back. To be asked from time to time.
    pub fn sweep(&self) -> bool {
        self.with_slack(|slack| slack.end_window(self.bytes.get()))
    }

    fn with_slack<T>(&self, change: impl FnOnce(&mut Slack) -> T) -> T {
        let mut slack = self.slack.get();
        let answer = change(&mut slack);
        self.slack.set(slack);
        answer
    }
}
