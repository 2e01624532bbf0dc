//! The busiest rooms of a shard: what a look finds, and what it leaves for the next one.

use std::time::Duration;

use roomcast::broker::{BUSIEST_ROOMS_MAX, Batch, BusiestRooms, Farewell, Now, RoomActivity, Shard, ShardCommand};
use roomcast::writer::Address;
use tokio::sync::oneshot;

use crate::common::{address, join, label, publish, room, shard, slot};

struct Fixture {
    shard: Shard,
    batch: Batch,
    now: Now,
}

fn client(number: usize) -> Address {
    address(0, slot(u32::try_from(number).expect("few clients")))
}

impl Fixture {
    fn new() -> Self {
        Self { shard: shard(), batch: Batch::new(1), now: Now::read() }
    }

    fn step(&mut self, command: ShardCommand) {
        self.shard.step(self.now, command, &mut self.batch);
    }

    /// Gives a room this many members, of which the first one publishes.
    fn fill(&mut self, number: usize, members: usize, messages: usize) {
        for member in 0..members {
            self.step(ShardCommand::Join(join(room(number), client(member), label(member)), oneshot::channel().0));
        }
        self.publish(number, messages);
    }

    fn publish(&mut self, number: usize, messages: usize) {
        (0..messages).for_each(|_| self.step(ShardCommand::Member(publish(room(number), client(0), "text"))));
    }

    fn look(&mut self) -> BusiestRooms {
        let (answer, mut found) = oneshot::channel();
        self.step(ShardCommand::Busiest(answer));
        self.batch.acknowledge();
        found.try_recv().expect("answered")
    }
}

fn activity(number: usize, members: usize, rate: f64) -> RoomActivity {
    RoomActivity { room: room(number), members, rate }
}

#[test]
fn a_look_finds_what_was_published_since_the_last_one() {
    let mut fixture = Fixture::new();
    fixture.fill(1, 3, 5);
    fixture.fill(2, 2, 8);
    let found = fixture.look();
    assert_eq!(found.by_members, [activity(1, 3, 0.0), activity(2, 2, 0.0)], "it is not known since when");
    assert_eq!(found.by_rate, []);
    fixture.now.instant += Duration::from_secs(4);
    fixture.publish(1, 1);
    fixture.publish(2, 6);
    let found = fixture.look();
    assert_eq!(found.by_members, [activity(1, 3, 0.25), activity(2, 2, 1.5)]);
    assert_eq!(found.by_rate, [activity(2, 2, 1.5), activity(1, 3, 0.25)]);
    fixture.now.instant += Duration::from_secs(1);
    fixture.publish(1, 1);
    assert_eq!(fixture.look().by_rate, [activity(1, 3, 1.0)]);
}

#[test]
fn a_room_that_has_ended_and_came_back_begins_anew() {
    let mut fixture = Fixture::new();
    fixture.fill(1, 1, 5);
    fixture.look();
    fixture.step(ShardCommand::Leave(room(1), client(0), Farewell::Others, oneshot::channel().0));
    fixture.step(ShardCommand::RemoveHistory(room(1), oneshot::channel().0));
    fixture.fill(1, 1, 2);
    fixture.now.instant += Duration::from_secs(1);
    assert_eq!(fixture.look().by_rate, [activity(1, 1, 2.0)]);
}

#[test]
fn of_many_rooms_the_busiest_are_found_and_those_of_two_shards_are_merged() {
    let [one, other] = [0, 1].map(|shard| {
        let mut fixture = Fixture::new();
        fixture.look();
        // Each counts from its own last look, however long ago that was.
        let seconds = 1 + shard;
        fixture.now.instant += Duration::from_secs(seconds as u64);
        // Even ones in one shard, odd ones in the other.
        for number in (0..20).map(|number| 2 * number + shard) {
            fixture.fill(number, 1 + number, seconds * (40 - number));
        }
        fixture.look()
    });
    let merged = one.merge(other);
    let members: Vec<usize> = merged.by_members.iter().map(|room| room.members).collect();
    let rates: Vec<f64> = merged.by_rate.iter().map(|room| room.rate).collect();
    assert_eq!(members, (31..=40).rev().collect::<Vec<_>>());
    assert_eq!(rates, (31..=40).rev().map(f64::from).collect::<Vec<_>>());
    assert_eq!(members.len(), BUSIEST_ROOMS_MAX);
}

#[test]
fn a_room_that_is_only_remembered_has_no_members_to_show() {
    let mut fixture = Fixture::new();
    fixture.look();
    fixture.now.instant += Duration::from_secs(1);
    fixture.fill(1, 1, 5);
    fixture.step(ShardCommand::Leave(room(1), client(0), Farewell::Others, oneshot::channel().0));
    let found = fixture.look();
    assert_eq!((found.by_members, found.by_rate), (Vec::new(), vec![activity(1, 0, 5.0)]));
}
