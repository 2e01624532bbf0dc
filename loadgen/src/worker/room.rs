//! One room as its members here have seen it: the order of its messages, and how far each member has come. Counts exactly
//! what is lost, doubled or out of order. Never does I/O.
//!
//! The first to receive a message gives it its place; everybody else must see it there. A member that is one message ahead or
//! behind costs a comparison and no more; the search begins only when something is wrong.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::clock::Nanos;
use crate::latency::Latencies;
use crate::mark::Mark;
use crate::record::Record;

/// So far beyond the last message known a number is believed where nobody knows yet how many there are.
const AHEAD_MAX: usize = 1 << 20;

/// When a message was due of which nothing has been seen.
const UNKNOWN: Nanos = Nanos(u64::MAX);

/// A room.
#[derive(Debug, Default)]
pub struct Room {
    /// Numbers of messages, in the order in which members receive them.
    order: Vec<u32>,
    /// By number.
    messages: Vec<Message>,
    seats: Vec<Seat>,
    /// Passed over by a member, and perhaps still to come.
    passed_over: HashMap<u32, BTreeSet<u32>>,
    /// How many were published, here or elsewhere.
    published: u32,
    /// Whether all that is published is published here, or else how many there are becomes known at the end.
    is_published_here: bool,
    /// What members that have left again were owed.
    lost: u64,
}

/// What is known of one message.
#[derive(Clone, Copy, Debug)]
struct Message {
    intended: Nanos,
    first: Nanos,
    last: Nanos,
    received: u32,
}

/// One member.
#[derive(Clone, Copy, Debug)]
struct Seat {
    presence: Presence,
    /// Its place in the order: everything before has come or was passed over.
    position: u32,
    /// When it joined; what was due before may not be for it.
    since: Nanos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// Not in the room, or not counted.
    Absent,
    /// In the room, and has received nothing yet.
    Entered,
    /// In the room.
    Present,
    /// Disconnected, at this time.
    Gone(Nanos),
}

/// What a delivery was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The next one for this member, or one behind a gap.
    InOrder,
    /// Others saw it earlier, in a different order.
    Reordered,
    /// This member had it already.
    Duplicate,
    /// This member is not in the room, or no such message was ever said.
    Stray,
    /// It says that it was due at another time than it was.
    Damaged,
}

impl Room {
    /// With so many seats, all empty.
    pub fn new(seats: usize, is_published_here: bool) -> Self {
        let empty = Seat { presence: Presence::Absent, position: 0, since: Nanos(0) };
        Self { seats: vec![empty; seats], is_published_here, ..Self::default() }
    }

    /// A message is about to be published here; returns its number.
    pub fn publish(&mut self, intended: Nanos) -> u32 {
        let number = self.published;
        self.published += 1;
        self.know(number).intended = intended;
        number
    }

    /// How many were published.
    pub fn published(&self) -> u32 {
        self.published
    }

    /// So many were published in all, as another process says.
    pub fn expect(&mut self, published: u32) {
        self.published = self.published.max(published);
    }

    /// A member is in, since the target has said so.
    pub fn enter(&mut self, seat: u32, now: Nanos) {
        // Before the first message nothing can be missed, and everything counts from the start.
        let presence = if self.order.is_empty() && self.published == 0 { Presence::Present } else { Presence::Entered };
        self.seats[seat as usize] = Seat { presence, position: 0, since: now };
    }

    /// A member that asked to leave at `asked` is out. What others had before that it must have had too.
    pub fn leave(&mut self, seat: u32, asked: Nanos) {
        self.lost += self.owed(seat, |message| message.first <= asked);
        self.passed_over.remove(&seat);
        self.seats[seat as usize].presence = Presence::Absent;
    }

    /// A member stops counting.
    pub fn forget(&mut self, seat: u32) {
        self.seats[seat as usize].presence = Presence::Absent;
        self.passed_over.remove(&seat);
    }

