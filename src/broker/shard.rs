//! One shard as a state machine: its rooms, and the commands that wait for their writers. Never awaits anything, never knows
//! a socket.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::sync::Arc;
use std::time::Instant;

use super::batch::Batch;
use super::command::{Ack, Joined, Publish, Reservation, ShardCommand};
use super::listing_cache::{ListingBudget, ListingCache};
use super::room::{Member, Room};
use super::room_limiter::RoomLimiter;
use super::waiting::WaitingRooms;
use crate::config::RoomLimits;
use crate::protocol::command::CommandError;
use crate::protocol::event::{Event, Listing};
use crate::protocol::names::RoomName;
use crate::writer::{Address, WriterIndex};

/// The table of rooms keeps space for this many, however few there are.
const ROOMS_KEPT: usize = 64;

/// The rooms of one shard.
#[derive(Debug)]
pub struct Shard {
    /// Those with a seat that is taken or held.
    rooms: HashMap<RoomName, Room, RandomState>,
    room_limiter: RoomLimiter,
    listing_cache: ListingCache<RoomName>,
    listing_budget: ListingBudget,
    waiting: WaitingRooms,
}

impl Shard {
    /// A shard without rooms. All maps of a server are keyed alike, at random, and its shards share the capacity.
    pub fn new(keys: RandomState, room_limiter: RoomLimiter) -> Self {
        Self {
            rooms: HashMap::with_hasher(keys),
            room_limiter,
            listing_cache: ListingCache::default(),
            listing_budget: ListingBudget::default(),
            waiting: WaitingRooms::default(),
        }
    }

    /// The command, if it may be handled now. A message to a room whose writers have more to write than they should waits
    /// in the shard, and so does everything that must stay behind it; `next_waiting` has it when its time has come.
    /// `has_room` says whether a writer has room for a message to so many members.
    pub fn admit(
        &mut self,
        command: ShardCommand,
        has_room: impl Fn(WriterIndex, usize) -> bool,
    ) -> Option<ShardCommand> {
        let Some((room, sender)) = command.of_member() else { return Some(command) };
        let must_wait = !self.waiting.is_empty() && self.waiting.must_wait_behind(room, sender, &command);
        if must_wait || !may_go(&self.rooms, &command, &has_room) {
            self.waiting.push(room.clone(), sender, command);
            return None;
        }
        Some(command)
    }

    /// A command that has waited and may be handled now, the rooms by turns.
    pub fn next_waiting(&mut self, has_room: impl Fn(WriterIndex, usize) -> bool) -> Option<ShardCommand> {
        let Self { rooms, waiting, .. } = self;
        waiting.pop(|command| may_go(rooms, command, &has_room))
    }

