//! A client that reads exactly as many bytes as it is allowed, is cut there, and comes back with its position.

use std::io::{Read, Write};

use harness::frame::{FINAL_TEXT, frame};
use harness::{Addresses, HANDSHAKE, Random, Stream, Transport, WELCOME};

use crate::resuming::LiveRoom;

/// How a client comes back and is cut.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The transports that it uses, by chance.
    pub transports: &'static [Transport],
    /// The bytes that it reads before a cut are fewer than this.
    pub bytes_max: usize,
    /// The messages that are permitted while it is away are fewer than this.
    pub away_max: usize,
    /// It asks for its position after one in this many messages.
    pub position_one_in: usize,
}

/// Something that a client has taken as its part of the room's order.
#[derive(Clone, Debug)]
pub enum Taken {
    /// It has joined.
    Came(Came),
    /// A message that it had not had before.
    Message(String),
    /// It was told that it has everything up to this offset.
    Position(usize),
}

/// A join and its answer.
#[derive(Clone, Debug)]
pub struct Came {
    /// The offset of the position that it came with.
    pub since: Option<usize>,
    /// Messages that a member had heard before.
    pub heard: usize,
    /// It was not told of a gap.
    pub is_recovered: bool,
}

/// A client and what it remembers from one connection to the next.
#[derive(Default)]
pub struct CutClient {
    position: Option<String>,
    /// The messages that it has received behind its position.
    behind: Vec<String>,
    /// The client has received all messages behind its position: there was no gap.
    is_placed: bool,
    /// Everything that it has taken so far.
    pub taken: Vec<Taken>,
}

impl CutClient {
    /// Connects, joins with the position that it remembers, and is cut somewhere.
    pub fn come_and_be_cut(&mut self, room: &LiveRoom, manner: Manner, random: &mut Random) {
        let transport = manner.transports[random.below(manner.transports.len())];
        let mut wire = Wire::connect(room, transport, random.below(manner.bytes_max));
        let join = self.position.as_ref().map_or("JOIN a".to_owned(), |position| format!("JOIN a since={position}"));
        if random.one_in(8) {
            return wire.send_half(&join, random);
        }
        let heard = room.heard();
        wire.send(&join);
        self.listen(room, heard, &mut wire, manner, random);
        if random.one_in(3) {
            let command = ["POSITION", "never said", "LEAVE", "JOIN b"][random.below(4)];
            wire.send_half(command, random);
        }
    }

    /// Reads until the cut. Permits a message before each read, so that there is always something to read.
    fn listen(&mut self, room: &LiveRoom, heard: usize, wire: &mut Wire, manner: Manner, random: &mut Random) {
        let since = self.position.as_deref().map(offset);
        // The replay begins with messages that the client has already.
        let mut had = self.behind.clone().into_iter();
        let (mut has_joined, mut has_come) = (false, false);
        loop {
            room.permit(1 + random.below(2));
            let Some(line) = wire.message() else { return };
            let is_gap = line == "GAP unknown";
            if has_joined && !has_come {
                let is_recovered = since.is_some() && !is_gap;
                self.came(Came { since, heard, is_recovered });
                has_come = true;
                if !is_recovered {
                    had = Vec::new().into_iter();
                }
            } else {
                assert!(!is_gap, "a gap in the middle");
            }
            match line.split_once(' ').expect("two words") {
                _ if line == WELCOME || is_gap => {}
                ("Joined", "a") => has_joined = true,
                ("Position", position) => {
                    assert_eq!(had.next(), None, "a position ahead of what it has had before");
                    self.place(position);
                }
                _ => match had.next() {
                    Some(before) => assert_eq!(line, before, "a replay is what came before"),
                    None => self.take(line),
                },
            }
            if has_joined && random.one_in(manner.position_one_in) {
                wire.send("POSITION");
            }
        }
    }

    fn came(&mut self, came: Came) {
        if !came.is_recovered {
            self.is_placed = false;
            self.behind.clear();
        }
        self.taken.push(Taken::Came(came));
    }

