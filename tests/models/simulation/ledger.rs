//! Records the commands in the order in which the shards handled them, and derives the messages that every member must
//! receive.

use std::collections::BTreeMap;

use roomcast::broker::{Act, MemberCommand, Reservation, ShardCommand};
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::publication::Data;
use roomcast::writer::Address;

use super::stream_check::{Received, StreamCheck};
use crate::wire::Socket;

/// The time between a join and the leave.
#[derive(Debug)]
pub struct Membership {
    pub room: RoomName,
    /// The messages published to the room in that time, in the room's order.
    pub messages: Vec<String>,
    /// The number of messages before each fence.
    pub fences: Vec<usize>,
}

#[derive(Debug, Default)]
struct Room {
    members: BTreeMap<Address, Label>,
    /// Places that clients have reserved.
    reserved: usize,
}

/// The state of all rooms after the commands so far.
pub struct Ledger {
    /// The number of deliveries: each message counts once for each member.
    pub fanned_out: u64,
    /// The number of joins and reservations that were refused since the room was full.
    pub refused: u64,
    members_max: usize,
    rooms: BTreeMap<RoomName, Room>,
    /// In the order of the joins.
    memberships: BTreeMap<Address, Vec<Membership>>,
    /// The number of messages that each member has published in each room.
    published: BTreeMap<(Address, RoomName), usize>,
}

impl Room {
    /// Counts a reserved place, unless the room is full.
    fn reserve(&mut self, members_max: usize) -> bool {
        let has_place = self.members.len() + self.reserved < members_max;
        self.reserved += usize::from(has_place);
        has_place
    }
}

impl Ledger {
    pub fn new(members_max: usize) -> Self {
        Self {
            fanned_out: 0,
            refused: 0,
            members_max,
            rooms: BTreeMap::new(),
            memberships: BTreeMap::new(),
            published: BTreeMap::new(),
        }
    }

    pub fn record(&mut self, command: &ShardCommand) {
        match command {
            ShardCommand::Join(join, _) => {
                if join.reservation == Reservation::Held || self.reserve(&join.room) {
                    self.join(&join.room, join.member.address, &join.member.publisher.label);
                }
            }
            ShardCommand::Reserve(room, _) => drop(self.reserve(room)),
            ShardCommand::Leave(room, address, _) => self.leave(room, *address),
            ShardCommand::Member(command) => self.command(command),
            ShardCommand::Rooms(..) => {}
        }
    }

    fn command(&mut self, command: &MemberCommand) {
        let MemberCommand { room, from, act, .. } = command;
        match act {
            Act::Publish(Data::Text(text), _) => self.publish(room, from.address, text),
            Act::Rename(publisher) => {
                let label = self.rooms.get_mut(room).and_then(|room| room.members.get_mut(&from.address));
                *label.expect("a renamed client is a member") = publisher.label.clone();
            }
            Act::Reply(bytes) if bytes.starts_with(b"PONG") => {
                let membership = current(&mut self.memberships, from.address, room);
                membership.fences.push(membership.messages.len());
            }
            Act::Reply(_) | Act::Members(_) => {}
            Act::Publish(Data::Json(_), _) => unreachable!("clients say text"),
        }
    }

    fn reserve(&mut self, room: &RoomName) -> bool {
        let reserved = self.rooms.entry(room.clone()).or_default().reserve(self.members_max);
        self.refused += u64::from(!reserved);
        reserved
    }

    /// Adds a member, which takes a reserved place.
    fn join(&mut self, room: &RoomName, address: Address, label: &Label) {
        let Room { members, reserved } = self.rooms.get_mut(room).expect("a room with a reservation");
        *reserved -= 1;
        assert!(members.insert(address, label.clone()).is_none(), "joined twice");
        self.memberships.entry(address).or_default().push(Membership {
            room: room.clone(),
            messages: Vec::new(),
            fences: Vec::new(),
        });
    }

    fn leave(&mut self, room: &RoomName, address: Address) {
        let room = self.rooms.get_mut(room).expect("a room with members");
        assert!(room.members.remove(&address).is_some(), "left twice");
    }

    fn publish(&mut self, room: &RoomName, address: Address, text: &str) {
        let members = &self.rooms.get(room).expect("a room with members").members;
        let label = members.get(&address).expect("only members speak").as_str();
        let published = self.published.entry((address, room.clone())).or_default();
        *published += 1;
        assert!(text.ends_with(&format!(".{published}")), "{text} is not the {published}th publish");
        self.fanned_out += members.len() as u64;
        for &member in members.keys() {
            current(&mut self.memberships, member, room).messages.push(format!("[{label}] {text}"));
        }
    }

    /// The rooms that the client is in.
    pub fn rooms_of(&self, address: Address) -> impl Iterator<Item = &RoomName> {
        self.rooms.iter().filter(move |(_, room)| room.members.contains_key(&address)).map(|(name, _)| name)
    }

    pub fn check_rooms_are_empty(&self) {
        for (name, room) in &self.rooms {
            assert!(room.members.is_empty() && room.reserved == 0, "{name:?}: {room:?}");
        }
    }

    /// Checks that a client has received what it had to.
    pub fn check_received(&self, address: Address, is_in_one_room: bool, socket: &Socket) -> Received {
        let received = String::from_utf8_lossy(&socket.taken);
        let last_line = received.lines().last().unwrap_or_default();
        let memberships = self.memberships.get(&address).map_or(&[][..], Vec::as_slice);
        let gets_all = socket.finished && !last_line.starts_with("ERR closed");
        let mut check = StreamCheck::new(memberships, is_in_one_room, gets_all);
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
