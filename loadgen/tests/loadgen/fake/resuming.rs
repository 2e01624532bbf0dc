//! Positions, and clients that come back with theirs. History is unlimited, so only a fault of the script causes a gap.

use super::{Act, Fault, Server};

/// The first half of every position. Clients must not look into it.
pub(super) const EPOCH: &str = "0abc123def456";

impl Server {
    pub(super) fn answer_position(&mut self, client: usize) {
        let room = self.clients[client].room.as_ref();
        let Some(offset) = room.map(|room| self.said_in(room)) else { return };
        if !self.script.iter().any(|fault| matches!(fault, Fault::AnswerNoPosition)) {
            self.promise(client, Act::Send(format!("Position {EPOCH}-{offset:016}\n")));
        }
    }

    /// Lets a client in again and sends what it has missed, with the faults of the script.
    pub(super) fn resume(&mut self, client: usize, room: &str, position: &str) {
        let refuses_all = self.script.iter().any(|fault| matches!(fault, Fault::RefuseAllToResume));
        if refuses_all || self.take_fault(|fault| matches!(fault, Fault::RefuseTheFirstToResume)) {
            return self.promise(client, Act::Close);
        }
        let offset = position.strip_prefix(EPOCH).and_then(|rest| rest.strip_prefix('-')?.parse::<usize>().ok());
        let history = self.histories.get(room).cloned().unwrap_or_default();
        let offset = offset.expect("a position of this server");
        let mut missed = history[offset..].to_vec();
        let last = missed.last().cloned();
        let is_gap = self.take_fault(|fault| matches!(fault, Fault::TellTheFirstToResumeOfAGap));
        if self.take_fault(|fault| matches!(fault, Fault::ConcealTheFirstGap)) {
            missed.clear();
        }
        if self.take_fault(|fault| matches!(fault, Fault::LoseTheLastOfTheFirstReplay)) {
            missed.pop();
        }
        if self.take_fault(|fault| matches!(fault, Fault::DoubleTheLastOfTheFirstReplay)) {
            missed.extend(last);
        }
        let offset = if is_gap { history.len() } else { offset };
        self.join(client, room, self.wire.resumed(room, missed, is_gap, offset));
    }
}