    /// Whether commands wait for their writers.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many rooms there are.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Handles one command, adding to the batch what it leads to.
    pub fn step(&mut self, command: ShardCommand, batch: &mut Batch) {
        batch.begin_command();
        match command {
            ShardCommand::Reserve { room, ack } => {
                let reserved = self.reservation(room, None).map(|(_, room)| room.reserve());
                batch.acknowledge_later(Ack::Reserved(ack, reserved));
            }
            ShardCommand::Join { room, member, reservation, ack } => {
                let joined = self.join(room, member, reservation, batch);
                batch.acknowledge_later(Ack::Joined(ack, joined));
            }
            ShardCommand::Leave { room, address, ack } => {
                self.leave(&room, address);
                batch.acknowledge_later(Ack::Done(ack));
            }
            ShardCommand::Publish(publish) => self.publish(&publish, batch),
            ShardCommand::Rename { room, address, label } => {
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.rename(address, label);
                }
            }
            ShardCommand::Who { room, asked_at, ack } => {
                let room = self.rooms.get_mut(&room);
                let labels = room.map(|room| room.labels(asked_at, &mut self.listing_budget)).unwrap_or_default();
                batch.acknowledge_later(Ack::Members(ack, labels));
            }
            ShardCommand::Rooms { asked_at, ack } => {
                batch.acknowledge_later(Ack::Rooms(ack, self.listing(asked_at)));
            }
            ShardCommand::Reply { address, bytes, .. } => batch.reply_encoded(address, bytes),
        }
    }

    fn join(
        &mut self,
        name: RoomName,
        member: Member,
        reservation: Reservation,
        batch: &mut Batch,
    ) -> Result<Joined, CommandError> {
        if reservation == Reservation::Held {
            self.rooms.get_mut(&name).expect("it has a reservation that is reserved").release();
        }
        let (name, room) = self.reservation(name, Some(member.address))?;
        batch.reply(member.address, member.dialect, &Event::Joined(&name));
        let is_new = !room.has_members();
        room.join(member);
        let member_count = room.member_count();
        if is_new {
            self.listing_cache.invalidate();
        }
        Ok(Joined { room: name, member_count })
    }

    /// The room, made if there is none, with a seat for one more; or for this address, if it has one already. The name is
    /// the key in the map: the one for all its members to share.
    fn reservation(&mut self, name: RoomName, address: Option<Address>) -> Result<(RoomName, &mut Room), CommandError> {
        let RoomLimits { rooms_max, members_max } = self.room_limiter.limits();
        let entry = self.rooms.entry(name);
        let name = entry.key().clone();
        match entry {
            Entry::Occupied(room) => {
                let has_one = address.is_some_and(|address| room.get().contains(address));
                if room.get().places_taken() >= members_max && !has_one {
                    return Err(CommandError::TooManyMembers { room: name, members_max });
                }
                Ok((name, room.into_mut()))
            }
            Entry::Vacant(_) if !self.room_limiter.take_room() => {
                Err(CommandError::TooManyRooms { room: name, rooms_max })
            }
            Entry::Vacant(vacant) => Ok((name, vacant.insert(Room::default()))),
        }
    }

    /// The last one out closes the room.
    fn leave(&mut self, name: &RoomName, address: Address) {
        if let Some(room) = self.rooms.get_mut(name) {
            room.leave(address);
            if !room.has_members() {
                self.listing_cache.invalidate();
            }
            if room.places_taken() == 0 {
                self.rooms.remove(name);
                self.room_limiter.release_room();
                self.shrink();
            }
        }
    }

    /// What ever was the most is not kept for ever. Constant time, amortised.
    fn shrink(&mut self) {
        let kept = ROOMS_KEPT.max(2 * self.rooms.len());
        if self.rooms.capacity() > 4 * kept {
            self.rooms.shrink_to(kept);
        }
    }

    /// Those with members, as they were a moment ago if too many were asked for of late.
    fn listing(&mut self, now: Instant) -> Arc<Listing<RoomName>> {
        let rooms = &self.rooms;
        let names = || rooms.iter().filter(|(_, room)| room.has_members()).map(|(name, _)| name.clone()).collect();
        self.listing_cache.get(now, &mut self.listing_budget, names)
    }

    fn publish(&mut self, publish: &Publish, batch: &mut Batch) {
        let Publish { room, address, dialect, text, read_at, .. } = publish;
        let room = self.rooms.get_mut(room);
        let Some((room, (offset, label))) = room.and_then(|room| room.publish(*address).map(|spoken| (room, spoken)))
        else {
            return batch.reply(*address, *dialect, &Event::JoinFirst);
        };
        batch.deliver(room.audiences_by_dialect(), &Event::Message { offset, label: &label, text }, *read_at);
    }
}

/// Whether the writers that a command leads to have room for it: those of its room for a message, that of its client for
/// an answer, as far as memory is concerned. Everything else may always go.
fn may_go(
    rooms: &HashMap<RoomName, Room, RandomState>,
    command: &ShardCommand,
    has_room: &impl Fn(WriterIndex, usize) -> bool,
) -> bool {
    match command {
        ShardCommand::Publish(publish) => {
            let audiences = rooms.get(&publish.room).map_or(&[][..], Room::audiences);
            audiences.iter().all(|audience| has_room(audience.writer, audience.members()))
        }
        ShardCommand::Reply { address, .. } => has_room(address.writer, 0),
        _ => true,
    }
}
