//! How long does it take until one publish has reached every member of a room, and how does that grow with the room?
//! Uses the product's broker and writer on one thread, with members in memory or with sockets that another thread
//! reads.
//!
//! `cargo bench --bench fan_out -- [memory|sockets]`

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/measuring.rs"]
mod measuring;
mod sockets;

use std::cell::LazyCell;

use common::in_memory_broker::InMemoryBroker;
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use sockets::SocketBroker;

const MEMBERS: [usize; 4] = [10, 100, 1_000, 10_000];

fn main() {
    let mut criterion = measuring::criterion();
    into_memory(&mut criterion);
    if let Err(error) = sockets::prepare() {
        return eprintln!("fan_out/sockets: left out: {error:#}");
    }
    into_sockets(&mut criterion);
    criterion.final_summary();
}

fn into_memory(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan_out/memory");
    for members in MEMBERS {
        group.throughput(Throughput::Elements(members as u64));
        let broker = LazyCell::new(|| InMemoryBroker::open(1, 1, members));
        group.bench_function(BenchmarkId::from_parameter(members), |bencher| {
            bencher.iter_custom(|publishes| (0..publishes).map(|_| broker.publish()).sum());
        });
    }
}

fn into_sockets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan_out/sockets");
    // A publish to ten thousand members takes a tenth of a second.
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    for members in MEMBERS {
        group.throughput(Throughput::Elements(members as u64));
        let broker = LazyCell::new(|| SocketBroker::open(members).expect("loopback has room for them"));
        group.bench_function(BenchmarkId::from_parameter(members), |bencher| {
            bencher.iter_custom(|publishes| (0..publishes).map(|_| broker.publish()).sum());
        });
    }
}
