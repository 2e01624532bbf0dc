//! What a client can be told, before any dialect frames it. One text for every dialect that speaks text.

use std::fmt::{self, Write};

use super::command::Refusal;
use super::disconnect::Disconnect;
use super::names::{Label, Nick, RoomName};

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

/// How many names a list shows before `… and N more`.
const LISTING_MAX: usize = 1_000;

/// A place in a room's stream, counted from 1. Every member sees the same message at the same offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(pub u64);

/// What one client is told. The text borrows; a dialect writes it once for all who get it.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The greeting, a setting.
    Welcome(&'a str),
    /// The client is in the room from here on.
    Joined(&'a RoomName),
    /// The client has left its room.
    Left,
    /// The client is in no room, and what it said needs one.
    JoinFirst,
    /// All rooms with members.
    Rooms(&'a Listing<RoomName>),
    /// The labels of a room's members.
    Members(&'a RoomName, &'a Listing<Label>),
    /// The label from here on.
    Named(&'a Nick),
    /// A message to the room.
    Message {
        /// Its place in the room's stream. Text does not show it; a dialect that resumes will.
        offset: Offset,
        /// Whose it is.
        label: &'a Label,
        /// What was said.
        text: &'a str,
    },
    /// So many messages of the room would have stood here; the client was too slow for them.
    Gap(u64),
    /// The answer to a ping, with its token.
    Pong(&'a str),
    /// The list of commands.
    Help,
    /// A line was refused.
    Refused(&'a Refusal),
    /// The last thing a client hears, where it hears one.
    Closed(Disconnect),
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Welcome(greeting) => out.write_str(greeting),
            Self::Joined(room) => write!(out, "Joined {}", room.as_str()),
            Self::Left => out.write_str("Left room"),
            Self::JoinFirst => out.write_str("Join a room first"),
            Self::Rooms(rooms) => write!(out, "Rooms: {}", rooms.display(RoomName::as_str)),
            Self::Members(room, labels) => {
                write!(out, "Members of {}: {}", room.as_str(), labels.display(Label::as_str))
            }
            Self::Named(nick) => write!(out, "You are {}", nick.as_str()),
            Self::Message { label, text, .. } => {
                for part in ["[", label.as_str(), "] ", text] {
                    out.write_str(part)?;
                }
                Ok(())
            }
            Self::Gap(messages) => write!(out, "GAP {messages}"),
            Self::Pong("") => out.write_str("PONG"),
            Self::Pong(token) => write!(out, "PONG {token}"),
            Self::Help => out.write_str(HELP),
            Self::Refused(refusal) => write!(out, "ERR {refusal}"),
            Self::Closed(Disconnect::Quit) => out.write_str("Bye"),
            Self::Closed(disconnect) => write!(out, "ERR closed {}", disconnect.reason()),
        }
    }
}

impl Event<'_> {
    /// How many bytes the text has, for the events that a busy server writes most; 0 for the others.
    pub(super) fn size_hint(&self) -> usize {
        match self {
            Self::Joined(room) => "Joined ".len() + room.as_str().len(),
            Self::Message { label, text, .. } => "[] ".len() + label.as_str().len() + text.len(),
            _ => 0,
        }
    }
}

/// The first names of a sorted list, and how many more there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    names: Vec<T>,
    more: usize,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self { names: Vec::new(), more: 0 }
    }
}

impl<T: Ord> Listing<T> {
    /// Sorts and caps `names`. Linear in all of them, sorting only what is shown.
    pub fn new(mut names: Vec<T>) -> Self {
        let more = names.len().saturating_sub(LISTING_MAX);
        if more > 0 {
            names.select_nth_unstable(LISTING_MAX);
            names.truncate(LISTING_MAX);
        }
        names.sort_unstable();
        Self { names, more }
    }

    /// One list of two that share no name, such as the rooms of two shards.
    pub fn merge(self, other: Self) -> Self {
        let more = self.more + other.more;
        let mut names = self.names;
        names.extend(other.names);
        let mut merged = Self::new(names);
        merged.more += more;
        merged
    }

    /// As a JSON array of strings.
    fn display(&self, name: fn(&T) -> &str) -> impl fmt::Display {
        fmt::from_fn(move |out| {
            out.write_char('[')?;
            for (at, item) in self.names.iter().enumerate() {
                let separator = if at == 0 { "" } else { ", " };
                write!(out, "{separator}\"{}\"", escaped(name(item)))?;
            }
            if self.more > 0 {
                write!(out, ", \"… and {} more\"", self.more)?;
            }
            out.write_char(']')
        })
    }
}

/// For inside a JSON string. Names hold no control characters, so the quote and the backslash are all there is.
fn escaped(name: &str) -> impl fmt::Display {
    fmt::from_fn(move |out| {
        for character in name.chars() {
            if matches!(character, '"' | '\\') {
                out.write_char('\\')?;
            }
            out.write_char(character)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(count: usize) -> Vec<RoomName> {
        (0..count).rev().map(|number| RoomName::parse(&format!("r{number:05}")).unwrap()).collect()
    }

    #[test]
    fn a_list_is_sorted_json() {
        let names = ["b", "a\"\\", "ä"].map(|name| RoomName::parse(name).unwrap());
        let listing = Listing::new(names.to_vec());
        assert_eq!(Event::Rooms(&listing).to_string(), r#"Rooms: ["a\"\\", "b", "ä"]"#);
        assert_eq!(Event::Rooms(&Listing::default()).to_string(), "Rooms: []");
    }

    #[test]
    fn a_list_over_a_thousand_shows_the_first_thousand_and_counts_the_rest() {
        let text = Event::Rooms(&Listing::new(rooms(1_002))).to_string();
        assert!(text.starts_with(r#"Rooms: ["r00000", "r00001""#), "{text}");
        assert!(text.ends_with(r#""r00999", "… and 2 more"]"#), "{text}");
        let whole = Event::Rooms(&Listing::new(rooms(1_000))).to_string();
        assert!(whole.ends_with(r#""r00999"]"#), "{whole}");
    }

    #[test]
    fn lists_of_two_shards_merge_into_the_list_of_both() {
        let all = rooms(2_500);
        let (left, right): (Vec<_>, Vec<_>) = all.iter().cloned().enumerate().partition(|(at, _)| at % 3 == 0);
        let part = |names: Vec<(usize, RoomName)>| Listing::new(names.into_iter().map(|(_, name)| name).collect());
        assert_eq!(part(left).merge(part(right)), Listing::new(all));
    }
}
