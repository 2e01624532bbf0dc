//! The budget over all outboxes: which clients are cut or lose messages when it is exceeded.

use bytes::Bytes;
use roomcast::config::{OutboxLimits, SlowPolicy};
use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::{ENTRY_BYTES, Entry, Frames, Input, Slot, Targets, WriterCommand};

use crate::common::ROOMY;
use crate::harness::Harness;
use crate::wire::ALL;

/// The memory of one entry, in bytes: its message and its bookkeeping.
const ENTRY: usize = 1_000 + ENTRY_BYTES;

/// A budget of sixteen entries.
const CUTTING: OutboxLimits = OutboxLimits { budget: 16 * ENTRY, ..ROOMY };
const DROPPING: OutboxLimits = OutboxLimits { policy: SlowPolicy::DropOldest, ..CUTTING };

fn text(letter: &str) -> String {
    letter.repeat(999)
}

/// Delivers a message of its own to each of these clients. All of their sockets refuse it.
fn fill(harness: &mut Harness, slots: &[Slot], letter: &str) {
    for &slot in slots {
        harness.deliver(&[slot], &text(letter));
        harness.flush();
    }
}

fn cut(harness: &mut Harness, slots: &[Slot]) -> Vec<bool> {
    slots.iter().map(|&slot| harness.disconnect(slot) == Some(Disconnect::SlowConsumer)).collect()
}

#[test]
fn a_message_pending_for_many_clients_counts_once() {
    let mut harness = Harness::new(CUTTING);
    let slots: Vec<Slot> = (0..1_000).map(|_| harness.open_taking(0)).collect();
    for _ in 0..16 {
        harness.deliver(&slots, &text("x"));
    }
    harness.flush();
    assert_eq!(harness.writer.held_bytes(), 16 * ENTRY);
    assert_eq!(harness.counts().dropped_slow, 0);
    slots.iter().for_each(|&slot| harness.grant(slot, ALL));
    assert_eq!(harness.writer.held_bytes(), 0);
}

#[test]
fn no_client_is_cut_at_the_budget_and_only_as_many_as_needed_above_it() {
    let mut harness = Harness::new(CUTTING);
    let slots: Vec<Slot> = (0..17).map(|_| harness.open_taking(0)).collect();
    fill(&mut harness, &slots[..16], "x");
    assert_eq!(cut(&mut harness, &slots), [false; 17]);
    fill(&mut harness, &slots[16..], "x");
    let cut = cut(&mut harness, &slots);
    assert_eq!(cut[..3], [true; 3], "after these, a sixteenth of the budget is free, their last lines included");
    assert!(!cut[3..].contains(&true));
    assert!(!harness.writer.is_over_budget());
    harness.grant(slots[0], ALL);
    assert_eq!(harness.received(slots[0]), "ERR closed slow-consumer\n");
}

#[test]
fn messages_that_no_socket_has_refused_delay_publishers_and_cut_no_client() {
    let mut harness = Harness::new(CUTTING);
    let reader = harness.open();
    let slow = harness.open_taking(0);
    fill(&mut harness, &[slow], "x");
    for _ in 0..100 {
        harness.deliver(&[reader], &text("x"));
    }
    assert!(harness.writer.is_over_budget(), "the publishers wait");
    harness.flush();
    assert!(!harness.writer.is_over_budget());
    assert_eq!(harness.counts().delivered, 100);
    assert_eq!(cut(&mut harness, &[reader, slow]), [false; 2]);
}

