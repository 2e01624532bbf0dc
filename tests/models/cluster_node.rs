//! One shard of a cluster, with a stream that the test writes by hand.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use roomcast::auth::rules::RoomRules;
use roomcast::backplane::entry::{Entry, Proposal, ProposalError, Publish};
use roomcast::backplane::feed::{Followed, Placed, ProposalMailbox, Reached, proposals};
use roomcast::broker::{
    Act, Batch, Broker, Farewell, Join, Joined, Now, Page, PageOfRoom, PublishError, RoomLimiter, ServerPublish, Shard,
    ShardCommand, ShardMailbox, ShardRules, ShardSenders,
};
use roomcast::config::LimitsOfRoom;
use roomcast::protocol::command::CommandError;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::event::Event;
use roomcast::protocol::idempotency_key::IdempotencyKey;
use roomcast::protocol::position::{Epoch, Offset, Position, UnixMillis};
use roomcast::protocol::publication::Data;
use roomcast::writer::{Address, WriterIndex};
use tokio::sync::oneshot::{self, Receiver};

use crate::common::{self, ROOM_LIMITS, address, command, label, limits_of_all, publisher, room, rules, slot};

pub const EPOCH: Epoch = Epoch::new(UnixMillis(1), 1);
pub const OTHER_EPOCH: Epoch = Epoch::new(UnixMillis(2), 2);

/// A client on a writer that a test may fill, and one on another writer.
pub const ON_FIRST: u16 = 0;
pub const ON_SECOND: u16 = 1;

pub type Published = Result<Option<Position>, PublishError>;

/// A shard with two writers. The first may be full.
pub struct ClusterNode {
    pub shard: Shard,
    pub proposals: ProposalMailbox,
    pub broker: Broker,
    pub mailbox: ShardMailbox,
    pub is_full: Cell<bool>,
    pub now: Now,
    batch: Batch,
    received: BTreeMap<Address, String>,
}

pub fn client(writer: u16, number: u32) -> Address {
    address(writer, slot(number))
}

pub fn position(offset: u64) -> Position {
    Position { epoch: EPOCH, offset: Offset(offset) }
}

pub fn say(number: usize, text: &str) -> Entry {
    Entry::Publish(published(number, text))
}

/// What another node publishes.
pub fn published(number: usize, text: &str) -> Publish {
    let data = Data::Text(text.into());
    Publish { room: room(number), publisher: publisher(label("other")), data, is_retained: true, key: None }
}

pub fn keyed(number: usize, text: &str) -> Entry {
    Entry::Publish(Publish { key: IdempotencyKey::parse("key").ok(), ..published(number, text) })
}

impl ClusterNode {
    pub fn new() -> Self {
        Self::with_limits(ROOM_LIMITS)
    }

    pub fn with_limits(limits: LimitsOfRoom) -> Self {
        let rules = ShardRules { rooms: limits_of_all(limits), ..rules() };
        let (senders, mut mailboxes) = ShardSenders::new(1, &RoomLimiter::new(usize::MAX), rules);
        let mut mailbox = mailboxes.remove(0);
        let (proposer, proposals) = proposals();
        mailbox.join_cluster(proposer, EPOCH, Reached::default());
        let (shard, broker, batch) = (mailbox.shard(), senders.broker(), Batch::new(2));
        let (is_full, now, received) = (Cell::new(false), Now::read(), BTreeMap::new());
        let mut node = Self { shard, proposals, broker, mailbox, is_full, now, batch, received };
        node.restart(EPOCH, 4_095);
        node
    }

    pub fn restart(&mut self, epoch: Epoch, horizon: u64) {
        let (told, mut is_told) = oneshot::channel();
        self.hear(Followed::Restarted { epoch, horizon: Offset(horizon), told });
        is_told.try_recv().expect("the shard goes on");
    }

    pub fn hear(&mut self, followed: Followed) {
        self.shard.hear(self.now, followed, &mut self.batch);
        self.go_on();
    }

    pub fn fail(&mut self, proposal: &Proposal, error: ProposalError) {
        self.hear(Followed::Failed(proposal.number, error));
    }

    pub fn lose_backplane(&mut self) {
        self.shard.lose_backplane(self.now, &mut self.batch);
        self.go_on();
    }

    pub fn send(&mut self, command: ShardCommand) {
        let is_full = self.is_full.get();
        let has_room = |writer: WriterIndex, targets| targets == 0 || !is_full || writer.0 != ON_FIRST;
        if let Some(command) = self.shard.admit(command, has_room) {
            self.shard.step(self.now, command, &mut self.batch);
        }
        self.go_on();
    }

