//! One member in a hundred rooms of several shards, through the real session: it leaves each exactly once however it
//! ends, and is refused one room more. The ledger panics when a client leaves a room that it is not in.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture, LocalBoxFuture};
use roomcast::access::Access;
use roomcast::config::{Config, RuleSettings, Settings, Who};
use roomcast::protocol::command::CommandError;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::Position;
use roomcast::session::Outcome;
use roomcast::writer::Address;

use crate::common::{ROOMY, Random};
use crate::many_rooms::ManyRooms;
use crate::simulation::HISTORY;
use crate::simulation::server::{NO_HISTORY, Server, Shape};
use crate::simulation::tasks::{SHARD_COMMANDS_MAX, WriterTask};
use crate::wire::ALL;

const ROOMS: usize = 100;

const SHAPE: Shape = Shape {
    shards: 4,
    writers: 1,
    rooms: ROOMS + 1,
    outbox: ROOMY,
    room: NO_HISTORY,
    rooms_max: ROOMS,
    history: HISTORY,
};

/// The command that has not finished when the client ends.
#[derive(Clone, Copy, Debug)]
enum Unfinished {
    Nothing,
    Join,
    Leave,
    Publish,
}

/// A server with one client.
struct Fixture {
    server: Server,
    random: Random,
    address: Address,
    client: ManyRooms,
    /// The number of messages in room 0.
    said: usize,
}

/// Polls without anything to wake.
fn poll<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(Waker::noop()))
}