#[test]
fn the_client_with_the_most_pending_bytes_loses_its_oldest_messages_and_no_more_than_needed() {
    let mut harness = Harness::new(DROPPING);
    let slots: Vec<Slot> = (0..2).map(|_| harness.open_taking(0)).collect();
    fill(&mut harness, &slots, "a");
    for _ in 0..15 {
        fill(&mut harness, &slots[1..], "b");
    }
    assert_eq!(cut(&mut harness, &slots), [false; 2]);
    assert_eq!(harness.counts().dropped_gap, 2, "the two oldest messages of the client with the most pending bytes");
    assert_eq!(harness.writer.held_bytes(), 15 * ENTRY);
    slots.iter().for_each(|&slot| harness.grant(slot, ALL));
    assert_eq!(harness.received(slots[0]), format!("{}\n", text("a")));
    assert_eq!(harness.received(slots[1]), format!("GAP 2\n{}", format!("{}\n", text("b")).repeat(14)));
}

#[test]
fn a_message_pending_for_many_clients_is_dropped_for_all_of_them() {
    let mut harness = Harness::new(DROPPING);
    let slots: Vec<Slot> = (0..100).map(|_| harness.open_taking(0)).collect();
    for _ in 0..17 {
        harness.deliver(&slots, &text("x"));
        harness.flush();
    }
    assert_eq!(harness.counts().dropped_gap, 200);
    assert_eq!(harness.writer.held_bytes(), 15 * ENTRY);
}

#[test]
fn the_slowest_client_is_cut_if_dropping_is_not_enough() {
    let mut harness = Harness::new(DROPPING);
    let slots: Vec<Slot> = (0..2).map(|_| harness.open_taking(0)).collect();
    fill(&mut harness, &slots, "x");
    for _ in 0..18 {
        harness.reply(slots[0], &text("y"));
    }
    assert_eq!(cut(&mut harness, &slots), [true, false]);
    let counts = harness.counts();
    assert_eq!((counts.dropped_gap, counts.dropped_slow), (2, 0));
}

#[test]
fn a_client_within_its_share_keeps_even_old_messages() {
    for limits in [CUTTING, DROPPING] {
        let mut harness = Harness::new(limits);
        let honest = harness.open_taking(0);
        fill(&mut harness, &[honest], "a");
        let greedy: Vec<Slot> = (0..3).map(|_| harness.open_taking(0)).collect();
        for _ in 0..30 {
            fill(&mut harness, &greedy, "b");
        }
        harness.grant(honest, ALL);
        assert_eq!(harness.received(honest), format!("{}\n", text("a")));
    }
}

#[test]
fn a_client_that_takes_the_offered_bytes_is_not_cut_for_the_budget() {
    let mut harness = Harness::new(CUTTING);
    let reader = harness.open_taking(0);
    for _ in 0..10 {
        fill(&mut harness, &[reader], "a");
    }
    harness.wire.socket_mut(reader).expect("open").capacity = ALL;
    let stalled: Vec<Slot> = (0..7).map(|_| harness.open_taking(0)).collect();
    fill(&mut harness, &stalled, "b");
    assert_eq!(cut(&mut harness, &[reader]), [false]);
    assert_eq!(harness.counts().delivered, 10);
    assert_eq!(cut(&mut harness, &stalled), [false; 7], "the bytes that the reader took were enough");
}

#[test]
fn a_closing_client_is_closed_for_the_budget_as_well() {
    let mut harness = Harness::new(CUTTING);
    let leaving = harness.open_taking(0);
    for _ in 0..15 {
        fill(&mut harness, &[leaving], "x");
    }
    harness.close(leaving, Disconnect::Quit);
    let other = harness.open_taking(0);
    fill(&mut harness, &[other, other], "x");
    assert!(!harness.wire.is_open(leaving));
    assert_eq!(cut(&mut harness, &[other]), [false]);
    let counts = harness.counts();
    assert_eq!((counts.dropped_gone, counts.cut), (15, 1));
}

