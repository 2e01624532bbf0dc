//! Models of the tasks around the state machines. Their mailboxes are the real ones, but small; a batch waits until its
//! writers have room, and acknowledgements follow the batch.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use roomcast::auth::rules::RoomRules;
use roomcast::broker::{Batch, Now, Shard, ShardCommand, ShardMailbox};
use roomcast::config::OutboxLimits;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::position::UnixMillis;
use roomcast::writer::handle::{BatchSender, WriterHandle, WriterMailbox, mailbox_with_capacity};
use roomcast::writer::{Address, Entry, Input, Kind, Slot, Writer, WriterCommand, WriterIndex, WriterMetrics};
use tokio::sync::oneshot;

use super::ledger::Ledger;
use crate::common::{Random, address};
use crate::wire::{MemoryWire, Socket};

/// The capacities of the mailboxes. They are small, so that senders find them full.
pub const SHARD_COMMANDS_MAX: usize = 6;
const WRITER_COMMANDS_MAX: usize = 3;

/// A writer has room while fewer than this many messages are on their way to its sockets.
pub const DELIVERIES_MAX: usize = 12;

/// The time between two sweeps of a shard.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A shard, its mailbox and the batch that it is handing over.
pub struct ShardTask {
    pub shard: Shard,
    mailbox: ShardMailbox,
    batch: Batch,
    /// Entries whose turn to be handed over has not come.
    entries: VecDeque<(usize, Vec<Entry>)>,
    /// Entries that wait for space in the mailbox of their writer.
    handing_over: Option<LocalBoxFuture<'static, ()>>,
    next_sweep: Option<Instant>,
}

/// A writer, its mailbox and its sockets.
pub struct WriterTask {
    /// The writer as sessions see it.
    pub handle: WriterHandle,
    writer: Rc<RefCell<Writer>>,
    metrics: Arc<WriterMetrics>,
    wire: MemoryWire,
    batches: BatchSender,
    mailbox: WriterMailbox,
    /// Deliveries that shards hand over, or have handed over, and the writer has not taken.
    handed_over: u64,
}

impl ShardTask {
    pub fn new(mailbox: ShardMailbox, writers: usize) -> Self {
        let (shard, batch) = (mailbox.shard(), Batch::new(writers));
        Self { shard, mailbox, batch, entries: VecDeque::new(), handing_over: None, next_sweep: None }
    }

    /// Hands over one writer's entries, or takes a batch.
    pub fn step(&mut self, now: Instant, random: &mut Random, ledger: &mut Ledger, writers: &mut [WriterTask]) {
        if self.handing_over.is_none() {
            match self.entries.pop_front() {
                Some((writer, entries)) => self.handing_over = Some(writers[writer].deliver(entries)),
                None => self.take_batch(now, 1 + random.below(SHARD_COMMANDS_MAX), ledger, writers),
            }
        }
        let context = &mut Context::from_waker(Waker::noop());
        if self.handing_over.as_mut().is_some_and(|sending| sending.poll_unpin(context).is_ready()) {
            self.handing_over = None;
        }
        if self.handing_over.is_none() && self.entries.is_empty() {
            self.batch.acknowledge();
        }
    }

    /// Takes a batch of commands, and first sweeps if that is due.
    fn take_batch(&mut self, now: Instant, commands: usize, ledger: &mut Ledger, writers: &[WriterTask]) {
        let index = usize::from(self.mailbox.index.0);
        if self.shard.needs_sweep() && self.next_sweep.is_none_or(|next_sweep| now >= next_sweep) {
            self.sweep(now, ledger);
        }
        for place in 0..commands {
            let batch = &self.batch;
            let has_room = |writer: WriterIndex, targets| {
                targets == 0 || writers[usize::from(writer.0)].unwritten() + batch.deliveries(writer) < DELIVERIES_MAX
            };
            let waited = self.shard.next_waiting(has_room);
            let admit = |command| self.shard.admit(command, has_room);
            if let Some(command) = waited.or_else(|| self.mailbox.try_next().and_then(admit)) {
                // No two commands have the same time, so that one publication is the oldest.
                let now = now + Duration::from_nanos(place as u64);
                ledger.record(index, now, &command);
                self.shard.step(at(now), command, &mut self.batch);
            }
        }
        ledger.check_shard(index, &self.shard);
        let entries = self.batch.take_entries();
        self.entries.extend(entries.map(|(writer, entries)| (usize::from(writer.0), entries)));
    }

