//! The writer over encrypted streams: a client reads what it would have read without encryption, though the kernel takes
//! any part of a record, and though keys change in between.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use roomcast::config::OutboxLimits;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::protocol::event::Event;
use roomcast::writer::{Entry, Input, Slot, Writer, WriterCommand};
use rustls::version::{TLS12, TLS13};

use crate::common::{RETRY, ROOMY, line};
use crate::harness::delivery;
use crate::sealed_wire::{Sealed, SealedWire};

const SECOND: Duration = Duration::from_secs(1);

const LIMITS: OutboxLimits = OutboxLimits { slow_after: Duration::from_secs(10), ..ROOMY };

/// A writer, its encrypted streams, and what each client is to read and has sent.
struct Server {
    writer: Writer,
    wire: SealedWire,
    slots: Vec<Slot>,
    due: Vec<Vec<u8>>,
    now: Instant,
}

impl Server {
    fn new(limits: OutboxLimits) -> Self {
        let (wire, slots, due) = (SealedWire::default(), Vec::new(), Vec::new());
        Self { writer: Writer::new(limits), wire, slots, due, now: Instant::now() }
    }

    /// One client over TLS 1.3 whose kernel takes this many bytes, beyond those of the handshake.
    fn with_client(limits: OutboxLimits, capacity: usize) -> (Self, Slot) {
        let mut server = Self::new(limits);
        let slot = server.open(true);
        server.wire.at(slot.index).capacity = capacity;
        (server, slot)
    }

    fn open(&mut self, is_tls13: bool) -> Slot {
        let slot = self.writer.open(Dialect::TextLines);
        self.wire.0.insert(slot.index, Sealed::new(slot, if is_tls13 { &TLS13 } else { &TLS12 }));
        self.slots.push(slot);
        self.due.push(Vec::new());
        slot
    }

    fn step(&mut self, input: Input) {
        self.writer.step(self.now, input, &mut self.wire);
        for (index, sealed) in &self.wire.0 {
            let (input, output) = sealed.held();
            assert!(output == 0 || sealed.watched || sealed.closed || self.writer.is_dirty(), "{index} is forgotten");
            assert!(input <= 2 * 18 * 1024 && output <= 17 * 1024, "{index} holds {input} and {output} bytes");
        }
    }

    fn deliver(&mut self, message: &str) {
        let slots = self.slots.clone();
        self.due.iter_mut().for_each(|due| due.extend(format!("{message}\n").bytes()));
        self.step(Input::Command(WriterCommand::Batch(vec![delivery(&slots, message)])));
    }

    fn reply(&mut self, client: usize, message: &str) {
        let bytes = Bytes::from(format!("{message}\n"));
        self.due[client].extend(&bytes);
        self.step(Input::Command(WriterCommand::Entry(Entry::reply(self.slots[client], bytes))));
    }

    fn close(&mut self, slot: Slot, reason: Disconnect) {
        self.step(Input::Command(WriterCommand::Close(slot, reason)));
    }

    fn flush(&mut self) {
        while self.writer.is_dirty() {
            self.step(Input::Flush);
        }
    }

    fn grant(&mut self, slot: Slot, bytes: usize) {
        let sealed = self.wire.at(slot.index);
        sealed.capacity = sealed.capacity.saturating_add(bytes);
        if bytes > 0 && std::mem::take(&mut sealed.watched) {
            self.step(Input::Writable(slot));
        }
    }

    fn sweep_after(&mut self, time: Duration) {
        self.now += time;
        self.step(Input::Sweep(Duration::ZERO));
    }
}

