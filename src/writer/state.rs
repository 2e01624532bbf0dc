//! The writer as a state machine: what it is told, and appending. Flushing and closing are in the files beside it.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::address::Slot;
use super::frames::{Entry, Frames, Kind, Targets};
use super::load::WriterLoad;
use super::metrics::WriterMetrics;
use super::outbox::MessageCounts;
use super::queued::{EntryNumber, Meter, QueuedFrames};
use super::slots::{List, Phase, Slots, SocketState};
use super::wire::Wire;
use crate::config::OutboxLimits;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;

/// An entry for at most this many targets is small: it is not to wait behind a large fan-out.
pub(super) const SMALL_AUDIENCE: usize = 64;

/// What one idle client takes, in this process: what `loadgen` measures.
const CLIENT_BYTES: usize = 1_400;

/// What a writer is told through its mailbox.
#[derive(Debug)]
pub enum WriterCommand {
    /// What a batch of a shard's commands led to on this writer, in the order of the commands.
    Batch(Vec<Entry>),
    /// One entry from a session of this worker.
    Entry(Entry),
    /// The answer to a client's ping frame.
    Pong {
        /// Whose.
        slot: Slot,
        /// The frame.
        bytes: Bytes,
    },
    /// The conversation has ended: send what is still due, then the last line, then close.
    Close {
        /// Whose.
        slot: Slot,
        /// Why. A reason that the writer had first stays.
        reason: Disconnect,
    },
    /// The connection has read its input to the end, so that closing cannot turn into a reset.
    InputEnded(Slot),
}

/// Everything that can happen to a writer.
#[derive(Debug)]
pub enum Input {
    /// A command came.
    Command(WriterCommand),
    /// It is time to write a chunk.
    Flush,
    /// A watched socket takes bytes again.
    Writable(Slot),
    /// It is time to look for clients that are too slow.
    Sweep {
        /// It has been for this long, in which the server itself did not run: nobody's fault.
        late: Duration,
    },
    /// All conversations are to end.
    DisconnectAll(Disconnect),
    /// The grace period is over: close every socket, whatever is owed.
    Cut,
}

/// What a writer has done, in (message, member) pairs. fanned_out = delivered + dropped_slow + dropped_gap + dropped_gone +
/// queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries that came to this writer.
    pub fanned_out: u64,
    /// Deliveries handed whole to the kernel.
    pub delivered: u64,
    /// Deliveries dropped because their client was too slow.
    pub dropped_slow: u64,
    /// Deliveries dropped in favour of later ones; their client is told how many.
    pub dropped_gap: u64,
    /// Deliveries dropped because their client was gone or going.
    pub dropped_gone: u64,
    /// Writes that a socket took bytes of.
    pub writes: u64,
    /// Clients closed while something was owed to them.
    pub cut: u64,
}

/// The output of one worker.
#[derive(Debug)]
pub struct Writer {
    pub(super) slots: Slots,
    pub(super) small: VecDeque<Slot>,
    pub(super) large: VecDeque<Slot>,
    /// Clients that have refused bytes or are closing.
    pub(super) swept: Vec<Slot>,
    /// Clients found to be owed too much while appending, some perhaps more than once.
    overflowed: Vec<Slot>,
    /// MessageDecoder pending for clients that are not blocked: what the server itself has still to write.
    pub(super) waiting: usize,
    load: Arc<WriterLoad>,
    /// While the budget is passed: slots that are still written out before anybody gives way.
    pub(super) turns_before_shedding: Option<usize>,
    pub(super) limits: OutboxLimits,
    pub(super) metrics: Arc<WriterMetrics>,
    pub(super) meter: Meter,
    /// How many entries came so far.
    entries: u64,
    pub(super) scratch: Vec<u8>,
    /// All conversations were told to end, and so is every new one.
    pub(super) all_disconnected: Option<Disconnect>,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.fanned_out += other.fanned_out;
        self.delivered += other.delivered;
        self.dropped_slow += other.dropped_slow;
        self.dropped_gap += other.dropped_gap;
        self.dropped_gone += other.dropped_gone;
        self.writes += other.writes;
        self.cut += other.cut;
    }
}

impl Writer {
    /// A writer without clients.
    pub fn new(limits: OutboxLimits) -> Self {
        Self::counting_in(Arc::default(), limits, Arc::default())
    }

