//! The rights that a token gives in rooms.

use std::fmt;

use super::pattern::Pattern;
use super::rights::{Action, Rights};
use crate::protocol::names::RoomName;

/// The rights that a token gives, room by room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grants(Vec<Grant>);

#[derive(Clone, Debug, PartialEq)]
struct Grant {
    rooms: Rooms,
    rights: Rights,
}

#[derive(Clone, Debug, PartialEq)]
enum Rooms {
    One(RoomName),
    Matching(Pattern),
}

impl Grants {
    /// The number of rooms and patterns.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the token gives this right in this room. Linear in the grants.
    pub fn allow(&self, room: &RoomName, action: Action) -> bool {
        self.0.iter().any(|grant| grant.rights.allow(action) && grant.rooms.include(room))
    }

    /// Adds rights in one room, under its very name.
    pub(super) fn add_room(&mut self, room: RoomName, rights: Rights) {
        self.0.push(Grant { rooms: Rooms::One(room), rights });
    }

    /// Adds rights in all rooms of a pattern, if there are any.
    pub(super) fn add_rooms(&mut self, rooms: Pattern, rights: Rights) {
        if rights == Rights::NONE {
            return;
        }
        self.0.push(Grant { rooms: Rooms::Matching(rooms), rights });
    }
}

impl fmt::Display for Grants {
    /// Lists the rooms with the rights in each, as in ` team:* (join, publish)`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return out.write_str(" none");
        }
        for Grant { rooms, rights } in &self.0 {
            let rooms = match rooms {
                Rooms::One(room) => room.as_str().to_owned(),
                Rooms::Matching(pattern) => pattern.to_string(),
            };
            write!(out, " {rooms} ({rights})")?;
        }
        Ok(())
    }
}

impl Rooms {
    fn include(&self, room: &RoomName) -> bool {
        match self {
            Self::One(name) => name == room,
            Self::Matching(pattern) => pattern.matches(room),
        }
    }
}
