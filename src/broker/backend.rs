//! What the backend of an application does with rooms, in which it is no member: publishing, reading and removing what they
//! retain, counting.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answers::{Ack, Answer, PublishError};
use super::batch::Batch;
use super::cluster::{NextEntry, Outstanding, Waiter};
use super::command::{Page, PageOfRoom, ReplyTo, RoomCounts, ServerPublish};
use super::idempotency::{FirstPublish, KeyReused};
use super::in_flight::InFlightPermit;
use super::log::LogBegin;
use super::now::Now;
use super::order::{Place, Proposal, RoomOrder, new_room};
use super::shard::Shard;
use crate::backplane::entry::Publish;
use crate::protocol::command::CommandError;
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::protocol::position::{Offset, Position};
use crate::protocol::publication::{Data, Publication, Publisher};

/// The rooms are counted again for a backend after this time.
const COUNTS_AGE_MAX: Duration = Duration::from_millis(500);

impl Shard {
    /// Publishes for an application. A repeat of a publish is answered with the position of the first.
    pub(super) fn publish(
        &mut self,
        now: Now,
        publish: ServerPublish,
        answer: Answer<Result<Option<Position>, PublishError>>,
        batch: &mut Batch,
    ) {
        let ServerPublish { room, publisher, data, read_at, is_retained, key, permit } = publish;
        let publish = Publish { room, publisher, data, is_retained, key };
        if self.cluster.is_some() {
            let outstanding = Outstanding { waiter: Waiter::Backend(answer), read_at, _permit: permit };
            return self.propose(publish, outstanding, batch);
        }
        let published = self.publish_keyed(now, publish, (now.instant, None), read_at, batch);
        batch.acknowledge_later(Ack::Published(answer, published.map_err(PublishError::from)));
    }

    /// Publishes once for each key, in a cluster at a place of the stream. The time is by which keys age.
    ///
    /// # Errors
    /// The key was used for another publish.
    pub(super) fn publish_keyed(
        &mut self,
        now: Now,
        publish: Publish,
        (at, place): (Instant, Option<Place>),
        read_at: Instant,
        batch: &mut Batch,
    ) -> Result<Option<Position>, KeyReused> {
        let Publish { room: name, publisher, data, is_retained, key } = publish;
        let keyed = key.map(|key| (key, self.epochs.fingerprint(&publisher, &data, is_retained)));
        if let Some((key, content)) = &keyed
            && let Some(first) = self.keys.first(at, &name, key)
        {
            return if first.content == *content { Ok(Some(first.position)) } else { Err(KeyReused) };
        }
        let proposal = Proposal { publisher, data, read_at };
        let position = match is_retained {
            true => self.publish_in_order(now, &name, proposal, place, batch),
            false => self.publish_without_offset(now, &name, proposal, batch),
        };
        // In a cluster it has a place also where no room is, and all nodes remember the key.
        let here = self.cluster.as_ref().zip(place);
        let here = here.map(|(cluster, place)| Position { epoch: cluster.epoch(), offset: place.offset });
        let position = position.or(here);
        if let (Some((key, content)), Some(position)) = (keyed, position) {
            self.keys.remember(at, &name, &key, FirstPublish { position, content });
        }
        self.reclaim_excess(now);
        Ok(position)
    }

    /// Publishes for a client that is no member.
    pub(super) fn publish_for_client(
        &mut self,
        now: Now,
        name: RoomName,
        (publisher, data, read_at): (Arc<Publisher>, Data, Instant),
        (from, permit): (ReplyTo, Option<InFlightPermit>),
        batch: &mut Batch,
    ) {
        let proposal = Proposal { publisher, data, read_at };
        if self.cluster.is_some() {
            let outstanding = Outstanding { waiter: Waiter::Outsider(from), read_at, _permit: permit };
            return self.propose(Publish::of(name, proposal), outstanding, batch);
        }
        self.publish_in_order(now, &name, proposal, None, batch);
        self.reclaim_excess(now);
        batch.reply(from, &Event::Accepted);
    }

    /// Publishes in a room that has members or retains what is published; there is no other room to publish in.
    fn publish_in_order(
        &mut self,
        now: Now,
        name: &RoomName,
        proposal: Proposal,
        place: Option<Place>,
        batch: &mut Batch,
    ) -> Option<Position> {
        let room = match self.rooms.entry(name.clone()) {
            Entry::Occupied(room) => room.into_mut(),
            Entry::Vacant(vacant) => {
                let limits = self.limits.of(name);
                if limits.history_messages_max == 0 {
                    return None;
                }
                let order = (&mut self.epochs, self.cluster.as_ref());
                let next = NextEntry(place.map(|place| place.offset));
                vacant.insert(new_room(now, name, order, limits, next))
            }
        };
        let order = RoomOrder { name, room, history: &mut self.history };
        Some(match place {
            Some(place) => order.apply(place, proposal, batch),
            None => order.publish(now, proposal, batch),
        })
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

    /// A part of what a room retains.
    pub(super) fn page_of(&mut self, name: &RoomName, page: &Page) -> Result<PageOfRoom, CommandError> {
        let Some(room) = self.rooms.get(name) else { return self.page_of_nothing(name, page) };
        let publications = self.publications(name, room, page)?.into_iter().cloned().collect();
        let position = Some(self.position_of(name));
        Ok(PageOfRoom { publications, position, forgotten: room.log.forgotten() })
    }

    /// The page of a room that is not here. Only in a cluster it has a position: it may have been on another node.
    pub(super) fn page_of_nothing(&mut self, name: &RoomName, page: &Page) -> Result<PageOfRoom, CommandError> {
        let Some(cluster) = &self.cluster else { return Ok(PageOfRoom::default()) };
        let epoch = cluster.epoch();
        if page.since.is_some_and(|since| since.epoch.is_some_and(|since| since != epoch)) {
            return Err(CommandError::Unrecoverable { room: name.clone() });
        }
        let is_retaining = self.limits.of(name).history_messages_max > 0;
        let LogBegin { forgotten, last } = cluster.log_begin(is_retaining, self.waiting.next_entry(name));
        let position = Some(Position { epoch, offset: last });
        Ok(PageOfRoom { publications: Vec::new(), position, forgotten })
    }

    /// Drops everything that a room retains. Its position stays while it has members.
    pub(super) fn remove_history(
        &mut self,
        name: RoomName,
        answer: Answer<Result<(), CommandError>>,
        batch: &mut Batch,
    ) {
        if self.cluster.is_some() {
            return self.propose_removal(name, answer, batch);
        }
        self.forget_history(&name);
        batch.acknowledge_later(Ack::Removed(answer, Ok(())));
    }

    pub(super) fn forget_history(&mut self, name: &RoomName) {
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
