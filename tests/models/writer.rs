//! Compares `Writer::step` with a model that has a queue for each client, under random commands and sockets.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use roomcast::config::{OutboxLimits, SlowPolicy};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::{Counts, Entry, Input, Kind, Slot, Targets, Writer, WriterCommand};

use crate::common::{ROOMY, slot};
use crate::wire::{ALL, MemoryWire};
use crate::writer_budget::{Entries, shed};
use crate::writer_model::{Client, Message, frames};

/// Limits that slow clients reach.
const TIGHT: OutboxLimits =
    OutboxLimits { bytes_max: 400, messages_max: 6, slow_after: Duration::from_secs(3), ..ROOMY };

/// The same limits with the policy `drop-oldest`.
const DROPPING: OutboxLimits = OutboxLimits { policy: SlowPolicy::DropOldest, ..TIGHT };

/// A budget that a dozen entries exceed. No refused byte is ever too old, so the budget is the only reason for a cut.
const SMALL_BUDGET: OutboxLimits = OutboxLimits { budget: 3_000, ..ROOMY };

/// The same budget with the policy `drop-oldest`.
const SMALL_BUDGET_DROPPING: OutboxLimits =
    OutboxLimits { bytes_max: 2_000, messages_max: 12, policy: SlowPolicy::DropOldest, ..SMALL_BUDGET };

/// Rows that are never opened. They pad an audience until it counts as large.
const UNOPENED_ROWS: std::ops::Range<u32> = 1_000..1_065;

/// The plan of an entry. A client is given as any number, which is taken modulo the number of clients so far.
#[derive(Clone, Debug)]
struct Plan {
    clients: Vec<usize>,
    /// Adds the unopened rows to the audience, which makes it a large one.
    is_large: bool,
    /// The padding of each message, in bytes. A reply has only the first message.
    paddings: Vec<usize>,
    is_reply: bool,
}

#[derive(Clone, Debug)]
enum Act {
    Open {
        capacity: usize,
        piece: usize,
    },
    Batch(Vec<Plan>),
    Entry(Plan),
    Close(usize, Disconnect),
    InputEnded(usize),
    Flush,
    /// Lets a client's socket take this many more bytes. The flag says whether the writer is notified.
    Grant(usize, usize, bool),
    Break(usize),
    Sweep(Duration),
    DisconnectAll,
    Cut,
}

/// A writer and its model.
struct Pair {
    writer: Writer,
    wire: MemoryWire,
    limits: OutboxLimits,
    now: Instant,
    clients: Vec<Client>,
    entries: Entries,
    counts: Counts,
    messages: usize,
    all_disconnected: bool,
}

/// The kind of the last input, as far as it decides which clients may be closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Sweep,
    Cut,
    Other,
}

impl Pair {
    fn new(limits: OutboxLimits) -> Self {
        Self {
            writer: Writer::new(limits),
            wire: MemoryWire::default(),
            limits,
            now: Instant::now(),
            clients: Vec::new(),
            entries: Entries::default(),
            counts: Counts::default(),
            messages: 0,
            all_disconnected: false,
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Open { capacity, piece } => self.open(capacity, piece),
            Act::Batch(plans) => {
                let entries = plans.iter().map(|plan| self.entry(plan)).collect();
                self.send(WriterCommand::Batch(entries));
            }
            Act::Entry(plan) => {
                let entry = self.entry(&plan);
                self.send(WriterCommand::Entry(entry));
            }
            Act::Close(client, reason) => self.close(client, reason),
            Act::InputEnded(client) => self.input_ended(client),
            Act::Flush => self.step(Input::Flush, Step::Other),
            Act::Grant(client, bytes, notifies) => self.grant(client, bytes, notifies),
            // Before the writer cuts a client for the budget, it offers the client its bytes and so notices a broken
            // socket. The model does not know about that offer.
            Act::Break(_) if self.has_small_budget() => {}
            Act::Break(client) => {
                let slot = self.name(client);
                self.wire.socket_mut(slot).into_iter().for_each(|socket| socket.broken = true);
            }
            Act::Sweep(time) => {
                self.now += time;
                self.step(Input::Sweep(Duration::ZERO), Step::Sweep);
            }
            Act::DisconnectAll => self.disconnect_all(),
            Act::Cut => self.step(Input::Cut, Step::Cut),
        }
    }

