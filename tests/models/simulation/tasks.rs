//! Models of the tasks around the state machines. They have bounded mailboxes, a batch waits until its writers have
//! room, and acknowledgements follow the batch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomcast::broker::{Batch, Now, Shard, ShardCommand};
use roomcast::config::OutboxLimits;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::{Address, Entry, Input, Kind, Slot, Writer, WriterCommand, WriterIndex, WriterMetrics};

use super::ledger::Ledger;
use crate::common::{Random, address, shard};
use crate::wire::{MemoryWire, Socket};

/// The capacities of the mailboxes. They are small, so that senders find them full.
const SHARD_COMMANDS_MAX: usize = 6;
const WRITER_COMMANDS_MAX: usize = 3;

/// A writer has room while fewer than this many messages are on their way to its sockets.
pub const DELIVERIES_MAX: usize = 12;

/// A shard, its mailbox and the batch that it is handing over.
pub struct ShardTask {
    shard: Shard,
    mailbox: VecDeque<ShardCommand>,
    batch: Batch,
    handed_over: VecDeque<(usize, Vec<Entry>)>,
}

/// A writer, its mailbox and its sockets.
pub struct WriterTask {
    writer: Writer,
    metrics: Arc<WriterMetrics>,
    wire: MemoryWire,
    mailbox: VecDeque<WriterCommand>,
}

impl ShardTask {
    pub fn new(writers: usize) -> Self {
        Self { shard: shard(), mailbox: VecDeque::new(), batch: Batch::new(writers), handed_over: VecDeque::new() }
    }

    /// Puts the command into the mailbox, or returns it if the mailbox is full.
    pub fn send(&mut self, command: ShardCommand) -> Result<(), ShardCommand> {
        if self.mailbox.len() == SHARD_COMMANDS_MAX {
            return Err(command);
        }
        self.mailbox.push_back(command);
        Ok(())
    }

    /// Runs a request without the mailbox, after the run has ended.
    pub fn request(&mut self, command: ShardCommand) {
        self.shard.step(Now::read(), command, &mut self.batch);
        assert_eq!(self.batch.take_entries().count(), 0);
        self.batch.acknowledge();
    }

    /// Hands over one writer's entries, or takes a batch.
    pub fn step(&mut self, random: &mut Random, ledger: &mut Ledger, writers: &mut [WriterTask]) {
        if self.handed_over.is_empty() {
            self.take_batch(1 + random.below(SHARD_COMMANDS_MAX), ledger, writers);
        } else if let Some((writer, entries)) = self.handed_over.pop_front()
            && let Err(WriterCommand::Batch(entries)) = writers[writer].send(WriterCommand::Batch(entries))
        {
            self.handed_over.push_front((writer, entries));
        }
        if self.handed_over.is_empty() {
            self.batch.acknowledge();
        }
    }

    fn take_batch(&mut self, commands: usize, ledger: &mut Ledger, writers: &[WriterTask]) {
        for _ in 0..commands {
            let batch = &self.batch;
            let has_room = |writer: WriterIndex, targets| {
                targets == 0 || writers[usize::from(writer.0)].unwritten() + batch.deliveries(writer) < DELIVERIES_MAX
            };
            let command = match (self.shard.next_waiting(has_room), self.mailbox.is_empty()) {
                (None, false) => self.mailbox.pop_front().and_then(|command| self.shard.admit(command, has_room)),
                (waited, _) => waited,
            };
            if let Some(command) = command {
                ledger.record(&command);
                self.shard.step(Now::read(), command, &mut self.batch);
            }
        }
        let entries = self.batch.take_entries();
        self.handed_over.extend(entries.map(|(writer, entries)| (usize::from(writer.0), entries)));
    }

    pub fn deliveries_on_their_way(&self) -> u64 {
        self.handed_over.iter().map(|(_, entries)| deliveries(entries)).sum()
    }

    pub fn is_idle(&self) -> bool {
        self.mailbox.is_empty() && self.handed_over.is_empty() && !self.shard.is_waiting()
    }
}

impl AsRef<WriterMetrics> for WriterTask {
    fn as_ref(&self) -> &WriterMetrics {
        &self.metrics
    }
}

impl WriterTask {
    pub fn new(limits: OutboxLimits) -> Self {
        let metrics = Arc::<WriterMetrics>::default();
        let writer = Writer::counting_in(Arc::clone(&metrics), limits, Arc::default());
        Self { writer, metrics, wire: MemoryWire::default(), mailbox: VecDeque::new() }
    }

    pub fn holds_nothing(&self) -> bool {
        self.writer.held_bytes() == 0
    }

    /// Opens a client and returns its address. `number` is the number of this writer.
    pub fn open(&mut self, number: usize, capacity: usize, piece: usize) -> Address {
        let slot = self.writer.open(Dialect::TextLines);
        self.wire.open(slot, capacity, piece);
        address(u16::try_from(number).expect("few writers"), slot)
    }

    /// Puts the command into the mailbox, or returns it if the mailbox is full.
    pub fn send(&mut self, command: WriterCommand) -> Result<(), WriterCommand> {
        if self.mailbox.len() == WRITER_COMMANDS_MAX {
            return Err(command);
        }
        self.mailbox.push_back(command);
        Ok(())
    }

    pub fn take_command(&mut self, now: Instant) {
        if let Some(command) = self.mailbox.pop_front() {
            self.step(now, Input::Command(command));
        }
    }

    pub fn flush(&mut self, now: Instant) {
        self.step(now, Input::Flush);
    }

    pub fn sweep(&mut self, now: Instant) {
        self.step(now, Input::Sweep(Duration::ZERO));
    }

    /// Lets the socket take this many more bytes. The writer is notified if it watches the socket.
    pub fn grant(&mut self, now: Instant, slot: Slot, bytes: usize) {
        let Some(socket) = self.wire.socket_mut(slot) else {
            return;
        };
        socket.capacity += bytes;
        if std::mem::take(&mut socket.watched) {
            self.step(now, Input::Writable(slot));
        }
    }

    pub fn break_socket(&mut self, slot: Slot) {
        self.wire.socket_mut(slot).into_iter().for_each(|socket| socket.broken = true);
    }

    pub fn disconnect(&mut self, slot: Slot) -> Option<Disconnect> {
        self.writer.disconnect_reason(slot, None)
    }

    pub fn socket(&self, slot: Slot) -> &Socket {
        self.wire.socket(slot)
    }

    pub fn deliveries_on_their_way(&self) -> u64 {
        let batches = self.mailbox.iter().map(|command| match command {
            WriterCommand::Batch(entries) => deliveries(entries),
            _ => 0,
        });
        batches.sum()
    }

    /// The number of messages on their way to sockets that have not refused them.
    pub fn unwritten(&self) -> usize {
        self.writer.waiting() + self.deliveries_on_their_way() as usize
    }

    pub fn is_idle(&self) -> bool {
        self.mailbox.is_empty() && !self.writer.is_dirty() && self.writer.clients() == 0
    }

    fn step(&mut self, now: Instant, input: Input) {
        self.writer.step(now, input, &mut self.wire);
        self.wire.check_after_step();
    }
}

fn deliveries(entries: &[Entry]) -> u64 {
    let deliveries = entries.iter().filter(|entry| entry.frames.kind() == Kind::Delivery);
    let pairs = deliveries.map(|entry| entry.frames.messages() * entry.targets.as_slice().len());
    pairs.sum::<usize>() as u64
}
