//! Pongs: a client that reads gets all of them, and a client that does not read gets the latest.

use bytes::Bytes;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::{Slot, WriterCommand};

use crate::common::ROOMY;
use crate::harness::Harness;
use crate::wire::ALL;

fn pong(harness: &mut Harness, slot: Slot, payload: &str) {
    harness.send(WriterCommand::Pong(slot, Bytes::from(format!("pong {payload}\n"))));
}

/// A client that was sent the line `hello`. Its socket took the first `taken` bytes and refused the rest.
fn refusing(taken: usize) -> (Harness, Slot) {
    let mut harness = Harness::new(ROOMY);
    let slot = harness.open_taking(taken);
    harness.reply(slot, "hello");
    harness.flush();
    (harness, slot)
}

#[test]
fn a_client_that_reads_gets_every_pong_in_its_place() {
    let mut harness = Harness::new(ROOMY);
    let slot = harness.open();
    pong(&mut harness, slot, "1");
    harness.reply(slot, "hello");
    pong(&mut harness, slot, "2");
    pong(&mut harness, slot, "3");
    harness.flush();
    assert_eq!(harness.received(slot), "pong 1\nhello\npong 2\npong 3\n");
}

#[test]
fn only_the_latest_pong_waits_for_a_socket_that_takes_nothing() {
    let (mut harness, slot) = refusing(3);
    pong(&mut harness, slot, "0");
    harness.deliver(&[slot], "message");
    let held = harness.writer.held_bytes();
    (1..1_000).for_each(|payload| pong(&mut harness, slot, &(payload % 10).to_string()));
    assert_eq!(harness.writer.held_bytes(), held);
    harness.reply(slot, "bye");
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "hello\npong 9\nmessage\nbye\n");
    assert_eq!(harness.writer.held_bytes(), 0);
}

#[test]
fn the_latest_pong_may_be_longer_or_shorter_than_the_one_that_waited() {
    for (first, last) in [("short", "a good deal longer"), ("a good deal longer", "short")] {
        let (mut harness, slot) = refusing(0);
        pong(&mut harness, slot, first);
        pong(&mut harness, slot, last);
        harness.grant(slot, "hello\n".len());
        pong(&mut harness, slot, first);
        harness.grant(slot, ALL);
        assert_eq!(harness.received(slot), format!("hello\npong {first}\n"));
        assert_eq!(harness.writer.held_bytes(), 0);
    }
}

#[test]
fn a_pong_that_is_partly_sent_is_finished_and_the_next_follows() {
    let (mut harness, slot) = refusing(3);
    pong(&mut harness, slot, "1");
    harness.grant(slot, "lo\npo".len());
    pong(&mut harness, slot, "2");
    pong(&mut harness, slot, "3");
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "hello\npong 1\npong 3\n");
}

#[test]
fn a_pong_for_a_closing_client_changes_nothing() {
    let (mut harness, slot) = refusing(3);
    pong(&mut harness, slot, "1");
    harness.close(slot, Disconnect::Quit);
    harness.grant(slot, ALL);
    let received = harness.received(slot).to_owned();
    pong(&mut harness, slot, "2");
    harness.flush();
    assert_eq!(harness.received(slot), received);
}
