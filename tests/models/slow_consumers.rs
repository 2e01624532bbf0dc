//! Which clients are cut as slow consumers, and which are not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roomcast::config::{OutboxLimits, SlowPolicy};
use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::{Entry, Frames, Input, Slot, Targets, WriterCommand};
use tokio::sync::Semaphore;

use crate::common::ROOMY;
use crate::harness::Harness;
use crate::wire::ALL;

const LIMITS: OutboxLimits =
    OutboxLimits { bytes_max: 1_000, messages_max: 4, slow_after: Duration::from_secs(10), ..ROOMY };

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A client that was sent this many messages. Its socket took their first `taken` bytes and refused the rest.
fn refusing(limits: OutboxLimits, taken: usize, messages: usize) -> (Harness, Slot) {
    let mut harness = Harness::new(limits);
    let slot = harness.open_taking(taken);
    for message in 0..messages {
        harness.deliver(&[slot], &format!("message {message}"));
    }
    harness.flush();
    (harness, slot)
}

#[test]
fn a_client_over_its_bound_that_takes_nothing_for_a_second_is_cut_and_gets_the_reason() {
    let (mut harness, slot) = refusing(LIMITS, 3, 6);
    harness.sweep_after(999 * MILLISECOND);
    assert_eq!(harness.disconnect(slot), None);
    harness.sweep_after(MILLISECOND);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
    harness.grant(slot, ALL);
    assert_eq!(harness.received(slot), "message 0\nERR closed slow-consumer\n");
    let counts = harness.counts();
    assert_eq!((counts.delivered, counts.dropped_slow, counts.dropped_gone), (1, 5, 0));
}

#[test]
fn a_client_over_its_bound_in_bytes_is_cut_like_one_over_its_bound_in_messages() {
    let (mut harness, slot) = refusing(LIMITS, 0, 0);
    harness.deliver(&[slot], &"x".repeat(LIMITS.bytes_max));
    harness.flush();
    harness.sweep_after(SECOND);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
}

#[test]
fn a_client_exactly_at_its_bounds_is_not_cut() {
    let (mut harness, slot) = refusing(LIMITS, 0, LIMITS.messages_max);
    let bytes = LIMITS.bytes_max - "message 0\n".len() - "\n".len();
    harness.sweep_after(9 * SECOND);
    assert_eq!(harness.disconnect(slot), None);
    let (mut harness, slot) = refusing(LIMITS, 0, 1);
    harness.deliver(&[slot], &"x".repeat(bytes));
    harness.sweep_after(9 * SECOND);
    assert_eq!(harness.disconnect(slot), None);
}

#[test]
fn a_client_that_keeps_taking_within_its_bounds_is_never_cut() {
    let (mut harness, slot) = refusing(LIMITS, 0, 3);
    for _ in 0..1_000 {
        harness.deliver(&[slot], "message 0");
        harness.grant(slot, "message 0\n".len());
        harness.sweep_after(100 * MILLISECOND);
        assert_eq!(harness.disconnect(slot), None);
    }
}

#[test]
fn a_client_over_its_bound_that_takes_something_within_every_second_is_not_stalled() {
    let (mut harness, slot) = refusing(LIMITS, 0, 6);
    for _ in 0..10 {
        harness.sweep_after(900 * MILLISECOND);
        harness.grant(slot, 1);
        assert_eq!(harness.disconnect(slot), None);
    }
}

#[test]
fn the_lateness_of_a_sweep_does_not_count_as_time_without_progress() {
    let (mut harness, slot) = refusing(LIMITS, 3, 6);
    harness.now += 900 * MILLISECOND + HOUR;
    harness.sweep_late_by(HOUR);
    harness.sweep_after(99 * MILLISECOND);
    assert_eq!(harness.disconnect(slot), None);
    harness.sweep_after(MILLISECOND);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
}

#[test]
fn the_lateness_of_a_sweep_does_not_age_refused_bytes() {
    for policy in [SlowPolicy::Disconnect, SlowPolicy::DropOldest] {
        let (mut harness, slot) = refusing(OutboxLimits { policy, ..LIMITS }, 3, 1);
        harness.now += 9 * SECOND + HOUR;
        harness.sweep_late_by(HOUR);
        harness.sweep_after(999 * MILLISECOND);
        assert_eq!(harness.disconnect(slot), None);
        harness.sweep_after(MILLISECOND);
        assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
    }
}

