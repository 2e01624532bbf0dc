//! One shard as a state machine: its rooms, what they remember, and the commands that wait for writers. Never awaits
//! anything, never knows a socket.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::sync::Arc;
use std::time::Instant;

use super::answers::Ack;
use super::batch::Batch;
use super::cluster::{Cluster, ClusterLink};
use super::command::{Farewell, Join, Joined, Reservation, Reserved, RoomCounts, ShardCommand, Viewer};
use super::history::{Evicted, History, Reclaimed};
use super::idempotency::SeenKeys;
use super::limits::{RuledLimits, ShardRules};
use super::listing_cache::{ListingBudget, ListingCache};
use super::log::{ROOM_BYTES, Retained};
use super::now::Now;
use super::order::{Epochs, new_room};
use super::presence::PresenceEvents;
use super::replays::Replays;
use super::room::Room;
use super::room_limiter::RoomLimiter;
use super::waiting::{WaitingJoins, WaitingRooms};
use crate::protocol::command::CommandError;
use crate::protocol::listing::Listing;
use crate::protocol::names::RoomName;
use crate::protocol::position::Since;
use crate::writer::Address;

/// The table of rooms keeps space for this many, however few there are.
const ROOMS_KEPT: usize = 64;

/// The rooms of one shard.
#[derive(Debug)]
pub struct Shard {
    /// Those in which a place is taken or reserved, and those that remember something.
    pub(super) rooms: HashMap<RoomName, Room, RandomState>,
    /// The rooms in which a place is taken or reserved.
    active_rooms: usize,
    pub(super) epochs: Epochs,
    /// `None` where the server is alone.
    pub(super) cluster: Option<Cluster>,
    /// The longest list that a client gets, in bytes.
    pub(super) message_bytes_max: usize,
    /// The most publications that a client gets at once, and the most bytes of them.
    pub(super) recovery_messages_max: usize,
    pub(super) replay_bytes_max: usize,
    pub(super) limits: RuledLimits,
    room_limiter: RoomLimiter,
    /// By [`Viewer`].
    listing_caches: [ListingCache<RoomName>; Viewer::COUNT],
    pub(super) listing_budget: ListingBudget,
    pub(super) history: History,
    pub(super) replays: Replays,
    pub(super) keys: SeenKeys,
    pub(super) recoveries: Recoveries,
    /// The members of all rooms for a backend, and when they were counted.
    pub(super) counted: Option<(Instant, RoomCounts)>,
    /// When somebody last looked for the busiest rooms.
    pub(super) last_look: Option<Instant>,
    pub(super) presence: PresenceEvents,
    pub(super) waiting: WaitingRooms,
    pub(super) waiting_joins: WaitingJoins,
}

/// The joins with a position, by what came of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recoveries {
    /// The client got everything that it had missed.
    pub recovered: u64,
    /// The client was told that this cannot be had.
    pub unrecovered: u64,
}

impl Shard {
    /// A shard without rooms. All shards of a server share the random keys and the limiter.
    pub fn new(keys: RandomState, room_limiter: RoomLimiter, rules: ShardRules) -> Self {
        Self {
            epochs: Epochs::new(keys.clone()),
            cluster: None,
            rooms: HashMap::with_hasher(keys),
            active_rooms: 0,
            message_bytes_max: rules.message_bytes_max,
            recovery_messages_max: rules.history.recovery_messages_max,
            replay_bytes_max: rules.replay_bytes_max,
            limits: RuledLimits::new(rules.rooms),
            room_limiter,
            listing_caches: Default::default(),
            listing_budget: ListingBudget::default(),
            history: History::new(rules.history.budget),
            replays: Replays::default(),
            keys: SeenKeys::default(),
            recoveries: Recoveries::default(),
            counted: None,
            last_look: None,
            presence: PresenceEvents::new(rules.presence_events_members_max),
            waiting: WaitingRooms::default(),
            waiting_joins: WaitingJoins::default(),
        }
    }

    /// The same shard as a part of a cluster.
    pub(super) fn in_cluster(self, link: ClusterLink) -> Self {
        let presence = self.presence.signalling(link.proposer.clone());
        Self { cluster: Some(Cluster::new(link, Now::read())), presence, ..self }
    }

    /// The number of rooms that have members, or places reserved for some.
    pub fn active_rooms(&self) -> usize {
        self.active_rooms
    }

    /// What all rooms remember.
    pub fn retained(&self) -> Retained {
        self.history.retained()
    }

    /// What the rooms remember no more.
    pub fn evicted(&self) -> Evicted {
        self.history.evicted()
    }

    /// The joins with a position so far.
    pub fn recoveries(&self) -> Recoveries {
        self.recoveries
    }

    /// The memory of rooms beside their members, and of what they remember, in bytes, roughly.
    pub(super) fn memory_bytes(&self) -> usize {
        let remembered = self.history.retained().bytes + self.keys.bytes() + self.replays.bytes();
        self.active_rooms * ROOM_BYTES + remembered + self.limits.bytes()
    }

