//! Clients with offsets under the policy `drop-oldest`: they get everything up to some place, and never a gap.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use roomcast::config::{OutboxLimits, SlowPolicy};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::Slot;

use crate::common::{RETRY, ROOMY};
use crate::harness::Harness;
use crate::wire::ALL;

const LIMITS: OutboxLimits = OutboxLimits {
    bytes_max: 200,
    messages_max: 8,
    slow_after: Duration::from_secs(10),
    policy: SlowPolicy::DropOldest,
    ..ROOMY
};

/// Something that happens to the writer.
#[derive(Clone, Debug)]
enum Step {
    /// A message for both clients.
    Deliver(usize),
    /// Their sockets take so many bytes more.
    Grant(usize),
    Sweep(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..60_usize).prop_map(Step::Deliver),
        2 => (0..120_usize).prop_map(Step::Grant),
        1 => (1..3_000_u64).prop_map(|time| Step::Sweep(Duration::from_millis(time))),
    ]
}

/// Lets a socket take more, unless it is closed.
fn grant(harness: &mut Harness, slot: Slot, bytes: usize) {
    if harness.wire.socket_mut(slot).is_some() {
        harness.grant(slot, bytes);
    }
}

proptest! {
    #[test]
    fn a_client_with_offsets_gets_each_message_in_order_or_is_cut(steps in vec(step(), 1..120)) {
        let mut harness = Harness::new(LIMITS);
        let client = harness.open_as(Dialect::JsonStream, 0);
        let text = harness.open_taking(0);
        let mut said = String::new();
        for (number, step) in steps.into_iter().enumerate() {
            let is_open = harness.disconnect(client).is_none();
            match step {
                Step::Deliver(bytes) => {
                    let message = format!("{number} {}", "x".repeat(bytes));
                    harness.deliver(&[client, text], &message);
                    if is_open {
                        said.push_str(&format!("{message}\n"));
                    }
                }
                Step::Grant(bytes) => [client, text].into_iter().for_each(|slot| grant(&mut harness, slot, bytes)),
                Step::Sweep(time) => harness.sweep_after(time),
            }
            harness.flush();
        }
        let is_cut = harness.disconnect(client).is_some();
        grant(&mut harness, client, ALL);
        let received = harness.received(client).to_owned();
        if is_cut {
            // The beginning of what was said, and behind it the reason or as much of it as the socket has taken.
            let end = Dialect::JsonStream.closing(Disconnect::SlowConsumer, RETRY).expect("a last message");
            let end = str::from_utf8(&end).expect("text");
            let mut places = 0..=received.len();
            let fits = |at: usize| said.starts_with(&received[..at]) && end.starts_with(&received[at..]);
            prop_assert!(places.any(fits), "{} is not the beginning of {}", received, said);
        } else {
            prop_assert_eq!(received, said);
        }
    }
}
