//! The limits of rooms by the first rule that names them, and rules that change while rooms exist. One rule per test.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use roomcast::auth::rules::RoomRules;
use roomcast::broker::{
    Act, Batch, Farewell, Join, Joined, Now, RECLAIM_STEPS_MAX, RoomLimiter, Shard, ShardCommand, ShardRules,
    ShardSenders,
};
use roomcast::config::LimitsOfRoom;
use roomcast::protocol::command::CommandError;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::{Position, Since};
use roomcast::writer::Address;
use tokio::sync::oneshot;

use crate::common::{
    ROOM_LIMITS, address, command, join, label, limits_of_all, publish, room, rule, rules, shard_with, slot,
};

const SECOND: Duration = Duration::from_secs(1);

const NO_HISTORY: LimitsOfRoom = LimitsOfRoom { history_messages_max: 0, ..ROOM_LIMITS };

/// A shard, and the lines that its clients get.
struct Fixture {
    shard: Shard,
    batch: Batch,
    now: Now,
}

impl Fixture {
    fn new(named: Vec<(&str, LimitsOfRoom)>) -> Self {
        Self::with(ShardRules { rooms: ruled(named).into(), ..rules() })
    }

    fn with(rules: ShardRules) -> Self {
        Self { shard: shard_with(usize::MAX, rules), batch: Batch::new(1), now: Now::read() }
    }

    fn step(&mut self, command: ShardCommand) {
        self.shard.step(self.now, command, &mut self.batch);
    }

    fn apply(&mut self, named: Vec<(&str, LimitsOfRoom)>) {
        let (answer, mut applied) = oneshot::channel();
        self.step(ShardCommand::Rules(ruled(named).into(), answer));
        self.batch.acknowledge();
        applied.try_recv().expect("answered");
    }

    fn join(&mut self, room: &RoomName, number: u32) -> Result<Joined, CommandError> {
        self.join_since(room, number, None)
    }

    fn join_since(&mut self, room: &RoomName, number: u32, since: Option<Position>) -> Result<Joined, CommandError> {
        let (answer, mut joined) = oneshot::channel();
        let join = Join { since: since.map(Since::from), ..join(room.clone(), client(number), label(number)) };
        self.step(ShardCommand::Join(join, answer));
        self.batch.acknowledge();
        joined.try_recv().expect("answered")
    }

    fn leave(&mut self, room: &RoomName, number: u32) {
        let (answer, _) = oneshot::channel();
        self.step(ShardCommand::Leave(room.clone(), client(number), Farewell::Others, answer));
    }

    /// Joins a room and publishes to it.
    fn fill(&mut self, room: &RoomName, messages: usize) {
        self.join(room, 0).expect("it has a place");
        for number in 0..messages {
            self.step(ShardCommand::Member(publish(room.clone(), client(0), &number.to_string())));
        }
    }

    fn position(&mut self, room: &RoomName) -> Position {
        self.lines_of(0);
        self.step(ShardCommand::Member(command(room.clone(), client(0), Act::Position)));
        let line = self.lines_of(0).pop().expect("an answer");
        Position::parse(line.trim_start_matches("Position ")).expect("a position")
    }

    /// The number of messages that a room retains.
    fn retained(&mut self, room: &RoomName) -> usize {
        self.lines_of(0);
        self.step(ShardCommand::Member(command(room.clone(), client(0), Act::History(usize::MAX, None))));
        self.lines_of(0).len() - 1
    }

    /// The lines that a client got from what was done so far. Those of others are lost.
    fn lines_of(&mut self, number: u32) -> Vec<String> {
        let entries: Vec<_> = self.batch.take_entries().flat_map(|(_, entries)| entries).collect();
        let own = entries.iter().filter(|entry| entry.targets.as_slice().contains(&slot(number)));
        let lines = own.flat_map(|entry| std::str::from_utf8(entry.frames.bytes()).expect("text").lines());
        lines.map(str::to_owned).collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        while self.shard.sweep(self.now, &mut self.batch) {}
    }
}

/// These rules, and the limits by default for rooms that none names.
fn ruled(named: Vec<(&str, LimitsOfRoom)>) -> RoomRules {
    RoomRules::new(named.into_iter().map(|(rooms, limits)| rule(rooms, limits)).collect(), ROOM_LIMITS)
}

fn client(number: u32) -> Address {
    address(0, slot(number))
}

fn count(history_messages_max: usize) -> LimitsOfRoom {
    LimitsOfRoom { history_messages_max, ..ROOM_LIMITS }
}

