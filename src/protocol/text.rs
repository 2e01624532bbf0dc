//! Events as text for people and line clients, without framing. Written by hand, without formatting, where a delivery
//! is written.

use std::borrow::Cow;
use std::io::Write;

use memchr::{memchr, memchr_iter};
use serde::Deserialize;

use super::command::{CommandError, MESSAGE_LINES_MAX};
use super::disconnect::Disconnect;
use super::event::{Event, JoinedAt};
use super::names::Label;
use super::publication::{Data, Publication};

/// The answer to `HELP`, one line per command.
const HELP: &str = "JOIN <room>: enter a room, leaving the one you are in
JOIN <room> since=<position>: enter it, and get what was said since
LEAVE: leave the room
LIST: rooms with members
SAY <text>: say it, even when it begins with a command word; any other line is said as it is
NICK <name>: the label in front of your messages
WHO: who is in the room
HISTORY [n]: the newest messages of the room, 20 without a number
POSITION: the place in the room up to which you have everything, for since=
AUTH <token>: say who you are; again before the token expires to stay
PING [token]: answered behind everything on its way to you
HELP: this list
QUIT: end the connection";

/// Bytes that one byte of JSON becomes at most, where a control character is escaped.
const ESCAPED_BYTES_MAX: usize = 6;

/// The length of the text, in bytes, of the events that a busy server writes most; 0 for the others.
pub(super) fn size_hint(event: &Event<'_>) -> usize {
    match event {
        Event::Joined(room) => "Joined ".len() + room.as_str().len(),
        Event::Published(_, _, Publication { publisher, data: Data::Text(text), .. }) => {
            labelled_bytes(&publisher.label, text)
        }
        Event::Rooms(rooms) => "Rooms: ".len() + rooms.json().len(),
        Event::Members(room, labels) => "Members of : ".len() + room.as_str().len() + labels.json().len(),
        _ => 0,
    }
}

/// Appends the text, without a line end.
pub(super) fn write(event: &Event<'_>, out: &mut Vec<u8>) {
    let written = match *event {
        // Not formatted, since it is written most.
        Event::Published(_, _, publication) => {
            return write_message(&publication.publisher.label, text_of(&publication.data).as_bytes(), out);
        }
        Event::Welcome(greeting) => out.write_all(greeting.as_bytes()),
        Event::Joined(room) | Event::JoinedAt(&JoinedAt { room, .. }) => write!(out, "Joined {}", room.as_str()),
        Event::Left => out.write_all(b"Left room"),
        Event::JoinFirst => out.write_all(b"Join a room first"),
        Event::Rooms(rooms) => write!(out, "Rooms: {}", rooms.json()),
        Event::Members(room, labels) => write!(out, "Members of {}: {}", room.as_str(), labels.json()),
        Event::Named(label) => write!(out, "You are {}", label.as_str()),
        Event::Authenticated(user) if user.as_str().is_empty() => out.write_all(b"Authenticated without a user"),
        Event::Authenticated(user) => write!(out, "Authenticated as {}", user.as_str()),
        Event::TokenExpired(seconds) => write!(out, "EXPIRED {seconds}"),
        Event::Position(_, position) => write!(out, "Position {position}"),
        Event::HistoryEnd(_, position) => write!(out, "END HISTORY {position}"),
        Event::MemberJoined(_, member) => write!(out, "JOINED {}", member.label.as_str()),
        Event::MemberLeft(_, member) => write!(out, "LEFT {}", member.label.as_str()),
        Event::MemberCount(_, members) => write!(out, "MEMBERS {members}"),
        Event::Gap(messages) => write!(out, "GAP {messages}"),
        Event::Unrecovered(_) => out.write_all(b"GAP unknown"),
        Event::Pong("") => out.write_all(b"PONG"),
        Event::Pong(token) => write!(out, "PONG {token}"),
        Event::Help => out.write_all(HELP.as_bytes()),
        Event::Error(error) => write!(out, "ERR {} {error}", error.code().word()),
        // What only other dialects ask for.
        Event::Connected(_)
        | Event::Presence(_)
        | Event::PresenceCount { .. }
        | Event::Refreshed { .. }
        | Event::MembershipRefreshed(_)
        | Event::Accepted
        | Event::History(..)
        | Event::Evicted(..) => Ok(()),
        Event::Closed(Disconnect::Quit, _) => out.write_all(b"Bye"),
        Event::Closed(reason, retry) => write!(out, "ERR closed {}", retry.told_with(reason, reason.reason())),
        Event::Dismissed(code, reason) => write!(out, "ERR closed {} {code} {reason}", Disconnect::Kicked.reason()),
    };
    written.expect("a vector accepts every byte");
}

/// What a text client sees of a publication. Inlined, since a delivery of text is written by the shortest way.
#[inline]
fn text_of(data: &Data) -> Cow<'_, str> {
    match data {
        Data::Text(text) => Cow::Borrowed(text),
        Data::Json(json) => text_of_json(json),
    }
}

/// What a text client sees of JSON: its `text` member, or the string that it is, or else the JSON. A text with characters
/// that a terminal obeys, or with more lines than a message may have, is shown as JSON, which escapes them.
fn text_of_json(json: &str) -> Cow<'_, str> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Shown<'a> {
        #[serde(borrow)]
        Text(Cow<'a, str>),
        Member {
            #[serde(borrow)]
            text: Cow<'a, str>,
        },
    }
    let is_plain = |text: &str| {
        text.split('\n').count() <= MESSAGE_LINES_MAX && !text.chars().any(|c| c.is_control() && c != '\t' && c != '\n')
    };
    match serde_json::from_str(json) {
        Ok(Shown::Text(text) | Shown::Member { text }) if is_plain(&text) => text,
        _ => escaped(json),
    }
}

/// JSON in which the control characters that it may hold as they are, U+007F to U+009F, are escaped.
fn escaped(json: &str) -> Cow<'_, str> {
    if !json.contains(char::is_control) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character.is_control() {
            true => text.push_str(&format!("\\u{:04x}", u32::from(character))),
            false => text.push(character),
        }
    }
    text.into()
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

/// Checks the length of a message as text clients get it.
///
/// # Errors
/// It exceeds this many bytes with the label in front of each line.
pub fn check_length(label: &Label, data: &Data, bytes_max: usize) -> Result<(), CommandError> {
    // JSON is parsed only where it may be too long at all.
    let bytes_at_most = MESSAGE_LINES_MAX * label_bytes(label) + ESCAPED_BYTES_MAX * data.bytes();
    if bytes_at_most <= bytes_max {
        return Ok(());
    }
    let bytes = labelled_bytes(label, &text_of(data));
    if bytes <= bytes_max { Ok(()) } else { Err(CommandError::MessageTooLong { bytes, bytes_max }) }
}

/// The length of a message in bytes, including the label in front of each line.
fn labelled_bytes(label: &Label, text: &str) -> usize {
    let lines = memchr_iter(b'\n', text.as_bytes()).count() + 1;
    lines * label_bytes(label) + text.len()
}

/// The length of a label as it stands in front of a line.
fn label_bytes(label: &Label) -> usize {
    "[] ".len() + label.as_str().len()
}
