//! Messages that nobody has received and that may never come, because the server refused them or because their sender
//! lost its connection. Whatever one member receives was accepted, so it must reach all others too.

use std::collections::HashMap;
use std::time::Duration;

use super::{DeliveryChecker, ELSEWHERE};
use crate::clock::Nanos;

/// Why a message may never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The server has refused a message of its sender, which may be this one.
    Refused,
    /// The connection of its sender ended first, at this time.
    Disconnected(Nanos),
}

impl DeliveryChecker {
    /// Records that a connection has ended. The server may never have read what it sent last.
    pub fn sender_disconnected(&mut self, sender: u32, now: Nanos) {
        self.doubt(sender, Doubt::Disconnected(now));
        let of_sender = |number: &u32| self.messages[*number as usize].sender == sender;
        let doubts = self.doubts.iter_mut().filter(|(number, _)| of_sender(number));
        doubts.for_each(|(_, doubt)| *doubt = Doubt::Disconnected(now));
        self.refusals.remove(&sender);
    }

    /// Records that the server has refused one of the messages of a connection that nobody has received yet.
    pub fn refuse(&mut self, sender: u32) {
        self.doubt(sender, Doubt::Refused);
        *self.refusals.entry(sender).or_default() += 1;
    }

    fn doubt(&mut self, sender: u32, doubt: Doubt) {
        let Self { unreceived, doubts, messages, .. } = self;
        let doubtful = unreceived.extract_if(.., |number| messages[*number as usize].sender == sender);
        doubts.extend(doubtful.map(|number| (number, doubt)));
    }

    /// For each message that nobody received and of which the sender lost its connection first, the time from when it was
    /// due until then.
    pub fn unaccepted(&self) -> impl Iterator<Item = Duration> {
        self.doubts.iter().filter_map(|(number, doubt)| match doubt {
            Doubt::Disconnected(at) => Some(at.since(self.intended(*number))),
            Doubt::Refused => None,
        })
    }

    /// Messages that nobody received although their connection was refused fewer messages than that.
    pub(super) fn lost_in_silence(&self) -> u64 {
        let mut refused: HashMap<u32, u64> = HashMap::new();
        for (number, _) in self.doubts.iter().filter(|(_, doubt)| **doubt == Doubt::Refused) {
            *refused.entry(self.messages[*number as usize].sender).or_default() += 1;
        }
        let refusals = |sender| self.refusals.get(&sender).copied().unwrap_or_default();
        refused.into_iter().map(|(sender, unreceived)| unreceived.saturating_sub(refusals(sender))).sum()
    }

    /// Messages that stand in the order of the room behind a later one of the same connection.
    pub fn overtaken(&self) -> u64 {
        let mut last: HashMap<u32, u32> = HashMap::new();
        let is_overtaken = |number: &&u32| {
            let sender = self.messages[**number as usize].sender;
            let last = last.entry(sender).or_insert(**number);
            *last = **number.max(&&*last);
            sender != ELSEWHERE && *last > **number
        };
        self.order.iter().filter(is_overtaken).count() as u64
    }
}
