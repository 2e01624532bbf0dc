//! What the benches share: how they measure, names, a member in memory, and rooms full of such members. Measures nothing.
#![allow(dead_code, reason = "each bench takes what it needs")]

pub mod hall;
pub mod sink;
pub mod site;

use std::time::{Duration, Instant};
use std::{panic, process};

use criterion::Criterion;
use roomcast::broker::{Member, Publish, RoomLimiter};
use roomcast::config::{OutboxLimits, RoomLimits, SlowPolicy};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::event::Event;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::writer::Address;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

/// Whatever is within this of the last run is noise: the machine drifts by more within minutes.
const NOISE: f64 = 0.05;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASUREMENT: Duration = Duration::from_secs(4);

/// As of a Rust program that panics.
const EXIT_PANIC: i32 = 101;

/// Every member's. A label need not be unique.
const LABEL: &str = "TCP-1";

/// What is published, so that a member gets a line of 128 bytes.
pub const TEXT: &str = "a message of one hundred and twenty-eight bytes, its label and its end included, \
                        which is what everybody here says now.";

const LINE_BYTES: usize = 128;
const _: () = assert!("[] ".len() + LABEL.len() + TEXT.len() + "\n".len() == LINE_BYTES);

/// Bounds that no bench reaches.
pub const ROOMY: OutboxLimits = OutboxLimits {
    bytes_max: 1 << 40,
    messages_max: 1 << 40,
    slow_after: Duration::from_secs(3_600),
    policy: SlowPolicy::Disconnect,
    budget: 1 << 40,
};

/// As many rooms, and as many members of each, as there come.
pub fn capacity() -> RoomLimiter {
    RoomLimiter::new(RoomLimits { rooms_max: usize::MAX, members_max: usize::MAX })
}

/// How every bench measures; its flags may say otherwise. A panic on any thread ends the bench, which would wait for ever.
pub fn criterion() -> Criterion {
    panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        process::exit(EXIT_PANIC);
    }));
    let settings = Criterion::default().noise_threshold(NOISE).warm_up_time(WARM_UP).measurement_time(MEASUREMENT);
    settings.configure_from_args()
}

/// A runtime like that of a worker: one thread.
pub fn runtime() -> LocalRuntime {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).expect("a runtime")
}

/// A name, as long as all others.
pub fn room(number: usize) -> RoomName {
    RoomName::parse(&format!("room-{number:06}")).expect("a valid name")
}

pub fn label() -> Label {
    Label::generated(LABEL)
}

pub fn line_member(address: Address) -> Member {
    Member { address, dialect: Dialect::Lines, label: label() }
}

pub fn publish(room: RoomName, address: Address) -> Publish {
    Publish { room, address, dialect: Dialect::Lines, text: TEXT.into(), read_at: Instant::now(), permit: None }
}

/// What a line member gets of one publish.
pub fn line() -> String {
    format!("[{LABEL}] {TEXT}\n")
}

/// What a line member gets when it joins.
pub fn joined_line(room: &RoomName) -> String {
    format!("{}\n", Event::Joined(room))
}

/// A client's WebSocket message (RFC 6455 §5.2).
pub fn masked_text(payload: &[u8]) -> Vec<u8> {
    masked_fragments(payload, 1)
}

/// A client's WebSocket message in so many fragments of about the same length.
pub fn masked_fragments(payload: &[u8], fragments: usize) -> Vec<u8> {
    let parts = payload.chunks(payload.len().div_ceil(fragments));
    let last = parts.len() - 1;
    let frame = |(at, part): (usize, &[u8])| {
        let (is_final, opcode) = (u8::from(at == last) << 7, u8::from(at == 0));
        masked_frame(is_final | opcode, part)
    };
    parts.enumerate().flat_map(frame).collect()
}

fn masked_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            frame.push(MASKED | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(MASKED | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