fn age(history_age_max: Duration) -> LimitsOfRoom {
    LimitsOfRoom { history_age_max, ..ROOM_LIMITS }
}

#[test]
fn a_room_retains_as_many_messages_as_the_first_rule_that_names_it_says() {
    let mut fixture = Fixture::new(vec![("room-1*", count(2)), ("room-*", count(5)), ("room-3", count(9))]);
    let other = RoomName::parse("other").expect("a valid name");
    for (room, expected) in [(room(1), 2), (room(17), 2), (room(2), 5), (room(3), 5), (other, 100)] {
        fixture.fill(&room, 120);
        assert_eq!(fixture.retained(&room), expected, "{room:?}");
    }
}

#[test]
fn a_room_takes_as_many_members_as_its_rule_says() {
    let mut fixture = Fixture::new(vec![("room-1", LimitsOfRoom { members_max: 1, ..ROOM_LIMITS })]);
    for number in 1..4 {
        assert!(fixture.join(&room(2), number).is_ok());
        let refused = fixture.join(&room(1), number).err();
        let full = CommandError::TooManyMembers { room: room(1), members_max: 1 };
        assert_eq!(refused, (number > 1).then_some(full));
    }
}

#[test]
fn members_are_told_of_each_other_where_their_rule_says_so() {
    let mut fixture = Fixture::new(vec![("room-1", LimitsOfRoom { presence_events: true, ..ROOM_LIMITS })]);
    for (room, expected) in [(room(1), &["Joined room-1", "JOINED 0", "JOINED 1"][..]), (room(2), &["Joined room-2"])] {
        (0..2).for_each(|number| drop(fixture.join(&room, number)));
        assert_eq!(fixture.lines_of(0), expected);
    }
}

#[test]
fn each_room_forgets_at_its_own_age() {
    let mut fixture = Fixture::new(vec![("room-1", age(5 * SECOND)), ("room-2", age(20 * SECOND))]);
    (1..4).for_each(|number| fixture.fill(&room(number), 3));
    for (time, expected) in [(4, [3, 3, 3]), (1, [0, 3, 3]), (14, [0, 3, 3]), (1, [0, 0, 3])] {
        fixture.pass(time * SECOND);
        assert_eq!([1, 2, 3].map(|number| fixture.retained(&room(number))), expected);
    }
}

#[test]
fn over_budget_the_messages_give_way_that_would_become_too_old_first_though_they_are_newer() {
    let mut rules = rules();
    rules.history.budget = 64 * 1024;
    rules.rooms = ruled(vec![("room-1", age(5 * SECOND))]).into();
    let mut fixture = Fixture::with(rules);
    fixture.fill(&room(2), 3);
    fixture.pass(SECOND);
    fixture.fill(&room(1), 3);
    fixture.join(&room(3), 0).expect("it has a place");
    fixture.step(ShardCommand::Member(publish(room(3), client(0), &"x".repeat(62 * 1024))));
    assert_eq!([1, 2, 3].map(|number| fixture.retained(&room(number))), [0, 0, 1]);
}

#[test]
fn new_rules_trim_rooms_that_exist_and_hold_for_what_is_published_next() {
    let mut fixture = Fixture::new(Vec::new());
    (1..4).for_each(|number| fixture.fill(&room(number), 9));
    let before = fixture.position(&room(1));
    fixture.apply(vec![("room-1", count(2)), ("room-2", age(5 * SECOND))]);
    assert_eq!([1, 2, 3].map(|number| fixture.retained(&room(number))), [2, 9, 9]);
    assert_eq!((fixture.position(&room(1)), fixture.shard.evicted().count), (before, 7));
    fixture.pass(5 * SECOND);
    assert_eq!([1, 2, 3].map(|number| fixture.retained(&room(number))), [2, 0, 9]);
    fixture.fill(&room(1), 9);
    assert_eq!(fixture.retained(&room(1)), 2);
    fixture.apply(Vec::new());
    (1..3).for_each(|number| fixture.fill(&room(number), 9));
    assert_eq!([1, 2, 3].map(|number| fixture.retained(&room(number))), [11, 9, 9]);
}

#[test]
fn members_above_a_new_limit_stay_and_nobody_else_comes_in() {
    let mut fixture = Fixture::new(Vec::new());
    (0..3).for_each(|number| drop(fixture.join(&room(1), number)));
    fixture.apply(vec![("room-1", LimitsOfRoom { members_max: 2, ..ROOM_LIMITS })]);
    assert!(fixture.join(&room(1), 3).is_err());
    fixture.lines_of(0);
    fixture.step(ShardCommand::Member(publish(room(1), client(0), "to all")));
    assert_eq!(fixture.lines_of(2), ["[0] to all"]);
    fixture.leave(&room(1), 2);
    assert!(fixture.join(&room(1), 3).is_err());
    fixture.leave(&room(1), 1);
    assert!(fixture.join(&room(1), 3).is_ok());
}

