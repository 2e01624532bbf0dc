//! What the backend of an application does with rooms, in which it is no member: publishing, reading and removing what they
//! retain, counting.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::acts::{Proposal, RoomOrder};
use super::batch::Batch;
use super::command::{Page, PageOfRoom, RoomCounts, ServerPublish};
use super::now::Now;
use super::room::Room;
use super::shard::Shard;
use crate::protocol::command::CommandError;
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::protocol::position::{Offset, Position};
use crate::protocol::publication::Publication;

impl Shard {
    /// Publishes for an application. A repeat of a publish is answered with the position of the first.
    pub(super) fn publish(&mut self, now: Now, publish: ServerPublish, batch: &mut Batch) -> Option<Position> {
        let ServerPublish { room: name, publisher, data, read_at, is_retained, key, .. } = publish;
        let first = key.as_ref().and_then(|key| self.keys.first(now.instant, &name, key));
        if first.is_some() {
            return first;
        }
        let room = match self.rooms.entry(name.clone()) {
            Entry::Occupied(room) => room.into_mut(),
            Entry::Vacant(place) => {
                let limits = self.limits.of(&name);
                if limits.history_messages_max == 0 || !is_retained {
                    return None;
                }
                place.insert(Room::new(self.epochs.draw(now, &name), limits))
            }
        };
        let position = if is_retained {
            let proposal = Proposal { publisher, data, read_at };
            RoomOrder { name: &name, room, history: &mut self.history }.propose(now, proposal, batch)
        } else {
            // Without an offset: a client that resumes does not miss it.
            let publication = Publication { offset: Offset(0), published_at: now.unix, publisher, data };
            let position = room.log.position();
            let event = Event::Published(&name, position.epoch, &publication);
            batch.deliver(room.audiences_by_dialect(), &event, read_at);
            position
        };
        if let Some(key) = key {
            self.keys.remember(now.instant, &name, &key, position);
        }
        self.reclaim_excess(now);
        Some(position)
    }

    /// A part of what a room retains. A room that does not exist has no position.
    pub(super) fn page_of(&self, name: &RoomName, page: &Page) -> Result<PageOfRoom, CommandError> {
        let Some(room) = self.rooms.get(name) else { return Ok(PageOfRoom::default()) };
        let publications = self.publications(name, room, page)?.into_iter().cloned().collect();
        Ok(PageOfRoom { publications, position: Some(room.log.position()) })
    }

    /// Drops everything that a room retains. Its position stays while it has members.
    pub(super) fn remove_history(&mut self, name: &RoomName) {
        if let Some(room) = self.rooms.get_mut(name) {
            self.history.forget(name, &mut room.log);
            self.remove_unused(name);
        }
    }

    /// The rooms with members, and the number of the members of each. Linear in the rooms.
    pub(super) fn count_members(&self) -> RoomCounts {
        let counted = self.rooms.iter().filter(|(_, room)| room.has_members());
        Arc::new(counted.map(|(name, room)| (name.clone(), room.member_count().members())).collect())
    }
}