    fn open(&mut self, capacity: usize, piece: usize) {
        let slot = self.writer.open(Dialect::TextLines);
        self.wire.open(slot, capacity, piece);
        self.clients.push(Client::new(slot, self.now));
        self.check();
    }

    fn name(&self, client: usize) -> Slot {
        let at = client.checked_rem(self.clients.len());
        at.map_or(slot(UNOPENED_ROWS.start), |at| self.clients[at].slot)
    }

    /// Makes the entry and adds its messages to the queues of its clients.
    fn entry(&mut self, plan: &Plan) -> Entry {
        let kind = if plan.is_reply { Kind::Reply } else { Kind::Delivery };
        let paddings = if plan.is_reply { &plan.paddings[..1] } else { &plan.paddings[..] };
        let mut messages: Vec<Message> = paddings.iter().map(|&padding| self.message(padding, kind)).collect();
        let entry = self.entries.number(messages.iter().map(|message| message.bytes.len()).sum());
        messages.iter_mut().for_each(|message| message.entry = entry);
        let targets = self.targets(plan);
        for &slot in targets.as_slice() {
            match self.clients.iter_mut().find(|client| client.slot == slot) {
                Some(client) => client.push(&messages, &mut self.counts),
                None => Client::new(slot, self.now).push_to_absent(&messages, &mut self.counts),
            }
        }
        let frames = frames(&messages, kind);
        Entry { targets, frames }
    }

    fn message(&mut self, padding: usize, kind: Kind) -> Message {
        self.messages += 1;
        let bytes = format!("{}{}\n", self.messages, ".".repeat(padding)).into();
        Message { bytes, kind, entry: 0, missing: 0 }
    }

    fn targets(&self, plan: &Plan) -> Targets {
        let mut slots: Vec<Slot> = plan.clients.iter().map(|&client| self.name(client)).collect();
        if plan.is_reply {
            return Targets::One(slots[0]);
        }
        if plan.is_large {
            slots.extend(UNOPENED_ROWS.map(slot));
        }
        slots.sort_unstable();
        slots.dedup();
        Targets::Audience(slots.into())
    }

    fn close(&mut self, client: usize, reason: Disconnect) {
        let slot = self.name(client);
        let client = self.clients.iter_mut().find(|client| client.slot == slot);
        client.into_iter().for_each(|client| client.close(self.now, reason, &mut self.entries, &mut self.counts));
        self.send(WriterCommand::Close(slot, reason));
    }

    fn input_ended(&mut self, client: usize) {
        let slot = self.name(client);
        for client in self.clients.iter_mut().filter(|client| client.slot == slot) {
            client.close(self.now, Disconnect::ClosedByPeer, &mut self.entries, &mut self.counts);
            client.input_ended = true;
        }
        self.send(WriterCommand::InputEnded(slot));
    }

    /// Whether the budget is so small that a run may exceed it.
    fn has_small_budget(&self) -> bool {
        self.limits.budget < ROOMY.budget
    }

    fn grant(&mut self, client: usize, bytes: usize, notifies: bool) {
        let slot = self.name(client);
        // With a small budget, the writer may offer bytes to a socket that has not notified it. The model expects a
        // notification, so the test always sends one.
        let notifies = notifies || self.has_small_budget();
        if let Some(socket) = self.wire.socket_mut(slot) {
            socket.capacity = socket.capacity.saturating_add(bytes);
            socket.watched &= !notifies;
        }
        if notifies {
            let client = self.clients.iter_mut().find(|client| client.slot == slot);
            client.into_iter().for_each(|client| client.resume(self.now));
            self.step(Input::Writable(slot), Step::Other);
        }
    }

