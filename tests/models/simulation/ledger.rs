//! Records the commands in the order in which the shards handled them, and derives the messages that every member must
//! receive, and what a client that resumes must be sent or told.

use std::collections::BTreeMap;
use std::time::Instant;

use roomcast::broker::{Act, Join, MemberCommand, Recoveries, Reservation, Shard, ShardCommand, Unrecovered};
use roomcast::config::{HistoryLimits, LimitsOfRoom};
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::position::{Epoch, Offset, Position, Since};
use roomcast::protocol::publication::Data;
use roomcast::writer::Address;

use super::retention::Retention;
use super::server::REPLAY_BYTES_MAX;
use super::stream_check::{Bookmark, Received, STOPPED, StreamCheck};
use crate::wire::Socket;

/// One life of a room, from its creation until nobody is in it and it remembers nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life(usize);

/// The time between a join and the leave.
#[derive(Debug)]
pub struct Membership {
    pub room: RoomName,
    pub life: Life,
    /// The messages that the client had missed, and those published to the room in that time, in the room's order.
    pub messages: Vec<String>,
    /// The number of messages before each fence.
    pub fences: Vec<usize>,
    /// The number of messages before each answer to `POSITION`, and the offset in it.
    pub positions: Vec<(usize, Offset)>,
    /// The position that the client has given.
    pub since: Option<Position>,
    /// The number of messages that it had missed since, or why it cannot have them.
    pub missed: Result<usize, Unrecovered>,
}

#[derive(Debug)]
struct Room {
    shard: usize,
    life: Life,
    members: BTreeMap<Address, Label>,
    /// Places that clients have reserved.
    reserved: usize,
    /// All messages of this life.
    messages: Vec<String>,
}

/// What has happened to one shard.
#[derive(Debug)]
struct ShardLedger {
    retention: Retention,
    recoveries: Recoveries,
}

/// The state of all rooms after the commands so far.
pub struct Ledger {
    /// The number of deliveries: each message counts once for each member.
    pub fanned_out: u64,
    /// The number of joins and reservations that were refused since the room was full.
    pub refused: u64,
    shards: Vec<ShardLedger>,
    rooms: BTreeMap<RoomName, Room>,
    lives: usize,
    /// The lives whose epochs are known.
    epochs: BTreeMap<Epoch, Life>,
    /// In the order of the joins.
    memberships: BTreeMap<Address, Vec<Membership>>,
    /// The number of messages that each member has published in each room.
    published: BTreeMap<(Address, RoomName), usize>,
}

impl Room {
    fn places_taken(&self) -> usize {
        self.members.len() + self.reserved
    }
}

impl Ledger {
    pub fn new(shards: usize, room: LimitsOfRoom, history: HistoryLimits) -> Self {
        let shard = |_| ShardLedger { retention: Retention::new(history, room), recoveries: Recoveries::default() };
        Self {
            fanned_out: 0,
            refused: 0,
            shards: (0..shards).map(shard).collect(),
            rooms: BTreeMap::new(),
            lives: 0,
            epochs: BTreeMap::new(),
            memberships: BTreeMap::new(),
            published: BTreeMap::new(),
        }
    }

    /// Records a command that a shard handles now.
    pub fn record(&mut self, shard: usize, now: Instant, command: &ShardCommand) {
        match command {
            ShardCommand::Join(join, _) => {
                if join.reservation == Reservation::Held || self.reserve(shard, &join.room) {
                    self.join(join);
                }
            }
            ShardCommand::Reserve(room, ..) => drop(self.reserve(shard, room)),
            ShardCommand::Leave(room, address, ..) => self.leave(room, *address),
            ShardCommand::Member(command) => self.command(now, command),
            ShardCommand::Rooms(..) => {}
            ShardCommand::Publish(..)
            | ShardCommand::Presence(..)
            | ShardCommand::PresenceCount(..)
            | ShardCommand::Page(..)
            | ShardCommand::RemoveHistory(..)
            | ShardCommand::CountMembers(_)
            | ShardCommand::Busiest(_)
            | ShardCommand::Peer(_)
            | ShardCommand::Placed(_)
            | ShardCommand::Rules(..) => {
                unreachable!("clients do not send it")
            }
        }
        self.remove_unused(shard);
    }

