//! Commands that wait in a shard because a writer of their room is full, and commands that need not wait.

use std::cell::Cell;

use bytes::Bytes;
use roomcast::broker::{Act, Batch, Farewell, MemberCommand, Now, Shard, ShardCommand};
use roomcast::protocol::publication::Data;
use roomcast::writer::{Address, WriterIndex};
use tokio::sync::oneshot;

use crate::common::{self, address, command, label, room, shard, slot};

/// A shard with two writers. At most one of them is full.
struct Fixture {
    shard: Shard,
    batch: Batch,
    full: Cell<Option<WriterIndex>>,
    /// The commands that were handled, in order.
    handled: Vec<String>,
}

const FIRST: WriterIndex = WriterIndex(0);
const SECOND: WriterIndex = WriterIndex(1);

impl Fixture {
    /// Every room has two members: rooms 0 and 1 on the first writer, room 2 on the second, and room 3 one on each. The
    /// first writer is full.
    fn open() -> Self {
        let mut fixture =
            Self { shard: shard(), batch: Batch::new(2), full: Cell::new(Some(FIRST)), handled: Vec::new() };
        for (number, writers) in [(0, [0, 0]), (1, [0, 0]), (2, [1, 1]), (3, [0, 1])] {
            for (at, writer) in (0..).zip(writers) {
                let (ack, _) = oneshot::channel();
                let join = common::join(room(number), member(number, at, writer), label(number));
                fixture.shard.step(Now::read(), ShardCommand::Join(join, ack), &mut fixture.batch);
            }
        }
        fixture
    }

    fn send(&mut self, command: ShardCommand) {
        let full = self.full.get();
        if let Some(command) = self.shard.admit(command, |writer, targets| targets == 0 || Some(writer) != full) {
            self.handle(command);
        }
        self.handle_waiting();
    }

    /// Handles the waiting commands that no longer need to wait.
    fn handle_waiting(&mut self) {
        let full = self.full.get();
        while let Some(command) = self.shard.next_waiting(|writer, targets| targets == 0 || Some(writer) != full) {
            self.handle(command);
        }
    }

    fn handle(&mut self, command: ShardCommand) {
        self.handled.push(match &command {
            ShardCommand::Member(MemberCommand { act: Act::Publish(Data::Text(text), _), .. }) => text.to_string(),
            ShardCommand::Member(MemberCommand { act: Act::Reply(bytes), .. }) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            ShardCommand::Leave(..) => "leave".to_owned(),
            other => format!("{other:?}"),
        });
        self.shard.step(Now::read(), command, &mut self.batch);
    }
}

fn member(room: usize, at: u32, writer: u16) -> Address {
    address(writer, slot(10 * room as u32 + at))
}

fn publish(number: usize, address: Address, text: &str) -> ShardCommand {
    ShardCommand::Member(common::publish(room(number), address, text))
}

fn reply(number: usize, address: Address, text: &'static str) -> ShardCommand {
    ShardCommand::Member(command(room(number), address, Act::Reply(Bytes::from_static(text.as_bytes()))))
}

#[test]
fn a_full_writer_holds_up_only_the_rooms_that_have_members_there() {
    let mut fixture = Fixture::open();
    fixture.send(publish(0, member(0, 0, 0), "first"));
    fixture.send(publish(3, member(3, 1, 1), "both"));
    fixture.send(publish(2, member(2, 0, 1), "second"));
    assert_eq!(fixture.handled, ["second"]);
    fixture.full.set(Some(SECOND));
    fixture.handle_waiting();
    assert_eq!(fixture.handled, ["second", "first"]);
    fixture.full.set(None);
    fixture.handle_waiting();
    assert_eq!(fixture.handled, ["second", "first", "both"]);
    assert!(!fixture.shard.is_waiting());
}

#[test]
fn an_answer_waits_behind_the_publishes_of_its_client_and_passes_those_of_others() {
    let mut fixture = Fixture::open();
    let (speaker, listener) = (member(0, 0, 0), member(0, 1, 0));
    fixture.send(publish(0, speaker, "published"));
    fixture.send(reply(0, speaker, "to the speaker"));
    fixture.send(reply(0, listener, "to the listener"));
    assert_eq!(fixture.handled, ["to the listener"]);
    fixture.full.set(None);
    fixture.handle_waiting();
    assert_eq!(fixture.handled, ["to the listener", "published", "to the speaker"]);
}

#[test]
fn a_room_keeps_its_order_while_some_of_its_commands_wait() {
    let mut fixture = Fixture::open();
    fixture.send(publish(0, member(0, 0, 0), "one"));
    fixture.send(publish(0, member(0, 1, 0), "two"));
    let (ack, _) = oneshot::channel();
    fixture.send(ShardCommand::Leave(room(0), member(0, 1, 0), Farewell::Others, ack));
    assert!(fixture.handled.is_empty());
    fixture.full.set(None);
    // This command arrives when the writer has room again, and still it does not overtake the waiting ones.
    fixture.send(publish(0, member(0, 0, 0), "three"));
    assert_eq!(fixture.handled, ["one", "two", "leave", "three"]);
}

#[test]
fn waiting_rooms_take_turns() {
    let mut fixture = Fixture::open();
    for number in 0..100 {
        fixture.send(publish(0, member(0, 0, 0), &format!("busy {number}")));
    }
    fixture.send(publish(1, member(1, 0, 0), "quiet"));
    fixture.full.set(None);
    fixture.handle_waiting();
    let quiet = fixture.handled.iter().position(|text| text == "quiet");
    assert!(quiet.is_some_and(|at| at <= 64), "{quiet:?}");
    assert_eq!(fixture.handled.len(), 101);
}
