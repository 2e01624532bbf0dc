//! How the connection of a client ends, one rule per test.

use std::time::Duration;

use bytes::Bytes;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::{Entry, Frames, Input, Slot, Targets, WriterCommand};

use crate::common::ROOMY;
use crate::harness::Harness;
use crate::wire::ALL;

const MILLISECOND: Duration = Duration::from_millis(1);

/// A client with an answer and three deliveries pending. Its socket has taken the first three bytes of `first`.
fn partly_sent() -> (Harness, Slot) {
    let mut harness = Harness::new(ROOMY);
    let slot = harness.open_taking(3);
    harness.deliver(&[slot], "first");
    harness.deliver(&[slot], "second");
    harness.reply(slot, "answer");
    harness.deliver(&[slot], "third");
    harness.flush();
    (harness, slot)
}

#[test]
fn a_client_closed_for_an_error_gets_the_partly_sent_message_its_answers_and_the_last_line() {
    let (mut harness, slot) = partly_sent();
    harness.close(slot, Disconnect::TooLong);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "first\nanswer\nERR closed too-long\n");
    assert!(harness.wire.socket(slot).finished);
    let counts = harness.counts();
    assert_eq!((counts.delivered, counts.dropped_gone, counts.dropped_slow), (1, 2, 0));
}

#[test]
fn a_client_that_loses_its_deliveries_is_not_told_a_position_behind_them() {
    for (reason, received) in [
        (Disconnect::SlowConsumer, "answer\nERR closed slow-consumer\n"),
        (Disconnect::Quit, "message\nposition\nanswer\nBye\n"),
    ] {
        let mut harness = Harness::new(ROOMY);
        let slot = harness.open_taking(0);
        harness.deliver(&[slot], "message");
        let entry = Entry { targets: Targets::One(slot), frames: Frames::position(Bytes::from("position\n")) };
        harness.send(WriterCommand::Entry(entry));
        harness.reply(slot, "answer");
        harness.flush();
        harness.close(slot, reason);
        harness.grant(slot, ALL);
        assert_eq!(harness.received(slot), received);
    }
}

#[test]
fn only_the_partly_sent_message_of_an_entry_is_still_sent() {
    let mut harness = Harness::new(ROOMY);
    let slot = harness.open_taking("one\ntw".len());
    let frames = Frames::delivery(Bytes::from("one\ntwo\nthree\n"), vec![4, 8]);
    let targets = Targets::One(slot);
    harness.send(WriterCommand::Entry(Entry { targets, frames }));
    harness.flush();
    harness.close(slot, Disconnect::ProtocolError);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "one\ntwo\nERR closed protocol-error\n");
    assert_eq!((harness.counts().delivered, harness.counts().dropped_gone), (2, 1));
}

#[test]
fn a_client_that_quits_gets_everything_and_bye() {
    let (mut harness, slot) = partly_sent();
    harness.close(slot, Disconnect::Quit);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "first\nsecond\nanswer\nthird\nBye\n");
    assert_eq!(harness.counts().delivered, 3);
}

#[test]
fn a_client_that_hangs_up_gets_everything_and_no_last_line() {
    let (mut harness, slot) = partly_sent();
    harness.send(WriterCommand::InputEnded(slot));
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "first\nsecond\nanswer\nthird\n");
    assert!(!harness.wire.is_open(slot), "nothing is pending");
}

#[test]
fn the_first_reason_stays() {
    let (mut harness, slot) = partly_sent();
    harness.close(slot, Disconnect::Quit);
    harness.close(slot, Disconnect::TooLong);
    harness.grant(slot, ALL);
    assert!(harness.received(slot).ends_with("third\nBye\n"));
}

#[test]
fn a_closing_client_gets_no_later_message() {
    let (mut harness, slot) = partly_sent();
    harness.close(slot, Disconnect::Quit);
    harness.deliver(&[slot], "late");
    harness.reply(slot, "later");
    harness.grant(slot, ALL);
    assert!(harness.received(slot).ends_with("third\nBye\n"));
    assert_eq!(harness.counts().dropped_gone, 1);
}

#[test]
fn a_closing_client_that_takes_nothing_for_a_second_is_closed() {
    let (mut harness, slot) = partly_sent();
    harness.close(slot, Disconnect::Quit);
    harness.sweep_after(999 * MILLISECOND);
    assert!(harness.wire.is_open(slot));
    harness.sweep_after(MILLISECOND);
    assert!(!harness.wire.is_open(slot));
    let counts = harness.counts();
    assert_eq!((counts.cut, counts.dropped_gone), (1, 3));
    assert!(!harness.writer.needs_sweep());
}

