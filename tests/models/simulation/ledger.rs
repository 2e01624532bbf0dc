//! Records the commands in the order in which the shards handled them, and derives the messages that every member must
//! receive.

use std::collections::BTreeMap;

use roomcast::broker::{Act, MemberCommand, ShardCommand};
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::publication::Data;
use roomcast::writer::Address;

use crate::wire::Socket;

/// The time between a join and the leave.
#[derive(Debug)]
struct Membership {
    room: RoomName,
    /// The messages published to the room in that time, in the room's order.
    messages: Vec<String>,
    /// The number of messages before each fence.
    fences: Vec<usize>,
}

/// The state of all rooms after the commands so far.
#[derive(Default)]
pub struct Ledger {
    /// The number of deliveries: each message counts once for each member.
    pub fanned_out: u64,
    members: BTreeMap<RoomName, BTreeMap<Address, Label>>,
    memberships: BTreeMap<Address, Vec<Membership>>,
    /// The number of messages that each member has published.
    published: BTreeMap<Address, usize>,
}

impl Ledger {
    pub fn record(&mut self, command: &ShardCommand) {
        match command {
            ShardCommand::Join(join, _) => self.join(&join.room, join.member.address, &join.member.publisher.label),
            ShardCommand::Leave(room, address, ..) => self.leave(room, *address),
            ShardCommand::Member(command) => self.command(command),
            ShardCommand::Reserve(..) | ShardCommand::Rooms(..) | ShardCommand::Presence(..) => {}
            ShardCommand::Publish(..) => unreachable!("only members publish"),
        }
    }

    fn command(&mut self, command: &MemberCommand) {
        let MemberCommand { room, from, act, .. } = command;
        match act {
            Act::Publish(Data::Text(text), _) => self.publish(room, from.address, text),
            Act::Rename(publisher) => {
                let label_before = self.members.get_mut(room).and_then(|members| members.get_mut(&from.address));
                *label_before.expect("a renamed client is a member") = publisher.label.clone();
            }
            Act::Reply(bytes) if bytes.starts_with(b"PONG") => {
                let membership = self.current(from.address);
                membership.fences.push(membership.messages.len());
            }
            Act::Reply(_) | Act::Members(_) | Act::History(_) | Act::Position => {}
            Act::Publish(Data::Json(_), _) => unreachable!("clients say text"),
        }
    }

    fn join(&mut self, room: &RoomName, address: Address, label: &Label) {
        let members = self.members.entry(room.clone()).or_default();
        assert!(members.insert(address, label.clone()).is_none(), "joined twice");
        self.memberships.entry(address).or_default().push(Membership {
            room: room.clone(),
            messages: Vec::new(),
            fences: Vec::new(),
        });
    }

    fn leave(&mut self, room: &RoomName, address: Address) {
        let members = self.members.get_mut(room).expect("a room with members");
        assert!(members.remove(&address).is_some(), "left twice");
    }

    fn publish(&mut self, room: &RoomName, address: Address, text: &str) {
        let members = self.members.get(room).cloned().unwrap_or_default();
        let label = members.get(&address).expect("only members speak").as_str();
        let published = self.published.entry(address).or_default();
        *published += 1;
        assert!(text.ends_with(&format!(".{published}")), "{text} is not the {published}th publish");
        self.fanned_out += members.len() as u64;
        for &member in members.keys() {
            self.current(member).messages.push(format!("[{label}] {text}"));
        }
    }

    fn current(&mut self, address: Address) -> &mut Membership {
        let memberships = self.memberships.get_mut(&address);
        memberships.and_then(|all| all.last_mut()).expect("a member")
    }

    pub fn check_rooms_are_empty(&self) {
        assert!(self.members.values().all(BTreeMap::is_empty), "{:?}", self.members);
    }

