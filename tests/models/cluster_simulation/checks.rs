//! What holds in every run: checks the stream of each client, line by line, against what NATS has stored.

use std::collections::{BTreeMap, BTreeSet};

use roomcast::backplane::entry::Entry;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::{Epoch, Offset, Position};

use super::clients::{Bookmark, Client, Sent};
use super::stream::{Rooms, Stream, text};

/// What the rooms got in each life of the stream.
pub struct Truth {
    lives: Vec<(Epoch, Rooms)>,
    /// The texts that are in the stream, and those whose publishers were told that they are not or may not be.
    stored: BTreeSet<String>,
    failed: BTreeSet<String>,
    refused: BTreeSet<String>,
}

/// What a client has received.
#[derive(Debug, Default)]
pub struct Received {
    pub messages: usize,
    pub recovered: usize,
    pub unrecovered: usize,
    pub replayed: usize,
    pub positions: usize,
    pub refused: usize,
    pub unknown: usize,
    pub bookmark: Option<Bookmark>,
}

impl Received {
    /// Adds the counts of another client.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.recovered += other.recovered;
        self.unrecovered += other.unrecovered;
        self.replayed += other.replayed;
        self.positions += other.positions;
        self.refused += other.refused;
        self.unknown += other.unknown;
    }
}

/// A place in a life: the index of the next message of the room.
type Place = (usize, usize);

/// A membership whose messages come.
struct Open {
    room: RoomName,
    /// Where the client may be. `None` before its first message or position.
    places: Option<Vec<Place>>,
    bookmark: Option<Position>,
    is_replay: bool,
}

/// The check of one client.
struct Check<'a> {
    truth: &'a Truth,
    client: &'a Client,
    /// The node has begun anew while the client was there: it may owe the client echoes.
    is_lenient: bool,
    open: Option<Open>,
    echoed: BTreeSet<String>,
    resume: Option<Bookmark>,
    received: Received,
}

impl Truth {
    pub fn of(stream: &Stream) -> Self {
        let publishes = stream.lives.iter().flat_map(|life| &life.entries).filter_map(|stored| match &stored.entry {
            Entry::Publish(publish) => Some(text(publish).to_owned()),
            Entry::RemoveHistory(_) => None,
        });
        Self {
            lives: stream.lives.iter().map(|life| (life.epoch, life.rooms())).collect(),
            stored: publishes.collect(),
            failed: stream.refused.union(&stream.unknown).cloned().collect(),
            refused: stream.refused.clone(),
        }
    }

    pub fn room(&self, life: usize, room: &RoomName) -> &[(Offset, String)] {
        self.lives[life].1.get(room).map_or(&[][..], Vec::as_slice)
    }

    /// The number of publications of a room up to a position.
    pub fn place(&self, room: &RoomName, position: Position) -> Place {
        let life = self.lives.iter().position(|(epoch, _)| *epoch == position.epoch).expect("an epoch of the stream");
        (life, self.room(life, room).partition_point(|(offset, _)| *offset <= position.offset))
    }

    /// The offset of a text that is in a room.
    pub fn offset(&self, position: Position, room: &RoomName, line: &str) -> Option<Offset> {
        let (life, _) = self.place(room, position);
        self.room(life, room).iter().find(|(_, stored)| stored == line).map(|(offset, _)| *offset)
    }

    pub fn is_stored(&self, text: &str) -> bool {
        self.stored.contains(text)
    }

    /// Checks that nothing is there twice, that nothing is there that was refused, and that the messages of each sender
    /// are in its order.
    pub fn check(&self) {
        let is_keyed = |text: &str| text.split_once(" api.").is_some_and(|(_, number)| number.len() < 3);
        for text in self.refused.iter().filter(|text| !is_keyed(text)) {
            assert!(!self.is_stored(text), "{text} was refused, and is in the stream");
        }
        for (_, rooms) in &self.lives {
            for publications in rooms.values() {
                let lines: BTreeSet<&String> = publications.iter().map(|(_, line)| line).collect();
                assert_eq!(lines.len(), publications.len(), "something is published twice");
                let mut last = BTreeMap::new();
                for (_, line) in publications.iter().filter(|(_, line)| !line.contains(" api.")) {
                    let (sender, number) =
                        line.rsplit_once(' ').and_then(|(_, end)| end.split_once('.')).expect("a text");
                    let before = last.insert(sender, number.parse::<usize>().expect("a number"));
                    assert!(before < last.get(sender).copied(), "{line} is out of its sender's order");
                }
            }
        }
    }

    /// Checks what a client has received so far.
    pub fn check_client(&self, client: &Client, begun: usize, bytes: &[u8], gets_all: bool) -> Received {
        // A client that is cut off gets its replies, and perhaps not its echoes.
        let is_cut = String::from_utf8_lossy(bytes).contains("ERR closed");
        let is_lenient = begun != client.begun || !gets_all || is_cut;
        let resume = client.resume.clone();
        let mut check = Check {
            truth: self,
            client,
            is_lenient,
            open: None,
            echoed: BTreeSet::new(),
            resume,
            received: Received::default(),
        };
        let received = String::from_utf8_lossy(bytes);
        let lines: Vec<&str> = received.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).collect();
        for (at, line) in lines.iter().enumerate() {
            check.line(line, lines.get(at + 1).copied().unwrap_or_default());
        }
        check.end(gets_all)
    }
}

