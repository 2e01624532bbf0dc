//! One shard as a state machine: its rooms, and the commands that wait for writers. Never awaits anything, never knows a
//! socket.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::sync::Arc;
use std::time::Instant;

use super::batch::Batch;
use super::command::{Ack, Act, Join, Joined, MemberCommand, ReplyTo, Reservation, ShardCommand};
use super::listing_cache::{ListingBudget, ListingCache};
use super::now::Now;
use super::room::Room;
use super::room_limiter::RoomLimiter;
use super::waiting::WaitingRooms;
use crate::config::RoomLimits;
use crate::protocol::command::CommandError;
use crate::protocol::event::Event;
use crate::protocol::listing::Listing;
use crate::protocol::names::RoomName;
use crate::protocol::publication::{Data, Publication, Publisher};
use crate::writer::{Address, WriterIndex};

/// The table of rooms keeps space for this many, however few there are.
const ROOMS_KEPT: usize = 64;

/// What holds for all rooms of a shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardRules {
    /// The longest list that a client gets, in bytes.
    pub message_bytes_max: usize,
}

/// The rooms of one shard.
#[derive(Debug)]
pub struct Shard {
    /// Those in which a place is taken or reserved.
    rooms: HashMap<RoomName, Room, RandomState>,
    room_limiter: RoomLimiter,
    rules: ShardRules,
    listing_cache: ListingCache<RoomName>,
    listing_budget: ListingBudget,
    waiting: WaitingRooms,
}

impl Shard {
    /// A shard without rooms. All shards of a server share the random keys and the limiter.
    pub fn new(keys: RandomState, room_limiter: RoomLimiter, rules: ShardRules) -> Self {
        Self {
            rooms: HashMap::with_hasher(keys),
            room_limiter,
            rules,
            listing_cache: ListingCache::default(),
            listing_budget: ListingBudget::default(),
            waiting: WaitingRooms::default(),
        }
    }

    /// Returns the command if it may be handled now. A message to a room whose writers have too much to write is queued in
    /// the shard, with everything that must stay behind it, until [`Self::next_waiting`] returns it. `has_room` says whether
    /// a writer has room for a message to this many members.
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

    /// A command that has waited and may be handled now; the rooms take turns.
    pub fn next_waiting(&mut self, has_room: impl Fn(WriterIndex, usize) -> bool) -> Option<ShardCommand> {
        let Self { rooms, waiting, .. } = self;
        waiting.pop(|command| may_go(rooms, command, &has_room))
    }

    /// Whether commands wait for writers.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The number of rooms.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Handles one command and adds its output to the batch.
    pub fn step(&mut self, now: Now, command: ShardCommand, batch: &mut Batch) {
        batch.begin_command();
        match command {
            ShardCommand::Reserve(room, answer) => {
                let reserved = self.room_with_place(room, None).map(|(_, room)| room.reserved += 1);
                batch.acknowledge_later(Ack::Reserved(answer, reserved));
            }
            ShardCommand::Join(join, answer) => {
                let joined = self.join(join, batch);
                batch.acknowledge_later(Ack::Joined(answer, joined));
            }
            ShardCommand::Leave(room, address, answer) => {
                self.leave(&room, address);
                batch.acknowledge_later(Ack::Left(answer));
            }
            ShardCommand::Member(command) => self.member(now, command, batch),
            ShardCommand::Rooms(sent_at, answer) => {
                batch.acknowledge_later(Ack::Rooms(answer, self.listing(sent_at)));
            }
        }
    }

    fn join(&mut self, join: Join, batch: &mut Batch) -> Result<Joined, CommandError> {
        let Join { room: name, member, request, reservation } = join;
        if reservation == Reservation::Held {
            self.rooms.get_mut(&name).expect("a room with a reservation stays").reserved -= 1;
        }
        let (name, room) = self.room_with_place(name, Some(member.address))?;
        let reply_to = ReplyTo { address: member.address, dialect: member.dialect, request };
        batch.reply(reply_to, &Event::Joined(&name));
        let is_new = !room.has_members();
        room.join(member);
        let member_count = room.member_count();
        if is_new {
            self.listing_cache.invalidate();
        }
        Ok(Joined { room: name, member_count })
    }

