//! What every delivery ends in: a member in memory that counts the bytes it takes, and the clock that stops when all members
//! have taken all. The same for every broker under measurement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use roomcast::writer::{Sent, Slot, Wire};

/// When a round is over: every member has taken what the round owes it, and every member is owed the same.
#[derive(Debug)]
pub struct Round {
    owed: Owed,
    waiting: Waiting,
    members: usize,
    over: flume::Sender<Instant>,
}

/// Read at every delivery, written between rounds: not on the line that the last deliveries of a round write.
#[derive(Debug)]
#[repr(align(128))]
struct Owed(AtomicU64);

#[derive(Debug)]
#[repr(align(128))]
struct Waiting(AtomicUsize);

/// A member that takes all it is offered.
#[derive(Debug)]
pub struct Sink {
    taken: u64,
    round: Arc<Round>,
}

impl Round {
    /// So many members, which are owed so many bytes each to begin with; and where it is said when a round was over.
    pub fn first(members: usize, bytes: usize) -> (Arc<Self>, flume::Receiver<Instant>) {
        let (over, rounds) = flume::unbounded();
        let (owed, waiting) = (Owed(AtomicU64::new(bytes as u64)), Waiting(AtomicUsize::new(members)));
        (Arc::new(Self { owed, waiting, members, over }), rounds)
    }

    /// For those nobody waits for.
    pub fn endless() -> Arc<Self> {
        Self::first(usize::MAX, usize::MAX).0
    }

    /// The next round, once the one before is over: each member is owed so many bytes more.
    pub fn next(&self, bytes: usize) {
        assert_eq!(self.waiting.0.swap(self.members, Ordering::AcqRel), 0, "members wait");
        self.owed.0.fetch_add(bytes as u64, Ordering::AcqRel);
    }
}

impl Sink {
    pub fn new(round: &Arc<Round>) -> Self {
        Self { taken: 0, round: Arc::clone(round) }
    }

    /// Takes the bytes; with the last of the round from the last member, says when that was.
    pub fn take(&mut self, bytes: &[u8]) {
        self.taken += bytes.len() as u64;
        let owed = self.round.owed.0.load(Ordering::Relaxed);
        assert!(self.taken <= owed, "a member got {} bytes of {owed}", self.taken);
        if self.taken == owed && self.round.waiting.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Nobody listens once the bench is over.
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
    /// The sink of a slot that was just opened, the next of all.
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

    fn finish(&mut self, _index: u32) {}

    fn close(&mut self, _index: u32) {}
}
