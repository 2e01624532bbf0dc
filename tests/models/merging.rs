//! When a message may share the entry of the one before.

use std::time::Instant;

use roomcast::broker::{Batch, Member, Publish, Reservation, Shard, ShardCommand};
use roomcast::protocol::dialect::Dialect;
use roomcast::writer::{Address, Entry, WriterIndex};
use tokio::sync::oneshot;

use crate::common::{address, label, room, shard, slot};

const HERE: u16 = 0;
const THERE: u16 = 1;

/// A room on a shard, and the batch it writes to.
struct OneRoom {
    shard: Shard,
    batch: Batch,
}

impl OneRoom {
    /// With these members, whose `Joined` was taken already.
    fn of(members: &[Address]) -> Self {
        let mut this = Self { shard: shard(), batch: Batch::new(2) };
        members.iter().for_each(|&address| this.join(address));
        assert!(this.batch.take_entries().count() > 0);
        this
    }

    fn join(&mut self, address: Address) {
        let member = Member { address, dialect: Dialect::Lines, label: label("x") };
        let (ack, _) = oneshot::channel();
        let room = room(0);
        self.shard.step(ShardCommand::Join(room, member, Reservation::None, ack), &mut self.batch);
    }

    fn leave(&mut self, address: Address) {
        let (ack, _) = oneshot::channel();
        let room = room(0);
        self.shard.step(ShardCommand::Leave(room, address, ack), &mut self.batch);
    }

    fn publish(&mut self, address: Address, text: &str) {
        let publish = Publish {
            room: room(0),
            address,
            dialect: Dialect::Lines,
            text: text.into(),
            read_at: Instant::now(),
            permit: None,
        };
        self.shard.step(ShardCommand::Publish(publish), &mut self.batch);
    }

    /// The bytes of each entry, by writer.
    fn entries(&mut self) -> [Vec<String>; 2] {
        let text = |entry: &Entry| String::from_utf8_lossy(entry.frames.bytes()).into_owned();
        let mut all = [Vec::new(), Vec::new()];
        for (WriterIndex(writer), entries) in self.batch.take_entries() {
            all[usize::from(writer)] = entries.iter().map(text).collect();
        }
        all
    }
}

#[test]
fn messages_to_the_same_audiences_share_one_entry_each() {
    let (here, there) = (address(HERE, slot(0)), address(THERE, slot(0)));
    let mut room = OneRoom::of(&[here, there]);
    room.publish(here, "a");
    room.publish(there, "b");
    assert_eq!(room.entries(), [["[x] a\n[x] b\n"], ["[x] a\n[x] b\n"]]);
}

#[test]
fn whoever_left_gets_nothing_said_later_though_others_share_the_bytes_before() {
    let (here, there) = (address(HERE, slot(0)), address(THERE, slot(0)));
    let mut room = OneRoom::of(&[here, there]);
    room.publish(here, "a");
    room.leave(there);
    room.publish(here, "b");
    let [_, entries_there] = room.entries();
    assert_eq!(entries_there, ["[x] a\n"]);
}

#[test]
fn an_answer_in_between_is_not_overtaken() {
    let (here, guest) = (address(HERE, slot(0)), address(HERE, slot(1)));
    let mut room = OneRoom::of(&[here]);
    room.publish(here, "a");
    room.publish(guest, "refused");
    room.publish(here, "b");
    let [entries, _] = room.entries();
    assert_eq!(entries, ["[x] a\n", "Join a room first\n", "[x] b\n"]);
}

#[test]
fn who_comes_back_within_a_batch_gets_only_what_was_said_while_in() {
    let (here, other) = (address(HERE, slot(0)), address(HERE, slot(1)));
    let mut room = OneRoom::of(&[here, other]);
    room.leave(other);
    room.publish(here, "a");
    room.join(other);
    room.publish(here, "b");
    let [entries, _] = room.entries();
    assert_eq!(entries, ["[x] a\n", "Joined room-0\n", "[x] b\n"]);
}
