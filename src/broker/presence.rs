//! Join and leave events, where members are told of each other. In a room with many members only their number is told.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use super::batch::Batch;
use super::room::Room;
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::protocol::publication::Publisher;

/// What the members of a shard's rooms are told of each other.
#[derive(Debug)]
pub(super) struct PresenceEvents {
    /// Members of a room above which they are told their number instead.
    members_max: usize,
    /// Rooms with many members whose number has changed since it was told.
    recounted: HashSet<RoomName>,
}

impl PresenceEvents {
    pub fn new(members_max: usize) -> Self {
        Self { members_max, recounted: HashSet::new() }
    }

    /// A client has joined. It is told of itself, as the others are.
    pub fn joined(&mut self, name: &RoomName, room: &mut Room, member: &Publisher, batch: &mut Batch) {
        self.tell(name, room, &Event::MemberJoined(name, member), batch);
    }

    /// A client has left.
    pub fn left(&mut self, name: &RoomName, room: &mut Room, member: &Publisher, batch: &mut Batch) {
        self.tell(name, room, &Event::MemberLeft(name, member), batch);
    }

    /// Whether a number has to be told.
    pub fn is_due(&self) -> bool {
        !self.recounted.is_empty()
    }

    /// Tells the rooms with many members how many there are.
    pub fn tell_counts<S: BuildHasher>(&mut self, rooms: &mut HashMap<RoomName, Room, S>, batch: &mut Batch) {
        for name in std::mem::take(&mut self.recounted) {
            if let Some(room) = rooms.get_mut(&name).filter(|room| room.limits().presence_events) {
                let members = room.member_count().members();
                batch.tell(room.audiences_by_dialect(), &Event::MemberCount(&name, members));
            }
        }
    }

    fn tell(&mut self, name: &RoomName, room: &mut Room, event: &Event<'_>, batch: &mut Batch) {
        if !room.limits().presence_events {
            return;
        }
        if room.member_count().members() > self.members_max {
            self.recounted.insert(name.clone());
        } else {
            batch.tell(room.audiences_by_dialect(), event);
        }
    }
}
