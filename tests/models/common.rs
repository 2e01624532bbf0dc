//! Names, random numbers and shards that the tests share.

use std::collections::hash_map::RandomState;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use harness::Random;
use roomcast::auth::rules::RoomRules;
use roomcast::broker::{Act, Join, Member, MemberCommand, ReplyTo, RoomLimiter, Shard, ShardRules};
use roomcast::config::{Config, LimitsOfRoom, OutboxLimits, RoomRule, Settings, SlowPolicy, Who};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::disconnect::RetrySeconds;
use roomcast::protocol::event::Event;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::publication::{ClientId, Data, Publisher};
use roomcast::writer::{Address, Slot, WriterIndex};

/// Limits so high that tests reach them only on purpose.
pub const ROOMY: OutboxLimits = OutboxLimits {
    bytes_max: 1 << 30,
    messages_max: 1 << 30,
    slow_after: Duration::from_secs(1_000_000),
    policy: SlowPolicy::Disconnect,
    budget: 1 << 40,
};

/// When clients come back after a stop, unless a writer is told otherwise.
pub const RETRY: RetrySeconds = RetrySeconds(1);

/// The limits of a room by default.
pub const ROOM_LIMITS: LimitsOfRoom = LimitsOfRoom {
    members_max: 1_000_000,
    history_messages_max: 100,
    history_age_max: Duration::from_secs(600),
    presence_events: false,
    joined_by: roomcast::config::Who::Anyone,
};

/// The rules by default.
pub fn rules() -> ShardRules {
    ShardRules::from(&Config::try_from(Settings::default()).expect("valid settings"))
}

/// A rule that gives the rooms which its pattern names these limits, and everybody every right.
pub fn rule(rooms: &str, limits: LimitsOfRoom) -> RoomRule {
    let (name, rooms, anyone) = (rooms.into(), rooms.into(), Who::Anyone);
    RoomRule { name, rooms, join: anyone, publish: anyone, history: anyone, presence: anyone, limits }
}

/// No rules, and these limits for every room.
pub fn limits_of_all(limits: LimitsOfRoom) -> Arc<RoomRules> {
    RoomRules::new(Vec::new(), limits).into()
}

/// A shard without rooms, under the rules by default.
pub fn shard() -> Shard {
    shard_with(usize::MAX, rules())
}

/// A shard without rooms, under these rules.
pub fn shard_with(rooms_max: usize, rules: ShardRules) -> Shard {
    Shard::new(RandomState::new(), RoomLimiter::new(rooms_max), rules)
}

pub fn room(number: usize) -> RoomName {
    RoomName::parse(&format!("room-{number}")).expect("a valid name")
}

pub fn label(text: impl Display) -> Label {
    Label::generated(text)
}

pub fn publisher(label: Label) -> Arc<Publisher> {
    Publisher::anonymous(ClientId(0), label).into()
}

/// A line client.
pub fn member(address: Address, label: Label) -> Member {
    Member { address, dialect: Dialect::TextLines, publisher: publisher(label) }
}

/// The join of a line client that has no place reserved.
pub fn join(room: RoomName, address: Address, label: Label) -> Join {
    Join::of(room, member(address, label))
}

/// A command of a line client.
pub fn command(room: RoomName, address: Address, act: Act) -> MemberCommand {
    let from = ReplyTo { address, dialect: Dialect::TextLines, request: None };
    MemberCommand { room, from, act, permit: None }
}

/// The publish of a line client.
pub fn publish(room: RoomName, address: Address, text: &str) -> MemberCommand {
    command(room, address, Act::Publish(Data::Text(text.into()), Instant::now()))
}

pub fn slot(index: u32) -> Slot {
    Slot { index, generation: 0 }
}

pub fn address(writer: u16, slot: Slot) -> Address {
    Address { writer: WriterIndex(writer), slot }
}

/// The event as a line client reads it.
pub fn line(event: &Event<'_>) -> Vec<u8> {
    Dialect::TextLines.encode(event).to_vec()
}

/// Prints the call that reproduces a failed run of a simulation.
pub struct PrintOnPanic {
    pub seed: u64,
    pub shards: usize,
    pub writers: usize,
}

impl Drop for PrintOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, shards, writers } = self;
            eprintln!("failed: run(0x{seed:x}, {shards}, {writers})");
        }
    }
}
