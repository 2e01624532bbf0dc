//! Checks the deliveries of one room: counts exactly what was lost, duplicated or out of order. Never does I/O.
//!
//! The first delivery of a message defines its position in the order of the room, and every other member must receive
//! it there. In the common case a delivery costs one comparison; the checker searches only when something is
//! unexpected.

mod doubts;
mod early;
mod resuming;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::clock::Nanos;
use crate::latency::Latencies;
use crate::payload::Payload;
use crate::room_order::RoomOrder;
use doubts::Doubt;

/// Maximum distance from the last known message at which a number is accepted in a room that another process publishes
/// to.
const AHEAD_MAX: usize = 1 << 20;

/// Intended time of a message that has not been seen.
const UNKNOWN: Nanos = Nanos(u64::MAX);

/// Sender of a message that another process published.
const ELSEWHERE: u32 = u32::MAX;

/// The deliveries of one room, as the members in this process received them.
#[derive(Debug, Default)]
pub struct DeliveryChecker {
    /// Message numbers in the order in which members receive them.
    order: Vec<u32>,
    /// Messages by number.
    messages: Vec<Message>,
    members: Vec<Member>,
    /// Messages that a member has skipped and may still receive, by member.
    skipped: HashMap<u32, BTreeSet<u32>>,
    /// When members that were cut were in the room again, without those that were told of a gap.
    resumed: HashMap<u32, Nanos>,
    /// Messages published, in this process or another.
    published: u32,
    /// Whether this process publishes to the room. If not, the number of messages is known only at the end.
    is_published_here: bool,
    /// Deliveries that members lost before they left.
    lost: u64,
    /// Messages published here that no member has received, without those in doubt.
    unreceived: BTreeSet<u32>,
    /// Messages published here that no member has received and that may never come.
    doubts: BTreeMap<u32, Doubt>,
    /// Refused messages of each sender.
    refusals: HashMap<u32, u64>,
    /// Deliveries to members that joined, of which the place in the order is not known yet.
    early: BTreeMap<u32, Vec<(Payload, Nanos)>>,
    /// Faults among deliveries that were kept.
    late_faults: Vec<Receipt>,
}

/// What is known of one message.
#[derive(Clone, Copy, Debug)]
struct Message {
    intended: Nanos,
    first: Nanos,
    last: Nanos,
    received: u32,
    /// The connection that published it, or [`ELSEWHERE`].
    sender: u32,
}

/// The progress of one member.
#[derive(Clone, Copy, Debug)]
struct Member {
    presence: Presence,
    /// Index in the order of the next expected message. All before it were received or skipped. Zero for a member that
    /// joined without a delivery so far, unless it was cut and told of a gap.
    position: u32,
    /// When the member joined. Earlier messages need not reach it.
    since: Nanos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// Not in the room, or not checked.
    Absent,
    /// In the room without a delivery so far.
    Joined,
    /// In the room with at least one delivery.
    Receiving,
    /// Disconnected at this time.
    Disconnected(Nanos),
    /// Disconnected and expected back with its position. It had received a delivery, or nothing that it missed was due.
    Away,
    /// As [`Self::Away`], but without a delivery since it joined.
    AwayJoined,
}

/// The classification of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The next message for this member, possibly after a gap.
    InOrder,
    /// Others received it earlier, in a different order.
    Reordered,
    /// This member has received it before.
    Duplicate,
    /// The member is not in the room, or no such message was published.
    Stray,
    /// Its intended time differs from that of the message.
    Damaged,
}

impl DeliveryChecker {
    /// A room with this many members, none of them joined.
    pub fn new(members: usize, is_published_here: bool) -> Self {
        let empty = Member { presence: Presence::Absent, position: 0, since: Nanos(0) };
        Self { members: vec![empty; members], is_published_here, ..Self::default() }
    }

    /// Records a message that this connection is to publish, and returns its number.
    pub fn publish(&mut self, intended: Nanos, sender: u32) -> u32 {
        let number = self.published;
        self.published += 1;
        let message = self.message_mut(number);
        (message.intended, message.sender) = (intended, sender);
        self.unreceived.insert(number);
        number
    }

    /// Number of published messages.
    pub fn published(&self) -> u32 {
        self.published
    }

    /// Records the number of messages that another process published.
    pub fn raise_published(&mut self, published: u32) {
        self.published = self.published.max(published);
    }

    /// Records that the server has acknowledged a join.
    pub fn join(&mut self, member: u32, now: Nanos) {
        // Before the first message nothing can be missed, so every message counts for this member.
        let presence =
            if self.order.is_empty() && self.published == 0 { Presence::Receiving } else { Presence::Joined };
        self.members[member as usize] = Member { presence, position: 0, since: now };
    }