    fn place(&mut self, position: &str) {
        self.taken.push(Taken::Position(offset(position)));
        let before = self.position.replace(position.to_owned());
        assert!(before.is_none_or(|before| epoch(&before) == epoch(position)), "another room");
        self.is_placed = true;
        self.behind.clear();
    }

    fn take(&mut self, line: String) {
        if self.is_placed {
            self.behind.push(line.clone());
        }
        self.taken.push(Taken::Message(line));
    }
}

/// The epoch in a position. Only a test may look into one.
fn epoch(position: &str) -> &str {
    position.split_once('-').expect("a position").0
}

/// The offset in a position.
fn offset(position: &str) -> usize {
    position.split_once('-').and_then(|(_, offset)| offset.parse().ok()).expect("a position")
}

/// A connection of which no more bytes are read than allowed, and without TLS not even from the kernel.
struct Wire {
    transport: Transport,
    stream: Stream,
    bytes_left: usize,
    /// What was read of the message that is not whole.
    unfinished: Vec<u8>,
    is_upgraded: bool,
}

impl Wire {
    fn connect(room: &LiveRoom, transport: Transport, bytes_left: usize) -> Self {
        let (server, is_upgraded) = match transport {
            Transport::Tcp => (room.tcp(), true),
            Transport::WebSocket => (room.http(), false),
        };
        let stream = Stream::connect(server);
        let mut wire = Self { transport, stream, bytes_left, unfinished: Vec::new(), is_upgraded };
        if !is_upgraded {
            wire.write(HANDSHAKE.as_bytes());
        }
        wire
    }

    fn write(&mut self, bytes: &[u8]) {
        (&self.stream).write_all(bytes).expect("a server that reads");
    }

    fn encode(&self, line: &str) -> Vec<u8> {
        match self.transport {
            Transport::Tcp => format!("{line}\n").into_bytes(),
            Transport::WebSocket => frame(FINAL_TEXT, line),
        }
    }

    fn send(&mut self, line: &str) {
        let bytes = self.encode(line);
        self.write(&bytes);
    }

    /// Sends a part of a line, or nothing of it.
    fn send_half(&mut self, line: &str, random: &mut Random) {
        let bytes = self.encode(line);
        self.write(&bytes[..random.below(bytes.len())]);
    }

    /// The next whole message, or `None` where the client is cut.
    fn message(&mut self) -> Option<String> {
        loop {
            if let Some(message) = self.take_message() {
                return Some(String::from_utf8(message).expect("text"));
            }
            let mut buffer = [0; 64];
            let bytes_max = self.bytes_left.min(buffer.len());
            if bytes_max == 0 {
                return None;
            }
            let read = self.stream.read(&mut buffer[..bytes_max]).expect("bytes, or the end");
            assert!(read > 0, "the server has closed first");
            self.bytes_left -= read;
            self.unfinished.extend_from_slice(&buffer[..read]);
        }
    }

    fn take_message(&mut self) -> Option<Vec<u8>> {
        if !self.is_upgraded {
            let end = self.unfinished.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
            self.unfinished.drain(..end + 4);
            self.is_upgraded = true;
        }
        let (start, length, end) = match self.transport {
            Transport::Tcp => (0, self.unfinished.iter().position(|byte| *byte == b'\n')?, 1),
            Transport::WebSocket => {
                let (start, length) = payload(&self.unfinished)?;
                (start, length, 0)
            }
        };
        let message = self.unfinished.get(start..start + length)?.to_vec();
        self.unfinished.drain(..start + length + end);
        Some(message)
    }
}

/// Where the payload of a text frame begins and its length, once its header is whole.
fn payload(frame: &[u8]) -> Option<(usize, usize)> {
    let [first, short, ..] = *frame else { return None };
    assert_eq!(first, FINAL_TEXT);
    match short {
        126 => frame.get(2..4).map(|length| (4, usize::from(length[0]) << 8 | usize::from(length[1]))),
        short => Some((2, short.into())),
    }
}