    /// Disconnects all clients, unless the limits can make a client a slow consumer: a disconnected client shows only
    /// one reason, so the model could not see the other.
    fn disconnect_all(&mut self) {
        if (self.limits.bytes_max, self.limits.budget) == (ROOMY.bytes_max, ROOMY.budget) {
            self.all_disconnected = true;
            self.step(Input::DisconnectAll(Disconnect::Shutdown), Step::Other);
        }
    }

    fn send(&mut self, command: WriterCommand) {
        self.step(Input::Command(command), Step::Other);
    }

    fn step(&mut self, input: Input, step: Step) {
        self.writer.step(self.now, input, &mut self.wire);
        self.wire.check_after_step();
        let mut clients = std::mem::take(&mut self.clients);
        for client in clients.iter_mut().filter(|client| !client.gone) {
            self.observe(client, step);
        }
        shed(&mut self.entries, &mut clients, &self.limits, &mut self.counts);
        clients.iter().for_each(|client| self.check_no_early_end(client));
        self.clients = clients;
        self.check();
    }

    fn observe(&mut self, client: &mut Client, step: Step) {
        let (now, limits) = (self.now, self.limits);
        client.observe(now, self.wire.socket(client.slot), &mut self.counts);
        if !self.wire.socket(client.slot).failed {
            client.drop_to_bounds(step == Step::Sweep, &limits, &mut self.counts);
        }
        let takes_nothing = limits.policy == SlowPolicy::DropOldest && client.has_taken_nothing(now, &limits);
        let is_over = match step {
            Step::Sweep => client.has_stalled(now, &limits) || takes_nothing,
            _ => client.pushed && client.is_far_over(&limits),
        };
        let must_be_slow = is_over && !client.took && !self.wire.socket(client.slot).failed;
        let may_be_old = limits.policy == SlowPolicy::Disconnect && client.may_hold_old_bytes(now, &limits);
        let may_be_slow = must_be_slow || step == Step::Sweep && may_be_old;
        client.pushed = false;
        let is_slow = self.is_cut_as_slow(client.slot);
        if client.is_open() && !self.all_disconnected {
            // The budget may have closed the client in the same step.
            assert!(is_slow || !must_be_slow || !self.wire.is_open(client.slot), "not cut: {client:?}");
            if must_be_slow || is_slow && may_be_slow {
                client.close(now, Disconnect::SlowConsumer, &mut self.entries, &mut self.counts);
            }
        }
        self.observe_end(client, step);
    }

    fn is_cut_as_slow(&mut self, slot: Slot) -> bool {
        self.writer.disconnect_reason(slot, None) == Some(Disconnect::SlowConsumer)
    }

    /// Checks that the socket is closed when it is due, and not before.
    fn observe_end(&mut self, client: &mut Client, step: Step) {
        let is_due = client.finished && client.input_ended
            || step == Step::Sweep && client.has_expired(self.now)
            || step == Step::Cut
            || self.wire.socket(client.slot).failed;
        // A shutdown has its own grace period. For every other reason, the age of the refused bytes limits the time.
        let is_bounded = client.closing.is_some_and(|reason| reason != Disconnect::Shutdown);
        let may_be_due = step == Step::Sweep && is_bounded && client.may_hold_old_bytes(self.now, &self.limits);
        if is_due || may_be_due && !self.wire.is_open(client.slot) {
            let reason = if step == Step::Cut { Disconnect::Shutdown } else { Disconnect::IoError };
            client.closed(reason, &mut self.counts);
        }
    }

    /// Checks that the writer has not cut or closed the client before it was due.
    fn check_no_early_end(&mut self, client: &Client) {
        let is_open = self.wire.is_open(client.slot);
        assert_eq!(is_open, !client.gone, "{client:?}");
        let is_cut = is_open && client.is_open() && self.is_cut_as_slow(client.slot);
        assert!(!is_cut, "cut without a reason: {client:?}");
    }

