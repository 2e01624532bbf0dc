//! What does it cost to join and to leave a room, and does that grow with the room? A join and a leave alone must not.
//! A publish between them rebuilds the list of targets, which is linear in the room and measured separately.
//!
//! `cargo bench --bench join_leave -- [alone|publish_between]`

mod common;
#[path = "common/measuring.rs"]
mod measuring;

use common::bare_shard::{BareShard, address};
use common::{join, publish, room};
use criterion::{BenchmarkId, Criterion, Throughput};
use roomcast::broker::{Farewell, ShardCommand};
use roomcast::protocol::names::RoomName;
use roomcast::writer::Address;
use tokio::sync::oneshot;

const MEMBERS: [u32; 4] = [10, 100, 1_000, 10_000];

/// A shard with one room and a guest that joins and leaves.
struct RoomWithGuest {
    bare_shard: BareShard,
    room: RoomName,
    guest: Address,
}

fn main() {
    let mut criterion = measuring::criterion();
    measure(&mut criterion, "join_leave/alone", |_| {});
    measure(&mut criterion, "join_leave/publish_between", RoomWithGuest::publish);
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, name: &str, stay: fn(&mut RoomWithGuest)) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    for members in MEMBERS {
        let mut room_with_guest = None;
        group.bench_function(BenchmarkId::from_parameter(members), |bencher| {
            let room_with_guest = room_with_guest.get_or_insert_with(|| RoomWithGuest::new(members));
            bencher.iter(|| {
                room_with_guest.join(room_with_guest.guest);
                stay(room_with_guest);
                room_with_guest.leave();
                // Each visit is a batch of its own, as on a quiet server. This is the most expensive case.
                room_with_guest.bare_shard.end_batch();
            });
        });
    }
}

impl RoomWithGuest {
    /// A shard with one room that has this many members besides the guest.
    fn new(members: u32) -> Self {
        let mut room_with_guest = Self { bare_shard: BareShard::new(), room: room(0), guest: address(members) };
        for member in 0..members {
            room_with_guest.join(address(member));
            room_with_guest.bare_shard.end_batch();
        }
        room_with_guest
    }

    fn join(&mut self, address: Address) {
        // The bench drops the receiver, because nothing waits for the answer here.
        let (ack, _) = oneshot::channel();
        self.bare_shard.step(ShardCommand::Join(join(self.room.clone(), address), ack));
    }

    fn leave(&mut self) {
        let (ack, _) = oneshot::channel();
        self.bare_shard.step(ShardCommand::Leave(self.room.clone(), self.guest, Farewell::Others, ack));
    }

    fn publish(&mut self) {
        self.bare_shard.step(ShardCommand::Member(publish(self.room.clone(), self.guest)));
    }
}
