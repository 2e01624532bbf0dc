//! Members in memory: a `Sink` counts the bytes that a member takes, and a `Round` stops the clock when all members
//! have taken everything. Every measured broker delivers to the same sinks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use roomcast::writer::{Sent, Slot, Wire};

/// A round of a benchmark. It ends when every member has taken the same expected number of bytes.
#[derive(Debug)]
pub struct Round {
    expected: Expected,
    waiting: Waiting,
    members: usize,
    over: flume::Sender<Instant>,
}

/// The expected bytes, which every delivery reads. They must not share a cache line with `Waiting`, which the last
/// deliveries write.
#[derive(Debug)]
#[repr(align(128))]
struct Expected(AtomicU64);

#[derive(Debug)]
#[repr(align(128))]
struct Waiting(AtomicUsize);

/// A member that takes everything.
#[derive(Debug)]
pub struct Sink {
    taken: u64,
    round: Arc<Round>,
}

impl Round {
    /// Starts the first round, in which each of the members expects this many bytes. The receiver gets the time at
    /// which each round ends.
    pub fn first(members: usize, bytes: usize) -> (Arc<Self>, flume::Receiver<Instant>) {
        let (over, rounds) = flume::unbounded();
        let (expected, waiting) = (Expected(AtomicU64::new(bytes as u64)), Waiting(AtomicUsize::new(members)));
        (Arc::new(Self { expected, waiting, members, over }), rounds)
    }

    /// A round that never ends.
    pub fn endless() -> Arc<Self> {
        Self::first(usize::MAX, usize::MAX).0
    }

    /// Starts the next round, in which each member expects this many more bytes. The previous one must have ended.
    pub fn next(&self, bytes: usize) {
        assert_eq!(self.waiting.0.swap(self.members, Ordering::AcqRel), 0, "members wait");
        self.expected.0.fetch_add(bytes as u64, Ordering::AcqRel);
    }
}

impl Sink {
    pub fn new(round: &Arc<Round>) -> Self {
        Self { taken: 0, round: Arc::clone(round) }
    }

    /// Takes the bytes. The last bytes of the last member end the round.
    pub fn take(&mut self, bytes: &[u8]) {
        self.taken += bytes.len() as u64;
        let expected = self.round.expected.0.load(Ordering::Relaxed);
        assert!(self.taken <= expected, "a member got {} bytes of {expected}", self.taken);
        if self.taken == expected && self.round.waiting.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Sending fails only after the bench has ended.
            let _ = self.round.over.send(Instant::now());
        }
    }
}

/// The sinks of one writer, in place of its sockets.
#[derive(Debug, Default)]
pub struct SinkWire {
    sinks: Vec<Sink>,
}

impl SinkWire {
    /// Adds the sink of a slot that was just opened.
    pub fn open(&mut self, slot: Slot, sink: Sink) {
        assert_eq!(slot.index as usize, self.sinks.len(), "no slot is used twice");
        self.sinks.push(sink);
    }
}

impl Wire for SinkWire {
    fn send(&mut self, index: u32, bytes: &[u8]) -> Sent {
        self.sinks[index as usize].take(bytes);
        Sent::Taken(bytes.len())
    }

    fn watch(&mut self, slot: Slot) {
        unreachable!("{slot:?} never refuses")
    }

    fn finish(&mut self, _index: u32) -> bool {
        true
    }

    fn close(&mut self, _index: u32) {}
}
