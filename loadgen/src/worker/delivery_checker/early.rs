//! Deliveries to members that have just joined and are read before anybody else. Such a member cannot say what is before
//! its first message in the order of the room, and messages of different publishers may have overtaken each other. So its
//! deliveries are kept until a member that has been there before has received the first of them. They are not checked if
//! it leaves before that.

use super::{DeliveryChecker, Presence, Receipt};
use crate::clock::Nanos;
use crate::messages::Tally;
use crate::payload::Payload;

impl DeliveryChecker {
    /// Keeps a delivery to a member without a delivery before, if another member will show its place in the order. It
    /// counts as in order until then.
    pub(super) fn keep_early(&mut self, member: u32, payload: Payload, now: Nanos) -> bool {
        let has_kept = self.early.contains_key(&member);
        let is_kept = has_kept
            || (self.position_of(payload.number).is_none()
                && self.members.iter().any(|member| member.presence == Presence::Receiving));
        if is_kept {
            self.early.entry(member).or_default().push((payload, now));
        }
        is_kept
    }

    /// Classifies the kept deliveries of all members whose first one has a place in the order by now.
    pub(super) fn settle_known(&mut self) {
        let is_known = |(_, kept): &(&u32, &Vec<(Payload, Nanos)>)| {
            kept.first().is_some_and(|(first, _)| self.position_of(first.number).is_some())
        };
        let known: Vec<u32> = self.early.iter().filter(is_known).map(|(member, _)| *member).collect();
        known.into_iter().for_each(|member| self.settle(member));
    }

    /// Classifies the kept deliveries of a member, which may have lost its connection since.
    fn settle(&mut self, member: u32) {
        let mut kept = self.early.remove(&member).into_iter().flatten();
        let Some((first, at)) = kept.next() else { return };
        let is_away = self.members[member as usize].presence == Presence::AwayJoined;
        let receipt = self.receive_first(member, first.number);
        if receipt == Receipt::InOrder {
            self.messages[first.number as usize].count(at);
        }
        let mut receipts = vec![receipt];
        receipts.extend(kept.map(|(payload, at)| self.receive(member, payload, at)));
        self.late_faults.extend(receipts.into_iter().filter(|receipt| *receipt != Receipt::InOrder));
        if is_away {
            self.cut(member);
        }
    }

    /// Classifies all kept deliveries. Call it when nothing is on its way any more.
    pub fn settle_all(&mut self) {
        let members: Vec<u32> = self.early.keys().copied().collect();
        members.into_iter().for_each(|member| self.settle(member));
    }

    /// Faulty deliveries that counted as in order when they came.
    pub fn late_faults(&self) -> &[Receipt] {
        &self.late_faults
    }
}

impl Receipt {
    /// Counts a fault that counted as a delivery in order when it came.
    pub fn correct(self, tally: &mut Tally) {
        match self {
            Self::InOrder => return,
            Self::Reordered => return tally.reordered += 1,
            Self::Duplicate => tally.duplicated += 1,
            Self::Stray => tally.stray += 1,
            Self::Damaged => tally.damaged += 1,
        }
        tally.received -= 1;
    }
}