#[test]
fn all_held_bytes_are_released_for_every_reason_to_end() {
    let mut harness = Harness::new(CUTTING);
    for reason in [Disconnect::Quit, Disconnect::TooLong, Disconnect::IoError] {
        let slot = harness.open_taking(1);
        fill(&mut harness, &[slot, slot], "x");
        harness.close(slot, reason);
        harness.send(roomcast::writer::WriterCommand::InputEnded(slot));
        harness.grant(slot, ALL);
        harness.flush();
        assert_eq!(harness.writer.held_bytes(), 0, "{reason:?}");
    }
    let slot = harness.open_taking(1);
    fill(&mut harness, &[slot, slot], "x");
    harness.step(Input::Cut);
    assert_eq!(harness.writer.held_bytes(), 0);
}

#[test]
fn blocked_clients_are_cut_although_another_client_always_has_an_answer_waiting() {
    let mut harness = Harness::new(CUTTING);
    let talker = harness.open();
    let blocked: Vec<Slot> = (0..3).map(|_| harness.open_taking(0)).collect();
    for _ in 0..6 {
        fill(&mut harness, &blocked, "x");
    }
    // An answer waits at the end of every step, and still the writer returns to its budget.
    harness.reply(talker, &text("y"));
    let mut answers = 0;
    while harness.writer.held_bytes() > CUTTING.budget {
        harness.reply(talker, "answer");
        harness.step(Input::Flush);
        harness.reply(talker, "answer");
        answers += 1;
        assert!(answers < 10_000, "the budget stays exceeded");
    }
    assert!(cut(&mut harness, &blocked).contains(&true));
    assert_eq!(harness.disconnect(talker), None);
}

#[test]
fn only_as_many_as_needed_are_cut_in_the_middle_of_long_replies() {
    const MESSAGES: usize = 10;
    let message = text("x") + "\n";
    let bytes = message.repeat(MESSAGES);
    let ends: Vec<u32> = (1..MESSAGES).map(|number| (number * message.len()) as u32).collect();
    let budget = 16 * (bytes.len() + ENTRY_BYTES);
    for sent in [message.len() / 2, 5 * message.len() + 1, bytes.len() - 1] {
        let mut harness = Harness::new(OutboxLimits { budget, ..ROOMY });
        let slots: Vec<Slot> = (0..17).map(|_| harness.open_taking(sent)).collect();
        for &slot in &slots {
            let frames = Frames::replies(bytes.clone().into(), ends.clone());
            harness.send(WriterCommand::Batch(vec![Entry { targets: Targets::One(slot), frames }]));
            harness.flush();
        }
        let cut = cut(&mut harness, &slots);
        assert_eq!(cut.iter().filter(|cut| **cut).count(), 3, "{cut:?}");
        assert!(!harness.writer.is_over_budget());
        let first = slots[cut.iter().position(|cut| *cut).expect("three are cut")];
        harness.grant(first, ALL);
        let whole = sent.div_ceil(message.len());
        assert_eq!(harness.received(first), message.repeat(whole) + "ERR closed slow-consumer\n");
    }
}

#[test]
fn what_many_clients_have_missed_counts_once_and_none_of_them_is_cut_for_it() {
    let bytes = Bytes::from((text("x") + "\n").repeat(10));
    let frames = |first: usize| {
        let ends = (1..10 - first).map(|number| (number * 1_000) as u32).collect();
        Frames::replies(bytes.slice(first * 1_000..), ends)
    };
    let mut harness = Harness::new(CUTTING);
    let slots: Vec<Slot> = (0..100).map(|_| harness.open_taking(1_500)).collect();
    for &slot in &slots {
        let frames = frames(slot.index as usize % 3);
        harness.send(WriterCommand::Batch(vec![Entry { targets: Targets::One(slot), frames }]));
        harness.flush();
    }
    assert_eq!(harness.writer.held_bytes(), bytes.len() + ENTRY_BYTES);
    assert!(!cut(&mut harness, &slots).contains(&true));
    for &slot in &slots {
        harness.grant(slot, ALL);
        assert_eq!(harness.received(slot).len(), bytes.len() - slot.index as usize % 3 * 1_000);
    }
    assert_eq!(harness.writer.held_bytes(), 0);
}
