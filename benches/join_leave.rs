//! What does it cost to enter a room and to leave it, and does that grow with the room? A join and a leave alone must not.
//! A publish between them has the list of targets made anew, which is linear in the room: shown beside it.
//!
//! `cargo bench --bench join_leave -- [alone|publish_between]`

mod common;

use std::hash::RandomState;
use std::hint::black_box;

use common::{capacity, label, publish, room};
use criterion::{BenchmarkId, Criterion, Throughput};
use roomcast::broker::{Ack, Batch, Member, Seat, Shard, ShardCommand};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::writer::{Address, Slot, WriterIndex};
use tokio::sync::oneshot;

const MEMBERS: [u32; 4] = [10, 100, 1_000, 10_000];

/// A shard with one room, and a guest who comes and goes.
struct Visited {
    shard: Shard,
    batch: Batch,
    room: RoomName,
    guest: Address,
    label: Label,
}

fn main() {
    let mut criterion = common::criterion();
    measure(&mut criterion, "join_leave/alone", |_| {});
    measure(&mut criterion, "join_leave/publish_between", Visited::publish);
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, name: &str, stay: fn(&mut Visited)) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    for members in MEMBERS {
        let mut visited = None;
        group.bench_function(BenchmarkId::from_parameter(members), |bencher| {
            let visited = visited.get_or_insert_with(|| Visited::by(members));
            bencher.iter(|| {
                visited.join(visited.guest);
                stay(visited);
                visited.leave();
                visited.end_batch();
            });
        });
    }
}

impl Visited {
    /// A room of so many members besides the guest.
    fn by(members: u32) -> Self {
        let shard = Shard::new(RandomState::new(), capacity());
        let mut visited = Self { shard, batch: Batch::new(1), room: room(0), guest: address(members), label: label() };
        for member in 0..members {
            visited.join(address(member));
            visited.end_batch();
        }
        visited
    }

    fn join(&mut self, address: Address) {
        // What was asked for is there when the batch is; nobody waits for it here.
        let (ack, _) = oneshot::channel();
        let member = Member { address, dialect: Dialect::Lines, label: self.label.clone() };
        self.step(ShardCommand::Join { room: self.room.clone(), member, seat: Seat::Free, ack });
    }

    fn leave(&mut self) {
        let (ack, _) = oneshot::channel();
        self.step(ShardCommand::Leave { room: self.room.clone(), address: self.guest, ack });
    }

    fn publish(&mut self) {
        self.step(ShardCommand::Publish(publish(self.room.clone(), self.guest)));
    }

    fn step(&mut self, command: ShardCommand) {
        self.shard.step(command, &mut self.batch);
    }

    /// Each visit is a batch of its own: the dearest case, and the one of a quiet server.
    fn end_batch(&mut self) {
        for (_, entries) in self.batch.take_entries() {
            black_box(entries);
        }
        self.batch.take_acks().for_each(Ack::fire);
    }
}

fn address(index: u32) -> Address {
    Address { writer: WriterIndex(0), slot: Slot { index, generation: 0 } }
}
