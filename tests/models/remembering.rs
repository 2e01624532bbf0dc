//! What a shard remembers of its rooms: history, resuming, repeated publishes, who is present. One rule per test.

use std::time::{Duration, Instant};

use roomcast::broker::{
    Act, Batch, Farewell, Join, KeyReused, Now, PeerAnswers, PresenceCount, PublishError, ReplyTo, Reservation,
    ServerPublish, Shard, ShardCommand, ShardRules,
};
use roomcast::config::{HistoryLimits, LimitsOfRoom};
use roomcast::protocol::compression::Compression;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::event::RequestId;
use roomcast::protocol::idempotency_key::IdempotencyKey;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::{Epoch, Offset, Position, Since, UnixMillis};
use roomcast::protocol::publication::Data;
use roomcast::writer::{Address, Entry, Kind};
use tokio::sync::oneshot;

use crate::common::{
    ROOM_LIMITS, address, command, join, label, limits_of_all, publish, publisher, room, rules, shard_with, slot,
};

pub const SECOND: Duration = Duration::from_secs(1);
const NO_HISTORY: LimitsOfRoom = LimitsOfRoom { history_messages_max: 0, ..ROOM_LIMITS };

/// A shard with one room that matters, and the lines that its clients get.
pub struct Fixture {
    pub shard: Shard,
    batch: Batch,
    now: Now,
}

impl Fixture {
    pub fn new(change: impl FnOnce(&mut ShardRules)) -> Self {
        let mut rules = rules();
        change(&mut rules);
        Self { shard: shard_with(1, rules), batch: Batch::new(1), now: Now::read() }
    }

    pub fn step(&mut self, command: ShardCommand) {
        self.shard.step(self.now, command, &mut self.batch);
    }

    /// The entries of what was done so far.
    pub fn entries(&mut self) -> Vec<Entry> {
        let entries = self.batch.take_entries().flat_map(|(_, entries)| entries).collect();
        self.batch.acknowledge();
        entries
    }

    /// The lines that a client got from what was done so far. Those of others are lost.
    pub fn lines_of(&mut self, number: u32) -> Vec<String> {
        let entries = self.entries();
        let own = entries.iter().filter(|entry| entry.targets.as_slice().contains(&slot(number)));
        own.flat_map(|entry| std::str::from_utf8(entry.frames.bytes()).expect("text").lines())
            .map(str::to_owned)
            .collect()
    }

    pub fn join_since(&mut self, number: u32, since: Option<Position>) {
        let (answer, _) = oneshot::channel();
        let join = Join { since: since.map(Since::from), ..join(name(), client(number), label(number)) };
        self.step(ShardCommand::Join(join, answer));
    }

    pub fn leave(&mut self, number: u32) {
        let (answer, _) = oneshot::channel();
        self.step(ShardCommand::Leave(name(), client(number), Farewell::Others, answer));
    }

    pub fn say(&mut self, number: u32, text: &str) {
        self.step(ShardCommand::Member(publish(name(), client(number), text)));
    }

    fn act(&mut self, number: u32, act: Act) {
        self.step(ShardCommand::Member(command(name(), client(number), act)));
    }

    /// The position of the room, as a member is told it.
    fn position(&mut self, number: u32) -> Position {
        self.act(number, Act::Position);
        let lines = self.lines_of(number);
        let last = lines.last().and_then(|line| line.strip_prefix("Position ")).expect("a position");
        Position::parse(last).expect("a position")
    }

    fn publish(&mut self, text: &str, key: Option<&str>) -> Option<Position> {
        self.try_publish(text, key).expect("a key that was not used for another publish")
    }

    fn try_publish(&mut self, text: &str, key: Option<&str>) -> Result<Option<Position>, PublishError> {
        let publish = ServerPublish {
            is_retained: true,
            room: name(),
            publisher: publisher(label("app")),
            data: Data::Text(text.into()),
            read_at: Instant::now(),
            key: key.map(|key| IdempotencyKey::parse(key).expect("a valid key")),
            permit: None,
        };
        self.ask(|answer| ShardCommand::Publish(Box::new(publish), answer))
    }

    /// The answer to a command.
    fn ask<T>(&mut self, command: impl FnOnce(oneshot::Sender<T>) -> ShardCommand) -> T {
        let (answer, mut answered) = oneshot::channel();
        self.step(command(answer));
        assert!(answered.try_recv().is_err(), "answered before the writers have the entries");
        self.batch.acknowledge();
        answered.try_recv().expect("answered")
    }

    pub fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        while self.shard.sweep(self.now, &mut self.batch) {}
    }
}

pub fn name() -> RoomName {
    room(0)
}

pub fn client(number: u32) -> Address {
    address(0, slot(number))
}