fn task(future: impl Future<Output = ()> + 'static) -> Fuse<LocalBoxFuture<'static, ()>> {
    future.boxed_local().fuse()
}

/// Goes on with a task unless it has ended. Returns whether it has.
fn is_done(task: &mut Fuse<LocalBoxFuture<'static, ()>>) -> bool {
    poll(|context| task.poll_unpin(context)).is_ready() || task.is_terminated()
}

/// Has every shard and every writer make one step.
fn step(server: &mut Server, random: &mut Random) {
    let now = Instant::now();
    (0..server.shards.len()).for_each(|shard| server.step_shard(shard, now, random));
    server.writers.iter_mut().for_each(|writer| writer.take_command(now));
    server.writers.iter_mut().for_each(|writer| writer.flush(now));
}

impl Fixture {
    /// A client in this many rooms.
    fn in_rooms(rooms: usize, seed: u64) -> Self {
        let mut server = Server::new(SHAPE);
        let address = server.writers[0].open(0, ALL, ALL);
        let client = ManyRooms::new(server.session(0, address));
        let mut fixture = Self { server, random: Random(seed), address, client, said: 0 };
        for room in 0..rooms {
            let outcome = fixture.client.join(&fixture.room(room), None);
            fixture.finish(outcome);
        }
        assert_eq!(fixture.rooms_in_shards(), rooms);
        fixture
    }

    fn room(&self, number: usize) -> RoomName {
        self.server.rooms[number].clone()
    }

    /// The rooms of which the shards have handled the join and not the leave.
    fn rooms_in_shards(&self) -> usize {
        self.server.ledger.rooms_of(self.address).count()
    }

    /// Steps the server until the command has finished.
    fn finish(&mut self, mut outcome: Outcome) {
        while outcome == Outcome::Pending {
            (0..self.random.below(3)).for_each(|_| step(&mut self.server, &mut self.random));
            if let Poll::Ready(ready) = poll(|context| self.client.poll(context)) {
                outcome = ready;
            }
        }
        assert_eq!(outcome, Outcome::Done);
    }

    /// Publishes in room 0.
    fn say(&mut self) -> Outcome {
        self.said += 1;
        let room = self.room(0);
        self.client.say(&room, format!("{} 0.{}", room.as_str(), self.said))
    }

    /// Publishes in room 0 until the mailbox of its shard is full.
    fn fill_mailbox(&mut self) {
        (0..SHARD_COMMANDS_MAX).for_each(|_| assert_eq!(self.say(), Outcome::Done));
    }

    /// Makes rules apply by which anyone may be in these rooms, and nobody in others.
    fn allow_only(&self, rooms: &[RoomName]) {
        let rule = |room: &RoomName| RuleSettings::new(room.as_str(), Who::Anyone);
        let settings = Settings { rules: rooms.iter().map(rule).collect(), ..Settings::default() };
        let config = Config::try_from(settings).expect("settings within their rules");
        let access = Access::load(&config.access).expect("no files");
        self.server.context(self.address).access.replace(access.into(), &self.server.writers[0].handle);
    }

    /// Begins a command in room 0 or in the last room, which are of the same shard.
    fn begin(&mut self, command: Unfinished) -> Outcome {
        match command {
            Unfinished::Nothing => Outcome::Done,
            Unfinished::Join => self.client.join(&self.room(ROOMS), None),
            Unfinished::Leave => self.client.leave(&self.room(0)),
            Unfinished::Publish => self.say(),
        }
    }

    /// Ends the client as its connection does, and checks that it is in no room any more.
    fn end(self, reason: Disconnect) {
        let Self { mut server, mut random, address, client, .. } = self;
        let (writer, drain) = (server.writers[0].handle.clone(), server.drain.clone());
        let ending = async move {
            client.into_session().end(reason, None).await;
            writer.input_ended(address.slot).await;
        };
        let (mut ending, mut stopping) = (task(ending), task(async move { drain.stop_publishing().await }));
        if reason == Disconnect::Shutdown {
            // The phase begins before its clients end.
            is_done(&mut stopping);
        }
        while !is_done(&mut ending) || !server.is_idle() {
            step(&mut server, &mut random);
            if reason == Disconnect::Shutdown {
                is_done(&mut stopping);
            }
        }
        server.ledger.check_rooms_are_empty();
        assert!(server.shards.iter().all(|shard| shard.shard.active_rooms() == 0), "a room is left");
        assert!(server.writers.iter().all(WriterTask::holds_nothing));
        server.ledger.check_received(address, false, server.socket(address));
    }
}

fn end_with(reason: Disconnect, unfinished: Unfinished, is_full: bool, seed: u64) {
    let mut fixture = Fixture::in_rooms(ROOMS - 1, seed);
    if is_full {
        fixture.fill_mailbox();
    }
    let outcome = fixture.begin(unfinished);
    if reason != Disconnect::Quit && reason != Disconnect::ClosedByPeer {
        fixture.server.writers[0].handle.disconnect(fixture.address.slot, reason);
    }
    fixture.finish(outcome);
    fixture.end(reason);
}

#[test]
fn a_member_in_a_hundred_rooms_leaves_each_exactly_once_however_it_ends() {
    use Disconnect::{ClosedByPeer, PingTimeout, Quit, Shutdown, SlowConsumer};
    for reason in [Quit, ClosedByPeer, SlowConsumer, PingTimeout, Shutdown] {
        for unfinished in [Unfinished::Nothing, Unfinished::Join, Unfinished::Leave, Unfinished::Publish] {
            for (is_full, seed) in [(false, 1), (true, 2), (true, 3)] {
                end_with(reason, unfinished, is_full, seed);
            }
        }
    }
}

#[test]
fn a_member_is_refused_one_room_more_and_stays_where_it_is() {
    let mut fixture = Fixture::in_rooms(ROOMS, 1);
    let (rooms, one_more) = (fixture.client.rooms(), fixture.room(ROOMS));
    let outcome = fixture.client.join(&one_more, None);
    fixture.finish(outcome);
    assert_eq!(fixture.client.refused, [CommandError::TooManyMemberships { rooms_max: ROOMS }]);
    assert_eq!(fixture.client.rooms(), rooms);
    assert_eq!(fixture.rooms_in_shards(), ROOMS);
    let outcome = fixture.client.leave(&rooms[7]);
    fixture.finish(outcome);
    let outcome = fixture.client.join(&one_more, None);
    fixture.finish(outcome);
    assert_eq!(fixture.client.refused.len(), 1, "there is a place again");
    assert!(!fixture.client.rooms().contains(&rooms[7]) && fixture.client.rooms().contains(&one_more));
    let received = fixture.server.ledger.check_received(fixture.address, false, fixture.server.socket(fixture.address));
    assert_eq!(received.refused_by_session, 1);
    fixture.end(Disconnect::Quit);
}

#[test]
fn a_member_leaves_exactly_the_rooms_that_other_rules_forbid() {
    for seed in 0..20 {
        let mut fixture = Fixture::in_rooms(ROOMS, seed);
        let (allowed, forbidden): (Vec<_>, Vec<_>) =
            fixture.client.rooms().into_iter().partition(|_| fixture.random.below(2) == 0);
        fixture.allow_only(&allowed);
        while fixture.client.needs_review() {
            let outcome = fixture.client.review();
            fixture.finish(outcome);
        }
        assert_eq!(fixture.client.rooms(), allowed);
        assert_eq!(fixture.rooms_in_shards(), allowed.len());
        for room in &forbidden {
            let outcome = fixture.client.join(room, None);
            fixture.finish(outcome);
        }
        assert_eq!(fixture.client.refused.len(), forbidden.len());
        let is_forbidden = |error: &CommandError| matches!(error, CommandError::Forbidden(_));
        assert!(fixture.client.refused.iter().all(is_forbidden), "{:?}", fixture.client.refused);
        fixture.end(Disconnect::Quit);
    }
}

#[test]
fn a_command_that_waits_is_refused_once_its_right_is_lost() {
    let since = Position::parse("0000000000000-0000000000000000");
    for joins in [false, true] {
        let mut fixture = Fixture::in_rooms(1, 1);
        let (room, other, allowed) = (fixture.room(0), fixture.room(1), fixture.room(2));
        // A long reply is on its way, for as long as its client does not read it.
        assert_eq!(fixture.client.members(&room), Outcome::Done);
        let outcome = if joins { fixture.client.join(&other, since) } else { fixture.client.members(&room) };
        assert_eq!(outcome, Outcome::Pending);
        assert!(poll(|context| fixture.client.poll(context)).is_pending());
        fixture.allow_only(&[allowed]);
        assert_eq!(poll(|context| fixture.client.poll(context)), Poll::Ready(Outcome::Done));
        assert!(matches!(fixture.client.refused[..], [CommandError::Forbidden(_)]), "{:?}", fixture.client.refused);
        let outcome = fixture.client.review();
        fixture.finish(outcome);
        assert_eq!(fixture.client.rooms(), []);
    }
}

#[test]
fn a_session_that_waits_gives_up_when_its_client_is_disconnected_but_not_at_a_shutdown() {
    for (reason, gives_up) in [(Disconnect::SlowConsumer, true), (Disconnect::Shutdown, false)] {
        let mut fixture = Fixture::in_rooms(1, 1);
        fixture.fill_mailbox();
        assert_eq!(fixture.begin(Unfinished::Publish), Outcome::Pending);
        assert!(poll(|context| fixture.client.poll(context)).is_pending());
        fixture.server.writers[0].handle.disconnect(fixture.address.slot, reason);
        let outcome = poll(|context| fixture.client.poll(context));
        assert_eq!(outcome == Poll::Ready(Outcome::Done), gives_up, "{reason:?}");
        fixture.finish(if gives_up { Outcome::Done } else { Outcome::Pending });
        fixture.end(reason);
    }
}

#[test]
fn at_a_shutdown_no_session_leaves_a_room_before_all_have_stopped_publishing() {
    let fixture = Fixture::in_rooms(ROOMS, 1);
    let Fixture { mut server, mut random, address, client, .. } = fixture;
    let other = server.session(1, address);
    let drain = server.drain.clone();
    let mut stopping = task(async move { drain.stop_publishing().await });
    let mut ending = task(client.into_session().end(Disconnect::Shutdown, None));
    let mut all = |server: &mut Server, random: &mut Random| {
        is_done(&mut stopping);
        step(server, random);
        is_done(&mut ending)
    };
    assert!((0..100).all(|_| !all(&mut server, &mut random)));
    assert_eq!(server.ledger.rooms_of(address).count(), ROOMS);
    drop(other);
    assert!((0..1_000).any(|_| all(&mut server, &mut random)));
    server.ledger.check_rooms_are_empty();
}

#[test]
fn a_session_that_a_stop_ends_before_the_others_leaves_at_once_behind_what_it_has_published() {
    let mut fixture = Fixture::in_rooms(ROOMS, 1);
    fixture.fill_mailbox();
    assert_eq!(fixture.begin(Unfinished::Publish), Outcome::Pending);
    fixture.server.writers[0].handle.disconnect(fixture.address.slot, Disconnect::Shutdown);
    fixture.finish(Outcome::Pending);
    let Fixture { mut server, mut random, address, client, said, .. } = fixture;
    // It goes on to publish for as long as it likes.
    let _other = server.session(1, address);
    let writer = server.writers[0].handle.clone();
    let mut ending = task(async move {
        client.into_session().end(Disconnect::Shutdown, None).await;
        writer.input_ended(address.slot).await;
    });
    let has_ended = |_| {
        step(&mut server, &mut random);
        is_done(&mut ending) && server.is_idle()
    };
    assert!((0..10_000).any(has_ended));
    server.ledger.check_rooms_are_empty();
    let received = server.ledger.check_received(address, false, server.socket(address));
    assert_eq!(received.messages, said as u64, "all of its own");
}