    /// A member was disconnected: what is published from now on is not for it.
    pub fn disconnect(&mut self, seat: u32, now: Nanos) {
        let owed = &mut self.seats[seat as usize];
        if owed.presence == Presence::Entered {
            self.lost += self.owed(seat, |_| true);
            self.seats[seat as usize].presence = Presence::Absent;
        } else if owed.presence == Presence::Present {
            owed.presence = Presence::Gone(now);
        }
    }

    /// A member has received a message.
    pub fn receive(&mut self, seat: u32, mark: Mark, now: Nanos) -> Receipt {
        let number = mark.number;
        let place = &mut self.seats[seat as usize];
        if place.presence == Presence::Present && self.order.get(place.position as usize) == Some(&number) {
            let message = &mut self.messages[number as usize];
            if message.intended == mark.intended && mark.intended <= now {
                place.position += 1;
                message.count(now);
                return Receipt::InOrder;
            }
        }
        self.receive_slowly(seat, mark, now)
    }

    /// A new message, or something is wrong.
    fn receive_slowly(&mut self, seat: u32, mark: Mark, now: Nanos) -> Receipt {
        let known = if self.is_published_here { self.published as usize } else { self.messages.len() + AHEAD_MAX };
        if mark.number as usize >= known {
            return Receipt::Stray;
        }
        let message = self.know(mark.number);
        if message.intended == UNKNOWN {
            message.intended = mark.intended;
        }
        if message.intended != mark.intended || mark.intended > now {
            return Receipt::Damaged;
        }
        let receipt = match self.seats[seat as usize].presence {
            Presence::Absent | Presence::Gone(_) => Receipt::Stray,
            Presence::Entered => self.receive_first(seat, mark.number),
            Presence::Present => self.receive_unexpected(seat, mark.number),
        };
        if matches!(receipt, Receipt::InOrder | Receipt::Reordered) {
            self.messages[mark.number as usize].count(now);
        }
        receipt
    }

    fn know(&mut self, number: u32) -> &mut Message {
        if number as usize >= self.messages.len() {
            let unknown = Message { intended: UNKNOWN, first: Nanos(u64::MAX), last: Nanos(0), received: 0 };
            self.messages.resize(number as usize + 1, unknown);
        }
        &mut self.messages[number as usize]
    }

    /// The first message of a member that joined while others talked. It must have what was due after it was in.
    fn receive_first(&mut self, seat: u32, number: u32) -> Receipt {
        let place = self.position_of(number).unwrap_or_else(|| {
            self.order.push(number);
            self.order.len() - 1
        });
        let since = self.seats[seat as usize].since;
        let missed = self.order[..place].iter().rev().take_while(|&&before| self.intended(before) > since);
        let missed: Vec<u32> = missed.copied().collect();
        self.pass_over(seat, missed);
        self.seats[seat as usize] = Seat { presence: Presence::Present, position: place as u32 + 1, since };
        Receipt::InOrder
    }

    fn receive_unexpected(&mut self, seat: u32, number: u32) -> Receipt {
        let expected = self.seats[seat as usize].position as usize;
        match self.position_of(number) {
            None => {
                // Where others are further, either they have missed this one or this member has missed some of theirs. Messages
                // mostly come in the order in which they were published, so their numbers tell.
                let missed = self.order[expected..].iter().take_while(|&&other| other < number).copied();
                let missed: Vec<u32> = missed.collect();
                let place = expected + missed.len();
                self.pass_over(seat, missed);
                self.insert(place, number);
                self.seats[seat as usize].position = place as u32 + 1;
                Receipt::InOrder
            }
            Some(place) if place >= expected => {
                self.pass_over(seat, self.order[expected..place].to_vec());
                self.seats[seat as usize].position = place as u32 + 1;
                Receipt::InOrder
            }
            Some(_) if self.passed_over.get_mut(&seat).is_some_and(|numbers| numbers.remove(&number)) => {
                Receipt::Reordered
            }
            Some(_) => Receipt::Duplicate,
        }
    }

    /// Those who have come further than this did not get the message where it belongs.
    fn insert(&mut self, place: usize, number: u32) {
        self.order.insert(place, number);
        for seat in 0..self.seats.len() {
            let Seat { presence, position, since } = self.seats[seat];
            if position as usize > place && matches!(presence, Presence::Present | Presence::Gone(_)) {
                self.seats[seat].position += 1;
                // One that joined later need not have had it.
                if self.intended(number) > since {
                    self.pass_over(seat as u32, vec![number]);
                }
            }
        }
    }

