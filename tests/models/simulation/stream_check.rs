//! Checks the stream of one client, line by line, against its memberships.

use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::Position;

use super::ledger::{Life, Membership};

/// The last line of a client that a stop of the server has ended.
pub const STOPPED: &str = "ERR closed shutdown retry=1";

/// What a client has received.
#[derive(Debug, Default)]
pub struct Received {
    /// Messages of rooms, live.
    pub messages: u64,
    /// Messages that the client had missed, and got when it resumed.
    pub replayed: u64,
    /// The number of missing messages in its notices.
    pub missed: u64,
    /// Notices that what the client had missed cannot be had.
    pub unrecovered: u64,
    /// Refusals of a room that had as many members as it may have.
    pub refused_by_room: u64,
    /// Refusals of one room more than a client may be in.
    pub refused_by_session: u64,
    /// Ends by a stop of the server.
    pub stopped: u64,
    /// The positions of rooms in their lives.
    pub positions: Vec<(Life, Position)>,
    /// Where the client can resume.
    pub bookmark: Option<Bookmark>,
}

impl Received {
    /// Adds the counts of another client.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.replayed += other.replayed;
        self.missed += other.missed;
        self.unrecovered += other.unrecovered;
        self.refused_by_room += other.refused_by_room;
        self.refused_by_session += other.refused_by_session;
        self.stopped += other.stopped;
    }
}

/// What a client remembers of a room for the time that it is away.
#[derive(Clone, Debug)]
pub struct Bookmark {
    pub room: RoomName,
    /// The newest position that the client has got.
    pub position: Position,
    /// The messages that came behind it, without a gap. The client skips them when they are sent again.
    pub seen: Vec<String>,
}

/// A membership whose messages come.
#[derive(Debug)]
struct Open<'a> {
    membership: &'a Membership,
    /// The number of its messages that were received or reported missing.
    received: usize,
    fences: usize,
    positions: usize,
    bookmark: Option<Bookmark>,
    /// Nothing is missing behind the bookmark.
    is_whole: bool,
}