    /// Handles what has waited and waits no more, and writes.
    pub fn go_on(&mut self) {
        let is_full = self.is_full.get();
        self.shard.look_ahead(self.now);
        while let Some(command) =
            self.shard.next_waiting(|writer, targets| targets == 0 || !is_full || writer.0 != ON_FIRST)
        {
            self.shard.step(self.now, command, &mut self.batch);
        }
        for (writer, entries) in self.batch.take_entries() {
            for entry in entries {
                let text = String::from_utf8_lossy(entry.frames.bytes());
                for &slot in entry.targets.as_slice() {
                    self.received.entry(Address { writer, slot }).or_default().push_str(&text);
                }
            }
        }
        self.batch.acknowledge();
    }

    /// The stream goes on with this entry.
    pub fn place(&mut self, offset: u64, entry: Entry) {
        self.place_at(offset, Duration::ZERO, entry, None);
    }

    /// The stream has a proposal of the node.
    pub fn place_own(&mut self, offset: u64, proposal: Proposal) {
        self.place_at(offset, Duration::ZERO, proposal.entry, Some(proposal.number));
    }

    pub fn place_at(&mut self, offset: u64, later: Duration, entry: Entry, proposal: Option<u64>) {
        let stored_at = UnixMillis(self.now.unix.0 + later.as_millis() as u64);
        self.send(ShardCommand::Placed(Placed { offset: Offset(offset), stored_at, entry, proposal, permit: None }));
    }

    /// The next proposal of the node.
    pub fn proposal(&mut self) -> Option<Proposal> {
        self.proposals.proposals.try_recv().ok()
    }

    pub fn join(&mut self, number: usize, address: Address, since: Option<u64>) {
        let since = since.map(|offset| position(offset).into());
        let (answer, _) = oneshot::channel::<Result<Joined, CommandError>>();
        let join = Join { since, ..common::join(room(number), address, label("L")) };
        self.send(ShardCommand::Join(join, answer));
    }

    pub fn leave(&mut self, number: usize, address: Address) -> Receiver<()> {
        let (answer, left) = oneshot::channel();
        self.send(ShardCommand::Leave(room(number), address, Farewell::Others, answer));
        left
    }

    pub fn act(&mut self, number: usize, address: Address, act: Act) {
        self.send(ShardCommand::Member(command(room(number), address, act)));
    }

    pub fn say(&mut self, number: usize, address: Address, text: &str) {
        self.send(ShardCommand::Member(common::publish(room(number), address, text)));
    }

    pub fn ping(&mut self, number: usize, address: Address) {
        self.act(number, address, Act::Reply(Dialect::TextLines.encode(&Event::Pong("here"))));
    }

    pub fn publish(&mut self, number: usize, text: &str) -> Receiver<Published> {
        let Publish { room, publisher, data, .. } = published(number, text);
        let (answer, published) = oneshot::channel();
        let read_at = self.now.instant;
        let publish = ServerPublish { room, publisher, data, read_at, is_retained: true, key: None, permit: None };
        self.send(ShardCommand::Publish(publish.into(), answer));
        published
    }

    pub fn remove_history(&mut self, number: usize) -> Receiver<Result<(), CommandError>> {
        let (answer, removed) = oneshot::channel();
        self.send(ShardCommand::RemoveHistory(room(number), answer));
        removed
    }

    pub fn apply_rules(&mut self, rules: RoomRules) {
        let (answer, _) = oneshot::channel();
        self.send(ShardCommand::Rules(rules.into(), answer));
    }

    pub fn page(&mut self, number: usize, since: Option<u64>) -> Result<PageOfRoom, CommandError> {
        let since = since.map(|offset| position(offset).into());
        let (answer, mut page) = oneshot::channel();
        self.send(ShardCommand::Page(room(number), Page { since, messages_max: 100, is_reverse: false }, answer));
        page.try_recv().expect("it is answered at once")
    }

    /// What a client has been sent since the last call, line by line.
    pub fn received(&mut self, address: Address) -> Vec<String> {
        self.received.remove(&address).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The offset that a member is told as its position.
    pub fn told_position(&mut self, number: usize, address: Address) -> u64 {
        self.act(number, address, Act::Position);
        let lines = self.received(address);
        let line = lines.last().expect("an answer");
        Position::parse(line.strip_prefix("Position ").expect("a position")).expect("a position").offset.0
    }
}