    fn pass_over(&mut self, seat: u32, numbers: Vec<u32>) {
        if !numbers.is_empty() {
            self.passed_over.entry(seat).or_default().extend(numbers);
        }
    }

    /// Where a message stands, found from the end: what is wrong is near.
    fn position_of(&self, number: u32) -> Option<usize> {
        if self.messages[number as usize].received == 0 {
            return None;
        }
        self.order.iter().rposition(|&other| other == number)
    }

    fn intended(&self, number: u32) -> Nanos {
        self.messages[number as usize].intended
    }

    /// What a member has not received of the messages that are for it.
    fn owed(&self, seat: u32, is_for_it: impl Fn(&Message) -> bool) -> u64 {
        let Seat { presence, position, since } = self.seats[seat as usize];
        let message = |&number: &u32| &self.messages[number as usize];
        let passed_over = self.passed_over.get(&seat).map_or(0, BTreeSet::len);
        let ahead = match presence {
            Presence::Absent => return 0,
            Presence::Entered => self.order.iter().rev().map(message).take_while(|message| message.intended > since),
            Presence::Present | Presence::Gone(_) => {
                let ahead = self.order[position as usize..].iter().filter(|number| is_for_it(message(number)));
                return (passed_over + ahead.count()) as u64;
            }
        };
        (passed_over + ahead.filter(|message| is_for_it(message)).count()) as u64
    }

    /// Whether every member has received everything.
    pub fn is_complete(&self) -> bool {
        self.order.len() == self.published as usize
            && self.passed_over.values().all(BTreeSet::is_empty)
            && self.seats.iter().enumerate().all(|(seat, place)| match place.presence {
                Presence::Absent | Presence::Gone(_) => true,
                Presence::Entered => self.owed(seat as u32, |_| true) == 0,
                Presence::Present => place.position as usize == self.order.len(),
            })
    }

    /// How many deliveries were of messages that nobody has published, as is known only in the end.
    pub fn invented(&self) -> u64 {
        let invented = self.messages.iter().skip(self.published as usize);
        invented.map(|message| u64::from(message.received)).sum()
    }

    /// How many deliveries never came. Nothing is on its way any more.
    pub fn settle(&self) -> u64 {
        let owed = (0..self.seats.len() as u32).map(|seat| match self.seats[seat as usize] {
            Seat { presence: Presence::Gone(at), .. } => self.owed(seat, |message| message.intended <= at),
            _ => self.owed(seat, |_| true),
        });
        let unseen = self.seats.iter().map(|seat| match seat.presence {
            Presence::Absent => 0,
            Presence::Entered => self.unseen().filter(|message| message.intended > seat.since).count() as u64,
            Presence::Present => u64::from(self.published).saturating_sub(self.order.len() as u64),
            Presence::Gone(at) => self.unseen().filter(|message| message.intended <= at).count() as u64,
        });
        self.lost + owed.sum::<u64>() + unseen.sum::<u64>()
    }

    /// What was published here and never received by anybody.
    fn unseen(&self) -> impl Iterator<Item = &Message> {
        let known = self.messages.iter().filter(|message| message.received == 0);
        known.filter(|message| message.intended != UNKNOWN)
    }

    /// The time from the first to the last receipt of each message that counts.
    pub fn record_spreads(&self, counts: impl Fn(Nanos) -> bool, spreads: &mut Latencies) {
        for message in self.messages.iter().filter(|message| message.received > 0 && counts(message.intended)) {
            spreads.record(message.spread());
        }
    }

    /// For comparison with the same room elsewhere.
    pub fn record(&self, counts: impl Fn(Nanos) -> bool) -> Record {
        let message = |&number: &u32| self.messages[number as usize];
        let receipts = self.order.iter().map(message);
        let receipts = receipts.map(|message| counts(message.intended).then_some((message.first, message.last)));
        Record { order: self.order.clone(), receipts: receipts.collect() }
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
