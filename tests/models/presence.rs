//! What members are told of each other: who joins and who leaves, or how many there are.

use roomcast::broker::{Farewell, ShardCommand, ShardRules};
use roomcast::config::LimitsOfRoom;
use roomcast::writer::Kind;
use tokio::sync::oneshot;

use crate::common::{ROOM_LIMITS, limits_of_all};
use crate::remembering::{Fixture, SECOND, client, name};

fn has_events(rules: &mut ShardRules) {
    rules.rooms = limits_of_all(LimitsOfRoom { presence_events: true, ..ROOM_LIMITS });
    rules.presence_events_members_max = 3;
}

#[test]
fn members_are_told_who_joins_and_leaves_where_a_setting_says_so() {
    let mut fixture = Fixture::new(has_events);
    fixture.join_since(1, None);
    fixture.join_since(2, None);
    fixture.join_since(2, None);
    fixture.leave(2);
    assert_eq!(fixture.lines_of(1), ["Joined room-0", "JOINED 1", "JOINED 2", "LEFT 2"]);
    let mut quiet = Fixture::new(|_| {});
    (1..3).for_each(|number| quiet.join_since(number, None));
    quiet.leave(2);
    assert_eq!(quiet.lines_of(1), ["Joined room-0"]);
}

#[test]
fn a_room_with_many_members_is_told_their_number_once_a_second() {
    let mut fixture = Fixture::new(has_events);
    (1..7).for_each(|number| fixture.join_since(number, None));
    fixture.leave(6);
    assert_eq!(fixture.lines_of(1), ["Joined room-0", "JOINED 1", "JOINED 2", "JOINED 3"]);
    assert!(fixture.shard.needs_sweep());
    fixture.pass(SECOND);
    assert_eq!(fixture.lines_of(1), ["MEMBERS 5"]);
    fixture.pass(SECOND);
    assert!(fixture.entries().is_empty());
    fixture.leave(5);
    fixture.leave(4);
    // One of them made the room small enough to name who leaves.
    assert_eq!(fixture.lines_of(1), ["LEFT 4"]);
}

#[test]
fn nobody_is_told_of_members_that_leave_because_the_server_stops() {
    let mut fixture = Fixture::new(has_events);
    (1..3).for_each(|number| fixture.join_since(number, None));
    fixture.entries();
    let (answer, _) = oneshot::channel();
    fixture.step(ShardCommand::Leave(name(), client(2), Farewell::Nobody, answer));
    assert!(fixture.entries().is_empty());
}

#[test]
fn the_number_of_members_is_told_in_one_batch_with_the_commands_that_come_meanwhile() {
    let mut fixture = Fixture::new(has_events);
    (1..6).for_each(|number| fixture.join_since(number, None));
    fixture.entries();
    fixture.pass(SECOND);
    fixture.say(1, "meanwhile");
    assert_eq!(fixture.lines_of(2), ["MEMBERS 5", "[1] meanwhile"]);
}

#[test]
fn a_message_behind_what_members_are_told_is_a_delivery_and_that_is_none() {
    let mut fixture = Fixture::new(has_events);
    (1..3).for_each(|number| fixture.join_since(number, None));
    fixture.entries();
    fixture.leave(2);
    fixture.say(1, "behind it");
    let entries = fixture.entries();
    let kinds: Vec<(&[u8], Kind)> = entries.iter().map(|entry| (entry.frames.bytes(), entry.frames.kind())).collect();
    assert_eq!(kinds, [(&b"LEFT 2\n"[..], Kind::Reply), (b"[1] behind it\n", Kind::Delivery)]);
}
