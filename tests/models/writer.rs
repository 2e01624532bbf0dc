//! `Writer::step` against a queue for each client, under any commands and any behaviour of its sockets.

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

/// Reached by clients that take little.
const TIGHT: OutboxLimits =
    OutboxLimits { bytes_max: 400, messages_max: 6, slow_after: Duration::from_secs(3), ..ROOMY };

/// The same for clients that lose their oldest messages.
const DROPPING: OutboxLimits = OutboxLimits { policy: SlowPolicy::DropOldest, ..TIGHT };

/// Passed by a dozen entries. Nobody is ever too old, so that it is plain why a client is cut.
const POOR: OutboxLimits = OutboxLimits { budget: 3_000, ..ROOMY };

/// The same for those.
const POOR_DROPPING: OutboxLimits =
    OutboxLimits { bytes_max: 2_000, messages_max: 12, policy: SlowPolicy::DropOldest, ..POOR };

/// Who never was there: pads an audience until it is a large one.
const STRANGERS: std::ops::Range<u32> = 1_000..1_065;

/// An entry to be made. Clients are named by any number, modulo all that ever were there.
#[derive(Clone, Debug)]
struct Plan {
    clients: Vec<usize>,
    /// Also for so many strangers that the audience is large.
    is_large: bool,
    /// The padding of each message; one is a reply if `is_reply`.
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
    /// The socket takes more bytes; perhaps the writer is told.
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
    hung_up: bool,
}

/// What the writer was just told, as far as it decides who may be closed.
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
            hung_up: false,
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
            // Whoever gives way for the budget is offered its bytes first, which shows that it is broken: the model
            // does not.
            Act::Break(_) if self.is_poor() => {}
            Act::Break(client) => {
                let slot = self.name(client);
                self.wire.socket_mut(slot).into_iter().for_each(|socket| socket.broken = true);
            }
            Act::Sweep(time) => {
                self.now += time;
                self.step(Input::Sweep(Duration::ZERO), Step::Sweep);
            }
            Act::DisconnectAll => self.hang_up_all(),
            Act::Cut => self.step(Input::Cut, Step::Cut),
        }
    }

    fn open(&mut self, capacity: usize, piece: usize) {
        let slot = self.writer.open(Dialect::Lines);
        self.wire.open(slot, capacity, piece);
        self.clients.push(Client::new(slot, self.now));
        self.check();
    }

    fn name(&self, client: usize) -> Slot {
        let at = client.checked_rem(self.clients.len());
        at.map_or(slot(STRANGERS.start), |at| self.clients[at].slot)
    }

    /// Makes the entry and promises it to its clients.
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
                None => Client::new(slot, self.now).push_nowhere(&messages, &mut self.counts),
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
            slots.extend(STRANGERS.map(slot));
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

    /// A budget that is soon passed.
    fn is_poor(&self) -> bool {
        self.limits.budget < ROOMY.budget
    }

    fn grant(&mut self, client: usize, bytes: usize, notifies: bool) {
        let slot = self.name(client);
        // And what a socket took that was offered bytes for the budget.
        let notifies = notifies || self.is_poor();
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

    /// Not where a slow consumer could be: which of both reasons a client has could not be seen.
    fn hang_up_all(&mut self) {
        if (self.limits.bytes_max, self.limits.budget) == (ROOMY.bytes_max, ROOMY.budget) {
            self.hung_up = true;
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
            self.look(client, step);
        }
        shed(&mut self.entries, &mut clients, &self.limits, &mut self.counts);
        clients.iter().for_each(|client| self.look_after_all(client));
        self.clients = clients;
        self.check();
    }

    fn look(&mut self, client: &mut Client, step: Step) {
        let (now, limits) = (self.now, self.limits);
        client.look(now, self.wire.socket(client.slot), &mut self.counts);
        if !self.wire.socket(client.slot).failed {
            client.drop_to_bounds(&limits, &mut self.counts);
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
        if client.is_open() && !self.hung_up {
            // For the budget it may be closed in the same step.
            assert!(is_slow || !must_be_slow || !self.wire.is_open(client.slot), "not cut: {client:?}");
            if must_be_slow || is_slow && may_be_slow {
                client.close(now, Disconnect::SlowConsumer, &mut self.entries, &mut self.counts);
            }
        }
        self.look_at_end(client, step);
    }

    fn is_cut_as_slow(&mut self, slot: Slot) -> bool {
        self.writer.disconnect_reason(slot, None) == Some(Disconnect::SlowConsumer)
    }

    /// A socket is closed at its time, neither before nor after.
    fn look_at_end(&mut self, client: &mut Client, step: Step) {
        let is_due = client.finished && client.input_ended
            || step == Step::Sweep && client.has_expired(self.now)
            || step == Step::Cut
            || self.wire.socket(client.slot).failed;
        // A stop has its grace period; every other ending is bounded by the age of what is refused.
        let is_bounded = client.closing.is_some_and(|reason| reason != Disconnect::Shutdown);
        let may_be_due = step == Step::Sweep && is_bounded && client.may_hold_old_bytes(self.now, &self.limits);
        if is_due || may_be_due && !self.wire.is_open(client.slot) {
            client.closed(&mut self.counts);
        }
    }

    /// Nothing else was done to a client than what is due by now.
    fn look_after_all(&mut self, client: &Client) {
        let is_open = self.wire.is_open(client.slot);
        assert_eq!(is_open, !client.gone, "{client:?}");
        let is_cut = is_open && client.is_open() && self.is_cut_as_slow(client.slot);
        assert!(!is_cut, "cut for nothing: {client:?}");
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
        let is_anyone_waited_for = self.clients.iter().any(Client::is_waited_for);
        assert!(held <= self.limits.budget || is_anyone_waited_for, "{held} bytes are held");
        assert_eq!(self.writer.is_over_budget(), held > self.limits.budget);
        let here = self.clients.iter().filter(|client| !client.gone);
        assert_eq!(self.writer.clients(), here.clone().count());
        for client in here {
            let watched = self.wire.socket(client.slot).watched;
            assert!(!client.is_unfinished() || watched || self.writer.is_dirty(), "forgotten: {client:?}");
            assert!(client.closing.is_none() || self.writer.needs_sweep(), "no end: {client:?}");
            assert!(!self.hung_up || self.writer.disconnect_reason(client.slot, None).is_some());
        }
    }

    /// Every socket takes everything, and then all are closed.
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
    proptest::sample::select(vec![TIGHT, ROOMY, DROPPING, POOR, POOR_DROPPING])
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
    fn every_client_gets_its_queue_or_is_told_what_is_missing(limits in limits(), acts in acts()) {
        let mut pair = Pair::new(limits);
        acts.into_iter().for_each(|act| pair.act(act));
        pair.end();
    }
}