    /// Applies rules that the ledger has recorded already.
    pub fn apply_rules(&mut self, now: Instant, rules: RoomRules, ledger: &Ledger) {
        let (answer, _) = oneshot::channel();
        self.shard.step(at(now), ShardCommand::Rules(rules.into(), answer), &mut self.batch);
        ledger.check_shard(usize::from(self.mailbox.index.0), &self.shard);
    }

    /// Drops what is too old.
    pub fn sweep(&mut self, now: Instant, ledger: &mut Ledger) {
        let index = usize::from(self.mailbox.index.0);
        assert!(!self.shard.sweep(at(now), &mut self.batch), "there is not much to drop");
        self.next_sweep = Some(now + SWEEP_INTERVAL);
        ledger.sweep(index, now);
        ledger.check_shard(index, &self.shard);
    }

    pub fn deliveries_on_their_way(&self) -> u64 {
        self.entries.iter().map(|(_, entries)| deliveries(entries)).sum()
    }

    pub fn is_idle(&self) -> bool {
        let holds_nothing = self.entries.is_empty() && self.handing_over.is_none();
        self.mailbox.waiting() == 0 && holds_nothing && !self.shard.is_waiting()
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
        let (batches, mailbox) = mailbox_with_capacity(WRITER_COMMANDS_MAX);
        let writer = Writer::counting_in(Arc::clone(&metrics), limits, Arc::clone(&mailbox.load));
        let writer = Rc::new(RefCell::new(writer));
        let handle = WriterHandle::new(Rc::clone(&writer), batches.clone(), Arc::clone(&metrics));
        Self { handle, writer, metrics, wire: MemoryWire::default(), batches, mailbox, handed_over: 0 }
    }

    pub fn holds_nothing(&self) -> bool {
        self.writer.borrow().held_bytes() == 0
    }

    /// Opens a client and returns its address. `number` is the number of this writer.
    pub fn open(&mut self, number: usize, capacity: usize, piece: usize) -> Address {
        let slot = self.writer.borrow_mut().open(Dialect::TextLines);
        self.wire.open(slot, capacity, piece);
        address(u16::try_from(number).expect("few writers"), slot)
    }

    /// Hands over a shard's entries, which wait while the mailbox is full.
    fn deliver(&mut self, entries: Vec<Entry>) -> LocalBoxFuture<'static, ()> {
        self.handed_over += deliveries(&entries);
        let batches = self.batches.clone();
        async move { batches.deliver(entries).await }.boxed_local()
    }

    pub fn take_command(&mut self, now: Instant) {
        let Ok(command) = self.mailbox.commands.try_recv() else { return };
        if let WriterCommand::Batch(entries) = &command {
            self.handed_over -= deliveries(entries);
        }
        self.step(now, Input::Command(command));
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

    pub fn socket(&self, slot: Slot) -> &Socket {
        self.wire.socket(slot)
    }

    pub fn deliveries_on_their_way(&self) -> u64 {
        self.handed_over
    }

    /// The number of messages on their way to sockets that have not refused them.
    pub fn unwritten(&self) -> usize {
        self.writer.borrow().waiting() + self.handed_over as usize
    }

    pub fn is_idle(&self) -> bool {
        let writer = self.writer.borrow();
        self.mailbox.commands.is_empty() && !writer.is_dirty() && writer.clients() == 0
    }

    fn step(&mut self, now: Instant, input: Input) {
        self.writer.borrow_mut().step(now, input, &mut self.wire);
        self.wire.check_after_step();
    }
}

/// A time as a shard gets it. The wall clock is so fast that no two rooms are created at the same moment: the few bits of
/// an epoch that are random could else be equal in one of thousands of runs.
fn at(instant: Instant) -> Now {
    Now { instant, unix: UnixMillis(instant.saturating_duration_since(*STARTED).as_nanos() as u64) }
}

fn deliveries(entries: &[Entry]) -> u64 {
    let deliveries = entries.iter().filter(|entry| entry.frames.kind() == Kind::Delivery);
    let pairs = deliveries.map(|entry| entry.frames.messages() * entry.targets.as_slice().len());
    pairs.sum::<usize>() as u64
}