#[test]
fn a_client_that_joins_with_its_position_gets_what_it_has_missed_and_then_what_is_live() {
    let mut fixture = Fixture::new(|_| {});
    fixture.join_since(1, None);
    fixture.say(1, "before");
    let since = fixture.position(1);
    fixture.say(1, "missed");
    fixture.say(1, "missed, too");
    fixture.entries();
    fixture.join_since(2, Some(since));
    fixture.say(1, "live");
    assert_eq!(fixture.lines_of(2), ["Joined room-0", "[1] missed", "[1] missed, too", "[1] live"]);
    let now = fixture.position(1);
    fixture.join_since(3, Some(now));
    assert_eq!(fixture.lines_of(3), ["Joined room-0"]);
    assert_eq!(fixture.shard.recoveries().recovered, 2);
}

#[test]
fn what_cannot_be_had_whole_is_told_in_its_place_and_none_of_it_is_sent() {
    type Change = fn(&mut ShardRules);
    let too_many: Change = |rules| rules.history.recovery_messages_max = 2;
    let trimmed: Change = |rules| rules.rooms = limits_of_all(LimitsOfRoom { history_messages_max: 2, ..ROOM_LIMITS });
    let no_history: Change = |rules| rules.rooms = limits_of_all(NO_HISTORY);
    // Either the data is too long, or only the labels in front of it make it so.
    let too_long: Change = |rules| rules.replay_bytes_max = 400;
    let labels_too_long: Change = |rules| rules.replay_bytes_max = 800;
    for (change, text) in [
        (too_many, "said"),
        (trimmed, "said"),
        (no_history, "said"),
        (too_long, "said"),
        (labels_too_long, &"\n".repeat(90)),
    ] {
        let mut fixture = Fixture::new(change);
        fixture.join_since(1, None);
        let since = fixture.position(1);
        (0..3).for_each(|_| fixture.say(1, text));
        fixture.entries();
        fixture.join_since(2, Some(since));
        fixture.say(1, "live");
        assert_eq!(fixture.lines_of(2), ["Joined room-0", "GAP unknown", "[1] live"]);
        assert_eq!(fixture.shard.recoveries().unrecovered, 1);
    }
}

#[test]
fn a_position_of_another_epoch_or_ahead_of_the_room_is_a_gap() {
    let mut fixture = Fixture::new(|_| {});
    fixture.join_since(1, None);
    let Position { epoch, offset } = fixture.position(1);
    let other = Epoch::new(UnixMillis(0), 0);
    for since in [Position { epoch: other, offset }, Position { epoch, offset: Offset(1) }] {
        fixture.join_since(2, Some(since));
        assert_eq!(fixture.lines_of(2), ["Joined room-0", "GAP unknown"]);
        fixture.leave(2);
    }
}

#[test]
fn a_room_that_everybody_has_left_is_remembered_until_its_messages_are_too_old() {
    let limits = LimitsOfRoom { history_age_max: 10 * SECOND, ..ROOM_LIMITS };
    let mut fixture = Fixture::new(|rules| rules.rooms = limits_of_all(limits));
    fixture.join_since(1, None);
    let since = fixture.position(1);
    fixture.say(1, "remembered");
    fixture.leave(1);
    assert_eq!((fixture.shard.active_rooms(), fixture.shard.retained().messages), (0, 1));
    fixture.pass(9 * SECOND);
    fixture.entries();
    fixture.join_since(2, Some(since));
    assert_eq!(fixture.lines_of(2), ["Joined room-0", "[1] remembered"]);
    fixture.leave(2);
    fixture.pass(SECOND);
    assert!(fixture.shard.retained().bytes == 0 && !fixture.shard.needs_sweep());
    fixture.join_since(3, Some(since));
    assert_eq!(fixture.lines_of(3), ["Joined room-0", "GAP unknown"]);
    assert_ne!(fixture.position(3).epoch, since.epoch);
}

#[test]
fn rooms_that_are_only_remembered_do_not_count_against_the_limit_of_rooms() {
    let mut fixture = Fixture::new(|_| {});
    fixture.join_since(1, None);
    fixture.say(1, "remembered");
    fixture.leave(1);
    let (answer, mut joined) = oneshot::channel();
    fixture.step(ShardCommand::Join(join(room(1), client(2), label(2)), answer));
    fixture.entries();
    assert!(joined.try_recv().unwrap().is_ok());
    // The remembered room is full of nobody, but the limit is one room with members.
    let (answer, mut joined) = oneshot::channel();
    fixture.step(ShardCommand::Join(join(name(), client(3), label(3)), answer));
    fixture.entries();
    assert!(joined.try_recv().unwrap().is_err());
    let (answer, _) = oneshot::channel();
    fixture.step(ShardCommand::Leave(room(1), client(2), Farewell::Others, answer));
    fixture.join_since(3, None);
    assert_eq!(fixture.lines_of(3), ["Joined room-0"]);
}

