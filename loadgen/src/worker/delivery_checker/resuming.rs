//! Checks members that lose their connection and resume: every message between the cut and the return must come exactly
//! once and in the order of the room, unless the server has told of a gap.

use super::{DeliveryChecker, Member, Presence, Receipt};
use crate::clock::Nanos;
use crate::payload::Payload;

impl DeliveryChecker {
    /// Records that a member has lost its connection. Nothing may reach it, and it misses nothing for good, until it
    /// returns.
    ///
    /// What it has skipped so far is lost, because the server resumes behind that. Returns how much of this it had missed
    /// while it was away before, and was never told of.
    pub fn cut(&mut self, member: u32) -> u64 {
        let skipped = self.skipped.remove(&member).unwrap_or_default();
        self.lost += skipped.len() as u64;
        let presence = &mut self.members[member as usize].presence;
        *presence = if *presence == Presence::Joined { Presence::AwayJoined } else { Presence::Away };
        let Some(since) = self.resumed.remove(&member) else { return 0 };
        skipped.iter().filter(|number| self.intended(**number) <= since).count() as u64
    }

    /// Records that the join with a position was answered. The next delivery must be the first message that the member
    /// has missed.
    pub fn resume(&mut self, member: u32, now: Nanos) {
        let presence = &mut self.members[member as usize].presence;
        *presence = if *presence == Presence::AwayJoined { Presence::Joined } else { Presence::Receiving };
        self.resumed.insert(member, now);
    }

    /// Records that a member which has resumed was told of a gap. It must receive the messages that were due after its
    /// join was answered.
    pub fn excuse_missed(&mut self, member: u32) {
        self.early.remove(&member);
        let Some(since) = self.resumed.remove(&member) else { return };
        self.skipped.remove(&member);
        let place = &mut self.members[member as usize];
        *place = Member { presence: Presence::Joined, since, ..*place };
    }

    /// Classifies and records one delivery of a replay, which does not count for the spread of its message.
    pub fn receive_replayed(&mut self, member: u32, payload: Payload, now: Nanos) -> Receipt {
        let number = payload.number as usize;
        let before = self.messages.get(number).copied().filter(|message| message.received > 0);
        let receipt = self.receive(member, payload, now);
        if let Some(before) = before {
            self.messages[number].first = before.first;
            self.messages[number].last = before.last;
        }
        receipt
    }

    /// Number of messages that a member missed while it was away and never received, although it was not told of a gap.
    /// They count as lost too. Call it when nothing is on its way any more.
    pub fn untold(&self, member: u32) -> u64 {
        let Some(&since) = self.resumed.get(&member) else { return 0 };
        let was_missed = |number: &&u32| self.intended(**number) <= since;
        let skipped = self.skipped.get(&member).map_or(0, |numbers| numbers.iter().filter(was_missed).count());
        let position = self.members[member as usize].position as usize;
        (skipped + self.order[position..].iter().filter(was_missed).count()) as u64
    }
}
