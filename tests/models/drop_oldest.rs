//! The policy `drop-oldest`: which messages a slow client loses, and which notices it gets.

use std::time::Duration;

use bytes::Bytes;
use roomcast::config::{OutboxLimits, SlowPolicy};
use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::{Entry, Frames, Slot, Targets, WriterCommand};

use crate::common::ROOMY;
use crate::harness::Harness;
use crate::wire::ALL;

const LIMITS: OutboxLimits = OutboxLimits {
    bytes_max: 1_000,
    messages_max: 4,
    slow_after: Duration::from_secs(10),
    policy: SlowPolicy::DropOldest,
    ..ROOMY
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A client with the messages `m0`, `m1` and so on. Its socket took the first `taken` bytes and refused the rest.
fn refusing(taken: usize, messages: usize) -> (Harness, Slot) {
    let mut harness = Harness::new(LIMITS);
    let slot = harness.open_taking(taken);
    publish(&mut harness, slot, 0..messages);
    harness.flush();
    (harness, slot)
}

fn publish(harness: &mut Harness, slot: Slot, messages: std::ops::Range<usize>) {
    messages.for_each(|message| harness.deliver(&[slot], &format!("m{message}")));
}

/// Delivers several messages as one entry.
fn publish_as_one_entry(harness: &mut Harness, slot: Slot, messages: std::ops::Range<usize>) {
    let bytes: Vec<String> = messages.map(|message| format!("m{message}\n")).collect();
    let ends: Vec<u32> = (1..bytes.len()).map(|end| bytes[..end].concat().len() as u32).collect();
    let frames = Frames::delivery(Bytes::from(bytes.concat()), ends);
    let entry = Entry { targets: Targets::Audience([slot].into()), frames };
    harness.send(WriterCommand::Batch(vec![entry]));
}

#[test]
fn the_newest_messages_stay_and_a_notice_replaces_the_others() {
    let (mut harness, slot) = refusing(0, 1);
    publish(&mut harness, slot, 1..10);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "GAP 6\nm6\nm7\nm8\nm9\n");
    let counts = harness.counts();
    assert_eq!((counts.delivered, counts.dropped_gap, counts.dropped_slow), (4, 6, 0));
}

#[test]
fn a_partly_sent_message_is_finished_before_the_notice() {
    let (mut harness, slot) = refusing(1, 1);
    publish(&mut harness, slot, 1..10);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "m0\nGAP 6\nm7\nm8\nm9\n");
}

#[test]
fn a_client_loses_nothing_at_an_offer_of_which_its_socket_took_something() {
    let (mut harness, slot) = refusing(1, 8);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "m0\nm1\nm2\nm3\nm4\nm5\nm6\nm7\n");
    let (mut harness, slot) = refusing(1, 8);
    harness.sweep_after(MILLISECOND);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "m0\nGAP 4\nm5\nm6\nm7\n");
}

#[test]
fn only_the_partly_sent_message_of_an_entry_is_kept() {
    let mut harness = Harness::new(LIMITS);
    let slot = harness.open_taking("m0\nm".len());
    publish_as_one_entry(&mut harness, slot, 0..4);
    harness.flush();
    publish_as_one_entry(&mut harness, slot, 4..7);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "m0\nm1\nGAP 2\nm4\nm5\nm6\n");
    assert_eq!(harness.writer.held_bytes(), 0);
}

#[test]
fn the_newest_messages_of_one_entry_stay() {
    let (mut harness, slot) = refusing(0, 1);
    publish_as_one_entry(&mut harness, slot, 1..10);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "GAP 6\nm6\nm7\nm8\nm9\n");
}

#[test]
fn a_bound_in_bytes_drops_no_more_than_it_must() {
    let mut harness = Harness::new(LIMITS);
    let slot = harness.open_taking(0);
    harness.deliver(&[slot], &"a".repeat(399));
    harness.flush();
    harness.deliver(&[slot], &"b".repeat(399));
    harness.deliver(&[slot], &"c".repeat(200));
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), format!("GAP 1\n{}\n{}\n", "b".repeat(399), "c".repeat(200)));
}

#[test]
fn replies_are_never_dropped_and_keep_their_places() {
    let (mut harness, slot) = refusing(0, 3);
    harness.reply(slot, "first answer");
    publish(&mut harness, slot, 3..5);
    harness.reply(slot, "second answer");
    publish(&mut harness, slot, 5..8);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "GAP 3\nfirst answer\nGAP 2\nsecond answer\nGAP 1\nm6\nm7\n");
}

