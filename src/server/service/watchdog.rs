//! The watchdog: in each round all threads of the server are probed, and when all have answered the service manager is
//! told that the server runs. Reads no clock and probes nothing itself.

use std::collections::BTreeSet;

/// The index of a thread that is probed.
pub type ThreadIndex = usize;

/// Which threads have answered in the current round.
#[derive(Debug)]
pub struct Watchdog {
    threads: usize,
    /// Threads that were probed in this round and have not answered.
    unanswered: BTreeSet<ThreadIndex>,
    /// The round has taken longer than it may.
    is_late: bool,
}

/// What follows when a round is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// All threads are to be probed: this begins a round.
    Probe,
    /// These threads have not answered in the time of a round, which goes on.
    Late(Vec<ThreadIndex>),
    /// The round goes on, and was late before.
    StillLate,
}

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered {
    /// Other threads have not answered yet.
    Waiting,
    /// All threads run: the manager is to be told.
    AllRun {
        /// Some had not answered in time.
        were_late: bool,
    },
}

impl Watchdog {
    /// A watchdog over this many threads.
    pub fn new(threads: usize) -> Self {
        Self { threads, unanswered: BTreeSet::new(), is_late: false }
    }

    /// A round is due. None begins while a thread has not answered, so that probes do not queue up.
    pub fn round_is_due(&mut self) -> Due {
        if self.unanswered.is_empty() {
            self.unanswered = (0..self.threads).collect();
            return Due::Probe;
        }
        match std::mem::replace(&mut self.is_late, true) {
            false => Due::Late(self.unanswered.iter().copied().collect()),
            true => Due::StillLate,
        }
    }

    /// A thread has answered the probe of this round, or has ended.
    pub fn answered(&mut self, thread: ThreadIndex) -> Answered {
        self.unanswered.remove(&thread);
        if !self.unanswered.is_empty() {
            return Answered::Waiting;
        }
        Answered::AllRun { were_late: std::mem::take(&mut self.is_late) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_told_in_each_round_once_all_threads_have_answered() {
        let mut watchdog = Watchdog::new(3);
        for _ in 0..2 {
            assert_eq!(watchdog.round_is_due(), Due::Probe);
            assert_eq!(watchdog.answered(2), Answered::Waiting);
            assert_eq!(watchdog.answered(0), Answered::Waiting);
            assert_eq!(watchdog.answered(1), Answered::AllRun { were_late: false });
        }
    }

    #[test]
    fn a_stuck_thread_is_named_once_and_probed_again_only_after_its_answer() {
        let mut watchdog = Watchdog::new(3);
        assert_eq!(watchdog.round_is_due(), Due::Probe);
        assert_eq!(watchdog.answered(1), Answered::Waiting);
        assert_eq!(watchdog.round_is_due(), Due::Late(vec![0, 2]));
        assert_eq!(watchdog.answered(2), Answered::Waiting);
        assert_eq!(watchdog.round_is_due(), Due::StillLate);
        // Late is better than never: the manager is told before the next round.
        assert_eq!(watchdog.answered(0), Answered::AllRun { were_late: true });
        assert_eq!(watchdog.round_is_due(), Due::Probe);
        for thread in 0..2 {
            assert_eq!(watchdog.answered(thread), Answered::Waiting);
        }
        assert_eq!(watchdog.answered(2), Answered::AllRun { were_late: false });
    }
}