#[test]
fn history_is_the_newest_messages_and_ends_with_the_position() {
    let mut fixture = Fixture::new(|rules| {
        rules.rooms = limits_of_all(LimitsOfRoom { history_messages_max: 4, ..ROOM_LIMITS });
        rules.history = HistoryLimits { recovery_messages_max: 3, ..rules.history };
    });
    fixture.join_since(1, None);
    ["a", "b", "c", "d", "e"].iter().for_each(|text| fixture.say(1, text));
    let end = format!("END HISTORY {}", fixture.position(1));
    let cases: [(usize, &[&str]); 4] =
        [(0, &[]), (1, &["[1] e"]), (3, &["[1] c", "[1] d", "[1] e"]), (9, &["[1] c", "[1] d", "[1] e"])];
    for (count, expected) in cases {
        fixture.act(1, Act::History(count, None));
        assert_eq!(fixture.lines_of(1), [expected, &[end.as_str()]].concat(), "{count}");
    }
}

#[test]
fn a_room_in_which_a_place_is_reserved_stays_the_same_though_nobody_is_in_it() {
    let mut fixture = Fixture::new(|rules| rules.rooms = limits_of_all(NO_HISTORY));
    fixture.join_since(1, None);
    fixture.say(1, "said");
    let since = fixture.position(1);
    let (answer, _) = oneshot::channel();
    fixture.step(ShardCommand::Reserve(name(), None, answer));
    fixture.leave(1);
    let (answer, _) = oneshot::channel();
    let resuming = Join { since: Some(since.into()), ..join(name(), client(2), label(2)) };
    fixture.step(ShardCommand::Join(Join { reservation: Reservation::Held, ..resuming }, answer));
    assert_eq!(fixture.lines_of(2), ["Joined room-0"], "it has missed nothing");
    assert_eq!(fixture.position(2), since);
    assert_eq!(fixture.shard.active_rooms(), 1);
}

#[test]
fn history_is_no_longer_than_a_client_may_get_at_once_with_its_labels() {
    let mut fixture = Fixture::new(|rules| rules.replay_bytes_max = 999);
    fixture.join_since(1, None);
    // Each is 50 bytes of data, and 250 with a label in front of each line.
    (0..4).for_each(|_| fixture.say(1, &"\n".repeat(49)));
    fixture.entries();
    fixture.act(1, Act::History(5, None));
    assert_eq!(fixture.lines_of(1).len(), 2 * 50 + 1);
}

#[test]
fn clients_that_resume_from_about_the_same_place_share_one_replay() {
    let mut fixture = Fixture::new(|_| {});
    fixture.join_since(1, None);
    let early = fixture.position(1);
    fixture.say(1, "one");
    let late = fixture.position(1);
    fixture.say(1, "two");
    fixture.entries();
    for (number, since) in [(2, early), (3, early), (4, late)] {
        fixture.join_since(number, Some(since));
    }
    let entries = fixture.entries();
    let replays: Vec<&[u8]> =
        entries.iter().map(|entry| entry.frames.bytes()).filter(|bytes| bytes[0] == b'[').collect();
    assert_eq!(replays, [&b"[1] one\n[1] two\n"[..], b"[1] one\n[1] two\n", b"[1] two\n"]);
    assert_eq!(replays[0].as_ptr(), replays[1].as_ptr());
    assert_eq!(replays[0][8..].as_ptr(), replays[2].as_ptr());
    assert_eq!(entries[1].frames.messages(), 2);
    fixture.say(1, "three");
    fixture.entries();
    fixture.join_since(5, Some(late));
    assert_eq!(fixture.lines_of(5), ["Joined room-0", "[1] two", "[1] three"]);
}

#[test]
fn a_replay_of_a_room_that_vanished_is_not_sent_in_its_next_life() {
    let mut fixture = Fixture::new(|rules| rules.history.budget = 64 * 1024);
    fixture.join_since(1, None);
    fixture.say(1, "of the first life");
    fixture.act(1, Act::History(1, None));
    let since = fixture.position(1);
    fixture.leave(1);
    fixture.now.instant += Duration::from_millis(1);
    let (answer, _) = oneshot::channel();
    fixture.step(ShardCommand::Join(join(room(1), client(2), label(2)), answer));
    fixture.step(ShardCommand::Member(publish(room(1), client(2), &"x".repeat(63 * 1024))));
    let (answer, _) = oneshot::channel();
    fixture.step(ShardCommand::Leave(room(1), client(2), Farewell::Others, answer));
    fixture.join_since(1, None);
    assert_ne!(fixture.position(1).epoch, since.epoch, "the budget was for the other room");
    fixture.say(1, "of the second life");
    fixture.entries();
    fixture.act(1, Act::History(1, None));
    assert_eq!(fixture.lines_of(1)[0], "[1] of the second life");
}

