//! One shard: the only task that touches its rooms. Never awaits a client, never knows a socket.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::yield_now;

use super::batch::Batch;
use super::capacity::Capacity;
use super::command::{Ack, Joined, Publish, Seat, ShardCommand};
use super::handle::ShardMailbox;
use super::metrics::ShardMetrics;
use super::picture::{Effort, Picture};
use super::room::{Member, Room};
use crate::config::RoomLimits;
use crate::fault;
use crate::memory::{Need, Needs};
use crate::protocol::command::Refusal;
use crate::protocol::event::{Event, Listing};
use crate::protocol::names::RoomName;
use crate::writer::Address;
use crate::writer::handle::BatchSender;

/// About what a room takes in memory beside its members.
const ROOM_BYTES: usize = 1_000;

/// The table of rooms keeps space for this many, however few there are.
const ROOMS_KEPT: usize = 64;

/// The rooms of one shard.
#[derive(Debug)]
pub struct Shard {
    /// Those with a seat that is taken or held.
    rooms: HashMap<RoomName, Room, RandomState>,
    capacity: Capacity,
    picture: Picture<RoomName>,
    effort: Effort,
}

impl Shard {
    /// A shard without rooms. All maps of a server are keyed alike, at random, and its shards share the capacity.
    pub fn new(keys: RandomState, capacity: Capacity) -> Self {
        Self { rooms: HashMap::with_hasher(keys), capacity, picture: Picture::default(), effort: Effort::default() }
    }

    /// Handles one command, adding to the batch what it leads to.
    pub fn step(&mut self, command: ShardCommand, batch: &mut Batch) {
        batch.begin_command();
        match command {
            ShardCommand::Hold { room, ack } => {
                let held = self.seat(room, None).map(|(_, room)| room.hold());
                batch.acknowledge_later(Ack::Held(ack, held));
            }
            ShardCommand::Join { room, member, seat, ack } => {
                let joined = self.join(room, member, seat, batch);
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
                let labels = room.map(|room| room.labels(asked_at, &mut self.effort)).unwrap_or_default();
                batch.acknowledge_later(Ack::Members(ack, labels));
            }
            ShardCommand::Rooms { asked_at, ack } => {
                batch.acknowledge_later(Ack::Rooms(ack, self.listing(asked_at)));
            }
            ShardCommand::Fence { ack } => batch.acknowledge_later(Ack::Done(ack)),
        }
    }

    fn join(&mut self, name: RoomName, member: Member, seat: Seat, batch: &mut Batch) -> Result<Joined, Refusal> {
        if seat == Seat::Held {
            self.rooms.get_mut(&name).expect("it has a seat that is held").release();
        }
        let (name, room) = self.seat(name, Some(member.address))?;
        batch.reply(member.address, member.dialect, &Event::Joined(&name));
        let is_new = !room.has_members();
        room.join(member);
        let population = room.population();
        if is_new {
            self.picture.outdate();
        }
        Ok(Joined { room: name, population })
    }

    /// The room, made if there is none, with a seat for one more; or for this address, if it has one already. The name is
    /// the key in the map: the one for all its members to share.
    fn seat(&mut self, name: RoomName, address: Option<Address>) -> Result<(RoomName, &mut Room), Refusal> {
        let RoomLimits { rooms_max, members_max } = self.capacity.limits();
        let entry = self.rooms.entry(name);
        let name = entry.key().clone();
        match entry {
            Entry::Occupied(room) => {
                let has_one = address.is_some_and(|address| room.get().has(address));
                if room.get().seats() >= members_max && !has_one {
                    return Err(Refusal::TooManyMembers { room: name, members_max });
                }
                Ok((name, room.into_mut()))
            }
            Entry::Vacant(_) if !self.capacity.take_room() => Err(Refusal::TooManyRooms { room: name, rooms_max }),
            Entry::Vacant(vacant) => Ok((name, vacant.insert(Room::default()))),
        }
    }

    /// The last one out closes the room.
    fn leave(&mut self, name: &RoomName, address: Address) {
        if let Some(room) = self.rooms.get_mut(name) {
            room.leave(address);
            if !room.has_members() {
                self.picture.outdate();
            }
            if room.seats() == 0 {
                self.rooms.remove(name);
                self.capacity.give_room_back();
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
        self.picture.show(now, &mut self.effort, names)
    }

    fn publish(&mut self, Publish { room, address, dialect, text, read_at }: &Publish, batch: &mut Batch) {
        let room = self.rooms.get_mut(room);
        let Some((room, (offset, label))) = room.and_then(|room| room.speak(*address).map(|spoken| (room, spoken)))
        else {
            return batch.reply(*address, *dialect, &Event::JoinFirst);
        };
        batch.deliver(room.audiences_by_dialect(), &Event::Message { offset, label: &label, text }, *read_at);
    }
}

/// The task of one shard.
pub struct ShardTask {
    shard: Shard,
    mailbox: ShardMailbox,
    /// By `WriterIndex`.
    writers: Vec<BatchSender>,
    metrics: Arc<ShardMetrics>,
    need: Need,
}

impl ShardTask {
    /// A shard without rooms, told through `mailbox`.
    pub fn new(mailbox: ShardMailbox, writers: Vec<BatchSender>, metrics: Arc<ShardMetrics>, needs: &Needs) -> Self {
        let shard = Shard::new(mailbox.keys(), mailbox.capacity());
        Self { shard, mailbox, writers, metrics, need: needs.part() }
    }

    /// Works until every handle is gone and the mailbox is empty.
    pub async fn run(mut self) {
        let mut batch = Batch::new(self.writers.len());
        while let Some(command) = self.mailbox.next().await {
            fault::may_strike("shard");
            self.shard.step(command, &mut batch);
            while !batch.is_full()
                && let Some(command) = self.mailbox.try_next()
            {
                self.shard.step(command, &mut batch);
            }
            // Told before the writers are: they may keep the shard waiting.
            self.metrics.mailbox_commands.set(self.mailbox.waiting() as u64);
            for (writer, entries) in batch.take_entries() {
                self.writers[usize::from(writer.0)].deliver(entries).await;
            }
            batch.take_acks().for_each(Ack::fire);
            self.count(&mut batch);
            yield_now().await;
        }
    }

    fn count(&mut self, batch: &mut Batch) {
        let now = Instant::now();
        for read_at in batch.take_read_times() {
            self.metrics.published.add(1);
            self.metrics.fanned_out.record(now.saturating_duration_since(read_at), 1);
        }
        let rooms = self.shard.rooms.len();
        self.metrics.rooms.set(rooms as u64);
        self.need.set(rooms * ROOM_BYTES);
    }
}