impl Check<'_> {
    fn line(&mut self, line: &str, next: &str) {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["GAP", "unknown"] => self.received.unrecovered += 1,
            ["Joined", room] => self.joined(room, next),
            ["Left", "room"] => self.close(),
            ["PONG", token] => self.pong(token),
            ["Position", position] => self.position(Position::parse(position).expect("a position")),
            ["ERR", "unavailable", .., "later"] => self.received.refused += 1,
            ["ERR", "unavailable", ..] => self.received.unknown += 1,
            [label, _, _] if label.starts_with('[') => self.message(line),
            ["ERR", "closed", ..] | ["Bye" | "Welcome" | ""] => {}
            ["Join", "a", ..] if self.is_lenient || self.open.is_none() => {}
            ["Members", "of", ..] | ["You", "are", _] => {}
            _ => panic!("not expected: {line}"),
        }
    }

    fn joined(&mut self, room: &str, next: &str) {
        self.close();
        let room = RoomName::parse(room).expect("a name");
        let resume = self.resume.take_if(|bookmark| bookmark.room == room);
        let recovered = resume.filter(|_| next != "GAP unknown" && !next.starts_with("ERR closed"));
        let position = recovered.map(|bookmark| bookmark.position);
        self.received.recovered += usize::from(position.is_some());
        let places = position.map(|position| vec![self.truth.place(&room, position)]);
        self.open = Some(Open { room, places, bookmark: position, is_replay: position.is_some() });
    }

    /// All messages of a room come in the room's order, without a gap.
    fn message(&mut self, line: &str) {
        self.received.messages += 1;
        let Open { room, places, is_replay, .. } = self.open.as_mut().expect("in a room");
        self.received.replayed += usize::from(*is_replay);
        let truth = self.truth;
        let found = match places {
            Some(places) => places
                .iter()
                .filter(|(life, at)| truth.room(*life, room).get(*at).is_some_and(|(_, stored)| stored == line))
                .map(|(life, at)| (*life, at + 1))
                .collect::<Vec<_>>(),
            None => (0..truth.lives.len())
                .filter_map(|life| {
                    let at = truth.room(life, room).iter().position(|(_, stored)| stored == line)?;
                    Some((life, at + 1))
                })
                .collect(),
        };
        assert!(!found.is_empty(), "{line} does not come next, at {places:?} in {room:?}");
        *places = Some(found);
        self.echoed.insert(line.split_once(' ').expect("a label").1.to_owned());
        self.check_label(line);
    }

    /// A message has the name that its sender had when it was sent.
    fn check_label(&self, line: &str) {
        let (label, text) = line.split_once(' ').expect("a label");
        let own = self.client.sent.iter().find_map(|sent| match sent {
            Sent::Message { text: sent, label, .. } if sent == text => Some(label),
            _ => None,
        });
        assert!(own.is_none_or(|own| label == format!("[{own}]")), "{line} was sent as {own:?}");
    }

    /// Up to a position a client has everything, and nothing behind it.
    fn position(&mut self, position: Position) {
        self.received.positions += 1;
        let open = self.open.as_mut().expect("in a room");
        let here = self.truth.place(&open.room, position);
        let is_here = open.places.as_ref().is_none_or(|places| places.contains(&here));
        assert!(is_here, "{position} is {here:?}, and the client is at {:?} in {:?}", open.places, open.room);
        open.places = Some(vec![here]);
        (open.bookmark, open.is_replay) = (Some(position), false);
    }

    /// What was sent before a ping has come, or is known to have failed.
    fn pong(&self, token: &str) {
        let pinged =
            self.client.sent.iter().position(|sent| matches!(sent, Sent::Ping { token: of, .. } if of == token));
        let pinged = pinged.expect("it was sent");
        let Sent::Ping { room: of, .. } = &self.client.sent[pinged] else { unreachable!("it was found") };
        self.check_echoed(of, &self.client.sent[..pinged]);
    }

    fn check_echoed(&self, of: &RoomName, sent: &[Sent]) {
        for sent in sent.iter().filter(|_| !self.is_lenient) {
            if let Sent::Message { room, text, .. } = sent
                && room == of
            {
                let is_known = self.echoed.contains(text) || self.truth.failed.contains(text);
                assert!(is_known, "the echo of {text} has not come");
            }
        }
    }

    /// What a client has said in a room has come, or has failed, before it leaves the room. It says nothing there after
    /// the leave, until it comes back.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let ours: Vec<_> = self.client.sent.iter().collect();
        // A client that comes back later has sent more, so only what it has got at least once tells how far it is.
        let last = ours.iter().rposition(|sent| match sent {
            Sent::Message { text, .. } => self.echoed.contains(text),
            Sent::Ping { .. } => false,
        });
        if let Some(last) = last {
            self.check_echoed(&open.room, &self.client.sent[..last]);
        }
        self.received.bookmark = open.bookmark.map(|position| Bookmark { room: open.room, position });
    }

    fn end(mut self, gets_all: bool) -> Received {
        self.close();
        if gets_all && !self.is_lenient {
            for sent in &self.client.sent {
                if let Sent::Message { text, .. } = sent {
                    let is_known = self.echoed.contains(text) || self.truth.failed.contains(text);
                    assert!(is_known, "nothing came of {text}");
                }
            }
            let own = |texts: &BTreeSet<String>| {
                let is_own = |sent: &&Sent| matches!(sent, Sent::Message { text, .. } if texts.contains(text));
                self.client.sent.iter().filter(is_own).count()
            };
            let failed = own(&self.truth.failed);
            assert_eq!(own(&self.truth.refused), self.received.refused, "what was refused is told");
            assert_eq!(failed - self.received.refused, self.received.unknown, "what is unknown is told");
        }
        self.received
    }
}
