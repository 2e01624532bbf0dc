//! Positions, and clients that come back with theirs. History is unlimited, so only a fault of the script causes a gap.

use super::{Act, Fault, Server};

/// The first half of every position. Clients must not look into it.
const EPOCH: &str = "0abc123def456";

impl Server {
    pub(super) fn answer_position(&mut self, client: usize) {
        let room = self.clients[client].room.as_ref();
        let Some(offset) = room.map(|room| self.histories.get(room).map_or(0, Vec::len)) else { return };
        if !self.script.iter().any(|fault| matches!(fault, Fault::AnswerNoPosition)) {
            self.promise(client, Act::Send(format!("Position {EPOCH}-{offset:016}\n")));
        }
    }

    /// Lets a client in again and sends what it has missed, with the faults of the script.
    pub(super) fn resume(&mut self, client: usize, room: &str, position: &str) {
        if self.take_fault(|fault| matches!(fault, Fault::RefuseTheFirstToResume)) {
            return self.promise(client, Act::Close);
        }
        let offset = position.strip_prefix(EPOCH).and_then(|rest| rest.strip_prefix('-')?.parse::<usize>().ok());
        let history = self.histories.get(room).cloned().unwrap_or_default();
        let mut missed = history[offset.expect("a position of this server")..].to_vec();
        let last = missed.last().cloned();
        self.join(client, room);
        if self.take_fault(|fault| matches!(fault, Fault::TellTheFirstToResumeOfAGap)) {
            missed = vec!["GAP unknown\n".to_owned()];
        }
        if self.take_fault(|fault| matches!(fault, Fault::ConcealTheFirstGap)) {
            missed.clear();
        }
        if self.take_fault(|fault| matches!(fault, Fault::LoseTheLastOfTheFirstReplay)) {
            missed.pop();
        }
        if self.take_fault(|fault| matches!(fault, Fault::DoubleTheLastOfTheFirstReplay)) {
            missed.extend(last);
        }
        missed.into_iter().for_each(|line| self.promise(client, Act::Send(line)));
    }
}