    fn check(&mut self) {
        let counts = self.writer.counts();
        let writes = self.wire.writes.len() as u64;
        assert_eq!(counts, Counts { writes, ..self.counts });
        let queued: u64 = self.clients.iter().map(Client::queued).sum();
        let dropped = counts.dropped_slow + counts.dropped_gap + counts.dropped_gone;
        assert_eq!(counts.fanned_out, counts.delivered + dropped + queued);
        let held = self.entries.held(&self.clients);
        assert_eq!(self.writer.held_bytes(), held);
        let any_awaits_writer = self.clients.iter().any(Client::awaits_writer);
        assert!(held <= self.limits.budget || any_awaits_writer, "{held} bytes are held");
        assert_eq!(self.writer.is_over_budget(), held > self.limits.budget);
        let here = self.clients.iter().filter(|client| !client.gone);
        assert_eq!(self.writer.clients(), here.clone().count());
        for client in here {
            let watched = self.wire.socket(client.slot).watched;
            assert!(!client.is_unfinished() || watched || self.writer.is_dirty(), "forgotten: {client:?}");
            assert!(client.closing.is_none() || self.writer.needs_sweep(), "never swept: {client:?}");
            assert!(!self.all_disconnected || self.writer.disconnect_reason(client.slot, None).is_some());
        }
    }

    /// Lets every socket take everything, and then cuts all clients.
    fn end(&mut self) {
        for client in 0..self.clients.len() {
            self.grant(client, ALL, true);
        }
        self.flush_all();
        assert!(!self.clients.iter().any(Client::is_unfinished), "not flushed");
        self.step(Input::Cut, Step::Cut);
        assert_eq!(self.writer.clients(), 0);
        self.flush_all();
        self.step(Input::Sweep(Duration::ZERO), Step::Sweep);
        assert!(!self.writer.needs_sweep());
    }

    fn flush_all(&mut self) {
        while self.writer.is_dirty() {
            self.step(Input::Flush, Step::Other);
        }
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let paddings = vec(prop_oneof![30 => 0..30usize, 1 => 5_000..40_000usize], 1..4);
    let is_large = proptest::bool::weighted(0.3);
    let is_reply = proptest::bool::weighted(0.2);
    (vec(0..12usize, 1..5), is_large, paddings, is_reply).prop_map(|(clients, is_large, paddings, is_reply)| Plan {
        clients,
        is_large,
        paddings,
        is_reply,
    })
}

fn reasons() -> impl Strategy<Value = Disconnect> {
    proptest::sample::select(vec![
        Disconnect::ClosedByPeer,
        Disconnect::Quit,
        Disconnect::Shutdown,
        Disconnect::SlowConsumer,
        Disconnect::TooLong,
        Disconnect::ProtocolError,
        Disconnect::TooManyConnections,
        Disconnect::IoError,
    ])
}

fn opens() -> impl Strategy<Value = Act> {
    let capacities = prop_oneof![Just(ALL), 0..100usize];
    let pieces = prop_oneof![Just(ALL), 1..40usize];
    (capacities, pieces).prop_map(|(capacity, piece)| Act::Open { capacity, piece })
}

fn limits() -> impl Strategy<Value = OutboxLimits> {
    proptest::sample::select(vec![TIGHT, ROOMY, DROPPING, SMALL_BUDGET, SMALL_BUDGET_DROPPING])
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let clients = || 0..12usize;
    let act = prop_oneof![
        8 => opens(),
        10 => vec(plans(), 0..4).prop_map(Act::Batch),
        5 => plans().prop_map(Act::Entry),
        4 => (clients(), reasons()).prop_map(|(client, reason)| Act::Close(client, reason)),
        4 => clients().prop_map(Act::InputEnded),
        16 => Just(Act::Flush),
        12 => (clients(), 0..200usize, any::<bool>()).prop_map(|(client, bytes, notifies)| Act::Grant(client, bytes, notifies)),
        1 => clients().prop_map(Act::Break),
        6 => (0..1_500u64).prop_map(|time| Act::Sweep(Duration::from_millis(time))),
    ];
    let rare = prop_oneof![200 => act, 1 => Just(Act::DisconnectAll), 1 => Just(Act::Cut)];
    vec(rare, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_client_gets_its_queue_or_a_notice_of_the_missing_messages(limits in limits(), acts in acts()) {
        let mut pair = Pair::new(limits);
        acts.into_iter().for_each(|act| pair.act(act));
        pair.end();
    }
}
