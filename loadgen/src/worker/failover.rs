//! Clients whose connection the server has ended come back at another target or at the same one with their position, as
//! often as that happens, and go on publishing. None sends a message again: it cannot know whether the server had
//! accepted it.

use std::time::Duration;

use super::Worker;
use super::backoff;
use super::client::Stage;
use super::resumption::CutStage;
use crate::clock::Nanos;
use crate::dialect::Closing;
use crate::reasons::add_reason;
use crate::workload::Failover;

/// Time within which a server must let a client in again and send what it has missed. Then the next attempt follows.
const BACK_WITHIN: Duration = Duration::from_secs(5);

impl Worker {
    /// Makes a client come back if its connection has ended during a load with `--failover`. Returns false if the client
    /// does not come back.
    pub(super) fn fail_over(&mut self, index: usize, closing: &Closing, now: Nanos) -> bool {
        let Some(failover) = self.assignment.settings.failover.filter(|_| self.may_come_back(index, now)) else {
            return false;
        };
        let failed = self.failed_attempts(index);
        let due = now + backoff::wait(failover, failed, closing.retry_after, self.random.f64());
        closing.retry_after.into_iter().for_each(|hint| self.reconnects.comebacks.record_hint(hint));
        if failed > 0 {
            self.fail_attempt(index, closing, failed);
        } else {
            self.lose_connection(index, closing, due, now);
        }
        self.reconnects.returns.insert((due, index as u32));
        true
    }

    /// Whether a client whose connection has ended may come back. One that is late by the patience may not.
    fn may_come_back(&self, index: usize, now: Nanos) -> bool {
        let client = &self.clients[index];
        let Some(resumption) = client.resumption.as_ref().filter(|_| self.is_loaded()) else { return false };
        let waited = if resumption.is_returning() { now.since(resumption.due) } else { Duration::ZERO };
        match (resumption.stage, client.stage) {
            (_, Stage::Ended) => false,
            // A client that never came in has no position.
            (CutStage::Before, stage) if stage != Stage::Ready => false,
            _ => waited <= self.assignment.settings.patience,
        }
    }

    /// The number of attempts to come back that have failed, with the one that fails now. Zero for a client that was in its
    /// room.
    fn failed_attempts(&self, index: usize) -> u32 {
        let resumption = self.clients[index].resumption.as_ref();
        resumption
            .filter(|resumption| resumption.stage == CutStage::Away)
            .map_or(0, |resumption| resumption.attempts + 1)
    }

    /// Records that an attempt to come back has failed, which is one of so many.
    fn fail_attempt(&mut self, index: usize, closing: &Closing, failed: u32) {
        let client = &mut self.clients[index];
        client.resumption.iter_mut().for_each(|resumption| resumption.attempts = failed);
        client.close();
        self.reconnects.comebacks.record_failed_attempt(&closing.reason);
    }

    /// Records that a client has lost the connection over which it was in its room, and when it is due to come back.
    fn lose_connection(&mut self, index: usize, closing: &Closing, due: Nanos, now: Nanos) {
        let Self { clients, rooms, reconnects, counters, .. } = self;
        let client = &mut clients[index];
        let (Some(resumption), Some(member)) = (&mut client.resumption, client.member) else { return };
        let (checker, result) = (&mut rooms[client.room as usize].checker, &mut reconnects.result);
        let (was_returning, was_back) = (resumption.is_returning(), resumption.stage == CutStage::Back);
        resumption.lose(client.target, due);
        let untold = checker.cut(member);
        result.counts.add_untold(if was_back { untold } else { 0 });
        checker.sender_disconnected(client.connection, now);
        add_reason(&mut result.disconnected, closing.reason.clone());
        result.counts.disconnected += u64::from(!was_returning);
        reconnects.expected += u32::from(!was_returning);
        reconnects.comebacks.record_end(now);
        counters.clients -= 1;
        client.close();
    }

    /// Chooses the target of a client that comes back: the others by turns, and behind them the one that it has lost.
    /// Clients that have lost the same one begin with different ones. Without others it is the same one.
    pub(super) fn choose_target(&mut self, index: usize, now: Nanos) {
        let client = &mut self.clients[index];
        let Some(failover) = self.assignment.settings.failover else { return };
        let Some(resumption) = client.resumption.as_ref() else { return };
        let others = match failover {
            Failover::Other => &self.failover_targets[usize::from(resumption.left)][..],
            Failover::Same => &[],
        };
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
