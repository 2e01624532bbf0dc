//! The writer as a state machine: its inputs, and appending entries to outboxes. Flushing, endings and slow consumers are in
//! the files beside it. Never waits.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Slot;
use super::closing::LastBytes;
use super::frames::{Entry, EntryNumber, Frames, Kind, Meter, QueuedFrames, Targets};
use super::load::WriterLoad;
use super::metrics::{Counts, WriterMetrics};
use super::shared::SharedReplies;
use super::slots::{List, Phase, Row, Slots, SocketState};
use super::wire::Wire;
use crate::config::OutboxLimits;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::{Disconnect, RetrySeconds};

/// The memory that an idle client takes in this process, as `loadgen` measures it.
const CLIENT_BYTES: usize = 1_400;

/// When clients come back after a stop, unless the writer is told another time.
const RETRY: RetrySeconds = RetrySeconds(1);

/// A command in the writer's mailbox.
#[derive(Debug)]
pub enum WriterCommand {
    /// The output of a batch of a shard's commands for this writer, in the order of the commands.
    Batch(Vec<Entry>),
    /// One entry from a session of this worker.
    Entry(Entry),
    /// The answer to a client's ping frame.
    Pong(Slot, Bytes),
    /// The connection has ended: send what is pending, then the last line, then close. A reason that the writer had first
    /// stays.
    Close(Slot, Disconnect),
    /// The connection has read its input to the end, so that closing cannot turn into a reset.
    InputEnded(Slot),
}

/// An event for the writer.
#[derive(Debug)]
pub enum Input {
    /// A command came.
    Command(WriterCommand),
    /// It is time to write a chunk.
    Flush,
    /// A watched socket takes bytes again.
    Writable(Slot),
    /// It is time to look for slow clients. The sweep is late by this long, in which the server itself did not run: that time
    /// counts against no client.
    Sweep(Duration),
    /// All connections should end.
    DisconnectAll(Disconnect),
    /// The grace period is over: close every socket, whatever is pending.
    Cut,
}

/// The output of one worker.
#[derive(Debug)]
pub struct Writer {
    pub(super) slots: Slots,
    pub(super) small: VecDeque<Slot>,
    pub(super) large: VecDeque<Slot>,
    /// Clients that are blocked or closing.
    pub(super) swept: Vec<Slot>,
    /// Clients found over a bound while appending, some perhaps more than once.
    overflowed: Vec<Slot>,
    /// Messages pending for clients that are not blocked: what the server itself has still to write.
    pub(super) waiting: usize,
    load: Arc<WriterLoad>,
    /// While the budget is exceeded: slots that are still written out before any client gives way.
    pub(super) turns_before_shedding: Option<usize>,
    pub(super) limits: OutboxLimits,
    pub(super) metrics: Arc<WriterMetrics>,
    pub(super) meter: Meter,
    shared_replies: SharedReplies,
    /// The number of entries so far.
    entries: u64,
    pub(super) scratch: Vec<u8>,
    /// All connections should end, and so should every new one.
    pub(super) all_disconnected: Option<Disconnect>,
    pub(super) last_bytes: LastBytes,
}

impl Writer {
    /// A writer without clients, with metrics and a load that nobody else reads.
    pub fn new(limits: OutboxLimits) -> Self {
        Self::counting_in(Arc::default(), limits, Arc::default())
    }