#[test]
fn an_application_publishes_without_being_in_the_room_and_a_repeat_is_published_once() {
    let mut fixture = Fixture::new(|_| {});
    let first = fixture.publish("to nobody", Some("key")).expect("it is remembered");
    assert_eq!(first.offset, Offset(1));
    fixture.join_since(1, Some(Position { offset: Offset(0), ..first }));
    assert_eq!(fixture.publish("to nobody", Some("key")), Some(first));
    let second = Position { offset: Offset(2), ..first };
    assert_eq!(fixture.publish("other", Some("other key")), Some(second));
    assert_eq!(fixture.try_publish("third", Some("other key")), Err(PublishError::KeyReused(KeyReused)));
    assert_eq!(fixture.lines_of(1), ["Joined room-0", "[app] to nobody", "[app] other"]);
    fixture.pass(5 * 60 * SECOND);
    assert_eq!(fixture.publish("to nobody", Some("key")), Some(Position { offset: Offset(3), ..first }));
}

#[test]
fn without_history_an_application_publishes_to_members_only() {
    let mut fixture = Fixture::new(|rules| rules.rooms = limits_of_all(NO_HISTORY));
    assert_eq!(fixture.publish("to nobody", None), None);
    fixture.join_since(1, None);
    assert_eq!(fixture.publish("to members", None).map(|position| position.offset), Some(Offset(1)));
    assert_eq!(fixture.lines_of(1), ["Joined room-0", "[app] to members"]);
}

#[test]
fn a_publish_with_a_request_is_acknowledged_behind_itself() {
    let mut fixture = Fixture::new(|_| {});
    fixture.join_since(1, None);
    let mut publish = publish(name(), client(1), "said");
    publish.from =
        ReplyTo { address: client(1), dialect: Dialect::JsonWebSocket(Compression::None), request: RequestId::new(7) };
    fixture.entries();
    fixture.step(ShardCommand::Member(publish));
    let [said, acknowledgement] = fixture.entries().try_into().expect("two entries");
    assert_eq!(said.frames.bytes(), b"[1] said\n");
    let reply = r#"{"id":7,"publish":{}}"#;
    assert_eq!(acknowledgement.frames.bytes(), [b"\x81\x15", reply.as_bytes()].concat());
    // A client that loses what it has said must not resume behind it.
    assert_eq!(acknowledgement.frames.kind(), Kind::Position);
}

#[test]
fn presence_is_every_member_as_others_see_it() {
    let mut fixture = Fixture::new(|_| {});
    (1..4).for_each(|number| fixture.join_since(number, None));
    fixture.leave(2);
    fixture.act(3, Act::Rename(publisher(label("renamed"))));
    let alone = PeerAnswers::default;
    let members = fixture.ask(|answer| ShardCommand::Presence(name(), alone(), answer)).expect("few members");
    let labels: std::collections::BTreeSet<&str> = members.iter().map(|member| member.label.as_str()).collect();
    assert_eq!(labels, ["1", "renamed"].into());
    assert!(fixture.ask(|answer| ShardCommand::Presence(room(1), alone(), answer)).expect("few members").is_empty());
    for (room, expected) in [(name(), PresenceCount { clients: 2, users: 1 }), (room(1), PresenceCount::default())] {
        assert_eq!(fixture.ask(|answer| ShardCommand::PresenceCount(room, alone(), answer)), expected);
    }
}

#[test]
fn clients_that_resume_wait_while_their_writer_has_too_much_to_write_and_publishers_pass_them() {
    let mut fixture = Fixture::new(|_| {});
    fixture.join_since(1, None);
    let since = fixture.position(1);
    fixture.say(1, "missed");
    let (answer, _) = oneshot::channel();
    let resuming = Join { since: Some(since.into()), ..join(name(), client(2), label(2)) };
    assert!(fixture.shard.admit(ShardCommand::Join(resuming, answer), |_, targets| targets == 0).is_none());
    assert!(fixture.shard.is_waiting());
    let publish = ShardCommand::Member(publish(name(), client(1), "meanwhile"));
    let publish = fixture.shard.admit(publish, |_, _| true).expect("nothing of the room waits");
    fixture.step(publish);
    let (answer, _) = oneshot::channel();
    let new = ShardCommand::Join(join(name(), client(3), label(3)), answer);
    assert!(fixture.shard.admit(new, |_, targets| targets == 0).is_some(), "it has nothing to catch up with");
    assert!(fixture.shard.next_waiting(|_, targets| targets == 0).is_none());
    fixture.entries();
    let resuming = fixture.shard.next_waiting(|_, _| true).expect("the writer has room");
    fixture.step(resuming);
    assert_eq!(fixture.lines_of(2), ["Joined room-0", "[1] missed", "[1] meanwhile"]);
    assert!(!fixture.shard.is_waiting());
}
