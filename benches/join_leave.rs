//! What does it cost to enter a room and to leave it, and does that grow with the room? A join and a leave alone must not.
//! A publish between them has the list of targets made anew, which is linear in the room: shown beside it.
//!
//! `cargo bench --bench join_leave -- [alone|publish_between]`

mod common;

use common::hall::{Hall, address};
use common::{label, publish, room};
use criterion::{BenchmarkId, Criterion, Throughput};
use roomcast::broker::{Member, Reservation, ShardCommand};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::writer::Address;
use tokio::sync::oneshot;

const MEMBERS: [u32; 4] = [10, 100, 1_000, 10_000];

/// A shard with one room, and a guest who comes and goes.
struct Visited {
    hall: Hall,
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
                // Each visit is a batch of its own: the dearest case, and the one of a quiet server.
                visited.hall.end_batch();
            });
        });
    }
}

impl Visited {
    /// A room of so many members besides the guest.
    fn by(members: u32) -> Self {
        let mut visited = Self { hall: Hall::new(), room: room(0), guest: address(members), label: label() };
        for member in 0..members {
            visited.join(address(member));
            visited.hall.end_batch();
        }
        visited
    }

    fn join(&mut self, address: Address) {
        // What was asked for is there when the batch is; nobody waits for it here.
        let (ack, _) = oneshot::channel();
        let member = Member { address, dialect: Dialect::Lines, label: self.label.clone() };
        self.hall.step(ShardCommand::Join { room: self.room.clone(), member, reservation: Reservation::None, ack });
    }

    fn leave(&mut self) {
        let (ack, _) = oneshot::channel();
        self.hall.step(ShardCommand::Leave { room: self.room.clone(), address: self.guest, ack });
    }

    fn publish(&mut self) {
        self.hall.step(ShardCommand::Publish(publish(self.room.clone(), self.guest)));
    }
}