    /// A writer without clients that counts where others can read it, and says in `load` what it has still to write.
    pub fn counting_in(metrics: Arc<WriterMetrics>, limits: OutboxLimits, load: Arc<WriterLoad>) -> Self {
        Self {
            slots: Slots::default(),
            small: VecDeque::new(),
            large: VecDeque::new(),
            swept: Vec::new(),
            overflowed: Vec::new(),
            waiting: 0,
            load,
            turns_before_shedding: None,
            limits,
            meter: Meter::default(),
            metrics,
            entries: 0,
            scratch: Vec::new(),
            all_disconnected: None,
        }
    }

    /// A slot for a client whose socket the wire will know by the slot's index.
    pub fn open(&mut self, dialect: Dialect) -> Slot {
        let slot = self.slots.open(dialect);
        self.metrics.opened[dialect as usize].add(1);
        if let Some(reason) = self.all_disconnected {
            self.disconnect(slot, reason);
        }
        slot
    }

    /// Handles one input. Never waits. Appending costs tens of nanoseconds a target, a flush is one chunk of writes.
    pub fn step(&mut self, now: Instant, input: Input, wire: &mut impl Wire) {
        match input {
            Input::Command(command) => self.command(now, command, wire),
            Input::Flush => self.flush(now, wire),
            Input::Writable(slot) => self.writable(now, slot),
            Input::Sweep { late } => self.sweep(now, late, wire),
            Input::DisconnectAll(reason) => self.disconnect_all(reason),
            Input::Cut => self.cut_all(wire),
        }
        self.keep_budget(now, wire);
        self.metrics.held_bytes.set(self.meter.held() as u64);
        self.load.settle(self.metrics.fanned_out.get(), self.waiting, self.is_over_budget());
    }

    /// Whether something waits to be written.
    pub fn is_dirty(&self) -> bool {
        !(self.small.is_empty() && self.large.is_empty())
    }

    /// MessageDecoder that no socket has refused and that are not written yet.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether publishers may go on, as far as memory is concerned.
    pub fn is_within_budget(&self) -> bool {
        !self.is_over_budget()
    }

    /// Whether a client's time may run out.
    pub fn needs_sweep(&self) -> bool {
        !self.swept.is_empty()
    }

    /// Memory held for what is owed, in bytes; an entry counts once, however many are owed it.
    pub fn held_bytes(&self) -> usize {
        self.meter.held()
    }

    /// Memory held for clients and for what they are owed, in bytes; roughly, for what comes of it.
    pub fn memory_bytes(&self) -> usize {
        self.held_bytes() + self.clients() * CLIENT_BYTES
    }

    /// How many clients have a slot.
    pub fn clients(&self) -> usize {
        self.slots.len()
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        let metrics = &self.metrics;
        Counts {
            fanned_out: metrics.fanned_out.get(),
            delivered: metrics.delivered.get(),
            dropped_slow: metrics.dropped_slow.get(),
            dropped_gap: metrics.dropped_gap.get(),
            dropped_gone: metrics.dropped_gone.get(),
            writes: metrics.writes.get(),
            cut: metrics.cut.get(),
        }
    }

    /// Sends a ping frame to each of these clients, past everything that waits in the mailbox. Returns its number.
    pub(super) fn ping(&mut self, slots: &[Slot], bytes: Bytes) -> EntryNumber {
        let targets = Targets::Audience(slots.into());
        self.append(Entry { targets, frames: Frames::reply(bytes) });
        EntryNumber(self.entries)
    }

    /// Whether the client's socket has taken all of that entry, or never will.
    pub(super) fn has_sent(&mut self, slot: Slot, number: EntryNumber) -> bool {
        let oldest = self.slots.row(slot).and_then(|row| row.hot.outbox.oldest());
        oldest.is_none_or(|oldest| oldest > number)
    }

    /// Ends one conversation: its connection is told why. The first reason stays.
    pub fn disconnect(&mut self, slot: Slot, reason: Disconnect) {
        if let Some(mut row) = self.slots.row(slot) {
            row.disconnect(reason);
        }
    }