    /// Records that a member has left that sent its leave at `asked`. It must have received what others received
    /// before.
    pub fn leave(&mut self, member: u32, asked: Nanos) {
        self.early.remove(&member);
        self.lost += self.missing(member, |message| message.first <= asked);
        self.skipped.remove(&member);
        self.members[member as usize].presence = Presence::Absent;
    }

    /// Stops checking a member.
    pub fn ignore(&mut self, member: u32) {
        self.early.remove(&member);
        self.members[member as usize].presence = Presence::Absent;
        self.skipped.remove(&member);
    }

    /// Records a disconnect. Messages that are published later need not reach the member.
    pub fn disconnect(&mut self, member: u32, now: Nanos) {
        self.early.remove(&member);
        let presence = &mut self.members[member as usize].presence;
        if *presence == Presence::Joined {
            self.lost += self.missing(member, |_| true);
            self.members[member as usize].presence = Presence::Absent;
        } else if *presence == Presence::Receiving {
            *presence = Presence::Disconnected(now);
        }
    }

    /// Classifies and records one delivery.
    pub fn receive(&mut self, member: u32, payload: Payload, now: Nanos) -> Receipt {
        let number = payload.number;
        let place = &mut self.members[member as usize];
        if place.presence == Presence::Receiving && self.order.get(place.position as usize) == Some(&number) {
            let message = &mut self.messages[number as usize];
            if message.intended == payload.intended && payload.intended <= now {
                place.position += 1;
                message.count(now);
                return Receipt::InOrder;
            }
        }
        self.receive_slowly(member, payload, now)
    }

    /// Handles a delivery that is not simply the next one.
    fn receive_slowly(&mut self, member: u32, payload: Payload, now: Nanos) -> Receipt {
        let known = if self.is_published_here { self.published as usize } else { self.messages.len() + AHEAD_MAX };
        if payload.number as usize >= known {
            return Receipt::Stray;
        }
        let message = self.message_mut(payload.number);
        if message.intended == UNKNOWN {
            message.intended = payload.intended;
        }
        if message.intended != payload.intended || payload.intended > now {
            return Receipt::Damaged;
        }
        let presence = self.members[member as usize].presence;
        let receipt = match presence {
            Presence::Absent | Presence::Away | Presence::AwayJoined | Presence::Disconnected(_) => Receipt::Stray,
            Presence::Joined if self.keep_early(member, payload, now) => return Receipt::InOrder,
            Presence::Joined => self.receive_first(member, payload.number),
            Presence::Receiving => self.receive_unexpected(member, payload.number),
        };
        if matches!(receipt, Receipt::InOrder | Receipt::Reordered) {
            self.messages[payload.number as usize].count(now);
        }
        if !self.early.is_empty() {
            self.settle_known();
        }
        receipt
    }

    fn message_mut(&mut self, number: u32) -> &mut Message {
        if number as usize >= self.messages.len() {
            let (first, last) = (Nanos(u64::MAX), Nanos(0));
            let unknown = Message { intended: UNKNOWN, first, last, received: 0, sender: ELSEWHERE };
            self.messages.resize(number as usize + 1, unknown);
        }
        &mut self.messages[number as usize]
    }

    fn receive_unexpected(&mut self, member: u32, number: u32) -> Receipt {
        let expected = self.members[member as usize].position as usize;
        match self.position_of(number) {
            None => {
                // If others are further, either they have missed this message or this member has missed some of theirs.
                // Messages mostly arrive in the order of publishing, so their numbers decide.
                let missed = self.order[expected..].iter().take_while(|&&other| other < number).copied();
                let missed: Vec<u32> = missed.collect();
                let place = expected + missed.len();
                self.skip(member, missed);
                self.insert(place, number);
                self.members[member as usize].position = place as u32 + 1;
                Receipt::InOrder
            }
            Some(place) if place >= expected => {
                self.skip(member, self.order[expected..place].to_vec());
                self.members[member as usize].position = place as u32 + 1;
                Receipt::InOrder
            }
            Some(_) if self.skipped.get_mut(&member).is_some_and(|numbers| numbers.remove(&number)) => {
                Receipt::Reordered
            }
            Some(_) => Receipt::Duplicate,
        }
    }

    /// Inserts a message into the order. Members that are further did not receive it in its place.
    fn insert(&mut self, place: usize, number: u32) {
        self.order.insert(place, number);
        if !self.unreceived.remove(&number) {
            self.doubts.remove(&number);
        }
        for member in 0..self.members.len() {
            let Member { presence, position, since } = self.members[member];
            if position as usize <= place || presence == Presence::Absent {
                continue;
            }
            self.members[member].position += 1;
            // Members that joined after it was due need not receive it.
            if !matches!(presence, Presence::Joined | Presence::AwayJoined) && self.intended(number) > since {
                self.skip(member as u32, vec![number]);
            }
        }
    }