#[test]
fn a_room_that_may_remember_nothing_any_more_forgets_and_keeps_its_position_while_it_has_members() {
    let mut fixture = Fixture::new(Vec::new());
    fixture.fill(&room(1), 3);
    fixture.fill(&room(2), 3);
    fixture.leave(&room(2), 0);
    let position = fixture.position(&room(1));
    fixture.apply(vec![("room-*", NO_HISTORY)]);
    assert_eq!((fixture.shard.retained().bytes, fixture.shard.evicted().count), (0, 6));
    assert_eq!(fixture.position(&room(1)), position);
    fixture.fill(&room(1), 1);
    assert_eq!(fixture.retained(&room(1)), 0);
    fixture.join_since(&room(1), 1, Some(position)).expect("it has a place");
    assert_eq!(fixture.lines_of(1), ["Joined room-1", "GAP unknown"]);
    fixture.fill(&room(2), 0);
    assert_eq!(fixture.position(&room(2)).offset.0, 0, "a room without members is gone");
}

#[test]
fn members_of_a_large_room_are_not_told_their_number_once_a_rule_says_so() {
    let events = LimitsOfRoom { presence_events: true, ..ROOM_LIMITS };
    let mut fixture =
        Fixture::with(ShardRules { rooms: limits_of_all(events), presence_events_members_max: 1, ..rules() });
    (0..3).for_each(|number| drop(fixture.join(&room(1), number)));
    fixture.apply(Vec::new());
    fixture.lines_of(0);
    fixture.pass(SECOND);
    assert!(fixture.lines_of(0).is_empty());
}

#[test]
fn new_rules_reach_many_rooms_step_by_step() {
    const ROOMS: usize = 1_000;
    let mut fixture = Fixture::new(Vec::new());
    for number in 0..ROOMS {
        fixture.fill(&room(number), 3);
        fixture.lines_of(0);
    }
    fixture.apply(vec![("*", count(1))]);
    let (mut before, mut turns) = (3 * ROOMS, 1);
    loop {
        let retained = fixture.shard.retained().messages;
        assert!((1..=RECLAIM_STEPS_MAX / 8).contains(&(before - retained)), "{before} to {retained} in one turn");
        (before, turns) = (retained, turns + 1);
        if !fixture.shard.needs_sweep() || retained == ROOMS {
            break;
        }
        fixture.shard.continue_sweep(fixture.now);
    }
    assert!(turns > 10);
    assert!(!fixture.shard.continue_sweep(fixture.now));
}

#[test]
fn a_client_may_ask_for_as_many_messages_as_the_largest_history_by_the_newest_rules_holds() {
    let mut rules = ShardRules { rooms: ruled(vec![("a", count(20)), ("b", count(0))]).into(), ..rules() };
    rules.history.recovery_messages_max = 250;
    let (senders, mut mailboxes) = ShardSenders::new(1, &RoomLimiter::new(1), rules);
    let broker = senders.clone().broker();
    assert_eq!(broker.replay_messages_max(), 100);
    let context = &mut Context::from_waker(Waker::noop());
    let shards = senders.downgrade();
    let mut applied = pin!(shards.apply_rules(ruled(vec![("a", count(200))]).into()));
    assert!(applied.as_mut().poll(context).is_pending());
    assert_eq!(broker.replay_messages_max(), 200);
    let (mut shard, mut batch) = (mailboxes[0].shard(), Batch::new(1));
    shard.step(Now::read(), mailboxes[0].try_next().expect("the rules"), &mut batch);
    batch.acknowledge();
    assert!(applied.poll(context).is_ready());
}

#[test]
fn a_weak_handle_does_not_keep_the_shards_alive_and_does_nothing_once_they_have_ended() {
    let (senders, mut mailboxes) = ShardSenders::new(1, &RoomLimiter::new(1), rules());
    let shards = senders.downgrade();
    drop(senders);
    let context = &mut Context::from_waker(Waker::noop());
    assert!(matches!(pin!(mailboxes[0].next()).poll(context), Poll::Ready(None)));
    assert!(pin!(shards.apply_rules(ruled(Vec::new()).into())).poll(context).is_ready());
}
