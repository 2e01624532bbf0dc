//! Compares `Shard::step` and `Batch` with a model that writes to each member immediately.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use roomcast::broker::Viewer;
use roomcast::broker::{Act as MemberAct, Batch, Farewell, Joined, Now, PeerAnswers, Shard, ShardCommand};
use roomcast::protocol::command::CommandError;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::event::Event;
use roomcast::protocol::listing::Listing;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::position::{Epoch, Offset, UnixMillis};
use roomcast::protocol::publication::{Data, Publication};
use roomcast::writer::{Address, Entry, Kind, WriterIndex};
use tokio::sync::oneshot::{self, Receiver};

use crate::common::{self, address, command, join, label, line, publisher, room, shard, slot};

/// The life of the room in which all is published.
const EPOCH: Epoch = Epoch::new(UnixMillis(0), 0);

/// A command, or the end of a batch.
#[derive(Clone, Debug)]
enum Act {
    Join(RoomName, Address, Label),
    Leave(RoomName, Address),
    Publish(RoomName, Address, usize),
    Rename(RoomName, Address, Label),
    Who(RoomName, Address),
    Rooms,
    Reply(RoomName, Address),
    EndBatch,
}

/// A pending answer and its expected value.
enum Due {
    Joined(Receiver<Result<Joined, CommandError>>, RoomName),
    Done(Receiver<()>),
    Rooms(Receiver<Arc<Listing<RoomName>>>, Listing<RoomName>),
}

/// A shard and its model.
struct Pair {
    shard: Shard,
    batch: Batch,
    /// The bytes that the shard has written to each address.
    written: BTreeMap<Address, Vec<u8>>,
    /// Those with members, and those that remember something.
    rooms: BTreeMap<RoomName, BTreeMap<Address, Label>>,
    remembering: BTreeSet<RoomName>,
    expected: BTreeMap<Address, Vec<u8>>,
    due: Vec<Due>,
    published: usize,
}

impl Due {
    fn check_waits(&mut self) {
        match self {
            Self::Joined(ack, _) => assert!(ack.try_recv().is_err()),
            Self::Done(ack) => assert!(ack.try_recv().is_err()),
            Self::Rooms(ack, _) => assert!(ack.try_recv().is_err()),
        }
    }

    fn check_answered(self) {
        match self {
            Self::Joined(mut ack, name) => {
                let Joined { room: shared, .. } = ack.try_recv().expect("answered").expect("there is room");
                assert_eq!(shared, name);
                assert_eq!(shared.as_str().as_ptr(), name.as_str().as_ptr(), "a name of its own");
            }
            Self::Done(mut ack) => ack.try_recv().expect("answered"),
            Self::Rooms(mut ack, rooms) => assert_eq!(*ack.try_recv().expect("answered"), rooms),
        }
    }
}

impl Pair {
    fn new(writers: u16) -> Self {
        Self {
            shard: shard(),
            batch: Batch::new(usize::from(writers)),
            written: BTreeMap::new(),
            rooms: BTreeMap::new(),
            remembering: BTreeSet::new(),
            expected: BTreeMap::new(),
            due: Vec::new(),
            published: 0,
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Join(room, address, label) => self.join(room, address, label),
            Act::Leave(room, address) => self.leave(room, address),
            Act::Publish(room, address, padding) => self.publish(room, address, padding),
            Act::Rename(room, address, label) => self.rename(room, address, label),
            Act::Who(room, address) => self.who(room, address),
            Act::Rooms => self.list(),
            Act::Reply(room, address) => {
                self.expect(address, &Event::Pong("behind"));
                self.step(reply(room, address));
            }
            Act::EndBatch => self.end_batch(),
        }
        if self.batch.is_full() {
            self.end_batch();
        }
    }

    fn step(&mut self, command: ShardCommand) {
        self.shard.step(Now::read(), command, &mut self.batch);
    }

    fn expect(&mut self, address: Address, event: &Event<'_>) {
        self.expected.entry(address).or_default().extend(line(event));
    }

