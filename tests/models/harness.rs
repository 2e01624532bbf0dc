//! A writer with its sockets in memory and a clock that only the test moves.

use std::time::{Duration, Instant};

use bytes::Bytes;
use roomcast::config::OutboxLimits;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::{Counts, Entry, Frames, Input, Slot, Targets, Writer, WriterCommand};

use crate::wire::{ALL, MemoryWire};

pub struct Harness {
    pub writer: Writer,
    pub wire: MemoryWire,
    pub now: Instant,
}

/// An entry with one message for all of `slots`.
pub fn delivery(slots: &[Slot], message: &str) -> Entry {
    Entry {
        targets: Targets::Audience(slots.into()),
        frames: Frames::delivery(Bytes::from(format!("{message}\n")), Vec::new()),
    }
}

impl Harness {
    pub fn new(limits: OutboxLimits) -> Self {
        Self { writer: Writer::new(limits), wire: MemoryWire::default(), now: Instant::now() }
    }

    /// Opens a client with a socket that takes everything.
    pub fn open(&mut self) -> Slot {
        self.open_taking(ALL)
    }

    /// Opens a client with a socket that takes this many bytes.
    pub fn open_taking(&mut self, capacity: usize) -> Slot {
        self.open_as(Dialect::TextLines, capacity)
    }

    /// Opens a client of this dialect with a socket that takes this many bytes.
    pub fn open_as(&mut self, dialect: Dialect, capacity: usize) -> Slot {
        let slot = self.writer.open(dialect);
        self.wire.open(slot, capacity, ALL);
        slot
    }

    pub fn open_many(&mut self, count: usize) -> Vec<Slot> {
        (0..count).map(|_| self.open()).collect()
    }

    pub fn step(&mut self, input: Input) {
        self.writer.step(self.now, input, &mut self.wire);
        self.wire.check_after_step();
    }

    pub fn send(&mut self, command: WriterCommand) {
        self.step(Input::Command(command));
    }

    pub fn deliver(&mut self, slots: &[Slot], message: &str) {
        self.send(WriterCommand::Batch(vec![delivery(slots, message)]));
    }

    pub fn reply(&mut self, slot: Slot, message: &str) {
        let bytes = Bytes::from(format!("{message}\n"));
        self.send(WriterCommand::Entry(Entry::reply(slot, bytes)));
    }

    pub fn close(&mut self, slot: Slot, reason: Disconnect) {
        self.send(WriterCommand::Close(slot, reason));
    }

    pub fn flush(&mut self) {
        while self.writer.is_dirty() {
            self.step(Input::Flush);
        }
    }

    /// Lets the socket take this many more bytes. If the writer watches it, the writer is notified and flushes.
    pub fn grant(&mut self, slot: Slot, bytes: usize) {
        let socket = self.wire.socket_mut(slot).expect("the client is there");
        socket.capacity = socket.capacity.saturating_add(bytes);
        if std::mem::take(&mut socket.watched) {
            self.step(Input::Writable(slot));
            self.flush();
        }
    }

    /// Moves the clock by `time` and then sweeps, which cuts slow clients.
    pub fn sweep_after(&mut self, time: Duration) {
        self.now += time;
        self.sweep_late_by(Duration::ZERO);
    }

    /// Sweeps, this long after the sweep was due.
    pub fn sweep_late_by(&mut self, late: Duration) {
        self.step(Input::Sweep(late));
    }

    pub fn disconnect(&mut self, slot: Slot) -> Option<Disconnect> {
        self.writer.disconnect_reason(slot, None)
    }

    pub fn counts(&self) -> Counts {
        self.writer.counts()
    }

    /// Everything that the client's socket has taken.
    pub fn received(&self, slot: Slot) -> &str {
        std::str::from_utf8(&self.wire.socket(slot).taken).expect("text")
    }
}