    /// Records a sweep of a shard.
    pub fn sweep(&mut self, shard: usize, now: Instant) {
        self.shards[shard].retention.reclaim(now);
        self.remove_unused(shard);
    }

    /// Records that a shard gets a rule: these limits for one room, and the others for the rest.
    pub fn apply_rule(
        &mut self,
        shard: usize,
        now: Instant,
        room: &RoomName,
        limits: LimitsOfRoom,
        others: LimitsOfRoom,
    ) {
        self.shards[shard].retention.apply_rule(room, limits, others);
        self.sweep(shard, now);
    }

    /// Checks that a shard has kept, dropped and sent again exactly what it should.
    pub fn check_shard(&self, index: usize, shard: &Shard) {
        let ShardLedger { retention, recoveries } = &self.shards[index];
        assert_eq!(shard.retained(), retention.retained());
        assert_eq!(shard.evicted(), retention.evicted);
        assert_eq!(shard.recoveries(), *recoveries);
        let active = self.rooms.values().filter(|room| room.shard == index && room.places_taken() > 0);
        assert_eq!(shard.active_rooms(), active.count());
    }

    /// Learns that a life has this epoch. No other has it, and the life has no other.
    pub fn learn(&mut self, life: Life, epoch: Epoch) {
        assert_eq!(*self.epochs.entry(epoch).or_insert(life), life, "two lives have an epoch");
        let epochs = self.epochs.iter().filter(|(_, of)| **of == life);
        assert_eq!(epochs.count(), 1, "{life:?} has two epochs");
    }

    fn command(&mut self, now: Instant, command: &MemberCommand) {
        let MemberCommand { room, from, act, .. } = command;
        match act {
            Act::Publish(Data::Text(text), _) => self.publish(now, room, from.address, text),
            Act::Rename(publisher) => {
                let label = self.rooms.get_mut(room).and_then(|room| room.members.get_mut(&from.address));
                *label.expect("a renamed client is a member") = publisher.label.clone();
            }
            Act::Reply(bytes) if bytes.starts_with(b"PONG") => {
                let membership = current(&mut self.memberships, from.address, room);
                membership.fences.push(membership.messages.len());
            }
            Act::Position => {
                let offset = Offset(self.rooms[room].messages.len() as u64);
                let membership = current(&mut self.memberships, from.address, room);
                membership.positions.push((membership.messages.len(), offset));
            }
            Act::Reply(_) | Act::Members(..) => {}
            _ => unreachable!("clients do not send it"),
        }
    }

    /// Counts a reserved place, unless the room is full. Creates the room if there is none.
    fn reserve(&mut self, shard: usize, name: &RoomName) -> bool {
        let lives = &mut self.lives;
        let room = self.rooms.entry(name.clone()).or_insert_with(|| {
            *lives += 1;
            Room { shard, life: Life(*lives), members: BTreeMap::new(), reserved: 0, messages: Vec::new() }
        });
        let has_place = room.places_taken() < self.shards[shard].retention.limits_of(name).members_max;
        room.reserved += usize::from(has_place);
        self.refused += u64::from(!has_place);
        has_place
    }

    /// Adds a member, which takes a reserved place.
    fn join(&mut self, join: &Join) {
        let (name, address) = (&join.room, join.member.address);
        let missed = join.since.map_or(Ok(0), |since| self.missed(name, position_of(since)));
        let room = self.rooms.get_mut(name).expect("a room with a reservation");
        if join.since.is_some() {
            let Recoveries { recovered, unrecovered } = &mut self.shards[room.shard].recoveries;
            *recovered += u64::from(missed.is_ok());
            *unrecovered += u64::from(missed.is_err());
        }
        room.reserved -= 1;
        let before = room.members.insert(address, join.member.publisher.label.clone());
        assert!(before.is_none(), "joined twice");
        self.memberships.entry(address).or_default().push(Membership {
            room: name.clone(),
            life: room.life,
            messages: room.messages[room.messages.len() - missed.unwrap_or_default()..].to_vec(),
            fences: Vec::new(),
            positions: Vec::new(),
            since: join.since.map(position_of),
            missed,
        });
    }

