//! What the server sends to a client, as text without framing. A dialect frames it.

use std::io::Write;

use memchr::{memchr, memchr_iter};

use super::command::CommandError;
use super::disconnect::Disconnect;
use super::listing::Listing;
use super::names::{Label, RoomName};

pub use super::position::Offset;

/// The answer to `HELP`, one line per command.
const HELP: &str = "JOIN <room>: enter a room, leaving the one you are in
LEAVE: leave the room
LIST: rooms with members
SAY <text>: say it, even when it begins with a command word; any other line is said as it is
NICK <name>: the label in front of your messages
WHO: who is in the room
PING [token]: answered behind everything on its way to you
HELP: this list
QUIT: end the connection";

/// A message to a client. Text is borrowed; a dialect writes it once for all clients that get it.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The greeting, which is a setting.
    Welcome(&'a str),
    /// The client is a member of the room from here on.
    Joined(&'a RoomName),
    /// The client has left its room.
    Left,
    /// The command needs a room, and the client is in none.
    JoinFirst,
    /// All rooms with members.
    Rooms(&'a Listing<RoomName>),
    /// The labels of a room's members.
    Members(&'a RoomName, &'a Listing<Label>),
    /// The client's label from here on.
    Named(&'a Label),
    /// A publication of the room.
    Message {
        /// The publication's offset. Text does not show it; a dialect that resumes will.
        offset: Offset,
        /// The label of the member that published it.
        label: &'a Label,
        /// What the member published, of one line or several.
        text: &'a str,
    },
    /// This many publications of the room are missing here, because the client was too slow.
    Gap(u64),
    /// The answer to a ping, with its token.
    Pong(&'a str),
    /// The list of commands.
    Help,
    /// A command was refused.
    Error(&'a CommandError),
    /// The last event of a connection.
    Closed(Disconnect),
}

impl Event<'_> {
    /// The length of the text, in bytes, of the events that a busy server writes most; 0 for the others.
    pub(super) fn size_hint(&self) -> usize {
        match self {
            Self::Joined(room) => "Joined ".len() + room.as_str().len(),
            Self::Message { label, text, .. } => labelled_bytes(label, text),
            Self::Rooms(rooms) => "Rooms: ".len() + rooms.json().len(),
            Self::Members(room, labels) => "Members of : ".len() + room.as_str().len() + labels.json().len(),
            _ => 0,
        }
    }

    /// Appends the text, without a line end.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let written = match *self {
            // Not formatted, since it is written most.
            Self::Message { label, text, .. } => return write_message(label, text.as_bytes(), out),
            Self::Welcome(greeting) => out.write_all(greeting.as_bytes()),
            Self::Joined(room) => write!(out, "Joined {}", room.as_str()),
            Self::Left => out.write_all(b"Left room"),
            Self::JoinFirst => out.write_all(b"Join a room first"),
            Self::Rooms(rooms) => write!(out, "Rooms: {}", rooms.json()),
            Self::Members(room, labels) => write!(out, "Members of {}: {}", room.as_str(), labels.json()),
            Self::Named(label) => write!(out, "You are {}", label.as_str()),
            Self::Gap(messages) => write!(out, "GAP {messages}"),
            Self::Pong("") => out.write_all(b"PONG"),
            Self::Pong(token) => write!(out, "PONG {token}"),
            Self::Help => out.write_all(HELP.as_bytes()),
            Self::Error(error) => write!(out, "ERR {} {error}", error.code().word()),
            Self::Closed(Disconnect::Quit) => out.write_all(b"Bye"),
            Self::Closed(reason) => write!(out, "ERR closed {}", reason.reason()),
        };
        written.expect("a vector accepts every byte");
    }
}

/// Writes the label in front of every line, so that no member can forge another's line.
fn write_message(label: &Label, mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(end) = memchr(b'\n', text) {
        write_line(label, &text[..end], out);
        out.push(b'\n');
        text = &text[end + 1..];
    }
    write_line(label, text, out);
}

fn write_line(label: &Label, line: &[u8], out: &mut Vec<u8>) {
    for part in [b"[", label.as_str().as_bytes(), b"] ", line.strip_suffix(b"\r").unwrap_or(line)] {
        out.extend_from_slice(part);
    }
}

/// The length of a message in bytes, including the label in front of each line.
pub fn labelled_bytes(label: &Label, text: &str) -> usize {
    let lines = memchr_iter(b'\n', text.as_bytes()).count() + 1;
    lines * ("[] ".len() + label.as_str().len()) + text.len()
}
