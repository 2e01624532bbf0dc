//! How expensive are ten thousand connections that wait for one full shard? The product's mailbox keeps them in a list,
//! and removes each of them in constant time. A flume channel scans all waiting senders whenever one of them is done.
//!
//! `cargo bench --bench blocked_senders -- [mailbox|flume]`

mod common;
#[path = "common/measuring.rs"]
mod measuring;

use std::cell::Cell;
use std::iter;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use roomcast::mailbox::Mailbox;
use tokio::sync::mpsc;
use tokio::task::{spawn_local, yield_now};

const SENDERS: [usize; 3] = [100, 1_000, 10_000];

/// The capacity of the mailbox, so small that nearly all senders wait.
const MAILBOX_COMMANDS: usize = 64;

/// The number of commands that a shard takes before it yields.
const BATCH_COMMANDS: usize = 256;

/// Runs one storm of connections that send one command each, and returns its time.
type Storm = fn(usize) -> Duration;

fn main() {
    let mut criterion = measuring::criterion();
    measure(&mut criterion, "blocked_senders/mailbox", in_the_mailbox);
    measure(&mut criterion, "blocked_senders/flume", in_a_flume);
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, name: &str, storm: Storm) {
    let mut group = criterion.benchmark_group(name);
    // With flume, a storm of ten thousand senders takes tens of milliseconds.
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for senders in SENDERS {
        group.throughput(Throughput::Elements(senders as u64));
        group.bench_with_input(BenchmarkId::from_parameter(senders), &senders, |bencher, &senders| {
            bencher.iter_custom(|storms| (0..storms).map(|_| storm(senders)).sum());
        });
    }
}

fn in_the_mailbox(senders: usize) -> Duration {
    let (sender, mut receiver) = mpsc::channel(MAILBOX_COMMANDS);
    let mailbox = Mailbox::new(sender);
    let send = |number| {
        let mailbox = mailbox.clone();
        async move { mailbox.send(number).await }
    };
    let receive = async || {
        receiver.recv().await.expect("a sender is left");
        1 + iter::from_fn(|| receiver.try_recv().ok()).take(BATCH_COMMANDS - 1).count()
    };
    common::runtime().block_on(block_and_receive(senders, send, receive))
}

fn in_a_flume(senders: usize) -> Duration {
    let (sender, receiver) = flume::bounded(MAILBOX_COMMANDS);
    let send = |number| {
        let sender = sender.clone();
        async move { sender.send_async(number).await.expect("the receiver is open") }
    };
    let receive = async || {
        receiver.recv_async().await.expect("a sender is left");
        1 + receiver.try_iter().take(BATCH_COMMANDS - 1).count()
    };
    common::runtime().block_on(block_and_receive(senders, send, receive))
}

/// Lets all senders fill a mailbox without a receiver. Then measures how long it takes to receive everything in
/// batches, as a shard does.
async fn block_and_receive<F: Future<Output = ()> + 'static>(
    senders: usize,
    send: impl Fn(usize) -> F,
    mut receive: impl AsyncFnMut() -> usize,
) -> Duration {
    let started = Rc::new(Cell::new(0));
    for number in 0..senders {
        let (sending, started) = (send(number), Rc::clone(&started));
        spawn_local(async move {
            started.set(started.get() + 1);
            sending.await;
        });
    }
    while started.get() < senders {
        yield_now().await;
    }
    let begun = Instant::now();
    let mut received = 0;
    while received < senders {
        received += receive().await;
        yield_now().await;
    }
    begun.elapsed()
}
