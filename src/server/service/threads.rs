//! The threads of the server as the watchdog probes them.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, future};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{error, info};

use super::watchdog::{Answered, Due, ThreadIndex, Watchdog};
use crate::probe::Probe;

/// The rounds of probes in the time in which the service manager wants to hear of them: a server that stands still just
/// before a round may do so for three quarters of it.
const ROUNDS: u32 = 4;

/// The least time between two rounds of probes.
const ROUND_TIME_MIN: Duration = Duration::from_millis(1);

/// The threads that must run, probed in rounds.
pub struct Threads {
    probes: Vec<Probe>,
    watchdog: Watchdog,
    rounds: Interval,
    answers: FuturesUnordered<LocalBoxFuture<'static, ThreadIndex>>,
}

impl Threads {
    /// Threads of which the service manager hears several times in this time, if all run.
    pub fn new(probes: Vec<Probe>, told_within: Duration) -> Self {
        let mut rounds = interval((told_within / ROUNDS).max(ROUND_TIME_MIN));
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { watchdog: Watchdog::new(probes.len()), probes, rounds, answers: FuturesUnordered::new() }
    }

    /// Returns once all threads have answered in a round; never where nobody watches. Logs which threads are late. A
    /// call that is dropped leaves its round to the next one.
    pub async fn all_run(this: Option<&mut Self>) {
        match this {
            Some(threads) => while !threads.step().await {},
            None => future::pending().await,
        }
    }

    /// Whether a round has ended, with the answers of all threads.
    async fn step(&mut self) -> bool {
        tokio::select! {
            // Answers first: this task may have been late itself, and no thread with it.
            biased;
            Some(thread) = self.answers.next(), if !self.answers.is_empty() => self.take_answer(thread),
            _ = self.rounds.tick() => {
                self.begin_round();
                false
            }
        }
    }

    fn begin_round(&mut self) {
        match self.watchdog.round_is_due() {
            Due::Probe => {
                let probes = self.probes.iter().cloned().enumerate();
                self.answers.extend(probes.map(|(thread, probe)| probe.answered().map(move |()| thread).boxed_local()));
            }
            Due::Late(threads) => {
                let names: Vec<&str> = threads.into_iter().map(|thread| self.probes[thread].thread()).collect();
                let threads = names.join(", ");
                error!(threads, "threads do not answer: the service manager is not told that the server runs");
            }
            Due::StillLate => {}
        }
    }

    fn take_answer(&mut self, thread: ThreadIndex) -> bool {
        match self.watchdog.answered(thread) {
            Answered::Waiting => false,
            Answered::AllRun { were_late } => {
                if were_late {
                    info!("all threads answer again");
                }
                true
            }
        }
    }
}