    /// Checks that a client has received what it had to. Returns the number of deliveries that it received, and the
    /// number of missing messages in its notices.
    pub fn check_received(&self, address: Address, socket: &Socket) -> (u64, u64) {
        let received = String::from_utf8_lossy(&socket.taken);
        let last_line = received.lines().last().unwrap_or_default();
        let memberships = self.memberships.get(&address).map_or(&[][..], Vec::as_slice);
        let mut check = StreamCheck::new(memberships, socket.finished && !last_line.starts_with("ERR closed"));
        for line in received.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => check.line(line),
                None => assert!(!socket.finished, "half a message before the end of the stream: {received}"),
            }
        }
        check.end();
        (check.messages, check.missed)
    }
}

/// Checks the stream of one client, line by line.
struct StreamCheck<'a> {
    memberships: std::slice::Iter<'a, Membership>,
    /// The current membership, and the number of its messages that were received or reported missing.
    current: Option<(&'a Membership, usize)>,
    fences: usize,
    /// The client must receive everything up to the end of its stream.
    gets_all: bool,
    /// Messages were dropped because the client was closed, so no message may follow.
    is_cut: bool,
    is_over: bool,
    messages: u64,
    missed: u64,
}

impl<'a> StreamCheck<'a> {
    fn new(memberships: &'a [Membership], gets_all: bool) -> Self {
        Self {
            memberships: memberships.iter(),
            current: None,
            fences: 0,
            gets_all,
            is_cut: false,
            is_over: false,
            messages: 0,
            missed: 0,
        }
    }

    fn line(&mut self, line: &str) {
        assert!(!self.is_over, "behind the last line: {line}");
        match line.split(' ').next().unwrap_or_default() {
            "GAP" => self.gap(&line["GAP ".len()..]),
            "Joined" => self.joined(&line["Joined ".len()..]),
            "Left" => self.left(),
            "PONG" if line.ends_with("behind the room") => self.pong(),
            "ERR" | "Bye" => self.is_over = true,
            label if label.starts_with('[') => self.message(line),
            _ => assert!(
                ["Join a", "Rooms:", "Members of", "You are", "PONG at"].iter().any(|known| line.starts_with(known))
            ),
        }
    }

    fn joined(&mut self, room: &str) {
        if self.current.is_some_and(|(membership, _)| membership.room.as_str() == room) {
            return;
        }
        self.left_if_in();
        let membership = self.memberships.next().expect("a join for every `Joined`");
        assert_eq!(membership.room.as_str(), room);
        self.current = Some((membership, 0));
        self.fences = 0;
    }

    fn left(&mut self) {
        assert!(self.current.is_some(), "left no room");
        self.left_if_in();
    }

    /// Ends the current membership, if there is one. All of its messages must have arrived.
    fn left_if_in(&mut self) {
        if let Some((membership, received)) = self.current.take() {
            let is_whole = received == membership.messages.len();
            assert!(is_whole || !self.gets_all, "{received} messages of {membership:?}");
            self.is_cut |= !is_whole;
        }
    }

    fn message(&mut self, line: &str) {
        assert!(!self.is_cut, "{line} behind what was dropped");
        let (membership, received) = self.current.as_mut().expect("in a room");
        assert_eq!(membership.messages.get(*received).map(String::as_str), Some(line), "in {membership:?}");
        *received += 1;
        self.messages += 1;
    }

    /// Handles a notice: this many messages of the room are missing here.
    fn gap(&mut self, count: &str) {
        let count: usize = count.parse().expect("a number");
        let (membership, received) = self.current.as_mut().expect("in a room");
        *received += count;
        assert!(count > 0 && *received <= membership.messages.len(), "{count} missing in {membership:?}");
        self.missed += count as u64;
    }

    /// Handles a fence: all messages before it must have arrived.
    fn pong(&mut self) {
        let (membership, received) = self.current.expect("in a room");
        let before = membership.fences[self.fences];
        self.fences += 1;
        assert!(received >= before || !self.gets_all, "{received} of {before} messages before the answer");
        self.is_cut |= received < before;
    }

    fn end(&mut self) {
        self.left_if_in();
        assert!(!self.gets_all || self.memberships.next().is_none(), "a join without its `Joined`");
    }
}