#[derive(Clone, Debug)]
enum Act {
    Deliver(usize),
    Reply(usize, usize),
    Flush,
    Limit(usize, usize),
    Grant(usize, usize),
    Send(usize, usize),
    Read(usize, usize, usize),
    ChangeKeys(usize),
    ClientReads(usize),
    Sweep(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let client = || 0..3usize;
    let length = || prop_oneof![6 => 0..300usize, 1 => 10_000..50_000usize];
    let capacity = || prop_oneof![3 => 0..400usize, 1 => 0..40_000usize];
    let act = prop_oneof![
        4 => length().prop_map(Act::Deliver),
        2 => (client(), length()).prop_map(|(client, length)| Act::Reply(client, length)),
        6 => Just(Act::Flush),
        2 => (client(), capacity()).prop_map(|(client, bytes)| Act::Limit(client, bytes)),
        6 => (client(), capacity()).prop_map(|(client, bytes)| Act::Grant(client, bytes)),
        3 => (client(), length()).prop_map(|(client, length)| Act::Send(client, length)),
        4 => (client(), 1..40_000usize, 1..40_000usize).prop_map(|(client, max, piece)| Act::Read(client, max, piece)),
        2 => client().prop_map(Act::ChangeKeys),
        2 => client().prop_map(Act::ClientReads),
        1 => (0..500u64).prop_map(Act::Sweep),
    ];
    vec(act, 0..80)
}

/// A message that can be told from others, of about this length.
fn message(number: usize, length: usize) -> String {
    format!("{number}{}", ".".repeat(length))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn an_encrypted_client_reads_what_it_would_have_read_without_and_so_does_the_server(acts in acts()) {
        let mut server = Server::new(ROOMY);
        for is_tls13 in [true, false, true] {
            server.open(is_tls13);
        }
        let (mut sent, mut read) = (vec![Vec::new(); 3], vec![Vec::new(); 3]);
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Deliver(length) => server.deliver(&message(number, length)),
                Act::Reply(client, length) => server.reply(client, &message(number, length)),
                Act::Flush => server.step(Input::Flush),
                Act::Limit(client, bytes) => server.wire.at(server.slots[client].index).capacity = bytes,
                Act::Grant(client, bytes) => server.grant(server.slots[client], bytes),
                Act::Send(client, length) => {
                    let text = message(number, length);
                    sent[client].extend(text.bytes());
                    server.wire.at(server.slots[client].index).client_sends(text.as_bytes());
                }
                Act::Read(client, max, piece) => {
                    let sealed = server.wire.at(server.slots[client].index);
                    read[client].extend(sealed.server_reads_all(max, piece));
                }
                Act::ChangeKeys(client) => server.wire.at(server.slots[client].index).client_changes_keys(),
                Act::ClientReads(client) => server.wire.at(server.slots[client].index).client_reads(),
                Act::Sweep(time) => server.sweep_after(Duration::from_millis(time)),
            }
        }
        for client in 0..3 {
            let slot = server.slots[client];
            server.close(slot, Disconnect::Quit);
            server.due[client].extend(line(&Event::Closed(Disconnect::Quit, RETRY)));
            server.grant(slot, usize::MAX);
        }
        server.flush();
        for client in 0..3 {
            let sealed = server.wire.at(server.slots[client].index);
            read[client].extend(sealed.server_reads_all(1000, 1000));
            sealed.client_reads();
            prop_assert!(sealed.got == server.due[client], "client {client} has read something else");
            prop_assert!(read[client] == sent[client], "the server has read something else of client {client}");
            prop_assert_eq!((sealed.got_end, sealed.finished, sealed.held()), (true, true, (0, 0)));
        }
    }
}

#[test]
fn a_client_with_nothing_pending_but_sealed_bytes_ages_like_any_other() {
    let (mut server, slot) = Server::with_client(LIMITS, 50);
    server.deliver("a message that is sealed whole, and of which the socket takes a part");
    server.flush();
    server.sweep_after(LIMITS.slow_after - SECOND);
    assert_eq!(server.writer.disconnect_reason(slot, None), None);
    server.sweep_after(SECOND);
    assert_eq!(server.writer.disconnect_reason(slot, None), Some(Disconnect::SlowConsumer));
}

