//! What does it cost to find a room's shard and to hand it a message, and what do more shards cost on one thread?
//! `hand_over` measures only the mailboxes, and `deliver` measures the whole way to members in memory.
//!
//! `cargo bench --bench routing -- [hand_over|deliver]`

mod common;
#[path = "common/measuring.rs"]
mod measuring;

use std::cell::LazyCell;
use std::hint::black_box;

use common::in_memory_broker::InMemoryBroker;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use roomcast::broker::{Broker, ClientWindow, MemberCommand, ShardMailbox, ShardSenders};
use roomcast::writer::{Address, Slot, WriterIndex};

const SHARDS: [u16; 4] = [1, 2, 4, 8];

/// The number of rooms, with one message to each. The messages fit into the mailbox of a single shard.
const ROOMS: usize = 512;
const MEMBERS: usize = 10;

fn main() {
    let mut criterion = measuring::criterion();
    hand_over(&mut criterion);
    deliver(&mut criterion);
    criterion.final_summary();
}

fn hand_over(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routing/hand_over");
    group.throughput(Throughput::Elements(ROOMS as u64));
    for shards in SHARDS {
        let (seed, mut mailboxes) = ShardSenders::new(shards, &common::capacity(), common::rules());
        let broker = seed.broker();
        let mut windows = vec![ClientWindow::default(); ROOMS];
        let publishes = || -> Vec<MemberCommand> { (0..ROOMS).map(publish).collect() };
        group.bench_function(BenchmarkId::from_parameter(shards), |bencher| {
            bencher.iter_batched(
                publishes,
                |publishes| pass(publishes, &broker, &mut windows, &mut mailboxes),
                BatchSize::LargeInput,
            );
        });
    }
}

/// Publishes through the broker and empties the mailboxes. The time includes freeing the messages, as in a shard.
fn pass(publishes: Vec<MemberCommand>, broker: &Broker, windows: &mut [ClientWindow], mailboxes: &mut [ShardMailbox]) {
    for (publish, window) in publishes.into_iter().zip(windows) {
        assert!(broker.try_send(publish, window).is_ok(), "a mailbox takes them all");
    }
    for mailbox in mailboxes {
        while let Some(command) = mailbox.try_next() {
            black_box(command);
        }
    }
}

fn publish(room: usize) -> MemberCommand {
    let address = Address { writer: WriterIndex(0), slot: Slot { index: 0, generation: 0 } };
    common::publish(common::room(room), address)
}

fn deliver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routing/deliver");
    group.throughput(Throughput::Elements((ROOMS * MEMBERS) as u64));
    for shards in SHARDS {
        let broker = LazyCell::new(|| InMemoryBroker::open(shards, ROOMS, MEMBERS));
        group.bench_function(BenchmarkId::from_parameter(shards), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| broker.publish()).sum());
        });
    }
}