#[test]
fn a_closing_client_has_another_second_whenever_it_takes_something() {
    let (mut harness, slot) = partly_sent();
    harness.close(slot, Disconnect::Quit);
    for _ in 0..5 {
        harness.sweep_after(999 * MILLISECOND);
        harness.grant(slot, 1);
    }
    harness.sweep_after(999 * MILLISECOND);
    assert!(harness.wire.is_open(slot));
    harness.sweep_after(MILLISECOND);
    assert!(!harness.wire.is_open(slot));
}

#[test]
fn a_client_that_has_received_everything_has_a_second_to_end_its_input() {
    let (mut harness, slot) = partly_sent();
    harness.close(slot, Disconnect::Quit);
    harness.sweep_after(900 * MILLISECOND);
    harness.grant(slot, ALL);
    harness.sweep_after(999 * MILLISECOND);
    assert!(harness.wire.is_open(slot));
    harness.sweep_after(MILLISECOND);
    assert!(!harness.wire.is_open(slot));
    assert_eq!(harness.counts().cut, 0, "it got everything");
}

#[test]
fn a_client_that_ended_its_input_is_closed_as_soon_as_all_is_sent() {
    let (mut harness, slot) = partly_sent();
    harness.close(slot, Disconnect::Quit);
    harness.send(WriterCommand::InputEnded(slot));
    assert!(harness.wire.is_open(slot));
    harness.grant(slot, ALL);
    assert!(!harness.wire.is_open(slot));
    assert!(harness.received(slot).ends_with("Bye\n"));
    assert!(harness.wire.socket(slot).finished);
}

#[test]
fn a_client_that_ends_its_input_after_all_is_sent_is_closed_then() {
    let (mut harness, slot) = partly_sent();
    harness.close(slot, Disconnect::Quit);
    harness.grant(slot, ALL);
    assert!(harness.wire.is_open(slot));
    harness.send(WriterCommand::InputEnded(slot));
    assert!(!harness.wire.is_open(slot));
}

#[test]
fn a_broken_socket_is_closed_and_its_connection_gets_the_reason() {
    let mut harness = Harness::new(ROOMY);
    let (slot, other) = (harness.open(), harness.open());
    harness.wire.socket_mut(slot).expect("open").broken = true;
    harness.deliver(&[slot, other], "message");
    harness.flush();
    assert!(!harness.wire.is_open(slot));
    assert!(!harness.wire.socket(slot).finished);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::IoError));
    assert_eq!(harness.received(other), "message\n");
    let counts = harness.counts();
    assert_eq!((counts.delivered, counts.dropped_gone, counts.cut), (1, 1, 0), "nobody has cut it");
}

#[test]
fn a_client_in_a_reused_row_receives_nothing_meant_for_its_predecessor() {
    let (mut harness, slot) = partly_sent();
    harness.wire.socket_mut(slot).expect("open").watched = false;
    harness.step(Input::Cut);
    let next = harness.open();
    assert_eq!(next.index, slot.index);
    harness.step(Input::Writable(slot));
    harness.deliver(&[slot], "for the one before");
    harness.reply(slot, "for the one before");
    harness.close(slot, Disconnect::Quit);
    harness.send(WriterCommand::InputEnded(slot));
    harness.deliver(&[next], "for the next");
    harness.flush();
    assert_eq!(harness.received(next), "for the next\n");
    assert!(harness.wire.is_open(next));
    assert_eq!(harness.disconnect(next), None);
}

#[test]
fn a_client_in_a_reused_row_is_flushed_although_its_predecessor_was_left_dirty() {
    let mut harness = Harness::new(ROOMY);
    let slot = harness.open();
    harness.deliver(&[slot], "never sent");
    harness.step(Input::Cut);
    let next = harness.open();
    harness.deliver(&[next], "sent");
    harness.flush();
    assert_eq!(harness.received(next), "sent\n");
    assert_eq!(harness.received(slot), "");
}

#[test]
fn a_client_that_opens_after_all_were_disconnected_is_disconnected_too() {
    let mut harness = Harness::new(ROOMY);
    let before = harness.open();
    harness.step(Input::DisconnectAll(Disconnect::Shutdown));
    let after = harness.open();
    assert_eq!(harness.disconnect(before), Some(Disconnect::Shutdown));
    assert_eq!(harness.disconnect(after), Some(Disconnect::Shutdown));
}
