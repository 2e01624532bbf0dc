//! What is sent to whom and how often, the same for both targets. Plain numbers: never touches a socket or a clock.

use anyhow::{Context, Result};
use std::{fmt, ops::Range, time::Duration};

/// One message as a member receives it, label and line break included.
pub const LINE_BYTES: usize = 128;

/// The rooms of a run; members are numbered in the order in which they connect, room after room.
#[derive(Clone, Copy)]
pub struct Rooms {
    pub rooms: usize,
    pub members_per_room: usize,
}

impl Rooms {
    pub fn members(self) -> usize {
        self.rooms * self.members_per_room
    }

    pub fn room_of(self, member: usize) -> usize {
        member / self.members_per_room
    }

    pub fn members_of(self, room: usize) -> Range<usize> {
        room * self.members_per_room..(room + 1) * self.members_per_room
    }
}

/// Rooms, and how many messages a second are published over all of them, in turn.
#[derive(Clone, Copy)]
pub struct Load {
    pub rooms: Rooms,
    pub messages_per_second: usize,
}

impl Load {
    pub fn period(self) -> Duration {
        Duration::from_secs(1) / u32::try_from(self.messages_per_second).unwrap_or(u32::MAX)
    }

    /// How many messages each room is owed in this time: at least one, and the same number for every room.
    pub fn messages_per_room(self, time: Duration) -> usize {
        let messages = self.messages_per_second * usize::try_from(time.as_millis()).unwrap_or(usize::MAX) / 1_000;
        messages.div_ceil(self.rooms.rooms).max(1)
    }

    /// The load as words of a command line; `from_words` reads them back.
    pub fn to_words(self) -> [String; 3] {
        [self.rooms.rooms, self.rooms.members_per_room, self.messages_per_second].map(|number| number.to_string())
    }

    pub fn from_words(words: &[String]) -> Result<Self> {
        let number = |index: usize| -> Result<usize> {
            let word = words.get(index).with_context(|| format!("a load is 3 numbers, not {}", words.len()))?;
            word.parse().with_context(|| format!("{word:?} is no number"))
        };
        let rooms = Rooms { rooms: number(0)?, members_per_room: number(1)? };
        Ok(Self { rooms, messages_per_second: number(2)? })
    }
}

impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rooms { rooms, members_per_room } = self.rooms;
        write!(formatter, "{rooms} x {members_per_room}, {} messages/s", self.messages_per_second)
    }
}

/// The text that makes a received line `LINE_BYTES` long when this label stands before it.
pub fn text_after(label: &str) -> String {
    "x".repeat(LINE_BYTES - label.len() - "\n".len())
}