#[test]
fn a_refused_notice_keeps_counting() {
    let (mut harness, slot) = refusing(1, 8);
    harness.grant(slot, "0\n".len());
    assert_eq!(harness.received(slot), "m0\n");
    publish(&mut harness, slot, 8..12);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "m0\nGAP 7\nm8\nm9\nm10\nm11\n");
}

#[test]
fn messages_dropped_behind_a_partly_sent_notice_get_a_second_notice() {
    let (mut harness, slot) = refusing(0, 8);
    harness.grant(slot, "GA".len());
    publish(&mut harness, slot, 8..10);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "GAP 4\nGAP 2\nm6\nm7\nm8\nm9\n");
}

#[test]
fn a_client_that_loses_messages_repeatedly_gets_a_notice_for_each_run() {
    let (mut harness, slot) = refusing(0, 8);
    harness.grant(slot, "GAP 4\nm4\n".len());
    publish(&mut harness, slot, 8..12);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "GAP 4\nm4\nGAP 3\nm8\nm9\nm10\nm11\n");
    publish(&mut harness, slot, 12..30);
    harness.flush();
    assert_eq!(harness.counts().dropped_gap, 7, "the client has caught up");
}

#[test]
fn a_client_that_takes_something_now_and_then_is_never_cut() {
    let (mut harness, slot) = refusing(0, 1);
    for round in 0..100 {
        publish(&mut harness, slot, round..round + 10);
        harness.grant(slot, 1);
        harness.sweep_after(LIMITS.slow_after - MILLISECOND);
        assert_eq!(harness.disconnect(slot), None);
    }
}

#[test]
fn a_client_that_takes_nothing_for_too_long_is_cut() {
    let (mut harness, slot) = refusing(3, 8);
    harness.sweep_after(LIMITS.slow_after - MILLISECOND);
    publish(&mut harness, slot, 8..20);
    assert_eq!(harness.disconnect(slot), None);
    harness.sweep_after(MILLISECOND);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "m0\nGAP 15\nERR closed slow-consumer\n");
    let counts = harness.counts();
    assert_eq!((counts.delivered, counts.dropped_gap, counts.dropped_slow), (1, 15, 4));
}

#[test]
fn publications_alone_never_reach_the_hard_bound() {
    let (mut harness, slot) = refusing(0, 1);
    for _ in 0..100 {
        harness.deliver(&[slot], &"x".repeat(LIMITS.bytes_max - 1));
    }
    harness.deliver(&[slot], &"y".repeat(100 * LIMITS.bytes_max));
    assert_eq!(harness.disconnect(slot), None);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "GAP 102\n");
}

#[test]
fn replies_alone_have_the_same_bounds_as_with_the_policy_disconnect() {
    let (mut harness, slot) = refusing(0, 1);
    for _ in 0..5 {
        harness.reply(slot, "an answer");
    }
    harness.sweep_after(SECOND);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer), "too many messages for a second");

    let (mut harness, slot) = refusing(0, 1);
    harness.reply(slot, &"x".repeat(8 * LIMITS.bytes_max - 1));
    assert_eq!(harness.disconnect(slot), None);
    harness.reply(slot, "one too many");
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer), "too many bytes at once");
}

#[test]
fn messages_that_no_socket_has_refused_are_not_dropped() {
    let mut harness = Harness::new(LIMITS);
    let slot = harness.open();
    publish(&mut harness, slot, 0..100);
    harness.flush();
    let counts = harness.counts();
    assert_eq!((counts.delivered, counts.dropped_gap), (100, 0));
}

#[test]
fn a_client_that_quits_still_gets_the_notice_and_the_remaining_messages() {
    let (mut harness, slot) = refusing(0, 8);
    harness.close(slot, Disconnect::Quit);
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "GAP 4\nm4\nm5\nm6\nm7\nBye\n");
}

#[test]
fn a_thousand_stalled_clients_hold_their_shared_entries_once() {
    const ENTRIES: usize = 50;
    let limits = OutboxLimits { messages_max: ENTRIES, bytes_max: 1 << 20, ..LIMITS };
    let mut harness = Harness::new(limits);
    let slots: Vec<Slot> = (0..1_000).map(|_| harness.open_taking(0)).collect();
    for _ in 0..2 * ENTRIES {
        harness.deliver(&slots, &"x".repeat(999));
        harness.flush();
    }
    let entry = 1_000 + roomcast::writer::ENTRY_BYTES;
    assert_eq!(harness.writer.held_bytes(), ENTRIES * entry);
    assert_eq!(harness.counts().dropped_gap, (1_000 * ENTRIES) as u64);
}