#[test]
fn a_client_that_refuses_after_a_sweep_was_due_gets_no_extra_time() {
    let (mut harness, slot) = refusing(LIMITS, 3, 6);
    harness.sweep_late_by(HOUR);
    harness.sweep_after(SECOND);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
}

#[test]
fn a_closing_client_keeps_its_second_if_the_sweep_is_late() {
    let (mut harness, slot) = refusing(LIMITS, 3, 1);
    harness.close(slot, Disconnect::Quit);
    for _ in 0..2 {
        harness.now += 500 * MILLISECOND + HOUR;
        assert!(harness.wire.is_open(slot));
        harness.sweep_late_by(HOUR);
    }
    assert!(!harness.wire.is_open(slot));
    let (mut harness, slot) = refusing(LIMITS, 3, 1);
    harness.close(slot, Disconnect::Quit);
    harness.sweep_late_by(HOUR);
    harness.sweep_after(SECOND);
    assert!(!harness.wire.is_open(slot), "it has no more than its second");
}

#[test]
fn a_client_that_holds_a_refused_byte_for_too_long_is_cut_within_its_bounds() {
    let (mut harness, slot) = refusing(LIMITS, 3, 1);
    harness.sweep_after(LIMITS.slow_after - MILLISECOND);
    assert_eq!(harness.disconnect(slot), None);
    harness.sweep_after(MILLISECOND);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
}

#[test]
fn a_client_that_was_cut_for_its_age_has_a_second_for_the_rest_of_its_line_and_the_reason() {
    let (mut harness, slot) = refusing(LIMITS, 3, 1);
    harness.sweep_after(LIMITS.slow_after);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
    for _ in 0..9 {
        harness.sweep_after(100 * MILLISECOND);
    }
    harness.grant(slot, ALL);
    assert!(harness.received(slot).ends_with("\nERR closed slow-consumer\n"), "{}", harness.received(slot));
}

#[test]
fn a_client_that_takes_a_trickle_for_ever_is_cut() {
    let (mut harness, slot) = refusing(LIMITS, 0, 3);
    let mut waited = Duration::ZERO;
    while harness.disconnect(slot).is_none() {
        harness.grant(slot, 1);
        harness.sweep_after(500 * MILLISECOND);
        waited += 500 * MILLISECOND;
        assert!(waited <= LIMITS.slow_after, "still there");
    }
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
}

#[test]
fn a_client_that_takes_a_long_reply_slowly_is_not_cut_for_the_age_of_the_reply() {
    let (mut harness, slot) = refusing(LIMITS, 0, 0);
    let turn = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("there is one");
    let missed = Frames::replies(Bytes::from("missed\n".repeat(100)), (1..100).map(|message| 7 * message).collect());
    let entry = Entry { targets: Targets::Audience([slot].into()), frames: missed.holding(Some(turn)) };
    harness.send(WriterCommand::Entry(entry));
    harness.flush();
    for _ in 0..100 {
        harness.sweep_after(900 * MILLISECOND);
        assert_eq!(harness.disconnect(slot), None);
        harness.grant(slot, 7);
    }
    // What comes behind it ages as ever.
    harness.deliver(&[slot], "x");
    harness.flush();
    harness.sweep_after(9 * SECOND);
    assert_eq!(harness.disconnect(slot), None);
    harness.sweep_after(SECOND);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
}

#[test]
fn a_client_that_takes_a_little_just_in_time_is_cut_before_its_bytes_are_twice_too_old() {
    let (mut harness, slot) = refusing(LIMITS, 0, 1);
    harness.deliver(&[slot], "message 1");
    harness.sweep_after(LIMITS.slow_after - MILLISECOND);
    harness.grant(slot, "message 0\n".len());
    harness.sweep_after(LIMITS.slow_after - MILLISECOND);
    assert_eq!(harness.disconnect(slot), None);
    harness.sweep_after(MILLISECOND);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
}

