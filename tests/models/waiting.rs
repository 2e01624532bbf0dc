//! Commands that wait in a shard for the writers of their room, and commands that do not wait.

use std::cell::Cell;
use std::time::Instant;

use bytes::Bytes;
use roomcast::broker::{Batch, Member, Publish, Reservation, Shard, ShardCommand};
use roomcast::protocol::dialect::Dialect;
use roomcast::writer::{Address, WriterIndex};
use tokio::sync::oneshot;

use crate::common::{address, label, room, shard, slot};

/// A shard over two writers, of which one may be full.
struct Site {
    shard: Shard,
    batch: Batch,
    full: Cell<Option<WriterIndex>>,
    /// The commands that were handled, in order.
    handled: Vec<String>,
}

const FIRST: WriterIndex = WriterIndex(0);
const SECOND: WriterIndex = WriterIndex(1);

impl Site {
    /// Rooms 0 and 1 have two members each on the first writer; room 2 has them on the second, room 3 on both.
    fn open() -> Self {
        let mut site = Self { shard: shard(), batch: Batch::new(2), full: Cell::new(Some(FIRST)), handled: Vec::new() };
        for (number, writers) in [(0, [0, 0]), (1, [0, 0]), (2, [1, 1]), (3, [0, 1])] {
            for (at, writer) in (0..).zip(writers) {
                let address = member(number, at, writer);
                let member = Member { address, dialect: Dialect::Lines, label: label(number) };
                let (ack, _) = oneshot::channel();
                site.shard.step(ShardCommand::Join(room(number), member, Reservation::None, ack), &mut site.batch);
            }
        }
        site
    }

    fn send(&mut self, command: ShardCommand) {
        let full = self.full.get();
        if let Some(command) = self.shard.admit(command, |writer, targets| targets == 0 || Some(writer) != full) {
            self.handle(command);
        }
        self.go_on();
    }

    /// Handles the waiting commands that need not wait any longer.
    fn go_on(&mut self) {
        let full = self.full.get();
        while let Some(command) = self.shard.next_waiting(|writer, targets| targets == 0 || Some(writer) != full) {
            self.handle(command);
        }
    }

    fn handle(&mut self, command: ShardCommand) {
        self.handled.push(match &command {
            ShardCommand::Publish(publish) => publish.text.to_string(),
            ShardCommand::Reply(_, _, bytes, _) => String::from_utf8_lossy(bytes).into_owned(),
            ShardCommand::Leave(..) => "leave".to_owned(),
            other => format!("{other:?}"),
        });
        self.shard.step(command, &mut self.batch);
    }
}

fn member(room: usize, at: u32, writer: u16) -> Address {
    address(writer, slot(10 * room as u32 + at))
}

fn say(number: usize, address: Address, text: &str) -> ShardCommand {
    let (room, text) = (room(number), text.into());
    ShardCommand::Publish(Publish {
        room,
        address,
        dialect: Dialect::Lines,
        text,
        read_at: Instant::now(),
        permit: None,
    })
}

fn reply(number: usize, address: Address, text: &'static str) -> ShardCommand {
    ShardCommand::Reply(room(number), address, Bytes::from_static(text.as_bytes()), None)
}

#[test]
fn a_full_writer_holds_up_only_the_rooms_that_have_members_there() {
    let mut site = Site::open();
    site.send(say(0, member(0, 0, 0), "first"));
    site.send(say(3, member(3, 1, 1), "both"));
    site.send(say(2, member(2, 0, 1), "second"));
    assert_eq!(site.handled, ["second"]);
    site.full.set(Some(SECOND));
    site.go_on();
    assert_eq!(site.handled, ["second", "first"]);
    site.full.set(None);
    site.go_on();
    assert_eq!(site.handled, ["second", "first", "both"]);
    assert!(!site.shard.is_waiting());
}

#[test]
fn answers_stay_behind_what_their_client_has_said_and_pass_what_others_have() {
    let mut site = Site::open();
    let (speaker, listener) = (member(0, 0, 0), member(0, 1, 0));
    site.send(say(0, speaker, "said"));
    site.send(reply(0, speaker, "to the speaker"));
    site.send(reply(0, listener, "to the listener"));
    assert_eq!(site.handled, ["to the listener"]);
    site.full.set(None);
    site.go_on();
    assert_eq!(site.handled, ["to the listener", "said", "to the speaker"]);
}

#[test]
fn a_room_keeps_its_order_while_some_of_it_waits() {
    let mut site = Site::open();
    site.send(say(0, member(0, 0, 0), "one"));
    site.send(say(0, member(0, 1, 0), "two"));
    let (ack, _) = oneshot::channel();
    site.send(ShardCommand::Leave(room(0), member(0, 1, 0), ack));
    assert!(site.handled.is_empty());
    site.full.set(None);
    // It comes when there is room again, and yet not ahead of what waits.
    site.send(say(0, member(0, 0, 0), "three"));
    assert_eq!(site.handled, ["one", "two", "leave", "three"]);
}

#[test]
fn rooms_that_wait_have_their_turns() {
    let mut site = Site::open();
    for number in 0..100 {
        site.send(say(0, member(0, 0, 0), &format!("busy {number}")));
    }
    site.send(say(1, member(1, 0, 0), "quiet"));
    site.full.set(None);
    site.go_on();
    let quiet = site.handled.iter().position(|text| text == "quiet");
    assert!(quiet.is_some_and(|at| at <= 64), "{quiet:?}");
    assert_eq!(site.handled.len(), 101);
}
