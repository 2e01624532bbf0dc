//! Probes of threads: one that runs its tasks answers, one that is stuck does not. They go beside all other commands, so
//! that a thread with much to do is not taken for stuck.

use tokio::sync::{mpsc, oneshot};

/// Probes that wait for a thread. The watchdog sends the next one after the answer to the last.
const PROBES_MAX: usize = 1;

/// The way of probes to one thread. Clones lead to the same one.
#[derive(Clone, Debug)]
pub struct Probe {
    thread: String,
    probes: mpsc::Sender<oneshot::Sender<()>>,
}

/// The probes of one thread.
#[derive(Debug)]
pub struct ProbeMailbox(mpsc::Receiver<oneshot::Sender<()>>);

/// A way of probes to the thread of this name.
pub fn probe(thread: String) -> (Probe, ProbeMailbox) {
    let (probes, mailbox) = mpsc::channel(PROBES_MAX);
    (Probe { thread, probes }, ProbeMailbox(mailbox))
}

impl Probe {
    /// The name of the thread.
    pub fn thread(&self) -> &str {
        &self.thread
    }

    /// Returns once the thread has answered, and at once if it has ended.
    pub async fn answered(self) {
        let (answer, answered) = oneshot::channel();
        if self.probes.send(answer).await.is_ok() {
            // Fails if the thread ends first.
            let _ = answered.await;
        }
    }
}

impl ProbeMailbox {
    /// Answers until nobody probes. To be run as a task of the thread.
    pub async fn answer_all(mut self) {
        while let Some(answer) = self.0.recv().await {
            let _ = answer.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_thread_that_runs_or_has_ended_answers_and_one_that_is_stuck_does_not() {
        let (probe, mailbox) = probe("worker-0".to_owned());
        let mut first = pin!(probe.clone().answered());
        assert_eq!(first.as_mut().now_or_never(), None, "nothing runs in the thread");
        let mut running = Box::pin(mailbox.answer_all());
        assert_eq!(running.as_mut().now_or_never(), None);
        assert_eq!(first.now_or_never(), Some(()));
        let mut last = pin!(probe.clone().answered());
        assert_eq!(last.as_mut().now_or_never(), None);
        drop(running);
        assert_eq!(last.now_or_never(), Some(()));
        assert_eq!(probe.answered().now_or_never(), Some(()));
    }

    #[test]
    fn a_thread_that_nobody_probes_has_no_task_for_it() {
        let (probe, mailbox) = probe("worker-0".to_owned());
        drop(probe);
        assert_eq!(mailbox.answer_all().now_or_never(), Some(()));
    }
}
