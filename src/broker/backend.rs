//! What the backend of an application does with rooms, in which it is no member: publishing, reading and removing what they
//! retain, counting.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::acts::{Proposal, RoomOrder};
use super::batch::Batch;
use super::command::{Page, PageOfRoom, RoomCounts, ServerPublish};
use super::idempotency::{FirstPublish, KeyReused};
use super::now::Now;
use super::room::Room;
use super::shard::Shard;
use crate::protocol::command::CommandError;
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::protocol::position::{Offset, Position};
use crate::protocol::publication::{Data, Publication, Publisher};

/// The rooms are counted again for a backend after this time.
const COUNTS_AGE_MAX: Duration = Duration::from_millis(500);

impl Shard {
    /// Publishes for an application. A repeat of a publish is answered with the position of the first.
    ///
    /// # Errors
    /// The key was used for another publish.
    pub(super) fn publish(
        &mut self,
        now: Now,
        publish: ServerPublish,
        batch: &mut Batch,
    ) -> Result<Option<Position>, KeyReused> {
        let ServerPublish { room: name, publisher, data, read_at, is_retained, key, .. } = publish;
        let keyed = key.map(|key| (key, self.epochs.fingerprint(&publisher, &data, is_retained)));
        if let Some((key, content)) = &keyed
            && let Some(first) = self.keys.first(now.instant, &name, key)
        {
            return if first.content == *content { Ok(Some(first.position)) } else { Err(KeyReused) };
        }
        let proposal = Proposal { publisher, data, read_at };
        let position = match is_retained {
            true => self.publish_in_order(now, &name, proposal, batch),
            false => self.publish_without_offset(now, &name, proposal, batch),
        };
        if let (Some((key, content)), Some(position)) = (keyed, position) {
            self.keys.remember(now.instant, &name, &key, FirstPublish { position, content });
        }
        self.reclaim_excess(now);
        Ok(position)
    }

    /// Publishes for a client that is no member.
    pub(super) fn publish_for_client(
        &mut self,
        now: Now,
        name: &RoomName,
        (publisher, data, read_at): (Arc<Publisher>, Data, Instant),
        batch: &mut Batch,
    ) {
        self.publish_in_order(now, name, Proposal { publisher, data, read_at }, batch);
        self.reclaim_excess(now);
    }

    /// Publishes in a room that has members or retains what is published; there is no other room to publish in.
    fn publish_in_order(
        &mut self,
        now: Now,
        name: &RoomName,
        proposal: Proposal,
        batch: &mut Batch,
    ) -> Option<Position> {
        let room = match self.rooms.entry(name.clone()) {
            Entry::Occupied(room) => room.into_mut(),
            Entry::Vacant(place) => {
                let limits = self.limits.of(name);
                if limits.history_messages_max == 0 {
                    return None;
                }
                place.insert(Room::new(self.epochs.draw(now, name), limits))
            }
        };
        Some(RoomOrder { name, room, history: &mut self.history }.propose(now, proposal, batch))
    }

    /// Publishes to the members of the moment, which do not miss it if they resume. Returns the room's position.
    fn publish_without_offset(
        &mut self,
        now: Now,
        name: &RoomName,
        Proposal { publisher, data, read_at }: Proposal,
        batch: &mut Batch,
    ) -> Option<Position> {
        let room = self.rooms.get_mut(name)?;
        let publication = Publication { offset: Offset(0), published_at: now.unix, publisher, data };
        let position = room.log.position();
        let event = Event::Published(name, position.epoch, &publication);
        batch.deliver(room.audiences_by_dialect(), &event, read_at);
        Some(position)
    }

    /// A part of what a room retains. A room that does not exist has no position.
    pub(super) fn page_of(&self, name: &RoomName, page: &Page) -> Result<PageOfRoom, CommandError> {
        let Some(room) = self.rooms.get(name) else { return Ok(PageOfRoom::default()) };
        let publications = self.publications(name, room, page)?.into_iter().cloned().collect();
        let position = Some(room.log.position());
        Ok(PageOfRoom { publications, position, forgotten: room.log.forgotten() })
    }

    /// Drops everything that a room retains. Its position stays while it has members.
    pub(super) fn remove_history(&mut self, name: &RoomName) {
        if let Some(room) = self.rooms.get_mut(name) {
            self.history.forget(name, &mut room.log);
            self.remove_unused(name);
        }
    }

    /// The rooms with members, and the number of the members of each, as they were within the last [`COUNTS_AGE_MAX`].
    /// Counting is linear in the rooms.
    pub(super) fn count_members(&mut self, now: Now) -> RoomCounts {
        if let Some((counted_at, counts)) = &self.counted
            && now.instant.saturating_duration_since(*counted_at) < COUNTS_AGE_MAX
        {
            return Arc::clone(counts);
        }
        let rooms = self.rooms.iter().filter(|(_, room)| room.has_members());
        let counts = Arc::new(rooms.map(|(name, room)| (name.clone(), room.member_count().members())).collect());
        self.counted = Some((now.instant, Arc::clone(&counts)));
        counts
    }
}