    /// Handles one command and adds its output to the batch.
    pub fn step(&mut self, now: Now, command: ShardCommand, batch: &mut Batch) {
        batch.begin_command();
        let Some(cluster) = &mut self.cluster else { return self.execute(now, command, batch) };
        if let Some(command) = cluster.admit(command, &self.waiting) {
            self.execute(now, command, batch);
        }
    }

    pub(super) fn execute(&mut self, now: Now, command: ShardCommand, batch: &mut Batch) {
        match command {
            ShardCommand::Member(command) => self.member(now, command, batch),
            ShardCommand::Reserve(room, since, answer) => {
                let reserved = self.reserve(now, room, since);
                batch.acknowledge_later(Ack::Reserved(answer, reserved));
            }
            ShardCommand::Join(join, answer) => {
                let joined = self.join(now, join, batch);
                batch.acknowledge_later(Ack::Joined(answer, joined));
            }
            ShardCommand::Leave(room, address, farewell, answer) => {
                self.leave(&room, address, farewell, batch);
                batch.acknowledge_later(Ack::Done(answer));
            }
            ShardCommand::Rules(rules, answer) => {
                self.apply_rules(now, rules);
                batch.acknowledge_later(Ack::Done(answer));
            }
            ShardCommand::Publish(publish, answer) => self.publish(now, *publish, answer, batch),
            ShardCommand::Presence(room, peers, answer) => {
                batch.acknowledge_later(Ack::Presence(answer, self.members_of(&room, &peers)));
            }
            ShardCommand::PresenceCount(room, peers, answer) => {
                batch.acknowledge_later(Ack::PresenceCount(answer, self.presence_count(&room, &peers)));
            }
            ShardCommand::Peer(command) => self.obey_peer(command, batch),
            ShardCommand::Page(room, page, answer) => {
                batch.acknowledge_later(Ack::Page(answer, self.page_of(&room, &page)));
            }
            ShardCommand::RemoveHistory(room, answer) => self.remove_history(room, answer, batch),
            ShardCommand::Placed(placed) => self.follow(now, placed, batch),
            ShardCommand::CountMembers(answer) => {
                batch.acknowledge_later(Ack::Counted(answer, self.count_members(now)));
            }
            ShardCommand::Busiest(answer) => batch.acknowledge_later(Ack::Busiest(answer, self.busiest(now))),
            ShardCommand::Rooms(sent_at, viewer, answer) => {
                batch.acknowledge_later(Ack::Rooms(answer, self.listing(sent_at, viewer)));
            }
        }
    }

    /// Whether a sweep may have something to do.
    pub fn needs_sweep(&self) -> bool {
        let is_remembering = self.history.rooms() > 0 || !self.keys.is_empty() || !self.replays.is_empty();
        is_remembering || self.counted.is_some() || self.presence.is_due() || self.limits.have_outdated()
    }

    /// Drops what is too old, and tells the rooms with many members how many there are. To be called once a second. True
    /// if [`Self::continue_sweep`] is due after other commands have had their turn.
    pub fn sweep(&mut self, now: Now, batch: &mut Batch) -> bool {
        batch.begin_command();
        self.expire_keys(now);
        self.replays.forget();
        self.counted = None;
        self.presence.tell_counts(&mut self.rooms, batch);
        self.continue_sweep(now)
    }

    /// Applies new rules to more rooms and drops more of what is too old. True if there is more to do.
    pub fn continue_sweep(&mut self, now: Now) -> bool {
        let is_outdated = self.update_limits();
        self.reclaim(now) || is_outdated
    }

    /// Drops publications that are too old or over the budget, and the rooms that were kept for them alone.
    pub(super) fn reclaim(&mut self, now: Now) -> bool {
        let Reclaimed { emptied, has_more } = self.history.reclaim(now.instant, &mut self.rooms, |room| &mut room.log);
        emptied.iter().for_each(|room| self.remove_unused(room));
        has_more
    }

    fn reserve(&mut self, now: Now, name: RoomName, since: Option<Since>) -> Result<Reserved, CommandError> {
        let (messages_max, bytes_max) = (self.recovery_messages_max, self.replay_bytes_max);
        let (name, room) = self.room_with_place(now, name, None)?;
        room.reserved += 1;
        let since = since.map(|since| self.within_log(&name, since));
        let log = &self.rooms[&name].log;
        let missed = since.and_then(|since| log.missed_since(since, messages_max, bytes_max).ok());
        let missed = missed.map(|missed| missed.cloned().collect());
        let position = self.position_of(&name);
        let reserved = Reserved { position, is_recoverable: log.is_retaining(), missed };
        match since {
            None => {}
            Some(_) if reserved.missed.is_some() => self.recoveries.recovered += 1,
            Some(_) => self.recoveries.unrecovered += 1,
        }
        Ok(reserved)
    }

