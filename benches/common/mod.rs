//! Helpers that the benches share: names, a member in memory, and rooms of such members. This module measures nothing.
#![allow(dead_code, reason = "each bench uses a part of these helpers")]

pub mod bare_shard;
pub mod in_memory_broker;
pub mod sink;

use std::time::{Duration, Instant};

use roomcast::broker::{Act, Join, Member, MemberCommand, ReplyTo, RoomLimiter, ShardRules};
use roomcast::config::{Config, OutboxLimits, Settings, SlowPolicy};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::event::Event;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::publication::{ClientId, Data, Publisher};
use roomcast::writer::Address;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

/// The label of every member. Labels need not be unique.
const LABEL: &str = "TCP-1";

/// The published text. A member receives it as a line of 128 bytes.
pub const TEXT: &str = "a message of one hundred and twenty-eight bytes, its label and its end included, \
                        which is what everybody here says now.";

const LINE_BYTES: usize = 128;
const _: () = assert!("[] ".len() + LABEL.len() + TEXT.len() + "\n".len() == LINE_BYTES);

/// Limits that no bench reaches.
pub const ROOMY: OutboxLimits = OutboxLimits {
    bytes_max: 1 << 40,
    messages_max: 1 << 40,
    slow_after: Duration::from_secs(3_600),
    policy: SlowPolicy::Disconnect,
    budget: 1 << 40,
};

/// A limiter that allows any number of rooms.
pub fn capacity() -> RoomLimiter {
    RoomLimiter::new(usize::MAX)
}

/// The rules by default.
pub fn rules() -> ShardRules {
    ShardRules::from(&Config::try_from(Settings::default()).expect("valid settings"))
}

/// A single-threaded runtime, like that of a worker.
pub fn runtime() -> LocalRuntime {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).expect("a runtime")
}

/// The name of the room with this number. All names have the same length.
pub fn room(number: usize) -> RoomName {
    RoomName::parse(&format!("room-{number:06}")).expect("a valid name")
}

pub fn label() -> Label {
    Label::generated(LABEL)
}

/// The join of a line client.
pub fn join(room: RoomName, address: Address) -> Join {
    let publisher = Publisher::anonymous(ClientId(0), label()).into();
    let member = Member { address, dialect: Dialect::TextLines, publisher };
    Join::of(room, member)
}

/// The publish of a line client.
pub fn publish(room: RoomName, address: Address) -> MemberCommand {
    let from = ReplyTo { address, dialect: Dialect::TextLines, request: None };
    MemberCommand { room, from, act: Act::Publish(Data::Text(TEXT.into()), Instant::now()), permit: None }
}

/// The line that a line client receives for one publish.
pub fn line() -> String {
    format!("[{LABEL}] {TEXT}\n")
}

/// The line that a line client receives when it joins.
pub fn joined_line(room: &RoomName) -> String {
    let line = Dialect::TextLines.encode(&Event::Joined(room));
    String::from_utf8(line.into()).expect("text")
}

/// A client's WebSocket message (RFC 6455 §5.2).
pub fn masked_text(payload: &[u8]) -> Vec<u8> {
    masked_fragments(payload, 1)
}

/// A client's WebSocket message in fragments of about the same length.
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
