//! How much faster are shards and writers that receive messages than rooms that all tasks share? Four brokers do the
//! same work:
//! - `sharded`: Roomcast's own, with members in memory;
//! - `rwlock_broadcast`: stage 4, rooms in `Arc<RwLock<HashMap>>` with a tokio `broadcast` channel for each room;
//! - `dashmap_mailboxes`: rooms in a `DashMap`, a flume mailbox for each member;
//! - `parking_lot_mailboxes`: rooms in a `parking_lot::RwLock<HashMap>`, a flume mailbox for each member.
//!
//! The comparison is fair: two threads do all the work, including the publishing, and a third thread only waits. The
//! published line has 128 bytes, and every delivery ends in the same `Sink`, which counts bytes. The clock stops when
//! every member has received everything. There are no sockets. The sharded broker merges a burst to a member into one
//! write; in `one_big_room` and `many_small_rooms` there is nothing to merge.
//!
//! `cargo bench --bench architectures -- [one_big_room|many_small_rooms|churn|many_publishers]` prints a table at the
//! end.

#[path = "../common/mod.rs"]
mod common;
mod locked_broadcast;
mod mailboxes;
#[path = "../common/measuring.rs"]
mod measuring;
mod sharded;
mod shared;
mod table;
mod workload;

use criterion::{Criterion, SamplingMode, Throughput};
use locked_broadcast::LockedBroadcast;
use mailboxes::{DashMapMailboxes, LockedMailboxes};
use sharded::Sharded;
use shared::Shared;
use table::Row;
use workload::{Architecture, WORKLOADS, Workload};

/// The number of threads of each broker and its publishers, the same on every machine.
const THREADS: usize = 2;

/// The number of actions after which a publishing task yields, as a connection does.
const TURN_ACTIONS: usize = 64;

const SAMPLES: usize = 20;

fn main() {
    let mut criterion = measuring::criterion();
    let rows: Vec<Row> = WORKLOADS.into_iter().map(|workload| compare(&mut criterion, workload)).collect();
    criterion.final_summary();
    table::print(&rows);
}

fn compare(criterion: &mut Criterion, workload: Workload) -> Row {
    Row {
        workload: workload.name,
        brokers: vec![
            measure::<Sharded>(criterion, workload),
            measure::<Shared<LockedBroadcast>>(criterion, workload),
            measure::<Shared<DashMapMailboxes>>(criterion, workload),
            measure::<Shared<LockedMailboxes>>(criterion, workload),
        ],
    }
}

/// Measures one broker. Returns its name and the median nanoseconds of a delivery, unless the flags leave it out.
fn measure<A: Architecture>(criterion: &mut Criterion, workload: Workload) -> (&'static str, Option<f64>) {
    let mut group = criterion.benchmark_group(format!("architectures/{}", workload.name));
    group.sample_size(SAMPLES).sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(workload.deliveries_per_round() as u64));
    let mut broker = None;
    let mut samples = Vec::new();
    group.bench_function(A::NAME, |bencher| {
        let broker = broker.get_or_insert_with(|| A::open(workload));
        bencher.iter_custom(|rounds| {
            let time = (0..rounds).map(|_| broker.round()).sum();
            samples.push((time, rounds));
            time
        });
    });
    // The earlier samples belong to criterion's warm-up.
    let measured = samples.split_off(samples.len().saturating_sub(SAMPLES));
    (A::NAME, table::median_per_delivery(&measured, workload.deliveries_per_round()))
}