    /// A writer without clients that shares its metrics and its load.
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
            shared_replies: SharedReplies::default(),
            metrics,
            entries: 0,
            scratch: Vec::new(),
            all_disconnected: None,
            last_bytes: LastBytes::new(RETRY),
        }
    }

    /// The same writer, which tells its clients to come back so long after a stop.
    pub fn with_retry(mut self, retry: RetrySeconds) -> Self {
        self.last_bytes = LastBytes::new(retry);
        self
    }

    /// A slot for a client whose socket the wire will know by the slot's index.
    pub fn open(&mut self, dialect: Dialect) -> Slot {
        let slot = self.slots.open(dialect);
        self.metrics.opened[dialect.transport() as usize].add(1);
        if let Some(reason) = self.all_disconnected {
            self.disconnect(slot, reason);
        }
        slot
    }

    /// Handles one input. Never waits. Appending costs tens of nanoseconds per target, a flush is one chunk of writes.
    pub fn step(&mut self, now: Instant, input: Input, wire: &mut impl Wire) {
        match input {
            Input::Command(command) => self.command(now, command, wire),
            Input::Flush => self.flush(now, wire),
            Input::Writable(slot) => self.writable(now, slot),
            Input::Sweep(late) => self.sweep(now, late, wire),
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

    /// The number of messages that are not written yet and whose sockets are not blocked.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether a client's time may run out.
    pub fn needs_sweep(&self) -> bool {
        !self.swept.is_empty()
    }

    /// The memory of pending output in bytes; each entry counts once, however many clients wait for it.
    pub fn held_bytes(&self) -> usize {
        self.meter.held()
    }

    /// The memory of clients and their pending output in bytes, roughly.
    pub(super) fn memory_bytes(&self) -> usize {
        self.held_bytes() + self.clients() * CLIENT_BYTES
    }

    /// The number of clients with a slot.
    pub fn clients(&self) -> usize {
        self.slots.len()
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        Counts::of(std::slice::from_ref(&self.metrics))
    }

    /// Sends a short message to each of these clients, past everything in the mailbox. Returns its number.
    pub(super) fn send_now(&mut self, slots: &[Slot], bytes: Bytes) -> EntryNumber {
        let targets = Targets::Audience(slots.into());
        self.append(Entry { targets, frames: Frames::reply(bytes) });
        EntryNumber(self.entries)
    }

    /// Whether the client's socket has taken all of that entry, or never will.
    pub(super) fn has_sent(&mut self, slot: Slot, number: EntryNumber) -> bool {
        let Some(row) = self.slots.row(slot) else { return true };
        let is_sealed = row.cold.stall.as_deref().is_some_and(|stall| stall.sealed > 0);
        !is_sealed && row.hot.outbox.oldest().is_none_or(|oldest| oldest > number)
    }

    /// Has one connection end. The first reason stays.
    pub fn disconnect(&mut self, slot: Slot, reason: Disconnect) {
        if let Some(mut row) = self.slots.row(slot) {
            row.disconnect(reason);
        }
    }

    /// Wakes every connection that waits for its end.
    pub(super) fn wake_all(&mut self) {
        self.slots.all().into_iter().for_each(|slot| self.wake(slot));
    }

    /// Wakes one connection that waits for its end.
    pub(super) fn wake(&mut self, slot: Slot) {
        if let Some(waker) = self.slots.row(slot).and_then(|row| row.cold.waker.take()) {
            waker.wake();
        }
    }

    /// Why the connection should end, if it should; if not, the waker is called when that changes.
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
            WriterCommand::Pong(slot, bytes) => self.pong(slot, bytes),
            WriterCommand::Close(slot, reason) => self.begin_close(now, slot, reason),
            WriterCommand::InputEnded(slot) => self.input_ended(now, slot, wire),
        }
        self.overflow_all(now, wire);
    }

    /// Handles each client over a bound once, after all entries are appended: one that takes bytes when offered some is not
    /// judged before it is given more.
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
        let list = if targets.len() <= self.load.limits().small_audience { List::Small } else { List::Large };
        for &slot in targets {
            self.push(slot, &frames, list);
        }
    }

    /// While a socket takes nothing, only the latest pong waits for it, however many pings come (RFC 6455 §5.5.3).
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
        let number = EntryNumber(self.entries);
        if frames.kind() == Kind::Reply && frames.messages() > 1 {
            return self.shared_replies.share(frames, number, &self.meter);
        }
        QueuedFrames::new(frames, number, &self.meter)
    }

    fn push(&mut self, slot: Slot, frames: &Rc<QueuedFrames>, list: List) {
        let Some(row) = self.slots.row(slot).filter(|row| row.hot.phase == Phase::Open) else {
            let deliveries = if frames.kind() == Kind::Delivery { frames.messages() } else { 0 };
            return self.count_dropped(deliveries, Disconnect::IoError);
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

    /// Changes a client's outbox and keeps count of its pending bytes.
    pub(super) fn change_outbox<T>(&mut self, slot: Slot, change: impl FnOnce(&mut Row<'_>) -> T) -> Option<T> {
        let mut row = self.slots.row(slot)?;
        let before = row.pending().bytes;
        let result = change(&mut row);
        self.metrics.pending_bytes.add(row.pending().bytes as u64);
        self.metrics.pending_bytes.subtract(before as u64);
        Some(result)
    }

    /// Counts deliveries that will not be made.
    pub(super) fn count_dropped(&self, deliveries: usize, reason: Disconnect) {
        let dropped = match reason {
            Disconnect::SlowConsumer => &self.metrics.dropped_slow,
            _ => &self.metrics.dropped_gone,
        };
        dropped.add(deliveries as u64);
    }
}