#[test]
fn a_client_that_caught_up_starts_with_a_fresh_second() {
    let (mut harness, slot) = refusing(LIMITS, 0, 6);
    harness.now += 900 * MILLISECOND;
    harness.grant(slot, 60);
    assert!(!harness.writer.is_dirty());
    harness.sweep_after(LIMITS.slow_after);
    assert!(!harness.writer.needs_sweep());
    harness.deliver(&[slot], "message 6");
    harness.flush();
    harness.sweep_after(SECOND);
    assert_eq!(harness.disconnect(slot), None);
}

#[test]
fn a_client_past_eight_times_its_bound_in_messages_has_a_second_to_take_something() {
    let (mut harness, slot) = refusing(LIMITS, 0, 10 * LIMITS.messages_max);
    assert_eq!(harness.disconnect(slot), None);
    harness.sweep_after(SECOND - MILLISECOND);
    assert_eq!(harness.disconnect(slot), None);
    harness.sweep_after(MILLISECOND);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
    assert_eq!(harness.counts().dropped_slow, harness.counts().fanned_out);
}

#[test]
fn a_closing_client_that_trickles_is_cut_when_its_refused_bytes_are_too_old_except_in_a_shutdown() {
    for (reason, is_open) in [(Disconnect::Quit, false), (Disconnect::Shutdown, true)] {
        let (mut harness, slot) = refusing(LIMITS, 0, 6);
        harness.close(slot, reason);
        for _ in 0..11 {
            harness.sweep_after(999 * MILLISECOND);
            if harness.wire.is_open(slot) {
                harness.grant(slot, 1);
            }
        }
        assert_eq!(harness.wire.is_open(slot), is_open, "{reason:?}");
    }
}

#[test]
fn a_client_past_eight_times_its_bound_in_bytes_is_cut_at_once() {
    let (mut harness, slot) = refusing(LIMITS, 0, 1);
    let bytes = 8 * LIMITS.bytes_max - "message 0\n".len() - "\n".len();
    harness.deliver(&[slot], &"x".repeat(bytes));
    assert_eq!(harness.disconnect(slot), None);
    harness.deliver(&[slot], "");
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
}

#[test]
fn the_hard_bound_holds_for_a_client_that_is_being_disconnected() {
    let (mut harness, slot) = refusing(LIMITS, 0, 1);
    harness.step(Input::DisconnectAll(Disconnect::Shutdown));
    harness.deliver(&[slot], &"x".repeat(8 * LIMITS.bytes_max));
    assert_eq!(harness.counts().dropped_slow, harness.counts().fanned_out);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::Shutdown), "the first reason stays");
}

#[test]
fn messages_that_no_socket_has_refused_never_cut_a_client() {
    let mut harness = Harness::new(LIMITS);
    let slot = harness.open();
    for _ in 0..100 * LIMITS.messages_max {
        harness.deliver(&[slot], "message");
    }
    harness.sweep_after(100 * LIMITS.slow_after);
    assert_eq!(harness.disconnect(slot), None);
    harness.flush();
    assert_eq!(harness.counts().delivered, 100 * LIMITS.messages_max as u64);
}

/// A client with a socket that is writable again, while the writer has not written to it yet.
fn resumed(limits: OutboxLimits) -> (Harness, Slot) {
    let (mut harness, slot) = refusing(limits, 3, 6);
    let socket = harness.wire.socket_mut(slot).expect("open");
    (socket.capacity, socket.watched) = (ALL, false);
    harness.step(Input::Writable(slot));
    (harness, slot)
}

#[test]
fn a_client_that_waits_for_the_writer_is_never_cut_and_loses_nothing() {
    for policy in [SlowPolicy::Disconnect, SlowPolicy::DropOldest] {
        let (mut harness, slot) = resumed(OutboxLimits { policy, messages_max: 6, ..LIMITS });
        for _ in 0..100 {
            harness.deliver(&[slot], &"x".repeat(LIMITS.bytes_max));
            harness.sweep_after(LIMITS.slow_after);
        }
        assert_eq!(harness.disconnect(slot), None);
        harness.flush();
        let counts = harness.counts();
        assert_eq!((counts.delivered, counts.dropped_slow, counts.dropped_gap), (106, 0, 0));
    }
}

