//! Roomcast: two worker threads, each with a shard and a writer as in `src/worker`, and sinks in place of sockets.
//! Members and publishers are spread over both.

use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use roomcast::broker::{Broker, ClientWindow, Farewell, ShardMailbox, ShardSenders};
use roomcast::protocol::names::RoomName;
use roomcast::writer::handle::{BatchSender, WriterMailbox, mailbox};
use roomcast::writer::{Address, WriterIndex};
use tokio::task::{JoinSet, spawn_local, yield_now};

use crate::common::in_memory_broker::{SinkWriter, start_shard};
use crate::common::sink::{Round, Sink};
use crate::common::{capacity, join, publish, room, rules, runtime};
use crate::workload::{Action, Architecture, Workload};
use crate::{THREADS, TURN_ACTIONS};

pub struct Sharded {
    workload: Workload,
    /// One sender for each worker. A message on it starts a round.
    starts: Vec<flume::Sender<()>>,
    round: Arc<Round>,
    rounds: flume::Receiver<Instant>,
}

/// The state that one worker thread owns.
struct Worker {
    index: usize,
    workload: Workload,
    shard: ShardMailbox,
    seed: ShardSenders,
    writers: Vec<BatchSender>,
    mailbox: WriterMailbox,
    round: Arc<Round>,
    starts: flume::Receiver<()>,
}

/// A publisher's task. It runs on the worker of the member that it publishes for.
struct Publisher {
    window: ClientWindow,
    broker: Broker,
    rooms: Rc<[RoomName]>,
    /// The publishing member of each room.
    publishing_members: Vec<Option<Address>>,
    guest: Address,
    guest_is_in: bool,
    script: Vec<Action>,
}

impl Architecture for Sharded {
    const NAME: &'static str = "sharded";

    fn open(workload: Workload) -> Self {
        let (round, rounds) = Round::first(workload.members_in_all(), workload.bytes_at_join());
        let (seed, shards) = ShardSenders::new(THREADS as u16, &capacity(), rules());
        let (writers, mailboxes): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mailbox()).unzip();
        let start = |(index, (shard, mailbox))| {
            let (start, starts) = flume::unbounded();
            let (seed, writers, round) = (seed.clone(), writers.clone(), Arc::clone(&round));
            let worker = Worker { index, workload, shard, seed, writers, mailbox, round, starts };
            thread::spawn(move || worker.run());
            start
        };
        let starts = shards.into_iter().zip(mailboxes).enumerate().map(start).collect();
        rounds.recv().expect("everybody joins");
        Self { workload, starts, round, rounds }
    }

    fn round(&mut self) -> Duration {
        self.round.next(self.workload.bytes_per_round());
        let begun = Instant::now();
        for worker in &self.starts {
            worker.send(()).expect("a worker outlives the rounds");
        }
        self.rounds.recv().expect("the members are there").duration_since(begun)
    }
}

impl Worker {
    fn run(self) {
        runtime().block_on(self.work());
    }

    async fn work(self) {
        let workload = self.workload;
        let mut writer = SinkWriter::new(self.mailbox);
        let own = |number: &usize| number % THREADS == self.index;
        let mut open = |sink| Address { writer: WriterIndex(self.index as u16), slot: writer.open(sink) };
        let members: Vec<(usize, Address)> =
            (0..workload.members_in_all()).filter(own).map(|member| (member, open(Sink::new(&self.round)))).collect();
        let broker = self.seed.broker();
        let rooms: Rc<[RoomName]> = (0..workload.rooms).map(room).collect();
        let mut publishers: Vec<Publisher> = (0..workload.publishers)
            .filter(own)
            .map(|publisher| Publisher {
                broker: broker.clone(),
                window: ClientWindow::default(),
                rooms: Rc::clone(&rooms),
                publishing_members: publishing_members(workload, &members),
                guest: open(Sink::new(&Round::endless())),
                guest_is_in: false,
                script: workload.script(publisher),
            })
            .collect();
        start_shard(self.shard, self.writers);
        spawn_local(writer.run());
        for (member, address) in members {
            let room = rooms[workload.room_of(member)].clone();
            broker.join(join(room, address)).await.expect("there is room");
        }
        while self.starts.recv_async().await.is_ok() {
            let mut tasks = JoinSet::new();
            for publisher in publishers.drain(..) {
                tasks.spawn_local(publisher.run());
            }
            publishers = tasks.join_all().await;
        }
    }
}

/// The publishing member of each room on this worker.
fn publishing_members(workload: Workload, members: &[(usize, Address)]) -> Vec<Option<Address>> {
    let mut publishing_members = vec![None; workload.rooms];
    for &(member, address) in members {
        publishing_members[workload.room_of(member)] = Some(address);
    }
    publishing_members
}

impl Publisher {
    async fn run(mut self) -> Self {
        for at in 0..self.script.len() {
            match self.script[at] {
                Action::Publish { room } => self.publish(room).await,
                Action::Visit { room } => self.visit(room).await,
            }
            if (at + 1) % TURN_ACTIONS == 0 {
                yield_now().await;
            }
        }
        self
    }

    async fn publish(&mut self, number: usize) {
        let member = self.publishing_members[number].expect("every room has a member on every worker");
        self.broker.send(publish(self.rooms[number].clone(), member), &mut self.window).await;
    }

    async fn visit(&mut self, number: usize) {
        if self.guest_is_in {
            self.broker.leave(self.rooms[number].clone(), self.guest, Farewell::Others).await;
        } else {
            let joined = self.broker.join(join(self.rooms[number].clone(), self.guest));
            joined.await.expect("there is room");
        }
        self.guest_is_in = !self.guest_is_in;
    }
}
