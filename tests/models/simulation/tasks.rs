//! Models of the tasks around the state machines. Their mailboxes are the real ones, but small; a batch waits until its
//! writers have room, and acknowledgements follow the batch.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, select_all};
use roomcast::auth::rules::RoomRules;
use roomcast::broker::{Batch, Now, Shard, ShardCommand, ShardMailbox};
use roomcast::config::OutboxLimits;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::position::UnixMillis;
use roomcast::writer::handle::{BatchSender, WriterHandle, WriterMailbox, mailbox_with};
use roomcast::writer::{
    Address, Entry, EntryNumber, Input, Kind, LoadLimits, Slot, Writer, WriterCommand, WriterIndex, WriterMetrics,
};
use tokio::sync::oneshot;

use super::ledger::Ledger;
use crate::common::{Random, address};
use crate::wire::{MemoryWire, Socket};

/// The capacities of the mailboxes. They are small, so that senders find them full.
pub const SHARD_COMMANDS_MAX: usize = 6;
const WRITER_COMMANDS_MAX: usize = 3;

/// The bounds of a writer. They are small, so that shards find no room.
pub const LOAD: LoadLimits = LoadLimits { deliveries_max: 12, small_audience: 2 };

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
    /// Ready when a writer has made room. It exists while commands wait and none of them could go at the last look.
    freed: Option<LocalBoxFuture<'static, ()>>,
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
    /// Pings since the last step, which the writer has not published as its load.
    newly_pinged: usize,
    /// The pings of each client.
    pings: BTreeMap<Slot, Vec<EntryNumber>>,
}

impl ShardTask {
    pub fn new(mailbox: ShardMailbox, writers: usize) -> Self {
        let (shard, batch) = (mailbox.shard(), Batch::new(writers));
        let entries = VecDeque::new();
        Self { shard, mailbox, batch, entries, handing_over: None, freed: None, next_sweep: None }
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
            let waited = self.next_waiting(place == 0, writers);
            let has_room = has_room(writers, &self.batch);
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

    /// The next command that has waited, if its writers have room. Looks only if a writer has made room since the last
    /// look. `is_first` if the batch is empty.
    fn next_waiting(&mut self, is_first: bool, writers: &[WriterTask]) -> Option<ShardCommand> {
        let context = &mut Context::from_waker(Waker::noop());
        if !self.shard.is_waiting() || self.freed.as_mut().is_some_and(|freed| freed.poll_unpin(context).is_pending()) {
            return None;
        }
        // Created before the look, so that nothing is missed between the look and the wait.
        let freed = select_all(writers.iter().map(|writer| Box::pin(writer.batches.load().freed())));
        let command = self.shard.next_waiting(has_room(writers, &self.batch));
        // With something in the batch, the batch may be what leaves no room.
        let waits = is_first && command.is_none();
        self.freed = waits.then(|| freed.map(drop).boxed_local());
        command
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

/// Whether a writer has room for a message to this many members, behind what the batch already holds for it. It has none
/// while more than its bound is on its way to sockets that are not blocked.
pub fn has_room<'a>(writers: &'a [WriterTask], batch: &'a Batch) -> impl Fn(WriterIndex, usize) -> bool + Copy + 'a {
    move |index, targets| {
        let (writer, in_batch) = (&writers[usize::from(index.0)], batch.deliveries(index));
        let is_small = targets <= LOAD.small_audience;
        let bound = if is_small { LOAD.deliveries_small_max() } else { LOAD.deliveries_max };
        let has_room = writer.batches.load().has_room(in_batch, targets);
        let on_their_way = writer.unwritten().saturating_sub(writer.newly_pinged) + in_batch;
        assert!(!has_room || targets == 0 || on_their_way < bound, "{on_their_way} are on their way");
        has_room
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
        let (batches, mailbox) = mailbox_with(WRITER_COMMANDS_MAX, LOAD);
        let writer = Writer::counting_in(Arc::clone(&metrics), limits, Arc::clone(&mailbox.load));
        let writer = Rc::new(RefCell::new(writer));
        let handle = WriterHandle::new(Rc::clone(&writer), batches.clone(), Arc::clone(&metrics));
        let (wire, pings) = (MemoryWire::default(), BTreeMap::new());
        Self { handle, writer, metrics, wire, batches, mailbox, handed_over: 0, newly_pinged: 0, pings }
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
    pub fn deliver(&mut self, entries: Vec<Entry>) -> LocalBoxFuture<'static, ()> {
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

    /// Has the client read at once. Its socket refuses bytes for a moment, once it has taken this many in one step.
    pub fn read_at_once(&mut self, slot: Slot, bytes: usize) {
        self.wire.socket_mut(slot).expect("it was opened").read_at_once = Some(bytes);
    }

    /// Sends a ping to each of these clients, none of which is closing.
    pub fn ping(&mut self, slots: &[Slot]) {
        let number = self.handle.send_now(slots, Bytes::from_static(Dialect::EMPTY_LINE));
        self.newly_pinged += slots.len();
        slots.iter().for_each(|&slot| self.pings.entry(slot).or_default().push(number));
    }

    /// Checks that a ping counts as sent once the socket has taken it, and not before.
    pub fn check_pings(&self) {
        for (&slot, pings) in &self.pings {
            let is_closing = self.handle.disconnect_reason(slot).is_some() || self.wire.socket(slot).finished;
            for (index, &ping) in pings.iter().enumerate().filter(|_| !is_closing) {
                let is_taken = self.pings_taken(slot) > index;
                assert_eq!(self.handle.has_sent(slot, ping), is_taken, "ping {index} of {slot:?}");
            }
        }
    }

    /// The number of pings that were sent to the client.
    pub fn pings(&self, slot: Slot) -> usize {
        self.pings.get(&slot).map_or(0, Vec::len)
    }

    /// The number of pings that the client's socket has taken.
    pub fn pings_taken(&self, slot: Slot) -> usize {
        self.socket(slot).taken.split(|&byte| byte == b'\n').rev().skip(1).filter(|line| line.is_empty()).count()
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
        self.newly_pinged = 0;
        self.wire.check_after_step();
        self.wire.read_at_once();
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