    /// The room, created if there is none, if it has a place for one more member or contains this address. The name is the
    /// key in the map, for all its members to share.
    fn room_with_place(
        &mut self,
        name: RoomName,
        address: Option<Address>,
    ) -> Result<(RoomName, &mut Room), CommandError> {
        let RoomLimits { rooms_max, members_max } = self.room_limiter.limits;
        let entry = self.rooms.entry(name);
        let name = entry.key().clone();
        match entry {
            Entry::Occupied(room) => {
                let is_member = address.is_some_and(|address| room.get().contains(address));
                if room.get().places_taken() >= members_max && !is_member {
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

    /// Removes a member, and the room with its last member.
    fn leave(&mut self, name: &RoomName, address: Address) {
        let Some(room) = self.rooms.get_mut(name) else { return };
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

    /// Shrinks the table after a peak. Constant time, amortised.
    fn shrink(&mut self) {
        let kept = ROOMS_KEPT.max(2 * self.rooms.len());
        if self.rooms.capacity() > 4 * kept {
            self.rooms.shrink_to(kept);
        }
    }

    /// The rooms with members; up to `LIST_AGE_MAX` old if the budget is spent.
    fn listing(&mut self, now: Instant) -> Arc<Listing<RoomName>> {
        let rooms = &self.rooms;
        let names = || rooms.iter().filter(|(_, room)| room.has_members()).map(|(name, _)| name.clone()).collect();
        self.listing_cache.get(now, &mut self.listing_budget, names)
    }

    fn member(&mut self, now: Now, command: MemberCommand, batch: &mut Batch) {
        let MemberCommand { room: name, from, act, .. } = command;
        let act = match act {
            Act::Reply(bytes) => return batch.reply_encoded(from.address, bytes),
            act => act,
        };
        let room = self.rooms.get_mut(&name);
        let Some((member, room)) = room.and_then(|room| Some((Arc::clone(room.member(from.address)?), room))) else {
            return batch.reply(from, &Event::JoinFirst);
        };
        match act {
            Act::Publish(data, read_at) => apply(now, &name, room, member, data, read_at, batch),
            Act::Rename(publisher) => {
                batch.reply(from, &Event::Named(&publisher.label));
                room.rename(from.address, publisher);
            }
            Act::Members(asked_at) => {
                let labels = room.labels(asked_at, &mut self.listing_budget).including(&member.label);
                let prefix_bytes = "Members of : ".len() + name.as_str().len();
                let labels = labels.truncated_to(self.rules.message_bytes_max.saturating_sub(prefix_bytes));
                batch.reply(from, &Event::Members(&name, &labels));
            }
            Act::Reply(_) => unreachable!("it was handled above"),
        }
    }
}

/// Gives data its place in the order of its room, and fans it out.
fn apply(
    now: Now,
    name: &RoomName,
    room: &mut Room,
    publisher: Arc<Publisher>,
    data: Data,
    read_at: Instant,
    batch: &mut Batch,
) {
    let publication = Publication { offset: room.next_offset(), published_at: now.unix, publisher, data };
    batch.deliver(room.audiences_by_dialect(), &Event::Published(name, &publication), read_at);
}

/// Whether the writers have room for the output of a command: for a message all writers of its room, for a reply the
/// client's writer, which then only needs memory. Every other command may always go.
fn may_go(
    rooms: &HashMap<RoomName, Room, RandomState>,
    command: &ShardCommand,
    has_room: &impl Fn(WriterIndex, usize) -> bool,
) -> bool {
    match command {
        ShardCommand::Member(MemberCommand { room, act: Act::Publish(..), .. }) => {
            let audiences = rooms.get(room).map_or(&[][..], Room::audiences);
            audiences.iter().all(|audience| has_room(audience.writer, audience.members()))
        }
        ShardCommand::Member(MemberCommand { from, .. }) => has_room(from.address.writer, 0),
        _ => true,
    }
}
