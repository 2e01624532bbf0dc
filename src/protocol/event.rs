//! What a client can be told, before any dialect frames it. One text for every dialect that speaks text.

use std::fmt::{self, Write};
use std::sync::Arc;

use memchr::{memchr_iter, memchr2_iter};

use super::command::CommandError;
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

/// The longest list, in bytes: with what stands in front of it a line of 64 KiB, the longest that many readers of lines take.
const LISTING_BYTES_MAX: usize = 64 * 1024 - "Members of : ".len() - RoomName::BYTES_MAX;

/// What a list needs beside its names: the brackets and the longest `… and N more`.
const LISTING_ENDS_BYTES: usize = 48;

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
    Error(&'a CommandError),
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
            Self::Rooms(rooms) => write!(out, "Rooms: {}", rooms.text),
            Self::Members(room, labels) => {
                write!(out, "Members of {}: {}", room.as_str(), labels.text)
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
            Self::Error(error) => write!(out, "ERR {error}"),
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
            Self::Message { label, text, .. } => labelled_bytes(label, text),
            Self::Rooms(rooms) => "Rooms: ".len() + rooms.text.len(),
            Self::Members(room, labels) => "Members of : ".len() + room.as_str().len() + labels.text.len(),
            _ => 0,
        }
    }
}

/// How many bytes a message has with its label, which stands in front of each of its lines.
pub fn labelled_bytes(label: &Label, text: &str) -> usize {
    let lines = memchr_iter(b'\n', text.as_bytes()).count() + 1;
    lines * ("[] ".len() + label.as_str().len()) + text.len()
}

/// The first names of a sorted list, and how many more there are; written once, however many ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    names: Vec<T>,
    more: usize,
    /// As a JSON array of strings.
    text: Box<str>,
}

impl<T: Ord + AsRef<str>> Default for Listing<T> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl<T: Ord + AsRef<str>> Listing<T> {
    /// Sorts and caps `names`. Linear in all of them, sorting and writing only what is shown.
    pub fn new(names: Vec<T>) -> Self {
        Self::with_more(names, 0)
    }

    fn with_more(mut names: Vec<T>, more: usize) -> Self {
        let all = names.len();
        if all > LISTING_MAX {
            names.select_nth_unstable(LISTING_MAX);
            names.truncate(LISTING_MAX);
        }
        names.sort_unstable();
        names.truncate(fitting(&names, LISTING_BYTES_MAX));
        let more = more + all - names.len();
        let text = json(&names, more).into();
        Self { names, more, text }
    }
}

impl<T: Ord + AsRef<str> + Clone> Listing<T> {
    /// One list of several that share no name, such as the rooms of all shards.
    pub fn merge<'a>(parts: impl IntoIterator<Item = &'a Arc<Self>>) -> Self
    where
        T: 'a,
    {
        let (mut names, mut more) = (Vec::new(), 0);
        for part in parts {
            names.extend_from_slice(&part.names);
            more += part.more;
        }
        Self::with_more(names, more)
    }

    /// The same, unless it has more bytes than this: then the first names that fit.
    pub fn truncated_to(self: Arc<Self>, bytes_max: usize) -> Arc<Self> {
        if self.text.len() <= bytes_max {
            return self;
        }
        let names = self.names[..fitting(&self.names, bytes_max)].to_vec();
        let more = self.more + self.names.len() - names.len();
        Arc::new(Self { text: json(&names, more).into(), names, more })
    }

    /// The same, unless it lacks this name where that would stand: then one that has it.
    pub fn including(self: Arc<Self>, name: &T) -> Arc<Self> {
        let is_behind_the_cap = self.more > 0 && self.names.last() < Some(name);
        if is_behind_the_cap || self.names.binary_search(name).is_ok() {
            return self;
        }
        let mut names = self.names.clone();
        names.push(name.clone());
        Arc::new(Self::with_more(names, self.more))
    }
}

/// The names at the front that fit so many bytes as JSON. Which those are does not depend on what stands behind them.
fn fitting<T: AsRef<str>>(names: &[T], bytes_max: usize) -> usize {
    let mut left = bytes_max.saturating_sub(LISTING_ENDS_BYTES);
    let fits = |name: &&T| {
        let text = name.as_ref();
        let bytes = text.len() + memchr2_iter(b'"', b'\\', text.as_bytes()).count() + "\"\", ".len();
        let rest = left.checked_sub(bytes);
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    names.iter().take_while(fits).count()
}

/// Names as a JSON array of strings. They hold no control characters, so the quote and the backslash are all there is to escape.
fn json(names: &[impl AsRef<str>], more: usize) -> String {
    let mut out = String::from("[");
    for (at, name) in names.iter().enumerate() {
        out.push_str(if at == 0 { "\"" } else { ", \"" });
        for part in name.as_ref().split_inclusive(['"', '\\']) {
            match part.strip_suffix(['"', '\\']) {
                Some(plain) => out.extend([plain, "\\", &part[plain.len()..]]),
                None => out.push_str(part),
            }
        }
        out.push('"');
    }
    if more > 0 {
        write!(out, ", \"… and {more} more\"").expect("a string takes every character");
    }
    out.push(']');
    out
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
        let part =
            |names: Vec<(usize, RoomName)>| Arc::new(Listing::new(names.into_iter().map(|(_, name)| name).collect()));
        assert_eq!(Listing::merge(&[part(left), part(right)]), Listing::new(all));
    }

    #[test]
    fn a_list_of_long_names_is_cut_where_its_line_would_be_too_long_and_merges_as_one() {
        let long = |number: usize| RoomName::parse(&format!("{number:05}{}", "\"".repeat(123))).unwrap();
        let all: Vec<_> = (0..900).map(long).collect();
        let listing = Listing::new(all.clone());
        let line = Event::Rooms(&listing).to_string();
        let shown = line.matches(", \"0").count() + 1;
        assert!(line.len() <= 64 * 1024 && line.len() + 500 > 64 * 1024, "{}", line.len());
        assert!(line.ends_with(&format!("\"… and {} more\"]", 900 - shown)), "{shown}");
        let (left, right) = all.split_at(450);
        let [left, right] = [left, right].map(|names| Arc::new(Listing::new(names.to_vec())));
        assert_eq!(Listing::merge(&[left, right]), listing);
        for bytes_max in [1_024, 4_096] {
            let short = Arc::new(listing.clone()).truncated_to(bytes_max);
            assert!(short.text.len() <= bytes_max && short.text.len() + 300 > bytes_max, "{}", short.text);
            assert_eq!(short.names.len() + short.more, 900);
        }
    }

    #[test]
    fn a_list_shows_the_name_that_it_is_to_show_unless_that_stands_behind_its_end() {
        let listing = Arc::new(Listing::new(rooms(2)));
        let known = Arc::clone(&listing).including(&rooms(1)[0]);
        assert!(Arc::ptr_eq(&listing, &known));
        assert_eq!(*Arc::clone(&listing).including(&rooms(3)[0]), Listing::new(rooms(3)));
        let long = Arc::new(Listing::new(rooms(1_001)));
        let behind = Arc::clone(&long).including(&RoomName::parse("z").unwrap());
        assert!(Arc::ptr_eq(&long, &behind));
        let text = Event::Rooms(&long.including(&RoomName::parse("a").unwrap())).to_string();
        assert!(
            text.starts_with(r#"Rooms: ["a", "r00000", "#) && text.ends_with(r#""r00998", "… and 2 more"]"#),
            "{text}"
        );
    }
}