#[test]
fn a_client_whose_socket_takes_sealed_bytes_is_not_cut() {
    let (mut server, slot) = Server::with_client(LIMITS, 0);
    server.deliver(&"x".repeat(100));
    server.flush();
    for _ in 0..5 {
        server.wire.at(slot.index).capacity = 10;
        server.sweep_after(LIMITS.slow_after);
        assert_eq!(server.writer.disconnect_reason(slot, None), None);
    }
    server.grant(slot, usize::MAX);
    server.flush();
    server.wire.at(slot.index).client_reads();
    assert_eq!(server.wire.at(slot.index).got, server.due[0]);
}

#[test]
fn the_stream_ends_once_its_end_is_sealed_and_taken() {
    let (mut server, slot) = Server::with_client(LIMITS, usize::MAX);
    server.close(slot, Disconnect::Quit);
    server.wire.at(slot.index).capacity = "Bye\n".len() + 22 + 3;
    server.flush();
    let sealed = server.wire.at(slot.index);
    sealed.client_reads();
    assert_eq!((&sealed.got[..], sealed.got_end, sealed.finished), (&b"Bye\n"[..], false, false));
    server.grant(slot, usize::MAX);
    server.flush();
    let sealed = server.wire.at(slot.index);
    sealed.client_reads();
    assert_eq!((sealed.got_end, sealed.finished, sealed.closed), (true, true, false));
}

#[test]
fn an_end_that_is_never_taken_closes_the_client_within_a_second() {
    let (mut server, slot) = Server::with_client(LIMITS, usize::MAX);
    server.close(slot, Disconnect::Quit);
    server.wire.at(slot.index).capacity = "Bye\n".len() + 22;
    server.flush();
    server.sweep_after(SECOND - Duration::from_millis(1));
    assert!(!server.wire.at(slot.index).closed);
    server.sweep_after(Duration::from_millis(1));
    assert!(server.wire.at(slot.index).closed);
}

#[test]
fn a_record_that_does_not_come_whole_is_held_and_nothing_is_sealed_over_it() {
    let (mut server, slot) = Server::with_client(LIMITS, usize::MAX);
    let sealed = server.wire.at(slot.index);
    sealed.client_sends(b"half");
    let rest = sealed.way_to_server().split_off(10);
    assert_eq!(sealed.server_reads_all(100, 100), b"");
    assert_eq!(sealed.held().0, 10);
    server.reply(0, "meanwhile");
    server.flush();
    let sealed = server.wire.at(slot.index);
    sealed.client_reads();
    assert_eq!(sealed.got, b"meanwhile\n");
    sealed.way_to_server().extend(rest);
    assert_eq!(sealed.server_reads_all(100, 100), b"half");
    assert_eq!(sealed.held(), (0, 0));
}

#[test]
fn a_record_under_other_keys_ends_the_input_and_what_came_before_it_is_read() {
    let (mut server, slot) = Server::with_client(LIMITS, usize::MAX);
    let sealed = server.wire.at(slot.index);
    sealed.client_sends(b"before");
    let start = sealed.way_to_server().len();
    sealed.client_sends(b"broken");
    sealed.way_to_server()[start + 8] ^= 1;
    let first = sealed.server_reads(100, 1000).expect("what came before");
    assert_eq!(first, (b"before".to_vec(), true));
    assert_eq!(sealed.server_reads(100, 1000).unwrap_err().kind(), ErrorKind::InvalidData);
    assert!(sealed.held().1 == 0, "the alert is sent");
}

#[test]
fn a_client_that_asks_for_new_keys_and_never_reads_makes_the_server_hold_nothing() {
    let (mut server, slot) = Server::with_client(LIMITS, 0);
    let sealed = server.wire.at(slot.index);
    for _ in 0..1_000 {
        sealed.client_changes_keys();
        sealed.client_sends(b"x");
    }
    assert_eq!(sealed.server_reads_all(100, 100).len(), 1_000);
    assert_eq!(sealed.held(), (0, 0));
    // With nothing between them it is a flood.
    (0..100).for_each(|_| sealed.client_changes_keys());
    let refused = (0..100)
        .find_map(|_| sealed.server_reads(100, 100).err().filter(|error| error.kind() != ErrorKind::WouldBlock));
    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::InvalidData));
    assert!(sealed.held().1 < 100, "only the alert is held");
}
