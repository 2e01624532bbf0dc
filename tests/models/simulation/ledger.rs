//! The commands of the shards in the order in which they handled them, and so the messages that every member must get.

use std::collections::BTreeMap;

use roomcast::broker::ShardCommand;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::writer::Address;

use crate::wire::Socket;

/// From a join to the leave.
#[derive(Debug)]
struct Membership {
    room: RoomName,
    /// All that was said to the room in between, in the room's order.
    messages: Vec<String>,
    /// The number of them before each fence.
    fences: Vec<usize>,
}

/// The rooms as all commands so far have made them.
#[derive(Default)]
pub struct Ledger {
    /// Messages times members, at fan-out.
    pub fanned_out: u64,
    members: BTreeMap<RoomName, BTreeMap<Address, Label>>,
    memberships: BTreeMap<Address, Vec<Membership>>,
    /// The number of messages of each member.
    said: BTreeMap<Address, usize>,
}

impl Ledger {
    pub fn record(&mut self, command: &ShardCommand) {
        match command {
            ShardCommand::Join(room, member, ..) => self.join(room, member.address, &member.label),
            ShardCommand::Leave(room, address, _) => self.leave(room, *address),
            ShardCommand::Publish(publish) => self.publish(&publish.room, publish.address, &publish.text),
            ShardCommand::Rename(room, address, label) => {
                let reservation = self.members.get_mut(room).and_then(|members| members.get_mut(address));
                *reservation.expect("who has a new label is a member") = label.clone();
            }
            ShardCommand::Reply(_, address, bytes, _) if bytes.starts_with(b"PONG") => {
                let membership = self.current(*address);
                membership.fences.push(membership.messages.len());
            }
            ShardCommand::Reply(..) => {}
            ShardCommand::Reserve(..) | ShardCommand::Who(..) | ShardCommand::Rooms(..) => {}
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
        let said = self.said.entry(address).or_default();
        *said += 1;
        assert!(text.ends_with(&format!(".{said}")), "{text} is the {said}th that was said");
        self.fanned_out += members.len() as u64;
        for &member in members.keys() {
            self.current(member).messages.push(format!("[{label}] {text}"));
        }
    }

    fn current(&mut self, address: Address) -> &mut Membership {
        let memberships = self.memberships.get_mut(&address);
        memberships.and_then(|all| all.last_mut()).expect("a member")
    }

    pub fn check_nobody_is_left(&self) {
        assert!(self.members.values().all(BTreeMap::is_empty), "{:?}", self.members);
    }

    /// A client has heard what it was to hear. Returns how many messages of rooms it has heard, and of how many it was
    /// told that they are missing.
    pub fn check_heard(&self, address: Address, socket: &Socket) -> (u64, u64) {
        let heard = String::from_utf8_lossy(&socket.taken);
        let last_line = heard.lines().last().unwrap_or_default();
        let memberships = self.memberships.get(&address).map_or(&[][..], Vec::as_slice);
        let mut hearing = Hearing::new(memberships, socket.finished && !last_line.starts_with("ERR closed"));
        for line in heard.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => hearing.line(line),
                None => assert!(!socket.finished, "half a message before the end of the stream: {heard}"),
            }
        }
        hearing.end();
        (hearing.messages, hearing.missed)
    }
}

/// One client's stream, line by line.
struct Hearing<'a> {
    memberships: std::slice::Iter<'a, Membership>,
    /// The room it is in, by its own stream, and what is still to come of it.
    current: Option<(&'a Membership, usize)>,
    fences: usize,
    /// It was owed everything up to the end of its stream.
    gets_all: bool,
    /// Something was dropped, so no message may follow.
    is_cut: bool,
    is_over: bool,
    messages: u64,
    missed: u64,
}

impl<'a> Hearing<'a> {
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
        let membership = self.memberships.next().expect("joined once more than it was told");
        assert_eq!(membership.room.as_str(), room);
        self.current = Some((membership, 0));
        self.fences = 0;
    }

    fn left(&mut self) {
        assert!(self.current.is_some(), "left no room");
        self.left_if_in();
    }

    /// Everything that was said until then has come.
    fn left_if_in(&mut self) {
        if let Some((membership, heard)) = self.current.take() {
            let is_whole = heard == membership.messages.len();
            assert!(is_whole || !self.gets_all, "{heard} messages of {membership:?}");
            self.is_cut |= !is_whole;
        }
    }

    fn message(&mut self, line: &str) {
        assert!(!self.is_cut, "{line} behind what was dropped");
        let (membership, heard) = self.current.as_mut().expect("in a room");
        assert_eq!(membership.messages.get(*heard).map(String::as_str), Some(line), "in {membership:?}");
        *heard += 1;
        self.messages += 1;
    }

    /// As many messages of the room are missing here.
    fn gap(&mut self, count: &str) {
        let count: usize = count.parse().expect("a number");
        let (membership, heard) = self.current.as_mut().expect("in a room");
        *heard += count;
        assert!(count > 0 && *heard <= membership.messages.len(), "{count} missing in {membership:?}");
        self.missed += count as u64;
    }

    /// All that was said before the fence has come.
    fn pong(&mut self) {
        let (membership, heard) = self.current.expect("in a room");
        let before = membership.fences[self.fences];
        self.fences += 1;
        assert!(heard >= before || !self.gets_all, "{heard} of {before} messages before the answer");
        self.is_cut |= heard < before;
    }

    fn end(&mut self) {
        self.left_if_in();
        assert!(!self.gets_all || self.memberships.next().is_none(), "a room it never heard of");
    }
}