#[test]
fn bytes_do_not_age_while_their_client_waits_for_the_writer() {
    let (mut harness, slot) = resumed(OutboxLimits { messages_max: 100, ..LIMITS });
    harness.sweep_after(HOUR);
    harness.wire.socket_mut(slot).expect("open").capacity = 1;
    harness.flush();
    harness.sweep_after(LIMITS.slow_after - MILLISECOND);
    assert_eq!(harness.disconnect(slot), None);
    harness.sweep_after(MILLISECOND);
    assert_eq!(harness.disconnect(slot), Some(Disconnect::SlowConsumer));
}

#[test]
fn a_client_that_has_read_is_not_cut_before_the_writer_is_notified() {
    let (mut harness, slot) = refusing(LIMITS, 3, 6);
    harness.wire.socket_mut(slot).expect("open").capacity = ALL;
    harness.sweep_after(HOUR);
    assert_eq!((harness.disconnect(slot), harness.counts().delivered), (None, 6));
    let (mut harness, slot) = refusing(LIMITS, 3, 6);
    harness.wire.socket_mut(slot).expect("open").capacity = ALL;
    harness.deliver(&[slot], &"x".repeat(8 * LIMITS.bytes_max));
    assert_eq!((harness.disconnect(slot), harness.counts().delivered), (None, 7));
}

#[test]
fn a_closing_client_has_as_much_time_as_the_writer_needs() {
    let (mut harness, slot) = resumed(LIMITS);
    harness.close(slot, Disconnect::Quit);
    harness.sweep_after(HOUR);
    assert!(harness.wire.is_open(slot));
    harness.flush();
    assert!(harness.received(slot).ends_with("message 5\nBye\n"), "{}", harness.received(slot));
    let mut harness = Harness::new(LIMITS);
    let slot = harness.open();
    harness.deliver(&[slot], "message 0");
    harness.close(slot, Disconnect::Shutdown);
    harness.sweep_after(HOUR);
    harness.flush();
    assert_eq!(harness.received(slot), "message 0\nERR closed shutdown retry=1\n");
}

/// A writer with 2²⁰ pending deliveries: 1 024 messages for each of 1 024 clients.
fn million_pending(capacity: usize) -> (Harness, Vec<Slot>) {
    let mut harness = Harness::new(ROOMY);
    let slots: Vec<Slot> = (0..1_024).map(|_| harness.open_taking(capacity)).collect();
    let frames = Frames::delivery(Bytes::from("x\n".repeat(1_024)), (1..1_024).map(|end| 2 * end).collect());
    let targets = Targets::Audience(slots.as_slice().into());
    harness.send(WriterCommand::Batch(vec![Entry { targets, frames }]));
    (harness, slots)
}

#[test]
fn messages_count_as_waiting_until_they_are_written() {
    let (mut harness, _) = million_pending(ALL);
    assert_eq!(harness.writer.waiting(), 1 << 20);
    harness.step(Input::Flush);
    assert!(harness.writer.waiting() < 1 << 20);
    harness.flush();
    assert_eq!((harness.writer.waiting(), harness.counts().delivered), (0, 1 << 20));
}

#[test]
fn refused_messages_count_as_waiting_only_once_their_socket_is_writable_again() {
    let (mut harness, slots) = million_pending(0);
    harness.flush();
    assert_eq!(harness.writer.waiting(), 0);
    harness.deliver(&slots, "one more");
    assert_eq!(harness.writer.waiting(), 0);
    let socket = harness.wire.socket_mut(slots[0]).expect("open");
    (socket.capacity, socket.watched) = (ALL, false);
    harness.step(Input::Writable(slots[0]));
    assert_eq!(harness.writer.waiting(), 1_025);
    harness.flush();
    slots[1..].iter().for_each(|&slot| harness.grant(slot, ALL));
    assert_eq!((harness.writer.waiting(), harness.counts().delivered), (0, harness.counts().fanned_out));
}

#[test]
fn messages_pending_for_closed_and_cut_clients_do_not_count_as_waiting() {
    let (mut harness, slots) = million_pending(ALL);
    harness.close(slots[0], Disconnect::TooLong);
    assert_eq!(harness.writer.waiting(), (1 << 20) - 1_024 + 1, "its last line");
    harness.step(Input::Cut);
    assert_eq!((harness.writer.waiting(), harness.counts().dropped_gone), (0, harness.counts().fanned_out));
}