    fn join(&mut self, now: Now, mut join: Join, batch: &mut Batch) -> Result<Joined, CommandError> {
        let (address, name) = (join.member.address, join.room.clone());
        let (name, room) = match join.reservation {
            Reservation::None => self.room_with_place(now, name, Some(address))?,
            Reservation::Held => self.room_with_reservation(name),
        };
        let (publisher, is_new) = (Arc::clone(&join.member.publisher), !room.has_members());
        if let Err(error) = self.welcome(&name, &mut join, batch) {
            if self.rooms.get(&name).is_some_and(|room| room.places_taken() == 0) {
                self.vacated(&name);
            }
            return Err(error);
        }
        let room = self.rooms.get_mut(&name).expect("it was just found");
        let is_member_new = room.join(join.member);
        let member_count = room.member_count();
        if is_member_new {
            self.presence.joined(&name, room, &publisher, batch);
        }
        if is_new {
            self.invalidate_listings();
        }
        Ok(Joined { room: name, member_count })
    }

    /// The room, created if there is none, if it has a place for one more member or contains this address. The name is the
    /// key in the map, for all its members to share. The caller takes the place.
    fn room_with_place(
        &mut self,
        now: Now,
        name: RoomName,
        address: Option<Address>,
    ) -> Result<(RoomName, &mut Room), CommandError> {
        let entry = self.rooms.entry(name);
        let name = entry.key().clone();
        let places_taken = match &entry {
            Entry::Occupied(room) => room.get().places_taken(),
            Entry::Vacant(_) => 0,
        };
        if places_taken == 0 {
            if !self.room_limiter.take_room() {
                return Err(CommandError::TooManyRooms { room: name, rooms_max: self.room_limiter.rooms_max });
            }
            self.active_rooms += 1;
        }
        let order = (&mut self.epochs, self.cluster.as_ref());
        let room = entry
            .or_insert_with_key(|name| new_room(now, name, order, self.limits.of(name), self.waiting.next_entry(name)));
        let members_max = room.limits().members_max;
        if places_taken >= members_max && !address.is_some_and(|address| room.contains(address)) {
            return Err(CommandError::TooManyMembers { room: name, members_max });
        }
        Ok((name, room))
    }

    /// The room in which a place was reserved. The caller takes the place.
    fn room_with_reservation(&mut self, name: RoomName) -> (RoomName, &mut Room) {
        let Entry::Occupied(entry) = self.rooms.entry(name) else { unreachable!("a room with a reservation stays") };
        let (name, room) = (entry.key().clone(), entry.into_mut());
        room.reserved -= 1;
        (name, room)
    }

    fn leave(&mut self, name: &RoomName, address: Address, farewell: Farewell, batch: &mut Batch) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let Some(publisher) = room.leave(address) else { return };
        if farewell == Farewell::Others {
            self.presence.left(name, room, &publisher, batch);
        }
        let (has_members, is_used) = (room.has_members(), room.places_taken() > 0);
        if !has_members {
            self.invalidate_listings();
        }
        if !is_used {
            self.vacated(name);
        }
    }

    /// The last place in the room was given up.
    pub(super) fn vacated(&mut self, name: &RoomName) {
        self.active_rooms -= 1;
        self.room_limiter.release_room();
        self.remove_unused(name);
    }

    /// Removes a room without members that remembers nothing.
    pub(super) fn remove_unused(&mut self, name: &RoomName) {
        if self.rooms.get(name).is_some_and(|room| room.places_taken() == 0 && room.log.is_empty()) {
            let room = self.rooms.remove(name).expect("it was just found");
            // By the newest rules, under which the room comes back. It may have had earlier ones.
            if let Some(cluster) = &mut self.cluster
                && self.limits.of(name).history_messages_max > 0
            {
                cluster.raise_horizon(room.log.forgotten());
            }
            let kept = ROOMS_KEPT.max(2 * self.rooms.len());
            if self.rooms.capacity() > 4 * kept {
                self.rooms.shrink_to(kept);
            }
        }
    }

    /// The rooms with members that the viewer may know of; up to `LIST_AGE_MAX` old if the budget is spent.
    fn listing(&mut self, now: Instant, viewer: Viewer) -> Arc<Listing<RoomName>> {
        let rooms = &self.rooms;
        let is_shown = |room: &Room| room.has_members() && viewer.sees(room.limits().joined_by);
        let names = || rooms.iter().filter(|(_, room)| is_shown(room)).map(|(name, _)| name.clone()).collect();
        self.listing_caches[viewer as usize].get(now, &mut self.listing_budget, names)
    }

    pub(super) fn invalidate_listings(&mut self) {
        self.listing_caches.iter_mut().for_each(ListingCache::invalidate);
    }
}
