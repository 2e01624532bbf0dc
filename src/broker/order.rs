//! How a publication gets its place in the order of a room.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use super::batch::Batch;
use super::cluster::{Cluster, NextEntry};
use super::history::History;
use super::log::RoomLog;
use super::now::Now;
use super::room::Room;
use crate::config::LimitsOfRoom;
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::protocol::position::{Epoch, Offset, Position, UnixMillis};
use crate::protocol::publication::{Data, Publication, Publisher};

/// Draws the epochs of rooms.
#[derive(Debug)]
pub(super) struct Epochs {
    keys: RandomState,
    /// Epochs that were drawn so far, so that no two are alike.
    created: u64,
}

/// The order of one room, and what is remembered of it.
pub(super) struct RoomOrder<'a> {
    pub name: &'a RoomName,
    pub room: &'a mut Room,
    pub history: &'a mut History,
}

/// A publication that has no place in the order yet.
pub(super) struct Proposal {
    pub publisher: Arc<Publisher>,
    pub data: Data,
    /// When the data was read from its publisher's socket, or came from another node.
    pub read_at: Instant,
}

/// A place in the order of a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub offset: Offset,
    /// When the publication got its place.
    pub at: Instant,
    /// The same, to be shown.
    pub published_at: UnixMillis,
}

impl Epochs {
    /// Epochs from the random keys of the server.
    pub fn new(keys: RandomState) -> Self {
        Self { keys, created: 0 }
    }

    /// The epoch of a room that is created now.
    pub fn draw(&mut self, now: Now, room: &RoomName) -> Epoch {
        self.created += 1;
        Epoch::new(now.unix, self.keys.hash_one((room, self.created)))
    }

    /// What tells two publishes apart.
    pub fn fingerprint(&self, publisher: &Publisher, data: &Data, is_retained: bool) -> u64 {
        self.keys.hash_one((data, &publisher.kind, is_retained))
    }
}

/// A room without members. In a cluster its log begins where the node is, before the next entry for the room.
pub(super) fn new_room(
    now: Now,
    name: &RoomName,
    (epochs, cluster): (&mut Epochs, Option<&Cluster>),
    limits: Arc<LimitsOfRoom>,
    next: NextEntry,
) -> Room {
    let Some(cluster) = cluster else { return Room::new(epochs.draw(now, name), limits) };
    let begin = cluster.log_begin(limits.history_messages_max > 0, next);
    Room::with_log(RoomLog::beginning_at(cluster.epoch(), begin, limits))
}

impl RoomOrder<'_> {
    /// Publishes at once at the next place: a server that is alone is the order of its rooms.
    pub fn publish(self, now: Now, proposal: Proposal, batch: &mut Batch) -> Position {
        let offset = self.room.log.next_offset();
        self.apply(Place { offset, at: now.instant, published_at: now.unix }, proposal, batch)
    }

    /// Gives a publication its place in the order, fans it out and remembers it. Nothing else changes what was published.
    pub fn apply(self, Place { offset, at, published_at }: Place, proposal: Proposal, batch: &mut Batch) -> Position {
        let Self { name, room, history } = self;
        let Proposal { publisher, data, read_at } = proposal;
        let publication = Publication { offset, published_at, publisher, data };
        let epoch = room.log.position().epoch;
        batch.deliver(room.audiences_by_dialect(), &Event::Published(name, epoch, &publication), read_at);
        history.append(name, &mut room.log, publication, at);
        room.log.position()
    }
}
