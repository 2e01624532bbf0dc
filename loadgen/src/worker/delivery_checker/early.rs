//! First deliveries to members that have just joined. One that is read before anybody else cannot say what is before its
//! first message in the order of the room, and messages of different publishers may have overtaken each other. So its
//! deliveries are kept until a member that has been there before has received the first of them. They are not checked if
//! it leaves before that.

use super::{DeliveryChecker, Member, Presence, Receipt};
use crate::clock::Nanos;
use crate::messages::Tally;
use crate::payload::Payload;

impl DeliveryChecker {
    /// The first delivery of a member that joined during the load. It must receive the messages that were due after its
    /// join.
    pub(super) fn receive_first(&mut self, member: u32, number: u32) -> Receipt {
        let position = self.members[member as usize].position;
        let place = self.position_of(number).unwrap_or_else(|| {
            // Another member that joined later may have been read earlier, so that the order holds later messages already.
            let behind = self.order[position as usize..].iter().rposition(|&other| other < number);
            let place = position as usize + behind.map_or(0, |before| before + 1);
            self.insert(place, number);
            place
        });
        if place < position as usize {
            return Receipt::Duplicate;
        }
        self.begin_at(member, place);
        self.members[member as usize].position += 1;
        Receipt::InOrder
    }

    /// Has a member that joined during the load expect the message at this place, and owes it those before that were due
    /// after its join.
    fn begin_at(&mut self, member: u32, place: usize) {
        let since = self.members[member as usize].since;
        let missed = self.order[..place].iter().rev().take_while(|&&before| self.intended(before) > since);
        let missed: Vec<u32> = missed.copied().collect();
        self.skip(member, missed);
        self.members[member as usize] = Member { presence: Presence::Receiving, position: place as u32, since };
    }

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
        let Some(mut kept) = self.early.remove(&member) else { return };
        let is_away = self.members[member as usize].presence == Presence::AwayJoined;
        let mut receipts = self.receive_before_known(member, &mut kept);
        let mut kept = kept.into_iter();
        if receipts.is_empty()
            && let Some((first, at)) = kept.next()
        {
            let receipt = self.receive_first(member, first.number);
            if receipt == Receipt::InOrder {
                self.messages[first.number as usize].count(at);
            }
            receipts.push(receipt);
        }
        receipts.extend(kept.map(|(payload, at)| self.receive(member, payload, at)));
        self.late_faults.extend(receipts.into_iter().filter(|receipt| *receipt != Receipt::InOrder));
        if is_away {
            self.cut(member);
        }
    }

    /// Takes those off the kept deliveries that nobody else has received and that come before one that others have: their
    /// place is directly before it, whatever their numbers are. There are some where all other members joined later.
    fn receive_before_known(&mut self, member: u32, kept: &mut Vec<(Payload, Nanos)>) -> Vec<Receipt> {
        let place = |(at, (payload, _)): (usize, &(Payload, Nanos))| Some((at, self.position_of(payload.number)?));
        let Some((count, begin)) = kept.iter().enumerate().find_map(place) else { return Vec::new() };
        if count == 0 || begin < self.members[member as usize].position as usize {
            return Vec::new();
        }
        self.begin_at(member, begin);
        let receive = |(payload, at): (Payload, Nanos)| {
            if self.position_of(payload.number).is_some() {
                return Receipt::Duplicate;
            }
            self.insert(self.members[member as usize].position as usize, payload.number);
            self.members[member as usize].position += 1;
            self.messages[payload.number as usize].count(at);
            Receipt::InOrder
        };
        kept.drain(..count).map(receive).collect()
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