    /// The number of messages that a client has missed since a position, if it may have them again.
    fn missed(&self, name: &RoomName, since: Position) -> Result<usize, Unrecovered> {
        let room = &self.rooms[name];
        if self.epochs.get(&since.epoch) != Some(&room.life) {
            return Err(Unrecovered::OtherEpoch);
        }
        let missed = room.messages.len().checked_sub(since.offset.0 as usize).ok_or(Unrecovered::Ahead)?;
        let retention = &self.shards[room.shard].retention;
        let retained: Vec<usize> = retention.of(name).collect();
        match retained.get(..missed) {
            None => Err(Unrecovered::Trimmed),
            Some(_) if missed > retention.history.recovery_messages_max => Err(Unrecovered::TooMany),
            Some(missed) if missed.iter().sum::<usize>() > REPLAY_BYTES_MAX => Err(Unrecovered::TooLong),
            Some(_) => Ok(missed),
        }
    }

    fn leave(&mut self, room: &RoomName, address: Address) {
        let room = self.rooms.get_mut(room).expect("a room with members");
        assert!(room.members.remove(&address).is_some(), "left twice");
    }

    fn publish(&mut self, now: Instant, name: &RoomName, address: Address, text: &str) {
        let room = self.rooms.get_mut(name).expect("a room with members");
        let label = room.members.get(&address).expect("only members speak").as_str();
        let published = self.published.entry((address, name.clone())).or_default();
        *published += 1;
        assert!(text.ends_with(&format!(".{published}")), "{text} is not the {published}th publish");
        let message = format!("[{label}] {text}");
        room.messages.push(message.clone());
        self.fanned_out += room.members.len() as u64;
        for &member in room.members.keys() {
            current(&mut self.memberships, member, name).messages.push(message.clone());
        }
        self.shards[room.shard].retention.publish(name, now, text.len());
    }

    /// Ends the life of rooms without members that remember nothing.
    fn remove_unused(&mut self, shard: usize) {
        let retention = &self.shards[shard].retention;
        self.rooms
            .retain(|name, room| room.shard != shard || room.places_taken() > 0 || retention.of(name).next().is_some());
    }

    /// The rooms that the client is in.
    pub fn rooms_of(&self, address: Address) -> impl Iterator<Item = &RoomName> {
        self.rooms.iter().filter(move |(_, room)| room.members.contains_key(&address)).map(|(name, _)| name)
    }

    /// The time between each join of the client and the leave.
    pub fn memberships_of(&self, address: Address) -> &[Membership] {
        self.memberships.get(&address).map_or(&[][..], Vec::as_slice)
    }

    /// Checks that a client which was sent what it had missed was sent first what it had seen before.
    pub fn check_resumed(&self, address: Address, bookmark: &Bookmark) {
        let memberships = self.memberships_of(address).iter();
        let resumed = memberships.filter(|membership| membership.since == Some(bookmark.position));
        for membership in resumed.filter(|membership| membership.missed.is_ok()) {
            assert!(membership.messages.starts_with(&bookmark.seen), "{bookmark:?} resumed as {membership:?}");
        }
    }

    pub fn check_rooms_are_empty(&self) {
        for (name, room) in &self.rooms {
            assert_eq!(room.places_taken(), 0, "{name:?}: {room:?}");
        }
    }

    /// Checks that a client has received what it had to, so far.
    pub fn check_received(&self, address: Address, is_in_one_room: bool, socket: &Socket) -> Received {
        let received = String::from_utf8_lossy(&socket.taken);
        let last_line = received.lines().last().unwrap_or_default();
        // A stop ends a client behind everything that is pending for it.
        let is_cut = last_line.starts_with("ERR closed") && last_line != STOPPED;
        let gets_all = socket.finished && !is_cut;
        let mut check = StreamCheck::new(self.memberships_of(address), is_in_one_room, gets_all);
        for line in received.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => check.line(line),
                None => assert!(!socket.finished, "half a message before the end of the stream: {received}"),
            }
        }
        check.end()
    }
}

/// The membership of a member in a room.
fn current<'a>(
    memberships: &'a mut BTreeMap<Address, Vec<Membership>>,
    address: Address,
    room: &RoomName,
) -> &'a mut Membership {
    let memberships = memberships.get_mut(&address).expect("a member");
    memberships.iter_mut().rfind(|membership| membership.room == *room).expect("a member")
}

/// The position of a text client, which always names an epoch.
fn position_of(since: Since) -> Position {
    Position { epoch: since.epoch.expect("a text client has a whole position"), offset: since.offset }
}
