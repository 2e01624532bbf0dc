//! Rules for when a message may share the entry of the message before it.

use roomcast::broker::{Batch, Farewell, Now, Shard, ShardCommand};
use roomcast::writer::{Address, Entry, WriterIndex};
use tokio::sync::oneshot;

use crate::common::{address, join, label, publish, room, shard, slot};

const HERE: u16 = 0;
const THERE: u16 = 1;

/// A shard with one room, and the batch that the shard writes to.
struct OneRoom {
    shard: Shard,
    batch: Batch,
}

impl OneRoom {
    /// A room with these members. Their `Joined` lines were already taken from the batch.
    fn of(members: &[Address]) -> Self {
        let mut this = Self { shard: shard(), batch: Batch::new(2) };
        members.iter().for_each(|&address| this.join(address));
        assert!(this.batch.take_entries().count() > 0);
        this
    }

    fn join(&mut self, address: Address) {
        let (ack, _) = oneshot::channel();
        self.step(ShardCommand::Join(join(room(0), address, label("x")), ack));
    }

    fn leave(&mut self, address: Address) {
        let (ack, _) = oneshot::channel();
        self.step(ShardCommand::Leave(room(0), address, Farewell::Others, ack));
    }

    fn publish(&mut self, address: Address, text: &str) {
        self.step(ShardCommand::Member(publish(room(0), address, text)));
    }

    fn step(&mut self, command: ShardCommand) {
        self.shard.step(Now::read(), command, &mut self.batch);
    }

    /// Takes the entries from the batch and returns their text, by writer.
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
fn a_member_that_left_gets_no_later_message_although_it_shared_the_earlier_bytes() {
    let (here, there) = (address(HERE, slot(0)), address(THERE, slot(0)));
    let mut room = OneRoom::of(&[here, there]);
    room.publish(here, "a");
    room.leave(there);
    room.publish(here, "b");
    let [_, entries_there] = room.entries();
    assert_eq!(entries_there, ["[x] a\n"]);
}

#[test]
fn a_message_does_not_overtake_an_answer_before_it() {
    let (here, guest) = (address(HERE, slot(0)), address(HERE, slot(1)));
    let mut room = OneRoom::of(&[here]);
    room.publish(here, "a");
    room.publish(guest, "refused");
    room.publish(here, "b");
    let [entries, _] = room.entries();
    assert_eq!(entries, ["[x] a\n", "Join a room first\n", "[x] b\n"]);
}

#[test]
fn a_member_that_rejoins_within_a_batch_misses_the_messages_published_while_it_was_out() {
    let (here, other) = (address(HERE, slot(0)), address(HERE, slot(1)));
    let mut room = OneRoom::of(&[here, other]);
    room.leave(other);
    room.publish(here, "a");
    room.join(other);
    room.publish(here, "b");
    let [entries, _] = room.entries();
    assert_eq!(entries, ["[x] a\n", "Joined room-0\n", "[x] b\n"]);
}
