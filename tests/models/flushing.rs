//! The order in which clients are written to, and the number of writes.

use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::{Input, Slot};

use crate::common::ROOMY;
use crate::harness::Harness;
use crate::wire::ALL;

/// The most writes of one flush.
const CHUNK: usize = 64;

/// The size of a large audience. Audiences of more than 64 members wait behind the smaller ones.
const LARGE: usize = 500;

/// A large audience that waits for a message, and clients that are not in it.
fn crowd_and_few(few: usize) -> (Harness, Vec<Slot>, Vec<Slot>) {
    let mut harness = Harness::new(ROOMY);
    let crowd = harness.open_many(LARGE);
    let few = harness.open_many(few);
    harness.deliver(&crowd, "to the crowd");
    (harness, crowd, few)
}

fn written_to(harness: &mut Harness, slots: &[Slot]) -> usize {
    let writes = std::mem::take(&mut harness.wire.writes);
    assert!(writes.len() <= CHUNK, "{} writes at a time", writes.len());
    writes.iter().filter(|slot| slots.contains(slot)).count()
}

#[test]
fn small_audiences_get_half_of_every_chunk_while_a_large_one_waits() {
    let (mut harness, crowd, few) = crowd_and_few(3 * CHUNK / 2);
    few.chunks(CHUNK).for_each(|few| harness.deliver(few, "to the few"));
    for _ in 0..3 {
        harness.step(Input::Flush);
        assert_eq!(harness.wire.writes.len(), CHUNK);
        assert_eq!(written_to(&mut harness, &few), CHUNK / 2);
    }
    harness.step(Input::Flush);
    assert_eq!(written_to(&mut harness, &crowd), CHUNK, "the small audiences have all their messages");
}

#[test]
fn an_answer_is_written_in_the_next_chunk() {
    let (mut harness, crowd, few) = crowd_and_few(1);
    harness.step(Input::Flush);
    assert_eq!(written_to(&mut harness, &crowd), CHUNK);
    harness.reply(few[0], "answer");
    harness.step(Input::Flush);
    assert_eq!(harness.received(few[0]), "answer\n");
}

#[test]
fn an_answer_to_a_member_of_a_large_audience_is_written_after_its_pending_message() {
    let (mut harness, crowd, _) = crowd_and_few(0);
    let last = crowd[LARGE - 1];
    harness.reply(last, "answer");
    harness.step(Input::Flush);
    assert_eq!(harness.received(last), "to the crowd\nanswer\n");
    harness.flush();
    assert_eq!(harness.counts().delivered, LARGE as u64);
    assert_eq!(harness.wire.socket(last).writes, 1);
}

#[test]
fn a_burst_to_one_client_is_one_write() {
    let mut harness = Harness::new(ROOMY);
    let slot = harness.open();
    for number in 0..100 {
        harness.deliver(&[slot], &format!("message {number}"));
    }
    harness.flush();
    assert_eq!(harness.wire.writes, [slot]);
    assert_eq!(harness.counts().delivered, 100);
    assert_eq!(harness.counts().writes, 1);
}

#[test]
fn a_burst_is_merged_up_to_16_kib_and_a_longer_message_is_written_alone() {
    let mut harness = Harness::new(ROOMY);
    let slot = harness.open();
    let half = "x".repeat(8 * 1024 - 1);
    let long = "y".repeat(100_000);
    for message in [&half, &half, &half, &long] {
        harness.deliver(&[slot], message);
    }
    harness.flush();
    assert_eq!(harness.wire.writes.len(), 3, "two halves, one half, the long one");
    assert_eq!(harness.received(slot), format!("{half}\n{half}\n{half}\n{long}\n"));
}

#[test]
fn a_large_audience_that_takes_nothing_keeps_its_messages_for_later() {
    let (mut harness, crowd, few) = crowd_and_few(1);
    for &slot in &crowd {
        harness.wire.socket_mut(slot).expect("open").capacity = 0;
    }
    harness.flush();
    assert_eq!(harness.counts().delivered, 0);
    harness.deliver(&few, "to the few");
    harness.flush();
    assert_eq!(harness.received(few[0]), "to the few\n");
    crowd.iter().for_each(|&slot| harness.grant(slot, ALL));
    assert_eq!(harness.counts().delivered, LARGE as u64 + 1);
}

#[test]
fn a_client_that_closes_in_a_large_audience_is_finished_once() {
    let (mut harness, crowd, _) = crowd_and_few(0);
    harness.close(crowd[400], Disconnect::Quit);
    harness.flush();
    assert_eq!(harness.received(crowd[400]), "to the crowd\nBye\n");
    assert!(harness.wire.socket(crowd[400]).finished);
}
