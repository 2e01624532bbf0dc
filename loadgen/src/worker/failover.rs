//! Clients whose connection the server has ended come back at another target with their position, as often as that
//! happens, and go on publishing. None sends a message again: it cannot know whether the server had accepted it.

use std::time::Duration;

use super::Worker;
use super::client::Stage;
use super::resumption::CutStage;
use crate::clock::Nanos;
use crate::messages::add_reason;

/// Time within which a server must let a client in again and send what it has missed. Then the next target is tried.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Time before the second attempt of a client, and the increase with each further one. Up to as much is added at random.
const ATTEMPT_AFTER: Duration = Duration::from_millis(50);

/// Attempts after which the time between two of them does not grow any more.
const ATTEMPTS_SLOWED_MAX: u32 = 10;

impl Worker {
    /// Makes a client come back at another target if its connection has ended during a load with `--failover`. Returns
    /// false if the client does not come back.
    pub(super) fn fail_over(&mut self, index: usize, reason: &str, now: Nanos) -> bool {
        let is_wanted = self.assignment.settings.failover && self.is_loaded();
        let client = &mut self.clients[index];
        let Some(resumption) = client.resumption.as_mut().filter(|_| is_wanted) else { return false };
        let waited = if resumption.is_returning() { now.since(resumption.due) } else { Duration::ZERO };
        match (resumption.stage, client.stage) {
            (_, Stage::Ended) => return false,
            // A client that never came in has no position.
            (CutStage::Before, stage) if stage != Stage::Ready => return false,
            _ if waited > self.assignment.settings.patience => return false,
            (CutStage::Away, _) => {
                resumption.attempts += 1;
                client.close();
            }
            _ => self.lose_connection(index, reason, now),
        }
        let due = now + self.time_to_attempt(index);
        self.reconnects.returns.insert((due, index as u32));
        true
    }

    /// Records that a client has lost the connection over which it was in its room.
    fn lose_connection(&mut self, index: usize, reason: &str, now: Nanos) {
        let Self { clients, rooms, reconnects, counters, .. } = self;
        let client = &mut clients[index];
        let (Some(resumption), Some(member)) = (&mut client.resumption, client.member) else { return };
        let (checker, result) = (&mut rooms[client.room as usize].checker, &mut reconnects.result);
        let (was_returning, was_back) = (resumption.is_returning(), resumption.stage == CutStage::Back);
        resumption.lose(client.target, now);
        let untold = checker.cut(member);
        result.counts.add_untold(if was_back { untold } else { 0 });
        checker.sender_disconnected(client.connection, now);
        add_reason(&mut result.disconnected, reason.to_owned());
        result.counts.disconnected += u64::from(!was_returning);
        reconnects.expected += u32::from(!was_returning);
        counters.clients -= 1;
        client.close();
    }

    /// The time until the next attempt of a client to come back. The first one follows at once.
    fn time_to_attempt(&mut self, index: usize) -> Duration {
        let attempts = self.clients[index].resumption.as_ref().map_or(0, |resumption| resumption.attempts);
        let slowed = f64::from(attempts.min(ATTEMPTS_SLOWED_MAX));
        ATTEMPT_AFTER.mul_f64(slowed * (1.0 + self.random.f64()))
    }

    /// Chooses the target of a client that comes back: the others by turns, and behind them the one that it has lost.
    /// Clients that have lost the same one begin with different ones.
    pub(super) fn choose_target(&mut self, index: usize, now: Nanos) {
        let client = &mut self.clients[index];
        let Some(resumption) = client.resumption.as_ref().filter(|_| self.assignment.settings.failover) else { return };
        let others = &self.failover_targets[usize::from(resumption.left)];
        let turn = resumption.attempts as usize % (others.len() + 1);
        let next = (index + turn) % others.len().max(1);
        client.target = others.get(next).copied().filter(|_| turn < others.len()).unwrap_or(resumption.left);
        self.reconnects.attempts.push_back((now + BACK_WITHIN, index as u32, now));
    }

    /// Ends the attempts to come back that no server has answered in time.
    pub(super) fn end_late_attempts(&mut self, now: Nanos) -> anyhow::Result<()> {
        while let Some((_, index, began)) = self.reconnects.attempts.pop_front_if(|(due, ..)| *due <= now) {
            let client = &self.clients[index as usize];
            let is_returning = client.resumption.as_ref().is_some_and(|resumption| resumption.is_returning());
            if is_returning && client.since == began {
                let reason = format!("not back within {}", humantime::format_duration(BACK_WITHIN));
                self.end(index as usize, reason, now)?;
            }
        }
        Ok(())
    }
}