pub struct StreamCheck<'a> {
    memberships: std::slice::Iter<'a, Membership>,
    open: Vec<Open<'a>>,
    /// Messages that notices have reported missing, of rooms not known yet: the notice does not name the room.
    missing: usize,
    /// The client has joined a room and must be told next that what it has missed cannot be had.
    is_unrecovered: bool,
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
            is_unrecovered: false,
            is_in_one_room,
            gets_all,
            is_cut: false,
            is_over: false,
            received: Received::default(),
        }
    }

    pub fn line(&mut self, line: &str) {
        assert!(!self.is_over, "behind the last line: {line}");
        self.received.stopped += u64::from(line == STOPPED);
        // A client that is cut to save memory gets nothing but the last line.
        let is_unrecovered = std::mem::take(&mut self.is_unrecovered) && !line.starts_with("ERR closed");
        assert_eq!(is_unrecovered, line == "GAP unknown", "{line} in {:?}", self.open.last());
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["GAP", "unknown"] => self.received.unrecovered += 1,
            ["GAP", count] => self.gap(count.parse().expect("a number")),
            ["Joined", room] => self.joined(room),
            ["Left", "room"] => self.left(0),
            ["Left", room] => self.left(self.place(room)),
            ["PONG", "nowhere"] => assert!(self.open.is_empty(), "in {:?}", self.open),
            ["PONG", room] => self.pong(self.place(room)),
            // The clients ask only for that of the room that they have been in for the longest time.
            ["Position", position] => self.position(Position::parse(position).expect("a position")),
            ["ERR", "closed", ..] | ["Bye"] => self.is_over = true,
            ["ERR", "too-many", "members", ..] => self.received.refused_by_room += 1,
            ["ERR", "forbidden", "join", ..] => {}
            ["ERR", "too-many", "rooms", "of", "one", "client:", "at", "most", rooms_max] => {
                assert_eq!(self.open.len().to_string(), rooms_max);
                self.received.refused_by_session += 1;
            }
            [label, room, _] if label.starts_with('[') => self.message(self.place(room), line),
            // A ping.
            [""] => {}
            ["Welcome"] | ["Join", "a", ..] | ["Rooms:", ..] | ["Members", "of", ..] | ["You", "are", _] => {}
            _ => panic!("not expected: {line}"),
        }
    }

    /// The end of the stream, or of what has come of it.
    pub fn end(mut self) -> Received {
        self.received.bookmark = self.open.iter_mut().find_map(|open| open.bookmark.take());
        self.leave_all();
        assert!(!self.gets_all || self.memberships.next().is_none(), "a join without its `Joined`");
        assert!(!self.gets_all || !self.is_unrecovered, "it must be told that it has missed something");
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
        self.is_unrecovered = membership.missed.is_err();
        // A client that is sent what it has missed resumes from the same place once more if it is cut again.
        let position = membership.since.filter(|_| membership.missed.is_ok());
        let bookmark = position.map(|position| Bookmark { room: membership.room.clone(), position, seen: Vec::new() });
        self.open.push(Open { membership, received: 0, fences: 0, positions: 0, bookmark, is_whole: true });
    }

    /// Ends a membership. All of its messages must have arrived.
    fn left(&mut self, place: usize) {
        assert!(place < self.open.len(), "left no room");
        self.catch_up_fence(place, usize::MAX);
        self.open.remove(place);
    }

    fn leave_all(&mut self) {
        (0..self.open.len()).for_each(|_| self.left(0));
    }

    fn message(&mut self, place: usize, line: &str) {
        let Open { membership, received, .. } = &self.open[place];
        let is_replayed = membership.missed.is_ok_and(|missed| *received < missed);
        assert!(is_replayed || !self.is_cut, "{line} behind what was dropped");
        let is_this = |message: &String| message == line;
        let skipped = membership.messages[*received..].iter().position(is_this);
        let at = received + skipped.unwrap_or_else(|| panic!("{line} is not in {membership:?} from {received} on"));
        assert!(!is_replayed || skipped == Some(0), "{line} came too early: {:?}", self.open[place]);
        assert!(self.catch_up(place, at), "{line} came too early: {:?}", self.open[place]);
        let open = &mut self.open[place];
        open.received += 1;
        if let (Some(bookmark), true) = (&mut open.bookmark, open.is_whole) {
            bookmark.seen.push(line.to_owned());
        }
        self.received.messages += u64::from(!is_replayed);
        self.received.replayed += u64::from(is_replayed);
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

    fn pong(&mut self, place: usize) {
        let Open { membership, fences, .. } = &mut self.open[place];
        *fences += 1;
        let before = membership.fences[*fences - 1];
        self.catch_up_fence(place, before);
    }

    /// Handles a position: everything up to it is ahead, and the client resumes there if it is cut.
    fn position(&mut self, position: Position) {
        let Open { membership, positions, .. } = self.open.first_mut().expect("in a room");
        *positions += 1;
        let (before, offset) = membership.positions[*positions - 1];
        assert_eq!(position.offset, offset, "in {membership:?}");
        self.received.positions.push((membership.life, position));
        // Also where messages were dropped: whoever resumes from here is not sent them.
        assert!(self.catch_up(0, before), "{position} before what it is behind: {:?}", self.open[0]);
        let open = &mut self.open[0];
        open.bookmark = Some(Bookmark { room: open.membership.room.clone(), position, seen: Vec::new() });
        open.is_whole = true;
    }

    /// All messages of the room up to the `until`th must have arrived.
    fn catch_up_fence(&mut self, place: usize, until: usize) {
        let is_whole = self.catch_up(place, until);
        assert!(is_whole || !self.gets_all, "messages before {until} have not come: {:?}", self.open[place]);
        self.is_cut |= !is_whole;
    }

    /// Counts messages as missing that were reported and not received, up to the `until`th of the room or its last.
    /// Returns whether nothing before it is left to receive.
    fn catch_up(&mut self, place: usize, until: usize) -> bool {
        let Open { membership, received, is_whole, .. } = &mut self.open[place];
        let until = until.min(membership.messages.len());
        let missing = until.saturating_sub(*received).min(self.missing);
        *received += missing;
        self.missing -= missing;
        *is_whole &= missing == 0;
        *received >= until
    }
}