    fn join(&mut self, room: RoomName, address: Address, label: Label) {
        let known = self.rooms.get_key_value(&room).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| room.clone());
        self.expect(address, &Event::Joined(&name));
        self.rooms.entry(name.clone()).or_default().insert(address, label.clone());
        let (ack, joined) = oneshot::channel();
        self.step(ShardCommand::Join(join(room, address, label), ack));
        self.due.push(Due::Joined(joined, name));
    }

    fn leave(&mut self, room: RoomName, address: Address) {
        if let Some(members) = self.rooms.get_mut(&room) {
            members.remove(&address);
        }
        self.rooms.retain(|room, members| !members.is_empty() || self.remembering.contains(room));
        let (ack, left) = oneshot::channel();
        self.step(ShardCommand::Leave(room, address, Farewell::Others, ack));
        self.due.push(Due::Done(left));
    }

    fn publish(&mut self, room: RoomName, address: Address, padding: usize) {
        self.published += 1;
        let text = format!("{}{}", self.published, ".".repeat(padding));
        self.expect_publish(&room, address, &text);
        self.step(ShardCommand::Member(common::publish(room, address, &text)));
    }

    fn expect_publish(&mut self, room: &RoomName, address: Address, text: &str) {
        let members = self.rooms.get(room).cloned().unwrap_or_default();
        let Some(label) = members.get(&address) else {
            return self.expect(address, &Event::JoinFirst);
        };
        let (publisher, data) = (publisher(label.clone()), Data::Text(text.into()));
        let publication = Publication { offset: Offset(0), published_at: UnixMillis(0), publisher, data };
        self.remembering.insert(room.clone());
        for &member in members.keys() {
            self.expect(member, &Event::Published(room, EPOCH, &publication));
        }
    }

    fn rename(&mut self, room: RoomName, address: Address, label: Label) {
        match self.rooms.get_mut(&room).and_then(|members| members.get_mut(&address)) {
            Some(label_before) => {
                *label_before = label.clone();
                self.expect(address, &Event::Named(&label));
            }
            None => self.expect(address, &Event::JoinFirst),
        }
        self.step(ShardCommand::Member(command(room, address, MemberAct::Rename(publisher(label)))));
    }

    fn who(&mut self, room: RoomName, address: Address) {
        match self.rooms.get(&room).filter(|members| members.contains_key(&address)) {
            Some(members) => {
                let labels = Listing::new(members.values().cloned().collect());
                self.expect(address, &Event::Members(&room, &labels));
            }
            None => self.expect(address, &Event::JoinFirst),
        }
        self.step(ShardCommand::Member(command(
            room,
            address,
            MemberAct::Members(Box::new((Instant::now(), PeerAnswers::default())), None),
        )));
    }

    fn list(&mut self) {
        let (ack, rooms) = oneshot::channel();
        self.step(ShardCommand::Rooms(Instant::now(), Viewer::Guest, ack));
        let has_members = |(room, members): (&RoomName, &BTreeMap<_, _>)| (!members.is_empty()).then(|| room.clone());
        let names = self.rooms.iter().filter_map(has_members).collect();
        self.due.push(Due::Rooms(rooms, Listing::new(names)));
    }

    /// Ends a batch. Checks that the answers arrive only after the entries were taken and the batch was acknowledged.
    fn end_batch(&mut self) {
        let entries: Vec<(WriterIndex, Vec<Entry>)> = self.batch.take_entries().collect();
        check_encoded_once(&entries);
        for (writer, entries) in &entries {
            assert!(!entries.is_empty(), "nothing for {writer:?}");
            entries.iter().for_each(|entry| self.write(*writer, entry));
        }
        assert_eq!(self.written, self.expected);
        self.due.iter_mut().for_each(Due::check_waits);
        self.batch.acknowledge();
        self.due.drain(..).for_each(Due::check_answered);
    }

    fn write(&mut self, writer: WriterIndex, entry: &Entry) {
        let frames = &entry.frames;
        let lines = frames.bytes().iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(frames.messages(), lines, "the messages are counted");
        assert!(entry.targets.as_slice().is_sorted_by(|a, b| a < b));
        for &slot in entry.targets.as_slice() {
            let written = self.written.entry(Address { writer, slot }).or_default();
            written.extend_from_slice(frames.bytes());
        }
    }
}

/// Checks that every message of a room is encoded once and that all writers share its bytes.
fn check_encoded_once(entries: &[(WriterIndex, Vec<Entry>)]) {
    let mut places = BTreeMap::new();
    let all = entries.iter().flat_map(|(_, entries)| entries);
    for entry in all.filter(|entry| entry.frames.kind() == Kind::Delivery) {
        let bytes = entry.frames.bytes();
        for message in bytes.split_inclusive(|&byte| byte == b'\n') {
            let place = places.entry(message).or_insert(bytes.as_ptr());
            assert_eq!(*place, bytes.as_ptr(), "encoded twice: {message:?}");
        }
    }
}

fn acts(writers: u16) -> impl Strategy<Value = Vec<Act>> {
    let rooms = || (0..3usize).prop_map(room);
    let addresses = move || (0..writers, 0..3u32).prop_map(|(writer, index)| address(writer, slot(index)));
    let labels = || (0..4u8).prop_map(label);
    // A few messages are so long that two of them fill a batch.
    let paddings = prop_oneof![40 => 0..3usize, 1 => Just(40_000usize)];
    let act = prop_oneof![
        6 => (rooms(), addresses(), labels()).prop_map(|(room, address, label)| Act::Join(room, address, label)),
        4 => (rooms(), addresses()).prop_map(|(room, address)| Act::Leave(room, address)),
        12 => (rooms(), addresses(), paddings)
            .prop_map(|(room, address, padding)| Act::Publish(room, address, padding)),
        1 => (rooms(), addresses(), labels()).prop_map(|(room, address, label)| Act::Rename(room, address, label)),
        1 => (rooms(), addresses()).prop_map(|(room, address)| Act::Who(room, address)),
        1 => Just(Act::Rooms),
        2 => (rooms(), addresses()).prop_map(|(room, address)| Act::Reply(room, address)),
        1 => Just(Act::EndBatch),
    ];
    vec(act, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_member_receives_the_same_bytes_as_without_batches(
        (writers, acts) in (1..=3u16).prop_flat_map(|writers| (Just(writers), acts(writers))),
    ) {
        let mut pair = Pair::new(writers);
        acts.into_iter().for_each(|act| pair.act(act));
        pair.end_batch();
        pair.list();
        pair.end_batch();
    }
}

fn reply(room: RoomName, address: Address) -> ShardCommand {
    let bytes = Dialect::TextLines.encode(&Event::Pong("behind"));
    ShardCommand::Member(command(room, address, MemberAct::Reply(bytes)))
}

#[test]
fn a_batch_is_full_at_256_commands() {
    let mut pair = Pair::new(1);
    let list = || {
        let (ack, _) = oneshot::channel();
        ShardCommand::Rooms(Instant::now(), Viewer::Guest, ack)
    };
    (0..255).for_each(|_| pair.step(list()));
    assert!(!pair.batch.is_full());
    pair.step(list());
    assert!(pair.batch.is_full());
    assert_eq!(pair.batch.take_entries().count(), 0);
    assert!(!pair.batch.is_full());
}