    fn skip(&mut self, member: u32, numbers: Vec<u32>) {
        if !numbers.is_empty() {
            self.skipped.entry(member).or_default().extend(numbers);
        }
    }

    /// Index in the order, searched from the end because faults are usually recent.
    fn position_of(&self, number: u32) -> Option<usize> {
        if self.messages[number as usize].received == 0 {
            return None;
        }
        self.order.iter().rposition(|&other| other == number)
    }

    fn intended(&self, number: u32) -> Nanos {
        self.messages[number as usize].intended
    }

    /// Number of messages that a member has not received although they were for it.
    fn missing(&self, member: u32, is_for_it: impl Fn(&Message) -> bool) -> u64 {
        let Member { presence, position, since } = self.members[member as usize];
        let message = |&number: &u32| &self.messages[number as usize];
        let skipped = self.skipped.get(&member).map_or(0, BTreeSet::len);
        let ahead = match presence {
            Presence::Absent | Presence::Away | Presence::AwayJoined => return 0,
            Presence::Joined => self.order.iter().rev().map(message).take_while(|message| message.intended > since),
            Presence::Receiving | Presence::Disconnected(_) => {
                let ahead = self.order[position as usize..].iter().filter(|number| is_for_it(message(number)));
                return (skipped + ahead.count()) as u64;
            }
        };
        (skipped + ahead.filter(|message| is_for_it(message)).count()) as u64
    }

    /// Whether every member has received every message.
    pub fn is_complete(&self) -> bool {
        self.order.len() + self.doubts.len() == self.published as usize
            && self.early.is_empty()
            && self.lost_in_silence() == 0
            && self.skipped.values().all(BTreeSet::is_empty)
            && self.members.iter().enumerate().all(|(member, place)| match place.presence {
                Presence::Absent | Presence::Away | Presence::AwayJoined | Presence::Disconnected(_) => true,
                Presence::Joined => self.missing(member as u32, |_| true) == 0,
                Presence::Receiving => place.position as usize == self.order.len(),
            })
    }

    /// Deliveries of messages that nobody published, which is known only at the end.
    pub fn unpublished(&self) -> u64 {
        let unpublished = self.messages.iter().skip(self.published as usize);
        unpublished.map(|message| u64::from(message.received)).sum()
    }

    /// Number of lost deliveries. Call it when nothing is on its way any more.
    pub fn lost_deliveries(&self) -> u64 {
        let missing = (0..self.members.len() as u32).map(|member| match self.members[member as usize] {
            Member { presence: Presence::Disconnected(at), .. } => {
                self.missing(member, |message| message.intended <= at)
            }
            _ => self.missing(member, |_| true),
        });
        let unreceived = |is_for_it: &dyn Fn(Nanos) -> bool| {
            self.unreceived.iter().filter(|number| is_for_it(self.intended(**number))).count() as u64
        };
        let seen_or_in_doubt = (self.order.len() + self.doubts.len()) as u64;
        let unseen = u64::from(self.published).saturating_sub(seen_or_in_doubt) + self.lost_in_silence();
        let unseen = self.members.iter().map(|member| match member.presence {
            Presence::Absent | Presence::Away | Presence::AwayJoined => 0,
            Presence::Joined => unreceived(&|intended| intended > member.since),
            Presence::Receiving => unseen,
            Presence::Disconnected(at) => unreceived(&|intended| intended <= at),
        });
        self.lost + missing.sum::<u64>() + unseen.sum::<u64>()
    }

    /// Records the time from the first to the last delivery of each measured message.
    pub fn record_spreads(&self, counts: impl Fn(Nanos) -> bool, spreads: &mut Latencies) {
        for message in self.messages.iter().filter(|message| message.received > 0 && counts(message.intended)) {
            spreads.record(message.spread());
        }
    }

    /// The observed order, to compare with that of other processes.
    pub fn room_order(&self, counts: impl Fn(Nanos) -> bool) -> RoomOrder {
        let message = |&number: &u32| self.messages[number as usize];
        let receipts = self.order.iter().map(message);
        let receipts = receipts.map(|message| counts(message.intended).then_some((message.first, message.last)));
        RoomOrder { order: self.order.clone(), receipts: receipts.collect() }
    }
}

impl Message {
    fn count(&mut self, now: Nanos) {
        self.first = self.first.min(now);
        self.last = self.last.max(now);
        self.received += 1;
    }

    fn spread(&self) -> Duration {
        self.last.since(self.first)
    }
}

#[cfg(test)]
mod tests;
