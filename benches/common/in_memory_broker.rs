//! The product's broker and writers with members in memory: the tasks of one worker as in `src/worker`, without
//! sockets. This module has a writer's task of its own, because the product's task writes to sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roomcast::broker::{Broker, ClientWindow, ShardMailbox, ShardSenders, ShardTask};
use roomcast::memory::MemoryUse;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::names::RoomName;
use roomcast::writer::handle::{BatchSender, WriterMailbox, mailbox};
use roomcast::writer::{Address, Input, Slot, Writer, WriterCommand, WriterIndex};
use tokio::runtime::LocalRuntime;
use tokio::sync::mpsc;
use tokio::task::{spawn_local, yield_now};

use super::sink::{Round, Sink, SinkWire};
use super::{ROOMY, capacity, join, joined_line, line, publish, room, rules, runtime};

/// A writer with sinks in place of sockets.
pub struct SinkWriter {
    writer: Writer,
    wire: SinkWire,
    mailbox: mpsc::Receiver<WriterCommand>,
}

impl SinkWriter {
    pub fn new(WriterMailbox { commands, load }: WriterMailbox) -> Self {
        let writer = Writer::counting_in(Arc::default(), ROOMY, load);
        Self { writer, wire: SinkWire::default(), mailbox: commands }
    }

    pub fn open(&mut self, sink: Sink) -> Slot {
        let slot = self.writer.open(Dialect::TextLines);
        self.wire.open(slot, sink);
        slot
    }

    /// Handles all waiting commands, writes a chunk, and yields, like the loop of the product's `WriterTask`.
    pub async fn run(mut self) {
        loop {
            while let Ok(command) = self.mailbox.try_recv() {
                self.step(Input::Command(command));
            }
            if self.writer.is_dirty() {
                self.step(Input::Flush);
                yield_now().await;
            } else {
                match self.mailbox.recv().await {
                    Some(command) => self.step(Input::Command(command)),
                    None => return,
                }
            }
        }
    }

    fn step(&mut self, input: Input) {
        self.writer.step(Instant::now(), input, &mut self.wire);
    }
}

/// Starts the task of a shard on this thread.
pub fn start_shard(mailbox: ShardMailbox, writers: Vec<BatchSender>) {
    drop(spawn_local(ShardTask::new(mailbox, writers, Arc::default(), &MemoryUse::default()).run()));
}

/// Rooms on one thread, which also publishes.
pub struct InMemoryBroker {
    runtime: LocalRuntime,
    broker: Broker,
    /// The rooms, each with its publishing member.
    rooms: Vec<(RoomName, Address)>,
    round: Arc<Round>,
    rounds: flume::Receiver<Instant>,
}

impl InMemoryBroker {
    /// Starts this many shards and joins this many members to each room.
    pub fn open(shards: u16, rooms: usize, members: usize) -> Self {
        let runtime = runtime();
        let (seed, shard_mailboxes) = ShardSenders::new(shards, &capacity(), rules());
        let broker = seed.broker();
        let (batches, writer_mailbox) = mailbox();
        let mut writer = SinkWriter::new(writer_mailbox);
        let (round, rounds) = Round::first(rooms * members, joined_line(&room(0)).len());
        let mut address = || Address { writer: WriterIndex(0), slot: writer.open(Sink::new(&round)) };
        let rooms: Vec<(RoomName, Vec<Address>)> =
            (0..rooms).map(|number| (room(number), (0..members).map(|_| address()).collect())).collect();
        runtime.block_on(async {
            for mailbox in shard_mailboxes {
                start_shard(mailbox, vec![batches.clone()]);
            }
            spawn_local(writer.run());
            for (room, members) in &rooms {
                for &member in members {
                    broker.join(join(room.clone(), member)).await.expect("there is room");
                }
            }
            rounds.recv_async().await.expect("the sinks are there");
        });
        let rooms = rooms.into_iter().map(|(room, members)| (room, members[0])).collect();
        Self { runtime, broker, rooms, round, rounds }
    }

    /// Publishes once to each room. Returns the time until every member has received it.
    pub fn publish(&self) -> Duration {
        self.round.next(line().len());
        self.runtime.block_on(async {
            let mut window = ClientWindow::default();
            let begun = Instant::now();
            for (room, member) in &self.rooms {
                self.broker.send(publish(room.clone(), *member), &mut window).await;
            }
            let over = self.rounds.recv_async().await.expect("the sinks are there");
            over.duration_since(begun)
        })
    }
}
