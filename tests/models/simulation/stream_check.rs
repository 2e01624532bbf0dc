//! Checks the stream of one client, line by line, against its memberships.

use std::ops::AddAssign;

use super::ledger::Membership;

/// What a client has received.
#[derive(Debug, Default)]
pub struct Received {
    /// Messages of rooms.
    pub messages: u64,
    /// The number of missing messages in its notices.
    pub missed: u64,
    /// Refusals of a room that had as many members as it may have.
    pub refused_by_room: u64,
    /// Refusals of one room more than a client may be in.
    pub refused_by_session: u64,
}

impl AddAssign for Received {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.missed += other.missed;
        self.refused_by_room += other.refused_by_room;
        self.refused_by_session += other.refused_by_session;
    }
}

/// A membership whose messages come.
#[derive(Debug)]
struct Open<'a> {
    membership: &'a Membership,
    /// The number of its messages that were received or reported missing.
    received: usize,
    fences: usize,
}

pub struct StreamCheck<'a> {
    memberships: std::slice::Iter<'a, Membership>,
    open: Vec<Open<'a>>,
    /// Messages that notices have reported missing, of rooms not known yet: the notice does not name the room.
    missing: usize,
    /// The client is in one room at a time.
    is_in_one_room: bool,
    /// The client must receive everything up to the end of its stream.
    gets_all: bool,
    /// Messages were dropped because the client was closed, so no message may follow.
    is_cut: bool,
    is_over: bool,
    received: Received,
}

impl<'a> StreamCheck<'a> {
    pub fn new(memberships: &'a [Membership], is_in_one_room: bool, gets_all: bool) -> Self {
        Self {
            memberships: memberships.iter(),
            open: Vec::new(),
            missing: 0,
            is_in_one_room,
            gets_all,
            is_cut: false,
            is_over: false,
            received: Received::default(),
        }
    }

    pub fn line(&mut self, line: &str) {
        assert!(!self.is_over, "behind the last line: {line}");
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["GAP", count] => self.gap(count.parse().expect("a number")),
            ["Joined", room] => self.joined(room),
            ["Left", "room"] => self.left(0),
            ["Left", room] => self.left(self.place(room)),
            ["PONG", "nowhere"] => assert!(self.open.is_empty(), "in {:?}", self.open),
            ["PONG", room] => self.pong(self.place(room)),
            ["ERR", "closed", ..] | ["Bye"] => self.is_over = true,
            ["ERR", "too-many", "members", ..] => self.received.refused_by_room += 1,
            ["ERR", "too-many", "rooms", "of", "one", "client:", "at", "most", rooms_max] => {
                assert_eq!(self.open.len().to_string(), rooms_max);
                self.received.refused_by_session += 1;
            }
            [label, room, _] if label.starts_with('[') => self.message(self.place(room), line),
            ["Welcome"] | ["Join", "a", ..] | ["Rooms:", ..] | ["Members", "of", ..] | ["You", "are", _] => {}
            _ => panic!("not expected: {line}"),
        }
    }

    /// The end of the stream.
    pub fn end(mut self) -> Received {
        self.leave_all();
        assert!(!self.gets_all || self.memberships.next().is_none(), "a join without its `Joined`");
        assert_eq!(self.missing, 0, "reported missing, and never published");
        self.received
    }

    /// The index of a room that the client is in.
    fn place(&self, room: &str) -> usize {
        let place = self.open.iter().position(|open| open.membership.room.as_str() == room);
        place.unwrap_or_else(|| panic!("not in {room}"))
    }

    fn joined(&mut self, room: &str) {
        if self.open.iter().any(|open| open.membership.room.as_str() == room) {
            return;
        }
        if self.is_in_one_room {
            self.leave_all();
        }
        let membership = self.memberships.next().expect("a join for every `Joined`");
        assert_eq!(membership.room.as_str(), room);
        self.open.push(Open { membership, received: 0, fences: 0 });
    }

    /// Ends a membership. All of its messages must have arrived.
    fn left(&mut self, place: usize) {
        assert!(place < self.open.len(), "left no room");
        let (messages, is_whole) = self.catch_up(place, usize::MAX);
        assert!(is_whole || !self.gets_all, "not all of {messages} messages: {:?}", self.open[place]);
        self.is_cut |= !is_whole;
        self.open.remove(place);
    }

    fn leave_all(&mut self) {
        (0..self.open.len()).for_each(|_| self.left(0));
    }

    fn message(&mut self, place: usize, line: &str) {
        assert!(!self.is_cut, "{line} behind what was dropped");
        let Open { membership, received, .. } = &self.open[place];
        let is_this = |message: &String| message == line;
        let skipped = membership.messages[*received..].iter().position(is_this);
        let at = received + skipped.unwrap_or_else(|| panic!("{line} is not in {membership:?} from {received} on"));
        let (_, is_whole) = self.catch_up(place, at);
        assert!(is_whole, "{line} came too early: {:?}", self.open[place]);
        self.open[place].received += 1;
        self.received.messages += 1;
    }

    /// Handles a notice: this many messages are missing here, of the rooms that the client is in.
    fn gap(&mut self, count: usize) {
        assert!(count > 0 && !self.open.is_empty(), "{count} are missing in {:?}", self.open);
        self.missing += count;
        self.received.missed += count as u64;
        if let [Open { received, .. }] = self.open[..] {
            self.catch_up(0, received + self.missing);
            assert_eq!(self.missing, 0, "missing and never published: {:?}", self.open);
        }
    }

    /// Handles a fence: all messages before it must have arrived.
    fn pong(&mut self, place: usize) {
        let Open { membership, fences, .. } = &mut self.open[place];
        let before = membership.fences[*fences];
        *fences += 1;
        let (_, is_whole) = self.catch_up(place, before);
        assert!(is_whole || !self.gets_all, "not all of {before} messages before the answer: {:?}", self.open[place]);
        self.is_cut |= !is_whole;
    }

    /// Counts messages as missing that were reported and not received, up to the `until`th of the room or its last.
    /// Returns that number, and whether nothing before it is left to receive.
    fn catch_up(&mut self, place: usize, until: usize) -> (usize, bool) {
        let Open { membership, received, .. } = &mut self.open[place];
        let until = until.min(membership.messages.len());
        let missing = until.saturating_sub(*received).min(self.missing);
        *received += missing;
        self.missing -= missing;
        (until, *received >= until)
    }
}