    /// Why the connection is to end its conversation, if it is; else the connection is woken when that changes.
    pub fn disconnect_reason(&mut self, slot: Slot, waker: Option<&Waker>) -> Option<Disconnect> {
        let Some(row) = self.slots.row(slot) else {
            return Some(Disconnect::IoError);
        };
        if let Some(waker) = waker
            && !row.cold.waker.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            row.cold.waker = Some(waker.clone());
        }
        row.cold.disconnect
    }

    fn command(&mut self, now: Instant, command: WriterCommand, wire: &mut impl Wire) {
        match command {
            WriterCommand::Batch(entries) => entries.into_iter().for_each(|entry| self.append(entry)),
            WriterCommand::Entry(entry) => self.append(entry),
            WriterCommand::Pong { slot, bytes } => self.pong(slot, bytes),
            WriterCommand::Close { slot, reason } => self.begin_close(now, slot, reason),
            WriterCommand::InputEnded(slot) => self.input_ended(now, slot, wire),
        }
        self.overflow_all(now, wire);
    }

    /// Each client once: one that takes bytes when it is offered some is not judged before it is given more.
    fn overflow_all(&mut self, now: Instant, wire: &mut impl Wire) {
        let mut overflowed = std::mem::take(&mut self.overflowed);
        overflowed.sort_unstable();
        overflowed.dedup();
        overflowed.drain(..).for_each(|slot| self.overflow(now, slot, wire));
        self.overflowed = overflowed;
    }

    fn append(&mut self, entry: Entry) {
        let frames = self.share(entry.frames);
        let targets = entry.targets.as_slice();
        if frames.kind() == Kind::Delivery {
            self.metrics.fanned_out.add((frames.messages() * targets.len()) as u64);
        }
        let list = if targets.len() <= SMALL_AUDIENCE { List::Small } else { List::Large };
        for &slot in targets {
            self.push(slot, &frames, list);
        }
    }

    /// While a socket takes nothing, one pong waits for it, the latest, however many pings come (RFC 6455 §5.5.3).
    fn pong(&mut self, slot: Slot, bytes: Bytes) {
        if let Some(row) = self.slots.row(slot)
            && let Some(stall) = &mut row.cold.stall
        {
            let later = |number| QueuedFrames::new(Frames::reply(bytes.clone()), number, &self.meter);
            let waiting = stall.pong.map(later);
            let replaced = waiting.and_then(|later| row.hot.outbox.replace(later, &mut row.cold.backlog));
            if let Some(replaced) = replaced {
                self.metrics.pending_bytes.add(bytes.len() as u64);
                return self.metrics.pending_bytes.subtract(replaced.bytes().len() as u64);
            }
            stall.pong = Some(EntryNumber(self.entries + 1));
        }
        self.append(Entry::reply(slot, bytes));
    }

    /// Frames that outboxes can share.
    pub(super) fn share(&mut self, frames: Frames) -> Rc<QueuedFrames> {
        self.entries += 1;
        QueuedFrames::new(frames, EntryNumber(self.entries), &self.meter)
    }

    fn push(&mut self, slot: Slot, frames: &Rc<QueuedFrames>, list: List) {
        let Some(row) = self.slots.row(slot).filter(|row| row.hot.phase == Phase::Open) else {
            return self.count_dropped(frames, Disconnect::IoError);
        };
        row.hot.outbox.push(Rc::clone(frames), &mut row.cold.backlog);
        self.metrics.pending_bytes.add(frames.bytes().len() as u64);
        if row.hot.state == SocketState::Blocked {
            if row.overflows(&self.limits) {
                self.overflowed.push(slot);
            }
            return;
        }
        self.waiting += frames.messages();
        match (row.hot.state, list) {
            (SocketState::Empty | SocketState::WaitsLarge, List::Small) => {
                row.hot.state = SocketState::WaitsSmall;
                self.small.push_back(slot);
            }
            (SocketState::Empty, List::Large) => {
                row.hot.state = SocketState::WaitsLarge;
                self.large.push_back(slot);
            }
            _ => {}
        }
    }

    fn count_dropped(&mut self, frames: &Frames, reason: Disconnect) {
        if frames.kind() == Kind::Delivery {
            self.count_gone(MessageCounts { replies: 0, deliveries: frames.messages() }, reason);
        }
    }

    /// Counts deliveries that will not be made.
    pub(super) fn count_gone(&mut self, gone: MessageCounts, reason: Disconnect) {
        let deliveries = gone.deliveries as u64;
        match reason {
            Disconnect::SlowConsumer => self.metrics.dropped_slow.add(deliveries),
            _ => self.metrics.dropped_gone.add(deliveries),
        }
    }
}
